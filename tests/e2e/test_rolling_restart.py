"""The figures of a fleet behind HAProxy, configured as docs/load-balancers.md prints it: a rolling restart in which no client that resumes loses a
message and nobody is refused, a hung server, and a broker that is dead while agents restart."""
import asyncio
import collections
import contextlib
import csv
import io
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time

import pytest
import websockets

from harness import BINARY, MODULES, PATIENCE, SERVERS, Agent, connects, environment, process, until
from network import own_network
from test_load_balancers import BOTH, DEFAULTS, HOSTS, SECONDS, SHARED, place, section

USERS = 6
URL = "ws://127.0.0.1:80/socket.io/?EIO=4&transport=websocket"


class Haproxy:
    def __init__(self, path):
        self.path = path

    def rows(self):
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(PATIENCE)
            one.connect(str(self.path))
            one.sendall(b"show stat\n")
            answer = b""
            while more := one.recv(65536):
                answer += more
        return {row["svname"]: row for row in csv.DictReader(io.StringIO(answer.decode().removeprefix("# "))) if row["pxname"] == "chat"}

    def status(self, name):
        return self.rows()[{"one": "chat1", "two": "chat2"}[name]]["status"].split()[0]

    def wait(self, name, status, seconds=PATIENCE):
        until(f"{name} is {status}, not {self.status(name)}", lambda: self.status(name) == status, seconds)

    def seconds_down(self):
        return [int(row["downtime"]) for name, row in self.rows().items() if name.startswith("chat")]


@contextlib.contextmanager
def haproxy(tool, directory):
    """It tries no server twice, which would hide that one refuses."""
    (directory / "haproxy.cfg").write_text(f"global\n    stats socket {directory}/h.sock\n{DEFAULTS}    retries 0\n\nfrontend users\n    bind :80\n    default_backend chat\n\n"
                                           + section("HAProxy", "haproxy"))
    with process(tool("haproxy"), "-db", "-f", directory / "haproxy.cfg", ready=lambda _: connects(80) and (directory / "h.sock").exists()):
        yield Haproxy(directory / "h.sock")


@contextlib.contextmanager
def redis(tool, directory):
    with process(tool("redis-server"), "--bind", SHARED, "--port", 6379, "--save", "", "--dir", directory, "--protected-mode", "no",
                 ready=lambda _: connects(6379, SHARED)) as child:
        yield child


# --- a rolling restart -----------------------------------------------------------------------------------------------------------------


class User:
    """A client of Socket.IO that comes back when its connection ends, and resumes its session."""

    def __init__(self, crowd):
        self.crowd, self.pid, self.offset = crowd, None, None
        self.heard, self.acknowledged, self.moves, self.strangers = [], set(), 0, 0

    async def live(self):
        while not self.crowd.over:
            try:
                async with websockets.connect(URL, open_timeout=PATIENCE, ping_interval=None) as way:
                    await self.talk(way)
            except websockets.ConnectionClosed:
                self.moves += 1
                await asyncio.sleep(0.5 + random.random() / 2)  # as long as a client of Socket.IO's waits
            except (OSError, websockets.InvalidHandshake, asyncio.TimeoutError) as error:
                self.crowd.refused.append(repr(error))
                await asyncio.sleep(0.5)

    async def talk(self, way):
        try:
            while True:
                text = await asyncio.wait_for(way.recv(), PATIENCE * 3)
                if text.startswith("0{"):
                    await way.send("40" + (json.dumps({"pid": self.pid, "offset": self.offset}) if self.offset else ""))
                elif text == "2":
                    await way.send("3")
                elif text.startswith("40"):
                    pid = json.loads(text[2:])["pid"]
                    self.strangers += self.offset is not None and pid != self.pid
                    self.pid, self.here = pid, way
                elif text.startswith("42"):
                    _, said, self.offset = json.loads(text[2:])
                    self.heard.append(said)
                elif text.startswith("43"):
                    self.acknowledged.add(int(text[2:].partition("[")[0]))
        finally:
            self.here = None

    here = None


