"""websockets' asyncio client on uvloop: a task for each connection."""

import asyncio

import uvloop
from measure import MESSAGE, Counter, arguments, wrong
from websockets.asyncio.client import ClientConnection, connect


args = arguments()
counter = Counter()


async def echo(ws: ClientConnection) -> None:
    for _ in range(args.in_flight):
        await ws.send(MESSAGE)
    async for message in ws:
        if message != MESSAGE:
            wrong(message)
        counter.echoes += 1
        await ws.send(MESSAGE)


async def main() -> None:
    tasks = set()
    for _ in range(args.connections):
        ws = await connect(args.uri, compression=None, ping_interval=None)
        tasks.add(asyncio.create_task(echo(ws)))
    await asyncio.sleep(args.warmup)
    counter.start()
    await asyncio.sleep(args.seconds)
    counter.finish()


if __name__ == "__main__":
    uvloop.run(main())
