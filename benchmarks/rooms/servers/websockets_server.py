"""websockets (asyncio) on uvloop, with a subscriber to Redis of its own.

    websockets_server.py PORT REDIS_URL

Any number of processes may share the port. /N joins the room N; what a member sends is
published on the room's channel, and each process hands what comes there to its members
with `broadcast`, as the documentation does it.
"""

import asyncio
import sys

import redis.asyncio
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve


class Rooms:
    """Who is in which room, and one subscriber for all of them."""

    def __init__(self, url: str) -> None:
        self.redis = redis.asyncio.from_url(url)
        self.subscriber = redis.asyncio.from_url(url, decode_responses=True).pubsub()
        self.members: dict[str, set[ServerConnection]] = {}
        self.first = asyncio.Event()
        # A subscriber that is used by two tasks before it has connected does so twice.
        self.lock = asyncio.Lock()

    async def join(self, ws: ServerConnection, name: str) -> None:
        async with self.lock:
            if name not in self.members:
                await self.subscriber.subscribe(name)
                self.members[name] = set()
                self.first.set()
            self.members[name].add(ws)

    async def leave(self, ws: ServerConnection, name: str) -> None:
        async with self.lock:
            self.members[name].discard(ws)
            if not self.members[name]:
                del self.members[name]
                await self.subscriber.unsubscribe(name)

    async def listen(self) -> None:
        """Hand on what comes; `listen` of redis-py ends while nothing is subscribed."""
        while True:
            await self.first.wait()
            self.first.clear()
            async for event in self.subscriber.listen():
                if event["type"] == "message" and event["channel"] in self.members:
                    broadcast(self.members[event["channel"]], event["data"])


async def main() -> None:
    rooms = Rooms(sys.argv[2])

    async def handler(ws: ServerConnection) -> None:
        assert ws.request is not None
        name = ws.request.path[1:]
        await rooms.join(ws, name)
        try:
            await ws.send("joined")
            async for message in ws:
                await rooms.redis.publish(name, message)
        finally:
            await rooms.leave(ws, name)

    async with (
        asyncio.TaskGroup() as tasks,
        serve(handler, "127.0.0.1", int(sys.argv[1]), reuse_port=True) as server,
    ):
        tasks.create_task(rooms.listen())
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
