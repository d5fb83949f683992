"""The failures that the agent is there for, each produced with what it happens to: real servers, proxies, brokers, kernels. What is asserted is the
cause that the diagnosis names, as that is what the person on call reads; that a check fails says little."""
import contextlib
import json
import signal
import socket
import subprocess
import threading
import time

import pytest

import test_delivery
from harness import PYTHON, SERVERS, agent, environment, free_port, process, until
from network import own_network
from test_delivery import redis  # noqa: F401  (a fixture)

pytest.importorskip("websockets", reason="python3-websockets is missing")

SECONDS = 40  # a machine that has much else to do
HANDSHAKE = "{ type: handshake }"
PUBLIC = "{ name: public, type: handshake, path: public }"


def conf(port, *checks, target="", timeout="1s"):
    rows = "".join(f"  - {check}\n" for check in checks)
    return f"""
target: {{ url: "ws://127.0.0.1:{port}/ws"{target} }}
defaults: {{ interval: 200ms, fast_interval: 200ms, timeout: {timeout}, jitter: 0% }}
checks:
{rows}"""


def public(port, scheme="ws"):
    return f', public_url: "{scheme}://localhost:{port}/ws"'


def settles(child, cause):
    """Until the diagnosis is that cause and stays so for a while, not in passing. The diagnosis."""
    seen = []

    def come():
        found = child.status()["diagnosis"]
        seen.append(found["cause"])
        return seen[-4:] == [cause] * 4 and found

    try:
        return until(cause, come, SECONDS, pause=0.15)
    except AssertionError:
        story = [one for i, one in enumerate(seen) if i == 0 or seen[i - 1] != one]
        raise AssertionError(f"want {cause}, have had {story}: {child.get('/ready?verbose').text}") from None


@contextlib.contextmanager
def server(port=None, backlog=512, prefix=()):
    """servers/failing.py"""
    port = port or free_port()
    with process(*prefix, PYTHON, SERVERS / "failing.py", port, backlog, port=port, stdin=subprocess.PIPE) as child:
        child.port = port

        def ask(text):
            child.child.stdin.write(text.encode() + b"\n")
            child.child.stdin.flush()

        child.ask = ask
        yield child


def client(port):
    """A WebSocket client that never reads behind the upgrade."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
    sock.sendall(f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    assert sock.recv(12) == b"HTTP/1.1 101"
    return sock


@contextlib.contextmanager
def clients(port, count):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(client(port)) for _ in range(count)]


@contextlib.contextmanager
def haproxy(tool, directory, *behind, tunnel="1h", bind=""):
    port = free_port()
    lines = "".join(f"  server s{i} 127.0.0.1:{one}\n" for i, one in enumerate(behind))
    (directory / "h.cfg").write_text(f"""
global
  maxconn 500
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  timeout tunnel {tunnel}
frontend f
  bind 127.0.0.1:{port} {bind}
  default_backend b
backend b
  balance roundrobin
{lines}""")
    with process(tool("haproxy"), "-db", "-f", directory / "h.cfg", port=port) as child:
        child.port = port
        yield child


@contextlib.contextmanager
def nginx(tool, directory, behind, headers="", listen=""):
    port = free_port()
    (directory / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log; user root;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2; fastcgi_temp_path {directory}/t3; uwsgi_temp_path {directory}/t4;
  scgi_temp_path {directory}/t5;
  server {{
    listen 127.0.0.1:{port} {listen};
    location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1; {headers} }}
  }}
}}
""")
    with process(tool("nginx"), "-e", directory / "error.log", "-p", directory, "-c", directory / "nginx.conf", port=port) as child:
        child.port = port
        yield child


# --- what stands in front ---------------------------------------------------------------------------------------------------------


def test_a_load_balancer_cuts_idle_connections(tool, tmp_path):
    """The 30 s of the load balancer are one second here. The server is well, and the way to it is named."""
    hold = "{ name: hold, type: hold, path: public, connections: 1, idle: true }"
    with server() as child, haproxy(tool, tmp_path, child.port, tunnel="1s") as front, \
            agent(conf(child.port, HANDSHAKE, PUBLIC, hold, target=public(front.port)), tmp_path) as watch:
        watch.wait_ready(SECONDS)
        found = settles(watch, "front_broken")
        assert "cut" in found["sentence"] and "timeout tunnel" in json.dumps(found), found
        until("it is a fault, not chance", lambda: watch.check("hold")["state"] == "fail", SECONDS)
        stays(watch, settles(watch, "front_broken"), "hold")
        watch.file.write_text(watch.file.read_text() + "readiness: { shared_faults: fail }\n")
        watch.command("reload")
        watch.wait_not_ready(SECONDS)


