"""Many clients in one thread: generators in, what they found wrong out.

A client is a generator that yields whenever it must wait: a descriptor, what for, and
how many seconds at most. `Crowd` runs hundreds of them on one epoll; `Client` is what
they are written with. Nothing of gws is in here: who soaks it must not share its bugs.
"""

from __future__ import annotations

import collections
import select
import socket
import ssl
import struct
import time
import zlib
from collections.abc import Generator, Iterable
from typing import Any


READ = select.EPOLLIN
WRITE = select.EPOLLOUT
#: For nothing but the end of the connection in both directions, which epoll tells
#: without being asked.
END = 0

#: Seconds after which a server that says nothing has failed.
PATIENCE = 60.0

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
FIN, RSV1 = 0x80, 0x40

#: The octets by which each payload is masked; servers do not care which.
MASK = bytes.fromhex("37fa213d")
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
#: RFC 6455, section 1.3: the answer to that key.
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

NO_CONTEXT = "client_no_context_takeover; server_no_context_takeover"

# Linux's IP_BIND_ADDRESS_NO_PORT: the port is chosen by `connect`, when the other end
# is known; else a source address would be good for one connection a port.
IP_BIND_ADDRESS_NO_PORT = 24

Wait = tuple[int, int, float]
Waiting = Generator[Wait, int, Any]


class Unexpected(Exception):
    """The server did what it must not do."""


class Crowd:
    """Runs clients; all of them have their turns in one loop."""

    def __init__(self, sweep: float = 0.1) -> None:
        # How often to look who has waited for too long.
        self._sweep = sweep
        self._epoll = select.epoll()
        self._waiting: dict[int, tuple[Waiting, float]] = {}
        self._next_sweep = 0.0
        #: How many have come to their end.
        self.n_done = 0
        #: What they died of, and how often.
        self.faults: collections.Counter[str] = collections.Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def start(self, client: Waiting) -> None:
        """Run a client until it waits."""
        self._go_on(client, None)

    def run(self, clients: Iterable[Waiting], at_once: int) -> None:
        """Run all clients to their end, ``at_once`` at a time."""
        rest = iter(clients)
        for client in rest:
            self.start(client)
            while len(self) >= at_once:
                self.turn()
        while self._waiting:
            self.turn()

    def turn(self) -> None:
        """Wait for something to happen, and go on with whom it happened to."""
        for fd, events in self._epoll.poll(self._sweep):
            found = self._waiting.pop(fd, None)
            if found is not None:
                self._go_on(found[0], events)
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + self._sweep
            late = [fd for fd, (_, due) in self._waiting.items() if due <= now]
            for fd in late:
                self._go_on(self._waiting.pop(fd)[0], 0)

    def _go_on(self, client: Waiting, events: int | None) -> None:
        try:
            fd, wanted, seconds = client.send(events)  # type: ignore[arg-type]
        except StopIteration:
            self.n_done += 1
        except (Unexpected, OSError, zlib.error) as exc:
            self.faults[f"{client.__name__}: {type(exc).__name__}: {exc}"] += 1
        else:
            self._waiting[fd] = client, time.monotonic() + seconds
            wanted |= select.EPOLLONESHOT
            try:
                self._epoll.modify(fd, wanted)
            except FileNotFoundError:  # its first wait
                self._epoll.register(fd, wanted)


