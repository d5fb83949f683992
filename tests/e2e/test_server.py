"""The check `server` against real sockets and processes: what the kernel knows of a server is counted, judged, and not blamed where it is hidden."""
import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import BINARY, PATIENCE, PYTHON, SERVERS, Process, agent, check, free_port, only, process, until
from network import own_network

CONF = """
target: {{ url: "{url}" }}
defaults: {{ interval: 400ms, fast_interval: 200ms, timeout: 5s, jitter: 0% }}
checks:
  - {{ name: server, type: server{options} }}
"""


class Server(Process):
    """tests/e2e/servers/capacity.py"""

    def __init__(self, host, where, *more, prefix=()):
        super().__init__([*prefix, PYTHON, SERVERS / "capacity.py", host, where, *more], stdin=subprocess.PIPE)
        self.host, self.where = "127.0.0.1" if host in ("::", "fork", "share", "both") else host, where
        until("the server listens", lambda: "ready" in self.out())

    def ask(self, *words, answer=True):
        before = self.out().count("done")
        self.child.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.child.stdin.flush()
        if answer:
            until(f"{words} is done", lambda: self.out().count("done") > before)


@contextlib.contextmanager
def server(host="127.0.0.1", where=None, *more, **named):
    child = Server(host, where or free_port(), *more, **named)
    try:
        yield child
    finally:
        child.end(signal.SIGKILL)
        child.cleanup()


@contextlib.contextmanager
def clients(port, count, host="127.0.0.1"):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connected(port, host)) for _ in range(count)]


def connected(port, host="127.0.0.1"):
    if isinstance(port, int):
        return socket.create_connection((host, port), timeout=PATIENCE)
    one = socket.socket(socket.AF_UNIX)
    one.connect(str(port))
    return one


def conf(port, options=""):
    url = f"ws://127.0.0.1:{port}/" if isinstance(port, int) else f"ws+unix://{port}:/"
    return CONF.format(url=url, options=", " + options if options else "")


def figures(child):
    return child.check("server").get("server") or {}


def established(child):
    return (figures(child).get("connections") or {}).get("established")


def reason(child):
    row = child.check("server")
    return row["state"], row["reason"]


def test_counts_without_the_agent(tmp_path):
    """2,000 connections are 2,000, though the agent holds some of its own and opens another twice a second."""
    with server() as child, clients(child.where, 2000):
        until("the server has taken them all", lambda: len(os.listdir(f"/proc/{child.pid}/fd")) > 2000)
        text = conf(child.where) + '  - { name: hold, type: tcp, interval: 500ms }\n'
        with agent(text, tmp_path) as watch:
            until("all are counted", lambda: established(watch) == 2000)
            time.sleep(2)
            row = figures(watch)
            assert row["connections"]["established"] == 2000 and row["opens"] == 0 and row["closes"] == 0, row
            assert row["accept_queue_limit"] == 512 and row["accept_queue"] == 0 and row["listeners"] == 1, row
            assert row["pid"] == child.pid and row["open_fds"] > 2000 and row["resident_bytes"] > 1 << 20, row
            assert row["max_fds"] >= row["open_fds"]
            text = watch.get("/metrics").body.decode()
            assert 'wshealthd_server_connections{check="server",state="established"} 2000\n' in text
            assert f'wshealthd_server_open_fds{{check="server"}} {row["open_fds"]}\n' in text
            assert watch.check("server")["gates"] == []
            until("the rates are known", lambda: figures(watch)["opens_per_s"] is not None)
            shown = watch.command("status")[1]
            assert re.search(r"2,000 connections, \+0/s -0/s, accept queue 0 of 512, .* fds 2,0\d\d of ", shown), shown


@pytest.mark.parametrize("host", ("::", "fork", "127.0.0.1"))
def test_listeners(tmp_path, host):
    """Clients that come by IPv4 to a listener at ::, and several listeners of one port."""
    with server(host) as child, clients(child.where, 7), agent(conf(child.where), tmp_path) as watch:
        until("all are counted", lambda: established(watch) == 7)
        assert figures(watch)["listeners"] == (2 if host == "fork" else 1)
        assert figures(watch)["accept_queue_limit"] == (1024 if host == "fork" else 512)


