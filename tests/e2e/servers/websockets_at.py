#!/usr/bin/python3
"""websockets_at.py ADDRESS PORT [CERT KEY]: python3-websockets, echoing, at that address; with a certificate, over TLS."""
import asyncio
import ssl
import sys

import websockets


async def echo(connection, path=None):
    async for message in connection:
        await connection.send(message)


async def main(address, port, *pair):
    context = None
    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
    async with websockets.serve(echo, address, int(port), ssl=context, ping_interval=None, compression=None):
        print("ready", flush=True)
        await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