def stays(watch, found, *names):
    """Is in rotation and degraded, by faults of these checks on the public path, which gate readiness."""
    answer = watch.get("/ready")
    assert answer.status == 200 and answer.headers["x-envoy-degraded"] == "true", (answer.status, answer.body)
    assert answer.body.startswith(b"degraded\n"), answer.body
    for name in names:
        row = watch.check(name)
        assert (row["state"], row["scope"], row["path"], row["gates"]) == ("fail", "shared", "public", ["ready"]), row
    assert "all instances share this way in, and this one stays in rotation, degraded" in found["sentence"], found
    assert watch.get("/live").status == 200


def test_a_dead_load_balancer_takes_no_instance_out(tool, tmp_path):
    """Neither /ready nor /live follows it, for longer than liveness.after; an instance that starts meanwhile comes in; and a local fault counts."""
    hold, rest = "{ name: hold, type: hold, path: public, connections: 1 }", "liveness: { after: 1s }\n"
    with server() as child, haproxy(tool, tmp_path, child.port) as front:
        text = conf(child.port, HANDSHAKE, PUBLIC, hold, target=public(front.port)) + rest
        (tmp_path / "b").mkdir()
        with agent(text, tmp_path) as watch:
            watch.wait_ready(SECONDS)
            front.end(signal.SIGKILL)
            found = settles(watch, "front_broken")
            stays(watch, found, "public", "hold")
            time.sleep(3)  # longer than liveness.after
            stays(watch, found, "public", "hold")
            with agent(text, tmp_path / "b") as late:
                late.wait_ready(SECONDS)
                stays(late, settles(late, "front_broken"), "public", "hold")
            child.end(signal.SIGKILL)
            watch.wait_not_ready(SECONDS)
            until("the server's own silence is seen", lambda: watch.get("/live").status == 503, SECONDS)


def test_with_the_public_path_alone(tool, tmp_path):
    """Nothing but the way through the load balancer is known: it gates nothing, and the agent says so."""
    with server() as child, agent(conf(child.port, PUBLIC, target=public(free_port())), tmp_path) as watch:
        watch.wait_ready(SECONDS)
        stays(watch, settles(watch, "server_down"), "public")
        assert "event=config_warning" in watch.err() and "no check of the local path gates readiness" in watch.err(), watch.err()
        code, out, err = watch.command("config", "check", str(watch.file))
        assert code == 0 and "OK" in out and "warning: no check of the local path gates readiness" in err, (code, out, err)


def test_an_idle_timeout_is_told_from_a_maximum_age(tool, tmp_path):
    """One of the idle connections is pinged for comparison: it outlives the others, and the sentence has the length of the silence."""
    hold = "{ name: hold, type: hold, path: public, connections: 3, idle: true }"
    with server() as child, haproxy(tool, tmp_path, child.port, tunnel="1500ms") as front, \
            agent(conf(child.port, HANDSHAKE, PUBLIC, hold, target=public(front.port)), tmp_path) as watch:
        until("the control has outlived the others", lambda: "an idle timeout on the way, not a maximum age" in watch.get("/ready?verbose").text, SECONDS)
        lives = next(check for check in watch.status()["checks"] if check["name"] == "hold")["lives"]
        assert lives["of"] == "silence" and lives["control"] == "lives" and lives["cut"] >= 2 and 1000 < lives["shortest_ms"] < 6000, lives


def test_a_load_balancer_cuts_idle_connections_and_leaves_busy_ones(tool, tmp_path):
    """With two connections one of them is pinged for comparison: then the length of the idle timeout is known."""
    hold = "{ name: hold, type: hold, path: public, idle: true }"
    with server() as child, haproxy(tool, tmp_path, child.port, tunnel="2s") as front, \
            agent(conf(child.port, HANDSHAKE, PUBLIC, hold, target=public(front.port)), tmp_path) as watch:
        watch.wait_ready(SECONDS)
        found = settles(watch, "idle_timeout")
        assert "the pinged one lives: an idle timeout on the way, not a maximum age" in found["sentence"], found
        assert "the server sends no pings of its own" in found["sentence"], found
        assert "timeout tunnel" in json.dumps(found["advice"]), found
        lives = watch.check("hold")["lives"]
        assert lives["of"] == "silence" and lives["control"] == "lives" and lives["cut"] >= 2, lives
        assert 1500 < lives["shortest_ms"] <= lives["longest_ms"], lives