class Crowd:
    """Users, of whom the first says something all the time, and again until it was acknowledged."""

    def __init__(self):
        self.over = False
        self.refused, self.users, self.said, self.guests = [], [User(self) for _ in range(USERS)], 0, 0

    async def speak(self):
        speaker = self.users[0]
        while not self.over:
            number = self.said + 1
            while number not in speaker.acknowledged:
                with contextlib.suppress(websockets.ConnectionClosed):
                    if speaker.here:
                        await speaker.here.send(f'42{number}["say",{number}]')
                for _ in range(50):
                    if number in speaker.acknowledged:
                        break
                    await asyncio.sleep(0.02)
            self.said = number
            await asyncio.sleep(0.02)

    async def come_and_go(self):
        """Others look in all the time."""
        while not self.over:
            try:
                async with websockets.connect(URL, open_timeout=PATIENCE, ping_interval=None) as way:
                    await way.recv()
                    self.guests += 1
            except websockets.ConnectionClosed:
                pass
            except (OSError, websockets.InvalidHandshake, asyncio.TimeoutError) as error:
                self.refused.append(repr(error))
            await asyncio.sleep(0.02)

    async def during(self, work):
        """Runs work() in a thread, in the middle of the crowd."""
        lives = [asyncio.create_task(user.live()) for user in self.users]
        lives.append(asyncio.create_task(self.come_and_go()))
        speech = asyncio.create_task(self.speak())
        while not all(user.offset for user in self.users):
            await asyncio.sleep(0.05)
        try:
            await asyncio.get_running_loop().run_in_executor(None, work)
        finally:
            self.over = True
            await speech
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end and any(self.said not in user.heard for user in self.users):
                await asyncio.sleep(0.05)
            for task in lives:
                task.cancel()
            await asyncio.gather(*lives, return_exceptions=True)


def test_nobody_who_resumes_loses_a_message(tool, node, tmp_path):
    for name in ("socket.io", "redis", "@socket.io/redis-streams-adapter"):
        if not (MODULES / name).is_dir():
            pytest.skip(f"npm's {name} is missing (tests/tools/npm)")
    ip = tool("ip")
    with own_network(ip), contextlib.ExitStack() as stack:
        for address in (*HOSTS.values(), SHARED):
            subprocess.run([ip, "addr", "add", f"{address}/32", "dev", "lo"], check=True, timeout=20)
        stack.enter_context(redis(tool, tmp_path))
        servers, agents = {}, {}

        def start(name):
            host = HOSTS[name]
            servers[name] = stack.enter_context(process(node, SERVERS / "socketio_chat.js", host, 8080, SHARED, 6379,
                                                        ready=lambda _: connects(8080, host), env=environment(WSHEALTHD_MODULES=str(MODULES))))

        for name, host in HOSTS.items():
            start(name)
            (tmp_path / name).mkdir()
            agents[name] = Agent(f"agent_check: {host}:9718\ntarget: {{ url: 'ws://{host}:8080', dialect: socket.io }}\n"
                                 f"brokers: [ {{ name: bus, type: redis, url: 'redis://{SHARED}:6379' }} ]\n"
                                 "defaults: { interval: 500ms, fast_interval: 200ms }\n", tmp_path / name, host=host, port=9717)
            stack.callback(agents[name].cleanup)
            agents[name].wait_ready()
        proxy = stack.enter_context(haproxy(tool, tmp_path))
        for name in HOSTS:
            proxy.wait(name, "UP")
        crowd = Crowd()

        def roll():
            for name in HOSTS:
                code, out, err = agents[name].command("drain", "--wait", "6s", "--min", "5s")  # HAProxy asks every 2 s
                assert code in (0, 1), (out, err)  # 1: chat clients do not leave by themselves
                assert servers[name].end(seconds=PATIENCE) == 0, servers[name].err()
                start(name)
                until("the new server passes", lambda name=name: agents[name].check("handshake")["status"] == "pass")
                assert agents[name].command("resume")[0] == 0
                proxy.wait(name, "UP")

        asyncio.run(crowd.during(roll))
        lost = {number: set(range(1, crowd.said + 1)) - set(user.heard) for number, user in enumerate(crowd.users)}
        assert not crowd.refused, crowd.refused[:5]
        assert crowd.said > 20 and crowd.guests > 20 and all(user.moves >= 1 for user in crowd.users), (crowd.said, crowd.guests, [user.moves for user in crowd.users])
        assert not any(user.strangers for user in crowd.users), "a session was not taken up again"
        assert not any(lost.values()), lost


