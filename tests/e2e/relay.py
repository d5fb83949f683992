"""A TCP relay of the tests' own, in threads of the test's process: what goes through can be delayed, or held back without a word."""
import contextlib
import socket
import threading
import time

CHUNK = 65536


class Relay:
    """Listens on 127.0.0.1, passes on to 127.0.0.1:port. Every chunk waits `delay` seconds, each way; while `holding` nothing moves.
    before(n) is called before the n-th connection, from 1, goes on to the server."""

    def __init__(self, port, before=None):
        self.target, self.delay, self.holding, self.closed, self.before, self.accepted = port, 0.0, False, False, before, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets, self.lock = [], threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                self.accepted += 1
                if self.before:
                    self.before(self.accepted)
                try:
                    far = socket.create_connection(("127.0.0.1", self.target), 5)
                except OSError:
                    near.close()
                    continue
                far.settimeout(None)
                with self.lock:
                    self.sockets += [near, far]
                for here, there in ((near, far), (far, near)):
                    here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=self.pass_on, args=(here, there), daemon=True).start()

    def pass_on(self, here, there):
        with contextlib.suppress(OSError):
            while data := here.recv(CHUNK):
                time.sleep(self.delay)
                while self.holding and not self.closed:
                    time.sleep(0.01)
                there.sendall(data)
        for sock in (here, there):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.closed = True
        with self.lock:
            for sock in (self.listener, *self.sockets):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()


@contextlib.contextmanager
def relay(port, before=None):
    child = Relay(port, before)
    try:
        yield child
    finally:
        child.close()
