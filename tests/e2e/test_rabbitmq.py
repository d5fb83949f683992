"""RabbitMQ as a broker: a real rabbitmq-server, which takes seconds to start and so serves the whole file; the tests that end it come last."""
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from harness import Process, agent, check, connects, environment, free_port, until

HOME = pathlib.Path("/usr/lib/rabbitmq/bin")
START_SECONDS = 60.0  # far more than it takes


class Rabbit:
    """A node on loopback with a plain and a TLS listener; its epmd is a child of the test too, so that nothing is left behind."""

    def __init__(self, directory, certs, epmd):
        self.dir = pathlib.Path(directory)
        self.port, self.tls_port, self.epmd_port, dist = (free_port() for _ in range(4))
        cert, key = certs.leaf("rabbit")
        (self.dir / "rabbitmq.conf").write_text(f"""
listeners.tcp.1 = 127.0.0.1:{self.port}
listeners.ssl.1 = 127.0.0.1:{self.tls_port}
ssl_options.cacertfile = {certs.ca}
ssl_options.certfile = {cert}
ssl_options.keyfile = {key}
ssl_options.verify = verify_none
""")
        (self.dir / "plugins").write_text("[].\n")
        self.node = f"wshealthd-test-{os.getpid()}@localhost"
        self.env = environment(RABBITMQ_NODENAME=self.node, RABBITMQ_MNESIA_BASE=str(self.dir / "mnesia"),
                               RABBITMQ_LOG_BASE=str(self.dir / "log"), RABBITMQ_CONFIG_FILE=str(self.dir / "rabbitmq.conf"),
                               RABBITMQ_ENABLED_PLUGINS_FILE=str(self.dir / "plugins"), RABBITMQ_DIST_PORT=str(dist),
                               RABBITMQ_PID_FILE=str(self.dir / "pid"), ERL_EPMD_PORT=str(self.epmd_port), ERL_EPMD_ADDRESS="127.0.0.1",
                               RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}", HOME=str(self.dir))
        self.epmd = Process([epmd, "-port", self.epmd_port, "-address", "127.0.0.1"], self.dir, env=self.env)
        until("epmd is up", lambda: connects(self.epmd_port))
        self.child = None
        self.start()

    def start(self):
        self.child = Process([HOME / "rabbitmq-server"], self.dir, env=self.env)

        def up():
            assert self.child.running(), self.child.out() + self.child.err()
            return "completed with" in self.child.out() and connects(self.port)

        until("rabbitmq-server is up", up, START_SECONDS, 0.1)

    @property
    def pid(self):
        """Of the Erlang machine; the child is the shell script that started it."""
        return int((self.dir / "pid").read_text())

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.child.child.wait(20)

    def ctl(self, *args):
        done = subprocess.run([HOME / "rabbitmqctl", *args], env=self.env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def url(self, path="", user="guest:guest", scheme="amqp"):
        return f"{scheme}://{user}@127.0.0.1:{self.port if scheme == 'amqp' else self.tls_port}{path}"

    def end(self):
        if self.child.running():
            self.kill()
        self.epmd.end()
        for child in (self.child, self.epmd):
            child.cleanup()


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory, certs):
    epmd = shutil.which("epmd")
    if not (HOME / "rabbitmq-server").exists() or not epmd:
        pytest.skip("rabbitmq-server is missing")
    node = Rabbit(tmp_path_factory.mktemp("rabbit"), certs, epmd)
    yield node
    node.end()


def settings(url, options="", checks=""):
    return (f"target: {{ url: 'ws://127.0.0.1:1/' }}\nbrokers:\n  - {{ name: bus, url: '{url}', retry: {{ max: 300ms }}, {options} }}\n"
            f"checks:\n  - {{ name: bus, type: broker, broker: bus, interval: 300ms, fall: 1, gates: [ready] }}\n{checks}")


def judge(directory, url, options=""):
    """One round of the broker's check. (reason, message, cause)."""
    file = directory / "probe.yaml"
    file.write_text(settings(url, options))
    _, document = check(None, timeout=None, conf=file)
    found = next(c for c in document["checks"] if c["name"] == "bus")
    return found["reason"], found["message"], document["diagnosis"]["cause"]


def probe(directory, url, options=""):
    return judge(directory, url, options)[:2]


def refused(directory, url, want_reason, want_text, options="", cause=None):
    reason, message, found = judge(directory, url, options)
    assert reason == want_reason and want_text in message, f"{reason}: {message}"
    assert cause in (None, found), f"{found}: {message}"


def until_reason(child, reason):
    """Waits until the broker's check says so, and returns its message."""
    def found():
        state = child.check("bus")
        return state["reason"] == reason and state["last"] and (state["message"] or True)

    return until(f"the broker's check says {reason}: {child.err()}", found)


def test_passes(rabbit, tmp_path):
    assert probe(tmp_path, rabbit.url()) == (None, None)
    assert probe(tmp_path, rabbit.url("/%2F"), "exchange: amq.fanout, queue_prefix: mine-, heartbeat: 1s")[0] is None


def test_refused(rabbit, tmp_path):
    refused(tmp_path, rabbit.url(user="guest:wrong-one"), "broker_auth_failed", "refused the credentials: ACCESS_REFUSED")
    refused(tmp_path, rabbit.url("/missing"), "broker_not_delivering", "there is no virtual host 'missing': NOT_ALLOWED", cause="broker_absent")
    refused(tmp_path, rabbit.url(), "broker_not_delivering", "no exchange 'nope' in vhost '/'", "exchange: nope", cause="broker_absent")
    refused(tmp_path, f"amqp://127.0.0.1:{free_port()}", "broker_unreachable", "connection refused")
    refused(tmp_path, f"amqp://127.0.0.1:{rabbit.tls_port}", "broker_unreachable", "")


