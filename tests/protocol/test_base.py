"""The state of a connection: what is answered, what is told, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gws.exceptions import (
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidState,
    ProtocolError,
)
from gws.protocol import Protocol, Side, State
from gws.protocol.base import MAX_WAITING
from gws.protocol.frames import Close, Frame
from gws.protocol.types import MaxSize

from . import strategies, wire
from .wire import BINARY, CLOSE, CONT, FIN, PING, PONG, TEXT


both_sides = pytest.mark.parametrize("side", list(Side), ids=lambda side: side.name)

Sent = list[tuple[int, bytes]]


class Endpoint:
    """A protocol, and its peer's hand on the wire."""

    def __init__(
        self, side: Side, state: State = State.OPEN, max_size: MaxSize = 2**20
    ) -> None:
        self.protocol = Protocol(side, state=state, max_size=max_size)
        self.side = side

    def frame(self, first: int, payload: bytes = b"", form: int | None = None) -> bytes:
        """Make a frame as the peer must make it."""
        return wire.frame(first, payload, self.side is Side.SERVER, form)

    def close(self, code: int | None = None, reason: bytes = b"") -> bytes:
        return wire.close(code, reason, self.side is Side.SERVER)

    def receive(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.protocol.receive_data(piece)

    def events(self) -> list[tuple[int, bytes]]:
        events = self.protocol.events_received()
        assert all(isinstance(event, Frame) for event in events)
        return [(event.first, event.data) for event in events]

    def sent(self) -> tuple[Sent, bool]:
        """Return the frames to send, and whether the stream ends after them."""
        pieces = self.protocol.data_to_send()
        ends = pieces[-1:] == [b""]
        data = b"".join(pieces)
        assert b"" not in pieces[:-1]
        return wire.parse(data, self.side is Side.CLIENT), ends

    def frames(self) -> Sent:
        return self.sent()[0]


@pytest.fixture(params=list(Side), ids=lambda side: side.name)
def tested(request: pytest.FixtureRequest) -> Endpoint:
    return Endpoint(request.param)


def close_frame(code: int, reason: bytes | str = b"") -> tuple[int, bytes]:
    if isinstance(reason, str):
        reason = reason.encode()
    return FIN | CLOSE, code.to_bytes(2, "big") + reason


# Sending


def test_a_new_connection(tested: Endpoint) -> None:
    protocol = tested.protocol
    assert protocol.side is tested.side
    assert protocol.state is State.OPEN
    assert protocol.events_received() == []
    assert protocol.data_to_send() == []
    assert not protocol.close_expected()
    assert protocol.close_code is protocol.close_reason is None
    assert protocol.close_rcvd is protocol.close_sent is None
    assert protocol.close_rcvd_then_sent is None


def test_send(tested: Endpoint) -> None:
    protocol = tested.protocol
    protocol.send_text("h\u00e9")
    protocol.send_text(b"bytes")
    protocol.send_binary(b"\xff")
    protocol.send_binary(memoryview(b"abcdef")[1:4])
    protocol.send_binary(bytearray())
    protocol.send_ping(b"ping")
    protocol.send_pong(bytearray(b"pong"))
    assert tested.sent() == (
        [
            (FIN | TEXT, b"h\xc3\xa9"),
            (FIN | TEXT, b"bytes"),
            (FIN | BINARY, b"\xff"),
            (FIN | BINARY, b"bcd"),
            (FIN | BINARY, b""),
            (FIN | PING, b"ping"),
            (FIN | PONG, b"pong"),
        ],
        False,
    )
    assert protocol.data_to_send() == []


def test_send_fragments(tested: Endpoint) -> None:
    """Control frames pass between them; other messages may not."""
    protocol = tested.protocol
    with pytest.raises(ProtocolError, match="unexpected continuation frame"):
        protocol.send_continuation(b"", fin=True)
    protocol.send_text("a", fin=False)
    for send in (protocol.send_text, protocol.send_binary):
        with pytest.raises(ProtocolError, match="expected a continuation frame"):
            send(b"x")
    protocol.send_ping(b"")
    protocol.send_continuation("b", fin=False)
    protocol.send_continuation(b"c", fin=True)
    with pytest.raises(ProtocolError, match="unexpected continuation frame"):
        protocol.send_continuation(b"", fin=True)
    protocol.send_binary(b"d")
    assert tested.frames() == [
        (TEXT, b"a"),
        (FIN | PING, b""),
        (CONT, b"b"),
        (FIN, b"c"),
        (FIN | BINARY, b"d"),
    ]


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ("\ud800", UnicodeEncodeError),
        (memoryview(b"abcd")[::2], BufferError),
        (5, TypeError),
        (None, TypeError),
    ],
)
def test_send_what_is_no_payload(
    tested: Endpoint, payload: Any, error: type[Exception]
) -> None:
    """Nothing of it is written, and no message is begun by it."""
    protocol = tested.protocol
    with pytest.raises(error):
        protocol.send_text(payload, fin=False)
    protocol.send_text("good")
    assert tested.frames() == [(FIN | TEXT, b"good")]


