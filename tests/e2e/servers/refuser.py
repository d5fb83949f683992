#!/usr/bin/python3
"""refuser.py PORT FILE: a WebSocket echo server that does what the first line of FILE says, read anew for each connection: `ok`; `status 401
Unauthorized|Retry-After: 5`; `close 1008 token expired`; `tokens A B`: who shows neither is refused with 401. Each connection is a line of its
standard output."""
import asyncio
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from peer import close, serve  # noqa: E402  (a sibling of this directory)


async def main(port, file):
    async def handler(peer):
        word, _, rest = pathlib.Path(file).read_text(encoding="utf-8").strip().partition(" ")
        print(word, rest, flush=True)
        if word == "status":
            await peer.reply(rest.split("|")[0], "no", *rest.split("|")[1:])
        await peer.request()
        if word == "tokens" and (peer.header("Authorization") or "").removeprefix("Bearer ") not in rest.split():
            await peer.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
            await peer.hang()
        await peer.send(peer.response())
        if word == "close":
            code, _, text = rest.partition(" ")
            await peer.send(close(int(code), text.encode()))
        await peer.serve()

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    await serve(handler, port=port)
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
