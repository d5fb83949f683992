"""The check `auth` beside token endpoints that break every rule: its rounds end in time, with the endpoint's fault named, nothing of a secret
shows, and whoever asks for the agent's health is answered."""
import json
import threading
import time

import pytest

from hostile import Frames, head, request
from harness import agent, check, only, until
from peer import close
from rogue import answer, polite, rogue

SECRET = "s3cr&t/plus+Zm9v"
DEFAULTS = "defaults: {{ interval: 200ms, timeout: {timeout}, jitter: 0%, fall: 1 }}\n"


def conf(server, endpoint, options="", timeout="2s", scheme="http", more=""):
    """`options` of the check, `more` of its refresh."""
    return (DEFAULTS.format(timeout=timeout) + f'target: {{ url: "ws://127.0.0.1:{server.port}/ws" }}\nchecks:\n'
            f'  - {{ name: auth, type: auth, {options} refresh: {{ url: "{scheme}://127.0.0.1:{endpoint.port}/token", client_id: probe, '
            f'client_secret: "{SECRET}"{more} }} }}\n')


def json_token(token, **more):
    return answer(json.dumps({"access_token": token, **more}))


def test_a_session_that_ends_while_its_renewal_is_asked_for(tmp_path):
    """The endpoint takes its time with the second token, the server ends the session meanwhile, and then both are there at once."""
    late = threading.Event()

    def tokens(sock, server):
        server.request(sock)
        mine = server.count
        if mine == 2:
            late.wait(30)
        elif mine == 3:
            late.set()
            time.sleep(0.3)
        sock.sendall(json_token(f"opaque-token-{mine}", expires_in=6))

    def session(sock, server):
        sock.sendall(head(request(sock)))
        if server.count == 1:
            until("the renewal is under way", lambda: endpoint.count == 2, pause=0.1)
            sock.sendall(close(4001))
        Frames(sock).next()

    options = "accept: false, reject: [], expiry: { ttl: 6s, within: 5s, expect: renew, renew: { send: '{{token}}' } },"
    with rogue(tokens) as endpoint, rogue(session) as server:
        with agent(conf(server, endpoint, options, timeout="20s"), tmp_path) as child:
            until("the session is looked at again", lambda: server.count >= 2, seconds=40)
            time.sleep(1.5)
            assert child.running(), child.err()
            assert child.check("auth")["reason"] == "closed_by_server", child.check("auth")
