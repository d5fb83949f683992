"""`http: both`: every check type that can ask over both versions does, and the verdict says over which one it fails. haproxy, which takes
HTTP/1.1 and HTTP/2 on one port, stands in front of the server; its rules break one version alone."""
import json
import os
import signal

import pytest

from harness import PYTHON, SERVERS, agent, check, free_port, process, until
from test_delivery import chat, redis  # noqa: F401  (a fixture)

OWN = "https://chat.example.com"
CONF = """
global
  maxconn 400
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  timeout tunnel 1h
frontend f
  bind 127.0.0.1:{port}
  {rules}
  default_backend b
backend b
  server s 127.0.0.1:{behind}
"""


@pytest.fixture
def proxy(tool, tmp_path):
    """proxy(behind, rules): (process, port)."""

    def start(behind, *rules):
        port = free_port()
        (tmp_path / "p.cfg").write_text(CONF.format(port=port, behind=behind, rules="\n  ".join(rules)))
        return process(tool("haproxy"), "-db", "-f", tmp_path / "p.cfg", port=port), port

    return start


def guard(port, **conf):
    return process(PYTHON, SERVERS / "guard.py", port, json.dumps(conf), port=port)


def echo(port):
    return process(PYTHON, SERVERS / "websockets_echo.py", port, port=port)


def verdict(tmp_path, port, *checks, more="", path="/ws"):
    file = tmp_path / "c.yaml"
    file.write_text(f"""
target: {{ url: "ws://127.0.0.1:{port}{path}", http: both{more} }}
checks: [{", ".join(f"{{ {row} }}" for row in checks)}]
""")
    code, document = check(None, conf=file, timeout="10s", patience=90)
    return code, document["checks"]


def test_every_type(proxy, tmp_path):
    behind = free_port()
    child, port = proxy(behind)
    types = ["handshake", "ping", "echo", "hold", "payload", "reconnect"]
    with echo(behind), child:
        code, rows = verdict(tmp_path, port, *[f"type: {name}" for name in types])
        assert code == 0, rows
        assert {row["type"]: row["http"] for row in rows} == {name: "both" for name in types}


@pytest.mark.parametrize("version, other", [("2.0", "1.1"), ("1.1", "2.0")])
def test_one_version_alone(proxy, server, tmp_path, version, other):
    names = {"2.0": "HTTP/2", "1.1": "HTTP/1.1"}
    child, port = proxy(server.port, f"http-request deny deny_status 503 if {{ req.ver {version} }}")
    with child:
        code, rows = verdict(tmp_path, port, "type: ping", "type: origin, accept: \"https://a.test\", refuse: [], lookalikes: false, \"null\": ignore")
        assert code == 2
        for row in rows:
            begin = f"over {names[version]} only: " if row["type"] == "origin" else f"{names[other]} works, {names[version]} does not: "
            assert row["message"].startswith(begin) and "503" in row["message"], row


def test_origin_is_looked_at_over_one_version_only(proxy, tmp_path):
    """What looks at the Origin of an Upgrade alone leaves the extended CONNECT open."""
    behind = free_port()
    child, port = proxy(behind, "http-request deny deny_status 403 if { req.ver 1.1 } !{ req.hdr(origin) -m str " + OWN + " }")
    with guard(behind), child:
        code, rows = verdict(tmp_path, port, "type: origin", more=f", origin: \"{OWN}\"")
        assert (code, rows[0]["reason"]) == (2, "origin_not_enforced"), rows[0]["message"]
        assert rows[0]["message"].startswith("over HTTP/2 only: the server takes Origin https://origin.invalid"), rows


def test_a_token_is_looked_at_over_one_version_only(proxy, tmp_path):
    behind = free_port()
    child, port = proxy(behind, "http-request deny deny_status 401 if { req.ver 1.1 } !{ req.hdr(authorization) \"Bearer open-sesame-42\" }")
    with guard(behind), child:
        code, rows = verdict(tmp_path, port, "type: auth", more=", token: open-sesame-42")
        assert (code, rows[0]["reason"]) == (2, "auth_not_enforced"), rows[0]["message"]
        assert rows[0]["message"].startswith("over HTTP/2 only: "), rows


