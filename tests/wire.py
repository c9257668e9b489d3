"""For our own tests: servers with ports for raw peers, and pairs by role.

What users need as well is in `gws.testing`, and imported here for those tests that
need both.
"""

from __future__ import annotations

import socket as original_socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import gevent.ssl
from gevent import socket
from gevent.event import Event
from gevent.queue import Queue

from gws import ClientConnection, Server, ServerConnection, connect, serve
from gws.testing import BINARY as BINARY
from gws.testing import CLOSE as CLOSE
from gws.testing import CONT as CONT
from gws.testing import PING as PING
from gws.testing import PONG as PONG
from gws.testing import TEXT as TEXT
from gws.testing import RawPeer as RawPeer
from gws.testing import client_pair as local_client_pair
from gws.testing import frame as frame
from gws.testing import request as request
from gws.testing import server_pair as local_server_pair
from gws.testing.octets import HANDSHAKE as HANDSHAKE
from gws.testing.octets import KEY as KEY
from gws.testing.octets import header as header
from gws.testing.octets import headers as headers
from gws.testing.octets import mask as mask
from gws.testing.octets import switching_protocols as switching_protocols
from gws.testing.rawpairs import Pair


#: The seconds within which whatever a test waits for must have come.
LONG = 10


def port_of(server: Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


def uri(server: Server) -> str:
    """Return where to connect to a server."""
    return f"ws://127.0.0.1:{port_of(server)}/"


def echo(ws: Any) -> None:
    """Send back what comes; a handler."""
    for message in ws:
        ws.send(message)


def until(condition: Callable[[], Any]) -> None:
    """Let the hub run until ``condition`` holds."""
    with gevent.Timeout(LONG):
        while not condition():
            gevent.sleep(0.001)


@contextmanager
def raw_client(
    server: Server, *, receive_buffer: int | None = None, tls: Path | None = None
) -> Iterator[RawPeer]:
    """Connect to a server by TCP, or by TLS with the certificates in ``tls``."""
    sock = dial(port_of(server), receive_buffer)
    if tls is not None:
        context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(tls / "ca.pem")
        sock = context.wrap_socket(sock, server_hostname="localhost")
    peer = RawPeer(sock)
    try:
        yield peer
    finally:
        peer.end()


def dial(port: int, receive_buffer: int | None = None) -> Any:
    """Return a socket that is connected to a port of this machine."""
    sock = socket.socket()
    if receive_buffer is not None:  # it counts when the connection is made
        sock.setsockopt(
            original_socket.SOL_SOCKET, original_socket.SO_RCVBUF, receive_buffer
        )
    sock.connect(("127.0.0.1", port))
    return sock


@contextmanager
def raw_server(
    play: Callable[[RawPeer], Any],
    *,
    receive_buffer: int | None = None,
    tls: Path | None = None,
) -> Iterator[RawServer]:
    """Listen, and have ``play`` be the server of each connection."""
    server = RawServer(play, receive_buffer, tls)
    try:
        yield server
    finally:
        server.end()


class RawServer:
    """A listening socket; see `raw_server`."""

    def __init__(
        self,
        play: Callable[[RawPeer], Any],
        receive_buffer: int | None,
        tls: Path | None,
    ) -> None:
        self._play = play
        self._context: Any = None
        if tls is not None:
            self._context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(tls / "server.pem")
        self._listener = socket.socket()
        if receive_buffer is not None:
            self._listener.setsockopt(
                original_socket.SOL_SOCKET, original_socket.SO_RCVBUF, receive_buffer
            )
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        #: Where to connect.
        self.uri = f"ws{'s' if tls else ''}://localhost:{self.port}/"
        #: How many connections came.
        self.n_accepted = 0
        self._greenlets = [gevent.spawn(self._accept)]

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            self.n_accepted += 1
            self._greenlets.append(gevent.spawn(self._serve, sock))

    def _serve(self, sock: Any) -> None:
        if self._context is not None:
            sock = self._context.wrap_socket(sock, server_side=True)
        peer = RawPeer(sock, masks=False)
        try:
            self._play(peer)
        finally:
            peer.end()

    def end(self) -> None:
        gevent.killall(self._greenlets)
        self._listener.close()


@contextmanager
def server_pair(
    *packed: bytes,
    receive_buffer: int | None = None,
    tls: Path | None = None,
    **options: Any,
) -> Iterator[Pair]:
    """The connection of gws is a server's; its handler waits for its end.

    Args:
        packed: what comes in one packet with the opening handshake.
        receive_buffer: how many bytes of what it does not read the peer takes.
        tls: the folder of the certificates, to speak TLS.
        options: of gws.
    """
    arrived: Queue[ServerConnection] = Queue()

    def lend(ws: ServerConnection) -> None:
        arrived.put(ws)
        ws.wait_closed()

    if tls is not None:
        options["ssl"] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        options["ssl"].load_cert_chain(tls / "server.pem")
    with (
        serve(lend, "127.0.0.1", 0, **options) as server,
        raw_client(server, receive_buffer=receive_buffer, tls=tls) as peer,
    ):
        peer.ask(b"".join((request(), *packed)))
        yield Pair(arrived.get(timeout=LONG), peer)


@contextmanager
def client_pair(
    *packed: bytes,
    receive_buffer: int | None = None,
    tls: Path | None = None,
    **options: Any,
) -> Iterator[Pair]:
    """The connection of gws is a client's; otherwise as `server_pair`."""
    arrived: Queue[RawPeer] = Queue()
    done = Event()

    def lend(peer: RawPeer) -> None:
        peer.accept(*packed)
        arrived.put(peer)
        done.wait()

    if tls is not None:
        options["ssl"] = ssl.create_default_context(cafile=tls / "ca.pem")
    with raw_server(lend, receive_buffer=receive_buffer, tls=tls) as server:
        ws: ClientConnection = connect(server.uri, **options).open()
        try:
            yield Pair(ws, arrived.get(timeout=LONG))
        finally:
            done.set()
            ws.close()


#: Both roles that a connection of gws may have, over TCP.
PAIRS = {"server": server_pair, "client": client_pair}

#: The same without a port: for all that does not need TCP, TLS or addresses.
LOCAL_PAIRS = {"server": local_server_pair, "client": local_client_pair}


def masked_for(role: str) -> bool:
    """Whether the peer of a connection of gws in this role masks."""
    return role == "server"
