#!/usr/bin/python3
"""run.py BUILD [FIGURE...]: the figures of `make bench`, each beside its reference, measured in this one run.

Agent and reference take turns, and the median of the turns counts, so that a noisy machine disturbs both alike. A figure's ratio is what
is judged; absolute numbers are those of this machine. FIGUREs: cpu rss held ready busy events rtt start event delivery killed frozen
connection lag channels server drain fleet tables. Exit code 1 when one misses.
"""
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
BUILD = pathlib.Path(sys.argv[1]).resolve()
os.environ["WSHEALTHD_BUILD"] = str(BUILD)
from certs import Certs  # noqa: E402  (after the path is set)
from harness import PYTHON, Process, connects, free_port, until  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
AGENT = str(BUILD / "release" / "wshealthd")
TOOLS = BUILD / "release" / "tests" / "bench"
TURNS = 5
COUNTED = 15000
DRAINED = 200
CPUS = sorted(os.sched_getaffinity(0))
ROWS = []
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def row(figure, value, unit, reference, what, ratio, target, ok):
    if ok is not None:
        ROWS.append(ok)
    shown = "-" if reference is None else f"{reference:.3g} {unit} ({what})"
    ratio = "-" if ratio is None else f"{ratio:.2f}"
    print(f"{figure:<44} {value:>9.4g} {unit:<6} {shown:<42} {ratio:>7}  {target:<18} {'' if ok is None else 'ok' if ok else 'MISS'}".rstrip(), flush=True)


def skip(figure, why):
    print(f"{figure:<44} skipped: {why}", flush=True)


def pinned(index):
    """preexec: on one core, where there are several, with all the descriptors that may be had."""

    def prepare():
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if index is not None and len(CPUS) > 1:
            os.sched_setaffinity(0, {CPUS[index % len(CPUS)]})

    return prepare


@contextlib.contextmanager
def process(*args, port=None, cpu=None, ready=None):
    child = Process(args, preexec_fn=pinned(cpu), env=dict(os.environ))
    try:
        if port or ready:
            def up():
                assert child.running(), f"{args[0]}: {child.err()}{child.out()}"
                return ready() if ready else connects(port)

            until(f"{args[0]} is up", up)
        yield child
    finally:
        child.end(seconds=10)
        child.cleanup()


@contextlib.contextmanager
def echo_server(*pair, cpu=None):
    port = free_port()
    with process(TOOLS / "echo_server", port, *pair, port=port, cpu=cpu) as child:
        child.port = port
        yield child


def count(port):
    """(accepted, open) connections of the echo server; this question is one of them."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/count")
    accepted, opened = connection.getresponse().read().split()
    connection.close()
    return int(accepted), int(opened)


@contextlib.contextmanager
def agent(text, cpu=None, wait=True, admin="off"):
    with tempfile.TemporaryDirectory(prefix="wshealthd-bench-") as directory:
        port = free_port()
        file = pathlib.Path(directory) / "wshealthd.yaml"
        file.write_text(f"listen: 127.0.0.1:{port}\nadmin: {admin}\nlog: {{ level: error }}\n{text}")
        with process(AGENT, "run", "-c", file, port=port, cpu=cpu) as child:
            child.port, child.file = port, file
            if wait:
                until("/ready is 200", lambda: get(port, "/ready")[0] == 200, 60)
            yield child


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def cpu_ns(pid):
    """Processor time of all threads, in nanoseconds."""
    return sum(int(pathlib.Path(f"/proc/{pid}/task/{t}/schedstat").read_text().split()[0]) for t in os.listdir(f"/proc/{pid}/task"))


def memory_kib(pid, field="VmRSS"):
    return int(re.search(rf"^{field}:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1])


def target(port, scheme="ws", more=""):
    return f'target: {{ url: "{scheme}://127.0.0.1:{port}/ws"{more} }}\n'


def rounds(port):
    return sum(float(line.rsplit(" ", 1)[1]) for line in get(port, "/metrics")[1].splitlines()
               if line.startswith("wshealthd_check_rounds_total{") and 'result="pass"' in line)


def cpu_per(child, counter, seconds):
    """Processor time of one of what counter counts. The questions themselves are few."""
    before, start = counter(), cpu_ns(child.pid)
    time.sleep(seconds)
    used, after = cpu_ns(child.pid) - start, counter()
    return used / (after - before) / 1000


# --- the figures ---------------------------------------------------------------------------------------------------------------
def reference_client(port, exchanges, pause_us=0):
    out = subprocess.run([TOOLS / "ref_client", str(port), str(exchanges), str(pause_us)], check=True, capture_output=True, text=True, timeout=120,
                         preexec_fn=pinned(0))
    return [int(n) / 1000 for n in out.stdout.split()]


def echo_checks(port, checks, interval, kind="echo"):
    body = "".join(f"  - {{ name: c{n}, type: {kind} }}\n" for n in range(checks))
    return f"{target(port)}defaults: {{ interval: {interval}, timeout: 2s, jitter: 0% }}\nchecks:\n{body}"


HAPROXY = """
global
  maxconn 100{more}
defaults
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 1s
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  option httpchk
  http-check send meth GET uri /ws ver HTTP/1.1 hdr Host x hdr Upgrade websocket hdr Connection Upgrade hdr Sec-WebSocket-Version 13 hdr Sec-WebSocket-Key dGhlIHNhbXBsZSBub25jZQ==
  http-check expect status 101