def test_unix(tmp_path):
    path = tmp_path / "s.sock"
    with server("unix", str(path), "5") as child, clients(path, 4), agent(conf(path, "backlog: 80%"), tmp_path) as watch:
        until("all are counted", lambda: established(watch) == 4)
        assert figures(watch)["accept_queue_limit"] == 5
        assert watch.check("server")["gates"] == ["ready"]
        os.kill(child.pid, signal.SIGSTOP)
        with clients(path, 5):
            until("the queue is full", lambda: reason(watch) == ("fail", "server_backlog_high"))
            assert figures(watch)["accept_queue"] == 5 and established(watch) == 4
        os.kill(child.pid, signal.SIGCONT)
        watch.wait_ready()


def test_full_accept_queue(tmp_path):
    with server("127.0.0.1", None, "8") as child, agent(conf(child.where, "backlog: { high: 80%, low: 10% }"), tmp_path) as watch:
        watch.wait_ready()
        os.kill(child.pid, signal.SIGSTOP)
        with clients(child.where, 8):
            watch.wait_not_ready()
            assert reason(watch) == ("fail", "server_backlog_high")
            assert "accept queue is 100% full" in watch.check("server")["message"]
            assert established(watch) == 0, "what waits in the queue is no connection of the server's yet"
        os.kill(child.pid, signal.SIGCONT)
        watch.wait_ready()


def test_mass_disconnect(tmp_path):
    with server() as child, clients(child.where, 200), agent(conf(child.where, "drop: 50% in 10s"), tmp_path) as watch:
        until("all are counted", lambda: established(watch) == 200)
        child.ask("drop", 150)
        until("it is seen", lambda: reason(watch) == ("fail", "server_connections_dropped"))
        message = watch.check("server")["message"]
        assert re.search(r"lost \d+ of 200 connections within 10s; the server's side ended \d+ of them first", message), message
        until("they are counted", lambda: figures(watch)["closes"] == 150)
        with clients(child.where, 120):
            until("the clients are back", lambda: watch.check("server")["state"] == "pass")


def test_a_drop_while_draining_is_meant(tmp_path):
    with server() as child, clients(child.where, 100), agent(conf(child.where, "drop: 50% in 10s"), tmp_path) as watch:
        until("all are counted", lambda: established(watch) == 100)
        watch.command("drain")
        child.ask("drop", 100)
        until("they are gone", lambda: established(watch) == 0)
        time.sleep(1)
        assert watch.check("server")["state"] == "pass"


def test_a_restart_is_named(tmp_path):
    port = free_port()
    with agent(conf(port, "drop: 50% in 10s"), tmp_path) as watch:
        with server("127.0.0.1", port) as child, clients(port, 50):
            until("all are counted", lambda: established(watch) == 50)
            child.end(signal.SIGKILL)
            until("it is gone, and that is a warning", lambda: reason(watch) == ("warn", "server_gone"))
            assert watch.check("server")["message"].endswith("the server's socket is gone"), watch.check("server")  # and blames no namespace
            assert watch.ready()
        with server("127.0.0.1", port):
            until("it is there", lambda: figures(watch)["restarted"] and watch.check("server")["state"] in ("pass", "warn"))
            assert watch.ready()


def test_max_connections_has_two_edges(tmp_path):
    with server() as child, agent(conf(child.where, "max_connections: { high: 20, low: 10 }"), tmp_path) as watch:
        watch.wait_ready()
        with clients(child.where, 15):
            with clients(child.where, 5):
                until("full", lambda: reason(watch) == ("fail", "server_connections_high"))
            until("five are gone", lambda: established(watch) == 15)
            time.sleep(1)
            assert watch.check("server")["state"] == "fail", "between the edges it stays as it was"
        watch.wait_ready()


def test_descriptors(tmp_path):
    with server(prefix=("prlimit", "--nofile=100:100")) as child, agent(conf(child.where, "fds: 90%"), tmp_path) as watch:
        watch.wait_ready()
        child.ask("files", 85)
        until("near the limit", lambda: reason(watch) == ("fail", "server_fds_high"))
        assert figures(watch)["max_fds"] == 100


