"""The conformance table (conformance.py), played by a client towards the project's own WebSocket server, which is the demo's: it echoes,
answers pings, and fails connections as the RFCs say. Then sizes up to its limit and beyond, and real clients."""
import asyncio
import base64
import hashlib
import json
import os
import re
import socket
import subprocess

import pytest

from conformance import (BINARY, CASES, CLOSE, CONT, LEGAL, PING, PONG, TEXT, Broken, F, Inflater, Packer, answers, bits_of, mirrored, noise_of, packed,
                         text_of)
from harness import BINARY as PROGRAM
from harness import MODULES, PATIENCE, Process, environment, until
from peer import GUID

MINE = [case for case in CASES if case.roles != "server"]
LIMIT = 1 << 20  # bytes that the demo takes of a message
ECHO = b"still there?"


@pytest.fixture(scope="module")
def port():
    # Detached from its broker, so that nothing comes but answers.
    child = Process([PROGRAM, "demo", "--fault", "detach-broker"], stdin=subprocess.PIPE)

    def told():
        assert child.running(), child.err() + child.out()
        return re.search(r"server\s+ws://127\.0\.0\.1:(\d+)", child.out())

    try:
        yield int(until("it says where", told)[1])
        child.child.stdin.close()
        assert child.running() and child.end() == 0 and "Sanitizer" not in child.err(), child.err()
    finally:
        child.cleanup()


