"""client.py ADDRESS COUNT ROOM: so many Socket.IO clients of the chat at ADDRESS (host:port), in one room, which stay until they are told or cut.

Prints a JSON line for each thing that happens: {"event": "joined"}, {"event": "said", "text": ...}, {"event": "cut", "after": seconds, "code": ...},
{"event": "refused", "why": ...}; each with the client's number `n`. Reads lines: `say TEXT` (the first client says it), `leave` (all close).
"""
import asyncio
import json
import sys
import time

import websockets


def tell(event, n, **more):
    print(json.dumps({"event": event, "n": n, **more}), flush=True)


async def one(n, address, room, leaving, sayings):
    begun = time.monotonic()
    try:
        socket = await websockets.connect(f"ws://{address}/socket.io/?EIO=4&transport=websocket", ping_interval=None)
    except (OSError, websockets.WebSocketException) as error:
        tell("refused", n, why=str(error))
        return

    async def talk():
        async for text in socket:
            if text[0] == "0":
                await socket.send("40")
            elif text.startswith("40"):
                await socket.send("421" + json.dumps(["join", room]))
            elif text.startswith("431"):
                tell("joined", n)
            elif text == "2":
                await socket.send("3")
            elif text.startswith("42"):
                event, *data = json.loads(text[2:])
                if event == "said":
                    tell("said", n, text=data[0])

    async def say():
        while True:
            await socket.send("42" + json.dumps(["say", room, await sayings.get()]))

    speaker = asyncio.ensure_future(say()) if n == 0 else None
    talker, left = asyncio.ensure_future(talk()), asyncio.ensure_future(leaving.wait())
    await asyncio.wait((talker, left), return_when=asyncio.FIRST_COMPLETED)
    if left.done():
        tell("left", n)
    else:
        tell("cut", n, after=round(time.monotonic() - begun, 2), code=socket.close_code)
    for task in (speaker, talker, left):
        if task:
            task.cancel()
    await socket.close()


async def main():
    address, count, room = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    leaving, sayings = asyncio.Event(), asyncio.Queue()

    async def listen():
        while True:
            line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
            if line.startswith("say "):
                sayings.put_nowait(line[4:].rstrip("\n"))
            else:
                leaving.set()
                return

    listener = asyncio.ensure_future(listen())
    await asyncio.gather(*(one(n, address, room, leaving, sayings) for n in range(count)))
    listener.cancel()


asyncio.run(main())
