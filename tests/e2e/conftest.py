"""Fixtures of the e2e tests. Everything that a test needs and that may be missing is asked for by name, so that a skip says what."""
import os
import pathlib
import shutil
import subprocess

import pytest

from certs import Certs
from harness import BINARY, BUILD, MODULES, RELEASE, echo_server


def pytest_configure():
    for binary in (BINARY, RELEASE):
        if not os.access(binary, os.X_OK):
            raise pytest.UsageError(f"{binary} is not built: run make test")


def pytest_terminal_summary(terminalreporter):
    """Each skipped test by its name: pytest's own summary folds them by line of source."""
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        terminalreporter.write_line(f"skipped: {report.nodeid}: {reason.removeprefix('Skipped: ')}")


def pytest_runtest_logreport(report):
    """Names what failed, for tests/tools/run-tests. Of several processes the one that collects the reports has no PYTEST_XDIST_WORKER."""
    file = os.environ.get("WSHEALTHD_FAILURES")
    if file and report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        with open(file, "a", encoding="utf-8") as out:
            out.write(report.nodeid + "\n")


@pytest.fixture(scope="session")
def certs(tmp_path_factory):
    return Certs(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="session")
def node():
    """The path of node, with the npm packages of the tests there."""
    found = shutil.which("node")
    if not found:
        pytest.skip("node is missing")
    if not (MODULES / "ws").is_dir():
        pytest.skip("the npm packages are missing (tests/tools/npm)")
    return found


@pytest.fixture
def tool():
    """tool("nginx"): its path, or a skip that names it."""

    def find(name):
        found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if not found:
            pytest.skip(f"{name} is missing")
        return found

    return find


@pytest.fixture(scope="session")
def lws_echo():
    """The echo server on libwebsockets, compiled for this run."""
    source = pathlib.Path(__file__).parent / "servers" / "lws_echo.c"
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libwebsockets"], capture_output=True, text=True, check=False)
    if flags.returncode:
        pytest.skip("libwebsockets-dev is missing")
    out = BUILD / "e2e" / "lws_echo"
    out.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-O1", "-o", str(out), str(source), *flags.stdout.split()], check=True, timeout=60)
    return str(out)


@pytest.fixture
def server():
    with echo_server() as child:
        yield child
