"""Draining where things change meanwhile: the server, the configuration, who else drains, and many who wait."""
import contextlib
import signal
import socket
import threading
import time

from harness import PATIENCE, agent, echo_server, free_port, until
from test_drain import clients, conf, connected, draining, is_draining, left, listen


def asking(child, path, answers):
    one = threading.Thread(target=lambda: answers.append(child.get(path)))
    one.start()
    return one


def test_a_server_that_did_not_listen_when_the_hook_came(tmp_path):
    """A kubelet restarts a server that does not listen any more, and calls preStop first: it comes back into rotation."""
    port = free_port()
    with agent(conf(port, "true"), tmp_path) as child:
        with echo_server(port) as server:
            child.wait_ready()
            server.end(signal.SIGKILL)
        until("it is seen", lambda: child.check("handshake")["reason"] == "connect_refused")
        assert child.get("/prestop?timeout=1s").status == 200
        until("it is known that nothing listens", lambda: "nothing listens" in child.get("/prestop?timeout=0s").text)
        with echo_server(port):
            child.wait_ready()
            assert "event=prestop_over" in child.err()


def test_a_command_takes_over_what_a_hook_began(tmp_path):
    port = free_port()
    with agent(conf(port, "true"), tmp_path) as child:
        with echo_server(port) as server:
            child.wait_ready()
            assert child.get("/prestop?timeout=0s").status == 200
            assert child.command("drain")[0] == 0
            until("clients are counted", lambda: left(child) == 0)
            server.end(signal.SIGKILL)
        until("it is seen", lambda: child.check("handshake")["reason"] == "connect_refused")
        with echo_server(port):
            until("the new one passes", lambda: child.check("handshake")["status"] == "pass")
            time.sleep(0.5)
            assert is_draining(child)


def test_a_hook_that_waits_is_answered_also_where_no_further_one_would_be(tmp_path, server):
    with clients(server.port, 1) as many, agent(conf(server.port, "true"), tmp_path) as child:
        child.wait_ready()
        answers = []
        waiting = asking(child, "/prestop?timeout=60s", answers)
        until("it is counted", lambda: left(child) == 1)
        child.write(conf(server.port))
        assert child.command("reload")[0] == 0
        assert child.get("/prestop").status == 404
        many[0].leave()
        waiting.join(PATIENCE)
        assert (answers[0].status, answers[0].text) == (200, "drained, client connections left: 0\n")


def test_a_reload_forgets_nothing_of_the_server(tmp_path):
    """It has closed its listener, as servers do that end: its clients are still known after a reload."""
    port = free_port()
    with socket.socket() as listener, agent(conf(port), tmp_path) as child:
        listen(listener, port)
        mine, one = connected(listener)
        with mine, one, draining(child, "--wait", "60s") as command:
            until("it is counted", lambda: left(child) == 1)
            listener.close()
            time.sleep(0.5)
            child.write(conf(port) + "log: { level: debug }\n")
            assert child.command("reload")[0] == 0
            time.sleep(0.5)
            assert left(child) == 1
            mine.close()
            one.close()
            assert command.child.wait(PATIENCE) == 0, command.err()


def test_many_who_wait_on_the_admin_socket(tmp_path, server):
    """More than it has room for."""
    with clients(server.port, 1) as many, agent(conf(server.port), tmp_path) as child, contextlib.ExitStack() as stack:
        child.wait_ready()
        commands = [stack.enter_context(draining(child, "--wait", "60s")) for _ in range(40)]
        until("all wait", lambda: all(one.err() for one in commands), 40)
        time.sleep(3)
        assert child.command("status", "--json")[0] in (1, 2)
        many[0].leave()
        codes = [one.child.wait(PATIENCE) for one in commands]
        assert codes == [0] * 40
        for one in commands:
            assert "no agent answers" not in one.err() and "client connection" in one.err(), one.err()


def test_a_wait_of_nothing_looks_once(tmp_path, server):
    with agent(conf(server.port), tmp_path) as child:
        child.wait_ready()
        code, out, err = child.command("drain", "--wait", "0s")
        assert code == 0, (code, out, err)
