"""The agent as HAProxy sees it: by agent-check, by httpchk, and by both. Judged by HAProxy's own statistics."""
import contextlib
import csv
import io
import re
import signal
import socket
import threading
import time

import pytest

from harness import PATIENCE, ROOT, Agent, agent, echo_server, free_port, process, until
from test_drain import Client, clients

BOTH = ("agent-check", "httpchk", "both")


class Haproxy:
    """One server behind it, watched in the given way."""

    def __init__(self, child, socket_path, port):
        self.child, self.path, self.port = child, socket_path, port

    def tell(self, command):
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(PATIENCE)
            one.connect(str(self.path))
            one.sendall(command.encode() + b"\n")
            answer = b""
            while more := one.recv(65536):
                answer += more
            return answer.decode()

    def row(self):
        rows = csv.DictReader(io.StringIO(self.tell("show stat").removeprefix("# ")))
        return next(row for row in rows if row["svname"] == "chat1")

    def status(self):
        return self.row()["status"].split()[0]

    def weight(self):
        return int(self.row()["weight"])

    def downs(self):
        return self.child.out().count("Server b/chat1 is DOWN")

    def wait(self, *statuses, seconds=PATIENCE):
        until(f"{statuses}, not {self.row()}", lambda: self.status() in statuses, seconds)


@contextlib.contextmanager
def haproxy(tool, directory, how, server, health, check, weight="weight 100"):
    port = free_port()
    by_agent = f"agent-check agent-addr 127.0.0.1 agent-port {check} agent-inter 200ms" if how != "httpchk" else ""
    by_http = f"check port {health} inter 200ms fall 2 rise 1" if how != "agent-check" else ""
    (directory / "h.cfg").write_text(f"""
global
  stats socket {directory}/h.sock
  log stdout format raw local0
defaults
  log global
  mode http
  timeout connect 1s
  timeout client 1m
  timeout server 1m
  timeout tunnel 1h
  timeout check 1s
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  option httpchk GET /ready
  server chat1 127.0.0.1:{server} {weight} on-marked-down shutdown-sessions {by_agent} {by_http}
""")
    with process(tool("haproxy"), "-db", "-f", directory / "h.cfg", port=port) as child:
        yield Haproxy(child, directory / "h.sock", port)


def conf(check, server, checks="[ { type: handshake } ]", more=""):
    return f"""
agent_check: 127.0.0.1:{check}
target: {{ url: "ws://127.0.0.1:{server}/ws" }}
defaults: {{ interval: 200ms, fast_interval: 100ms, timeout: 500ms, jitter: 0% }}
checks: {checks}
{more}"""


