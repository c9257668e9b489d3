"""A PNG in, its size and colours out; without a library, as Chromium writes them.

Names are those of the PNG specification, https://www.w3.org/TR/png-3/.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator


SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: Bytes of a pixel by colour type: truecolour, and with alpha; 8 bits a sample.
PIXEL_SIZES = {2: 3, 6: 4}


class Image:
    """A picture.

    Raises:
        AssertionError: if it is no PNG, or none of this kind.
    """

    def __init__(self, png: bytes) -> None:
        chunks = dict_of_chunks(png)
        header = struct.unpack("!IIBBBBB", chunks[b"IHDR"])
        width, height, depth, colour_type, _, _, interlace = header
        assert (depth, interlace) == (8, 0)
        #: Width and height.
        self.size = (width, height)
        n = PIXEL_SIZES[colour_type]
        data = zlib.decompress(chunks[b"IDAT"])
        assert len(data) == height * (1 + width * n)
        #: How many pixels have a colour.
        self.colours: Counter[bytes] = Counter()
        # Most lines are like others.
        for line, n_like in Counter(unfiltered(data, width * n, n)).items():
            for i in range(0, len(line), n):
                self.colours[line[i : i + n]] += n_like


def dict_of_chunks(png: bytes) -> dict[bytes, bytes]:
    """Return the data of all chunks by type; those of a type belong together."""
    assert png.startswith(SIGNATURE)
    chunks: dict[bytes, bytes] = {}
    pos = len(SIGNATURE)
    while pos < len(png):
        length, kind = struct.unpack_from("!I4s", png, pos)
        chunks[kind] = chunks.get(kind, b"") + png[pos + 8 : pos + 8 + length]
        pos += 12 + length
    return chunks


def unfiltered(data: bytes, size: int, n: int) -> Iterator[bytes]:
    """Undo the filters (section 9.2) of lines of `size` bytes, pixels of `n`."""
    above = bytearray(size)
    for start in range(0, len(data), size + 1):
        kind = data[start]
        line = bytearray(data[start + 1 : start + 1 + size])
        assert kind <= 4
        if kind == 1:
            for i in range(n, size):
                line[i] = (line[i] + line[i - n]) & 0xFF
        elif kind == 2 and not any(line):  # as the one above: most are
            line = above
        elif kind == 2:
            line = bytearray((a + b) & 0xFF for a, b in zip(line, above, strict=True))
        elif kind == 3:
            for i in range(size):
                left = line[i - n] if i >= n else 0
                line[i] = (line[i] + (left + above[i]) // 2) & 0xFF
        elif kind == 4:
            for i in range(size):
                left, corner = (line[i - n], above[i - n]) if i >= n else (0, 0)
                line[i] = (line[i] + paeth(left, above[i], corner)) & 0xFF
        yield bytes(line)
        above = line


def paeth(a: int, b: int, c: int) -> int:
    """Return what is closest to a + b - c: left, above, or the corner of both."""
    pa, pb, pc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    if pa <= pb and pa <= pc:
        return a
    return b if pb <= pc else c
