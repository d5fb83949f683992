"""Brokers that break their protocols, flood, trickle and never end: the agent answers all the while, its memory stays bounded, and each of
them is a fault of the broker's, which leaves the instance in rotation.

All hostile brokers of one protocol run beside one agent: what one of them costs must not delay what is said about another.
"""
import contextlib
import re
import socket
import struct
import threading
import time

import pytest

import harness
from harness import RELEASE, agent, echo_server, memory_kib, until, wshealthd

MEMORY_MAX_KIB = 32 << 10
PATIENCE = 25  # for all to be judged: rounds of half a second, timeouts of one
MIB = bytes(1 << 20)
KNOWN = wshealthd("help", "brokers")[1]
TYPES = [t for t in ("redis", "nats", "rabbitmq", "kafka", "mqtt") if re.search(rf"\b{t}\b", KNOWN)]


class Stop(Exception):
    """The test is over."""


class Hostile:
    """One listener, whose conversation is a function of (peer, stop)."""

    def __init__(self, conversation, stop):
        self.conversation, self.stop = conversation, stop
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.peers = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while not self.stop.is_set():
            try:
                peer = self.listener.accept()[0]
            except OSError:
                return
            peer.settimeout(0.5)
            self.peers = [p for p in self.peers if p.fileno() >= 0] + [peer]
            threading.Thread(target=self.converse, args=(peer,), daemon=True).start()

    def converse(self, peer):
        with contextlib.suppress(OSError, Stop), peer:
            self.conversation(peer, self.stop)

    def close(self):
        self.listener.close()
        for peer in self.peers:
            peer.close()


def rest(stop, seconds=0.05):
    if stop.wait(seconds):
        raise Stop


def read(peer, stop, size=65536):
    """What comes next, or nothing when the client has left."""
    while True:
        with contextlib.suppress(TimeoutError, socket.timeout):
            got = peer.recv(size)
            if not got:
                raise Stop
            return got
        rest(stop, 0)


def send(peer, stop, data):
    """All of it, for as long as the test lasts, whether the client reads or not."""
    view = memoryview(data)
    while view:
        rest(stop, 0)
        with contextlib.suppress(TimeoutError, socket.timeout):
            view = view[peer.send(view):]


# --- what any of them may do ---
def silent(peer, stop):
    while True:
        read(peer, stop)


def deaf(_peer, stop):
    rest(stop, 60)


def hangs_up(_peer, _stop):
    pass


def resets(peer, _stop):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hangs_up_when_asked(peer, stop):
    read(peer, stop)


