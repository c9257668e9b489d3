"""aiohttp on uvloop: an echo at /, a fan-out at /fanout.

Without access log and heartbeat.
`send_str` to a connection that is not above its write limit returns without switching
tasks, so awaiting one after the other is the fastest fan-out that its documented API
gives.
"""

import uvloop
from aiohttp import WSMsgType, web
from asked import DEFLATE, PORT, tls_context


receivers: set[web.WebSocketResponse] = set()


async def echo(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(compress=DEFLATE)
    await ws.prepare(request)
    async for message in ws:
        if message.type is WSMsgType.TEXT:
            await ws.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await ws.send_bytes(message.data)
    return ws


async def fan_out(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(compress=DEFLATE)
    await ws.prepare(request)
    receivers.add(ws)
    try:
        async for message in ws:
            for receiver in list(receivers):
                if not receiver.closed:
                    await receiver.send_str(message.data)
    finally:
        receivers.discard(ws)
    return ws


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.get("/", echo), web.get("/fanout", fan_out)])
    web.run_app(
        app,
        host="127.0.0.1",
        port=PORT,
        ssl_context=tls_context(),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )
