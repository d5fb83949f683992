"""State that a reconnect check comes back to, against npm's socket.io with connection state recovery and Centrifugo with a history."""
import contextlib
import json

import pytest

from harness import MODULES, SERVERS, check, environment, free_port, process
from relay import relay
from test_redis import redis

WITHIN = "15s"  # a server that starts again on a busy machine


def conf(tmp_path, port, bus, *, dialect, publish, how="abort", resume="{ missed: true }"):
    file = tmp_path / "c.yaml"
    file.write_text(f"""
target: {{ url: "ws://127.0.0.1:{port}/", dialect: {dialect} }}
brokers: [ {{ name: bus, type: redis, url: "{bus.url}" }} ]
checks:
  - type: reconnect
    timeout: 40s
    within: {WITHIN}
    how: [{how}]
    channel: news
    publish: {publish}
    resume: {resume}
""")
    return file


def judged(file):
    code, document = check(None, conf=file, timeout=None, patience=60)
    row = next(row for row in document["checks"] if row["name"] == "reconnect")
    assert (code, row["status"], row["reason"]) in ((0, "pass", None), (2, "fail", "resume_failed")), row
    return row


class Server:
    """A process that can be ended and started again, on its port."""

    def __init__(self, stack, start):
        self.stack, self.start, self.child = stack, start, contextlib.ExitStack()
        stack.callback(lambda: self.child.close())
        self.child.enter_context(start())

    def restart(self):
        self.child.close()
        self.child = contextlib.ExitStack()
        self.child.enter_context(self.start())


# --- Socket.IO --------------------------------------------------------------------------------------------------------------------


SOCKET_IO = {"dialect": "socket.io", "publish": '{ topic: "{{channel}}", body: "{{payload}}" }'}


def socket_io(node, port, bus):
    return process(node, SERVERS / "socketio_recovery.js", port, bus.port, port=port, env=environment(WSHEALTHD_MODULES=str(MODULES)))


@pytest.mark.parametrize("how", ["abort", "close"])
def test_socket_io_gives_what_was_missed(node, tmp_path, how):
    port = free_port()
    with redis(tmp_path) as bus, socket_io(node, port, bus):
        row = judged(conf(tmp_path, port, bus, how=how, **SOCKET_IO))
    assert "with all that it had missed" in row["message"], row


def test_socket_io_loses_its_sessions_in_a_restart(node, tmp_path):
    """The process ends while the client is away, and another one takes its place: sessions were in its memory."""
    port = free_port()
    with redis(tmp_path) as bus, contextlib.ExitStack() as stack:
        server = Server(stack, lambda: socket_io(node, port, bus))
        front = stack.enter_context(relay(port, before=lambda nth: nth == 2 and server.restart()))
        row = judged(conf(tmp_path, front.port, bus, **SOCKET_IO))
    assert "did not take the session up again (/pid is another one now, so what the server had kept is gone)" in row["message"], row


def test_socket_io_keeps_its_sessions_in_redis(node, tmp_path):
    """With the adapter for Redis Streams a session outlives the process."""
    if not (MODULES / "@socket.io" / "redis-streams-adapter").is_dir():
        pytest.skip("npm's @socket.io/redis-streams-adapter is missing (tests/tools/npm)")
    port = free_port()
    words = [*'XADD socket.io * uid wshealthd nsp / type 3 data'.split(),
             '{"opts":{"rooms":[],"except":[],"flags":{}},"packet":{"type":2,"nsp":"/","data":["{{channel}}",{{payload_json}}]}}']
    with redis(tmp_path) as bus, contextlib.ExitStack() as stack:
        server = Server(stack, lambda: process(node, SERVERS / "socketio_streams.js", port, bus.port, "recovers", port=port,
                                               env=environment(WSHEALTHD_MODULES=str(MODULES))))
        front = stack.enter_context(relay(port, before=lambda nth: nth == 2 and server.restart()))
        row = judged(conf(tmp_path, front.port, bus, dialect="socket.io", publish=json.dumps({"command": words})))
    assert "with all that it had missed" in row["message"], row


