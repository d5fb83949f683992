"""The check `auth` against servers that verify tokens: python3-jwt on aiohttp, npm's ws and socket.io; and an OAuth 2 token endpoint."""
import json
import time
import urllib.request

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from harness import MODULES, PYTHON, SERVERS, agent, check, environment, free_port, only, process, until

SECRET = "a-shared-secret-of-some-length-4711"
BAD = "[absent, garbage, expired, wrong_signature, wrong_audience]"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """For each algorithm: the agent's key file and the server's."""
    directory = tmp_path_factory.mktemp("keys")
    made = {"RS256": rsa.generate_private_key(65537, 2048), "ES256": ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate()}
    files = {"HS256": (directory / "secret", directory / "secret")}
    (directory / "secret").write_text(SECRET + "\n")
    for name, key in made.items():
        private, public = directory / f"{name}.pem", directory / f"{name}.pub"
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        files[name] = private, public
    return files


def guard(port, keys, alg="HS256", **conf):
    return process(PYTHON, SERVERS / "guard.py", port, json.dumps({"alg": alg, "key": str(keys[alg][1]), **conf}), port=port)


def counts(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/counts", timeout=10) as answer:
        return json.load(answer)


def conf_file(directory, port, options, target="", more=""):
    file = directory / "c.yaml"
    file.write_text(f'target: {{ url: "ws://127.0.0.1:{port}/ws"{target} }}\n{more}checks: [ {{ type: auth, {options} }} ]\n')
    return file


def verdict(file, timeout="8s", patience=40):
    code, document = check(None, conf=file, timeout=timeout, patience=patience)
    assert SECRET not in json.dumps(document) and "eyJ" not in json.dumps(document), document
    row = only(document)
    return code, row["status"], row["reason"], row["message"]


@pytest.mark.parametrize("alg", ["HS256", "RS256", "ES256", "EdDSA"])
def test_every_algorithm_and_every_bad_token(keys, tmp_path, alg):
    port = free_port()
    mint = f"mint: {{ alg: {alg}, key_file: {keys[alg][0]}, kid: k1, claims: {{ sub: probe, aud: chat }} }}"
    with guard(port, keys, alg, audience="chat"):
        got = verdict(conf_file(tmp_path, port, f"reject: {BAD}, {mint}"))
        assert got[:3] == (0, "pass", None), got
        assert "a valid token (mint) is taken; refused: absent (status 401), garbage (status 401), expired (status 401), wrong_signature " \
               "(status 401), wrong_audience (status 401)" in got[3], got
        assert counts(port) == {"taken": 1, "refused": 5, "tokens": 0}


def mint(keys):
    return f"mint: {{ key_file: {keys['HS256'][0]} }}"


@pytest.mark.parametrize("place", ["header", "query:t", "cookie:t", "subprotocol"])
def test_every_place(keys, tmp_path, place):
    port = free_port()
    with guard(port, keys, **{"in": place.split(":", maxsplit=1)[0]}):
        got = verdict(conf_file(tmp_path, port, mint(keys), target=f", token_in: '{place}', subprotocols: [chat.v1]"))
        assert got[:3] == (0, "pass", None) and "absent (status 401), garbage (status 401)" in got[3], got


def test_in_a_message(keys, tmp_path):
    dialect = """dialects: { chat: { connect: { send: '{"token":"{{token}}"}', expect: { json: { /op: welcome } }, reject: { json: { /op: error } } } } }\n"""
    port = free_port()
    with guard(port, keys, **{"in": "message"}):
        got = verdict(conf_file(tmp_path, port, mint(keys), target=", token_in: message, dialect: chat", more=dialect))
        assert got[:3] == (0, "pass", None) and "absent (a message), garbage (a message)" in got[3], got


@pytest.mark.parametrize("refuse, options, code, reason, words", [
    (403, "", 0, None, "absent (status 403)"),
    ("close", "", 0, None, "absent (close code 4401)"),
    ("message", "refuse_with: { match: { json: { /op: error } } }, ", 0, None, "absent (a message)"),
    ("message", "", 2, "auth_not_enforced", "if that refuses, set refuse_with.match"),
    ("cut", "", 1, "connection_reset", "with a cut connection, want one of refuse_with"),
    ("cut", "refuse_with: [1006], ", 0, None, "absent (a cut connection)"),
    (404, "", 1, "upgrade_refused", "with status 404, want one of refuse_with (401, 403, 1008, 4000-4999)"),
    (429, "", 1, "rate_limited", "none is tried for 10m"),
])
def test_ways_to_refuse(keys, tmp_path, refuse, options, code, reason, words):
    port = free_port()
    with guard(port, keys, refuse=refuse):
        got = verdict(conf_file(tmp_path, port, options + mint(keys)))
        assert (got[0], got[2]) == (code, reason) and words in got[3], got


def test_nothing_is_enforced(tmp_path):
    port = free_port()
    with process(PYTHON, SERVERS / "guard.py", port, "{}", port=port):
        code, document = check(f"ws://127.0.0.1:{port}/ws", "auth")
        assert (code, only(document)["reason"]) == (2, "auth_not_enforced"), document


def test_a_token_of_the_target(keys, tmp_path):
    port = free_port()
    token = tmp_path / "token"
    url = f"ws://127.0.0.1:{port}/ws"
    with guard(port, keys):
        token.write_text(jwt.encode({"iat": int(time.time()), "exp": int(time.time()) + 600}, SECRET, algorithm="HS256"))
        code, document = check(url, "auth", flags=("--token-file", token))
        assert (code, only(document)["reason"]) == (0, None), document
        token.write_text(jwt.encode({"iat": int(time.time()), "exp": int(time.time()) + 600}, "x" * 32, algorithm="HS256"))
        code, document = check(url, "auth", flags=("--token-file", token))
        assert (code, only(document)["reason"], only(document)["scope"]) == (2, "auth_rejected", "local"), document
        token.write_text(jwt.encode({"exp": int(time.time()) - 600}, SECRET, algorithm="HS256"))
        code, document = check(url, "auth", flags=("--token-file", token))
        assert (code, only(document)["reason"], only(document)["scope"]) == (2, "auth_refresh_failed", "probe"), document
        assert "expired 10m ago, by its own exp" in only(document)["message"]


@pytest.mark.parametrize("clock_s, options, words", [
    (3600, "", "ahead of the agent's by its Date, and for it the token has expired"),
    (-3600, "", "behind the agent's by its Date, and for it the token is not valid yet"),
])
def test_a_clock_that_is_off(keys, tmp_path, clock_s, options, words):
    port = free_port()
    with guard(port, keys, clock_s=clock_s):
        got = verdict(conf_file(tmp_path, port, options + mint(keys)))
        assert got[1:3] == ("warn", "auth_rejected") and words in got[3], got


RENEW = """expect: renew, renew: { send: '{"token":"{{token}}"}', expect: { json: { /renewed: true } } }"""


@pytest.mark.parametrize("conf, options, code, reason, words", [
    ({"at_exp": "close"}, "", 0, None, "a session ends with close code 4001"),
    ({"at_exp": "close", "code": 1000}, "", 1, "closed_by_server", "want a close code of expiry.code"),
    ({"at_exp": "ignore"}, "", 2, "auth_expiry_ignored", "goes on serving a session"),
    ({"at_exp": "renew"}, RENEW, 0, None, "a renewed session goes on"),
    ({"at_exp": "ignore"}, RENEW, 2, "auth_rejected", "was not confirmed within 2s (want JSON with /renewed = true)"),
])
def test_expiry(keys, tmp_path, conf, options, code, reason, words):
    port = free_port()
    with guard(port, keys, **conf):
        got = verdict(conf_file(tmp_path, port, f"expiry: {{ ttl: 2s, within: 2s, {options} }}, {mint(keys)}"), timeout="20s")
        assert (got[0], got[2]) == (code, reason) and words in got[3], got


def test_a_slow_clock_ignores_no_expiry(keys, tmp_path):
    port = free_port()
    with process(PYTHON, SERVERS / "guard.py", port, '{"clock_s": -60}', port=port):
        got = verdict(conf_file(tmp_path, port, f"reject: [], expiry: {{ ttl: 2s, within: 1s }}, {mint(keys)}"), timeout="20s")
        assert got[1:3] == ("warn", "auth_expiry_ignored") and "its clock is" in got[3] and "behind the agent's" in got[3], got


def test_an_endless_life(keys, tmp_path):
    """A token that is no JWT, and an expires_in that no clock holds."""
    port = free_port()
    with guard(port, keys, opaque=True, client="probe:s3cr&t/plus"):
        file = conf_file(tmp_path, port, "accept: true, reject: [absent], " + refresh(port))
        code, document = check(None, conf=file, timeout="8s")
        assert code in (1, 2) and only(document)["reason"] == "auth_rejected", document  # and no crash


def test_too_little_time_for_expiry(keys, tmp_path):
    port = free_port()
    with guard(port, keys):
        got = verdict(conf_file(tmp_path, port, f"expiry: 30s, {mint(keys)}"), timeout="5s")
        assert got[0] == 0 and "give --timeout 37s" in got[3], got


def refresh(port, secret="s3cr&t/plus"):
    return f'refresh: {{ url: "http://127.0.0.1:{port}/token", client_id: probe, client_secret: "{secret}" }}'


def test_oauth_client_credentials(keys, tmp_path):
    port = free_port()
    with guard(port, keys, client="probe:s3cr&t/plus", ttl_s=4, at_exp="renew"):
        got = verdict(conf_file(tmp_path, port, refresh(port)))
        assert got[0] == 0 and "a valid token (refresh.url) is taken" in got[3], got
        got = verdict(conf_file(tmp_path, port, f"expiry: {{ ttl: 4s, within: 2s, {RENEW} }}, {refresh(port)}"), timeout="20s")
        assert got[0] == 0 and "a renewed session goes on" in got[3], got
        got = verdict(conf_file(tmp_path, port, f"expiry: {{ ttl: 4s, within: 5s }}, {refresh(port)}"), timeout="20s")
        assert got[0] == 0 and "a session ends with close code 4001" in got[3], got
        got = verdict(conf_file(tmp_path, port, refresh(port, "s3cr&t/wrong")))
        assert got[2] == "auth_refresh_failed" and 'status 401, want 200: "invalid_client"' in got[3] and "s3cr" not in got[3], got


@pytest.mark.parametrize("conf, token, words", [
    ({"broken": 503}, "/access_token", "status 503, want 200"),
    ({}, "/data/token", "the answer has no /data/token (refresh.token)"),
    ({"ttl_s": -600}, "/access_token", "the token in the answer expired 10m"),
])
def test_an_endpoint_that_gives_no_token(keys, tmp_path, conf, token, words):
    port = free_port()
    with guard(port, keys, client="probe:s3cr&t/plus", **conf):
        got = verdict(conf_file(tmp_path, port, refresh(port).replace("client_id", f"token: {token}, client_id")))
        assert got[2] == "auth_refresh_failed" and words in got[3], got
        assert counts(port)["refused"] == counts(port)["taken"] == 0


def test_an_endpoint_that_is_down(keys, tmp_path):
    port, nobody = free_port(), free_port()
    with guard(port, keys):
        got = verdict(conf_file(tmp_path, port, refresh(nobody)))
        assert got[2] == "auth_refresh_failed" and "connection refused" in got[3], got


@pytest.mark.parametrize("kind, words", [("ws", "absent (status 401), garbage (status 401)"), ("destroy", "absent (a cut connection)"),
                                         ("socket.io", "absent (a message), garbage (a message)")])
def test_npm(node, tmp_path, kind, words):
    port = free_port()
    dialect = ", dialect: socket.io, token_in: message" if kind == "socket.io" else ""
    target = f', origin: "https://a.test", token: open-sesame-42{dialect}'
    env = environment(WSHEALTHD_MODULES=str(MODULES))
    with process(node, SERVERS / "guard.js", port, kind, "https://a.test", "open-sesame-42", port=port, env=env):
        file = conf_file(tmp_path, port, "refuse_with: [401, 1006]", target=target)
        file.write_text(file.read_text().replace("/ws\"", "\""))
        got = verdict(file)
        assert got[:3] == (0, "pass", None) and words in got[3], got
        file.write_text(file.read_text().replace("open-sesame-42", "open-sesame-43"))
        got = verdict(file)
        assert got[1] == "fail" and got[2] == ("connection_reset" if kind == "destroy" else "auth_rejected"), got


def test_over_http2(node, tmp_path):
    port = free_port()
    token = tmp_path / "token"
    token.write_text("open-sesame-42\n")
    with process(node, SERVERS / "h2_ws.js", port, port=port, env=environment(WSHEALTHD_MODULES=str(MODULES))):
        code, document = check(f"ws://127.0.0.1:{port}/private", "auth", flags=("--http", "2", "--token-file", token))
        row = only(document)
        assert (code, row["reason"], row["http"]) == (0, None, "2"), row
        assert "absent (status 401), garbage (status 401)" in row["message"], row
        code, document = check(f"ws://127.0.0.1:{port}/", "origin", flags=("--http", "2", "--origin", "https://a.test"))
        assert (code, only(document)["reason"]) == (2, "origin_not_enforced"), document


def test_a_running_agent_is_polite(keys, tmp_path):
    """One bad token in `pace`; its refusals slow nothing down; an ignored expiry is a warning first, and then a fault."""
    port = free_port()
    conf = f"""
target: {{ url: "ws://127.0.0.1:{port}/ws", token: "{jwt.encode({'exp': int(time.time()) + 900}, SECRET, algorithm='HS256')}" }}
defaults: {{ interval: 200ms, jitter: 0% }}
checks:
  - {{ name: handshake, type: handshake }}
  - {{ name: auth, type: auth, timeout: 400ms, interval: 500ms, expiry: {{ ttl: 2s, within: 500ms }}, {mint(keys)} }}
"""
    with guard(port, keys) as _, agent(conf, tmp_path) as running:
        until("the expiry is judged", lambda: running.check("auth")["state"] == "warn" and running.check("auth")["reason"] == "auth_expiry_ignored")
        until("the expiry is a fault", lambda: running.check("auth")["state"] == "fail")
        assert counts(port)["refused"] == 1
        assert running.check("handshake")["state"] == "pass"
        assert running.ready()  # it only reports


def test_beside_checks_that_share_a_connection(keys, tmp_path):
    """In a dialect whose first message brings the token: what is refused to auth and origin on purpose disturbs nobody."""
    port = free_port()
    dialect = """dialects: { chat: { connect: { send: '{"token":"{{token}}"}', expect: { json: { /op: welcome } }, reject: { json: { /op: error } } } } }\n"""
    token = jwt.encode({"sub": "probe", "iat": int(time.time()), "exp": int(time.time()) + 600}, SECRET, algorithm="HS256")
    text = (f'defaults: {{ interval: 300ms, fast_interval: 100ms, timeout: 5s, jitter: 0%, fall: 1 }}\n{dialect}'
            f'target: {{ url: "ws://127.0.0.1:{port}/ws", origin: "https://chat.example.com", token: "{token}", token_in: message, dialect: chat }}\n'
            "checks:\n  - { type: handshake }\n  - { type: echo, share_connection: true }\n  - { type: ping, share_connection: true }\n"
            "  - { type: hold, connections: 1, share_connection: true }\n  - { type: reconnect, interval: 1s }\n"
            f"  - {{ type: auth, pace: 1s, {mint(keys)}, reject: [absent, garbage, expired, wrong_signature], expiry: {{ ttl: 2s, within: 3s }} }}\n"
            "  - { type: origin, pace: 1s, lookalikes: false }\n")
    with guard(port, keys, **{"in": "message", "origins": ["https://chat.example.com"], "at_exp": "close"}), agent(text, tmp_path) as child:
        child.wait_ready()
        until("all was tried", lambda: all(words in (child.check("auth")["message"] or "") for words in ("wrong_signature (a message)", "a session ends")))
        assert {c["state"] for c in child.status()["checks"]} == {"pass"}, child.status()
        assert "check_fail" not in child.err() and "check_warn" not in child.err(), child.err()
