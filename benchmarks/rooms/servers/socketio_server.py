"""python-socketio with AsyncRedisManager under uvicorn on uvloop.

    socketio_server.py PORT REDIS_URL

Any number of processes may share the port. The query of the connection tells the room;
what comes as the event "p" goes to the room as the event "m".
"""

import socket
import sys
from typing import Any
from urllib.parse import parse_qs

import socketio
import uvicorn


sio = socketio.AsyncServer(
    async_mode="asgi", client_manager=socketio.AsyncRedisManager(sys.argv[2])
)
rooms: dict[str, str] = {}


@sio.event
async def connect(sid: str, environ: dict[str, Any]) -> None:
    rooms[sid] = parse_qs(environ["QUERY_STRING"])["room"][0]
    await sio.enter_room(sid, rooms[sid])


@sio.event
async def disconnect(sid: str, reason: str) -> None:
    del rooms[sid]


@sio.on("p")
async def publish(sid: str, text: str) -> None:
    await sio.emit("m", text, room=rooms[sid])


def listener(port: int) -> socket.socket:
    """Return a listening socket on a port that others may have as well."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(4096)
    return sock


if __name__ == "__main__":
    config = uvicorn.Config(
        socketio.ASGIApp(sio),
        loop="uvloop",
        http="httptools",
        ws="auto",
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # Engine.IO has pings of its own
        access_log=False,
        log_level="warning",
    )
    uvicorn.Server(config).run(sockets=[listener(int(sys.argv[1]))])
