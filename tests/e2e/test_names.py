"""Name resolution that does not answer: it concerns the checks that need it, and no others."""
import os
import pathlib
import socket
import subprocess
import time

import pytest
from harness import agent, echo_server
from network import own_network

CONF = """
target: {{ url: "ws://localhost:{port}/", public_url: "wss://chat.example.com/ws" }}
defaults: {{ interval: 300ms, timeout: 250ms }}
brokers: [ {{ name: bus, type: redis, url: "redis://redis.default.svc:6379" }} ]
checks:
  - {{ type: handshake }}
  - {{ type: ping }}
  - {{ type: hold }}
  - {{ name: cert, type: tls, path: public }}
{more}
"""


@pytest.fixture
def dead_resolver(tool, tmp_path):
    """A prefix for a command that then sees a resolver which takes questions and never answers."""
    unshare, ip = tool("unshare"), tool("ip")
    (tmp_path / "resolv").write_text("search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 127.0.0.53\noptions ndots:5\n")
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
    script = f"mount --bind {tmp_path}/resolv /etc/resolv.conf && mount --bind {tmp_path}/hosts /etc/hosts || exit 77; exec \"$0\" \"$@\""
    prefix = (unshare, "-m", "sh", "-c", script)
    if os.geteuid() != 0:
        pytest.skip("a mount namespace needs root")
    if subprocess.run([*prefix, "true"], check=False, timeout=20, capture_output=True).returncode:
        pytest.skip("this machine does not let a test mount files of its own")
    if "dns" not in pathlib.Path("/etc/nsswitch.conf").read_text():
        pytest.skip("nsswitch.conf does not ask DNS")
    with own_network(ip), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
        hole.bind(("127.0.0.53", 53))
        yield prefix


def test_dead_dns_of_one_check_takes_no_other_out(dead_resolver, tmp_path):
    """Twelve checks whose name does not resolve, far more often than the resolver's own timeouts end."""
    more = "".join(f"  - {{ name: public{i}, type: handshake, path: public, gates: [] }}\n" for i in range(12))
    with echo_server() as server, agent(CONF.format(port=server.port, more=more), tmp_path, prefix=dead_resolver) as child:
        end = time.monotonic() + 12
        local = ("handshake", "ping", "hold")
        seen = 0
        while time.monotonic() < end:
            time.sleep(0.3)
            rows = {row["name"]: row for row in child.status()["checks"]}
            for name in local:
                assert rows[name]["state"] in ("pass", "unknown"), rows[name]
                assert "." not in rows[name]["history"], rows[name]
            seen += rows["public0"]["reason"] == "dns_failure"
        assert seen > 10, rows["public0"]
        if os.path.isdir(f"/proc/{child.pid}/task"):
            assert len(os.listdir(f"/proc/{child.pid}/task")) <= 12  # one for each name that hangs, and not for each who asked