def test_leak(tmp_path):
    with server() as child, agent(conf(child.where, "memory: 150MiB"), tmp_path) as watch:
        watch.wait_ready()
        child.ask("leak", 200)
        until("it leaks", lambda: reason(watch) == ("fail", "server_memory_high"))


def test_runaway_cpu(tmp_path):
    """Seen over ten seconds: a moment of work is no fault. The machine may be busy with other tests."""
    with server() as child, agent(conf(child.where, "cpu: 10%"), tmp_path) as watch:
        watch.wait_ready()
        child.ask("spin", answer=False)
        until("it spins", lambda: reason(watch) == ("fail", "server_cpu_high"), seconds=6 * PATIENCE)


def test_another_user(tmp_path, tool):
    """Its descriptors cannot be read, so the port does not lead to the process; a pid file does. The sockets are there."""
    if os.geteuid() != 0:
        pytest.skip("needs another user")
    pid_file, binary = tmp_path / "pid", shutil.copy(BINARY, tmp_path / "wshealthd")
    os.chmod(tmp_path, 0o755)
    os.chmod(binary, 0o755)
    for parent in tmp_path.parents[:3]:
        os.chmod(parent, os.stat(parent).st_mode | 0o055)
    with server() as child, clients(child.where, 3):
        pid_file.write_text(f"{child.pid}\n")
        for options, seen in (("", False), (f'\n    pid_file: "{pid_file}"', True)):
            text = conf(child.where).replace("{ name: server, type: server }", f"name: server\n    type: server{options}")
            (tmp_path / "c.yaml").write_text(text)
            done = subprocess.run([tool("setpriv"), "--reuid=65534", "--clear-groups", binary, "check", "-c", tmp_path / "c.yaml", "--json"],
                                  capture_output=True, text=True, timeout=60, check=False)
            row = json.loads(done.stdout)["checks"][0]
            assert row["state"] == "pass" and row["server"]["connections"]["established"] == 3, (done.stdout, done.stderr)
            assert (row["server"]["resident_bytes"] is not None) == seen, row
            assert ("cannot be seen" in (row["message"] or "")) != seen, row


def test_another_network(tmp_path, tool):
    """In a network namespace without the server nothing is seen, and nothing is held against it."""
    with server() as child:
        with own_network(tool("ip")), agent(conf(child.where, "max_connections: 1, backlog: 1%"), tmp_path) as watch:
            until("a round has passed", lambda: watch.check("server")["state"] == "pass")
            assert "nothing listens on port" in watch.check("server")["message"]


