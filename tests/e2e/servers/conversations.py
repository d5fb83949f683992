#!/usr/bin/python3
"""conversations.py PORT: servers with a conversation of their own, on Debian's python3-websockets, one for each path.

/obs       OBS Studio's WebSocket 5 (its docs/generated/protocol.md): Hello with a challenge, Identify with the response, requests
/hass      Home Assistant: auth_required, auth, auth_ok or auth_invalid, then commands with growing ids
/rpc       JSON-RPC 2.0 subscriptions as of Ethereum nodes: the notifications carry the subscription's id
/exchange  a login signed with HMAC-SHA256, hex or base64, over a fresh timestamp
/silent    says nothing          /chatty  greets, and answers everything with prices          /leaves  closes with 4001 when greeted
Everything is verified here in Python; the secret is `open-sesame-42`.
"""
import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import sys
import time

import websockets

PASSWORD = "open-sesame-42"


def digest(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


async def obs(connection):
    salt, challenge = secrets.token_urlsafe(24), base64.b64encode(secrets.token_bytes(32)).decode()
    await connection.send(json.dumps({"op": 0, "d": {"obsWebSocketVersion": "5.5.2", "rpcVersion": 1,
                                                     "authentication": {"challenge": challenge, "salt": salt}}}))
    identify = json.loads(await connection.recv())
    if identify["op"] != 1:
        await connection.close(4007, "You attempted to send a message before identifying.")
        return
    if identify["d"].get("authentication") != digest(digest(PASSWORD + salt) + challenge):
        await connection.close(4009, "Authentication failed.")
        return
    await connection.send(json.dumps({"op": 5, "d": {"eventType": "SceneListChanged", "eventIntent": 4, "eventData": {}}}))
    await connection.send(json.dumps({"op": 2, "d": {"negotiatedRpcVersion": identify["d"]["rpcVersion"]}}))
    async for text in connection:
        request = json.loads(text)["d"]
        await connection.send(json.dumps({"op": 7, "d": {"requestType": request["requestType"], "requestId": request["requestId"],
                                                         "requestStatus": {"result": True, "code": 100}, "responseData": {"cpuUsage": 1.5}}}))


async def hass(connection):
    await connection.send(json.dumps({"type": "auth_required", "ha_version": "2026.11.0"}))
    auth = json.loads(await connection.recv())
    if auth.get("type") != "auth" or auth.get("access_token") != PASSWORD:
        await connection.send(json.dumps({"type": "auth_invalid", "message": "Invalid access token or password"}))
        return
    await connection.send(json.dumps({"type": "auth_ok", "ha_version": "2026.11.0"}))
    last = 0
    async for text in connection:
        command = json.loads(text)
        if command["id"] <= last:
            answer = {"type": "result", "success": False, "error": {"code": "id_reuse"}}
        else:
            answer = {"type": "pong"} if command["type"] == "ping" else {"type": "result", "success": True, "result": None}
        last = command["id"]
        await connection.send(json.dumps({"id": command["id"], **answer}))


async def rpc(connection):
    subscriptions = set()

    async def notify():
        while True:
            for subscription in sorted(subscriptions):
                await connection.send(json.dumps({"jsonrpc": "2.0", "method": "eth_subscription",
                                                  "params": {"subscription": subscription, "result": {"number": "0x1b4"}}}))
            await asyncio.sleep(0.02)

    other = "0x" + secrets.token_hex(16)
    subscriptions.add(other)  # somebody else's: a client must look for its own
    task = asyncio.ensure_future(notify())
    try:
        async for text in connection:
            request = json.loads(text)
            if request["method"] == "eth_subscribe" and request["params"] == ["newHeads"]:
                result = {"result": "0x" + secrets.token_hex(16)}
                subscriptions.add(result["result"])
            elif request["method"] == "eth_unsubscribe":
                result = {"result": request["params"][0] in subscriptions - {other}}
                subscriptions -= set(request["params"]) - {other}
            else:
                result = {"error": {"code": -32601, "message": f"the method {request['method']} does not exist"}}
            await connection.send(json.dumps({"jsonrpc": "2.0", "id": request["id"], **result}))
    finally:
        task.cancel()


async def exchange(connection):
    async for text in connection:
        login = json.loads(text)
        mac = hmac.new(PASSWORD.encode(), f"{login['timestamp']}GET/realtime".encode(), hashlib.sha256)
        fresh = abs(time.time() - int(login["timestamp"])) < 60
        good = login["sign"] in (mac.hexdigest(), base64.b64encode(mac.digest()).decode())
        refusal = {"event": "error", "code": 60007, "sign": login["sign"]}
        await connection.send(json.dumps({"event": "login", "success": True} if good and fresh else refusal))


async def chatty(connection):
    await connection.send(json.dumps({"hello": "there", "salt": "pepper"}))
    async for _ in connection:
        for price in range(3):
            await connection.send(json.dumps({"price": price}))


async def leaves(connection):
    await connection.send("welcome")
    await connection.recv()
    await connection.close(4001, "bye then")


async def serve(connection):
    path = connection.path if hasattr(connection, "path") else connection.request.path  # before and from websockets 13 on
    if path == "/silent":
        await connection.wait_closed()
    else:
        await {"/obs": obs, "/hass": hass, "/rpc": rpc, "/exchange": exchange, "/chatty": chatty, "/leaves": leaves}[path](connection)


async def main(port):
    async with websockets.serve(serve, "127.0.0.1", port, subprotocols=["obswebsocket.json"], ping_interval=None):
        await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
