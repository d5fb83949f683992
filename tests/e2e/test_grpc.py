"""gRPC health (grpc.health.v1.Health): asked by grpcio, whose HTTP/2 is another one, and by clients that no library would be."""
import contextlib
import os
import signal
import socket
import subprocess
import time

import pytest

from harness import PATIENCE, RELEASE, agent, echo_server, free_port, until, wshealthd

UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = 0, 1, 2, 3
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PACE = "defaults: { interval: 200ms, timeout: 2s, fall: 1 }\n"


@pytest.fixture
def rpc():
    return pytest.importorskip("grpc", reason="python3-grpcio is not installed")


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def request(service):
    return b"\x0a" + bytes([len(service)]) + service.encode() if service else b""


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7f) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return value, at


def fields(data):
    """(number, value) of a protobuf message whose fields are numbers and texts."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        yield key >> 3, value


def health(message):
    return dict(fields(message)).get(1, UNKNOWN)


def listed(message):
    entries = (dict(fields(entry)) for number, entry in fields(message) if number == 1)
    return {entry.get(1, b"").decode(): health(entry.get(2, b"")) for entry in entries}


class Client:
    def __init__(self, rpc, address):
        self.channel = rpc.insecure_channel(address)
        call = {"request_serializer": request, "response_deserializer": bytes}
        self.check = self.channel.unary_unary("/grpc.health.v1.Health/Check", **call)
        self.list = self.channel.unary_unary("/grpc.health.v1.Health/List", **call)
        self.watch = self.channel.unary_stream("/grpc.health.v1.Health/Watch", **call)
        self.other = self.channel.unary_unary("/grpc.health.v1.Health/Restart", **call)

    def health(self, service=""):
        return health(self.check(service, timeout=PATIENCE, wait_for_ready=True))


@contextlib.contextmanager
def asked(rpc, tmp_path, conf, **more):
    port = free_port()
    with agent(f"grpc: 127.0.0.1:{port}\n{conf}", tmp_path, **more) as child:
        client = Client(rpc, f"127.0.0.1:{port}")
        child.grpc = port
        try:
            yield child, client
        finally:
            client.channel.close()


def target(server):
    return f"target: {{ url: '{server.url}' }}\n{PACE}"


def test_check_and_list(rpc, tmp_path):
    with echo_server() as server, asked(rpc, tmp_path, target(server)) as (child, client):
        child.wait_ready()
        for service in ("", "ready", "live", "startup", "handshake"):
            assert client.health(service) == SERVING, service
        services = listed(client.list("", timeout=PATIENCE))
        assert services == dict.fromkeys(("", "ready", "live", "startup", "handshake", "ping", "hold"), SERVING)
        with pytest.raises(rpc.RpcError) as refused:
            client.check("nobody", timeout=PATIENCE)
        assert refused.value.code() == rpc.StatusCode.NOT_FOUND and "the name of a check" in refused.value.details()
        with pytest.raises(rpc.RpcError) as refused:
            client.other("", timeout=PATIENCE)
        assert refused.value.code() == rpc.StatusCode.UNIMPLEMENTED


def test_watch_follows_the_server(rpc, tmp_path):
    with echo_server() as server, asked(rpc, tmp_path, target(server)) as (child, client):
        child.wait_ready()
        watches = {name: client.watch(name, timeout=3 * PATIENCE) for name in ("", "live", "ping", "nobody")}
        assert [health(next(watches[name])) for name in watches] == [SERVING, SERVING, SERVING, SERVICE_UNKNOWN]
        server.send(signal.SIGSTOP)
        assert health(next(watches["ping"])) == NOT_SERVING
        assert health(next(watches[""])) == NOT_SERVING
        assert client.health("live") == SERVING  # not hung for long enough to be killed
        server.send(signal.SIGCONT)
        assert health(next(watches["ping"])) == SERVING
        assert health(next(watches[""])) == SERVING
        assert child.command("drain")[0] == 0
        assert health(next(watches[""])) == NOT_SERVING
        assert child.command("resume")[0] == 0
        assert health(next(watches[""])) == SERVING


def test_a_check_that_was_not_judged_is_unknown(rpc, tmp_path):
    conf = "target: { url: 'ws://127.0.0.1:1/' }\nchecks:\n  - { type: handshake, interval: 60s, timeout: 50s }\n" \
           "  - { name: ready, type: tcp, interval: 60s }\n"
    with asked(rpc, tmp_path, conf) as (child, client):
        assert client.health("ready") == NOT_SERVING  # the verdict's, though a check has that name
        assert client.health("handshake") in (UNKNOWN, NOT_SERVING)
        assert set(listed(client.list("", timeout=PATIENCE))) == {"", "ready", "live", "startup", "handshake"}
        assert child.running()


def test_reload_moves_it(rpc, tmp_path):
    with echo_server() as server, asked(rpc, tmp_path, target(server)) as (child, client):
        child.wait_ready()
        watch = client.watch("", timeout=PATIENCE)
        assert health(next(watch)) == SERVING
        moved = free_port()
        child.write(f"grpc: 127.0.0.1:{moved}\n{target(server)}")
        assert child.command("reload")[0] == 0
        with pytest.raises(rpc.RpcError):
            next(watch)
        other = Client(rpc, f"127.0.0.1:{moved}")
        assert other.health() == SERVING
        other.channel.close()
        child.write(target(server))
        assert child.command("reload")[0] == 0
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", moved), timeout=PATIENCE).close()


def test_an_agent_that_leaves_says_so_first(rpc, tmp_path):
    with echo_server() as server, asked(rpc, tmp_path, "shutdown: { grace: 1s }\n" + target(server)) as (child, client):
        child.wait_ready()
        watch = client.watch("", timeout=PATIENCE)
        assert health(next(watch)) == SERVING
        child.send(signal.SIGTERM)
        assert health(next(watch)) == NOT_SERVING
        with pytest.raises(rpc.RpcError):
            next(watch)
        assert child.child.wait(PATIENCE) == 0


@pytest.mark.parametrize("what", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 64, PREFACE + b"\xff" * 64], ids=["http1", "zeros", "frames"])
def test_what_is_not_http2_is_cut_off(rpc, tmp_path, what):
    with echo_server() as server, asked(rpc, tmp_path, target(server)) as (child, client):
        child.wait_ready() # this listener is opened behind the one that `asked` has waited for
        with socket.create_connection(("127.0.0.1", child.grpc), timeout=PATIENCE) as sock:
            sock.sendall(what)
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(4096):
                    pass
        assert client.health() == SERVING


def test_silence_and_half_requests_have_a_deadline(rpc, tmp_path):
    half = PREFACE + frame(4, 0, 0) + frame(1, 4, 1, b"\x83\x86\x84\x01\x01x")  # a head, and its body never ends
    with echo_server() as server, asked(rpc, tmp_path, target(server)) as (child, client):
        child.wait_ready()
        with socket.create_connection(("127.0.0.1", child.grpc)) as silent, socket.create_connection(("127.0.0.1", child.grpc)) as slow:
            slow.sendall(half)
            for sock in (silent, slow):
                sock.settimeout(PATIENCE)
                with contextlib.suppress(ConnectionResetError):
                    while sock.recv(4096):
                        pass
        assert client.health() == SERVING


def test_many_clients_and_floods_do_not_stop_the_answers(rpc, tmp_path):
    ping, quiet = frame(6, 0, 0, b"\0" * 8), []
    with echo_server() as server, asked(rpc, tmp_path, target(server), binary=RELEASE) as (child, client):
        child.wait_ready()
        try:
            for _ in range(400):  # more than there is room for: the longest quiet give way
                sock = socket.create_connection(("127.0.0.1", child.grpc), timeout=PATIENCE)
                sock.sendall(PREFACE + frame(4, 0, 0))
                quiet.append(sock)
            assert client.health() == SERVING
            flood = socket.create_connection(("127.0.0.1", child.grpc), timeout=PATIENCE)
            quiet.append(flood)
            flood.sendall(PREFACE + frame(4, 0, 0))
            with contextlib.suppress(OSError):
                for _ in range(2000):
                    flood.sendall(ping * 100)
            assert client.health() == SERVING
            assert child.ready()
        finally:
            for sock in quiet:
                sock.close()
        until("its connections are gone", lambda: len(os.listdir(f"/proc/{child.pid}/fd")) < 100)


def test_a_watcher_that_does_not_read_costs_nothing(rpc, tmp_path):
    """Its socket is full; it is told nothing more, and others are."""
    watch = frame(1, 4, 1, b"\x83\x86\x44\x1c/grpc.health.v1.Health/Watch\x01\x01x\x0f\x10\x10application/grpc") + frame(0, 1, 1, b"\0\0\0\0\0")
    with echo_server() as server, asked(rpc, tmp_path, target(server)) as (child, client):
        child.wait_ready()
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            deaf.settimeout(PATIENCE)
            deaf.connect(("127.0.0.1", child.grpc))
            deaf.sendall(PREFACE + frame(4, 0, 0, b"\0\x04\0\0\0\x08") + watch)  # a window of 8 bytes: one answer, and then none
            time.sleep(0.5)
            for _ in range(20):
                assert child.command("drain")[0] == 0 and child.command("resume")[0] == 0
            assert client.health() == SERVING
            deaf.sendall(frame(8, 0, 1, b"\0\0\x10\0"))  # reads on: it is told the newest
            assert client.health() == SERVING


def test_answers_that_are_not_read_have_a_ceiling(rpc, tmp_path):
    """32 calls of List in a window of 0, where one answer is some KiB."""
    head = b"\x83\x86\x44\x1b/grpc.health.v1.Health/List\x01\x01x\x0f\x10\x10application/grpc"
    many = "".join(f"  - {{ name: a-check-with-a-rather-long-name-{i:03}, type: tcp, interval: 60s }}\n" for i in range(150))
    with echo_server() as server, asked(rpc, tmp_path, target(server) + f"checks:\n  - {{ type: handshake }}\n{many}") as (child, client):
        child.wait_ready()
        one = len(client.list("", timeout=PATIENCE))
        assert one * 32 > 150_000  # a check that was not judged yet is shorter
        with socket.create_connection(("127.0.0.1", child.grpc), timeout=PATIENCE) as sock:
            calls = b"".join(frame(1, 4, 1 + 2 * i, head) + frame(0, 1, 1 + 2 * i, b"\0\0\0\0\0") for i in range(32))
            sock.sendall(PREFACE + frame(4, 0, 0, b"\0\x04\0\0\0\0") + calls)
            sock.sendall(frame(4, 0, 0, b"\0\x04\0\x0f\xff\xff") + frame(8, 0, 0, b"\0\x0f\xff\xff") + frame(6, 0, 0, b"the last"))
            got = data = 0
            stream = sock.makefile("rb")
            while got < 32:  # each of the calls ends
                first = stream.read(9)
                length, kind, flags = int.from_bytes(first[:3], "big"), first[3], first[4]
                stream.read(length)
                data += length if kind == 0 else 0
                got += kind in (0, 1) and flags & 1
            assert one < data < 100_000, data
        assert client.health() == SERVING


def test_who_watches_does_not_give_way_to_half_requests(rpc, tmp_path):
    whole = frame(1, 4, 1, b"\x83\x86\x84\x01\x01x") + frame(0, 1, 1)
    with echo_server() as server, asked(rpc, tmp_path, target(server)) as (child, client), contextlib.ExitStack() as stack:
        child.wait_ready()
        watch = client.watch("", timeout=3 * PATIENCE)
        assert health(next(watch)) == SERVING
        for _ in range(200):  # more than there is room for
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", child.grpc), timeout=PATIENCE))
            sock.sendall(PREFACE + frame(4, 0, 0) + whole + frame(1, 4, 3, b"\x83\x86\x84\x01\x01x"))
            sock.recv(9)
        assert child.command("drain")[0] == 0
        assert health(next(watch)) == NOT_SERVING


def test_broken_clients_hold_few_descriptors(rpc, tmp_path):
    """They do not close their side when the agent has closed its own."""
    with echo_server() as server, asked(rpc, tmp_path, target(server), binary=RELEASE) as (child, client), contextlib.ExitStack() as stack:
        child.wait_ready()
        most = 0
        for i in range(900):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", child.grpc), timeout=PATIENCE))
            sock.sendall(PREFACE + frame(4, 0, 0) + frame(0, 0, 1, b"x"))
            if i % 50 == 49:
                most = max(most, len(os.listdir(f"/proc/{child.pid}/fd")))
        assert most < 600, most
        assert client.health() == SERVING and child.ready()


def test_the_configuration_says_what_is_wrong(tmp_path):
    for value, words in (("127.0.0.1", "grpc: "), ("127.0.0.1:9717", "grpc: the same address as listen")):
        file = tmp_path / "wshealthd.yaml"
        file.write_text(f"listen: 127.0.0.1:9717\ngrpc: '{value}'\ntarget: {{ url: 'ws://127.0.0.1:1/' }}\n")
        code, out, err = wshealthd("config", "check", file)
        assert code == 3 and words in out + err, (out, err)


def test_the_probe_of_nghttp(rpc, tool, tmp_path):
    """A third implementation of HTTP/2, with the raw bytes of a Check."""
    nghttp = tool("nghttp")
    (tmp_path / "request").write_bytes(b"\0\0\0\0\x07\x0a\x05ready")
    with echo_server() as server, asked(rpc, tmp_path, target(server)) as (child, _client):
        child.wait_ready()
        done = subprocess.run([nghttp, "-v", "-H", ":method: POST", "-H", "content-type: application/grpc", "-H", "te: trailers", "-d",
                               tmp_path / "request", f"http://127.0.0.1:{child.grpc}/grpc.health.v1.Health/Check"],
                              capture_output=True, timeout=PATIENCE, check=True)
        assert b"grpc-status: 0" in done.stdout and b"\0\0\0\0\x02\x08\x01" in done.stdout, done.stdout
