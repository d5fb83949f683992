"""NATS as a broker: nats-server with every way to authenticate, TLS, JetStream, and all the ways to fall over."""
import base64
import contextlib
import json
import re
import shutil
import signal
import socket
import time

import pytest

from harness import agent, check, free_port, process, put, until

try:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
except ImportError:
    Ed25519PrivateKey = None

pytestmark = pytest.mark.skipif(not shutil.which("nats-server", path="/usr/sbin:/usr/bin:/usr/local/bin"), reason="nats-server is missing")
SERVER = shutil.which("nats-server", path="/usr/sbin:/usr/bin:/usr/local/bin")


@contextlib.contextmanager
def nats(directory, conf="", port=None, name="nats"):
    """nats-server on loopback; conf is what its configuration has besides the address."""
    port = port or free_port()
    file = directory / f"{name}-{port}.conf"
    file.write_text(f"host: 127.0.0.1\nport: {port}\n{conf}\n")
    with process(SERVER, "-c", file, directory=directory, port=port) as child:
        child.port, child.url = port, f"nats://127.0.0.1:{port}"
        yield child


def settings(url, options="", checks=None, broker="", target="ws://127.0.0.1:1/"):
    return (f"target: {{ url: '{target}' }}\nbrokers:\n  - {{ name: bus, type: nats, url: '{url}', retry: {{ max: 300ms }}, {options} }}\n"
            "checks:\n" + (checks or f"  - {{ name: bus, type: broker, broker: bus, interval: 300ms, fall: 1, gates: [ready], {broker} }}\n"))


def probe(directory, url, options=""):
    """One round of the broker's check. (reason, message)."""
    file = directory / "probe.yaml"
    file.write_text(settings(url, options))
    found = named(file, "bus")
    return found["reason"], found["message"]


def named(file, name):
    """One round of the file's checks; the one of that name."""
    _, document = check(None, timeout=None, conf=file)
    return next(found for found in document["checks"] if found["name"] == name)


def refused(directory, url, options=""):
    reason, message = probe(directory, url, options)
    assert reason, "it passed"
    return reason, message


def passes(directory, url, options=""):
    reason, message = probe(directory, url, options)
    assert reason is None, f"{reason}: {message}"


