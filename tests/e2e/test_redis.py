"""Redis as a broker: real servers with passwords, TLS, replicas, Sentinel and Cluster, and all the ways in which PING would lie."""
import contextlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from harness import agent, check, free_port, only, process, put, until, wshealthd

PATHS = "/usr/bin:/usr/local/bin:/usr/sbin"
SERVER, CLI = shutil.which("redis-server", path=PATHS), shutil.which("redis-cli", path=PATHS)
pytestmark = pytest.mark.skipif(not SERVER or not CLI, reason="redis-server or redis-cli is missing")


def cli(port, *args, password=None):
    auth = ["-a", password, "--no-auth-warning"] if password else []
    return subprocess.run([CLI, "-p", str(port), *auth, *map(str, args)], capture_output=True, text=True, timeout=20, check=False).stdout.strip()


@contextlib.contextmanager
def redis(tmp_path, *args, port=None, conf=None, directory=None):
    """redis-server on loopback in a directory of its own; conf makes it a Sentinel."""
    port = port or free_port()
    directory = directory or tempfile.mkdtemp(dir=tmp_path)
    files = ["--save", ""] if conf is None else ["--sentinel"]
    if conf is not None:
        (tmp_path / f"{port}.conf").write_text(conf)
        files.insert(0, tmp_path / f"{port}.conf")
    with process(SERVER, *files, "--port", port, "--bind", "127.0.0.1", "--dir", directory, *args, directory=tmp_path,
                 port=None if "--tls-port" in args else port, ready=None) as child:
        child.port, child.work, child.url = port, directory, f"redis://127.0.0.1:{port}"
        yield child


def settings(url, options="", **more):
    rest = "".join(f", {key}: {value}" for key, value in more.items())
    return (f"target: {{ url: 'ws://127.0.0.1:1/' }}\n"
            f"brokers:\n  - {{ name: bus, type: redis, url: '{url}', retry: {{ max: 200ms }}{rest}{options and ', ' + options} }}\n")


def broker_check(interval="200ms", **more):
    rest = "".join(f", {key}: {value}" for key, value in more.items())
    return f"checks:\n  - {{ name: bus, type: broker, broker: bus, interval: {interval}, fall: 1, gates: [ready]{rest} }}\n"


def ask(tmp_path, url, options="", timeout="2s"):
    """One round of the broker's check."""
    file = tmp_path / "ask.yaml"
    file.write_text("listen: off\nadmin: off\n" + settings(url, options, timeout=timeout))
    return only(check(None, "broker", conf=file, timeout=None)[1])


def passes(tmp_path, url, options=""):
    got = ask(tmp_path, url, options)
    assert got["status"] == "pass", got["message"]
    assert got["rtt_ms"] > 0, got


def fails(tmp_path, url, reason, *words, options="", timeout="2s"):
    got = ask(tmp_path, url, options, timeout)
    assert (got["status"], got["reason"], got["scope"]) == ("fail", reason, "shared"), got["message"]
    for word in words:
        assert word in got["message"], got
    return got


def watch(running):
    return running.check("bus")


def turns(running, what, reason):
    """Waits for the check's verdict; reason None is a pass."""
    return until(f"{what}: {reason or 'pass'}", lambda: (lambda c: c if c["status"] and c["reason"] == reason else None)(watch(running)))


# --- getting in ---


def test_the_ways_in(tmp_path, certs):
    cert, key = certs.leaf("redis")
    tls_port = free_port()
    path = tempfile.mkdtemp(prefix="wsh-", dir="/tmp")
    try:
        with redis(tmp_path, "--unixsocket", f"{path}/r.sock", "--tls-port", tls_port, "--tls-cert-file", cert, "--tls-key-file", key,
                   "--tls-ca-cert-file", certs.ca, "--tls-auth-clients", "no") as server:
            until("redis is up", lambda: cli(server.port, "PING") == "PONG")
            passes(tmp_path, server.url)
            passes(tmp_path, f"{server.url}/3")
            assert cli(server.port, "-n", 3, "KEYS", "*").startswith("wshealthd:probe:")
            assert 0 < int(cli(server.port, "-n", 3, "PTTL", cli(server.port, "-n", 3, "KEYS", "*"))) <= 60000
            passes(tmp_path, server.url, "write_key: 'health:{me}'")
            assert cli(server.port, "EXISTS", "health:{me}") == "1"
            passes(tmp_path, f"redis+unix://{path}/r.sock:/1")
            passes(tmp_path, f"rediss://localhost:{tls_port}", f"tls: {{ ca_file: '{certs.ca}' }}")
            got = ask(tmp_path, f"rediss://127.0.0.1:{tls_port}")
            assert got["status"] == "fail" and "authorities" in got["message"], got
            fails(tmp_path, f"rediss://127.0.0.1:{server.port}", "broker_unreachable", "plain port", timeout="600ms")
            fails(tmp_path, f"redis://127.0.0.1:{tls_port}", "broker_unreachable", "rediss://")
            fails(tmp_path, f"redis+unix://{path}/none.sock", "broker_unreachable", "no such socket")
            fails(tmp_path, f"{server.url}/99", "broker_unreachable", "DB index is out of range")
    finally:
        shutil.rmtree(path)


