#!/usr/bin/python3
"""chat.py PORT REDIS_PORT [TOKEN ORIGIN]: a chat server on Redis pub/sub whose faults are switched by GET /fault/NAME, for soak.py and calm.py.

It is busy while it is well: messages that nobody asked for on each connection, and pauses of its event loop of up to 100 ms, as a garbage
collector makes them. Needs aiohttp. GET /fault/cut aborts each connection once.
"""
import asyncio
import contextlib
import json
import pathlib
import random
import sys
import time

from aiohttp import WSMsgType, web

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e/servers"))
from resp import read_reply  # noqa: E402

PORT, REDIS_PORT = int(sys.argv[1]), int(sys.argv[2])
GUARD = {"Authorization": f"Bearer {sys.argv[3]}", "Origin": sys.argv[4]} if len(sys.argv) > 4 else {}  # what a client must bring
FAULTS = ("well", "refuse", "unauthorized", "limited", "hang_upgrade", "close_new", "silent", "no_pong", "slow_echo", "wrong_echo", "no_subscribe", "detached")


class Chat:
    def __init__(self):
        self.fault, self.clients, self.channels, self.tasks = "well", set(), {}, []

    async def chatter(self, client):
        """Messages that no check has asked for."""
        while not client.closed:
            await asyncio.sleep(random.random() * 0.5)
            if self.fault != "silent":
                with contextlib.suppress(ConnectionError, RuntimeError):
                    await client.send_str(json.dumps({"op": "price", "pad": "x" * random.randint(0, 3000)}))

    async def answer(self, client, text):
        try:
            said = json.loads(text)
        except ValueError:
            said = None
        if isinstance(said, dict) and said.get("op") == "sub":
            if self.fault != "no_subscribe":
                self.channels.setdefault(said["ch"], set()).add(client)
                await client.send_json({"op": "subscribed", "ch": said["ch"]})
            return
        if self.fault == "slow_echo":
            await asyncio.sleep(1.5)
        await client.send_str("nonsense" if self.fault == "wrong_echo" else text)

    async def refusal(self):
        if self.fault == "hang_upgrade":
            await asyncio.sleep(30)
        status = {"refuse": 503, "unauthorized": 401, "limited": 429, "hang_upgrade": 500}.get(self.fault)
        return web.Response(status=status, text="not now") if status else None

    async def serve(self, request):
        if any(request.headers.get(name) != value for name, value in GUARD.items()):
            return web.Response(status=403, text="who are you?")
        refusal = await self.refusal()
        if refusal is not None:  # a Response without state is false
            return refusal
        client = web.WebSocketResponse(autoping=False)
        await client.prepare(request)
        if self.fault == "close_new":
            await client.close(code=1011)
            return client
        self.clients.add(client)
        client.transport_of_request = request.transport
        chatter = asyncio.create_task(self.chatter(client))
        try:
            async for message in client:
                if self.fault == "silent":
                    continue
                if message.type == WSMsgType.PING and self.fault != "no_pong":
                    await client.pong(message.data)
                elif message.type == WSMsgType.TEXT:
                    await self.answer(client, message.data)
                elif message.type == WSMsgType.BINARY:
                    await client.send_bytes(message.data)
        except (ConnectionError, RuntimeError):
            pass
        finally:
            chatter.cancel()
            self.clients.discard(client)
            for members in self.channels.values():
                members.discard(client)
        return client

    async def control(self, request):
        name = request.match_info["name"]
        if name == "cut":
            for client in list(self.clients):
                if client.transport_of_request:
                    client.transport_of_request.abort()
        elif name in FAULTS:
            self.fault = name
        else:
            return web.Response(status=404, text="no such fault")
        return web.Response(text=self.fault)

    async def pass_on(self):
        """Redis to the clients; comes back by itself, as a good server does."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError, TimeoutError, asyncio.TimeoutError):
                reader, writer = await asyncio.open_connection("127.0.0.1", REDIS_PORT)
                try:
                    writer.write(b"PSUBSCRIBE chat:*\r\n")
                    while True:
                        reply = await read_reply(reader)
                        if isinstance(reply, list) and reply[0] == b"pmessage" and self.fault not in ("detached", "silent"):
                            await self.deliver(reply[2].decode()[5:], reply[3].decode(errors="replace"))
                finally:
                    writer.close()
            await asyncio.sleep(0.1)

    async def deliver(self, channel, text):
        for client in list(self.channels.get(channel, ())):
            with contextlib.suppress(ConnectionError, RuntimeError):
                await client.send_json({"op": "msg", "ch": channel, "data": text})

    @staticmethod
    async def pauses():
        while True:
            await asyncio.sleep(0.5 + random.random())
            time.sleep(random.random() * 0.1)

    async def start(self, _app):
        self.tasks = [asyncio.create_task(self.pass_on()), asyncio.create_task(self.pauses())]


def main():
    chat, app = Chat(), web.Application()
    app.add_routes([web.get("/ws", chat.serve), web.get("/fault/{name}", chat.control)])
    app.on_startup.append(chat.start)
    web.run_app(app, host="127.0.0.1", port=PORT, print=None, backlog=512)


main()