# --- Centrifugo -------------------------------------------------------------------------------------------------------------------


STREAM = """{ command: [XADD, feed, "*", method, publish, payload, '{"channel":"{{channel}}","data":{{payload_json}}}'] }"""


def centrifugo(tool, tmp_path, port, bus, engine, history=100):
    """It reads a stream of Redis, as a client cannot publish on a channel with a history through the broker alone."""
    channels = {"history_size": history, "history_ttl": "300s", "force_recovery": True, "allow_subscribe_for_client": True,
                "allow_subscribe_for_anonymous": True}
    feed = {"address": f"redis://127.0.0.1:{bus.port}", "streams": ["feed"], "consumer_group": "centrifugo"}
    file = tmp_path / "centrifugo.json"
    file.write_text(json.dumps({
        "http_server": {"address": "127.0.0.1", "port": str(port)},
        "client": {"insecure": True, "allowed_origins": ["*"]},
        "engine": {"type": engine, "redis": {"address": f"redis://127.0.0.1:{bus.port}"}},
        "channel": {"without_namespace": channels},
        "consumers": [{"name": "feed", "enabled": True, "type": "redis_stream", "redis_stream": feed}],
    }))
    return process(tool("centrifugo"), "-c", file, port=port)


@pytest.mark.parametrize("engine", ["memory", "redis"])
@pytest.mark.parametrize("how", ["abort", "close"])
def test_centrifugo_gives_what_was_missed(tool, tmp_path, engine, how):
    port = free_port()
    with redis(tmp_path) as bus, centrifugo(tool, tmp_path, port, bus, engine):
        row = judged(conf(tmp_path, port, bus, dialect="centrifugo", publish=STREAM, how=how))
    assert "with all that it had missed" in row["message"], row


@pytest.mark.parametrize("engine", ["memory", "redis"])
def test_centrifugo_recovers_a_channel_in_which_nothing_was_published(tool, tmp_path, engine):
    port = free_port()
    with redis(tmp_path) as bus, centrifugo(tool, tmp_path, port, bus, engine):
        row = judged(conf(tmp_path, port, bus, dialect="centrifugo", publish=STREAM,
                          resume="{ expect: { json: { /subscribe/recovered: true } } }"))
    assert "with its subscriptions, and its session" in row["message"], row


@pytest.mark.parametrize("engine", ["memory", "redis"])
def test_centrifugo_with_a_history_that_is_too_short(tool, tmp_path, engine):
    port = free_port()
    with redis(tmp_path) as bus, centrifugo(tool, tmp_path, port, bus, engine, history=1):
        row = judged(conf(tmp_path, port, bus, dialect="centrifugo", publish=STREAM))
    assert "(/subscribe/epoch is the same, so the history of the channel no longer reaches back" in row["message"], row


def test_centrifugo_loses_its_memory_in_a_restart(tool, tmp_path):
    port = free_port()
    with redis(tmp_path) as bus, contextlib.ExitStack() as stack:
        server = Server(stack, lambda: centrifugo(tool, tmp_path, port, bus, "memory"))
        front = stack.enter_context(relay(port, before=lambda nth: nth == 2 and server.restart()))
        row = judged(conf(tmp_path, front.port, bus, dialect="centrifugo", publish=STREAM))
    assert "(/subscribe/epoch is another one now, so what the server had kept is gone)" in row["message"], row


def test_centrifugo_keeps_its_history_in_redis(tool, tmp_path):
    port = free_port()
    with redis(tmp_path) as bus, contextlib.ExitStack() as stack:
        server = Server(stack, lambda: centrifugo(tool, tmp_path, port, bus, "redis"))
        front = stack.enter_context(relay(port, before=lambda nth: nth == 2 and server.restart()))
        row = judged(conf(tmp_path, front.port, bus, dialect="centrifugo", publish=STREAM))
    assert "with all that it had missed" in row["message"], row
