#!/usr/bin/python3
"""A server whose capacity is watched. `capacity.py HOST PORT|PATH [BACKLOG]`: accepts connections and keeps those that do not say `bye`.
Commands on stdin, one a line, each answered by a line: `drop N` closes N connections, `leak MIB`, `files N` opens so many, `spin` burns CPU for
ever, `connect PORT` opens a connection of its own, `disconnect` closes it, `write BYTES` writes into that without waiting, `unread` stops reading
from it, `deaf` stops listening and keeps the connections. HOST `fork` listens twice (SO_REUSEPORT), `share` once on a port that others may share,
`both` at 127.0.0.1 and ::1."""
import asyncio
import os
import socket
import stat
import sys

clients, kept, files, own, listening = [], [], [], [], []


class Keep(asyncio.Protocol):
    def connection_made(self, transport):
        clients.append(transport)

    def data_received(self, data):
        if data == b"bye":
            [one for one in clients if one.get_protocol() is self][0].close()

    def connection_lost(self, exc):
        for transport in [one for one in clients if one.is_closing()]:
            clients.remove(transport)


async def command(word, argument):
    if word == "drop":
        for transport in clients[:int(argument)]:
            transport.close()
    elif word == "leak":
        kept.append(bytearray(os.urandom(1 << 20) * int(argument)))
    elif word == "files":
        files.extend(os.open("/dev/null", os.O_RDONLY) for _ in range(int(argument)))
    elif word == "spin":
        print("spinning", flush=True)
        while True:
            pass
    elif word == "connect":
        own.append(await asyncio.open_connection("127.0.0.1", int(argument)))
    elif word == "disconnect":
        own.pop()[1].close()
    elif word == "write":
        own[-1][1].write(b"x" * int(argument))
    elif word == "deaf":
        for one in listening:
            one.close()
    elif word == "unread":
        own[-1][1].transport.pause_reading()


def sockets(host, where, backlog):
    if not where.isdigit():
        one = socket.socket(socket.AF_UNIX)
        one.bind(where)
        one.listen(backlog)
        return [one]
    many = []
    shared = host in ("fork", "share")
    for name in {"fork": ["127.0.0.1"] * 2, "share": ["127.0.0.1"], "both": ["127.0.0.1", "::1"]}.get(host, [host]):
        one = socket.socket(socket.AF_INET6 if ":" in name else socket.AF_INET)
        if ":" in name:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, name != "::")
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        one.bind((name, int(where)))
        one.listen(backlog)
        many.append(one)
    return many


async def main(host, where, backlog="512"):
    loop = asyncio.get_running_loop()
    for one in sockets(host, where, int(backlog)):
        make = loop.create_unix_server if one.family == socket.AF_UNIX else loop.create_server
        listening.append(await make(Keep, sock=one, backlog=int(backlog)))
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        await asyncio.Event().wait()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("ready", flush=True)
    while line := await reader.readline():
        word, _, argument = line.decode().strip().partition(" ")
        await command(word, argument)
        print("done", word, flush=True)


asyncio.run(main(*sys.argv[1:]))
