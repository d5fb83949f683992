"""The check `server` and the server's processes: who listens is handed from one to another, by a reload, a shared port, a manager; or cannot be seen."""
import contextlib
import json
import os
import shutil
import signal
import subprocess

import pytest

from harness import BINARY, PYTHON, agent, free_port, process, until
from test_failures import client, server as websocket_server
from test_server import clients, conf, established, figures, server
from test_systemd import boot  # noqa: F401  (a fixture)


class Watched:
    """An agent whose server check is asked all the time: what it has said, each once."""

    def __init__(self, watch):
        self.watch, self.said = watch, []

    def look(self):
        row, code = self.watch.check("server"), self.watch.get("/ready").status
        one = (row["state"], row["reason"], code)
        if not self.said or self.said[-1] != one:
            self.said.append(one)
        return row

    def until(self, what, condition, seconds=60):
        return until(what, lambda: condition(self.look()), seconds)

    def assert_stayed(self):
        assert all(code == 200 and why != "server_gone" for _state, why, code in self.said), self.said
        assert "reason=server_gone" not in self.watch.err(), self.watch.err()


def test_a_port_that_is_handed_to_another_process(tmp_path):
    """The new process listens before the old one stops; the old one keeps its connections, and ends with them later. Nothing of it takes the
    instance out, as a process that is replaced takes its connections with it."""
    port = free_port()
    with server("share", port) as old, clients(port, 60), agent(conf(port, "drop: 50% in 10s"), tmp_path) as watch:
        seen = Watched(watch)
        watch.wait_ready()
        seen.until("all are counted", lambda row: established(watch) == 60)
        with server("share", port) as new:
            seen.until("both listen", lambda row: row["server"]["listeners"] == 2 and row["server"]["processes"] == 2)
            old.ask("deaf")
            seen.until("the new one listens", lambda row: row["server"]["listeners"] == 1 and row["server"]["pid"] == new.pid)
            assert established(watch) == 60 and not figures(watch)["restarted"]
            old.end(signal.SIGKILL)
            seen.until("the connections are gone", lambda row: established(watch) == 0)
            seen.until("that is a warning", lambda row: row["reason"] == "server_connections_dropped" and row["state"] == "warn")
            assert "a process of the server's has ended" in watch.check("server")["message"]
        seen.assert_stayed()


def test_a_reload_of_nginx(tool, tmp_path):
    """Its old workers finish, and drop what is left after worker_shutdown_timeout. The master, and the socket, are the same."""
    port = free_port()
    with websocket_server() as behind:
        (tmp_path / "nginx.conf").write_text(f"""
daemon off; worker_processes 2; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; user root; worker_shutdown_timeout 2s;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {tmp_path}/t1; proxy_temp_path {tmp_path}/t2; fastcgi_temp_path {tmp_path}/t3;
  uwsgi_temp_path {tmp_path}/t4; scgi_temp_path {tmp_path}/t5;
  map $http_upgrade $upgrade {{ default upgrade; '' close; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{behind.port}; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $upgrade; }}
  }}
}}
""")
        with process(tool("nginx"), "-e", tmp_path / "error.log", "-p", tmp_path, "-c", tmp_path / "nginx.conf", port=port) as nginx, \
                contextlib.ExitStack() as stack, agent(conf(port, "drop: 50% in 10s"), tmp_path) as watch:
            for _ in range(40):
                stack.enter_context(client(port))
            seen = Watched(watch)
            watch.wait_ready()
            seen.until("all are counted", lambda row: established(watch) == 40 and row["server"]["processes"] == 3)
            nginx.send(signal.SIGHUP)
            seen.until("the old workers are gone", lambda row: established(watch) == 0)
            seen.until("that is a warning", lambda row: row["reason"] == "server_connections_dropped" and row["state"] == "warn")
            seen.until("the new workers are found", lambda row: row["server"]["processes"] == 3)
            assert not figures(watch)["restarted"]
            seen.assert_stayed()


