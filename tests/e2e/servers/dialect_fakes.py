#!/usr/bin/python3
"""dialect_fakes.py DIALECT PORT: small servers that follow the published protocols of servers which are not packaged here.

Each speaks as its protocol's document says: pusher (Pusher Channels 7), centrifugo (client protocol, JSON), phoenix (Channels, serializer V2),
signalr (JSON hub protocol 1), action-cable (actioncable-v1-json). The channel `secret` is refused, every other one is confirmed and then sent
a message. A client that breaks the protocol is closed with 4000 and what it did, one that answers no keep-alive is closed with 4201.
"""
import asyncio
import json
import sys

import websockets

PATIENCE = 1.0


class Broken(Exception):
    pass


def path_of(socket):
    """The path of the request; websockets 14 and later keep it in the request only."""
    return socket.request.path if hasattr(socket, "request") else socket.path


def must(condition, what):
    if not condition:
        raise Broken(what)


class Server:
    """One connection."""

    subprotocols = None
    ping = pong = None  # what this protocol's server says, and what it wants to hear

    def __init__(self, socket):
        self.socket, self.heard_pong = socket, asyncio.Event()

    async def say(self, value):
        await self.socket.send(self.encode(value))

    def encode(self, value):
        return json.dumps(value, separators=(",", ":"))

    def decode(self, text):
        return [json.loads(text)]

    async def hello(self):
        pass

    async def keep_alive(self):
        while self.ping is not None:
            await asyncio.sleep(0.1)
            self.heard_pong.clear()
            await self.say(self.ping)
            try:
                await asyncio.wait_for(self.heard_pong.wait(), PATIENCE)
            except asyncio.TimeoutError:
                await self.socket.close(4201, "no answer to a ping")

    async def run(self):
        await self.hello()
        pinging = asyncio.ensure_future(self.keep_alive())
        try:
            async for text in self.socket:
                for message in self.decode(text):
                    if self.pong is not None and message == self.pong:
                        self.heard_pong.set()
                    else:
                        await self.take(message)
        except Broken as broken:
            await self.socket.close(4000, str(broken))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            await self.socket.close(4000, repr(error)[:100])
        finally:
            pinging.cancel()


class Pusher(Server):
    ping, pong = {"event": "pusher:ping", "data": {}}, {"event": "pusher:pong", "data": {}}

    async def hello(self):
        must(path_of(self.socket).startswith("/app/key"), "the path has no application key")
        await self.say({"event": "pusher:connection_established", "data": json.dumps({"socket_id": "1.1", "activity_timeout": 30})})

    async def take(self, message):
        must(message["event"] == "pusher:subscribe", "only subscriptions are known here")
        channel = message["data"]["channel"]
        if channel == "secret":
            await self.say({"event": "pusher:error", "data": {"code": 4009, "message": "Connection is unauthorized"}})
            return
        await self.say({"event": "pusher_internal:subscription_succeeded", "channel": channel, "data": "{}"})
        await self.say({"event": "App\\Events\\Sent", "channel": channel, "data": json.dumps({"text": "hello"})})


class Centrifugo(Server):
    ping, pong = {}, {}
    connected = False

    def decode(self, text):
        return [json.loads(line) for line in text.splitlines() if line]

    async def take(self, message):
        must(isinstance(message["id"], int) and message["id"] > 0, "a command without an id")
        if "connect" in message:
            must(not self.connected, "connect twice")
            self.connected = True
            await self.say({"id": message["id"], "connect": {"client": "c", "version": "5.0", "ping": 25, "pong": True}})
            return
        must(self.connected, "subscribe before connect")
        channel = message["subscribe"]["channel"]
        if channel == "secret":
            await self.say({"id": message["id"], "error": {"code": 103, "message": "permission denied"}})
            return
        reply = self.encode({"id": message["id"], "subscribe": {}})
        push = self.encode({"push": {"channel": channel, "pub": {"data": {"text": "hello"}}}})
        await self.socket.send(reply + "\n" + push)


class Phoenix(Server):
    async def hello(self):
        must("vsn=2.0.0" in path_of(self.socket), "the path asks for no serializer")

    async def take(self, message):
        join_ref, ref, topic, event, payload = message
        must(isinstance(payload, dict) and isinstance(ref, str), "not a message of serializer V2")
        status = "error" if topic == "secret" else "ok"
        if topic != "phoenix":
            must(event == "phx_join" and join_ref == ref, "a join repeats its ref")
        await self.say([join_ref, ref, topic, "phx_reply", {"status": status, "response": {}}])
        if status == "ok" and topic != "phoenix":
            await self.say([join_ref, None, topic, "new_msg", {"body": "hello"}])


class SignalR(Server):
    shaken = False
    ping, pong = {"type": 6}, None

    def encode(self, value):
        return json.dumps(value, separators=(",", ":")) + "\x1e"

    def decode(self, text):
        must(text.endswith("\x1e"), "a record that does not end")
        return [json.loads(record) for record in text.split("\x1e")[:-1]]

    async def keep_alive(self):
        while True:
            await asyncio.sleep(0.1)
            if self.shaken:
                await self.say(self.ping)

    async def take(self, message):
        if not self.shaken:
            must(message == {"protocol": "json", "version": 1}, "no handshake")
            await self.say({})
            self.shaken = True
        elif message["type"] == 1:
            must(message["target"] == "Subscribe", "no such hub method")
            channel, = message["arguments"]
            done = {"type": 3, "invocationId": message["invocationId"]}
            if channel == "secret":
                done["error"] = "Failed to invoke 'Subscribe'"
            # Two records in one message.
            await self.socket.send(self.encode(done) + self.encode({"type": 1, "target": "receive", "arguments": ["hello"]}))
        else:
            must(message["type"] in (6, 7), "unknown message")


class ActionCable(Server):
    subprotocols = ["actioncable-v1-json"]
    ping = None

    async def hello(self):
        must(self.socket.subprotocol == "actioncable-v1-json", "no subprotocol")
        await self.say({"type": "welcome"})

    async def keep_alive(self):
        while True:
            await asyncio.sleep(0.1)
            await self.say({"type": "ping", "message": 1700000000})

    async def take(self, message):
        must(message["command"] == "subscribe", "unknown command")
        identifier = message["identifier"]
        refused = json.loads(identifier)["channel"] == "secret"
        await self.say({"identifier": identifier, "type": "reject_subscription" if refused else "confirm_subscription"})
        if not refused:
            await self.say({"identifier": identifier, "message": {"text": "hello"}})


SERVERS = {"pusher": Pusher, "centrifugo": Centrifugo, "phoenix": Phoenix, "signalr": SignalR, "action-cable": ActionCable}


async def main():
    kind = SERVERS[sys.argv[1]]

    async def serve(socket, _path=None):
        try:
            await kind(socket).run()
        except websockets.ConnectionClosed:
            pass

    async with websockets.serve(serve, "127.0.0.1", int(sys.argv[2]), subprotocols=kind.subprotocols):
        await asyncio.Future()


asyncio.run(main())
