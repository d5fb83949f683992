"""Dialects against the servers that speak them: connected, subscribed, refused, kept alive, delivered.

Real servers where this machine can have them (socket.io, graphql-ws, aedes, nats-server, RabbitMQ's Web-STOMP and Web-MQTT, Action Cable);
for the others servers/dialect_fakes.py follows the protocol's document.
"""
import contextlib
import json
import os
import signal

import pytest

from harness import MODULES, PYTHON, SERVERS, agent, check, connects, environment, free_port, only, process, until, wshealthd

TOKEN = "let-me-in-please"


@pytest.fixture
def module(node):
    """module("aedes"): skips where that npm package is missing; gives node."""

    def find(*names):
        for name in names:
            if not (MODULES / name).is_dir():
                pytest.skip(f"npm's {name} is missing (tests/tools/npm)")
        return node

    return find


def npm_env(**more):
    return environment(WSHEALTHD_MODULES=str(MODULES), **more)


def says(dialect, url, channel, *flags):
    """One round of subscribe by the command line alone: (status, reason, message)."""
    code, document = check(url, "subscribe", timeout="3s", flags=("--dialect", dialect, "--channel", channel, *flags))
    row = only(document)
    assert code == {"pass": 0, "warn": 1, "fail": 2}[row["status"]], document
    return row["status"], row["reason"], row["message"] or ""


def confirmed(dialect, url, channel, *flags):
    assert says(dialect, url, channel, *flags)[:2] == ("pass", None), says(dialect, url, channel, *flags)


def refused(dialect, url, channel, *flags):
    status, reason, message = says(dialect, url, channel, *flags)
    assert (status, reason) == ("fail", "subscribe_rejected"), (status, reason, message)
    assert channel in message, message


def others_pass(dialect, url, *flags):
    """The checks that know no channels begin behind connect, and nothing that the dialect says disturbs them."""
    code, document = check(url, "handshake", "ping", "hold", timeout="1s", flags=("--dialect", dialect, *flags))
    assert code == 0, json.dumps(document, indent=1)


def delivered(tmp_path, text):
    """One round of the configuration's checks; all pass."""
    file = tmp_path / "delivery.yaml"
    file.write_text(text)
    code, document = check(None, conf=file, timeout=None)
    assert code == 0, json.dumps(document, indent=1)
    return document


# --- socket.io ---


def test_socket_io(module):
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    with process(module("socket.io"), SERVERS / "socketio_rooms.js", port, port=port, env=npm_env()):
        confirmed("socket.io", url, "news")
        others_pass("socket.io", url)


def test_socket_io_token(module, tmp_path):
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    with process(module("socket.io"), SERVERS / "socketio_rooms.js", port, port=port, env=npm_env(WSHEALTHD_TOKEN=TOKEN)):
        confirmed("socket.io", url, "news", "--token-file", token)
        status, reason, message = says("socket.io", url, "news")
        assert (status, reason) == ("fail", "login_rejected"), message
        assert "bad token" in message
        token.write_text("something-else\n")
        status, reason, message = says("socket.io", url, "news", "--token-file", token)
        assert (status, reason) == ("fail", "login_rejected"), message
        assert "something-else" not in message


def test_socket_io_acknowledged(module, tmp_path):
    """An application that acknowledges: the parts of the dialect that a check sets in place."""
    port = free_port()
    file = tmp_path / "c.yaml"
    part = """
    subscribe:
      send: '42{{seq}}["subscribe","{{channel}}"]'
      expect: { regex: '^43{{seq}}\\[\\{"ok"' }
      reject: { regex: '^43{{seq}}\\[\\{"error"' }
"""
    file.write_text(f"target: {{ url: 'ws://127.0.0.1:{port}', dialect: socket.io }}\nchecks:\n"
                    f"  - name: rooms\n    type: subscribe\n    channels: ['room-{{1..50}}']\n    sample: 7{part}"
                    f"  - name: secret\n    type: subscribe\n    channel: secret{part}")
    with process(module("socket.io"), SERVERS / "socketio_rooms.js", port, port=port, env=npm_env()):
        code, document = check(None, conf=file, timeout=None)
        rows = {row["name"]: row for row in document["checks"]}
        assert code == 2 and rows["rooms"]["status"] == "pass" and rows["rooms"]["rtt_ms"] > 0, document
        assert rows["secret"]["reason"] == "subscribe_rejected" and '"no"' in rows["secret"]["message"], document


