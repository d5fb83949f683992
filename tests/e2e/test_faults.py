"""The fault matrix: every case of faults.py, judged by `wshealthd check`. All cases run at once in a pool; each test reads its result."""
import concurrent.futures
import json
import subprocess

import pytest

from faults import FAULTS
from harness import EXIT, PYTHON, check, environment, only

CASES = [(fault, case, f"{fault.name}-{case.check}" + ("" if sum(c.check == case.check for c in fault.cases) == 1 else f"-{number}"))
         for fault in FAULTS for number, case in enumerate(fault.cases)]
POOL = 8


def run_case(fault, case, url, directory):
    flags = [flag.format(dir=directory) for flag in case.flags]
    for attempt in range(3):
        if case.conf:
            file = directory / f"{fault.name}-{case.check}-{id(case)}.yaml"
            file.write_text(case.conf.format(url=url, dir=directory))
            code, document = check(None, case.check, conf=file, timeout=case.timeout, flags=flags)
        else:
            code, document = check(url, case.check, timeout=case.timeout, flags=flags)
        # A round during which the machine stalled is void, and says nothing about the fault.
        if attempt == 2 or only(document)["status"] is not None:
            return code, document
    return None


@pytest.fixture(scope="module")
def results(certs):
    for name in ("good",):
        certs.leaf(name)
    with subprocess.Popen([PYTHON, __file__.replace("test_faults.py", "faults.py"), str(certs.dir)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True, env=environment()) as server:
        try:
            urls = json.loads(server.stdout.readline())
            with concurrent.futures.ThreadPoolExecutor(POOL) as pool:
                futures = {name: pool.submit(run_case, fault, case, urls[fault.name], certs.dir) for fault, case, name in CASES}
                concurrent.futures.wait(futures.values(), timeout=300)
            yield futures
        finally:
            server.stdin.close()
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.kill()


# The agent's own means failed: its token, what it trusts, its pace.
PROBE = {"dns_failure", "tls_cert_expired", "tls_cert_not_yet_valid", "tls_cert_untrusted", "tls_hostname_mismatch", "tls_cert_expiring",
         "tls_client_cert_rejected", "upgrade_unauthorized", "rate_limited", "login_rejected", "auth_refresh_failed"}


def test_the_table_is_large_and_names_are_unique():
    assert len(FAULTS) >= 65
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert len({name for _, _, name in CASES}) == len(CASES)


@pytest.mark.parametrize(("fault", "case", "name"), CASES, ids=[name for _, _, name in CASES])
def test_fault(results, fault, case, name):
    code, document = results[name].result(timeout=0)
    got = only(document)
    reasons = case.reason if isinstance(case.reason, tuple) else (case.reason,)
    assert got["status"] == case.status, f"{fault.what}: {got}"
    if case.status == "pass":
        assert got["reason"] is None, got
    elif case.reason:
        assert got["reason"] in reasons, f"{fault.what}: {got}"
        assert got["scope"] == ("probe" if got["reason"] in PROBE else "local"), got
    if case.phase and case.status != "pass":
        assert got["phase"] == case.phase, f"{fault.what}: {got}"
    if case.status == "fail":
        assert len(got["message"]) > 10, got
    for word in case.words:
        assert word.lower() in got["message"].lower(), f"{word!r} is not in {got['message']!r}"
    if case.http:
        assert got["http_status"] == case.http, got
    if case.code:
        assert got["close_code"] == case.code, got
    assert code == EXIT[case.status], document
    assert len(got["message"] or "") < 512