class Client:
    """As much of the protocol as it takes to make a stream."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.file = self.socket.makefile("rwb")
        self.file.readline()
        self.send(b'CONNECT {"verbose":false}\r\nPING\r\n')
        assert self.file.readline() == b"PONG\r\n"

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.file.write(data)
        self.file.flush()

    def request(self, subject, body, seconds=3):
        body = json.dumps(body).encode()
        self.send(b"SUB answer 1\r\nPUB %s answer %d\r\n%s\r\n" % (subject.encode(), len(body), body))
        self.socket.settimeout(seconds)
        while True:
            line = self.file.readline().split()
            if line[0] == b"MSG":
                answer = self.file.read(int(line[-1]) + 2)
                self.send(b"UNSUB 1\r\n")
                return json.loads(answer)
            if line[0] == b"PING":
                self.send(b"PONG\r\n")


def make_stream(port, name, subjects, **more):
    def made():
        try:
            with Client(port) as client:
                answer = client.request(f"$JS.API.STREAM.CREATE.{name}", {"name": name, "subjects": subjects, "storage": "memory", **more})
                return "error" not in answer
        except (OSError, IndexError):
            return False

    until(f"the stream {name} is made", made)


# --- keys -------------------------------------------------------------------------------------------------------------------------------

OPERATOR, ACCOUNT, USER = 14 << 3, 0, 20 << 3


def checksum(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc.to_bytes(2, "little")


def base32(data):
    return base64.b32encode(data + checksum(data)).decode().rstrip("=")


class Key:
    """An NKey; number makes it one of a kind."""

    def __init__(self, kind, number):
        raw = bytes([number] * 32)
        self.private = Ed25519PrivateKey.from_private_bytes(raw)
        self.public = base32(bytes([kind]) + self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        self.seed = base32(bytes([18 << 3 | kind >> 5, (kind & 31) << 3]) + raw)


def encode(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def jwt(issuer, subject, name, claims):
    head = {"typ": "JWT", "alg": "ed25519-nkey"}
    body = {"jti": name, "iat": int(time.time()), "iss": issuer.public, "name": name, "sub": subject.public, "nats": {**claims, "version": 2}}
    text = encode(json.dumps(head).encode()) + "." + encode(json.dumps(body).encode())
    return text + "." + encode(issuer.private.sign(text.encode()))


def credentials(user, token):
    return (f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n")


# --- who may ----------------------------------------------------------------------------------------------------------------------------

def test_core(tmp_path):
    with nats(tmp_path) as server:
        passes(tmp_path, server.url)
    reason, message = refused(tmp_path, server.url)
    assert reason == "broker_unreachable" and str(server.port) in message


def test_token(tmp_path):
    (tmp_path / "token").write_text("s3cr3t-token\n")
    (tmp_path / "wrong").write_text("another-token\n")
    with nats(tmp_path, "authorization { token: s3cr3t-token }") as server:
        passes(tmp_path, server.url, f"token: '${{file:{tmp_path}/token}}'")
        passes(tmp_path, server.url, "token: s3cr3t-token")
        for options in ("", f"token: '${{file:{tmp_path}/wrong}}'"):
            reason, message = refused(tmp_path, server.url, options)
            assert reason == "broker_auth_failed" and "another-token" not in message


def test_user_and_password(tmp_path):
    with nats(tmp_path, "authorization { user: health, password: pa55-word }") as server:
        passes(tmp_path, f"nats://health:pa55-word@127.0.0.1:{server.port}")
        for who in ("health:wrong-word@", "nobody:pa55-word@", ""):
            reason, message = refused(tmp_path, f"nats://{who}127.0.0.1:{server.port}")
            assert reason == "broker_auth_failed" and "word" not in message, message


@pytest.mark.skipif(Ed25519PrivateKey is None, reason="python3-cryptography is missing")
def test_nkey(tmp_path):
    known, stranger = Key(USER, 1), Key(USER, 2)
    for name, key in (("known", known), ("stranger", stranger)):
        (tmp_path / name).write_text(key.seed + "\n")
    (tmp_path / "damaged").write_text(known.seed[:-1] + ("A" if known.seed[-1] != "A" else "B"))
    with nats(tmp_path, f"authorization {{ users: [ {{ nkey: {known.public} }} ] }}") as server:
        for _ in range(5):
            passes(tmp_path, server.url, f"nkey_file: {tmp_path}/known")
        assert refused(tmp_path, server.url, f"nkey_file: {tmp_path}/stranger")[0] == "broker_auth_failed"
        assert refused(tmp_path, server.url)[0] == "broker_auth_failed"
        for name in ("damaged", "absent"):
            _, message = refused(tmp_path, server.url, f"nkey_file: {tmp_path}/{name}")
            assert "nkey_file" in message and name in message and known.seed[2:-1] not in message, message


@pytest.mark.skipif(Ed25519PrivateKey is None, reason="python3-cryptography is missing")
def test_credentials_file(tmp_path):
    operator, account, user, other = Key(OPERATOR, 3), Key(ACCOUNT, 4), Key(USER, 5), Key(ACCOUNT, 6)
    unlimited = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}
    claims = {"type": "account", "limits": unlimited}
    conf = (f"operator: {jwt(operator, operator, 'op', {'type': 'operator'})}\nresolver: MEMORY\n"
            f"resolver_preload {{ {account.public}: {jwt(operator, account, 'acc', claims)} }}\n")
    token = {"type": "user", "subs": -1, "data": -1, "payload": -1}
    (tmp_path / "good.creds").write_text(credentials(user, jwt(account, user, "usr", token)))
    (tmp_path / "bad.creds").write_text(credentials(user, jwt(other, user, "usr", token)))
    with nats(tmp_path, conf) as server:
        passes(tmp_path, server.url, f"credentials_file: {tmp_path}/good.creds")
        assert refused(tmp_path, server.url, f"credentials_file: {tmp_path}/bad.creds")[0] == "broker_auth_failed"
        assert refused(tmp_path, server.url)[0] == "broker_auth_failed"
        _, message = refused(tmp_path, server.url, f"credentials_file: {tmp_path}/absent.creds")
        assert "credentials_file" in message


def test_tls(tmp_path, certs):
    cert, key = certs.leaf("good")
    stranger_cert, stranger_key = certs.leaf("selfsigned", signed=False)
    section = f"tls {{ cert_file: '{cert}', key_file: '{key}' }}"
    with nats(tmp_path, section) as server:
        tls = f"tls://127.0.0.1:{server.port}"
        passes(tmp_path, tls, f"tls: {{ ca_file: {certs.ca} }}")
        passes(tmp_path, tls, f"tls: {{ ca_file: {certs.ca}, min_version: '1.3' }}")
        passes(tmp_path, tls, "tls: { verify: false }")
        passes(tmp_path, server.url, f"tls: {{ ca_file: {certs.ca} }}")  # the server asks for it
        reason, message = refused(tmp_path, tls)
        assert reason == "broker_unreachable" and "TLS" in message and "certificate" in message, message
        reason, message = refused(tmp_path, tls, f"tls: {{ ca_file: {certs.ca}, server_name: elsewhere.test }}")
        assert reason == "broker_unreachable" and "mismatch" in message, message
        _, message = refused(tmp_path, tls, f"tls: {{ ca_file: {stranger_cert} }}")
        assert "TLS" in message
    with nats(tmp_path) as server:
        reason, message = refused(tmp_path, f"tls://127.0.0.1:{server.port}", f"tls: {{ ca_file: {certs.ca} }}")
        assert reason == "broker_unreachable" and "does not offer TLS" in message, message
    with nats(tmp_path, f"tls {{ cert_file: '{cert}', key_file: '{key}', ca_file: '{certs.ca}', verify: true }}") as server:
        tls = f"tls://127.0.0.1:{server.port}"
        passes(tmp_path, tls, f"tls: {{ ca_file: {certs.ca}, cert_file: '{cert}', key_file: '{key}' }}")
        reason, message = refused(tmp_path, tls, f"tls: {{ ca_file: {certs.ca} }}")
        assert reason == "broker_auth_failed", message
        mine = f"tls: {{ ca_file: {certs.ca}, cert_file: '{stranger_cert}', key_file: '{stranger_key}' }}"
        reason, message = refused(tmp_path, tls, mine)
        assert reason == "broker_auth_failed", message


def test_a_rotated_certificate(tmp_path, certs):
    """The library reads the files at each connection: what is trusted is what the file says by then."""
    ca, port = tmp_path / "ca.pem", free_port()
    old, new = certs.leaf("good"), certs.leaf("rotated", signed=False)

    def serving(pair):
        return nats(tmp_path, f"tls {{ cert_file: '{pair[0]}', key_file: '{pair[1]}' }}", port=port)
    put(certs.ca, ca)
    with agent(settings(f"tls://127.0.0.1:{port}", f"tls: {{ ca_file: {ca} }}"), tmp_path) as running:
        with serving(old):
            until("at first it passes", lambda: broker_of(running)["state"] == "pass")
            put(new[0], ca)
        until("it is gone", lambda: broker_of(running)["reason"] == "broker_unreachable")
        with serving(new):
            until("the new certificate is trusted", lambda: broker_of(running)["state"] == "pass")
            put(certs.ca, ca)
        until("it is gone again", lambda: broker_of(running)["reason"] == "broker_unreachable")
        with serving(new):
            until("it is no longer trusted", lambda: "TLS with" in (broker_of(running)["message"] or ""))
            assert broker_of(running)["reason"] == "broker_unreachable"


def test_nothing_of_tls_is_left_at_the_end(tmp_path, certs):
    """The agent is stopped at whatever moment of connecting anew; a thread that has told that it ends may not have freed its part yet."""
    cert, key = certs.leaf("good")
    with nats(tmp_path, f"tls {{ cert_file: '{cert}', key_file: '{key}', ca_file: '{certs.ca}', verify: true }}") as server:
        tls = settings(f"tls://127.0.0.1:{server.port}", f"tls: {{ ca_file: {certs.ca} }}").replace("max: 300ms", "min: 10ms, max: 20ms")
        for _ in range(5):
            with agent(tls, tmp_path) as running:
                until("the broker refuses", lambda: broker_of(running)["reason"] == "broker_auth_failed")


def test_permissions(tmp_path, server):
    """What may not be published is the broker's refusal, and not a message that got lost."""
    conf = "authorization { users: [ { user: health, password: word, permissions: { publish: { deny: 'secret.>' } } } ] }"
    checks = "  - {{ name: delivery, type: delivery, broker: bus, channel: {}, within: 1s }}\n"
    with nats(tmp_path, conf) as broker:
        url, file = f"nats://health:word@127.0.0.1:{broker.port}", tmp_path / "delivery.yaml"
        file.write_text(settings(url, checks=checks.format("secret.room"), target=server.url))
        found = named(file, "delivery")
        assert found["reason"] == "broker_auth_failed" and "secret.room" in found["message"], found
        file.write_text(settings(url, checks=checks.format("room"), target=server.url))
        assert named(file, "delivery")["reason"] == "delivery_lost"


