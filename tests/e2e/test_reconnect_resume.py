"""State that a reconnect check comes back to, against npm's socket.io with connection state recovery."""
from harness import MODULES, SERVERS, check, environment, free_port, process
from test_redis import redis


def played(node, tmp_path, *more, how="abort"):
    port = free_port()
    file = tmp_path / "c.yaml"
    with redis(tmp_path) as bus:
        file.write_text(f"""
target: {{ url: "ws://127.0.0.1:{port}/", dialect: socket.io }}
brokers: [ {{ name: bus, type: redis, url: "{bus.url}" }} ]
checks:
  - type: reconnect
    timeout: 20s
    within: 2s
    how: [{how}]
    channel: news
    publish: {{ topic: "{{{{channel}}}}", body: "{{{{payload}}}}" }}
    resume: {{ missed: true }}
""")
        with process(node, SERVERS / "socketio_recovery.js", port, bus.port, *more, port=port,
                     env=environment(WSHEALTHD_MODULES=str(MODULES))):
            code, document = check(None, conf=file, timeout=None, patience=60)
            return code, next(row for row in document["checks"] if row["name"] == "reconnect")


def test_what_was_missed_comes_after_an_abort_and_a_close(node, tmp_path):
    for how in ("abort", "close"):
        code, row = played(node, tmp_path, how=how)
        assert code == 0 and "with all that it had missed" in row["message"], row


def test_sessions_lost_after_a_deploy(node, tmp_path):
    code, row = played(node, tmp_path, "forgets")
    assert code == 1 and row["reason"] == "resume_failed", row
    assert "3 of 3 heartbeats published during the gap did not arrive within 2s" in row["message"], row
