"""gws talks with other libraries, either side, with permessage-deflate.

What was agreed on is read off the wire, not out of a library; each compressed message
is inflated once more by hand, with the window that was agreed on and not an octet
more. So no test passes uncompressed, nor with other terms than it says.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from gws.extensions import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from gws.protocol.headers import parse_extension

from .sides import Meeting, Pair
from .tap import Message, inflate


pytestmark = [pytest.mark.usefixtures("leakcheck"), pytest.mark.once]

SERVER_FORGETS = {"server_no_context_takeover": True}
CLIENT_FORGETS = {"client_no_context_takeover": True}
BOTH_FORGET = SERVER_FORGETS | CLIENT_FORGETS

#: What the client offers, and what the server asks for.
TERMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "takeover": ({}, {}),
    "server-forgets": (SERVER_FORGETS, SERVER_FORGETS),
    "client-forgets": (CLIENT_FORGETS, CLIENT_FORGETS),
    "both-forget": (BOTH_FORGET, BOTH_FORGET),
} | {
    f"window-{bits}": (
        {"server_max_window_bits": bits, "client_max_window_bits": bits},
        {"server_max_window_bits": bits, "client_max_window_bits": bits},
    )
    for bits in range(9, 16)
}

#: The terms that make a difference to how a message is cut and put together.
KINDS = [*list(TERMS)[:4], "window-9"]

#: Compresses to something like a third.
JSON = json.dumps([{"id": i, "name": f"näme {i}", "ok": True} for i in range(100)])
SHORT = "short, but compressed: ¿qué?"


def unpack(message: Any) -> str | bytes:
    """Return what a message stands for in the commands of the peer."""
    return bytes.fromhex(message["hex"]) if isinstance(message, dict) else message


def noise(n: int, seed: int) -> str:
    """Return what hardly compresses unless it has been there before."""
    return base64.b64encode(random.Random(seed).randbytes(n)).decode()[:n]


class Agreement:
    """The terms as they stand in the server's answer, seen from the side of gws."""

    def __init__(self, pair: Pair) -> None:
        assert pair.wire is not None
        assert pair.wire.client.extensions is not None
        assert pair.wire.server.extensions is not None
        ((name, params),) = parse_extension(pair.wire.server.extensions)
        assert name == "permessage-deflate"
        terms = dict(params)
        self.bits, self.takeover = {}, {}
        for side in "client", "server":
            self.bits[side] = int(terms.get(f"{side}_max_window_bits") or 15)
            self.takeover[side] = f"{side}_no_context_takeover" not in terms
        self.ours = pair.role
        self.theirs = "server" if pair.role == "client" else "client"

    def check(self, side: str, messages: list[Message]) -> list[bytes]:
        """Return the messages, inflated within the terms for the side that sent."""
        return inflate(messages, self.bits[side], self.takeover[side])


@pytest.fixture
def terms() -> str:
    """The one of `TERMS` that the test is about."""
    return "takeover"


@pytest.fixture
def pair(library: str, role: str, peer: Any, terms: str) -> Iterator[Pair]:
    offer, demand = TERMS[terms]
    if role == "client":
        factory: Any = ClientPerMessageDeflateFactory(**offer, threshold=0)
        theirs = demand
    else:
        factory = ServerPerMessageDeflateFactory(**demand, threshold=0)
        theirs = offer
    options = {"max_size": 2**24, "subprotocols": ["interop"], "extensions": [factory]}
    with Meeting(peer, options, {"deflate": theirs}).of(role) as pair:
        yield pair


@pytest.mark.parametrize("terms", TERMS)
def test_terms(pair: Pair, library: str, terms: str) -> None:
    agreement = Agreement(pair)
    offer, demand = TERMS[terms]
    for side in "client", "server":
        bits = demand.get(f"{side}_max_window_bits", 15)
        takeover = f"{side}_no_context_takeover" not in offer
        if library == "aiohttp" and side == pair.role == "client":
            # Its server says nothing about what the client does.
            bits, takeover = 15, True
        assert agreement.bits[side] == bits
        assert agreement.takeover[side] is takeover


@pytest.mark.parametrize("terms", KINDS)
def test_messages(pair: Pair, terms: str) -> None:
    binary = {"hex": bytes(range(256)).hex()}
    for message in SHORT, JSON, "", "x" * 1000, binary, {"hex": ""}:
        pair.tell("send", message)
        received = pair.ws.recv()
        assert received == unpack(message)
        assert pair.hear() is None
        assert pair.ask("ping", "between") is True
        assert pair.ws.ping("between").wait(timeout=30)
        pair.ws.send(received)
        assert pair.ask("recv") == message
    agreement = Agreement(pair)
    ours, theirs = pair.sent.messages, pair.received.messages
    assert all(message.compressed for message in ours)
    # An empty message gets longer; ws leaves it as it is.
    assert all(message.compressed or not message.payload for message in theirs)
    plain = agreement.check(agreement.ours, ours)
    assert plain == agreement.check(agreement.theirs, theirs)
    assert plain[:2] == [SHORT.encode(), JSON.encode()]
    for message in ours[1], theirs[1]:
        assert len(message.payload) < len(JSON) / 3


@pytest.mark.parametrize("terms", TERMS)
def test_what_is_sent_again(pair: Pair, terms: str) -> None:
    """Only with context takeover a message can refer to the one before it."""
    text = noise(400, seed=1)
    for _ in range(3):
        pair.ws.send(text)
        assert pair.ask("recv") == text
        pair.tell("send", text)
        assert pair.ws.recv() == text
        assert pair.hear() is None
    agreement = Agreement(pair)
    offer, _ = TERMS[terms]
    for side, messages in [
        (agreement.ours, pair.sent.messages),
        (agreement.theirs, pair.received.messages),
    ]:
        assert agreement.check(side, messages) == [text.encode()] * 3
        first, *again = [len(message.payload) for message in messages]
        # zlib refers 262 octets less far back than it might: with 9 bits, 250.
        reaches = offer.get(f"{side}_max_window_bits", 15) > 9
        if f"{side}_no_context_takeover" not in offer and reaches:
            assert max(again) < 50 < 200 < first
        else:
            assert min(again) > 200