"""


def figure_cpu():
    """haproxy runs its checks in step, all at one wake-up; the agent's are spread, so haproxy is measured with spread-checks as well."""
    ours, alone, least, proxy, spread, python = [], [], [], [], [], []
    haproxy = shutil.which("haproxy", path=PATH)
    with echo_server(cpu=1) as server, tempfile.TemporaryDirectory() as directory:
        port = free_port()
        servers = "".join(f"  server s{n} 127.0.0.1:{server.port} check inter 100ms\n" for n in range(20))
        for name, more in (("step", ""), ("spread", "\n  spread-checks 50")):
            (pathlib.Path(directory) / name).write_text(HAPROXY.format(port=port, more=more) + servers)
        for _ in range(TURNS):
            # At the agent's own rate: a client that never rests keeps its caches warm and pays for no wake-up.
            least.append(reference_client(server.port, 600, 5000)[0])
            with agent(echo_checks(server.port, 20, "100ms"), cpu=0) as child:
                time.sleep(1)
                ours.append(cpu_per(child, lambda: rounds(child.port), 3))
            with agent(echo_checks(server.port, 20, "100ms", "handshake"), cpu=0) as child:
                time.sleep(1)
                alone.append(cpu_per(child, lambda: rounds(child.port), 3))
            for name, into in (("step", proxy), ("spread", spread)) if haproxy else ():
                with process(haproxy, "-db", "-f", f"{directory}/{name}", port=port, cpu=0) as child:
                    time.sleep(1)
                    into.append(cpu_per(child, lambda: count(server.port)[0], 3))
            python.append(int(subprocess.run([PYTHON, HERE / "python_client.py", str(server.port), "300"], check=True, capture_output=True,
                                             text=True, timeout=120, preexec_fn=pinned(0)).stdout) / 1000)
    ours, alone, least, python = map(statistics.median, (ours, alone, least, python))
    row("CPU of a fresh handshake, echo and close", ours, "us", least, "blocking C client", ours / least, "<= 1.5 x", ours <= 1.5 * least)
    if proxy:
        proxy, spread = statistics.median(proxy), statistics.median(spread)
        row("  the same, against haproxy's 101-only check", ours, "us", proxy, "haproxy", ours / proxy, "< 1 x", ours < proxy)
        row("  the handshake and close alone, likewise", alone, "us", proxy, "haproxy", alone / proxy, "(for comparison)", None)
        row("  the same, against haproxy's spread-checks", alone, "us", spread, "haproxy spread", alone / spread, "(for comparison)", None)
    else:
        skip("  the same, against haproxy's 101-only check", "haproxy is missing")
    row("  the same, against a resident Python client", ours, "us", python, "python3-websockets", ours / python, "< 1 x", ours < python)


def full_history(checks):
    """The file of an agent that has run for a day (agent/report/history_file.c): every bucket, every bin, all changes with long sentences."""
    def text(value):
        return struct.pack("<H", len(value)) + value.encode()

    now_ms, buckets, hour, bins = int(time.time() * 1000), 288, 13, 146
    long = "the server refuses one connection after the other " * 8
    body = struct.pack("<qqB", now_ms, 0, 0)
    body += struct.pack("<H", 200) + b"".join(
        struct.pack("<qBB", now_ms - i * 1000, 0 if i % 2 else 2, 1) + text("healthy" if i % 2 else "server_down") + 2 * text(long) for i in range(200))
    body += struct.pack("<H", 100) + b"".join(
        struct.pack("<qqB", now_ms - i * 2000 - 1000, now_ms - i * 2000, 1) + text("server_down") + 2 * text(long) + struct.pack("<IB", 1, 0) for i in range(100))
    body += struct.pack("<H", len(checks))
    for name in checks:
        body += 2 * text(name) + struct.pack("<BqH", 2 | 8, now_ms // 300000, buckets)
        body += b"".join(struct.pack("<HHHHBBB", i, 60, 1, 1, 20, 40, 60) for i in range(buckets))
        body += hour * (struct.pack("<B", bins) + b"".join(struct.pack("<BH", i, 1 + i % 7) for i in range(bins)))
    return b"wshealthd history 1\n" + hashlib.sha256(body).digest() + body


def rss_with_history(server):
    """The same agent with a day behind it: its changes are answered once, and the file is written."""
    with tempfile.TemporaryDirectory(prefix="wshealthd-bench-") as directory:
        file = pathlib.Path(directory) / "history"
        file.write_bytes(full_history(["handshake", "ping", "hold"]))
        with agent(target(server.port) + f"history: {{ file: {file} }}\n") as child:
            until("it was read", lambda: len(json.loads(get(child.port, "/history")[1])["checks"][0]["buckets"]) == 288)
            time.sleep(5)
            return memory_kib(child.pid) / 1024


def figure_rss():
    with echo_server() as server, process(TOOLS / "linked") as linked, agent(target(server.port)) as child:
        time.sleep(5)
        mine, floor = memory_kib(child.pid) / 1024, memory_kib(linked.pid) / 1024
    row("memory of run, three default checks", mine, "MiB", floor, "the libraries alone", mine / floor, "<= 5 MiB", mine <= 5)
    with echo_server() as server:
        full = rss_with_history(server)
    row("  the same with a day of history full, read from its file and answered", full, "MiB", mine, "without", full / mine, "<= 5.2 MiB", full <= 5.2)


def held(port, connections, scheme="ws", more=""):
    return (f"{target(port, scheme, more)}defaults: {{ interval: 60s, timeout: 50s, jitter: 0% }}\n"
            f"checks: [ {{ name: hold, type: hold, connections: {connections}, for: 24h }} ]\n")


def held_memory(server, connections, scheme="ws", more=""):
    """Anonymous memory of so many held connections above that of one, in KiB each."""
    used = []
    for number in (1, connections):
        with agent(held(server.port, number, scheme, more)) as child:
            until("all are held", lambda: f"}} {number}\n" in "".join(
                line + "\n" for line in get(child.port, "/metrics")[1].splitlines() if line.startswith("wshealthd_held_connections{")), 120)
            time.sleep(2)
            used.append(memory_kib(child.pid, "RssAnon"))
    return (used[1] - used[0]) / (connections - 1)


def figure_held():
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = min(9000, hard - 1000)
    with echo_server() as server:
        each = held_memory(server, connections)
    row(f"memory of a held connection, plain, {connections}", each, "KiB", None, "", None, "<= 0.5 KiB", each <= 0.5)
    connections = min(2000, hard - 1000)
    with tempfile.TemporaryDirectory() as directory:
        certs = Certs(directory)
        with echo_server(*certs.leaf("good")) as server:
            each = held_memory(server, connections, "wss", f", tls: {{ ca_file: {certs.ca} }}")
    row(f"memory of a held connection, TLS, {connections}", each, "KiB", None, "", None, "<= 40 KiB", each <= 40)


def wrk(port, seconds=3, connections=16, path="/ready"):
    """(requests a second, p99 in microseconds)"""
    out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}{path}"], check=True,
                         capture_output=True, text=True, timeout=60, preexec_fn=pinned(1)).stdout
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()
    assert "Non-2xx" not in out, out
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]), float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


