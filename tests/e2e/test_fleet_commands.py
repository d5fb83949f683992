"""`fleet --watch` and `fleet gate`: real agents of one group on a real Redis (agent/cli/cli_watch.c, agent/cli/gate.h)."""
import contextlib
import json
import re
import signal

import pytest

from harness import BINARY, PATIENCE, Process, until, wshealthd
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
