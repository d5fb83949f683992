"""nginx with nchan on Redis: the heartbeat is published in nchan's own form, and nchan carries it to its WebSocket subscribers.

With nchan_redis_storage_mode nostore a message is what is published and nothing else. (In the mode distributed it is also a hash
that nchan's script in Redis writes first, which PUBLISH alone cannot.)
"""
import contextlib
import os
import pathlib
import signal
import subprocess

import pytest

from harness import agent, check, free_port, process, until
from relay import relay

MODULE = pathlib.Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

NGINX = """
load_module {module};
daemon off; worker_processes 2; pid {dir}/nginx.pid; error_log {dir}/error.log notice; user root;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  upstream bus {{ nchan_redis_server redis://127.0.0.1:{redis}; nchan_redis_storage_mode nostore; }}
  server {{
    listen 127.0.0.1:{port};
    location ~ ^/ws/(\\w+)$ {{ nchan_pubsub websocket; nchan_channel_id $1; nchan_redis_pass bus; }}
  }}
}}
"""

CONF = """
target: {{ url: 'ws://127.0.0.1:{port}/ws/healthcheck' }}
defaults: {{ interval: 200ms, timeout: 1s, jitter: 0% }}
brokers:
  - {{ name: bus, type: redis, url: 'redis://127.0.0.1:{redis}', timeout: 1s, retry: {{ min: 20ms, max: 100ms }} }}
checks:
  - {{ name: handshake, type: handshake }}
  - name: delivery
    type: delivery
    broker: bus
    channel: healthcheck
    publish:
      topic: '{{channel:/{{{{channel}}}}}}:pubsub'
      body: '{{{{0x9aa3}}}}msg{{{{0xce00000e10ce00000000000000db}}}}{{{{#u32}}}}{{{{payload}}}}{{{{/u32}}}}{{{{0xd900d90000}}}}'
"""


def own_state():
    """What a user puts before nginx: nchan makes directories in /var/lib/nginx whatever the configuration says, so there it gets a file system
    of its own, as root of one user namespace, and is itself again in a second one."""
    if os.geteuid() == 0:
        return []
    inner = ["unshare", "--user", f"--map-user={os.geteuid()}", f"--map-group={os.getegid()}"]
    outer = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /var/lib/nginx && exec "$@"', "sh", *inner]
    done = subprocess.run([*outer, "true"], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        pytest.skip(f"nginx with nchan needs /var/lib/nginx, and a user namespace for it: {done.stderr.strip()}")
    return outer


@contextlib.contextmanager
def nchan(tool, directory, redis_port):
    nginx = tool("nginx")
    if not MODULE.exists():
        pytest.skip("libnginx-mod-nchan is missing")
    port = free_port()
    (directory / "nginx.conf").write_text(NGINX.format(module=MODULE, dir=directory, port=port, redis=redis_port))
    with process(*own_state(), nginx, "-e", directory / "error.log", "-p", directory, "-c", directory / "nginx.conf", port=port) as child:
        until("nchan is on Redis", lambda: "upstream bus: ready" in (directory / "error.log").read_text())
        child.port, child.url = port, f"ws://127.0.0.1:{port}/ws/room"
        yield child


@contextlib.contextmanager
def redis(tool, directory, port=None):
    port = port or free_port()
    with process(tool("redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", directory, port=port) as child:
        child.port = port
        yield child


def said(guard):
    status = guard.status()
    return {"cause": status["diagnosis"]["cause"], "checks": {c["name"]: (c["state"], c["reason"]) for c in status["checks"]}}


def waits(guard, what, condition):
    try:
        until(what, condition)
    except AssertionError as error:
        raise AssertionError(f"{error}: {said(guard)}") from None


def well(guard):
    """All passes, but for one remark: nchan sends Content-Length with its 101, which no 1xx may have (RFC 9110, 8.6)."""
    def condition():
        status = guard.status()
        wrong = {c["name"]: c["reason"] for c in status["checks"] if c["state"] != "pass"}
        return wrong == {"handshake": "upgrade_invalid"} and status["diagnosis"]["cause"] == "check_warning" and guard.ready()

    waits(guard, "all is well", condition)


def test_a_plain_websocket_server(tool, tmp_path):
    with redis(tool, tmp_path) as bus, nchan(tool, tmp_path, bus.port) as server:
        code, document = check(server.url, "handshake", "ping", "hold", timeout="1s")
        assert code == 1 and document["diagnosis"]["cause"] == "check_warning", document
        assert {c["name"]: c["status"] for c in document["checks"]} == {"handshake": "warn", "ping": "pass", "hold": "pass"}, document
        assert "RFC 9110, 8.6" in document["checks"][0]["message"], document


def test_three_faults_three_verdicts(tool, tmp_path):
    with redis(tool, tmp_path) as bus, relay(bus.port) as way, nchan(tool, tmp_path, way.port) as server:
        with agent(CONF.format(port=server.port, redis=bus.port), tmp_path) as guard:
            well(guard)
            way.holding = True  # nginx hears nothing of Redis any more, and its clients are connected as ever
            waits(guard, "nginx is detached", lambda: said(guard)["cause"] == "server_detached_from_broker")
            guard.wait_not_ready()
            assert said(guard)["checks"] == {"handshake": ("warn", "upgrade_invalid"), "delivery": ("fail", "delivery_lost"), "bus": ("pass", None)}
            way.holding = False
            well(guard)
            bus.end(signal.SIGKILL)
            waits(guard, "Redis is down", lambda: said(guard)["cause"] == "broker_down")
            assert guard.ready() and guard.get("/live").status == 200
            with redis(tool, tmp_path, bus.port):
                well(guard)
