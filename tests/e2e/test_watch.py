"""`status --watch` on real terminals: redrawn on change, fitted to the window, gone without a trace; and in pipes, a line for each change."""
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

import pytest

from harness import BINARY, PATIENCE, Process, agent, echo_server, environment, free_port, until, wshealthd

FAST = "defaults: { interval: 200ms, timeout: 1s, jitter: 0%, fall: 1 }\n"
CHECKS = "checks: [{ name: handshake, type: handshake }, { name: ping, type: ping }, { name: hold, type: hold }]\n"
ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
ALLOWED = re.compile(rb"\x1b\[(\?(1049|7|25)[hl]|H|2J|K|[0-9;]*m)")


def conf(port, checks=CHECKS):
    return f"{FAST}target: {{ url: \"ws://127.0.0.1:{port}/ws\" }}\n{checks}"


class Window:
    """A terminal that the command controls, and what is on it: the last picture, row by row."""

    def __init__(self, child, columns=80, rows=24, flags=(), command="status", **env):
        self.master, self.slave = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.slave)
        settings = environment(**{"TERM": "xterm", "LC_ALL": "C.UTF-8", **env})

        def control():
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

        self.child = subprocess.Popen([BINARY, command, "--watch", "--admin", f"unix:{child.admin}", *flags], stdin=self.slave,
                                      stdout=self.slave, stderr=self.slave, env=settings, start_new_session=True, preexec_fn=control)
        self.bytes = b""
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        with contextlib.suppress(OSError):
            while piece := os.read(self.master, 65536):
                self.bytes += piece

    def resize(self, columns, rows):
        self.columns, self.rows = columns, rows
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def picture(self):
        """The rows of the last whole picture; [] before the first, and while its size is not that of the window."""
        frames = self.bytes.split(b"\x1b[H")[1:]
        for frame in reversed(frames):
            rows = re.sub(rb"\x1b\[[0-9;]*[mK]", b"", frame.split(LEAVE)[0].split(b"\x1b[?25h")[0]).decode().replace("\r", "").split("\n")
            if len(rows) == self.rows and "UTC" in rows[-1]:
                return rows
        return []

    def shows(self, text, seconds=PATIENCE):
        return until(f"the screen shows {text!r}", lambda: (rows := self.picture()) and any(text in row for row in rows) and rows, seconds)

    def type(self, keys):
        os.write(self.master, keys)

    def end(self, code=None):
        """Waits for its end; the terminal is as it was."""
        try:
            ended = self.child.wait(PATIENCE)
        finally:
            if self.child.poll() is None:
                self.child.kill()
                self.child.wait()
        assert code is None or ended == code, self.bytes[-500:]
        assert termios.tcgetattr(self.slave) == self.before
        os.close(self.slave)
        self.thread.join(PATIENCE)
        os.close(self.master)
        assert b"Sanitizer" not in self.bytes, self.bytes
        assert self.bytes.count(ENTER) == self.bytes.count(LEAVE) and self.bytes.rindex(LEAVE) > self.bytes.rindex(ENTER)
        assert b"\x1b" not in ALLOWED.sub(b"", self.bytes)


@pytest.fixture
def watched(tmp_path, server):
    with agent(conf(server.port), tmp_path) as child:
        child.wait_ready()
        until("all pass", lambda: child.status()["status"] == "pass")
        yield child


def test_every_width_and_keys(watched):
    for columns, colour in ((60, "1"), (80, ""), (200, "")):
        window = Window(watched, columns, 50, NO_COLOR=colour)
        rows = window.shows("✓ ready")
        window.shows("hold")
        assert max(map(len, rows)) <= columns and "q quits" in rows[-1]
        assert (b"\x1b[32m" in window.bytes) is (not colour)
        window.resize(90, 12)
        assert "below" in window.shows("below")[-1]
        window.type(b"\x1b[6~\x1b[B")
        window.shows("above")
        window.type(b"\x1b[H")
        window.shows("✓ ready")
        window.type({60: b"q", 80: b"\x03", 200: b"\x04"}[columns])
        window.end(0)


