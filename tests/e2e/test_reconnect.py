"""The reconnect check against servers that people run: dropped in both ways, restarted, and down."""
from harness import MODULES, PYTHON, SERVERS, agent, check, environment, free_port, only, process, until


def websockets(port):
    return process(PYTHON, SERVERS / "websockets_echo.py", port, port=port)


def test_python_websockets_and_aiohttp():
    for script, path in (("websockets_echo.py", "/"), ("aiohttp_echo.py", "/ws")):
        port = free_port()
        with process(PYTHON, SERVERS / script, port, port=port):
            code, document = check(f"ws://127.0.0.1:{port}{path}", "reconnect", timeout="15s")
            row = only(document)
            assert code == 0 and row["message"].startswith("back ") and row["message"].endswith(" after a close frame"), row


def test_npm_socket_io_gets_its_room_back(node, tmp_path):
    port = free_port()
    file = tmp_path / "c.yaml"
    file.write_text(f"""
target: {{ url: "ws://127.0.0.1:{port}", dialect: socket.io }}
checks:
  - type: reconnect
    timeout: 15s
    how: [abort]
    channel: news
    subscribe: {{ send: '42{{{{seq}}}}["subscribe","{{{{channel}}}}"]', expect: {{ regex: '^43{{{{seq}}}}\\[' }} }}
""")
    with process(node, SERVERS / "socketio_rooms.js", port, port=port, env=environment(WSHEALTHD_MODULES=str(MODULES))):
        code, document = check(None, conf=file)
        assert code == 0 and only(document)["message"].endswith("after an abort, with its subscriptions"), document


def test_a_restart_is_survived_and_takes_nothing_out(tmp_path):
    port = free_port()
    conf = f"""
target: {{ url: "ws://127.0.0.1:{port}/" }}
checks:
  - {{ type: tcp, interval: 100ms, gates: [] }}
  - {{ type: reconnect, interval: 200ms, max_per_second: 10, timeout: 1s, within: 900ms }}
"""
    with agent(conf, tmp_path) as run:
        with websockets(port):
            until("it passes", lambda: run.check("reconnect")["state"] == "pass")
        until("it fails", lambda: run.check("reconnect")["state"] == "fail")
        assert run.check("reconnect")["reason"] == "connect_refused"
        with websockets(port):
            until("it passes again", lambda: run.check("reconnect")["state"] == "pass")
