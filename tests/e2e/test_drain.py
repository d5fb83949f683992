"""Draining with live clients: `drain --wait`, /prestop, SIGTERM. The clients are counted by the kernel, and none of them is cut."""
import base64
import contextlib
import os
import re
import signal
import socket
import threading
import time

import pytest

from harness import BINARY, PATIENCE, ROOT, Process, agent, environment, free_port, until, wshealthd
from test_screen import Terminal
from test_server import server as capacity

CONF = """
prestop: {prestop}
target: {{ url: "{url}" }}
defaults: {{ interval: 300ms, timeout: 2s, jitter: 0% }}
checks: [ {{ type: handshake }}, {{ type: hold, connections: 2 }} ]
"""


def conf(port, prestop="false", more=""):
    return CONF.format(url=f"ws://127.0.0.1:{port}/ws", prestop=prestop) + more


def listen(listener, port):
    """Behind an agent that has been started first, so that nothing listens at its first look."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(100)


def connected(listener):
    """Both ends of a client's connection: the agent's probes are in the queue as well."""
    mine = socket.create_connection(listener.getsockname())
    while True:
        one, peer = listener.accept()
        if peer == mine.getsockname():
            return mine, one
        one.close()


class Client:
    """A WebSocket client that can say whether it is still alive."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall(f"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                          "Sec-WebSocket-Version: 13\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.sock.recv(1)
        assert b" 101 " in head, head

    def echo(self):
        self.sock.sendall(b"\x81\x82\0\0\0\0hi")
        got = b""
        while len(got) < 4:
            more = self.sock.recv(4 - len(got))
            assert more, "the connection was cut"
            got += more
        assert got == b"\x81\x02hi", got

    def leave(self):
        self.sock.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
        self.sock.close()


@contextlib.contextmanager
def clients(port, count):
    many = []
    try:
        for _ in range(count):
            many.append(Client(port))
        yield many
    finally:
        for one in many:
            one.sock.close()


@contextlib.contextmanager
def draining(child, *flags):
    """`wshealthd drain`, under way."""
    command = Process([BINARY, "drain", *flags, "-c", child.file])
    try:
        yield command
    finally:
        command.end(signal.SIGKILL)
        command.cleanup()


def left(child):
    return float(re.search(r"^wshealthd_drain_remaining_connections (\S+)", child.get("/metrics").text, re.M)[1])


def is_draining(child):
    return child.status()["draining"]


def test_it_ends_with_the_last_client(tmp_path, server):
    with clients(server.port, 200) as many, agent(conf(server.port), tmp_path) as child:
        child.wait_ready()
        until("nobody is waited for", lambda: left(child) == 0)
        with draining(child, "--wait", "120s") as command:
            until("/ready turns", lambda: not child.ready(), 5)
            until("all are counted, the agent's own are not", lambda: left(child) == 200)
            for one in many[:150]:
                one.leave()
            until("150 have left", lambda: left(child) == 50)
            for one in many[150:]:
                one.echo()
            assert command.running()
            for one in many[150:]:
                one.leave()
            assert command.child.wait(PATIENCE) == 0, command.err()
            assert re.fullmatch(r"drained: 0 client connections left, after \S+\n", command.out()), command.out()
            assert command.err().startswith("200 client connections left, 1"), command.err()
        assert child.get("/ready").text == "draining\n"


def test_the_time_may_be_over_first(tmp_path, server):
    with clients(server.port, 3) as many, agent(conf(server.port), tmp_path) as child:
        child.wait_ready()
        began = time.monotonic()
        code, out, err = child.command("drain", "--wait", "1s")
        assert code == 1 and out.startswith("time over: 3 client connections left, after 1."), (code, out, err)
        assert time.monotonic() - began >= 1
        assert err == "3 client connections left, 1s to go\n"
        for one in many:
            one.echo()
        code, out, _ = child.command("drain", "--wait", "20s", "--until", "3")
        assert code == 0 and out.startswith("drained: 3 client connections left"), (code, out)
        many[0].leave()
        many[1].leave()
        code, out, _ = child.command("drain", "--wait", "20s", "--until", "1", "--min", "1s")
        assert code == 0 and re.match(r"drained: 1 client connection left, after [1-9]", out), (code, out)


