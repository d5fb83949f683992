"""Whose fault it is, and what follows: refused probes, brokers that are down from the start, servers that hang. No harm is done to a well one."""
import base64
import contextlib
import json
import os
import re
import signal
import time

import pytest
from harness import PYTHON, RELEASE, SERVERS, agent, echo_server, free_port, process, until

FAST = "defaults: { interval: 100ms, fast_interval: 100ms, timeout: 1s, jitter: 0%, fall: 1 }\nliveness: { after: 1s }\n"
HANDSHAKE = "checks: [ { type: handshake } ]\n"


class Refuser:
    def __init__(self, child, file, port):
        self.child, self.file, self.url = child, file, f"ws://127.0.0.1:{port}/ws"

    def does(self, what):
        self.file.write_text(what + "\n")

    def attempts(self):
        return len(self.child.out().splitlines())


@contextlib.contextmanager
def refuser(tmp_path, first="ok"):
    port, file = free_port(), tmp_path / "does"
    file.write_text(first + "\n")
    with process(PYTHON, SERVERS / "refuser.py", port, file, port=port) as child:
        yield Refuser(child, file, port)


def conf(url, more="", checks=HANDSHAKE, defaults=FAST):
    return f'target: {{ url: "{url}"{more} }}\n{defaults}{checks}'


def word(child):
    return child.get("/ready").text.splitlines()[0]


def codes(child):
    return tuple(child.get(path).status for path in ("/ready", "/live", "/startup"))


def events(child, *names):
    return [line for line in child.err().splitlines() if re.search(r"event=(%s)\b" % "|".join(names), line)]


REFUSALS = {"status 401 Unauthorized": "upgrade_unauthorized", "status 403 Forbidden": "upgrade_unauthorized",
            "status 429 Too Many Requests": "rate_limited", "close 1008 token expired": "login_rejected",
            "close 4429 ": "rate_limited"}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_refused_probe_degrades(tmp_path, what):
    """After it has once passed: 200, degraded; and nobody restarts a server for it."""
    kind = "ping" if what.startswith("close") else "handshake"
    with refuser(tmp_path) as server, agent(conf(server.url, checks=f"checks: [ {{ type: {kind}, gates: [ready, live] }} ]\n"), tmp_path) as child:
        child.wait_ready()
        server.does(what)
        until("it is degraded", lambda: word(child) == "degraded")
        check = child.check(kind)
        assert (check["state"], check["reason"], check["scope"]) == ("fail", REFUSALS[what], "probe"), check
        time.sleep(2)  # liveness.after is over
        assert codes(child) == (200, 200, 200)
        assert child.get("/ready").headers["x-envoy-degraded"] == "true"
        until("it is told", lambda: events(child, "degraded"))


@pytest.mark.parametrize("what", ("status 404 Not Found", "status 500 Internal Server Error", "status 301 Moved|Location: /elsewhere"))
def test_whoever_answers_is_alive(tmp_path, what):
    with refuser(tmp_path) as server, agent(conf(server.url), tmp_path) as child:
        child.wait_ready()
        server.does(what)
        child.wait_not_ready()
        until("it has failed for longer than liveness.after", lambda: child.check("handshake")["history"].endswith("." * 15))
        assert codes(child) == (503, 200, 200)


def test_refused_from_the_start(tmp_path):
    """A roll-out whose new version refuses everybody must stop; failing the startupProbe would restart it for ever."""
    with refuser(tmp_path, "status 401 Unauthorized") as server, agent(conf(server.url), tmp_path) as child:
        until("it is judged", lambda: child.check("handshake")["state"] == "fail")
        assert codes(child) == (503, 200, 200)
        assert "kept out until the check has passed once" in child.status()["diagnosis"]["sentence"]
        server.does("ok")
        child.wait_ready()


def test_probe_faults_fail(tmp_path):
    more = "readiness: { probe_faults: fail }\n"
    with refuser(tmp_path) as server, agent(conf(server.url) + more, tmp_path) as child:
        child.wait_ready()
        server.does("status 401 Unauthorized")
        child.wait_not_ready()
        assert codes(child) == (503, 200, 200)


