"""The conformance table: what RFC 6455 and RFC 7692 allow and forbid on an open connection, as frames that either side may play.

A case is a list of frames and what must come of them. test_conformance.py plays it as a server towards `wshealthd check`;
test_conformance_server.py plays it as a client towards the demo's server. Frames are values, so that each role masks them as it must. Sections are
numbered by subject: 1 framing, 2 pings and pongs, 3 reserved bits, 4 opcodes, 5 fragmentation, 6 UTF-8, 7 closing, 9 sizes, 10 messages cut by a
sender that fragments by itself, 12 and 13 compression.
"""
import dataclasses
import random
import struct
import zlib

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = b"\x37\xfa\x21\x3d"
TAIL = b"\x00\x00\xff\xff"


@dataclasses.dataclass(frozen=True)
class F:
    """One frame. form: 7, 16 or 64 bits for the length, 65 is 64 with the top bit set. length: what is declared, where the payload is less.
    wrong_mask: masked where it must not be, and the other way round."""

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0
    form: int = 0
    length: int = None
    wrong_mask: bool = False

    def wire(self, client):
        length = len(self.payload) if self.length is None else self.length
        form = self.form or (7 if length < 126 else 16 if length < 65536 else 64)
        masked = client != self.wrong_mask
        head = bytes([(0x80 if self.fin else 0) | self.rsv << 4 | self.opcode,
                      (0x80 if masked else 0) | (length if form == 7 else 126 if form == 16 else 127)])
        head += b"" if form == 7 else struct.pack(">H", length) if form == 16 else struct.pack(">Q", length | (1 << 63 if form == 65 else 0))
        return head + (KEY + masking(self.payload, KEY) if masked else self.payload)


