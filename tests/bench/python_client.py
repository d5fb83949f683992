#!/usr/bin/python3
"""python_client.py PORT COUNT: a resident client on python3-websockets making the same exchange. Prints processor time of one in ns."""
import asyncio
import sys
import time

import websockets


async def exchange(url):
    async with websockets.connect(url, compression=None) as connection:
        await connection.send("reference")
        assert await connection.recv() == "reference"


async def main(port, count):
    url = f"ws://127.0.0.1:{port}/ws"
    for _ in range(20):
        await exchange(url)
    start = time.process_time_ns()
    for _ in range(count):
        await exchange(url)
    print((time.process_time_ns() - start) // count)


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
