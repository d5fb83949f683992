"""`config init URL`: asks the server what it is. The file that it writes loads, and every check of it passes against that server.

Against every real server of the tests, and against servers that refuse, hang, flood and lie: it ends in time and says what it saw.
"""
import contextlib
import json
import os
import re
import socket
import time

import pytest

from harness import BINARY, PYTHON, SERVERS, check, free_port, process, wshealthd
from hostile import Frames, head
from peer import CLOSE, PING, PONG, TEXT, frame
from rogue import rogue
from test_dialects import FAKES, action_cable, module, npm_env, rabbitmq  # noqa: F401  (fixtures)
from test_nchan import nchan, redis

LIMIT = 10.0  # what the program promises; a busy machine gets as long again
TOKEN = "let-me-in-please"


def init(*args, want=0, **more):
    began = time.monotonic()
    code, out, err = wshealthd("config", "init", *args, timeout=60, **more)
    assert time.monotonic() - began < 2 * LIMIT
    assert code == want, (code, out, err)
    return out


def findings(text):
    """{sentence: how sure}"""
    rows = re.sub(r"\n#? {10,}", " ", text)
    return {says: sure for sure, says in re.findall(r"^#?\s+(seen|said|likely|unknown)\s+(.*)$", rows, re.M)}


def found(text, words, sure=None):
    rows = {says: how for says, how in findings(text).items() if words in says}
    assert rows, (words, text)
    assert sure is None or set(rows.values()) == {sure}, rows
    return True


def keys(text):
    """The lines that are no comments."""
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def fits(url, tmp_path, *flags):
    """The file for that server loads and passes. Its text, and the types of its checks."""
    file = tmp_path / f"{len(list(tmp_path.iterdir()))}.yaml"
    began = time.monotonic()
    said = init(url, file, *flags)
    text, took = file.read_text(), time.monotonic() - began
    assert f"{file} is written" in said and findings(said), said
    code, out, err = wshealthd("config", "check", file)
    assert code == 0 and ": OK" in out, (text, out, err)
    code, document = check(None, conf=file, timeout=None)
    print(f"{url}: the file after {took:.1f} s, the pass after {time.monotonic() - began:.1f} s")  # pytest -rP shows it
    assert code == 0, (text, json.dumps(document, indent=1))
    return text, {c["type"] for c in document["checks"]}


# --- servers without a protocol of the table ---


def test_echo(server, tmp_path):
    text, types = fits(server.url, tmp_path)
    assert types == {"handshake", "ping", "echo", "hold", "server"}, text
    assert "dialect" not in keys(text), text
    found(text, "it echoes what it is sent", "seen")
    found(text, "answers a ping", "seen")
    found(text, "the process is python3", "seen")
    found(text, "does it ping its clients?", "unknown")
    # What it offers in comments loads as well.
    (tmp_path / "slack").write_text("https://hooks.example.com/a/b\n")
    more = text.replace("/run/secrets/slack", str(tmp_path / "slack"))
    for key in ("notify", "page", "history"):
        more = more.replace(f"\n# {key}: ", f"\n{key}: ")
    (tmp_path / "more.yaml").write_text(more)
    code, out, err = wshealthd("config", "check", tmp_path / "more.yaml")
    assert code == 0 and "\nnotify: " in more and "\npage: " in more and "\nhistory: " in more, (more, out, err)


def test_python_websockets(tmp_path):
    port = free_port()
    with process(PYTHON, SERVERS / "websockets_echo.py", port, port=port):
        text, types = fits(f"ws://127.0.0.1:{port}/", tmp_path)
        assert "echo" in types and found(text, "it takes permessage-deflate", "seen")


def test_tls(certs, tmp_path):
    port = free_port()
    with process(PYTHON, SERVERS / "websockets_echo.py", port, *certs.leaf("good"), port=port):
        url = f"wss://127.0.0.1:{port}/"
        text, types = fits(url, tmp_path, "--ca", certs.ca)
        assert {"echo", "tls"} <= types and f'ca_file: "{certs.ca}"' in text, text
        found(init(url, "--dry-run", want=2), "tls_cert_untrusted", "seen")
        text, types = fits(url, tmp_path, "--insecure")
        assert "tls" not in types and "verify: false" in text, text
        # Asked without TLS, it hangs up: the other scheme is tried, and the certificate is still looked at.
        plain = f"ws://127.0.0.1:{port}/"
        said = init(plain, "--dry-run", want=2)
        assert found(said, "the port speaks TLS", "seen") and found(said, "tls_cert_untrusted", "seen") and "--ca FILE" in said, said
        text, types = fits(plain, tmp_path, "--ca", certs.ca)
        assert {"echo", "tls"} <= types and f'url: "{url}"' in keys(text), text
        assert f"The port speaks TLS: use {url}" in advice(plain)


