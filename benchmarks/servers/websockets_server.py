"""websockets (asyncio) on uvloop, with its C speedups: / echoes, /fanout broadcasts.

Compression, if it is asked for, is as it is by default. `broadcast` is what its
documentation recommends for a fan-out: it frames once, compresses for each connection,
and never waits.
"""

import uvloop
from asked import DEFLATE, PORT, tls_context
from websockets.asyncio.server import ServerConnection, broadcast, serve


receivers: set[ServerConnection] = set()


async def handler(ws: ServerConnection) -> None:
    if ws.request is not None and ws.request.path == "/fanout":
        await fan_out(ws)
    else:
        async for message in ws:
            await ws.send(message)


async def fan_out(ws: ServerConnection) -> None:
    receivers.add(ws)
    try:
        async for message in ws:
            broadcast(receivers, message)
    finally:
        receivers.discard(ws)


async def main() -> None:
    async with serve(
        handler,
        "127.0.0.1",
        PORT,
        ssl=tls_context(),
        compression="deflate" if DEFLATE else None,
        ping_interval=None,
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
