"""What people see: on terminals of every width, with and without UTF-8, stopped ones too; and what the commands are that they are told to type."""
import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

import pytest

from harness import BINARY, environment, free_port, until, wshealthd
from schema import accepts

UTF8, LATIN1 = "C.UTF-8", "de_DE.ISO-8859-1"  # the second need not be there: then it is no UTF-8 either


class Terminal:
    """A command on a terminal of its own; what it writes is read by a thread unless `reads` is false."""

    def __init__(self, *args, columns=80, locale=UTF8, reads=True, binary=BINARY, cwd=None, **env):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        settings = environment(TERM="xterm", NO_COLOR="1", LC_ALL=locale, **env)
        self.child = subprocess.Popen([binary, *map(str, args)], stdin=slave, stdout=slave, stderr=slave, env=settings, cwd=cwd)
        os.close(slave)
        self.bytes = b""
        self.reading = threading.Event()
        if reads:
            self.reading.set()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        self.reading.wait()
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while piece := os.read(self.master, 65536):
                self.bytes += piece

    def type(self, line):
        os.write(self.master, line.encode() + b"\n")

    def text(self):
        return self.bytes.decode().replace("\r\n", "\n")

    def end(self, number=None):
        """(exit code, the text)."""
        if number:
            self.child.send_signal(number)
        self.reading.set()
        try:
            code = self.child.wait(30)
        finally:
            if self.child.poll() is None:
                self.child.kill()
                self.child.wait()
        self.thread.join(20)
        os.close(self.master)
        assert "Sanitizer" not in self.bytes.decode(errors="replace"), self.bytes
        return code, self.text()


def on_terminal(*args, **more):
    return Terminal(*args, **more).end()


def widest(text):
    return max(len(line) for line in text.split("\n"))


def nobody():
    return f"ws://127.0.0.1:{free_port()}/ws"


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_a_report_keeps_within_the_terminal(columns):
    for locale in (UTF8, "C"):
        code, out = on_terminal("check", nobody(), columns=columns, locale=locale)
        assert code == 2 and widest(out) <= columns, out
        assert ("✗ not ready" if locale == UTF8 else "- not ready") in out, out
        assert locale == UTF8 or out.isascii(), out
    assert columns < 200 or widest(out) > 100  # sentences use the room


def test_columns_is_for_those_without_a_terminal():
    """`watch` sets it. A terminal knows better, and a terminal that does not know asks for it, too."""
    for value, least, most in (("60", 50, 60), ("10", 30, 40), ("1000", 110, 200), ("nonsense", 80, 100), ("", 80, 100)):
        _code, out, _err = wshealthd("check", nobody(), COLUMNS=value, LC_ALL="C")
        assert least <= widest(out) <= most, (value, out)
    _code, out = on_terminal("check", nobody(), columns=60, COLUMNS="150")
    assert widest(out) <= 60, out
    _code, out = on_terminal("check", nobody(), columns=0, COLUMNS="50")
    assert widest(out) <= 50, out


@pytest.mark.parametrize("locale", ["C", "POSIX", LATIN1, "xx_YY.UTF-8"])
def test_all_is_ascii_where_the_locale_is_not_utf8(tmp_path, locale):
    """Reports, errors, help, logs on a terminal; and the peer's own words with \\xNN. xx_YY is a locale that does not exist."""
    for args in (["check", nobody()], ["check", "-q", nobody()], ["check", "--nagios", nobody()], ["check", "--json", nobody()], ["help"],
                 ["help", "options"], ["help", "check"], ["chéck"], ["check", "--tölken"], ["status", "--admin", f"unix:{tmp_path}/é.sock"],
                 ["config", "check", tmp_path / "é.yaml"], ["config", "init"]):
        _code, out = on_terminal(*args, locale=locale)
        assert out and out.isascii(), (args, out)
    file = tmp_path / "w.yaml"
    file.write_text("target: { url: ws://127.0.0.1:1/ws }\ntärget: 1\n")
    for args in (["config", "check", file], ["check", "-c", file], ["run", "-c", file]):
        code, out = on_terminal(*args, locale=locale)
        assert code == 3 and out.isascii() and "t\\xc3\\xa4rget" in out, (args, out)
        code, _out, err = wshealthd(*args, LC_ALL=locale)
        assert code == 3 and err.isascii(), (args, err)