NGINX = """
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log crit; user root;
events {{ worker_connections 512; }}
http {{ access_log off; keepalive_requests 100000000;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  server {{ listen 127.0.0.1:{port}; location / {{ default_type text/plain; return 200 "ready\\n"; }} }} }}
"""


def figure_ready():
    nginx = shutil.which("nginx", path=PATH)
    if not nginx or not shutil.which("wrk"):
        skip("/ready throughput and p99", "nginx or wrk is missing")
        return
    ours, theirs = [], []
    with echo_server(cpu=1) as server, tempfile.TemporaryDirectory() as directory:
        port = free_port()
        (pathlib.Path(directory) / "n.conf").write_text(NGINX.format(dir=directory, port=port))
        with process(nginx, "-e", f"{directory}/error.log", "-p", directory, "-c", f"{directory}/n.conf", port=port, cpu=0), \
                agent(target(server.port), cpu=0) as child:
            for _ in range(TURNS):
                ours.append(wrk(child.port))
                theirs.append(wrk(port))
    rate, p99 = (statistics.median(x) for x in zip(*ours))
    their_rate, their_p99 = (statistics.median(x) for x in zip(*theirs))
    row("/ready, requests a second on one core", rate, "1/s", their_rate, "nginx return 200", rate / their_rate, ">= 0.8 x", rate >= 0.8 * their_rate)
    row("/ready, p99", p99, "us", their_p99, "nginx return 200", p99 / their_p99, "<= 1.5 x", p99 <= 1.5 * their_p99)


def figure_busy():
    """1,000 connections, each pinged once a second, against none."""
    if not shutil.which("wrk"):
        skip("/ready p99 while 1,000 are held", "wrk is missing")
        return
    idle, busy = [], []
    with echo_server(cpu=1) as server:
        text = (f"{target(server.port)}defaults: {{ interval: 1s, timeout: 900ms, jitter: 0%% }}\n"
                "checks: [ { name: hold, type: hold, connections: %d, for: 24h } ]\n")
        for _ in range(TURNS):
            for connections, into in ((1, idle), (1000, busy)):
                with agent(text % connections, cpu=0) as child:
                    until("all are held", lambda: f"}} {connections}\n" in get(child.port, "/metrics")[1], 60)
                    time.sleep(1)
                    into.append(wrk(child.port, 5, 1)[1])
    idle, busy = statistics.median(idle), statistics.median(busy)
    row("/ready p99, 1,000 held and pinged each second", busy, "us", idle, "one held", busy / idle, "<= 2 x", busy <= 2 * idle)


def figure_events():
    """100 readers of /events, and of the page's sections, against none; the agent has a change to tell each second."""
    if not shutil.which("wrk"):
        skip("/ready p99 while 100 read /events", "wrk is missing")
        return
    nobody, read = [], {"/events": [], "/events?page": []}
    with echo_server(cpu=1) as server, agent(target(server.port) + "defaults: { interval: 1s }\n", cpu=0) as child:
        for _ in range(TURNS):
            nobody.append(wrk(child.port, 4, 1)[1])
            for path, into in read.items():
                with process(PYTHON, HERE / "event_readers.py", child.port, 100, path, cpu=1) as readers:
                    until("all read", lambda: "all read" in readers.out(), 60)
                    into.append(wrk(child.port, 4, 1)[1])
    nobody = statistics.median(nobody)
    for path, into in read.items():
        p99 = statistics.median(into)
        row(f"/ready p99, 100 read {path}", p99, "us", nobody, "nobody reads", p99 / nobody, "<= 1.5 x", p99 <= 1.5 * nobody)


