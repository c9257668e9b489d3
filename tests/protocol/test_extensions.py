"""Extensions in the protocol: what they are given, what they may do, how agreed.

The extensions here are made for the purpose; permessage-deflate has tests of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gws.exceptions import (
    InvalidParameterName,
    NegotiationError,
    PayloadTooBig,
    ProtocolError,
)
from gws.extensions import ClientExtensionFactory, Extension, ServerExtensionFactory
from gws.protocol.base import MAX_DECODED, Protocol
from gws.protocol.client import ClientProtocol
from gws.protocol.codes import Side, State
from gws.protocol.frames import Frame
from gws.protocol.headers import ExtensionParameter
from gws.protocol.server import ServerProtocol
from gws.protocol.uri import parse_uri

from . import wire
from .strategies import cuts
from .wire import BINARY, CLOSE, CONT, FIN, PING, PONG, TEXT


class Marked(Extension):
    """Doubles each octet of messages that it marks: of Binary, unless told otherwise.

    Args:
        marks: the reserved bit it marks them with.
    """

    name = "x-double"

    def __init__(self, marks: int = 0x40) -> None:
        self.marks = marks
        self._encoding = False
        self.sizes: list[int | None] = []

    def encode(self, frame: Frame, compress: bool | None = None) -> Frame:
        assert frame.first & 0x08 == 0
        if frame.first & 0x0F != CONT:
            is_binary = frame.first & 0x0F == BINARY
            self._encoding = is_binary if compress is None else compress
        if not self._encoding:
            return frame
        marks = {0x40: 0, 0x20: 0, 0x10: 0}
        if frame.first & 0x0F != CONT:
            marks[self.marks] = 1
        data = bytes(octet for octet in frame.data for _ in range(2))
        return Frame(frame.first & 0x0F, data, frame.fin, *map(bool, marks.values()))

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        self.sizes.append(max_size)
        data = frame.data
        if len(data) % 2:
            raise ProtocolError("odd")
        if max_size is not None and len(data) // 2 > max_size:
            raise PayloadTooBig(None, max_size)
        return Frame(frame.first & 0x0F, data[::2], frame.fin)


class Shifting(Extension):
    """Moves each octet of every frame on by ``n``, and marks nothing."""

    name = "x-shift"

    def __init__(self, n: int = 1) -> None:
        self.n = n

    def encode(self, frame: Frame, compress: bool | None = None) -> Frame:
        return self._moved(frame, self.n)

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        return self._moved(frame, -self.n)

    def shared_encoding(self) -> int:
        return self.n

    def _moved(self, frame: Frame, n: int) -> Frame:
        data = bytes((octet + n) % 256 for octet in frame.data)
        bits = frame.rsv1, frame.rsv2, frame.rsv3
        return Frame(frame.first & 0x0F, data, frame.fin, *bits)


class Factory(ClientExtensionFactory, ServerExtensionFactory):
    """Both sides of an extension that has one parameter, n, with one value."""

    def __init__(self, extension: Extension, n: str | None = "1") -> None:
        self.name = extension.name
        self._extension = extension
        self._params: list[ExtensionParameter] = [("n", n)]

    def get_request_params(self) -> Sequence[ExtensionParameter]:
        return self._params

    def process_response_params(
        self,
        params: Sequence[ExtensionParameter],
        accepted_extensions: Sequence[Extension],
    ) -> Extension:
        return self.process_request_params(params, accepted_extensions)[1]

    def process_request_params(
        self,
        params: Sequence[ExtensionParameter],
        accepted_extensions: Sequence[Extension],
    ) -> tuple[list[ExtensionParameter], Extension]:
        if any(other.name == self.name for other in accepted_extensions):
            raise NegotiationError("twice")
        if list(params) != self._params:
            raise InvalidParameterName(repr(params))
        return self._params, self._extension


def protocol(*extensions: Extension, side: Side = Side.SERVER, **limits: Any) -> Any:
    made = Protocol(side, **limits)
    made.use(extensions)
    return made


def sent(made: Protocol) -> list[tuple[int, bytes]]:
    return wire.parse(b"".join(made.data_to_send()), made.side is Side.CLIENT)


def masked(*frames: tuple[int, bytes]) -> bytes:
    return b"".join(wire.frame(*frame, masked=True) for frame in frames)


# Frames out


def test_what_is_sent_is_encoded() -> None:
    made = protocol(Marked())
    made.send_binary(b"ab")
    made.send_text("ab")
    made.send_data(TEXT, "a", False, True)
    made.send_ping(b"p")
    made.send_continuation("b", True)
    made.send_data(BINARY, b"ab", True, False)
    made.send_close(1000)
    assert sent(made) == [
        (FIN | 0x40 | BINARY, b"aabb"),
        (FIN | TEXT, b"ab"),
        (0x40 | TEXT, b"aa"),
        (FIN | PING, b"p"),
        (FIN | CONT, b"bb"),
        (FIN | BINARY, b"ab"),
        (FIN | CLOSE, b"\x03\xe8"),
    ]


def test_an_extension_without_marks_gets_control_frames_too() -> None:
    made = protocol(Shifting())
    made.send_text("ab")
    made.send_ping(b"a")
    made.send_pong(b"b")
    made.receive_data(masked((FIN | PING, b"c")))
    assert sent(made) == [
        (FIN | TEXT, b"bc"),
        (FIN | PING, b"b"),
        (FIN | PONG, b"c"),
        (FIN | PONG, b"c"),
    ]
    assert made.events_received() == [Frame(PING, b"b")]
    made.send_close(1000)
    assert sent(made) == [(FIN | CLOSE, b"\x04\xe9")]


def test_the_order() -> None:
    """RFC 6455, section 9.1: the data on the wire is "the original application data"
    through the extensions in the order in which they are listed."""
    made = protocol(Marked(), Shifting())
    made.send_binary(b"ab")
    assert sent(made) == [(FIN | 0x40 | BINARY, b"bbcc")]
    made.receive_data(masked((FIN | 0x40 | BINARY, b"bbcc")))
    assert made.events_received() == [Frame(BINARY, b"ab")]


# Frames in


def test_what_comes_is_decoded() -> None:
    made = protocol(Marked())
    made.receive_data(
        masked(
            (FIN | 0x40 | TEXT, b"\xc3\xc3\xa9\xa9"),
            (FIN | 0x40 | BINARY, b"aabb"),
            (FIN | TEXT, b"plain"),
            (0x40 | TEXT, b"\xc3\xc3"),
            (FIN | PING, b"aab"),
            (CONT, b""),
            (FIN | CONT, b"\xa9\xa9"),
            (BINARY, b"a"),
            (FIN | CONT, b"b"),
            (FIN | 0x40 | TEXT, b""),
        )
    )
    events = made.events_received()
    assert [(event.first, event.payload) for event in events] == [
        (FIN | TEXT, "\u00e9"),
        (FIN | BINARY, b"ab"),
        (FIN | TEXT, "plain"),
        (TEXT, b"\xc3"),
        (FIN | PING, b"aab"),
        (CONT, b""),
        (FIN | CONT, b"\xa9"),
        (BINARY, b"a"),
        (FIN | CONT, b"b"),
        (FIN | TEXT, ""),
    ]


@given(
    st.lists(
        st.tuples(st.booleans(), st.lists(st.text(max_size=20), min_size=1)),
        max_size=4,
    ),
    cuts,
)
def test_any_message_cut_anywhere(
    given_messages: list[tuple[bool, list[str]]], positions: list[int]
) -> None:
    sender = protocol(Marked(0x20), Shifting(7), side=Side.CLIENT)
    for compress, texts in given_messages:
        for i, text in enumerate(texts):
            last = i == len(texts) - 1
            sender.send_data(CONT if i else TEXT, text, last, compress)
    receiver = protocol(Marked(0x20), Shifting(7))
    for piece in wire.cut(b"".join(sender.data_to_send()), positions):
        receiver.receive_data(piece)
    messages: list[bytes] = []
    for frame in receiver.events_received():
        if frame.opcode != CONT:
            messages.append(b"")
        messages[-1] += frame.data
    assert messages == ["".join(texts).encode() for _, texts in given_messages]
    assert receiver.state is State.OPEN


#: Frames that break the protocol, and the code that it fails with.
VIOLATIONS = [
    ("another bit", [(FIN | 0x20 | TEXT, b"")], 1002),
    ("more bits", [(FIN | 0x70 | TEXT, b"")], 1002),
    ("a control frame", [(FIN | 0x40 | PING, b"")], 1002),
    ("a continuation", [(0x40 | TEXT, b""), (FIN | 0x40 | CONT, b"")], 1002),
    ("no continuation", [(FIN | 0x40 | CONT, b"")], 1002),
    ("not decodable", [(FIN | 0x40 | BINARY, b"a")], 1002),
    ("not text", [(FIN | 0x40 | TEXT, b"\xff\xff")], 1007),
    ("not text", [(0x40 | TEXT, b"\xff\xff")], 1007),
    ("half a character", [(0x40 | TEXT, b"\xc3\xc3"), (FIN | CONT, b"")], 1007),
]


@pytest.mark.parametrize(
    ("frames", "code"),
    [case[1:] for case in VIOLATIONS],
    ids=[c[0] for c in VIOLATIONS],
)
def test_violations(frames: list[tuple[int, bytes]], code: int) -> None:
    for data in [masked(*frames)], [bytes([x]) for x in masked(*frames)]:
        made = protocol(Marked())
        for piece in data:
            made.receive_data(piece)
        made.events_received()
        [(first, payload)] = sent(made)
        assert first == FIN | CLOSE
        assert int.from_bytes(payload[:2], "big") == code


def test_what_an_extension_makes_is_checked() -> None:
    made = protocol(Shifting())
    made.receive_data(masked((FIN | 0x10 | TEXT, b"b")))
    made.events_received()
    [(_, payload)] = sent(made)
    assert payload[2:] == b"".join(
        bytes([octet + 1]) for octet in b"reserved bits must be 0"
    )


# Limits


@pytest.mark.parametrize(
    ("limit", "frames", "fits"),
    [
        (4, [(FIN | 0x40 | BINARY, b"a" * 8)], True),
        (4, [(FIN | 0x40 | BINARY, b"a" * 10)], False),
        (4, [(FIN | BINARY, b"a" * 4)], True),
        (4, [(FIN | BINARY, b"a" * 5)], False),
        (4, [(0x40 | BINARY, b"a" * 4), (FIN | CONT, b"a" * 4)], True),
        (4, [(0x40 | BINARY, b"a" * 4), (FIN | CONT, b"a" * 6)], False),
        ((None, 4), [(0x40 | BINARY, b"a" * 8), (FIN | CONT, b"a" * 8)], True),
        ((None, 4), [(0x40 | BINARY, b"a" * 8), (FIN | CONT, b"a" * 10)], False),
        (None, [(FIN | 0x40 | BINARY, b"a" * 10000)], True),
        (0, [(FIN | 0x40 | BINARY, b"")], True),
        (0, [(FIN | 0x40 | BINARY, b"aa")], False),
    ],
)
def test_limits_are_for_what_comes_out(
    limit: Any, frames: list[tuple[int, bytes]], fits: bool
) -> None:
    """CASES F02: the same limit for all shapes of a message."""
    made = protocol(Marked(), max_size=limit)
    made.receive_data(masked(*frames))
    made.events_received()
    if fits:
        assert sent(made) == []
    else:
        [(_, payload)] = sent(made)
        assert int.from_bytes(payload[:2], "big") == 1009


def test_a_decoder_is_told_what_still_fits() -> None:
    extension = Marked()
    made = protocol(extension, max_size=(10, 6))
    made.receive_data(masked((0x40 | TEXT, b"a" * 10), (FIN | CONT, b"a" * 10)))
    assert extension.sizes == [6, 5]
    extension = Marked()
    made = protocol(extension, max_size=None)
    made.receive_data(masked((FIN | 0x40 | TEXT, b"aa")))
    assert extension.sizes == [None]


def test_what_does_not_fit_even_encoded_is_not_waited_for() -> None:
    made = protocol(Marked(), max_size=1000)
    made.receive_data(wire.header(FIN | 0x40 | BINARY, 1000 + 125 + 1024, True))
    assert sent(made) == []
    made = protocol(Marked(), max_size=1000)
    made.receive_data(wire.header(FIN | 0x40 | BINARY, 1000 + 125 + 1025, True))
    [(_, payload)] = sent(made)
    assert int.from_bytes(payload[:2], "big") == 1009


def test_a_decoder_that_exceeds_the_limit_is_not_trusted() -> None:
    class Doubling(Shifting):
        def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
            return Frame(frame.first & 0x0F, frame.data * 2, frame.fin)

    made = protocol(Doubling(0), max_size=5)
    made.receive_data(masked((FIN | BINARY, b"abc")))
    [(_, payload)] = sent(made)
    assert int.from_bytes(payload[:2], "big") == 1009


# How much comes out at once


class Growing(Shifting):
    """What it decodes is 1000 times as long as what came."""

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        if frame.first & 0x08:
            return frame
        return Frame(frame.first & 0x0F, frame.data * 1000, frame.fin)


def grown(letters: bytes) -> list[tuple[int, bytes]]:
    """Frames of which two make more than `MAX_DECODED`, one for each letter."""
    assert MAX_DECODED < 2 * 100_000
    return [(FIN | BINARY, bytes([letter]) * 100) for letter in letters]


def test_what_comes_out_at_once_is_bounded() -> None:
    made = protocol(Growing(0))
    made.receive_data(masked(*grown(b"abc"), (FIN | PING, b"?"), *grown(b"d")))
    assert [event[:1] for event in made.events] == [b"a", b"b"]
    assert made.rest == masked(*grown(b"c"), (FIN | PING, b"?"), *grown(b"d"))
    # What comes next is behind it, and brings some of it.
    made.receive_data(masked(*grown(b"e")))
    assert len(made.events) == 5
    assert made.rest == masked(*grown(b"e"))
    assert sent(made) == [(FIN | PONG, b"?")]
    letters = [frame.data[:1] for frame in made.events_received()]
    assert letters == [b"a", b"b", b"c", b"?", b"d", b"e"]
    assert made.rest == b""


def test_a_frame_that_is_cut_waits_with_the_rest() -> None:
    octets = masked(*grown(b"abcd"))
    for n in range(-1, -110, -1):
        made = protocol(Growing(0))
        made.receive_data(octets[:n])
        made.receive_data(octets[n:])
        letters = [frame.data[:1] for frame in made.events_received()]
        assert letters == [b"a", b"b", b"c", b"d"]


def test_nothing_waits_behind_a_close_frame() -> None:
    made = protocol(Growing(0))
    made.receive_data(masked(*grown(b"ab"), (FIN | CLOSE, b""), *grown(b"c")))
    assert made.ending is None
    assert len(made.events_received()) == 2
    assert made.ending is not None
    assert made.rest == b""


def test_the_rest_comes_before_the_end() -> None:
    made = protocol(Growing(0))
    made.receive_data(masked(*grown(b"abcd")))
    made.receive_eof()
    assert made.state is State.CLOSED
    assert made.rest == b""
    assert len(made.events_received()) == 4


def test_without_extensions_all_is_taken_at_once() -> None:
    made = protocol(max_size=None)
    made.receive_data(masked(*[(FIN | BINARY, bytes(MAX_DECODED))] * 3))
    assert len(made.events) == 3
    assert made.rest == b""


# What connections share


def test_shared_encoding() -> None:
    assert protocol().shared_encoding is None
    assert protocol(Shifting(3)).shared_encoding == 3
    assert protocol(Marked()).shared_encoding is None
    assert protocol(Shifting(3), Shifting(3)).shared_encoding is None


# The opening handshake


def handshake(client: Sequence[Any] | None, server: Sequence[Any] | None) -> Any:
    """Return both sides, and the headers of request and response."""
    asking = ClientProtocol(parse_uri("ws://localhost/"), extensions=client)
    answering = ServerProtocol(extensions=server)
    request = asking.connect()
    asking.send_request(request)
    answering.receive_data(b"".join(asking.data_to_send()))
    [received] = answering.events_received()
    answering.send_response(answering.accept(received))
    asking.receive_data(b"".join(answering.data_to_send()))
    [response] = asking.events_received()
    name = "Sec-WebSocket-Extensions"
    return asking, answering, request.headers.get(name), response.headers.get(name)


def test_agreement() -> None:
    asking, answering, request, response = handshake(
        [Factory(Marked()), Factory(Shifting())],
        [Factory(Shifting()), Factory(Marked())],
    )
    assert request == response == "x-double; n=1, x-shift; n=1"
    assert answering.extensions_header == response
    for side in asking, answering:
        assert [extension.name for extension in side.extensions] == [
            "x-double",
            "x-shift",
        ]
    asking.send_binary(b"ab")
    answering.receive_data(b"".join(asking.data_to_send()))
    assert answering.events_received() == [Frame(BINARY, b"ab")]


@pytest.mark.parametrize(
    ("client", "server", "response"),
    [
        (None, [Factory(Marked())], None),
        ([Factory(Marked())], None, None),
        ([Factory(Marked())], [Factory(Shifting())], None),
        ([Factory(Marked(), "2")], [Factory(Marked())], None),
        (
            [Factory(Marked(), "2"), Factory(Marked())],
            [Factory(Marked())],
            "x-double; n=1",
        ),
        (
            [Factory(Marked()), Factory(Marked())],
            [Factory(Marked())],
            "x-double; n=1",
        ),
        (
            [Factory(Marked(), None)],
            [Factory(Marked()), Factory(Marked(), None)],
            "x-double; n",
        ),
    ],
)
def test_what_is_not_accepted_is_left_out(
    client: Any, server: Any, response: str | None
) -> None:
    asking, answering, _, answered = handshake(client, server)
    assert answered == response
    n = 0 if response is None else 1
    assert len(asking.extensions) == len(answering.extensions) == n
    assert asking.state is answering.state is State.OPEN


@pytest.mark.parametrize(
    ("header", "error"),
    [
        ("x-other", "extension not offered: x-other"),
        ("x-double; n=2", "invalid parameter name"),
        ("x-double; n=1, x-double; n=1", "twice"),
        ("x-double; n=1, ", None),
        ("x-double;", "expected token"),
        ("", "expected an element"),
    ],
)
def test_the_answer_of_a_server(header: str, error: str | None) -> None:
    """CASES C04."""
    asking = ClientProtocol(
        parse_uri("ws://localhost/"), extensions=[Factory(Marked())]
    )
    answering = ServerProtocol()
    asking.send_request(asking.connect())
    answering.receive_data(b"".join(asking.data_to_send()))
    [received] = answering.events_received()
    response = answering.accept(received)
    response.headers["Sec-WebSocket-Extensions"] = header
    asking.receive_data(response.serialize())
    if error is None:
        assert asking.handshake_exc is None
    else:
        assert error in str(asking.handshake_exc)
        assert asking.state is State.CLOSING


def test_a_malformed_offer_is_refused() -> None:
    """CASES H06."""
    asking = ClientProtocol(parse_uri("ws://localhost/"))
    request = asking.connect()
    request.headers["Sec-WebSocket-Extensions"] = 'x-double; n="'
    answering = ServerProtocol(extensions=[Factory(Marked())])
    answering.receive_data(request.serialize())
    [received] = answering.events_received()
    assert answering.accept(received).status_code == 400


def test_the_interface_does_nothing_by_itself() -> None:
    extension = Extension()
    with pytest.raises(NotImplementedError):
        extension.encode(Frame(TEXT, "x"))
    with pytest.raises(NotImplementedError):
        extension.decode(Frame(TEXT, b"x"))
    assert extension.shared_encoding() is None
    with pytest.raises(NotImplementedError):
        ClientExtensionFactory().get_request_params()
    with pytest.raises(NotImplementedError):
        ClientExtensionFactory().process_response_params([], [])
    with pytest.raises(NotImplementedError):
        ServerExtensionFactory().process_request_params([], [])
