#!/usr/bin/python3
"""The fault matrix: one process, a port for each fault, and a table of what wshealthd must say of it.

The table is FAULTS. A fault is a coroutine that plays the server for one connection, with its name, a sentence, and the cases: which
check runs against it and what it must find (contract, section 5). test_faults.py runs all cases; `faults.py CERT_DIR` alone serves them
and prints the ports, for trying by hand.
"""
import asyncio
import dataclasses
import hashlib
import json
import socket
import ssl
import sys
import threading
import warnings
import zlib

from certs import Certs
from peer import BINARY, CLOSE, CONT, PING, PONG, TEXT, Peer, close, declared, deflated, frame, serve

HEADERS_END = "\r\n\r\n"
SNCT = "; server_no_context_takeover; client_no_context_takeover"


@dataclasses.dataclass
class Case:
    """One run of `wshealthd check` against a fault."""

    check: str
    status: str
    reason: str = None
    phase: str = None
    words: tuple = ()  # must all appear in the sentence
    flags: tuple = ()
    conf: str = None  # instead of --type: the file's text, with {url} and {dir}
    timeout: str = "1s"
    http: int = None  # http_status
    code: int = None  # close_code


@dataclasses.dataclass
class Fault:
    name: str
    what: str
    cases: tuple
    handler: object = None
    scheme: str = "ws"
    host: str = "127.0.0.1"
    path: str = "/ws"
    tls: object = None  # Certs -> SSLContext
    listen: object = None  # instead of a handler: opens a socket itself and returns its port
    url: str = None  # instead of anything that listens


FAULTS = []


def fault(name, what, *cases, **more):
    def decorate(handler):
        FAULTS.append(Fault(name, what, cases, handler, **more))
        return handler

    return decorate


def fail(check, reason, phase, *words, **more):
    return Case(check, "fail", reason, phase, words, **more)


def good(check, **more):
    """Time enough for a slow machine; the one round of hold lasts as long as its deadline."""
    return Case(check, "pass", timeout=more.pop("timeout", "2s" if check == "hold" else "5s"), **more)


def conf(check, *lines, target=()):
    """A configuration with one check named like its type; lines are further keys of it."""
    if check == "http":  # has a URL of its own: a target speaks WebSocket
        lines, url = (*lines, "url: {url}"), "ws://127.0.0.1:1/"
    else:
        url = "{url}"
    text = f"listen: off\nadmin: off\ntarget:\n  url: {url}\n" + "".join(f"  {line}\n" for line in target)
    return text + f"checks:\n  - name: {check}\n    type: {check}\n" + "".join(f"    {line}\n" for line in lines)


# --- the connection -----------------------------------------------------------------------------------------------------------
def listen_bound():
    """A port that is taken, and on which nobody listens."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock, sock.getsockname()[1]


def listen_full():
    """A listener that never accepts, with its queue full: the kernel drops further SYNs, as it does for a hung server."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(0)
    fillers = []
    for _ in range(3):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(sock.getsockname())
        fillers.append(filler)
    return (sock, fillers), sock.getsockname()[1]


FAULTS += [
    Fault("port-closed", "nobody listens", listen=listen_bound,
          cases=(fail("handshake", "connect_refused", "connect"), fail("tcp", "connect_refused", "connect"),
                 fail("hold", "connect_refused", "connect"), fail("ping", "connect_refused", "connect"))),
    Fault("port-closed-http", "nobody listens where the health URL is", listen=listen_bound, scheme="http",
          cases=(fail("http", "connect_refused", "connect"),)),
    Fault("queue-full", "the accept queue is full: SYNs are dropped", listen=listen_full,
          cases=(fail("handshake", "connect_timeout", "connect"), fail("tcp", "connect_timeout", "connect"))),
    Fault("no-route", "an address that TCP cannot reach", url="ws://255.255.255.255:9/ws",
          cases=(fail("handshake", "connect_unreachable", "connect"),)),
    Fault("no-name", "a name that does not exist", url="ws://no-such-host.invalid:8080/ws",
          cases=(fail("handshake", "dns_failure", "resolve", "no-such-host.invalid"), fail("echo", "dns_failure", "resolve"))),
]


# --- before a response ----------------------------------------------------------------------------------------------------------
@fault("accept-silent", "accepts and says nothing", fail("handshake", "upgrade_timeout", "upgrade"),
       fail("ping", "upgrade_timeout", "upgrade"), fail("hold", "upgrade_timeout", "upgrade"))
async def _(p):
    await p.hang()


@fault("accept-close", "accepts and closes", fail("handshake", "connection_reset", "upgrade"), good("tcp"))
async def _(_peer):
    pass


@fault("accept-reset", "accepts and resets", fail("handshake", "connection_reset", "upgrade"))
async def _(p):
    p.reset()


@fault("request-close", "reads the request and closes", fail("handshake", "connection_reset", "upgrade"),
       fail("hold", "connection_reset", "upgrade"))
async def _(p):
    await p.request()


@fault("request-reset", "reads the request and resets", fail("handshake", "connection_reset", "upgrade"))
async def _(p):
    await p.request()
    p.reset()


