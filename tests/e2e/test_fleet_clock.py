"""`fleet` where clocks are wrong (faketime): an hour ahead, an hour behind, too fast, set back while the agent runs or between two runs.

Without a key no clock is asked: nothing changes. With one, what comes from another time is ignored, and both sides say so. The monotonic clock is right,
as it is where a clock is only set. The release build, as AddressSanitizer lets no library before itself.
"""
import contextlib
import pathlib
import signal

import pytest

from harness import RELEASE, agent, echo_server, environment, until
from test_fleet import broker, cause, conf, fleet, states, word

IDS = {f"chat-{i}" for i in range(3)}


@pytest.fixture
def fake(tool):
    """fake(SPEC): the environment of a process whose wall clock is that; fake(FILE): whose wall clock the file says, again and again."""
    tool("faketime")
    found = [str(path) for path in pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]
    if not found:
        pytest.skip("libfaketimeMT.so.1 is missing")

    def env(clock):
        how = {"FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"} if isinstance(clock, pathlib.Path) else {"FAKETIME": clock}
        return environment(LD_PRELOAD=found[0], FAKETIME_DONT_FAKE_MONOTONIC="1", **how) if clock else environment()

    return env


def member(child, name):
    return next(row for row in fleet(child)["members"] if row["id"] == name)


@contextlib.contextmanager
def one(folder, i, server, url, env, **more):
    own = folder / f"agent-{i}"
    own.mkdir(exist_ok=True)
    with agent(conf(server.port, url, f"chat-{i}", **more), own, binary=RELEASE, env=env) as child:
        child.wait_ready()
        yield child


@contextlib.contextmanager
def group(folder, fake, clocks, **more):
    with contextlib.ExitStack() as stack:
        bus = stack.enter_context(broker("redis", more.pop("tool"), folder))
        servers = [stack.enter_context(echo_server()) for _ in clocks]
        yield servers, [stack.enter_context(one(folder, i, servers[i], bus.url, fake(clock), **more)) for i, clock in enumerate(clocks)], bus


@pytest.mark.parametrize("clock", ["+1h", "-1h", "+0 x1.05"])
def test_without_a_key_no_clock_is_asked(clock, fake, tool, tmp_path):
    with group(tmp_path, fake, ["", "", clock], tool=tool) as (servers, children, _):
        for child in children:
            until("all know each other", lambda child=child: states(child) == dict.fromkeys(IDS, "ready"))
        first, second, skewed = children
        assert member(first, "chat-2")["since_ms"] < 60000 and member(skewed, "chat-0")["since_ms"] < 60000
        servers[2].end(signal.SIGKILL)
        skewed.wait_not_ready()
        until("the others know", lambda: states(first)["chat-2"] == "not_ready")
        servers[1].end(signal.SIGKILL)
        until("the second is held", lambda: cause(second) == "held_in_rotation")
        assert not skewed.ready() and word(first) == "ready"
        assert not any(sum(fleet(child)["ignored"].values()) for child in children)


def test_with_a_key_a_wrong_clock_is_told_of(fake, tool, tmp_path):
    """The one whose clock is wrong is alone, and says so; the others count it. All are one group as soon as the clock is right."""
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    with group(tmp_path, fake, ["", "", clock], tool=tool, fleet=", key: 'the key of the fleet'") as (_, children, _):
        first, _, skewed = children
        for child in children:
            until("all know each other", lambda child=child: states(child) == dict.fromkeys(IDS, "ready"))
        for wrong in ("-1h", "+1h"):
            clock.write_text(wrong + "\n")
            until("it is forgotten", lambda: "chat-2" not in states(first))
            until("and is alone", lambda: set(states(skewed)) == {"chat-2"})
            assert all(child.ready() for child in children)
            until("it says why", lambda: "none is believed" in (fleet(skewed)["sentence"] or "") and "fleet_ignored" in skewed.err())
            for child in (first, skewed):
                assert fleet(child)["ignored"]["clock"] and fleet(child)["linked"]
                _, table, _ = child.command("fleet")
                assert "a clock is wrong" in table, table
            clock.write_text("+0\n")
            for child in children:
                until("all know each other again", lambda child=child: states(child) == dict.fromkeys(IDS, "ready"))


def test_a_clock_is_set_back(fake, tool, tmp_path):
    """While it runs, and between two runs: nobody takes it for another, or for old, for longer than a moment."""
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    with group(tmp_path, fake, ["", "", clock], tool=tool) as (servers, children, bus):
        first, second, skewed = children
        for child in children:
            until("all know each other", lambda child=child: states(child) == dict.fromkeys(IDS, "ready"))
        clock.write_text("-1h\n")
        until("it is heard", lambda: member(first, "chat-2")["heard_ms"] < 300)
        assert states(first) == dict.fromkeys(IDS, "ready") and not fleet(first)["ignored"]["old"]
        until("it has been there for longer than it takes to fall silent", lambda: member(first, "chat-2")["since_ms"] > 3000)
        skewed.send(signal.SIGKILL)
        skewed.child.wait(20)
        with one(tmp_path, 2, servers[2], bus.url, fake("-2h")) as again:
            until("the run before is silent, and the new one is taken", lambda: member(first, "chat-2")["restarts"] == 1)
            for child in (first, second, again):
                until("all know each other", lambda child=child: states(child) == dict.fromkeys(IDS, "ready"))
            assert not any(row["twin"] for child in (first, second, again) for row in fleet(child)["members"])
            assert fleet(first)["ignored"]["old"] > 0
