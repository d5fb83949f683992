"""A server whose every connection is a function of one blocking socket, in threads of the test's own: for endpoints that break every rule
(token endpoints, metrics pages) and the WebSocket servers beside them. The floods of hostile.py have a process of their own."""
import contextlib
import socket
import threading

from hostile import Frames, head, request, request_head
from peer import CLOSE, PING, PONG, TEXT, close, frame


class Rogue:
    """serve(sock, rogue) is called for each connection; it may raise what sockets raise. `count` of them have come."""

    def __init__(self, serve, tls=None):
        self.serve, self.tls, self.count, self.heads, self.lock = serve, tls, 0, [], threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                sock = self.listener.accept()[0]
            except OSError:
                return
            with self.lock:
                self.count += 1
            threading.Thread(target=self.work, args=(sock,), daemon=True).start()

    def work(self, sock):
        try:
            sock.settimeout(60)
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            self.serve(sock, self)
        except (OSError, ValueError):
            pass
        finally:
            sock.close()

    def request(self, sock):
        """Reads a request's head, and keeps it as text."""
        text = request_head(sock)
        with self.lock:
            self.heads.append(text)
        return self.heads[-1]

    def end(self):
        self.listener.close()


@contextlib.contextmanager
def rogue(serve, tls=None):
    server = Rogue(serve, tls)
    try:
        yield server
    finally:
        server.end()


def answer(body, status="200 OK", *headers):
    body = body if isinstance(body, bytes) else body.encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def polite(sock, on_text=None, greeting=None):
    """The WebSocket of a good server: pongs, close; each text goes to on_text(sock, data), or back."""
    sock.sendall(head(request(sock)))
    if greeting is not None:
        sock.sendall(frame(TEXT, greeting))
    frames = Frames(sock)
    while True:
        opcode, data = frames.next()
        if opcode == PING:
            sock.sendall(frame(PONG, data))
        elif opcode == CLOSE:
            sock.sendall(close(1000))
            return
        elif on_text:
            on_text(sock, data)
        else:
            sock.sendall(frame(opcode, data))
