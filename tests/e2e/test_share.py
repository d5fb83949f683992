"""share_connection: several checks over one connection, for a server that allows one session for a token and ends the older one."""
import asyncio
import contextlib
import os
import signal

from harness import agent, echo_server, until, wshealthd
from peer import CLOSE, PING, PONG, TEXT, Gone, close, frame
from test_hold import server

ALL = """
  - { name: hold, type: hold, connections: 1, for: 800ms, share_connection: true }
  - { name: ping, type: ping, share_connection: true }
  - { name: echo, type: echo, share_connection: true }
"""
ALONE = ALL.replace(", share_connection: true", "")


def conf(port, checks=ALL, more="", token="t1"):
    return f"""
target: {{ url: "ws://127.0.0.1:{port}/", token: {token} }}
defaults: {{ interval: 200ms, fast_interval: 100ms, timeout: 1s, jitter: 0% }}
{more}
checks: {checks}"""


class OneSession:
    """Ends the older session of a token with 4001, and counts how often there was one."""

    def __init__(self):
        self.now, self.opened, self.kicked = {}, 0, 0
        self.answers = self.echoes = True
        self.stuck = None  # a peer whose echoes never come

    async def __call__(self, peer):
        await peer.upgrade()
        token, self.opened = peer.header("Authorization"), self.opened + 1
        old, self.now[token] = self.now.get(token), peer
        try:
            if old:
                self.kicked += 1
                with contextlib.suppress(Gone):
                    await old.send(close(4001, b"logged in elsewhere"))
            await self.listen(peer)
        except Gone:
            pass
        finally:
            if self.now.get(token) is peer:
                del self.now[token]

    async def listen(self, peer):
        while True:
            opcode, payload = await peer.frame()
            if not self.answers:
                continue
            if opcode == PING:
                await peer.send(frame(PONG, payload))
            elif opcode == TEXT and self.echoes and self.stuck is not peer:
                await peer.send(frame(TEXT, payload))
            elif opcode == CLOSE:
                await peer.send(frame(CLOSE, payload[:2]))
                return


class Strict(OneSession):
    """Refuses a second session while there is a first one, and takes its time to end that."""

    def __init__(self):
        super().__init__()
        self.refused = 0

    async def __call__(self, peer):
        await peer.request()
        token = peer.header("Authorization")
        if token in self.now:
            self.refused += 1
            await peer.send("HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n")
            return
        self.now[token], self.opened = peer, self.opened + 1
        with contextlib.suppress(Gone):
            await peer.send(peer.response())
            await self.listen(peer)
        peer.writer.close()
        del self.now[token]

    async def listen(self, peer):
        while True:
            opcode, payload = await peer.frame()
            if opcode == CLOSE:
                await asyncio.sleep(0.3)
                await peer.send(frame(CLOSE, payload[:2]))
                return
            await peer.send(frame(PONG if opcode == PING else opcode, payload))


class Greeting(OneSession):
    """A dialect: `hello` is answered by `welcome`, once in each connection."""

    def __init__(self):
        super().__init__()
        self.greeted = 0

    async def listen(self, peer):
        assert (await peer.frame())[1] == b"hello"
        self.greeted += 1
        await peer.send(frame(TEXT, b"welcome"))
        await super().listen(peer)


def rounds(child, name):
    return len(child.check(name)["history"])


def states(child):
    return {check["name"]: check["state"] for check in child.status()["checks"]}


def all_are(child, state):
    return set(states(child).values()) == {state}


def all_green(child, site):
    """For many intervals, and over several lives of the held connection."""
    opened = site.opened

    def enough():
        for check in child.status()["checks"]:
            assert check["state"] in ("pass", "unknown"), check
        assert site.kicked == 0
        return site.opened >= opened + 3

    until("three connections have come and gone, and nothing was ever wrong", enough, pause=0.05)


