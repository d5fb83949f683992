#!/usr/bin/python3
"""Targets that are hostile by design: floods, bombs, drips, endless things. A thread for each connection and blocking sockets, so that a
flood is as fast as the kernel allows. test_hostile_server.py runs the agent against each; `hostile.py CERT_DIR` alone serves them all and prints their
URLs, for trying by hand.

A target is a function of one connected socket. `verdicts` says what the agent may say of each check: "pass", or the reasons that are right.
"""
import base64
import dataclasses
import hashlib
import json
import socket
import ssl
import struct
import sys
import threading
import time
import zlib

from certs import Certs
from peer import BINARY, CLOSE, CONT, GUID, PING, PONG, TEXT, close, declared, deflated, frame

CHECKS = ("handshake", "ping", "echo", "hold")
NO_ANSWER = ("flood", "silent_drop", "echo_timeout", "echo_mismatch", "message_too_big")


@dataclasses.dataclass
class Target:
    name: str
    what: str
    run: object
    verdicts: dict
    tls: bool = False
    raw: bool = False  # the function does TLS itself, or none


TARGETS = []


def target(name, what, handshake="pass", ping=NO_ANSWER, echo=NO_ANSWER, hold=NO_ANSWER, **more):
    def decorate(run):
        verdicts = {"handshake": handshake, "ping": ping, "echo": echo, "hold": hold}
        TARGETS.append(Target(name, what, run, {k: (v,) if isinstance(v, str) else tuple(v) for k, v in verdicts.items()}, **more))
        return run

    return decorate


def everywhere(*reasons):
    return {check: reasons for check in CHECKS}


# --- parts ------------------------------------------------------------------------------------------------------------------------
def request_head(sock):
    """A request up to the end of its head, as text, and what came with it."""
    text = b""
    while b"\r\n\r\n" not in text:
        piece = sock.recv(65536)
        if not piece:
            raise ConnectionError
        text += piece
    return text.decode("latin-1")


def request(sock):
    return dict(line.split(": ", 1) for line in request_head(sock).split("\r\n")[1:] if ": " in line)