# --- what happens to it -----------------------------------------------------------------------------------------------------------------

def broker_of(running):
    return running.check("bus")


def await_reason(running, reason, seconds=20):
    def found():
        seen.append(broker_of(running)["message"])
        return broker_of(running)["reason"] == reason

    seen = []
    try:
        until(f"the broker's reason is {reason}", found, seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}: {sorted({str(text) for text in seen})}") from None
    return broker_of(running)


def longest_delay(running):
    """The upper bound of the loop's longest delay, from the histogram."""
    rows = re.findall(r'^wshealthd_loop_lag_seconds_bucket\{le="([^"]+)"\} (\d+)', running.get("/metrics").text, re.M)
    total = int(rows[-1][1])
    return next(float(bound) for bound, count in rows if int(count) == total)


def test_killed_and_restarted(tmp_path):
    with nats(tmp_path) as server:
        with agent(settings(server.url), tmp_path) as running:
            running.wait_ready()
            server.end(signal.SIGKILL)
            gone = await_reason(running, "broker_unreachable")
            assert gone["scope"] == "shared" and running.ready()
            assert running.get("/ready").text.startswith("degraded")
            with nats(tmp_path, port=server.port):
                until("it passes again", lambda: broker_of(running)["state"] == "pass")
                assert not running.status()["degraded"]


