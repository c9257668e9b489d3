"""One frame, and the code and reason of a close frame."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gws.exceptions import PayloadTooBig, ProtocolError
from gws.protocol.frames import (
    Close,
    CloseCode,
    Frame,
    Opcode,
    check_first,
    check_length,
    check_mask_bit,
    cut_reason,
)

from . import wire


def read(data: bytes, **options: Any) -> Frame:
    """Read the one frame that ``data`` is."""
    stream = io.BytesIO(data)
    frame = Frame.read(stream.read, **options)
    assert not stream.read()
    return frame


# The frame itself


def test_frame() -> None:
    frame = Frame(Opcode.PING, b"data")
    assert frame.opcode is Opcode.PING
    assert frame.data == b"data"
    assert frame.fin
    assert (frame.rsv1, frame.rsv2, frame.rsv3) == (False, False, False)


@pytest.mark.parametrize(
    ("names", "first"),
    [
        ([], 0x02),
        (["fin"], 0x82),
        (["rsv1"], 0x42),
        (["rsv2"], 0x22),
        (["rsv3"], 0x12),
        (["fin", "rsv1", "rsv2", "rsv3"], 0xF2),
    ],
)
def test_flags(names: list[str], first: int) -> None:
    flags = {name: name in names for name in ("fin", "rsv1", "rsv2", "rsv3")}
    frame = Frame(Opcode.BINARY, b"", **flags)
    assert frame.first == first
    for name, value in flags.items():
        assert getattr(frame, name) is value


@pytest.mark.parametrize(
    "payload",
    ["h\u00e9", b"h\xc3\xa9", bytearray(b"h\xc3\xa9"), memoryview(b"h\xc3\xa9")],
)
def test_payload_of_each_kind(payload: Any) -> None:
    frame = Frame(Opcode.TEXT, payload)
    assert type(frame.data) is bytes
    assert frame.data == b"h\xc3\xa9"
    assert frame == Frame(Opcode.TEXT, "h\u00e9")
    assert hash(frame) == hash(Frame(Opcode.TEXT, "h\u00e9"))


@pytest.mark.parametrize(
    "other",
    [
        Frame(Opcode.TEXT, b"other"),
        Frame(Opcode.BINARY, b"data"),
        Frame(Opcode.TEXT, b"data", fin=False),
        Frame(Opcode.TEXT, b"data", rsv1=True),
        b"data",
        None,
    ],
)
def test_frames_that_differ(other: object) -> None:
    assert Frame(Opcode.TEXT, b"data") != other


@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        (Frame(1, "h\u00e9"), "<Frame TEXT b'h\\xc3\\xa9' [3 bytes]>"),
        (Frame(0, b"", fin=False), "<Frame CONT b'' [0 bytes, continued]>"),
        (Frame(2, b"x" * 40), f"<Frame BINARY b'{'x' * 40}' [40 bytes]>"),
        (
            Frame(2, b"a" * 25 + b"x" * 1000 + b"b" * 12),
            f"<Frame BINARY b'{'a' * 25}...{'b' * 12}' [1037 bytes]>",
        ),
    ],
)
def test_repr(frame: Frame, shown: str) -> None:
    assert repr(frame) == shown


# What may be sent


@pytest.mark.parametrize("first", range(256))
def test_first_octet(first: int) -> None:
    """Each of them: RSV1-3, opcodes, FIN of control frames."""
    opcode = first & 0x0F
    if first & 0x70:
        message = "reserved bits must be 0"
    elif opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        message = f"invalid opcode: {opcode:#x}"
    elif opcode >= 8 and not first & 0x80:
        message = "fragmented control frame"
    else:
        check_first(first)
        return
    with pytest.raises(ProtocolError) as info:
        check_first(first)
    assert str(info.value) == message


@pytest.mark.parametrize(
    ("second", "mask", "ok"),
    [(0x80, True, True), (0x7F, False, True), (0xFF, False, False), (0, True, False)],
)
def test_mask_bit(second: int, mask: bool, ok: bool) -> None:
    if ok:
        check_mask_bit(second, mask)
        return
    with pytest.raises(ProtocolError, match="incorrect masking"):
        check_mask_bit(second, mask)


@pytest.mark.parametrize(
    ("form", "n", "message"),
    [
        (0, 0, None),
        (125, 125, None),
        (126, 126, None),
        (126, 65535, None),
        (127, 65536, None),
        (127, 2**31, None),
        (127, 2**63 - 1, None),
        (126, 0, "payload length not in its shortest form"),
        (126, 125, "payload length not in its shortest form"),
        (127, 0, "payload length not in its shortest form"),
        (127, 126, "payload length not in its shortest form"),
        (127, 65535, "payload length not in its shortest form"),
        (127, 2**63, "payload length out of range"),
        (127, 2**64 - 1, "payload length out of range"),
    ],
)
def test_length(form: int, n: int, message: str | None) -> None:
    if message is None:
        check_length(form, n)
        return
    with pytest.raises(ProtocolError, match=message):
        check_length(form, n)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (Frame(1, b"x" * 126), None),
        (Frame(8, b"x" * 125), None),
        (Frame(9, b"x" * 126), "control frame too long"),
        (Frame(9, b"", fin=False), "fragmented control frame"),
        (Frame(3, b""), "invalid opcode: 0x3"),
        (Frame(1, b"", rsv1=True), "reserved bits must be 0"),
        (Frame(1, b"", rsv2=True), "reserved bits must be 0"),
        (Frame(1, b"", rsv3=True), "reserved bits must be 0"),
    ],
)
def test_check(frame: Frame, message: str | None) -> None:
    if message is None:
        frame.check()
        assert frame.serialize(mask=False) == wire.frame(frame.first, frame.data)
        return
    with pytest.raises(ProtocolError, match=message):
        frame.check()
    with pytest.raises(ProtocolError, match=message):
        frame.serialize(mask=False)


# Serializing and reading

# RFC 6455, section 5.7
EXAMPLES = [
    ("810548656c6c6f", False, Frame(1, b"Hello")),
    ("818537fa213d7f9f4d5158", True, Frame(1, b"Hello")),
    ("010348656c", False, Frame(1, b"Hel", fin=False)),
    ("80026c6f", False, Frame(0, b"lo")),
    ("890548656c6c6f", False, Frame(9, b"Hello")),
    ("8a8537fa213d7f9f4d5158", True, Frame(10, b"Hello")),
    ("827e0100" + "00" * 256, False, Frame(2, bytes(256))),
    ("827f0000000000010000" + "00" * 65536, False, Frame(2, bytes(65536))),
]


@pytest.mark.parametrize(("data", "mask", "frame"), EXAMPLES)
def test_examples_of_the_rfc(data: str, mask: bool, frame: Frame) -> None:
    octets = bytes.fromhex(data)
    assert read(octets, mask=mask) == frame
    if not mask:
        assert frame.serialize(mask=False) == octets


FRAMES = st.builds(
    Frame,
    st.sampled_from([0, 1, 2]),
    st.binary(max_size=300) | st.sampled_from([65535, 65536, 70000]).map(bytes),
    fin=st.booleans(),
) | st.builds(Frame, st.sampled_from([8, 9, 10]), st.binary(max_size=125))


@given(FRAMES, st.booleans())
def test_serialize_then_read(frame: Frame, mask: bool) -> None:
    data = frame.serialize(mask=mask)
    assert wire.parse(data, mask) == [(frame.first, frame.data)]
    assert read(data, mask=mask, max_size=len(frame.data)) == frame


def test_each_frame_has_its_key() -> None:
    frame = Frame(2, bytes(4))
    assert len({frame.serialize(mask=True) for _ in range(50)}) == 50


def test_write_is_one_call() -> None:
    written: list[bytes] = []
    Frame(1, "text").write(written.append, mask=False)
    assert written == [b"\x81\x04text"]


def test_text_that_is_none() -> None:
    with pytest.raises(UnicodeEncodeError):
        Frame(1, "\ud800").serialize(mask=False)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (wire.frame(0x81, b"x", masked=True), ProtocolError),
        (wire.frame(0x83, b"x"), ProtocolError),
        (wire.frame(0xC1, b"x"), ProtocolError),
        (wire.frame(0x09, b"x"), ProtocolError),
        (wire.frame(0x82, b"x", form=16), ProtocolError),
        (wire.frame(0x82, b"x" * 200, form=64), ProtocolError),
        (wire.header(0x82, 11, masked=False), PayloadTooBig),
        (wire.header(0x82, 2**31, masked=False), PayloadTooBig),
        (wire.header(0x82, 2**63, masked=False), ProtocolError),
    ],
)
def test_read_refuses(data: bytes, error: type[ProtocolError]) -> None:
    with pytest.raises(ProtocolError) as info:
        read(data, mask=False, max_size=10)
    assert type(info.value) is error


@pytest.mark.parametrize("form", [16, 64])
def test_no_payload_of_a_long_control_frame_is_read(form: int) -> None:
    stream = io.BytesIO(wire.header(0x89, 2**15, masked=False, form=form))
    with pytest.raises(ProtocolError, match="control frame too long"):
        Frame.read(stream.read, mask=False)
    assert stream.tell() == 2


class Shifting:
    """An extension that sets RSV1 and moves each octet on by ``n``."""

    def __init__(self, n: int) -> None:
        self._n = n

    def encode(self, frame: Frame) -> Frame:
        data = bytes((octet * 2 + self._n) & 0xFF for octet in frame.data)
        return Frame(frame.opcode, data, fin=frame.fin, rsv1=True)

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        assert frame.rsv1
        if max_size is not None and len(frame.data) > max_size // 2:
            raise PayloadTooBig(None, max_size)
        data = bytes((octet - self._n & 0xFF) // 2 for octet in frame.data)
        return Frame(frame.opcode, data, fin=frame.fin, rsv1=self._n == 0)


@pytest.mark.parametrize("mask", [False, True])
def test_extensions(mask: bool) -> None:
    """They encode in order and decode in the reverse order."""
    extensions = [Shifting(1), Shifting(0)]
    frame = Frame(2, bytes([1, 2, 3]))
    data = frame.serialize(mask=mask, extensions=extensions)
    assert wire.parse(data, mask) == [(0xC2, bytes([6, 10, 14]))]
    assert read(data, mask=mask, extensions=extensions, max_size=8) == frame
    with pytest.raises(PayloadTooBig):
        read(data, mask=mask, extensions=extensions, max_size=4)
    written: list[bytes] = []
    frame.write(written.append, mask=False, extensions=extensions)
    assert written == [frame.serialize(mask=False, extensions=extensions)]


def test_no_extensions() -> None:
    data = Frame(2, b"x").serialize(mask=False, extensions=None)
    assert read(data, mask=False, extensions=None) == Frame(2, b"x")


# Close

VALID = [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
INVALID = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", VALID)
@pytest.mark.parametrize("reason", ["", "bye", "\u00e9" * 61, "x" * 123])
def test_close(code: int, reason: str) -> None:
    close = Close(code, reason)
    data = close.serialize()
    assert data == code.to_bytes(2, "big") + reason.encode()
    assert Close.parse(data) == close


@pytest.mark.parametrize("code", INVALID)
def test_close_code_that_may_not_be_sent(code: int) -> None:
    with pytest.raises(ProtocolError, match=f"invalid close code: {code}"):
        Close(code, "reason").serialize()
    with pytest.raises(ProtocolError, match=f"invalid close code: {code}"):
        Close.parse(code.to_bytes(2, "big"))


def test_close_without_code() -> None:
    close = Close.parse(b"")
    assert (close.code, close.reason) == (1005, "")
    assert close.serialize() == b""


def test_close_of_one_byte() -> None:
    with pytest.raises(ProtocolError, match="close frame too short"):
        Close.parse(b"\x03")


@pytest.mark.parametrize("reason", [b"\xff", b"\xed\xa0\x80", b"caf\xc3"])
def test_close_reason_that_is_no_text(reason: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        Close.parse(b"\x03\xe8" + reason)


@pytest.mark.parametrize("reason", ["x" * 124, "\u00e9" * 62])
def test_close_reason_that_does_not_fit(reason: str) -> None:
    with pytest.raises(ProtocolError, match="at most 123 bytes"):
        Close(1000, reason).serialize()


def test_close_in_words() -> None:
    assert str(Close(1000)) == "1000 (OK)"
    assert str(Close(1001, "bye")) == "1001 (going away) bye"
    assert str(Close(4000, "x")) == "4000 (private use) x"
    assert repr(Close(1001, "bye")) == "Close(1001, 'bye')"


def test_closes_are_compared() -> None:
    close = Close(CloseCode.NORMAL_CLOSURE, "bye")
    assert close == Close(1000, "bye")
    assert hash(close) == hash(Close(1000, "bye"))
    for other in (Close(1001, "bye"), Close(1000), (1000, "bye")):
        assert close != other


@pytest.mark.parametrize(
    ("reason", "cut"),
    [
        ("", ""),
        ("x" * 123, "x" * 123),
        ("x" * 124, "x" * 123),
        ("\u20ac" * 41, "\u20ac" * 41),
        ("x" + "\u20ac" * 41, "x" + "\u20ac" * 40),
        ("xx\ud800", "xx?"),
    ],
)
def test_cut_reason(reason: str, cut: str) -> None:
    assert cut_reason(reason) == cut
    assert len(Close(1011, cut).serialize()) <= 125
