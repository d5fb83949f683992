"""Reloads in the middle of everything that a check may be doing: twice in a row, fifty in a second, with changed options, without the check. The
agent goes on, ends cleanly, and leaves nothing behind (its sanitizers say so)."""
import os
import signal
import time

import pytest

from harness import agent, until
from hostile import Frames, head, request
from peer import CLOSE, PING, PONG, close, frame
from rogue import answer, polite, rogue
from test_auth import SECRET

DEFAULTS = "defaults: { interval: 100ms, fast_interval: 50ms, timeout: 3s, jitter: 0%, fall: 1 }\n"
TCP = "  - { name: port, type: tcp }\n"


def slow_token(sock, server):
    server.request(sock)
    time.sleep(0.5)
    sock.sendall(answer('{"access_token":"opaque-token-%d","expires_in":2}' % server.count))


def slow(sock, _server):
    """Every echo comes late, so that some are always under way."""
    sock.sendall(head(request(sock)))
    frames = Frames(sock)
    while True:
        opcode, data = frames.next()
        time.sleep(0.05)
        sock.sendall(frame(PONG if opcode == PING else opcode, data) if opcode != CLOSE else close(1000))


RENEW = "renew: { send: '{{token}}' }"
CHECKS = {
    "auth": ("type: auth, pace: 1s, {OPT} reject: [absent, garbage], refresh: {{ url: \"http://127.0.0.1:{tokens}/\" }}", "refuse_within: 500ms,"),
    "expiry": ("type: auth, accept: false, {OPT} reject: [], mint: {{ key_file: {key} }}, expiry: {{ ttl: 2s, within: 1s }}", "pace: 2s,"),
    "renewal": ("type: auth, accept: false, {OPT} reject: [], expiry: {{ ttl: 2s, within: 1s, expect: renew, " + RENEW.replace("{", "{{").replace("}", "}}") +
                " }}, refresh: {{ url: \"http://127.0.0.1:{tokens}/\" }}", "pace: 2s,"),
    "origin": ("type: origin, {OPT} accept: \"https://a.example.com\", refuse: [\"https://b.example.com\"]", "pace: 1s,"),
    "burst": ("type: reconnect, {OPT} burst: 50", "within: 1s,"),
    "reconnect": ("type: reconnect, {OPT} how: [close, abort]", "within: 1s,"),
    "idle": ("type: hold, {OPT} connections: 3, idle: true, for: 1h", "max_age: 1h,"),
    "payload": ("type: payload, {OPT} max: 64KiB, probe_to: 256KiB", "fragments: false,"),
    "server": ("type: server, {OPT} metrics_url: \"http://127.0.0.1:{tokens}/\", series: {{ a: {{ name: a, max: 5 }} }}", "max_connections: 1000,"),
    "script": ("type: script, {OPT} steps: [ {{ send: a, expect: {{ contains: a }} }}, {{ send: b, expect: {{ contains: b }} }} ]", "json_holes: true,"),
}


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("wait", [0.02, 0.6])
def test_reloads(tmp_path, name, wait):
    options, changed = CHECKS[name]
    key = tmp_path / "key"
    key.write_text(SECRET + "\n")
    serve = slow if name in ("payload", "script") else lambda sock, _: polite(sock)
    with rogue(slow_token) as tokens, rogue(serve) as server:
        target = DEFAULTS + f'target: {{ url: "ws://127.0.0.1:{server.port}/ws" }}\nchecks:\n'
        one = "  - { name: it, " + options.format(OPT="", tokens=tokens.port, key=key) + " }\n"
        other = "  - { name: it, " + options.format(OPT=changed, tokens=tokens.port, key=key) + " }\n"
        with agent(target + TCP + one, tmp_path) as child:
            until("it has begun", lambda: server.count + tokens.count > 0)
            def reload(text, times=1, pause=0.0):
                child.write(text)
                for _ in range(times):
                    os.kill(child.pid, signal.SIGHUP)
                    time.sleep(pause)

            time.sleep(wait)
            reload(target + TCP + other)
            time.sleep(wait)
            reload(target + TCP)  # gone
            until("it is gone", lambda: len(child.status()["checks"]) == 1)
            reload(target + TCP + one)
            time.sleep(wait)
            reload(target + TCP + other)
            reload(target + TCP + one)
            time.sleep(wait)
            for turn in range(25):
                reload(target + TCP + (other if turn % 2 else one), 2, 0.02)
            reload(target + TCP + one)
            until("both are there", lambda: {c["name"] for c in child.status()["checks"]} == {"it", "port"})
            until("rounds go on", lambda: child.check("port")["state"] == "pass")
            assert child.running(), child.err()
            print(child.check("it")["status"], child.check("it")["reason"], child.check("it")["message"])
            assert child.ready(), child.get("/ready").text