def test_a_pid_file_is_of_a_master(tool, tmp_path):
    """nginx writes its master's number, and its workers have the connections: they are counted too."""
    port = free_port()
    (tmp_path / "nginx.conf").write_text(f"""
daemon off; worker_processes 2; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; user root; events {{ worker_connections 64; }}
http {{ access_log off; client_body_temp_path {tmp_path}/t1; proxy_temp_path {tmp_path}/t2; fastcgi_temp_path {tmp_path}/t3;
  uwsgi_temp_path {tmp_path}/t4; scgi_temp_path {tmp_path}/t5; server {{ listen 127.0.0.1:{port}; }} }}
""")
    text = conf(port, f'pid_file: "{tmp_path}/nginx.pid"')
    with process(tool("nginx"), "-e", tmp_path / "error.log", "-p", tmp_path, "-c", tmp_path / "nginx.conf", port=port) as nginx, \
            agent(text, tmp_path) as watch:
        until("master and workers are found", lambda: figures(watch).get("processes") == 3)
        assert figures(watch)["pid"] == nginx.pid
        (tmp_path / "nginx.pid").write_text(f"{watch.pid}\n")
        until("it is not the agent itself", lambda: "names the agent's own process" in (watch.check("server")["message"] or ""))
        assert figures(watch)["resident_bytes"] is None and watch.check("server")["state"] == "pass"
        (tmp_path / "nginx.pid").write_text("999999999\n")
        until("there is none", lambda: "it has ended, or is in another pid namespace" in (watch.check("server")["message"] or ""))
        assert watch.check("server")["state"] == "pass"


HELD = """
import socket
listening, kept = socket.socket(fileno=3), []
while True:
    kept.append(listening.accept())
"""

DRIVER = """
import json, socket, subprocess, sys, time

def run(*words):
    return subprocess.run(words, check=False, capture_output=True, text=True).stdout.strip()

def rows():
    return {one["name"]: one for one in json.loads(run("wshealthd", "status", "--json", "-c", "/etc/wshealthd/held.yaml") or "{}").get("checks", [])}

def until(what, condition):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            found = rows()
            if condition(found["port"], found["unit"]):
                return found
        except (KeyError, TypeError, ValueError):
            pass
        time.sleep(0.1)
    sys.exit(f"{what}: {rows()}\\n" + open("/tmp/agent.log").read())

agent = subprocess.Popen(["wshealthd", "run", "-c", "/etc/wshealthd/held.yaml"], stderr=open("/tmp/agent.log", "w"))
run("systemctl", "start", "held.socket")
until("systemd alone has the socket", lambda port, unit: "systemd holds the socket" in port["message"] and "no process of the unit" in unit["message"]
      and port["server"]["resident_bytes"] is None)

def found(count):
    pid = int(run("systemctl", "show", "held.service", "-p", "MainPID", "--value"))
    until("the service is found", lambda port, unit: port["server"]["pid"] == unit["server"]["pid"] == pid and port["server"]["processes"] == 1
          and port["server"]["connections"]["established"] == unit["server"]["connections"]["established"] == count)

clients = [socket.create_connection(("127.0.0.1", 18090)) for _ in range(40)]
found(40)
run("systemctl", "stop", "held.service")
until("a process has ended", lambda port, unit: all("a process of the server's has ended" in one["message"] and one["state"] == "warn" for one in (port, unit)))
clients = [socket.create_connection(("127.0.0.1", 18090)) for _ in range(40)]
found(40)
run("systemctl", "stop", "held.service")
until("the moment is over", lambda port, unit: port["state"] == unit["state"] == "pass")
run("systemctl", "stop", "held.socket")
until("nothing listens", lambda port, unit: port["reason"] == unit["reason"] == "server_gone" and port["state"] == "warn")
agent.terminate()
print("left with", agent.wait(10)) # what waits to be told is told at the end
log = open("/tmp/agent.log").read()
gone = [line for line in log.splitlines() if "server_gone" in line] # one line where both checks end a round within a second
print("once gone" if 1 <= len(gone) <= 2 and "server_connections_dropped" in log and "check_fail" not in log and "failed=" not in log else log)
"""


