"""WebSocket over HTTP/2 (RFC 8441): real servers and proxies that speak it, those that do not, and hostile ones."""
import json
import subprocess

import pytest

from harness import MODULES, PYTHON, SERVERS, agent, check, environment, free_port, only, process, until, wshealthd
from test_delivery import chat, redis  # noqa: F401  (a fixture)

TYPES = ("handshake", "ping", "echo", "hold")
CONNECT = "does not allow WebSocket over it (SETTINGS_ENABLE_CONNECT_PROTOCOL, RFC 8441)"


def all_pass(url, *types, http="2", flags=(), **more):
    code, document = check(url, *types, flags=("--http", http, *flags), **more)
    assert code == 0, json.dumps(document, indent=1)
    assert {c["type"]: c["status"] for c in document["checks"]} == {t: "pass" for t in types}
    return document


def h2_node(node, *cert):
    port = free_port()
    return port, process(node, SERVERS / "h2_ws.js", port, *cert, port=port, env=environment(WSHEALTHD_MODULES=str(MODULES)))


# --- who speaks it ---


def test_node(node, certs):
    """Node's http2 with enableConnectProtocol, in cleartext and over TLS with ALPN."""
    port, child = h2_node(node)
    with child:
        document = all_pass(f"ws://127.0.0.1:{port}/", *TYPES)
        row = document["checks"][0]
        assert (row["http"], row["http_status"]) == ("2", 200), row
        assert row["timings_ms"]["upgrade"] > 0
        code, document = check(f"ws://127.0.0.1:{port}/", "handshake", flags=("--http", "2", "--subprotocol", "chat.v1", "--subprotocol", "b"))
        assert code == 0, document
    port, child = h2_node(node, *certs.leaf("good"))
    with child:
        document = all_pass(f"wss://127.0.0.1:{port}/", *TYPES, flags=("--ca", certs.ca))
        assert all(row["timings_ms"]["tls"] > 0 for row in document["checks"]), document


def test_node_refuses(node, tmp_path):
    port, child = h2_node(node)
    token = tmp_path / "token"
    token.write_text("open-sesame-42\n")
    with child:
        code, document = check(f"ws://127.0.0.1:{port}/private", "handshake", flags=("--http", "2"))
        row = only(document)
        assert (code, row["reason"], row["http_status"]) == (2, "upgrade_unauthorized", 401), row
        assert row["message"] == 'status 401, want 200: "this token is not known"'
        all_pass(f"ws://127.0.0.1:{port}/private", "handshake", flags=("--token-file", token))
        code, document = check(f"ws://127.0.0.1:{port}/drop", "echo", flags=("--http", "2"))
        row = only(document)
        assert (code, row["reason"], row["close_code"]) == (2, "closed_abnormal", 1006), row


def test_large_messages(node, tmp_path):
    """Larger than the windows that HTTP/2 begins with, in both directions."""
    port, child = h2_node(node)
    file = tmp_path / "c.yaml"
    file.write_text(f"""
target: {{ url: "ws://127.0.0.1:{port}/", http: 2 }}
checks:
  - {{ name: small, type: echo, timeout: 20s }}
  - {{ name: large, type: echo, timeout: 20s, send: "{'0123456789abcdef' * 4096}" }}
""")
    with child:
        for _ in range(3):
            code, document = check(None, conf=file, timeout=None)
            assert code == 0, [row["message"] for row in document["checks"]]


def test_hypercorn(tool):
    """Its application ends the stream late: no remark, as no rule says who ends a stream first."""
    found = subprocess.run([PYTHON, "-c", "import hypercorn"], check=False, capture_output=True)
    if found.returncode:
        pytest.skip("python3-hypercorn is missing")
    port = free_port()
    with process(PYTHON, "-m", "hypercorn", "--bind", f"127.0.0.1:{port}", "hypercorn_echo:app", cwd=SERVERS, port=port):
        all_pass(f"ws://127.0.0.1:{port}/", *TYPES)
        all_pass(f"ws://127.0.0.1:{port}/", *TYPES, http="both")


HAPROXY = """
global
  maxconn 200
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  timeout tunnel 1h
frontend f
  bind 127.0.0.1:{tls} ssl crt {pem} alpn {alpn}
  bind 127.0.0.1:{port} proto h2
  default_backend b
backend b
  server s 127.0.0.1:{behind}
"""