@fault("half-response-close", "closes in the middle of the status line", fail("handshake", "connection_reset", "upgrade"))
async def _(p):
    await p.request()
    await p.send("HTTP/1.1 101 Switch")


@fault("half-response-silent", "stops in the middle of the headers", fail("handshake", "upgrade_timeout", "upgrade"))
async def _(p):
    await p.request()
    await p.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso")
    await p.hang()


@fault("trickled-response", "a byte every 50 ms: the deadline is the whole round's", fail("handshake", "upgrade_timeout", "upgrade"))
async def _(p):
    await p.request()
    await p.trickle(p.response().encode(), 0.05)
    await p.hang()


@fault("endless-headers", "header lines without end", fail("handshake", "http_malformed", "upgrade", timeout="5s"))
async def _(p):
    await p.request()
    await p.send("HTTP/1.1 101 Switching Protocols\r\n")
    while True:
        await p.send("X-More: " + "x" * 200 + "\r\n")


@fault("endless-header-line", "one header without end", fail("handshake", "http_malformed", "upgrade", timeout="5s"))
async def _(p):
    await p.request()
    await p.send("HTTP/1.1 101 Switching Protocols\r\nX-More: ")
    while True:
        await p.send("x" * 4096)


@fault("too-many-headers", "two hundred headers", fail("handshake", "http_malformed", "upgrade", timeout="5s"))
async def _(p):
    await p.request()
    await p.send(p.response(**{f"X_{i}": "1" for i in range(200)}))
    await p.hang()


@fault("ssh", "greets like an SSH server", fail("handshake", "http_malformed", "upgrade"))
async def _(p):
    await p.send("SSH-2.0-OpenSSH_9.2\r\n")
    await p.hang()


@fault("binary-garbage", "answers with bytes of no protocol", fail("handshake", "http_malformed", "upgrade"))
async def _(p):
    await p.request()
    await p.send(bytes(range(256)))
    await p.hang()


@fault("http-1-0", "a 101 in HTTP/1.0", fail("handshake", "http_malformed", "upgrade", "1.0"))
async def _(p):
    await p.upgrade(version="HTTP/1.0")
    await p.hang()


def _status(code, text, reason, *headers):
    @fault(f"status-{code}", f"answers {code}", fail("handshake", reason, "upgrade", str(code), http=code))
    async def _(p):
        await p.reply(f"{code} {text}", "no", *headers)


_status(200, "OK", "upgrade_refused")
_status(204, "No Content", "upgrade_refused")
_status(301, "Moved Permanently", "upgrade_redirect", "Location: http://127.0.0.1/login")
_status(302, "Found", "upgrade_redirect", "Location: /login")
_status(308, "Permanent Redirect", "upgrade_redirect", "Location: /there")
_status(400, "Bad Request", "upgrade_refused")
_status(401, "Unauthorized", "upgrade_unauthorized", 'WWW-Authenticate: Bearer realm="x"')
_status(403, "Forbidden", "upgrade_unauthorized")
_status(404, "Not Found", "upgrade_refused")
_status(426, "Upgrade Required", "upgrade_refused", "Upgrade: websocket")
_status(429, "Too Many Requests", "rate_limited")
_status(500, "Internal Server Error", "upgrade_refused")
_status(502, "Bad Gateway", "upgrade_refused")
_status(503, "Service Unavailable", "upgrade_refused")


# --- a 101 that is none -----------------------------------------------------------------------------------------------------------
def _upgrade(name, what, reason, *words, flags=(), target=(), **changes):
    case = (fail("handshake", reason, "upgrade", *words, conf=conf("handshake", target=target)) if target else
            fail("handshake", reason, "upgrade", *words, flags=flags))

    @fault(name, what, case)
    async def _(p):
        await p.upgrade(**changes)
        await p.serve()


