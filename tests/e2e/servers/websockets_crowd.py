#!/usr/bin/python3
"""websockets_crowd.py PORT: Debian's python3-websockets for crowds. ACCEPT_MS: each handshake waits so long, one after another. MOST: it has so
many connections at once and answers others with 503. MOST_POLICY=1: with 429."""
import asyncio
import http
import os
import sys

ACCEPT_S = int(os.environ.get("ACCEPT_MS", 0)) / 1000
MOST = int(os.environ.get("MOST", 0))
STATUS = http.HTTPStatus(429 if os.environ.get("MOST_POLICY") else 503)
gate = asyncio.Lock()
taken = 0


async def process_request(*_arguments):
    global taken
    async with gate:
        await asyncio.sleep(ACCEPT_S)
    if MOST and taken >= MOST:
        return STATUS, [], b""
    taken += 1
    return None


async def handler(connection, _path=None):
    global taken
    try:
        async for message in connection:
            await connection.send(message)
    finally:
        taken -= 1


async def main(port):
    try:
        from websockets.legacy.server import serve
    except ImportError:
        from websockets import serve
    async with serve(handler, "127.0.0.1", port, process_request=process_request):
        await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
