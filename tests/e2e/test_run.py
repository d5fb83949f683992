"""`wshealthd run` beside a server that comes, goes, hangs and comes back: what /ready, /live, /startup and the commands say."""
import os
import signal
import time

from harness import RELEASE, Agent, agent, echo_server, free_port, until

FAST = "defaults: { interval: 100ms, timeout: 1s, jitter: 0%, fall: 1 }\nliveness: { after: 1s }\n"


def conf(port, *checks, more=FAST):
    text = f'target: {{ url: "ws://127.0.0.1:{port}/ws" }}\n{more}'
    return text + ("checks:\n" + "".join(f"  - {{ {line} }}\n" for line in checks) if checks else "")


def codes(child):
    return tuple(child.get(path).status for path in ("/ready", "/live", "/startup", "/healthz"))


def test_up_down_up(tmp_path):
    port = free_port()
    with agent(conf(port), tmp_path) as child:
        until("a round was judged", lambda: child.check("handshake")["state"] == "fail")
        assert codes(child) == (503, 200, 503, 200), "a server that has never been ready is not dead yet"
        assert child.check("handshake")["reason"] == "connect_refused"
        with echo_server(port):
            child.wait_ready()
            assert codes(child) == (200, 200, 200, 200)
            status = child.status()
            assert (status["status"], status["ready"], status["live"], status["started"]) == ("pass", True, True, True)
            assert {c["type"] for c in status["checks"]} == {"handshake", "ping", "hold"}
            assert child.get("/ready").text.splitlines()[0] == "ready"
        child.wait_not_ready()
        assert child.get("/startup").status == 200, "it has been ready once"
        until("/live is 503", lambda: child.get("/live").status == 503)
        assert "handshake" in child.get("/ready").text
        with echo_server(port):
            child.wait_ready()
            until("/live is 200 again", lambda: child.get("/live").status == 200)


def test_the_default_run_takes_a_url(tmp_path, server):
    """`wshealthd URL` alone: run is left out, and the default checks are three."""
    from harness import BINARY, Process

    port = free_port()
    file = tmp_path / "wshealthd.yaml"
    file.write_text(f"listen: 127.0.0.1:{port}\nadmin: off\ntarget: {{ url: \"ws://127.0.0.1:1/\" }}\n")
    child = Process([BINARY, "-c", file, server.url], tmp_path)
    try:
        import http.client

        def ready():
            assert child.running(), child.err()
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/ready")
                return connection.getresponse().status == 200
            except OSError:
                return False

        until("ready", ready)
        assert child.end(signal.SIGINT) == 0, child.err()
    finally:
        child.cleanup()


def test_a_hung_server_is_found(tmp_path, server):
    with agent(conf(server.port, "name: ping, type: ping, timeout: 300ms", "name: hold, type: hold, timeout: 300ms"), tmp_path) as child:
        child.wait_ready()
        server.send(signal.SIGSTOP)
        child.wait_not_ready()
        until("silent_drop", lambda: child.check("hold")["reason"] in ("silent_drop", "upgrade_timeout"))
        server.send(signal.SIGCONT)
        child.wait_ready()


def test_the_reset_of_a_held_connection_is_an_event(tmp_path, server):
    """With a round every 30 s, only an event can tell so soon. One loss is a warning: a restart is no outage."""
    slow = "defaults: { interval: 30s, timeout: 2s, jitter: 0%, fall: 1 }\n"
    with agent(conf(server.port, "name: hold, type: hold, for: 1h", more=slow), tmp_path) as child:
        child.wait_ready()
        server.send(signal.SIGUSR1)
        until("the loss is judged", lambda: child.check("hold")["state"] == "warn", 5)
        row = child.check("hold")
        assert (row["reason"], row["phase"], row["scope"]) == ("closed_abnormal", "open", "local"), row
        assert "2 held connections were lost after" in row["message"] or "a held connection was lost after" in row["message"], row
        assert child.get("/ready").status == 200
        assert row["losses"] >= 1 and row["last_loss_age_ms"] > 0, row


def test_fall_and_rise(tmp_path):
    """fall: 3 tolerates a blink; rise: 3 wants proof."""
    port = free_port()
    policy = "defaults: { interval: 200ms, timeout: 1s, jitter: 0%, fall: 3, rise: 3 }\n"
    with agent(conf(port, "name: handshake, type: handshake", more=policy), tmp_path) as child:
        with echo_server(port):
            child.wait_ready()
            history = child.check("handshake")["history"]
            assert history.count("#") >= 3, history
        child.wait_not_ready()
        assert child.check("handshake")["history"].endswith("..."), child.check("handshake")


def test_a_check_that_gates_nothing_only_reports(tmp_path, server):
    dead = free_port()
    with agent(conf(server.port, "name: handshake, type: handshake", f'name: port, type: tcp, address: "127.0.0.1:{dead}", gates: []'),
               tmp_path) as child:
        child.wait_ready()
        until("the other fails", lambda: child.check("port")["state"] == "fail")
        reply = child.get("/ready")
        assert reply.status == 200
        assert child.status()["status"] == "warn"


def test_drain_and_resume(tmp_path, server):
    with agent(conf(server.port), tmp_path) as child:
        child.wait_ready()
        code, _out, err = child.command("drain")
        assert code == 0, err
        reply = child.get("/ready")
        assert (reply.status, reply.headers.get("x-envoy-immediate-health-check-fail")) == (503, "true")
        assert reply.text.splitlines()[0] == "draining"
        assert child.get("/ready?drain=404").status == 404
        assert child.get("/live").status == 200
        assert child.status()["draining"] is True
        code, _out, err = child.command("resume")
        assert code == 0, err
        assert child.ready()
        assert child.status()["draining"] is False