@pytest.mark.parametrize(
    "payload", [b"x" * 126, b"x" * 70000, memoryview(bytes(128)).cast("I")]
)
def test_control_frames_have_125_bytes_at_most(tested: Endpoint, payload: Any) -> None:
    protocol = tested.protocol
    for send in (protocol.send_ping, protocol.send_pong):
        with pytest.raises(ProtocolError, match="control frame too long"):
            send(payload)
        send(b"x" * 125)
    assert [len(data) for _, data in tested.frames()] == [125, 125]


@pytest.mark.parametrize("payload", ["text", "\u00e9" * 100, 5, None])
def test_control_frames_carry_bytes(tested: Endpoint, payload: Any) -> None:
    """CASES F15."""
    for send in (tested.protocol.send_ping, tested.protocol.send_pong):
        with pytest.raises(TypeError):
            send(payload)
    assert tested.protocol.data_to_send() == []


@pytest.mark.parametrize(
    ("args", "data"),
    [
        ((), b""),
        ((None,), b""),
        ((1000,), b"\x03\xe8"),
        ((1001, "bye"), b"\x03\xe9bye"),
        ((4999, "\u00e9" * 61), b"\x13\x87" + b"\xc3\xa9" * 61),
        ((3000, "x" * 123), b"\x0b\xb8" + b"x" * 123),
    ],
)
def test_send_close(tested: Endpoint, args: tuple[Any, ...], data: bytes) -> None:
    protocol = tested.protocol
    protocol.send_close(*args)
    assert protocol.state is State.CLOSING
    assert protocol.close_expected()
    assert protocol.close_sent is not None
    assert protocol.close_code is None
    assert tested.sent() == ([(FIN | CLOSE, data)], False)


@pytest.mark.parametrize(
    "args",
    [
        (0,),
        (999,),
        (1004,),
        (1005,),
        (1006,),
        (1015,),
        (2999,),
        (5000,),
        (65536,),
        (-1,),
        (1000, "x" * 124),
        (1000, "\u00e9" * 62),
        (None, "reason"),
    ],
)
def test_send_close_refuses(tested: Endpoint, args: tuple[Any, ...]) -> None:
    with pytest.raises(ProtocolError):
        tested.protocol.send_close(*args)
    assert tested.protocol.state is State.OPEN
    assert tested.protocol.close_sent is None
    assert tested.protocol.data_to_send() == []


# Receiving


def test_receive(tested: Endpoint) -> None:
    tested.receive(tested.frame(TEXT, b"a"), tested.frame(FIN | PONG, b"p"))
    tested.receive(tested.frame(FIN, b"b"))
    assert tested.events() == [(TEXT, b"a"), (FIN | PONG, b"p"), (FIN, b"b")]
    assert tested.events() == []
    assert tested.sent() == ([], False)


def test_receive_takes_what_holds_bytes(tested: Endpoint) -> None:
    data = tested.frame(FIN | TEXT, b"text")
    tested.receive(bytearray(data), memoryview(data))
    assert tested.events() == [(FIN | TEXT, b"text")] * 2


def test_what_came_is_not_changed(tested: Endpoint) -> None:
    """Frames are unmasked in place, but in a buffer of our own."""
    data = bytearray(tested.frame(FIN | TEXT, b"text"))
    before = bytes(data)
    tested.receive(data)
    assert data == before


@pytest.mark.parametrize("payload", [b"", b"x", b"x" * 125])
def test_ping_is_answered(tested: Endpoint, payload: bytes) -> None:
    tested.receive(tested.frame(FIN | PING, payload))
    assert tested.events() == [(FIN | PING, payload)]
    assert tested.frames() == [(FIN | PONG, payload)]


def test_pings_are_answered_in_order(tested: Endpoint) -> None:
    tested.receive(b"".join(tested.frame(FIN | PING, b"%d" % i) for i in range(10)))
    assert tested.frames() == [(FIN | PONG, b"%d" % i) for i in range(10)]


def test_ping_in_a_message(tested: Endpoint) -> None:
    tested.receive(tested.frame(TEXT, b"a"), tested.frame(FIN | PING, b"p"))
    assert tested.frames() == [(FIN | PONG, b"p")]


def test_a_flood_of_pings(tested: Endpoint) -> None:
    """While much waits to be sent only the latest is answered (section 5.5.3)."""
    protocol = tested.protocol
    protocol.send_binary(bytes(MAX_WAITING))
    waiting = len(protocol.out)
    for i in range(1000):
        tested.receive(tested.frame(FIN | PING, b"%d" % i))
    assert len(protocol.out) == waiting
    assert protocol.ping_unanswered == b"999"
    assert tested.frames() == [(FIN | BINARY, bytes(MAX_WAITING)), (FIN | PONG, b"999")]
    assert protocol.ping_unanswered is None
    assert tested.frames() == []


def test_answer_ping(tested: Endpoint) -> None:
    """Who writes from ``out`` calls it when that has become empty."""
    protocol = tested.protocol
    protocol.answer_ping()
    assert not protocol.out
    protocol.send_binary(bytes(MAX_WAITING))
    tested.receive(tested.frame(FIN | PING, b"p"))
    protocol.out.clear()
    protocol.answer_ping()
    protocol.answer_ping()
    assert tested.frames() == [(FIN | PONG, b"p")]