def test_socket_io_keep_alive(module, tmp_path):
    """Its server pings every 300 ms and drops who does not answer within 2 s: held connections stay."""
    port = free_port()
    with process(module("socket.io"), SERVERS / "socketio_rooms.js", port, port=port, env=npm_env()):
        conf = f"""
target: {{ url: "ws://127.0.0.1:{port}", dialect: socket.io }}
defaults: {{ interval: 500ms, timeout: 400ms }}
checks: [{{ name: hold, type: hold, connections: 2, idle: true }}]
"""
        with agent(conf, tmp_path) as child:
            child.wait_ready()
            until("several pings have been answered", lambda: len(child.check("hold")["history"]) >= 7)
            assert set(child.check("hold")["history"]) <= {"#"}, child.check("hold")
            assert "wshealthd_held_connections{check=\"hold\"} 2" in child.get("/metrics").text


def test_socket_io_delivery(module, tool, tmp_path):
    redis, port = free_port(), free_port()
    with process(tool("redis-server"), "--port", redis, "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path, port=redis), \
            process(module("socket.io", "redis"), SERVERS / "socketio_rooms.js", port, redis, port=port, env=npm_env()):
        delivered(tmp_path, f"""
target: {{ url: "ws://127.0.0.1:{port}", dialect: socket.io }}
brokers: [{{ name: bus, type: redis, url: "redis://127.0.0.1:{redis}" }}]
checks:
  - {{ name: delivery, type: delivery, channel: healthcheck, timeout: 3s, publish: {{ topic: "{{{{channel}}}}", body: "{{{{payload}}}}" }} }}
""")


def test_socket_io_redis_adapter(module, tool, tmp_path):
    """A stock server with its Redis adapter: no line of the application's knows of heartbeats."""
    redis, port = free_port(), free_port()
    with process(tool("redis-server"), "--port", redis, "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path, port=redis), \
            process(module("socket.io", "redis", "@socket.io/redis-adapter"), SERVERS / "socketio_adapter.js", port, redis, port=port,
                    env=npm_env()):
        delivered(tmp_path, f"""
target: {{ url: "ws://127.0.0.1:{port}", dialect: socket.io }}
brokers: [{{ name: bus, url: "redis://127.0.0.1:{redis}" }}]
checks: [{{ name: delivery, type: delivery, channel: healthcheck, timeout: 3s }}]
""")


STREAM = """{{ command: [XADD, socket.io, MAXLEN, "~", "10000", "*", uid, wshealthd, nsp, /, type, "3", data,
                         '{{"opts":{{"rooms":[],"except":[],"flags":{{}}}},"packet":{{"type":2,"nsp":"/","data":["{{{{channel}}}}",{{{{payload_json}}}}]}}}}'] }}"""


def test_socket_io_redis_streams_adapter(module, tool, tmp_path):
    """A stock server that reads a stream of Redis, where no pub/sub reaches it. A key of another type is the broker's fault, by its words."""
    redis, port = free_port(), free_port()
    with process(tool("redis-server"), "--port", redis, "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path, port=redis), \
            process(module("socket.io", "redis", "@socket.io/redis-streams-adapter"), SERVERS / "socketio_streams.js", port, redis,
                    port=port, env=npm_env()):
        def text(publish):
            return f"""
target: {{ url: "ws://127.0.0.1:{port}", dialect: socket.io }}
brokers: [{{ name: bus, url: "redis://127.0.0.1:{redis}" }}]
checks: [{{ name: delivery, type: delivery, channel: healthcheck, timeout: 3s, within: 2s, publish: {publish} }}]
"""
        delivered(tmp_path, text(STREAM.format()))
        with agent(text(STREAM.format().replace("socket.io, MAXLEN", "elsewhere, MAXLEN")), tmp_path) as child:
            until("it is lost", lambda: child.check("delivery")["reason"] == "delivery_lost")
            assert "cannot see whether others get it" in child.check("delivery")["message"], child.check("delivery")
        with agent(text("{ command: [LPUSH, socket.io, '{{payload}}'] }"), tmp_path) as child:
            until("the broker has refused it", lambda: child.check("delivery")["reason"] == "broker_not_delivering")
            assert "WRONGTYPE" in child.check("delivery")["message"], child.check("delivery")


# --- GraphQL ---


def test_graphql_transport_ws(module, tmp_path):
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    with process(module("graphql-ws", "graphql"), SERVERS / "graphql_ws.js", port, port=port, env=npm_env()):
        confirmed("graphql-transport-ws", url, 'greetings(name: "you")')
        refused("graphql-transport-ws", url, "nothing")
        others_pass("graphql-transport-ws", url)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with process(module("graphql-ws", "graphql"), SERVERS / "graphql_ws.js", port, port=port, env=npm_env(WSHEALTHD_TOKEN=TOKEN)):
        confirmed("graphql-transport-ws", url, "greetings", "--token-file", token)
        status, reason, message = says("graphql-transport-ws", url, "greetings")
        assert (status, reason) == ("fail", "login_rejected") and "4403" in message, message


# --- MQTT ---


def test_mqtt_aedes(module, tmp_path):
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    with process(module("aedes"), SERVERS / "aedes_ws.js", port, port=port, env=npm_env()):
        confirmed("mqtt", url, "a/news")
        refused("mqtt", url, "secret")
        others_pass("mqtt", url)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with process(module("aedes"), SERVERS / "aedes_ws.js", port, port=port, env=npm_env(WSHEALTHD_TOKEN=TOKEN)):
        confirmed("mqtt", url, "a/news", "--token-file", token)
        assert says("mqtt", url, "a/news")[1] == "login_rejected"


# --- NATS ---


def test_nats(tool, tmp_path):
    port, ws = free_port(), free_port()
    conf = tmp_path / "nats.conf"
    conf.write_text(f"""
listen: 127.0.0.1:{port}
websocket {{ listen: "127.0.0.1:{ws}", no_tls: true }}
authorization {{
  default_permissions {{ subscribe: {{ deny: ["secret"] }} }}
  users: [ {{ user: probe, password: pw }} ]
}}
no_auth_user: probe
""")
    url = f"ws://127.0.0.1:{ws}"
    with process(tool("nats-server"), "-c", conf, port=ws):
        confirmed("nats", url, "news")
        refused("nats", url, "secret")
        others_pass("nats", url)
        file = tmp_path / "c.yaml"
        file.write_text(f"""
target: {{ url: "{url}", dialect: nats }}
checks:
  - {{ name: many, type: subscribe, channels: ["room.{{1..400}}"], sample: 400 }}
  - {{ name: some, type: subscribe, channels: [one, secret, two], sample: 3 }}
""")
        code, document = check(None, conf=file, timeout=None)
        rows = {row["name"]: row for row in document["checks"]}
        assert code == 2 and rows["many"]["status"] == "pass", document
        assert rows["some"]["reason"] == "subscribe_rejected" and '"secret"' in rows["some"]["message"], document
        delivered(tmp_path, f"""
target: {{ url: "{url}", dialect: nats }}
brokers: [{{ name: bus, type: nats, url: "nats://probe:pw@127.0.0.1:{port}" }}]
checks: [{{ name: delivery, type: delivery, broker: bus, channels: ["test.{{1..20}}"], sample: 5, timeout: 3s }}]
""")


# --- RabbitMQ ---


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory):
    """RabbitMQ with Web-STOMP and Web-MQTT: {"amqp", "stomp", "mqtt"}: ports."""
    binary = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    if not os.access(binary, os.X_OK):
        pytest.skip("rabbitmq-server is missing")
    directory = tmp_path_factory.mktemp("rabbitmq")
    ports = {name: free_port() for name in ("amqp", "stomp", "mqtt", "raw_stomp", "raw_mqtt", "dist", "epmd")}
    (directory / "plugins").write_text("[rabbitmq_web_stomp,rabbitmq_web_mqtt].\n")
    (directory / "rabbitmq.conf").write_text(f"""
listeners.tcp.1 = 127.0.0.1:{ports["amqp"]}
stomp.listeners.tcp.1 = 127.0.0.1:{ports["raw_stomp"]}
stomp.default_user = guest
stomp.default_pass = guest
mqtt.listeners.tcp.1 = 127.0.0.1:{ports["raw_mqtt"]}
web_stomp.tcp.ip = 127.0.0.1
web_stomp.tcp.port = {ports["stomp"]}
web_mqtt.tcp.ip = 127.0.0.1
web_mqtt.tcp.port = {ports["mqtt"]}
loopback_users.guest = true
""")
    env = environment(RABBITMQ_NODENAME=f"wst{ports['amqp']}@localhost", RABBITMQ_MNESIA_BASE=str(directory / "mnesia"),
                      RABBITMQ_LOG_BASE=str(directory / "log"), RABBITMQ_CONFIG_FILE=str(directory / "rabbitmq.conf"),
                      RABBITMQ_ENABLED_PLUGINS_FILE=str(directory / "plugins"), RABBITMQ_DIST_PORT=str(ports["dist"]),
                      ERL_EPMD_PORT=str(ports["epmd"]), ERL_EPMD_ADDRESS="127.0.0.1", HOME=str(directory))
    with contextlib.ExitStack() as stack:
        epmd = next((p for p in ("/usr/bin/epmd",) if os.access(p, os.X_OK)), None)
        if epmd:
            stack.enter_context(process(epmd, "-port", ports["epmd"], "-address", "127.0.0.1", port=ports["epmd"], env=env))
        child = stack.enter_context(process(binary, env=env, start_new_session=True))
        stack.callback(lambda: child.running() and os.killpg(child.pid, signal.SIGKILL))
        until("RabbitMQ listens", lambda: child.running() and all(connects(ports[n]) for n in ("amqp", "stomp", "mqtt")), seconds=60)
        yield ports


