#!/usr/bin/python3
"""h2_hostile.py: servers of HTTP/2 in cleartext, made of raw frames, each of which breaks one rule.

Each scenario has a port of its own, as the server does not read compressed headers. Prints one JSON object, scenario -> port, when all listen.
"""
import json
import socket
import struct
import sys
import threading
import time

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
TABLE_SIZE, INITIAL_WINDOW, FRAME_SIZE, CONNECT_PROTOCOL = 1, 4, 5, 8
OK = b"\x88"  # HPACK: :status 200


def frame(kind, payload=b"", flags=0, stream=0):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(**values):
    names = {"table": TABLE_SIZE, "window": INITIAL_WINDOW, "frame": FRAME_SIZE, "connect": CONNECT_PROTOCOL}
    return frame(SETTINGS, b"".join(struct.pack(">HI", names[name], value) for name, value in values.items()))


def field(name, value):
    """HPACK: a literal that is not indexed, with a new name; both shorter than 127 bytes or split as lengths need."""
    def text(data):
        size = len(data)
        if size < 127:
            return bytes([size]) + data
        size -= 127
        out = b"\x7f"
        while size > 127:
            out += bytes([size % 128 + 128])
            size //= 128
        return out + bytes([size]) + data

    return b"\x00" + text(name) + text(value)


def status(code):
    return b"\x08\x03%d" % code


def head(block, flags=4, stream=1):
    return frame(HEADERS, block, flags, stream)


class Peer:
    def __init__(self, sock):
        self.sock, self.buffer = sock, b""

    def send(self, data):
        self.sock.sendall(data)

    def need(self, size):
        while len(self.buffer) < size:
            more = self.sock.recv(65536)
            if not more:
                raise ConnectionError("gone")
            self.buffer += more
        out, self.buffer = self.buffer[:size], self.buffer[size:]
        return out

    def frames(self):
        """(kind, flags, stream, payload) for ever."""
        while True:
            start = self.need(9)
            yield start[3], start[4], struct.unpack(">I", start[5:])[0], self.need(struct.unpack(">I", b"\0" + start[:3])[0])

    def hello(self, **values):
        assert self.need(len(PREFACE)) == PREFACE
        self.send(settings(connect=1, **values))

    def request(self, **values):
        """Until the client's request is here."""
        self.hello(**values)
        next(self.of(HEADERS))

    def of(self, kind):
        return (seen for seen in self.frames() if seen[0] == kind)

    def opened(self, **values):
        """A WebSocket is open, and the client's first frame has come: its kind is returned."""
        self.request(**values)
        self.send(head(OK))
        return next(self.of(DATA))[3]

    def rest(self):
        """Reads and throws away, until the client goes."""
        while self.sock.recv(65536):
            pass


def answers(*parts):
    def play(peer):
        peer.request()
        for part in parts:
            peer.send(part)
        peer.rest()
    return play


def after_open(*parts):
    def play(peer):
        peer.opened()
        for part in parts:
            peer.send(part)
        peer.rest()
    return play


def silent(peer):
    peer.rest()


def no_answer(peer):
    peer.request()
    peer.rest()


def no_connect(peer):
    peer.need(len(PREFACE))
    peer.send(settings(window=65535))
    peer.rest()


def early_goaway(peer):
    peer.hello()
    peer.send(frame(GOAWAY, struct.pack(">II", 0, 11) + b"go away, \x1b[31mplease"))
    peer.rest()


def endless(part, chunk=200, open_first=False):
    def play(peer):
        if open_first:
            peer.opened()
        else:
            peer.request()
        while True:
            peer.send(part * chunk)
    return play


def huge_head(peer):
    peer.request()
    peer.send(head(OK + b"".join(field(b"x-%d" % i, b"v" * 1000) for i in range(12)), flags=0))
    peer.send(frame(CONTINUATION, b"".join(field(b"y-%d" % i, b"v" * 1000) for i in range(12)), 4, 1))
    peer.rest()


def many_continuations(peer):
    peer.request()
    peer.send(head(OK, flags=0))
    while True:
        peer.send(frame(CONTINUATION, field(b"x-more", b"v" * 60), 0, 1))


def window_closed(peer):
    peer.request(window=0)
    peer.send(head(OK))
    peer.rest()


def window_half(peer):
    """Takes a part of a long message, and no more of it, ever; everything else is answered."""
    peer.request()
    peer.send(head(OK))
    for kind, flags, _, payload in peer.frames():
        if kind == PING and not flags & 1:
            peer.send(frame(PING, payload, 1))