def test_no_pong_after_a_close_frame(tested: Endpoint) -> None:
    protocol = tested.protocol
    protocol.send_close(1000)
    tested.receive(tested.frame(FIN | PING, b"p"))
    assert tested.events() == [(FIN | PING, b"p")]
    assert tested.frames() == [close_frame(1000)]
    protocol = Endpoint(tested.side).protocol
    protocol.send_binary(bytes(MAX_WAITING))
    protocol.receive_data(tested.frame(FIN | PING, b"p"))
    protocol.send_close(1000)
    data = b"".join(protocol.data_to_send())
    firsts = [first for first, _ in wire.parse(data, tested.side is Side.CLIENT)]
    assert firsts == [FIN | BINARY, FIN | CLOSE]


def test_messages_are_received_while_closing(tested: Endpoint) -> None:
    """What the peer had sent before it saw our close frame."""
    tested.protocol.send_close(1000)
    tested.receive(tested.frame(FIN | TEXT, b"late"), tested.close(1000))
    assert tested.events() == [(FIN | TEXT, b"late")]


def test_limit(tested: Endpoint) -> None:
    tested.protocol.limit(3, None)
    tested.receive(tested.frame(FIN | TEXT, b"abc"), tested.frame(FIN | TEXT, b"abcd"))
    assert tested.events() == [(FIN | TEXT, b"abc")]
    assert tested.frames()[0][1][:2] == (1009).to_bytes(2, "big")


def test_limit_of_fragments(tested: Endpoint) -> None:
    tested.protocol.limit(3, None, 1)
    tested.receive(tested.frame(FIN | TEXT, b"abc"), tested.frame(TEXT, b"a"))
    assert tested.events() == [(FIN | TEXT, b"abc"), (TEXT, b"a")]
    tested.receive(tested.frame(FIN | CONT, b"b"))
    assert tested.frames()[0][1][:2] == (1009).to_bytes(2, "big")


def test_receiving(tested: Endpoint) -> None:
    """From the first octet of a message to the last one."""
    octets = tested.frame(TEXT, b"abc") + tested.frame(FIN | CONT, b"d")
    assert not tested.protocol.receiving
    for octet in octets[:-1]:
        tested.receive(bytes([octet]))
        assert tested.protocol.receiving
    tested.receive(octets[-1:])
    assert not tested.protocol.receiving


# The closing handshake


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        *[(code, b"") for code in (*range(1000, 1004), *range(1007, 1015))],
        *[(code, b"") for code in (3000, 3999, 4000, 4999)],
        (1000, b"bye"),
        (1000, "\u00e9".encode() * 61),
        (1000, b"x" * 123),
    ],
)
def test_close_is_answered(tested: Endpoint, code: int, reason: bytes) -> None:
    protocol = tested.protocol
    tested.receive(tested.close(code, reason))
    assert tested.events() == []
    # The server ends TCP; the client waits for it (section 7.1.1).
    server = tested.side is Side.SERVER
    assert tested.sent() == ([close_frame(code, reason)], server)
    assert protocol.state is State.CLOSING
    assert protocol.close_expected()
    assert protocol.close_rcvd == protocol.close_sent == Close(code, reason.decode())
    assert protocol.close_rcvd_then_sent is True
    assert (protocol.close_code, protocol.close_reason) == (code, reason.decode())
    protocol.receive_eof()
    assert protocol.state is State.CLOSED
    # Once is enough.
    assert tested.sent() == ([], not server)
    assert tested.sent() == ([], False)


def test_close_without_code_is_answered_so(tested: Endpoint) -> None:
    protocol = tested.protocol
    tested.receive(tested.close())
    assert tested.frames() == [(FIN | CLOSE, b"")]
    assert (protocol.close_code, protocol.close_reason) == (1005, "")


@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [
        (b"\x03", 1002, "close frame too short"),
        *[
            (code.to_bytes(2, "big") + b"x", 1002, f"invalid close code: {code}")
            for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
        ],
        (b"\x03\xe8\xff", 1007, "invalid UTF-8 in the close reason"),
        (b"\x03\xe8" + b"\xc3", 1007, "invalid UTF-8 in the close reason"),
        (b"\x03\xe8" + b"x" * 124, 1002, "control frame too long"),
    ],
)
def test_bad_close(tested: Endpoint, payload: bytes, code: int, reason: str) -> None:
    """CASES F14."""
    protocol = tested.protocol
    tested.receive(tested.frame(FIN | CLOSE, payload))
    assert tested.sent() == ([close_frame(code, reason)], tested.side is Side.SERVER)
    assert protocol.close_rcvd is None
    assert (protocol.close_code, protocol.close_reason) == (1006, "")


def test_our_close_is_answered(tested: Endpoint) -> None:
    protocol = tested.protocol
    protocol.send_close(1001, "we")
    assert tested.sent() == ([close_frame(1001, "we")], False)
    tested.receive(tested.close(1001, b"they"))
    assert tested.sent() == ([], tested.side is Side.SERVER)
    assert protocol.close_rcvd == Close(1001, "they")
    assert protocol.close_sent == Close(1001, "we")
    assert protocol.close_rcvd_then_sent is False
    assert (protocol.close_code, protocol.close_reason) == (1001, "they")


