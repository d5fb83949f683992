"""Reload is atomic: a bad file changes nothing, unchanged checks keep their state and their held connections."""
import os
import signal

import pytest
from harness import agent, echo_server, free_port, until, wshealthd

HEAD = "defaults: {{ interval: 100ms, timeout: 1s, jitter: 0%, fall: 1 }}\ntarget: {{ url: \"ws://127.0.0.1:{port}{path}\" }}\nchecks:\n"
HOLD = "  - { name: hold, type: hold, connections: 3, for: 1h }\n"
PING = "  - { name: ping, type: ping }\n"


def text(port, *checks, path="/held"):
    return HEAD.format(port=port, path=path) + "".join(checks)


def connections(log, path="/held"):
    return sum(line.startswith(path + " ") for line in log.read_text().splitlines()) if log.exists() else 0


def test_unchanged_checks_keep_their_connections(tmp_path):
    log = tmp_path / "connections"
    with echo_server(None, "--log", log) as server, agent(text(server.port, HOLD), tmp_path) as child:
        child.wait_ready()
        until("three are held", lambda: connections(log) == 3)
        child.write(text(server.port, HOLD, "  - { name: http, type: tcp }\n"))
        code, _out, err = child.command("reload")
        assert code == 0, err
        until("the new check is there", lambda: len(child.status()["checks"]) == 2)
        until("it passes", lambda: child.check("http")["state"] == "pass")
        before = child.check("hold")
        assert child.ready()
        until("rounds go on", lambda: child.check("hold")["last"] != before["last"])
        assert connections(log) == 3, "the server saw no new connection"
        # A changed one starts anew, a removed one is gone.
        child.write(text(server.port, HOLD.replace("connections: 3", "connections: 4")))
        child.send(signal.SIGHUP)
        until("one check", lambda: len(child.status()["checks"]) == 1)
        until("four more", lambda: connections(log) == 7)
        child.wait_ready()


def test_a_bad_file_changes_nothing(tmp_path, server):
    with agent(text(server.port, PING), tmp_path) as child:
        child.wait_ready()
        for bad in ("checks: [", text(server.port, "  - { name: ping, type: ping, timout: 1s }\n"), text(server.port, "  - { name: x, type: nope }\n"),
                    "", "nonsense\n"):
            child.write(bad)
            code, _out, err = wshealthd("reload", "--admin", f"unix:{child.admin}")
            assert code in (2, 3), (bad, code, err)
            assert "wshealthd.yaml:" in err, err
            assert child.ready()
            assert [c["name"] for c in child.status()["checks"]] == ["ping"]
        errors = child.err()
        child.send(signal.SIGHUP)
        until("the log says so", lambda: "reload_failed" in child.err()[len(errors):])
        child.write(text(server.port, PING, "  - { name: echo, type: echo }\n"))
        child.send(signal.SIGHUP)
        until("it is read", lambda: len(child.status()["checks"]) == 2)
        child.wait_ready()


def test_another_target(tmp_path):
    """A new target makes every check start anew; the verdict follows it."""
    with echo_server() as first, agent(text(first.port, PING), tmp_path) as child:
        child.wait_ready()
        child.write(text(free_port(), PING))
        child.send(signal.SIGHUP)
        child.wait_not_ready()
        child.write(text(first.port, PING))
        child.send(signal.SIGHUP)
        child.wait_ready()


def test_many_reloads(tmp_path, server):
    """Generations come and go in the middle of rounds; LeakSanitizer looks at the end."""
    with agent(text(server.port, PING, HOLD), tmp_path) as child:
        child.wait_ready()
        for count in range(30):
            child.write(text(server.port, PING, HOLD.replace("connections: 3", f"connections: {1 + count % 3}"), path=f"/p{count % 2}"))
            child.send(signal.SIGHUP)
            child.get("/status")
        child.wait_ready()


def test_a_rotated_token_is_read_on_every_use(tmp_path):
    from harness import PYTHON, SERVERS, process

    token = tmp_path / "token"
    token.write_text("wrong-token-1\n")
    port = free_port()
    conf = (f'target: {{ url: "ws://127.0.0.1:{port}/private", token: "${{file:{token}}}" }}\n'
            "defaults: { interval: 100ms, timeout: 1s, jitter: 0% }\nchecks: [ { name: handshake, type: handshake } ]\n")
    with process(PYTHON, SERVERS / "aiohttp_echo.py", port, port=port), agent(conf, tmp_path) as child:
        until("refused", lambda: child.check("handshake")["reason"] == "upgrade_unauthorized")
        token.write_text("open-sesame-42\n")
        child.wait_ready()


def test_a_deleted_admin_socket_comes_back(tmp_path, server):
    """Somebody cleaned up /run: SIGHUP makes the socket anew, and what stands in its place is not touched."""
    with agent(text(server.port, PING), tmp_path) as child:
        child.wait_ready()
        child.admin.unlink()
        assert child.command("status")[0] == 3
        child.send(signal.SIGHUP)
        until("the socket is there", child.admin.exists)
        assert child.command("status")[0] == 0
        child.admin.unlink()
        child.admin.write_text("not a socket")
        child.send(signal.SIGHUP)
        until("it says so", lambda: "not a socket" in child.err())
        assert child.admin.read_text() == "not a socket"
        child.admin.unlink()
        child.send(signal.SIGHUP)
        until("the socket is there again", child.admin.exists)
        assert child.command("status")[0] == 0


@pytest.mark.parametrize("key", ["ca_file", "cert_file", "key_file"])
def test_a_fifo_in_the_place_of_a_file(tmp_path, server, certs, key):
    """No reload hangs on it: it is refused by its kind, and the old configuration goes on."""
    files = {"ca_file": certs.ca, "cert_file": certs.leaf('good')[0], "key_file": certs.leaf('good')[1]}
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with agent(text(server.port, PING), tmp_path) as child:
        child.wait_ready()
        files[key] = fifo
        listed = ", ".join(f"{name}: '{value}'" for name, value in files.items())
        for place in ("target", "bus"):
            if place == "target":
                child.write(f"target: {{ url: 'wss://127.0.0.1:{server.port}/', tls: {{ {listed} }} }}\nchecks:\n{PING}")
            else:
                child.write(text(server.port, PING) + f"brokers: [ {{ name: bus, type: nats, url: 'tls://127.0.0.1:1', tls: {{ {listed} }} }} ]\n")
            code, _out, err = child.command("reload", timeout=10)
            assert code == 3, err
            assert "is a fifo, want a regular file" in err, err
            assert child.get("/ready").status == 200


def test_a_fifo_as_the_configuration(tmp_path):
    fifo = tmp_path / "fifo.yaml"
    os.mkfifo(fifo)
    code, _out, err = wshealthd("config", "check", fifo, timeout=10)
    assert code == 3 and "is a fifo, want a regular file" in err, err
    code, _out, err = wshealthd("config", "check", "/dev/stdin", stdin="target: { url: 'ws://127.0.0.1:1/' }\n")
    assert code == 0, err
