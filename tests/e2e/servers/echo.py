#!/usr/bin/python3
"""echo.py PORT... [--log FILE] [--host ADDRESS] [--name NAME]: a good WebSocket server, written on peer.py. SIGUSR1 resets every open connection;
SIGUSR2 makes it silent from then on (connections stay, nothing is answered); SIGHUP makes it talk again. Each connection is a line in the log.
NAME is in the head of its responses, as Served-By."""
import argparse
import asyncio
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from peer import BINARY, CLOSE, PING, PONG, TEXT, frame, serve  # noqa: E402  (a sibling of this directory)


async def main(args):
    peers, state = set(), {"silent": False}
    named = {"Served_By": args.name} if args.name else {}

    async def handler(peer):
        if state["silent"]:
            await peer.hang()
        await peer.upgrade(**named)
        if args.log:
            with open(args.log, "a", encoding="utf-8") as out:
                out.write(f"{peer.target} {len(peers)}\n")
        peers.add(peer)
        try:
            while True:
                opcode, data = await peer.frame()
                if not state["silent"]:
                    if await answer(peer, opcode, data):
                        return
        finally:
            peers.discard(peer)

    def reset():
        for peer in list(peers):
            peer.reset()

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    loop.add_signal_handler(signal.SIGUSR1, reset)
    loop.add_signal_handler(signal.SIGUSR2, state.update, {"silent": True})
    loop.add_signal_handler(signal.SIGHUP, state.update, {"silent": False})
    for port in args.port:
        await serve(handler, args.host, port)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


async def answer(peer, opcode, data):
    if opcode == PING:
        await peer.send(frame(PONG, data))
    elif opcode in (TEXT, BINARY):
        await peer.send(frame(opcode, data))
    elif opcode == CLOSE:
        await peer.send(frame(CLOSE, data[:2]))
        return True
    return False


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int, nargs="+")
    parser.add_argument("--log")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--name")
    asyncio.run(main(parser.parse_args()))
