"""`fleet` where the network fails: agents that are cut from the broker, in both directions or in one; a NATS cluster that is cut in two; and two
regions with a long and lossy way between them. Nothing is refused and nobody is told: nft drops packets, in a network of the test's own.

Each agent reaches its broker at an address of its own (127.0.0.11, 127.0.0.12, …), so that each can be cut alone.
"""
import contextlib
import random
import signal
import subprocess
import time

import pytest

from harness import agent, echo_server, free_port, process, until
from network import FAR, NEAR, far_address, own_network
from test_fleet import BROKERS, cause, fleet, states, word


class Network:
    def __init__(self, nft):
        self.nft = nft

    def cut(self, *rules):
        """What any of the rules matches is dropped. Each statement is on a line of its own."""
        lines = "\n".join(f"iif lo {rule} drop" for rule in rules)
        self.run(f"table inet cut {{\nchain input {{\ntype filter hook input priority 0\n{lines}\n}}\n}}\n")

    def heal(self):
        self.run("delete table inet cut\n")

    def run(self, text):
        subprocess.run([self.nft, "-f", "-"], input=text, text=True, check=True, timeout=20)


@pytest.fixture
def network(tool):
    nft, ip = tool("nft"), tool("ip")
    with own_network(ip):
        yield Network(nft)


def address(i):
    return f"127.0.0.{11 + i}"


def conf(server, kind, host, port, name, region, min_ready, timeout):
    return (f"target: {{ url: 'ws://127.0.0.1:{server}/' }}\nidentity: {{ id: {name}, region: {region} }}\n"
            f"brokers: [ {{ name: bus, type: {kind}, url: '{kind}://{host}:{port}', timeout: {timeout}, retry: {{ min: 50ms, max: 400ms }} }} ]\n"
            f"fleet: {{ broker: bus, group: chat, every: 400ms, expire: 4s }}\nreadiness: {{ min_ready: {min_ready} }}\n"
            "defaults: { interval: 300ms, fast_interval: 100ms, timeout: 4s }\nchecks: [ { type: handshake } ]\n")


@contextlib.contextmanager
def broker(kind, tool, folder):
    port = free_port()
    args = (["--port", port, "--protected-mode", "no", "--save", "", "--dir", folder] if kind == "redis" else ["-p", port])
    with process(tool(BROKERS[kind]), *args, port=port):
        yield port


class Group:
    """Agents with a server beside each. places: (broker's host, its port, region) for each agent."""

    def __init__(self, stack, folder, kind, places, min_ready, timeout="2s"):
        self.servers = [stack.enter_context(echo_server()) for _ in places]
        self.agents = []
        for i, (host, port, region) in enumerate(places):
            own = folder / f"agent-{i}"
            own.mkdir()
            text = conf(self.servers[i].port, kind, host, port, f"chat-{i}", region, min_ready, timeout)
            self.agents.append(stack.enter_context(agent(text, own)))
        self.broken, self.floor = set(), 0
        for child in self.agents:
            child.wait_ready()
        self.all_know(range(len(places)))

    def look(self):
        """At any time: no healthy instance is out, and so many are in."""
        ready = [child.ready() for child in self.agents]
        for i, child in enumerate(self.agents):
            assert ready[i] or i in self.broken, (i, child.status()["diagnosis"], child.err())
        assert sum(ready) >= self.floor, (ready, [fleet(child) for child in self.agents])

    def until(self, what, condition, seconds=20.0):
        def looks():
            self.look()
            return condition()

        try:
            return until(what, looks, seconds, pause=0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}: {[(states(c), word(c), cause(c), fleet(c)) for c in self.agents]}") from None

    def all_know(self, who, among=None):
        """Each of `who` knows the others of `among`, and hears them."""
        names = {f"chat-{i}" for i in (who if among is None else among)}

        def know():
            return all(set(told := states(self.agents[i])) == names and "silent" not in told.values() and fleet(self.agents[i])["linked"]
                       for i in who)

        self.until(f"{sorted(names)} know each other", know)

    def kill(self, *which):
        self.broken |= set(which)
        for i in which:
            self.servers[i].end(signal.SIGKILL)

    def twins(self):
        return [member["id"] for child in self.agents for member in fleet(child)["members"] if member.get("twin")]