def grows(peer):
    """A window that grows without end: by SETTINGS, after WINDOW_UPDATE has filled it."""
    peer.request()
    peer.send(head(OK) + frame(WINDOW_UPDATE, struct.pack(">I", 2**31 - 1 - 65535), 0, 1) + settings(window=2**31 - 1))
    peer.rest()


def table(peer):
    """A huge table for the client's headers, and one of the server's own that is larger than the client allows."""
    peer.request(table=2**32 - 1)
    peer.send(head(b"\x3f\xe1\xff\xff\xff\x07" + OK))
    peer.rest()


def table_bomb(peer):
    """One long field in the table, and then a head that names it again and again."""
    peer.request()
    peer.send(head(OK + b"\x40\x03x-a\x7f\xa1\x1e" + b"v" * 4000 + b"\xbe" * 12000))
    peer.rest()


def settings_of_all(peer):
    """Everything that may be set, at its limits, and what nobody knows."""
    peer.need(len(PREFACE))
    peer.send(frame(SETTINGS, b"".join(struct.pack(">HI", name, 2**32 - 1) for name in (1, 3, 6, 99, 0xFFFF)) + struct.pack(">HI", 8, 1)))
    next(peer.of(HEADERS))
    peer.send(head(OK, flags=5))
    peer.rest()


def settings_of(name, value):
    def play(peer):
        peer.need(len(PREFACE))
        peer.send(frame(SETTINGS, struct.pack(">HI", name, value)))
        peer.rest()
    return play


def takes_back(peer):
    """Allows the extended CONNECT, and takes it back (RFC 8441, 3 forbids that)."""
    peer.hello()
    peer.send(settings(connect=0))
    next(peer.of(HEADERS))
    peer.send(head(OK))
    peer.rest()


def http1(text, size):
    def play(peer):
        for i in range(0, len(text), size):
            peer.send(text[i:i + size])
            time.sleep(0.005)
        peer.rest()
    return play


def closes(peer):
    peer.request()


def cut_settings(peer):
    peer.need(len(PREFACE))
    peer.send(settings(connect=1)[:7])


def pongs_in_pieces(peer):
    """A good one: answers each ping, with PINGs, empty SETTINGS and padding between the pieces of its frames."""
    peer.request()
    peer.send(head(status(103) + field(b"link", b"<x>")) + head(OK))
    for kind, flags, stream, payload in peer.frames():
        if kind != DATA or not payload:
            continue
        if payload[0] == 0x88:
            peer.send(frame(DATA, b"\x88\x02\x03\xe8", 1, 1))
            peer.rest()
            return
        key, body = payload[2:6], payload[6:]
        answer = bytes([0x8A, len(body)]) + bytes(b ^ key[i % 4] for i, b in enumerate(body))
        peer.send(frame(PING, b"12345678") + frame(SETTINGS))
        for i in range(len(answer)):
            peer.send(frame(DATA, bytes([2]) + answer[i:i + 1] + b"\0\0", 8, 1) + frame(DATA, b"", 0, 1))


