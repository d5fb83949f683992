"""MQTT as a broker: Mosquitto with passwords, access lists, TLS and WebSockets, and all the ways to fall over."""
import contextlib
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from harness import RELEASE, agent, check, free_port, memory_kib, process, until, wshealthd

SERVER = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/bin")
needs_mosquitto = pytest.mark.skipif(not SERVER, reason="mosquitto is missing")
if "mqtt" not in wshealthd("help", "brokers")[1]:
    pytest.skip("this build has no mqtt broker (libmosquitto-dev is missing)", allow_module_level=True)


@contextlib.contextmanager
def mosquitto(directory, conf="allow_anonymous true", port=None):
    """A broker of the test's own: MQTT on `port`, the same over WebSockets on `ws`."""
    port, ws = port or free_port(), free_port()
    file = directory / f"mosquitto-{port}.conf"
    file.write_text(f"user root\npersistence false\nper_listener_settings true\nlistener {port} 127.0.0.1\n{conf}\n"
                    f"listener {ws} 127.0.0.1\nprotocol websockets\nallow_anonymous true\n")
    with process(SERVER, "-c", file, directory=directory, port=port) as child:
        child.port, child.ws = port, ws
        yield child


@contextlib.contextmanager
def fake(conversation):
    """A broker that says `conversation(socket)` to whoever connects."""
    ends = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                peer = listener.accept()[0]
            except OSError:
                return
            ends.append(peer)
            threading.Thread(target=converse, args=(peer,), daemon=True).start()

    def converse(peer):
        with contextlib.suppress(OSError):
            conversation(peer)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        for peer in ends:
            peer.close()


def settings(url, options="", target="ws://127.0.0.1:1/", checks=None, timeout="2s"):
    return (f"target: {{ url: '{target}', dialect: mqtt }}\n"
            f"brokers: [ {{ name: bus, type: mqtt, url: '{url}', timeout: {timeout}, retry: {{ min: 50ms, max: 300ms }}, {options} }} ]\n"
            "checks:\n" + (checks or "  - { name: bus, type: broker, broker: bus, interval: 300ms, fall: 1 }\n"))


def probe(directory, url, options=""):
    """One round of the broker's check. (reason, message)."""
    file = directory / "probe.yaml"
    file.write_text(settings(url, options, checks="  - { name: bus, type: broker, broker: bus, interval: 20s, timeout: 20s, fall: 1 }\n", timeout="20s"))
    _, document = check(None, timeout=None, conf=file)
    found = next(c for c in document["checks"] if c["name"] == "bus")
    return found["reason"], found["message"]


@needs_mosquitto
@pytest.mark.parametrize("protocol", ["auto", "3.1.1", "5"])
def test_well(tmp_path, protocol):
    with mosquitto(tmp_path) as broker:
        assert probe(tmp_path, f"mqtt://127.0.0.1:{broker.port}", f"protocol: '{protocol}'")[0] is None


@needs_mosquitto
def test_a_name_with_several_addresses(tmp_path):
    with mosquitto(tmp_path) as broker:
        assert probe(tmp_path, f"mqtt://localhost:{broker.port}")[0] is None


@needs_mosquitto
def test_credentials(tmp_path):
    (tmp_path / "passwords").write_text("probe:secret\n")
    (tmp_path / "passwords").chmod(0o600)
    tool = shutil.which("mosquitto_passwd", path="/usr/bin:/usr/local/bin")
    subprocess.run([tool, "-U", tmp_path / "passwords"], check=True, timeout=20)
    with mosquitto(tmp_path, f"allow_anonymous false\npassword_file {tmp_path}/passwords") as broker:
        assert probe(tmp_path, f"mqtt://probe:secret@127.0.0.1:{broker.port}")[0] is None
        for who in ("", "probe:wrong@", "nobody:secret@"):
            reason, message = probe(tmp_path, f"mqtt://{who}127.0.0.1:{broker.port}")
            assert reason == "broker_auth_failed" and "secret" not in message, message


@needs_mosquitto
def test_access_lists(tmp_path):
    """A denied subscription is the credentials' fault; a denied ping topic says that the broker answers."""
    (tmp_path / "acl").write_text("topic readwrite health/#\n")
    checks = "  - { name: delivery, type: delivery, broker: bus, channel: %s, within: 1s }\n"
    with mosquitto(tmp_path, f"allow_anonymous true\nacl_file {tmp_path}/acl") as broker:
        url, target = f"mqtt://127.0.0.1:{broker.port}", f"ws://127.0.0.1:{broker.ws}/"
        assert probe(tmp_path, url)[0] is None
        for channel, reason in (("health/check", None), ("secret/check", "broker_auth_failed")):
            file = tmp_path / "acl.yaml"
            file.write_text(settings(url, target=target, checks=checks % channel))
            _, document = check(None, "delivery", timeout=None, conf=file)
            found = next(c for c in document["checks"] if c["name"] == "delivery")
            assert found["reason"] == reason, found


