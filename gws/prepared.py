"""A message in, its frame out: made once, for however many connections.

Of a message that extensions encode, too: connections that encode alike, as all do
that keep no context, share one encoding.
"""

from __future__ import annotations

from collections.abc import Hashable

from .protocol.base import Protocol
from .protocol.codes import OP_BINARY, OP_TEXT
from .protocol.frames import Frame
from .protocol.mask import append_bytes
from .protocol.types import BytesLike
from .protocol.writer import write_frame


class PreparedMessage:
    """A whole message that is sent over many connections.

    Args:
        message: str is Text, bytes-like Binary.
        text: True makes Text of bytes, False Binary of str.

    Raises:
        TypeError: if the message is neither str nor bytes-like.
        UnicodeError: if it is to be Text and is not.
    """

    def __init__(self, message: str | BytesLike, text: bool | None = None) -> None:
        if isinstance(message, str):
            self._first = 0x80 | (OP_BINARY if text is False else OP_TEXT)
            # Once for all: masked frames are made for each connection.
            self._payload: BytesLike = message.encode()
        else:
            self._first = 0x80 | (OP_TEXT if text else OP_BINARY)
            self._payload = contiguous(message)
            if text:
                str(self._payload, "utf-8")
        #: The length of the payload, in bytes, before extensions encode it.
        self.size = len(self._payload)
        # The frame as it is without extensions, and, by what their connections
        # have in common, as these make it; not masked.
        self._plain: bytearray | None = None
        self._encoded: dict[Hashable, tuple[Frame, bytearray]] = {}

    def write(self, protocol: Protocol) -> None:
        """Append the frame to what a connection sends; nothing is checked."""
        if protocol.extensions:
            self._write_encoded(protocol)
        elif protocol.masked:
            # Section 5.3 asks for a fresh key a frame: nothing can be shared.
            write_frame(protocol.out, self._first, self._payload, True)
        else:
            plain = self._plain
            if plain is None:
                plain = self._plain = bytearray()
                write_frame(plain, self._first, self._payload, False)
            append_bytes(protocol.out, plain, 0, len(plain))

    def _write_encoded(self, protocol: Protocol) -> None:
        key = protocol.shared_encoding
        if key is None:
            protocol.write(self._first, self._payload)
            return
        known = self._encoded.get(key)
        if known is None:
            frame = protocol.encoded(self._first, self._payload, None)
            octets = bytearray()
            write_frame(octets, frame.first, frame.payload, False)
            known = self._encoded[key] = frame, octets
        frame, octets = known
        if protocol.masked:
            write_frame(protocol.out, frame.first, frame.payload, True)
        else:
            append_bytes(protocol.out, octets, 0, len(octets))


def contiguous(data: object) -> BytesLike:
    """Return ``data`` as something whose octets lie in one piece.

    Raises:
        TypeError: if it is not bytes-like.
    """
    if isinstance(data, (bytes, bytearray)):
        return data
    if isinstance(data, memoryview):
        flat = data.c_contiguous and data.ndim == 1 and data.itemsize == 1
        return data if flat else bytes(data)
    raise TypeError(f"message must be str or bytes-like, not {type(data).__name__}")
