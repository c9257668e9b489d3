"""A connection of gws, or a handler, joined to a `RawPeer` without a port."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import gevent

from ..client import connect
from ..protocol.codes import CloseCode
from .octets import request
from .pairs import close
from .peer import TIMEOUT, RawPeer
from .served import CLOSE_TIMEOUT, REMOTE_ADDRESS, Served, socketpair


class Pair(NamedTuple):
    """A connection of gws and its peer."""

    #: The connection, a client's or a server's.
    ws: Any
    #: Who plays the other side.
    peer: RawPeer


@contextmanager
def raw_connect_to(
    handler: Any,
    *,
    receive_buffer: int | None = None,
    remote_address: Any = REMOTE_ADDRESS,
    timeout: float = TIMEOUT,
    **options: Any,
) -> Iterator[RawPeer]:
    """Give a peer that plays the client of a handler or a router, without a port.

        with raw_connect_to(echo) as peer:
            peer.ask(request("/path"))
            peer.send(TEXT, b"hello")
            assert peer.receive() == (TEXT, b"hello")

    What the handler or a hook raised is raised at the end.

    Args:
        handler: a handler or a router, as for `serve`.
        receive_buffer: about how many bytes the peer takes without reading them.
        remote_address: the peer's, as the handler sees it.
        timeout: seconds that each wait of the peer, and the handler's end, may take.
        options: as for `serve`; close_timeout is 1 s.
    """
    with Served(handler, options, timeout) as served:
        peer = RawPeer(served.dial(remote_address, receive_buffer), timeout=timeout)
        try:
            yield peer
        finally:
            peer.end()


@contextmanager
def server_pair(
    *packed: bytes,
    path: str = "/",
    receive_buffer: int | None = None,
    timeout: float = TIMEOUT,
    **options: Any,
) -> Iterator[Pair]:
    """Give a server's connection and the peer that plays its client.

        with server_pair(max_size=10) as (ws, peer):
            peer.send(TEXT, b"too long for it")
            assert peer.receive_close()[0] == 1009

    Args:
        packed: octets that come in one packet with the opening handshake.
        path: of the request.
        receive_buffer: about how many bytes the peer takes without reading them.
        timeout: seconds that each wait of the peer may take.
        options: as for `serve`; close_timeout is 1 s.
    """
    arrived: list[Any] = []

    def lend(ws: Any) -> None:
        arrived.append(ws)
        ws.wait_closed()

    with raw_connect_to(
        lend, receive_buffer=receive_buffer, timeout=timeout, **options
    ) as peer:
        # The handler has begun when the response is there.
        peer.ask(b"".join((request(path), *packed)))
        yield Pair(arrived[0], peer)


@contextmanager
def client_pair(
    *packed: bytes,
    path: str = "/",
    extra: str = "",
    receive_buffer: int | None = None,
    timeout: float = TIMEOUT,
    **options: Any,
) -> Iterator[Pair]:
    """Give a client's connection and the peer that plays its server.

    Args:
        packed: octets that come in one packet with the response.
        path: of the request.
        extra: more headers for the response: lines, each with CR LF at its end.
        receive_buffer: about how many bytes the peer takes without reading them.
        timeout: seconds that each wait of the peer may take.
        options: as for `connect`; close_timeout is 1 s.
    """
    sock, theirs = socketpair(receive_buffer)
    peer = RawPeer(theirs, masks=False, timeout=timeout)
    try:
        options = {"close_timeout": CLOSE_TIMEOUT, **options}
        recipe = connect(f"ws://localhost{path}", sock=sock, **options)
    except BaseException:
        sock.close()
        peer.end()
        raise
    accepting = gevent.spawn(peer.accept, *packed, extra=extra)
    try:
        ws = recipe.open()
        try:
            accepting.get()
            yield Pair(ws, peer)
        finally:
            peer.end()
            close(ws, CloseCode.NORMAL_CLOSURE, timeout)
    finally:
        accepting.kill()
        peer.end()
