"""The delivery matrix of a fleet: three real agents, and servers that pass on what a real Redis publishes (agent/fleet/matrix.h)."""
import contextlib
import signal

import pytest

from harness import PYTHON, SERVERS, agent, free_port, process, until
from test_delivery import Redis

pytest.importorskip("websockets", reason="python3-websockets is missing")

PATIENCE = 60


def conf(server, bus, own, name):
    return (f"target: {{ url: 'ws://127.0.0.1:{server}/' }}\nidentity: {{ id: {name}, region: eu }}\n"
            f"brokers: [ {{ name: bus, type: redis, url: 'redis://127.0.0.1:{bus}' }}, {{ name: own, type: redis, url: 'redis://127.0.0.1:{own}' }} ]\n"
            "fleet: { broker: bus, group: chat, every: 400ms, expire: 4s }\n"
            "defaults: { interval: 300ms, fast_interval: 300ms, timeout: 1s }\n"
            "checks: [ { type: handshake }, { name: delivery, type: delivery, broker: own, channel: healthcheck, within: 400ms } ]\n")


@contextlib.contextmanager
def server(port, redis, known):
    """A WebSocket server that never subscribes again; `client`: its connection to Redis."""
    with process(PYTHON, SERVERS / "redis_pubsub.py", port, redis.port, "--forgetful", port=port) as child:
        child.client = until("it has subscribed", lambda: clients(redis) - known).pop()
        known.add(child.client)
        yield child


def clients(redis):
    return {line.split()[0][3:] for line in redis.do("CLIENT", "LIST").splitlines() if "name=the-server" in line}


def findings(child):
    return [(finding["cause"], finding["who"]) for finding in child.get("/fleet").json()["findings"]]


def cells(child):
    """{(to, from): state}"""
    rows = child.get("/fleet").json().get("matrix", [])
    return {(row["to"], cell["from"]): cell["state"] for row in rows for cell in row["cells"]}


@contextlib.contextmanager
def group(tool, tmp_path, stack):
    bus = stack.enter_context(redis_server(tool, tmp_path / "bus"))
    ports, known = [free_port() for _ in range(3)], set()
    servers = [stack.enter_context(contextlib.ExitStack()) for _ in ports]
    ids = [one.enter_context(server(port, bus, known)).client for one, port in zip(servers, ports)]
    children = []
    for i, port in enumerate(ports):
        folder = tmp_path / f"agent-{i}"
        folder.mkdir()
        children.append(stack.enter_context(agent(conf(port, bus.port, bus.port, f"chat-{i}"), folder)))
    pairs = {(f"chat-{i}", f"chat-{j}") for i in range(3) for j in range(3) if i != j}
    for child in children:
        child.wait_ready()
    for child in children:
        until("all rows are lit", lambda child=child: {k for k, v in cells(child).items() if v == "lit"} == pairs, PATIENCE)
    yield bus, ports, known, servers, ids, children


@contextlib.contextmanager
def redis_server(tool, folder):
    folder.mkdir()
    redis = Redis(tool("redis-server"), folder)
    try:
        yield redis
    finally:
        redis.stop()
        redis.child.cleanup()


def test_a_server_loses_its_subscription(tool, tmp_path):
    with contextlib.ExitStack() as stack, group(tool, tmp_path, stack) as (bus, ports, known, servers, ids, children):
        delays = until("delays are known", lambda: children[0].get("/fleet").json()["delays"])
        assert delays[0]["from_region"] == "eu" and 0 <= delays[0]["seconds"] < 5, delays
        assert 'wshealthd_fleet_delivery_seconds{from_region="eu",to_region="eu"}' in children[0].get("/metrics").text
        bus.do("CLIENT", "KILL", "ID", ids[1])
        for child in children:
            until("it is named", lambda child=child: findings(child) == [("instance_receives_nothing", "chat-1")], PATIENCE)
        first = children[0]
        assert cells(first)["chat-1", "chat-0"] == "dark"
        assert "[!]fleet instance_receives_nothing chat-1 receives nothing" in first.get("/ready").text
        assert first.ready() and first.status()["fleet"]["findings"], "a finding takes nobody out"
        assert "chat-1 receives nothing" in first.command("fleet")[1]
        until("its own diagnosis says so", lambda: children[1].status()["diagnosis"]["cause"] == "instance_receives_nothing", PATIENCE)

        servers[1].close()
        servers[1].enter_context(server(ports[1], bus, known))
        for child in children:
            until("it is over", lambda child=child: not findings(child), PATIENCE)
        log = first.err()
        assert log.count("event=fleet_finding ") == 1 and log.count("event=fleet_finding_over") == 1, log


def test_an_instance_publishes_elsewhere(tool, tmp_path):
    with contextlib.ExitStack() as stack, group(tool, tmp_path, stack) as (bus, ports, _, _, _, children):
        other = stack.enter_context(redis_server(tool, tmp_path / "other"))
        last = children[2]
        last.write(conf(ports[2], bus.port, other.port, "chat-2"))
        last.send(signal.SIGHUP)
        for child in children:
            until("it is named", lambda child=child: findings(child) == [("instance_publishes_nothing", "chat-2")], PATIENCE)
        assert children[0].ready() and children[1].ready()
        last.write(conf(ports[2], bus.port, bus.port, "chat-2"))
        last.send(signal.SIGHUP)
        for child in children:
            until("it is over", lambda child=child: not findings(child), PATIENCE)