def test_no_permission_for_the_virtual_host(rabbit, tmp_path):
    rabbit.ctl("add_vhost", "closed")
    refused(tmp_path, rabbit.url("/closed", user="guest:guest"), "broker_auth_failed", "access to vhost 'closed' refused", cause="broker_auth")


def test_connection_limits(rabbit, tmp_path):
    """One code of the protocol for a missing permission and for a full house: only the first is about credentials."""
    rabbit.ctl("add_vhost", "full")
    rabbit.ctl("set_permissions", "-p", "full", "guest", ".*", ".*", ".*")
    rabbit.ctl("set_vhost_limits", "-p", "full", '{"max-connections": 0}')
    refused(tmp_path, rabbit.url("/full"), "broker_unreachable", "takes no more connections", cause="broker_full")
    rabbit.ctl("clear_vhost_limits", "-p", "full")
    rabbit.ctl("set_user_limits", "guest", '{"max-connections": 0}')
    refused(tmp_path, rabbit.url("/full"), "broker_unreachable", "takes no more connections", cause="broker_full")
    rabbit.ctl("clear_user_limits", "guest", "max-connections")
    assert probe(tmp_path, rabbit.url("/full"))[0] is None


def test_permissions(rabbit, tmp_path):
    rabbit.ctl("eval", 'rabbit_auth_backend_internal:add_user(<<"low">>, <<"low-password">>, <<"test">>),'
               'rabbit_auth_backend_internal:set_permissions(<<"low">>, <<"/">>, <<"^mine-">>, <<"^mine-">>, <<"^mine-">>, <<"test">>).')
    low = rabbit.url(user="low:low-password")
    refused(tmp_path, low, "broker_auth_failed", "access to queue 'amq.gen-")
    refused(tmp_path, low, "broker_auth_failed", "a ping, which needs permission to write to amq.default: ACCESS_REFUSED", "queue_prefix: mine-")


def test_tls(rabbit, certs, tmp_path):
    url = rabbit.url(scheme="amqps")
    assert probe(tmp_path, url, f"tls: {{ ca_file: {certs.ca} }}")[0] is None
    assert probe(tmp_path, url, "tls: { verify: false }")[0] is None
    refused(tmp_path, url, "broker_unreachable", "not in the system's authorities", cause="broker_untrusted")
    refused(tmp_path, url, "broker_unreachable", "other.test", f"tls: {{ ca_file: {certs.ca}, server_name: other.test }}")
    refused(tmp_path, rabbit.url(scheme="amqps").replace(str(rabbit.tls_port), str(rabbit.port)), "broker_unreachable", "")


def test_delivers_and_leaves_nothing(rabbit, server, tmp_path):
    """The control leg gets what was published; the server beside it rides on no broker, and is found out."""
    checks = "  - { name: news, type: delivery, broker: bus, channel: news, within: 300ms, timeout: 2s, interval: 500ms, fall: 1 }\n"
    with agent(settings(rabbit.url(), "", checks).replace("ws://127.0.0.1:1/", server.url), tmp_path) as child:
        until("the verdict is delivery_lost", lambda: child.check("news")["reason"] == "delivery_lost")
        assert child.check("bus")["state"] == "pass"
        assert "amq.gen-" in rabbit.ctl("list_queues", "--quiet", "name")
    assert rabbit.ctl("list_queues", "--quiet", "--no-table-headers", "name").strip() == ""


def test_memory_alarm(rabbit, tmp_path):
    with agent(settings(rabbit.url()), tmp_path) as child:
        until("the check passes", lambda: child.check("bus")["state"] == "pass")
        rabbit.ctl("set_vm_memory_high_watermark", "0.00001")
        try:
            assert "low on memory" in until_reason(child, "broker_blocked")
            assert probe(tmp_path, rabbit.url())[0] == "broker_blocked"  # a new connection is let in, and sees it too
        finally:
            rabbit.ctl("set_vm_memory_high_watermark", "0.9")
        until("the check passes again", lambda: child.check("bus")["state"] == "pass")
        assert child.status()["ready"] is True


def test_frozen(rabbit, tmp_path):
    with agent(settings(rabbit.url(), "timeout: 1s").replace("fall: 1", "fall: 1, timeout: 700ms"), tmp_path) as child:
        until("the check passes", lambda: child.check("bus")["state"] == "pass")
        os.kill(rabbit.pid, signal.SIGSTOP)
        try:
            until_reason(child, "broker_timeout")
        finally:
            os.kill(rabbit.pid, signal.SIGCONT)
        until("the check passes again", lambda: child.check("bus")["state"] == "pass")


def test_killed_and_restarted(rabbit, tmp_path):
    with agent(settings(rabbit.url()).replace("interval: 300ms", "interval: 60s"), tmp_path) as child:
        until("the check passes", lambda: child.check("bus")["state"] == "pass")
        rabbit.kill()
        until_reason(child, "broker_unreachable")  # an event: the next round is a minute away
        child.write(settings(rabbit.url()))
        child.send(signal.SIGHUP)
        rabbit.start()
        until("the check passes again", lambda: child.check("bus")["state"] == "pass")
