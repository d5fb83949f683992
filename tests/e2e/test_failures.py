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
from harness import MODULES, PYTHON, SERVERS, agent, environment, free_port, process, until
from network import far_address, own_network
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
def haproxy(tool, directory, *behind, tunnel="1h", bind="", host="127.0.0.1", settings=""):
    port = free_port()
    lines = "".join(f"  server s{i} 127.0.0.1:{one}\n" for i, one in enumerate(behind))
    (directory / "h.cfg").write_text(f"""
global
  maxconn 500
  {settings}
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  timeout tunnel {tunnel}
frontend f
  bind {host}:{port} {bind}
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


# --- versions of HTTP ----------------------------------------------------------------------------------------------------------------


def https(certs, directory):
    """For bind and listen: a certificate of `localhost`, and its key, in one file."""
    cert, key = certs.leaf("good")
    pem = directory / "both.pem"
    pem.write_text(open(cert, encoding="ascii").read() + open(key, encoding="ascii").read())
    return pem, cert, key


BOTH = "{ name: public, type: handshake, path: public, http: both }"


@pytest.mark.parametrize("checks", [
    (HANDSHAKE, BOTH),
    (HANDSHAKE, "{ name: public, type: handshake, path: public, http: 2 }", "{ name: older, type: handshake, path: public }"),
])
@pytest.mark.parametrize("front", ["haproxy", "nginx"])
def test_a_front_without_websockets_over_http_2(tool, tmp_path, certs, front, checks):
    """It speaks HTTP/2, and no RFC 8441: haproxy where it is told not to, nginx at all."""
    pem, cert, key = https(certs, tmp_path)
    with server() as child, contextlib.ExitStack() as stack:
        if front == "haproxy":
            up = stack.enter_context(haproxy(tool, tmp_path, child.port, bind=f"ssl crt {pem} alpn h2,http/1.1",
                                             settings="h2-workaround-bogus-websocket-clients"))
        else:
            up = stack.enter_context(nginx(tool, tmp_path, child.port, "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;",
                                           listen=f"ssl http2; ssl_certificate {cert}; ssl_certificate_key {key}"))
        target = public(up.port, "wss") + f", tls: {{ ca_file: {certs.ca} }}"
        with agent(conf(child.port, *checks, target=target, timeout="3s"), tmp_path) as watch:
            found = settles(watch, "http2_broken")
            assert "works over HTTP/1.1" in found["sentence"] and "SETTINGS_ENABLE_CONNECT_PROTOCOL" in found["sentence"], found
            assert "Browsers are not hit" in json.dumps(found) and "allow_connect" in json.dumps(found), found


@pytest.mark.parametrize("fault, words", [("rst", "reset or cut before it is answered"), ("404", "is refused"), ("no-answer", "is not answered")])
def test_http_2_leads_elsewhere(tool, tmp_path, certs, fault, words):
    """What ends TLS sends HTTP/2 to a server that announces RFC 8441 and does not keep its word, and HTTP/1.1 to a good one."""
    pem, _, _ = https(certs, tmp_path)
    with server() as child, process(PYTHON, SERVERS / "h2_hostile.py", ready=lambda one: one.out().endswith("}\n")) as hostile:
        port = free_port()
        (tmp_path / "tls.cfg").write_text(f"""
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend f
  bind 127.0.0.1:{port} ssl crt {pem} alpn h2,http/1.1
  use_backend two if {{ ssl_fc_alpn h2 }}
  default_backend one
backend one
  server s 127.0.0.1:{child.port}
backend two
  server s 127.0.0.1:{json.loads(hostile.out())[fault]}
""")
        target = public(port, "wss") + f", tls: {{ ca_file: {certs.ca} }}"
        with process(tool("haproxy"), "-db", "-f", tmp_path / "tls.cfg", port=port), \
                agent(conf(child.port, HANDSHAKE, BOTH, target=target, timeout="2s"), tmp_path) as watch:
            found = settles(watch, "http2_broken")
            assert words in found["sentence"] and "h2-workaround-bogus-websocket-clients" in json.dumps(found["advice"]), found


def test_http_1_leads_elsewhere(tool, tmp_path, certs):
    """Over HTTP/1.1 the request is refused, over HTTP/2 it is not."""
    pem, _, _ = https(certs, tmp_path)
    rule = f"ssl crt {pem} alpn h2,http/1.1\n  http-request deny deny_status 400 if HTTP_1.1"
    with server() as child, haproxy(tool, tmp_path, child.port, bind=rule) as up, \
            agent(conf(child.port, HANDSHAKE, BOTH, target=public(up.port, "wss") + f", tls: {{ ca_file: {certs.ca} }}", timeout="3s"), tmp_path) as watch:
        settles(watch, "http1_broken")


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


def test_sessions_are_lost_after_a_deploy(redis, node, tmp_path):  # noqa: F811
    """The process that held them ends and another one starts. A fresh client is served as before: only who comes back is not known any more."""
    port = free_port()
    # One round sees it, as the session after it is a new one: it is shown until the next.
    reconnect = ("{ type: reconnect, interval: 4s, fast_interval: 4s, timeout: 30s, within: 15s, fall: 1, channel: news, resume: { missed: true }, "
                 "publish: { topic: \"{{channel}}\", body: \"{{payload}}\" } }")
    text = conf(port, HANDSHAKE, reconnect, target=", dialect: socket.io").replace("/ws", "/") + f"brokers: [ {{ name: bus, type: redis, url: \"redis://127.0.0.1:{redis.port}\" }} ]\n"

    def start():
        return process(node, SERVERS / "socketio_recovery.js", port, redis.port, port=port, env=environment(WSHEALTHD_MODULES=str(MODULES)))

    with agent(text, tmp_path) as watch:
        with start():
            until("a session was restored", lambda: "had missed" in (watch.check("reconnect")["message"] or ""), SECONDS)
        with start():
            found = until("state_not_restored", lambda: watch.status()["diagnosis"]["cause"] == "state_not_restored" and watch.status()["diagnosis"], SECONDS)
            assert "ended the connection between rounds" in found["sentence"] or "/pid is another one now" in watch.check("reconnect")["message"], found
            assert "memory of a process" in json.dumps(found["advice"]), found
            assert watch.ready()  # a new client is served
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
            agent(conf(child.port, HANDSHAKE, "{ type: hold, timeout: 10s }", *checks), tmp_path) as watch:
        # What is held must live through the rush of clients, also where the machine is busy.
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


@pytest.fixture
def detached(redis, tmp_path):  # noqa: F811
    """An agent that knows by the kernel alone what the server is connected to: no channel, no dialect, no delivery."""
    with test_delivery.chat(redis, "--forgetful") as child:
        text = conf(0, HANDSHAKE, f'{{ type: server, peers: {{ bus: "127.0.0.1:{redis.port}" }} }}').replace(
            "checks:", f'brokers: [{{ name: bus, type: redis, url: "redis://127.0.0.1:{redis.port}" }}]\nchecks:')
        with agent(text.replace("ws://127.0.0.1:0/ws", child.url), tmp_path) as watch:
            settles(watch, "healthy")
            yield watch


def test_a_server_loses_its_broker(detached, redis):  # noqa: F811
    """Its connection is cut, and it does not make another one; the broker is well."""
    redis.do("CLIENT", "KILL", "ID", redis.id_of_server())
    found = settles(detached, "server_detached_from_broker")
    assert "lost its connection to bus, which answers the agent" in found["sentence"] and found["because"] == ["server"], found
    assert detached.ready()


def test_a_broker_that_is_gone_detaches_nobody(detached, redis):  # noqa: F811
    """The server has no connection either, and that is not its fault. When the broker is back, it is."""
    redis.stop()
    settles(detached, "broker_down")
    until("the server's connection is missed", lambda: detached.check("server")["reason"] == "server_peer_lost", SECONDS)
    found = settles(detached, "broker_down")
    assert detached.ready(), found
    redis.start()
    settles(detached, "server_detached_from_broker")
    assert detached.ready()


# --- the network ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("percent, cause", [(100, "server_not_accepting"), (60, "network_loss")])
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


def test_packets_are_lost_on_the_public_path(tool, tmp_path):
    """Some of what goes to the load balancer: the rounds through it are late, and the kernel says that it had to send again."""
    nft, slow = tool("nft"), "{ name: public, type: handshake, path: public, timeout: 8s, slo: 150ms }"
    with own_network(tool("ip")), server() as child, haproxy(tool, tmp_path, child.port) as front, \
            agent(conf(child.port, HANDSHAKE, slow, target=public(front.port)), tmp_path) as watch:
        settles(watch, "healthy")
        rules = f"table inet loss {{\nchain input {{\ntype filter hook input priority 0\ntcp dport {front.port} numgen random mod 100 < 60 drop\n}}\n}}\n"
        subprocess.run([nft, "-f", "-"], input=rules, text=True, check=True, timeout=SECONDS)
        found = settles(watch, "network_loss")
        assert "The server is well, and through the public address" in found["sentence"], found


def test_a_connection_of_which_nothing_arrives_any_more(tool, tmp_path):
    """A filter on the way lets the upgrade pass, and drops what comes behind it: not even the server's kernel sees a ping."""
    nft = tool("nft")
    with own_network(tool("ip")), server() as child, agent(conf(child.port, "{ type: ping, timeout: 3s }"), tmp_path) as watch:
        settles(watch, "healthy")
        rules = f"table inet loss {{\nchain input {{\ntype filter hook input priority 0\ntcp dport {child.port} tcp flags & psh == psh ip length < 100 drop\n}}\n}}\n"
        subprocess.run([nft, "-f", "-"], input=rules, text=True, check=True, timeout=SECONDS)
        found = settles(watch, "network_loss")
        assert "not even acknowledged" in found["sentence"], found


def test_the_way_is_long(tool, tmp_path):
    """The public address is 60 ms away, each way; the server itself answers at once."""
    slow = "{ name: public, type: handshake, path: public, slo: 100ms }"
    with own_network(tool("ip")), far_address(tool("ip"), 0.06) as far, server() as child, \
            haproxy(tool, tmp_path, child.port, host="0.0.0.0") as front, \
            agent(conf(child.port, HANDSHAKE, slow, target=f', public_url: "ws://{far}:{front.port}/ws"', timeout="5s"), tmp_path) as watch:
        found = settles(watch, "network_slow")
        assert "the way to the public address is slow" in found["sentence"], found


def test_the_proxy_is_slow(tool, tmp_path):
    """As late as that, and on this host: it is what answers there that is slow, not the network."""
    slow = "{ name: public, type: handshake, path: public, slo: 100ms }"
    wait = 'tcp-request inspect-delay 240ms\n  tcp-request content accept if WAIT_END'
    with server() as child, haproxy(tool, tmp_path, child.port, bind="\n  " + wait) as front, \
            agent(conf(child.port, HANDSHAKE, slow, target=public(front.port), timeout="5s"), tmp_path) as watch:
        settles(watch, "server_slow")