def test_stomp_rabbitmq(rabbitmq, tmp_path):
    url = f"ws://127.0.0.1:{rabbitmq['stomp']}"
    confirmed("stomp", url, "/topic/news")
    refused("stomp", url, "/nowhere/news")
    others_pass("stomp", url)
    delivered(tmp_path, f"""
target: {{ url: "{url}", dialect: stomp }}
brokers: [{{ name: bus, type: rabbitmq, url: "amqp://guest:guest@127.0.0.1:{rabbitmq['amqp']}/%2F" }}]
checks:
  - name: delivery
    type: delivery
    broker: bus
    channel: /topic/healthcheck
    publish: {{ topic: healthcheck }}
    timeout: 3s
""")


def test_mqtt_rabbitmq(rabbitmq, tmp_path):
    url = f"ws://127.0.0.1:{rabbitmq['mqtt']}/ws"
    confirmed("mqtt", url, "news")
    others_pass("mqtt", url)
    delivered(tmp_path, f"""
target: {{ url: "{url}", dialect: mqtt }}
brokers: [{{ name: bus, type: rabbitmq, url: "amqp://guest:guest@127.0.0.1:{rabbitmq['amqp']}/%2F" }}]
checks: [{{ name: delivery, type: delivery, broker: bus, channel: healthcheck, timeout: 3s }}]
""")


