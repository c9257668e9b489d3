"""websockets (asyncio) on uvloop in one process: /N joins the room N; see `broadcast`.

websockets_one_server.py PORT
"""

import sys
from collections import defaultdict

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve


rooms: defaultdict[str, set[ServerConnection]] = defaultdict(set)


async def handler(ws: ServerConnection) -> None:
    assert ws.request is not None
    members = rooms[ws.request.path]
    members.add(ws)
    try:
        await ws.send("joined")
        async for message in ws:
            broadcast(members, message)
    finally:
        members.discard(ws)


async def main() -> None:
    async with serve(handler, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
