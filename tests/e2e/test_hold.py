"""hold over its real time: servers that cut their clients at an age, the idle timeout of a proxy, a restart, sessions that the agent ends itself."""
import asyncio
import contextlib
import threading
import time

from harness import PYTHON, SERVERS, agent, free_port, process, until
from peer import close, serve
from test_servers import NGINX

CONF = """
target: {{ url: "ws://127.0.0.1:{port}/{path}"{token} }}
defaults: {{ interval: 300ms, timeout: 1s, jitter: 0% }}
checks:
  - {{ name: hold, type: hold, {options} }}
{more}"""


def conf(port, options="connections: 2", path="", token="", more=""):
    return CONF.format(port=port, options=options, path=path, token=token, more=more)


@contextlib.contextmanager
def server(handler):
    """handler(peer) for each connection, on a loop in a thread of its own. Yields the port."""
    loop, started = asyncio.new_event_loop(), []
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        started.append(asyncio.run_coroutine_threadsafe(serve(handler), loop).result(10))
        yield started[0][1]
    finally:
        async def end():
            for one, _port in started:
                one.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def listen(peer):
    """Reads frames and answers pings."""
    while True:
        opcode, payload = await peer.frame()
        if opcode == 9:
            await peer.send(bytes([0x8A, len(payload)]) + payload)


class Cutter:
    """Closes each connection with 1011 at an age, while `age` is set."""

    def __init__(self, age):
        self.age = age

    async def __call__(self, peer):
        await peer.upgrade()
        reading = asyncio.ensure_future(listen(peer))
        try:
            await asyncio.wait([reading], timeout=self.age)
            if not reading.done():
                await peer.send(close(1011, b"no heartbeat"))
                await asyncio.sleep(0.2)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


def test_connections_that_are_cut_at_an_age(tmp_path):
    """Longer than many intervals, and found; over as soon as a replacement has outlived the lost ones."""
    cutter = Cutter(1.5)
    with server(cutter) as port, agent(conf(port), tmp_path) as child:
        child.wait_ready()
        until("one loss is a warning", lambda: child.check("hold")["state"] == "warn")
        until("more of them fail", lambda: child.check("hold")["state"] == "fail")
        row = child.check("hold")
        assert (row["reason"], row["close_code"]) == ("closed_by_server", 1011), row
        assert "cut after 1." in row["message"] and " times: " in row["message"], row
        assert child.get("/ready").status == 503
        end = time.monotonic() + 4
        while time.monotonic() < end:  # in between the replacements are well, and prove nothing
            assert child.check("hold")["state"] == "fail", child.check("hold")
            time.sleep(0.1)
        assert child.check("hold")["losses"] >= 4
        cutter.age = 600
        child.wait_ready()


def test_max_age_makes_it_normal(tmp_path):
    with server(Cutter(1.5)) as port, agent(conf(port, "connections: 2, max_age: 1s"), tmp_path) as child:
        child.wait_ready()
        until("some have been cut", lambda: 'wshealthd_connection_closes_total{check="hold",code="1011"} 4' in child.get("/metrics").text)
        assert set(child.check("hold")["history"]) == {"#"}, child.check("hold")
        assert child.check("hold")["losses"] == 0


def test_an_idle_timeout_is_found(tool, tmp_path):
    """nginx with proxy_read_timeout 1s cuts what is idle; what is pinged it leaves alone."""
    nginx = tool("nginx")
    port, quiet = free_port(), free_port()
    (tmp_path / "nginx.conf").write_text(NGINX.format(dir=tmp_path, port=port, behind=free_port(), quiet=quiet, nobody=free_port()))
    more = "  - { name: pinged, type: hold }\n"
    with process(PYTHON, SERVERS / "echo.py", quiet, port=quiet), \
            process(nginx, "-e", tmp_path / "error.log", "-p", tmp_path, "-c", tmp_path / "nginx.conf", port=port), \
            agent(conf(port, "connections: 1, idle: true", path="cut", more=more), tmp_path) as child:
        until("the idle ones fail", lambda: child.check("hold")["state"] == "fail")
        row = child.check("hold")
        assert row["reason"] == "closed_abnormal" and "idle connections are cut after" in row["message"], row
        assert set(child.check("pinged")["history"]) == {"#"}, child.check("pinged")


