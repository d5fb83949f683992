"""`fleet --watch` and `fleet gate`: real agents of one group on a real Redis (agent/cli/cli_watch.c, agent/cli/gate.h)."""
import contextlib
import json
import re
import signal
import subprocess

import pytest

from harness import BINARY, PATIENCE, ROOT, Process, environment, until, wshealthd
from test_fleet import broker, group, states
from test_watch import Window


@pytest.fixture
def fleet(tool, tmp_path):
    with broker("redis", tool, tmp_path) as bus, group(tmp_path, bus.url) as (servers, children):
        yield bus, servers, children


@contextlib.contextmanager
def running(*args):
    child = Process([BINARY, *args])
    try:
        yield child
    finally:
        child.end(signal.SIGKILL)
        child.cleanup()


def test_watch(fleet):
    bus, servers, children = fleet
    admin = f"unix:{children[0].admin}"
    flags = ["fleet", "--watch", "--admin", admin]
    with running(*flags) as lines, running(*flags, "--json") as objects:
        windows = [Window(children[0], 60, 20, command="fleet"), Window(children[0], 120, 20, command="fleet", NO_COLOR="1", LC_ALL="C")]
        for window in windows:
            rows = window.shows("chat by bus: 3 ready")
            assert max(map(len, rows)) <= window.columns and "q quits" in rows[-1]
            assert ("VERSION" in "".join(rows)) is (window.columns == 120)
        assert b"\x1b[32m" in windows[0].bytes and not re.search(rb"\x1b\[3|[\x80-\xff]", windows[1].bytes)
        until("the first line", lambda: "chat by bus: 3 ready" in lines.out())
        until("the first object", lambda: "chat-2" in objects.out())
        servers[0].end(signal.SIGKILL)
        until("it is told", lambda: "chat-0 (eu) is not ready: server_down" in lines.out())
        until("it is told", lambda: "server_down" in objects.out())
        for window in windows:
            window.shows("not ready")
        told = len(objects.out().splitlines())
        bus.end(signal.SIGKILL)
        until("it is told", lambda: "not linked" in lines.out())
        windows[0].shows("not linked")
        assert len(objects.out().splitlines()) < told + 10
        for line in objects.out().splitlines():
            assert json.loads(line)["group"] == "chat"
        for line in lines.out().splitlines():
            assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ chat by bus: ", line), line
        children[0].child.kill()
        children[0].child.wait()
        windows[0].shows("agent lost since")
        until("the agent is lost", lambda: "agent lost" in lines.out() and "agent lost" in objects.err())
        for window in windows:
            window.type(b"q")
            window.end(3)


def gate(child, *flags, group="chat"):
    return wshealthd("fleet", "gate", "--group", group, "--for", "1s", "--admin", f"unix:{child.admin}", *flags)


def pipeline(child):
    """The step of a pipeline that docs/fleet.md has, shortened. What came of it."""
    step = (ROOT / "docs/fleet.md").read_text().split("```sh\n")[1].split("```")[0]
    step = step.replace("60s", "1s").replace("10m", "2s").replace("--min-ready 6", "--min-ready 3")
    shell = f'deploy-chat() {{ echo deployed; }}; roll-back-chat() {{ echo back; }}; wshealthd() {{ {BINARY} "$@"; }}; VERSION=2; {step}'
    return subprocess.run(["bash", "-c", shell], env=environment(WSHEALTHD_ADMIN=f"unix:{child.admin}"), stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, timeout=PATIENCE, check=True).stdout.decode().splitlines()


def test_gate(fleet):
    bus, servers, children = fleet
    first = children[0]
    assert re.match("passed after .*3 of 3 instances of chat", pipeline(first)[1])
    code, out, err = gate(first)
    assert code == 0 and re.match(r"passed after \d.*: 3 of 3 instances of chat are ready; well for 1s of 1s\n", out), out
    assert re.fullmatch(r"3 of 3 instances of chat are ready; well for \ds of 1s\n", err), err
    code, out, _ = wshealthd("fleet", "gate", "--group", "chat", "--for", "1s", "--min-ready", "3", "--url", f"http://127.0.0.1:{first.port}", "--json")
    found = json.loads(out)
    assert code == 0 and found["passed"] and (found["ready"], found["of"], found["needed"]) == (3, 3, 3) and found["waited_ms"] >= 1000

    code, out, err = gate(first, group="shop")
    assert (code, out) == (3, "") and "the agent is of group 'chat', and --group wants 'shop'" in err

    servers[1].end(signal.SIGKILL)
    until("all know", lambda: states(first)["chat-1"] == "not_ready")
    assert pipeline(first)[-1] == "back"
    code, out, err = gate(first, "--timeout", "2s")
    assert code == 2 and re.match(r"failed after \d\S*: 2 of 3 instances of chat are ready: chat-1 \(eu\) is not ready: server_down "
                                  r"for \d+s; want 100%\n  \S", out), out
    assert err.count("\n") <= 2
    code, out, _ = gate(first, "--timeout", "2s", "--json")
    found = json.loads(out)
    assert code == 2 and found["passed"] is False and [one["id"] for one in found["not_ready"]] == ["chat-1"] and found["advice"]
    assert gate(first, "--min-ready", "2")[0] == 0

    with running(
            "fleet", "gate", "--group", "chat", "--for", "60s", "--timeout", "90s", "--admin", f"unix:{first.admin}") as waits:
        until("it waits", lambda: "2 of 3" in waits.err())
        bus.end(signal.SIGKILL)
        until("the broker is missed", lambda: "the agent is not linked to the others of chat" in waits.err())
        first.child.kill()
        first.child.wait()
        until("the agent is missed", lambda: "no agent answers" in waits.err())
        waits.send(signal.SIGINT)
        assert waits.child.wait(PATIENCE) == 3 and "wshealthd fleet: interrupted" in waits.err()
    code, out, _ = gate(first, "--timeout", "1500ms")
    assert code == 3 and "no agent answers" in out


def test_gate_flags(tmp_path):
    admin = ("--admin", f"unix:{tmp_path}/none.sock")
    for flags, says in ((("gate",), "needs --group"), (("gate", "--group", "chat", "--for", "5"), "--for '5', want a duration"),
                        (("gate", "--group", "chat", "--timeout", "x"), "--timeout 'x', want a duration"),
                        (("gate", "--group", "chat", "--timeout", "10s"), "--timeout is not longer than --for (60s)"),
                        (("gate", "--group", "chat", "--min-ready", "101%"), "--min-ready '101%', want a number"),
                        (("gate", "--group", "chat", "--watch"), "one of the two"), (("gates",), "want gate"),
                        (("--for", "5s"), "--for is for 'fleet gate'"), (("gate", "--group", "chat", "--url", "ws://x"), "--url: scheme ws"),
                        (("gate", "--group", "chat", "--url", "chat-1"), "--url: no scheme, want http://host:port")):
        code, out, err = wshealthd("fleet", *flags, *admin)
        assert (code, out) == (3, "") and says in err, err
