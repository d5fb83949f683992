"""Ten real agents in one fleet, on a real Redis and a real NATS: killed, frozen, begun anew, twice there, and without their broker."""
import signal

import pytest

from harness import PYTHON, SERVERS, process, until
from instances import Place
from test_fleet import BROKERS, broker


class Ten(Place):
    """Eight servers are in one process, which is ended by nobody."""

    def start(self):
        shared = self.all[:-2]
        server = self.stack.enter_context(process(PYTHON, SERVERS / "echo.py", *(one.server_port for one in shared)))
        for one in shared:
            one.server = server
        super().start()

    def all_see(self, name, state, but=()):
        for one in self.all:
            if one.name != name and one.name not in but:
                until(f"{one.name} sees {name} as {state}, not {one.states().get(name)}", lambda one=one: one.states().get(name) == state)


def twins(one):
    return {member["id"] for member in one.fleet()["members"] if member["twin"]}


@pytest.mark.parametrize("kind", BROKERS)
def test_agents_that_are_killed_frozen_and_begun_anew(kind, tool, tmp_path):
    with broker(kind, tool, tmp_path) as bus, Ten(tmp_path, bus.url, 10, 2, timeout="1s") as place:
        frozen, killed, again = place.all[:3]
        server = place.all[9].server
        frozen.agent.send(signal.SIGSTOP)
        killed.agent.end(signal.SIGKILL)
        again.agent.end(signal.SIGKILL)
        again.start_agent()  # at once, with the same id
        until("both are silent", lambda: [place.all[5].states().get(name) for name in ("chat-0", "chat-1")] == ["silent"] * 2)
        server.send(signal.SIGSTOP)
        place.all_see("chat-9", "not_ready", but=place.names(0, 1, 2))
        server.send(signal.SIGCONT)
        for name in place.names(0, 1):
            place.all_see(name, None, but=place.names(0, 1))  # forgotten
        place.all_see("chat-2", "ready", but=place.names(0, 1))
        place.all_see("chat-9", "ready", but=place.names(0, 1))
        assert all(not twins(one) for one in place.all[2:])

        frozen.agent.send(signal.SIGCONT)
        killed.start_agent()
        place.all_know_each_other()
        assert all(not twins(one) for one in place.all) and all(one.word() == "ready" for one in place.all)

        (tmp_path / "twin").mkdir()
        twin = killed.start_agent(tmp_path / "twin")
        for child in (twin, killed.agent):
            until("each of the two is told", lambda child=child: "event=fleet_twin" in child.err())
        for one in place.all:
            until(f"{one.name} knows of it", lambda one=one: twins(one) == {killed.name})
        twin.stop()


@pytest.mark.parametrize("kind", BROKERS)
def test_a_broker_that_hangs_dies_and_comes_back(kind, tool, tmp_path):
    with broker(kind, tool, tmp_path) as bus, Ten(tmp_path, bus.url, 10, 9, timeout="2s") as place:
        first, second = place.all[:2]
        first.breaks()
        until("nine others are well", lambda: first.word() == "not ready")
        second.breaks()
        until("one is held", lambda: second.cause() == "held_in_rotation")

        bus.send(signal.SIGSTOP)
        until("without answers, it is out", lambda: second.word() == "not ready")
        for one in place.all:
            until(f"{one.name} says so", lambda one=one: not one.fleet()["linked"] and "event=fleet_lost" in one.agent.err())
        assert all(one.agent.ready() for one in place.all[2:])
        bus.send(signal.SIGCONT)
        until("it is held again", lambda: second.cause() == "held_in_rotation")

        bus.end(signal.SIGKILL)
        until("without its broker, it is out", lambda: second.word() == "not ready")
        for one in place.all:
            until(f"{one.name} says so", lambda one=one: not one.fleet()["linked"] and one.agent.err().count("event=fleet_lost") >= 2)
        until("the second as well", lambda: "cannot be asked" in second.sentence())  # /status may be a moment old
        assert all(one.agent.ready() for one in place.all[2:])
        with broker(kind, tool, tmp_path, bus.port):
            for one in place.all:
                until(f"{one.name} is back", lambda one=one: one.agent.err().count("event=fleet_linked") >= 3)
            until("it is held again", lambda: second.cause() == "held_in_rotation")
            for one in (first, second):
                one.is_mended()
            place.all_know_each_other()