@pytest.fixture
def haproxy(tool, tmp_path, certs):
    """haproxy(behind, alpn): (process, port in cleartext, port with TLS)."""

    def start(behind, alpn="h2,http/1.1"):
        tls, port = free_port(), free_port()
        cert, key = certs.leaf("good")
        pem = tmp_path / "both.pem"
        pem.write_text(open(cert, encoding="ascii").read() + open(key, encoding="ascii").read())
        (tmp_path / "h.cfg").write_text(HAPROXY.format(tls=tls, port=port, pem=pem, alpn=alpn, behind=behind))
        return process(tool("haproxy"), "-db", "-f", tmp_path / "h.cfg", port=port), port, tls

    return start


def test_haproxy(haproxy, server, certs):
    child, port, tls = haproxy(server.port)
    with child:
        all_pass(f"ws://127.0.0.1:{port}/ws", *TYPES)
        all_pass(f"wss://127.0.0.1:{tls}/ws", *TYPES, flags=("--ca", certs.ca))
        document = all_pass(f"wss://127.0.0.1:{tls}/ws", *TYPES, http="both", flags=("--ca", certs.ca))
        assert {row["http"] for row in document["checks"]} == {"both"}
        all_pass(f"wss://127.0.0.1:{tls}/ws", *TYPES, http="1.1", flags=("--ca", certs.ca))


def test_haproxy_without_h2(haproxy, server, certs):
    """ALPN chooses nothing: the sentence says what was offered, and with `both` which version fails."""
    child, _, tls = haproxy(server.port, alpn="http/1.1")
    with child:
        code, document = check(f"wss://127.0.0.1:{tls}/ws", "handshake", flags=("--http", "2", "--ca", certs.ca))
        assert (code, only(document)["reason"]) == (2, "upgrade_refused"), document
        assert "does not speak HTTP/2" in only(document)["message"], document
        code, document = check(f"wss://127.0.0.1:{tls}/ws", "ping", flags=("--http", "both", "--ca", certs.ca))
        words = "HTTP/1.1 works, and clients use that: the server does not speak HTTP/2: of ALPN's h2 it chose nothing"
        assert (code, only(document)["status"], only(document)["message"]) == (1, "warn", words), document
        assert document["diagnosis"]["cause"] == "http2_broken", document
        code, document = check(f"wss://127.0.0.1:{tls}/ws", "hold", flags=("--http", "both", "--ca", certs.ca), timeout="2s")
        assert code == 0, document


def test_haproxy_without_a_server(haproxy):
    child, port, _ = haproxy(free_port())
    with child:
        code, document = check(f"ws://127.0.0.1:{port}/ws", "handshake", flags=("--http", "2"))
        row = only(document)
        assert (code, row["reason"], row["http_status"]) == (2, "upgrade_refused", 503), row


ENVOY = """
static_resources:
  listeners:
  - address: { socket_address: { address: 127.0.0.1, port_value: %(port)d } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: f
          codec_type: HTTP2
          http2_protocol_options: { allow_connect: %(connect)s }
          upgrade_configs: [ { upgrade_type: websocket } ]
          route_config: { virtual_hosts: [ { name: v, domains: ["*"], routes: [ { match: { prefix: "/" }, route: { cluster: c, timeout: 0s } } ] } ] }
          http_filters:
          - { name: envoy.filters.http.router, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }
  clusters:
  - { name: c, load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: %(behind)d } } } } ] } ] } }
"""


@pytest.mark.parametrize("connect", ["true", "false"])
def test_envoy(tool, server, tmp_path, connect):
    binary, port = tool("envoy"), free_port()
    (tmp_path / "e.yaml").write_text(ENVOY % {"port": port, "behind": server.port, "connect": connect})
    with process(binary, "-c", tmp_path / "e.yaml", "--concurrency", "1", "--log-level", "warning", "--use-dynamic-base-id", port=port):
        if connect == "true":
            all_pass(f"ws://127.0.0.1:{port}/ws", *TYPES)
        else:
            code, document = check(f"ws://127.0.0.1:{port}/ws", "handshake", flags=("--http", "2"))
            assert (code, only(document)["reason"]) == (2, "upgrade_refused"), document
            assert CONNECT in only(document)["message"], document


# --- who does not ---

