"""Kafka as a broker: librdkafka's mock cluster in a process of its own (tests/tools/mock_kafka.c), and brokers that are none."""
import re
import signal
import socket
import subprocess

import pytest

from harness import BUILD, ROOT, Process, agent, check, free_port, until, wshealthd


@pytest.fixture(scope="session")
def mock_kafka():
    """The cluster's program, compiled for this run."""
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "rdkafka"], capture_output=True, text=True, check=False)
    if flags.returncode:
        pytest.skip("librdkafka-dev is missing")
    code, _, err = wshealthd("config", "check", "/dev/stdin", stdin=settings("kafka://127.0.0.1:9092"))
    if code and "not in this build" in err:
        pytest.skip("kafka is not in this build")
    out = BUILD / "e2e" / "mock_kafka"
    out.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-O1", "-o", str(out), str(ROOT / "tests" / "tools" / "mock_kafka.c"), *flags.stdout.split()], check=True,
                   timeout=60)
    return str(out)


class Cluster(Process):
    def __init__(self, binary, brokers=1):
        super().__init__([binary, brokers], stdin=subprocess.PIPE)
        self.lines = 1
        until("the cluster is up", lambda: "\n" in self.out())
        self.servers = self.out().split("\n", 1)[0]
        self.url = f"kafka://{self.servers}"

    def do(self, *words):
        self.child.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.child.stdin.flush()
        self.lines += 1
        until("the cluster answers", lambda: self.out().count("\n") >= self.lines)
        answer = self.out().split("\n")[self.lines - 1]
        assert answer == "ok", f"{words}: {answer}"

    def cleanup(self):
        self.child.stdin.close()
        super().cleanup()


@pytest.fixture
def cluster(mock_kafka):
    child = Cluster(mock_kafka)
    yield child
    child.cleanup()


def settings(url, options="", checks="", **more):
    check_options = "".join(f", {k}: {v}" for k, v in {"interval": "300ms", "timeout": "1s", **more}.items())
    return (f"target: {{ url: 'ws://127.0.0.1:1/' }}\nbrokers:\n  - {{ name: bus, url: '{url}', retry: {{ max: 300ms }}, {options} }}\n"
            f"checks:\n  - {{ name: bus, type: broker, broker: bus, fall: 1, gates: [ready]{check_options} }}\n{checks}")


def probe(directory, url, options="", **more):
    """One round of the broker's check. (reason, message)."""
    file = directory / "probe.yaml"
    file.write_text(settings(url, options, **{"timeout": "5s", **more}))
    _, document = check(None, timeout=None, conf=file)
    found = next(c for c in document["checks"] if c["name"] == "bus")
    return found["reason"], found["message"]


def refused(directory, url, want_reason, want_text, options="", **more):
    reason, message = probe(directory, url, options, **more)
    assert reason == want_reason and want_text in message, f"{reason}: {message}"


def until_reason(child, reason, name="bus"):
    def found():
        return child.check(name)["reason"] == reason and (child.check(name)["message"] or True)

    return until(f"{name} says {reason}: {child.err()}", found)


def until_pass(child, name="bus"):
    until(f"{name} passes: {child.err()}", lambda: child.check(name)["state"] == "pass")


def wrong(url, options=""):
    """The one error of a configuration with that broker."""
    code, _, err = wshealthd("config", "check", "/dev/stdin", stdin=settings(url, options))
    assert code == 3, err
    return err


def test_configuration(mock_kafka):
    assert "url: port 99999, want 1 to 65535" in wrong("kafka://a:9092,b:99999")
    assert "url: no host" in wrong("kafka://a,,b")
    assert "unexpected text after the hosts" in wrong("kafka://a:9092/topic")
    assert "security_protocol: plaintext, want sasl_plaintext or sasl_ssl" in wrong("kafka://user:secret-word@a")
    assert "secret-word" not in wrong("kafka://user:secret-word@a")
    assert "want a URL with user and password" in wrong("kafka://a", "security_protocol: sasl_ssl")
    assert "security_protocol: plaintext, want ssl, as tls is set" in wrong("kafka://a", "tls: { ca_file: /etc/ssl/certs/ca-certificates.crt }")
    assert "server_name cannot be set" in wrong("kafka://a", "tls: { server_name: x }")