def jwt(exp):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f'{part({"alg": "HS256"})}.{part({"sub": "probe", "exp": exp})}.c2lnbmF0dXJl'


def test_the_agents_own_token_is_over(tmp_path):
    """It can tell by the token's own exp: a restarted instance is not kept out for that. A token that should be good keeps it out."""
    token = tmp_path / "token"
    token.write_text(jwt(int(time.time()) - 3600))
    with refuser(tmp_path, "status 401 Unauthorized") as server:
        with agent(conf(server.url, f', token: "${{file:{token}}}"'), tmp_path) as child:
            until("it is degraded", lambda: word(child) == "degraded")
            assert "expired 1h" in child.check("handshake")["message"], child.check("handshake")
            assert codes(child) == (200, 200, 200)
        token.write_text(jwt(int(time.time()) + 3600))
        with agent(conf(server.url, f', token: "${{file:{token}}}"'), tmp_path) as child:
            until("it is judged", lambda: child.check("handshake")["state"] == "fail")
            assert codes(child) == (503, 200, 200)


def test_a_broker_that_is_down_from_the_start(tmp_path):
    """It must not eat one restarted instance after the other. What can be proven without it is still asked for."""
    port, broker = free_port(), free_port()
    brokers = f'brokers: [ {{ name: bus, type: redis, url: "redis://127.0.0.1:{broker}/0" }} ]\n'
    checks = "checks:\n  - { type: delivery, broker: bus, channel: news }\n"
    with agent(conf(f"ws://127.0.0.1:{port}/ws", checks=checks) + brokers, tmp_path) as child:
        until("both are judged", lambda: {c["status"] for c in child.status()["checks"]} == {"fail"})
        assert child.check("bus")["gates"] == ["ready"] and child.check("bus")["scope"] == "shared"
        until("no connection is made", lambda: child.check("delivery")["reason"] == "connect_refused")
        assert codes(child)[:1] + codes(child)[2:] == (503, 503), "nobody listens at all"
        with echo_server(port):
            until("it is degraded", lambda: word(child) == "degraded")
            assert codes(child) == (200, 200, 200)
            assert child.status()["diagnosis"]["cause"] == "broker_down"
            assert child.check("delivery")["scope"] == "shared"


def test_back_off(tmp_path):
    """Three checks at ten rounds a second, each refused: a handful of attempts, and Retry-After is obeyed. One pass ends it."""
    checks = "checks: [ { type: handshake }, { type: ping }, { type: hold } ]\n"
    with refuser(tmp_path) as server, agent(conf(server.url, checks=checks), tmp_path) as child:
        child.wait_ready()
        server.does("status 401 Unauthorized")
        until("it is refused", lambda: word(child) == "degraded")
        before = server.attempts()
        time.sleep(6)
        assert server.attempts() - before <= 4, "those that were under way"
        assert child.check("hold")["state"] == "pass", "what is held goes on"
        server.does("ok")
        until("it is ready", lambda: word(child) == "ready")
        before = server.attempts()
        until("the pace is back", lambda: server.attempts() - before > 10)
        server.does("status 429 Too Many Requests|Retry-After: 40")
        until("it is refused", lambda: word(child) == "degraded")
        time.sleep(1)
        before = server.attempts()
        time.sleep(11)
        assert server.attempts() == before, "the server has asked for 40 s"