def figure_rtt():
    ours, theirs = [], []
    with echo_server(cpu=1) as server:
        for _ in range(TURNS):
            theirs.append(reference_client(server.port, 500, 5000)[1])
            with agent(echo_checks(server.port, 1, "100ms"), cpu=0) as child:
                seen = {}
                end = time.monotonic() + 6
                while time.monotonic() < end:
                    check = json.loads(get(child.port, "/status")[1])["checks"][0]
                    seen[check["last"]] = check["rtt_ms"] * 1000
                    time.sleep(0.09)
                ours.append(statistics.median(seen.values()))
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    row("reported round trip, median", ours, "us", theirs, "blocking C client", ours / theirs, "within 20 us", abs(ours - theirs) <= 20)


def figure_start():
    times = []
    with echo_server() as server, tempfile.TemporaryDirectory() as directory:
        for _ in range(9):
            port = free_port()
            file = pathlib.Path(directory) / "wshealthd.yaml"
            file.write_text(f"listen: 127.0.0.1:{port}\nadmin: {admin}\nlog: {{ level: error }}\n{target(server.port)}")
            start = time.monotonic()
            child = subprocess.Popen([AGENT, "run", "-c", file])
            try:
                while True:
                    try:
                        if get(port, "/ready")[0] == 200:
                            break
                    except OSError:
                        pass
                    assert time.monotonic() - start < 10
                    time.sleep(0.0005)
                times.append((time.monotonic() - start) * 1000)
            finally:
                child.send_signal(signal.SIGTERM)
                child.wait(10)
    value = statistics.median(times)
    row("from exec to the first 200 on /ready", value, "ms", None, "", None, "<= 50 ms", value <= 50)


def figure_event():
    """From the reset of a held connection to the first 503, by a client that asks without pause."""
    delays = []
    with echo_server(cpu=1) as server:
        text = (f"{target(server.port)}defaults: {{ interval: 1s, timeout: 900ms, jitter: 0%, fall: 1 }}\n"
                "checks: [ { name: hold, type: hold, for: 24h } ]\n")
        with agent(text, cpu=0) as child, socket.create_connection(("127.0.0.1", child.port)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for turn in range(7):
                until("ready", lambda: get(child.port, "/ready")[0] == 200)
                server.send(signal.SIGUSR1)
                while True:
                    sock.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
                    answer = sock.recv(4096)
                    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
                    if answer.startswith(b"HTTP/1.1 503"):
                        break
                lines = until("the server says when", lambda: (server.out().split() + [None] * 99)[turn] and server.out().split())
                delays.append((now - int(lines[turn])) / 1e6)
    value = statistics.median(delays)
    row("from a reset of a held connection to 503", value, "ms", None, "", None, "<= 5 ms", value <= 5)


# --- brokers -------------------------------------------------------------------------------------------------------------------
BROKERS = {
    "redis": lambda port, directory: ("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", directory),
    "nats": lambda port, directory: ("nats-server", "-a", "127.0.0.1", "-p", port),
}


class Broker:
    """A broker of this run's own on a port that it keeps, and a WebSocket server that forwards what is published."""

    def __init__(self, name, stack, cpu=None):
        self.name, self.cpu, self.port, self.bridge_port = name, cpu, free_port(), free_port()
        self.directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="wshealthd-bench-"))
        self.processes = stack.enter_context(contextlib.ExitStack())
        self.start()
        stack.enter_context(process(TOOLS / "bridge_server", self.bridge_port, self.port, name, port=self.bridge_port, cpu=cpu))

    def start(self):
        program, *args = BROKERS[self.name](self.port, self.directory)
        self.child = self.processes.enter_context(process(shutil.which(program, path=PATH), *args, port=self.port, cpu=self.cpu))

    def conf(self, interval, delivery="channel: healthcheck", timeout="1s", more=""):
        return (f"{target(self.bridge_port)}defaults: {{ interval: {interval}, timeout: {timeout}, jitter: 0%, fall: 1 }}\n{self.entry()}"
                f"checks: [ {{ name: delivery, type: delivery, broker: bus, {delivery} }}{more} ]\n")

    def entry(self):
        return f"brokers: [ {{ name: bus, url: '{self.name}://127.0.0.1:{self.port}', retry: {{ min: 10ms, max: 50ms }} }} ]\n"


def has(name, figure):
    program = BROKERS[name](0, "")[0]
    if shutil.which(program, path=PATH):
        return True
    skip(figure, f"{program} is missing")
    return False


