"""Section 6 of the contract over real sockets, and clients that mean harm: none of them may keep /ready from answering."""
import json
import re
import shutil
import socket
import struct
import subprocess
import time

import pytest

from harness import PATIENCE, agent, free_port, until

FAST = "defaults: { interval: 200ms, timeout: 1s, jitter: 0%, fall: 1 }\n"
CHECKS = """checks:
  - { name: handshake, type: handshake }
  - { name: echo, type: echo }
  - { name: hold, type: hold }
"""


@pytest.fixture
def listener(tmp_path, server):
    with agent(f"{FAST}target: {{ url: \"ws://127.0.0.1:{server.port}/ws\" }}\n{CHECKS}", tmp_path) as child:
        child.wait_ready()
        until("all pass", lambda: child.status()["status"] == "pass")
        yield child


def exchange(port, data, seconds=PATIENCE, wait_close=True):
    """Sends bytes, returns what comes until the other side closes (or once something came)."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as sock:
        sock.sendall(data)
        out = b""
        try:
            while True:
                piece = sock.recv(65536)
                if not piece:
                    return out
                out += piece
                if not wait_close:
                    return out
        except (ConnectionError, socket.timeout):
            return out


def status_of(raw):
    assert raw.startswith(b"HTTP/1."), raw[:100]
    return int(raw.split(b" ", 2)[1])


def test_paths(listener):
    for path in ("/ready", "/readyz", "/live", "/livez", "/startup", "/startupz", "/healthz", "/health", "/status", "/metrics"):
        reply = listener.get(path)
        assert reply.status == 200, path
        assert "no-store" in reply.headers["Cache-Control"], path
        head = listener.get(path, method="HEAD")
        assert (head.status, head.body) == (200, b""), path
        assert head.headers["Content-Type"] == reply.headers["Content-Type"], path
    for path in ("/nope", "/ready/", "/readyx", "/READY", "//ready", "/prestop", "/drain", "/%2e%2e/etc/passwd"):
        assert listener.get(path).status == 404, path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        reply = listener.get("/ready", method=method)
        assert reply.status == 405 and "GET" in reply.headers["Allow"], method


def test_texts(listener):
    assert listener.get("/ready").text.splitlines()[0] == "ready"
    verbose = listener.get("/ready?verbose").text.splitlines()
    assert any(re.match(r"\[\+\]echo pass [0-9.]+ ?(us|ms|s)", line) for line in verbose), verbose
    assert listener.get("/live").text.splitlines()[0] == "live"


def test_health_json(listener):
    for reply in (listener.get("/health"), listener.get("/ready?format=json"), listener.get("/ready", Accept="application/health+json")):
        assert reply.headers["Content-Type"].startswith("application/health+json")
        document = reply.json()
        assert document["status"] == "pass"
        assert set(document) >= {"status", "version", "serviceId", "description", "checks"}
        assert document["checks"], document
        for key, rows in document["checks"].items():
            assert ":" in key
            for row in rows:
                assert row["status"] == "pass"
                assert set(row) >= {"componentId", "componentType", "status", "time"}, row


def test_status_json(listener):
    document = listener.get("/status").json()
    assert set(document) >= {"status", "ready", "live", "started", "draining", "degraded", "diagnosis", "checks", "brokers"}
    for row in document["checks"]:
        assert set(row) >= {"name", "type", "path", "state", "status", "reason", "phase", "scope", "message", "close_code", "http_status",
                            "since", "last", "history", "timings_ms", "rtt_ms"}, row
        assert set(row["timings_ms"]) == {"resolve", "connect", "tls", "upgrade", "open", "total"}
        assert row["reason"] is None and row["timings_ms"]["tls"] is None
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["last"]), row


def test_metrics(listener, tool):
    text = listener.get("/metrics").text
    for name in ("wshealthd_ready 1", "wshealthd_live 1", "wshealthd_started 1", "wshealthd_degraded 0", "wshealthd_draining 0",
                 'wshealthd_check_state{check="echo",type="echo",path="local"} 1', "wshealthd_check_rounds_total{", "wshealthd_check_duration_seconds_bucket{",
                 "wshealthd_check_rtt_seconds_bucket{", "wshealthd_check_last_round_timestamp_seconds", "wshealthd_held_connections{",
                 "wshealthd_loop_lag_seconds_bucket", "wshealthd_build_info{", "process_resident_memory_bytes", "wshealthd_connection_closes_total{"):
        assert name in text, name
    assert re.search(r'wshealthd_held_connections\{check="hold"[^}]*\} 2', text)
    promtool = tool("promtool")
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_openmetrics(listener):
    reply = listener.get("/metrics", Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert reply.headers["Content-Type"].startswith("application/openmetrics-text")
    assert reply.text.endswith("# EOF\n")


def test_series_exist_from_the_first_scrape(tmp_path):
    conf = f'target: {{ url: "ws://127.0.0.1:{free_port()}/" }}\ndefaults: {{ interval: 60s }}\n{CHECKS}'
    with agent(conf, tmp_path) as child:
        text = child.get("/metrics").text
        assert 'wshealthd_check_failures_total{check="echo",type="echo",path="local",reason="echo_timeout"} 0' in text
        names = lambda body: {line.split(" ")[0].split("{")[0] for line in body.splitlines() if line and line[0] != "#"}  # noqa: E731
        until("a round", lambda: child.check("handshake")["status"] == "fail")
        assert names(child.get("/metrics").text) == names(text)


def test_keep_alive_and_pipelining(listener):
    request = b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    raw = exchange(listener.port, request * 20 + last)
    assert raw.count(b"HTTP/1.1 200 ") == 21, raw
    assert raw.count(b"\r\n\r\nready") == 20
    raw = exchange(listener.port, b"GET /ready HTTP/1.0\r\n\r\n")
    assert status_of(raw) == 200 and raw.count(b"HTTP/1.") == 1
    raw = exchange(listener.port, b"GET /ready HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /live HTTP/1.0\r\n\r\n")
    assert raw.count(b" 200 ") == 2, raw


BROKEN = [
    ("noise", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60), {400}),
    ("no version", b"GET /ready\r\n\r\n", {400}),
    ("http/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 405, 505}),
    ("bad header", b"GET /ready HTTP/1.1\r\nHo st: x\r\n\r\n", {400}),
    ("null in header", b"GET /ready HTTP/1.1\r\nHost: \0\r\n\r\n", {400}),
    ("length twice", b"POST /ready HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", {400}),
    ("length and chunked", b"GET /ready HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    ("negative length", b"GET /ready HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", {400}),
    ("huge header", b"GET /ready HTTP/1.1\r\nX: " + b"a" * 200000 + b"\r\n\r\n", {431}),
    ("huge target", b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\n\r\n", {414, 431}),
    ("many headers", b"GET /ready HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n", {431}),
    ("huge body", b"POST /ready HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", {405, 413}),
]


@pytest.mark.parametrize(("name", "data", "want"), BROKEN, ids=[row[0].replace(" ", "-") for row in BROKEN])
def test_broken_requests(listener, name, data, want):
    raw = exchange(listener.port, data)
    # A server that closes with unread bytes may reset before the answer is read; where one came it must be right.
    if raw:
        assert status_of(raw) in want, (name, raw[:200])
    else:
        assert len(data) > 100000, name
    assert listener.ready()


def test_hostile_clients_do_not_disturb(listener):
    """Slow headers, half requests, silent sockets, resets and readers that never read, all at once."""
    held = []
    try:
        for count in range(150):
            sock = socket.create_connection(("127.0.0.1", listener.port), timeout=PATIENCE)
            sock.sendall((b"GET /status HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"G", b"", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50)[count % 4])
            held.append(sock)
            if count % 10 == 9:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
        for _ in range(50):
            assert listener.ready()
        for sock in held[::4]:
            try:
                sock.send(b"a")
            except OSError:
                pass
        assert listener.ready()
    finally:
        for sock in held:
            sock.close()
    assert listener.ready()
    assert all("." not in row["history"] for row in listener.status()["checks"])


def test_a_slow_request_is_ended(listener):
    start = time.monotonic()
    raw = exchange(listener.port, b"GET /ready HTTP/1.1\r\nX-Slow: ", seconds=60)
    assert time.monotonic() - start < 55
    if raw:
        assert status_of(raw) == 408, raw


def test_a_trickled_request_is_answered(listener):
    with socket.create_connection(("127.0.0.1", listener.port), timeout=PATIENCE) as sock:
        for byte in b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
            sock.sendall(bytes([byte]))
            time.sleep(0.002)
        assert status_of(sock.recv(65536)) == 200


def test_curl(listener):
    if not shutil.which("curl"):
        pytest.skip("curl is missing")
    done = subprocess.run(["curl", "-sS", "-m", "10", "-w", "%{http_code}", f"http://127.0.0.1:{listener.port}/health"], capture_output=True, text=True,
                          timeout=30, check=False)
    assert done.returncode == 0 and done.stdout.endswith("200")
    json.loads(done.stdout[:-3])


def test_details_reasons_hide_addresses(tmp_path):
    """details: reasons leaves the address, the URL and the peer's texts out, everywhere."""
    dead = free_port()
    conf = f'details: reasons\n{FAST}target: {{ url: "ws://127.0.0.1:{dead}/secret-path" }}\n{CHECKS}'
    with agent(conf, tmp_path) as child:
        until("it fails", lambda: child.check("echo")["state"] == "fail")
        for path in ("/ready", "/ready?verbose", "/live", "/health", "/status"):
            text = child.get(path).text
            assert str(dead) not in text and "secret-path" not in text, (path, text)
        assert "connect_refused" in child.get("/ready").text


def test_unix_and_ipv6_listeners(tmp_path, server):
    for listen in (f"unix:{tmp_path}/health.sock", "'[::1]:{port}'"):
        port = free_port()
        file = tmp_path / "x.yaml"
        file.write_text(f'listen: {listen.format(port=port)}\nadmin: off\ntarget: {{ url: "{server.url}" }}\n')
        from harness import BINARY, Process

        child = Process([BINARY, "run", "-c", file], tmp_path)
        try:
            def fetch():
                assert child.running(), child.err()
                family, address = (socket.AF_UNIX, f"{tmp_path}/health.sock") if "unix" in listen else (socket.AF_INET6, ("::1", port))
                with socket.socket(family) as sock:
                    sock.settimeout(5)
                    if sock.connect_ex(address):
                        return None
                    sock.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    return status_of(sock.recv(4096)) == 200

            until("ready", fetch)
            assert child.end() == 0
        finally:
            child.cleanup()