NGINX = """
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log; user root;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  server {{ listen 127.0.0.1:{port} http2; location / {{ proxy_pass http://127.0.0.1:{behind}; }} }}
}}
"""


def test_nginx(tool, server, tmp_path):
    binary, port = tool("nginx"), free_port()
    (tmp_path / "n.conf").write_text(NGINX.format(dir=tmp_path, port=port, behind=server.port))
    with process(binary, "-c", tmp_path / "n.conf", port=port):
        code, document = check(f"ws://127.0.0.1:{port}/ws", "handshake", flags=("--http", "2"))
        row = only(document)
        assert (code, row["reason"], row["phase"]) == (2, "upgrade_refused", "upgrade"), row
        assert row["message"] == f"the server speaks HTTP/2 and {CONNECT}"


def test_server_of_http_1(server):
    code, document = check(server.url, "handshake", flags=("--http", "2"))
    assert (code, only(document)["reason"]) == (2, "http_malformed"), document
    assert "the server speaks no HTTP/2 here" in only(document)["message"], document
    assert document["diagnosis"]["cause"] == "http2_broken" and "does not speak it" in document["diagnosis"]["sentence"], document
    code, document = check(server.url, *TYPES, flags=("--http", "both"))
    told = {row["name"]: row["message"] for row in document["checks"]}
    assert code == 1 and document["ready"] and document["diagnosis"]["cause"] == "http2_broken", document  # all its clients are served
    for name in ("handshake", "ping", "echo"):
        assert told[name].startswith("HTTP/1.1 works, and clients use that: the server speaks no HTTP/2 here"), told
    assert told["hold"] == "2 connections held for 5s", told


def test_server_of_http_2_alone(node):
    port, child = h2_node(node)
    with child:
        code, document = check(f"ws://127.0.0.1:{port}/", "ping", flags=("--http", "both"))
        assert code == 2 and only(document)["message"].startswith("HTTP/2 works, HTTP/1.1 does not: "), document
        assert document["checks"][0]["reason"] in ("connection_reset", "http_malformed"), document


# --- the agent ---


def test_agent(node, server, tmp_path):
    """The public path over HTTP/2, the local one over HTTP/1.1: each check has a version of its own."""
    port, h2 = h2_node(node)
    conf = f"""
target: {{ url: "{server.url}", public_url: "ws://127.0.0.1:{port}/", http: 1.1 }}
defaults: {{ interval: 200ms, fast_interval: 100ms, timeout: 5s }}
checks:
  - {{ name: local, type: handshake }}
  - {{ name: public, type: echo, path: public, http: 2, fall: 1 }}
  - {{ name: held, type: hold, path: public, http: 2, fall: 1 }}
"""
    with agent(conf, tmp_path) as daemon:
        with h2:
            daemon.wait_ready()
            assert daemon.check("public")["http"] == "2" and "http" not in daemon.check("local")
        until("the public path fails", lambda: daemon.check("public")["reason"] == "connect_refused")
        until("the held connections fail", lambda: daemon.check("held")["state"] == "fail")
        status = daemon.status()
        assert status["ready"] and status["degraded"], status  # all instances share what is in front of them
        assert daemon.check("local")["state"] == "pass"


def test_agent_with_both(haproxy, server, tmp_path):
    """Both fail when the server is gone, and the sentence blames no version; what works comes back."""
    child, _, tls = haproxy(server.port)
    conf = f"""
target: {{ url: "wss://127.0.0.1:{tls}/ws", http: both, tls: {{ verify: false }} }}
defaults: {{ interval: 200ms, fast_interval: 100ms, timeout: 5s }}
checks:
  - {{ name: handshake, type: handshake }}
  - {{ name: echo, type: echo }}
  - {{ name: held, type: hold, for: 500ms }}
"""
    with child:
        with agent(conf, tmp_path) as daemon:
            daemon.wait_ready()
            until("some rounds", lambda: len(daemon.check("echo")["history"]) > 3)
            assert set(daemon.check("echo")["history"]) == {"#"}, json.dumps(daemon.check("echo"))
            server.end()
            daemon.wait_not_ready()
            until("both fail", lambda: (daemon.check("echo")["message"] or "").startswith("over HTTP/1.1 and over HTTP/2: status 503"))