class Asker:
    """Asks /ready without pause over one connection."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.slowest = 0.0

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.sock.close()

    def ask(self):
        start = time.monotonic()
        self.sock.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = self.sock.recv(4096)
        self.slowest = max(self.slowest, time.monotonic() - start)
        return answer

    def until(self, degraded, seconds=30):
        """When it was so, or was not so any more."""
        end = time.monotonic() + seconds
        while (b"x-envoy-degraded: true" in self.ask()) != degraded:
            assert time.monotonic() < end, "degraded" if not degraded else "not degraded"
        return time.monotonic()


def ask_status(child, seconds, note):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        note(json.loads(get(child.port, "/status")[1]))
        time.sleep(0.09)


def figure_delivery():
    """All on one core: to wake another one that has halted takes longer than the rest, and who spares the other that is chance. An agent is
    asked for its status while the reference runs, too, as questions keep the caches warm."""
    figure, ours, theirs = "one delivery on Redis, median", [], []
    if not has("redis", figure):
        return
    with contextlib.ExitStack() as stack:
        broker = Broker("redis", stack, cpu=0)
        for _ in range(TURNS):
            with agent(target(broker.bridge_port), cpu=0) as child, \
                    process(TOOLS / "ref_delivery", broker.bridge_port, broker.port, 50, 100000, cpu=0) as reference:
                ask_status(child, 6, lambda _: None)
                theirs.append(int(until("the reference has ended", reference.out).split()[0]) / 1000)
            with agent(broker.conf("100ms"), cpu=0) as child:
                seen = {}

                def note(status):
                    check = next(c for c in status["checks"] if c["name"] == "delivery")
                    if check["rtt_ms"] is not None:
                        seen[check["last"]] = check["rtt_ms"] * 1000

                ask_status(child, 6, note)
                ours.append(statistics.median(seen.values()))
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    row(figure, ours, "us", theirs, "blocking C client", ours / theirs, "within 50 us", abs(ours - theirs) <= 50)


def end_seen(port):
    """A client's view of the broker's death: (thread, [when its connection ended])."""
    sock, when = socket.create_connection(("127.0.0.1", port)), []

    def wait():
        with contextlib.suppress(OSError):
            while sock.recv(65536):
                pass
        when.append(time.monotonic())
        sock.close()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread, when


def figure_killed():
    """From SIGKILL of the broker to the first degraded answer, by a client that asks without pause."""
    for name in BROKERS:
        figure = f"{name} killed, until degraded is shown"
        delays, theirs = [], []
        if not has(name, figure):
            continue
        with contextlib.ExitStack() as stack:
            broker = Broker(name, stack, cpu=1)
            child = stack.enter_context(agent(broker.conf("5s", timeout="2s"), cpu=0))
            asker = stack.enter_context(Asker(child.port))
            for _ in range(7):
                asker.until(False)
                thread, when = end_seen(broker.port)
                start = time.monotonic()
                broker.child.send(signal.SIGKILL)
                delays.append((asker.until(True) - start) * 1000)
                thread.join(10)
                theirs.append((when[0] - start) * 1000)
                broker.child.end()
                broker.start()
        value, theirs = statistics.median(delays), statistics.median(theirs)
        row(figure, value, "ms", theirs, "a reading socket's end", value / theirs, "<= 50 ms", value <= 50)


def figure_frozen():
    """From SIGSTOP of the broker to the first degraded answer, at different points of the interval; the longest."""
    for name in BROKERS:
        figure = f"{name} frozen, until degraded, longest"
        delays = []
        if not has(name, figure):
            continue
        with contextlib.ExitStack() as stack:
            broker = Broker(name, stack, cpu=1)
            child = stack.enter_context(agent(broker.conf("1s", timeout="400ms"), cpu=0))
            asker = stack.enter_context(Asker(child.port))
            for turn in range(TURNS):
                asker.until(False)
                time.sleep(1 + turn / TURNS)
                start = time.monotonic()
                broker.child.send(signal.SIGSTOP)
                delays.append((asker.until(True) - start) * 1000)
                broker.child.send(signal.SIGCONT)
        row(figure, max(delays), "ms", 1000, "interval", max(delays) / 1000, "<= 2 x", max(delays) <= 2000)


def figure_connection():
    """Memory of run with the three default checks, with a broker and without."""
    for name, most in (("redis", 0.2), ("nats", 3.5)):
        figure = f"memory added by a {name} connection"
        without, used, anonymous = [], [], []
        if not has(name, figure):
            continue
        with contextlib.ExitStack() as stack:
            broker = Broker(name, stack)
            for _ in range(3):
                for entry, into in (("", without), (broker.entry(), used)):
                    with agent(target(broker.bridge_port) + entry) as child:
                        if entry:
                            until("the broker is up", lambda: json.loads(get(child.port, "/status")[1])["brokers"][0]["state"] == "pass")
                        time.sleep(7)
                        into.append(memory_kib(child.pid) / 1024)
                        anonymous.append(memory_kib(child.pid, "RssAnon"))
        without, used = statistics.median(without), statistics.median(used)
        row(figure, used - without, "MiB", without, "without a broker", used / without, f"<= {most} MiB", used - without <= most)
        row("  anonymous memory of it", (statistics.median(anonymous[1::2]) - statistics.median(anonymous[::2])) / 1024, "MiB", None, "", None,
            "(for comparison)", None)


def figure_lag():
    """The slowest answer of /ready, asked without pause, while the broker is frozen, comes back and is frozen again."""
    for name in BROKERS:
        figure = f"/ready at its slowest, {name} frozen"
        if not has(name, figure):
            continue
        slowest, idle = [], []
        with contextlib.ExitStack() as stack:
            broker = Broker(name, stack, cpu=1)
            child = stack.enter_context(agent(broker.conf("200ms", timeout="180ms"), cpu=0))
            for _ in range(TURNS):
                with Asker(child.port) as asker:
                    end = time.monotonic() + 3
                    while time.monotonic() < end:
                        asker.ask()
                    idle.append(asker.slowest * 1000)
                    asker.slowest = 0.0
                    broker.child.send(signal.SIGSTOP)
                    asker.until(True)
                    end = time.monotonic() + 3
                    while time.monotonic() < end:
                        asker.ask()
                    slowest.append(asker.slowest * 1000)
                    broker.child.send(signal.SIGCONT)
                    asker.until(False)
        value, idle = statistics.median(slowest), statistics.median(idle)
        row(figure, value, "ms", idle, "the broker is well", value / idle, "<= 20 ms", value <= 20)


def received(port):
    return int(float(re.search(r'wshealthd_delivery_heartbeats_total\{check="delivery",result="received"\} (\S+)', get(port, "/metrics")[1])[1]))


def figure_channels():
    """Processor time of a delivery check over 1,000 channels, of which 100 are tried each second."""
    figure = "1,000 channels, 100 a second, of a core"
    if not has("redis", figure):
        return
    ours, theirs = [], []
    with contextlib.ExitStack() as stack:
        broker = Broker("redis", stack, cpu=1)
        for _ in range(TURNS):
            out = subprocess.run([TOOLS / "ref_delivery", str(broker.bridge_port), str(broker.port), "400", "10000"], check=True, capture_output=True,
                                 text=True, timeout=60, preexec_fn=pinned(0))
            theirs.append(int(out.stdout.split()[1]) * 100 / 1e7)
        with agent(broker.conf("1s", "channels: ['room-{1..1000}'], sample: 100"), cpu=0) as child:
            time.sleep(12)
            before = received(child.port)
            for _ in range(TURNS):
                start, used = time.monotonic(), cpu_ns(child.pid)
                time.sleep(4)
                ours.append((cpu_ns(child.pid) - used) / 1e7 / (time.monotonic() - start))
            assert received(child.port) - before >= 100 * (4 * TURNS - 1), "heartbeats are missing"
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    row(figure, ours, "%", theirs, "blocking C client", ours / theirs, "< 5 %", ours < 5)



class Members(threading.Thread):
    """So many agents of a fleet on paper, each with a summary every 5 s, spread over that time."""
    KEY = "the key of the fleet"

    def __init__(self, broker, count, row):
        super().__init__(daemon=True)
        self.broker, self.count, self.row, self.over, self.said = broker, count, row, threading.Event(), 0
        self.socket = socket.create_connection(("127.0.0.1", broker.port))
        if broker.name == "nats":
            self.socket.sendall(b'CONNECT {"verbose":false}\r\n')
        threading.Thread(target=self.drain, daemon=True).start()
        self.run_ms, self.sent = int(time.time() * 1000), [0] * count

    def drain(self):
        with contextlib.suppress(OSError):
            while data := self.socket.recv(65536):
                if b"PING" in data:
                    self.socket.sendall(b"PONG\r\n")

    def line(self, i):
        self.sent[i] += 1
        cells = ",".join(f"{(i * 7919 + cell * 104729) & 0xffffffff:08x}:12:0:5:-3" for cell in range(self.row))
        text = (f"wshf1 id=chat-{i} region=eu-west-{i % 3} group=chat version=0.1.0 role=server run={self.run_ms}.{i:08x} seq={self.sent[i]} "
                f"sent={int(time.time() * 1000)} every=5000 word=ready since={self.sent[i] * 5000} stand=own min=2 conns={i} "
                f"taken=handshake,ping" + (f" row={cells}" if cells else ""))
        return f"{text} mac={hmac.new(self.KEY.encode(), text.encode(), 'sha256').hexdigest()}".encode()

    def run(self):
        begun = time.monotonic()
        topic = b"wshealthd.fleet.chat"
        with contextlib.suppress(OSError):
            while not self.over.wait(0.005):
                due = int((time.monotonic() - begun) / 5 * self.count)
                for n in range(self.said, due):
                    body = self.line(n % self.count)
                    self.socket.sendall(b"PUB %s %d\r\n%s\r\n" % (topic, len(body), body) if self.broker.name == "nats" else
                                        b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(topic), topic, len(body), body))
                self.said = due

    def end(self):
        self.over.set()
        self.join(10)
        self.socket.close()


def figure_fleet():
    """What a fleet of 1,000 costs an agent: with `fleet` and a key, and without, beside the same broker. Each summary is signed; in a second turn
    each has a row of the delivery matrix, as long as it is in such a group (agent/fleet/row.h)."""
    for name in BROKERS:
        if not has(name, f"a fleet of 1,000 over {name}"):
            continue
        for cells in (0, 8):  # ROW_MANY_MAX
            used, memory = {}, {}
            for with_fleet in (False, True):
                with contextlib.ExitStack() as stack:
                    broker = Broker(name, stack, cpu=1)
                    more = f"fleet: {{ broker: bus, group: chat, key: '{Members.KEY}' }}\nidentity: {{ id: here }}\nreadiness: {{ min_ready: 2 }}\n"
                    members = Members(broker, 1000, cells)
                    members.start()
                    stack.callback(members.end)
                    text = f"{target(broker.bridge_port)}{broker.entry()}checks: [ {{ type: ping, interval: 5s }} ]\n{more if with_fleet else ''}"
                    child = stack.enter_context(agent(text, cpu=0))
                    time.sleep(12)
                    if with_fleet:
                        known = json.loads(get(child.port, "/fleet")[1])["member_count"]
                        assert known == 1001, f"{known} members are known"
                    figures = []
                    for _ in range(3):
                        start, before = time.monotonic(), cpu_ns(child.pid)
                        time.sleep(5)
                        figures.append((cpu_ns(child.pid) - before) / 1e7 / (time.monotonic() - start))
                    get(child.port, "/ready")  # as a kubelet does all the time: the answer to the question above is forgotten
                    used[with_fleet], memory[with_fleet] = statistics.median(figures), memory_kib(child.pid) / 1024
            cpu, mib = used[True] - used[False], memory[True] - memory[False]
            kind = f"a fleet of 1,000 over {name}, rows of {cells}"
            row(f"{kind}: CPU", cpu, "%", used[False], "without", None, "<= 1 % of a core", cpu <= 1)
            row(f"{kind}: memory", mib, "MiB", memory[False], "without", None, "<= 1 MiB more", mib <= 1)


def subscribed(broker, topic):
    """A connection to the broker that gets what is published there."""
    sock = socket.create_connection(("127.0.0.1", broker.port), 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if broker.name == "nats":
        sock.sendall(b'CONNECT {"verbose":false}\r\nSUB %s 1\r\nPING\r\n' % topic)
        answer = b""
        while b"PONG\r\n" not in answer:
            answer += sock.recv(4096)
    else:
        sock.sendall(b"*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%s\r\n" % (len(topic), topic))
        sock.recv(4096)
    return sock


def broker_s(broker, count, turns):
    """How long the broker itself takes, from a message of a summary's length to the last of so many that hear it."""
    topic, body, took = b"wshealthd.bench", b"x" * 300, []
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(subscribed(broker, topic)) for _ in range(count)]
        writer = stack.enter_context(subscribed(broker, b"wshealthd.other") if broker.name == "nats" else socket.create_connection(("127.0.0.1", broker.port)))
        for _ in range(turns):
            time.sleep(0.05)
            start = time.monotonic()
            writer.sendall(b"PUB %s %d\r\n%s\r\n" % (topic, len(body), body) if broker.name == "nats" else
                           b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(topic), topic, len(body), body))
            for reader in readers:
                got = b""
                while got.count(b"x") < len(body):
                    got += reader.recv(4096)
            took.append(time.monotonic() - start)
    return took


