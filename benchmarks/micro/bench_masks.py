"""Times masking (RFC 6455, section 5.3), the octets of a message by a key of four.

    python benchmarks/micro/bench_masks.py --fast

gws and aiohttp change a buffer in place; websockets and wsaccel return new octets.
"""

import pyperf
from common import bench, expect, optional

import gws
from gws.protocol import mask


KEY = bytes.fromhex("37fa213d")
KEY_NUMBER = int.from_bytes(KEY, "little")
SIZES = {"64 B": 64, "1 KiB": 1024, "64 KiB": 65536}

kernel = optional("gws.protocol._speedups") if gws.COMPILED else mask
websockets = optional("websockets.speedups")
aiohttp = optional("aiohttp._websocket.helpers")
wsaccel = optional("wsaccel.xormask")


def measure(runner: pyperf.Runner, name: str, size: int) -> None:
    """Measure everybody who is installed."""
    assert kernel is not None  # it is part of the compiled package
    measure = f"mask {name}"
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    wanted = mask.apply_mask(data, KEY)

    buffer = bytearray(data)
    kernel.unmask(buffer, 0, size, KEY_NUMBER)
    expect(bytes(buffer), wanted)
    bench(runner, measure, "gws", kernel.unmask, buffer, 0, size, KEY_NUMBER)
    if aiohttp:
        buffer = bytearray(data)
        aiohttp.websocket_mask(KEY, buffer)
        expect(bytes(buffer), wanted)
        bench(runner, measure, "aiohttp", aiohttp.websocket_mask, KEY, buffer)
    if websockets:
        expect(websockets.apply_mask(data, KEY), wanted)
        bench(runner, measure, "websockets", websockets.apply_mask, data, KEY)
    if wsaccel:
        masker = wsaccel.XorMaskerSimple(KEY)
        expect(masker.process(data), wanted)
        # It goes on in the key where the last call ended: all sizes are whole keys.
        bench(runner, measure, "wsaccel", masker.process, data)


def main() -> None:
    """Measure each size."""
    runner = pyperf.Runner()
    for name, size in SIZES.items():
        measure(runner, name, size)


if __name__ == "__main__":
    main()
