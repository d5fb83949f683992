"""The conformance table (conformance.py), played by a server towards `wshealthd check`: what is legal passes, what is not is reported with its
reason and section, and the connection is failed with the right code. What the agent itself sends is read as strictly.

Many cases share a process: each is an echo check whose message names the case that the server is to play. Every case is played twice, in as
few writes as possible and byte by byte.
"""
import asyncio
import base64
import concurrent.futures
import re
import threading

import pytest

from conformance import (BINARY, CASES, CLOSE, CONT, LEGAL, PING, PONG, TEXT, Broken, Closed, F, Inflater, Packer, bits_of, masking, noise_of,
                         packed, text_of)
from harness import EXIT, check, only
from peer import Gone, serve

MINE = [case for case in CASES if case.roles != "client"]
AGREED = sorted({case.offer for case in MINE if case.offer is not None})  # a path for each
BATCH_CHECKS, BATCH_BYTES = 120, 300_000
TIMEOUT = 30  # s, for a round: far more than any takes
POLICY = (1008, 3000)  # after these the agent slows down: such cases have a process of their own
KEEP = 4 << 20  # what the agent keeps of a message


class Wrong(Exception):
    """The agent has broken a rule."""


class Client:
    """The agent's frames, read as strictly as the agent reads ours."""

    def __init__(self, peer, offer):
        self.peer = peer
        self.inflater = None
        if offer is not None:
            self.inflater = Inflater(bits_of(offer, "client"), "client_no_context_takeover" not in offer)

    async def frame(self):
        first, second = await self.peer.read(2)
        length, form = second & 127, second & 127
        if form >= 126:
            length = int.from_bytes(await self.peer.read(2 if form == 126 else 8), "big")
        if (form == 126 and length < 126) or (form == 127 and length < 65536):
            raise Wrong("a length that is not minimal")
        if not second & 128:
            raise Wrong("a frame without a mask")
        key = await self.peer.read(4)
        data = masking(await self.peer.read(length), key)
        opcode = first & 15
        if first & 0x30 or (first & 0x40 and (self.inflater is None or opcode not in (TEXT, BINARY))):
            raise Wrong(f"reserved bits {first:#x}")
        if opcode not in (TEXT, BINARY, CLOSE, PING, PONG) or not first & 0x80:
            raise Wrong(f"a first byte of {first:#x}")
        if opcode >= CLOSE and length > 125:
            raise Wrong("a control frame that is too long")
        return opcode, self.inflater.message(data) if first & 0x40 else data

    async def expect(self, opcode, data=None):
        """The next frame but pongs, or the pong that is wanted: of a row of pings only the newest must be answered (5.5.3)."""
        while True:
            got, payload = await self.frame()
            if got == PONG and (opcode != PONG or payload != data):
                continue
            if got != opcode:
                raise Wrong(f"opcode {got} in the place of {opcode}")
            return payload

    async def close_code(self):
        payload = await self.expect(CLOSE)
        return int.from_bytes(payload[:2], "big") if payload else 1005


class Server:
    """Plays cases on a loop of its own thread. seen: {name: what the agent said, or what was wrong with it}."""

    def __init__(self):
        self.seen, self.cases = {}, {case.id: case for case in MINE}
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda *_: None)  # connections that end are this server's trade
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.listener, self.port = asyncio.run_coroutine_threadsafe(serve(self.talk), self.loop).result(10)

    def end(self):
        self.loop.call_soon_threadsafe(self.listener.close)
        self.loop.call_soon_threadsafe(self.loop.stop)

    def url(self, offer):
        return f"ws://127.0.0.1:{self.port}/{'plain' if offer is None else AGREED.index(offer)}"

    async def talk(self, peer):
        await peer.request()
        path = peer.target[1:]
        offer = None if path == "plain" else AGREED[int(path)]
        more = {} if offer is None else {"Sec_WebSocket_Extensions": "permessage-deflate" + offer}
        await peer.send(peer.response(**more))
        client = Client(peer, offer)
        opcode, payload = await client.frame()
        name = re.match(rb"[\w.-]+", payload)[0].decode()
        try:
            self.seen[name] = await self.play(peer, client, name, opcode, payload)
        except (Wrong, Gone) as error:
            self.seen[name] = repr(error)
        finally:
            await asyncio.sleep(0)

    async def say(self, peer, octets, frames):
        data = b"".join(f.wire(client=False) for f in frames)
        if not octets:
            await peer.send(data)
            return
        for byte in data:
            await peer.send(bytes([byte]))
            await asyncio.sleep(0)

    async def play(self, peer, client, name, opcode, payload):
        if name.startswith("size-"):
            await self.sizes(peer, name, opcode, payload)
            return await client.close_code()
        case = self.cases[name.removesuffix("-octets")]
        octets = name.endswith("-octets")
        if (opcode, payload) != (BINARY if case.binary else TEXT, message_of(case, name)):
            raise Wrong(f"another message than was configured: {payload[:80]}")
        await self.say(peer, octets, case.frames)
        if case.want is LEGAL:
            pings = [f.payload for f in case.frames if f.opcode == PING]
            if pings:
                await client.expect(PONG, pings[-1])
            await self.say(peer, octets, case.echo(payload) if case.echo else [F(opcode, payload)])
        code = await client.close_code()
        await peer.send(F(CLOSE, b"" if code == 1005 else code.to_bytes(2, "big")).wire(client=False))
        return code

    async def sizes(self, peer, name, opcode, payload):
        """size-N-KIND[-answer]: a message of N bytes, which is what is waited for, or comes before it."""
        _, size, kind, *answer = name.split("-")
        size, z = int(size), Packer()
        body = big_message(size, kind)
        frames = {"text": lambda: [F(TEXT, body)], "binary": lambda: [F(BINARY, body)], "cut": lambda: cut_wide(body),
                  "packed": lambda: packed(z, TEXT, body), "packedcut": lambda: packed(z, BINARY, body, 50000)}[kind]()
        await peer.send(*(f.wire(client=False) for f in frames))
        if not answer:
            await peer.send(F(opcode, payload).wire(client=False))


