"""`wshealthd demo` as a user has it: faults are typed, the health port is asked."""
import http.client
import re
import subprocess

from harness import PATIENCE, Process, until


class Demo:
    def __init__(self, binary, *args, env=None):
        self.child = Process([binary, "demo", *args], stdin=subprocess.PIPE, **({"env": env} if env else {}))
        self.port = int(until("it says where", lambda: self.alive() and re.search(r"agent\s+http://127\.0\.0\.1:(\d+)", self.child.out()))[1])

    def alive(self):
        assert self.child.running(), self.child.err() + self.child.out()
        return True

    def type(self, line):
        self.child.child.stdin.write(line.encode() + b"\n")
        self.child.child.stdin.flush()

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def cleanup(self):
        self.child.child.stdin.close()
        self.child.cleanup()