def test_both_close_at_once(tested: Endpoint) -> None:
    """Our close frame is on its way when the peer's comes."""
    protocol = tested.protocol
    protocol.send_close(1000)
    tested.receive(tested.close(1001))
    assert tested.sent() == ([close_frame(1000)], tested.side is Side.SERVER)
    assert protocol.close_code == 1001


def test_nothing_is_read_behind_the_close_frame(tested: Endpoint) -> None:
    """CASES H12: it might be HTTP, or be meant to look so."""
    tested.receive(tested.close(1000) + b"GET /admin HTTP/1.1\r\n\r\n")
    tested.receive(tested.frame(FIN | PING, b"p"), b"\xff" * 100)
    assert tested.events() == []
    assert tested.frames() == [close_frame(1000)]
    tested.receive(tested.frame(FIN | PING, b"p"), tested.close(1001))
    assert tested.events() == tested.frames() == []
    assert tested.protocol.close_code == 1000


# Errors take their turn


@pytest.mark.parametrize(
    ("bad", "code", "reason"),
    [
        ((FIN | 0x3, b""), 1002, "invalid opcode: 0x3"),
        ((0x40 | FIN | TEXT, b""), 1002, "reserved bits must be 0"),
        ((FIN, b""), 1002, "unexpected continuation frame"),
        ((FIN | PING, bytes(126)), 1002, "control frame too long"),
        ((FIN | TEXT, b"\xff"), 1007, "invalid UTF-8"),
        (
            (FIN | BINARY, bytes(21)),
            1009,
            "frame with 21 bytes exceeds limit of 20 bytes",
        ),
        ((FIN | CLOSE, b"\x03\xe8bye"), 1000, "bye"),
        ((FIN | CLOSE, b"\x03"), 1002, "close frame too short"),
    ],
)
@both_sides
def test_in_order(side: Side, bad: tuple[int, bytes], code: int, reason: str) -> None:
    """What came before is delivered, and answered, before the close frame."""
    tested = Endpoint(side, max_size=20)
    protocol = tested.protocol
    tested.receive(
        tested.frame(FIN | TEXT, b"1")
        + tested.frame(FIN | TEXT, b"2")
        + tested.frame(*bad)
        + tested.frame(FIN | TEXT, b"3")
    )
    assert protocol.state is State.OPEN
    assert protocol.close_code is None
    # Not before the messages are taken:
    assert protocol.data_to_send() == []
    assert tested.events() == [(FIN | TEXT, b"1"), (FIN | TEXT, b"2")]
    assert protocol.state is State.OPEN
    protocol.send_text("answer")
    frames, ends = tested.sent()
    assert frames == [(FIN | TEXT, b"answer"), close_frame(code, reason)]
    assert ends is (side is Side.SERVER)
    assert protocol.state is State.CLOSING
    assert protocol.close_sent == Close(code, reason)
    with pytest.raises(InvalidState):
        protocol.send_text("too late")
    tested.receive(tested.frame(FIN | TEXT, b"4"), tested.close(1001))
    assert tested.events() == []
    assert protocol.close_code == (1000 if code == 1000 else 1006)


def test_too_many_fragments(tested: Endpoint) -> None:
    tested.receive(tested.frame(BINARY), tested.frame(CONT) * 2**17)
    assert len(tested.protocol.events_received()) == 2**17
    reason = f"message with {2**17 + 1} frames exceeds limit of {2**17}"
    assert tested.frames() == [close_frame(1009, reason)]


@pytest.mark.parametrize(
    ("max_size", "frames", "code"),
    [
        (10, [(FIN | TEXT, bytes(10))], None),
        (10, [(FIN | TEXT, bytes(11))], 1009),
        (10, [(TEXT, bytes(9)), (FIN, bytes(1))], None),
        (10, [(TEXT, bytes(9)), (FIN, bytes(2))], 1009),
        (None, [(FIN | TEXT, bytes(2**21))], None),
        ((10, 5), [(TEXT, bytes(5)), (FIN, bytes(5))], None),
        ((10, 5), [(TEXT, bytes(5)), (CONT, bytes(5)), (FIN, b"x")], 1009),
        ((10, 5), [(FIN | TEXT, bytes(6))], 1009),
        ((10, None), [(FIN | TEXT, bytes(10))], None),
        ((None, 5), [(TEXT, bytes(5))] + [(CONT, bytes(5))] * 9, None),
        ((None, 5), [(FIN | TEXT, bytes(6))], 1009),
        ((None, None), [(FIN | TEXT, bytes(2**21))], None),
    ],
)
@both_sides
def test_max_size(
    side: Side, max_size: MaxSize, frames: list[tuple[int, bytes]], code: int | None
) -> None:
    tested = Endpoint(side, max_size=max_size)
    tested.receive(*(tested.frame(*frame) for frame in frames))
    events = tested.events()
    sent = [data[:2] for _, data in tested.frames()]
    if code is None:
        assert (events, sent) == (frames, [])
    else:
        assert (events, sent) == (frames[:-1], [code.to_bytes(2, "big")])


