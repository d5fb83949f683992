"""The default checks against servers that people run: each must be judged healthy, by all of them."""
import json

import pytest

from harness import MODULES, PYTHON, SERVERS, check, environment, free_port, only, process

TYPES = ("handshake", "ping", "echo", "hold")


def all_pass(url, *types, **more):
    code, document = check(url, *types, timeout="2s", **more)
    assert code == 0, json.dumps(document, indent=1)
    assert {c["type"]: c["status"] for c in document["checks"]} == {t: "pass" for t in types}
    assert all(c["reason"] is None for c in document["checks"])
    return document


def test_python_websockets():
    port = free_port()
    with process(PYTHON, SERVERS / "websockets_echo.py", port, port=port):
        all_pass(f"ws://127.0.0.1:{port}/", *TYPES)


def test_python_websockets_tls(certs):
    port = free_port()
    with process(PYTHON, SERVERS / "websockets_echo.py", port, *certs.leaf("good"), port=port):
        document = all_pass(f"wss://127.0.0.1:{port}/", *TYPES, "tls", flags=("--ca", certs.ca))
        for row in document["checks"]:
            assert row["timings_ms"]["tls"] > 0, row


def test_aiohttp():
    port = free_port()
    with process(PYTHON, SERVERS / "aiohttp_echo.py", port, port=port):
        all_pass(f"ws://127.0.0.1:{port}/ws", *TYPES)


def test_aiohttp_token_and_subprotocol(tmp_path):
    port = free_port()
    token = tmp_path / "token"
    token.write_text("open-sesame-42\n")
    with process(PYTHON, SERVERS / "aiohttp_echo.py", port, port=port):
        code, document = check(f"ws://127.0.0.1:{port}/private", "handshake")
        assert (code, only(document)["reason"]) == (2, "upgrade_unauthorized")
        all_pass(f"ws://127.0.0.1:{port}/private", *TYPES, flags=("--token-file", token))
        all_pass(f"ws://127.0.0.1:{port}/chat", *TYPES, flags=("--subprotocol", "chat.v1"))
        code, document = check(f"ws://127.0.0.1:{port}/ws", "handshake", flags=("--subprotocol", "chat.v1"))
        assert (code, only(document)["reason"]) == (2, "upgrade_bad_subprotocol")


def test_http_and_tcp_of_aiohttp(tmp_path):
    port = free_port()
    file = tmp_path / "c.yaml"
    with process(PYTHON, SERVERS / "aiohttp_echo.py", port, port=port):
        all_pass(f"http://127.0.0.1:{port}/health", "http")
        file.write_text(f"""
target: {{ url: "ws://127.0.0.1:{port}/ws" }}
checks:
  - {{ name: page, type: http, url: "http://127.0.0.1:{port}/health", expect: {{ json: {{ /status: healthy }} }} }}
  - {{ name: port, type: tcp }}
""")
        code, document = check(None, conf=file)
        assert code == 0, document


@pytest.mark.parametrize("deflate", ["plain", "deflate"])
def test_npm_ws(node, deflate):
    port = free_port()
    with process(node, SERVERS / "ws_echo.js", port, deflate, port=port, env=environment(WSHEALTHD_MODULES=str(MODULES))):
        all_pass(f"ws://127.0.0.1:{port}/", *TYPES)


def test_npm_ws_deflate_required(node, tmp_path):
    port = free_port()
    file = tmp_path / "c.yaml"
    for deflate, expected in (("deflate", (0, None)), ("plain", (2, "upgrade_bad_extension"))):
        with process(node, SERVERS / "ws_echo.js", port, deflate, port=port, env=environment(WSHEALTHD_MODULES=str(MODULES))):
            file.write_text(f'target: {{ url: "ws://127.0.0.1:{port}/", compression: required }}\nchecks: [{{ name: echo, type: echo }}]\n')
            code, document = check(None, conf=file)
            assert (code, only(document)["reason"]) == expected, document


