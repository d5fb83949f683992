"""The check `payload` against servers that answer slowly, by halves, twice, in another order, or with bombs."""
import time
import zlib

import pytest

from harness import RELEASE, agent
from hostile import Frames, head, packed, request
from peer import CLOSE, PING, PONG, TEXT, close, frame
from rogue import rogue
from test_hostile_scripts import after_some_rounds


def echo(answer, deflate=False):
    """answer(sock, opcode, data, kept) for each message, which comes in one frame; kept is a list of the connection's own."""
    def play(sock):
        more = ["Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"] if deflate else []
        headers = request(sock)
        sock.sendall(head(headers, *(more if "Sec-WebSocket-Extensions" in headers else [])))
        frames, kept = Frames(sock), []
        while True:
            opcode, data = frames.next()
            if opcode == CLOSE:
                sock.sendall(close(1000))
                return
            if opcode == PING:
                sock.sendall(frame(PONG, data))
            else:
                answer(sock, opcode, data, kept)

    return play


def slowly(sock, opcode, data, _kept):
    data = frame(opcode, data)
    for at in range(0, len(data), max(1, len(data) // 10)):
        sock.sendall(data[at:at + max(1, len(data) // 10)])
        time.sleep(0.01)


def twice(sock, opcode, data, _kept):
    sock.sendall(frame(opcode, data) * 2)


def one_behind(sock, opcode, data, kept):
    """The answer to the message before."""
    kept.append(frame(opcode, data))
    if len(kept) > 1:
        sock.sendall(kept.pop(0))


def chatty(sock, opcode, data, _kept):
    for _ in range(50):
        sock.sendall(frame(TEXT, "news"))
    sock.sendall(frame(opcode, data))


def half(sock, opcode, data, _kept):
    sock.sendall(frame(opcode, data)[:len(data) // 2 + 2])


def cut(sock, opcode, data, _kept):
    sock.sendall(frame(opcode, data[:len(data) // 2]))


def changed(sock, opcode, data, _kept):
    sock.sendall(frame(opcode, data[:-1] + b"~"))


def other_kind(sock, opcode, data, _kept):
    sock.sendall(frame(3 - opcode, data))


BOMB = packed(b"\0" * (64 << 20), 15, zlib.Z_SYNC_FLUSH)[:-4]


def bomb(sock, opcode, data, _kept):
    sock.sendall(frame(opcode, BOMB, rsv=4))


def longer(sock, opcode, data, _kept):
    sock.sendall(frame(opcode, data + b"x" * (4 << 20)))


PLAYS = {
    "slowly": (echo(slowly), (None,)), "twice": (echo(twice), (None,)), "chatty": (echo(chatty), (None,)),
    "one behind": (echo(one_behind), ("payload_limit", "echo_timeout", "echo_mismatch")),
    "half": (echo(half), ("payload_limit", "echo_timeout", "echo_mismatch", "silent_drop")),
    "cut": (echo(cut), ("payload_limit", "echo_timeout", "echo_mismatch")),
    "changed": (echo(changed), ("payload_limit", "echo_timeout", "echo_mismatch")),
    "other kind": (echo(other_kind), ("payload_limit", "echo_timeout", "echo_mismatch", None)),
    "bomb": (echo(bomb, deflate=True), ("echo_mismatch",)),
    "longer": (echo(longer), ("echo_mismatch",)),
}


@pytest.mark.parametrize("name", PLAYS)
def test_a_server(tmp_path, name):
    play, reasons = PLAYS[name]
    with rogue(lambda sock, _: play(sock)) as server:
        conf = (f'defaults: {{ interval: 300ms, timeout: 2s, jitter: 0%, fall: 1 }}\ntarget: {{ url: "ws://127.0.0.1:{server.port}/ws" }}\n'
                f'checks:\n  - {{ name: payload, type: payload, fragments: false, max: 16KiB, probe_to: 32KiB }}\n')
        with agent(conf, tmp_path, binary=RELEASE) as child:
            row = after_some_rounds(child, "payload", name, server)
            assert row["reason"] in reasons, row
            assert child.ready(), "it gates nothing"
