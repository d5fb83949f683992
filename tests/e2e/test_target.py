"""How a target is asked: virtual hosts, users in URLs, who asks, numbers in JSON, binary messages. The server is this test's own."""
import asyncio
import base64
import contextlib
import json
import os
import ssl
import threading

import pytest

from harness import check, free_port, only, process, wshealthd
from peer import BINARY, TEXT, frame, serve


@contextlib.contextmanager
def served(handler, tls=None, start=None):
    """A server of peer.py on a thread of its own. Yields its port."""
    loop = asyncio.new_event_loop()
    if start:
        server = loop.run_until_complete(start())
        port = server.sockets[0].getsockname()[1]
    else:
        server, port = loop.run_until_complete(serve(handler, tls=tls))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield port
    finally:
        def end():
            server.close()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.call_later(0.05, loop.stop)

        loop.call_soon_threadsafe(end)
        thread.join(10)
        loop.close()


def written(tmp_path, target, checks, more=""):
    file = tmp_path / "c.yaml"
    file.write_text(f"listen: off\nadmin: off\ntarget: {target}\nchecks: {checks}\n{more}")
    return file


def judged(file):
    return check(None, conf=file, timeout=None)


@pytest.mark.parametrize("path", ["local", "public"])
def test_a_virtual_host_over_loopback(tmp_path, path):
    async def one_name(peer):
        await peer.request()
        if peer.header("Host") != "chat.example.com":
            await peer.send("HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n")
            return
        if peer.header("Upgrade"):
            await peer.send(peer.response())
            await peer.serve()
        else:
            await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    with served(one_name) as port:
        url = f"ws://127.0.0.1:{port}/ws"
        checks = f"[{{ type: handshake, path: {path} }}, {{ type: http, name: own, path: {path} }}, {{ type: http, name: other, url: 'http://127.0.0.1:{port}/' }}]"
        code, document = judged(written(tmp_path, f"{{ url: '{url}', public_url: '{url}', headers: {{ Host: chat.example.com }} }}", checks))
        rows = {row["name"]: row for row in document["checks"]}
        assert rows["handshake"]["status"] == rows["own"]["status"] == "pass", rows
        assert code == 2 and rows["other"]["http_status"] == 421, rows  # its own URL has its own authority
        code, document = judged(written(tmp_path, f"{{ url: '{url}' }}", f"[{{ type: http, url: 'http://127.0.0.1:{port}/', headers: {{ Host: chat.example.com }} }}]"))
        assert code == 0, document
        code, document = check(url, "handshake", flags=("--header", "Host: chat.example.com"))
        assert code == 0, document


def test_user_and_password_of_the_url_are_sent_and_never_shown(tmp_path):
    seen = []

    async def basic(peer):
        await peer.request()
        seen.append((peer.header("Authorization"), peer.header("User-Agent"), peer.header("X-Health")))
        if peer.header("Upgrade"):
            await peer.send(peer.response())
            await peer.serve()
        else:
            await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with served(basic) as port:
        url = f"ws://CP001:hunter2hunter2@127.0.0.1:{port}/ocpp/CP001"
        file = written(tmp_path, f"{{ url: '{url}' }}", "[{ type: handshake }, { type: http, headers: { X-Health: a b, User-Agent: curl/8 } }]")
        code, document = judged(file)
        assert code == 0, document
        expected = "Basic " + base64.b64encode(b"CP001:hunter2hunter2").decode()
        version = wshealthd("--version")[1].split()[1]
        assert sorted(seen, key=str) == [(expected, "curl/8", "a b"), (expected, f"wshealthd/{version}", None)]
        _code, out, err = wshealthd("config", "show", file)
        assert "hunter2" not in out + err and expected.split()[1] not in out, out
        assert "CP001:***@" in out, out


def test_a_number_in_the_place_of_a_hole(tmp_path):
    """JSON-RPC's ids are numbers, and YAML lets nobody write a hole as one."""

    async def answer(peer, _opcode, data):
        await peer.send(frame(TEXT, json.dumps({"jsonrpc": "2.0", "id": json.loads(data)["id"], "result": "0xabc"})))

    async def rpc(peer):
        await peer.upgrade()
        await peer.serve(on_message=answer)

    dialect = ("dialects:\n  eth:\n    subscribe:\n      send: '{\"id\":{{seq}},\"params\":[\"{{channel}}\"]}'\n"
               "      expect: { json: { /id: \"{{seq}}\"%s } }\n")
    with served(rpc) as port:
        target = f"{{ url: 'ws://127.0.0.1:{port}/', dialect: eth }}"
        code, document = judged(written(tmp_path, target, "[{ type: subscribe, channel: newHeads }]", dialect % ""))
        assert code == 0, document
        # A deadline shows what was awaited with its holes filled.
        checks = "[{ type: subscribe, channel: newHeads, timeout: 300ms }]"
        code, document = judged(written(tmp_path, target, checks, dialect % ", /result: \"{{channel}}\""))
        assert code == 2, document
        assert '/id = "1"' in only(document)["message"] and '/result = "newHeads"' in only(document)["message"], document
        assert "{{" not in only(document)["message"], document