@pytest.mark.parametrize("kind, direction", [("redis", "both"), ("nats", "both"), ("redis", "receives"), ("nats", "sends")])
def test_one_agent_is_cut_from_the_broker(kind, direction, network, tool, tmp_path):
    """It is held when that happens: it falls back to its own verdict, the others forget it, and all is well again without a hand."""
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(broker(kind, tool, tmp_path))
        group = Group(stack, tmp_path, kind, [(address(i), port, "eu") for i in range(3)], 3)
        first, second, _ = group.agents
        group.floor = 3
        group.kill(0)
        group.until("the first is held", lambda: cause(first) == "held_in_rotation")
        to, fro = f"ip daddr {address(0)} tcp dport {port}", f"ip saddr {address(0)} tcp sport {port}"
        group.floor = 2
        network.cut(*{"both": (to, fro), "sends": (fro,), "receives": (to,)}[direction])
        group.until("it acts by its own verdict", lambda: not first.ready())
        seen = fleet(first)
        assert not seen["linked"] and seen["message"], seen
        assert "the fleet cannot be asked" in seen["sentence"], seen
        assert "fleet_lost" in first.err()
        group.until("the others call it silent", lambda: states(second).get("chat-0") == "silent")
        group.until("and forget it", lambda: "chat-0" not in states(second))
        assert fleet(second)["linked"] and word(second) == "ready"
        network.heal()
        group.all_know(range(3))
        group.until("it is held again", lambda: cause(first) == "held_in_rotation" and first.ready())
        group.until("the log says so", lambda: "fleet_linked" in first.err())
        assert not group.twins()


@contextlib.contextmanager
def nats_pair(tool, folder, route_host):
    """Two servers of one cluster. The second one knows the way to the first; yields (ports for clients, port of the route)."""
    route, ports = free_port(), []
    with contextlib.ExitStack() as stack:
        for i in range(2):
            port, listen = free_port(), route if i == 0 else free_port()
            routes = "" if i == 0 else f"routes: ['nats://{route_host}:{route}']"
            file = folder / f"nats-{i}.conf"
            file.write_text(f"port: {port}\nserver_name: n{i}\nping_interval: '1s'\nping_max: 1\n"
                            f"cluster {{ name: chat, listen: '0.0.0.0:{listen}', no_advertise: true, {routes} }}\n")
            stack.enter_context(process(tool("nats-server"), "-c", file, directory=folder, port=port))
            ports.append(port)
        yield ports, route


def test_a_cluster_is_cut_in_two(network, tool, tmp_path):
    """Each side counts its own members; who was out comes back where its side has too few; afterwards all are one group again."""
    with contextlib.ExitStack() as stack:
        ports, route = stack.enter_context(nats_pair(tool, tmp_path, "127.0.0.1"))
        group = Group(stack, tmp_path, "nats", [("127.0.0.1", ports[i // 2], "us" if i // 2 else "eu") for i in range(4)], 2)
        first, _, third, _ = group.agents
        group.kill(0)
        group.floor = 3
        group.until("the first goes, as three others are well", lambda: not first.ready())
        network.cut(f"tcp dport {route}", f"tcp sport {route}")
        group.until("the other side is silent", lambda: states(first).get("chat-2") == "silent")
        assert all(fleet(child)["linked"] for child in group.agents)
        group.until("one side is all there is", lambda: set(states(first)) == {"chat-0", "chat-1"} and set(states(third)) == {"chat-2", "chat-3"})
        group.until("the first is back in rotation, held", lambda: cause(first) == "held_in_rotation" and first.ready())
        group.floor = 4
        group.kill(2)
        group.until("the third is held: one other is left on its side", lambda: cause(third) == "held_in_rotation")
        end = time.monotonic() + 1
        group.until("and stays", lambda: time.monotonic() > end)
        group.floor = 2
        network.heal()
        group.all_know(range(4))
        group.until("both go, as two are well", lambda: not first.ready() and not third.ready())
        assert not group.twins()


# --- two regions ------------------------------------------------------------------------------------------------------------------------


def far(seconds, jitter, loss):
    """A way on which packets take that long, more or less, and some are lost. Seeded: the same each time."""
    dice = random.Random(11)
    return lambda: None if dice.random() < loss else seconds + dice.uniform(-jitter, jitter)


@pytest.mark.parametrize("kind, seconds", [("redis", 0.08), ("nats", 0.4)])
def test_two_regions(kind, seconds, network, tool, tmp_path):
    """One Redis in the first region, or a cluster of two NATS. Instances break in both regions at once, and three of four stay in rotation."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(far_address(tool("ip"), far(seconds, 0.02, 0.01)))
        if kind == "redis":
            port = stack.enter_context(broker(kind, tool, tmp_path))
            hosts = [(NEAR, port), (FAR, port)]
        else:
            ports, _ = stack.enter_context(nats_pair(tool, tmp_path, FAR))
            hosts = [("127.0.0.1", ports[0]), ("127.0.0.1", ports[1])]
        group = Group(stack, tmp_path, kind, [(*hosts[i // 2], "us" if i // 2 else "eu") for i in range(4)], 3, "5s")
        group.floor = 3
        group.kill(0, 2)
        group.until("one goes, and one is held", lambda: sorted((group.agents[0].ready(), group.agents[2].ready())) == [False, True]
                    and "held_in_rotation" in (cause(group.agents[0]), cause(group.agents[2])))
        group.kill(1)
        group.until("two are held", lambda: sum(cause(child) == "held_in_rotation" for child in group.agents) >= 2)
        assert not group.twins()