def test_the_locale_is_found_as_posix_says():
    for env, utf8 in (({"LC_ALL": UTF8}, True), ({"LC_ALL": "C", "LANG": UTF8}, False), ({"LC_CTYPE": UTF8, "LANG": "C"}, True),
                      ({"LANG": UTF8}, True), ({"LC_NUMERIC": UTF8}, False), ({}, False)):
        base = {"LC_ALL": "", "LC_CTYPE": "", "LANG": ""}
        _code, out, _err = wshealthd("check", nobody(), **{**base, **env})
        assert ("✗" in out) == utf8 and out.isascii() != utf8, (env, out)


def test_json_is_for_programs_everywhere_but_on_a_terminal(tmp_path):
    for args in (["check", "--json", nobody()], ["config", "schema"]):
        for locale in (UTF8, "C"):
            _code, piped, _err = wshealthd(*args, LC_ALL=locale)
            assert piped.count("\n") == 1, piped
            _code, shown = on_terminal(*args, locale=locale)
            assert "\x1b" not in shown and shown.startswith('{\n  "'), shown
            assert type(json.loads(shown)) is dict
    assert json.loads(shown) == json.loads(piped)  # the schema: the same at every time
    assert shown.rstrip("\n") == json.dumps(json.loads(piped), indent=2, ensure_ascii=True).rstrip("\n")
    assert wshealthd("config", "schema", tmp_path / "s.json")[0] == 0
    assert (tmp_path / "s.json").read_text() == piped


@pytest.fixture
def refuser():
    """A server that refuses every upgrade, and says why in words that are not ASCII."""
    listener = socket.create_server(("127.0.0.1", 0))
    body = "grün 😀 \u2028 voll".encode()

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


def test_the_peers_words(refuser):
    """For programs UTF-8 always (RFC 8259, 8.1); for people what their terminal can show; in JSON that means the same."""
    for locale in (UTF8, "C"):
        args = ["check", refuser, "--type", "handshake"]
        _code, piped, _err = wshealthd(*args, "--json", LC_ALL=locale)
        assert "grün 😀" in piped, piped
        _code, shown = on_terminal(*args, "--json", locale=locale)
        assert "grün 😀" in json.dumps(json.loads(shown), ensure_ascii=False) and shown.isascii() == (locale == "C"), shown
        for more in ([], ["-q"], ["--nagios"]):
            _code, out, _err = wshealthd(*args, *more, LC_ALL=locale)
            assert ("grün 😀" if locale == UTF8 else "gr\\xc3\\xbcn \\xf0\\x9f\\x98\\x80") in re.sub(r"\n +", " ", out), out
            assert locale == UTF8 or out.isascii(), out


def test_the_log_on_a_terminal(refuser):
    """Logs are UTF-8 where programs read them; on a terminal without it \\uXXXX."""
    for locale in (UTF8, "C"):
        terminal = Terminal("run", refuser, "--listen", f"127.0.0.1:{free_port()}", "--admin", "off", locale=locale)
        until("it is told", lambda terminal=terminal: "voll" in terminal.text(), 40)
        _code, out = terminal.end(signal.SIGTERM)
        assert ("grün 😀" if locale == UTF8 else "gr\\u00fcn \\ud83d\\ude00") in out and out.isascii() == (locale == "C"), out


def test_help_fits():
    for args in (["help"], ["help", "check"], ["help", "config"], ["help", "checks"], ["help", "faults"]):
        for columns in (40, 80, 120):
            code, out = on_terminal(*args, columns=columns)
            wide = [line for line in out.split("\n") if len(line) > columns and not line.startswith(f"  {BINARY} ") and " " in line.strip()]
            assert code == 0 and not wide, wide


# --- the demo ---------------------------------------------------------------------------------------------------------------------------------


def ready(port):
    done = subprocess.run(["curl", "-s", "-m", "10", f"http://127.0.0.1:{port}/ready"], capture_output=True, text=True, check=False, timeout=20)
    return done.stdout


@contextlib.contextmanager
def demo(**more):
    port = free_port()
    terminal = Terminal("demo", "--listen", f"127.0.0.1:{port}", **more)
    try:
        yield terminal, port
    finally:
        if terminal.child.poll() is None:
            terminal.child.kill()
            terminal.child.wait()