def asked(sock, path):
    """One answer over a connection that is kept."""
    sock.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += sock.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head, re.I)[1])
    while len(body) < length:
        body += sock.recv(65536)
    return head, body


def figure_tables():
    """Ten agents: from the first 503 of one to the last /fleet of the others that has it, beside what the broker takes to bring a message to nine."""
    for name in BROKERS:
        figure, took = f"from a fault to all tables over {name}", []
        if not has(name, figure):
            continue
        with contextlib.ExitStack() as stack:
            broker, server = Broker(name, stack), stack.enter_context(echo_server())
            ways, port = [], free_port()
            listener = socket.create_server(("127.0.0.1", port), backlog=512)  # what the first agent asks for: nobody need accept
            for i in range(10):
                text = (f"{target(server.port)}{broker.entry()}identity: {{ id: chat-{i} }}\nfleet: {{ broker: bus, group: chat }}\n"
                        "defaults: { interval: 1s, timeout: 900ms, fall: 1 }\nchecks: [ { type: ping }")
                text += f", {{ type: tcp, address: '127.0.0.1:{port}', gates: [ready], interval: 200ms }} ]\n" if i == 0 else " ]\n"
                child = stack.enter_context(agent(text))
                ways.append(stack.enter_context(socket.create_connection(("127.0.0.1", child.port))))
            mine, others = ways[0], ways[1:]

            def all_have(state):
                for way in others:
                    while next((one["state"] for one in json.loads(asked(way, b"/fleet")[1])["members"] if one["id"] == "chat-0"), None) != state:
                        assert time.monotonic() < end, f"not everybody has seen {state}"

            for _ in range(20):
                end = time.monotonic() + 30
                all_have("ready")
                time.sleep(1 + os.urandom(1)[0] / 128)
                listener.close()
                while b" 503 " not in asked(mine, b"/ready")[0]:
                    assert time.monotonic() < end, "no 503"
                start = time.monotonic()
                all_have("not_ready")
                took.append((time.monotonic() - start) * 1000)
                listener = socket.create_server(("127.0.0.1", port), backlog=512)
            listener.close()
            alone = statistics.median(broker_s(broker, 9, 20)) * 1000
        row(figure, statistics.median(took), "ms", alone, "the broker alone", None, "1 s more at most", max(took) <= alone + 1000)
        row("  the longest of 20", max(took), "ms", None, "", None, "", None)


