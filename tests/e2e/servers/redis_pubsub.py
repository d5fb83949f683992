#!/usr/bin/python3
"""redis_pubsub.py PORT REDIS_PORT [--forgetful] [--one-session] [--deaf FILE]: passes on what is published on any channel of a Redis to all WebSocket clients, as
JSON.

When its connection to Redis is lost it comes back and subscribes anew; --forgetful, it goes on as if nothing had happened.
--one-session: a new client ends the older ones with 4001, and a line says so.
Clients may ask with {"op":"sub"}, and get it confirmed; --deaf, not as long as FILE is there.
Needs no Redis module: what it has to know of RESP are arrays of bulk strings.
"""
import asyncio
import json
import pathlib
import sys

import websockets
from resp import command, read_reply

CLIENTS = set()
ONE_SESSION = "--one-session" in sys.argv
DEAF = pathlib.Path(sys.argv[sys.argv.index("--deaf") + 1]) if "--deaf" in sys.argv else None


async def pass_on(redis_port):
    reader, writer = await asyncio.open_connection("127.0.0.1", redis_port)
    try:
        writer.write(command(b"CLIENT", b"SETNAME", b"the-server") + command(b"PSUBSCRIBE", b"*"))
        while True:
            reply = await read_reply(reader)
            if isinstance(reply, list) and reply[0] == b"pmessage":
                text = json.dumps({"channel": reply[2].decode(), "data": reply[3].decode(errors="replace")})
                websockets.broadcast(CLIENTS, text)
    finally:
        writer.close()


async def stay_subscribed(redis_port, forgetful):
    while True:
        try:
            await pass_on(redis_port)
        except (OSError, asyncio.IncompleteReadError):
            if forgetful:
                return
        await asyncio.sleep(0.05)


async def serve(connection, _path=None):
    if ONE_SESSION:
        # Its handler may be a moment behind a client that has said goodbye and closed: such a session is over.
        for older in [client for client in CLIENTS if client.state.name == "OPEN"]:
            print("kicked", flush=True)
            await older.close(4001, "logged in elsewhere")
    CLIENTS.add(connection)
    try:
        async for message in connection:
            if '"sub"' in message and not (DEAF and DEAF.exists()):
                await connection.send(json.dumps({"op": "subscribed"}))
    except websockets.ConnectionClosed:
        pass
    finally:
        CLIENTS.discard(connection)


async def main(port, redis_port, forgetful):
    subscriber = asyncio.create_task(stay_subscribed(redis_port, forgetful))
    async with websockets.serve(serve, "127.0.0.1", port):
        await asyncio.Event().wait()
    await subscriber


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), "--forgetful" in sys.argv[3:]))
