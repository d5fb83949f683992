"""/events: what a reader is told and when, and readers that mean harm, none of whom may keep /ready from answering."""
import contextlib
import json
import os
import socket
import struct
import time

import pytest

from harness import PATIENCE, agent, echo_server, free_port, until

FAST = "defaults: { interval: 200ms, timeout: 1s, jitter: 0%, fall: 1 }\n"
CHECKS = "checks: [{ name: handshake, type: handshake }, { name: echo, type: echo }]\n"


def conf(port, more=""):
    return f"{FAST}target: {{ url: \"ws://127.0.0.1:{port}/ws\" }}\n{CHECKS}{more}"


@pytest.fixture
def watched(tmp_path, server):
    with agent(conf(server.port), tmp_path) as child:
        child.wait_ready()
        yield child


class Events:
    """A reader of a stream: the head of the answer, then one event after the other."""

    def __init__(self, child, before=b"", line="GET /events HTTP/1.1\r\nHost: x\r\n\r\n", admin=False):
        if admin:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(PATIENCE)
            self.sock.connect(str(child.admin))
        else:
            self.sock = socket.create_connection(("127.0.0.1", child.port), PATIENCE)
        self.sock.sendall(before + line.encode())
        self.raw = b""
        while b"\r\n\r\n" not in self.raw:
            self.more()
        head, self.raw = self.raw.split(b"\r\n\r\n", 1)
        self.head = head.decode()
        self.chunked = "Transfer-Encoding: chunked" in self.head
        self.text, self.ended = b"", False

    def more(self):
        piece = self.sock.recv(65536)
        if not piece:
            raise EOFError(self.raw[-200:])
        self.raw += piece

    def chunk(self):
        if not self.chunked:
            self.more()
            self.text, self.raw = self.text + self.raw, b""
            return
        while b"\r\n" not in self.raw:
            self.more()
        size, self.raw = self.raw.split(b"\r\n", 1)
        size = int(size, 16)
        while len(self.raw) < size + 2:
            self.more()
        assert self.raw[size:size + 2] == b"\r\n"
        self.text += self.raw[:size]
        self.raw = self.raw[size + 2:]
        if size == 0:
            raise EOFError("the last chunk")

    def next(self):
        """(name, the JSON, when it came) of the next event."""
        while b"\n\n" not in self.text:
            self.chunk()
        block, self.text = self.text.split(b"\n\n", 1)
        fields = [line.split(": ", 1) for line in block.decode().split("\n")]
        data = [value for name, value in fields if name == "data"]
        assert len(data) == 1, block
        return dict(fields)["event"], json.loads(data[0]), time.time()

    def wait(self, condition):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            name, data, came = self.next()
            if condition(name, data):
                return name, data, came
        raise AssertionError("no such event")

    def ends(self):
        """The stream is ended as HTTP wants it."""
        with pytest.raises(EOFError) as end:
            while True:
                self.next()
        return not self.chunked or str(end.value) == "the last chunk"

    def close(self):
        self.sock.close()


def reader(child, **more):
    return contextlib.closing(Events(child, **more))


def test_snapshot_and_changes(tmp_path):
    port = free_port()
    with echo_server(port) as server, agent(conf(port), tmp_path) as child:
        child.wait_ready()
        until("all pass", lambda: child.status()["status"] == "pass")
        with reader(child) as events, reader(child, line="GET /events HTTP/1.0\r\n\r\n") as old, reader(child, admin=True) as admin:
            assert "Content-Type: text/event-stream" in events.head and "no-store" in events.head and "X-Accel-Buffering: no" in events.head
            assert not old.chunked and "Connection: close" in old.head
            for one in (events, old, admin):
                name, data, _ = one.next()
                assert (name, data["status"], [check["name"] for check in data["checks"]]) == ("snapshot", "pass", ["handshake", "echo"])
            server.end()
            for one in (events, old, admin):
                name, data, _ = one.wait(lambda name, data: data.get("ready") is False)
                assert name == "change" and "verdict" in data["changed"]
                one.wait(lambda name, data: data.get("diagnosis", {}).get("cause") == "server_down")
                one.wait(lambda name, data: name == "tick")
            with reader(child, line="GET /events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 1-2\r\n\r\n") as again:
                assert again.next()[0] == "snapshot"
            assert child.get("/events", method="HEAD").headers["Content-Type"] == "text/event-stream"
            assert child.get("/events", method="POST").status == 405


