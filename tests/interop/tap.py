"""A wire that tells what went over it: a proxy that reads frames and changes nothing.

What a side has received has been written down before, so a test may look at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gevent
from gevent import socket

from ..wire import CLOSE, dial, headers, mask


@dataclass(frozen=True)
class Frame:
    opcode: int
    fin: bool
    rsv1: bool
    payload: bytes


@dataclass
class Message:
    """A data message as it was on the wire."""

    #: RSV1 of its first frame: "a message is compressed" (RFC 7692, section 6).
    compressed: bool
    payload: bytes
    n_frames: int


@dataclass
class Stream:
    """What one side has sent: the head of its handshake, then frames."""

    head: str = ""
    frames: list[Frame] = field(default_factory=list)
    _buffer: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> None:
        self._buffer += data
        if not self.head:
            head, end, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not end:
                return
            self.head = head.decode()
            self._buffer = bytearray(rest)
        while self._take_frame():
            pass

    def _take_frame(self) -> bool:
        start = self._buffer[:14]
        if len(start) < 2:
            return False
        length, at = start[1] & 0x7F, 2
        if length > 125:
            at = 4 if length == 126 else 10
            if len(start) < at:
                return False
            length = int.from_bytes(start[2:at], "big")
        key = b""
        if start[1] & 0x80:
            key = bytes(start[at : at + 4])
            at += 4
        if len(self._buffer) < at + length:
            return False
        payload = bytes(self._buffer[at : at + length])
        del self._buffer[: at + length]
        first = start[0]
        self.frames.append(
            Frame(
                first & 0x0F,
                first & 0x80 != 0,
                first & 0x40 != 0,
                mask(payload, key) if key and payload else payload,
            )
        )
        return True

    @property
    def extensions(self) -> str | None:
        """The header that negotiates them."""
        found = headers(self.head, "Sec-WebSocket-Extensions")
        return ", ".join(found) if found else None

    @property
    def messages(self) -> list[Message]:
        """The whole messages, of which each begins with RSV1 or has none."""
        found: list[Message] = []
        for frame in self.frames:
            if frame.opcode >= CLOSE:
                assert not frame.rsv1, "RSV1 on a control frame"
            elif frame.opcode:
                found.append(Message(frame.rsv1, frame.payload, 1))
            else:
                assert not frame.rsv1, "RSV1 on a continuation"
                found[-1].payload += frame.payload
                found[-1].n_frames += 1
        return found


class Tap:
    """Listens on a port of its own, and passes on to ``destination``."""

    def __init__(self, destination: int) -> None:
        self.client = Stream()
        self.server = Stream()
        self._destination = destination
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        self._greenlets = [gevent.spawn(self._run)]

    def _run(self) -> None:
        near, _ = self._listener.accept()
        far = dial(self._destination)
        for sock in near, far:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with near, far:
            back = gevent.spawn(self._pass_on, far, near, self.server)
            self._greenlets.append(back)
            self._pass_on(near, far, self.client)
            back.join()

    def _pass_on(self, source: Any, destination: Any, stream: Stream) -> None:
        try:
            while data := source.recv(2**18):
                stream.feed(data)
                destination.sendall(data)
            destination.shutdown(socket.SHUT_WR)
        except OSError:
            # A side has gone for good. The other one gets to know it.
            source.close()
            destination.close()

    def end(self) -> None:
        gevent.killall(self._greenlets)
        self._listener.close()


@contextmanager
def tap(destination: int) -> Iterator[Tap]:
    wire = Tap(destination)
    try:
        yield wire
    finally:
        wire.end()


def inflate(messages: list[Message], bits: int, takeover: bool) -> list[bytes]:
    """Inflate what was compressed, with no more memory than was agreed on.

    Args:
        bits: the size of the window. zlib uses an output buffer as a window too, so
            that is a few octets at a time.
        takeover: whether a message may refer to those before it.
    """
    inflated = []
    decompressor = zlib.decompressobj(-bits)
    for message in messages:
        if not message.compressed:
            inflated.append(message.payload)
            continue
        if not takeover:
            decompressor = zlib.decompressobj(-bits)
        data = bytearray()
        rest = message.payload + b"\x00\x00\xff\xff"
        while piece := decompressor.decompress(rest, 16):
            data += piece
            rest = decompressor.unconsumed_tail
        inflated.append(bytes(data))
    return inflated
