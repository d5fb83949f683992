#!/usr/bin/python3
"""crowd.py URL CLIENTS TOKEN ORIGIN: so many clients that come, talk and go at random, for calm.py. Needs aiohttp. Ends with its parent's signal."""
import asyncio
import contextlib
import random
import sys

import aiohttp

URL, CLIENTS = sys.argv[1], int(sys.argv[2])
HEADERS = {"Authorization": f"Bearer {sys.argv[3]}", "Origin": sys.argv[4]}


async def read_for(client, seconds):
    with contextlib.suppress(asyncio.TimeoutError):
        async with asyncio.timeout(seconds) if hasattr(asyncio, "timeout") else aiohttp.client.async_timeout.timeout(seconds):
            while not client.closed:
                await client.receive()


async def visit(session):
    async with session.ws_connect(URL, headers=HEADERS, max_msg_size=0) as client:
        for _ in range(random.randint(1, 40)):
            await client.send_str("x" * random.randint(1, 20000))
            await read_for(client, random.random() * 2)
        if random.random() < 0.3:  # as tabs that are closed do
            client._response.connection.transport.abort()


async def client(session):
    while True:
        with contextlib.suppress(aiohttp.ClientError, OSError, AttributeError, asyncio.TimeoutError):
            await visit(session)
        await asyncio.sleep(random.random() * 3)


async def main():
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))


asyncio.run(main())