def test_without_tls(server, tmp_path):
    """wss:// to a plain port: the other scheme is tried, but not with what must stay secret."""
    url = server.url.replace("ws://", "wss://")
    text, types = fits(url, tmp_path)
    assert found(text, "the port does not speak TLS", "seen") and "echo" in types and f'url: "{server.url}"' in keys(text), text
    token = tmp_path / "token"
    token.write_text(TOKEN)
    text = init(url, "--token-file", token, want=2)
    assert "No TLS session comes about" in text and f'url: "{url}"' in keys(text) and f"use {server.url}" in advice(url), text


def test_over_http2_only(node, tmp_path):
    port = free_port()
    with process(node, SERVERS / "h2_ws.js", port, port=port, env=npm_env()):
        text, types = fits(f"ws://127.0.0.1:{port}/", tmp_path)
        assert found(text, "it takes HTTP/2 only", "seen") and "echo" in types and 'http: "2"' in keys(text), text
        assert "It takes WebSocket over HTTP/2: add --http 2" in advice(f"ws://127.0.0.1:{port}/")


def test_demo(tmp_path):
    with process(BINARY, "demo", ready=lambda child: " server " in child.out() or "ws://" in child.out()) as child:
        url = re.search(r"ws://[^ \n]+", child.out())[0]
        text, types = fits(url, tmp_path)
        assert "ping" in types, text


