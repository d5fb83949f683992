"""The check `auth` beside token endpoints that break every rule: its rounds end in time, with the endpoint's fault named, nothing of a secret
shows, and whoever asks for the agent's health is answered."""
import base64
import json
import ssl
import threading
import time
import urllib.parse

import pytest

from hostile import Frames, head, request, reset
from harness import agent, check, only, until, wshealthd
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


# --- one answer -------------------------------------------------------------------------------------------------------------------------
def forever(sock, chunk, pause=0.0):
    while True:
        sock.sendall(chunk)
        time.sleep(pause)


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GOOD = json.dumps({"access_token": "a-good-token"})
ANSWERS = {
    "endless body": (lambda sock: (sock.sendall(OK + b"\r\n"), forever(sock, b"x" * 65536)), "longer than 256KiB"),
    "endless length": (lambda sock: (sock.sendall(OK + b"Content-Length: 999999999999\r\n\r\n"), forever(sock, b" " * 65536)),
                       "longer than 256KiB"),
    "tiny chunks": (lambda sock: (sock.sendall(CHUNKED), forever(sock, b"1\r\nx\r\n" * 10000)), "longer than 256KiB"),
    "endless extension": (lambda sock: (sock.sendall(CHUNKED + b"1;"), forever(sock, b"x" * 65536)), "extensions and trailers"),
    "endless trailer": (lambda sock: (sock.sendall(CHUNKED + b"0\r\n"), forever(sock, b"a: b\r\n" * 9999)), "trailers"),
    "a byte a second": (lambda sock: (sock.sendall(OK + b"\r\n"), forever(sock, b"{", 1)), "not complete within 2s"),
    "a slow head": (lambda sock: (sock.sendall(OK), forever(sock, b"X", 1)), "no response within 2s"),
    "huge head": (lambda sock: (sock.sendall(OK), forever(sock, b"X-A: " + b"a" * 65000 + b"\r\n")), "head bytes are over the limit"),
    "many headers": (lambda sock: sock.sendall(OK + b"A: b\r\n" * 500 + b"\r\n"), "header fields are over the limit"),
    "1xx for ever": (lambda sock: forever(sock, b"HTTP/1.1 100 Continue\r\n\r\n"), "more than 8 interim responses"),
    "101": (lambda sock: sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + b"x" * 999999), "status 101"),
    "html": (lambda sock: sock.sendall(answer("<html><body>Welcome to your hotel's Wi-Fi</body></html>")), "has no /access_token"),
    "gzip": (lambda sock: sock.sendall(answer(b"\x1f\x8b\x08\0\0\0\0\0", "200 OK", "Content-Encoding: gzip")), "Content-Encoding gzip"),
    "no json": (lambda sock: sock.sendall(answer('{"access_token": "half')), "has no /access_token"),
    "deep json": (lambda sock: sock.sendall(answer("[" * 200000)), "has no /access_token"),
    "twice": (lambda sock: sock.sendall(answer('{"access_token":"one-token","access_token":"other-token"}')), "has no /access_token"),
    "no text": (lambda sock: sock.sendall(answer('{"access_token":{"a":[1,2]}}')), "has no /access_token"),
    "null": (lambda sock: sock.sendall(answer('{"access_token":null}')), "has no /access_token"),
    "empty": (lambda sock: sock.sendall(answer("")), "has no /access_token"),
    "10 MB token": (lambda sock: sock.sendall(json_token("a" * 10_000_000)), "longer than 256KiB"),
    "200 KB token": (lambda sock: sock.sendall(json_token("a" * 200_000)), "one word of at most"),
    "CR LF": (lambda sock: sock.sendall(json_token("good\r\nX-Injected: yes")), "one word of at most"),
    "NUL": (lambda sock: sock.sendall(json_token("good\0token")), "one word of at most"),
    "UTF-8": (lambda sock: sock.sendall(json_token("tökén")), "one word of at most"),
    "not UTF-8": (lambda sock: sock.sendall(answer(b'{"access_token":"\xff\xfe\xc0\xaf"}')), "has no /access_token"),
    "blank": (lambda sock: sock.sendall(json_token("two words")), "one word of at most"),
    "closed": (lambda sock: None, "closed before a response"),
    "reset": (reset, "reset"),
    "redirect": (lambda sock: sock.sendall(answer("", "302 Found", "Location: /token")), "status 302"),
    "no HTTP": (lambda sock: sock.sendall(b"SSH-2.0-OpenSSH\r\n"), "HTTP/1.x"),
    "both lengths": (lambda sock: sock.sendall(CHUNKED[:-2] + b"Content-Length: 3\r\n\r\nabc"), "both Content-Length"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_none(tmp_path, name):
    play, words = ANSWERS[name]

    def tokens(sock, server):
        server.request(sock)
        play(sock)

    with rogue(tokens) as endpoint, rogue(lambda sock, _: polite(sock)) as server:
        file = tmp_path / "c.yaml"
        file.write_text(conf(server, endpoint, "reject: [],"))
        code, document = check(None, conf=file, timeout="2s", patience=30)
        row = only(document)
        print(code, row["reason"], row["message"])
        assert SECRET not in json.dumps(document) and "X-Injected" not in "".join(server.heads)
        assert (code, row["reason"], row["scope"]) == (2, "auth_refresh_failed", "probe"), row
        assert words in row["message"], row["message"]


def asked_once(tmp_path, tokens, scheme="http", tls=None, more=""):
    """One round of `check` with that endpoint: the row, and all that was said in it."""
    with rogue(tokens, tls) as endpoint, rogue(lambda sock, _: polite(sock)) as server:
        file = tmp_path / "c.yaml"
        file.write_text(conf(server, endpoint, "reject: [],", scheme=scheme, more=more))
        code, out, err = wshealthd("check", "-c", file, "--timeout", "3s", "--trace")
        row = only(check(None, conf=file, timeout="3s", patience=30)[1])
        return code, row, out + err + json.dumps(row), "".join(endpoint.heads), "".join(server.heads)


def test_a_redirect_takes_no_secret_along(tmp_path):
    for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"):
        with rogue(lambda sock, server: (server.request(sock), sock.sendall(json_token("a-good-token")))) as other:
            where = f"Location: http://127.0.0.1:{other.port}/token"
            code, row, said, _heads, _ = asked_once(tmp_path, lambda sock, server: (server.request(sock), sock.sendall(answer("", status, where))))
            assert (code, row["reason"]) == (2, "auth_refresh_failed") and f"status {status[:3]}" in row["message"], row
            assert other.count == 0 and SECRET not in said


def test_an_endpoint_that_says_everything_back(tmp_path):
    """In each shape in which the client secret went out, or might be known: none of it is shown."""
    basic = base64.b64encode(f"probe:{urllib.parse.quote(SECRET, safe='')}".encode()).decode()
    body = f"wrong: Basic {basic} {SECRET} {urllib.parse.quote(SECRET, safe='')} {json.dumps(SECRET)} {base64.b64encode(SECRET.encode()).decode()}"
    shapes = (basic, SECRET, urllib.parse.quote(SECRET, safe=""), base64.b64encode(SECRET.encode()).decode())
    for text in (body, json.dumps({"error": "invalid_client", "error_description": body}), f"<html><title>{body}</title></html>"):
        for status in ("400 Bad Request", "401 Unauthorized", "500 " + body):
            code, row, said, heads, _ = asked_once(
                tmp_path, lambda sock, server: (server.request(sock), sock.sendall(answer(text, status, f"X-Debug: {body}", f"Location: /?{body}"))))
            assert (code, row["reason"]) == (2, "auth_refresh_failed"), row
            assert f"Authorization: Basic {basic}" in heads
            assert not [shape for shape in shapes if shape in said], said


def test_tls_that_fails(tmp_path, certs):
    def garbage(sock, _server):
        sock.recv(9999)
        sock.sendall(b"\x16\x03\x03\xff\xff" + b"x" * 70000)
        time.sleep(5)

    def good(sock, server):
        server.request(sock)
        sock.sendall(json_token("a-good-token"))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certs.leaf(name="tokens"))
    for tokens, tls, words in ((good, context, "certificate"), (good, None, "TLS"), (garbage, None, "TLS"),
                               (lambda sock, _: sock.recv(100), None, "TLS"), (lambda sock, _: time.sleep(9), None, "within")):
        code, row, said, _heads, _ = asked_once(tmp_path, tokens, scheme="https", tls=tls)
        print(row["message"])
        assert (code, row["reason"], row["scope"]) == (2, "auth_refresh_failed", "probe"), row
        assert words in row["message"] and SECRET not in said


@pytest.mark.parametrize("life, often", [("-5", False), ("0", False), ("1e300", False), ("99999999999999999999999", False), ('"3600"', False),
                                         ("3600.75", False), ('"soon"', False), ("null", False), ("[3600]", False), ("1", True)])
def test_how_long_a_token_lives(tmp_path, life, often):
    """A token that does not say how long it lives, or says nonsense, is kept for a while: its endpoint is not asked in each round."""
    with rogue(lambda sock, server: (server.request(sock), sock.sendall(answer('{"access_token":"a-token","expires_in":%s}' % life)))) as endpoint, \
            rogue(lambda sock, _: polite(sock)) as server, agent(conf(server, endpoint, "reject: [],"), tmp_path) as child:
        until("rounds go on", lambda: server.count >= 5)
        assert child.check("auth")["state"] == "pass", child.check("auth")
        assert (endpoint.count > 1) == often, endpoint.count