def test_ascii_and_signals(watched):
    for number in (signal.SIGTERM, signal.SIGHUP):
        window = Window(watched, LC_ALL="C")
        window.shows("+ ready")
        assert not re.search(rb"[\x80-\xff]", window.bytes)
        window.child.send_signal(number)
        window.end(0)


def test_stopped_and_continued(watched):
    window = Window(watched)
    window.shows("✓ ready")
    window.child.send_signal(signal.SIGTSTP)
    until("it has left the screen", lambda: LEAVE in window.bytes)
    until("it is stopped", lambda: "T (stopped)" in open(f"/proc/{window.child.pid}/status", encoding="ascii").read())
    assert termios.tcgetattr(window.slave) == window.before
    window.child.send_signal(signal.SIGCONT)
    until("it is back", lambda: window.bytes.count(ENTER) == 2)
    window.shows("✓ ready")
    window.type(b"q")
    window.end(0)


def test_a_change_a_lost_agent_and_a_new_one(tmp_path):
    port = free_port()
    with echo_server(port) as server, agent(conf(port), tmp_path) as child:
        child.wait_ready()
        window, old = Window(child, rows=60), Window(child, rows=60)
        window.shows("✓ ready")
        server.end()
        window.shows("✗ not ready")
        window.shows("cause: server_down")
        child.child.kill()
        child.child.wait()
        rows = window.shows("agent lost since")
        assert any("✗ not ready" in row for row in rows)
        old.shows("agent lost since")
        old.type(b"q")
        old.end(3)
        with echo_server(port), agent(conf(port), tmp_path) as again:
            again.wait_ready()
            rows = window.shows("✓ ready")
            assert not any("lost" in row for row in rows)
            os.kill(again.pid, signal.SIGSTOP)  # it has a socket, and says nothing
            window.shows("it does not answer", 60)
            os.kill(again.pid, signal.SIGCONT)
            until("it is back", lambda: not any("lost" in row for row in window.picture()))
            window.shows("✓ ready")
            window.type(b"q")
            window.end(0)


def answer_with_escapes(sock):
    """A server that refuses each upgrade with a text made for terminals."""
    with contextlib.suppress(OSError):
        while True:
            peer, _ = sock.accept()
            with contextlib.suppress(OSError), peer:
                peer.settimeout(5)
                peer.recv(4096)
                body = b"\x1b[2J\x1b]0;owned\x07\xc2\x9b31mred\r\x1b[?1049l\x1bc"
                peer.sendall(b"HTTP/1.1 403 \x1b[2JNo\r\nContent-Length: %d\r\nX: \x1bc\r\n\r\n" % len(body) + body)


