#!/usr/bin/python3
"""calm.py BUILD SECONDS: false alarms. One agent with every check type beside a healthy, busy server: messages, clients that come and go, some
without a goodbye, and pauses of up to 100 ms as a garbage collector makes them. Whatever is not well is a complaint: a check that warns or
fails, a cause other than healthy, a /ready other than 200. The last line is "N rounds, N complaints"; the exit code is 1 when there are complaints.
"""
import collections
import os
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import soak  # noqa: E402  (sets the build)
import harness  # noqa: E402

TOKEN, ORIGIN, CLIENTS = "calm-token-1", "https://chat.example.test", 60
# Every type with its defaults, but for what names the server's protocol. `server` has limits that a busy server must not reach.
CHECKS = """
defaults: { interval: 2s }
checks:
  - { type: handshake }
  - { type: ping }
  - { type: echo }
  - { type: payload, gates: [ready] }
  - { type: hold, connections: 2, for: 20s }
  - { name: hold-idle, type: hold, idle: true, for: 30s }
  - { type: reconnect, channel: news, gates: [ready] }
  - { type: auth, gates: [ready] }
  - { type: origin, gates: [ready] }
  - { type: subscribe, channels: [news, sport] }
  - { type: delivery, broker: bus, channel: healthcheck, within: 1s }
  - { type: script, steps: [ { send: '{"op":"sub","ch":"s{{uuid}}"}' }, { expect: { json: { /op: subscribed } } } ] }
  - { type: tcp, gates: [ready] }
  - { type: server, drop: 50% in 10s, growth: 300% in 1m, churn: 5x, backlog: 80%, memory: 1GiB, fds: 90%, peers: { redis: "127.0.0.1:REDIS" } }
"""


class Calm(soak.Soak):
    def __init__(self, directory):
        self.crowd = None
        soak.CONF = soak.CONF.split("checks:")[0].replace("token: t", f"token: {TOKEN}, origin: {ORIGIN!r}").replace("defaults: {{ interval: 1s, timeout: 1s }}\n", "")
        self.checks = CHECKS
        super().__init__(directory)

    def start_chat(self):
        here = pathlib.Path(__file__).parent
        self.chat = harness.Process([harness.PYTHON, here / "chat.py", self.ws_port, self.redis_port, TOKEN, ORIGIN], self.dir)
        harness.until("the server is up", lambda: harness.connects(self.ws_port))
        self.crowd = harness.Process([harness.PYTHON, here / "crowd.py", f"http://127.0.0.1:{self.ws_port}/ws", CLIENTS, TOKEN, ORIGIN], self.dir)
        soak.CONF += CHECKS.replace("REDIS", str(self.redis_port)).replace("{", "{{").replace("}", "}}")


def judge(calm, seen):
    """One look; what is not well is told once for each check and reason."""
    status = calm.agent.status()
    cause = status["diagnosis"]["cause"]
    ready = calm.agent.get("/ready").status
    news = [(check["name"], check["status"], check["reason"], check["message"]) for check in status["checks"] if check["status"] in ("warn", "fail")]
    if cause not in ("healthy", "starting"):
        news.append(("cause", cause, None, status["diagnosis"]["sentence"]))
    if ready != 200:
        news.append(("ready", ready, None, ""))
    for name, result, reason, message in news:
        seen[(name, result, reason)] += 1
        if seen[(name, result, reason)] == 1:
            calm.complain(f"{name} {result} {reason}: {message}")


def main():
    seconds, seen = float(sys.argv[2]), collections.Counter()
    with tempfile.TemporaryDirectory(prefix="wshealthd-calm-") as directory:
        calm = Calm(directory)
        calm.name = "calm"
        try:
            while time.monotonic() - calm.begin < seconds and calm.agent.running():
                judge(calm, seen)
                time.sleep(0.5)
            rounds = calm.agent.get("/metrics").text
            total = sum(int(line.rsplit(" ", 1)[1]) for line in rounds.splitlines() if line.startswith("wshealthd_check_rounds_total{"))
            voids = sum(int(line.rsplit(" ", 1)[1]) for line in rounds.splitlines() if line.startswith("wshealthd_check_rounds_total{") and 'result="void"' in line)
            if not calm.agent.running() or calm.agent.end() != 0:
                calm.complain(f"the agent ended badly: {calm.agent.err()[-2000:]}")
        finally:
            for child in (calm.agent, calm.crowd, calm.chat, calm.redis):
                child.cleanup()
        print(f"{total} rounds ({voids} void), {len(calm.complaints)} complaints", flush=True)
        sys.exit(1 if calm.complaints else 0)


if __name__ == "__main__":
    main()
