"""each_address: a name with several addresses, of which some fail."""
import contextlib
import os
import subprocess

import pytest

from harness import PYTHON, SERVERS, agent, process, until, wshealthd
from network import own_network

pytest.importorskip("websockets", reason="python3-websockets is missing")

SECONDS, PORT = 40, 7443
CONF = """
target: {{ url: "wss://one.test:7443/", public_url: "wss://many.test:7443/", tls: {{ ca_file: {ca} }} }}
readiness: {{ shared_faults: fail }}
defaults: {{ interval: 200ms, fast_interval: 200ms, timeout: 5s, jitter: 0% }}
checks:
  - {{ name: local, type: handshake }}
  - {{ name: handshake, type: handshake, path: public, each_address: true }}
  - {{ name: ping, type: ping, path: public, each_address: true }}
  - {{ name: echo, type: echo, path: public, each_address: true }}
  - {{ name: tls, type: tls, path: public, each_address: true, warn_before: 1d, fail_before: 1d }}
  - {{ name: tcp, type: tcp, path: public, each_address: true }}
"""


@pytest.fixture
def names(tool, tmp_path):
    """names.point(ADDRESS...): what many.test is; names.prefix: for a command that sees it so."""
    unshare, ip = tool("unshare"), tool("ip")
    hosts = tmp_path / "hosts"

    class Names:
        prefix = (unshare, "-m", "sh", "-c", f"mount --bind {hosts} /etc/hosts || exit 77; exec \"$0\" \"$@\"")

        @staticmethod
        def point(*addresses):
            hosts.write_text("127.0.0.1 localhost\n127.0.0.2 one.test\n" + "".join(f"{one} many.test\n" for one in addresses))

    Names.point("127.0.0.2")
    if os.geteuid() != 0:
        pytest.skip("a mount namespace needs root")
    if subprocess.run([*Names.prefix, "true"], check=False, timeout=20, capture_output=True).returncode:
        pytest.skip("this machine does not let a test mount files of its own")
    with own_network(ip):
        yield Names


def at(address, pair):
    return process(PYTHON, SERVERS / "websockets_at.py", address, PORT, *pair, ready=lambda child: "ready" in child.out())


def test_one_of_three_addresses_is_stale(names, certs, tmp_path):
    """Its certificate has expired: each check names it, though the others pass; and however strict readiness is, the instance stays in."""
    good, expired = certs.leaf("many", names="DNS:many.test,DNS:one.test"), certs.leaf("old", start=-30, end=-1, names="DNS:many.test")
    names.point("127.0.0.2", "127.0.0.3", "::1")
    with contextlib.ExitStack() as stack:
        for address, pair in (("127.0.0.2", good), ("127.0.0.3", expired), ("::1", good)):
            stack.enter_context(at(address, pair))
        watch = stack.enter_context(agent(CONF.format(ca=certs.ca), tmp_path, prefix=names.prefix))
        watch.wait_ready(SECONDS)
        for name in ("handshake", "ping", "echo", "tls"):
            row = until(f"{name} warns", lambda name=name: watch.check(name)["state"] == "warn" and watch.check(name), SECONDS)
            assert row["reason"] == "tls_cert_expired", row
            assert row["message"].startswith("1 of 3 addresses fails: 127.0.0.3: "), row
        row = until("tcp passes", lambda: watch.check("tcp")["state"] == "pass" and watch.check("tcp"), SECONDS)
        assert row["message"].startswith("all 3 addresses pass; "), row
        found = watch.status()["diagnosis"]
        assert found["cause"] == "one_instance_stale" and "127.0.0.3" in found["sentence"], found
        answer = watch.get("/ready")
        assert answer.status == 200 and answer.headers["x-envoy-degraded"] == "true", (answer.status, answer.body)
        names.point("127.0.0.2", "::1")  # it has been taken out of the name's records
        until("all is well", lambda: watch.status()["diagnosis"]["cause"] == "healthy", SECONDS)
        assert watch.check("ping")["message"].startswith("all 2 addresses pass; ")
        names.point("127.0.0.8", "127.0.0.9")  # nobody listens on any
        watch.wait_not_ready(SECONDS)
        row = until("handshake fails", lambda: watch.check("handshake")["state"] == "fail" and watch.check("handshake"), SECONDS)
        assert row["message"].startswith("all 2 addresses fail: "), row
        names.point("127.0.0.2")  # a name with one address is as without the option
        watch.wait_ready(SECONDS)
        until("one is one", lambda: watch.check("tls")["message"].startswith("the certificate expires "), SECONDS)
        until("without a remark", lambda: not watch.check("ping")["message"], SECONDS)


REFUSED = [
    ("{ type: hold, each_address: true }", "not for hold"),
    ("{ type: delivery, each_address: true, channel: a, broker: bus }", "not for delivery"),
    ("{ type: ping, each_address: true, http: both }", "with http: both a round is done twice already"),
    ("{ type: ping, each_address: true, share_connection: true }", "share_connection means one connection"),
    ('{ type: tcp, each_address: true, address: "db.test:5432" }', "an address of its own"),
    ('{ type: http, each_address: true, url: "http://other.test/" }', "an address of its own"),
]


@pytest.mark.parametrize("row, words", REFUSED)
def test_what_has_no_addresses_to_try(tmp_path, row, words):
    file = tmp_path / "c.yaml"
    file.write_text(f'target: {{ url: "ws://chat.test/", dialect: socket.io }}\nbrokers: [ {{ name: bus, type: redis, url: "redis://127.0.0.1" }} ]\n'
                    f"checks:\n  - {row}\n")
    code, _, err = wshealthd("config", "check", str(file))
    assert code != 0 and words in err and "each_address" in err, (code, err)