def test_no_byte_of_a_server_moves_the_cursor(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        threading.Thread(target=answer_with_escapes, args=(sock,), daemon=True).start()
        with agent(conf(sock.getsockname()[1]), tmp_path) as child:
            until("it has judged", lambda: child.status()["checks"][0]["state"] == "fail")
            window = Window(child, rows=60)
            window.shows("fail")
            time.sleep(0.5)  # some pictures more
            window.type(b"q")
            window.end()
        sock.shutdown(socket.SHUT_RDWR)


def test_lines_for_a_pipe(tmp_path):
    port = free_port()
    with echo_server(port) as server, agent(conf(port), tmp_path) as child:
        child.wait_ready()
        until("all pass", lambda: child.status()["status"] == "pass")
        flags = [BINARY, "status", "--watch", "--admin", f"unix:{child.admin}"]
        lines, objects, quick = Process(flags), Process([*flags, "--json"]), Process(flags)
        try:
            for one in (lines, objects, quick):
                until("the first line", one.out)
            quick.send(signal.SIGINT)
            assert quick.child.wait(PATIENCE) == 0
            server.end()
            until("it is told", lambda: "not ready: Nothing listens" in lines.out())
            until("it is told", lambda: "server_down" in objects.out())
            child.end(signal.SIGKILL)
            until("the agent is lost", lambda: "agent lost" in lines.out() and "agent lost" in objects.err())
            with echo_server(port), agent(conf(port), tmp_path):
                until("it is back", lambda: lines.out().rstrip().rsplit("\n", 1)[-1].find(" ready: ") == 20)
                until("it is back", lambda: json.loads(objects.out().rstrip().rsplit("\n", 1)[-1])["status"] == "pass")
                assert lines.end(signal.SIGTERM) == 0
                assert objects.end(signal.SIGTERM) == 0
            for line in lines.out().splitlines():
                assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \S", line), line
            found = [json.loads(line) for line in objects.out().splitlines()]
            assert all(one["at"] and len(one["checks"]) == 3 for one in found)
            assert len(lines.out().splitlines()) < 30 and "\x1b" not in lines.out()
        finally:
            for one in (lines, objects, quick):
                one.end(signal.SIGKILL)
                one.cleanup()


def test_it_ends_with_its_reader(watched):
    with subprocess.Popen([BINARY, "status", "--watch", "--admin", f"unix:{watched.admin}"], stdout=subprocess.PIPE,
                          env=environment()) as command:
        assert b"ready" in command.stdout.readline()
        command.stdout.close()
        assert command.wait(PATIENCE) == 0


def test_what_cannot_be_watched(watched, tmp_path):
    code, out, err = wshealthd("status", "--watch", "--admin", f"unix:{tmp_path}/none.sock")
    assert (code, out) == (3, "") and "no such socket" in err
    code, _, err = wshealthd("status", "--watch", "--evidence", "ping", "--admin", f"unix:{watched.admin}")
    assert code == 3 and "one of the two" in err


def test_nobody_waits_for_a_full_pipe(tmp_path):
    """A reader that rests keeps the command from nothing: it ends when told to, and tells the newest state when it is read again."""
    port = free_port()
    with echo_server(port) as server, agent(conf(port), tmp_path) as child, contextlib.ExitStack() as stack:
        child.wait_ready()
        until("all pass", lambda: child.status()["status"] == "pass")
        pipes = {}
        for name in ("late", "ended"):
            reading, writing = os.pipe()
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)  # less than a report
            args = [BINARY, "status", "--watch", "--json", "--admin", f"unix:{child.admin}"]
            one = subprocess.Popen(args, stdout=writing, stderr=subprocess.DEVNULL, env=environment())
            stack.callback(lambda one=one: (one.kill(), one.wait()))
            stack.callback(os.close, writing)
            stack.callback(os.close, reading)
            until("the pipe is full", lambda writing=writing: not select.select([], [writing], [], 0)[1])
            pipes[name] = (one, reading)
        ended, late = pipes["ended"][0], pipes["late"][1]
        ended.send_signal(signal.SIGTERM)
        assert ended.wait(PATIENCE) == 0
        server.end()
        child.wait_not_ready()
        lines = [b""]
        while not any(json.loads(line)["ready"] is False for line in lines[:-1]):
            lines = (b"\n".join(lines) + os.read(late, 65536)).split(b"\n")
        assert len(lines) < 10


@contextlib.contextmanager
def in_the_place_of_an_agent(path, talk):
    """A server on the admin socket that answers /status as an agent, and /events as talk(peer) does; yields what `status --watch` says to that."""
    def answer(peer):
        with contextlib.suppress(OSError), peer:
            if b"/status" in peer.recv(4096):
                peer.sendall(b'HTTP/1.0 200 OK\r\n\r\n{"status":"pass"}\n')
                return
            peer.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            talk(peer)

    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen(16)

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(sock.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        child = Process([BINARY, "status", "--watch", "--admin", f"unix:{path}"])
        try:
            yield child
        finally:
            child.end()
            child.cleanup()
            sock.shutdown(socket.SHUT_RDWR)


def test_bytes_that_are_no_events_are_silence(tmp_path):
    """Something else has taken the agent's place, and never stops talking."""
    def talk(peer):
        while True:
            peer.sendall(b"data: x")
            time.sleep(0.05)

    with in_the_place_of_an_agent(tmp_path / "sock", talk) as child:
        until("the agent is lost", lambda: "it does not answer; trying again" in child.out())


def test_streams_that_do_not_last(tmp_path):
    """Where more watch than the agent takes, each that comes ends another's stream: they come back ever later, and say so."""
    with in_the_place_of_an_agent(tmp_path / "sock", lambda peer: peer.sendall(b"event: snapshot\ndata: {}\n\n")) as child:
        until("the agent is lost", lambda: "agent lost" in child.out())