def test_pings_too_seldom_for_the_path(tool, tmp_path):
    """The agent knows one path only, so it can but say that what is open is cut while what is new works; and that the pings may be too seldom."""
    hold = "{ name: hold, type: hold, connections: 1, interval: 3s }"
    with server() as child, haproxy(tool, tmp_path, child.port, tunnel="1s") as front, \
            agent(conf(front.port, HANDSHAKE, hold), tmp_path) as watch:
        found = settles(watch, "connections_cut")
        assert "ping more often" in json.dumps(found), found


def test_a_proxy_without_the_upgrade_headers(tool, tmp_path):
    with server() as child, nginx(tool, tmp_path, child.port, 'proxy_set_header Connection "";') as front, \
            agent(conf(child.port, HANDSHAKE, PUBLIC, target=public(front.port)), tmp_path) as watch:
        found = settles(watch, "upgrade_not_passed")
        assert "Upgrade" in json.dumps(found["advice"]), found


def test_a_proxy_without_the_upgrade_headers_and_no_local_path(tool, tmp_path):
    with server() as child, nginx(tool, tmp_path, child.port) as front, agent(conf(front.port, HANDSHAKE), tmp_path) as watch:
        settles(watch, "upgrade_not_passed")


@pytest.mark.parametrize("leaf, cause", [
    ({"name": "expired", "start": -30, "end": -1}, "certificate_expired"),
    ({"name": "elsewhere", "names": "DNS:chat.example.com"}, "certificate_wrong_name"),
    (None, "tls_broken"),
])
def test_tls_behind_the_public_url(tool, tmp_path, certs, leaf, cause):
    """A certificate of yesterday, one of another name, and a port that should speak TLS and does not."""
    listen = ""
    if leaf:
        cert, key = certs.leaf(**leaf)
        listen = f"ssl; ssl_certificate {cert}; ssl_certificate_key {key}"
    with server() as child, nginx(tool, tmp_path, child.port, listen=listen) as front:
        target = public(front.port, "wss") + f", tls: {{ ca_file: {certs.ca} }}"
        with agent(conf(child.port, HANDSHAKE, PUBLIC, target=target), tmp_path) as watch:
            settles(watch, cause)
            assert watch.check("handshake")["state"] == "pass"


def test_one_of_two_instances_is_stale(tool, tmp_path):
    """Every other connection reaches a server that a deploy has left out: it does not know the new path."""
    stale = free_port()
    with server() as child, process(PYTHON, "-m", "http.server", stale, "--bind", "127.0.0.1", "--directory", tmp_path, port=stale), \
            haproxy(tool, tmp_path, child.port, stale) as front, \
            agent(conf(child.port, HANDSHAKE, PUBLIC, target=public(front.port)), tmp_path) as watch:
        settles(watch, "one_instance_stale")


# --- who may come in --------------------------------------------------------------------------------------------------------------


def test_the_token_expires_while_the_socket_is_open(tmp_path):
    jwt = pytest.importorskip("jwt", reason="python3-jwt is missing")
    pytest.importorskip("aiohttp", reason="python3-aiohttp is missing")
    secret, port, token = "a-shared-secret-of-some-length-4711", free_port(), tmp_path / "token"
    (tmp_path / "secret").write_text(secret)
    guard = {"alg": "HS256", "key": str(tmp_path / "secret"), "at_exp": "close"}
    target = f", token: '${{file:{token}}}'"
    with process(PYTHON, SERVERS / "guard.py", port, json.dumps(guard), port=port):
        token.write_text(jwt.encode({"sub": "probe", "exp": int(time.time()) + 8}, secret, algorithm="HS256"))
        # The agent asks less and less often while it is refused, so that one round must do.
        with agent(conf(port, "{ type: handshake, fall: 1 }", "{ type: hold }", target=target), tmp_path) as watch:
            settles(watch, "healthy")
            found = settles(watch, "token_expired")
            assert watch.ready(), found  # it is the probe's, not the server's
            token.write_text(jwt.encode({"sub": "probe", "exp": int(time.time()) + 600}, secret, algorithm="HS256"))
            settles(watch, "healthy")