def test_passwords_and_users(tmp_path):
    with redis(tmp_path, "--requirepass", "correcthorse") as server:
        host = f"127.0.0.1:{server.port}"

        def acl(*rules):
            assert cli(server.port, "ACL", "SETUSER", *rules, password="correcthorse") == "OK"

        passes(tmp_path, f"redis://:correcthorse@{host}")
        fails(tmp_path, server.url, "broker_auth_failed", "NOAUTH")
        got = fails(tmp_path, f"redis://:batterystaple@{host}", "broker_auth_failed", "WRONGPASS")
        assert "batterystaple" not in str(got)
        secret = tmp_path / "secret"
        secret.write_text("correcthorse\n")
        passes(tmp_path, f"redis://:${{file:{secret}}}@{host}")
        acl("probe", "on", ">probepassword", "resetchannels", "&health*", "~wshealthd:probe:*", "+set", "+ping", "+publish", "+subscribe")
        passes(tmp_path, f"redis://probe:probepassword@{host}")
        acl("reader", "on", ">readerpassword", "resetchannels", "~*", "+ping")
        fails(tmp_path, f"redis://reader:readerpassword@{host}", "broker_auth_failed", "write test", "NOPERM")
        passes(tmp_path, f"redis://reader:readerpassword@{host}", "write_test: false")
        acl("probe", "resetkeys", "~other")
        fails(tmp_path, f"redis://probe:probepassword@{host}", "broker_auth_failed", "write_key")


def test_a_password_that_nobody_wants_and_too_many_clients(tmp_path):
    with redis(tmp_path) as server:
        fails(tmp_path, f"redis://:unwanted@127.0.0.1:{server.port}", "broker_auth_failed", "has no password set")
        cli(server.port, "CONFIG", "SET", "maxclients", "1")
        with socket.create_connection(("127.0.0.1", server.port)):
            fails(tmp_path, server.url, "broker_unreachable", "maxclients")


def test_secrets_stay_secret(tmp_path):
    file = tmp_path / "secret.yaml"
    file.write_text(settings("redis://:unwanted@127.0.0.1:1", sentinel="{ master: chat, hosts: ['127.0.0.1:1'], password: sentinelsecret }"))
    code, out, err = wshealthd("config", "show", file)
    assert code == 0 and "unwanted" not in out + err and "sentinelsecret" not in out + err, out + err


# --- what PING hides ---


