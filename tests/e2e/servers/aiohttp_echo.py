#!/usr/bin/python3
"""aiohttp_echo.py PORT: Debian's python3-aiohttp with /ws (echo), /health, /private (401 without a token) and /chat (a subprotocol)."""
import sys

import aiohttp
from aiohttp import web


async def echo(request, **options):
    socket = web.WebSocketResponse(**options)
    await socket.prepare(request)
    async for message in socket:
        if message.type == aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type == aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


async def private(request):
    if request.headers.get("Authorization") != "Bearer open-sesame-42":
        raise web.HTTPUnauthorized(text="no token")
    return await echo(request)


async def chat(request):
    return await echo(request, protocols=("chat.v2", "chat.v1"))


async def health(_request):
    return web.json_response({"status": "healthy"})


application = web.Application()
application.add_routes([web.get("/ws", echo), web.get("/private", private), web.get("/chat", chat), web.get("/health", health)])
web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), print=None)