def cut_wide(body):
    return [F(TEXT if at == 0 else CONT, body[at:at + 60000], at + 60000 >= len(body)) for at in range(0, len(body), 60000)]


def big_message(size, kind):
    """Noise where that is possible, and a word at both ends."""
    if size < 12:
        return b"begin-end!!!"[:size]
    middle = noise_of(size - 12) if kind in ("binary", "packedcut") else (text_of(4096) * (size // 4096 + 1))[:size - 12]
    return b"begin-" + middle + b"-ended"


def message_of(case, name):
    head = name.encode() + b"|"
    if not case.size:
        return head
    return head + (noise_of if case.binary else text_of)(case.size - len(head)) if case.size > len(head) else head[:case.size]


def conf_of(url, names, deflate):
    """A check for each; what is sent is binary where the case is."""
    lines = ["listen: off", "admin: off", f'target: {{ url: "{url}", compression: {"required" if deflate else "off"} }}', "checks:"]
    for case, name in names:
        message = message_of(case, name)
        send = f"{{ base64: {base64.b64encode(message).decode()} }}" if case.binary else f'"{message.decode()}"'
        lines.append(f"  - {{ name: {name}, type: echo, timeout: {TIMEOUT}s, interval: {TIMEOUT}s, send: {send} }}")
    return "\n".join(lines) + "\n"


def batches():
    """[(offer, [(case, name)])], each for one process."""
    open_batches, done = {}, []
    for case in MINE:
        for name in [case.id] + ([] if case.whole_only else [case.id + "-octets"]):
            alone = isinstance(case.want, Closed) and case.want.code in POLICY
            cost = max(case.size, 100) * (2 if case.binary else 1)
            batch = open_batches.get(case.offer)
            if alone or batch is None or len(batch[1]) >= BATCH_CHECKS or batch[2] + cost > BATCH_BYTES:
                batch = [case.offer, [], 0]
                done.append(batch)
                if not alone:
                    open_batches[case.offer] = batch
            batch[1].append((case, name))
            batch[2] += cost
    return [(offer, names) for offer, names, _ in done]


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.end()


@pytest.fixture(scope="module")
def results(server, tmp_path_factory):
    """{name: the check as wshealthd tells it}, of all cases."""
    directory = tmp_path_factory.mktemp("conformance")

    def run(number, offer, names):
        file, rows = directory / f"{number}.yaml", {}
        for _attempt in range(3):
            file.write_text(conf_of(server.url(offer), names, offer is not None))
            _code, document = check(None, conf=file, timeout=None, patience=120)
            rows.update({row["name"]: row for row in document["checks"]})
            # A round during which the machine stalled is void, and says nothing about the case.
            names = [(case, name) for case, name in names if rows[name]["status"] is None]
            if not names:
                break
        return rows

    out = {}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for rows in pool.map(lambda job: run(job[0], *job[1]), enumerate(batches())):
            out.update(rows)
    return out


def complaint(case, row, said):
    """What is wrong with how the case ended; None: nothing."""
    message = row["message"] or ""
    if case.want is LEGAL:
        if (row["status"], said) != ("pass", 1000):
            return f"{row['status']}, {row['reason']}: {message}; the server saw {said}"
    elif isinstance(case.want, Broken):
        if (row["status"], row["reason"], row["phase"]) != ("fail", "protocol_error", "open") or said != case.want.code:
            return f"{row['status']}, {row['reason']}: {message}; the server saw {said}, want {case.want.code}"
        missing = [word for word in case.want.words if word not in message]
        if missing:
            return f"{missing} is not in {message!r}"
    else:
        if row["status"] != "fail" or row["reason"] not in ("closed_by_server", "login_rejected", "server_overloaded") or \
                row["close_code"] != case.want.code or said != case.want.code or case.want.text.decode() not in message:
            return f"{row['status']}, {row['reason']} {row['close_code']}: {message}; the server saw {said}, want {case.want}"
    return None


@pytest.mark.parametrize("case", MINE, ids=lambda case: case.id)
def test_case(results, server, case):
    for name in [case.id] + ([] if case.whole_only else [case.id + "-octets"]):
        wrong = complaint(case, results[name], server.seen.get(name, "nothing"))
        assert not wrong, f"{name}, {case.what}: {wrong}"


# --- pings of ours: the pong must be its own -----------------------------------------------------------------------------------------
PONGS = {
    "at once": (lambda p: [F(PONG, p)], None), "behind others": (lambda p: [F(PONG, b""), F(PONG, b"other"), F(PING, b"x"), F(PONG, p)], None),
    "twice": (lambda p: [F(PONG, p), F(PONG, p)], None), "inside a message": (lambda p: [F(TEXT, b"a", fin=False), F(PONG, p), F(CONT, b"b")], None),
    "empty": (lambda p: [F(PONG)], "5.5.3"), "of another": (lambda p: [F(PONG, b"another")], "5.5.3"), "cut": (lambda p: [F(PONG, p[:-1])], "5.5.3"),
    "longer": (lambda p: [F(PONG, p + b"x")], "5.5.3"), "in fragments": (lambda p: [F(PONG, p[:4], fin=False), F(CONT, p[4:])], "5.5"),
    "as a ping": (lambda p: [F(PING, p)], "no pong"), "as a message": (lambda p: [F(BINARY, p)], "no pong"),
}


@pytest.mark.parametrize("what", PONGS)
def test_pong(what):
    make, want = PONGS[what]

    async def talk(peer):
        await peer.request()
        await peer.send(peer.response())
        client = Client(peer, None)
        while True:
            opcode, payload = await client.frame()
            if opcode == CLOSE:
                await peer.send(F(CLOSE, payload[:2]).wire(client=False))
                return
            if opcode == PING:
                await peer.send(*(f.wire(client=False) for f in make(payload)))

    async def run():
        listener, port = await serve(talk)
        try:
            return await asyncio.to_thread(check, f"ws://127.0.0.1:{port}/", "ping", timeout="1s" if want else "10s")
        finally:
            listener.close()

    code, document = asyncio.run(run())
    row = only(document)
    if want is None:
        assert (code, row["status"]) == (EXIT["pass"], "pass"), row
    else:
        assert row["status"] == "fail" and row["reason"] in ("protocol_error", "silent_drop"), row
        assert want in row["message"] or row["reason"] == "silent_drop", row


# --- sizes: what is kept is bounded, what is read is not ------------------------------------------------------------------------------
BIG = (1, 125, 126, 127, 65535, 65536, 1 << 20, KEEP - 1, KEEP, KEEP + 1, 16 << 20)
KINDS = ("text", "binary", "cut", "packed", "packedcut")
ANSWERS = ("text", "binary", "packed")


@pytest.fixture(scope="module")
def sized(server, tmp_path_factory):
    """{name: the check}: for each size and kind, the message before the answer, and as the answer. Each in a process of its own, as what
    one may keep is shared by its checks."""
    directory = tmp_path_factory.mktemp("sizes")

    def run(size, kind, answer):
        name = f"size-{size}-{kind}{'-answer' if answer else ''}"
        expect = ', expect: { regex: "^begin-(?s:.*)-ended$" }' if size >= 12 else ", expect: { contains: b }"
        file = directory / f"{name}.yaml"
        late = 20 if answer and size > KEEP else TIMEOUT  # that is how long the answer is waited for which was not kept
        file.write_text(f'listen: off\nadmin: off\ntarget: {{ url: "{server.url("" if "packed" in kind else None)}" }}\nchecks:\n'
                        f'  - {{ name: {name}, type: echo, timeout: {late}s, interval: 30s, send: "{name}|"{expect if answer else ""} }}\n')
        for _attempt in range(3):
            _code, document = check(None, conf=file, timeout=None, patience=120)
            if only(document)["status"] is not None:
                break
        return name, only(document)

    jobs = [(size, kind, answer) for size in reversed(BIG) for kind in KINDS for answer in (False, True) if not answer or kind in ANSWERS]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        return dict(pool.map(lambda job: run(*job), jobs))


@pytest.mark.parametrize("kind", KINDS)
def test_any_size_may_come_before_the_answer(sized, kind):
    wrong = {name: row for name, row in sized.items() if f"-{kind}" in name and "-answer" not in name and name.split("-")[2] == kind
             and row["status"] != "pass"}
    assert not wrong, wrong


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_is_taken_up_to_the_limit_and_named_above_it(sized, kind):
    for size in BIG:
        row = sized[f"size-{size}-{kind}-answer"]
        if size <= KEEP:
            assert row["status"] == "pass", row
        else:
            assert (row["status"], row["reason"]) == ("fail", "message_too_big") and str(size) in row["message"], row
