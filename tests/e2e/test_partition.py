"""The way to the broker is cut without a word (nft drops its port, in a network namespace of the test's own), or slow (a relay).

Nobody closes anything: the agent, the server and the broker all go on, and only deadlines tell. Nothing of it is the server's fault.
"""
import contextlib
import re
import subprocess
import time

import pytest

from harness import PYTHON, SERVERS, agent, check, echo_server, free_port, process, until
from network import own_network
from relay import relay
from test_rabbitmq import HOME, Rabbit

INTERVAL, TIMEOUT = 0.2, 1.0
# No answer; and, once the connection has been given up, no other.
LOST = ("fail", "broker_timeout", "shared"), ("fail", "broker_unreachable", "shared")
SLACK = 5.0  # seconds for a machine that has much else to do


class Namespace:
    """The network that this process and its children have while a test runs: an empty one, with a loopback that can be cut."""

    def __init__(self, nft):
        self.nft = nft

    def rules(self, text):
        subprocess.run([self.nft, "-f", "-"], input=text, text=True, check=True, timeout=20)

    def cut(self, port):
        """What is sent to the port is dropped. Each statement is on a line of its own."""
        self.rules(f"table inet cut {{\nchain input {{\ntype filter hook input priority 0\niif lo tcp dport {port} drop\n}}\n}}\n")

    def heal(self):
        self.rules("delete table inet cut\n")


@pytest.fixture
def namespace(tool):
    nft, ip = tool("nft"), tool("ip")
    with own_network(ip):
        yield Namespace(nft)


