"""Clients that mean harm, each for about a second, while a prober asks as a kubelet does: every probe must be answered with 200.

A whole, timely request is answered whatever others do (wshealthd(8), HTTP). No time is asserted but the prober's own, which is generous.
"""
import contextlib
import json
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from harness import PATIENCE, PYTHON, RELEASE, SERVERS, agent, echo_server, environment, free_port, memory_kib, until

SECONDS = 1.0
HEAD = b"GET /ready HTTP/1.1\r\nHost: a\r\n"
WHOLE = HEAD + b"\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n"
ADMIN_PIECE = b"GET /status HTTP/1.1\r\nHo"


class Attack:
    """The sockets of one attack; all are closed at its end."""

    def __init__(self, port):
        self.port, self.socks, self.end = port, [], time.monotonic() + SECONDS

    def going(self):
        return time.monotonic() < self.end

    def open(self, data=b"", small=False):
        sock = socket.socket()
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(2)
        try:
            sock.connect(("127.0.0.1", self.port))
            sock.settimeout(0.05)
            if data:
                sock.sendall(data)
        except OSError:
            sock.close()
            return None
        self.socks.append(sock)
        return sock

    def flood(self, data=b"", per_second=400, keep=600, reset=False):
        """New connections all the time; the oldest are let go beyond keep."""
        while self.going():
            sock = self.open(data)
            if sock and reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
                self.socks.pop()
            while len(self.socks) > keep:
                self.socks.pop(0).close()
            time.sleep(1 / per_second)

    def hold(self, count, data=b"", small=False):
        for _ in range(count):
            if not self.going():
                break
            self.open(data, small)
        while self.going():
            time.sleep(0.05)

    def trickle(self, count, pieces):
        """One piece more on each connection, again and again."""
        socks = [s for s in (self.open() for _ in range(count)) if s]
        step = 0
        while self.going():
            for sock in socks:
                with contextlib.suppress(OSError):
                    sock.sendall(pieces[step % len(pieces)])
            step += 1
            time.sleep(0.01)

    def pump(self, data, connections=1, read=True):
        """As many bytes as go through."""
        socks = [s for s in (self.open(small=not read) for _ in range(connections)) if s]
        while self.going() and socks:
            for sock in list(socks):
                try:
                    with contextlib.suppress(socket.timeout):
                        sock.send(data)
                    if read:
                        sock.setblocking(False)
                        with contextlib.suppress(BlockingIOError):
                            while sock.recv(1 << 16):
                                pass
                        sock.settimeout(0.02)
                except OSError:
                    socks.remove(sock)
                    fresh = self.open(small=not read)
                    if fresh:
                        socks.append(fresh)

    def each(self, requests):
        """Each on a connection of its own, whose answer is awaited for a moment."""
        while self.going():
            for data in requests:
                sock = self.open(data)
                if sock:
                    with contextlib.suppress(OSError):
                        sock.recv(4096)
                    sock.close()
                    self.socks.pop()


def noise(size):
    return random.Random(7).randbytes(size)


def abandoned(attack):
    while attack.going():
        attack.flood(WHOLE, reset=True)


def half_closed(attack):
    while attack.going():
        sock = attack.open(HEAD)
        if sock:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
        time.sleep(0.005)


def everything_at_once(attack):
    kinds = [lambda a: a.flood(HEAD), lambda a: a.trickle(50, [b"x"]), lambda a: a.pump(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 50, 4, False),
             lambda a: a.flood(WHOLE, reset=True), lambda a: a.hold(100)]
    attacks = [Attack(attack.port) for _ in kinds]
    threads = [threading.Thread(target=kind, args=(own,)) for kind, own in zip(kinds, attacks)]
    for thread in threads:
        thread.start()
    for thread, own in zip(threads, attacks):
        thread.join()
        attack.socks += own.socks


