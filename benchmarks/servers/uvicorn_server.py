"""uvicorn with a bare ASGI application on uvloop: / echoes, /fanout sends to all.

Without lifespan and access log; httptools parses the handshake and websockets' sans-I/O
protocol the frames, which is uvicorn's own choice ("auto").
"""

from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from asked import CERTIFICATE, DEFLATE, PORT


Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

receivers: set[Send] = set()


async def app(scope: Event, receive: Receive, send: Send) -> None:
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    if scope["path"] == "/fanout":
        await fan_out(receive, send)
        return
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


async def fan_out(receive: Receive, send: Send) -> None:
    receivers.add(send)
    try:
        while (event := await receive())["type"] == "websocket.receive":
            out = {**event, "type": "websocket.send"}
            for receiver in list(receivers):
                await receiver(out)
    finally:
        receivers.discard(send)


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=PORT,
        ssl_certfile=CERTIFICATE,
        loop="uvloop",
        http="httptools",
        ws="auto",
        ws_per_message_deflate=DEFLATE,
        ws_ping_interval=None,
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