@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_behind(proxy, tool, server, certs, tmp_path):
    """Through proxies that end TLS with a certificate of a private authority."""
    port, (cert, key) = free_port(), certs.leaf("good")
    if proxy == "nginx":
        paths = "".join(f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (tmp_path / "p.conf").write_text(f"""daemon off; pid {tmp_path}/pid; events {{}}
http {{ access_log off; {paths} server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {cert}; ssl_certificate_key {key};
  location / {{ proxy_pass http://127.0.0.1:{server.port}; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }} }} }}
""")
        command = (tool("nginx"), "-e", tmp_path / "error.log", "-p", tmp_path, "-c", tmp_path / "p.conf")
    else:
        pem = tmp_path / "both.pem"
        pem.write_text(open(cert, encoding="ascii").read() + open(key, encoding="ascii").read())
        (tmp_path / "p.conf").write_text(f"""defaults
  mode http
  timeout connect 2s
  timeout client 1h
  timeout server 1h
frontend f
  bind 127.0.0.1:{port} ssl crt {pem}
  default_backend b
backend b
  server s 127.0.0.1:{server.port}
""")
        command = (tool("haproxy"), "-db", "-f", tmp_path / "p.conf")
    with process(*command, port=port):
        text, types = fits(f"wss://127.0.0.1:{port}/ws", tmp_path, "--ca", certs.ca)
        assert {"echo", "tls"} <= types and found(text, f"the process is {proxy}"), text
        if proxy == "nginx":  # it answers a plain request: 400, "The plain HTTP request was sent to HTTPS port"
            found(init(f"ws://127.0.0.1:{port}/ws", "--dry-run", "--ca", certs.ca), "the port speaks TLS", "seen")


def test_aiohttp(tmp_path):
    port = free_port()
    token = tmp_path / "token"
    token.write_text("open-sesame-42\n")
    with process(PYTHON, SERVERS / "aiohttp_echo.py", port, port=port):
        assert "echo" in fits(f"ws://127.0.0.1:{port}/ws", tmp_path)[1]
        assert "echo" in fits(f"http://127.0.0.1:{port}/ws", tmp_path)[1]
        text = init(f"ws://127.0.0.1:{port}/private", want=2)
        found(text, "it wants a token: ", "seen")
        assert "# token: ${file:" in text and "401" in text, text
        text, types = fits(f"ws://127.0.0.1:{port}/private", tmp_path, "--token-file", token)
        assert "echo" in types and "open-sesame" not in text and f"${{file:{token}}}" in text, text
        text = init(f"ws://127.0.0.1:{port}/nowhere", want=2)
        found(text, "404", "seen")


@pytest.mark.parametrize("deflate", ["plain", "deflate"])
def test_npm_ws(node, deflate, tmp_path):
    port = free_port()
    with process(node, SERVERS / "ws_echo.js", port, deflate, port=port, env=npm_env()):
        text, types = fits(f"ws://127.0.0.1:{port}/", tmp_path)
        assert "echo" in types and "dialect" not in keys(text), text
        found(text, "it takes permessage-deflate" if deflate == "deflate" else "it does not compress", "seen")


def test_libwebsockets(lws_echo, tmp_path):
    port = free_port()
    with process(lws_echo, port, port=port):
        assert "echo" in fits(f"ws://127.0.0.1:{port}/", tmp_path)[1]


def test_nchan(tool, tmp_path):
    """Its 101 has a header that the handshake check remarks on (RFC 9110, 8.6)."""
    (tmp_path / "r").mkdir()
    (tmp_path / "n").mkdir()
    (tmp_path / "c").mkdir()
    with redis(tool, tmp_path / "r") as bus, nchan(tool, tmp_path / "n", bus.port) as server:
        text, types = fits(server.url, tmp_path / "c")
        assert "ping" in types and "dialect" not in keys(text) and "type: handshake, remarks: ignore }" in keys(text), text
        found(text, "so the handshake check is told to ignore that: a 101 with Content-Length", "seen")


def test_unix_socket(tmp_path):
    path = tmp_path / "chat.sock"
    with process(PYTHON, "-c", f"""
import asyncio, websockets
async def echo(connection, path=None):
    async for message in connection:
        await connection.send(message)
async def main():
    async with websockets.unix_serve(echo, {str(path)!r}):
        await asyncio.Event().wait()
asyncio.run(main())
""", ready=lambda _: path.exists()):
        text, types = fits(f"ws+unix://{path}:/ws", tmp_path)
        assert "echo" in types and found(text, "the process is python3"), text


@pytest.mark.parametrize("path, most", [("", 1), ("/chat", 2), ("/ws", 2)])
def test_a_chat_hears_little(node, path, most, tmp_path):
    """npm's ws takes any path and any subprotocol, and this chat hands on what it gets: its users must not see a client of each protocol."""
    port = free_port()
    program = """
const { WebSocketServer } = require(process.env.WSHEALTHD_MODULES + "/ws");
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[1]) });
server.on("connection", (socket) => socket.on("message", (text) => {
  console.log(JSON.stringify(String(text)));
  for (const other of server.clients) if (other !== socket) other.send(text);
}));
"""
    with process(node, "-e", program, port, port=port, env=npm_env()) as child:
        text, types = fits(f"ws://127.0.0.1:{port}{path}", tmp_path)
        heard = child.out().splitlines()
        assert types == {"handshake", "ping", "hold", "server"}, text
        assert 1 <= len(heard) <= most and heard[0].startswith('"wshealthd-'), heard
        found(text, "it does not echo: it was sent one text", "seen")
        found(text, "It was not spoken to in these", "unknown")


# --- dialects ---


def dialect(url, tmp_path, name, *flags):
    text, types = fits(url, tmp_path, *flags)
    assert f"dialect: {name}\n" in keys(text), text
    found(text, f"it speaks {name} ", "seen")
    assert "echo" not in types, text
    return text


def test_socket_io(module, tmp_path):  # noqa: F811
    port = free_port()
    with process(module("socket.io"), SERVERS / "socketio_rooms.js", port, port=port, env=npm_env()):
        text = dialect(f"ws://127.0.0.1:{port}", tmp_path, "socket.io")
        found(text, "it pings its clients", "seen")  # every 300 ms
        dialect(f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket", tmp_path, "socket.io")
        # A path that is not there: the dialect's own is.
        text = dialect(f"ws://127.0.0.1:{port}/elsewhere", tmp_path, "socket.io")
        found(text, "an upgrade of the bare URL is refused", "seen")
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with process(module("socket.io"), SERVERS / "socketio_rooms.js", port, port=port, env=npm_env(WSHEALTHD_TOKEN=TOKEN)):
        text = init(f"ws://127.0.0.1:{port}", want=2)
        assert "dialect: socket.io" in text and "token_in: message" in text and found(text, "wants a token or a login", "seen"), text
        dialect(f"ws://127.0.0.1:{port}", tmp_path, "socket.io", "--token-file", token)


def test_graphql(module, tmp_path):  # noqa: F811
    port = free_port()
    with process(module("graphql-ws", "graphql"), SERVERS / "graphql_ws.js", port, port=port, env=npm_env()):
        dialect(f"ws://127.0.0.1:{port}", tmp_path, "graphql-transport-ws")
        dialect(f"ws://127.0.0.1:{port}/graphql", tmp_path, "graphql-transport-ws")
    with process(module("graphql-ws", "graphql"), SERVERS / "graphql_ws.js", port, port=port, env=npm_env(WSHEALTHD_TOKEN=TOKEN)):
        found(init(f"ws://127.0.0.1:{port}", "--dry-run", want=2), "4403", "seen")


def test_aedes(module, tmp_path):  # noqa: F811
    port = free_port()
    with process(module("aedes"), SERVERS / "aedes_ws.js", port, port=port, env=npm_env()):
        dialect(f"ws://127.0.0.1:{port}", tmp_path, "mqtt")
        dialect(f"ws://127.0.0.1:{port}/mqtt", tmp_path, "mqtt")


def test_mosquitto(tool, tmp_path):
    port, plain = free_port(), free_port()
    (tmp_path / "m.conf").write_text(f"user root\npersistence false\nlistener {plain} 127.0.0.1\nlistener {port} 127.0.0.1\nprotocol websockets\n"
                                     "allow_anonymous true\n")
    with process(tool("mosquitto"), "-c", tmp_path / "m.conf", port=port):
        dialect(f"ws://127.0.0.1:{port}", tmp_path, "mqtt")


def test_nats(tool, tmp_path):
    port, ws = free_port(), free_port()
    (tmp_path / "n.conf").write_text(f'listen: 127.0.0.1:{port}\nwebsocket {{ listen: "127.0.0.1:{ws}", no_tls: true }}\n')
    with process(tool("nats-server"), "-c", tmp_path / "n.conf", port=ws):
        dialect(f"ws://127.0.0.1:{ws}", tmp_path, "nats")


def test_rabbitmq(rabbitmq, tmp_path):  # noqa: F811
    dialect(f"ws://127.0.0.1:{rabbitmq['stomp']}", tmp_path, "stomp")
    text = dialect(f"ws://127.0.0.1:{rabbitmq['mqtt']}", tmp_path, "mqtt")
    assert f"127.0.0.1:{rabbitmq['mqtt']}/ws" in keys(text), text
    # Asked at this path, which any server may have, it takes any subprotocol and is silent: that may as well be a chat, so it is not spoken to.
    text, types = fits(f"ws://127.0.0.1:{rabbitmq['mqtt']}/ws", tmp_path)
    assert "ping" in types and found(text, "stomp or mqtt (it takes any subprotocol)? It was not spoken to", "unknown"), text


def test_action_cable(tool, tmp_path):
    with action_cable(tool) as url:
        text = dialect(url, tmp_path, "action-cable")
        found(text, "it pings its clients", None)  # every 3 s
        dialect(f"{url}/cable", tmp_path, "action-cable")


@pytest.mark.parametrize("name", FAKES)
def test_by_the_document(name, tmp_path):
    pytest.importorskip("websockets", reason="python3-websockets is missing")
    port = free_port()
    with process(PYTHON, SERVERS / "dialect_fakes.py", name, port, port=port):
        dialect(f"ws://127.0.0.1:{port}{FAKES[name][0]}", tmp_path, name)


# --- the advice of `check` ---


def advice(url, *flags):
    """What people read, on one line."""
    code, out, err = wshealthd("check", url, *flags, timeout=30)
    assert code == 2, (out, err)
    return " ".join(out.split())


def test_check_says_the_dialect(module):  # noqa: F811
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    with process(module("graphql-ws", "graphql"), SERVERS / "graphql_ws.js", port, port=port, env=npm_env()):
        assert "→ It speaks graphql-transport-ws: add --dialect graphql-transport-ws" in advice(url)
        assert f"config init {url}/graphql` writes a configuration that fits" in advice(f"{url}/graphql")
    with process(module("socket.io"), SERVERS / "socketio_rooms.js", port, port=port, env=npm_env()):
        assert f"→ It speaks socket.io at that protocol's own path: {url} --dialect socket.io" in advice(f"{url}/chat")


def test_check_asks_no_more_than_it_must():
    """A program gets its verdict at once; who is refused for the token or hangs up on all is not asked again and again."""
    def serve(sock, server):
        server.request(sock)
        reply(sock, server.status)

    for status, flags, most in (("404 Not Found", ["--json"], 2), ("404 Not Found", ["-q"], 2), ("401 Unauthorized", [], 2),
                                ("429 Too Many Requests", [], 2), ("503 Service Unavailable", [], 2), ("404 Not Found", [], 18)):
        with rogue(serve) as server:
            server.status = status
            said = advice(f"ws://127.0.0.1:{server.port}/ws", *flags)
            assert server.count <= most and "It speaks" not in said, (server.count, said)


# --- the host ---


def test_brokers(tool, tmp_path):
    """The connections of the server's process to a broker's usual port name it; they are said to be likely, and left to the user."""
    if os.geteuid() != 0:
        pytest.skip("needs a network namespace of its own, so root")
    program = f"""
import subprocess, sys, time, socket
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
bus = socket.create_server(("127.0.0.1", 6379))
server = subprocess.Popen([sys.executable, "-c", '''
import asyncio, websockets
async def echo(connection, path=None):
    async for message in connection:
        await connection.send(message)
async def main():
    kept = [await asyncio.open_connection("127.0.0.1", 6379) for _ in range(2)]
    async with websockets.serve(echo, "127.0.0.1", 8080):
        await asyncio.Event().wait()
asyncio.run(main())
'''])
for _ in range(200):
    with socket.socket() as sock:
        if sock.connect_ex(("127.0.0.1", 8080)) == 0:
            break
    time.sleep(0.1)
code = subprocess.run([sys.argv[1], "config", "init", "ws://127.0.0.1:8080"]).returncode
server.terminate()
server.wait()
sys.exit(code)
"""
    with process("unshare", "--net", PYTHON, "-c", program, BINARY) as child:
        assert child.child.wait(60) == 0, child.err()
        text = child.out()
    found(text, "redis at 127.0.0.1:6379 is its broker: it has 2 connections there", "likely")
    assert 'type: redis, url: "redis://127.0.0.1:6379"' in text and "brokers" not in keys(text), text


# --- servers that refuse ---


@contextlib.contextmanager
def refuses(answer, tmp_path):
    file = tmp_path / "answer"
    file.write_text(answer)
    port = free_port()
    with process(PYTHON, SERVERS / "refuser.py", port, file, port=port) as child:
        child.url = f"ws://127.0.0.1:{port}/ws"
        yield child


@pytest.mark.parametrize("answer, words, advised", [
    ("status 200 OK", "it refuses the upgrade", "Correct the path or the port"),
    ("status 301 Moved Permanently|Location: /elsewhere", "it refuses the upgrade", "Give the URL that it redirects to"),
    ("status 401 Unauthorized", "it wants a token", "run this again with --token-file FILE"),
    ("status 403 Forbidden", "it wants a token, or another Origin than none", "--origin https://YOUR.SITE"),
    ("status 404 Not Found", "it refuses the upgrade", "Correct the path"),
    ("status 429 Too Many Requests|Retry-After: 5", "for its pace", "Wait a minute"),
    ("status 503 Service Unavailable", "it refuses the upgrade", "is not ready"),
    ("close 1008 token expired", "token expired", "What it wants has to be set"),
])
def test_refusals(answer, words, advised, tmp_path):
    with refuses(answer, tmp_path) as server:
        text = init(server.url, want=2)
        found(text, words)
        said = " ".join(text.replace("\n# ", " ").split())
        assert advised in said.split("It does not work yet. ")[1], text
        (tmp_path / "c.yaml").write_text(text)
        assert wshealthd("config", "check", tmp_path / "c.yaml")[0] == 0, text
        asked = server.out().count("\n")  # one of them by this test, to see it up
        assert asked <= (2 if "429" in answer else 20), asked


def test_nobody_there(tmp_path):
    text = init(f"ws://127.0.0.1:{free_port()}/ws", want=2)
    found(text, "connect_refused", "seen")
    (tmp_path / "c.yaml").write_text(text)
    assert wshealthd("config", "check", tmp_path / "c.yaml")[0] == 0, text


def headers(text):
    return dict(line.split(": ", 1) for line in text.split("\r\n")[1:] if ": " in line)


def reply(sock, status, *more, body=b""):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *more]
    sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body)