def http(peer, stop):
    read(peer, stop)
    send(peer, stop, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    deaf(peer, stop)


def zeros(peer, stop):
    while True:
        send(peer, stop, MIB)


def noise(peer, stop):
    while True:
        send(peer, stop, bytes(range(256)) * 64)


def tls_hello(peer, stop):
    send(peer, stop, bytes.fromhex("16030100200100001c0303") + bytes(25))
    deaf(peer, stop)


COMMON = [silent, deaf, hangs_up, resets, hangs_up_when_asked, http, zeros, noise, tls_hello]


def says(first, again=b"", pause=None, greet=False):
    """Sends `first` after the first request (greet: at once), then `again` without end; pause: seconds between two bytes."""

    def conversation(peer, stop):
        if not greet:
            read(peer, stop)
        for piece in ([first] if pause is None else [first[i:i + 1] for i in range(len(first))]):
            send(peer, stop, piece)
            rest(stop, pause or 0)
        while again:
            send(peer, stop, again)
        while True:
            read(peer, stop)

    return conversation


# --- Redis: RESP2 ---
REDIS = {
    "endless bulk": says(b"$999999999\r\n", MIB),
    "huge array": says(b"*1000000000\r\n", b"+x\r\n" * 1000),
    "nested arrays": says(b"*1\r\n" * 100000),
    "negative lengths": says(b"$-2\r\n*-5\r\n"),
    "line without end": says(b"+", b"x" * 65536),
    "trickled": says(b"+PONG\r\n+OK\r\n:1\r\n" * 4, pause=0.4),
    "wrong types": says(b":1\r\n", b":1\r\n$1\r\na\r\n*0\r\n"),
    "errors without end": says(b"-ERR no\r\n", b"-ERR no\r\n" * 1000),
    "pushes without end": says(b"", b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n" * 1000),
    "loading": says(b"-LOADING Redis is loading the dataset in memory\r\n" * 8),
    "RESP3": says(b"%1\r\n+a\r\n+b\r\n" * 8),
}
# --- NATS: lines ---
INFO = b'INFO {"server_id":"x","version":"2.10.0","proto":1,"max_payload":1048576,"host":"127.0.0.1","port":4222}\r\n'
NATS = {
    "endless INFO": says(b"INFO {", b"x" * 65536, greet=True),
    "INFO without JSON": says(b"INFO nonsense\r\n", greet=True),
    "trickled INFO": says(INFO, pause=0.3, greet=True),
    "no PONG": says(INFO, greet=True),
    "pings without end": says(INFO, b"PING\r\n" * 1000, greet=True),
    "endless MSG": says(INFO + b"PONG\r\n" + b"MSG a 1 99999999\r\n", MIB, greet=True),
    "errors without end": says(INFO, b"-ERR 'Authorization Violation'\r\n", greet=True),
    "INFO again and again": says(INFO, INFO * 100, greet=True),
    "max_payload below zero": says(INFO.replace(b"1048576", b"-1"), greet=True),
}
# --- AMQP 0-9-1: frames of type, channel, size, payload, 0xCE ---
def amqp(kind, channel, payload, end=b"\xce", size=None):
    return struct.pack(">BHI", kind, channel, len(payload) if size is None else size) + payload + end


START = amqp(1, 0, struct.pack(">HHBBI", 10, 10, 0, 9, 0) + struct.pack(">I", 5) + b"PLAIN" + struct.pack(">I", 5) + b"en_US")
RABBITMQ = {
    "another version": says(b"AMQP\x01\x01\x00\x09"),
    "huge frame": says(struct.pack(">BHI", 1, 0, 0x7fffffff), MIB),
    "no end of frame": says(amqp(1, 0, b"\x00\x0a\x00\x0a", end=b"\x00")),
    "no tune": says(START),
    "heartbeats without end": says(START, amqp(8, 0, b"") * 1000),
    "unknown method": says(amqp(1, 0, struct.pack(">HH", 999, 999))),
    "body without header": says(START + amqp(3, 1, b"x" * 100), amqp(3, 1, b"x" * 1000)),
    "trickled": says(START, pause=0.2),
    "table without end": says(amqp(1, 0, struct.pack(">HHBBI", 10, 10, 0, 9, 0x7fffffff) + b"x" * 100)),
}
# --- MQTT ---
CONNACK = b"\x20\x03\x00\x00\x00"
MQTT = {
    "packet without end": says(CONNACK + b"\x30\xff\xff\xff\x7f", MIB),
    "length without end": says(b"\x20" + b"\xff" * 16),
    "messages without end": says(CONNACK, b"\x30\x05\x00\x01a\x00b" * 1000),
    "refusals": says(b"\x20\x03\x00\x97\x00"),
    "acknowledgements of nothing": says(CONNACK, b"\x40\x02\xff\xff" * 1000),
    "pongs without end": says(CONNACK, b"\xd0\x00" * 1000),
    "trickled": says(CONNACK * 3, pause=0.4),
    "nobody's packet types": says(b"\xf0\x00\x00\x00" * 4),
}
KAFKA = {
    "huge size": says(struct.pack(">i", 0x7ffffff0), MIB),
    "size below zero": says(struct.pack(">i", -1)),
    "another correlation": says(struct.pack(">iii", 8, 99, 0)),
}
SPECIAL = {"redis": REDIS, "nats": NATS, "rabbitmq": RABBITMQ, "mqtt": MQTT, "kafka": KAFKA}
SCHEMES = {"rabbitmq": "amqp"}


@pytest.mark.parametrize("kind", TYPES)
def test_hostile(tmp_path, kind):
    stop = threading.Event()
    common = COMMON[:4] if kind in ("kafka", "nats", "mqtt") else COMMON
    all_of_them = {f.__name__: f for f in common} | SPECIAL[kind]
    hosts = {re.sub(r"\W+", "-", name): Hostile(conversation, stop) for name, conversation in all_of_them.items()}
    scheme = SCHEMES.get(kind, kind)
    brokers = "".join(f"  - {{ name: {name}, type: {kind}, url: '{scheme}://127.0.0.1:{host.port}', timeout: 1s, retry: {{ min: 200ms, max: 500ms }} }}\n"
                      for name, host in hosts.items())
    checks = "  - { type: handshake }\n" + "".join(
        f"  - {{ name: {name}, type: broker, broker: {name}, interval: 500ms, timeout: 1s, fall: 1 }}\n" for name in hosts)
    try:
        with echo_server() as server, agent(f"target: {{ url: '{server.url}' }}\nbrokers:\n{brokers}checks:\n{checks}", tmp_path, binary=RELEASE) as child:
            until("the server is well", lambda: child.check("handshake")["state"] == "pass")
            end, slowest = time.monotonic() + PATIENCE, 0.0
            begin = time.monotonic()
            while True:
                start = time.monotonic()
                assert child.get("/healthz").status == 200
                assert child.get("/live").status == 200
                child.get("/ready")
                slowest = max(slowest, time.monotonic() - start)
                states = {c["name"]: c for c in child.status()["checks"] if c["type"] == "broker"}
                if all(c["state"] == "fail" for c in states.values()) and time.monotonic() > begin + 3:
                    break
                assert time.monotonic() < end, {n: (c["state"], c["reason"]) for n, c in states.items() if c["state"] != "fail"}
                time.sleep(0.1)
            ready = child.get("/ready")
            assert ready.status == 200 and ready.text.startswith("degraded"), ready.text
            for name, found in states.items():
                assert found["scope"] == "shared" and found["reason"].startswith("broker_") and found["message"], (name, found)
            assert slowest < 3.0, f"three answers took {slowest:.2f} s"  # what blocks the loop takes much longer
            assert memory_kib(child.pid) < MEMORY_MAX_KIB, memory_kib(child.pid)
            print(f"{kind}: {len(hosts)} brokers, slowest {slowest * 1000:.0f} ms, {memory_kib(child.pid)} KiB, log {len(child.err())} bytes")
            for name, found in states.items():
                print(f"  {name:28} {found['reason']:22} {found['message'][:110]}")
    finally:
        stop.set()
        for host in hosts.values():
            host.close()
