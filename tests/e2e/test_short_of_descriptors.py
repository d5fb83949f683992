"""An agent that has no descriptor left for a moment: its other listeners answer again as soon as there is one, and wait without work."""
import contextlib
import os
import resource
import socket
import time

from harness import PATIENCE, agent, free_port, until
from test_agent_check import line
from test_grpc import PREFACE, frame

CONF = """
agent_check: 127.0.0.1:{check}
grpc: 127.0.0.1:{grpc}
target: {{ url: "ws://127.0.0.1:{server}/ws" }}
defaults: {{ interval: 60s }}
checks: [ {{ type: handshake }} ]
"""


def settings(port):
    """The first frame that a gRPC client gets; b"" where the connection was closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as one:
        one.sendall(PREFACE + frame(4, 0, 0))
        return one.recv(9)[3:4]


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        times = stat.read().rsplit(")", 1)[1].split()[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def test_every_listener_answers_again(tmp_path, server):
    check, grpc = free_port(), free_port()
    with agent(CONF.format(check=check, grpc=grpc, server=server.port), tmp_path) as child:
        child.wait_ready()
        until("agent-check answers", lambda: line(check) == "up ready 100%\n")
        soft, hard = resource.prlimit(child.pid, resource.RLIMIT_NOFILE)
        used = max(map(int, os.listdir(f"/proc/{child.pid}/fd"))) + 1
        with contextlib.ExitStack() as stack:
            resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (3, hard))
            for port in [check, grpc] * 10:  # more than what is kept for such a time
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            before = cpu_seconds(child.pid)
            time.sleep(2)
            spent = cpu_seconds(child.pid) - before
            resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (soft, hard))
            until("agent-check answers", lambda: line(check) == "up ready 100%\n")
            assert settings(grpc) == b"\4"
            assert child.ready()
            assert spent < 1, spent  # it has waited, and not tried all the time