def test_conclude(tested: Endpoint) -> None:
    """Who takes octets from ``out`` calls it when the messages are handled."""
    protocol = tested.protocol
    protocol.conclude()
    assert not protocol.out
    tested.receive(tested.frame(FIN | TEXT, b"1") + tested.close(1000))
    assert protocol.ending == Close(1000)
    protocol.conclude()
    assert protocol.ending is None
    assert protocol.state is State.CLOSING
    assert protocol.out


def test_send_close_while_the_peers_waits(tested: Endpoint) -> None:
    protocol = tested.protocol
    tested.receive(tested.frame(FIN | TEXT, b"1") + tested.close(1000))
    protocol.send_close(1001)
    assert tested.events() == [(FIN | TEXT, b"1")]
    assert tested.frames() == [close_frame(1001)]
    assert protocol.close_rcvd == Close(1000)
    assert protocol.close_rcvd_then_sent is False


def test_send_close_while_an_error_waits(tested: Endpoint) -> None:
    tested.receive(tested.frame(FIN | TEXT, b"1") + tested.frame(FIN | TEXT, b"\xff"))
    tested.protocol.send_close(1001)
    assert tested.events() == [(FIN | TEXT, b"1")]
    assert tested.sent() == ([close_frame(1001)], tested.side is Side.SERVER)
    assert tested.protocol.close_code == 1006


# The end of the stream


def test_eof(tested: Endpoint) -> None:
    protocol = tested.protocol
    tested.receive(tested.frame(FIN | TEXT, b"text")[:-1])
    protocol.receive_eof()
    assert protocol.state is State.CLOSED
    assert protocol.close_expected()
    assert (protocol.close_code, protocol.close_reason) == (1006, "")
    assert tested.sent() == ([], True)
    protocol.receive_eof()
    tested.receive(tested.frame(FIN | TEXT, b"more"))
    assert tested.events() == []
    assert tested.sent() == ([], False)


@pytest.mark.parametrize(
    ("last", "code", "rcvd"),
    [((FIN | CLOSE, b"\x03\xe8"), 1000, 1000), ((FIN | TEXT, b"\xff"), 1007, 1006)],
)
def test_eof_behind_what_ends_the_stream(
    tested: Endpoint, last: tuple[int, bytes], code: int, rcvd: int
) -> None:
    """The peer may still read: it is told all the same."""
    protocol = tested.protocol
    tested.receive(tested.frame(FIN | TEXT, b"text") + tested.frame(*last))
    protocol.receive_eof()
    assert protocol.close_code == rcvd
    assert protocol.close_sent is not None
    assert protocol.close_sent.code == code
    frames, ends = tested.sent()
    assert [data[:2] for _, data in frames] == [code.to_bytes(2, "big")]
    assert ends
    assert tested.events() == [(FIN | TEXT, b"text")]


def test_eof_while_closing(tested: Endpoint) -> None:
    protocol = tested.protocol
    protocol.send_close(1000)
    protocol.receive_eof()
    assert protocol.state is State.CLOSED
    assert protocol.close_code == 1006
    assert str(protocol.close_exc) == "sent 1000 (OK); no close frame received"


# Failing


def test_fail(tested: Endpoint) -> None:
    protocol = tested.protocol
    protocol.fail(1011, "sorry")
    assert protocol.state is State.CLOSING
    assert protocol.close_expected()
    assert tested.sent() == ([close_frame(1011, "sorry")], tested.side is Side.SERVER)
    tested.receive(tested.frame(FIN | TEXT, b"1"), tested.close(1000))
    assert tested.events() == []
    assert tested.sent() == ([], False)
    assert (protocol.close_code, protocol.close_reason) == (1006, "")
    assert str(protocol.close_exc) == (
        "sent 1011 (internal error) sorry; no close frame received"
    )


def test_fail_without_a_close_frame(tested: Endpoint) -> None:
    tested.protocol.fail(1006)
    assert tested.protocol.state is State.CLOSING
    assert tested.sent() == ([], tested.side is Side.SERVER)


@pytest.mark.parametrize(
    ("reason", "sent"),
    [("x" * 200, "x" * 123), ("\u20ac" * 100, "\u20ac" * 41), ("a\udfff", "a?")],
)
def test_fail_with_any_reason(tested: Endpoint, reason: str, sent: str) -> None:
    tested.protocol.fail(1011, reason)
    assert tested.frames() == [close_frame(1011, sent)]


def test_fail_with_no_code_to_send(tested: Endpoint) -> None:
    with pytest.raises(ProtocolError, match="invalid close code: 1015"):
        tested.protocol.fail(1015)
    assert tested.protocol.state is State.OPEN


def test_fail_again(tested: Endpoint) -> None:
    tested.protocol.fail(1011)
    tested.protocol.fail(1002)
    assert tested.frames() == [close_frame(1011)]


def test_fail_while_closing(tested: Endpoint) -> None:
    tested.protocol.send_close(1000)
    tested.protocol.fail(1002)
    assert tested.sent() == ([close_frame(1000)], tested.side is Side.SERVER)
    tested.receive(tested.close(1000))
    assert tested.protocol.close_code == 1006


