"""The agent as a process among others: a log that nobody reads, descriptors that are closed, signals, limits, files that are none."""
import fcntl
import os
import signal
import subprocess
import time

import pytest
from harness import BINARY, agent, environment, free_port, until, wshealthd

CHECKS = """
target: {{ url: "ws://127.0.0.1:{port}/" }}
defaults: {{ interval: {interval}, timeout: {timeout} }}
log: {{ level: {level} }}
checks: [ {{ type: ping }}, {{ type: handshake }} ]
"""


def conf(port, interval="100ms", timeout="90ms", level="info"):
    return CHECKS.format(port=port, interval=interval, timeout=timeout, level=level)


def test_a_log_that_nobody_reads(tmp_path):
    """stderr is a fifo whose reader stands still: every answer still comes, and the reader learns later what it has missed."""
    fifo = tmp_path / "log"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    try:
        with agent(conf(1, level="debug"), tmp_path, prefix=("/bin/sh", "-c", f'exec "$0" "$@" 2>{fifo}')) as child:
            end = time.monotonic() + 4
            while time.monotonic() < end:  # 4 KiB are full in a second
                assert child.get("/healthz").status == 200
            read = b""
            def lost():
                nonlocal read
                try:
                    read += os.read(reader, 1 << 20)
                except BlockingIOError:
                    pass
                return b"event=log_lost" in read
            until("the agent says what was lost", lost)
            for line in read.decode().splitlines()[:-1]:
                assert line.startswith("time=20"), line
    finally:
        os.close(reader)


def test_a_journal_that_stands_still(tmp_path):
    """stderr is a stream socket, as systemd makes it."""
    import socket

    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    file = tmp_path / "wshealthd.yaml"
    port = free_port()
    file.write_text(f"listen: 127.0.0.1:{port}\nadmin: off\n{conf(1, level='debug')}")
    child = subprocess.Popen([BINARY, "run", "-c", file], stderr=theirs, env=environment())
    try:
        theirs.close()
        time.sleep(5)
        code, _out, _err = wshealthd("wait", "--for", "live", "--timeout", "10s", "--url", f"http://127.0.0.1:{port}")
        assert code == 0
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0
    finally:
        child.kill()
        child.wait()
        ours.close()


def test_what_repeats_itself_does_not_fill_the_log(tmp_path, server):
    """One kind of line, again and again: some of them are written, and the others are counted."""
    with agent(conf(server.port, interval="1s", timeout="900ms"), tmp_path) as child:
        child.wait_ready()
        for _ in range(40):
            child.command("drain")
            child.command("resume")
        log = child.err()
        assert 10 <= log.count("event=drain") < 20, log
        until("the rest is counted", lambda: "event=log_more of=drain" in child.err(), 30)


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_descriptors(tmp_path, closed, server):
    """Nothing of the agent's own gets their numbers, and it ends as it should."""
    with agent(conf(server.port, interval="1s", timeout="900ms"), tmp_path, prefix=("/bin/sh", "-c", f'exec "$0" "$@" {closed}')) as child:
        child.wait_ready()
        if os.path.isdir(f"/proc/{child.pid}/fd"):
            for descriptor in range(3):
                name = os.readlink(f"/proc/{child.pid}/fd/{descriptor}")
                assert name == "/dev/null" or name.startswith(str(tmp_path)), name


IGNORED = ("HUP", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "XFSZ", "PIPE", "TTIN", "TTOU", "WINCH", "URG", "CHLD", "CONT")


def test_signals_that_end_nothing(tmp_path, server):
    with agent(conf(server.port, interval="1s", timeout="900ms"), tmp_path) as child:
        child.wait_ready()
        for name in IGNORED:
            child.send(getattr(signal, f"SIG{name}"))
            time.sleep(0.02)
            assert child.running(), name
        assert child.get("/healthz").status == 200


@pytest.mark.parametrize("name", ["TERM", "INT", "QUIT"])
def test_signals_that_end_the_agent(tmp_path, name, server):
    """Also where its parent has blocked them all."""
    blocked = ("/usr/bin/python3", "-c", "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32)); os.execv(sys.argv[1], sys.argv[1:])")
    with agent(conf(server.port, interval="1s", timeout="900ms"), tmp_path, prefix=blocked) as child:
        child.wait_ready()
        assert child.end(getattr(signal, f"SIG{name}")) == 0


def test_no_core_dump_and_no_look_inside(tmp_path, server):
    """What the agent knows (tokens) is not for other processes of its user; with WSHEALTHD_COREDUMP it is."""
    text = conf(server.port, interval="1s", timeout="900ms")
    env = environment()
    del env["WSHEALTHD_COREDUMP"]
    with agent(text, tmp_path, env=env) as child:
        child.wait_ready()
        if os.getuid() != 0:
            with pytest.raises(PermissionError):
                os.listdir(f"/proc/{child.pid}/fd")
        else:
            with open(f"/proc/{child.pid}/limits", encoding="ascii") as limits:
                assert any(line.split()[:6] == ["Max", "core", "file", "size", "0", "0"] for line in limits)
        assert "process_open_fds " in child.get("/metrics").text  # what it reads of itself goes on


def test_the_limit_of_files_is_raised(tmp_path, server):
    import resource

    with agent(conf(server.port, interval="1s", timeout="900ms"), tmp_path, prefix=LOW) as child:
        child.wait_ready()
        assert resource.prlimit(child.pid, resource.RLIMIT_NOFILE) == (400, 400)


LOW = ("/usr/bin/python3", "-c", "import os, resource as r, sys; r.setrlimit(r.RLIMIT_NOFILE, (128, 400)); os.execv(sys.argv[1], sys.argv[1:])")


@pytest.mark.parametrize("command", [("config", "check"), ("run", "-c")])
def test_more_connections_than_descriptors(tmp_path, command):
    """Refused by name before anything starts, and not found out when /ready stops to answer."""
    file = tmp_path / "wshealthd.yaml"
    file.write_text("listen: off\nadmin: off\ntarget: { url: 'ws://127.0.0.1:1/' }\nchecks:\n  - { type: ping }\n  - { type: hold, connections: 2000 }\n")
    done = subprocess.run([*LOW, BINARY, *command, file], capture_output=True, text=True, timeout=30, env=environment(), check=False)
    assert done.returncode == 3, done
    assert "checks[1].connections: hold needs 2202 descriptors" in done.stderr, done.stderr
    assert "may have 400" in done.stderr, done.stderr


def test_as_many_connections_as_descriptors(tmp_path, server):
    """What fits is held, beyond the soft limit that it was started with, and the listeners still answer."""
    text = conf(server.port, interval="1s", timeout="900ms").replace("{ type: handshake }", "{ type: hold, connections: 230 }")
    with agent(text, tmp_path, prefix=LOW) as child:
        child.wait_ready()
        until("all are held", lambda: 'wshealthd_held_connections{check="hold"} 230' in child.get("/metrics").text)
        assert child.command("status")[0] == 0
