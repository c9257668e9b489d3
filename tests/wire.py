"""Peers that know no WebSocket library: octets go in and come out by hand.

`RawPeer` is one end of a TCP connection that can stall, break off in the middle
of a frame, half-close and reset. `pair` joins it to a connection of gws, which
is a client's or a server's.
"""

from __future__ import annotations

import base64
import hashlib
import socket as original_socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
import gevent.ssl
from gevent import socket
from gevent.event import Event
from gevent.queue import Queue

from gws import ClientConnection, Server, ServerConnection, connect, serve


CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

#: The seconds within which whatever a test waits for must have come.
LONG = 10

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
)


def frame(
    opcode: int, payload: bytes = b"", *, masked: bool = True, first: int = 0x80
) -> bytes:
    """Return a frame; ``first`` is what stands beside the opcode: FIN and RSV."""
    n = len(payload)
    mask_bit = 0x80 if masked else 0
    if n < 126:
        head = struct.pack("!BB", first | opcode, mask_bit | n)
    elif n < 65536:
        head = struct.pack("!BBH", first | opcode, mask_bit | 126, n)
    else:
        head = struct.pack("!BBQ", first | opcode, mask_bit | 127, n)
    return head + b"\x01\x02\x03\x04" + mask(payload) if masked else head + payload


def mask(payload: bytes, key: bytes = b"\x01\x02\x03\x04") -> bytes:
    n = len(payload)
    pad = int.from_bytes((key * (n // 4 + 1))[:n], "big")
    return (int.from_bytes(payload, "big") ^ pad).to_bytes(n, "big")


def request(
    path: str = "/", headers: str = HANDSHAKE, host: str = "localhost"
) -> bytes:
    """Return a request to open a WebSocket connection."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode()


def switching_protocols(key: str, extra: str = "") -> bytes:
    """Return the response that accepts the request with ``key``."""
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode())
    accept = base64.b64encode(digest.digest()).decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{extra}\r\n"
    ).encode()


class RawPeer:
    """One end of a connection, octet by octet. Each wait ends after `LONG`.

    Args:
        sock: of gevent, connected.
        masks: whether its frames are masked: whether it plays the client.
    """

    def __init__(self, sock: Any, masks: bool = True) -> None:
        self.sock = sock
        self._masks = masks
        self._buffer = bytearray()
        sock.settimeout(LONG)
        if sock.family != original_socket.AF_UNIX:
            # What is written is with the other side when the call returns.
            sock.setsockopt(original_socket.IPPROTO_TCP, original_socket.TCP_NODELAY, 1)

    # Octets

    def write(self, *data: bytes) -> None:
        self.sock.sendall(b"".join(data))

    def read(self, n: int) -> bytes:
        while len(self._buffer) < n:
            data = self.sock.recv(2**16)
            assert data, f"the stream ended after {self._buffer!r}"
            self._buffer += data
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        return data

    def read_head(self) -> str:
        """Return the head of an HTTP message, without the empty line."""
        while b"\r\n\r\n" not in self._buffer:
            data = self.sock.recv(2**16)
            assert data, f"the stream ended after {self._buffer!r}"
            self._buffer += data
        return self.read(self._buffer.index(b"\r\n\r\n") + 4)[:-4].decode("latin-1")

    def read_to_end(self) -> bytes:
        """Return what comes until the peer ends its stream."""
        while data := self.sock.recv(2**16):
            self._buffer += data
        return self.read(len(self._buffer))

    # Frames

    def send(self, opcode: int, payload: bytes = b"", first: int = 0x80) -> None:
        self.write(self.frame(opcode, payload, first))

    def frame(self, opcode: int, payload: bytes = b"", first: int = 0x80) -> bytes:
        return frame(opcode, payload, masked=self._masks, first=first)

    def receive(self) -> tuple[int, bytes]:
        """Return the opcode and the payload of the next frame, which has FIN set."""
        fin, opcode, payload = self.receive_fragment()
        assert fin
        return opcode, payload

    def receive_fragment(self) -> tuple[bool, int, bytes]:
        """Return FIN, opcode and payload of the next frame."""
        first, second = self.read(2)
        assert first & 0x70 == 0
        assert (second & 0x80 != 0) is not self._masks, "masked by the wrong side"
        n = second & 0x7F
        if n > 125:
            n = int.from_bytes(self.read(2 if n == 126 else 8), "big")
        key = b"" if self._masks else self.read(4)
        payload = self.read(n)
        return first & 0x80 != 0, first & 0x0F, mask(payload, key) if key else payload

    def receive_close(self) -> tuple[int, str]:
        """Return code and reason of the next frame, which closes."""
        opcode, payload = self.receive()
        assert opcode == CLOSE, f"opcode {opcode:#x}, {payload[:100]!r}"
        return int.from_bytes(payload[:2] or b"\x03\xed", "big"), payload[2:].decode()

    def send_close(self, code: int, reason: str = "") -> None:
        self.send(CLOSE, code.to_bytes(2, "big") + reason.encode())

    # The opening handshake

    def ask(self, data: bytes = b"") -> str:
        """Open as a client; return the head of the response."""
        self.write(data or request())
        head = self.read_head()
        assert head.startswith("HTTP/1.1 101 "), head
        return head

    def accept(self, *more: bytes, extra: str = "") -> str:
        """Open as a server, with ``more`` in the same packet; return the request."""
        head = self.read_head()
        key = header(head, "Sec-WebSocket-Key")
        self.write(switching_protocols(key, extra), *more)
        return head

    # The end

    def half_close(self) -> None:
        self.sock.shutdown(original_socket.SHUT_WR)

    def reset(self) -> None:
        """End with a TCP reset."""
        self.sock.setsockopt(
            original_socket.SOL_SOCKET,
            original_socket.SO_LINGER,
            struct.pack("ii", 1, 0),
        )
        self.sock.close()

    def end(self) -> None:
        self.sock.close()


def header(head: str, name: str) -> str:
    """Return the only value of a header."""
    (value,) = headers(head, name)
    return value


def headers(head: str, name: str) -> list[str]:
    lines = [line.partition(":") for line in head.split("\r\n")[1:]]
    return [value.strip() for n, _, value in lines if n.lower() == name.lower()]


def port_of(server: Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


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


@dataclass
class Pair:
    """A connection of gws, and its peer."""

    ws: Any
    peer: RawPeer


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


#: Both roles that a connection of gws may have.
PAIRS = {"server": server_pair, "client": client_pair}


def masked_for(role: str) -> bool:
    """Whether the peer of a connection of gws in this role masks."""
    return role == "server"