def test_fail_while_the_peers_close_waits(tested: Endpoint) -> None:
    """There is nothing left to fail."""
    protocol = tested.protocol
    tested.receive(tested.frame(FIN | TEXT, b"1") + tested.close(1000, b"bye"))
    protocol.fail(1011)
    assert tested.sent() == ([close_frame(1000, b"bye")], tested.side is Side.SERVER)
    assert protocol.close_code == 1000
    assert protocol.close_rcvd_then_sent is True


def test_fail_while_an_error_waits(tested: Endpoint) -> None:
    tested.receive(tested.frame(FIN | TEXT, b"1") + tested.frame(FIN | TEXT, b"\xff"))
    tested.protocol.fail(1011)
    assert tested.events() == [(FIN | TEXT, b"1")]
    assert tested.frames() == [close_frame(1011)]


def test_fail_in_the_opening_handshake() -> None:
    for side in Side:
        protocol = Protocol(side, state=State.CONNECTING)
        protocol.fail(1011)
        assert protocol.state is State.CLOSING
        assert protocol.data_to_send() == [b""]


# How it ended, as an exception


@pytest.mark.parametrize(
    ("rcvd", "sent", "first", "kind", "text"),
    [
        (None, None, None, ConnectionClosedError, "no close frame received or sent"),
        (
            None,
            1000,
            None,
            ConnectionClosedError,
            "sent 1000 (OK); no close frame received",
        ),
        (
            1000,
            1000,
            "rcvd",
            ConnectionClosedOK,
            "received 1000 (OK); then sent 1000 (OK)",
        ),
        (
            1001,
            1000,
            "sent",
            ConnectionClosedOK,
            "sent 1000 (OK); then received 1001 (going away)",
        ),
        (
            1011,
            1011,
            "rcvd",
            ConnectionClosedError,
            "received 1011 (internal error); then sent 1011 (internal error)",
        ),
        (
            1000,
            1011,
            "sent",
            ConnectionClosedError,
            "sent 1011 (internal error); then received 1000 (OK)",
        ),
        (
            4000,
            1000,
            "sent",
            ConnectionClosedError,
            "sent 1000 (OK); then received 4000 (private use)",
        ),
        (
            1005,
            1005,
            "rcvd",
            ConnectionClosedOK,
            "received 1005 (no status received [internal]);"
            " then sent 1005 (no status received [internal])",
        ),
    ],
)
def test_close_exc(
    tested: Endpoint,
    rcvd: int | None,
    sent: int | None,
    first: str | None,
    kind: type[Exception],
    text: str,
) -> None:
    protocol = tested.protocol
    if sent is not None and first != "rcvd":
        protocol.send_close(sent)
    if rcvd is not None:
        tested.receive(tested.close(None if rcvd == 1005 else rcvd))
    protocol.receive_eof()
    exc = protocol.close_exc
    assert type(exc) is kind
    assert str(exc) == text
    assert exc.code == protocol.close_code == (1006 if rcvd is None else rcvd)
    assert exc.reason == protocol.close_reason == ""


def test_close_received_in_the_state_closing() -> None:
    """Somebody else has sent our close frame: we never did."""
    protocol = Protocol(Side.CLIENT, state=State.CLOSING)
    protocol.receive_data(wire.close(1000))
    protocol.receive_eof()
    assert protocol.close_rcvd_then_sent is None
    assert str(protocol.close_exc) == "received 1000 (OK); no close frame sent"
    assert type(protocol.close_exc) is ConnectionClosedError


def test_closed_from_the_start() -> None:
    protocol = Protocol(Side.CLIENT, state=State.CLOSED)
    protocol.receive_data(wire.frame(FIN | TEXT, b"text"))
    assert protocol.events_received() == []
    assert protocol.close_code == 1006


# Every state, every input

SITUATIONS: dict[str, Callable[[Endpoint], object]] = {
    "open": lambda t: None,
    "in a message": lambda t: t.receive(t.frame(TEXT, b"a")),
    "sending a message": lambda t: t.protocol.send_text(b"a", fin=False),
    "close waits": lambda t: t.receive(t.frame(FIN | TEXT, b"a") + t.close(1000)),
    "error waits": lambda t: t.receive(t.frame(FIN | TEXT, b"a") + t.frame(FIN)),
    "closing": lambda t: t.protocol.send_close(1000),
    "close answered": lambda t: (t.receive(t.close(1000)), t.sent()),
    "failed": lambda t: t.protocol.fail(1011),
    "lost": lambda t: t.protocol.fail(1006),
    "closed": lambda t: t.protocol.receive_eof(),
    "closed cleanly": lambda t: (
        t.receive(t.close(1000)),
        t.sent(),
        t.protocol.receive_eof(),
    ),
}
#: Those in which the state is OPEN, and those in which it is CLOSING.
OPEN = set(list(SITUATIONS)[:5])
CLOSING = set(list(SITUATIONS)[5:9])

