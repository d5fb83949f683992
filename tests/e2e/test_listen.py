"""The default of `listen`: IPv6 and IPv4, and IPv4 alone on a host without IPv6."""
import contextlib
import os
import shutil
import socket
import subprocess

import pytest

from harness import BUILD, PATIENCE, RELEASE, SERVERS, Process, connects, environment, free_port, until, wshealthd


@contextlib.contextmanager
def listening(tmp_path, env=None):
    port = free_port()
    file = tmp_path / "wshealthd.yaml"
    file.write_text(f'listen: "[::]:{port}"\nadmin: off\ntarget: {{ url: "ws://127.0.0.1:1/" }}\n')
    child = Process([RELEASE, "run", "-c", file], tmp_path, env=env)
    try:
        until("it listens on IPv4", lambda: connects(port) or not child.running())
        assert child.running(), child.err()
        yield port
    finally:
        child.end()


@pytest.fixture(autouse=True)
def release():
    if not os.path.exists(RELEASE):
        pytest.skip("no release build")


def status(family, host, port):
    with socket.socket(family) as sock:
        sock.settimeout(PATIENCE)
        sock.connect((host, port))
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n")
        return int(sock.recv(100).split()[1])


def test_the_default_is_dual_stack():
    code, out, _ = wshealthd("config", "init")
    assert code == 0 and '\n#listen: "[::]:9717"\n' in out


def test_both_families(tmp_path):
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
        except OSError:
            pytest.skip("this host has no IPv6")
        port = stack.enter_context(listening(tmp_path))
        assert status(socket.AF_INET6, "::1", port) == 200
        assert status(socket.AF_INET, "127.0.0.1", port) == 200


def test_without_ipv6(tmp_path):
    if not shutil.which("cc"):
        pytest.skip("cc is missing")
    out = BUILD / "e2e" / "no_ipv6.so"
    out.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", str(out), str(SERVERS / "no_ipv6.c"), "-ldl"], check=True, timeout=60)
    with listening(tmp_path, environment(LD_PRELOAD=str(out))) as port:
        assert status(socket.AF_INET, "127.0.0.1", port) == 200