def test_flags_that_make_no_sense(tmp_path):
    for flags, says in ((("--until", "3"), "needs --wait"), (("--wait", "5"), "want a duration"), (("--wait", "5s", "--until", "-1"), "want a number"),
                        (("--min", "5s"), "needs --wait")):
        code, out, err = wshealthd("drain", *flags, "--admin", f"unix:{tmp_path}/none.sock")
        assert code == 3 and says in err and not out, (flags, code, err)
    code, out, err = wshealthd("drain", "--wait", "5s", "--admin", f"unix:{tmp_path}/none.sock")
    assert code == 3 and "no agent answers" in err, err


def test_resume_is_told(tmp_path, server):
    with clients(server.port, 1), agent(conf(server.port, "true"), tmp_path) as child:
        child.wait_ready()
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(child.get("/prestop?timeout=60s")))
        waiting.start()
        with draining(child, "--wait", "60s") as command:
            until("it is counted", lambda: left(child) == 1)
            until("it is shown", command.err)
            assert child.command("resume")[0] == 0
            assert command.child.wait(PATIENCE) == 2
            assert command.out().startswith("resumed: somebody has ended the draining"), command.out()
        waiting.join(PATIENCE)
        assert answers[0].status == 409 and "resumed" in answers[0].text
        assert child.ready()
        until("nobody is waited for", lambda: left(child) == 0)  # a text of /metrics is given out for a moment


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_leaves_the_agent_draining(tmp_path, server, number):
    with clients(server.port, 1), agent(conf(server.port), tmp_path) as child:
        child.wait_ready()
        with draining(child, "--wait", "60s") as command:
            until("it waits", command.err)
            assert command.end(number) == 3
            assert "interrupted; the agent goes on draining" in command.err() and "resume" in command.err(), command.err()
        assert is_draining(child)


def test_an_agent_that_restarts_is_told_again(tmp_path, server):
    with clients(server.port, 1) as many:
        with agent(conf(server.port), tmp_path) as child:
            child.wait_ready()
            with draining(child, "--wait", "60s") as command:
                until("it waits", command.err)
                child.end(signal.SIGKILL)
                until("that is noticed", lambda: "no agent answers any more" in command.err())
                again = Process(child.args)
                try:
                    until("the health port answers", lambda: child_answers(child.port))
                    until("it is told", lambda: "told again to drain" in command.err(), 10)
                    until("it drains", lambda: is_draining(child))
                    assert command.running()
                    many[0].leave()
                    assert command.child.wait(PATIENCE) == 0, command.err()
                finally:
                    again.end()
                    again.cleanup()


def child_answers(port):
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


@pytest.mark.parametrize("url, why", [
    ("ws://192.0.2.1:8080/ws", "the server is on another host"),
    ("ws://127.0.0.1:{free}/ws", "nothing listens at port"),
    ("ws://no-such-name.invalid:8080/ws", "the name no-such-name.invalid does not resolve"),
])
def test_what_cannot_be_counted_is_waited_out(tmp_path, url, why):
    text = CONF.format(url=url.format(free=free_port()), prestop="true")
    with agent(text, tmp_path) as child:
        began = time.monotonic()
        code, out, err = child.command("drain", "--wait", "2s")
        assert code == 1 and time.monotonic() - began >= 2, (code, out)
        assert "client connections cannot be counted: " + why in err and "waits for the whole 2s" in err, err
        assert out.startswith("time over: client connections could not be counted: " + why), out
        assert "wshealthd_drain_remaining_connections NaN" in child.get("/metrics").text
        began = time.monotonic()
        reply = child.get("/prestop?timeout=1s")
        assert reply.status == 200 and why in reply.text and time.monotonic() - began >= 1, reply.text


def test_a_unix_socket(tmp_path):
    path = tmp_path / "chat.sock"
    text = CONF.format(url=f"ws+unix://{path}:/ws", prestop="false")
    with capacity("unix", path), contextlib.ExitStack() as stack, agent(text, tmp_path) as child:
        one = stack.enter_context(socket.socket(socket.AF_UNIX))
        one.connect(str(path))
        with draining(child, "--wait", "60s") as command:
            until("it is counted", lambda: left(child) == 1)
            one.close()
            assert command.child.wait(PATIENCE) == 0, command.err()


