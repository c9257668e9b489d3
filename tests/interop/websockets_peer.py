"""The websockets library, told what to do: see commands.py."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

from commands import Library, obey
from websockets.asyncio.client import connect, unix_connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import Server, serve, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)


class Websockets(Library):
    def __init__(self) -> None:
        self._arrived: asyncio.Future[Connection] | None = None
        self._server: Server | None = None

    async def serve(self, options: dict[str, Any]) -> int | None:
        arrived = self._expect()

        async def lend(ws: Connection) -> None:
            arrived.set_result(ws)
            await ws.wait_closed()

        context = None
        if cert := options.get("cert"):
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(cert)
        limits = settings(options, ServerPerMessageDeflateFactory)
        if path := options.get("unix"):
            self._server = await unix_serve(lend, path, ssl=context, **limits)
            return None
        self._server = await serve(lend, "127.0.0.1", 0, ssl=context, **limits)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def connect(self, uri: str, options: dict[str, Any]) -> None:
        context = None
        if ca := options.get("ca"):
            context = ssl.create_default_context(cafile=ca)
        limits = settings(options, ClientPerMessageDeflateFactory)
        if path := options.get("unix"):
            recipe = unix_connect(path, uri, ssl=context, **limits)
        else:
            recipe = connect(uri, ssl=context, proxy=None, **limits)
        self._expect().set_result(await recipe)

    async def subprotocol(self) -> str | None:
        return (await self._connection()).subprotocol

    async def send(self, message: str | bytes) -> None:
        await (await self._connection()).send(message)

    async def send_fragments(self, fragments: list[str] | list[bytes]) -> None:
        ws = await self._connection()

        async def with_pings() -> AsyncIterator[str | bytes]:
            for fragment in fragments:
                yield fragment
                await ws.ping()

        await ws.send(with_pings())

    async def recv(self) -> str | bytes:
        return await (await self._connection()).recv()

    async def ping(self, data: str) -> bool:
        pong = await (await self._connection()).ping(data)
        await pong
        return True

    async def close(self, code: int, reason: str) -> None:
        await (await self._connection()).close(code, reason)

    async def wait_closed(self) -> list[Any] | None:
        try:
            message = await self.recv()
        except ConnectionClosed as closed:
            return [closed.rcvd.code, closed.rcvd.reason] if closed.rcvd else None
        raise AssertionError(f"got {message!r}")

    async def vanish(self) -> None:
        (await self._connection()).transport.abort()

    async def end(self) -> None:
        if self._arrived is not None and self._arrived.done():
            await self.vanish()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        self._arrived = self._server = None

    # The connection

    def _expect(self) -> asyncio.Future[Connection]:
        self._arrived = asyncio.get_running_loop().create_future()
        return self._arrived

    async def _connection(self) -> Connection:
        assert self._arrived is not None
        return await asyncio.shield(self._arrived)


def settings(options: dict[str, Any], factory: Any) -> dict[str, Any]:
    deflate = options.get("deflate")
    return {
        "compression": None,
        "extensions": None if deflate is None else [factory(**deflate)],
        "max_size": 2**24,
        "ping_interval": None,
        "subprotocols": ["interop"],
    }


obey(Websockets())