@contextlib.contextmanager
def redis(tool, directory):
    port = free_port()
    with process(tool("redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", directory, port=port) as child:
        child.port, child.url = port, f"redis://127.0.0.1:{port}"
        yield child


@contextlib.contextmanager
def redis_and_server(tool, directory):
    """(the broker's port, its URL, the target of the configuration)."""
    pytest.importorskip("websockets", reason="python3-websockets is missing")
    port = free_port()
    with redis(tool, directory) as bus, process(PYTHON, SERVERS / "redis_pubsub.py", port, bus.port, port=port):
        yield bus.port, bus.url, f"url: 'ws://127.0.0.1:{port}/ws'"


@contextlib.contextmanager
def nats_and_server(tool, directory):
    """nats-server is its own WebSocket server, on a port that is not cut."""
    port, ws_port = free_port(), free_port()
    file = directory / "nats.conf"
    file.write_text(f"host: 127.0.0.1\nport: {port}\nwebsocket {{ host: 127.0.0.1, port: {ws_port}, no_tls: true }}\n")
    with process(tool("nats-server"), "-c", file, directory=directory, port=ws_port):
        yield port, f"nats://127.0.0.1:{port}", f"url: 'ws://127.0.0.1:{ws_port}/', dialect: nats"


CONF = """
target: {{ {target} }}
defaults: {{ interval: 200ms, timeout: 1s, jitter: 0% }}
liveness: {{ after: 1s }}
brokers:
  - {{ name: bus, type: {kind}, url: '{url}', timeout: 1s, retry: {{ min: 20ms, max: 200ms }} }}
checks:
  - {{ name: handshake, type: handshake }}
"""
DELIVERY = "  - { name: delivery, type: delivery, broker: bus, channel: healthcheck }\n"
BROKER = "  - { name: bus, type: broker, broker: bus, gates: [ready] }\n"


@contextlib.contextmanager
def rabbitmq_and_server(tool, directory, certs):
    """The server beside it rides on no broker: only the broker's own check is looked at."""
    epmd = tool("epmd")
    if not (HOME / "rabbitmq-server").exists():
        pytest.skip("rabbitmq-server is missing")
    node = Rabbit(directory, certs, epmd)
    try:
        with echo_server() as server:
            yield node.port, node.url(), f"url: '{server.url}'"
    finally:
        node.end()


def heartbeats(guard):
    text = guard.get("/metrics").text
    return {k: int(float(v)) for k, v in re.findall(r'wshealthd_delivery_heartbeats_total\{check="delivery",result="(\w+)"\} (\S+)', text)}


def said(guard):
    status = guard.status()
    return {"ready": guard.get("/ready").status, "live": guard.get("/live").status, "word": guard.get("/ready").text.split("\n")[0],
            "cause": status["diagnosis"]["cause"], "checks": {c["name"]: (c["state"], c["reason"], c["scope"]) for c in status["checks"]}}


def waits(guard, what, condition, **more):
    try:
        return until(what, condition, **more)
    except AssertionError as error:
        raise AssertionError(f"{error}: {said(guard)} {heartbeats(guard)}") from None


def well(guard):
    waits(guard, "all is well", lambda: guard.status()["status"] == "pass" and guard.ready())


def delivers(guard):
    well(guard)
    before = heartbeats(guard)["received"]
    waits(guard, "heartbeats arrive", lambda: heartbeats(guard)["received"] >= before + 5)


def is_noticed(guard, namespace, port, names):
    """The port is cut: said as a shared fault, in time, and the instance stays."""
    namespace.cut(port)
    first = waits(guard, "somebody notices", lambda: next((s for s in said(guard)["checks"].values() if s[1]), None))
    assert first[1:] == ("broker_timeout", "shared"), first
    # A round that had just begun is judged at its deadline, and three in a row make the verdict.
    waits(guard, "it is degraded", lambda: said(guard)["checks"]["bus"] in LOST and said(guard)["word"] == "degraded",
          seconds=3 * (INTERVAL + TIMEOUT) + SLACK)
    end = time.monotonic() + 2.0  # long enough to give up the connection and to try others
    while time.monotonic() < end:
        seen = said(guard)
        assert seen["ready"] == 200 and seen["live"] == 200 and seen["word"] == "degraded", seen
        assert seen["checks"]["handshake"][0] == "pass", seen
        for name in names:
            assert seen["checks"][name] in LOST, seen
        time.sleep(0.1)
    namespace.heal()


@pytest.mark.parametrize("kind, servers", [("redis", redis_and_server), ("nats", nats_and_server)])
def test_the_broker_is_out_of_reach(namespace, tool, tmp_path, kind, servers):
    with servers(tool, tmp_path) as (port, url, target):
        with agent(CONF.format(kind=kind, url=url, target=target) + DELIVERY, tmp_path) as guard:
            delivers(guard)
            is_noticed(guard, namespace, port, ("bus", "delivery"))
            delivers(guard)
            counted = heartbeats(guard)
            assert {k: counted[k] for k in ("late", "duplicate", "reordered")} == {"late": 0, "duplicate": 0, "reordered": 0}, counted


def test_rabbitmq_is_out_of_reach(namespace, tool, tmp_path, certs):
    with rabbitmq_and_server(tool, tmp_path, certs) as (port, url, target):
        with agent(CONF.format(kind="rabbitmq", url=url, target=target) + BROKER, tmp_path) as guard:
            well(guard)
            is_noticed(guard, namespace, port, ("bus",))
            well(guard)


# --- slow -------------------------------------------------------------------------------------------------------------------------------


def one_round(directory, url, target, kind, options):
    """One round of one check. (status, reason, scope, message)."""
    file = directory / "slow.yaml"
    file.write_text(f"listen: off\nadmin: off\ntarget: {{ {target} }}\nbrokers: [{{ name: bus, type: redis, url: '{url}', timeout: 5s }}]\n"
                    f"checks: [{{ name: one, type: {kind}, broker: bus, timeout: 4s, {options} }}]\n")
    row = next(row for row in check(None, conf=file, timeout=None)[1]["checks"] if row["name"] == "one")
    return row["status"], row["reason"], row["scope"], row["message"]


def test_a_slow_broker(tool, tmp_path):
    with redis_and_server(tool, tmp_path) as (port, _, target), relay(port) as way:
        url = f"redis://127.0.0.1:{way.port}"
        assert one_round(tmp_path, url, target, "broker", "slo: 2s")[:2] == ("pass", None)
        assert one_round(tmp_path, url, target, "delivery", "channel: news, slo: 1s, within: 2s")[:2] == ("pass", None)
        way.delay = 0.3
        status, reason, _, message = one_round(tmp_path, url, target, "broker", "slo: 100ms")
        assert (status, reason) == ("warn", "slow") and "100ms" in message, (status, reason, message)
        status, reason, _, message = one_round(tmp_path, url, target, "delivery", "channel: news, slo: 100ms, within: 3s")
        assert (status, reason) == ("warn", "delivery_slow") and "slo is 100ms" in message, (status, reason, message)
        status, reason, _, message = one_round(tmp_path, url, target, "delivery", "channel: news, within: 200ms")
        assert (status, reason) == ("fail", "delivery_slow") and "within is 200ms" in message, (status, reason, message)