def test_delivery(haproxy, redis, tmp_path):  # noqa: F811
    """Heartbeats come through HTTP/2 as well, and a hold with them; a server that loses its subscription is seen."""
    with chat(redis, "--forgetful") as child:
        front, port, _ = haproxy(int(child.url.split(":")[2].split("/")[0]))
        conf = f"""
target: {{ url: "ws://127.0.0.1:{port}/ws", http: 2 }}
defaults: {{ interval: 200ms, timeout: 2s }}
brokers: [{{ name: bus, type: redis, url: "redis://127.0.0.1:{redis.port}" }}]
checks:
  - {{ name: delivery, type: delivery, broker: bus, channel: healthcheck }}
  - {{ name: held, type: hold }}
"""
        with front, agent(conf, tmp_path) as daemon:
            daemon.wait_ready()
            redis.do("CLIENT", "KILL", "ID", redis.id_of_server())
            until("it is seen", lambda: daemon.check("delivery")["reason"] == "delivery_lost")
            assert daemon.check("held")["state"] == "pass"


def test_trace_and_origin(node):
    """The trace shows the extended CONNECT, and checks that want to be refused use HTTP/2 too."""
    port, child = h2_node(node)
    with child:
        code, out, _ = wshealthd("check", f"ws://127.0.0.1:{port}/x?token=abc", "--http", "2", "--type", "ping", "--trace")
        assert code == 0
        for words in ("> :method: CONNECT", "> :protocol: websocket", "> :path: /x?token=***", f"> :authority: 127.0.0.1:{port}", "< HTTP/2 200", "< pong"):
            assert words in out, out
        code, document = check(f"ws://127.0.0.1:{port}/", "origin", flags=("--http", "2"))
        assert (code, only(document)["reason"]) == (2, "origin_not_enforced"), document


def test_without_the_library(server, tmp_path):
    """Whoever does not use HTTP/2 needs no libnghttp2; whoever does is told."""
    (tmp_path / "libnghttp2.so.14").write_text("")
    env = {"LD_LIBRARY_PATH": str(tmp_path)}
    code, out, err = wshealthd("check", server.url, "--type", "handshake", **env)
    assert code == 0, out + err
    code, out, err = wshealthd("check", server.url, "--http", "2", "--type", "handshake", **env)
    assert code == 3 and "HTTP/2 needs libnghttp2 (Debian: libnghttp2-14), which cannot be opened" in err and "--http" in err, out + err


def test_the_library_is_opened_late(server, tmp_path):
    conf = f'target: {{ url: "{server.url}" }}\n'
    with agent(conf, tmp_path) as daemon:
        daemon.wait_ready()
        with open(f"/proc/{daemon.pid}/maps", encoding="utf-8") as maps:
            assert "libnghttp2" not in maps.read()


@pytest.mark.parametrize(("checks", "words"), [
    ("[{ name: tls, type: tcp, http: 2 }]", "checks[0].http: a tcp check has no WebSocket connection"),
    ("[{ name: x, type: ping, http: both, share_connection: true }]", "both means two connections, and share_connection one"),
    ("[{ name: x, type: delivery, broker: b, channel: a, http: both }]", "delivery is not done twice in a round: for both, write one check with http: 1.1 and one with http: 2"),
    ("[{ name: x, type: ping, http: 3 }]", "want target, 1.1, 2 or both"),
])
def test_configuration(tmp_path, checks, words):
    file = tmp_path / "c.yaml"
    file.write_text(f'target: {{ url: "ws://127.0.0.1:1/", dialect: json }}\nchecks: {checks}\n')
    code, out, err = wshealthd("config", "check", file)
    assert code == 3 and words in out + err, out + err


# --- hostile ones ---

