"""A certificate and the authority behind it are rotated while the agent runs: it follows without a reload, as it does with tokens."""
import time

from harness import PYTHON, SERVERS, agent, free_port, process, put, until

CONF = """
target: {{ url: "wss://127.0.0.1:{port}/ws", tls: {{ ca_file: '{ca}' }} }}
defaults: {{ interval: 100ms, timeout: 1s, jitter: 0%, fall: 1 }}
liveness: {{ after: 1s }}
checks: [ {{ type: handshake }}, {{ type: ping }}, {{ type: hold, connections: 3 }} ]
"""


def test_a_rotated_authority(tmp_path, certs):
    port, ca = free_port(), tmp_path / "ca.pem"
    old, new = certs.leaf("good"), certs.leaf("rotated", signed=False)
    put(certs.ca, ca)
    with agent(CONF.format(port=port, ca=ca), tmp_path) as child:
        with process(PYTHON, SERVERS / "websockets_echo.py", port, *old, port=port):
            child.wait_ready()
            ca.write_text("-----BEGIN CERTIFICATE-----\nhalf of it")  # a torn read: what was trusted holds
            time.sleep(0.5)
            assert child.ready(), child.check("handshake")
            put(new[0], ca)  # the server has not followed yet: the sentence has the age of what is trusted
            until("the old certificate is refused", lambda: child.check("handshake")["reason"] == "tls_cert_untrusted")
            assert "ca_file (changed " in child.check("handshake")["message"]
        with process(PYTHON, SERVERS / "websockets_echo.py", port, *new, port=port):
            until("the new one is trusted", lambda: child.check("handshake")["state"] == "pass")
            child.wait_ready()
            assert child.get("/live").status == 200