def test_the_origin_check_is_too_strict(tmp_path):
    pytest.importorskip("aiohttp", reason="python3-aiohttp is missing")
    port = free_port()
    with process(PYTHON, SERVERS / "guard.py", port, json.dumps({"origins": ["https://www.example.com"]}), port=port), \
            agent(conf(port, HANDSHAKE, "{ type: origin }", target=', origin: "https://chat.example.com"'), tmp_path) as watch:
        settles(watch, "origin_too_strict")


# --- the server -------------------------------------------------------------------------------------------------------------------


def test_sessions_are_lost_in_a_deploy(tmp_path):
    """The server says goodbye and is away for a while; then the new one is there, and all is well again."""
    port = free_port()
    with agent(conf(port, HANDSHAKE, "{ type: hold }"), tmp_path) as watch:
        with server(port):
            settles(watch, "healthy")
        settles(watch, "deploy_in_progress")
        with server(port):
            settles(watch, "healthy")


def test_subscriptions_are_not_restored(redis, tool, tmp_path):  # noqa: F811
    """A client that comes back reaches the other instance, and that does not know its channels."""
    deaf, ports = tmp_path / "deaf", (free_port(), free_port())
    deaf.touch()
    subscribe = "subscribe: { send: '{\"op\":\"sub\"}', expect: { contains: subscribed } }"
    check = f"{{ type: reconnect, interval: 500ms, max_per_second: 10, how: [abort], channel: news, {subscribe} }}"
    with process(PYTHON, SERVERS / "redis_pubsub.py", ports[0], redis.port, port=ports[0]), \
            process(PYTHON, SERVERS / "redis_pubsub.py", ports[1], redis.port, "--deaf", deaf, port=ports[1]), \
            haproxy(tool, tmp_path, *ports) as front, agent(conf(front.port, check), tmp_path) as watch:
        settles(watch, "state_not_restored")
        deaf.unlink()
        settles(watch, "healthy")


def test_a_server_that_crashed(tmp_path):
    with server() as child, agent(conf(child.port, HANDSHAKE, "{ type: hold }", "{ type: server }"), tmp_path) as watch:
        settles(watch, "healthy")
        child.send(signal.SIGKILL)
        settles(watch, "server_down")


def test_a_stopped_process(tmp_path):
    """The kernel still takes connections for it."""
    with server() as child, agent(conf(child.port, HANDSHAKE, "{ type: ping }"), tmp_path) as watch:
        settles(watch, "healthy")
        child.send(signal.SIGSTOP)
        settles(watch, "server_hung")
        child.send(signal.SIGCONT)
        settles(watch, "healthy")


@pytest.mark.parametrize("looked_at", [True, False])
def test_a_full_accept_queue(tmp_path, looked_at):
    """Seen from outside it may be a firewall as well; who looks at the kernel's queue knows better."""
    checks = ["{ type: server, backlog: 80% }"] if looked_at else []
    with server(backlog=4) as child, agent(conf(child.port, HANDSHAKE, *checks), tmp_path) as watch, contextlib.ExitStack() as stack:
        settles(watch, "healthy")
        child.send(signal.SIGSTOP)
        for _ in range(12):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", child.port))
        settles(watch, "accept_queue_full" if looked_at else "server_not_accepting")
        child.send(signal.SIGCONT)


