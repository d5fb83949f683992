"""`wshealthd demo`: every fault of its own, switched on and off while it runs, is told by the right reason."""
import concurrent.futures
import json
import re

import pytest

from demo import Demo
from harness import BINARY, until, wshealthd

# The reasons that fit; which comes first depends on the check that is on its turn.
REASONS = {
    "refuse": {"connect_refused", "closed_abnormal"}, "reset": {"connection_reset", "closed_abnormal"}, "hang": {"upgrade_timeout", "silent_drop"},
    "reject-upgrade": {"upgrade_refused"}, "unauthorized": {"upgrade_unauthorized"}, "redirect": {"upgrade_redirect"},
    "plain-http": {"upgrade_refused"}, "bad-accept": {"upgrade_bad_accept"}, "bad-upgrade": {"upgrade_invalid"},
    "bad-extension": {"upgrade_bad_extension"}, "silent-drop": {"silent_drop", "echo_timeout"}, "no-pong": {"silent_drop"},
    "mute": {"echo_timeout"}, "slow-echo": {"slow"}, "wrong-echo": {"echo_mismatch"}, "close-1011": {"closed_by_server"},
    "drop-200ms": {"closed_abnormal"}, "bad-frame": {"protocol_error"}, "bad-utf8": {"protocol_error"}, "half-frame": {"echo_timeout"},
    "huge-frame": {"message_too_big"}, "detach-broker": {"delivery_lost"}, "broker-down": {"broker_unreachable"},
    "broker-read-only": {"broker_read_only"}, "broker-mute": {"broker_not_delivering"}, "chatty": None,
}
STAYS_READY = {"slow-echo", "unauthorized", "broker-down", "broker-read-only", "broker-mute"}


class Faulty(Demo):
    def faults(self):
        return {row["reason"] for row in json.loads(self.get("/status")[1])["checks"] if row["state"] in ("fail", "warn")} - {None}

    def well(self):
        """What hold remembers of connections that were lost is a warning for minutes; all others must pass."""
        states = {row["name"]: row["state"] for row in json.loads(self.get("/status")[1])["checks"]}
        return self.get("/ready")[0] == 200 and all(state == "pass" or (name == "hold" and state == "warn") for name, state in states.items())

    def wait_well(self):
        try:
            until("all is well", self.well, 60)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.get('/ready?verbose')[1]} {self.child.out()[-1500:]}") from None

    def quit(self):
        self.type("quit")
        code = self.child.child.wait(20)
        assert code == 0 and "Sanitizer" not in self.child.err(), self.child.err()


def try_faults(names):
    """{name: what was seen}, one after the other in one demo."""
    # Several run side by side, and the port of a demo is found free a moment before it is taken.
    demo, seen = Faulty(BINARY, "--listen", "127.0.0.1:0"), {}
    try:
        for name in names:
            demo.wait_well()
            demo.type(name)
            wanted = REASONS[name]
            if wanted is None:
                until("rounds", lambda: len(json.loads(demo.get("/status")[1])["checks"][0]["history"]) > 3)
                seen[name] = demo.faults() or None
            else:
                try:
                    until("a fault is seen", lambda: demo.faults() & wanted, 60 if name == "unauthorized" else 30)  # the second refusal comes after ten seconds
                    seen[name] = demo.faults() & wanted
                    if name in STAYS_READY:
                        until("/ready says so", lambda: demo.get("/ready")[1].startswith("degraded"), 10)
                        assert demo.get("/ready")[0] == 200
                    else:
                        until("/ready follows", lambda: demo.get("/ready")[0] == 503, 10)
                except AssertionError as error:
                    seen[name] = f"{error}: {demo.get('/ready?verbose')[1]}"
            demo.type("clear")
        demo.wait_well()
        demo.quit()
        return seen
    finally:
        demo.cleanup()


@pytest.fixture(scope="module")
def seen():
    names = list(REASONS)
    groups = [names[i::6] for i in range(6)]
    with concurrent.futures.ThreadPoolExecutor(len(groups)) as pool:
        results = {}
        for part in pool.map(try_faults, groups):
            results.update(part)
        return results


def test_every_fault_is_in_the_table():
    code, out, _err = wshealthd("help", "faults")
    assert code == 0
    assert set(re.findall(r"^  ([a-z0-9-]+)\b", out, re.M)) == set(REASONS), out


@pytest.mark.parametrize("name", REASONS)
def test_fault_of_the_demo(seen, name):
    if REASONS[name] is None:
        assert seen[name] is None, seen[name]
    else:
        assert isinstance(seen[name], set) and seen[name], seen[name]


def test_a_fault_from_the_start_and_the_end_of_stdin():
    demo = Faulty(BINARY, "--fault", "reject-upgrade")
    try:
        until("it is seen", lambda: "upgrade_refused" in demo.faults())
        demo.child.child.stdin.close()
        demo.alive()
        assert demo.child.end() == 0, demo.child.err()
    finally:
        demo.child.cleanup()