def test_peers(tmp_path, tool):
    """A real broker: connected, with the agent's own connection beside it; killed; stopped, so that what the server writes waits."""
    port = free_port()
    redis = [tool("redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path]
    options = f'peers: {{ bus: "localhost:{port}" }}'
    text = conf(0).replace("checks:", f'brokers:\n  - {{ name: bus, type: redis, url: "redis://127.0.0.1:{port}" }}\nchecks:')
    with server() as child:
        text = text.replace(":0/", f":{child.where}/").replace("type: server", "type: server, " + options)

        def peer():
            return (figures(watch).get("peers") or [{}])[0]

        with process(*redis, port=port) as broker, agent(text, tmp_path) as watch:
            until("the agent's own connection is not the server's", lambda: reason(watch) == ("warn", "server_peer_lost"))
            until("the agent is connected", lambda: watch.check("bus")["state"] == "pass")
            time.sleep(1)
            assert peer()["state"] == "lost" and watch.ready()
            child.ask("connect", port)
            until("it is connected", lambda: peer().get("state") == "connected" and peer()["connections"] == 1)
            until("that is a pass", lambda: watch.check("server")["state"] == "pass")
            os.kill(broker.pid, signal.SIGSTOP)
            child.ask("write", 32 << 20)
            until("the broker does not take it", lambda: peer()["state"] == "unreached" and peer()["unacknowledged_bytes"] > 0)
            assert "bus or the way to it is slow" in watch.check("server")["message"]
            broker.end(signal.SIGKILL)
            until("the connection is lost", lambda: peer()["state"] == "lost")


def test_a_server_that_reconnects_has_lost_nothing(tmp_path):
    """It is away for a look or two: said, and no warning. What stays away is one."""
    def told():
        row = watch.check("server")
        return row["state"], row["server"]["peers"][0]["state"], row["message"] or ""

    with socket.create_server(("127.0.0.1", 0)) as bus, server() as child:
        port = bus.getsockname()[1]
        with agent(conf(child.where, f'peers: {{ bus: "127.0.0.1:{port}" }}'), tmp_path) as watch:
            for _ in range(5):
                child.ask("connect", port)
                until("it is connected", lambda: told()[:2] == ("pass", "connected"))
                began = time.monotonic()
                child.ask("disconnect")
                until("it is seen", lambda: told()[1] == "lost")
                state, _, message = told()
                if time.monotonic() - began < 2:  # else this machine has been away itself
                    assert state == "pass" and "the server has no connection to bus" in message and "at the moment" in message, (state, message)
            until("it stays away", lambda: reason(watch) == ("warn", "server_peer_lost"))
            assert watch.ready()


class Page(http.server.BaseHTTPRequestHandler):
    body, count = b"", 0

    def do_GET(self):
        kind = type(self).body
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            if kind == "endless":
                while True:
                    self.wfile.write(b"x 1\n" * 10000)
            elif kind == "slow":
                for _ in range(600):
                    self.wfile.write(b"# ")
                    time.sleep(0.1)
            else:
                type(self).count += 100
                self.wfile.write(kind.replace(b"COUNT", str(type(self).count).encode()))

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def page():
    kind = type("MyPage", (Page,), {})
    one = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    one.daemon_threads = True
    thread = threading.Thread(target=one.serve_forever)
    thread.start()
    try:
        yield kind, f"http://127.0.0.1:{one.server_address[1]}/metrics"
    finally:
        one.shutdown()
        thread.join()
        one.server_close()


def test_metrics_page(tmp_path):
    """Gauges as they are, counters per second; a limit of a figure fails, a page that is none warns, and nothing hangs."""
    good = b'# TYPE lag gauge\nlag_seconds{loop="a"} LAG\n# TYPE messages counter\nmessages_total COUNT\n'
    with page() as (kind, url), server() as child:
        kind.body = good.replace(b"LAG", b"0.01")
        options = f'metrics_url: "{url}", series: {{ lag: {{ name: lag_seconds, max: 250ms }}, rate: messages_total }}'
        with agent(conf(child.where, options).replace("timeout: 5s", "timeout: 1s"), tmp_path) as watch:
            watch.wait_ready()
            until("the rate is known", lambda: [one["value"] for one in figures(watch)["series"] if one["name"] == "rate"][0])
            assert watch.check("server")["gates"] == ["ready"]
            kind.body = good.replace(b"LAG", b"0.5")
            until("the loop lags", lambda: reason(watch) == ("fail", "server_series_high"))
            assert "lag is 0.5s, max is 250ms" in watch.check("server")["message"]
            for bad in (b"<html>no</html>", b"", b"other 1\n", b"x 1\n" * 1000000, "endless", "slow"):
                kind.body = bad
                until(f"{bad[:20]} is a warning", lambda: reason(watch) == ("warn", "server_metrics_missing"))
                assert watch.ready()
                kind.body = good.replace(b"LAG", b"0.01")
                until("it is well again", lambda: watch.check("server")["state"] == "pass")


def test_real_client_page(tmp_path):
    """The page of prometheus_client itself: the resident memory of the process that serves it."""
    pytest.importorskip("prometheus_client")
    port = free_port()
    code = f"import prometheus_client as p, time; p.start_http_server({port}); time.sleep(600)"
    with process(PYTHON, "-c", code, port=port), server() as child:
        options = f'metrics_url: "http://127.0.0.1:{port}/", series: {{ heap: {{ name: process_resident_memory_bytes, max: 1MiB }} }}'
        with agent(conf(child.where, options), tmp_path) as watch:
            until("it is over", lambda: reason(watch) == ("fail", "server_series_high"))


def storm(port, seconds, pause, count=10, first=True):
    """So many connections at once, which are over before anybody looks, again and again; the client's side ends them first, or the server's."""
    end, made = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as one:
                if not first:
                    one.sendall(b"bye")
                    assert one.recv(1) == b""
            made += 1
        time.sleep(pause)
    return made


@pytest.mark.parametrize("first", (True, False))
def test_churn(tmp_path, first):
    """Short connections are seen by what they leave behind, whoever ends them. While a drain is announced they are expected."""
    with server() as child, clients(child.where, 5), agent(conf(child.where, "churn: { high: 3x, normal: 5 }"), tmp_path) as watch:
        watch.wait_ready()
        until("the rates are known", lambda: figures(watch)["opens_per_s"] is not None)
        made = storm(child.where, 6, 0.2, first=first)
        until("all are counted", lambda: figures(watch)["opens"] >= made * 0.9 and figures(watch)["closes"] >= made * 0.9)
        assert figures(watch)["opens"] <= made, (figures(watch), made)
        until("it is a storm", lambda: storm(child.where, 1, 0.2, first=first) and reason(watch) == ("fail", "server_churn_high"), 60)
        message = watch.check("server")["message"]
        assert re.search(r"connections come and go at \d+\.\d a second, \d+\.\d times the normal 5\.0 \(churn: 3x\)", message), message
        assert not watch.ready()
        assert watch.status()["diagnosis"]["cause"] == "reconnect_storm"
        watch.command("drain")
        until("it is expected", lambda: watch.check("server")["state"] == "pass")
        storm(child.where, 3, 0.2, first=first)
        assert watch.check("server")["state"] == "pass"
        watch.command("resume")
        storm(child.where, 2, 0.2, first=first)
        assert watch.check("server")["state"] == "pass", "clients come back after a deploy"


def test_growth(tmp_path):
    with server() as child, clients(child.where, 60), agent(conf(child.where, "growth: 100% in 1m"), tmp_path) as watch:
        watch.wait_ready()
        until("all are counted", lambda: established(watch) == 60)
        with clients(child.where, 40):
            until("all are counted", lambda: established(watch) == 100)
            assert watch.check("server")["state"] == "pass", "67 %"
            with clients(child.where, 30):
                until("they double", lambda: reason(watch) == ("fail", "server_connections_high"))
                assert "connections grew from 60 to " in watch.check("server")["message"], watch.check("server")["message"]
                assert not watch.ready()
        watch.wait_ready()


def test_two_listeners_of_two_families(tmp_path):
    """127.0.0.1 and ::1 are one server where the name means both, and two where an address means one."""
    with server("both") as child, clients(child.where, 4), clients(child.where, 3, "::1"):
        both = len({one[4][0] for one in socket.getaddrinfo("localhost", child.where, type=socket.SOCK_STREAM)} & {"127.0.0.1", "::1"}) == 2
        for host, count, listeners in (("localhost", 7 if both else 4, 2 if both else 1), ("127.0.0.1", 4, 1), ("[::1]", 3, 1)):
            text = conf(child.where).replace("127.0.0.1", host)
            with agent(text, tmp_path) as watch:
                until(f"{count} by {host}", lambda: established(watch) == count)
                assert figures(watch)["listeners"] == listeners, host
                assert figures(watch)["accept_queue_limit"] == 512 * listeners


def test_a_stopped_server(tmp_path):
    """Stopped is not gone: its sockets and figures are there, and without a limit nothing is held against it."""
    with server() as child, clients(child.where, 6), agent(conf(child.where), tmp_path) as watch:
        until("all are counted", lambda: established(watch) == 6)
        os.kill(child.pid, signal.SIGSTOP)
        with clients(child.where, 4):
            until("they wait", lambda: figures(watch)["accept_queue"] == 4)
            time.sleep(1)
            row = watch.check("server")
            assert row["state"] == "pass" and established(watch) == 6 and row["server"]["pid"] == child.pid, row
            assert not row["server"]["gone"] and watch.ready()
        os.kill(child.pid, signal.SIGCONT)
        until("it goes on", lambda: figures(watch)["accept_queue"] == 0)


def test_check_by_itself():
    with server() as child, clients(child.where, 5):
        row = only(check(f"ws://127.0.0.1:{child.where}/", "server")[1])
        assert row["state"] == "pass" and row["server"]["connections"]["established"] == 5, row
