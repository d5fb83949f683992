"""A network of the test's own, in a namespace: empty but for a loopback, where every port is free."""
import contextlib
import ctypes
import os
import subprocess

import pytest

CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def own_network(ip):
    """This process and its children are in it until the block ends. ip is the tool."""
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(CLONE_NEWNET):
            pytest.skip(f"unshare: {os.strerror(ctypes.get_errno())}")
        try:
            subprocess.run([ip, "link", "set", "lo", "up"], check=True, timeout=20)
            yield
        finally:
            assert libc.setns(before, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    finally:
        os.close(before)