# --- Action Cable ---


@contextlib.contextmanager
def action_cable(tool, **env):
    puma = tool("puma")
    if not os.path.exists("/usr/share/rubygems-integration/all/specifications") or not list_gem("actioncable"):
        pytest.skip("ruby-actioncable is missing")
    port = free_port()
    with process(puma, "-q", "-e", "production", "-t", "2:5", "-b", f"tcp://127.0.0.1:{port}", SERVERS / "action_cable.ru", port=port,
                 env=environment(**env)):
        yield f"ws://127.0.0.1:{port}"


def list_gem(name):
    return any(f.startswith(name + "-") for f in os.listdir("/usr/share/rubygems-integration/all/specifications"))


def test_action_cable(tool):
    with action_cable(tool) as url:
        confirmed("action-cable", url, "NewsChannel")
        refused("action-cable", url, "SecretChannel")
        others_pass("action-cable", url)


def test_action_cable_delivery(tool, tmp_path):
    redis = free_port()
    with process(tool("redis-server"), "--port", redis, "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path, port=redis), \
            action_cable(tool, CABLE_URL=f"redis://127.0.0.1:{redis}/0") as url:
        delivered(tmp_path, f"""
target: {{ url: "{url}", dialect: action-cable }}
brokers: [{{ name: bus, type: redis, url: "redis://127.0.0.1:{redis}" }}]
checks: [{{ name: delivery, type: delivery, broker: bus, channel: NewsChannel, publish: {{ topic: news }}, timeout: 3s }}]
""")


# --- by the document ---

FAKES = {
    "pusher": ("/app/key?protocol=7", "news"),
    "centrifugo": ("", "news"),
    "phoenix": ("", "room:lobby"),
    "signalr": ("/hub", "news"),
    "action-cable": ("", "NewsChannel"),
}


@pytest.mark.parametrize("dialect", FAKES)
def test_by_the_document(dialect, tmp_path):
    pytest.importorskip("websockets", reason="python3-websockets is missing")
    path, channel = FAKES[dialect]
    port = free_port()
    url = f"ws://127.0.0.1:{port}{path}"
    with process(PYTHON, SERVERS / "dialect_fakes.py", dialect, port, port=port):
        confirmed(dialect, url, channel)
        refused(dialect, url, "secret")
        conf = f"""
target: {{ url: "{url}", dialect: {dialect} }}
defaults: {{ interval: 250ms, timeout: 200ms }}
checks: [{{ name: hold, type: hold, connections: 1 }}, {{ name: subscribe, type: subscribe, channel: "{channel}" }}]
"""
        with agent(conf, tmp_path) as child:
            child.wait_ready()
            until("keep-alives have been answered", lambda: len(child.check("hold")["history"]) >= 6)
            assert set(child.check("hold")["history"]) <= {"#"}, child.check("hold")


# --- the check itself ---


def test_failed_channel_comes_again(tmp_path):
    """One bad channel of many is tried again until it is good, so that `fall` can count and the sentence names it."""
    pytest.importorskip("websockets", reason="python3-websockets is missing")
    port = free_port()
    with process(PYTHON, SERVERS / "dialect_fakes.py", "centrifugo", port, port=port):
        conf = f"""
target: {{ url: "ws://127.0.0.1:{port}", dialect: centrifugo }}
defaults: {{ interval: 200ms, timeout: 150ms, fall: 3 }}
checks: [{{ name: rooms, type: subscribe, channels: ["room-{{1..20}}", secret], sample: 3 }}]
"""
        with agent(conf, tmp_path) as child:
            until("the bad channel has been found", lambda: child.check("rooms")["state"] == "fail")
            row = child.check("rooms")
            assert row["reason"] == "subscribe_rejected" and '"secret"' in row["message"], row
            assert child.get("/ready").status == 503


def test_channels_are_checked(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("target: { url: 'ws://127.0.0.1:1', dialect: json }\nchecks: [{ type: subscribe }, "
                    "{ name: b, type: subscribe, channels: ['r-{1..20000}'] }]\n")
    code, _, err = wshealthd("config", "check", file)
    assert code == 3 and "no channel" in err and "more than 10000 channels" in err, err