@pytest.mark.parametrize("terms", [name for name in TERMS if "window" in name])
def test_nobody_refers_farther_back_than_the_window(pair: Pair, terms: str) -> None:
    bits = int(terms.removeprefix("window-"))
    # What came before is here again, but just too far back.
    text = noise(2**bits + 10, seed=bits) * 2
    pair.ws.send(text)
    assert pair.ask("recv") == text
    pair.tell("send", text)
    assert pair.ws.recv() == text
    assert pair.hear() is None
    agreement = Agreement(pair)
    for side, messages in [
        (agreement.ours, pair.sent.messages),
        (agreement.theirs, pair.received.messages),
    ]:
        assert agreement.check(side, messages) == [text.encode()]
        assert messages[0].compressed


FRAGMENTS = [SHORT, "", JSON, "the end"]


@pytest.mark.parametrize("terms", KINDS)
def test_fragments_of_gws(pair: Pair, terms: str) -> None:
    def with_pings() -> Iterator[str]:
        for fragment in FRAGMENTS:
            yield fragment
            pair.ws.ping()

    whole = "".join(FRAGMENTS)
    for _ in range(2):
        pair.ws.send(with_pings())
        assert pair.ask("recv") == whole
    pair.ws.send("and then")
    assert pair.ask("recv") == "and then"
    agreement = Agreement(pair)
    messages = pair.sent.messages
    assert agreement.check(agreement.ours, messages) == [
        *[whole.encode()] * 2,
        b"and then",
    ]
    assert all(message.compressed for message in messages)
    assert [message.n_frames > 3 for message in messages] == [True, True, False]


@pytest.mark.parametrize("library", ["websockets", "node"], indirect=True)
@pytest.mark.parametrize("terms", KINDS)
def test_fragments_of_the_peer(pair: Pair, terms: str) -> None:
    whole = "".join(FRAGMENTS)
    for _ in range(2):
        pair.tell("send_fragments", FRAGMENTS)
        assert pair.ws.recv() == whole
        assert pair.hear() is None
    pair.tell("send", "and then")
    assert pair.ws.recv() == "and then"
    assert pair.hear() is None
    agreement = Agreement(pair)
    messages = pair.received.messages
    plain = [*[whole.encode()] * 2, b"and then"]
    assert agreement.check(agreement.theirs, messages) == plain
    assert all(message.compressed for message in messages)
    assert [message.n_frames > 3 for message in messages] == [True, True, False]


@pytest.mark.parametrize("terms", ["takeover", "both-forget", "window-9"])
def test_a_mebibyte(pair: Pair, terms: str) -> None:
    text = (JSON * (2**20 // len(JSON) + 1))[: 2**20]
    pair.ws.send(text)
    assert pair.ask("recv") == text
    pair.tell("send", text)
    assert pair.ws.recv() == text
    assert pair.hear() is None
    for message in pair.sent.messages + pair.received.messages:
        assert message.compressed
        assert len(message.payload) < 2**20 / 4


# Both sides as they are if nothing is said


@pytest.fixture
def default_pair(role: str, peer: Any) -> Iterator[Pair]:
    options = {"subprotocols": ["interop"]}
    with Meeting(peer, options, {"deflate": {}}).of(role) as pair:
        yield pair


def test_by_default_nothing_is_kept(default_pair: Pair) -> None:
    pair = default_pair
    for _ in range(2):
        pair.ws.send(JSON)
        assert pair.ask("recv") == JSON
        pair.tell("send", JSON)
        assert pair.ws.recv() == JSON
        assert pair.hear() is None
    agreement = Agreement(pair)
    assert not agreement.takeover["server"]
    for messages in pair.sent.messages, pair.received.messages:
        # Each stands for itself, whatever the answer of the server allows.
        assert inflate(messages, 15, takeover=False) == [JSON.encode()] * 2
        assert all(message.compressed for message in messages)


def test_by_default_short_messages_are_not_compressed(default_pair: Pair) -> None:
    pair = default_pair
    for text in "x" * 255, "x" * 256:
        pair.ws.send(text)
        assert pair.ask("recv") == text
    assert [message.compressed for message in pair.sent.messages] == [False, True]
    assert pair.sent.messages[0].payload == b"x" * 255


@pytest.mark.parametrize("override", [False, True])
def test_a_message_that_is_to_be_compressed_or_not(
    default_pair: Pair, override: bool
) -> None:
    pair = default_pair
    for text in "x" * 10, "x" * 1000:
        pair.ws.send(text, compress=override)
        assert pair.ask("recv") == text
    assert [message.compressed for message in pair.sent.messages] == [override] * 2


# One side alone


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_compression_that_only_one_side_has(
    role: str, peer: Any, compression: str | None
) -> None:
    options = {"subprotocols": ["interop"], "compression": compression}
    theirs = {"deflate": {} if compression is None else None}
    with Meeting(peer, options, theirs).of(role) as pair:
        offers = (role == "client") == (compression is not None)
        assert pair.wire is not None
        assert (pair.wire.client.extensions is not None) is offers
        assert pair.wire.server.extensions is None
        pair.ws.send(JSON)
        assert pair.ask("recv") == JSON
        pair.tell("send", JSON)
        assert pair.ws.recv() == JSON
        assert pair.hear() is None
        for message in pair.sent.messages + pair.received.messages:
            assert not message.compressed