def test_delivery_says_what_it_uses(proxy, redis, tmp_path):  # noqa: F811
    """It has one connection, over HTTP/1.1, beside checks that use both."""
    with chat(redis) as server:
        child, port = proxy(int(server.url.split(":")[2].split("/")[0]))
        conf = f"""
target: {{ url: "ws://127.0.0.1:{port}/ws", http: both }}
defaults: {{ interval: 200ms, timeout: 5s }}
brokers: [{{ name: bus, type: redis, url: "redis://127.0.0.1:{redis.port}" }}]
checks:
  - {{ name: delivery, type: delivery, broker: bus, channel: healthcheck }}
  - {{ name: ping, type: ping }}
"""
        with child, agent(conf, tmp_path) as daemon:
            daemon.wait_ready()
            assert (daemon.check("delivery")["http"], daemon.check("ping")["http"]) == ("1.1", "both")


def test_an_agent(proxy, tmp_path):
    """Sessions of both versions live side by side; what one version loses is named, and what comes back passes."""
    behind = free_port()
    child, port = proxy(behind)
    conf = f"""
target: {{ url: "ws://127.0.0.1:{port}/ws", http: both }}
defaults: {{ interval: 200ms, fast_interval: 100ms, timeout: 5s }}
checks:
  - {{ name: payload, type: payload, max: 4KiB, gates: [ready] }}
  - {{ name: reconnect, type: reconnect, max_per_second: 100 }}
"""
    with child, agent(conf, tmp_path) as daemon:
        with echo(behind):
            daemon.wait_ready()
            until("some rounds", lambda: min(len(daemon.check(name)["history"]) for name in ("payload", "reconnect")) > 4)
            for name in ("payload", "reconnect"):
                assert set(daemon.check(name)["history"]) == {"#"}, daemon.check(name)
        daemon.wait_not_ready()
        until("both fail", lambda: (daemon.check("payload")["message"] or "").startswith("over HTTP/1.1 and over HTTP/2: status 503"))
        until("both fail", lambda: "status 503" in (daemon.check("reconnect")["message"] or ""))
        with echo(behind):
            daemon.wait_ready()


def test_a_front_that_stops_offering_http_2(tool, server, certs, tmp_path):
    """haproxy reloads, twice, while sessions are held, and is polite to them for two seconds. Without HTTP/2 it serves every client: a warning.
    The sessions that end with the old process are one loss each, over either version, and the instance stays in rotation."""
    cert, key = certs.leaf("good")
    port, pem, file = free_port(), tmp_path / "both.pem", tmp_path / "t.cfg"
    pem.write_text(open(cert, encoding="ascii").read() + open(key, encoding="ascii").read())

    def write(alpn):
        text = CONF.format(port=f"{port} ssl crt {pem} alpn {alpn}", behind=server.port, rules="")
        file.write_text(text.replace("  maxconn 400\n", "  maxconn 400\n  hard-stop-after 2s\n"))

    write("h2,http/1.1")
    conf = f"""
target: {{ url: "wss://127.0.0.1:{port}/ws", http: both, tls: {{ ca_file: "{certs.ca}", server_name: localhost }} }}
defaults: {{ interval: 300ms, timeout: 20s }}
checks:
  - {{ name: held, type: hold, connections: 4 }}
  - {{ name: ping, type: ping }}
"""
    with process(tool("haproxy"), "-W", "-db", "-f", file, port=port) as front, agent(conf, tmp_path) as daemon:
        daemon.wait_ready()
        write("http/1.1")
        os.kill(front.pid, signal.SIGUSR2)
        until("it is told", lambda: daemon.check("ping")["state"] == "warn")
        assert daemon.check("ping")["message"].startswith("HTTP/1.1 works, and clients use that: the server does not speak HTTP/2")
        until("the old process has ended", lambda: daemon.check("held")["state"] == "warn")
        assert daemon.ready(), daemon.get("/ready?verbose").text
        write("h2,http/1.1")
        os.kill(front.pid, signal.SIGUSR2)
        until("it is back", lambda: daemon.check("ping")["state"] == "pass")
        assert daemon.ready(), daemon.get("/ready?verbose").text