def test_the_printed_commands(tool, tmp_path):
    """The block of the section Draining, by a shell, for which `wshealthd` is the agent's of that host and `systemctl` starts and stops its server."""
    block = section("Draining", "sh")
    with place(tool, tmp_path) as there, haproxy(tool, tmp_path) as proxy:
        for name in HOSTS:
            proxy.wait(name, "UP")
        there.goes_to(BOTH, "ready")
        over, seen = threading.Event(), collections.Counter()

        def come_and_go():
            while not over.is_set():
                seen.update(there.come(2))

        guests = threading.Thread(target=come_and_go)
        guests.start()
        try:
            for name, host in HOSTS.items():
                bin_directory = tmp_path / name / "bin"
                bin_directory.mkdir()
                (bin_directory / "wshealthd").write_text(f"""#!/bin/sh
command=$1; shift
case $command in check) exec {BINARY} check $(echo "$@" | sed s/127.0.0.1/{host}/) ;; *) exec {BINARY} $command -c {there.agents[name].file} "$@" ;; esac
""")
                (bin_directory / "systemctl").write_text(f"#!/bin/sh\necho $1 >{tmp_path}/wanted\nuntil [ ! -e {tmp_path}/wanted ]; do sleep 0.05; done\n")
                for script in bin_directory.iterdir():
                    script.chmod(0o755)
                shell = there.stack.enter_context(process("sh", "-c", block, env=environment(PATH=f"{bin_directory}:{os.environ['PATH']}")))
                done = []

                def serve(name=name, host=host, shell=shell, done=done):
                    if (tmp_path / "wanted").exists() and (word := (tmp_path / "wanted").read_text().strip()):
                        done.append(word)
                        if word == "stop":
                            there.servers[name].end()
                        else:
                            there.servers[name] = there.server(name, host)
                        (tmp_path / "wanted").unlink()
                    return not shell.running()

                until("the commands have ended", serve, SECONDS, 0.05)
                assert done == ["stop", "start"] and shell.child.returncode == 0, (done, shell.out(), shell.err())
                assert "ready" in shell.out() and proxy.status(name) == "UP", (shell.out(), shell.err())
        finally:
            over.set()
            guests.join(PATIENCE)
        assert seen["refused"] == 0 and seen["one"] > 20 and seen["two"] > 20, seen


# --- a server that hangs, and a broker that is dead ------------------------------------------------------------------------------------


def test_a_hung_server_is_out_within_two_intervals(tool, tmp_path):
    """At the defaults: two intervals of the agent, 5 s each, and then two of HAProxy's, 2 s each. The rest is for a busy machine."""
    with place(tool, tmp_path, defaults="") as there, haproxy(tool, tmp_path) as proxy:
        for name in HOSTS:
            proxy.wait(name, "UP")
        there.goes_to(BOTH, "ready")
        there.hold()
        began = time.monotonic()
        there.servers["one"].send(signal.SIGSTOP)
        there.agents["one"].wait_not_ready(10 + 5)
        seen = time.monotonic()
        proxy.wait("one", "DOWN", 4 + 5)
        print(f"not ready after {seen - began:.1f} s, out of rotation after {time.monotonic() - began:.1f} s")
        assert set(there.come()) == {"two"}
        there.servers["one"].send(signal.SIGCONT)
        there.goes_to(BOTH, "it goes on")
        there.all_live("it goes on")


def test_a_dead_redis_takes_nobody_out(tool, tmp_path):
    """Nor do agents that restart meanwhile, however they end."""
    more = f"brokers: [ {{ name: bus, type: redis, url: 'redis://{SHARED}:6379', timeout: 1s }} ]\n"
    with place(tool, tmp_path, more=more, broker=lambda: redis(tool, tmp_path)) as there, haproxy(tool, tmp_path) as proxy:
        for name in HOSTS:
            proxy.wait(name, "UP")
        there.goes_to(BOTH, "ready")
        there.hold()
        there.broker.end(signal.SIGKILL)
        for name in HOSTS:
            until("degraded", lambda name=name: there.agents[name].status()["degraded"])
        there.stays_with(BOTH, 5, "Redis is dead")
        for number in (signal.SIGKILL, signal.SIGTERM):
            for name in HOSTS:
                there.agents[name].end(number)
                there.stays_with(BOTH, 3, "an agent is gone")
                there.start_agent(name)
                there.stays_with(BOTH, 5, "an agent is back")
                assert there.agents[name].status()["degraded"]
        there.all_live("Redis is dead")
        assert proxy.seconds_down() == [0, 0]