def test_frozen(tmp_path):
    """SIGSTOP: the kernel still answers, the server does not. The loop does not notice; the verdict says so; it recovers."""
    with nats(tmp_path) as server:
        with agent(settings(server.url, broker="timeout: 1s"), tmp_path) as running:
            running.wait_ready()
            server.send(signal.SIGSTOP)
            await_reason(running, "broker_timeout")
            time.sleep(4)  # the connection is given up, and opened again in vain
            assert broker_of(running)["reason"] == "broker_timeout" and running.ready()
            assert longest_delay(running) < 0.5
            server.send(signal.SIGCONT)
            until("it passes again", lambda: broker_of(running)["state"] == "pass")


def test_stopping_while_frozen(tmp_path):
    """The agent leaves in time and cleanly, with its worker inside the library."""
    with nats(tmp_path) as server:
        with agent(settings(server.url), tmp_path) as running:
            running.wait_ready()
            server.send(signal.SIGSTOP)
            time.sleep(0.6)
            running.stop()
        server.send(signal.SIGCONT)


def test_lame_duck(tmp_path):
    """The server says that it is going to leave: the agent is on the other one before it has left."""
    ports, routes = (free_port(), free_port()), (free_port(), free_port())
    conf = [f"cluster {{ name: c, listen: '127.0.0.1:{routes[i]}', routes: ['nats://127.0.0.1:{routes[1 - i]}'] }}\n"
            "lame_duck_duration: 30s\nlame_duck_grace_period: 10s" for i in (0, 1)]
    with nats(tmp_path, conf[0], ports[0]) as first, nats(tmp_path, conf[1], ports[1]):
        with agent(settings(first.url, f"servers: ['nats://127.0.0.1:{ports[1]}']"), tmp_path) as running:
            running.wait_ready()
            first.send(signal.SIGUSR2)
            until("the agent has heard it", lambda: "lame duck" in running.err())
            until("it passes again", lambda: broker_of(running)["state"] == "pass")
            assert first.running()
        first.end(signal.SIGKILL)