@needs_mosquitto
def test_tls(tmp_path, certs):
    good, other = certs.leaf("mqtt"), certs.leaf("other", signed=False)
    tls = f"allow_anonymous true\ncafile {certs.ca}\ncertfile {good[0]}\nkeyfile {good[1]}"
    with mosquitto(tmp_path, tls) as broker:
        url = f"mqtts://localhost:{broker.port}"
        assert probe(tmp_path, url, f"tls: {{ ca_file: {certs.ca} }}")[0] is None
        assert probe(tmp_path, url, "tls: { verify: false }")[0] is None
        reason, message = probe(tmp_path, url)
        assert reason == "broker_unreachable" and "certificate verify failed" in message, message
    with mosquitto(tmp_path, tls + "\nrequire_certificate true") as broker:
        url = f"mqtts://127.0.0.1:{broker.port}"
        assert probe(tmp_path, url, f"tls: {{ ca_file: {certs.ca}, cert_file: {good[0]}, key_file: {good[1]} }}")[0] is None
        reason, message = probe(tmp_path, url, f"tls: {{ ca_file: {certs.ca} }}")
        assert reason == "broker_auth_failed" and "certificate" in message, message
    with mosquitto(tmp_path, f"allow_anonymous true\ncertfile {other[0]}\nkeyfile {other[1]}") as broker:
        reason, message = probe(tmp_path, f"mqtts://127.0.0.1:{broker.port}", f"tls: {{ ca_file: {certs.ca} }}")
        assert reason == "broker_unreachable" and "certificate" in message, message


@needs_mosquitto
def test_delivery_and_the_ways_to_fall_over(tmp_path):
    """Killed, frozen, back again: shared each time, so that the instance stays; and nothing stale arrives."""
    checks = ("  - { name: handshake, type: handshake, interval: 300ms }\n"
              "  - { name: delivery, type: delivery, broker: bus, channel: health/check, within: 1s, interval: 300ms, timeout: 1500ms, fall: 1 }\n")
    with mosquitto(tmp_path) as broker:
        conf = settings(f"mqtt://127.0.0.1:{broker.port}", target=f"ws://127.0.0.1:{broker.ws}/", checks=checks)
        with agent(conf, tmp_path) as child:
            child.wait_ready()
            until("delivery passes", lambda: child.check("delivery")["state"] == "pass")
            broker.send(signal.SIGSTOP)
            until("a frozen broker is noticed", lambda: child.check("bus")["reason"] in ("broker_timeout", "broker_unreachable"))
            broker.send(signal.SIGCONT)
            until("it is back", lambda: child.check("bus")["state"] == "pass" and child.check("delivery")["state"] == "pass")
            metrics = child.get("/metrics").text
            assert 'result="duplicate"} 0' in metrics


@needs_mosquitto
def test_killed_and_back(tmp_path):
    port = free_port()
    with agent(settings(f"mqtt://127.0.0.1:{port}"), tmp_path) as child:
        until("it is down", lambda: child.check("bus")["reason"] == "broker_unreachable")
        assert "nothing accepts connections" in child.check("bus")["message"]
        for _ in range(2):
            with mosquitto(tmp_path, port=port) as broker:
                until("it is up", lambda: child.check("bus")["state"] == "pass")
                broker.end(signal.SIGKILL)
                until("it is down again", lambda: child.check("bus")["state"] == "fail")


def silent(peer):
    peer.recv(1000)
    threading.Event().wait(20)


def garbage(peer):
    peer.recv(1000)
    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)


def hangs_up(peer):
    peer.close()


def old(peer):
    """Takes 3.1.1 and nothing else, and says so in the way of 3.1.1."""
    head = peer.recv(1000)
    level = head[8]
    peer.sendall(b"\x20\x02\x00" + (b"\x00" if level == 4 else b"\x01"))
    while level == 4:
        packet = peer.recv(1000)
        if not packet:
            return
        if packet[0] >> 4 == 3:
            topic = int.from_bytes(packet[2:4], "big")
            peer.sendall(b"\x40\x02" + packet[4 + topic:6 + topic])


def deaf(peer):
    """Accepts, and acknowledges nothing."""
    peer.recv(1000)
    peer.sendall(b"\x20\x03\x00\x00\x00")
    threading.Event().wait(20)


@pytest.mark.parametrize("conversation, reason", [(silent, "broker_timeout"), (garbage, "broker_unreachable"), (hangs_up, "broker_unreachable"),
                                                  (old, None), (deaf, "broker_timeout")])
def test_fakes(tmp_path, conversation, reason):
    with fake(conversation) as port:
        found, message = probe(tmp_path, f"mqtt://127.0.0.1:{port}")
        assert found == reason, message


def test_a_packet_without_end(tmp_path):
    """256 MiB are announced and sent: the connection is closed long before that, and the memory stays where it was."""
    def endless(peer):
        peer.recv(1000)
        peer.sendall(b"\x20\x03\x00\x00\x00" + b"\x30\xff\xff\xff\x7f")
        for _ in range(256):
            peer.sendall(bytes(1 << 20))

    with fake(endless) as port, agent(settings(f"mqtt://127.0.0.1:{port}"), tmp_path, binary=RELEASE) as child:
        until("it is noticed", lambda: "2 MiB" in (child.check("bus")["message"] or ""))
        assert child.get("/healthz").status == 200
        assert memory_kib(child.pid) < 32 << 10, memory_kib(child.pid)


def test_configuration(tmp_path):
    for options, words in (("tls: { server_name: x }", "server_name"), ("ping_topic: 'a/#'", "ping_topic"), ("protocol: 4", "protocol"),
                           ("tls: { min_version: '1.0' }", "min_version")):
        file = tmp_path / "conf.yaml"
        file.write_text(settings("mqtt://127.0.0.1:1", options))
        code, out, err = wshealthd("config", "check", file)
        assert code == 3 and words in err + out, (options, out, err)