def test_passes(cluster, tmp_path):
    assert probe(tmp_path, cluster.url)[0] is None
    assert probe(tmp_path, cluster.url, "ping_topic: pings")[0] is None
    cluster.do("topic", "everything", 3)
    assert probe(tmp_path, cluster.url, "topic: everything")[0] is None


def test_unreachable(tmp_path, mock_kafka):
    port = free_port()
    refused(tmp_path, f"kafka://127.0.0.1:{port}", "broker_unreachable", "Connection refused")
    refused(tmp_path, f"kafka://127.0.0.1:{port},127.0.0.1:{free_port()}", "broker_unreachable", "Connection refused", "timeout: 1s")
    refused(tmp_path, "kafka://no.such.host.invalid", "broker_unreachable", "no.such.host.invalid")


def test_authentication_refused(cluster, tmp_path):
    """The mock cluster knows no SASL: it refuses whoever begins with it."""
    url = cluster.url.replace("kafka://", "kafka://user:secret-word@")
    reason, message = probe(tmp_path, url, "security_protocol: sasl_plaintext")
    assert reason == "broker_auth_failed" and "SASL" in message and "secret-word" not in message, f"{reason}: {message}"


def test_property_of_the_library(cluster, tmp_path):
    reason, message = probe(tmp_path, cluster.url, "properties: { no.such.property: secret-word }")
    assert reason == "agent_error" and "no.such.property" in message and "secret-word" not in message, f"{reason}: {message}"
    assert probe(tmp_path, cluster.url, "properties: { client.id: chat-probe }")[0] is None


def test_not_writable(cluster, tmp_path):
    """Metadata may be had, and messages are not taken."""
    cluster.do("topic", "pings", 1)
    cluster.do("topic", "everything", 2)
    cluster.do("refuse", "produce", 19, 6)
    refused(tmp_path, cluster.url, "broker_blocked", "Not enough in-sync replicas", "ping_topic: pings")
    cluster.do("leaderless", "everything", 1)
    refused(tmp_path, cluster.url, "broker_blocked", "partition 1 of topic everything has no leader", "topic: everything")


def test_silent_peer(tmp_path, mock_kafka):
    """Something that takes connections and says nothing: the deadline is kept."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        reason, message = probe(tmp_path, f"kafka://127.0.0.1:{listener.getsockname()[1]}", "timeout: 1s", timeout="3s")
    assert reason in ("broker_timeout", "broker_unreachable") and message, f"{reason}: {message}"


@pytest.mark.parametrize("options", ["", "topic: everything"])
def test_delivers(cluster, server, tmp_path, options):
    """The control leg gets what was produced; the server beside it rides on no broker, and is found out."""
    cluster.do("topic", "news", 2)
    cluster.do("topic", "everything", 2)
    checks = "  - { name: news, type: delivery, broker: bus, channel: news, within: 700ms, timeout: 3s, interval: 500ms, fall: 1 }\n"
    with agent(settings(cluster.url, options, checks).replace("ws://127.0.0.1:1/", server.url), tmp_path) as child:
        until_reason(child, "delivery_lost", "news")
        assert child.check("bus")["state"] == "pass"


def test_down_and_up(mock_kafka, tmp_path):
    cluster = Cluster(mock_kafka, 3)
    try:
        with agent(settings(cluster.url, "timeout: 1s"), tmp_path) as child:
            until_pass(child)
            cluster.do("down", 1)
            until_pass(child)  # two are left
            for number in (2, 3):
                cluster.do("down", number)
            assert re.search("refused|Disconnected|down", until_reason(child, "broker_unreachable"))
            assert child.get("/live").status == 200
            for number in (1, 2, 3):
                cluster.do("up", number)
            until_pass(child)
            assert "Sanitizer" not in child.err()
    finally:
        cluster.cleanup()


def test_frozen(cluster, tmp_path):
    with agent(settings(cluster.url, "timeout: 1s", timeout="700ms"), tmp_path) as child:
        until_pass(child)
        cluster.send(signal.SIGSTOP)
        try:
            until_reason(child, "broker_timeout")
            assert child.get("/healthz").status == 200  # the loop goes on
        finally:
            cluster.send(signal.SIGCONT)
        until_pass(child)


def test_killed(cluster, tmp_path):
    """An event: the next round is a minute away."""
    with agent(settings(cluster.url, interval="60s"), tmp_path) as child:
        until_pass(child)
        cluster.child.kill()
        until_reason(child, "broker_unreachable")
