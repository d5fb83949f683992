"""A WebSocket server that checks JSON Web Tokens (python3-jwt) and Origins, on aiohttp, and an OAuth 2 token endpoint beside it.

guard.py PORT '{"alg": …, "key": …}': what it does is JSON:

    alg, key        how tokens are verified, and the file with the (public) key or secret; without alg nobody needs a token
    audience        wanted in aud
    in              header, query, cookie, subprotocol (the one that is no "chat.v1"), message (the first one: {"token": …})
    refuse          a status, "close" (4401 behind the upgrade), "message" (an error behind the upgrade), "cut" (no answer at all)
    at_exp          close (with `code`), ignore, renew ({"token": …} is answered with {"renewed": true} and moves exp)
    clock_s         the server's clock is so far ahead, in Date and for tokens
    origins         those that are let in; "loose": "prefix" | "host" compares less than it should
    status          of a refused Origin
    client          "id:secret" that /token wants; ttl_s of what it gives; "broken": a status that it answers instead;
                    "opaque": its token is no JWT, and lives for ever
"""
import asyncio
import base64
import json
import sys
import time
import urllib.parse

import jwt
from aiohttp import WSMsgType, web

PORT, CONF = int(sys.argv[1]), json.loads(sys.argv[2])
CLOCK_S = CONF.get("clock_s", 0)
counts = {"taken": 0, "refused": 0, "tokens": 0}


def now():
    return time.time() + CLOCK_S


def verified(token):
    """The claims. jwt.InvalidTokenError: it is refused."""
    with open(CONF["key"], "rb") as file:
        key = file.read()
    if CONF["alg"] == "HS256":
        key = key.rstrip(b"\n")
    claims = jwt.decode(token, key, algorithms=[CONF["alg"]], audience=CONF.get("audience"),
                        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": "audience" in CONF})
    if claims["exp"] <= now():
        raise jwt.ExpiredSignatureError("Signature has expired")
    if claims.get("nbf", 0) > now() or claims.get("iat", 0) > now() + 1:
        raise jwt.ImmatureSignatureError("The token is not yet valid (iat)")
    return claims


def token_of(request):
    place = CONF.get("in", "header")
    if place == "query":
        return request.query.get("t")
    if place == "cookie":
        return request.cookies.get("t")
    if place == "subprotocol":
        offered = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        return next((name for name in offered if name and name != "chat.v1"), None)
    value = request.headers.get("Authorization", "")
    return value[7:] if value.startswith("Bearer ") else None


def origin_is_good(origin):
    origins, loose = CONF.get("origins"), CONF.get("loose")
    if origins is None:
        return True
    if loose == "prefix":
        return origin is not None and any(origin.startswith(good) for good in origins)
    if loose == "host":
        return origin is not None and urllib.parse.urlsplit(origin).hostname in [urllib.parse.urlsplit(good).hostname for good in origins]
    return origin in origins or (origin is None and CONF.get("absent", True))


async def refused(request, why):
    counts["refused"] += 1
    how = CONF.get("refuse", 401)
    if isinstance(how, int):
        return web.Response(status=how, text=why)
    if how == "cut":
        request.transport.close()
        return web.Response(status=500)
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    if how == "message":
        await ws.send_json({"op": "error", "why": why})
        await ws.receive()
    else:
        await asyncio.sleep(0.05)  # it looks the token up
        await ws.close(code=4401, message=why.encode())
    return ws


async def session(ws, claims):
    """Until the client goes, or the token ends."""
    exp = claims["exp"] if claims else None
    at_exp = CONF.get("at_exp", "ignore")
    while True:
        left = None if exp is None or at_exp == "ignore" else max(0.0, exp - now())
        try:
            message = await ws.receive(timeout=left)
        except asyncio.TimeoutError:
            await ws.close(code=CONF.get("code", 4001), message=b"the token has expired")
            return
        if message.type != WSMsgType.TEXT:
            return
        if at_exp == "renew" and message.data.startswith("{"):
            exp = verified(json.loads(message.data)["token"])["exp"]
            await ws.send_json({"renewed": True})
        else:
            await ws.send_str(message.data)


async def handle(request):
    claims, protocols = None, ("chat.v1",)
    origin = request.headers.get("Origin")
    if not origin_is_good(origin):
        counts["refused"] += 1
        return web.Response(status=CONF.get("status", 403), text="the Origin is not allowed")
    by_message = CONF.get("in") == "message"
    if "alg" in CONF and not by_message:
        try:
            claims = verified(token_of(request) or "")
        except (jwt.InvalidTokenError, KeyError, ValueError) as error:
            return await refused(request, f"the token is refused: {error}")
    ws = web.WebSocketResponse(protocols=protocols)
    await ws.prepare(request)
    if by_message:
        try:
            claims = verified(json.loads((await ws.receive()).data).get("token") or "")
            await ws.send_json({"op": "welcome"})
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError) as error:
            counts["refused"] += 1
            await ws.send_json({"op": "error", "why": f"the token is refused: {error}"})
            await ws.close(code=4401)
            return ws
    counts["taken"] += 1
    await session(ws, claims)
    return ws


async def token(request):
    """RFC 6749, 4.4: client credentials."""
    counts["tokens"] += 1
    if "broken" in CONF:
        return web.json_response({"error": "server_error"}, status=CONF["broken"])
    form = await request.post()
    user = base64.b64decode(request.headers.get("Authorization", "Basic ").removeprefix("Basic ")).decode()
    if urllib.parse.unquote_plus(user) != CONF["client"] or form.get("grant_type") != "client_credentials":
        return web.json_response({"error": "invalid_client"}, status=401)
    with open(CONF["key"], "rb") as file:
        key = file.read().rstrip(b"\n")
    ttl_s = CONF.get("ttl_s", 60)
    claims = {"sub": "probe", "iat": int(time.time()), "exp": int(time.time()) + ttl_s}
    if CONF.get("opaque"):
        return web.json_response({"access_token": "no-jwt", "token_type": "Bearer", "expires_in": 2**63 - 1})
    return web.json_response({"access_token": jwt.encode(claims, key, algorithm="HS256"), "token_type": "Bearer", "expires_in": ttl_s})


async def dated(request, response):
    response.headers["Date"] = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now()))


async def counted(request):
    return web.json_response(counts)


app = web.Application()
app.on_response_prepare.append(dated)
app.add_routes([web.get("/ws", handle), web.post("/token", token), web.get("/counts", counted)])
web.run_app(app, host="127.0.0.1", port=PORT, print=None)