class Client:
    """A raw client: whatever it is told to send, and the server's frames, read strictly."""

    def __init__(self, port, offer=None):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest, self.inflater = b"", None
        key = base64.b64encode(os.urandom(16)).decode()
        extension = "" if offer is None else f"Sec-WebSocket-Extensions: permessage-deflate{offer}\r\n"
        self.sock.sendall((f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                           f"Sec-WebSocket-Version: 13\r\n{extension}\r\n").encode())
        head = self.until_blank().decode()
        accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
        assert head.startswith("HTTP/1.1 101 ") and f"Sec-WebSocket-Accept: {accept}\r\n" in head, head
        agreed = re.search(r"Sec-WebSocket-Extensions: permessage-deflate(.*)\r\n", head)
        assert (agreed is not None) == (offer is not None), head
        if agreed:
            assert parameters(agreed[1]) == parameters(offer), (agreed[1], offer)
            self.inflater = Inflater(bits_of(offer, "server"), "server_no_context_takeover" not in offer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def until_blank(self):
        while b"\r\n\r\n" not in self.rest:
            self.more()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        return head + b"\r\n"

    def more(self):
        piece = self.sock.recv(1 << 18)
        if not piece:
            raise EOFError
        self.rest += piece

    def take(self, count):
        while len(self.rest) < count:
            self.more()
        out, self.rest = self.rest[:count], self.rest[count:]
        return out

    def send(self, *frames, octets=False):
        data = b"".join(f.wire(client=True) for f in frames)
        try:
            for piece in ([data[i:i + 1] for i in range(len(data))] if octets else [data]):
                self.sock.sendall(piece)
        except OSError:
            pass  # it has closed meanwhile: what it said is read later

    def frame(self):
        first, second = self.take(2)
        length, form = second & 127, second & 127
        if form >= 126:
            length = int.from_bytes(self.take(2 if form == 126 else 8), "big")
        assert length >= (0, 126, 65536)[(form >= 126) + (form > 126)], f"{length} in form {form}"
        assert not second & 128 and not first & 0x30 and first & 0x80, f"{first:#x} {second:#x}"
        opcode, data = first & 15, self.take(length)
        assert opcode in (TEXT, BINARY, CLOSE, PING, PONG) and (opcode < CLOSE or length <= 125), opcode
        assert not first & 0x40 or (self.inflater and opcode in (TEXT, BINARY)), f"{first:#x}"
        return opcode, self.inflater.message(data) if first & 0x40 else data

    def close(self):
        """(code, text) of the close frame that must come next, and FIN behind it with nothing between."""
        opcode, data = self.frame()
        assert opcode == CLOSE, (opcode, data[:80])
        return (int.from_bytes(data[:2], "big") if data else 1005), data[2:].decode()

    def ended(self):
        try:
            assert not self.rest and not self.sock.recv(1), "more than a close frame"
        except ConnectionResetError:
            pass  # it had left some of ours unread


def parameters(text):
    return {part.strip() for part in text.split(";") if part.strip()}


@pytest.mark.parametrize("case", MINE, ids=lambda case: case.id)
def test_case(port, case):
    want = case.as_client or case.want
    offer = None if case.offer is None else mirrored(case.offer)
    for octets in (False,) if case.whole_only else (False, True):
        with Client(port, offer) as client:
            client.send(*case.frames, octets=octets)
            if want is LEGAL:
                for answer in answers(case.frames):
                    assert client.frame() == answer, case.what
                payload = (noise_of if case.binary else text_of)(case.size) if case.size else ECHO
                opcode = BINARY if case.binary else TEXT
                client.send(*(case.echo(payload) if case.echo else [F(opcode, payload)]), octets=octets and len(payload) < 1000)
                assert client.frame() == (opcode, payload), case.what
                client.send(F(CLOSE, b"\x03\xe8so long"))
                assert client.close() == (1000, "")
            else:
                code, text = last_words(client, case)
                assert code == want.code, (case.what, code, text)
                if isinstance(want, Broken):
                    words = [word.replace("masked", "unmasked") if case.frames[-1].wrong_mask else word for word in want.words]
                    assert all(word in text for word in words), (case.what, words, text)
            client.ended()


def last_words(client, case):
    """The answers to what was right before, then the close frame."""
    got = [client.frame()]
    while got[-1][0] != CLOSE:
        got.append(client.frame())
    before = got[:-1]
    assert not before or before == answers(case.frames)[:len(before)], (case.what, before)
    data = got[-1][1]
    return (int.from_bytes(data[:2], "big") if data else 1005), data[2:].decode()


# --- the opening handshake, as a server reads it (RFC 6455, 4.2.1) ------------------------------------------------------------------------
GOOD = {"Host": "demo", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==", "Sec-WebSocket-Version": "13"}
REQUESTS = {
    "good": ({}, 101), "other letters": ({"Upgrade": "WebSocket", "Connection": "keep-alive, UPGRADE"}, 101), "a browser's": ({"Origin": "https://example.com"}, 101),
    "an unknown extension": ({"Sec-WebSocket-Extensions": "x-strange; a=1"}, 101), "a subprotocol": ({"Sec-WebSocket-Protocol": "chat.v1"}, 101),
    "an offer that is no list": ({"Sec-WebSocket-Extensions": "permessage-deflate; ="}, 400), "no Host": ({"Host": None}, 400),
    "no Upgrade": ({"Upgrade": None}, 426), "another protocol": ({"Upgrade": "h2c"}, 426), "no Connection": ({"Connection": None}, 426),
    "Connection without upgrade": ({"Connection": "keep-alive"}, 426), "no key": ({"Sec-WebSocket-Key": None}, 400),
    "a key of 15 bytes": ({"Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2Rl"}, 400), "a key that is not base64": ({"Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2Rl!!=="}, 400),
    "no version": ({"Sec-WebSocket-Version": None}, 426), "version 8": ({"Sec-WebSocket-Version": "8"}, 426), "POST": ("POST", 405), "HTTP/1.0": ("HTTP/1.0", 400),
}


@pytest.mark.parametrize("what", REQUESTS)
def test_request(port, what):
    change, want = REQUESTS[what]
    headers = {**GOOD, **(change if isinstance(change, dict) else {})}
    line = f"{'POST' if change == 'POST' else 'GET'} /ws {'HTTP/1.0' if change == 'HTTP/1.0' else 'HTTP/1.1'}\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        sock.sendall((line + "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value is not None) + "\r\n").encode())
        head = b""
        while b"\r\n\r\n" not in head:
            piece = sock.recv(4096)
            assert piece, head
            head += piece
    assert int(head.split(b" ")[1]) == want, head.decode()
    if want == 101:
        assert b"Sec-WebSocket-Extensions" not in head and (b"Sec-WebSocket-Protocol: chat.v1\r\n" in head) == (what == "a subprotocol"), head.decode()
    if want == 426:  # RFC 6455, 4.2.2; and who sends Upgrade names it in Connection (RFC 9110, 7.8)
        assert all(line in head for line in (b"Sec-WebSocket-Version: 13\r\n", b"Upgrade: websocket\r\n", b"Connection: Upgrade\r\n")), head.decode()


# --- sizes ------------------------------------------------------------------------------------------------------------------------------
BIG = (1, 125, 126, 127, 65535, 65536, LIMIT - 1, LIMIT)
TOO_BIG = (LIMIT + 1, 4 << 20, 16 << 20)


def shapes(body):
    yield None, "a text", TEXT, lambda: [F(TEXT, body)]
    yield None, "a binary message", BINARY, lambda: [F(BINARY, body)]
    yield None, "fragments", BINARY, lambda: [F(BINARY if at == 0 else CONT, body[at:at + 60000], at + 60000 >= len(body)) for at in range(0, len(body), 60000)]
    for offer in ("", "; server_max_window_bits=9", "; server_max_window_bits=8", "; server_no_context_takeover"):
        yield offer, f"compressed{offer}", BINARY, lambda: packed(Packer(), BINARY, body)


