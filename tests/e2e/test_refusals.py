"""A server that refuses says why: in the body of its response, or in its protocol. The sentence shows it, and names what to set."""
import asyncio
import json

import pytest

from harness import MODULES, check, connects, environment, free_port, only, process, wshealthd
from peer import TEXT, close, frame
from test_target import judged, served, written

LONG = "The service is in maintenance until the new storage is in place, which will take about an hour; clients are asked to come back then, please"


def sized(status, body, *headers):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n" + "".join(h + "\r\n" for h in headers) + "\r\n" + body


def chunked(status, body):
    return f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n" + "".join(f"1\r\n{c}\r\n" for c in body) + "0\r\n\r\n"


# path: (response, how it goes on, words that the sentence must hold)
REFUSALS = {
    "/sio": (sized("400 Bad Request", '{"code":0,"message":"Transport unknown"}'), "keep", ["status 400 Bad Request", '"Transport unknown"']),
    "/gorilla": (sized("403 Forbidden", "Forbidden\nwebsocket: request origin not allowed by Upgrader.CheckOrigin\n"), "keep",
                 ["Upgrader.CheckOrigin", "set --origin"]),
    "/limit": (chunked("503 Service Unavailable", '{"error":"CONNECTION_LIMIT","message":"Maximum connections reached"}'), "keep",
               ["Maximum connections reached"]),
    "/beast": (sized("400 Bad Request", 'unsupported permessage-deflate parameter: "client_max_window_bits"'), "keep",
               ["client_max_window_bits", "target.compression: off"]),
    "/rate": (sized("429 Too Many Requests", "Slow down, 3 connections a minute"), "keep", ["Slow down, 3 connections"]),
    "/login": ("HTTP/1.1 401 Unauthorized\r\n\r\n" + LONG, "close", [LONG[:120]]),
    "/unended": ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 1000\r\n\r\nno such user", "keep", ["no such user"]),
    "/reset": ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 1000\r\n\r\nno such user", "close", ["no such user"]),
    "/endless": ("HTTP/1.1 500 Internal Server Error\r\n\r\n", "flood", ["status 500", "xxxx"]),
    "/node-h2": (sized("403 Forbidden", "Unknown ALPN Protocol, expected `h2` to be available."), "keep", ["expected `h2`", "HTTP/2 only"]),
    "/505": (sized("505 HTTP Version Not Supported", ""), "keep", ["status 505", "HTTP/2 only"]),
    "/h2": (b"\0\0\6\4\0\0\0\0\0\0\3\0\0\0\x64".decode(), "keep", ["answers in HTTP/2"]),
    "/gzip": (sized("400 Bad Request", "not to be shown", "Content-Encoding: gzip"), "keep", ["is the path right"]),
    "/ws": (sized("400 Bad Request", "Bad Request"), "keep", ["is the path right"]),
    "/nginx": (sized("404 Not Found", "<html><head><title>404 Not Found</title></head><body><h1>404 Not Found</h1>nginx/1.22.1</body></html>"), "keep",
               ["status 404 Not Found, want 101: is the path right?"]),
}


async def refuse(peer):
    await peer.request()
    answer, then, _words = REFUSALS[peer.target]
    await peer.send(answer)
    if then == "flood":
        while True:
            await peer.send("x" * 65536)
    if then == "keep":
        await peer.hang()


@pytest.mark.parametrize("path", REFUSALS)
def test_the_words_of_the_body_are_in_the_sentence(path):
    words = REFUSALS[path][2]
    with served(refuse) as port:
        code, document = check(f"ws://127.0.0.1:{port}{path}", "handshake")
        row = only(document)
        assert code == 2 and row["phase"] == "upgrade", row
        for word in words:
            assert word in row["message"], row["message"]
        assert ("proxy" in row["message"]) == (path in ("/ws", "/gzip")), row["message"]
        assert "not to be shown" not in row["message"]
        assert len(row["message"]) < 512


def test_the_round_s_own_deadline_comes_first():
    async def slow(peer):
        await peer.request()
        await peer.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nout of ")
        await asyncio.sleep(0.02)
        await peer.send("hours")
        await peer.hang()

    with served(slow) as port:
        for limit in ("5s", "150ms"):
            _code, document = check(f"ws://127.0.0.1:{port}/", "handshake", timeout=limit)
            assert only(document)["reason"] == "upgrade_unauthorized", document
            assert "out of hours" in only(document)["message"], document