def test_who_waits_to_be_accepted_is_a_client(tmp_path):
    """A server that hangs: its new clients are in the accept queue, and would be cut as others are."""
    port = free_port()
    with socket.socket() as listener, agent(conf(port), tmp_path) as child:
        listen(listener, port)
        with socket.create_connection(("127.0.0.1", port)), draining(child, "--wait", "60s") as command:
            until("it is counted", lambda: left(child) == 1)
            time.sleep(0.3)
            assert command.running()


def test_a_server_that_has_closed_its_listener_still_has_clients(tmp_path):
    port = free_port()
    with socket.socket() as listener, agent(conf(port), tmp_path) as child:
        listen(listener, port)
        mine, one = connected(listener)
        with mine, one, draining(child, "--wait", "60s") as command:
            until("it is counted", lambda: left(child) == 1)
            listener.close()
            time.sleep(0.5)
            assert left(child) == 1 and command.running()
            mine.close()
            assert command.child.wait(PATIENCE) == 0, command.err()


def test_the_port_of_a_server_check_is_the_servers(tmp_path, server):
    """Whatever stands in front of it: here it is not the target that is counted."""
    port = free_port()
    text = conf(server.port).replace("{ type: handshake }", f"{{ type: handshake }}, {{ type: server, port: {port} }}")
    with capacity("127.0.0.1", port), clients(server.port, 2), agent(text, tmp_path) as child, socket.create_connection(("127.0.0.1", port)):
        child.wait_ready()
        child.command("drain")
        until("one is counted", lambda: left(child) == 1)


def test_a_reload_while_it_drains(tmp_path, server):
    """The count moves to the new target."""
    port = free_port()
    with capacity("127.0.0.1", port), clients(server.port, 2), agent(conf(server.port), tmp_path) as child, \
            socket.create_connection(("127.0.0.1", port)):
        child.wait_ready()
        child.command("drain")
        until("two are counted", lambda: left(child) == 2)
        child.write(conf(port))
        assert child.command("reload")[0] == 0
        until("one is counted", lambda: left(child) == 1)


def test_progress_on_a_terminal_is_one_line(tmp_path, server):
    with clients(server.port, 2) as many, agent(conf(server.port), tmp_path) as child:
        child.wait_ready()
        command = Terminal("drain", "--wait", "60s", "-c", child.file)
        until("two are shown", lambda: "\r2 client connections left, 60s to go\x1b[K" in command.bytes.decode())
        many[0].leave()
        until("one is shown", lambda: "\r1 client connection left, " in command.bytes.decode())
        many[1].leave()
        code, text = command.end()
        assert code == 0, text
        assert "\n" not in text.split("drained: ")[0] and text.endswith("\n"), text


# --- /prestop ------------------------------------------------------------------------------------------------------------------------


def test_prestop_is_off_unless_it_is_wanted(tmp_path, server):
    with agent(conf(server.port), tmp_path) as child:
        child.wait_ready()
        assert child.get("/prestop").status == 404
        child.write(conf(server.port, "true"))
        assert child.command("reload")[0] == 0
        assert child.get("/prestop", "HEAD").status == 200
        assert child.get("/prestop", "POST").status == 405
        assert child.ready() and not is_draining(child)


def test_prestop_answers_when_the_last_client_has_left(tmp_path, server):
    with clients(server.port, 20) as many, agent(conf(server.port, "true"), tmp_path) as child:
        child.wait_ready()
        answers = []
        waiting = [threading.Thread(target=lambda: answers.append(child.get("/prestop?timeout=100s"))) for _ in range(60)]
        for one in waiting:
            one.start()
        until("it drains", lambda: is_draining(child))
        gone = socket.create_connection(("127.0.0.1", child.port))
        gone.sendall(b"GET /prestop HTTP/1.1\r\nHost: a\r\n\r\n")
        gone.close()
        until("they are counted", lambda: left(child) == 20)
        for one in many:
            one.echo()
        assert not answers
        assert child.get("/ready").text == "draining\n"
        assert child.get("/live").status == 200
        for one in many:
            one.leave()
        for one in waiting:
            one.join(PATIENCE)
        assert [(one.status, one.text) for one in answers] == [(200, "drained, client connections left: 0\n")] * 60
        assert child.get("/ready").status == 503
        assert child.get("/prestop?timeout=100s").text == "drained, client connections left: 0\n"


def test_prestop_answers_when_the_time_is_over(tmp_path, server):
    with clients(server.port, 2) as many, agent(conf(server.port, "true"), tmp_path) as child:
        child.wait_ready()
        began = time.monotonic()
        reply = child.get("/prestop?timeout=1s")
        assert (reply.status, reply.text) == (200, "time over, client connections left: 2\n")
        assert time.monotonic() - began >= 1
        for one in many:
            one.echo()
        assert child.get("/ready").status == 503


