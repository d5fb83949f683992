"""`fleet`: real agents beside real servers, on a real Redis and a real NATS (agent/fleet/link.h)."""
import contextlib
import json
import signal
import socket

import pytest

from harness import agent, echo_server, free_port, process, until

BROKERS = {"redis": "redis-server", "nats": "nats-server"}


@contextlib.contextmanager
def broker(kind, tool, folder, port=None):
    port, program = port or free_port(), tool(BROKERS[kind])
    args = (["--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", folder] if kind == "redis"
            else ["-a", "127.0.0.1", "-p", port])
    with process(program, *args, port=port) as child:
        child.port, child.url = port, f"{kind}://127.0.0.1:{port}"
        yield child


def conf(server, url, name, region="eu", fleet="", ready="min_ready: 2"):
    return (f"target: {{ url: 'ws://127.0.0.1:{server}/' }}\nidentity: {{ id: {name}, region: {region} }}\n"
            f"brokers: [ {{ name: bus, type: {url.split(':')[0]}, url: '{url}' }} ]\n"
            f"fleet: {{ broker: bus, group: chat, every: 400ms, expire: 4s{fleet} }}\nreadiness: {{ {ready} }}\n"
            "defaults: { interval: 300ms, fast_interval: 100ms, timeout: 1s }\nchecks: [ { type: handshake }, { type: ping } ]\n")


def fleet(child):
    return child.get("/fleet").json()


def states(child):
    return {member["id"]: member["state"] for member in fleet(child)["members"]}


def word(child):
    return child.get("/ready").body.split(b"\n")[0].decode()


def cause(child):
    return child.status()["diagnosis"]["cause"]


def publish(port, text):
    """One message on the group's topic of a Redis."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        topic = b"wshealthd.fleet.chat"
        client.sendall(b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(topic), topic, len(text), text))
        assert client.recv(64).startswith(b":")


@contextlib.contextmanager
def group(tmp_path, url, **more):
    """Three servers, and an agent beside each."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(echo_server()) for _ in range(3)]
        children = []
        for i, server in enumerate(servers):
            folder = tmp_path / f"agent-{i}"
            folder.mkdir()
            children.append(stack.enter_context(agent(conf(server.port, url, f"chat-{i}", "us" if i == 2 else "eu", **more), folder)))
        for child in children:
            child.wait_ready()
            until("all know each other", lambda child=child: states(child) == {f"chat-{i}": "ready" for i in range(3)})
        yield servers, children


@pytest.mark.parametrize("kind", BROKERS)
def test_the_last_ones_stay_in_rotation(kind, tool, tmp_path):
    with broker(kind, tool, tmp_path) as bus, group(tmp_path, bus.url) as (servers, children):
        first, second, third = children
        code, table, _ = first.command("fleet")
        assert code == 0 and "chat-2" in table and "3 ready" in table, table
        assert [region["region"] for region in fleet(third)["regions"]] == ["us", "eu"]

        servers[0].end(signal.SIGKILL)
        first.wait_not_ready()  # two others are well: it may go
        assert cause(first) == "server_down"
        until("the others know", lambda: states(third)["chat-0"] == "not_ready")

        servers[1].end(signal.SIGKILL)
        until("the second is held", lambda: cause(second) == "held_in_rotation")
        assert word(second) == "degraded" and second.ready()
        answer = second.get("/ready").body.decode()
        assert "[!]fleet held_in_rotation" in answer and "min_ready wants 2" in answer, answer
        sentence = second.status()["diagnosis"]["sentence"]
        assert "Nothing listens" in sentence and "without it 1 would remain" in sentence, sentence
        assert second.get("/live").status == 200
        assert word(third) == "ready"
        metrics = second.get("/metrics").body.decode()
        assert 'wshealthd_fleet_members{state="not_ready",region="eu"} 1' in metrics
        assert "wshealthd_fleet_linked 1" in metrics
        code, held, _ = second.command("fleet")
        assert code == 1 and "held in rotation" in held, held

        bus.end(signal.SIGKILL)
        second.wait_not_ready()  # nobody can be asked: its own verdict
        until("the third says so", lambda: not fleet(third)["linked"])
        assert third.ready() and "fleet_lost" in third.err()
        assert first.get("/ready").status == 503


def test_garbage_and_strangers_change_nothing(tool, tmp_path):
    with broker("redis", tool, tmp_path) as bus, group(tmp_path, bus.url) as (_, children):
        for text in (b"", b"\x00\xff", b"wshf1", b"wshf1 id=a", b"wshf1 " + b"x" * 4000, b"{" * 60000, b"wshf2 id=chat-0"):
            publish(bus.port, text)
        until("it is counted", lambda: fleet(children[0])["ignored"]["garbage"] >= 3)
        assert states(children[0]) == {f"chat-{i}": "ready" for i in range(3)}
        left = children[2]
        left.stop()
        until("the goodbye has come", lambda: states(children[0]).get("chat-2") == "left")


def test_another_key_is_another_fleet(tool, tmp_path):
    with broker("redis", tool, tmp_path) as bus, contextlib.ExitStack() as stack:
        (tmp_path / "key").write_text("the key of the fleet\n")
        children = []
        for i, key in enumerate(("${file:%s/key}" % tmp_path, "the key of the fleet", "another key")):
            folder = tmp_path / str(i)
            folder.mkdir()
            server = stack.enter_context(echo_server())
            children.append(stack.enter_context(agent(conf(server.port, bus.url, f"chat-{i}", fleet=f", key: '{key}'"), folder)))
        first, second, stranger = children
        until("two are one fleet", lambda: set(states(first)) == {"chat-0", "chat-1"} and first.get("/fleet").json()["linked"])
        until("the third is refused", lambda: fleet(first)["ignored"]["bad_signature"] > 0)
        until("and is alone", lambda: fleet(stranger)["linked"] and set(states(stranger)) == {"chat-2"})
        until("and the second knows the first", lambda: set(states(second)) == {"chat-0", "chat-1"})
        assert "the key of the fleet" not in json.dumps(first.status()) + first.err()


def test_no_names_without_full_details(tool, tmp_path):
    with broker("redis", tool, tmp_path) as bus, echo_server() as server, \
            agent("details: reasons\n" + conf(server.port, bus.url, "chat-0", ready="min_ready: 0"), tmp_path) as child:
        child.wait_ready()
        answer = child.get("/fleet").body.decode()
        assert "chat-0" not in answer and "127.0.0.1" not in answer, answer
