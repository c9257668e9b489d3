"""S03 and beside it: a Timeout or a kill while something is received.

Wherever it strikes, also in the middle of a fragmented message: the next `recv`
returns the whole message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest

from gws import ConnectionClosedOK
from gws.testing import BINARY, CONT, PING, PONG, TEXT, RawPeer, settle

from .conftest import LONG, Lend, Run, Sites


def by_timeout_error(ws: Any) -> None:
    with pytest.raises(TimeoutError):
        ws.recv(timeout=0.003)


def by_gevent_timeout(ws: Any) -> None:
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.003):
        ws.recv()


def by_timeout_in_iteration(ws: Any) -> None:
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.003):
        for _ in ws:
            pytest.fail("a message came")


def by_kill(ws: Any) -> None:
    receiver = gevent.spawn(ws.recv)
    gevent.sleep(0)
    receiver.kill()
    assert isinstance(receiver.value, gevent.GreenletExit)


def by_polling(ws: Any) -> None:
    with pytest.raises(TimeoutError):
        ws.recv(timeout=0)


INTERRUPTIONS = [
    by_timeout_error,
    by_gevent_timeout,
    by_timeout_in_iteration,
    by_kill,
    by_polling,
]


def octets_of(peer: RawPeer) -> bytes:
    """Return a message in fragments, a ping between them; and another message."""
    return b"".join(
        [
            peer.frame(TEXT, "eé".encode()[:2], first=0),
            peer.frame(CONT, b"", first=0),
            peer.frame(PING, b"?"),
            peer.frame(CONT, "eé".encode()[2:] + b"x" * 200),
            peer.frame(BINARY, b"next"),
        ]
    )


@pytest.mark.parametrize("interrupt", INTERRUPTIONS)
def test_a_message_of_which_every_part_is_awaited_in_vain(
    lend: Lend, interrupt: Callable[[Any], None]
) -> None:
    with lend() as (ws, peer):
        octets = octets_of(peer)
        end = len(octets) - len(peer.frame(BINARY, b"next"))
        parts = [*range(1, 16), end - 1]
        begin = 0
        for cut in parts:
            peer.write(octets[begin:cut])
            interrupt(ws)
            begin = cut
        peer.write(octets[begin:])
        assert ws.recv(timeout=LONG) == "eé" + "x" * 200
        assert ws.recv(timeout=LONG) == b"next"
        assert peer.receive() == (PONG, b"?")


@pytest.mark.parametrize("interrupt", INTERRUPTIONS)
def test_a_compressed_message(sites: Sites, interrupt: Callable[[Any], None]) -> None:
    # The inflater has half of it when the wait ends.
    half = b"\x4a\x4c\x4a"  # "abc" in one block of fixed codes, cut
    rest = b"\x06\x00"
    turns: list[int] = []

    def handle(ws: Any, run: Run) -> None:
        for _ in range(3):
            interrupt(ws)
        turns.append(1)
        run.messages.append(ws.recv())

    offer = "permessage-deflate"
    with sites("serve", handle) as site, site.open_peer(extensions=offer) as peer:
        peer.send(TEXT, half, first=0x40)
        while not turns:
            gevent.sleep(0.001)
        peer.send(CONT, rest)
        assert peer.receive_close() == (1000, "")
        peer.send_close(1000)
        site.last_run()
        assert site.runs[0].messages == ["abc"]


def test_pieces_of_a_message_are_awaited_in_vain(lend: Lend) -> None:
    with lend() as (ws, peer):
        pieces = ws.recv_streaming()
        received = []
        for part in (b"a", b"b", b"c"):
            with pytest.raises(gevent.Timeout), gevent.Timeout(0.003):
                next(pieces)
            peer.send(CONT if received else TEXT, part, first=0)
            received.append(next(pieces))
        peer.send(CONT, b"d")
        assert "".join([*received, *pieces]) == "abcd"
        peer.send(TEXT, b"next")
        assert ws.recv(timeout=LONG) == "next"


@pytest.mark.parametrize("kind", ["serve", "tls", "pywsgi"])
def test_s03_a_handler_is_killed_in_recv(sites: Sites, kind: str) -> None:
    handlers = []

    def handle(ws: Any, run: Run) -> None:
        handlers.append(gevent.getcurrent())
        ws.recv()

    with sites(kind, handle) as site, site.open_peer() as peer:
        peer.send(TEXT, b"half", first=0)
        peer.send(PING)
        assert peer.receive() == (PONG, b"")
        gevent.kill(handlers[0])
        assert peer.receive_close() == (1001, "")
        # The other half comes to nobody, and does no harm.
        peer.send(CONT, b"other half")
        peer.send_close(1001)
        assert peer.read_to_end() == b""
        assert isinstance(site.last_run().end, gevent.GreenletExit)


def test_s03_killed_when_its_message_is_there_already(lend: Lend) -> None:
    # The message came in the same turn of the loop: it is kept for the next.
    with lend() as (ws, peer):
        for number in range(20):
            receiver = gevent.spawn(ws.recv)
            gevent.sleep(0)
            peer.send(TEXT, b"%d" % number)
            if number % 2:
                settle()
            receiver.kill()
            if isinstance(receiver.value, gevent.GreenletExit):
                assert ws.recv(timeout=LONG) == str(number)
            else:
                assert receiver.value == str(number)


@pytest.mark.parametrize("interrupt", [by_timeout_error, by_gevent_timeout, by_kill])
def test_the_end_is_awaited_in_vain(
    lend: Lend, interrupt: Callable[[Any], None]
) -> None:
    with lend() as (ws, peer):
        interrupt(ws)
        peer.send_close(1000)
        assert peer.receive_close() == (1000, "")
        peer.end()
        for _ in range(2):
            with pytest.raises(ConnectionClosedOK):
                ws.recv(timeout=LONG)