class Client:
    """A connection from this side; methods that wait are generators."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.port = port
        self.deflate = False
        self._received = bytearray()
        self.sock: Any = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        self.sock.bind((source, 0))

    # The end, waited for or not

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Vanish with a reset."""
        linger = struct.pack("ii", 1, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.sock.close()

    def finish(self, linger: float) -> Waiting:
        """Vanish with a FIN, and say nothing, not even resets, for a while."""
        self.sock.shutdown(socket.SHUT_WR)
        yield self.sock.fileno(), END, linger
        self.sock.close()

    # Octets

    def connect(self) -> Waiting:
        """Connect TCP."""
        self.sock.connect_ex(("127.0.0.1", self.port))
        yield from self._wait(WRITE)
        if error := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, "connect")

    def start_tls(self, context: ssl.SSLContext) -> Waiting:
        """Do the TLS handshake."""
        self.sock = context.wrap_socket(self.sock, do_handshake_on_connect=False)
        yield from self._repeat(self.sock.do_handshake)

    def send(self, data: bytes) -> Waiting:
        """Send all octets."""
        while data:
            n = yield from self._repeat(self.sock.send, data)
            data = data[n:]

    def read(self, n: int) -> Waiting:
        """Return the next n octets."""
        while len(self._received) < n:
            if not (yield from self._receive()):
                raise Unexpected(f"the end, after {bytes(self._received)[:80]!r}")
        data = bytes(self._received[:n])
        del self._received[:n]
        return data

    def read_head(self) -> Waiting:
        """Return an HTTP response's head."""
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            if not (yield from self._receive()):
                raise Unexpected(f"the end, after {bytes(self._received)[:80]!r}")
        return (yield from self.read(end + 4))

    def read_to_end(self) -> Waiting:
        """Return all that comes until the server ends TCP."""
        while (yield from self._receive()):
            pass
        return bytes(self._received)

    # WebSocket

    def open(self, path: str, deflate: bool = False) -> Waiting:
        """Do the opening handshake, and check it."""
        self.deflate = deflate
        yield from self.send(request(path, self.port, deflate=deflate))
        head = yield from self.read_head()
        if not head.startswith(b"HTTP/1.1 101 ") or ACCEPT not in head:
            raise Unexpected(f"no acceptance: {head!r}")
        if (b"permessage-deflate" in head) is not deflate:
            raise Unexpected(f"deflate {'not' if deflate else ''} agreed on: {head!r}")

    def read_frame(self) -> Waiting:
        """Return first octet and payload of the next frame."""
        first, length = yield from self.read(2)
        if length == 126:
            (length,) = struct.unpack("!H", (yield from self.read(2)))
        elif length > 126:
            raise Unexpected(f"length {length}: masked or long")
        return first, (yield from self.read(length))

    def echo(self, text: bytes) -> Waiting:
        """Send a message, compressed if that was agreed on, and get it back."""
        if not self.deflate:
            yield from self.send(frame(FIN | TEXT, text))
            if (yield from self.read_frame()) != (FIN | TEXT, text):
                raise Unexpected("another message than that sent")
            return
        compressor = zlib.compressobj(wbits=-15)
        data = compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)
        yield from self.send(frame(FIN | RSV1 | TEXT, data[:-4]))
        first, data = yield from self.read_frame()
        if first != FIN | RSV1 | TEXT:
            raise Unexpected("a compressed message came back as it was")
        if zlib.decompressobj(-15).decompress(data + b"\0\0\xff\xff") != text:
            raise Unexpected("another message than that sent, compressed")

    def close(self) -> Waiting:
        """Send a close frame, with 1000; see `expect_close`."""
        yield from self.send(frame(FIN | CLOSE, NORMAL))

    def expect_close(self, answer: bool) -> Waiting:
        """Read a close frame with 1000, answer it if told to, and the end of TCP."""
        got = yield from self.read_frame()
        if got != (FIN | CLOSE, NORMAL):
            raise Unexpected(f"no close frame with 1000: {got!r}")
        if answer:
            yield from self.close()
        if rest := (yield from self.read_to_end()):
            raise Unexpected(f"after the close frame: {rest[:80]!r}")

    # Private methods

    def _wait(self, events: int) -> Waiting:
        if not (yield self.sock.fileno(), events, PATIENCE):
            raise Unexpected(f"nothing for {PATIENCE:.0f} s")

    def _repeat(self, operation: Any, *args: Any) -> Waiting:
        while True:
            try:
                return operation(*args)
            except (BlockingIOError, ssl.SSLWantReadError) as exc:
                sending = operation == self.sock.send and type(exc) is BlockingIOError
                yield from self._wait(WRITE if sending else READ)
            except ssl.SSLWantWriteError:
                yield from self._wait(WRITE)

    def _receive(self) -> Waiting:
        data = yield from self._repeat(self.sock.recv, 2**16)
        self._received += data
        return len(data)


NORMAL = struct.pack("!H", 1000)


def frame(first: int, payload: bytes) -> bytes:
    """Return a masked frame."""
    n = len(payload)
    head = bytes((first, 0x80 | n)) if n < 126 else struct.pack("!BBH", first, 0xFE, n)
    key = MASK * (n // 4 + 1)
    masked = int.from_bytes(payload) ^ int.from_bytes(key[:n])
    return head + MASK + masked.to_bytes(n)


def request(
    path: str, port: int, *extra: str, key: str = KEY, version: str = "13",
    deflate: bool = False,
) -> bytes:  # fmt: skip
    """Return the request of an opening handshake."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        f"Sec-WebSocket-Version: {version}",
        *extra,
    ]
    if deflate:
        lines.append(f"Sec-WebSocket-Extensions: permessage-deflate; {NO_CONTEXT}")
    return "\r\n".join([*lines, "", ""]).encode()
