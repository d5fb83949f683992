#!/usr/bin/python3
"""frames.py BUILD [STREAMS] [SEED]: random streams of frames, judged by our frame reader and by that of python3-websockets.

Most streams have a fault or some: a field of a frame's head, a bit, a byte of the payload, a cut. Both readers must tell the same messages and
come to the same verdict. Where they may differ is listed in KNOWN, by the sentence that ours says then: it is the stricter or the earlier
one in each.
The last line is "N streams, N differences"; the exit code is 1 when there are differences. The same SEED plays the same streams.
"""
import codecs
import collections
import dataclasses
import logging
import os
import pathlib
import random
import subprocess
import sys
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from conformance import BINARY, CLOSE, CONT, PING, PONG, TEXT, F, Packer, closing, cut  # noqa: E402

from websockets.extensions import permessage_deflate  # noqa: E402

try:
    from websockets.protocol import Protocol, Side
except ImportError:
    from websockets.connection import Connection as Protocol
    from websockets.connection import Side

MAX = 1 << 20
CLOSED_INSIDE = "a close inside an open message"
# What ours says, what theirs says instead, and what it is about. ANY: theirs does not mind, and goes on.
ANY = "whatever comes later"
KNOWN = [
    ("minimal", ANY, "a length that is not minimal"),
    ("top bit", 1009, "the top bit of a length"),
    ("1010 from the server", ANY, "close code 1010 from a server"),
    ("tail 00 00 ff ff", ANY, "a tail that was to be cut"),
    ("ends inside a block", ANY, "a message that ends inside a block"),
    ("points back beyond the window", ANY, "a distance beyond the window"),
    ("RSV1 set on a continuation", ANY, "RSV1 on a continuation"),
    ("(RFC 6455, 5", 1009, "a broken head of a frame that is also too large: 1002 or 1009"),
    ("(RFC 7692, 6", 1009, "a broken head of a frame that is also too large: 1002 or 1009"),
    ("not UTF-8", 1002, "a compressed text that is not UTF-8 before it is not DEFLATE data: 1007 or 1002"),
    ("close code", 1007, "a close with a wrong code and a reason that is not UTF-8: 1002 or 1007"),
    ("(RFC 7692, 7", 1002, "broken DEFLATE data: 1007 or 1002"),
]