def server_row(port):
    return json.loads(get(port, "/status")[1])["checks"][0]["server"]


def turns(port):
    """wshealthd_loop_lag_seconds: how many turns of the loop took at most so long. {bound: count}"""
    return {float(bound): float(count) for bound, count in re.findall(r'^wshealthd_loop_lag_seconds_bucket{le="([^"]+)"} (\S+)$', get(port, "/metrics")[1], re.M)}


def beside_ns(pid, pause=0):
    """Processor time of the threads beside the loop's."""
    time.sleep(pause)
    return sum(int(pathlib.Path(f"/proc/{pid}/task/{t}/schedstat").read_text().split()[0]) for t in os.listdir(f"/proc/{pid}/task") if int(t) != pid)


def loop_delay(port, seconds=1.1):
    """The bound of the longest turn of the loop in so long a time, in ms."""
    before = turns(port)
    time.sleep(seconds)
    after = turns(port)
    between = {bound: after[bound] - before[bound] for bound in after}
    return min(bound for bound, count in between.items() if count == between[float("inf")]) * 1000


def figure_server():
    """The check server beside 15,000 connections: the processor time of a count (and of a look or two), beside the loop, and what the loop has of
    it: the longest turn of a second in which a count was. Both at their least, as other work on this machine only adds to them."""
    port, looks, theirs, delays, listens = free_port(), [], [], [], []
    capacity = HERE.parent / "e2e" / "servers" / "capacity.py"
    with contextlib.ExitStack() as stack:
        stack.enter_context(process(PYTHON, capacity, "127.0.0.1", port, "4096", port=port, cpu=1))
        for _ in range(COUNTED):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        text = target(port) + "defaults: { interval: 1s, jitter: 0% }\nchecks:\n  - { name: server, type: server, gates: [ready] }\n"
        child = stack.enter_context(agent(text, cpu=0))
        until("all are counted", lambda: server_row(child.port)["connections"]["established"] == COUNTED, 60)
        with Asker(child.port) as asker:
            end = time.monotonic() + 12
            while time.monotonic() < end:
                asker.ask()
            slowest = asker.slowest * 1000
        end = time.monotonic() + 90
        while len(looks) < 2 * TURNS and time.monotonic() < end:
            until("no count is under way", lambda: beside_ns(child.pid) == beside_ns(child.pid, 0.02))
            last, used = server_row(child.port)["count_ms"], beside_ns(child.pid)
            listens.append(server_row(child.port)["listen_ms"])
            delay = loop_delay(child.port)
            if server_row(child.port)["count_ms"] != last:  # a count was in that second
                looks.append((beside_ns(child.pid) - used) / 1e6)
                delays.append(delay)
        for _ in range(TURNS if shutil.which("ss", path=PATH) else 0):
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(["ss", "-Htn", "sport", f"= :{port}"], check=True, stdout=subprocess.DEVNULL, env={"PATH": PATH}, timeout=60)
            now = resource.getrusage(resource.RUSAGE_CHILDREN)
            theirs.append((now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime) * 1000)
    count, listen = min(looks), min(listens)
    ss = min(theirs) if theirs else None
    row("server: 15,000 connections counted, CPU", count, "ms", ss, "ss", ss and count / ss, "<= 20 ms", count <= 20)
    row("server: a look at the accept queue", listen, "ms", None, "", None, "<= 0.1 ms", listen <= 0.1)
    delay = min(delays)
    row("server: the loop's own delay, at most", delay, "ms", None, "", None, "< 2 ms", delay < 2)
    row("server: /ready at its slowest meanwhile", slowest, "ms", None, "", None, "(for comparison)", None)