class Aged:
    """Cuts each connection without a word at an age, whatever is said on it. With `ping`, says a ping so often."""

    def __init__(self, age, ping=None):
        self.age, self.ping = age, ping

    async def __call__(self, peer):
        async def pinging():
            while self.ping:
                await asyncio.sleep(self.ping)
                await peer.send(b"\x89\x00")

        await peer.upgrade()
        tasks = [asyncio.ensure_future(listen(peer)), asyncio.ensure_future(pinging())]
        try:
            await asyncio.sleep(self.age)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            peer.writer.transport.abort()


def test_a_maximum_age_is_no_idle_timeout(tmp_path):
    """The connection that is pinged is cut as well."""
    with server(Aged(2)) as port, agent(conf(port, "idle: true"), tmp_path) as child:
        until("the sentence", lambda: "the pinged one is cut at that age too: a maximum age" in (child.check("hold")["message"] or ""))
        until("the cause", lambda: child.status()["diagnosis"]["cause"] == "connection_max_age")


def test_pings_of_the_server_are_seen(tmp_path):
    with server(Aged(600, ping=0.7)) as port, agent(conf(port, "idle: true"), tmp_path) as child:
        until("an interval", lambda: child.check("hold")["lives"]["server_ping_ms"])
        lives = child.check("hold")["lives"]
        assert 600 < lives["server_ping_ms"] < 20000 and lives["cut"] == 0, lives


def test_a_restart_is_a_warning(tmp_path):
    """All connections at once, with 1012: never out of rotation for it, and well when the replacements are older."""
    peers = []

    async def handler(peer):
        await peer.upgrade()
        peers.append((asyncio.get_running_loop(), peer))
        await listen(peer)

    with server(handler) as port, agent(conf(port), tmp_path) as child:
        child.wait_ready()
        time.sleep(1)
        for loop, peer in peers[:2]:
            loop.call_soon_threadsafe(peer.writer.write, close(1012, b"restart"))
        until("a warning", lambda: child.check("hold")["state"] == "warn")
        assert "lost after" in child.check("hold")["message"]
        while child.check("hold")["state"] == "warn":
            assert child.get("/ready").status == 200
            time.sleep(0.05)
        assert child.check("hold")["state"] == "pass", child.check("hold")
        assert "." not in child.check("hold")["history"]


def test_pings_that_were_ignored_for_a_while(tmp_path):
    """A server that hangs with all its connections and goes on after some seconds: the agent needs no restart to see that."""
    now = {"well": True}

    async def handler(peer):
        await peer.upgrade()
        while True:
            opcode, payload = await peer.frame()
            if opcode == 9 and now["well"]:
                await peer.send(bytes([0x8A, len(payload)]) + payload)

    with server(handler) as port, agent(conf(port), tmp_path) as child:
        child.wait_ready()
        now["well"] = False
        until("it is silent", lambda: child.check("hold")["state"] == "fail")
        row = child.check("hold")
        assert row["reason"] == "silent_drop" and child.get("/ready").status == 503, row
        until("for some rounds", lambda: child.check("hold")["history"].endswith("..."))
        now["well"] = True
        child.wait_ready()
        until("it passes again", lambda: child.check("hold")["history"].endswith("##"))


def test_the_agent_ends_its_own_sessions(tmp_path):
    """One session for a token: the newer ends the older. Not the server's fault, and said so."""
    now = {}

    async def handler(peer):
        await peer.upgrade()
        token = peer.header("Authorization")
        old, now[token] = now.get(token), peer
        if old:
            with contextlib.suppress(Exception):
                await old.send(close(4001, b"logged in elsewhere"))
        await listen(peer)

    with server(handler) as port, agent(conf(port, token=", token: t1", more="  - { name: ping, type: ping }\n"), tmp_path) as child:
        row = until("it is named", lambda: "same token" in (child.check("hold")["message"] or "") and child.check("hold"))
        assert row["state"] == "warn" and "logged in elsewhere" in row["message"], row
        child.wait_ready()
