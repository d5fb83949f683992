"""The check `script` against servers that flood it, bomb it and turn its own expressions against it: each round ends in time and by the step's
name, and whoever asks for the agent's health is answered."""
import json
import socket
import time

import pytest

from harness import RELEASE, agent, check, only, until
from hostile import Frames, in_background, upgrade
from peer import BINARY, CLOSE, CONT, PING, PONG, TEXT, close, frame
from rogue import rogue
from test_hostile_server import answers_meanwhile

DEEP = b"[" * 100_000
MISMATCH = ("script_mismatch",)


def flood(message, opcode=TEXT):
    def play(sock):
        upgrade(sock)
        in_background(Frames(sock).next)
        data = frame(opcode, message) * max(1, 65536 // (len(message) + 1))
        while True:
            sock.sendall(data)

    return play


def says(*messages, then=None):
    """Once the client has spoken."""
    def play(sock):
        upgrade(sock)
        frames = Frames(sock)
        for message in messages:
            frames.next()
            sock.sendall(message)
        if then:
            frames.next()
            then(sock)
        while frames.next()[0] != CLOSE:
            pass
        sock.sendall(close(1000))

    return play


def text(value):
    return frame(TEXT, json.dumps(value))


CAPTURE = "{ send: hello, expect: { contains: x } }, { capture: { a: /x } }, { send: '{{a}}', expect: { contains: x } }"
TOWER = "{{hex (sha256 (hex (sha256 (hex (sha256 (hex (hmac_sha256 a a)))))))}}"
PLAYS = {
    "never matches": (flood("no"), "{ expect: { equals: x } }", MISMATCH + ("flood",)),
    "empty": (flood(b""), "{ expect: { equals: x } }", MISMATCH + ("flood",)),
    "4 MB": (flood(b"n" * (4 << 20)), "{ expect: { equals: x } }", MISMATCH + ("flood",)),
    "16 MB": (flood(b"n" * (16 << 20)), "{ expect: { equals: x } }", MISMATCH + ("flood", "message_too_big")),
    "backtracking": (flood("a" * 40 + "!"), "{ expect: { regex: '^(a+)+$' } }", MISMATCH + ("flood",)),
    "backtracking on 4 MB": (flood("a" * (4 << 20) + "!"), "{ expect: { regex: '^(a|a)*$' } }", MISMATCH + ("flood",)),
    "any place of 4 MB": (flood("a" * (4 << 20)), "{ expect: { regex: 'a.*b' } }", MISMATCH + ("flood",)),
    "deep": (flood(DEEP), "{ expect: { json: { /a: b } } }", MISMATCH + ("flood",)),
    "1 MB of JSON": (flood(json.dumps([[]] * 349000)), "{ expect: { json: { /a: b } } }", MISMATCH + ("flood",)),
    "keys that collide": (flood(json.dumps({str(i): i for i in range(60000)})), "{ expect: { json: { /a: b } } }", MISMATCH + ("flood",)),
    "binary": (flood(bytes(range(256)), BINARY), "{ expect: { regex: 'x+z' } }", MISMATCH + ("flood",)),
    "large capture": (says(text({"x": "x" * (1 << 19)})), CAPTURE, MISMATCH),
    "4 MB capture": (says(frame(TEXT, b"x" * (4 << 20))), "{ send: hello, expect: { contains: x } }, { capture: { a: { regex: '(x+)' } } }", MISMATCH),
    "capture of what is no JSON": (says(frame(TEXT, "x")), CAPTURE, MISMATCH),
    "capture with quotes": (says(text({"x": '"},{"op":"x"'}), frame(TEXT, "x")), CAPTURE, (None,)),
    "many captures": (says(*[text({"x": "x" * 16000})] * 5), ",".join(
        f"{{ send: hello, expect: {{ contains: x }}, capture: {{ a{i}: /x }} }}" for i in range(5)), MISMATCH),
    "a tower": (says(text({"x": "x" * 16000}), frame(TEXT, "x")),
                "{ send: hello, expect: { contains: x }, capture: { a: /x } }, { send: '" + TOWER + "', expect: { contains: x } }", (None,)),
    "answers before the question": (flood("x"), "{ send: hello, expect: { equals: x } }, { send: more, expect: { equals: x } }", (None, "flood")),
    "closes at once": (lambda sock: (upgrade(sock), sock.sendall(close(4000, b"x" * 100))), CAPTURE, ("closed_by_server",)),
    "closes in the second step": (says(text({"x": "x"}), close(4001)), CAPTURE, ("closed_by_server",)),
    "resets": (lambda sock: (upgrade(sock), sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")), CAPTURE,
               ("closed_abnormal", "connection_reset")),
    "half a message": (says(frame(TEXT, "x", fin=False)), CAPTURE, ("script_timeout",)),
    "fragments for ever": (lambda sock: (upgrade(sock), sock.sendall(frame(TEXT, "x", fin=False)), flood_on(sock, frame(CONT, "x", fin=False) * 5000)), CAPTURE,
                           ("script_timeout", "message_too_big", "flood", "script_mismatch")),
    "pings": (flood(b"p", PING), CAPTURE, ("script_timeout", "flood")),
    "pongs": (flood(b"p", PONG), CAPTURE, ("script_timeout", "flood")),
}


def flood_on(sock, chunk):
    while True:
        sock.sendall(chunk)


def counts(row):
    """The row, unless the machine was so busy that the agent itself came late: such a round is void, and judges nothing."""
    return row["reason"] != "agent_stalled" and row


def after_some_rounds(child, name, play, server):
    """The row of the check after three of the server's plays."""
    with answers_meanwhile(child, play):
        until("it has been judged", lambda: child.check(name)["state"] != "unknown")
        until("three rounds", lambda: server.count >= 3)
        time.sleep(0.5)
        return until("a round that counts", lambda: counts(child.check(name)))


@pytest.mark.parametrize("name", PLAYS)
def test_a_script(tmp_path, name):
    play, steps, reasons = PLAYS[name]
    with rogue(lambda sock, _: play(sock)) as server:
        conf = (f'defaults: {{ interval: 300ms, timeout: 1s, jitter: 0%, fall: 1 }}\ntarget: {{ url: "ws://127.0.0.1:{server.port}/ws" }}\n'
                f'checks:\n  - {{ name: script, type: script, steps: [ {steps} ] }}\n')
        with agent(conf, tmp_path, binary=RELEASE) as child:
            row = after_some_rounds(child, "script", name, server)
            assert row["reason"] in reasons, row
        file = tmp_path / "c.yaml"
        file.write_text(conf)

        def once():
            code, document = check(None, conf=file, timeout="1s", patience=60)
            return counts(only(document)) and (code, document)

        code, document = until("a round that counts", once, seconds=60)
        assert only(document)["reason"] in reasons and code != 3, document
