"""What the micro-benchmarks share: how to name them, and where a message is from.

A benchmark is called "measure | library". What is measured stands on the left, a line
of the table; who did it on the right, a column.
"""

import json
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import pyperf


#: In one call, like the frames of one read.
FRAMES = 100

#: What a browser sends, of the size that it has with a cookie of a session.
REQUEST = (
    b"GET /chat/lobby HTTP/1.1\r\n"
    b"Host: chat.example.com\r\n"
    b"Connection: Upgrade\r\n"
    b"Pragma: no-cache\r\n"
    b"Cache-Control: no-cache\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101\r\n"
    b"Upgrade: websocket\r\n"
    b"Origin: https://chat.example.com\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Accept-Language: en-GB,en;q=0.9\r\n"
    b"Cookie: session=eyJ1c2VyIjo0MiwibmFtZSI6ImFsaWNlIn0.Zx1c2g.c2lnbmF0dXJl\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"\r\n"
)


def optional(name: str) -> ModuleType | None:
    """Return a module, None where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        return None


def bench(
    runner: pyperf.Runner,
    measure: str,
    library: str,
    call: Callable[..., object],
    *args: Any,
    each: int = 1,
) -> None:
    """Measure a call that does `each` of what the table tells the time of."""
    runner.bench_func(f"{measure} | {library}", call, *args, inner_loops=each)


def records(size: int) -> str:
    """Return so many characters of JSON, like a list of what is traded."""
    found: list[dict[str, object]] = []
    while len(text := json.dumps(found)) < size:
        n = len(found)
        found.append(
            {"id": 7919 * n, "symbol": f"GWS{n % 7}", "price": 100 + n * 37 % 91 / 100}
        )
    return text[: size - 1] + "]"


def expect(found: object, wanted: object) -> None:
    """Check before the clock runs that what is measured does its work."""
    if found != wanted:
        raise AssertionError(f"{found!r} is not {wanted!r}")