def test_a_binary_message_is_sent_and_a_keepalive_needs_no_answer(tmp_path):
    heard = []

    async def answer(peer, opcode, data):
        heard.append((opcode, data))
        await peer.send(frame(TEXT, "tick"), frame(opcode, data))

    async def echo(peer):
        await peer.upgrade()
        await peer.serve(on_message=answer)

    with served(echo) as port:
        dialect = "dialects: { ticks: { keepalive: { match: { equals: tick } } } }\n"
        file = written(tmp_path, f"{{ url: 'ws://127.0.0.1:{port}/', dialect: ticks }}", "[{ type: echo, send: { base64: AP97e/4= } }]", dialect)
        code, document = judged(file)
        assert code == 0, document
        assert heard == [(BINARY, b"\x00\xff{{\xfe")], heard
        _code, out, _err = wshealthd("config", "show", file)
        assert "base64: \"AP97e/4=\"" in out, out


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_the_proxy_header_goes_before_everything(tmp_path, certs, version, scheme):
    """A port that takes connections from a load balancer only: reads the header, then is a plain or TLS server."""
    seen = []
    tls = None
    if scheme == "wss":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certs.leaf("good"))

    async def inner(peer):
        await peer.request()
        if peer.header("Upgrade"):
            await peer.send(peer.response())
            await peer.serve()
        else:
            await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async def pump(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    # The header is taken off in front of the server: asyncio cannot begin TLS behind bytes that it has read already.
    async def front(reader, writer):
        head = b""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n") if version == "v1" else await reader.readexactly(28)
        seen.append((head, writer.get_extra_info("peername"), writer.get_extra_info("sockname")))
        down, up = await asyncio.open_connection("127.0.0.1", behind)
        await asyncio.gather(pump(reader, up), pump(down, writer))

    with served(inner, tls=tls) as behind, served(None, start=lambda: asyncio.start_server(front, "127.0.0.1", 0)) as port:
        trust = f", tls: {{ ca_file: {certs.ca} }}" if tls else ""
        target = f"{{ url: '{scheme}://localhost:{port}/', proxy_protocol: {version}{trust} }}"
        types = ["handshake", "ping", "http", "tcp"] + (["tls"] if tls else [])
        code, document = judged(written(tmp_path, target, "[" + ", ".join(f"{{ type: {t} }}" for t in types) + "]"))
        assert code == 0, document
        assert len(seen) == len(types), seen
        for head, source, destination in seen:
            if version == "v1":
                assert head == f"PROXY TCP4 127.0.0.1 127.0.0.1 {source[1]} {destination[1]}\r\n".encode()
            else:
                assert head[:16] == b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
                assert head[16:] == bytes([127, 0, 0, 1] * 2) + source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")


def test_regex_matches_binary_messages(tmp_path):
    async def answer(peer, _opcode, _data):
        await peer.send(frame(BINARY, b"\x83\xff\xa2ok\x00"))

    async def binary(peer):
        await peer.upgrade()
        await peer.serve(on_message=answer)

    with served(binary) as port:
        target = f"{{ url: 'ws://127.0.0.1:{port}/' }}"
        code, document = judged(written(tmp_path, target, r"[{ type: echo, send: x, expect: { regex: '^\x83.\xa2ok\x00$' } }]"))
        assert code == 0, document
        code, document = judged(written(tmp_path, target, r"[{ type: echo, send: x, timeout: 300ms, expect: { regex: '^\x84' } }]"))
        assert code == 2 and only(document)["reason"] == "echo_mismatch", document


NGINX = """
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log notice; {user}
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  server {{ listen 127.0.0.1:{port} proxy_protocol default_server; return 421 "no such host here"; }}
  server {{
    listen 127.0.0.1:{port} proxy_protocol;
    server_name chat.example.com;
    location / {{
      proxy_pass http://127.0.0.1:{server}; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
    }}
  }}
}}
"""


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_nginx_with_virtual_hosts_behind_the_proxy_protocol(tmp_path, tool, server, version):
    """A real server that wants both: the PROXY header before anything, and a name that is not the address."""
    nginx, port = tool("nginx"), free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    (tmp_path / "nginx.conf").write_text(NGINX.format(dir=tmp_path, port=port, server=server.port, user=user))
    url = f"ws://127.0.0.1:{port}/ws"
    with process(nginx, "-e", tmp_path / "start.log", "-p", tmp_path, "-c", tmp_path / "nginx.conf", port=port):
        checks = "[{ type: handshake }, { type: ping }, { type: echo }]"
        code, document = judged(written(tmp_path, f"{{ url: '{url}', proxy_protocol: {version}, headers: {{ Host: chat.example.com }} }}", checks))
        assert code == 0, document
        code, document = judged(written(tmp_path, f"{{ url: '{url}', proxy_protocol: {version} }}", "[{ type: handshake }]"))
        assert code == 2 and "no such host here" in only(document)["message"], document
        code, document = judged(written(tmp_path, f"{{ url: '{url}', headers: {{ Host: chat.example.com }} }}", "[{ type: handshake }]"))
        assert code == 2 and any("proxy_protocol" in line for line in document["diagnosis"]["advice"]), document
