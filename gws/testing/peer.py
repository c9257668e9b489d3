"""A peer that knows no WebSocket library: octets go in and come out by hand.

It can stall, break off in the middle of a frame, half-close and reset, and says
what no library would.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from .octets import (
    CLOSE,
    frame,
    header,
    mask,
    request,
    switching_protocols,
)


#: The seconds within which whatever a helper waits for must have come.
TIMEOUT = 10.0

#: The sockets that TCP's options may be set for; others are local.
TCP = (socket.AF_INET, socket.AF_INET6)


class RawSocket:
    """One end of a connection, octet by octet.

    Args:
        sock: connected, of gevent unless it is for a thread of its own.
        timeout: seconds that each wait may take.
    """

    def __init__(self, sock: Any, timeout: float = TIMEOUT) -> None:
        #: The socket.
        self.sock = sock
        self._timeout = timeout
        self._buffer = bytearray()
        sock.settimeout(timeout)
        if sock.family in TCP:
            # What is written is with the other side when the call returns.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # Public methods for octets

    def write(self, *data: bytes) -> None:
        """Write octets, all at once.

        Raises:
            TimeoutError: if the other side does not read.
            OSError: if the connection is broken.
        """
        octets = b"".join(data)
        try:
            self.sock.sendall(octets)
        except TimeoutError:
            text = f"{len(octets)} octets were not taken within {self._timeout} s"
            raise TimeoutError(text) from None

    def read(self, n: int) -> bytes:
        """Return the next ``n`` octets.

        Raises:
            TimeoutError: if they do not come.
            EOFError: if the stream ends before.
            OSError: if the connection is broken.
        """
        while len(self._buffer) < n:
            self._read_more(f"{n} octets")
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        return data

    def read_head(self) -> str:
        """Return the head of an HTTP message, without the empty line.

        Raises as `read`.
        """
        while b"\r\n\r\n" not in self._buffer:
            self._read_more("the end of an HTTP head")
        return self.read(self._buffer.index(b"\r\n\r\n") + 4)[:-4].decode("latin-1")

    def read_to_end(self) -> bytes:
        """Return what comes until the other side ends its stream.

        Raises:
            TimeoutError: if it does not end.
            OSError: if the connection is broken.
        """
        while True:
            try:
                self._read_more("the end of the stream")
            except EOFError:
                return self.read(len(self._buffer))

    # Public methods for the end

    def half_close(self) -> None:
        """End the stream in our direction; the other side may still write.

        Of TLS it is cut off: its own end, close_notify, is not sent.
        """
        # Not by the method of a TLS socket, which would decrypt no more.
        with socket.socket(fileno=os.dup(self.sock.fileno())) as same:
            same.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End with a TCP reset.

        Raises:
            ValueError: if the socket is not one of TCP; `end` comes nearest.
        """
        if self.sock.family not in TCP:
            raise ValueError("only a TCP connection can be reset")
        linger = struct.pack("ii", 1, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.sock.close()

    def end(self) -> None:
        """Close the socket, without a word."""
        self.sock.close()

    # Private methods

    def _read_more(self, awaited: str) -> None:
        try:
            data = self.sock.recv(2**16)
        except TimeoutError:
            raise TimeoutError(
                f"{awaited} did not come within {self._timeout} s, only {self._seen()}"
            ) from None
        if not data:
            raise EOFError(f"the stream ended after {self._seen()}, before {awaited}")
        self._buffer += data

    def _seen(self) -> str:
        # Cut: it goes into the text of an exception.
        n = len(self._buffer)
        return f"{n} octets: {bytes(self._buffer[:200])!r}"


class RawPeer(RawSocket):
    """One end of a WebSocket connection, frame by frame.

    What comes is checked: AssertionError says what is wrong with it. Otherwise
    everything raises as `RawSocket.read` and `RawSocket.write`.

    Args:
        sock: connected, of gevent unless it is for a thread of its own.
        masks: whether its frames are masked: whether it plays the client.
        timeout: seconds that each wait may take.
    """

    def __init__(self, sock: Any, masks: bool = True, timeout: float = TIMEOUT) -> None:
        super().__init__(sock, timeout)
        self._masks = masks

    # Public methods for frames

    def frame(self, opcode: int, payload: bytes = b"", first: int = 0x80) -> bytes:
        """Return a frame as this side sends it: see `octets.frame`."""
        return frame(opcode, payload, masked=self._masks, first=first)

    def send(self, opcode: int, payload: bytes = b"", first: int = 0x80) -> None:
        """Send a frame."""
        self.write(self.frame(opcode, payload, first))

    def send_close(self, code: int, reason: str = "") -> None:
        """Send a close frame."""
        self.send(CLOSE, code.to_bytes(2, "big") + reason.encode())

    def receive(self) -> tuple[int, bytes]:
        """Return the opcode and the payload of the next frame, which has FIN set."""
        fin, opcode, payload = self.receive_fragment()
        check(fin, f"a fragment: opcode {opcode:#x}, {payload[:100]!r}")
        return opcode, payload

    def receive_fragment(self) -> tuple[bool, int, bytes]:
        """Return FIN, the opcode and the payload of the next frame."""
        first, payload = self.receive_frame()
        check(first & 0x70 == 0, f"reserved bits are set: {first:#x}")
        return first & 0x80 != 0, first & 0x0F, payload

    def receive_frame(self) -> tuple[int, bytes]:
        """Return the first octet (FIN, RSV, opcode) and the payload of a frame."""
        first, second = self.read(2)
        check((second & 0x80 != 0) is not self._masks, "masked by the wrong side")
        n = second & 0x7F
        if n > 125:
            n = int.from_bytes(self.read(2 if n == 126 else 8), "big")
        key = b"" if self._masks else self.read(4)
        payload = self.read(n)
        return first, mask(payload, key) if key else payload

    def receive_close(self) -> tuple[int, str]:
        """Return code and reason of the next frame, which closes; 1005 is no code."""
        opcode, payload = self.receive()
        check(opcode == CLOSE, f"no close: opcode {opcode:#x}, {payload[:100]!r}")
        return int.from_bytes(payload[:2] or b"\x03\xed", "big"), payload[2:].decode()

    # Public methods for the opening handshake

    def ask(self, data: bytes = b"") -> str:
        """Open as a client; return the head of the response, which accepts.

        Args:
            data: what to write; by default what `octets.request` returns.
        """
        self.write(data or request())
        head = self.read_head()
        check(head.startswith("HTTP/1.1 101 "), head)
        return head

    def accept(self, *packed: bytes, extra: str = "") -> str:
        """Open as a server; return the head of the request.

        Args:
            packed: octets to write in one packet with the response.
            extra: more headers for it: lines, each with CR LF at its end.
        """
        head = self.read_head()
        key = header(head, "Sec-WebSocket-Key")
        self.write(switching_protocols(key, extra), *packed)
        return head


def check(true: bool, otherwise: str) -> None:
    """Raise AssertionError unless ``true``; no ``assert``, which -O leaves out."""
    if not true:
        raise AssertionError(otherwise)