HOSTILE = {
    "rst": ("connection_reset", "CANCEL (0x8)"),
    "rst-http11": ("upgrade_refused", "HTTP_1_1_REQUIRED"),
    "goaway": ("rate_limited", 'GOAWAY ENHANCE_YOUR_CALM ("too many of you")'),
    "early-goaway": ("rate_limited", "GOAWAY ENHANCE_YOUR_CALM"),
    "silent": ("upgrade_timeout", "no SETTINGS of HTTP/2 came within 1s"),
    "no-answer": ("upgrade_timeout", "no response to the upgrade within 1s"),
    "no-connect": ("upgrade_refused", CONNECT),
    "settings-flood": ("flood", "floods the HTTP/2 connection"),
    "ping-flood": ("flood", "floods the HTTP/2 connection"),
    "empty-data-flood": ("http_malformed", "DATA: stream not opened"),
    "interim-flood": ("flood", "floods the HTTP/2 connection"),
    "huge-head": ("http_malformed", "16384 bytes"),
    "many-continuations": ("http_malformed", ""),
    "many-fields": ("http_malformed", "64 fields"),
    "401": ("upgrade_unauthorized", 'status 401, want 200: "who are you?"'),
    "404": ("upgrade_refused", "status 404, want 200: is the path right?"),
    "204": ("upgrade_refused", "status 204, want 200"),
    "302": ("upgrade_redirect", "status 302 to elsewhere.example, want 200"),
    "101": ("http_malformed", "the response breaks HTTP/2: Invalid HTTP header field was received: name: [:status], value: [101]"),
    "no-status": ("http_malformed", "the response breaks HTTP/2"),
    "upper-case": ("http_malformed", "the response breaks HTTP/2"),
    "connection-header": ("http_malformed", "the response breaks HTTP/2"),
    "subprotocol": ("upgrade_bad_subprotocol", '"chat", offered: none'),
    "extension": ("upgrade_bad_extension", "x-own"),
    "push": ("http_malformed", "breaks HTTP/2"),
    "data-first": ("http_malformed", "breaks HTTP/2: DATA: stream not opened"),
    "garbage": ("http_malformed", "breaks HTTP/2: too large frame size"),
    "bad-hpack": ("http_malformed", "breaks HTTP/2: COMPRESSION_ERROR"),
    "ends-at-once": ("closed_abnormal", "without a close frame (1006)"),
    "ends-in-frame": ("closed_abnormal", "without a close frame (1006)"),
    "rst-open": ("closed_abnormal", "INTERNAL_ERROR (0x2)"),
    "goaway-open": ("closed_by_server", "1001"),
    "masked": ("protocol_error", "mask"),
    "window-zero": ("closed_abnormal", "breaks HTTP/2"),
    "window-overflow": ("closed_abnormal", "FLOW_CONTROL_ERROR"),
    "window-overflow-all": ("closed_abnormal", "Flow control error"),
    "window-grows": ("closed_abnormal", "FLOW_CONTROL_ERROR"),
    "window-flood": ("flood", "floods the HTTP/2 connection"),
    "priority-flood": ("flood", "floods the HTTP/2 connection"),
    "unknown-flood": ("flood", "floods the HTTP/2 connection"),
    "padding-flood": ("flood", "floods the HTTP/2 connection"),
    "padding-too-long": ("closed_abnormal", "DATA: invalid padding"),
    "reset-flood": ("connection_reset", "CANCEL (0x8)"),
    "goaway-flood": ("flood", "floods the HTTP/2 connection"),
    "trailers": ("closed_abnormal", "closed without a close frame (1006)"),
    "trailers-open": ("closed_abnormal", "breaks HTTP/2: Violation in HTTP messaging rule"),
    "data-after-end": ("closed_by_server", "1000"),
    "head-after-end": ("closed_abnormal", "closed without a close frame (1006)"),
    "second-head": ("closed_abnormal", "the connection was ended without a close frame (1006): the response breaks HTTP/2"),
    "other-stream": ("closed_abnormal", "breaks HTTP/2: DATA: stream in idle"),
    "even-stream": ("http_malformed", "breaks HTTP/2"),
    "frame-too-long": ("closed_abnormal", "too large frame size"),
    "table": ("http_malformed", "COMPRESSION_ERROR"),
    "table-bomb": ("http_malformed", "16384 bytes"),
    "settings-all": ("closed_abnormal", "closed without a close frame (1006)"),
    "settings-window": ("http_malformed", "breaks HTTP/2: Flow control error"),
    "settings-frame": ("http_malformed", "breaks HTTP/2: Protocol error"),
    "settings-connect": ("http_malformed", "breaks HTTP/2: Protocol error"),
    "takes-back": ("http_malformed", "breaks HTTP/2: Protocol error"),
    "goaway-0": ("connection_reset", "the server does not take the request, after GOAWAY NO_ERROR"),
    "goaway-cut": ("closed_abnormal", "closed without a close frame (1006), after GOAWAY NO_ERROR"),
    "goaway-error-open": ("silent_drop", 'and nothing else either, after GOAWAY INTERNAL_ERROR ("out of memory")'),
    "continuation-alone": ("http_malformed", "CONTINUATION: unexpected"),
    "interrupted-head": ("http_malformed", "unexpected non-CONTINUATION frame"),
    "window-closed": ("silent_drop", "the server's HTTP/2 window is closed"),
    "http1": ("http_malformed", 'it answers "HTTP/1.1 400 Bad Request"'),
    "http1-split": ("http_malformed", "the server speaks no HTTP/2 here"),
    "ssh": ("http_malformed", 'the server speaks no HTTP/2 here, it answers "SSH-'),
    "closes": ("connection_reset", "without a response to the upgrade"),
    "cut": ("connection_reset", "without a response to the upgrade"),
}


