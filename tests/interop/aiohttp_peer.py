"""aiohttp, told what to do: see commands.py.

It sends no fragments. Of permessage-deflate a client can be given the server's window
and nothing else; a server takes what the client offers.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMessage, WSMsgType, web
from commands import Library, obey


AnyResponse = ClientWebSocketResponse | web.WebSocketResponse

MAX_SIZE = 2**24
#: Its pings are answered here, so that its pongs are seen here too.
AUTOPING = False


class Aiohttp(Library):
    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None
        self._session: ClientSession | None = None
        self._reader: asyncio.Task[None] | None = None

    async def serve(self, options: dict[str, Any]) -> int | None:
        self._expect()
        app = web.Application()
        app["deflate"] = options.get("deflate") is not None
        app.add_routes([web.get("/", self._lend)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port: int = self._runner.addresses[0][1]
        return port

    async def connect(self, uri: str, options: dict[str, Any]) -> None:
        arrived = self._expect()
        deflate = options.get("deflate")
        bits = 0 if deflate is None else deflate.get("server_max_window_bits", 15)
        self._session = ClientSession()
        ws = await self._session.ws_connect(
            uri,
            protocols=["interop"],
            compress=bits,
            autoping=AUTOPING,
            max_msg_size=MAX_SIZE,
        )
        arrived.set_result(ws)
        self._reader = asyncio.create_task(self._read(ws))

    async def subprotocol(self) -> str | None:
        ws = await self._connection()
        if isinstance(ws, web.WebSocketResponse):
            return ws.ws_protocol
        return ws.protocol

    async def send(self, message: str | bytes) -> None:
        ws = await self._connection()
        if isinstance(message, str):
            await ws.send_str(message)
        else:
            await ws.send_bytes(message)

    async def recv(self) -> str | bytes:
        message = await self._inbox.get()
        assert message.type in (WSMsgType.TEXT, WSMsgType.BINARY), message
        data: str | bytes = message.data
        return data

    async def ping(self, data: str) -> bool:
        await (await self._connection()).ping(data.encode())
        return await self._pongs.get() == data.encode()

    async def close(self, code: int, reason: str) -> None:
        await (await self._connection()).close(code=code, message=reason.encode())

    async def wait_closed(self) -> list[Any] | None:
        message = await self._inbox.get()
        if message.type is WSMsgType.CLOSE:
            return [message.data, message.extra]
        assert message.type in (WSMsgType.CLOSED, WSMsgType.ERROR), message
        return None

    async def vanish(self) -> None:
        ws = await self._connection()
        sock = ws.get_extra_info("socket")
        if sock is not None and sock.fileno() != -1:
            sock.shutdown(socket.SHUT_RDWR)

    async def end(self) -> None:
        if self._arrived.done():
            await self.vanish()
        if self._reader is not None:
            await self._reader
        if self._session is not None:
            await self._session.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._reader = self._session = self._runner = None

    # The connection

    def _expect(self) -> asyncio.Future[AnyResponse]:
        self._arrived = asyncio.get_running_loop().create_future()
        self._inbox: asyncio.Queue[WSMessage] = asyncio.Queue()
        self._pongs: asyncio.Queue[bytes] = asyncio.Queue()
        return self._arrived

    async def _connection(self) -> AnyResponse:
        ws: AnyResponse = await asyncio.shield(self._arrived)
        return ws

    async def _lend(self, request: web.Request) -> AnyResponse:
        ws = web.WebSocketResponse(
            protocols=["interop"],
            compress=request.app["deflate"],
            autoping=AUTOPING,
            max_msg_size=MAX_SIZE,
        )
        await ws.prepare(request)
        self._arrived.set_result(ws)
        await self._read(ws)
        return ws

    async def _read(self, ws: AnyResponse) -> None:
        while True:
            message = await ws.receive()
            if message.type is WSMsgType.PING:
                await ws.pong(message.data)
            elif message.type is WSMsgType.PONG:
                self._pongs.put_nowait(message.data)
            else:
                self._inbox.put_nowait(message)
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    return


obey(Aiohttp())