def test_without_it_they_end_each_other(tmp_path):
    site = OneSession()
    with server(site) as port, agent(conf(port, ALONE), tmp_path) as child:
        row = until("it is named", lambda: "share_connection: true" in (child.check("hold")["message"] or "") and child.check("hold"))
        assert row["state"] == "warn" and "same token" in row["message"], row
        assert site.kicked


def test_one_connection_for_all(tmp_path):
    site = OneSession()
    with server(site) as port, agent(conf(port), tmp_path) as child:
        child.wait_ready()
        all_green(child, site)
        until("every check has a full history", lambda: all(rounds(child, name) >= 10 for name in ("hold", "ping", "echo")))
        for check in child.status()["checks"]:
            assert set(check["history"]) == {"#"}, check


def test_without_a_held_connection(tmp_path):
    """ping and two conversations of one text: each may open it, and the last closes it."""
    checks = """
  - { name: ping, type: ping, share_connection: true }
  - { name: echo, type: echo, send: hello, share_connection: true }
  - { name: again, type: echo, send: hello, share_connection: true }
"""
    site = OneSession()
    with server(site) as port, agent(conf(port, checks), tmp_path) as child:
        child.wait_ready()
        all_green(child, site)
        until("every check has a full history", lambda: all(rounds(child, name) >= 10 for name in states(child)))
        assert all_are(child, "pass")


def test_a_server_that_refuses_a_second_session(tmp_path):
    site = Strict()
    with server(site) as port, agent(conf(port), tmp_path) as child:
        child.wait_ready()
        all_green(child, site)
        until("every check has a full history", lambda: all(rounds(child, name) >= 10 for name in states(child)))
        assert not site.refused


def test_a_dialect(tmp_path):
    """Who joins a connection that has been greeted does not greet again."""
    site = Greeting()
    dialect = "dialects: { polite: { connect: { send: hello, expect: { equals: welcome } } } }"
    with server(site) as port, agent(conf(port, more=dialect).replace("token: t1", "token: t1, dialect: polite"), tmp_path) as child:
        child.wait_ready()
        all_green(child, site)
        assert site.opened - 1 <= site.greeted <= site.opened


def test_a_server_that_hangs_and_comes_back(tmp_path):
    site = OneSession()
    with server(site) as port, agent(conf(port, more="liveness: { after: 1s }"), tmp_path) as child:
        child.wait_ready()
        for _ in range(2):
            site.answers = False
            child.wait_not_ready()
            until("every check has found it", lambda: all_are(child, "fail"))
            reasons = {check["name"]: check["reason"] for check in child.status()["checks"]}
            assert reasons["ping"] == "silent_drop" and reasons["echo"] == "echo_timeout", child.status()
            site.answers = True
            child.wait_ready()
            until("every check is well", lambda: all_are(child, "pass"))
        all_green(child, site)


def test_a_server_that_goes_and_comes_back(tmp_path):
    with echo_server() as first, agent(conf(first.port), tmp_path) as child:
        child.wait_ready()
        first.end()
        child.wait_not_ready()
        until("every check has found it", lambda: all_are(child, "fail"))
        until("and why", lambda: {check["reason"] for check in child.status()["checks"]} == {"connect_refused"})
        with echo_server(first.port):
            child.wait_ready()
            until("every check is well", lambda: all_are(child, "pass"))


def test_one_that_fails_does_not_fail_the_others(tmp_path):
    """echo is at fault, and each of its failures ends the connection: no loss for those who hold and ping it."""
    site = OneSession()
    with server(site) as port, agent(conf(port), tmp_path) as child:
        child.wait_ready()
        site.echoes = False
        until("echo fails", lambda: states(child)["echo"] == "fail")
        opened = site.opened
        until("and goes on to", lambda: site.opened >= opened + 3)
        found = states(child)
        assert found["hold"] == found["ping"] == "pass", child.status()
        for name in ("hold", "ping"):
            assert set(child.check(name)["history"]) == {"#"}, child.check(name)
        assert child.check("hold").get("lost", 0) == 0
        site.echoes = True
        child.wait_ready()
        assert site.kicked == 0


