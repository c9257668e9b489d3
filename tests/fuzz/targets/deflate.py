"""Any octets as compressed messages, and any messages there and back.

What must hold: only ProtocolError is raised; no more comes out than the limit; what
comes out is what zlib makes of the same octets; with whatever both sides agree on, a
message that was encoded is decoded to itself.
"""

from __future__ import annotations

import zlib
from typing import Any

from gws.exceptions import PayloadTooBig, ProtocolError
from gws.extensions.deflate import MAX_FINAL_BLOCKS, PerMessageDeflate
from gws.protocol.frames import Frame, make_frame

from ..choices import Choices, cut, outcome


FIN, RSV1, BINARY = 0x80, 0x40, 0x02
TAIL = b"\x00\x00\xff\xff"

LIMITS = [None, 0, 1, 100, 2**18]
#: How often the octets are repeated before they are compressed.
REPEATS = [1, 50, 1000]


def fuzz_one(data: bytes) -> None:
    choices = Choices(data)
    choices.one_of([decode, there_and_back])(choices)


# Decoding


def decode(choices: Choices) -> None:
    """Each step of the cut is a frame; a message ends where its turn says so."""
    forget = choices.one_of([True, False])
    bits = choices.one_of([15, 8, 9, 12])
    limit = choices.one_of(LIMITS)
    ends = choices.octet()
    steps = choices.numbers(4)
    pieces = cut(choices.rest(), steps)
    extension = PerMessageDeflate(forget, True, bits, 15)
    message: list[bytes] = []
    octets = b""
    left = limit
    for i, piece in enumerate(pieces):
        fin = FIN if ends >> i % 8 & 1 else 0
        frame = make_frame(fin | (0 if message else RSV1 | BINARY), piece)
        decoded = outcome(decode_one, extension, frame, left, raises=ProtocolError)
        if isinstance(decoded, ProtocolError):
            assert isinstance(decoded, PayloadTooBig) == (decoded.close_code == 1009)
            return
        assert decoded.first == frame.first & ~RSV1
        message.append(decoded.payload)
        octets += piece
        out = b"".join(message)
        assert limit is None or len(out) <= limit
        left = None if limit is None else limit - len(out)
        if fin:
            if forget:
                check_message(octets, out)
            message, octets, left = [], b"", limit
    check_kept(extension, bits)


def check_message(octets: bytes, out: bytes) -> None:
    """Check a message, without others before it, by RFC 7692, section 7.2.2."""
    inflater = zlib.decompressobj(-15)
    expected = inflater.decompress(octets + TAIL)
    # Past a block with BFINAL=1 only the beginning is comparable.
    assert out.startswith(expected) if inflater.eof else out == expected


def decode_one(extension: PerMessageDeflate, frame: Frame, limit: int | None) -> Any:
    return extension.decode(frame, max_size=limit)


def check_kept(extension: Any, bits: int) -> None:
    """Check that no more of what came is kept than a window."""
    assert len(extension._window or b"") <= 1 << bits


# There and back


def there_and_back(choices: Choices) -> None:
    forget = choices.one_of([True, False])
    bits = choices.one_of([15, 9, 12, 8])
    level = choices.octet() % 10
    repeats = choices.one_of(REPEATS)
    threshold = choices.one_of([0, 256])
    ends = choices.octet()
    steps = choices.numbers(4)
    pieces = cut(choices.rest(), steps)
    settings = {"level": level, "memLevel": 1 + level % 9}
    sender = PerMessageDeflate(True, forget, 15, bits, settings, threshold)
    receiver = PerMessageDeflate(forget, True, bits, 15)
    inflater = zlib.decompressobj(-15)
    is_first = True
    for i, piece in enumerate(pieces):
        fin = FIN if i == len(pieces) - 1 or ends >> i % 8 & 1 else 0
        piece *= repeats
        frame = make_frame(fin | (BINARY if is_first else 0), piece)
        encoded = sender.encode(frame)
        if encoded.first & RSV1 and forget:
            inflater = zlib.decompressobj(-15)
        is_compressed = encoded is not frame
        if is_compressed:
            # As somebody else does it: RFC 7692, section 7.2.2.
            tail = TAIL if fin else b""
            assert inflater.decompress(encoded.payload + tail) == piece
            assert len(encoded.payload) <= len(piece) + len(piece) // 8 + 1024
        decoded = receiver.decode(encoded, max_size=len(piece))
        assert decoded == frame
        is_first = fin != 0
    check_kept(receiver, bits)


def deflated(data: bytes, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(flush)).removesuffix(TAIL)


def to_decode(data: bytes, limit: int = 0, ends: int = 0xFF, *steps: int) -> bytes:
    return bytes([0, 0, 0, limit, ends, *steps, *bytes(4 - len(steps))]) + data


HELLO = deflated(b"Hello")

SEEDS = {
    "hello": to_decode(HELLO),
    "hello-in-two": to_decode(HELLO, 3, 0b10, 3),
    "stored": to_decode(b"\x00\x05\x00\xfa\xffHello\x00"),
    "final-block": to_decode(deflated(b"Hello", zlib.Z_FINISH) + b"\x00"),
    "final-blocks": to_decode(
        deflated(b"Hello", zlib.Z_FINISH) * (MAX_FINAL_BLOCKS + 1)
    ),
    "bomb": to_decode(deflated(bytes(2**22)), 4),
    "two-with-takeover": b"\x00\x01" + to_decode(HELLO * 2, 0, 0xFF, len(HELLO))[2:],
    "cut-off": to_decode(HELLO[:3]),
    "there-and-back": bytes([1, 0, 0, 3, 1, 0, 0xFF, 0, 0, 0, 0]) + b"Hello, hello",
    "takeover-window": bytes([1, 1, 1, 6, 1, 0, 0xFF, 6, 0, 0, 0]) + b"Hello, hello",
    "takeover": bytes([1, 1, 1, 6, 2, 0, 0b101, 2, 2, 2, 0]) + b"Hello, hello",
}
