"""Frames made and read octet by octet (RFC 6455, section 5.2), without gws."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable


CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN = 0x80

#: The masking key of the example in section 5.7.
KEY = bytes.fromhex("37fa213d")


def xor(data: bytes, key: bytes) -> bytes:
    return bytes(map(operator.xor, data, itertools.cycle(key)))


def header(first: int, n: int, masked: bool, form: int | None = None) -> bytes:
    """Make the header of a frame that claims ``n`` bytes.

    Args:
        form: how many bits the length takes; as few as possible by default.
    """
    if form is None:
        form = 7 if n < 126 else 16 if n < 2**16 else 64
    bit = 0x80 if masked else 0
    head = bytes([first, bit | {7: n, 16: 126, 64: 127}[form]])
    if form > 7:
        head += n.to_bytes(form // 8, "big")
    return head + KEY if masked else head


def frame(
    first: int, payload: bytes = b"", masked: bool = False, form: int | None = None
) -> bytes:
    head = header(first, len(payload), masked, form)
    return head + (xor(payload, KEY) if masked else payload)


def close(code: int | None = None, reason: bytes = b"", masked: bool = False) -> bytes:
    payload = b"" if code is None else code.to_bytes(2, "big") + reason
    return frame(FIN | CLOSE, payload, masked)


def parse(data: bytes, masked: bool) -> list[tuple[int, bytes]]:
    """Return first octet and payload of each frame; there must be nothing else."""
    frames = []
    while data:
        first, second = data[:2]
        data = data[2:]
        assert (second & 0x80 != 0) == masked
        n = second & 0x7F
        if n >= 126:
            size = 2 if n == 126 else 8
            n = int.from_bytes(data[:size], "big")
            data = data[size:]
        key, data = (data[:4], data[4:]) if masked else (bytes(4), data)
        assert len(data) >= n
        frames.append((first, xor(data[:n], key)))
        data = data[n:]
    return frames


def cut(data: bytes, positions: Iterable[int]) -> list[bytes]:
    """Cut ``data`` at these positions; those beyond its end cut off nothing."""
    ends = sorted({0, *(min(at, len(data)) for at in positions), len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]