@pytest.mark.parametrize(("columns", "locale"), [(40, UTF8), (80, "C"), (120, UTF8)])
def test_the_demo_keeps_within_the_terminal(columns, locale):
    with demo(columns=columns, locale=locale) as (terminal, _port):
        until("it is ready", lambda: "-> ready" in terminal.text())
        terminal.type("broker-down")
        until("a fault is told", lambda: "-> degraded" in terminal.text())
        terminal.type("status")
        until("a page", lambda: "started" in terminal.text().split("status\n")[-1])
        terminal.type("quit")
        code, out = terminal.end()
    commands = [line for line in out.split("\n") if line.startswith(("  curl ", f"  {BINARY} "))]
    rest = "\n".join(line for line in out.split("\n") if line not in commands)
    assert code == 0 and len(commands) == 4 and widest(rest) <= columns, out
    assert locale == UTF8 or out.isascii(), out


@pytest.mark.parametrize("stopped", ["unread", "Ctrl-S"])
def test_a_stopped_terminal_stops_nobody(stopped):
    """Nobody reads, while the demo has far more to say than a terminal holds: server, agent and their answers go on, and so does typing."""
    with demo(reads=stopped == "Ctrl-S") as (terminal, port):
        until("it is ready", lambda: ready(port).startswith("ready"))
        if stopped == "Ctrl-S":
            until("it says so", lambda: "-> ready" in terminal.text())
            os.write(terminal.master, b"\x13")
        for _ in range(250):
            terminal.type("faults")
            time.sleep(0.005)  # what is typed must fit, too: a terminal holds 4 KiB of it
        terminal.type("silent-drop")
        until("the fault is seen", lambda: ready(port).startswith("not ready"))
        terminal.type("clear")
        until("it is mended", lambda: re.match("ready|degraded", ready(port)))
        if stopped == "Ctrl-S":
            assert "Faults (*" not in terminal.text()
            os.write(terminal.master, b"\x11")
        terminal.reading.set()
        until("what was left out is told", lambda: re.search(r"messages? (was|were) left out here", terminal.text()))
        terminal.type("help")
        until("it is heard again", lambda: "switches that fault on" in terminal.text().split("left out")[-1])
        terminal.type("quit")
        code, out = terminal.end()
    assert code == 0 and out.startswith("A WebSocket server to break"), out[:200]


def test_a_stopped_terminal_does_not_keep_the_demo_from_ending():
    with demo(reads=False) as (terminal, port):
        until("it is ready", lambda: ready(port).startswith("ready"))
        for _ in range(50):
            terminal.type("faults")
            time.sleep(0.003)
        terminal.child.send_signal(signal.SIGINT)
        assert terminal.child.wait(20) == 0