def line(port):
    """All that comes before the end; the client says nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as one:
        got = b""
        while more := one.recv(100):
            got += more
        return got.decode()


# --- the lines -------------------------------------------------------------------------------------------------------------------------


def test_every_line(tmp_path):
    port, public, check = free_port(), free_port(), free_port()
    text = conf(check, port, f"[ {{ type: handshake }}, {{ name: way, type: handshake, path: public, gates: [ready] }} ]",
                "readiness: { degraded_weight: 40% }").replace("/ws\" }", f"/ws\", public_url: \"ws://127.0.0.1:{public}/ws\" }}")
    with echo_server(port) as server, agent(text, tmp_path) as child:
        with echo_server(public):
            child.wait_ready()
            until("all is well", lambda: line(check) == "up ready 100%\n")
        until("degraded", lambda: line(check) == "up ready 40%\n")
        assert child.ready()
        child.command("drain")
        assert line(check) == "up drain\n"
        child.command("resume")
        until("degraded", lambda: line(check) == "up ready 40%\n")
        server.send(signal.SIGUSR2)
        until("not ready", lambda: line(check).startswith("down #"))
        assert line(check) == "down #upgrade_timeout\n"
        child.command("drain")
        assert line(check) == "up drain\n"


def test_what_the_client_sends_does_not_matter(tmp_path, server):
    check = free_port()
    with agent(conf(check, server.port), tmp_path) as child:
        child.wait_ready()
        for words in (b"", b"hello\n", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100000):
            for _ in range(20):
                with socket.create_connection(("127.0.0.1", check), timeout=PATIENCE) as one:
                    with contextlib.suppress(OSError):
                        one.sendall(words)
                    got = b""
                    while more := one.recv(100):  # an RST would be an error here
                        got += more
                    assert got == b"up ready 100%\n"


def test_hostile_clients_keep_nobody_waiting(tmp_path, server):
    """Hundreds that neither read nor close."""
    check = free_port()
    with agent(conf(check, server.port), tmp_path) as child, contextlib.ExitStack() as stack:
        child.wait_ready()
        for _ in range(600):
            stack.enter_context(socket.create_connection(("127.0.0.1", check), timeout=PATIENCE))
        for _ in range(20):
            assert line(check) == "up ready 100%\n"
            assert child.ready()
        until("their descriptors are free", lambda: float(child.get("/metrics").text.split("\nprocess_open_fds ")[1].split()[0]) < 100)


def test_a_reload_moves_and_removes_it(tmp_path, server):
    first, second = free_port(), free_port()
    with agent(conf(first, server.port), tmp_path) as child:
        child.wait_ready()
        assert line(first) == "up ready 100%\n"
        child.write(conf(second, server.port))
        assert child.command("reload")[0] == 0
        assert line(second) == "up ready 100%\n"
        with pytest.raises(OSError):
            line(first)
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", first))
            taken.listen()
            child.write(conf(first, server.port))
            code, _, err = child.command("reload")
            assert code == 3 and "agent_check: " in err and "in use" in err, err
        assert line(second) == "up ready 100%\n"
        child.write(conf(second, server.port).replace(f"127.0.0.1:{second}", f"0.0.0.0:{second}"))
        code, _, err = child.command("reload")
        assert code == 3 and "this agent listens on that port already" in err, err
        assert line(second) == "up ready 100%\n"
        child.write(conf("off", server.port).replace("127.0.0.1:off", "off"))
        assert child.command("reload")[0] == 0
        with pytest.raises(OSError):
            line(second)


def test_what_it_is_asked_before_it_knows(tmp_path):
    """An agent that has just started holds its tongue for five seconds, and then says that it does not know."""
    port, check = free_port(), free_port()
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", port))
        mute.listen(50)
        text = conf(check, port).replace("timeout: 500ms", "timeout: 30s")
        with agent(text, tmp_path):
            began = time.monotonic()
            assert line(check) == "down #starting\n"
            assert time.monotonic() - began > 2
            assert line(check) == "down #starting\n"


def test_a_restart_during_an_outage_of_the_broker_says_nothing_bad(tmp_path, server):
    """It takes the broker's timeout until the new agent knows that this is no fault of its instance."""
    check, broker = free_port(), free_port()
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", broker))
        mute.listen(50)
        text = conf(check, server.port, "[ { type: handshake } ]", f'brokers: [ {{ name: bus, type: redis, url: "redis://127.0.0.1:{broker}" }} ]')
        with agent(text, tmp_path):
            assert line(check) == "up ready 100%\n"


# --- by HAProxy ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", BOTH)
def test_haproxy_follows(tool, tmp_path, how):
    port, check = free_port(), free_port()
    with echo_server(port) as server, agent(conf(check, port), tmp_path) as child:
        child.wait_ready()
        with haproxy(tool, tmp_path, how, port, child.port, check) as proxy:
            proxy.wait("UP", "no")  # `no check` is the word for a server with an agent only
            well = proxy.status()
            with clients(proxy.port, 3) as many:
                child.command("drain")
                proxy.wait("DRAIN" if how == "agent-check" else "DOWN" if how == "httpchk" else "DRAIN", "DOWN")
                if how == "agent-check":
                    for one in many:
                        one.echo()
                child.command("resume")
                proxy.wait(well)
            server.send(signal.SIGUSR2)
            proxy.wait("DOWN")
            until("it is in the log", lambda: proxy.downs() > 0)
            server.send(signal.SIGHUP)
            proxy.wait(well)
            Client(proxy.port).echo()


