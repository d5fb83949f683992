#!/usr/bin/python3
"""websockets_echo.py PORT [CERT KEY]: Debian's python3-websockets, echoing. It compresses where the client offers it,
and takes messages of at most MAX_BYTES."""
import asyncio
import os
import ssl
import sys

import websockets


async def echo(connection, _path=None):
    async for message in connection:
        await connection.send(message)


async def main(port, *pair):
    context = None
    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
    async with websockets.serve(echo, "127.0.0.1", port, ssl=context, ping_interval=0.2,
                                max_size=int(os.environ.get("MAX_BYTES", 1 << 20))):
        await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
