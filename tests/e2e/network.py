"""A network of the test's own, in a namespace: empty but for a loopback, where every port is free; and a long way, over which packets take time."""
import contextlib
import ctypes
import fcntl
import heapq
import itertools
import os
import select
import struct
import subprocess
import threading
import time

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


TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x1, 0x1000
NEAR, FAR = "10.99.0.1", "10.99.0.2"


@contextlib.contextmanager
def far_address(ip, delay_s):
    """Inside own_network: what listens on NEAR is reached at FAR as well, and each packet on that way takes so long: a number, or a function that
    says it anew for each packet, and None for one that is lost. The packets go out through a TUN device, and come back in with source and
    destination exchanged, which leaves their checksums right."""
    delay_of = delay_s if callable(delay_s) else lambda: delay_s
    tun, over = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK), threading.Event()
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"far0", IFF_TUN | IFF_NO_PI))
    for words in (("addr", "add", f"{NEAR}/24", "dev", "far0"), ("link", "set", "far0", "up")):
        subprocess.run([ip, *words], check=True, timeout=20)

    def carry():
        under_way, number = [], itertools.count()
        while not over.is_set():
            wait_s = max(0, under_way[0][0] - time.monotonic()) if under_way else 0.1
            if select.select([tun], [], [], wait_s)[0]:
                packet = os.read(tun, 65536)
                after_s = delay_of() if packet[0] >> 4 == 4 else None
                if after_s is not None:
                    turned = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
                    heapq.heappush(under_way, (time.monotonic() + after_s, next(number), turned))
            while under_way and under_way[0][0] <= time.monotonic():
                with contextlib.suppress(OSError):
                    os.write(tun, heapq.heappop(under_way)[2])

    thread = threading.Thread(target=carry)
    thread.start()
    try:
        yield FAR
    finally:
        over.set()
        thread.join(20)
        os.close(tun)