INPUTS: dict[str, Callable[[Endpoint], object]] = {
    "text": lambda t: t.receive(t.frame(FIN | TEXT, b"a")),
    "fragment": lambda t: t.receive(t.frame(TEXT, b"a")),
    "continuation": lambda t: t.receive(t.frame(CONT, b"a")),
    "last": lambda t: t.receive(t.frame(FIN, b"a")),
    "binary": lambda t: t.receive(t.frame(FIN | BINARY, b"a")),
    "ping": lambda t: t.receive(t.frame(FIN | PING, b"a")),
    "pong": lambda t: t.receive(t.frame(FIN | PONG, b"a")),
    "close": lambda t: t.receive(t.close(1001)),
    "garbage": lambda t: t.receive(b"\xff\xff"),
    "half a frame": lambda t: t.receive(t.frame(FIN | BINARY, b"a")[:-1]),
    "nothing": lambda t: t.receive(b""),
    "receive_eof": lambda t: t.protocol.receive_eof(),
    "send_text": lambda t: t.protocol.send_text("a"),
    "send_binary": lambda t: t.protocol.send_binary(b"a"),
    "send_continuation": lambda t: t.protocol.send_continuation(b"a", True),
    "send_ping": lambda t: t.protocol.send_ping(b"a"),
    "send_pong": lambda t: t.protocol.send_pong(b"a"),
    "send_close": lambda t: t.protocol.send_close(1001),
    "fail": lambda t: t.protocol.fail(1011),
    "fail silently": lambda t: t.protocol.fail(1006),
    "conclude": lambda t: t.protocol.conclude(),
    "answer_ping": lambda t: t.protocol.answer_ping(),
    "limit": lambda t: t.protocol.limit(2**20, None),
    "events_received": lambda t: t.protocol.events_received(),
    "data_to_send": lambda t: t.sent(),
    "events, then data": lambda t: (t.events(), t.sent()),
}
SENDS = {name for name in INPUTS if name.startswith("send_")}
CLOSES = {"send_close", "fail", "fail silently"}
#: What fails the connection that is open: at once, or in a message, or outside of one.
ENDS = {"close", "garbage"}
ENDS_IN_A_MESSAGE = {*ENDS, "text", "binary", "fragment", "half a frame"}
ENDS_OUTSIDE = {*ENDS, "continuation", "last"}


def expected(situation: str, what: str) -> tuple[State, type[Exception] | None]:
    """Say which state comes next once all is taken and sent, and what is raised."""
    if what == "receive_eof":
        return State.CLOSED, None
    if situation not in OPEN:
        state = State.CLOSING if situation in CLOSING else State.CLOSED
        return state, InvalidState if what in SENDS else None
    state = State.OPEN
    ends = ENDS_IN_A_MESSAGE if situation == "in a message" else ENDS_OUTSIDE
    if situation in {"close waits", "error waits"} or what in ends | CLOSES:
        state = State.CLOSING
    sending = situation == "sending a message"
    wrong = {"send_text", "send_binary"} if sending else {"send_continuation"}
    return state, ProtocolError if what in wrong else None


@pytest.mark.parametrize("what", INPUTS)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_state_and_input(tested: Endpoint, situation: str, what: str) -> None:
    SITUATIONS[situation](tested)
    before = tested.protocol.state
    state, error = expected(situation, what)
    if error is None:
        INPUTS[what](tested)
    else:
        with pytest.raises(error):
            INPUTS[what](tested)
    tested.events()
    tested.sent()
    assert tested.protocol.state is state >= before
    assert tested.protocol.close_expected() is (state >= State.CLOSING)
    exc = tested.protocol.close_exc
    if state is State.CLOSED:
        assert tested.protocol.close_code == exc.code
    # Nothing is left to be said, whatever else comes.
    assert tested.sent() == ([], False)
    if tested.protocol.deaf:
        for other in ("ping", "text", "close", "garbage"):
            INPUTS[other](tested)
        assert (tested.events(), tested.sent()) == ([], ([], False))


@pytest.mark.parametrize("what", INPUTS)
@both_sides
def test_connecting(side: Side, what: str) -> None:
    """Without a subclass there is no opening handshake."""
    tested = Endpoint(side, State.CONNECTING)
    receives = what in list(INPUTS)[:11]
    if what in SENDS or receives:
        with pytest.raises(InvalidState, match=r"connecting|opening handshake"):
            INPUTS[what](tested)
    else:
        INPUTS[what](tested)
    states = {"receive_eof": State.CLOSED, "fail": State.CLOSING}
    states["fail silently"] = State.CLOSING
    assert tested.protocol.state is states.get(what, State.CONNECTING)


# Any wire, any cut, any conversation


def outcome(tested: Endpoint) -> tuple[Any, ...]:
    protocol = tested.protocol
    events = tested.events()
    return events, tested.sent(), protocol.state, protocol.close_code


@both_sides
@given(data=st.data())
def test_any_wire_cut_anywhere(side: Side, data: st.DataObject) -> None:
    """Nothing raises, and what comes of it does not depend on the cuts."""
    octets = data.draw(strategies.wires(side is Side.SERVER))
    max_size = data.draw(st.sampled_from([None, 20, (200, 100), 2**20]))
    whole, cut = Endpoint(side, max_size=max_size), Endpoint(side, max_size=max_size)
    whole.receive(octets)
    cut.receive(*wire.cut(octets, data.draw(strategies.cuts)))
    result = outcome(whole)
    assert outcome(cut) == result
    sent = whole.protocol.close_sent
    assert sent is None or whole.protocol.state is State.CLOSING
    if whole.protocol.close_rcvd is None and sent is not None:
        assert sent.code in (1002, 1007, 1009)


