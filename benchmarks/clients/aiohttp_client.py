"""aiohttp's client on uvloop: a task for each connection."""

import asyncio

import aiohttp
import uvloop
from measure import MESSAGE, Counter, arguments, wrong


args = arguments()
counter = Counter()


async def echo(ws: aiohttp.ClientWebSocketResponse) -> None:
    for _ in range(args.in_flight):
        await ws.send_str(MESSAGE)
    async for message in ws:
        if message.data != MESSAGE:
            wrong(message)
        counter.echoes += 1
        await ws.send_str(MESSAGE)


async def main() -> None:
    tasks = set()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        for _ in range(args.connections):
            ws = await session.ws_connect(args.uri, compress=0)
            tasks.add(asyncio.create_task(echo(ws)))
        await asyncio.sleep(args.warmup)
        counter.start()
        await asyncio.sleep(args.seconds)
        counter.finish()


if __name__ == "__main__":
    uvloop.run(main())
