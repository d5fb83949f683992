"""Notifications: one incident is one conversation, whatever the receiver does; and no receiver disturbs a check or an answer."""
import contextlib
import json
import os
import pathlib
import signal
import socket
import ssl
import struct
import threading
import time

import certs
from harness import agent, echo_server, free_port, until, wshealthd

SECRET = "canary-T0000-B0000-path-of-a-webhook"
FAST = "defaults: { interval: 100ms, timeout: 500ms, jitter: 0%, fall: 1 }\nchecks: [{ type: handshake }]\n"


class Receiver:
    """An HTTP server of one way to behave, which may change; keeps what it was sent."""

    def __init__(self, behaviour="ok", tls=None):
        self.behaviour, self.tls, self.heads, self.bodies, self.tries = behaviour, tls, [], [], 0
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/services/{SECRET}"
        self.closed = threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while not self.closed.is_set():
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(conn,), daemon=True).start()

    def talk(self, conn):
        with contextlib.suppress(OSError), conn:
            conn.settimeout(10)
            if self.tls:
                conn = self.tls.wrap_socket(conn, server_side=True)
            self.tries += 1
            data = b""
            while b"\r\n\r\n" not in data:
                part = conn.recv(65536)
                if not part:
                    return
                data += part
            head, _, body = data.partition(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            while len(body) < length:
                body += conn.recv(65536)
            self.heads.append(head.decode())
            getattr(self, self.behaviour)(conn, json.loads(body))

    def answer(self, conn, status, more="", body=b"ok"):
        conn.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body)

    def ok(self, conn, body):
        self.bodies.append(body)
        self.answer(conn, "200 OK")

    def error(self, conn, _body):
        self.answer(conn, "500 Internal Server Error", body=b"no such luck")

    def refuse(self, conn, _body):
        self.answer(conn, "404 Not Found", body=f"no_service /services/{SECRET}".encode())

    def redirect(self, conn, _body):
        self.answer(conn, "302 Found", "Location: http://127.0.0.1:1/\r\n")

    def later(self, conn, _body):
        self.answer(conn, "429 Too Many Requests", "Retry-After: 120\r\n")

    def hang(self, _conn, _body):
        self.closed.wait(20)

    def reset(self, conn, _body):
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def drip(self, conn, _body):
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000:
            conn.sendall(bytes([byte]))
            if self.closed.wait(0.05):
                return

    def endless(self, conn, body):
        """The head says that it was taken: what follows does not matter."""
        self.bodies.append(body)
        conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not self.closed.is_set():
            conn.sendall(b"x" * 65536)

    def kinds(self):
        return [body["kind"] for body in self.bodies]

    def close(self):
        self.closed.set()
        self.sock.close()


@contextlib.contextmanager
def receiver(behaviour="ok", **more):
    it = Receiver(behaviour, **more)
    try:
        yield it
    finally:
        it.close()


def conf(port, *notifiers):
    return f"target: {{ url: 'ws://127.0.0.1:{port}/ws' }}\nidentity: {{ id: chat-1, region: north }}\n{FAST}notify:\n" + "".join(f"  - {{ {n} }}\n" for n in notifiers)


def figures(child, name):
    """result -> count"""
    lines = child.get("/metrics").text.splitlines()
    start = f'wshealthd_notifications_total{{notifier="{name}",result="'
    return {line[len(start):].split('"')[0]: float(line.split()[-1]) for line in lines if line.startswith(start)}


def notifier(child, name):
    return next(n for n in child.status()["notifiers"] if n["name"] == name)


def test_one_incident_is_one_conversation(tmp_path):
    port = free_port()
    with receiver() as hook, agent(conf(port, f"name: ops, type: webhook, url: '{hook.url}', after: 0s"), tmp_path) as child:
        until("it is told", lambda: hook.bodies)
        begin = hook.bodies[0]
        assert (begin["kind"], begin["word"], begin["was"], begin["cause"], begin["severity"]) == ("begin", "not ready", "ready", "server_down", "critical")
        assert begin["advice"] and begin["because"] == ["handshake"] and begin["key"] == "chat-1@north"
        assert begin["status"]["diagnosis"]["cause"] == "server_down" and begin["status"]["checks"][0]["name"] == "handshake"
        until("/status knows it", lambda: notifier(child, "ops")["incident"])
        with echo_server(port):
            until("its end is told", lambda: len(hook.bodies) > 1)
            end = hook.bodies[1]
            assert (end["kind"], end["word"], end["incident"], end["untold"], end["severity"]) == ("end", "ready", begin["incident"], False, "ok")
            assert begin["title"] == "chat-1 is not ready: nothing listens on the server's address" and end["title"].startswith("chat-1 is ready again after ")
            until("it is counted", lambda: figures(child, "ops").get("sent") == 2)
            shown = wshealthd("config", "show", child.file)[1]
            assert f"http://127.0.0.1:{hook.port}/***" in shown
            seen = shown + child.get("/status").text + child.get("/metrics").text + child.command("status")[1] + child.command("notify")[1]
        child.stop()
        assert hook.kinds() == ["begin", "end"], "the agent's own end is no incident"
        assert SECRET not in seen + child.err(), "the path of a webhook is its password"
        assert child.err().count("event=notified") == 2


