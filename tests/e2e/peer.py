"""One connection of a server that may break every rule: raw bytes, frames of any shape, resets. Used by faults.py and the e2e tests.

Nothing here judges the client; a method raises Gone when the client has left, and the handler ends.
"""
import asyncio
import base64
import hashlib
import socket
import struct
import zlib

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Gone(Exception):
    """The client has closed or reset its connection."""


def frame(opcode, payload=b"", fin=True, rsv=0, mask=None, form=None):
    """One frame. form forces a length form: 7, 16 or 64; "msb" sets the top bit of a 64-bit length. mask is a 4-byte key."""
    if isinstance(payload, str):
        payload = payload.encode()
    length = len(payload)
    form = form or (7 if length < 126 else 16 if length < 65536 else 64)
    masked = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if form == 7:
        head += bytes([masked | length])
    elif form == 16:
        head += bytes([masked | 126]) + struct.pack(">H", length)
    else:
        head += bytes([masked | 127]) + struct.pack(">Q", length | (1 << 63 if form == "msb" else 0))
    if mask:
        head += mask
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return head + payload


def declared(opcode, length):
    """The head of a frame that promises length bytes and brings none."""
    return bytes([0x80 | opcode, 127]) + struct.pack(">Q", length)


def close(code=None, text=b""):
    return frame(CLOSE, b"" if code is None else struct.pack(">H", code) + text)


def deflated(data):
    """A message's payload for RFC 7692, without context takeover."""
    z = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (z.compress(data) + z.flush(zlib.Z_SYNC_FLUSH))[:-4]


class Peer:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.target, self.method, self.headers = "", "", []
        self.deflate = False

    # --- bytes ---
    async def read(self, count):
        try:
            return await self.reader.readexactly(count)
        except (asyncio.IncompleteReadError, ConnectionError, OSError) as error:
            raise Gone from error

    async def send(self, *pieces):
        try:
            self.writer.write(b"".join(p.encode() if isinstance(p, str) else p for p in pieces))
            await self.writer.drain()
        except (ConnectionError, OSError) as error:
            raise Gone from error

    async def trickle(self, data, pause=0.1):
        for byte in data:
            await self.send(bytes([byte]))
            await asyncio.sleep(pause)

    async def hang(self):
        """Says nothing more, until the client goes."""
        while True:
            await self.read(1)

    def reset(self):
        sock = self.writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def half_close(self):
        """FIN, while still reading: the client sees the end of the stream and no reset."""
        try:
            self.writer.write_eof()
        except (ConnectionError, OSError) as error:
            raise Gone from error
        await self.hang()

    # --- HTTP ---
    async def request(self):
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, OSError) as error:
            raise Gone from error
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target = lines[0].split(" ")[:2]
        self.headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if ":" in line]
        return self

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def accept(self):
        key = (self.header("Sec-WebSocket-Key") or "").encode()
        return base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()

    def response(self, status="101 Switching Protocols", version="HTTP/1.1", drop=(), lower=False, end="\r\n", **more):
        """The 101's head. drop leaves headers out; more adds or replaces them (underscores stand for hyphens, a list repeats)."""
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": self.accept()}
        headers.update({name.replace("_", "-"): value for name, value in more.items()})
        text = f"{version} {status}{end}"
        for name, values in headers.items():
            if name not in drop:
                for value in values if isinstance(values, list) else [values]:
                    text += f"{name.lower() if lower else name}: {value}{end}"
        return text + end

    async def upgrade(self, *behind, before="", **changes):
        """Takes the request and answers; behind goes out in the same packet."""
        await self.request()
        await self.send(before, self.response(**changes), *behind)
        return self

    async def upgrade_deflate(self, parameters=""):
        self.deflate = True
        return await self.upgrade(Sec_WebSocket_Extensions="permessage-deflate" + parameters)

    async def reply(self, status, body="", *headers):
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n" + "".join(h + "\r\n" for h in headers)
        await self.request()
        await self.send(head + "\r\n" + body)
        await self.hang()

    # --- frames ---
    async def frame(self):
        """The client's next frame: (opcode, unmasked payload)."""
        first, second = await self.read(2)
        length = second & 127
        if length == 126:
            (length,) = struct.unpack(">H", await self.read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", await self.read(8))
        key = await self.read(4) if second & 128 else b"\0\0\0\0"
        data = await self.read(length)
        data = bytes(b ^ key[i % 4] for i, b in enumerate(data))
        if first & 0x40 and self.deflate:
            z = zlib.decompressobj(-15)
            data = z.decompress(data + b"\x00\x00\xff\xff")
        return first & 15, data

    async def serve(self, on_message=None, pongs=True, close_reply=True):
        """Answers like a good server would: pongs, close, and every message by on_message(peer, opcode, data); None echoes."""
        while True:
            opcode, data = await self.frame()
            if opcode == PING:
                if pongs:
                    await self.send(frame(PONG, data))
            elif opcode == CLOSE:
                if close_reply:
                    await self.send(frame(CLOSE, data[:2]))
                return
            elif opcode in (TEXT, BINARY):
                if on_message:
                    await on_message(self, opcode, data)
                else:
                    await self.send(frame(opcode, data))


async def serve(handler, host="127.0.0.1", port=0, tls=None, counter=None):
    """A listening server whose connections are handled by handler(peer). Returns (server, port)."""

    async def on_connect(reader, writer):
        if counter is not None:
            counter.append(1)
        peer = Peer(reader, writer)
        try:
            await handler(peer)
        except (Gone, ConnectionError, OSError, asyncio.CancelledError):
            pass
        finally:
            try:
                writer.close()
            except (ConnectionError, OSError, RuntimeError):
                pass

    server = await asyncio.start_server(on_connect, host, port, ssl=tls, limit=1 << 20)
    return server, server.sockets[0].getsockname()[1]
