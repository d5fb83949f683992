#!/usr/bin/python3
"""event_readers.py PORT COUNT PATH: so many readers of a stream of events, who read all that comes. Prints a line when all are there."""
import select
import socket
import sys


def main():
    port, count, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    socks, poll = {}, select.epoll()
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        socks[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)
    waiting = set(socks)
    while True:
        for fd, _ in poll.poll():
            if not socks[fd].recv(1 << 20):
                sys.exit("a stream has ended")
            if waiting:
                waiting.discard(fd)
                if not waiting:
                    print("all read", flush=True)


main()