def echoes(sock):
    frames = Frames(sock)
    while True:
        opcode, data = frames.next()
        sock.sendall(frame({PING: PONG}.get(opcode, opcode), data))
        if opcode == CLOSE:
            return


def test_wants_an_origin(tmp_path):
    """403 without an Origin, 101 with that of a page of the server's own."""
    def serve(sock, server):
        asked = headers(server.request(sock))
        if asked.get("Origin") != f"http://127.0.0.1:{server.port}":
            reply(sock, "403 Forbidden")
            return
        sock.sendall(head(asked))
        echoes(sock)

    with rogue(serve) as server:
        text, types = fits(f"ws://127.0.0.1:{server.port}/ws", tmp_path)
        found(text, f"it wants an Origin, and takes http://127.0.0.1:{server.port}", "seen")
        assert f'origin: "http://127.0.0.1:{server.port}"' in keys(text) and "echo" in types, text


# --- servers that mean no good ---


def hangs(sock, server):
    server.request(sock)
    sock.recv(1)


def drips(sock, server):
    server.request(sock)
    for byte in b"HTTP/1.1 101 Switching Protocols\r\n" * 1000:
        sock.sendall(bytes([byte]))
        time.sleep(0.1)


def floods(sock, server):
    sock.sendall(head(headers(server.request(sock))))
    while True:
        sock.sendall(frame(TEXT, b"x" * 1000) * 100)


