"""knock.py ADDRESS: a new client of the chat at ADDRESS (host:port) every 50 ms, until its standard input ends: connects, upgrades, is greeted, leaves.

Prints how many were greeted, and why others were not, as JSON: {"greeted": 200, "failed": ["ConnectionRefusedError: ..."]}.
"""
import json
import select
import socket
import sys
import time

HOST, PORT = sys.argv[1].rsplit(":", 1)
REQUEST = (f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n").encode()


def knock():
    with socket.create_connection((HOST, int(PORT)), timeout=5) as client:
        client.sendall(REQUEST)
        answer = b""
        while b'{"sid"' not in answer:
            piece = client.recv(4096)
            assert piece, f"closed behind {answer[:60]!r}"
            answer += piece


greeted, failed = 0, []
while not select.select([sys.stdin], [], [], 0.05)[0]:
    begun = time.monotonic()
    try:
        knock()
        greeted += 1
    except (OSError, AssertionError) as error:
        failed.append(f"{type(error).__name__}: {error} after {time.monotonic() - begun:.1f} s")
print(json.dumps({"greeted": greeted, "failed": failed}))