def test_npm_socket_io(node):
    """Its raw transport greets, pings in messages of its own and echoes nothing: handshake, ping and hold must not mind."""
    port = free_port()
    with process(node, SERVERS / "socketio.js", port, port=port, env=environment(WSHEALTHD_MODULES=str(MODULES))):
        all_pass(f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket", "handshake", "ping", "hold")
        code, document = check(f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket", "echo", flags=("--send", "40", "--expect", "40{"))
        assert code == 0, document
        code, document = check(f"ws://127.0.0.1:{port}/elsewhere", "handshake", timeout="10s")
        assert (code, only(document)["reason"]) == (2, "connection_reset"), document


def test_libwebsockets(lws_echo):
    port = free_port()
    with process(lws_echo, port, port=port):
        all_pass(f"ws://127.0.0.1:{port}/", *TYPES)


def test_ipv6_and_names():
    """localhost has two addresses and the server listens on one of them."""
    port = free_port()
    with process(PYTHON, SERVERS / "echo.py", port, port=port):
        all_pass(f"ws://localhost:{port}/ws", *TYPES)


NGINX = """
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log; user root;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  server {{
    listen 127.0.0.1:{port};
    location /good {{ proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1;
                      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }}
    location /cut {{ proxy_pass http://127.0.0.1:{quiet}; proxy_http_version 1.1; proxy_read_timeout 1s;
                     proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }}
    location /plain {{ proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    location /dead {{ proxy_pass http://127.0.0.1:{nobody}; proxy_http_version 1.1;
                      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }}
  }}
}}
"""

HAPROXY = """
global
  maxconn 200
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  timeout tunnel {tunnel}
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server s 127.0.0.1:{behind}
"""


def finds_the_idle_timeout(url, tmp_path):
    """A hold check that stays silent for longer than the proxy tolerates; one that pings is left alone."""
    file = tmp_path / "hold.yaml"
    text = 'target: {{ url: "{}" }}\nchecks:\n  - {{ name: hold, type: hold, connections: 1, interval: 300ms, idle: {}, for: 10s, timeout: 3s }}\n'
    file.write_text(text.format(url, "true"))
    code, document = check(None, conf=file, timeout=None)
    assert code == 2, document
    assert only(document)["reason"] == "closed_abnormal", document
    assert only(document)["phase"] == "open", document


def test_nginx(tool, tmp_path):
    nginx = tool("nginx")
    port, behind, quiet = free_port(), free_port(), free_port()
    (tmp_path / "nginx.conf").write_text(NGINX.format(dir=tmp_path, port=port, behind=behind, quiet=quiet, nobody=free_port()))
    with process(PYTHON, SERVERS / "websockets_echo.py", behind, port=behind), process(PYTHON, SERVERS / "echo.py", quiet, port=quiet), \
            process(nginx, "-e", tmp_path / "error.log", "-p", tmp_path, "-c", tmp_path / "nginx.conf", port=port):
        all_pass(f"ws://127.0.0.1:{port}/good", *TYPES)
        code, document = check(f"ws://127.0.0.1:{port}/plain", "handshake")
        assert (code, only(document)["reason"]) == (2, "upgrade_refused"), document
        assert only(document)["http_status"] in (400, 426), document
        code, document = check(f"ws://127.0.0.1:{port}/dead", "handshake")
        assert (code, only(document)["reason"], only(document)["http_status"]) == (2, "upgrade_refused", 502), document
        finds_the_idle_timeout(f"ws://127.0.0.1:{port}/cut", tmp_path)


def test_haproxy(tool, tmp_path):
    haproxy = tool("haproxy")
    port, behind = free_port(), free_port()
    with process(PYTHON, SERVERS / "echo.py", behind, port=behind):
        (tmp_path / "h.cfg").write_text(HAPROXY.format(port=port, behind=behind, tunnel="1h"))
        with process(haproxy, "-db", "-f", tmp_path / "h.cfg", port=port):
            all_pass(f"ws://127.0.0.1:{port}/", *TYPES)
        (tmp_path / "h.cfg").write_text(HAPROXY.format(port=port, behind=behind, tunnel="1s"))
        with process(haproxy, "-db", "-f", tmp_path / "h.cfg", port=port):
            finds_the_idle_timeout(f"ws://127.0.0.1:{port}/", tmp_path)


def test_haproxy_without_a_server(tool, tmp_path):
    haproxy = tool("haproxy")
    port = free_port()
    (tmp_path / "h.cfg").write_text(HAPROXY.format(port=port, behind=free_port(), tunnel="1h"))
    with process(haproxy, "-db", "-f", tmp_path / "h.cfg", port=port):
        code, document = check(f"ws://127.0.0.1:{port}/", "handshake", "echo", timeout="10s")
        assert code == 2
        assert {(c["reason"], c["http_status"]) for c in document["checks"]} == {("upgrade_refused", 503)}, document