def test_the_words_of_a_health_page(tmp_path):
    async def page(peer):
        await peer.request()
        await peer.send(sized("503 Service Unavailable", json.dumps({"status": "DOWN", "message": "no connection to the database"}), "Connection: close"))

    with served(page) as port:
        _code, document = judged(written(tmp_path, f"{{ url: 'ws://127.0.0.1:{port}/' }}", "[{ type: http }]"))
        assert only(document)["message"] == 'status 503, want 200-299: "no connection to the database"', document


def test_secrets_are_not_shown_and_details_are_for_the_host_alone(tmp_path):
    async def echo_token(peer):
        await peer.request()
        await peer.send(sized("401 Unauthorized", f"bad credentials: {peer.header('Authorization')}"))

    with served(echo_token) as port:
        token = tmp_path / "token"
        token.write_text("hunter2hunter2")
        _code, document = check(f"ws://127.0.0.1:{port}/", "handshake", flags=("--token-file", token))
        assert "bad credentials" in only(document)["message"] and "hunter2" not in json.dumps(document), document


def test_rails_answers_404_to_a_missing_origin():
    async def cable(peer):
        await peer.request()
        if peer.header("Origin") != "https://chat.example.com":
            await peer.send(sized("404 Not Found", "Page not found"))
            return
        await peer.send(peer.response(Sec_WebSocket_Protocol="actioncable-v1-json"), frame(TEXT, '{"type":"welcome"}'))
        await peer.serve()

    with served(cable) as port:
        url = f"ws://127.0.0.1:{port}/cable"
        code, document = check(url, "handshake", flags=("--dialect", "action-cable"))
        assert code == 2 and "--origin" in only(document)["message"], document
        code, document = check(url, "handshake", flags=("--dialect", "action-cable", "--origin", "https://chat.example.com"))
        assert code == 0, document
        _code, document = check(url, "handshake")
        assert "--origin" not in only(document)["message"], document


@pytest.mark.parametrize("form", ["text", "object"])
@pytest.mark.parametrize(("number", "text", "cause"), [
    (4001, "Application does not exist", "login_refused"), (4004, "Application is over connection quota", "server_overloaded"),
    (4100, "The current concurrent connections quota has been reached.", "server_overloaded")])
def test_pusher_errors_are_readable_and_quotas_are_no_matter_of_the_token(number, text, cause, form):
    async def pusher(peer):
        data = {"code": number, "message": text}
        await peer.upgrade(frame(TEXT, json.dumps({"event": "pusher:error", "data": json.dumps(data) if form == "text" else data})), close(number))

    with served(pusher) as port:
        code, document = check(f"ws://127.0.0.1:{port}/app/key?protocol=7", "ping", flags=("--dialect", "pusher"))
        row = only(document)
        assert code == 2 and text in row["message"] and row["reason"] == "login_rejected" and row["close_code"] == number, document
        assert document["diagnosis"]["cause"] == cause, document
        assert (cause == "login_refused") == any("token" in line for line in document["diagnosis"]["advice"]), document


def test_a_server_that_ends_every_connection_may_want_a_proxy_header():
    async def close_at_once(_peer):
        return

    with served(close_at_once) as port:
        _code, out, _err = wshealthd("check", f"ws://127.0.0.1:{port}/", "--type", "handshake")
        assert "target.proxy_protocol" in out, out


NODE = """
const fs = require('fs'), http = require('http'), http2 = require('http2');
const { WebSocketServer } = require('ws');
const [cert, key, plain, secure] = process.argv.slice(2);
const server = http.createServer((q, a) => a.end('page'));
new WebSocketServer({ server, path: '/right' });
server.listen(Number(plain), '127.0.0.1');
http2.createSecureServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, (q, a) => a.end('h2')).listen(Number(secure), '127.0.0.1');
"""


def test_node_s_ws_and_its_http2(tmp_path, node, certs):
    """The real ones: ws answers 400 to a path that is not its own, and an HTTP/2 server answers 403 to who speaks HTTP/1.1."""
    plain, secure = free_port(), free_port()
    script = tmp_path / "server.js"
    script.write_text(NODE)
    with process(node, script, *certs.leaf("good"), plain, secure, ready=lambda _: connects(plain) and connects(secure),
                 env=environment(NODE_PATH=str(MODULES))):
        code, document = check(f"ws://127.0.0.1:{plain}/right", "handshake")
        assert code == 0, document
        code, document = check(f"ws://127.0.0.1:{plain}/wrong", "handshake")
        assert code == 2 and only(document)["http_status"] == 400, document
        assert "path" in document["diagnosis"]["advice"][0], document
        _code, document = check(f"wss://127.0.0.1:{secure}/", "handshake", flags=("--ca", certs.ca))
        assert "HTTP/2" in only(document)["message"], document