def pings(sock, server):
    sock.sendall(head(headers(server.request(sock))))
    while True:
        sock.sendall(frame(PING, b"") * 1000)


def lies(sock, server):
    """Chooses whatever is offered, and sends back what it got: no protocol of the table is that."""
    asked = headers(server.request(sock))
    offers = asked.get("Sec-WebSocket-Protocol", "").split(", ")
    sock.sendall(head(asked, *([f"Sec-WebSocket-Protocol: {offers[0]}"] if offers[0] else [])))
    frames = Frames(sock)
    frames.next(), frames.next()  # the first ones stay without an echo
    echoes(sock)


def resets(sock, server):
    server.request(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


@pytest.mark.parametrize("serve", [hangs, drips, floods, pings, lies, resets], ids=lambda f: f.__name__)
def test_hostile(serve, tmp_path):
    with rogue(serve) as server:
        file = tmp_path / "c.yaml"
        code, out, err = wshealthd("config", "init", f"ws://127.0.0.1:{server.port}/ws", file, timeout=2 * LIMIT)
        assert code in (0, 2) and findings(out), (code, out, err)
        assert code == 0 or serve in (hangs, drips, resets), out
        assert server.count <= 25, server.count
        assert "dialect" not in keys(file.read_text()), out
        assert wshealthd("config", "check", file)[0] == 0, file.read_text()


@pytest.mark.parametrize("end", ["\n", "\r", "\u0085", "\u2028", "\u2029", "\v", "\0"])
def test_no_server_writes_keys(end, tmp_path):
    """What a server says is quoted in comments: no line break of YAML's gets it out of there."""
    evil = f"no{end}checks: [{{ name: evil, type: tcp }}]{end}#"

    def serve(sock, server):
        server.request(sock)
        reply(sock, "404 Not Found", body=evil.encode())

    with rogue(serve) as server:
        text = init(f"ws://127.0.0.1:{server.port}/ws", want=2)
        assert "evil" not in keys(text) and text.isascii(), text
        (tmp_path / "c.yaml").write_text(text)
        code, out, err = wshealthd("config", "show", tmp_path / "c.yaml")
        assert code == 0 and "evil" not in out, (out, err)


# --- the command ---


def test_dry_run_writes_nothing(server, tmp_path):
    file = tmp_path / "c.yaml"
    out = init(server.url, file, "--dry-run")
    assert not file.exists() and found(out, "it echoes", "seen") and "checks:" not in out, out


def test_leaves_files_alone(server, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("mine")
    code, _, err = wshealthd("config", "init", server.url, file)
    assert (code, file.read_text()) == (3, "mine") and "exists already" in err, err


def test_a_password_is_for_its_owner(server, tmp_path):
    file = tmp_path / "c.yaml"
    url = server.url.replace("ws://", "ws://me:" + TOKEN + "@")
    out = init(url, file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert TOKEN not in out and file.read_text().count(TOKEN) == 1, file.read_text()


@pytest.mark.parametrize("args, words", [
    (["--dry-run"], "--dry-run belongs to config init URL"),
    (["--short", "ws://127.0.0.1:1"], "--short belongs to config init without a URL"),
    (["redis://127.0.0.1:1"], "redis"),
    (["ws://127.0.0.1:99999"], "99999"),
    (["ws://127.0.0.1:1", "--token-file", "/nowhere"], "--token-file /nowhere"),
    (["ws://127.0.0.1:1", "a", "b"], "b"),
    (["127.0.0.1:8080"], "looks like an address: want a URL, ws://127.0.0.1:8080"),
])
def test_usage(args, words):
    code, out, err = wshealthd("config", "init", *args)
    assert code == 3 and not out and words in err, (code, out, err)
