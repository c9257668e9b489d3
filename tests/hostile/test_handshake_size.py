"""Requests and answers that are too long, have too much, or are slow to parse."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import gevent
import pytest

import gws
from gws import InvalidHandshake, connect
from gws.exceptions import InvalidHeader
from gws.protocol import headers as parsers
from gws.testing import TEXT, RawPeer, request
from gws.testing.octets import HANDSHAKE, header, switching_protocols

from ..wire import raw_server
from .conftest import Site, peak_memory


#: What the head of one request may cost, in bytes: it may have 32 KiB, and is kept
#: as octets, as lines and as headers.
HEAD_MEMORY = 2**20


def headers(n: int, value: str = "x") -> str:
    return "".join(f"X-{i}: {value}\r\n" for i in range(n))


def write_all(peer: RawPeer, parts: Iterator[bytes]) -> None:
    """Write until it is all sent, or nobody takes it any more."""
    with contextlib.suppress(OSError):
        for part in parts:
            peer.write(part)


def endless(line: bytes) -> Iterator[bytes]:
    yield request()[:-2]
    for _ in range(1000):
        yield line * (2**16 // len(line))


#: What comes behind the request line and Host, all of it without an end.
TOO_LARGE: dict[str, Callable[[], Iterator[bytes]]] = {
    "101 headers": lambda: iter([request("/", HANDSHAKE + headers(100))]),
    "2 000 headers": lambda: iter([request("/", HANDSHAKE + headers(2000))]),
    "100 000 headers": lambda: iter([request("/", HANDSHAKE + headers(100_000))]),
    # Before what opens: it must not be forgotten for them.
    "2 000 headers first": lambda: iter([request("/", headers(2000) + HANDSHAKE)]),
    "one of 100 kB": lambda: iter([request("/", headers(1, "x" * 100_000))]),
    "90 of 60 kB": lambda: iter([request("/", headers(90, "x" * 60_000))]),
    "a name of 100 kB": lambda: iter([request("/", "x" * 100_000 + ": y\r\n")]),
    "just over 32 KiB": lambda: iter(
        [request("/", HANDSHAKE + headers(9, "x" * 4000))]
    ),
    "headers without an end": lambda: endless(b"X: y\r\n"),
    "a header without an end": lambda: endless(b"x"),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_h02_too_many_headers_or_too_large(site: Site, case: str) -> None:
    parts = TOO_LARGE[case]()
    data = [next(parts)]  # made before memory is counted
    with site.peer() as peer, peak_memory(HEAD_MEMORY + 2**17):
        writing = gevent.spawn(write_all, peer, (p for ps in (data, parts) for p in ps))
        assert peer.read_head().startswith("HTTP/1.1 431 ")
        with contextlib.suppress(ConnectionResetError):
            peer.read_to_end()
        writing.kill()
    assert site.runs == [] == site.plain


def test_h02_the_most_that_is_taken(site: Site) -> None:
    # Host and the four of the handshake are among the hundred.
    with site.peer() as peer:
        peer.ask(request("/", HANDSHAKE + headers(95)))
        peer.send(TEXT, b"hello")
        assert peer.receive() == (TEXT, b"hello")


@pytest.mark.parametrize("n", [8193, 2**20])
@pytest.mark.parametrize("end", [b" HTTP/1.1\r\n\r\n", b""], ids=["whole", "endless"])
def test_h03_a_long_request_line(site: Site, n: int, end: bytes) -> None:
    line = b"GET /" + b"x" * (n - 5 - len(end.rstrip()) - 2 * bool(end)) + end
    with site.peer() as peer, peak_memory(HEAD_MEMORY + 2**17):
        writing = gevent.spawn(write_all, peer, iter([line]))
        # gevent's server says it in a status line of HTTP/1.0.
        assert peer.read_head().split()[1] == "414"
        with contextlib.suppress(ConnectionResetError):
            peer.read_to_end()
        writing.kill()
    assert site.runs == [] == site.plain


def test_h03_the_longest_request_line_that_is_taken(site: Site) -> None:
    path = "/" + "x" * (8190 - len("GET / HTTP/1.1\r\n"))
    with site.peer() as peer:
        peer.ask(request(path))
        peer.send_close(1000)
        peer.receive_close()
    assert site.last_run().path == path


# What a client is answered


@pytest.mark.parametrize(
    "extra",
    [headers(100), headers(1, "x" * 100_000), headers(90, "x" * 60_000)],
    ids=["103 headers", "100 kB", "90 of 60 kB"],
)
def test_h02_an_answer_that_is_too_large(leakcheck: None, extra: str) -> None:
    def play(peer: RawPeer) -> None:
        key = header(peer.read_head(), "Sec-WebSocket-Key")
        write_all(peer, iter([switching_protocols(key, extra)]))

    with raw_server(play) as server, pytest.raises(InvalidHandshake):
        connect(server.uri).open()


# H06: time is linear in what came

#: The seconds of CPU that 32 KiB of a header may take; linear takes a tenth of it,
#: quadratic a hundred times as much. Coverage makes the pure build slow.
QUICK = 0.1 if gws.COMPILED else 0.4

#: Values that cost others more than a linear time.
COSTLY = {
    "spaces": "b" + " " * 32_000 + "x",
    "tabs": "b" + "\t" * 32_000 + ",",
    "commas": "a," * 16_000,
    "only commas": "," * 32_000,
    "parameters": "a" + ";x=y" * 8_000,
    "a quote without an end": 'a; b="' + "x" * 32_000,
    "backslashes without an end": 'a; b="' + "\\" * 32_000,
    "quotes": 'a; b="' * 5_000,
    "equals signs": "a;" + "=" * 32_000,
    "dots": "1." * 16_000,
    "colons": ":" * 32_000,
    "brackets": "[" * 32_000,
}

PARSERS = [
    "parse_connection",
    "parse_upgrade",
    "parse_extension",
    "parse_subprotocol",
    "parse_authorization_basic",
    "parse_www_authenticate",
    "parse_host",
]


@pytest.mark.parametrize("parser", PARSERS)
def test_h06_time_is_linear(parser: str) -> None:
    parse = getattr(parsers, parser)
    for name, value in COSTLY.items():
        began = time.thread_time()
        with contextlib.suppress(InvalidHeader):
            parse(value)
        assert time.thread_time() - began < QUICK, name


@pytest.mark.parametrize(
    "name",
    ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol", "Connection", "Upgrade"],
)
def test_h06_on_the_wire(site: Site, name: str) -> None:
    """As much of it as a line may have; the neighbour must not notice."""
    for case, value in COSTLY.items():
        # Spaces at its end would be no part of it.
        asked = HANDSHAKE + f"{name}: {value[:8000]}!\r\n"
        assert site.status(request("/", asked)) in ("101", "400"), case


def test_h06_names_of_other_things(site: Site) -> None:
    """No extension that we know: it is as if it had not been offered."""
    for name in ("constructor", "__class__", "__proto__", "__init__", "name"):
        for offer in (name, f"{name}; {name}", f"permessage-deflate; {name}={name}"):
            asked = HANDSHAKE + f"Sec-WebSocket-Extensions: {offer}\r\n"
            with site.peer() as peer:
                head = peer.ask(request("/", asked))
                assert "Sec-WebSocket-Extensions" not in head, offer
                peer.send(TEXT, b"hello")
                assert peer.receive() == (TEXT, b"hello")


def test_h06_malformed_extensions(site: Site) -> None:
    for offer in ('a; b="', 'a; b="c" d', "a b", ";", "a;", "a; b=", "", '"a"'):
        asked = HANDSHAKE + f"Sec-WebSocket-Extensions: {offer}\r\n"
        assert site.refuse(request("/", asked)).startswith("HTTP/1.1 400 "), offer
    assert site.runs == []
