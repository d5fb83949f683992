"""Servers that flood, bomb and never end, under a resident agent: its answers stay quick, its memory bounded, its verdict right."""
import json
import re
import subprocess
import time

import pytest

from harness import PYTHON, RELEASE, agent, environment, until

MEMORY_MAX_KIB = 24 * 1024
FAULTS = ("flood-no-echo", "endless-fragments", "deflate-bomb", "endless-headers", "declared-huge", "trickled-response", "half-frame-silent",
          "echo-other-long", "deflate-garbage")


@pytest.fixture(scope="module")
def urls(certs):
    with subprocess.Popen([PYTHON, __file__.replace("test_hostile_server.py", "faults.py"), str(certs.dir)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True, env=environment()) as server:
        try:
            yield json.loads(server.stdout.readline())
        finally:
            server.stdin.close()
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.kill()


def memory_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"^VmHWM:\s+(\d+)", status.read(), re.M)[1])


@pytest.mark.parametrize("fault", FAULTS)
def test_the_agent_stays_well(urls, tmp_path, fault):
    conf = (f'target: {{ url: "{urls[fault]}" }}\ndefaults: {{ interval: 200ms, timeout: 1s, jitter: 0%, fall: 1 }}\nchecks:\n'
            "  - { name: handshake, type: handshake }\n  - { name: ping, type: ping }\n"
            "  - { name: echo, type: echo }\n  - { name: hold, type: hold, connections: 4 }\n")
    with agent(conf, tmp_path, binary=RELEASE) as child:
        until("the fault is found", lambda: child.check("echo")["state"] == "fail")
        end = time.monotonic() + 2
        slowest = 0.0
        while time.monotonic() < end:
            start = time.monotonic()
            assert child.get("/ready").status == 503
            slowest = max(slowest, time.monotonic() - start)
        assert slowest < 1.0, f"/ready took {slowest:.3f} s"
        assert memory_kib(child.pid) < MEMORY_MAX_KIB, memory_kib(child.pid)
        assert child.get("/live").status in (200, 503)