def head(headers, *more):
    accept = base64.b64encode(hashlib.sha1(headers["Sec-WebSocket-Key"].encode() + GUID).digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def upgrade(sock, *more):
    sock.sendall(head(request(sock), *more))


def upgrade_deflate(sock, parameters=""):
    """Hold does not offer it: such a connection gets no compressed frames. False then."""
    headers = request(sock)
    offered = "Sec-WebSocket-Extensions" in headers
    sock.sendall(head(headers, *(["Sec-WebSocket-Extensions: permessage-deflate" + parameters] if offered else [])))
    return offered


def hang(sock):
    while sock.recv(65536):
        pass


def forever(sock, chunk):
    """As fast as the other side reads, and reading nothing itself."""
    while True:
        sock.sendall(chunk)


def in_background(work, *args):
    def run():
        try:
            work(*args)
        except (OSError, ValueError):
            pass

    threading.Thread(target=run, daemon=True).start()


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Frames:
    """The client's frames; keeps what came of the next one."""

    def __init__(self, sock):
        self.sock, self.rest = sock, b""

    def take(self, count):
        while len(self.rest) < count:
            piece = self.sock.recv(65536)
            if not piece:
                raise ConnectionError
            self.rest += piece
        out, self.rest = self.rest[:count], self.rest[count:]
        return out

    def next(self):
        first, second = self.take(2)
        length = second & 127
        if length >= 126:
            length = int.from_bytes(self.take(2 if length == 126 else 8), "big")
        key = self.take(4)
        data = bytes(b ^ key[i % 4] for i, b in enumerate(self.take(length)))
        if first & 0x40:
            data = zlib.decompressobj(-15).decompress(data + b"\x00\x00\xff\xff")
        return first & 15, data


def answer_all(sock, pieces=lambda opcode, data: [frame(opcode, data)], pause=0.0):
    """A server that answers, behind whatever else it does."""
    frames = Frames(sock)
    while True:
        opcode, data = frames.next()
        if opcode == CLOSE:
            sock.sendall(frame(CLOSE, data[:2]))
            return
        for piece in pieces(PONG if opcode == PING else opcode, data):
            sock.sendall(piece)
            time.sleep(pause)


# --- floods that leave no room for an answer ------------------------------------------------------------------------------------------
def packed(data, bits, flush):
    z = zlib.compressobj(9, zlib.DEFLATED, -bits)
    return z.compress(data) + z.flush(flush)


BOMB = frame(TEXT, deflated(b"a" * 900000), rsv=4)  # a kilobyte that is 900
NARROW_BOMB = frame(TEXT, packed(b"a" * 900000, 9, zlib.Z_SYNC_FLUSH)[:-4], rsv=4)
ENDLESS_PIECE = packed(bytes(16 << 20), 15, zlib.Z_FULL_FLUSH)
BIG_BOMB = frame(BINARY, deflated(bytes(16 << 20)), rsv=4)
SNCT = "; server_no_context_takeover; client_no_context_takeover"


@target("ping-flood", "pings without end, at wire speed")
def _(sock):
    upgrade(sock)
    forever(sock, frame(PING, b"are you there?") * 4000)


@target("ping-flood-empty", "empty pings without end")
def _(sock):
    upgrade(sock)
    forever(sock, frame(PING) * 30000)


@target("pong-flood", "pongs that nobody asked for, without end", ping=("flood", "protocol_error"), hold=("flood", "protocol_error"))
def _(sock):
    upgrade(sock)
    forever(sock, frame(PONG, b"x") * 20000)


@target("text-flood", "tiny messages without end")
def _(sock):
    upgrade(sock)
    forever(sock, frame(TEXT, b"x") * 20000)


@target("empty-messages", "empty messages without end")
def _(sock):
    upgrade(sock)
    forever(sock, frame(TEXT) * 30000)


@target("inflating-flood", "messages of a kilobyte that inflate to 900, without end", hold=("pass", "silent_drop", "flood"))
def _(sock):
    if upgrade_deflate(sock, SNCT):
        forever(sock, BOMB * 16)
    answer_all(sock)


@target("inflating-window", "the same with a window of 512 bytes, where inflating is slowest", hold=("pass", "silent_drop", "flood"))
def _(sock):
    if upgrade_deflate(sock, "; server_max_window_bits=9" + SNCT):
        forever(sock, NARROW_BOMB * 16)
    answer_all(sock)


@target("deflate-bomb-endless", "one compressed message that never ends", hold=("pass", "silent_drop", "flood"))
def _(sock):
    if upgrade_deflate(sock, SNCT):
        sock.sendall(frame(BINARY, ENDLESS_PIECE, fin=False, rsv=4))
        forever(sock, frame(CONT, ENDLESS_PIECE, fin=False))
    answer_all(sock)


@target("deflate-empty-blocks", "a compressed message of empty blocks that never ends", hold=("pass", "silent_drop", "flood"))
def _(sock):
    if upgrade_deflate(sock, SNCT):
        sock.sendall(frame(BINARY, b"\x03\x00", fin=False, rsv=4))
        forever(sock, frame(CONT, b"\x03\x00" * 30000, fin=False))
    answer_all(sock)


@target("endless-fragments", "a message in fragments that never ends")
def _(sock):
    upgrade(sock)
    sock.sendall(frame(BINARY, b"x" * 65536, fin=False))
    forever(sock, frame(CONT, b"x" * 65536, fin=False))


@target("endless-empty-fragments", "fragments of nothing, without end")
def _(sock):
    upgrade(sock)
    sock.sendall(frame(BINARY, b"", fin=False))
    forever(sock, frame(CONT, b"", fin=False) * 30000)


@target("declared-64-bit", "a frame of nine exabytes, and its bytes as fast as they go")
def _(sock):
    upgrade(sock)
    sock.sendall(declared(BINARY, (1 << 63) - 1))
    forever(sock, b"x" * 65536)


@target("half-messages", "just under 4 MiB of a message on every connection, and no end")
def _(sock):
    upgrade(sock)
    sock.sendall(declared(BINARY, (4 << 20) - 8) + b"x" * ((4 << 20) - 16))
    hang(sock)


@target("interleaved", "pings between the fragments of a message that never ends")
def _(sock):
    upgrade(sock)
    sock.sendall(frame(TEXT, b"x", fin=False))
    forever(sock, (frame(PING, b"p" * 125) + frame(CONT, b"x" * 100, fin=False)) * 200)


@target("tiny-tls-records", "TLS records of one byte, without end", tls=True)
def _(sock):
    upgrade(sock)
    while True:
        for byte in frame(TEXT, b"x") * 50:
            sock.sendall(bytes([byte]))


@target("tls-flood", "records of 16 KiB full of pings", tls=True)
def _(sock):
    upgrade(sock)
    forever(sock, frame(PING, b"x") * 5000)


# --- hostile, and yet the answer comes: they pass --------------------------------------------------------------------------------------
@target("pushes-and-answers", "pushes messages all the time, and answers", ping="pass", echo="pass", hold="pass")
def _(sock):
    def push():
        while True:
            sock.sendall(frame(TEXT, b'{"price":1}') * 20)
            time.sleep(0.002)

    upgrade(sock)
    in_background(push)
    answer_all(sock)


@target("big-snapshot", "greets with a message of 5 MiB, and answers", ping="pass", echo="pass", hold="pass")
def _(sock):
    upgrade(sock)
    sock.sendall(frame(TEXT, b'{"snapshot":"' + b"x" * (5 << 20) + b'"}'))
    answer_all(sock)


@target("bomb-then-answers", "greets with 16 MiB in 16 KiB, and answers", ping="pass", echo="pass", hold="pass")
def _(sock):
    if upgrade_deflate(sock, SNCT):
        sock.sendall(BIG_BOMB)
    answer_all(sock)


DRIPPED = ("pass", "upgrade_timeout", "silent_drop", "echo_timeout")  # as fast as the machine is


@target("dripped", "a byte at a time, and answers", handshake=DRIPPED, ping=DRIPPED, echo=DRIPPED, hold=DRIPPED)
def _(sock):
    for byte in head(request(sock)):
        sock.sendall(bytes([byte]))
        time.sleep(0.0005)
    answer_all(sock, lambda opcode, data: [bytes([b]) for b in frame(opcode, data)], 0.001)


@target("never-reads", "sends a ping a millisecond and reads nothing")
def _(sock):
    upgrade(sock)
    while True:
        sock.sendall(frame(PING, b"p" * 125) * 5)
        time.sleep(0.001)


# --- hostile before they are open -------------------------------------------------------------------------------------------------------
@target("endless-head", "header lines without end", **everywhere("http_malformed"))
def _(sock):
    request(sock)
    sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\n")
    forever(sock, b"X-More: " + b"x" * 200 + b"\r\n")


@target("endless-100", "100 Continue without end", **everywhere("http_malformed", "upgrade_timeout"))
def _(sock):
    request(sock)
    forever(sock, b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


@target("early-garbage", "noise before it was asked", **everywhere("http_malformed", "connection_reset"))
def _(sock):
    forever(sock, bytes(range(256)) * 64)


@target("drip-head", "a head that comes a byte every 20 ms", **everywhere("upgrade_timeout"))
def _(sock):
    for byte in head(request(sock), "X-Pad: " + "x" * 4000):
        sock.sendall(bytes([byte]))
        time.sleep(0.02)


@target("tls-garbage", "noise in the place of a TLS handshake", **everywhere("tls_handshake_failed"), raw=True, tls=True)
def _(sock):
    sock.recv(4096)
    forever(sock, b"\x16\x03\x03\x40\x00" + b"\xff" * 16384)


@target("tls-renegotiation", "TLS 1.2, then a HelloRequest again and again", ping=("silent_drop", "flood", "closed_abnormal", "tls_handshake_failed"),
        echo=(*NO_ANSWER, "closed_abnormal", "tls_handshake_failed"), hold=("silent_drop", "flood", "closed_abnormal", "tls_handshake_failed"),
        tls=True)
def _(sock):
    upgrade(sock)
    for _round in range(5):
        sock.sendall(frame(PING, b"x") * 10)
        time.sleep(0.01)
    sock.unwrap().sendall(b"\x16\x03\x03\x00\x04\x00\x00\x00\x00" * 1000)
    time.sleep(5)


# --- ends of all kinds --------------------------------------------------------------------------------------------------------------
def _ends(name, what, at, how, reasons):
    verdicts = {check: reasons for check in CHECKS}
    if at in ("open", "frame"):
        verdicts["handshake"] = ("pass", "protocol_error", "closed_abnormal")

    @target(name, what, **verdicts)
    def _(sock):
        if at != "accept":
            headers = request(sock)
        if at == "head":
            sock.sendall(head(headers)[:40])
        if at in ("open", "frame"):
            sock.sendall(head(headers))
        if at == "frame":
            Frames(sock).next()
            sock.sendall(frame(TEXT, b"x" * 1000)[:500])
        if how == "reset":
            reset(sock)
            sock.close()
        else:
            sock.shutdown(socket.SHUT_WR)
            hang(sock)


for _at, _reasons in (("accept", ("connection_reset",)), ("request", ("connection_reset",)), ("head", ("connection_reset",)),
                      ("open", ("closed_abnormal",)), ("frame", ("closed_abnormal",))):
    _ends(f"reset-at-{_at}", f"a reset at {_at}", _at, "reset", (*_reasons, "connect_refused"))
    _ends(f"half-close-at-{_at}", f"a FIN and no more at {_at}", _at, "fin", _reasons)


@target("close-and-more", "a close frame, and bytes behind it without end", ping="closed_by_server", echo="closed_by_server", hold="closed_by_server",
        handshake=("pass", "closed_by_server", "protocol_error"))
def _(sock):
    upgrade(sock)
    sock.sendall(close(1000))
    forever(sock, frame(TEXT, b"still here") * 1000)


@target("control-64-bit", "a ping of four gigabytes", **{**everywhere("protocol_error"), "handshake": ("pass", "protocol_error")})
def _(sock):
    upgrade(sock)
    sock.sendall(declared(PING, 1 << 32))
    forever(sock, b"x" * 65536)


# --- serving -----------------------------------------------------------------------------------------------------------------------
def _serve(row, context):
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def talk(sock):
        with sock:
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                row.run(context.wrap_socket(sock, server_side=True) if row.tls and not row.raw else sock)
            except (OSError, KeyError, ValueError):
                pass

    def accept():
        while True:
            threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return f"{'wss' if row.tls else 'ws'}://127.0.0.1:{listener.getsockname()[1]}/ws"


def main(directory, *names):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Certs(directory).leaf(name="hostile"))
    print(json.dumps({row.name: _serve(row, context) for row in TARGETS if not names or row.name in names}), flush=True)
    sys.stdin.read()  # ends with the pipe of whoever started it


if __name__ == "__main__":
    main(*sys.argv[1:])