def figure_drain():
    """From the last client's leaving to the end of `drain --wait`."""
    delays = []
    port = free_port()
    capacity = HERE.parent / "e2e" / "servers" / "capacity.py"
    with contextlib.ExitStack() as stack:
        stack.enter_context(process(PYTHON, capacity, "127.0.0.1", port, "4096", port=port, cpu=1))
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="wshealthd-bench-"))
        child = stack.enter_context(agent(target(port), cpu=0, wait=False, admin=f"unix:{directory}/admin.sock"))
        for _ in range(TURNS):
            clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(DRAINED)]
            with process(AGENT, "drain", "--wait", "60s", "-c", child.file) as command:
                until("they are counted", lambda: f"\nwshealthd_drain_remaining_connections {DRAINED}\n" in get(child.port, "/metrics")[1])
                for one in clients:
                    one.close()
                start = time.monotonic()
                assert command.child.wait() == 0, command.err()  # with a timeout Python looks in steps of 50 ms; the command has its own
                delays.append((time.monotonic() - start) * 1000)
            subprocess.run([AGENT, "resume", "-c", child.file], check=True, stdout=subprocess.DEVNULL, timeout=60)
    delay = statistics.median(delays)
    row("drain: 200 clients, after the last has left", delay, "ms", None, "", None, "<= 100 ms", delay <= 100)


FIGURES = {"cpu": figure_cpu, "rss": figure_rss, "held": figure_held, "ready": figure_ready, "busy": figure_busy, "events": figure_events, "rtt": figure_rtt,
           "start": figure_start, "event": figure_event, "delivery": figure_delivery, "killed": figure_killed, "frozen": figure_frozen,
           "connection": figure_connection, "lag": figure_lag, "channels": figure_channels, "server": figure_server, "drain": figure_drain,
           "fleet": figure_fleet, "tables": figure_tables}


def main():
    names = sys.argv[2:] or list(FIGURES)
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        sys.exit(f"run.py: unknown figure {unknown[0]}, want some of: {' '.join(FIGURES)}")
    print(f"{'figure':<44} {'value':>9} {'':<6} {'reference':<42} {'ratio':>7}  {'reach':<18}")
    for name in names:
        FIGURES[name]()
    missed = ROWS.count(False)
    print(f"bench: {len(ROWS) - missed} reached, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
