"""gws talks with other libraries, either side, without extensions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gws import ConnectionClosed

from .sides import Meeting, Pair


pytestmark = pytest.mark.usefixtures("leakcheck")

#: aiohttp sends whole messages only.
SENDS_FRAGMENTS = pytest.mark.parametrize(
    "library", ["websockets", "node"], indirect=True
)


@pytest.fixture
def pair(role: str, peer: Any) -> Iterator[Pair]:
    options = {"max_size": 2**24, "subprotocols": ["interop"], "compression": None}
    with Meeting(peer, options).of(role) as pair:
        yield pair
        assert pair.sent.extensions is pair.received.extensions is None


def test_either_side_sends(pair: Pair) -> None:
    assert pair.ws.subprotocol == "interop"
    assert pair.ask("subprotocol") == "interop"
    pair.ws.send("¿qué?")
    assert pair.ask("recv") == "¿qué?"
    pair.tell("send", {"hex": "ff00"})
    assert pair.ws.recv() == b"\xff\x00"
    assert pair.hear() is None


@pytest.mark.parametrize(
    "message", ["", {"hex": ""}, "x" * 125, "x" * 126, "x" * 65536, "é" * 2**19]
)
def test_lengths_at_the_borders(pair: Pair, message: Any) -> None:
    pair.tell("send", message)
    received = pair.ws.recv()
    assert pair.hear() is None
    assert received == (b"" if message == {"hex": ""} else message)
    pair.ws.send(received)
    assert pair.ask("recv") == message


def test_fragments_of_gws(pair: Pair) -> None:
    pair.ws.send(["one ", "two ", "three"])
    assert pair.ask("recv") == "one two three"
    pair.ws.send(iter([b"one", b"two"]))
    assert pair.ask("recv") == {"hex": b"onetwo".hex()}
    # What is beyond the fragments is the empty frame that ends them.
    assert [message.n_frames for message in pair.sent.messages] == [4, 3]


@SENDS_FRAGMENTS
def test_fragments_of_the_peer(pair: Pair) -> None:
    pair.tell("send_fragments", ["one ", "two ", "three"])
    assert pair.ws.recv() == "one two three"
    assert pair.hear() is None
    pair.tell("send_fragments", [{"hex": "01"}, {"hex": "02"}])
    assert pair.ws.recv() == b"\x01\x02"
    assert pair.hear() is None
    assert all(message.n_frames > 1 for message in pair.received.messages)


def test_ping_of_gws(pair: Pair) -> None:
    assert pair.ws.ping("are you there?").wait(timeout=30)
    assert pair.ws.ping().get(timeout=30) > 0
    assert pair.ws.latency > 0


def test_ping_of_the_peer_is_answered_while_nobody_receives(pair: Pair) -> None:
    assert pair.ask("ping", "are you there?") is True


CLOSES = [(1000, "done"), (1001, ""), (1011, "größer"), (3000, "x" * 123), (4999, "")]


@pytest.mark.parametrize(("code", "reason"), CLOSES)
def test_gws_closes(library: str, pair: Pair, code: int, reason: str) -> None:
    pair.tell("wait_closed")
    pair.ws.close(code, reason)
    assert pair.hear() == [code, reason]
    # aiohttp answers with 1000 to every code; the others with what they got.
    answer = (1000, "") if library == "aiohttp" else (code, reason)
    assert (pair.ws.close_code, pair.ws.close_reason) == answer


@pytest.mark.parametrize(("code", "reason"), CLOSES)
def test_the_peer_closes(pair: Pair, code: int, reason: str) -> None:
    pair.tell("close", code, reason)
    with pytest.raises(ConnectionClosed) as caught:
        pair.ws.recv()
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (code, reason)
    assert caught.value.rcvd_then_sent
    assert pair.hear() is None


def test_the_peer_vanishes(pair: Pair) -> None:
    pair.ws.send("before")
    assert pair.ask("recv") == "before"
    assert pair.ask("vanish") is None
    with pytest.raises(ConnectionClosed) as caught:
        pair.ws.recv()
    assert caught.value.rcvd is None
    assert pair.ws.close_code == 1006