def test_status_and_wait_commands(tmp_path):
    port = free_port()
    with agent(conf(port), tmp_path) as child:
        code, _out, err = child.command("wait", "--timeout", "300ms")
        assert code == 2 and err, (code, err)
        with echo_server(port):
            code, _out, err = child.command("wait", "--timeout", "15s")
            assert code == 0, err
            code, out, _err = child.command("wait", "--for", "startup", "--timeout", "5s")
            assert code == 0
            until("pass", lambda: child.status()["status"] == "pass")
            code, out, _err = child.command("status")
            assert code == 0 and "handshake" in out and "hold" in out, out
            assert "\x1b" not in out
            code, out, _err = child.command("status", "--json")
            assert code == 0 and '"ready":true' in out.replace(" ", ""), out
            from harness import wshealthd

            code, _out, err = wshealthd("wait", "--url", f"http://127.0.0.1:{child.port}/ready", "--timeout", "5s")
            assert code == 0, err
        child.wait_not_ready()
        code, out, _err = child.command("status")
        assert code == 2 and "connect_refused" in out, out


def test_no_agent_to_ask(tmp_path):
    from harness import wshealthd

    file = tmp_path / "wshealthd.yaml"
    file.write_text(f'listen: off\nadmin: unix:{tmp_path}/none.sock\ntarget: {{ url: "ws://127.0.0.1:1/" }}\n')
    for command in (("status",), ("drain",), ("resume",), ("reload",)):
        code, out, err = wshealthd(*command, "-c", file)
        assert code == 3, (command, code, out, err)
        lines = err.strip().splitlines()
        assert "no agent answers on" in lines[0], err
        assert len(lines) == 2 and lines[1].lstrip().startswith("to start one:") and str(file) in lines[1], err


def test_a_stopped_agent_makes_no_false_failure(tmp_path, server):
    """SIGSTOP for longer than every timeout, SIGCONT: rounds that failed meanwhile are void."""
    slow = "defaults: { interval: 200ms, timeout: 500ms, jitter: 0%, fall: 1 }\n"
    with agent(conf(server.port, "name: handshake, type: handshake", "name: ping, type: ping", "name: echo, type: echo",
                    "name: hold, type: hold", more=slow), tmp_path) as child:
        child.wait_ready()
        until("rounds", lambda: len(child.check("echo")["history"]) > 5)
        for pause in (1.0, 4.0):
            child.send(signal.SIGSTOP)
            time.sleep(pause)
            child.send(signal.SIGCONT)
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                assert child.ready(), child.get("/ready?verbose").text
                time.sleep(0.02)
        for row in child.status()["checks"]:
            assert "." not in row["history"], row


def test_a_stopped_agent_still_finds_a_server_that_died_meanwhile(tmp_path):
    port = free_port()
    with agent(conf(port), tmp_path) as child:
        with echo_server(port):
            child.wait_ready()
            child.send(signal.SIGSTOP)
        child.send(signal.SIGCONT)
        child.wait_not_ready()


def test_signals_end_it_cleanly(tmp_path, server):
    for number in (signal.SIGTERM, signal.SIGINT):
        directory = tmp_path / str(int(number))
        directory.mkdir()
        with agent(conf(server.port), directory) as child:
            child.wait_ready()
            assert child.end(number) == 0, child.err()
            assert not child.admin.exists(), "its socket is gone with it"


def test_it_ends_at_once_while_the_server_hangs(tmp_path, server):
    with agent(conf(server.port), tmp_path) as child:
        child.wait_ready()
        server.send(signal.SIGSTOP)
        start = time.monotonic()
        child.stop()
        assert time.monotonic() - start < 10
        server.send(signal.SIGCONT)


def test_the_admin_socket_is_private_and_a_stale_one_is_replaced(tmp_path, server):
    with agent(conf(server.port), tmp_path) as child:
        until("the admin socket is there", child.admin.exists)  # it is opened after the health port
        assert os.stat(child.admin).st_mode & 0o777 == 0o660
        child.send(signal.SIGKILL)
        child.child.wait(10)
        assert child.admin.exists()
    with agent(conf(server.port), tmp_path) as child:
        child.wait_ready()


def test_two_agents_on_one_port(tmp_path, server):
    from harness import wshealthd

    with agent(conf(server.port), tmp_path) as child:
        code, _out, err = wshealthd("run", "-c", child.file)
        assert code == 3, err
        assert str(child.port) in err or str(child.admin) in err, err
        child.wait_ready()


def test_out_of_descriptors_is_not_the_servers_fault(tmp_path, server):
    """With no descriptor left the agent cannot probe: its rounds are void, /ready stays as it was, and it recovers."""
    import resource

    text = conf(server.port, "name: hold, type: hold, connections: 2", "name: handshake, type: handshake")
    with agent(text, tmp_path) as child:
        child.wait_ready()
        used = len(os.listdir(f"/proc/{child.pid}/fd"))
        soft, hard = resource.prlimit(child.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (min(used, soft), hard))
        time.sleep(1)
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (soft, hard))
        child.wait_ready()
        for row in child.status()["checks"]:
            assert "." not in row["history"], row


def test_first_200_after_exec_is_quick_in_release(tmp_path, server):
    """No spread at the start: a healthy server is ready with the first rounds (timing itself is for make bench)."""
    child = Agent(conf(server.port, more=""), tmp_path, binary=RELEASE)
    try:
        child.wait_ready(5)
    finally:
        child.stop()
        child.cleanup()