def test_a_full_pipe_stops_nobody():
    port = free_port()
    child = subprocess.Popen([BINARY, "demo", "--listen", f"127.0.0.1:{port}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, env=environment())
    try:
        until("it is ready", lambda: ready(port).startswith("ready"))
        child.stdin.write(b"faults\n" * 300)
        child.stdin.flush()
        child.stdin.write(b"silent-drop\n")
        child.stdin.flush()
        until("the fault is seen", lambda: ready(port).startswith("not ready"))
        assert not fcntl.fcntl(child.stdout.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK
        child.stdin.write(b"quit\n")
        child.stdin.flush()
        out = child.stdout.read().decode()
        assert child.wait(20) == 0
        assert out.count("Faults (*") > 5 and "messages were left out here" in out, out[-500:]
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        child.stdin.close()
        child.stdout.close()


# --- commands to type ------------------------------------------------------------------------------------------------------------------------


def commands_of_the_demo(*args, **more):
    terminal = Terminal("demo", "--listen", f"127.0.0.1:{free_port()}", *args, columns=200, **more)
    until("it says what to try", lambda: terminal.child.poll() is not None or "Then break something" in terminal.text())
    until("it is ready", lambda: terminal.child.poll() is not None or "-> ready" in terminal.text())
    return terminal, re.findall(r"^  (.*\b(?:check|status) .*)$", terminal.text(), re.M)


def test_the_demo_prints_commands_that_run(tmp_path):
    """Started by a relative path that is not on the PATH: what it prints runs in any directory, typed into a shell as it is."""
    place = tmp_path / "a place"
    place.mkdir()
    (place / "wshealthd").symlink_to(BINARY)
    terminal, commands = commands_of_the_demo(binary="./a place/wshealthd", cwd=tmp_path)
    try:
        assert len(commands) == 2, terminal.text()
        for command in commands:
            done = subprocess.run(["sh", "-c", command], cwd="/", capture_output=True, text=True, env=environment(), check=False, timeout=30)
            assert done.returncode in (0, 1) and "ready" in done.stdout, (command, done)
    finally:
        assert terminal.end(signal.SIGINT)[0] == 0


def test_the_name_alone_where_the_shell_finds_it(tmp_path):
    (tmp_path / "wshealthd").symlink_to(BINARY)
    path = f"{tmp_path}:{os.environ['PATH']}"
    terminal, commands = commands_of_the_demo(binary=tmp_path / "wshealthd", PATH=path)
    assert terminal.end(signal.SIGINT)[0] == 0
    assert [command.split()[0] for command in commands] == ["wshealthd", "wshealthd"], commands
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy("/bin/true", other / "wshealthd")  # somebody else's comes first
    _code, _out, err = wshealthd("frobnicate", PATH=f"{other}:{path}")
    assert f"see '{BINARY} help'" in err, err


def test_every_command_that_is_named_runs(tmp_path):
    """Errors, help and a new configuration: none names a program that the reader's shell does not find."""
    binary = os.path.relpath(BINARY, tmp_path)
    texts = []
    for args in (["frobnicate"], ["check", "--frobnicate"], ["check", "-c"], ["check"], ["check", "a", "b"], ["help"], ["help", "check"],
                 ["help", "faults"], ["help", "nothing-like-that"], ["demo", "--fault", "xyzzyx"], ["demo", "-h"], ["config", "init"],
                 ["config", "init", "--short"]):
        done = subprocess.run([binary, *args], cwd=tmp_path, capture_output=True, text=True, env=environment(), check=False, timeout=30)
        texts.append(done.stdout + done.stderr)
    names = "run|check|status|wait|drain|resume|reload|config|demo|help|version"
    for text in texts:
        assert not re.search(rf"(?:^|[ '`(])wshealthd (?:{names})(?=[ '`)\n])", text, re.M), text
        assert not re.search(r"(?:^|[ '`(])wshealthd (?:-c|ws://)", text, re.M), text
    assert sum(f"{binary} " in text for text in texts) >= 11, texts


# --- the schema ------------------------------------------------------------------------------------------------------------------------------

GOOD = [
    {"subscribe": {"expect": None}},
    {"subscribe": {"expect": None, "reject": None, "send": None}},
    {"connect": {"expect": None, "reject": {"contains": "no"}}},
    {"message": {"match": None}},
    {"keepalive": {"match": None, "send": None}},
    {"subscribe": {"expect": {"contains": "ok", "equals": None, "regex": None}}},
    {"subscribe": None},
    {"publish": {"topic": None, "body": None}},
]
BAD = [{"subscribe": {"expect": {}}}, {"subscribe": {"expect": 7, "other": 1}}, {"subscribe": {"expects": None}}]


def document(parts, **target):
    """A configuration with a check that has these parts of a dialect in place."""
    return {
        "target": {"url": "ws://127.0.0.1:1/ws", "dialect": "mine", **target},
        "brokers": [{"name": "bus", "type": "redis", "url": "redis://127.0.0.1:1"}],
        "dialects": {"mine": {"subscribe": {"send": "sub {{channel}}", "expect": {"contains": "ok"}}}},
        "checks": [{"name": "d", "type": "delivery", "broker": "bus", "channel": "c", **parts}],
    }


def test_the_schema_accepts_what_the_configuration_accepts(tmp_path):
    schema = json.loads(wshealthd("config", "schema")[1])
    cases = [(document(parts), True) for parts in GOOD] + [(document(parts), False) for parts in BAD]
    cases += [(document({}, headers={"X-A": None, "X-B": "b", "X-C": 7}), True), (document({}, headers={"X-A": ["b"]}), False)]
    cases += [({**document({}), "dialects": {"mine": {"subscribe": {"send": "s", "expect": None}, "greeting": {"expect": None}}}}, True)]
    for number, (text, good) in enumerate(cases):
        file = tmp_path / f"{number}.yaml"
        file.write_text(json.dumps(text))
        code, _out, err = wshealthd("config", "check", file)
        assert (code == 0) == good, (text, err)
        assert accepts(schema, text, schema) == good, text