# --- streams ------------------------------------------------------------------------------------------------------------------------
def body(dice):
    kind = dice.randrange(6)
    size = dice.choice((0, 1, 5, 20, 125, 126, 127, 300, 2000, 70000 if dice.random() < 0.1 else 9))
    if kind == 0:
        return dice.randbytes(size)
    if kind == 1:
        return "".join(chr(dice.choice((0x41, 0xe9, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff))) for _ in range(size // 3)).encode()
    return ("price %d " % dice.randrange(100) * (size // 8 + 1))[:size].encode()


def messages(dice, deflate, packer):
    """A few good messages and control frames, control frames also inside messages."""
    out = []
    for _ in range(dice.randrange(1, 7)):
        kind = dice.randrange(10)
        if kind < 2:
            out.append(F(dice.choice((PING, PONG)), dice.randbytes(dice.choice((0, 4, 125)))))
            continue
        opcode = dice.choice((TEXT, BINARY))
        payload = body(dice)
        if opcode == TEXT and dice.random() < 0.9:
            payload = payload.decode("utf-8", "ignore").encode()
        rsv = 4 if deflate and dice.random() < 0.8 else 0
        wire = packer.pack(payload) if rsv else payload
        for f in cut(opcode, wire, dice.choice((1, 3, 50, 1000) if len(wire) < 1000 else (500, 1000, 66000)) if dice.random() < 0.4 else 100000, rsv):
            out.append(f)
            if not f.fin and dice.random() < 0.1:
                out.append(F(dice.choice((PING, PONG)), b"between"))
    if dice.random() < 0.3:
        out.append(F(CLOSE) if dice.random() < 0.2 else closing(dice.choice((1000, 1001, 1005, 1010, 1011, 1013, 1016, 2999, 3000, 4999, 5000)), b"bye"))
    return out


def spoil(dice, frames):
    """One fault in one frame."""
    at = dice.randrange(len(frames))
    f, kind = frames[at], dice.randrange(11)
    if kind == 0:
        f = dataclasses.replace(f, rsv=dice.randrange(8))
    elif kind == 1:
        f = dataclasses.replace(f, opcode=dice.randrange(16))
    elif kind == 2:
        f = dataclasses.replace(f, fin=not f.fin)
    elif kind == 3:
        f = dataclasses.replace(f, wrong_mask=True)
    elif kind == 4:
        f = dataclasses.replace(f, form=dice.choice((16, 64, 65) if len(f.payload) < 65536 else (64, 65)), length=None)
    elif kind == 5:
        f = dataclasses.replace(f, payload=f.payload[:dice.randrange(len(f.payload) + 1)])
    elif kind == 6:
        f = dataclasses.replace(f, payload=f.payload + dice.randbytes(dice.randrange(1, 130)), form=0)
    elif kind == 7 and f.payload:
        spot = dice.randrange(len(f.payload))
        f = dataclasses.replace(f, payload=f.payload[:spot] + dice.randbytes(1) + f.payload[spot + 1:])
    elif kind == 8:
        f = dataclasses.replace(f, length=MAX + 1 + dice.randrange(1 << 40), form=64)
    elif kind == 9:
        frames.insert(at, F(CONT, b"lone", fin=dice.random() < 0.5))
        return
    elif kind == 10:
        del frames[at]
        return
    frames[at] = f


@dataclasses.dataclass
class Stream:
    client: bool  # who reads
    deflate: bool
    no_context: bool
    bits: int
    data: bytes
    cut: bool  # perhaps: in the middle of a frame


def stream(dice):
    client, deflate = dice.random() < 0.5, dice.random() < 0.5
    no_context, bits = dice.random() < 0.3, dice.choice((8, 9, 10, 12, 15))
    frames = messages(dice, deflate, Packer(bits if dice.random() < 0.9 else 15, not no_context))
    for _ in range(dice.choice((0, 0, 1, 1, 1, 2))):
        if frames:
            spoil(dice, frames)
    data = bytearray(b"".join(f.wire(client=not client) for f in frames))
    waits = any(f.length is not None or f.form == 64 for f in frames)  # for bytes that do not come
    if data and dice.random() < 0.15:
        waits = True
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    if dice.random() < 0.1:
        waits = True
        del data[dice.randrange(len(data) + 1):]
    return Stream(client, deflate, no_context, bits, bytes(data), waits)


# --- the two readers -----------------------------------------------------------------------------------------------------------------
def ours(program, streams, seed):
    asked = b"".join(b"%d %d %d %d %d %d %d\n%s" % (not s.client, s.deflate, s.no_context, s.bits, MAX, (seed + i) & 0x7fffffff, len(s.data), s.data)
                     for i, s in enumerate(streams))
    done = subprocess.run([program], input=asked, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{program} ended with {done.returncode}: {done.stderr.decode()[-4000:]}")
    return done.stdout.decode().split("\n")[:-1]


class Chained:
    """zlib.decompressobj that goes on behind a block that says it is the last (RFC 7692, 7.2.3.4), with the same window: theirs stops there."""

    unconsumed_tail = b""

    def __init__(self, wbits):
        self.wbits, self.window, self.z = wbits, b"", zlib.decompressobj(wbits)

    def decompress(self, data, _max_length=0):
        out = self.z.decompress(data)
        while self.z.eof:
            data = self.z.unused_data
            self.z = zlib.decompressobj(self.wbits, zdict=(self.window + out)[-(1 << -self.wbits):])
            out += self.z.decompress(data)
        self.window = (self.window + out)[-(1 << -self.wbits):]
        return out


class Zlib:
    compressobj, error, Z_SYNC_FLUSH = staticmethod(zlib.compressobj), zlib.error, zlib.Z_SYNC_FLUSH

    @staticmethod
    def decompressobj(wbits):
        return Chained(wbits)


permessage_deflate.zlib = Zlib


def theirs(s):
    """(told, code): the same words as ours says, and the code that it fails with, None: it does not."""
    protocol = Protocol(Side.CLIENT if s.client else Side.SERVER, max_size=MAX)
    if s.deflate:
        protocol.extensions = [permessage_deflate.PerMessageDeflate(s.no_context, s.no_context, s.bits, max(s.bits, 9))]
    protocol.receive_data(s.data)
    told, opcode, data, decoder = [], None, b"", None
    for f in protocol.events_received():
        name = int(f.opcode)
        if name in (PING, PONG):
            told.append(f"{name}:{bytes(f.data).hex()}")
        elif name == CLOSE:
            told.append(f"8:{int.from_bytes(f.data[:2], 'big') if f.data else 1005}:{bytes(f.data[2:]).hex()}")
        else:
            if name != CONT:
                opcode, data, decoder = name, b"", codecs.getincrementaldecoder("utf-8")()
            data += f.data
            if opcode == TEXT:
                try:
                    decoder.decode(f.data, f.fin)
                except UnicodeDecodeError:
                    return told, 1007
            if f.fin:
                told.append(f"{opcode}:{data.hex()}")
    error = protocol.parser_exc
    if error is None:
        return told, None
    code = {"ProtocolError": 1002, "UnicodeDecodeError": 1007, "PayloadTooBig": 1009}.get(type(error).__name__, type(error).__name__)
    return told, "inside" if "incomplete fragmented" in str(error) else code


def difference(line, told, code, is_cut):
    """(name of a known difference, or None; is it one at all)."""
    said, _, verdict = line.rpartition("!") if "!" in line else (line, "", "")
    mine = [word for word in said.split() if word not in ("open", "mid")]
    failed = int(verdict.split(" ", 1)[0]) if verdict else None
    if (mine, failed) == (told, code):
        return None, False
    if code == "inside" and failed is None and mine[:-1] == told and mine[-1].startswith("8:"):
        return CLOSED_INSIDE, True
    for words, instead, why in KNOWN:
        if failed is not None and words in verdict and (mine == told[:len(mine)] if instead == ANY else mine == told and instead == code):
            return why, True
    if failed == code == 1007 and mine == told[:len(mine)] and all(word.startswith(("9:", "10:")) for word in told[len(mine):]):
        return "a surrogate, told with its second byte", True
    if failed is not None and code is None and mine == told and is_cut:
        return "told before the frame or the message is whole", True
    if code == 1009 and line.endswith("mid") and mine == told and is_cut:
        return "told when the head is whole, not before its masking key", True
    return None, True


def main(build, count=10000, seed=1):
    logging.disable(logging.CRITICAL)
    program = os.path.join(build, "asan/tests/soak/frames")
    dice, known, odd = random.Random(seed), collections.Counter(), 0
    verdicts = collections.Counter()
    streams = [stream(dice) for _ in range(count)]
    for number, (s, line) in enumerate(zip(streams, ours(program, streams, seed), strict=True)):
        told, code = theirs(s)
        why, differs = difference(line, told, code, s.cut)
        verdicts["fails" if "!" in line else "passes"] += 1
        if why:
            known[why] += 1
        elif differs:
            odd += 1
            if odd <= 20:
                print(f"stream {number}: {'client' if s.client else 'server'}, deflate {s.deflate} {s.bits} {s.no_context}\n  {s.data.hex()[:600]}\n"
                      f"  ours:   {line[-400:]}\n  theirs: {' '.join(told)[-400:]} {code}")
    for why, times in known.most_common():
        print(f"{times:6} {why}")
    print(f"{dict(verdicts)}, seed {seed}")
    print(f"{count} streams, {odd} differences")
    return 1 if odd else 0


if __name__ == "__main__":
    assert len(sys.argv) > 1, __doc__
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
