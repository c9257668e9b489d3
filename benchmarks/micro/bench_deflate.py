"""Times permessage-deflate (RFC 7692) on a frame, without sockets.

    python benchmarks/micro/bench_deflate.py --fast

A frame of JSON in, the compressed one out, and back. Neither side keeps a context:
what gws does unless told otherwise. Each library has its own settings: gws level 3 (of
zlib-ng, if that is installed), websockets zlib's default with memLevel 5, wsproto
zlib's defaults.
"""

import zlib
from collections.abc import Callable

import pyperf
from common import bench, expect, optional, records

from gws.extensions import PerMessageDeflate
from gws.protocol.frames import Frame, Opcode


websockets = optional("websockets.extensions.permessage_deflate")
wsproto = optional("wsproto.extensions")

SIZES = {"200 B": 200, "4 KiB": 4096, "64 KiB": 65536}
TAIL = b"\x00\x00\xff\xff"


def inflated(payload: bytes) -> bytes:
    """Return what a compressed payload holds."""
    return zlib.decompressobj(wbits=-15).decompress(payload + TAIL)


def gws_calls(data: bytes) -> tuple[Callable[[], bytes], Callable[[], bytes]]:
    """Return what compresses the payload of a frame, and what inflates it."""
    extension = PerMessageDeflate(True, True, threshold=0)
    frame = Frame(Opcode.TEXT, data)
    compressed = extension.encode(frame)

    def compress() -> bytes:
        return bytes(extension.encode(frame).payload)

    def inflate() -> bytes:
        return bytes(extension.decode(compressed).payload)

    return compress, inflate


def websockets_calls(data: bytes) -> tuple[Callable[[], bytes], Callable[[], bytes]]:
    """Return the same for websockets."""
    assert websockets is not None  # `main` looked
    from websockets.frames import Frame, Opcode

    extension = websockets.PerMessageDeflate(True, True, 15, 15, {"memLevel": 5})
    frame = Frame(Opcode.TEXT, data)
    compressed = extension.encode(frame)

    def compress() -> bytes:
        return bytes(extension.encode(frame).data)

    def inflate() -> bytes:
        return bytes(extension.decode(compressed).data)

    return compress, inflate


def wsproto_calls(data: bytes) -> tuple[Callable[[], bytes], Callable[[], bytes]]:
    """Return the same for wsproto, whose extension is called as its protocol does."""
    assert wsproto is not None  # `main` looked
    from wsproto.frame_protocol import FrameProtocol, Opcode, RsvBits

    extension = wsproto.PerMessageDeflate(True, 15, True, 15)
    extension.accept("permessage-deflate")
    server = FrameProtocol(client=False, extensions=[])

    def compress() -> bytes:
        rsv = RsvBits(False, False, False)
        found: bytes = extension.frame_outbound(server, Opcode.TEXT, rsv, data, True)[1]
        return found

    compressed = compress()

    def inflate() -> bytes:
        rsv = RsvBits(True, False, False)
        extension.frame_inbound_header(server, Opcode.TEXT, rsv, len(compressed))
        found: bytes = extension.frame_inbound_payload_data(server, compressed)
        return found + extension.frame_inbound_complete(server, True)

    return compress, inflate


def main() -> None:
    """Measure each size, by everybody."""
    runner = pyperf.Runner()
    makers = [("gws", gws_calls)]
    if websockets:
        makers.append(("websockets", websockets_calls))
    if wsproto:
        makers.append(("wsproto", wsproto_calls))
    for name, size in SIZES.items():
        data = records(size).encode()
        for library, make in makers:
            compress, inflate = make(data)
            expect(inflated(compress()), data)
            expect(inflate(), data)
            bench(runner, f"compress {name} of JSON", library, compress)
            bench(runner, f"inflate {name} of JSON", library, inflate)


if __name__ == "__main__":
    main()