@pytest.fixture(scope="module")
def hostile():
    with process(PYTHON, SERVERS / "h2_hostile.py", ready=lambda child: child.out().endswith("}\n")) as child:
        yield json.loads(child.out())


def test_in_pieces(hostile):
    code, document = check(f"ws://127.0.0.1:{hostile['good']}/", "ping", "hold", flags=("--http", "2"))
    assert code == 0, document


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(hostile, name):
    reason, words = HOSTILE[name]
    code, document = check(f"ws://127.0.0.1:{hostile[name]}/", "ping", timeout="1s" if reason.endswith("timeout") else "5s", flags=("--http", "2"))
    row = only(document)
    assert (code, row["reason"]) == (2, reason), row
    assert words in row["message"], row
    assert "\x1b" not in row["message"] and "secret" not in row["message"]


CODES = ("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL",
         "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED")


def test_each_error_code(hostile):
    """Of RST_STREAM, before and behind the response."""
    special = {"ENHANCE_YOUR_CALM": "rate_limited", "HTTP_1_1_REQUIRED": "upgrade_refused"}
    for number, name in enumerate(CODES):
        code, document = check(f"ws://127.0.0.1:{hostile[f'rst-{number}']}/", "handshake", flags=("--http", "2"))
        row = only(document)
        assert row["reason"] == special.get(name, "connection_reset") and name in row["message"], row
        code, document = check(f"ws://127.0.0.1:{hostile[f'rst-open-{number}']}/", "ping", flags=("--http", "2"))
        row = only(document)
        assert (code, row["reason"], row["close_code"]) == (2, "closed_abnormal", 1006) and name in row["message"], row
    code, document = check(f"ws://127.0.0.1:{hostile[f'rst-open-{0xDEADBEEF}']}/", "ping", flags=("--http", "2"))
    assert (code, only(document)["reason"]) == (2, "closed_abnormal") and "0xdeadbeef" in only(document)["message"], document


def test_a_window_that_stays_closed(hostile, tmp_path):
    """The server takes the beginning of a long message, and no more: the deadline holds, and the sentence says why."""
    file = tmp_path / "c.yaml"
    file.write_text(f"""
target: {{ url: "ws://127.0.0.1:{hostile['window-half']}/", http: 2, compression: off }}
checks:
  - {{ type: echo, timeout: 2s, send: "{'0123456789abcdef' * 4096}" }}
  - {{ type: payload, timeout: 4s, max: 256KiB }}
""")
    code, document = check(None, conf=file, timeout=None)
    echo, payload = document["checks"]
    assert (code, echo["reason"]) == (2, "echo_timeout") and "the server's HTTP/2 window is closed" in echo["message"], echo
    assert payload["status"] == "fail", payload


@pytest.mark.parametrize("name", ["window-flood", "padding-flood", "unknown-flood", "goaway-flood", "rst-open-2", "window-closed", "takes-back"])
def test_an_agent_goes_on_answering(hostile, tmp_path, name):
    """Whatever the server does on many held connections at once."""
    conf = f"""
target: {{ url: "ws://127.0.0.1:{hostile[name]}/", http: 2 }}
defaults: {{ interval: 200ms, fast_interval: 100ms, timeout: 1s }}
checks:
  - {{ type: hold, connections: 20 }}
  - {{ type: ping }}
  - {{ type: payload }}
"""
    with agent(conf, tmp_path) as daemon:
        until("it is judged", lambda: daemon.check("ping")["state"] == "fail" and len(daemon.check("hold")["history"]) > 3)
        assert daemon.get("/healthz").status == 200
        assert daemon.get("/ready").status == 503
        daemon.stop()
