"""The check `origin` against servers that look at the Origin in their own ways: aiohttp, python3-websockets, npm's ws and socket.io."""
import json
import urllib.request

import pytest

from harness import MODULES, PYTHON, SERVERS, agent, check, environment, free_port, only, process, until

OWN = "https://chat.example.com"


def guard(port, **conf):
    return process(PYTHON, SERVERS / "guard.py", port, json.dumps(conf), port=port)


def counts(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/counts", timeout=10) as answer:
        return json.load(answer)


def verdict(port, flags=("--origin", OWN), path="/ws", **more):
    code, document = check(f"ws://127.0.0.1:{port}{path}", "origin", flags=flags, **more)
    row = only(document)
    return code, row["reason"], row["message"]


@pytest.mark.parametrize("conf, code, reason, words", [
    ({"origins": [OWN]}, 0, None, "Origin https://chat.example.com is taken; refused: https://origin.invalid (status 403) and 5 others"),
    ({"origins": [OWN], "status": 404}, 0, None, "(status 404)"),
    ({}, 2, "origin_not_enforced", "takes Origin https://origin.invalid (a foreign one), and should take https://chat.example.com alone"),
    ({"origins": [OWN], "loose": "prefix"}, 2, "origin_not_enforced", "https://chat.example.com.wshealthd.test"),
    ({"origins": [OWN], "loose": "host"}, 1, "origin_not_enforced", "http://chat.example.com (the same without TLS)"),
    ({"origins": [OWN, "null"]}, 2, "origin_not_enforced", "takes Origin null"),
    ({"origins": ["https://www.example.com"]}, 2, "origin_rejected", "refuses Origin https://chat.example.com: status 403"),
    ({"origins": [OWN], "status": 429}, 1, "rate_limited", "no foreign Origin is tried for 10m"),
])
def test_aiohttp(conf, code, reason, words):
    port = free_port()
    with guard(port, **conf):
        got = verdict(port)
        assert got[:2] == (code, reason) and words in got[2], got


def test_without_a_configured_origin():
    port = free_port()
    with guard(port, origins=[OWN]):
        code, reason, message = verdict(port, flags=())
        assert (code, reason) == (0, None) and "no Origin is configured (--origin)" in message, message
        assert counts(port)["taken"] == 0


def test_python_websockets(tmp_path):
    port = free_port()
    file = tmp_path / "server.py"
    file.write_text(f"""
import asyncio, websockets
async def serve(connection, _path=None):
    async for message in connection: pass
async def main():
    async with websockets.serve(serve, "127.0.0.1", {port}, origins=["{OWN}"]):
        await asyncio.Event().wait()
asyncio.run(main())
""")
    with process(PYTHON, file, port=port):
        code, reason, message = verdict(port, path="/")
        assert (code, reason) == (0, None) and "(status 403)" in message, message


@pytest.mark.parametrize("kind, words", [("ws", "(status 401)"), ("destroy", "(a cut connection)"), ("socket.io", "(status 400)")])
def test_npm(node, kind, words):
    port = free_port()
    flags = ("--origin", OWN, *(("--dialect", "socket.io") if kind == "socket.io" else ()))
    with process(node, SERVERS / "guard.js", port, kind, OWN, port=port, env=environment(WSHEALTHD_MODULES=str(MODULES))):
        code, reason, message = verdict(port, flags=flags, path="")
        assert (code, reason) == (0, None) and words in message, message
        flags = ("--origin", "https://www.example.com", *flags[2:])
        code, reason, message = verdict(port, flags=flags, path="")
        assert code == 2 and reason in ("origin_rejected", "upgrade_unauthorized", "upgrade_refused", "connection_reset"), message


def test_a_running_agent_is_polite(tmp_path):
    """One foreign Origin in `pace`, whatever the interval, and nothing of it slows the other checks down."""
    port = free_port()
    conf = f"""
target: {{ url: "ws://127.0.0.1:{port}/ws", origin: "{OWN}" }}
defaults: {{ interval: 200ms, jitter: 0% }}
checks:
  - {{ name: handshake, type: handshake }}
  - {{ name: origin, type: origin, timeout: 400ms, interval: 500ms }}
"""
    with guard(port, origins=[OWN]), agent(conf, tmp_path) as running:
        until("the check passes", lambda: running.check("origin")["state"] == "pass")
        before = counts(port)
        until("rounds go on", lambda: counts(port)["taken"] > before["taken"] + 20)
        assert counts(port)["refused"] == 1
        assert running.check("handshake")["state"] == "pass" and running.check("origin")["http_status"] == 101