_upgrade("no-upgrade-header", "101 without Upgrade", "upgrade_invalid", "Upgrade", drop=("Upgrade",))
_upgrade("no-connection-header", "101 without Connection", "upgrade_invalid", "Connection", drop=("Connection",))
_upgrade("upgrade-h2c", "101 to another protocol", "upgrade_invalid", "h2c", Upgrade="h2c")
_upgrade("connection-keep-alive", "101 with Connection: keep-alive", "upgrade_invalid", "Connection", Connection="keep-alive")
_upgrade("accept-wrong", "the accept value of another key", "upgrade_bad_accept", Sec_WebSocket_Accept="s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
_upgrade("accept-missing", "no accept value", "upgrade_bad_accept", drop=("Sec-WebSocket-Accept",))
_upgrade("accept-empty", "an empty accept value", "upgrade_bad_accept", Sec_WebSocket_Accept="")
_upgrade("subprotocol-wrong", "chooses a subprotocol that was not offered", "upgrade_bad_subprotocol", "chat.v2",
         flags=("--subprotocol", "chat.v1"), Sec_WebSocket_Protocol="chat.v2")
_upgrade("subprotocol-unasked", "chooses a subprotocol where none was offered", "upgrade_bad_subprotocol", "chat.v1",
         Sec_WebSocket_Protocol="chat.v1")
_upgrade("subprotocol-none", "chooses none of those offered", "upgrade_bad_subprotocol", "chat.v1", flags=("--subprotocol", "chat.v1"))
_upgrade("subprotocol-case", "chooses one in other letters", "upgrade_bad_subprotocol", flags=("--subprotocol", "chat.v1"),
         Sec_WebSocket_Protocol="Chat.V1")
_upgrade("extension-unasked", "uses an extension that was not offered", "upgrade_bad_extension", "x-strange",
         Sec_WebSocket_Extensions="x-strange")
_upgrade("deflate-unknown-parameter", "permessage-deflate with an unknown parameter", "upgrade_bad_extension", "turbo",
         Sec_WebSocket_Extensions="permessage-deflate; turbo=9")
_upgrade("deflate-bits-7", "window bits below 8", "upgrade_bad_extension", "server_max_window_bits",
         Sec_WebSocket_Extensions="permessage-deflate; server_max_window_bits=7")
_upgrade("deflate-bits-16", "window bits over 15", "upgrade_bad_extension", "client_max_window_bits",
         Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits=16")
_upgrade("deflate-twice", "permessage-deflate two times", "upgrade_bad_extension",
         Sec_WebSocket_Extensions="permessage-deflate, permessage-deflate")
_upgrade("deflate-parameter-twice", "a parameter two times", "upgrade_bad_extension",
         Sec_WebSocket_Extensions="permessage-deflate; server_no_context_takeover; server_no_context_takeover")
_upgrade("deflate-unasked", "compresses though compression is off", "upgrade_bad_extension", target=("compression: off",),
         Sec_WebSocket_Extensions="permessage-deflate")
_upgrade("deflate-refused", "does not compress though it is required", "upgrade_bad_extension", target=("compression: required",))


@fault("accept-twice", "two accept headers, the second wrong", fail("handshake", "upgrade_bad_accept", "upgrade"))
async def _(p):
    await p.request()
    await p.send(p.response(Sec_WebSocket_Accept=[p.accept(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]))
    await p.serve()


@fault("accept-lower-case", "the right accept value in the wrong case", fail("handshake", "upgrade_bad_accept", "upgrade"))
async def _(p):
    await p.request()
    await p.send(p.response(Sec_WebSocket_Accept=p.accept().swapcase()))
    await p.serve()


NOISE = "".join(hashlib.sha512(bytes([i])).hexdigest() for i in range(5)).encode()  # 640 bytes
FAR = NOISE + NOISE[:100]


def taken_over():
    """The same text twice, the second pointing back into the first."""
    z = zlib.compressobj(9, zlib.DEFLATED, -15)
    return [frame(TEXT, (z.compress(NOISE[:300]) + z.flush(zlib.Z_SYNC_FLUSH))[:-4], rsv=4) for _ in range(2)]


def _remark(name, what, section, *cases, **changes):
    @fault(name, what, Case("handshake", "warn", "upgrade_invalid", "upgrade", (section,), timeout="5s"), good("ping"), good("echo"))
    async def _(p):
        await p.upgrade(**changes)
        await p.serve()


_remark("101-with-length", "a 101 with Content-Length", "9110, 8.6", Content_Length="0")
_remark("101-with-coding", "a 101 with Transfer-Encoding", "9112, 6.1", Transfer_Encoding="chunked")


# --- the closing handshake -----------------------------------------------------------------------------------------------------------
def _goodbye(name, what, case, *behind, stay=False, before=()):
    """Answers the client's close by these bytes, then closes TCP, unless it is to stay. Only the handshake looks at that."""
    @fault(name, what, case, good("ping"), good("echo"))
    async def _(p):
        await p.upgrade()
        while True:
            opcode, data = await p.frame()
            if opcode == CLOSE:
                await p.send(*before, *behind)
                if stay:
                    await p.hang()
                return
            await p.send(frame(PONG if opcode == PING else opcode, data))


def _warned(*words):
    return Case("handshake", "warn", "protocol_error", "open", words, timeout="5s")


_goodbye("goodbye-fin", "answers a close by FIN alone", _warned("5.5.1", "without a close frame"))
_goodbye("goodbye-code", "answers a close with another code", _warned("5.5.1", "1000", "1002"), close(1002))
_goodbye("goodbye-own-code", "answers a close with a code of its own", _warned("5.5.1", "4000"), close(4000))
_goodbye("goodbye-bad-code", "answers a close with a code that no frame may have", _warned("7.4.1", "1005"), close(1005))
_goodbye("goodbye-data", "answers a close, and sends data behind it", _warned("5.5.1", "7 bytes behind"), close(1000), frame(TEXT, "again"))
_goodbye("goodbye-open", "answers a close, and leaves TCP open", _warned("7.1.1", "TCP open"), close(1000), stay=True)
_goodbye("goodbye-empty", "answers a close with none of its code, as servers may", good("handshake"), close())
_goodbye("goodbye-under-way", "had messages under way when the close came", good("handshake"), close(1000),
         before=(frame(TEXT, "one"), frame(PING, "two"), frame(BINARY, "three")))
_goodbye("goodbye-silent", "does not answer a close within the time", good("handshake"), stay=True)


@fault("close-at-once", "refuses whoever connects by a close of its own", good("handshake"))
async def _(p):
    await p.upgrade(close(4401, b"no token"))
    await p.hang()


@fault("close-by-and-by", "closes after it has answered the close in time", good("handshake"))
async def _(p):
    await p.upgrade()
    await p.frame()
    await p.send(close(1000))
    await asyncio.sleep(0.1)


@fault("broken-behind-answer", "answers, and breaks a rule in the same packet", fail("ping", "protocol_error", "open", "5.1", timeout="5s"),
       fail("echo", "protocol_error", "open", "5.1", timeout="5s"))
async def _(p):
    await p.upgrade()
    while True:
        opcode, data = await p.frame()
        await p.send(frame(PONG if opcode == PING else opcode, data), frame(TEXT, "masked", mask=b"abcd"))


@fault("close-behind-answer", "answers, and closes in the same packet", good("ping"), good("echo"))
async def _(p):
    await p.upgrade()
    opcode, data = await p.frame()
    await p.send(frame(PONG if opcode == PING else opcode, data), close(1000))


# --- frames that break a rule -------------------------------------------------------------------------------------------------------
def _frames(name, what, reason, words, *frames, code=None, checks=("ping",), timeout="5s", deflate=False):
    """Upgrades, then sends these frames and stays."""

    @fault(name, what, *(fail(check, reason, "open", *words, code=code, timeout=timeout) for check in checks))
    async def _(p):
        await (p.upgrade_deflate(deflate if isinstance(deflate, str) else "") if deflate else p.upgrade())
        await p.send(*frames)
        await p.hang()


def _rule(name, what, section, *frames, words=(), **more):
    _frames(name, what, "protocol_error", (section, *words), *frames, **more)


_rule("masked", "a masked frame", "5.1", frame(TEXT, "hello", mask=b"abcd"), words=("mask",), checks=("ping", "echo", "hold"))
_rule("rsv1-unasked", "RSV1 without permessage-deflate", "5.2", frame(TEXT, "hello", rsv=4))
_rule("rsv2", "RSV2 set", "5.2", frame(TEXT, "hello", rsv=2))
_rule("rsv3", "RSV3 set", "5.2", frame(TEXT, "hello", rsv=1))
_rule("opcode-3", "a reserved data opcode", "5.2", frame(3, "x"), words=("opcode",))
_rule("opcode-11", "a reserved control opcode", "5.2", frame(11, "x"), words=("opcode",))
_rule("ping-fragmented", "a control frame in fragments", "5.5", frame(PING, "x", fin=False))
_rule("ping-126", "a control frame of 126 bytes", "5.5", frame(PING, "x" * 126))
_rule("length-16-small", "16 bits for a length below 126", "5.2", frame(TEXT, "hello", form=16))
_rule("length-64-small", "64 bits for a length below 65536", "5.2", frame(TEXT, "x" * 300, form=64))
_rule("length-msb", "the top bit of a 64-bit length", "5.2", frame(BINARY, "x", form="msb"))
_rule("lone-continuation", "a continuation of nothing", "5.4", frame(CONT, "x"))
_rule("interleaved", "a new message inside a fragmented one", "5.4", frame(TEXT, "a", fin=False), frame(TEXT, "b"))
_rule("utf8-whole", "a text that is not UTF-8", "8.1", frame(TEXT, b"caf\xe9!"), words=("UTF-8",))
_rule("utf8-fragments", "a character cut by a fragment and never finished", "8.1", frame(TEXT, b"\xe2\x82", fin=False),
      frame(CONT, b"!"), words=("UTF-8",))
_rule("utf8-surrogate", "a surrogate half in UTF-8", "8.1", frame(TEXT, b"\xed\xa0\x80"))
_rule("utf8-cut", "a text that ends inside a character", "8.1", frame(TEXT, b"ok \xe2\x82"))
_rule("close-1-byte", "a close frame of one byte", "5.5.1", frame(CLOSE, b"\x03"))
_rule("close-utf8", "a close text that is not UTF-8", "5.5.1", close(1000, b"\xff\xfe"))
for _code, _why in ((999, "below 1000"), (1004, "reserved"), (1005, "never sent"), (1006, "never sent"), (1015, "never sent"),
                    (2999, "unassigned"), (21584, "over 4999")):
    _rule(f"close-{_code}", f"close code {_code}: {_why}", "7.4", close(_code), words=(str(_code),))
for _code, _text in ((1000, b""), (1001, b"going away"), (1003, b"only JSON"), (1008, b"token expired"), (1011, b"boom"),
                     (1012, b"restarting"), (1013, b"try later"), (3000, b"please log in"), (4001, b"who are you?")):
    _reason = "login_rejected" if b"token" in _text or b"log in" in _text else "closed_by_server"  # a close frame that says whom it refuses
    _frames(f"close-{_code}", f"closes with {_code}", _reason, (str(_code), *([_text.decode()] if _text else [])),
            close(_code, _text), code=_code, checks=("ping", "echo", "hold") if _code == 1011 else ("ping",))
_frames("data-behind-close", "closes, and goes on", "closed_by_server", ("5.5.1", "7 bytes"), close(1000) + frame(TEXT, "hello"), code=1000)
_frames("close-no-code", "closes without a code", "closed_by_server", ("1005",), close(), code=1005)
@fault("declared-huge", "promises a frame of a tebibyte and brings none", good("handshake"), fail("ping", "silent_drop", "open"),
       fail("echo", "message_too_big", "open"))
async def _(p):
    await p.upgrade(declared(BINARY, 1 << 40))
    await p.hang()


_rule("close-1010", "a close code that only a client sends", "7.4.1", close(1010), words=("1010",))
_rule("deflate-tail", "a compressed message with its tail", "7692, 7.2.1", frame(TEXT, deflated(b"hello") + b"\0\0\xff\xff", rsv=4), deflate=True)
_rule("deflate-takeover", "a window that was to be empty is used", "7692, 7.1.1.1", *taken_over(), deflate="; server_no_context_takeover")
_rule("deflate-window", "a distance of 640 in a window of 512", "7692, 7.1.2.1", frame(TEXT, deflated(FAR), rsv=4),
      deflate="; server_max_window_bits=9")
_rule("deflate-garbage", "compressed data that is not deflate", "7692", frame(TEXT, b"\xff\xff\xff\xff", rsv=4), deflate=True)
_rule("deflate-control", "a compressed control frame", "", frame(PING, b"x", rsv=4), deflate=True)
_rule("deflate-continuation", "RSV1 on a continuation", "", frame(TEXT, b"a", fin=False), frame(CONT, b"b", rsv=4), deflate=True)
_rule("deflate-utf8", "a compressed text that is not UTF-8", "8.1", frame(TEXT, deflated(b"caf\xe9!"), rsv=4), deflate=True)


@fault("endless-fragments", "a message that never ends", good("handshake"), fail("echo", "flood", "open", "MiB"), fail("ping", "flood", "open"),
       fail("subscribe", "flood", "open", "MiB", conf=conf("subscribe", "channel: news", "subscribe: {{ send: join, expect: {{ equals: joined }} }}")))
async def _(p):
    await p.upgrade()
    await p.send(frame(BINARY, b"x" * 65536, fin=False))
    while True:
        await p.send(frame(CONT, b"x" * 65536, fin=False))


BOMB = frame(BINARY, deflated(bytes(64 << 20)), rsv=4)
SNAPSHOT = frame(TEXT, b'{"snapshot":"' + b"x" * (5 << 20) + b'"}')
EXPECT = ("--send", "marco", "--expect", "marco")


@fault("deflate-bomb", "64 MiB of zeros in 64 KiB, and no answer", good("handshake"), fail("ping", "silent_drop", "open", timeout="10s"),
       fail("echo", "echo_mismatch", "open", "67108864 bytes", timeout="10s"),
       fail("echo", "message_too_big", "open", "67108864 bytes", "may have been", timeout="10s", flags=EXPECT))
async def _(p):
    await p.upgrade_deflate(SNCT)
    await p.send(BOMB)
    await p.hang()


@fault("bomb-and-echo", "64 MiB of zeros in 64 KiB, and answers", good("handshake"), good("ping", timeout="10s"), good("echo", timeout="10s"),
       good("echo", timeout="10s", flags=EXPECT))
async def _(p):
    await p.upgrade_deflate(SNCT)
    await p.send(BOMB)
    await p.serve()


@fault("big-snapshot", "pushes 5 MiB to whoever connects, and answers", good("handshake"), good("ping"), good("echo"), good("hold"),
       good("echo", flags=EXPECT))
async def _(p):
    await p.upgrade(SNAPSHOT)
    await p.serve()


# --- connections that end, or do not --------------------------------------------------------------------------------------------------
@fault("fin-without-close", "closes TCP without a close frame", fail("ping", "closed_abnormal", "open", timeout="5s"),
       fail("hold", "closed_abnormal", "open", timeout="5s"))
async def _(p):
    await p.upgrade()
    await p.frame()


@fault("fin-after-upgrade", "half-closes right behind the 101", fail("echo", "closed_abnormal", "open", timeout="5s"))
async def _(p):
    await p.upgrade()
    await p.half_close()


@fault("reset-in-frame", "resets in the middle of a frame", fail("ping", "closed_abnormal", "open", timeout="5s"),
       fail("echo", "closed_abnormal", "open", timeout="5s"))
async def _(p):
    await p.upgrade()
    await p.send(frame(TEXT, "x" * 100)[:40])
    await p.frame()
    p.reset()


@fault("half-frame-silent", "stops in the middle of a frame", fail("ping", "silent_drop", "open"), fail("echo", "echo_timeout", "open"))
async def _(p):
    await p.upgrade()
    await p.send(frame(TEXT, "x" * 100)[:40])
    await p.hang()


@fault("silent", "never says anything after the upgrade", good("handshake"), fail("ping", "silent_drop", "open"),
       fail("echo", "echo_timeout", "open"), fail("hold", "silent_drop", "open"))
async def _(p):
    await p.upgrade()
    await p.hang()


@fault("no-pong", "echoes, and leaves pings unanswered", fail("ping", "silent_drop", "open"), good("echo"))
async def _(p):
    await p.upgrade()
    await p.serve(pongs=False)


@fault("wrong-pong", "pongs with another payload", fail("ping", "protocol_error", "open", "5.5.3"), fail("hold", "protocol_error", "open", "5.5.3"))
async def _(p):
    await p.upgrade()
    while True:
        opcode, _data = await p.frame()
        if opcode == PING:
            await p.send(frame(PONG, b"something else"))


@fault("empty-pong", "pongs with no payload", fail("ping", "protocol_error", "open", "5.5.3"))
async def _(p):
    await p.upgrade()
    while True:
        opcode, _data = await p.frame()
        if opcode == PING:
            await p.send(frame(PONG))


@fault("pong-only", "answers pings and no message", good("ping"), fail("echo", "echo_timeout", "open"), good("hold"))
async def _(p):
    async def nothing(*_):
        pass

    await p.upgrade()
    await p.serve(nothing)


@fault("echo-other", "answers with another text",
       fail("echo", "echo_mismatch", "open", "moon", flags=("--send", "ping", "--expect", "pong")),
       fail("echo", "echo_mismatch", "open", "moon"))
async def _(p):
    async def other(peer, _opcode, _data):
        await peer.send(frame(TEXT, "moon"))

    await p.upgrade()
    await p.serve(other)


@fault("echo-other-long", "answers with a text that is too long to show whole", fail("echo", "echo_mismatch", "open", "moon"))
async def _(p):
    async def other(peer, _opcode, _data):
        await peer.send(frame(TEXT, "moon " * 10000))

    await p.upgrade()
    await p.serve(other)


@fault("echo-late", "echoes after 300 ms", Case("echo", "warn", "slow", "open", flags=("--slo", "50ms"), timeout="5s"), good("echo"))
async def _(p):
    async def late(peer, opcode, data):
        await asyncio.sleep(0.3)
        await peer.send(frame(opcode, data))

    await p.upgrade()
    await p.serve(late)


@fault("echo-too-late", "echoes after 3 s", fail("echo", "echo_timeout", "open"))
async def _(p):
    async def late(peer, opcode, data):
        await asyncio.sleep(3)
        await peer.send(frame(opcode, data))

    await p.upgrade()
    await p.serve(late)


async def _ticker(p, pause=0.0):
    count = 0
    while True:
        await p.send(*(frame(TEXT, f'{{"price":{count + i}}}') for i in range(50)))
        count += 50
        await asyncio.sleep(pause)


@fault("flood-no-echo", "prices without end, and no echo", fail("echo", "echo_mismatch", "open", "price"),
       fail("ping", "silent_drop", "open"))
async def _(p):
    await p.upgrade()
    await asyncio.gather(_ticker(p, 0.001), p.hang())


@fault("drop-after-200ms", "drops every connection after 200 ms",
       fail("hold", "closed_abnormal", "open", timeout="5s"), good("handshake"))
async def _(p):
    await p.upgrade()

    async def drop():
        await asyncio.sleep(0.2)
        p.reset()

    await asyncio.gather(p.serve(), drop())


# --- what looks odd and is right: all of these must pass --------------------------------------------------------------------------------
@fault("flood-and-echo", "echoes in the middle of a flood", good("echo"), good("ping"))
async def _(p):
    await p.upgrade()
    done, pending = await asyncio.wait((asyncio.ensure_future(_ticker(p, 0.001)), asyncio.ensure_future(p.serve())),
                                       return_when=asyncio.FIRST_COMPLETED)
    for task in (*done, *pending):
        task.cancel()


@fault("greeting-and-pings", "greets and pings before it answers", good("echo"), good("ping"), good("hold"), good("handshake"))
async def _(p):
    await p.upgrade(frame(TEXT, "welcome"), frame(PING, "are you there"), frame(PING))
    await p.send(frame(PONG, "nobody asked"), frame(BINARY, bytes(1000)))
    await p.serve()


@fault("frame-in-same-packet", "the first frame comes with the 101", good("handshake"), good("ping"), good("echo"))
async def _(p):
    await p.upgrade(frame(TEXT, "hello"))
    await p.serve()


@fault("split-response", "a good response in two packets, cut in a header", good("handshake"), good("echo"))
async def _(p):
    await p.request()
    text = p.response()
    await p.send(text[:61])
    await asyncio.sleep(0.05)
    await p.send(text[61:])
    await p.serve()


@fault("continue-first", "100 and 103 before the 101", good("handshake"), good("echo"))
async def _(p):
    await p.upgrade(before="HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
    await p.serve()


@fault("lower-case", "header names in lower case, values in upper", good("handshake"), good("echo"))
async def _(p):
    await p.upgrade(lower=True, Upgrade="WebSocket", Connection="keep-alive, UPGRADE")
    await p.serve()


@fault("many-headers", "forty harmless headers", good("handshake"))
async def _(p):
    await p.upgrade(**{f"X_Trace_{i}": "v" * 40 for i in range(40)})
    await p.serve()


@fault("no-reason-phrase", "a status line without words", good("handshake"))
async def _(p):
    await p.upgrade(status="101 ")
    await p.serve()


@fault("subprotocol-chosen", "chooses the second that was offered",
       good("handshake", flags=("--subprotocol", "chat.v1", "--subprotocol", "chat.v2")))
async def _(p):
    await p.upgrade(Sec_WebSocket_Protocol="chat.v2")
    await p.serve()


@fault("echo-fragments", "echoes in fragments with pings between", good("echo"))
async def _(p):
    async def pieces(peer, opcode, data):
        await peer.send(frame(opcode, data[:3], fin=False), frame(PING, "in between"), frame(CONT, b"", fin=False), frame(CONT, data[3:]))

    await p.upgrade()
    await p.serve(pieces)


@fault("echo-trickled", "echoes byte by byte", good("echo"))
async def _(p):
    async def slowly(peer, opcode, data):
        await peer.trickle(frame(opcode, data), 0.005)

    await p.upgrade()
    await p.serve(slowly)


@fault("echo-deflated", "echoes compressed", good("echo"), good("ping"))
async def _(p):
    async def compressed(peer, opcode, data):
        await peer.send(frame(opcode, deflated(data), rsv=4))

    await p.upgrade_deflate("; server_no_context_takeover; client_no_context_takeover")
    await p.serve(compressed)


@fault("deflate-plain", "negotiates compression and never compresses", good("echo"))
async def _(p):
    await p.upgrade_deflate("; client_no_context_takeover; server_max_window_bits=10")
    await p.serve()


@fault("close-unanswered", "never answers the client's close", good("ping"), good("echo"), good("handshake"))
async def _(p):
    await p.upgrade()
    await p.serve(close_reply=False)
    await p.hang()


@fault("good", "does everything right", good("handshake"), good("ping"), good("echo"), good("hold"), good("tcp"),
       good("echo", flags=("--send", "marco", "--expect", "marco")))
async def _(p):
    await p.upgrade()
    await p.serve()


# --- the server's own health URL ----------------------------------------------------------------------------------------------------------
def _http(name, what, head, *cases, body=b"", stay=True):
    @fault(name, what, *cases, scheme="http", path="/health")
    async def _(p):
        await p.request()
        await p.send(head + HEADERS_END, body)
        if stay:
            await p.hang()


_http("http-ok", "200 with a body", "HTTP/1.1 200 OK\r\nContent-Length: 2", good("http"), good("tcp"), body=b"ok")
_http("http-500", "500", "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4", fail("http", "http_status", None, "500", http=500),
      body=b"oops")
_http("http-503", "503", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0", fail("http", "http_status", None, "503", http=503))
_http("http-302", "302: a redirect is not followed", "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0",
      fail("http", "http_status", None, "302", http=302))
_http("http-body", "200 with another body", "HTTP/1.1 200 OK\r\nContent-Length: 8",
      fail("http", "http_body", None, conf=conf("http", "expect: {{ contains: healthy }}")), body=b"sickness")
_http("http-body-good", "200 with the body that is wanted", "HTTP/1.1 200 OK\r\nContent-Length: 7",
      good("http", conf=conf("http", "expect: {{ contains: healthy }}")), body=b"healthy")
_http("http-chunked", "a chunked body", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
      good("http", conf=conf("http", "expect: {{ contains: healthy }}")), body=b"4\r\nheal\r\n3\r\nthy\r\n0\r\n\r\n")
_http("http-until-close", "a body that ends with the connection", "HTTP/1.1 200 OK", good("http"), body=b"ok", stay=False)
_http("http-short-body", "less body than promised", "HTTP/1.1 200 OK\r\nContent-Length: 100",
      Case("http", "fail", None, None), body=b"healthy", stay=False)


@fault("http-silent", "never answers the health request", fail("http", "upgrade_timeout", "upgrade"), scheme="http", path="/health")
async def _(p):
    await p.hang()


@fault("http-garbage", "answers the health request with noise", fail("http", "http_malformed", "upgrade"), scheme="http", path="/health")
async def _(p):
    await p.request()
    await p.send("220 mail.example.com ESMTP\r\n")
    await p.hang()


@fault("http-endless", "a body without end", fail("http", "upgrade_timeout", "upgrade", timeout="2s",
       conf=conf("http", "expect: {{ contains: healthy }}")), scheme="http", path="/health")
async def _(p):
    await p.request()
    await p.send("HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await p.send("x" * 4096)
        await asyncio.sleep(0.001)


# --- TLS ------------------------------------------------------------------------------------------------------------------------------------
def _context(**leaf):
    def make(certs):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certs.leaf(**leaf))
        return context

    return make


def _old(certs):
    context = _context(name="good")(certs)
    with warnings.catch_warnings():  # to speak versions that Python warns of is the point
        warnings.simplefilter("ignore")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def _mutual(certs, maximum=None):
    context = _context(name="good")(certs)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(str(certs.ca))
    if maximum:
        context.maximum_version = maximum
    return context


def listen_mutual(context):
    """Blocking, in a thread: asyncio would drop the connection without the alert that this is about."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(16)

    def run():
        while True:
            peer, _address = sock.accept()
            peer.settimeout(5)
            drain = peer.dup()
            try:
                context.wrap_socket(peer, server_side=True, do_handshake_on_connect=False).do_handshake()
            except OSError:
                pass
            try:
                drain.settimeout(5)
                while drain.recv(4096):  # unread bytes would turn the close into a reset
                    pass
            except OSError:
                pass
            drain.close()

    threading.Thread(target=run, daemon=True).start()
    return sock, sock.getsockname()[1]


CA = ("--ca", "{dir}/ca.pem")


def _tls(name, what, context, *cases):
    @fault(name, what, *cases, scheme="wss", tls=context)
    async def _(p):
        await p.upgrade()
        await p.serve()


def _wss(case):
    return dataclasses.replace(case, flags=case.flags + CA, timeout="5s")


_tls("tls-good", "a good certificate", _context(name="good"), *(_wss(good(t)) for t in ("handshake", "ping", "echo", "hold", "tls")))
_tls("tls-expired", "a certificate that expired yesterday", _context(name="expired", start=-30, end=-1),
     *(_wss(fail(t, "tls_cert_expired", "tls")) for t in ("handshake", "tls", "hold")))
_tls("tls-early", "a certificate of tomorrow", _context(name="early", start=1, end=30),
     *(_wss(fail(t, "tls_cert_not_yet_valid", "tls")) for t in ("handshake", "tls")))
_tls("tls-self-signed", "a self-signed certificate", _context(name="selfsigned", signed=False),
     _wss(fail("handshake", "tls_cert_untrusted", "tls")), _wss(fail("tls", "tls_cert_untrusted", "tls")),
     good("handshake", flags=("--insecure",)), good("echo", flags=("--insecure",)))
_tls("tls-unknown-ca", "an authority that nobody trusts", _context(name="good"), fail("handshake", "tls_cert_untrusted", "tls", timeout="5s"))
_tls("tls-wrong-name", "a certificate for another name", _context(name="other", names="DNS:other.example"),
     _wss(fail("handshake", "tls_hostname_mismatch", "tls")), _wss(fail("tls", "tls_hostname_mismatch", "tls")))
_tls("tls-10-days", "ten days are left", _context(name="tendays", end=10), _wss(Case("tls", "warn", "tls_cert_expiring", "tls")),
     _wss(good("handshake")))
_tls("tls-1-day", "one day is left", _context(name="oneday", end=1.5), _wss(fail("tls", "tls_cert_expiring", "tls")),
     _wss(good("handshake")))
_tls("tls-old", "speaks TLS 1.0 and 1.1 only", _old, _wss(fail("handshake", "tls_handshake_failed", "tls")),
     _wss(fail("tls", "tls_handshake_failed", "tls")))
_tls("tls-client-cert-12", "wants a client certificate (TLS 1.2)", lambda certs: _mutual(certs, ssl.TLSVersion.TLSv1_2),
     _wss(fail("handshake", ("tls_client_cert_rejected", "tls_handshake_failed"), "tls")),  # its alert does not always come through
     good("handshake", conf=conf("handshake", target=("tls: {{ ca_file: {dir}/ca.pem, cert_file: {dir}/good.pem, key_file: {dir}/good.key }}",))))
FAULTS.append(Fault("tls-client-cert-13", "wants a client certificate (TLS 1.3: told only after the handshake)", scheme="wss",
                    tls=_mutual, listen=listen_mutual,
                    cases=(_wss(fail("handshake", "tls_client_cert_rejected", None, "certificate")),)))


@fault("tls-plain-silent", "a server that waits for plain HTTP, spoken to in TLS", fail("handshake", "tls_handshake_failed", "tls", "plain"),
       fail("tls", "tls_handshake_failed", "tls"), scheme="wss")
async def _(p):
    await p.hang()


@fault("tls-plain-400", "a plain server that answers the TLS greeting with 400", fail("handshake", "tls_handshake_failed", "tls"),
       scheme="wss")
async def _(p):
    await p.read(10)
    await p.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await p.hang()


@fault("tls-close", "closes on the TLS greeting", fail("handshake", "tls_handshake_failed", "tls"), scheme="wss")
async def _(p):
    await p.read(10)


@fault("tls-spoken-plain", "a TLS server, spoken to in plain", fail("handshake", ("http_malformed", "connection_reset"), "upgrade"),
       tls=_context(name="good"))
async def _(p):
    await p.hang()


# --- serving ---------------------------------------------------------------------------------------------------------------------------------
async def open_all(faults, certs):
    """Opens every fault's port. {name: url}; what it opened stays open with the process."""
    urls, keep = {}, []
    for row in faults:
        if row.url:
            urls[row.name] = row.url
            continue
        if row.listen:
            sock, port = row.listen(row.tls(certs)) if row.tls else row.listen()
            keep.append(sock)
        else:
            server, port = await serve(row.handler, row.host, tls=row.tls(certs) if row.tls else None)
            keep.append(server)
        urls[row.name] = f"{row.scheme}://{row.host}:{port}{row.path}"
    return urls, keep


async def main(directory):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # resets and broken handshakes are this program's trade
    urls, keep = await open_all(FAULTS, Certs(directory))
    print(json.dumps(urls), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # ends with the pipe of whoever started it
    return keep


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: faults.py CERT_DIR")
    assert Peer and len({row.name for row in FAULTS}) == len(FAULTS)
    asyncio.run(main(sys.argv[1]))