SCENARIOS = {
    "good": pongs_in_pieces,
    "rst": answers(frame(RST, struct.pack(">I", 8), 0, 1)),
    "rst-http11": answers(frame(RST, struct.pack(">I", 13), 0, 1)),
    "goaway": answers(frame(GOAWAY, struct.pack(">II", 0, 11) + b"too many of you")),
    "early-goaway": early_goaway,
    "silent": silent,
    "no-answer": no_answer,
    "no-connect": no_connect,
    "settings-flood": endless(frame(SETTINGS)),
    "ping-flood": endless(frame(PING, b"\0" * 8)),
    "empty-data-flood": endless(frame(DATA, b"", 0, 1)),
    "interim-flood": endless(head(status(100))),
    "huge-head": huge_head,
    "many-continuations": many_continuations,
    "many-fields": answers(head(OK + b"".join(field(b"x-%d" % i, b"v") for i in range(100)))),
    "401": answers(head(status(401)), frame(DATA, b"who are you?", 1, 1)),
    "404": answers(head(status(404), flags=5)),
    "204": answers(head(status(204), flags=5)),
    "302": answers(head(status(302) + field(b"location", b"https://user:secret@elsewhere.example/?t=1"), flags=5)),
    "101": answers(head(status(101))),
    "no-status": answers(head(field(b"server", b"x"))),
    "upper-case": answers(head(OK + field(b"Server", b"x"))),
    "connection-header": answers(head(OK + field(b"connection", b"close"))),
    "subprotocol": answers(head(OK + field(b"sec-websocket-protocol", b"chat"))),
    "extension": answers(head(OK + field(b"sec-websocket-extensions", b"x-own"))),
    "push": answers(frame(SETTINGS, flags=1), frame(PUSH, struct.pack(">I", 2) + OK, 4, 1)),
    "data-first": answers(frame(DATA, b"\x89\x00", 0, 1)),
    "garbage": answers(b"\xff" * 4096),
    "bad-hpack": answers(head(b"\xff\xff\xff\xff\xff\xff")),
    "ends-at-once": answers(head(OK, flags=5)),
    "ends-in-frame": after_open(frame(DATA, b"\x81\x7e\x10", 1, 1)),
    "rst-open": after_open(frame(RST, struct.pack(">I", 2), 0, 1)),
    "goaway-open": after_open(frame(GOAWAY, struct.pack(">II", 1, 0) + b"bye"), frame(DATA, b"\x88\x02\x03\xe9", 1, 1)),
    "masked": after_open(frame(DATA, b"\x81\x81\x00\x00\x00\x00x", 0, 1)),
    "window-zero": after_open(frame(8, struct.pack(">I", 0), 0, 1)),
    "window-closed": window_closed,
    "window-half": window_half,
    "window-overflow": after_open(frame(WINDOW_UPDATE, struct.pack(">I", 2**31 - 1), 0, 1)),
    "window-overflow-all": after_open(frame(WINDOW_UPDATE, struct.pack(">I", 2**31 - 1))),
    "window-grows": grows,
    "window-flood": endless(frame(WINDOW_UPDATE, struct.pack(">I", 1)), open_first=True),
    "priority-flood": endless(frame(PRIORITY, bytes(5), 0, 1), open_first=True),
    "unknown-flood": endless(frame(0xEE, b"what is this", 0, 1), open_first=True),
    "padding-flood": endless(frame(DATA, b"\xff" + bytes(255), 8, 1), chunk=20, open_first=True),
    "padding-too-long": after_open(frame(DATA, b"\xff" + bytes(20), 8, 1)),
    "reset-flood": endless(frame(RST, struct.pack(">I", 8), 0, 1)),
    "goaway-flood": endless(frame(GOAWAY, struct.pack(">II", 1, 0)), open_first=True),
    "trailers": after_open(head(field(b"x-end", b"1"), flags=5)),
    "trailers-open": after_open(head(field(b"x-end", b"1"))),
    "data-after-end": after_open(frame(DATA, b"\x88\x02\x03\xe8", 1, 1) + frame(DATA, b"\x89\x00", 0, 1)),
    "head-after-end": after_open(frame(DATA, b"", 1, 1) + head(OK)),
    "second-head": after_open(head(OK)),
    "other-stream": after_open(frame(DATA, b"\x89\x00", 0, 3)),
    "even-stream": answers(head(OK, stream=2)),
    "frame-too-long": after_open(frame(DATA, bytes(16385), 0, 1)),
    "table": table,
    "table-bomb": table_bomb,
    "settings-all": settings_of_all,
    "settings-window": settings_of(INITIAL_WINDOW, 2**31),
    "settings-frame": settings_of(FRAME_SIZE, 1),
    "settings-connect": settings_of(CONNECT_PROTOCOL, 2),
    "takes-back": takes_back,
    "goaway-0": answers(frame(GOAWAY, struct.pack(">II", 0, 0))),
    "goaway-cut": after_open(frame(GOAWAY, struct.pack(">II", 1, 0)), frame(DATA, b"", 1, 1)),
    "goaway-error-open": after_open(frame(GOAWAY, struct.pack(">II", 1, 2) + b"out of memory")),
    "continuation-alone": answers(frame(CONTINUATION, OK, 4, 1)),
    "interrupted-head": answers(head(OK, flags=0) + frame(PING, bytes(8))),
    **{f"rst-{code}": answers(frame(RST, struct.pack(">I", code), 0, 1)) for code in range(14)},
    **{f"rst-open-{code}": after_open(frame(RST, struct.pack(">I", code), 0, 1)) for code in (*range(14), 0xDEADBEEF)},
    "http1": http1(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", 100),
    "http1-split": http1(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", 2),
    "ssh": http1(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", 5),
    "closes": closes,
    "cut": cut_settings,
}


def serve(listener, play):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=one, args=(sock, play), daemon=True).start()


def one(sock, play):
    with sock:
        try:
            sock.settimeout(60)
            play(Peer(sock))
        except (OSError, ConnectionError, AssertionError, StopIteration):
            pass


def main():
    ports = {}
    for name, play in SCENARIOS.items():
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        ports[name] = listener.getsockname()[1]
        threading.Thread(target=serve, args=(listener, play), daemon=True).start()
    print(json.dumps(ports), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