def test_the_hook_as_documented(tmp_path, server):
    """The path of the document's preStop: an idle server is held for `min`."""
    path = re.search(r'preStop: \{ httpGet: \{ path: "(/prestop[^"]*)"', (ROOT / "docs/kubernetes.md").read_text())[1]
    with agent(conf(server.port, "true"), tmp_path) as child:
        child.wait_ready()
        began = time.monotonic()
        reply = child.get(path)
        assert (reply.status, reply.text) == (200, "drained, client connections left: 0\n")
        assert "min=5s" in path and 5 <= time.monotonic() - began < 25
        assert "prestop_parameter" not in child.err()


def test_a_flood_of_prestops_harms_nobody(tmp_path, server):
    """More wait than may: /ready is answered all the same, and so is the one that comes from elsewhere."""
    with clients(server.port, 1) as many, agent(conf(server.port, "true"), tmp_path) as child:
        child.wait_ready()
        with contextlib.ExitStack() as stack:
            for _ in range(400):
                one = stack.enter_context(socket.create_connection(("127.0.0.1", child.port), timeout=PATIENCE))
                one.sendall(b"GET /prestop?timeout=1h HTTP/1.1\r\nHost: a\r\n\r\n")
            other = stack.enter_context(socket.create_connection(("127.0.0.1", child.port), timeout=PATIENCE, source_address=("127.0.0.2", 0)))
            other.sendall(b"GET /prestop?timeout=1h HTTP/1.1\r\nHost: a\r\n\r\n")
            for _ in range(20):
                assert child.get("/ready").status == 503
            many[0].leave()
            assert other.recv(12) == b"HTTP/1.1 200"


# --- SIGTERM ---------------------------------------------------------------------------------------------------------------------------


def test_sigterm_drains_the_agent_for_its_grace(tmp_path, server):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(PATIENCE)
    with manager, agent(conf(server.port, more="shutdown: { grace: 2s }\n"), tmp_path, env=environment(NOTIFY_SOCKET=str(tmp_path / "notify"))) as child:
        child.wait_ready()
        began = time.monotonic()
        child.send(signal.SIGTERM)
        until("/ready turns", lambda: not child.ready(), 5)
        assert child.get("/ready").text == "draining\n"
        while "STOPPING=1" not in (told := manager.recv(4096).decode()):
            pass
        assert "EXTEND_TIMEOUT_USEC=12000000" in told, told  # the units give 5 s
        manager.close()
        code, _, err = child.command("resume")
        assert code == 3 and "told to end" in err, err
        assert child.child.wait(PATIENCE) == 0
        assert time.monotonic() - began >= 2
        assert "event=leave grace=2s" in child.err(), child.err()


def test_the_grace_can_be_cut_short(tmp_path, server):
    text = conf(server.port, more="shutdown: { grace: 1h }\n")
    for first, code in ((signal.SIGINT, 0), (signal.SIGTERM, 3)):
        with agent(text, tmp_path) as child:
            child.wait_ready()
            child.send(first)
            if first == signal.SIGTERM:
                until("it drains", lambda: not child.ready())
                child.send(signal.SIGTERM)
            assert child.child.wait(PATIENCE) == code


def test_the_agent_outlives_the_hook_that_waits(tmp_path, server):
    """Plain containers of a pod are told to end at the same moment: the hook comes before or just after the agent's SIGTERM."""
    for first in (True, False):
        with clients(server.port, 1) as many, agent(conf(server.port, "true"), tmp_path) as child:
            child.wait_ready()
            answers = []
            waiting = threading.Thread(target=lambda: answers.append(child.get("/prestop?timeout=60s")))
            if first:
                waiting.start()
                until("it drains", lambda: is_draining(child))
                child.send(signal.SIGTERM)
            else:
                child.send(signal.SIGTERM)
                until("it drains", lambda: not child.ready())
                waiting.start()
            time.sleep(3)
            assert child.running() and child.get("/ready").status == 503
            many[0].echo()
            many[0].leave()
            waiting.join(PATIENCE)
            assert answers[0].text == "drained, client connections left: 0\n"
            assert child.child.wait(PATIENCE) == 0