def test_haproxy_sees_degraded_by_its_weight(tool, tmp_path):
    port, public, check = free_port(), free_port(), free_port()
    text = conf(check, port, "[ { type: handshake }, { name: way, type: handshake, path: public, gates: [ready] } ]",
                "readiness: { degraded_weight: 25% }").replace("/ws\" }", f"/ws\", public_url: \"ws://127.0.0.1:{public}/ws\" }}")
    with echo_server(port), agent(text, tmp_path) as child:
        with echo_server(public):
            child.wait_ready()
            with haproxy(tool, tmp_path, "both", port, child.port, check) as proxy:
                proxy.wait("UP")
                until("all of it", lambda: proxy.weight() == 100)
        with haproxy(tool, tmp_path, "both", port, child.port, check) as proxy:
            until("a quarter", lambda: proxy.weight() == 25)
            proxy.wait("UP")
            Client(proxy.port).echo()


def test_an_agent_that_is_killed_and_restarted_takes_nobody_out(tool, tmp_path, server):
    """By agent-check. HAProxy keeps what was said last, so nothing is cut and nothing is down: not by the end, nor by the new beginning."""
    check = free_port()
    with agent(conf(check, server.port), tmp_path) as child:
        child.wait_ready()
        with haproxy(tool, tmp_path, "agent-check", server.port, child.port, check) as proxy, clients(proxy.port, 3) as many:
            until("it has been asked", lambda: "L7OK" in proxy.row()["agent_status"])
            well, downs = proxy.status(), proxy.downs()
            for _ in range(3):
                child.end(signal.SIGKILL)
                until("HAProxy has noticed", lambda: "L7OK" not in proxy.row()["agent_status"].replace("* ", ""))
                assert proxy.status() == well
                child.child = Agent.__mro__[1](child.args, child.dir).child
                until("it has been asked again", lambda: "L7OK" in proxy.row()["agent_status"].replace("* ", ""))
                assert proxy.status() == well and proxy.downs() == downs, proxy.row()
            for one in many:
                one.echo()


def talks(client):
    """A signal and a message that are sent one after the other may arrive in either order; a silent server forgets the message."""
    client.sock.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        client.echo()
        return True
    return False


def test_the_last_word_is_drain(tool, tmp_path, server):
    check = free_port()
    with agent(conf(check, server.port, more="shutdown: { grace: 2s }"), tmp_path) as child:
        child.wait_ready()
        with haproxy(tool, tmp_path, "agent-check", server.port, child.port, check) as proxy, clients(proxy.port, 3) as many:
            until("it has been asked", lambda: "L7OK" in proxy.row()["agent_status"])
            well, downs, direct = proxy.status(), proxy.downs(), Client(server.port)
            server.send(signal.SIGUSR2)  # the server ends too: that is no news any more
            child.send(signal.SIGTERM)
            proxy.wait("DRAIN")
            said = set()
            while child.running():
                with contextlib.suppress(OSError):
                    said.add(line(check))
            assert said <= {"up drain\n", ""}, said
            assert proxy.status() == "DRAIN" and proxy.downs() == downs
            server.send(signal.SIGHUP)
            until("the server has heard it", lambda: talks(direct))
            for one in many:
                one.echo()
            with agent(conf(check, server.port), tmp_path):
                proxy.wait(well)


