"""One frame, and what a close frame says: octets in, `Frame` out, and back.

RFC 6455, section 5.2:

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-------+-+-------------+-------------------------------+
    |F|R|R|R| opcode|M| Payload len |    Extended payload length    |
    |I|S|S|S|  (4)  |A|     (7)     |            (16/64)            |
    |N|V|V|V|       |S|             |                               |
    | |1|2|3|       |K|             |                               |
    +-+-+-+-+-------+-+-------------+-------------------------------+

A stream of frames that makes a conversation is read by `reader.Reader`; what
stands here knows one frame at a time.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ..exceptions import PayloadTooBig, ProtocolError
from .codes import OP_BINARY, OP_TEXT, close_code_meaning, may_be_sent
from .codes import CloseCode as CloseCode
from .codes import Opcode as Opcode
from .mask import append_frame, apply_mask
from .types import BytesLike


class Frame:
    """A frame of RFC 6455. It does not change.

    Args:
        opcode: what it carries.
        data: the payload, unmasked: bytes-like. The payload of a whole text
            message may also be str.
        fin: whether it ends its message.
        rsv1: for an extension.
        rsv2: for an extension.
        rsv3: for an extension.
    """

    def __init__(
        self,
        opcode: int,
        data: str | BytesLike,
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> None:
        # The first octet as it stands on the wire holds all but the payload.
        self.first = fin << 7 | rsv1 << 6 | rsv2 << 5 | rsv3 << 4 | opcode
        #: The payload as it came; str for text that is whole, else bytes.
        self.payload: Any = data

    @property
    def opcode(self) -> Opcode:
        """What the frame carries."""
        return Opcode(self.first & 0x0F)

    @property
    def data(self) -> bytes:
        """The payload as bytes."""
        if isinstance(self.payload, str):
            return self.payload.encode()
        return bytes(self.payload)

    @property
    def fin(self) -> bool:
        """Whether the frame ends its message."""
        return self.first & 0x80 != 0

    @property
    def rsv1(self) -> bool:
        """The first reserved bit, "compressed" in RFC 7692."""
        return self.first & 0x40 != 0

    @property
    def rsv2(self) -> bool:
        """The second reserved bit."""
        return self.first & 0x20 != 0

    @property
    def rsv3(self) -> bool:
        """The third reserved bit."""
        return self.first & 0x10 != 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frame):
            return NotImplemented
        return self.first == other.first and self.data == other.data

    def __hash__(self) -> int:
        return hash((self.first, self.data))

    def __repr__(self) -> str:
        """What the log shows of a frame: opcode, payload (cut), length, FIN."""
        data = self.data
        shown = data if len(data) <= 40 else data[:25] + b"..." + data[-12:]
        end = "" if self.fin else ", continued"
        return f"<Frame {self.opcode.name} {shown!r} [{len(data)} bytes{end}]>"

    def check(self) -> None:
        """Check what RFC 6455, section 5, asks of a frame by itself.

        Raises:
            ProtocolError: if a reserved bit is set or a control frame is
                fragmented or longer than 125 bytes.
        """
        check_first(self.first)
        if self.first & 0x08 and len(self.data) > 125:
            raise ProtocolError("control frame too long")

    def serialize(
        self, *, mask: bool, extensions: Sequence[Any] | None = None
    ) -> bytes:
        """Return the frame as it goes over the wire.

        Args:
            mask: whether to mask it, with a fresh key; a client must.
            extensions: they encode the frame, in this order.

        Raises:
            ProtocolError: if `check` does.
        """
        self.check()
        frame = self
        for extension in extensions or ():
            frame = extension.encode(frame)
        out = bytearray()
        key = secrets.randbits(32) if mask else 0
        append_frame(out, frame.first, frame.payload, mask, key)
        return bytes(out)

    def write(
        self,
        write: Callable[[bytes], Any],
        *,
        mask: bool,
        extensions: Sequence[Any] | None = None,
    ) -> None:
        """Serialize the frame into one call of ``write``."""
        write(self.serialize(mask=mask, extensions=extensions))

    @staticmethod
    def read(
        read_exact: Callable[[int], bytes],
        *,
        mask: bool,
        max_size: int | None = None,
        extensions: Sequence[Any] | None = None,
    ) -> Frame:
        """Read one frame from anything that can read exactly n bytes.

        Args:
            read_exact: called with a number of bytes; returns as many.
            mask: whether the frame must be masked: a server says True.
            max_size: the longest payload taken, in bytes; None takes any.
            extensions: they decode the frame, in reverse order.

        Raises:
            PayloadTooBig: if the payload is longer than ``max_size``; it has
                not been read.
            ProtocolError: if the frame breaks RFC 6455, section 5.
        """
        first, second = read_exact(2)
        # Masked or not: section 5.1.
        check_mask_bit(second, mask)
        n = second & 0x7F
        if first & 0x08 and n > 125:
            raise ProtocolError("control frame too long")
        if n == 126:
            n = int.from_bytes(read_exact(2), "big")
        elif n == 127:
            n = int.from_bytes(read_exact(8), "big")
        check_length(second & 0x7F, n)
        if max_size is not None and n > max_size:
            raise PayloadTooBig(n, max_size)
        key = read_exact(4) if mask else b""
        data = read_exact(n)
        frame = Frame(
            first & 0x0F,
            apply_mask(data, key) if mask else data,
            first & 0x80 != 0,
            first & 0x40 != 0,
            first & 0x20 != 0,
            first & 0x10 != 0,
        )
        for extension in reversed(extensions or ()):
            frame = extension.decode(frame, max_size=max_size)
        frame.check()
        return frame


def make_frame(first: int, payload: Any) -> Frame:
    """Return the frame whose first octet, and payload, are these."""
    # Micro-optimization: the constructor takes the octet apart, and as long as
    # inflating a short message.
    frame = Frame.__new__(Frame)
    frame.first = first
    frame.payload = payload
    return frame


#: What a reader gives: a message that came in one frame is its payload.
Event: TypeAlias = "str | bytes | Frame"


def as_frame(event: Event) -> Frame:
    """Return what a reader gave as a frame."""
    if isinstance(event, str):
        return Frame(OP_TEXT, event)
    if isinstance(event, bytes):
        return Frame(OP_BINARY, event)
    return event


def check_first(first: int) -> None:
    """Check the first octet of a frame (RFC 6455, section 5.2).

    Raises:
        ProtocolError: if no endpoint may send it.
    """
    # "MUST be 0 unless an extension is negotiated that defines meanings for
    # non-zero values."
    if first & 0x70:
        raise ProtocolError("reserved bits must be 0")
    # "%x3-7 are reserved for further non-control frames", "%xB-F are reserved
    # for further control frames"
    if first & 0x07 > 2:
        raise ProtocolError(f"invalid opcode: {first & 0x0F:#x}")
    # Section 5.5: control frames "MUST NOT be fragmented".
    if first & 0x88 == 0x08:
        raise ProtocolError("fragmented control frame")


def check_mask_bit(second: int, mask: bool) -> None:
    """Check the MASK bit (RFC 6455, section 5.1).

    Raises:
        ProtocolError: if a client did not mask or a server did.
    """
    # "a client MUST mask all frames that it sends to the server"; "A server
    # MUST NOT mask any frames that it sends to the client."
    if (second & 0x80 != 0) != mask:
        raise ProtocolError("incorrect masking")


def check_length(form: int, n: int) -> None:
    """Check a payload length ``n`` whose 7-bit field is ``form`` (section 5.2).

    Raises:
        ProtocolError: if it is out of range or not in its shortest form.
    """
    # "the most significant bit MUST be 0"
    if n > 0x7FFFFFFFFFFFFFFF:
        raise ProtocolError("payload length out of range")
    # "the minimal number of bytes MUST be used to encode the length"
    if (form == 126 and n < 126) or (form == 127 and n < 65536):
        raise ProtocolError("payload length not in its shortest form")


class Close:
    """The code and the reason of a close frame (RFC 6455, section 5.5.1).

    Args:
        code: one of `CloseCode`, or 3000 to 4999.
        reason: at most 123 bytes of UTF-8.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = code
        self.reason = reason

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Close):
            return NotImplemented
        return self.code == other.code and self.reason == other.reason

    def __hash__(self) -> int:
        return hash((self.code, self.reason))

    def __repr__(self) -> str:
        return f"Close({self.code}, {self.reason!r})"

    def __str__(self) -> str:
        """Code, meaning and reason, for people: ``1000 (OK) bye``."""
        words = f"{self.code} ({close_code_meaning(self.code)})"
        return f"{words} {self.reason}" if self.reason else words

    @staticmethod
    def parse(data: bytes) -> Close:
        """Read the payload of a close frame.

        Raises:
            ProtocolError: if the code may not be sent, or a lone byte came.
            UnicodeDecodeError: if the reason is not UTF-8.
        """
        # Section 7.1.5: without a status code, it "is considered to be 1005".
        if not data:
            return Close(CloseCode.NO_STATUS_RCVD)
        if len(data) == 1:
            raise ProtocolError("close frame too short")
        close = Close(int.from_bytes(data[:2], "big"), data[2:].decode())
        close.check()
        return close

    def serialize(self) -> bytes:
        """Return the payload of a close frame.

        Raises:
            ProtocolError: if the code may not be sent or the reason does not fit.
        """
        if self.code == CloseCode.NO_STATUS_RCVD and not self.reason:
            return b""
        self.check()
        data = self.code.to_bytes(2, "big") + self.reason.encode()
        # Section 5.5: "All control frames MUST have a payload length of 125
        # bytes or less".
        if len(data) > 125:
            raise ProtocolError("close reason too long: at most 123 bytes of UTF-8")
        return data

    def check(self) -> None:
        """Check that the code may be sent.

        Raises:
            ProtocolError: if not.
        """
        if not may_be_sent(self.code):
            raise ProtocolError(f"invalid close code: {self.code}")


def cut_reason(reason: str) -> str:
    """Cut a close reason to the 123 octets of UTF-8 that fit."""
    return reason.encode(errors="replace")[:123].decode(errors="ignore")