def test_a_refused_health_page_slows_itself_down(tmp_path):
    """And no other check: what a page is refused says nothing about the WebSocket, which is watched as before."""
    page, ws = tmp_path / "page", tmp_path / "ws"
    page.mkdir()
    ws.mkdir()
    with refuser(page, "status 200 OK") as health, refuser(ws) as server:
        http = f'{{ type: http, url: "{health.url.replace("ws:", "http:")}" }}'
        with agent(conf(server.url, checks=f"checks: [ {{ type: handshake }}, {http} ]\n"), tmp_path) as child:
            child.wait_ready()
            until("both are asked at their pace", lambda: min(health.attempts(), server.attempts()) > 10)
            health.does("status 403 Forbidden")
            until("it is refused", lambda: child.check("http")["state"] == "fail")
            before = health.attempts(), server.attempts()
            until("the other goes on", lambda: server.attempts() - before[1] > 30)
            assert health.attempts() - before[0] <= 1, "the one that was under way"
            health.does("status 200 OK")
            until("it is asked again, and passes", lambda: child.check("http")["state"] == "pass")
            before = health.attempts()
            until("the pace is back", lambda: health.attempts() - before > 10)
            health.does("status 429 Too Many Requests|Retry-After: 40")
            until("it is refused", lambda: child.check("http")["state"] == "fail")
            before = health.attempts()
            time.sleep(11)
            assert health.attempts() - before <= 1, "the page has asked for 40 s"


def test_checks_that_only_dial_a_refusing_target_go_rarely(tmp_path):
    """Who counts connections counts theirs too. Those that dial another server go on."""
    with refuser(tmp_path) as server, echo_server() as other:
        checks = (f'checks: [ {{ type: handshake }}, {{ type: tcp }}, {{ name: other, type: tcp, address: "127.0.0.1:{other.port}" }},'
                  f' {{ type: http, url: "{server.url.replace("ws:", "http:")}", status: [200-599] }} ]\n')
        with agent(conf(server.url, checks=checks), tmp_path) as child:
            child.wait_ready()
            server.does("status 429 Too Many Requests|Retry-After: 40")
            until("it is refused", lambda: child.check("handshake")["state"] == "fail")
            until("the others have noticed", lambda: server.attempts() == (time.sleep(4), server.attempts())[1])
            before, last = server.attempts(), child.check("other")["last"]
            time.sleep(2)
            assert server.attempts() == before, "the server has asked for 40 s"
            until("the other goes on", lambda: child.check("other")["last"] != last)


def test_a_hung_server_is_soon_out(tmp_path):
    """At the defaults: two rounds of one check, the second at once after the first. The other checks come forward too."""
    with echo_server() as server, agent(f'target: {{ url: "{server.url}" }}\n', tmp_path, binary=RELEASE) as child:
        child.wait_ready()
        until("every check has its place", lambda: all(len(c["history"]) >= 3 for c in child.status()["checks"]))
        os.kill(server.pid, signal.SIGSTOP)
        began = time.monotonic()
        child.wait_not_ready()
        took = time.monotonic() - began
        failed = [c["history"] for c in child.status()["checks"] if c["state"] == "fail"]
        assert failed and all(h.endswith("#..") for h in failed), failed
        print(f"out after {took:.1f} s")
        assert took < 12, "interval, timeout, interval, timeout would be 14"
        until("the others have seen it", lambda: all(c["state"] == "fail" for c in child.status()["checks"]))
        os.kill(server.pid, signal.SIGCONT)
        child.wait_ready()
        until("it is told once each", lambda: events(child, "ready")[1:])
        assert len(events(child, "not_ready")) == 1 and len(events(child, "ready")) == 2, child.err()
        assert "cause=server_hung" in events(child, "not_ready")[0] or "cause=application_frozen" in events(child, "not_ready")[0]


def test_the_log_tells_the_whole_story(tmp_path):
    """Degraded, another cause, and its end: each once; what the recovery says is not the fault."""
    with refuser(tmp_path) as server, agent(conf(server.url), tmp_path) as child:
        child.wait_ready()
        server.does("status 401 Unauthorized")
        until("degraded", lambda: events(child, "degraded"))
        server.does("ok")
        until("its end", lambda: events(child, "restored"))
        end = events(child, "restored")[0]
        assert "cause=healthy" in end and "was=token_refused" in end and "401" not in end, end
        server.does("status 500 Internal Server Error")
        until("out", lambda: events(child, "not_ready"))
        server.does("status 404 Not Found")
        until("another cause", lambda: [e for e in events(child, "cause") if "cause=wrong_path" in e])