def test_the_weight_falls_before_the_limit(tool, tmp_path, server):
    """Full is no new clients; those that are there stay, also under `on-marked-down shutdown-sessions`."""
    check = free_port()
    checks = "[ { type: handshake }, { type: server, max_connections: 20 } ]"
    with agent(conf(check, server.port, checks), tmp_path) as child:
        child.wait_ready()
        with haproxy(tool, tmp_path, "agent-check", server.port, child.port, check) as proxy, clients(proxy.port, 10) as many:
            until("half full is not full", lambda: child.check("server")["server"]["connections"]["established"] == 10)
            until("all of it", lambda: proxy.weight() == 100 and line(check) == "up ready 100%\n")
            with clients(proxy.port, 5):
                until("three quarters", lambda: proxy.weight() == 50 and line(check) == "up ready 50%\n")
                with clients(proxy.port, 5):
                    child.wait_not_ready()
                    until("full", lambda: line(check) == "up ready 0%\n")
                    until("full", lambda: proxy.weight() == 0)
                    assert proxy.downs() == 0
                    for one in many:
                        one.echo()
                    with socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE) as late:
                        late.sendall(b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n")
                        assert b" 503 " in late.recv(100)
                until("there is room again", child.ready)
                until("there is room again", lambda: proxy.weight() == 50)
            Client(proxy.port).echo()


def test_the_servers_own_weight_must_be_large(tool, tmp_path, server):
    """What docs/load-balancers.md warns of: HAProxy rounds its share of the default weight down to nothing."""
    check = free_port()
    checks = "[ { type: handshake }, { type: server, max_connections: 20 } ]"
    with agent(conf(check, server.port, checks), tmp_path) as child:
        child.wait_ready()
        with haproxy(tool, tmp_path, "agent-check", server.port, child.port, check, "") as proxy, clients(proxy.port, 15):
            until("the weight falls", lambda: line(check) == "up ready 50%\n")
            until("to nothing", lambda: proxy.weight() == 0)


def documented(language):
    """That block of the section HAProxy of docs/load-balancers.md."""
    section = re.search(r"^## HAProxy\n(.*?)^## ", (ROOT / "docs/load-balancers.md").read_text(), re.M | re.S)[1]
    return re.search(rf"^```{language}\n(.*?)^```", section, re.M | re.S)[1]


def test_the_documented_configurations(tool, tmp_path):
    """As printed, but for the addresses, which are this machine's, the length of the intervals and the limit."""
    ports = {name: free_port() for name in ("server", "check", "front")}
    text = documented("yaml").replace('"[::]:9718"', f"127.0.0.1:{ports['check']}").replace(":8080", f":{ports['server']}")
    text = text.replace("max_connections: 20000", "max_connections: 8") + "defaults: { interval: 200ms, fast_interval: 100ms, timeout: 500ms }\n"
    with echo_server(ports["server"]) as server, agent(text, tmp_path) as child:
        child.wait_ready()
        backend = documented("haproxy").replace("9717", str(child.port)).replace("9718", str(ports["check"])).replace("2s", "200ms")
        backend = re.sub(r"^    server chat2 .*\n", "", backend.replace("10.0.0.11:8080", f"127.0.0.1:{ports['server']}"), flags=re.M)
        (tmp_path / "h.cfg").write_text(f"global\n  stats socket {tmp_path}/h.sock\n  log stdout format raw local0\ndefaults\n  log global\n  mode http\n"
                                        "  timeout connect 1s\n  timeout client 1m\n  timeout server 1m\n  timeout tunnel 1h\n"
                                        f"frontend f\n  bind 127.0.0.1:{ports['front']}\n  default_backend chat\n{backend}")
        with process(tool("haproxy"), "-db", "-f", tmp_path / "h.cfg", port=ports["front"]) as front:
            proxy = Haproxy(front, tmp_path / "h.sock", ports["front"])
            proxy.wait("UP")
            with clients(proxy.port, 4) as many:
                until("half full", lambda: proxy.weight() == 100)
                with clients(proxy.port, 2):
                    until("it takes half", lambda: proxy.weight() == 50)
                    with clients(proxy.port, 2):
                        until("full", lambda: proxy.weight() == 0)
                until("there is room again", lambda: proxy.weight() == 100)
                child.command("drain")
                proxy.wait("NOLB", "DRAIN")
                child.command("resume")
                proxy.wait("UP")
                assert "is DOWN" not in front.out(), front.out()
                server.send(signal.SIGUSR2)
                proxy.wait("DOWN")
                server.send(signal.SIGHUP)
                proxy.wait("UP")
                for one in many:
                    one.echo()
                child.send(signal.SIGTERM)
                assert child.child.wait(PATIENCE) == 0
                until("HAProxy has noticed", lambda: "L7OK" not in proxy.row()["agent_status"].replace("* ", ""))
                assert proxy.status() == "UP" and proxy.weight() > 0


def test_a_rolling_restart_refuses_nobody(tool, tmp_path):
    """Two replicas, restarted one after the other behind HAProxy, as documented: drained for long enough that HAProxy has seen it."""
    replicas = []
    with contextlib.ExitStack() as stack:
        for name in ("one", "two"):
            port, check = free_port(), free_port()
            (tmp_path / name).mkdir()
            running = stack.enter_context(contextlib.ExitStack())
            running.enter_context(echo_server(port))
            child = stack.enter_context(agent(conf(check, port), tmp_path / name))
            child.wait_ready()
            replicas.append((port, check, child, running))
        front = free_port()
        lines = "".join(f"  server s{i} 127.0.0.1:{port} check port {child.port} agent-check agent-port {check}\n"
                        for i, (port, check, child, _) in enumerate(replicas))
        (tmp_path / "h.cfg").write_text(f"defaults\n  mode http\n  retries 0\n  timeout connect 1s\n  timeout client 1m\n  timeout server 1m\n  timeout tunnel 1h\n"
                                        f"frontend f\n  bind 127.0.0.1:{front}\n  default_backend b\nbackend b\n"
                                        "  option httpchk GET /ready?drain=404\n  http-check disable-on-404\n"
                                        f"  default-server weight 100 inter 200ms fall 3 rise 1 agent-inter 200ms\n{lines}")
        stack.enter_context(process(tool("haproxy"), "-db", "-f", tmp_path / "h.cfg", port=front))
        stop, failures, served = threading.Event(), [], []

        def come_and_go():
            while not stop.is_set():
                try:
                    one = Client(front)
                    one.echo()
                    time.sleep(0.02)
                    one.echo()
                    one.leave()
                    served.append(1)
                except (OSError, AssertionError) as error:
                    failures.append(repr(error))

        users = [threading.Thread(target=come_and_go) for _ in range(4)]
        for user in users:
            user.start()
        try:
            for port, _, child, running in replicas:
                until("they are served", lambda: len(served) > 50)
                code, out, err = child.command("drain", "--wait", "60s", "--min", "2s")
                assert code == 0, (out, err)
                running.close()
                running.enter_context(echo_server(port))
                until("the new server passes", lambda: child.check("handshake")["status"] == "pass")
                assert child.command("resume")[0] == 0
                child.wait_ready()
                served.clear()
                time.sleep(2)  # so that the other is not alone before HAProxy has seen this one
        finally:
            stop.set()
            for user in users:
                user.join(PATIENCE)
        assert not failures, failures[:5]


def test_the_backend_of_readme(tool, tmp_path, server):
    """As printed, but for addresses and intervals: drained, no new clients come, and those that are connected stay."""
    block = re.search(r"^```haproxy\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)[1]
    front = free_port()
    with agent(conf(free_port(), server.port), tmp_path) as child:
        child.wait_ready()
        block = re.sub(r"^    server chat2 .*\n", "", block.replace("9717", str(child.port)).replace("2s", "200ms"), flags=re.M)
        (tmp_path / "h.cfg").write_text(f"global\n  stats socket {tmp_path}/h.sock\n  log stdout format raw local0\ndefaults\n  log global\n  mode http\n"
                                        "  timeout connect 1s\n  timeout client 1m\n  timeout server 1m\n  timeout tunnel 1h\n"
                                        f"frontend f\n  bind 127.0.0.1:{front}\n  default_backend chat\n"
                                        + block.replace("10.0.0.11:8080", f"127.0.0.1:{server.port}"))
        with process(tool("haproxy"), "-db", "-f", tmp_path / "h.cfg", port=front) as running:
            proxy = Haproxy(running, tmp_path / "h.sock", front)
            proxy.wait("UP")
            with clients(front, 3) as many:
                child.command("drain")
                proxy.wait("NOLB")
                for one in many:
                    one.echo()
            child.command("resume")
            proxy.wait("UP")
            Client(front).echo()
