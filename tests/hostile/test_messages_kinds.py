"""F15, F17, F19: what our own side may send, empty messages, and types."""

from __future__ import annotations

from typing import Any

import pytest

from gws.exceptions import ProtocolError
from gws.testing import BINARY, CLOSE, CONT, PING, PONG, TEXT

from .conftest import Run, Site, Sites, echo


KINDS = ["serve", "tls", "pywsgi", "client"]

#: What `close` takes no more than what a close frame can hold.
BAD_CLOSES: list[tuple[tuple[Any, ...], type[Exception]]] = [
    ((1000, bytearray(b"x")), TypeError),
    ((1000, memoryview(b"x")), TypeError),
    ((1000, b"x"), TypeError),
    ((1000, 5), TypeError),
    ((1000, None), TypeError),
    ((1000, 2**20), TypeError),
    ((None,), TypeError),
    (("1000",), TypeError),
    ((1000.0,), TypeError),
    ((1000, "x" * 124), ProtocolError),
    ((1000, "😀" * 31), ProtocolError),
    ((1000, "\ud800"), UnicodeEncodeError),
    *(((code,), ProtocolError) for code in (-1, 0, 999, 1004, 1006, 1015, 65536)),
    ((5000,), ProtocolError),
]

#: And `ping` and `pong`. CVE-2016-10518: a number was taken for a length, and that
#: many bytes of memory were sent.
BAD_PINGS: list[tuple[Any, type[Exception]]] = [
    (5, TypeError),
    (2**20, TypeError),
    (1.5, TypeError),
    ([1, 2], TypeError),
    ({"a": 1}, TypeError),
    (bytes(126), ProtocolError),
    ("😀" * 32, ProtocolError),
    ("\ud800", UnicodeEncodeError),
    (memoryview(bytes(256)).cast("I"), ProtocolError),
]

BAD_MESSAGES: list[tuple[Any, type[Exception]]] = [
    (5, TypeError),
    (None, TypeError),
    (1.5, TypeError),
    ({"a": 1}, TypeError),
    ("\ud800", UnicodeEncodeError),
    ([5], TypeError),
]

#: What ends the connection well.
GOOD_CLOSES: list[tuple[tuple[Any, ...], bytes]] = [
    ((), b"\x03\xe8"),
    ((4999, "x" * 123), b"\x13\x87" + b"x" * 123),
    ((1000, "😀" * 30), b"\x03\xe8" + "😀".encode() * 30),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("args", "payload"), GOOD_CLOSES)
def test_f15_what_our_side_sends(
    sites: Sites, kind: str, args: tuple[Any, ...], payload: bytes
) -> None:
    def try_all(ws: Any, run: Run) -> None:
        for bad, error in BAD_CLOSES:
            with pytest.raises(error):
                ws.close(*bad)
        for data, error in BAD_PINGS:
            for send in (ws.ping, ws.pong):
                with pytest.raises(error):
                    send(data)
        for message, error in BAD_MESSAGES:
            with pytest.raises(error):
                ws.send(message)
        for data in ("", b"x", bytearray(b"\0" * 125), memoryview(b"yy")):
            ws.ping(data)
        ws.pong(memoryview(b"abcd").cast("I"))
        ws.send(memoryview(bytes(range(8)))[::2])
        ws.close(*args)
        echo(ws, run)

    with sites(kind, handler=try_all) as site, site.open_peer() as peer:
        # Nothing of what was refused is on the wire.
        for data in (b"", b"x", bytes(125), b"yy"):
            assert peer.receive() == (PING, data)
        assert peer.receive() == (PONG, b"abcd")
        assert peer.receive() == (BINARY, b"\x00\x02\x04\x06")
        assert peer.receive() == (CLOSE, payload)
        peer.send(CLOSE, payload)
        assert site.end_seen(peer)


def test_f17_empty_messages(target: Site) -> None:
    with target.open_peer() as peer:
        for opcode, empty in ((TEXT, ""), (BINARY, b"")):
            peer.send(opcode)
            assert peer.receive() == (opcode, b"")
            # In two frames, and in three.
            for n in (1, 2):
                peer.send(opcode, first=0)
                for _ in range(n - 1):
                    peer.send(CONT, first=0)
                peer.send(CONT)
                assert peer.receive() == (opcode, b"")
            until_now = target.runs[-1].messages
            assert until_now[-3:] == [empty] * 3
        peer.send(PING)
        assert peer.receive() == (PONG, b"")
        peer.send(PONG)
        peer.send(CLOSE)
        assert peer.receive() == (CLOSE, b"")
        assert target.end_seen(peer)
    assert target.last_run().messages == ["", "", "", b"", b"", b""]


def test_f19_binary_is_bytes(target: Site) -> None:
    with target.open_peer() as peer:
        peer.send(BINARY, b"\x00\xff")
        peer.send(BINARY, bytes(200_000))
        peer.write(
            peer.frame(BINARY, b"a", first=0), peer.frame(CONT, b"b"), peer.frame(TEXT)
        )
        for n in (2, 200_000, 2, 0):
            assert len(peer.receive()[1]) == n
    messages = target.last_run().messages
    assert [type(message) for message in messages] == [bytes, bytes, bytes, str]