@pytest.mark.parametrize("size", BIG)
def test_what_fits_is_echoed(port, size):
    for body in (text_of(4096) * (size // 4096) + text_of(size % 4096), noise_of(size)):
        for offer, what, opcode, make in shapes(body):
            if opcode == TEXT and not body.isascii():
                continue
            with Client(port, offer) as client:
                client.send(*make())
                assert client.frame() == (opcode, body), (size, what)
                client.send(F(PING, b"well?"))
                assert client.frame() == (PONG, b"well?"), (size, what)


@pytest.mark.parametrize("size", TOO_BIG)
def test_what_does_not_fit_is_1009(port, size):
    body = text_of(4096) * (size // 4096) + text_of(size % 4096)
    for offer, what, _opcode, make in shapes(body):
        with Client(port, offer) as client:
            client.send(*make())
            code, text = client.close()
            assert code == 1009 and str(LIMIT) in text, (size, what, code, text)
            client.ended()


@pytest.mark.parametrize("offer", (None, ""))
def test_a_thousand_messages_in_one_connection(port, offer):
    z = Packer()
    with Client(port, offer) as client:
        for number in range(1000):
            size = (0, 16, 100, 256, 1024, 4096, 30000, 70000)[number % 8]
            body = noise_of(size, number % 16)
            client.send(*(packed(z, BINARY, body, 7000) if offer is not None and number % 3 else [F(BINARY, body)]))
            assert client.frame() == (BINARY, body), number


def test_exabytes_are_refused_by_their_head(port):
    with Client(port) as client:
        client.send(F(BINARY, b"x", form=64, length=(1 << 63) - 1))
        assert client.close()[0] == 1009


# --- real clients -------------------------------------------------------------------------------------------------------------------------
ROUNDS = (0, 1, 125, 126, 127, 65535, 65536, LIMIT)


def test_python_websockets(port):
    websockets = pytest.importorskip("websockets", reason="python3-websockets is missing")

    async def run():
        for compression in (None, "deflate"):
            async with websockets.connect(f"ws://127.0.0.1:{port}/ws", compression=compression, max_size=2 * LIMIT) as ws:
                for size in ROUNDS:
                    for message in (text_of(size).decode(), noise_of(size)):
                        await ws.send(message)
                        assert await ws.recv() == message, size
                await ws.send([noise_of(300), noise_of(300, 1)])  # in fragments
                assert await ws.recv() == noise_of(300) + noise_of(300, 1)
                await asyncio.wait_for(await ws.ping(), PATIENCE)
                await ws.close(4001, "so long")
                assert ws.close_code == 4001
            async with websockets.connect(f"ws://127.0.0.1:{port}/ws", compression=compression) as ws:
                with pytest.raises(websockets.ConnectionClosed) as error:
                    await ws.send(bytes(LIMIT + 1))
                    await ws.recv()
                assert "1009" in str(error.value), error.value

    asyncio.run(run())


def test_aiohttp(port):
    aiohttp = pytest.importorskip("aiohttp", reason="python3-aiohttp is missing")

    async def run():
        async with aiohttp.ClientSession() as session:
            for compress in (0, 15, 9):
                async with session.ws_connect(f"ws://127.0.0.1:{port}/ws", compress=compress, max_msg_size=2 * LIMIT) as ws:
                    for size in ROUNDS:
                        await ws.send_str(text_of(size).decode())
                        assert (await ws.receive()).data == text_of(size).decode(), size
                        await ws.send_bytes(noise_of(size))
                        assert (await ws.receive()).data == noise_of(size), size
                    await ws.close(code=4001)
                    assert ws.close_code == 4001

    asyncio.run(run())


def test_npm_ws(port, node):
    script = """
const { WebSocket } = require(process.argv[1] + '/ws'), assert = require('assert'), crypto = require('crypto');
const sizes = JSON.parse(process.argv[3]), wait = (ws, name) => require('events').once(ws, name);
(async () => {
  for (const perMessageDeflate of [false, true, { serverMaxWindowBits: 9, clientMaxWindowBits: 9, threshold: 0 },
                                   { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 0 }]) {
    const ws = new WebSocket(process.argv[2], { perMessageDeflate });
    await wait(ws, 'open');
    for (const size of sizes) {
      const body = crypto.randomBytes(size), text = 'x'.repeat(size);
      ws.send(body);
      let [data, binary] = await wait(ws, 'message');
      assert(binary && data.equals(body), 'binary ' + size);
      ws.send(text);
      [data, binary] = await wait(ws, 'message');
      assert(!binary && data.toString() === text, 'text ' + size);
    }
    ws.ping('hm');
    assert.equal((await wait(ws, 'pong'))[0].toString(), 'hm');
    ws.close(4001, 'so long');
    assert.equal((await wait(ws, 'close'))[0], 4001);
  }
  console.log(JSON.stringify('well'));
})().catch(e => { console.error(e); process.exit(1); });
"""
    done = subprocess.run([node, "-e", script, str(MODULES), f"ws://127.0.0.1:{port}/ws", json.dumps(ROUNDS)], capture_output=True, text=True, timeout=120,
                          env=environment(), check=False)
    assert done.returncode == 0 and done.stdout.strip() == '"well"', done.stderr