def masking(data, key):
    """Python's integers are faster than a loop."""
    size = len(data)
    wide = int.from_bytes((key * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(data, "big") ^ wide).to_bytes(size, "big")


# What must come of it.
@dataclasses.dataclass(frozen=True)
class Legal:
    """The connection goes on."""


@dataclasses.dataclass(frozen=True)
class Broken:
    """protocol_error, with these words, among them the RFC's section; the connection is failed with the code."""

    words: tuple
    code: int = 1002


@dataclasses.dataclass(frozen=True)
class Closed:
    """A legal close frame: answered with its own code."""

    code: int
    text: bytes = b""


@dataclasses.dataclass(frozen=True)
class Case:
    id: str
    what: str
    frames: tuple
    want: object
    as_client: object = None  # what must come of it when a client does that, where it differs
    offer: str = None  # None: no compression; else the parameters that were agreed
    size: int = 0  # of the message that is to be echoed afterwards; 0: a short one
    binary: bool = False
    echo: object = None  # payload -> frames that carry it; None: one frame
    whole_only: bool = False  # too large to be sent byte by byte
    roles: str = "both"  # or server, client: who plays it


CASES = []
LEGAL = Legal()


def rule(*words, code=1002):
    return Broken(words, code)


def section(number):
    count = 0

    def add(what, *frames, want=LEGAL, **more):
        nonlocal count
        count += 1
        CASES.append(Case(f"{number}.{count}", what, frames, want, **more))

    return add


def text_of(size, seed=0):
    """Text of that many bytes which is not all the same."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789 ,."
    return "".join(random.Random(seed * 100003 + size).choices(letters, k=size)).encode()


def noise_of(size, seed=0):
    return random.Random(seed * 100003 + size).randbytes(size)


def cut(opcode, payload, size, rsv=0):
    """The message in fragments of that size."""
    pieces = [payload[at:at + size] for at in range(0, len(payload), size)] or [b""]
    return tuple(F(opcode if i == 0 else CONT, piece, i == len(pieces) - 1, rsv if i == 0 else 0) for i, piece in enumerate(pieces))


# --- 1: framing ------------------------------------------------------------------------------------------------------------------------
SIZES = (0, 1, 125, 126, 127, 128, 65535, 65536)
add = section("1.1")
for _size in SIZES:
    add(f"a text of {_size} bytes", F(TEXT, text_of(_size)), whole_only=_size > 1000)
    add(f"a binary message of {_size} bytes", F(BINARY, noise_of(_size)), whole_only=_size > 1000)
add = section("1.2")
for _size in (64, 125, 126, 127, 128, 1000, 65535, 65536):
    add(f"a text of {_size} bytes there and back", size=_size, whole_only=_size > 1000)
    add(f"{_size} bytes there and back", size=_size, binary=True, whole_only=_size > 1000)
add = section("1.3")
for _size in (0, 1, 125):
    add(f"a length of {_size} in 16 bits", F(TEXT, text_of(_size), form=16), want=rule("5.2", "minimal"))
for _size in (0, 125, 126, 65535):
    add(f"a length of {_size} in 64 bits", F(BINARY, noise_of(_size), form=64), want=rule("5.2", "minimal"), whole_only=_size > 1000)
add("the top bit of a 64-bit length", F(BINARY, b"x", form=65), want=rule("5.2", "top bit"))
add("the top bit of a ping's length", F(PING, b"x", form=65), want=rule("5.2", "top bit"))
for _opcode, _name in ((TEXT, "text"), (BINARY, "binary"), (PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
    add(f"a {_name} in the other side's masking", F(_opcode, b"\x03\xe8", wrong_mask=True), want=rule("5.1", "masked"))
add("a continuation in the other side's masking", F(TEXT, b"a", fin=False), F(CONT, b"b", wrong_mask=True), want=rule("5.1", "masked"))
add("a hundred small messages in a row", *(F(TEXT, b"%d" % i) for i in range(100)))

# --- 2: pings and pongs ------------------------------------------------------------------------------------------------------------------
add = section("2")
for _size in (0, 1, 12, 124, 125):
    add(f"a ping of {_size} bytes", F(PING, text_of(_size)))
add("a ping of bytes that are no text", F(PING, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"))
add("ten pings in a row", *(F(PING, b"ping %d" % i) for i in range(10)))
add("a pong that nobody asked for", F(PONG, b""))
add("a pong with a payload that nobody asked for", F(PONG, b"unasked"))
add("a pong of 125 bytes", F(PONG, b"z" * 125))
add("a pong that nobody asked for, then a ping", F(PONG, b"unasked"), F(PING, b"asked"))
for _size, _form in ((126, 0), (200, 0), (65536, 0), (5, 16), (5, 64)):
    _want = rule("5.5" if _size > 125 else "5.2")
    add(f"a ping of {_size} bytes in form {_form or 'minimal'}", F(PING, b"p" * _size, form=_form), want=_want, whole_only=_size > 1000)
    add(f"a pong of {_size} bytes in form {_form or 'minimal'}", F(PONG, b"p" * _size, form=_form), want=_want, whole_only=_size > 1000)
add("a ping that promises exabytes", F(PING, b"p", form=64, length=(1 << 63) - 1), want=rule("5.5"))

# --- 3: reserved bits ----------------------------------------------------------------------------------------------------------------------
add = section("3")
for _rsv in range(1, 8):
    _bit = 2 if _rsv & 2 else 3 if _rsv & 1 else 1  # the one that the sentence names
    for _opcode, _payload in ((TEXT, b"hi"), (BINARY, b""), (PING, b"hi"), (PONG, b""), (CLOSE, b"\x03\xe8")):
        add(f"reserved bits {_rsv} on opcode {_opcode}", F(_opcode, _payload, rsv=_rsv), want=rule("5.2", f"RSV{_bit}"))
    add(f"reserved bits {_rsv} on a continuation", F(TEXT, b"a", fin=False), F(CONT, b"b", rsv=_rsv), want=rule("5.2", f"RSV{_bit}"))
add("a good message, then reserved bits", F(TEXT, b"good"), F(TEXT, b"bad", rsv=2), want=rule("5.2"))

# --- 4: opcodes -----------------------------------------------------------------------------------------------------------------------------
add = section("4")
for _opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    add(f"reserved opcode {_opcode}", F(_opcode), want=rule("5.2", f"opcode {_opcode}"))
    add(f"reserved opcode {_opcode} with a payload, behind a good message", F(TEXT, b"good"), F(_opcode, b"x" * 20), want=rule("5.2", f"opcode {_opcode}"))
    add(f"reserved opcode {_opcode} inside a message", F(TEXT, b"a", fin=False), F(_opcode, b"x"), F(CONT, b"b"), want=rule("5.2", f"opcode {_opcode}"))

# --- 5: fragmentation -------------------------------------------------------------------------------------------------------------------------
add = section("5")
add("a ping in fragments", F(PING, b"a", fin=False), F(CONT, b"b"), want=rule("5.5", "fragmented ping"))
add("a pong in fragments", F(PONG, b"a", fin=False), F(CONT, b"b"), want=rule("5.5", "fragmented pong"))
add("a close in fragments", F(CLOSE, b"\x03\xe8", fin=False), want=rule("5.5", "fragmented close"))
for _opcode in (TEXT, BINARY):
    add("two fragments", *cut(_opcode, b"fragment1fragment2", 9))
    add("fragments of one byte", *cut(_opcode, text_of(40), 1))
    add("three empty fragments", F(_opcode, fin=False), F(CONT, fin=False), F(CONT))
    add("empty, full, empty", F(_opcode, fin=False), F(CONT, b"middle", fin=False), F(CONT))
    add("a ping between fragments", F(_opcode, b"a", fin=False), F(PING, b"between"), F(CONT, b"b"))
    add("pings and pongs between many fragments", F(_opcode, b"a", fin=False), F(PING, b"one"), F(CONT, b"b", fin=False), F(PONG, b"none"),
        F(CONT, b"c", fin=False), F(PING, b"two"), F(CONT, b"d"))
    add("a continuation of nothing, final", F(CONT, b"x"), want=rule("5.4", "without a message"))
    add("a continuation of nothing, not final", F(CONT, b"x", fin=False), want=rule("5.4", "without a message"))
    add("a continuation behind a whole message", F(_opcode, b"whole"), F(CONT, b"x"), want=rule("5.4", "without a message"))
    add("a continuation behind a fragmented message", *cut(_opcode, b"abcdef", 2), F(CONT, b"x", fin=False), want=rule("5.4", "without a message"))
    for _other in (TEXT, BINARY):
        for _fin in (True, False):
            add("a new message inside an open one", F(_opcode, b"a", fin=False), F(_other, b"b", fin=_fin), want=rule("5.4", "inside a fragmented"))
    add("a close inside an open message", F(_opcode, b"a", fin=False), F(CLOSE, b"\x03\xe8"), want=Closed(1000))
add("two fragmented messages in a row", *cut(TEXT, b"one two three", 4), *cut(BINARY, noise_of(30), 7))
add("the echo in fragments of one byte", echo=lambda payload: cut(TEXT, payload, 1))
add("the echo in fragments with pings between", roles="server",
    echo=lambda payload: [piece for part in cut(TEXT, payload, 3) for piece in ((F(PING, b"x"), part) if part.opcode == CONT else (part,))])

# --- 6: UTF-8 -------------------------------------------------------------------------------------------------------------------------------------
POINTS = (0x0, 0x7f, 0x80, 0x7ff, 0x800, 0xfff, 0x1000, 0xcfff, 0xd000, 0xd7ff, 0xe000, 0xfdd0, 0xfffd, 0xfffe, 0xffff, 0x10000, 0x1fffe, 0x3ffff,
          0x40000, 0xfffff, 0x100000, 0x10fffe, 0x10ffff)
WORDS = ("Grüße", "κόσμε", "日本語", "👋🏽 ok")
BAD = {
    "a lone continuation": b"\x80", "the last lone continuation": b"\xbf", "continuations": b"\x80\xbf\x80", "a lone first byte of two": b"\xc3 ",
    "a lone first byte of three": b"\xe2 ", "a lone first byte of four": b"\xf0 ", "two of three": b"\xe2\x82 ", "three of four": b"\xf0\x9f\x98 ",
    "overlong NUL in two": b"\xc0\x80", "overlong slash in two": b"\xc0\xaf", "overlong slash in three": b"\xe0\x80\xaf",
    "overlong slash in four": b"\xf0\x80\x80\xaf", "the largest overlong in two": b"\xc1\xbf", "the largest overlong in three": b"\xe0\x9f\xbf",
    "the largest overlong in four": b"\xf0\x8f\xbf\xbf", "the first surrogate": b"\xed\xa0\x80", "the last high surrogate": b"\xed\xaf\xbf",
    "the first low surrogate": b"\xed\xb0\x80", "the last surrogate": b"\xed\xbf\xbf", "a pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "beyond the last point": b"\xf4\x90\x80\x80", "a first byte of f5": b"\xf5\x80\x80\x80", "five bytes": b"\xf8\x88\x80\x80\x80",
    "six bytes": b"\xfc\x84\x80\x80\x80\x80", "fe": b"\xfe", "ff": b"\xff", "Latin-1": b"caf\xe9!",
}
UTF8 = rule("8.1", "UTF-8", code=1007)
add = section("6.1")
for _point in POINTS:
    add(f"U+{_point:04X}", F(TEXT, chr(_point).encode()))
    add(f"U+{_point:04X}, cut at every byte", *cut(TEXT, b"a" + chr(_point).encode() + b"b", 1))
for _word in WORDS:
    add("a word", F(TEXT, _word.encode()))
    add("a word, cut at every byte, with a ping in the middle", *cut(TEXT, _word.encode(), 1)[:2], F(PING, b"hm"), *cut(TEXT, _word.encode(), 1)[2:])
add = section("6.2")
for _what, _bytes in BAD.items():
    add(_what, F(TEXT, b"before " + _bytes + b" behind"), want=UTF8)
    add(_what + ", cut at every byte", *cut(TEXT, b"a" + _bytes + b"b", 1), want=UTF8)
    add(_what + ", in a binary message", F(BINARY, _bytes))
add = section("6.3")
for _bytes in (b"\xc3", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x98"):
    add("a text that ends inside a character", F(TEXT, b"ok" + _bytes), want=UTF8)
    add("a fragmented text that ends inside a character", F(TEXT, b"ok" + _bytes, fin=False), F(CONT), want=UTF8)
add = section("6.4")  # as soon as it is known: what is left of the message never comes
add("in a frame that never ends", F(TEXT, b"ok \xff", length=1000), want=UTF8)
add("in a frame that never ends, cut inside a character", F(TEXT, b"ok \xe2\x28", length=1000), want=UTF8)
add("in a message that never ends", F(TEXT, b"ok", fin=False), F(CONT, b" \xed\xa0", fin=False), want=UTF8)
add("a first byte that cannot go on, in a message that never ends", F(TEXT, b"ok \xf4\x90", fin=False), want=UTF8)

# --- 7: closing -----------------------------------------------------------------------------------------------------------------------------------
def closing(code, text=b""):
    return F(CLOSE, struct.pack(">H", code) + text)


add = section("7.1")
add("without a code", F(CLOSE), want=Closed(1005))
for _code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014, 3000, 3001, 3999, 4000, 4999):
    add(f"code {_code}", closing(_code), want=Closed(_code))
add("code 1010, which is the client's", closing(1010), want=rule("7.4.1", "1010"), as_client=Closed(1010))
add("a reason", closing(1000, b"so long"), want=Closed(1000, b"so long"))
add("a reason of 123 bytes", closing(1000, b"r" * 123), want=Closed(1000, b"r" * 100))
add("a reason in other letters", closing(1001, "bis später".encode()), want=Closed(1001))
add("a message before", F(TEXT, b"last words"), closing(1000), want=Closed(1000))
add("a close, and a close behind it", closing(1000), closing(1001), want=Closed(1000))
add("a close, and a ping behind it", closing(1000), F(PING, b"hm"), want=Closed(1000))
add("a close, and a message behind it", closing(1000), F(TEXT, b"still here"), want=Closed(1000))
add("a close, and noise behind it", closing(1000), F(7, b"?", rsv=7), want=Closed(1000))
add = section("7.2")
add("one byte", F(CLOSE, b"\x03"), want=rule("5.5.1"))
add("126 bytes", closing(1000, b"r" * 124), want=rule("5.5"))
add("a length in 16 bits", F(CLOSE, b"\x03\xe8", form=16), want=rule("5.2"))
for _code in (0, 1, 999, 1016, 1100, 2000, 2999, 5000, 21584, 65535):
    add(f"code {_code}", closing(_code), want=rule("7.4.2", str(_code)))
for _code in (1004, 1005, 1006, 1015):
    add(f"code {_code}", closing(_code), want=rule("7.4.1", str(_code)))
for _what, _bytes in (("Latin-1", b"caf\xe9"), ("half a character", b"ok \xe2\x82"), ("a surrogate", b"\xed\xa0\x80")):
    add(f"a reason of {_what}", closing(1000, _bytes), want=rule("5.5.1", "8.1", code=1007))

# --- 9 and 10: sizes --------------------------------------------------------------------------------------------------------------------------------
add = section("9")
for _size in (65537, 1 << 18, (1 << 20) - 1, 1 << 20):
    add(f"a text of {_size} bytes", F(TEXT, text_of(64) * (_size // 64) + b"x" * (_size % 64)), whole_only=True)
    add(f"a binary message of {_size} bytes", F(BINARY, noise_of(_size)), whole_only=True)
for _size in (64, 1024, 65536, 262144):
    add(f"a mebibyte in fragments of {_size}", *cut(BINARY, noise_of(1 << 20), _size), whole_only=True)
add = section("10")
for _size in (1, 7, 64, 125, 126, 1300, 65535):
    add(f"64 KiB in fragments of {_size}" if _size > 7 else f"500 bytes in fragments of {_size}", size=65536 if _size > 7 else 500, whole_only=True,
        echo=lambda payload, size=_size: cut(TEXT, payload, size))


# --- 12: compression that is right ---------------------------------------------------------------------------------------------------------------
class Packer:
    """permessage-deflate's sending side for one direction."""

    def __init__(self, bits=15, takeover=True, level=9):
        self.bits, self.takeover, self.level, self.z = bits, takeover, level, None

    def pack(self, data, flush=zlib.Z_SYNC_FLUSH):
        if not data:
            return b"\x00"
        if self.z is None:
            # zlib has no raw window of 256 bytes: nothing but literals and runs there
            strategy = zlib.Z_RLE if self.bits == 8 else zlib.Z_DEFAULT_STRATEGY
            self.z = zlib.compressobj(self.level, zlib.DEFLATED, -max(self.bits, 9), 8, strategy)
        out = self.z.compress(data) + self.z.flush(flush)
        if not self.takeover:
            self.z = None
        return out[:-4]


def chatter(size, seed=0):
    """JSON as an application says it: compresses well."""
    dice, out = random.Random(seed * 7919 + size), b""
    while len(out) < size:
        out += b'{"type":"price","symbol":"%s","price":%d.%02d},' % (dice.choice((b"DEMO", b"ACME", b"XYZ")), dice.randrange(1000), dice.randrange(100))
    return out[:size]


def packed(packer, opcode, data, size=None):
    payload = packer.pack(data)
    return cut(opcode, payload, size, rsv=4) if size else (F(opcode, payload, rsv=4),)


MESSAGES = (0, 1, 16, 300, 5000, 40000, 131072)
OFFERS = ["", "; server_no_context_takeover", "; client_no_context_takeover", "; server_no_context_takeover; client_no_context_takeover"]
OFFERS += [f"; server_max_window_bits={bits}; client_max_window_bits={bits}" for bits in range(8, 16)]
OFFERS += ["; server_no_context_takeover; server_max_window_bits=9", "; client_no_context_takeover; client_max_window_bits=9"]


def bits_of(offer, side):
    return int(offer.split(f"{side}_max_window_bits=")[1].split(";")[0]) if f"{side}_max_window_bits=" in offer else 15


def mirrored(offer):
    """The parameters for a table whose cases speak of a server, when a client plays them."""
    return offer.replace("server_", "?_").replace("client_", "server_").replace("?_", "client_")


for _number, _offer in enumerate(OFFERS, 1):
    add = section(f"12.{_number}")

    def _packer(offer=_offer, **more):
        return Packer(bits_of(offer, "server"), "server_no_context_takeover" not in offer, **more)

    for _size in MESSAGES:
        for _opcode, _make in ((TEXT, chatter), (BINARY, noise_of)):
            _z = _packer()
            add(f"three messages of {_size} bytes, compressed ({'chatter' if _opcode == TEXT else 'noise'}){_offer}",
                *(f for i in range(3) for f in packed(_z, _opcode, _make(_size, i % 2))), offer=_offer, whole_only=_size > 300)
    _z = _packer()
    add("fragments", *packed(_z, TEXT, chatter(3000), 100), *packed(_z, TEXT, chatter(3000), 1000), offer=_offer, whole_only=True)
    _z = _packer()
    add("fragments with pings between", *(p for f in packed(_z, TEXT, chatter(300), 20) for p in (f, F(PING, b"hm"))), offer=_offer)
    _z = _packer()
    add("compressed and plain in turn", *packed(_z, TEXT, chatter(300)), F(TEXT, b"plain"), *packed(_z, TEXT, chatter(300)), F(BINARY, noise_of(5)), offer=_offer)
    add("stored blocks", *packed(_packer(level=0), BINARY, noise_of(3000)), offer=_offer, whole_only=True)
    add("a full flush", F(TEXT, _packer().pack(chatter(300), zlib.Z_FULL_FLUSH), rsv=4), offer=_offer)
    add("there and back", size=300, offer=_offer)
    for _size in (1000, 30000, 65536):
        add(f"{_size} bytes there and back, compressed", size=_size, offer=_offer, whole_only=True,
            echo=lambda payload, make=_packer: packed(make(), TEXT, payload))
        add(f"{_size} bytes of noise there and back, compressed and in fragments", size=_size, binary=True, offer=_offer, whole_only=True,
            echo=lambda payload, make=_packer: packed(make(), BINARY, payload, 1111))

# --- 13: compression: the corners, and what is wrong ----------------------------------------------------------------------------------------------
HELLO = bytes.fromhex("f248cdc9c90700")
FINAL = bytes.fromhex("f348cdc9c90700")  # the same in a block that says it is the last
NOISE = noise_of(640, 5)
FAR = NOISE + NOISE[:100]
add = section("13.1")
for _what, _frames in {
        "one block": (F(TEXT, HELLO, rsv=4),), "the window is taken over": (F(TEXT, HELLO, rsv=4), F(TEXT, bytes.fromhex("f200110000"), rsv=4)),
        "a block that is the last, and an empty one": (F(TEXT, FINAL + b"\x00", rsv=4),), "a stored block": (F(TEXT, b"\x00\x05\x00\xfa\xffHello\x00", rsv=4),),
        "the last block, and another message": (F(TEXT, FINAL + b"\x00", rsv=4), F(TEXT, HELLO, rsv=4)),
        "two blocks": (F(TEXT, bytes.fromhex("f248050000 00ffffcac9c90700".replace(" ", "")), rsv=4),), "nothing": (F(TEXT, b"\x00", rsv=4),),
        "nothing, in a fixed block": (F(TEXT, b"\x02\x00", rsv=4),), "empty fragments around": (F(TEXT, rsv=4, fin=False), F(CONT, HELLO, fin=False), F(CONT)),
        "a close inside": (F(TEXT, HELLO[:3], rsv=4, fin=False), closing(1000)),
        "a character cut by fragments": cut(TEXT, Packer().pack("日本語 日本語".encode()), 1, rsv=4),
        "bytes that are no text, in a binary message": (F(BINARY, Packer().pack(b"\xff\xfe\xed\xa0\x80"), rsv=4),),
        "a distance of 640 in a whole window": (F(BINARY, Packer().pack(FAR), rsv=4),)}.items():
    add(_what, *_frames, offer="", want=Closed(1000) if _what == "a close inside" else LEGAL)
add = section("13.2")
DEFLATE = rule("7692", code=1007)
for _what, _frames in {
        "no block type": (F(TEXT, b"\xff\xff\xff\xff", rsv=4),), "no bytes at all": (F(TEXT, b"", rsv=4),), "half a block": (F(TEXT, HELLO[:3], rsv=4),),
        "a stored block whose length is wrong": (F(BINARY, b"\x00\x05\x00\xfa\xfeHello\x00", rsv=4),), "a stored block that is cut": (F(BINARY, b"\x00\x05\x00\xfa\xffHel", rsv=4),),
        "a distance before the first byte": (F(TEXT, bytes.fromhex("f200110000"), rsv=4),), "text, not compressed": (F(TEXT, b"not compressed at all", rsv=4),),
        "the zlib format": (F(TEXT, zlib.compress(b"hello hello"), rsv=4),), "the gzip format": (F(TEXT, b"\x1f\x8b\x08" + bytes(7) + HELLO, rsv=4),)}.items():
    add(_what, *_frames, offer="", want=DEFLATE)
add("the tail that is to be cut", F(TEXT, HELLO + TAIL, rsv=4), offer="", want=rule("7692, 7.2.1", code=1007))
add("the last block and nothing behind it", F(TEXT, FINAL[:-1] + b"\x00\x00", rsv=4), offer="")
add("text that is not UTF-8", F(TEXT, Packer().pack(b"caf\xe9!"), rsv=4), offer="", want=UTF8)
add("text that ends inside a character", F(TEXT, Packer().pack(b"ok \xe2\x82"), rsv=4), offer="", want=UTF8)
add("text that is not UTF-8, in a message that never ends", F(TEXT, Packer().pack(b"caf\xe9!") + TAIL, rsv=4, fin=False), offer="", want=UTF8)
for _opcode, _name in ((PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
    add(f"a compressed {_name}", F(_opcode, b"\x03\xe8", rsv=4), offer="", want=rule("7692, 6.1", _name))
add("RSV1 on a continuation", F(TEXT, HELLO[:3], fin=False, rsv=4), F(CONT, HELLO[3:], rsv=4), offer="", want=rule("7692, 6.1", "continuation"))
add("RSV1 on the continuation of a plain message", F(TEXT, b"a", fin=False), F(CONT, HELLO, rsv=4), offer="", want=rule("7692, 6.1", "continuation"))
add("RSV1 with RSV2", F(TEXT, HELLO, rsv=6), offer="", want=rule("5.2", "RSV2"))
add("RSV1 on a reserved opcode", F(3, HELLO, rsv=4), offer="", want=rule("5.2", "opcode 3"))
add("a distance of 640 in a window of 512", F(BINARY, Packer().pack(FAR), rsv=4), offer="; server_max_window_bits=9",
    want=rule("7692, 7.1.2.1", code=1007), as_client=rule("7692, 7.1.2.2", code=1007))
add("a distance of 640 in a window of 1024", F(BINARY, Packer().pack(FAR), rsv=4), offer="; server_max_window_bits=10")
_z = Packer()
add("a window that was to be empty", F(BINARY, _z.pack(NOISE[:300]), rsv=4), F(BINARY, _z.pack(NOISE[:300]), rsv=4), offer="; server_no_context_takeover",
    want=rule("7692, 7.1.1.1", code=1007), as_client=rule("7692, 7.1.1.2", code=1007))

assert len({case.id for case in CASES}) == len(CASES)


def answers(frames):
    """What a server that echoes sends back: [(opcode, payload)], for plain messages and pings, in order; up to a close or a broken rule
    it is the caller's to stop."""
    out, opcode, data, z, compressed = [], None, b"", None, False
    for f in frames:
        if f.opcode == PING:
            out.append((PONG, f.payload))
        elif f.opcode in (TEXT, BINARY, CONT):
            if f.opcode != CONT:
                opcode, data, compressed = f.opcode, b"", bool(f.rsv & 4)
            data += f.payload
            if f.fin:
                if compressed:
                    z = z or Inflater()
                    data = z.message(data)
                out.append((opcode, data))
        elif f.opcode == CLOSE:
            break
    return out


class Inflater:
    """The receiving side, for one direction; a BFINAL block begins another stream with the same window."""

    def __init__(self, bits=15, takeover=True):
        self.bits, self.takeover, self.window = bits, takeover, b""

    def message(self, data):
        data, out = data + TAIL, b""
        while data:
            z = zlib.decompressobj(-self.bits, zdict=(self.window + out)[-(1 << self.bits):])
            out += z.decompress(data)
            data = z.unused_data
        self.window = (self.window + out)[-(1 << self.bits):] if self.takeover else b""
        return out
