"""Octets to frames: what each side takes, refuses, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gws.exceptions import PayloadTooBig, ProtocolError, TooManyFragments
from gws.protocol.frames import Frame
from gws.protocol.reader import HEADROOM, MAX_FRAGMENTS, InvalidText, Reader

from . import wire
from .strategies import cuts, messages
from .wire import BINARY, CLOSE, CONT, FIN, PING, PONG, TEXT


#: First octet and payload of each frame, then what was raised.
Outcome = tuple[list[tuple[int, str | bytes]], str | None]

both_sides = pytest.mark.parametrize("masked", [True, False], ids=["server", "client"])


def load(reader: Reader, data: bytes) -> bytearray:
    """Have ``data`` read from a buffer in which other octets follow it."""
    buffer = bytearray(HEADROOM) + data + b"\xff" * 20
    reader.load(buffer, HEADROOM, HEADROOM + len(data))
    return buffer


def read(
    *pieces: bytes,
    masked: bool,
    max_size: int | None = 2**20,
    max_fragment: int | None = None,
) -> Outcome:
    reader = Reader(masked, max_size, max_fragment)
    frames: list[tuple[int, str | bytes]] = []
    try:
        for piece in pieces:
            load(reader, piece)
            while (frame := reader.next_frame()) is not None:
                frames.append((frame.first, frame.payload))
    except (ProtocolError, InvalidText) as exc:
        return frames, f"{type(exc).__name__}: {exc}"
    return frames, None


def error_of(*pieces: bytes, masked: bool, max_size: int | None = 2**20) -> str | None:
    return read(*pieces, masked=masked, max_size=max_size)[1]


def octets(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


# Frames and messages


def test_nothing_is_there_before_something_is_loaded() -> None:
    assert Reader(True, None, None).next_frame() is None


#: Name, frames, and what comes of them: whole text as str, all else as bytes.
CONVERSATIONS: list[tuple[str, list[tuple[int, bytes]], list[str | bytes]]] = [
    ("text", [(FIN | TEXT, b"h\xc3\xa9")], ["h\u00e9"]),
    ("binary", [(FIN | BINARY, b"\xff\x00")], [b"\xff\x00"]),
    ("empty", [(FIN | TEXT, b""), (FIN | BINARY, b"")], ["", b""]),
    ("125", [(FIN | BINARY, bytes(125))], [bytes(125)]),
    ("126", [(FIN | BINARY, bytes(126))], [bytes(126)]),
    ("65535", [(FIN | BINARY, bytes(65535))], [bytes(65535)]),
    ("65536", [(FIN | TEXT, b"x" * 65536)], ["x" * 65536]),
    (
        "control frames",
        [(FIN | PING, b"1"), (FIN | PONG, b""), (FIN | CLOSE, b"\x03\xe8x")],
        [b"1", b"", b"\x03\xe8x"],
    ),
    ("longest control frame", [(FIN | PING, bytes(125))], [bytes(125)]),
    (
        "fragments",
        [(TEXT, b"a"), (CONT, b"b"), (FIN, b"c"), (FIN | TEXT, b"d")],
        [b"a", b"b", b"c", "d"],
    ),
    (
        "characters cut by fragments",
        [(TEXT, b"\xf0\x9f"), (CONT, b""), (CONT, b"\x98"), (FIN, b"\x80!")],
        [b"\xf0\x9f", b"", b"\x98", b"\x80!"],
    ),
    (
        "control frames inside a character",
        [(TEXT, b"\xc3"), (FIN | PING, b"\xff"), (FIN, b"\xa9"), (FIN | PONG, b"")],
        [b"\xc3", b"\xff", b"\xa9", b""],
    ),
    (
        "a binary message need not be text",
        [(BINARY, b"\xff"), (CONT, b"\xfe"), (FIN, b"\xfd"), (FIN | TEXT, b"t")],
        [b"\xff", b"\xfe", b"\xfd", "t"],
    ),
    ("empty fragments", [(TEXT, b""), (CONT, b""), (FIN, b"")], [b"", b"", b""]),
]


@both_sides
@pytest.mark.parametrize(
    ("frames", "payloads"),
    [case[1:] for case in CONVERSATIONS],
    ids=[case[0] for case in CONVERSATIONS],
)
def test_valid(
    frames: list[tuple[int, bytes]], payloads: list[str | bytes], masked: bool
) -> None:
    data = b"".join(wire.frame(*frame, masked=masked) for frame in frames)
    expected = [
        (first, payload) for (first, _), payload in zip(frames, payloads, strict=True)
    ]
    assert read(data, masked=masked) == (expected, None)
    if len(data) < 1000:
        assert read(*octets(data), masked=masked) == (expected, None)
        for at in range(len(data)):
            assert read(data[:at], data[at:], masked=masked) == (expected, None)


@both_sides
def test_types(masked: bool) -> None:
    """Binary is bytes, always, however it comes (CASES F19); whole text is str."""
    for payload in (b"data", b""):
        data = wire.frame(FIN | BINARY, payload, masked)
        for pieces in ([data], octets(data)):
            [(_, got)], _ = read(*pieces, masked=masked)
            assert type(got) is bytes
        data = wire.frame(FIN | TEXT, payload, masked)
        for pieces in ([data], octets(data)):
            [(_, got)], _ = read(*pieces, masked=masked)
            assert type(got) is str


@both_sides
def test_frames_are_frames(masked: bool) -> None:
    reader = Reader(masked, None, None)
    load(reader, wire.frame(FIN | TEXT, b"text", masked))
    assert reader.next_frame() == Frame(TEXT, "text")
    assert reader.next_frame() is None
    assert reader.next_frame() is None


@both_sides
def test_the_buffer_may_be_used_again(masked: bool) -> None:
    """What is kept, of a header or of a payload, is kept elsewhere."""
    data = wire.frame(BINARY, b"x" * 300, masked) + wire.frame(FIN, b"end", masked)
    reader = Reader(masked, None, None)
    buffer = bytearray(HEADROOM + 7)
    payload = b""
    for start in range(0, len(data), 7):
        piece = data[start : start + 7]
        buffer[:] = b"\xff" * len(buffer)
        buffer[HEADROOM : HEADROOM + len(piece)] = piece
        reader.load(buffer, HEADROOM, HEADROOM + len(piece))
        while (frame := reader.next_frame()) is not None:
            payload += frame.data
        buffer += b""  # nothing holds on to it
    assert payload == b"x" * 300 + b"end"


@both_sides
def test_empty_loads(masked: bool) -> None:
    data = wire.frame(FIN | TEXT, b"text", masked)
    for at in range(len(data)):
        pieces = (b"", data[:at], b"", b"", data[at:], b"")
        assert read(*pieces, masked=masked) == ([(FIN | TEXT, "text")], None)


@both_sides
def test_what_is_not_read_may_be_taken_back(masked: bool) -> None:
    one, two = (wire.frame(FIN | TEXT, text, masked) for text in (b"one", b"two"))
    reader = Reader(masked, None, None)
    assert reader.take_rest() == b""
    load(reader, one[:1])
    assert reader.next_frame() is None
    load(reader, one[1:] + two)
    assert reader.next_frame().payload == "one"
    assert reader.take_rest() == two
    assert reader.take_rest() == b""
    assert reader.next_frame() is None
    load(reader, two)
    assert reader.next_frame().payload == "two"
    assert reader.take_rest() == b""


# What breaks the protocol

#: Name, wire for a server (masked) or a client (not), what is raised.
BROKEN = [
    *[
        (f"opcode {opcode:#x}", [(FIN | opcode, b"")], f"invalid opcode: {opcode:#x}")
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    ],
    *[
        (
            f"RSV {bit:#x} of {opcode:#x}",
            [(bit | FIN | opcode, b"")],
            "reserved bits must be 0",
        )
        for bit in (0x10, 0x20, 0x40, 0x70)
        for opcode in (TEXT, BINARY, CLOSE, PING, PONG)
    ],
    (
        "RSV1 of a continuation",
        [(TEXT, b"a"), (0x40 | FIN, b"b")],
        "reserved bits must be 0",
    ),
    *[
        (f"fragment of {opcode:#x}", [(opcode, b"")], "fragmented control frame")
        for opcode in (CLOSE, PING, PONG)
    ],
    *[
        (
            f"126 bytes of {opcode:#x}",
            [(FIN | opcode, bytes(126))],
            "control frame too long",
        )
        for opcode in (CLOSE, PING, PONG)
    ],
    (
        "a control frame of 64 KiB",
        [(FIN | PING, bytes(65536))],
        "control frame too long",
    ),
    ("continuation first", [(FIN, b"a")], "unexpected continuation frame"),
    ("fragment first", [(CONT, b"a")], "unexpected continuation frame"),
    (
        "continuation after a message",
        [(TEXT, b"a"), (FIN, b"b"), (FIN, b"c")],
        "unexpected continuation frame",
    ),
    *[
        (
            f"{opcode:#x} in a message",
            [(TEXT, b"a"), (opcode, b"b")],
            "expected a continuation frame",
        )
        for opcode in (TEXT, BINARY, FIN | TEXT, FIN | BINARY)
    ],
]


@both_sides
@pytest.mark.parametrize(
    ("frames", "message"),
    [case[1:] for case in BROKEN],
    ids=[case[0] for case in BROKEN],
)
def test_broken(frames: list[tuple[int, bytes]], message: str, masked: bool) -> None:
    *before, last = [wire.frame(*frame, masked=masked) for frame in frames]
    good = wire.frame(FIN | BINARY, b"before", masked)
    whole = read(good, *before, last, masked=masked)
    assert whole[1] == f"ProtocolError: {message}"
    assert len(whole[0]) == 1 + len(before)
    assert read(good + b"".join(before) + last, masked=masked) == whole
    assert read(*octets(good + b"".join(before) + last), masked=masked) == whole


@both_sides
@pytest.mark.parametrize("opcode", [CONT, TEXT, BINARY, CLOSE, PING, PONG])
def test_wrong_mask_bit(opcode: int, masked: bool) -> None:
    """CASES F12. Two octets decide it."""
    data = wire.frame(FIN | opcode, b"", not masked)
    assert error_of(data[:2], masked=masked) == "ProtocolError: incorrect masking"
    assert error_of(data[:1], data[1:], masked=masked) is not None


@both_sides
@pytest.mark.parametrize(
    ("n", "form"),
    [(0, 16), (1, 16), (125, 16), (0, 64), (126, 64), (65535, 64)],
)
def test_length_not_in_its_shortest_form(n: int, form: int, masked: bool) -> None:
    data = wire.frame(FIN | BINARY, bytes(n), masked, form)
    message = "ProtocolError: payload length not in its shortest form"
    assert error_of(data, masked=masked) == message
    assert error_of(*octets(data[:14]), masked=masked) == message


@both_sides
@pytest.mark.parametrize("n", [2**63, 2**63 + 1, 2**64 - 1])
@pytest.mark.parametrize("max_size", [None, 2**20])
def test_length_out_of_range(n: int, max_size: int | None, masked: bool) -> None:
    data = wire.header(FIN | BINARY, n, masked)
    message = "ProtocolError: payload length out of range"
    assert error_of(data, masked=masked, max_size=max_size) == message
    assert error_of(*octets(data), masked=masked, max_size=max_size) == message


@both_sides
@pytest.mark.parametrize("n", [65536, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1])
def test_nothing_is_allocated_of_what_is_claimed(n: int, masked: bool) -> None:
    """CASES F01; with 2**63 - 1 bytes, nobody could."""
    data = wire.header(FIN | BINARY, n, masked) + b"x"
    assert read(data, masked=masked, max_size=None) == ([], None)
    assert read(*octets(data), masked=masked, max_size=None) == ([], None)
    message = f"PayloadTooBig: frame with {n} bytes exceeds limit of 65535 bytes"
    assert error_of(data, masked=masked, max_size=65535) == message


# Limits


@both_sides
@pytest.mark.parametrize("limit", [0, 1, 125, 126, 65535, 65536])
def test_limit(limit: int, masked: bool) -> None:
    """The limit is accepted, one byte more is not (CASES F02)."""
    data = wire.frame(FIN | BINARY, bytes(limit), masked)
    good = [(FIN | BINARY, bytes(limit))]
    assert read(data, data, masked=masked, max_size=limit) == (good * 2, None)
    # The header decides: nothing of the payload has to be there.
    data = wire.header(FIN | BINARY, limit + 1, masked)
    message = (
        f"PayloadTooBig: frame with {limit + 1} bytes exceeds limit of {limit} bytes"
    )
    assert read(data, masked=masked, max_size=limit) == ([], message)


@both_sides
def test_limit_of_a_fragmented_message(masked: bool) -> None:
    pong = wire.frame(FIN | PONG, bytes(125), masked)
    start = wire.frame(BINARY, bytes(4), masked) + pong
    start += wire.frame(CONT, bytes(5), masked) + pong
    for last, message in [
        (1, None),
        (
            2,
            "PayloadTooBig: frame with 2 bytes after 9 bytes exceeds limit of 10 bytes",
        ),
        (
            2**63 - 1,
            f"PayloadTooBig: frame with {2**63 - 1} bytes after 9 bytes"
            " exceeds limit of 10 bytes",
        ),
    ]:
        end = wire.header(FIN, last, masked)
        end += (
            wire.xor(bytes(last), wire.KEY if masked else bytes(4)) if last < 3 else b""
        )
        # Twice: the next message starts from zero.
        frames, error = read(start + end, start + end, masked=masked, max_size=10)
        assert error == message
        assert len(frames) == (10 if message is None else 4)


@both_sides
def test_limit_of_fragments(masked: bool) -> None:
    """(message, fragment)."""
    good = wire.frame(BINARY, bytes(5), masked) + wire.frame(FIN, bytes(5), masked)
    limits = {"max_size": 10, "max_fragment": 5}
    assert read(good, masked=masked, **limits)[1] is None
    for bad in (
        wire.frame(FIN | BINARY, bytes(6), masked),
        wire.frame(BINARY, b"", masked) + wire.frame(FIN, bytes(6), masked),
    ):
        error = read(good + bad, masked=masked, **limits)[1]
        assert error == "PayloadTooBig: frame with 6 bytes exceeds limit of 5 bytes"
    # Control frames are no fragments of it.
    ping = wire.frame(FIN | PING, bytes(125), masked)
    assert read(ping, masked=masked, **limits)[1] is None
    frames, error = read(good, masked=masked, max_size=None, max_fragment=5)
    assert len(frames) == 2
    assert error is None


@both_sides
def test_other_limits(masked: bool) -> None:
    reader = Reader(masked, 1, 1)
    reader.limit(4, None)
    load(reader, wire.frame(FIN | TEXT, b"1234", masked))
    assert reader.next_frame() == Frame(TEXT, "1234")
    reader.limit(None, 3)
    load(reader, wire.frame(FIN | TEXT, b"1234", masked))
    with pytest.raises(PayloadTooBig):
        reader.next_frame()


def test_too_many_fragments() -> None:
    """Empty ones cost nothing by the size limit (CASES F03)."""
    reader = Reader(False, 2**20, None)
    chunk = wire.frame(CONT) * 2**12
    load(reader, wire.frame(BINARY) + chunk[2:])
    n = 0
    while n < MAX_FRAGMENTS:
        while reader.next_frame() is not None:
            n += 1
        load(reader, chunk)
    assert n == MAX_FRAGMENTS == 2**17
    with pytest.raises(TooManyFragments) as info:
        reader.next_frame()
    assert (info.value.count, info.value.max_fragments) == (2**17 + 1, 2**17)


def test_other_limits_of_fragments() -> None:
    for limit in (1, 3):
        reader = Reader(False, None, None)
        reader.limit(None, None, limit)
        load(reader, wire.frame(BINARY) + wire.frame(CONT) * limit)
        for _ in range(limit):
            assert reader.next_frame() is not None
        with pytest.raises(TooManyFragments) as info:
            reader.next_frame()
        assert (info.value.count, info.value.max_fragments) == (limit + 1, limit)
    # None is any number; and so is what was a limit before.
    reader = Reader(False, None, None)
    reader.limit(None, None, 1)
    reader.limit(None, None, None)
    load(reader, wire.frame(BINARY) + wire.frame(CONT) * 2**17 + wire.frame(FIN | CONT))
    n = 0
    while reader.next_frame() is not None:
        n += 1
    assert n == 2**17 + 2


@both_sides
def test_what_is_not_whole(masked: bool) -> None:
    reader = Reader(masked, None, None)
    assert not reader.inside()
    fragments = wire.frame(TEXT, b"1234", masked) + wire.frame(CONT, b"", masked)
    ping = wire.frame(FIN | PING, b"x", masked)
    last = wire.frame(FIN | CONT, b"5", masked)
    octets = fragments + ping + last
    for i in range(1, len(octets)):
        load(reader, octets[i - 1 : i])
        while reader.next_frame() is not None:
            pass
        assert reader.inside()
    load(reader, octets[-1:])
    assert reader.next_frame() is not None
    assert not reader.inside()
    # Between messages only the frame counts.
    load(reader, ping[:1])
    assert reader.next_frame() is None
    assert reader.inside()
    load(reader, ping[1:])
    assert reader.next_frame() is not None
    assert not reader.inside()


# Text

BAD_TEXTS = [
    (b"abc\xff", 4),
    (b"\x80", 1),
    (b"\xc0\x80", 1),
    (b"\xed\xa0\x80", 2),  # a surrogate
    (b"\xf4\x90\x80\x80", 2),  # past U+10FFFF
    (b"\xe2\x82x", 3),
    (b"eight888eight888\xf8", 17),
]


@both_sides
@pytest.mark.parametrize(("text", "n_decisive"), BAD_TEXTS)
def test_bad_text(text: bytes, n_decisive: int, masked: bool) -> None:
    """It fails with the octet that makes it impossible, whole or in fragments."""
    error = "InvalidText: invalid UTF-8"
    data = wire.frame(FIN | TEXT, text + b" and more", masked)
    start = len(data) - len(text + b" and more")
    assert read(data, masked=masked) == ([], error)
    for at in range(len(data)):
        assert read(data[:at], data[at:], masked=masked) == ([], error)
    # Before the frame is whole:
    assert error_of(data[: start + n_decisive - 1], masked=masked) is None
    assert error_of(data[: start + n_decisive], masked=masked) == error
    pieces = octets(data[: start + n_decisive])
    assert error_of(*pieces[:-1], masked=masked) is None
    assert error_of(*pieces, masked=masked) == error
    # In fragments, cut anywhere:
    for at in range(len(text)):
        first = wire.frame(TEXT, text[:at], masked)
        for opcode in (CONT, FIN):
            rest = wire.frame(opcode, text[at:], masked)
            frames, got = read(first + rest, masked=masked)
            assert got == error
            assert len(frames) == (1 if at < n_decisive else 0)


@both_sides
@pytest.mark.parametrize("text", [b"\xc3", b"\xe2\x82", b"a\xf0\x9f\x98"])
def test_text_that_ends_inside_a_character(text: bytes, masked: bool) -> None:
    error = "InvalidText: invalid UTF-8"
    whole = wire.frame(FIN | TEXT, text, masked)
    assert error_of(whole, masked=masked) == error
    assert error_of(*octets(whole), masked=masked) == error
    fragments = wire.frame(TEXT, text, masked) + wire.frame(CONT, b"", masked)
    assert error_of(fragments, masked=masked) is None
    fragments += wire.frame(FIN, b"", masked)
    assert error_of(fragments, masked=masked) == error
    assert error_of(*octets(fragments), masked=masked) == error


# Any frames, any cut


@both_sides
@given(data=st.data())
def test_cut_anywhere(masked: bool, data: st.DataObject) -> None:
    wires = data.draw(st.lists(messages(masked), max_size=5).map(b"".join))
    pieces = wire.cut(wires, data.draw(cuts))
    whole = read(wires, masked=masked)
    assert read(*pieces, masked=masked) == whole
    assert whole[1] is None
    assert [
        (first, payload.encode() if isinstance(payload, str) else payload)
        for first, payload in whole[0]
    ] == wire.parse(wires, masked)
