#!/usr/bin/python3
"""soak.py BUILD SECONDS [SEED]: one agent beside a busy chat server on Redis, faults at random, and a judge that knows what is broken.

Each fault has a known verdict: `out` (the server is sick: /ready must turn 503) or `stays` (the probe, the broker or the agent is: /ready must
stay 200). Complaints: a 503 without a fault, a fault of `out` that is not seen in time, a recovery that takes longer than two intervals and
what the last round may still need, /live or /healthz other than 200 at any time, memory or descriptors that grow. The last line is
"N faults, N complaints"; the exit code is 1 when there are complaints. The same SEED plays the same faults.
"""
import json
import os
import pathlib
import random
import re
import signal
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
os.environ["WSHEALTHD_BUILD"] = os.path.abspath(sys.argv[1])
import harness  # noqa: E402  (reads WSHEALTHD_BUILD when it is imported)

INTERVAL, TIMEOUT = 1.0, 1.0
SLACK = 3.0  # for a machine that is busy with other things
CONF = """
target: {{ url: "ws://127.0.0.1:{ws}/ws", dialect: chat, token: t }}
defaults: {{ interval: 1s, timeout: 1s }}
brokers: [ {{ name: bus, type: redis, url: "redis://127.0.0.1:{redis}" }} ]
dialects:
  chat:
    subscribe: {{ send: '{{"op":"sub","ch":"{{{{channel}}}}"}}', expect: {{ json: {{ /op: subscribed, /ch: "{{{{channel}}}}" }} }} }}
    message: {{ match: {{ json: {{ /op: msg, /ch: "{{{{channel}}}}" }} }}, payload: /data }}
    publish: {{ topic: "chat:{{{{channel}}}}" }}
checks:
  - {{ type: handshake }}
  - {{ type: ping }}
  - {{ type: echo }}
  - {{ type: hold, connections: 2, for: 20s }}
  - {{ type: delivery, broker: bus, channel: healthcheck, within: 800ms }}
"""
# Faults of the chat server, by verdict. What cuts connections too is said by `cut`.
OUT = ["refuse+cut", "hang_upgrade+cut", "silent", "no_pong", "slow_echo", "wrong_echo", "no_subscribe+cut", "detached", "close_new+cut", "stop", "kill"]
CUTS_WINDOW, CALM = 300, 60  # cuts in the window may be a fault of `hold` until it was calm for so long (probes/hold_ages.c)
STAYS = ["unauthorized", "limited", "cut", "redis-stop", "redis-kill", "agent-stop", "flood-of-readers", "well"]