def test_writes_that_are_refused(tmp_path):
    with redis(tmp_path, "--maxmemory", "1000") as server:
        fails(tmp_path, server.url, "broker_blocked", "maxmemory")
        cli(server.port, "CONFIG", "SET", "maxmemory", "0")
        cli(server.port, "CONFIG", "SET", "min-replicas-to-write", "1")
        fails(tmp_path, server.url, "broker_read_only", "too few replicas")
        cli(server.port, "CONFIG", "SET", "min-replicas-to-write", "0")
        shutil.rmtree(server.work)  # nowhere to save to
        cli(server.port, "CONFIG", "SET", "save", "3600 1")
        cli(server.port, "BGSAVE")
        until("the save has failed", lambda: "rdb_last_bgsave_status:err" in cli(server.port, "INFO", "persistence"))
        fails(tmp_path, server.url, "broker_read_only", "cannot save to disk")
        cli(server.port, "CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
        cli(server.port, "CONFIG", "SET", "save", "")
        with process(CLI, "-p", server.port, "EVAL", "while true do end", 0, directory=tmp_path):
            cli(server.port, "CONFIG", "SET", "busy-reply-threshold", "10")
            until("the script is noticed", lambda: "BUSY" in cli(server.port, "GET", "x"))
            fails(tmp_path, server.url, "broker_blocked", "busy with a script")
            cli(server.port, "SCRIPT", "KILL")


def test_a_server_that_is_loading(tmp_path):
    with redis(tmp_path) as server:
        cli(server.port, "EVAL", "for i = 1, 300 do redis.call('SET', i, string.rep('x', 2000)) end", 0)
        assert cli(server.port, "SAVE") == "OK"
        directory = server.work
    with redis(tmp_path, "--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024", directory=directory) as server:
        fails(tmp_path, server.url, "broker_blocked", "still loading")


def test_replicas(tmp_path):
    with redis(tmp_path, "--repl-diskless-sync-delay", "0") as master, \
            redis(tmp_path, "--replicaof", f"127.0.0.1 {master.port}") as replica:
        until("the replica follows", lambda: "master_link_status:up" in cli(replica.port, "INFO", "replication"))
        assert cli(replica.port, "PING") == "PONG"
        fails(tmp_path, replica.url, "broker_read_only", "read-only replica", str(master.port))
        passes(tmp_path, replica.url, "write_test: false")
        cli(replica.port, "REPLICAOF", "127.0.0.1", "1")
        fails(tmp_path, replica.url, "broker_read_only", "lost its master")
        fails(tmp_path, replica.url, "broker_not_delivering", "lost its master", options="write_test: false")
        cli(replica.port, "CONFIG", "SET", "replica-serve-stale-data", "no")
        fails(tmp_path, replica.url, "broker_read_only", "lost its master")


# --- while it runs ---


def test_events_while_it_runs(tmp_path):
    with redis(tmp_path) as server:
        port = server.port
        with agent(settings(server.url, timeout="400ms") + broker_check(timeout="600ms"), tmp_path) as running:
            turns(running, "at first", None)
            cli(port, "REPLICAOF", "127.0.0.1", "1")
            turns(running, "turned into a replica", "broker_read_only")
            cli(port, "REPLICAOF", "NO", "ONE")
            turns(running, "a master again", None)
            server.send(signal.SIGSTOP)
            turns(running, "stopped", "broker_timeout")
            server.send(signal.SIGCONT)
            turns(running, "goes on", None)
            server.child.kill()
            server.child.wait()
            got = turns(running, "killed", "broker_unreachable")
            assert str(port) in got["message"], got
            assert running.get("/live").status == 200
            with redis(tmp_path, port=port):
                turns(running, "restarted", None)


def test_a_closed_connection_is_an_event(tmp_path):
    """Rounds are far apart: what is seen of the loss was seen at once."""
    with redis(tmp_path) as server, agent(settings(server.url) + broker_check(interval="60s"), tmp_path) as running:
        turns(running, "at first", None)
        server.child.kill()
        server.child.wait()
        assert "closed the connection" in turns(running, "killed", "broker_unreachable")["message"]


# --- Sentinel ---


def test_sentinel_failover(tmp_path):
    with contextlib.ExitStack() as stack:
        fast = ("--repl-diskless-sync-delay", "0")
        master = stack.enter_context(redis(tmp_path, *fast))
        replica = stack.enter_context(redis(tmp_path, *fast, "--replicaof", f"127.0.0.1 {master.port}"))
        until("the replica follows", lambda: "master_link_status:up" in cli(replica.port, "INFO", "replication"))
        conf = (f"sentinel monitor chat 127.0.0.1 {master.port} 1\nsentinel down-after-milliseconds chat 500\n"
                "sentinel failover-timeout chat 3000\n")
        sentinel = stack.enter_context(redis(tmp_path, conf=conf))
        until("Sentinel knows the replica", lambda: str(replica.port) in cli(sentinel.port, "SENTINEL", "REPLICAS", "chat"))
        place = f"sentinel: {{ master: chat, hosts: ['127.0.0.1:{free_port()}', '127.0.0.1:{sentinel.port}'] }}"
        passes(tmp_path, "redis://127.0.0.1", place)
        fails(tmp_path, "redis://127.0.0.1", "broker_unreachable", "knows no master named caht", options=place.replace("chat", "caht"))
        fails(tmp_path, sentinel.url, "broker_unreachable", "is a Sentinel")
        fails(tmp_path, master.url, "broker_unreachable", "is no Sentinel", options="sentinel: { master: chat }")
        with agent(settings("redis://127.0.0.1", place) + broker_check(), tmp_path) as running:
            turns(running, "at first", None)
            master.child.kill()
            master.child.wait()
            turns(running, "the master is gone", "broker_unreachable")
            turns(running, "its successor is found", None)
            assert "role:master" in cli(replica.port, "INFO", "replication")
            assert cli(replica.port, "CLIENT", "LIST").count("name=wshealthd") == 2


# --- certificates that change ---


def rounds(running):
    found = re.search(r'^wshealthd_check_rounds_total\{check="bus",[^}]*\} (\d+)$', running.get("/metrics").text, re.M)
    return int(found.group(1))


def test_a_rotated_certificate(tmp_path, certs):
    """The new authority is there first, as it should be: the connection stays, and the next one trusts what the server has by then."""
    ca, tls_port = tmp_path / "ca.pem", free_port()
    old, new = certs.leaf("redis"), certs.leaf("rotated", signed=False)

    def serving(pair):
        return redis(tmp_path, "--tls-port", tls_port, "--tls-cert-file", pair[0], "--tls-key-file", pair[1], "--tls-ca-cert-file", pair[0],
                     "--tls-auth-clients", "no")
    put(certs.ca, ca)
    with agent(settings(f"rediss://127.0.0.1:{tls_port}", f"tls: {{ ca_file: '{ca}' }}") + broker_check(), tmp_path) as running:
        with serving(old):
            turns(running, "at first", None)
            put(new[0], ca)
            before = rounds(running)
            until("further rounds", lambda: rounds(running) >= before + 3)
            assert watch(running)["reason"] is None
        turns(running, "it is gone", "broker_unreachable")
        with serving(new):
            turns(running, "the new certificate is trusted", None)
            put(certs.ca, ca)
        turns(running, "it is gone again", "broker_unreachable")
        with serving(new):
            got = turns(running, "what is no longer trusted", "broker_unreachable")
            until("the certificate is named", lambda: "certificate" in (watch(running)["message"] or ""))
            assert got["scope"] == "shared"


# --- Cluster ---


def low_port():
    """The port of a node's bus is ten thousand higher."""
    while True:
        port = free_port()
        if port < 55000:
            return port


@pytest.fixture
def cluster(tmp_path):
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(redis(tmp_path, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", port=low_port()))
                 for _ in range(3)]
        subprocess.run([CLI, "--cluster", "create", *(f"127.0.0.1:{node.port}" for node in nodes), "--cluster-yes"], check=True, timeout=60,
                       capture_output=True)
        until("the cluster is up", lambda: all("cluster_state:ok" in cli(node.port, "CLUSTER", "INFO") for node in nodes))
        yield nodes


def test_cluster(tmp_path, cluster):
    for node in cluster:  # the key's slot is served by one of them
        passes(tmp_path, node.url)
        passes(tmp_path, node.url, "sharded: true")
    spread = [ask(tmp_path, node.url, "mode: standalone")["reason"] for node in cluster]
    assert sorted(map(str, spread)) == ["None", "broker_unreachable", "broker_unreachable"]
    fails(tmp_path, f"{cluster[0].url}/1", "broker_unreachable", "SELECT is not allowed")
    hosts = f"hosts: ['127.0.0.1:{cluster[1].port}']"
    with agent(settings(cluster[0].url, hosts) + broker_check(), tmp_path) as running:
        turns(running, "at first", None)
        cluster[2].child.kill()
        cluster[2].child.wait()
        until("slots are missed", lambda: "slots are served" in (turns(running, "a range is lost", "broker_unreachable")["message"]))
        assert cli(cluster[0].port, "PING") == "PONG"
        until("the cluster says so", lambda: "cluster_state:fail" in cli(cluster[0].port, "CLUSTER", "INFO"))
        with redis(tmp_path, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", port=cluster[2].port, directory=cluster[2].work):
            turns(running, "the range is back", None)
            cluster[0].child.kill()
            cluster[0].child.wait()
            got = turns(running, "the node that we talk to is gone", "broker_unreachable")
            until("another node is asked", lambda: f":{cluster[1].port}" in (watch(running)["message"] or "")
                  or "slots" in (watch(running)["message"] or ""))
            assert got["scope"] == "shared"


def test_a_command_goes_to_the_node_of_its_key(tmp_path, cluster, server):
    """Whichever node the agent knows first: the key's slot decides, and the others redirect."""
    keys = {}  # one for each node
    for number in range(1000):
        slot = int(cli(cluster[0].port, "CLUSTER", "KEYSLOT", f"stream{number}"))
        keys.setdefault(slot * len(cluster) // 16384, f"stream{number}")
    assert len(keys) == len(cluster)
    checks = "".join(f"  - {{ name: {key}, type: delivery, broker: bus, channel: news, within: 300ms, timeout: 2s, interval: 300ms, fall: 1,\n"
                     f"      publish: {{ command: [XADD, {key}, '*', data, '{{{{payload}}}}'] }} }}\n" for key in keys.values())
    with agent((settings(cluster[0].url) + "checks:\n" + checks).replace("ws://127.0.0.1:1/", server.url), tmp_path) as running:
        for key in keys.values():  # taken by the broker, and not passed on by this server
            until(f"{key} is written", lambda k=key: running.check(k)["reason"] == "delivery_lost")
    holders = [node.port for node in cluster for key in keys.values() if cli(node.port, "XLEN", key).isdigit()]
    assert sorted(holders) == sorted(node.port for node in cluster), keys
    assert all("MOVED" in cli(node.port, "XLEN", key) or int(cli(node.port, "XLEN", key)) > 0 for node in cluster for key in keys.values())


# --- what is no Redis ---


def test_a_large_message_of_somebody_elses(tmp_path, server):
    """It is not kept, and the connection is not given up for it."""
    checks = "  - { name: news, type: delivery, broker: bus, channel: news, within: 300ms, timeout: 2s, interval: 500ms, fall: 1 }\n"
    with redis(tmp_path) as broker:
        conf = (settings(broker.url) + broker_check() + checks).replace("ws://127.0.0.1:1/", server.url)
        with agent(conf, tmp_path) as running:
            turns(running, "at first", None)
            until("the agent has subscribed", lambda: cli(broker.port, "PUBSUB", "NUMSUB", "news").split()[-1] == "1")
            for _ in range(3):
                subprocess.run(["redis-cli", "-p", str(broker.port), "-x", "PUBLISH", "news"], input=b"x" * (3 << 20), check=True,
                               stdout=subprocess.DEVNULL, timeout=20)
            until("the broker delivers, and the server does not", lambda: running.check("news")["reason"] == "delivery_lost")
            assert watch(running)["reason"] is None
            assert "event=check_fail check=bus" not in running.err()
            until("they are counted", lambda: '\nwshealthd_broker_messages_dropped_total{broker="bus",type="redis"} 3\n' in running.get("/metrics").text)


def test_what_is_no_redis(tmp_path):
    fails(tmp_path, f"redis://127.0.0.1:{free_port()}", "broker_unreachable", "connection refused")
    for answer, words in ((b"HTTP/1.1 400 Bad Request\r\n\r\n", "begins with 'H'"), (b"*1000000000\r\n", "1000000000 elements"), (b"", "")):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
            if not answer:  # never accepted: the kernel's queue takes the connection, nobody answers
                fails(tmp_path, url, "broker_timeout", "takes connections, but has not answered", timeout="500ms")
                continue
            speaker = subprocess.Popen(["/usr/bin/python3", "-c", f"import socket, sys, time\nc, _ = socket.socket(fileno=0).accept()\n"
                                        f"c.recv(100); c.sendall({answer!r}); time.sleep(5)"], stdin=listener.fileno())
            try:
                fails(tmp_path, url, "broker_unreachable", words)
            finally:
                speaker.kill()
                speaker.wait()


def test_round_trips_are_cheap(tmp_path):
    """The writing is for real, and costs two connections and no more."""
    with redis(tmp_path) as server, agent(settings(server.url) + broker_check(interval="100ms"), tmp_path) as running:
        turns(running, "at first", None)
        time.sleep(1)
        stats = cli(server.port, "INFO", "stats")
        accepted = int(next(line for line in stats.splitlines() if line.startswith("total_connections_received")).split(":")[1])
        assert accepted < 8, stats  # the agent's two, and those of redis-cli and of the wait for the port