def test_no_receiver_disturbs_a_check_or_an_answer(tmp_path):
    """All that can go wrong, at once: what works goes on working."""
    behaviours = ("hang", "reset", "error", "refuse", "redirect", "later", "drip", "endless")
    pids = tmp_path / "pids"
    with contextlib.ExitStack() as stack:
        hooks = {name: stack.enter_context(receiver(name)) for name in behaviours}
        good = stack.enter_context(receiver())
        rows = [f"name: {name}, type: webhook, url: '{hook.url}', after: 0s, timeout: 500ms" for name, hook in hooks.items()]
        rows += [f"name: sleeps, type: exec, after: 0s, timeout: 500ms, command: [/bin/sh, -c, 'echo $$ >>{pids}; sleep 300 & echo $! >>{pids}; sleep 300']",
                 "name: floods, type: exec, after: 0s, timeout: 2s, command: [/usr/bin/yes, flood]",
                 "name: missing, type: exec, after: 0s, command: [/nonexistent]",
                 f"name: good, type: webhook, url: '{good.url}', after: 0s"]
        child = stack.enter_context(agent(conf(free_port(), *rows), tmp_path))
        for name in ("hang", "reset", "error", "drip", "sleeps", "floods", "missing", "later"):
            until(f"{name} is tried again", lambda name=name: figures(child, name).get("retried", 0) >= 1)
        for name in ("refuse", "redirect"):
            until(f"{name} is given up", lambda name=name: figures(child, name).get("failed", 0) == 1)
            assert hooks[name].tries == 1
        for name in ("good", "endless"):
            until(f"{name} is sent", lambda name=name: figures(child, name).get("sent") == 1)
        rounds = child.check("handshake")["last"]
        until("the checks go on", lambda: child.check("handshake")["last"] != rounds)
        assert child.get("/ready").text.startswith("not ready") and child.get("/healthz").status == 200
        assert "no_service" in notifier(child, "refuse")["message"] and "redirect" in notifier(child, "redirect")["message"]
        assert hooks["later"].tries == 1, "Retry-After is obeyed"
        assert "notifier refuse (webhook) fails: status 404" in child.command("status")[1]
        begun = time.monotonic()
        child.stop()
        assert time.monotonic() - begun < 10, "whoever hangs does not hold the agent's end up"
        log = child.err()
        assert log.count("event=notify_failed notifier=error") == 1, "once, and not for each try"
        assert SECRET not in log
        for pid in pids.read_text().split():
            until(f"{pid} is gone with its group", lambda pid=pid: gone(pid))


def test_the_path_of_a_url_that_was_rotated_is_a_secret_too(tmp_path):
    """Receivers quote the path that they were asked for."""
    port, secret, file = free_port(), "another-path-of-a-webhook", tmp_path / "url"
    with receiver("refuse") as hook:
        file.write_text(hook.url + "\n")
        file.chmod(0o600)
        with agent(conf(port, f"name: ops, type: webhook, url: '${{file:{file}}}', after: 0s"), tmp_path) as child:
            until("the begin is refused", lambda: figures(child, "ops").get("failed") == 1)
            hook.refuse = lambda conn, _body: hook.answer(conn, "404 Not Found", body=hook.heads[-1].split()[1].encode())
            file.write_text(hook.url.replace(SECRET, secret) + "\n")
            with echo_server(port):
                until("the end is refused", lambda: figures(child, "ops").get("failed") == 2)
            assert f"/{secret} " in hook.heads[-1], "the new one was used"
            assert notifier(child, "ops")["message"] == "status 404, want 2xx: ***"
            assert secret not in child.get("/status").text + child.command("status")[1] + child.err()