class Soak:
    def __init__(self, directory):
        self.dir, self.complaints, self.faults = directory, [], 0
        self.cuts = []  # when connections were cut
        self.redis_port, self.ws_port = harness.free_port(), harness.free_port()
        self.redis = self.chat = None
        self.start_redis()
        self.start_chat()
        self.agent = harness.Agent(CONF.format(ws=self.ws_port, redis=self.redis_port), directory, binary=harness.RELEASE)
        self.agent.wait_ready()
        self.begin = time.monotonic()

    def start_redis(self):
        self.redis = harness.Process(["redis-server", "--port", self.redis_port, "--bind", "127.0.0.1", "--save", "", "--dir", self.dir], self.dir)
        harness.until("redis is up", lambda: harness.connects(self.redis_port))

    def start_chat(self):
        self.chat = harness.Process([harness.PYTHON, pathlib.Path(__file__).parent / "chat.py", self.ws_port, self.redis_port], self.dir)
        harness.until("the server is up", lambda: harness.connects(self.ws_port))

    def tell(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ws_port}/fault/{name}", timeout=5) as reply:
            reply.read()

    def complain(self, text):
        self.complaints.append(text)
        print(f"{time.monotonic() - self.begin:8.1f}  COMPLAINT {text}", flush=True)

    def look(self):
        """One look at all three answers; returns that of /ready."""
        answers = {}
        for path in ("/ready", "/live", "/healthz"):
            try:
                answers[path] = self.agent.get(path)
            except OSError as error:
                self.complain(f"{path}: {error!r}")
                return None
        for path in ("/live", "/healthz"):
            if answers[path].status != 200:
                self.complain(f"{path} is {answers[path].status}: {answers[path].text[:200]}")
        return answers["/ready"]

    def watch(self, seconds, until=None, forbidden=None):
        """Looks each 200 ms; returns the seconds until /ready had the status `until`, or None. A `forbidden` status is a complaint, once."""
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            ready = self.look()
            if ready is not None and ready.status == until:
                return time.monotonic() - start
            if ready is not None and ready.status == forbidden and not self.churns():
                self.complain(f"/ready is {forbidden} ({self.name}): {ready.text[:300]!r}")
                forbidden = None
            time.sleep(0.2)
        return None

    def inject(self, name):
        """Returns what ends the fault."""
        if name == "stop":
            self.chat.send(signal.SIGSTOP)
            return lambda: self.chat.send(signal.SIGCONT)
        if name == "kill":
            self.chat.end(signal.SIGKILL)
            return self.start_chat
        if name == "redis-stop":
            self.redis.send(signal.SIGSTOP)
            return lambda: self.redis.send(signal.SIGCONT)
        if name == "redis-kill":
            self.redis.end(signal.SIGKILL)
            return self.start_redis
        if name == "agent-stop":
            self.agent.send(signal.SIGSTOP)
            time.sleep(random.uniform(1, 4))
            self.agent.send(signal.SIGCONT)
            return lambda: None
        if name == "flood-of-readers":
            return self.readers()
        for part in name.split("+"):
            self.tell(part)
        return lambda: self.tell("well")

    def readers(self):
        """200 clients that ask for much and read nothing."""
        import socket
        socks = []
        for _ in range(200):
            sock = socket.create_connection(("127.0.0.1", self.agent.port), 5)
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
            socks.append(sock)
        return lambda: [sock.close() for sock in socks]

    def play(self, name, verdict):
        self.faults, self.name = self.faults + 1, name
        end = self.inject(name)
        if "cut" in name or name in ("kill", "stop", "silent", "no_pong"):
            self.cuts = [then for then in self.cuts if time.monotonic() - then < CUTS_WINDOW] + [time.monotonic()]
        if verdict == "out":
            seen = self.watch(2 * INTERVAL + 3 * TIMEOUT + SLACK, until=503)
            if seen is None:
                self.complain(f"{name} is not seen: {self.agent.get('/ready?verbose').text!r}")
            else:
                self.watch(random.uniform(0, 4))
        else:
            self.watch(random.uniform(2, 8), forbidden=503)
        ready = self.agent.get("/ready").text.splitlines()
        end()
        # Not the word about a fault that is over, but 200: two intervals, what the round under way may need, and the machine's own delay.
        back = self.watch(2 * INTERVAL + 2 * TIMEOUT + SLACK + (CALM if self.churns() else 0), until=200)
        if back is None:
            self.complain(f"no recovery from {name}: {self.agent.get('/ready?verbose').text!r}")
            harness.until("recovery at all", self.agent.ready, 120)
        print(f"{time.monotonic() - self.begin:8.1f}  {name:18} {verdict:5}  back after {-1 if back is None else back:4.1f} s   {ready[-1][:150]}", flush=True)
        if name in ("unauthorized", "limited"):  # after refusals the checks go rarely for as long as these lasted: they see nothing meanwhile
            harness.until("an attempt after the back-off", lambda: "[-]" not in self.agent.get("/ready?verbose").text, 90)
        time.sleep(INTERVAL + TIMEOUT)  # rounds that began during the fault end with it
        self.name = f"after {name}"
        self.watch(random.uniform(2, 6), forbidden=503)

    def churns(self):
        """Is `hold` right to fail, since the server has cut its connections again, at a similar age or often? It passes when that age is outlived."""
        return len(self.cuts) >= 2 and re.search(r"hold fail .*cut after .* times", self.agent.get("/ready?verbose").text)

    def size(self):
        status = pathlib.Path(f"/proc/{self.agent.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]), len(os.listdir(f"/proc/{self.agent.pid}/fd"))


def main():
    seconds, seed = float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else int(time.time())
    random.seed(seed)
    with tempfile.TemporaryDirectory(prefix="wshealthd-soak-") as directory:
        soak = Soak(directory)
        print(f"seed {seed}", flush=True)
        try:
            sizes = []
            while time.monotonic() - soak.begin < seconds:
                name, verdict = random.choice([(n, "out") for n in OUT] + [(n, "stays") for n in STAYS])
                soak.play(name, verdict)
                sizes.append(soak.size())
                if not soak.agent.running():
                    soak.complain(f"the agent ended: {soak.agent.err()[-2000:]}")
                    break
            half = sizes[len(sizes) // 3:]
            if half and (half[-1][0] > 1.3 * half[0][0] + 2048 or half[-1][1] > half[0][1] + 12):
                soak.complain(f"memory (KiB) and descriptors grow: {json.dumps(half[:: max(1, len(half) // 20)])}")
            print(f"memory {sizes[0][0]} to {sizes[-1][0]} KiB, descriptors {sizes[0][1]} to {sizes[-1][1]}, log {len(soak.agent.err())} bytes")
            if soak.agent.running() and soak.agent.end() != 0:
                soak.complain(f"the agent ended badly: {soak.agent.err()[-2000:]}")
        finally:
            if soak.complaints:
                pathlib.Path(tempfile.gettempdir(), "wshealthd-soak.log").write_text(soak.agent.err())
            for child in (soak.agent, soak.chat, soak.redis):
                child.send(signal.SIGCONT) if child.running() else None
                child.cleanup()
        print(f"{soak.faults} faults, {len(soak.complaints)} complaints", flush=True)
        sys.exit(1 if soak.complaints else 0)


if __name__ == "__main__":
    main()
