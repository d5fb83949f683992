"""prober.py PORT: asks /ready, /live and /healthz in turn every 100 ms, each over a fresh connection, as a kubelet does.

For each line that it reads it prints what has come since the one before, as JSON: {"200": 12, "worst_ms": 3.1}. A probe that is not
answered within ten seconds counts under the name of its error.
"""
import json
import select
import socket
import sys
import time

PATHS = ("/ready", "/live", "/healthz")


def probe(port, path):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: kube-probe/1.30\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while b"\r\n" not in answer:
            piece = sock.recv(4096)
            if not piece:
                return "closed"
            answer += piece
        return answer.split()[1].decode()


def main():
    port, seen, worst, due = int(sys.argv[1]), {}, 0.0, time.monotonic()
    for turn in range(1 << 30):
        while select.select([sys.stdin], [], [], max(0, due - time.monotonic()))[0]:
            if not sys.stdin.readline():
                return
            print(json.dumps({**seen, "worst_ms": round(worst * 1e3, 1)}), flush=True)
            seen, worst = {}, 0.0
        due = max(due + 0.1, time.monotonic())
        begun = time.monotonic()
        try:
            status = probe(port, PATHS[turn % len(PATHS)])
        except OSError as error:
            status = type(error).__name__
        worst = max(worst, time.monotonic() - begun)
        seen[status] = seen.get(status, 0) + 1


main()