def gone(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_what_is_overtaken_is_told_as_one(tmp_path):
    """The incident is over before its begin could be sent: one message says so."""
    port = free_port()
    with receiver("error") as hook, agent(conf(port, f"name: ops, type: webhook, url: '{hook.url}', after: 0s"), tmp_path) as child:
        until("a try fails", lambda: figures(child, "ops").get("retried", 0) >= 1)
        with echo_server(port):
            until("the end takes the place of the begin", lambda: figures(child, "ops").get("merged", 0) >= 1)
            hook.behaviour = "ok"
            until("it is told", lambda: hook.bodies)
            assert hook.kinds() == ["end"] and hook.bodies[0]["untold"] and " was not ready for " in hook.bodies[0]["title"]
            until("/status knows", lambda: notifier(child, "ops")["state"] == "pass")


def test_reload_keeps_the_incident_and_sigterm_tries_once_more(tmp_path):
    port = free_port()
    with receiver() as hook:
        row = f"name: ops, type: webhook, url: '{hook.url}', after: 0s"
        with agent(conf(port, row), tmp_path) as child:
            until("it is told", lambda: hook.bodies)
            child.write(conf(port, row + ", repeat: 1h", f"name: more, type: webhook, url: '{hook.url}', after: 0s"))
            assert child.command("reload")[0] == 0
            until("the new one tells it too", lambda: len(hook.bodies) == 2)
            assert hook.kinds() == ["begin", "begin"], "and the old one does not again"
            hook.behaviour = "later"  # for two minutes
            with echo_server(port):
                until("the ends wait", lambda: hook.tries >= 4)
                until("and are known to", lambda: notifier(child, "ops")["waiting"] == 1 and notifier(child, "more")["waiting"] == 1)
                hook.behaviour = "ok"
                child.send(signal.SIGTERM)
                until("they are tried once more", lambda: hook.kinds() == ["begin", "begin", "end", "end"])
                assert child.child.wait(20) == 0


def test_a_program_gets_the_message(tmp_path):
    out = tmp_path / "told"
    script = tmp_path / "tell"
    script.write_text(f"#!/bin/sh\ncat >{out}.new; env >{out}.env; ls /proc/self/fd | wc -l >{out}.fds; mv {out}.new {out}\n")
    script.chmod(0o755)
    with agent(conf(free_port(), f"name: pager, type: exec, after: 0s, command: [{script}]"), tmp_path, env=dict(os.environ, SECRET_OF_THE_AGENT="x")):
        until("it has run", out.exists)
    message = json.loads(out.read_text())
    assert message["kind"] == "begin" and message["status"]["ready"] is False
    env = pathlib.Path(f"{out}.env").read_text()
    assert "WSHEALTHD_KIND=begin\n" in env and "SECRET_OF_THE_AGENT" not in env
    assert pathlib.Path(f"{out}.fds").read_text().strip() == "4", "its own three, and the directory"


def test_the_test_command(tmp_path):
    file = tmp_path / "wshealthd.yaml"
    with receiver() as good, receiver("refuse") as bad:
        file.write_text(conf(1, f"name: good, type: webhook, url: '{good.url}', body: '{{\"text\":\"{{{{title}}}} \\\"{{{{word}}}}\\\"\",\"status\":{{{{status}}}}}}'",
                             f"name: bad, type: webhook, url: '{bad.url}'", "name: prog, type: exec, command: [/bin/sh, -c, 'cat >/dev/null; echo hello; exit 65']"))
        code, out, err = wshealthd("notify", "-c", file)
        assert code == 0 and [line.split()[0] for line in out.splitlines()] == ["good", "bad", "prog"] and SECRET not in out, err
        code, out, err = wshealthd("notify", "test", "good", "-c", file)
        assert code == 0 and f"good (webhook): sent to http://127.0.0.1:{good.port}, which answered 200 in " in out and out.endswith("s: ok\n"), out + err
        assert good.bodies == [{"text": 'Test message of wshealthd on chat-1 "ready"', "status": None}]
        code, out, err = wshealthd("notify", "test", "bad", "-c", file)
        assert code == 2 and "status 404, want 2xx: no_service ***" in out and SECRET not in out + err, out + err
        code, out, err = wshealthd("notify", "test", "prog", "-c", file)
        assert code == 2 and "prog (exec): not sent: the program ended with status 65, want 0: hello" in out, out + err
        code, out, err = wshealthd("notify", "test", "goood", "-c", file)
        assert code == 3 and "did you mean 'good'?" in err


def test_tls_to_the_receiver(tmp_path):
    authority = certs.Certs(tmp_path / "certs")
    cert, key = authority.leaf("receiver")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    file = tmp_path / "wshealthd.yaml"
    with receiver(tls=context) as hook:
        file.write_text(conf(1, f"name: trusts, type: webhook, url: '{hook.url}', tls: {{ ca_file: {authority.ca}, server_name: localhost }}",
                             f"name: usual, type: webhook, url: '{hook.url}'"))
        code, out, err = wshealthd("notify", "test", "trusts", "-c", file)
        assert code == 0 and hook.kinds() == ["test"], out + err
        code, out, err = wshealthd("notify", "test", "usual", "-c", file)
        assert code == 2 and "certificate" in out, out + err