def test_a_connection_that_is_stuck_is_not_kept(tmp_path):
    """Its pongs come and its answers do not: the next one is tried, though `for` is not over for an hour."""
    site = OneSession()
    with server(site) as port, agent(conf(port, ALL.replace("for: 800ms", "for: 1h")), tmp_path) as child:
        child.wait_ready()
        until("all pass", lambda: all_are(child, "pass"))
        site.stuck = next(iter(site.now.values()))
        until("a round of echo fails", lambda: "." in child.check("echo")["history"])
        until("it is well again", lambda: states(child)["echo"] == "pass" and child.check("echo")["history"].endswith("###"))
        assert site.opened == 2 and not site.kicked


def test_reload(tmp_path):
    """Checks come and go, and those that stay keep the connection; another token is another connection."""
    site = OneSession()
    with server(site) as port:
        hold = ALL.replace("for: 800ms", "for: 1h")
        one = "".join(line for line in hold.splitlines(True) if "echo" not in line)
        with agent(conf(port, one), tmp_path) as child:
            child.wait_ready()
            until("both pass", lambda: all_are(child, "pass"))
            assert site.opened == 1
            for text, count in ((hold, 3), (one, 2), (hold.replace("type: ping", "type: ping, slo: 900ms"), 3)):
                child.write(conf(port, text))
                code, _out, err = child.command("reload")
                assert code == 0, err
                until("they are there", lambda count=count: len(states(child)) == count and all_are(child, "pass"))
                assert site.opened == 1, "the connection is kept"
            child.write(conf(port, hold, token="t2"))
            assert child.command("reload")[0] == 0
            until("the other session", lambda: len(site.now) == 1 and next(iter(site.now)).endswith("t2") and all_are(child, "pass"))
            assert site.opened == 2 and not site.kicked
            for count in range(12):
                child.write(conf(port, (hold, one)[count % 2], token=f"t{count % 3}"))
                assert child.command("reload")[0] == 0
            child.wait_ready()
            until("all pass", lambda: all_are(child, "pass"))
            assert not site.kicked


def test_what_cannot_be_shared_is_refused(tmp_path):
    for check, words in (
            ("type: handshake", "a handshake check is about a new connection"),
            ("type: subscribe, channel: news", "a subscribe check is about a new connection"),
            ("type: tcp", "a tcp check has no WebSocket connection to share"),
            ("type: hold", "checks[0].connections: share_connection is about one: set connections: 1"),
            ("type: hold, connections: 1, idle: true", "checks[0].idle: over a shared connection other checks speak")):
        file = tmp_path / "wshealthd.yaml"
        file.write_text(conf(1, f"[{{ {check}, share_connection: true }}]"))
        code, _out, err = wshealthd("config", "check", file)
        assert code != 0 and words in err, (check, code, err)
    delivery = "type: delivery, broker: bus, channel: news, share_connection: true"
    for checks, words in ((f"[{{ {delivery}, connect: {{ send: hi }} }}]", "checks[0].connect: with share_connection it belongs to all checks"),
                          (f"[{{ {delivery} }}, {{ name: other, {delivery} }}]", "checks[1].share_connection: delivery has it already")):
        file.write_text(conf(1, checks, more="brokers: [{ name: bus, type: redis, url: 'redis://127.0.0.1:1' }]"))
        code, _out, err = wshealthd("config", "check", file)
        assert code != 0 and words in err, (checks, code, err)


def test_once(tmp_path):
    """`wshealthd check` on a file: one round each, over one connection."""
    site = OneSession()
    with server(site) as port:
        file = tmp_path / "wshealthd.yaml"
        file.write_text(conf(port))
        code, out, err = wshealthd("check", "--config", file)
        assert code == 0, (out, err)
        assert site.opened == 1 and not site.kicked