@pytest.mark.parametrize("looked_at", [True, False])
def test_a_descriptor_limit(tool, tmp_path, looked_at):
    """The open connections live, and new ones wait for an accept() that fails with EMFILE."""
    checks = ["{ type: server, fds: 90% }"] if looked_at else []
    with server(prefix=(tool("prlimit"), "--nofile=60:60")) as child, contextlib.ExitStack() as stack, \
            agent(conf(child.port, HANDSHAKE, "{ type: hold }", *checks), tmp_path) as watch:
        settles(watch, "healthy")
        for _ in range(70):  # to the last one, whatever else the server has open
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", child.port), timeout=SECONDS))
            sock.sendall(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
        settles(watch, "descriptors_exhausted" if looked_at else "new_connections_refused")


def test_a_leaking_server(tmp_path):
    with server() as child, agent(conf(child.port, HANDSHAKE, "{ type: server, memory: 150MiB, gates: [ready] }", timeout="5s"), tmp_path) as watch:
        settles(watch, "healthy")
        child.ask("leak 200")
        settles(watch, "memory_growth")


def test_a_slow_consumer(tmp_path):
    """What is sent to a client that does not read stays in the server's memory; the advice says where to look."""
    with server() as child, clients(child.port, 1), \
            agent(conf(child.port, HANDSHAKE, "{ type: server, memory: 150MiB }", timeout="5s"), tmp_path) as watch:
        settles(watch, "healthy")
        child.ask("broadcast 200")
        found = settles(watch, "memory_growth")
        assert "read too slowly" in json.dumps(found) or "slow readers" in json.dumps(found), found


def test_a_mass_disconnect(tool, tmp_path):
    """The proxy dies with a hundred clients; the server runs on, and its own checks never fail."""
    with server() as child, haproxy(tool, tmp_path, child.port) as front, clients(front.port, 100), \
            agent(conf(child.port, HANDSHAKE, "{ type: server, drop: 50% in 10s }"), tmp_path) as watch:
        until("all are counted", lambda: (watch.check("server").get("server") or {"connections": {}})["connections"].get("established") == 100)
        front.send(signal.SIGKILL)
        settles(watch, "mass_disconnect")
        assert watch.check("handshake")["state"] == "pass"


def test_a_reconnect_storm(tmp_path):
    """Clients that come back at once, all the time. (What is gone before anybody looks, a look does not count: each stays for a moment.)"""
    over = threading.Event()

    def storm(port):
        with contextlib.ExitStack() as stack:
            alive = []
            while not over.wait(0.01):
                with contextlib.suppress(OSError, AssertionError):
                    alive.append(stack.enter_context(client(port)))
                if len(alive) > 60:
                    alive.pop(0).close()

    with server() as child, agent(conf(child.port, HANDSHAKE, "{ type: server, churn: { high: 3x, normal: 2 } }"), tmp_path) as watch:
        settles(watch, "healthy")
        thread = threading.Thread(target=storm, args=(child.port,))
        thread.start()
        try:
            settles(watch, "reconnect_storm")
        finally:
            over.set()
            thread.join(SECONDS)


def test_a_limit_of_the_frame_size(tmp_path):
    """The server takes 20,000 bytes, and clients send more."""
    port = free_port()
    with process(PYTHON, SERVERS / "websockets_echo.py", port, port=port, env=environment(MAX_BYTES="20000")), \
            agent(conf(port, HANDSHAKE, "{ type: payload, timeout: 10s }"), tmp_path) as watch:
        found = settles(watch, "frame_limit")
        assert "20,001 bytes" in json.dumps(found) + (watch.check("payload")["message"] or ""), found


# --- the broker -------------------------------------------------------------------------------------------------------------------


def test_broker_faults(redis, tmp_path):  # noqa: F811
    """Frozen, gone, and back while the server has not subscribed anew: three faults that look alike from a socket."""
    with test_delivery.chat(redis, "--forgetful") as child, agent(test_delivery.conf(child.url, redis), tmp_path) as watch:
        settles(watch, "healthy")
        redis.child.send(signal.SIGSTOP)
        settles(watch, "broker_frozen")
        redis.child.send(signal.SIGCONT)
        settles(watch, "healthy")
        redis.stop()
        settles(watch, "broker_down")
        assert watch.ready()  # all instances are hit: none leaves
        redis.start()
        settles(watch, "server_detached_from_broker")
        assert not watch.ready()


# --- the network ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("percent, cause", [(100, "server_not_accepting"), (60, "server_slow")])
def test_packets_are_lost(tool, tmp_path, percent, cause):
    """Of what goes to the server's port, all or some. Nobody says no: only deadlines tell, or rounds that take much longer than slo allows."""
    nft = tool("nft")

    def rules(text):
        subprocess.run([nft, "-f", "-"], input=text, text=True, check=True, timeout=SECONDS)

    check = "{ type: handshake, timeout: 8s, slo: 200ms }" if percent < 100 else HANDSHAKE
    with own_network(tool("ip")), server() as child, agent(conf(child.port, check), tmp_path) as watch:
        settles(watch, "healthy")
        some = f"numgen random mod 100 < {percent}" if percent < 100 else ""
        rules("table inet loss {\nchain input {\ntype filter hook input priority 0\n" f"tcp dport {child.port} {some} drop\n}}\n}}\n")
        settles(watch, cause)
        rules("delete table inet loss\n")
        settles(watch, "healthy")
