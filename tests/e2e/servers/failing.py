#!/usr/bin/python3
"""failing.py PORT [BACKLOG]: python3-websockets, echoing, with the faults that servers have. Commands on stdin, one a line: `leak MIB` keeps so
much memory; `broadcast MIB` sends so much to every connection without waiting for those that do not read. SIGTERM is a deploy: goodbye with 1001."""
import asyncio
import os
import signal
import sys

import websockets

clients, kept, tasks = set(), [], []


async def echo(connection, path=None):
    clients.add(connection)
    try:
        async for message in connection:
            await connection.send(message)
    except websockets.ConnectionClosed:
        pass
    finally:
        clients.discard(connection)


async def command(line):
    """A MiB at a time, with the loop free in between: the server goes on to answer."""
    word, mib = line.split()
    block = os.urandom(1 << 20)
    for _ in range(int(mib)):
        if word == "leak":
            kept.append(bytearray(block))
        elif word == "broadcast":
            websockets.broadcast(clients, block)
        await asyncio.sleep(0.002)


async def main(port, backlog):
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, lambda: tasks.append(loop.create_task(command(sys.stdin.readline()))))
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    async with websockets.serve(echo, "127.0.0.1", port, backlog=backlog, ping_interval=None, compression=None):
        await stop.wait()


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 512))