METHODS = [b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT", b"PROPFIND", b"BREW", b"get", b"HEAD", b"PRI", b"X" * 300]
ATTACKS = {
    "silent connections": lambda a: a.hold(700),
    "half requests": lambda a: a.hold(700, HEAD),
    "one byte each": lambda a: a.hold(700, b"G"),
    "blank lines only": lambda a: a.hold(300, b"\r\n"),
    "half requests, 52 a second": lambda a: a.flood(HEAD, per_second=52),
    "half requests, as fast as it goes": lambda a: a.flood(HEAD, per_second=5000, keep=900),
    "silent connections, as fast as it goes": lambda a: a.flood(b"", per_second=5000, keep=900),
    "connections that are reset": lambda a: a.flood(b"", per_second=5000, reset=True),
    "requests that are reset": abandoned,
    "half requests that are reset": lambda a: a.flood(HEAD, per_second=5000, reset=True),
    "half requests, half closed": half_closed,
    "idle kept connections": lambda a: a.hold(700, WHOLE),
    "heads that trickle": lambda a: a.trickle(300, [b"X", b"-", b"Y", b":", b"z", b"\r\n"]),
    "request lines that trickle": lambda a: a.trickle(300, [b"A"]),
    "bodies that trickle": lambda a: a.trickle(200, [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\n"] + [b"x"] * 1000),
    "chunks that trickle": lambda a: a.trickle(200, [b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"] + [b"1\r\nx\r\n"] * 1000),
    "chunk extensions without end": lambda a: a.pump(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 60000, 4),
    "heads of a megabyte": lambda a: a.pump(HEAD + b"X: " + b"y" * (1 << 20), 4),
    "a thousand headers": lambda a: a.each([HEAD + b"X: y\r\n" * 1000 + b"\r\n"]),
    "targets of 64 KiB": lambda a: a.each([b"GET /" + b"x" * 65536 + b" HTTP/1.1\r\nHost: a\r\n\r\n"]),
    "bodies that nobody wants": lambda a: a.pump(b"POST /ready HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824\r\n\r\n" + b"x" * 65536, 4),
    "a pipeline of /ready": lambda a: a.pump(WHOLE * 1500),
    "a pipeline of /metrics": lambda a: a.pump(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 1500, 4),
    "a pipeline of /status": lambda a: a.pump(b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n" * 1500, 4),
    "a pipeline that is not read": lambda a: a.pump(WHOLE * 1500, 50, read=False),
    "/metrics that is not read": lambda a: a.hold(700, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 20, small=True),
    "/status that is not read": lambda a: a.hold(700, b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n" * 20, small=True),
    "answers of 100-continue": lambda a: a.hold(300, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"),
    "methods of all kinds": lambda a: a.each([m + b" /ready HTTP/1.1\r\nHost: a\r\n\r\n" for m in METHODS]),
    "prefaces of HTTP/2": lambda a: a.each([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0", b"\0\0\0\4\0\0\0\0\0"]),
    "hellos of TLS": lambda a: a.each([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise(200)]),
    "zeros": lambda a: a.pump(b"\0" * 65536, 8),
    "noise": lambda a: a.pump(noise(65536), 8),
    "line feeds": lambda a: a.pump(b"\n" * 65536, 8),
    "requests that contradict themselves": lambda a: a.each([
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET http:///live HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/9.9\r\nHost: a\r\n\r\n"]),
    "PROXY preambles that never end": lambda a: a.hold(300, b"PROXY TCP4 10.0.0.1 "),
    "PROXY garbage": lambda a: a.each([b"PROXY TCP9 x\r\n", V2 + b"\x21\x11\xff\xff", V2 + b"\xff\xff\0\0", b"PROXY " + b"9" * 300, V2 + b"\x21\x11\0\x01x"]),
    "PROXY preambles with a slow request": lambda a: a.trickle(200, [V2 + b"\x20\0\0\0"] + [b"G", b"E", b"T", b" "]),
    "all at once": everything_at_once,
}


@pytest.fixture(scope="module")
def prey(tmp_path_factory):
    """An agent that is ready, and a prober at it."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with echo_server() as server:
        conf = f'proxy_protocol: true\ntarget: {{ url: "{server.url}" }}\ndefaults: {{ interval: 1s, timeout: 15s, fall: 3 }}\nchecks:\n'
        conf += "  - { type: handshake }\n  - { type: echo }\n  - { type: hold }\n"
        with agent(conf, tmp_path_factory.mktemp("attacks")) as child:
            child.wait_ready()
            prober = subprocess.Popen([PYTHON, str(SERVERS / "prober.py"), str(child.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                      env=environment())
            try:
                child.probes = lambda: (prober.stdin.write("\n"), prober.stdin.flush(), json.loads(prober.stdout.readline()))[2]
                yield child
            finally:
                prober.stdin.close()
                prober.wait(PATIENCE)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(prey, name):
    prey.probes()
    attack = Attack(prey.port)
    try:
        ATTACKS[name](attack)
        seen = prey.probes()
    finally:
        for sock in attack.socks:
            sock.close()
    worst = seen.pop("worst_ms")
    assert prey.running(), prey.err()
    assert set(seen) == {"200"}, f"{name}: {seen}, the slowest took {worst} ms"


@pytest.fixture
def many(tmp_path, server):
    """Two hundred checks of all types that need nothing but a server, in a release build: sizes are of what is installed."""
    if not os.path.exists(RELEASE):
        pytest.skip("no release build")
    types = ("handshake", "ping", "tcp", "http", "echo", "hold")
    rows = [f"  - {{ name: check{i}, type: {types[i % len(types)]}{', url: http://127.0.0.1:%d/' % server.port if types[i % 6] == 'http' else ''} }}" for i in range(200)]
    conf = f'target: {{ url: "{server.url}" }}\ndefaults: {{ interval: 30s, timeout: 20s }}\nchecks:\n' + "\n".join(rows) + "\n"
    with agent(conf, tmp_path, binary=RELEASE) as child:
        until("all have been judged", lambda: all(c["status"] for c in child.status()["checks"]), seconds=60, pause=0.3)
        yield child


def test_metrics_of_two_hundred_checks(many):
    text = many.get("/metrics").text
    assert len(text) < 1100000, len(text)
    assert many.get("/metrics").text.count("\n") == text.count("\n")


def test_three_hundred_stalled_readers(many):
    """They cost one text, and a little each; and ending does not wait for them."""
    many.get("/metrics")
    before = memory_kib(many.pid, "VmRSS")
    attack = Attack(many.port)
    attack.hold(300, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 3, small=True)
    try:
        assert many.get("/healthz").status == 200
        assert memory_kib(many.pid, "VmRSS") - before < 8 << 10
        begun = time.monotonic()
        assert many.end(signal.SIGTERM) == 0
        assert time.monotonic() - begun < 5  # it takes 0.1 s; before, it waited for each of them
    finally:
        for sock in attack.socks:
            sock.close()


def test_half_requests_on_the_admin_socket(tmp_path, server):
    with agent(f'target: {{ url: "{server.url}" }}\n', tmp_path) as child:
        socks = []
        for _ in range(40):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(PATIENCE)
            sock.connect(str(child.admin))
            sock.sendall(ADMIN_PIECE)
            socks.append(sock)
        code, out, err = child.command("status", "--json")
        assert json.loads(out)["checks"], (code, err)
        for sock in socks:
            sock.close()


def test_without_descriptors(tmp_path, server):
    """Connections that take every descriptor do not keep a probe out."""
    limit = ["prlimit", "--nofile=64:64"]
    with agent(f'target: {{ url: "{server.url}" }}\ndefaults: {{ interval: 60s }}\nchecks:\n  - {{ type: handshake }}\n', tmp_path, prefix=limit) as child:
        child.wait_ready()
        attack = Attack(child.port)
        try:
            for _ in range(150):
                attack.open(HEAD)
            for _ in range(5):
                assert child.get("/ready").status == 200
        finally:
            for sock in attack.socks:
                sock.close()


def proxied(port, preamble):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        sock.sendall(preamble + b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        out = b""
        while piece := sock.recv(65536):
            out += piece
    head, _, body = out.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_proxy_preambles(tmp_path):
    """Who is behind a balancer is no reader of this host, whatever host the balancer is on."""
    away, here = b"\x0a\0\0\1\x0a\0\0\2\0\1\0\2", b"\x7f\0\0\1\x7f\0\0\1\0\1\0\2"
    port = free_port()
    conf = f'proxy_protocol: true\ntarget: {{ url: "ws://127.0.0.1:{port}/" }}\ndefaults: {{ interval: 100ms, fall: 1 }}\n'
    with agent(conf, tmp_path) as child:
        until("something has failed", lambda: any(c["message"] for c in child.status()["checks"]))
        for preamble in (b"", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", V2 + b"\x21\x11\0\x0c" + here, V2 + b"\x20\0\0\0", b"PROXY UNKNOWN\r\n"):
            status, body = proxied(child.port, preamble)
            assert status == 200 and str(port).encode() in body, preamble
        for preamble in (b"PROXY TCP4 10.0.0.1 10.0.0.2 33333 9717\r\n", V2 + b"\x21\x11\0\x0c" + away):
            status, body = proxied(child.port, preamble)
            assert status == 200 and str(port).encode() not in body, preamble
        assert proxied(child.port, b"PROXY nonsense\r\n")[0] == 400
        child.write(conf.replace("proxy_protocol: true", "proxy_protocol: false"))
        assert child.command("reload")[0] == 0
        assert proxied(child.port, b"PROXY UNKNOWN\r\n")[0] == 400
