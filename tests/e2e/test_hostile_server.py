"""Targets that flood, bomb, drip and never end (hostile.py), under a resident agent: whoever asks for its health is always answered, its memory
is bounded, and its verdict on each check is the right one."""
import contextlib
import json
import pathlib
import subprocess
import threading
import time

import pytest

import hostile
from harness import PYTHON, RELEASE, agent, environment, memory_kib, until

MEMORY_MAX_KIB = 32 * 1024
ANSWER_MAX = 5.0  # s, for a loaded machine; usually some ms
WATCHED = 1.2  # s, from the moment when every check has been judged


@pytest.fixture(scope="module")
def urls(certs):
    with subprocess.Popen([PYTHON, pathlib.Path(hostile.__file__), str(certs.dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=environment()) as server:
        try:
            yield json.loads(server.stdout.readline())
        finally:
            server.kill()


class Prober(threading.Thread):
    """Asks /ready and /healthz all the time, as a kubelet in a hurry would."""

    def __init__(self, child):
        super().__init__(daemon=True)
        self.child, self.worst, self.wrong, self.asked, self.over = child, 0.0, [], 0, threading.Event()

    def run(self):
        while not self.over.wait(0.05):
            for path, right in (("/ready", (200, 503)), ("/healthz", (200,))):
                start = time.monotonic()
                try:
                    status = self.child.get(path).status
                except OSError as error:
                    status = repr(error)
                self.worst = max(self.worst, time.monotonic() - start)
                self.asked += 1
                if status not in right:
                    self.wrong.append((path, status))


@contextlib.contextmanager
def answers_meanwhile(child, name):
    """While the block runs, and however the target plays: every answer of the agent is right and in time, and its memory is bounded."""
    prober = Prober(child)
    prober.start()
    try:
        yield
    finally:
        prober.over.set()
        prober.join()
    memory = memory_kib(child.pid)
    print(f"{name}: worst {prober.worst:.3f} s of {prober.asked}, {memory} KiB")
    assert not prober.wrong and prober.worst < ANSWER_MAX, (prober.worst, prober.wrong)
    assert memory <= MEMORY_MAX_KIB, memory


def judged(child):
    checks = child.status()["checks"]
    return all(c["state"] != "unknown" for c in checks) and checks


@pytest.mark.parametrize("row", hostile.TARGETS, ids=lambda row: row.name)
def test_the_agent_stays_well(urls, certs, tmp_path, row):
    tls = f', tls: {{ ca_file: "{certs.ca}" }}' if urls[row.name].startswith("wss") else ""
    conf = (f'target: {{ url: "{urls[row.name]}"{tls} }}\n'
            "defaults: { interval: 300ms, timeout: 800ms, jitter: 0%, fall: 1 }\nchecks:\n"
            "  - { name: handshake, type: handshake }\n  - { name: ping, type: ping }\n"
            "  - { name: echo, type: echo }\n  - { name: hold, type: hold, connections: 4 }\n")
    seen = {name: set() for name in hostile.CHECKS}
    with agent(conf, tmp_path, binary=RELEASE) as child:
        with answers_meanwhile(child, row.name):
            until("every check has been judged", lambda: judged(child))
            end = time.monotonic() + WATCHED
            while time.monotonic() < end:
                for check in child.status()["checks"]:
                    # A handshake that has passed may be warned of for how the server says goodbye; it must never fail for that.
                    warned = check["name"] == "handshake" and (check["status"], check["reason"]) == ("warn", "protocol_error")
                    seen[check["name"]].add(("pass" if warned else check["reason"] or "pass", check["message"]))
                time.sleep(0.1)
        print({k: sorted(map(str, v)) for k, v in seen.items()})
        for check, verdicts in row.verdicts.items():
            assert {reason for reason, _ in seen[check]} <= set(verdicts), (check, seen[check])