def test_a_unit_and_its_socket(boot):
    """systemd holds the socket of a service that it activates: it is not the server, and when the service ends the socket is not gone."""
    out = boot(f"""
cat >/etc/systemd/system/files/held.py <<'X'
{HELD}
X
cat >/tmp/driver.py <<'X'
{DRIVER}
X
printf '[Socket]\\nListenStream=127.0.0.1:18090\\nBacklog=128\\n' >/etc/systemd/system/held.socket
printf '[Service]\\nExecStart={PYTHON} /etc/systemd/system/files/held.py\\n' >/etc/systemd/system/held.service
systemctl daemon-reload
cat >/etc/wshealthd/held.yaml <<'X'
listen: 127.0.0.1:9727
admin: unix:/tmp/held.sock
target: {{ url: "ws://127.0.0.1:18090/" }}
defaults: {{ interval: 200ms, fast_interval: 200ms, timeout: 5s }}
checks:
  - {{ name: port, type: server, drop: 50% in 5s }}
  - {{ name: unit, type: server, unit: held.service, drop: 50% in 5s }}
X
{PYTHON} /tmp/driver.py
""")
    assert "once gone" in out and "left with 0" in out, out


# --- where its process cannot be seen -------------------------------------------------------------------------------------------------


def open_to_all(path):
    os.chmod(path, 0o755)
    for parent in path.parents[:3]:
        os.chmod(parent, os.stat(parent).st_mode | 0o055)


OTHER_USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]  # a group of root sees through hidepid
OTHER_PIDS = ["unshare", "--pid", "--fork", "--mount-proc"]
LIMITS = "max_connections: 1000, backlog: 90%, memory: 1KiB, memory_per_connection: 1B, fds: 1%, cpu: 1%, drop: 50% in 10s"


def hidden(how):
    """/proc of its own, which hides the processes of others."""
    return ["unshare", "--mount", "sh", "-c", f'mount -t proc -o hidepid={how} proc /proc && exec "$@"', "sh", *OTHER_USER]


@pytest.mark.parametrize("prefix, pid_file, said", [
    (OTHER_USER, None, "cannot be seen (another user's, or in another pid namespace): memory, descriptors and CPU are unknown; set pid_file or unit"),
    (OTHER_PIDS, None, "cannot be seen (another user's, or in another pid namespace): memory, descriptors and CPU are unknown; share the pid namespace"),
    (OTHER_PIDS, "own", "names the agent's own process: the file was written in another pid namespace"),
    (OTHER_PIDS, "server", "it has ended, or is in another pid namespace"),
    (hidden(2), None, "/proc hides the processes of others"),
    (hidden(2), "server", "/proc hides the processes of others"),
    (hidden(1), None, "/proc hides the processes of others"),
], ids=["user", "pids", "pids-own", "pids-file", "hidepid", "hidepid-file", "hidepid-1"])
def test_a_process_that_cannot_be_seen(tmp_path, tool, prefix, pid_file, said):
    """Its sockets are counted; that its figures are unknown is said with the reason, and no limit of theirs fails."""
    if os.geteuid() != 0:
        pytest.skip("needs namespaces and another user")
    tool("setpriv"), tool("unshare")
    binary = shutil.copy(BINARY, tmp_path / "wshealthd")
    os.chmod(binary, 0o755)
    open_to_all(tmp_path)
    with server() as child, clients(child.where, 12):
        options = LIMITS
        if pid_file:
            (tmp_path / "pid").write_text("1\n" if pid_file == "own" else f"{child.pid}\n")  # the agent is the first of its namespace
            options += f', pid_file: "{tmp_path}/pid"'
        (tmp_path / "c.yaml").write_text(conf(child.where, options))
        done = subprocess.run([*prefix, binary, "check", "-c", tmp_path / "c.yaml", "--json"], capture_output=True, text=True, timeout=60, check=False)
        if "unshare" in done.stderr or "mount:" in done.stderr:
            pytest.skip(f"no namespaces here: {done.stderr.strip()}")
        row = json.loads(done.stdout)["checks"][0]
        assert row["state"] == "pass" and row["server"]["connections"]["established"] == 12, (done.stdout, done.stderr)
        assert row["server"]["accept_queue_limit"] == 512 and row["server"]["resident_bytes"] is None and row["server"]["pid"] is None, row
        assert said in row["message"], row["message"]