@both_sides
@given(octets=st.binary(max_size=200))
def test_any_octets(side: Side, octets: bytes) -> None:
    tested = Endpoint(side)
    tested.receive(octets)
    tested.events()
    for first, data in tested.frames():
        assert first in (FIN | PONG, FIN | CLOSE)
        if first == FIN | CLOSE and tested.protocol.close_rcvd is None:
            assert int.from_bytes(data[:2], "big") in (1002, 1007, 1009)
    tested.protocol.receive_eof()
    assert tested.protocol.state is State.CLOSED


@both_sides
@given(payload=strategies.payloads, form=st.sampled_from([7, 16, 64]))
def test_sent_is_received(side: Side, payload: bytes, form: int) -> None:
    """Serialize, then parse: identity, for both masks."""
    sender, receiver = Protocol(side), Protocol(Side(1 - side))
    sender.send_binary(payload)
    receiver.receive_data(b"".join(sender.data_to_send()))
    assert receiver.events_received() == [Frame(BINARY, payload)]
    assert receiver.data_to_send() == []


class Conversation(RuleBasedStateMachine):
    """Two protocols joined in memory; octets come in pieces of any size.

    Messages come whole and in order; states only advance; at the end both sides
    agree on how it ended.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ends = [Protocol(Side.SERVER), Protocol(Side.CLIENT)]
        self.wires = [bytearray(), bytearray()]  # from the server, from the client
        self.sent: list[list[Frame]] = [[], []]
        self.received: list[list[Frame]] = [[], []]
        self.states = [State.OPEN, State.OPEN]
        self.ended = [False, False]

    sides = st.sampled_from(list(Side))

    def pump(self, side: Side) -> None:
        """Take events and octets of one side."""
        protocol = self.ends[side]
        for event in protocol.events_received():
            assert isinstance(event, Frame)
            if event.opcode < CLOSE:
                self.received[side].append(event)
        for data in protocol.data_to_send():
            self.wires[side] += data
            self.ended[side] |= not data

    @rule(side=sides, text=strategies.texts)
    def text(self, side: Side, text: str) -> None:
        if self.ends[side].state is State.OPEN:
            self.ends[side].send_text(text)
            self.sent[side].append(Frame(TEXT, text))

    @rule(side=sides, parts=st.lists(strategies.payloads, min_size=2, max_size=3))
    def fragments(self, side: Side, parts: list[bytes]) -> None:
        if self.ends[side].state is State.OPEN:
            self.ends[side].send_binary(parts[0], fin=False)
            self.sent[side].append(Frame(BINARY, parts[0], fin=False))
            for i, part in enumerate(parts[1:], 2):
                self.ends[side].send_continuation(part, i == len(parts))
                self.sent[side].append(Frame(CONT, part, fin=i == len(parts)))

    @rule(side=sides, data=st.binary(max_size=125))
    def ping(self, side: Side, data: bytes) -> None:
        if self.ends[side].state is State.OPEN:
            self.ends[side].send_ping(data)

    @rule(side=sides)
    def take(self, side: Side) -> None:
        self.pump(side)

    @rule(side=sides, n=st.integers(1, 200))
    def deliver(self, side: Side, n: int) -> None:
        self.pump(side)
        data, self.wires[side][:n] = self.wires[side][:n], b""
        self.ends[1 - side].receive_data(data)

    @precondition(lambda self: not any(self.ended))
    @rule(side=sides, code=st.sampled_from([1000, 1001, 4000]))
    def close(self, side: Side, code: int) -> None:
        if self.ends[side].state is State.OPEN:
            self.ends[side].send_close(code)

    @invariant()
    def nothing_is_lost_or_invented(self) -> None:
        for side in Side:
            n = len(self.received[1 - side])
            assert self.received[1 - side] == self.sent[side][:n]

    @invariant()
    def states_advance(self) -> None:
        for side in Side:
            assert self.ends[side].state >= self.states[side]
            self.states[side] = self.ends[side].state

    def teardown(self) -> None:
        for _ in range(3):
            for side in Side:
                self.deliver(side, 2**30)
                self.pump(Side(1 - side))
        self.nothing_is_lost_or_invented()
        server, client = self.ends
        if State.CLOSING in (server.state, client.state):
            # Both have closed; the server ends its stream, then the client.
            assert self.ended == [True, False]
            client.receive_eof()
            self.pump(Side.CLIENT)
            server.receive_eof()
            self.pump(Side.SERVER)
            assert self.ended == [True, True]
            assert server.state is client.state is State.CLOSED
            assert server.close_rcvd == client.close_sent
            assert client.close_rcvd == server.close_sent
        for side in Side:
            # What was sent has arrived: nothing goes out behind a close frame.
            assert self.received[1 - side] == self.sent[side]


Conversation.TestCase.settings = settings(
    max_examples=max(settings().max_examples // 4, 10), stateful_step_count=30
)
TestConversation = Conversation.TestCase
