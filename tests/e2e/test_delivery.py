"""Delivery through a real Redis and a real WebSocket server that rides on its pub/sub: what is broken, and whose fault it is.

Three things can be broken that look alike from a socket: Redis, its readiness to take writes, and the server's own connection to it.
"""
import contextlib
import json
import pathlib
import re
import signal
import socket
import subprocess

import pytest

import harness
from harness import BINARY, PYTHON, SERVERS, Process, connects, free_port, process, until, wshealthd

pytest.importorskip("websockets", reason="python3-websockets is missing")


class Redis:
    """A redis-server of the test's own, which can be stopped and started again on its port."""

    def __init__(self, binary, directory):
        self.binary, self.dir, self.port, self.child = binary, pathlib.Path(directory), free_port(), None
        self.start()

    def start(self):
        self.child = Process([self.binary, "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                              "--dir", self.dir], self.dir)
        until(f"redis is up: {self.child.err()}", lambda: self.child.running() and connects(self.port))

    def stop(self):
        self.child.end(signal.SIGKILL)

    def do(self, *words):
        """One command; its raw reply, which must be a single line or a bulk string."""
        words = [str(w).encode() for w in words]
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock:
            sock.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
            file = sock.makefile("rb")
            line = file.readline().decode().rstrip()
            if line.startswith("$"):
                return file.read(int(line[1:])).decode()
            assert not line.startswith("-"), line
            return line

    def id_of_server(self):
        found = re.search(r"^id=(\d+) .*name=the-server", self.do("CLIENT", "LIST"), re.M)
        return found and found[1]


@pytest.fixture
def redis(tool, tmp_path):
    server = Redis(tool("redis-server"), tmp_path)
    try:
        yield server
    finally:
        server.child.end(signal.SIGKILL)
        server.child.cleanup()


@contextlib.contextmanager
def chat(redis, *flags):
    """The WebSocket server, subscribed."""
    port = free_port()
    with process(PYTHON, SERVERS / "redis_pubsub.py", port, redis.port, *flags, port=port) as child:
        child.url = f"ws://127.0.0.1:{port}/ws"
        until("the server has subscribed", redis.id_of_server)
        yield child


def agent(text, directory):
    directory.mkdir()
    return harness.agent(text, directory)


def conf(url, redis, delivery="channel: healthcheck", more=""):
    return f"""
target: {{ url: '{url}' }}
{more}
defaults: {{ interval: 200ms, timeout: 1s, jitter: 0% }}
brokers:
  - {{ name: bus, type: redis, url: 'redis://127.0.0.1:{redis.port}', timeout: 1s, retry: {{ min: 20ms, max: 100ms }} }}
checks:
  - {{ name: handshake, type: handshake }}
  - {{ name: delivery, type: delivery, broker: bus, {delivery} }}
"""


def said(guard, cause=None):
    """What the agent says, in a form that failed assertions show."""
    status = guard.status()
    checks = {c["name"]: (c["state"], c["reason"]) for c in status["checks"]}
    return {"ready": guard.get("/ready").status, "live": guard.get("/live").status, "word": guard.get("/ready").text.split("\n")[0],
            "cause": status["diagnosis"]["cause"], "status": status["status"], "checks": checks, "wanted": cause}


def wait_for(guard, cause):
    """Until the diagnosis is that one. What was said then."""
    try:
        until(cause, lambda: guard.status()["diagnosis"]["cause"] == cause)
    except AssertionError:
        raise AssertionError(said(guard, cause)) from None
    return said(guard)


def heartbeats(guard):
    text = guard.get("/metrics").text
    return {k: int(float(v)) for k, v in re.findall(r'wshealthd_delivery_heartbeats_total\{check="delivery",result="(\w+)"\} (\S+)', text)}


def wait_well(guard):
    def well():
        status = guard.status()
        return status["status"] == "pass" and status["ready"] and all(c["status"] == "pass" for c in status["checks"])

    try:
        until("all is well", well)
    except AssertionError:
        raise AssertionError(said(guard)) from None


def received_more(guard, count=3):
    before = heartbeats(guard)["received"]
    until("heartbeats arrive", lambda: heartbeats(guard)["received"] >= before + count)


def test_three_faults_three_verdicts(redis, tmp_path):
    with chat(redis, "--forgetful") as server, agent(conf(server.url, redis), tmp_path / "a") as guard:
        wait_well(guard)
        received_more(guard)
        assert heartbeats(guard)["lost"] == 0

        redis.do("CONFIG", "SET", "min-replicas-to-write", 1)  # it answers, and takes no writes
        seen = wait_for(guard, "broker_read_only")
        assert seen["ready"] == 200 and seen["live"] == 200 and seen["status"] == "warn", seen
        assert seen["checks"]["bus"] == ("fail", "broker_read_only"), seen
        redis.do("CONFIG", "SET", "min-replicas-to-write", 0)
        wait_well(guard)

        redis.do("CLIENT", "KILL", "ID", redis.id_of_server())  # this server's connection, and nobody else's
        seen = wait_for(guard, "server_detached_from_broker")
        guard.wait_not_ready()
        seen = said(guard)
        assert seen["live"] == 200 and seen["status"] == "fail", seen
        assert seen["checks"] == {"handshake": ("pass", None), "delivery": ("fail", "delivery_lost"), "bus": ("pass", None)}, seen
        assert guard.check("delivery")["scope"] == "local"


@pytest.mark.parametrize("policy", ["degrade", "fail"])
def test_redis_is_stopped_and_comes_back(redis, tmp_path, policy):
    more = f"readiness: {{ shared_faults: {policy} }}\nliveness: {{ after: 1s }}"
    with chat(redis) as server, agent(conf(server.url, redis, more=more), tmp_path / "a") as guard:
        wait_well(guard)
        redis.stop()
        seen = wait_for(guard, "broker_down")
        if policy == "fail":
            guard.wait_not_ready()
        else:
            until("it is degraded", lambda: said(guard)["word"] == "degraded")
            assert guard.get("/ready").headers["x-envoy-degraded"] == "true"
        until("the checks have failed",
              lambda: all(said(guard)["checks"][name] == ("fail", "broker_unreachable") for name in ("bus", "delivery")))
        seen = said(guard)
        assert seen["ready"] == (503 if policy == "fail" else 200), seen
        assert seen["checks"]["bus"] == ("fail", "broker_unreachable") and seen["checks"]["handshake"] == ("pass", None), seen
        rounds = len(guard.check("delivery")["history"])
        until("it has been down for some rounds", lambda: len(guard.check("delivery")["history"]) > rounds + 6)
        assert said(guard)["live"] == 200
        redis.start()
        never_503 = []

        def well():
            never_503.append(guard.get("/ready").status)
            return guard.status()["status"] == "pass"

        until("it recovers", well)
        if policy == "degrade":
            assert set(never_503) == {200}, "a broker that blinked has taken the instance out"
        wait_well(guard)
        received_more(guard)
        counted = heartbeats(guard)
        assert counted["duplicate"] == 0 and counted["late"] == 0 and counted["reordered"] == 0, counted


def test_redis_is_frozen(redis, tmp_path):
    with chat(redis) as server, agent(conf(server.url, redis), tmp_path / "a") as guard:
        wait_well(guard)
        redis.child.send(signal.SIGSTOP)
        try:
            seen = wait_for(guard, "broker_frozen")
            until("it is degraded", lambda: said(guard)["word"] == "degraded")
            seen = said(guard)
            assert seen["ready"] == 200 and seen["live"] == 200, seen
            assert seen["checks"]["delivery"][1] == "broker_timeout" and seen["checks"]["bus"][1] == "broker_timeout", seen
        finally:
            redis.child.send(signal.SIGCONT)
        wait_well(guard)
        received_more(guard)
        assert heartbeats(guard)["duplicate"] == 0, heartbeats(guard)


def test_two_agents_on_one_channel(redis, tmp_path):
    """They have the same name, and each hears the other: none takes a heartbeat of the other's for its own."""
    with chat(redis) as server, agent(conf(server.url, redis), tmp_path / "a") as one:
        with agent(conf(server.url, redis), tmp_path / "b") as two:
            for guard in (one, two):
                wait_well(guard)
            for guard in (one, two):
                received_more(guard)
            for guard in (one, two):
                counted = heartbeats(guard)
                assert {k: v for k, v in counted.items() if k != "received"} == {"late": 0, "lost": 0, "duplicate": 0, "reordered": 0}
                _code, text, _err = guard.command("status")
                assert re.search(r"heartbeats: \d+ received; \d+ of 1 other source", text), text


def test_many_channels_are_sampled(redis, tmp_path):
    delivery = "channels: ['room-{1..200}'], sample: 40"
    with chat(redis) as server, agent(conf(server.url, redis, delivery), tmp_path / "a") as guard:
        wait_well(guard)
        assert "40 channels" in guard.check("delivery")["message"]
        until("all channels are subscribed to",
              lambda: int(re.search(r"pubsub_?channels:(\d+)", redis.do("INFO", "stats"))[1]) == 200)
        assert heartbeats(guard)["lost"] == 0


def test_published_in_the_servers_own_form(redis, tmp_path):
    delivery = ("channel: news, publish: { topic: 'chat:{{channel}}', body: '{\"text\":{{payload_json}}}' }, "
                "message: { match: { json: { /channel: 'chat:{{channel}}' } }, payload: /data }")
    with chat(redis) as server, agent(conf(server.url, redis, delivery), tmp_path / "a") as guard:
        wait_well(guard)
        received_more(guard)


def test_one_shot(redis, tmp_path):
    file = tmp_path / "wshealthd.yaml"
    with chat(redis, "--forgetful") as server:
        file.write_text(conf(server.url, redis))
        code, out, err = wshealthd("check", "-c", file, "--json")
        document = json.loads(out)
        assert code == 0 and document["status"] == "pass", (out, err)
        assert {c["name"]: c["status"] for c in document["checks"]} == {"handshake": "pass", "delivery": "pass", "bus": "pass"}
        redis.do("CLIENT", "KILL", "ID", redis.id_of_server())
        code, out, err = wshealthd("check", "-c", file)
        assert code == 2 and "delivery_lost" in out and "server_detached_from_broker" in out, (out, err)
        redis.stop()
        code, out, err = wshealthd("check", "-c", file, "--json")
        document = json.loads(out)
        assert code == 2 and document["diagnosis"]["cause"] == "broker_down", (code, out, err)
        delivery = next(c for c in document["checks"] if c["name"] == "delivery")
        assert (delivery["reason"], delivery["scope"], delivery["phase"]) == ("broker_unreachable", "shared", None), delivery


# --- the demo ---------------------------------------------------------------------------------------------------------------------


class Demo(Process):
    def __init__(self, *args):
        super().__init__([BINARY, "demo", "--listen", f"127.0.0.1:{free_port()}", *args], stdin=subprocess.PIPE)
        until("it is ready", lambda: self.told("-> ready"))

    def told(self, text):
        assert self.running(), self.err() + self.out()
        return text in self.out()

    def type(self, line):
        self.child.stdin.write(line.encode() + b"\n")
        self.child.stdin.flush()

    def does(self, fault, change, sentence):
        before = len(self.out())
        self.type(fault)
        try:
            until(change, lambda: self.running() and re.search(f"{change}: .*{sentence}", self.out()[before:]))
        except AssertionError:
            raise AssertionError(self.out()[before:]) from None
        before = len(self.out())
        self.type("clear")
        until("it is well again", lambda: "-> ready" in self.out()[before:])

    def quit(self):
        self.type("quit")
        assert self.child.wait(20) == 0 and "Sanitizer" not in self.err(), self.err()


@contextlib.contextmanager
def demo(*args):
    child = Demo(*args)
    try:
        yield child
        child.quit()
    finally:
        child.child.stdin.close()
        child.cleanup()


def test_demo_shows_whose_fault_it_is():
    with demo() as child:
        child.does("detach-broker", "ready -> not ready", "lost its subscription")
        child.does("broker-down", "ready -> degraded", "bus")
        child.does("broker-mute", "ready -> degraded", "delivered to nobody")
        child.does("broker-read-only", "ready -> degraded", "read-only")


def test_demo_on_a_real_broker(redis):
    with demo("--broker", f"redis://127.0.0.1:{redis.port}") as child:
        child.does("detach-broker", "ready -> not ready", "lost its subscription")
        child.type("broker-down")
        until("it says why not", lambda: child.told("yours is real"))
        redis.stop()
        until("it is degraded", lambda: child.told("ready -> degraded"))


@pytest.mark.parametrize("url, words", [("rdis://x", "did you mean"), ("nonsense", "scheme"), ("redis://127.0.0.1:99999", "99999")])
def test_demo_with_a_bad_broker(url, words):
    code, out, err = wshealthd("demo", "--broker", url)
    assert code == 3 and out == "" and err.count("\n") == 1, (out, err)
    assert "--broker: " in err and words in err, err


def test_subscriptions_that_were_ignored_for_a_while(redis, tmp_path):
    """A server that starts again, and confirms nothing until it is warm: the next round is as good as the first."""
    deaf, port = tmp_path / "deaf", free_port()
    asks = "channel: healthcheck, subscribe: { send: '{\"op\":\"sub\"}', expect: { json: { /op: subscribed } } }"

    def chat_server():
        return process(PYTHON, SERVERS / "redis_pubsub.py", port, redis.port, "--deaf", deaf, port=port)

    with contextlib.ExitStack() as stack:
        first = stack.enter_context(contextlib.ExitStack())
        first.enter_context(chat_server())
        guard = stack.enter_context(agent(conf(f"ws://127.0.0.1:{port}/ws", redis, asks), tmp_path / "a"))
        wait_well(guard)
        received_more(guard)
        first.close()
        deaf.touch()
        stack.enter_context(chat_server())
        until("nothing is confirmed", lambda: (guard.check("delivery")["reason"], guard.check("delivery")["state"]) == ("subscribe_timeout", "fail"))
        until("for some rounds", lambda: guard.check("delivery")["history"].endswith("...."))
        assert guard.check("handshake")["state"] == "pass"
        deaf.unlink()
        wait_well(guard)
        received_more(guard)


def test_over_a_shared_connection(redis, tmp_path):
    """One session for each client: delivery, hold and ping go over one connection, over many of its lives, and each fault keeps its name."""
    shared = """
  - { name: hold, type: hold, connections: 1, for: 900ms, share_connection: true }
  - { name: ping, type: ping, share_connection: true }
"""
    with chat(redis, "--one-session") as server:
        text = conf(server.url, redis, "channel: healthcheck, share_connection: true").replace("  - { name: handshake, type: handshake }\n", "") + shared
        with agent(text, tmp_path / "agent") as child:
            child.wait_ready()

            def is_full():
                for check in child.status()["checks"]:
                    assert check["state"] in ("pass", "unknown") and set(check["history"]) <= {"#"}, check
                return all(len(check["history"]) == 32 for check in child.status()["checks"])

            until("all have passed many times", is_full)
            redis.stop()
            until("the broker is at fault", lambda: child.check("delivery")["state"] == "fail")
            assert child.check("delivery")["reason"].startswith("broker_") and child.get("/ready").status == 200
            assert child.check("ping")["state"] == child.check("hold")["state"] == "pass"
            redis.start()
            until("delivered again", lambda: child.check("delivery")["state"] == "pass")
            assert "kicked" not in server.out()
    with chat(redis, "--forgetful", "--one-session") as server:
        text = text.replace(text.split("url: '")[1].split("'")[0], server.url)
        with agent(text, tmp_path / "other") as child:
            child.wait_ready()
            redis.do("CLIENT", "KILL", "ID", redis.id_of_server())
            until("the server's fault", lambda: child.check("delivery")["reason"] == "delivery_lost" and not child.ready())
            assert child.check("ping")["state"] == child.check("hold")["state"] == "pass"
            assert "kicked" not in server.out()