def test_a_reader_is_told_what_it_may_see(tmp_path):
    port = free_port()  # nobody listens
    with agent(conf(port, "proxy_protocol: true\n"), tmp_path) as child:
        with reader(child) as local, reader(child, before=b"PROXY TCP4 203.0.113.7 127.0.0.1 5000 9717\r\n") as other:
            secret = str(port)
            _, data, _ = local.wait(lambda name, data: data.get("diagnosis", {}).get("cause") == "server_down")
            assert secret in json.dumps(data)
            _, data, _ = other.wait(lambda name, data: data.get("diagnosis", {}).get("cause") == "server_down")
            assert secret not in json.dumps(data) and data["target"] is None
            child.write(conf(port, "proxy_protocol: true\ndetails: reasons\n"))
            child.get("/ready")
            os.kill(child.pid, 1)
            _, data, _ = local.wait(lambda name, data: name == "snapshot")  # it sees less from now on
            assert secret not in json.dumps(data)


def test_the_page_and_its_users(tmp_path):
    port = free_port()  # nobody listens
    with agent(conf(port, "page: { public: true }\n"), tmp_path) as child:
        with reader(child, line="GET /events?page HTTP/1.1\r\nHost: x\r\n\r\n") as page, reader(child) as events, reader(child, admin=True) as admin:
            _, data, _ = page.wait(lambda name, data: name == "section" and "not ready" in data["html"].lower())
            assert f"id={data['id']}" in child.get("/").text
            said = [json.dumps(data)]
            said.append(json.dumps(events.wait(lambda name, data: data.get("ready") is False and data["diagnosis"]["cause"] == "server_down")[1]))
            assert not any(str(port) in text or "connect_refused" in text for text in said), said
            _, data, _ = admin.wait(lambda name, data: data.get("diagnosis", {}).get("cause") == "server_down")
            assert str(port) in json.dumps(data)


def test_streams_go_on_while_draining_and_end_with_their_listener(watched, server):
    with reader(watched) as events, reader(watched, line="GET /events HTTP/1.0\r\n\r\n") as old:
        for one in (events, old):
            assert one.next()[0] == "snapshot"
        # a command drains
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(watched.admin))
            admin.sendall(b"POST /drain HTTP/1.0\r\n\r\n")
            assert b"200" in admin.recv(1000)
        for one in (events, old):
            one.wait(lambda name, data: data.get("draining"))
            one.wait(lambda name, data: name == "tick")
        watched.port = free_port()  # and a reload moves the listener
        watched.write(conf(server.port))
        os.kill(watched.pid, 1)
        for one in (events, old):
            assert one.ends()
    until("it listens there", watched.answers)
    with reader(watched) as events:
        assert events.next()[0] == "snapshot"
        watched.send(15)
        assert events.ends()
    assert watched.child.wait(PATIENCE) == 0


def connect_to(port, receive=None):
    sock = socket.socket()
    if receive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    sock.settimeout(PATIENCE)
    sock.connect(("127.0.0.1", port))
    sock.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    return sock


def test_readers_that_never_read_and_too_many(watched):
    """600 of them, of whom 128 are kept; a request is answered all the while, and so is the next reader."""
    with contextlib.ExitStack() as stack:
        socks = []
        for i in range(600):
            socks.append(stack.enter_context(connect_to(watched.port, 2048)))
            if i % 50 == 49:
                assert watched.get("/ready").status == 200
        with reader(watched) as events:
            assert events.next()[0] == "snapshot"
            for _ in range(20):
                assert watched.get("/ready").status == 200
            events.wait(lambda name, data: name == "change")
        for sock in socks[::2]:  # gone without a word, as far as TCP lets a test do that
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        assert watched.get("/ready").status == 200
        assert watched.running()
    until("their descriptors are free again", lambda: len(os.listdir(f"/proc/{watched.pid}/fd")) < 60)


def test_readers_that_send_and_that_close_half(watched):
    with contextlib.ExitStack() as stack:
        for i in range(40):
            sock = stack.enter_context(connect_to(watched.port))
            if i % 2:
                sock.shutdown(socket.SHUT_WR)
            else:
                with contextlib.suppress(OSError):
                    sock.setblocking(False)
                    sock.send(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
        for _ in range(20):
            assert watched.get("/ready").status == 200
        with reader(watched) as events:
            assert events.next()[0] == "snapshot"
    assert watched.get("/ready").status == 200