# --- JetStream --------------------------------------------------------------------------------------------------------------------------

def test_jetstream(tmp_path):
    with nats(tmp_path) as server:
        passes(tmp_path, server.url, "jetstream: auto")
        reason, message = refused(tmp_path, server.url, "jetstream: true")
        assert reason == "broker_not_delivering" and "not enabled" in message, message
    store = tmp_path / "store"
    with nats(tmp_path, f"jetstream {{ store_dir: '{store}' }}") as server:
        passes(tmp_path, server.url, "jetstream: true")
        passes(tmp_path, server.url, "jetstream: auto")
        reason, message = refused(tmp_path, server.url, "stream: EVENTS")
        assert reason == "broker_not_delivering" and "EVENTS" in message and "no such stream" in message, message
        make_stream(server.port, "EVENTS", ["events.>"])
        passes(tmp_path, server.url, "stream: EVENTS")


def test_published_to_a_stream(tmp_path, server):
    """With a stream, published means acknowledged."""
    checks = "  - {{ name: delivery, type: delivery, broker: bus, channel: {}, within: 800ms }}\n"
    with nats(tmp_path, f"jetstream {{ store_dir: '{tmp_path / 'store'}' }}") as broker:
        make_stream(broker.port, "EVENTS", ["events.>"])
        make_stream(broker.port, "FULL", ["full.>"], max_msgs=1, discard="new")
        file = tmp_path / "delivery.yaml"

        def delivery(stream, channel):
            file.write_text(settings(broker.url, f"stream: {stream}", checks.format(channel), target=server.url))
            return named(file, "delivery")

        assert delivery("EVENTS", "events.health")["reason"] == "delivery_lost"
        with Client(broker.port) as client:
            state = client.request("$JS.API.STREAM.INFO.EVENTS", {})["state"]
            assert state["messages"] >= 1
        assert delivery("EVENTS", "elsewhere")["reason"] == "broker_not_delivering"
        with Client(broker.port) as client:
            client.request("full.x", {})
        full = delivery("FULL", "full.health")
        assert full["reason"] == "broker_blocked" and "FULL" in full["message"], full


def test_jetstream_without_a_leader(tmp_path):
    """Two of three nodes are gone: core NATS answers as ever, JetStream cannot."""
    ports, routes = [free_port() for _ in range(3)], [free_port() for _ in range(3)]
    where = ", ".join(f"'nats://127.0.0.1:{route}'" for route in routes)
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(nats(tmp_path, f"server_name: n{i}\njetstream {{ store_dir: '{tmp_path}/js{i}' }}\n"
                                          f"cluster {{ name: c, listen: '127.0.0.1:{routes[i]}', routes: [{where}] }}", ports[i]))
                 for i in range(3)]
        make_stream(ports[0], "EVENTS", ["events.>"], num_replicas=3)
        passes(tmp_path, nodes[0].url, "jetstream: true")
        with agent(settings(nodes[0].url, "stream: EVENTS", broker="timeout: 2s"), tmp_path) as running:
            running.wait_ready()
            for node in nodes[1:]:
                node.end(signal.SIGKILL)
            # A leader without a quorum steps down after two rounds of its own check, 10 s each.
            gone = await_reason(running, "broker_not_delivering", 60)
            assert "leader" in gone["message"] and "EVENTS" in gone["message"], gone
            assert running.ready() and running.status()["degraded"]
            passes(tmp_path, nodes[0].url)
            for i in (1, 2):
                nodes[i] = stack.enter_context(process(SERVER, *nodes[i].args[1:], directory=tmp_path, port=ports[i]))
            until("it passes again", lambda: broker_of(running)["state"] == "pass", 40)