def test_a_patient_check_keeps_nobody_waiting(tmp_path):
    """echo may take ten minutes; hold and ping have found the connection dead, and go on without waiting for it. So do they when the server is back."""
    site = OneSession()
    with server(site) as port, agent(conf(port, ALL.replace("type: echo", "type: echo, timeout: 10m").replace("for: 800ms", "for: 1h")),
                                     tmp_path) as child:
        child.wait_ready()
        until("all pass", lambda: all_are(child, "pass"))
        for _ in range(2):
            site.answers = False
            child.wait_not_ready()
            until("both have found it", lambda: states(child)["hold"] == states(child)["ping"] == "fail")
            site.answers = True
            child.wait_ready()
            passed = child.check("echo")["history"].count("#")
            until("echo goes on", lambda passed=passed: child.check("echo")["history"].count("#") > passed or rounds(child, "echo") >= 32)
        assert "." not in child.check("echo")["history"], "what was asked on a dead connection is no fault of its own"
        assert site.kicked == 0


def test_a_report_does_not_cut_a_gate_short(tmp_path):
    """ping only reports, and finds each connection dead, while echo gates and is slower than that: it gets its answers nevertheless."""
    checks = ALL.replace("type: ping", "type: ping, timeout: 200ms, gates: []").replace("type: echo", "type: echo, timeout: 10s")

    async def slow(peer):
        await peer.upgrade()
        with contextlib.suppress(Gone):
            while True:
                opcode, payload = await peer.frame()
                if opcode == TEXT:
                    await asyncio.sleep(0.5)
                    await peer.send(frame(TEXT, payload))
                elif opcode == CLOSE:
                    await peer.send(frame(CLOSE, payload[:2]))
                    return

    checks = "".join(line for line in checks.splitlines(True) if "hold" not in line)
    with server(slow) as port, agent(conf(port, checks), tmp_path) as child:
        child.wait_ready()
        until("ping fails", lambda: states(child)["ping"] == "fail")
        until("echo passes on", lambda: child.check("echo")["history"].endswith("####"))
        assert child.ready()


def test_conversations_take_turns(tmp_path):
    """A dozen, each slow: none has a second round before all have had their first."""
    checks = "".join(f"\n  - {{ name: echo{i}, type: echo, share_connection: true }}" for i in range(12))
    order = []

    async def slow(peer):
        await peer.upgrade()
        with contextlib.suppress(Gone):
            while True:
                opcode, payload = await peer.frame()
                if opcode == TEXT:
                    order.append(payload.decode())
                    await asyncio.sleep(0.1)
                    await peer.send(frame(TEXT, payload))
                elif opcode == CLOSE:
                    await peer.send(frame(CLOSE, payload[:2]))
                    return

    checks = checks.replace("type: echo", "type: echo, send: NAME, interval: 200ms")
    checks = "".join(line.replace("NAME", f"n{count - 1}") for count, line in enumerate(checks.splitlines(True)))
    with server(slow) as port, agent(conf(port, checks), tmp_path) as child:
        child.wait_ready()
        until("three times around", lambda: len(order) >= 36)
        for name in set(order):
            assert 2 <= order[:36].count(name) <= 4, order


def test_what_a_refusal_says_is_heard(tmp_path):
    """Closed before anybody could speak: the first to speak has it reset, and the close frame that has come before still says why."""
    pids = []

    async def refuse(peer):
        await peer.request()
        while not pids:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.4)  # all three are waiting for it now
        os.kill(pids[0], signal.SIGSTOP)
        try:
            await peer.send(peer.response(), close(4401, b"bad token"))
            peer.writer.close()
            await asyncio.sleep(0.01)
        finally:
            os.kill(pids[0], signal.SIGCONT)

    with server(refuse) as port, agent(conf(port).replace("timeout: 1s", "timeout: 10s"), tmp_path) as child:
        pids.append(child.pid)
        until("all are judged", lambda: all(rounds(child, name) for name in ("hold", "ping", "echo")))
        for check in child.status()["checks"]:
            assert check["reason"] == "login_rejected", check
