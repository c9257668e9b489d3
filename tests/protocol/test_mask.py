"""The kernel, in Python and, where it is built, in C: the same tests for both."""

from __future__ import annotations

import array
import codecs
import contextlib
import importlib
import os
import socket
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gws
from gws.protocol import mask

from . import wire


KERNELS = [mask]
if gws.COMPILED:
    KERNELS.append(importlib.import_module("gws.protocol._speedups"))

pytestmark = pytest.mark.parametrize(
    "kernel", KERNELS, ids=[kernel.__name__.rpartition(".")[2] for kernel in KERNELS]
)

KEY = int.from_bytes(wire.KEY, "little")
OCTETS = bytes(i * 7 & 0xFF for i in range(1100))


def test_same_names(kernel: ModuleType) -> None:
    # Frame.read and the tests use apply_mask; the hot modules do not.
    for name in set(mask.__all__) - {"apply_mask"}:
        assert callable(getattr(kernel, name))


# Masking


def test_apply_mask(kernel: ModuleType) -> None:
    """The kernel has it as unmask; each size, each alignment."""
    for n in range(1025):
        expected = wire.xor(OCTETS[:n], wire.KEY)
        assert mask.apply_mask(OCTETS[:n], wire.KEY) == expected
        for start in range(9):
            buffer = bytearray(OCTETS[:start] + OCTETS[:n] + b"after")
            kernel.unmask(buffer, start, start + n, KEY)
            assert buffer == OCTETS[:start] + expected + b"after"


@pytest.mark.parametrize(
    "data", [b"abcd" * 3, bytearray(b"abcd"), memoryview(b"abcdefgh").cast("I")]
)
def test_apply_mask_takes_what_holds_bytes(kernel: ModuleType, data: bytes) -> None:
    masked = mask.apply_mask(data, wire.KEY)
    assert masked == wire.xor(bytes(data), wire.KEY)


@pytest.mark.parametrize("key", [b"", b"abc", b"abcde"])
def test_apply_mask_wants_a_key_of_4_bytes(kernel: ModuleType, key: bytes) -> None:
    with pytest.raises(ValueError, match="4 bytes"):
        mask.apply_mask(b"data", key)


@given(st.binary(max_size=40), st.binary(min_size=4, max_size=4), st.data())
def test_masking_in_pieces(
    kernel: ModuleType, data: bytes, key: bytes, draw: st.DataObject
) -> None:
    """With the key rotated between, pieces are masked as the whole is."""
    at = draw.draw(st.integers(0, len(data)))
    number = int.from_bytes(key, "little")
    buffer = bytearray(data)
    kernel.unmask(buffer, 0, at, number)
    kernel.unmask(buffer, at, len(data), kernel.rotate_key(number, at))
    assert buffer == wire.xor(data, key)


@pytest.mark.parametrize(
    ("n", "rotated"),
    [
        (0, 0x44332211),
        (1, 0x11443322),
        (2, 0x22114433),
        (3, 0x33221144),
        (4, 0x44332211),
        (2**40 + 5, 0x11443322),
    ],
)
def test_rotate_key(kernel: ModuleType, n: int, rotated: int) -> None:
    assert kernel.rotate_key(0x44332211, n) == rotated


# Payloads


def test_take(kernel: ModuleType) -> None:
    buffer = bytearray("<h\u00e9\U0001f600\0>".encode())
    assert kernel.take_text(buffer, 1, len(buffer) - 1) == "h\u00e9\U0001f600\0"
    taken = kernel.take_bytes(buffer, 1, 3)
    assert taken == b"h\xc3"
    assert type(taken) is bytes
    assert kernel.take_text(buffer, 4, 4) == ""
    assert kernel.take_bytes(buffer, 4, 4) == b""
    with pytest.raises(UnicodeDecodeError):
        kernel.take_text(buffer, 1, 3)


def test_append_bytes(kernel: ModuleType) -> None:
    out = bytearray(b"before")
    kernel.append_bytes(out, bytearray(b"<payload>"), 1, 8)
    kernel.append_bytes(out, bytearray(b"nothing"), 3, 3)
    assert out == b"beforepayload"


# UTF-8

# Each is text as far as it goes, and no text with its last octet.
BAD_UTF8 = [
    b"\x80",  # a continuation
    b"\xbf",
    b"\xc0",  # overlong from the first octet on
    b"\xc1",
    b"\xe0\x80",  # overlong
    b"\xe0\x9f",
    b"\xf0\x80",
    b"\xf0\x8f",
    b"\xed\xa0",  # surrogates
    b"\xed\xbf",
    b"\xf4\x90",  # past U+10FFFF
    b"\xf5",
    b"\xf8",
    b"\xfe",
    b"\xff",
    b"\xc2\x7f",  # no continuation
    b"\xc2\xc0",
    b"\xe1\x80\x7f",
    b"\xe1\x80\xc0",
    b"\xf1\x80\x80\x7f",
    b"\xf1\x80\x80\xc0",
    b"\xc3a",
]

GOOD_UTF8 = [
    b"",
    b"a",
    b"\x00\x7f",
    "\u0080\u07ff\u0800\uffff\U00010000\U0010ffff".encode(),
    "\ud7ff\ue000".encode(),
    "\u03ba\u1f79\u03c3\u03bc\u03b5".encode(),
    b"plain words longer than eight octets " * 3,
    b"seven77" + "\u20ac".encode() + b"eight888" + "\U0001f600".encode(),
]


def check(kernel: ModuleType, pieces: list[bytes]) -> bytes | None:
    """Check text that comes in pieces, each behind other octets in its buffer."""
    pending: bytes | None = b""
    for piece in pieces:
        assert pending is not None
        buffer = bytearray(b"\xff\xff\xff" + piece + b"\xff")
        pending = kernel.check_utf8(pending, buffer, 3, 3 + len(piece))
    return pending


def can_go_on(text: bytes) -> bool:
    """Tell whether some text begins like that, by trying what may complete it."""
    for first in (b"", b"\x80", b"\x90", b"\xa0"):
        for rest in (b"", b"\x80", b"\x80\x80"):
            with contextlib.suppress(UnicodeDecodeError):
                (text + first + rest).decode()
                return True
    return False


@pytest.mark.parametrize("text", GOOD_UTF8)
def test_utf8(kernel: ModuleType, text: bytes) -> None:
    for at in range(len(text) + 1):
        head, tail = text[:at], text[at:]
        # What is left is the character that was cut.
        _, n = codecs.utf_8_decode(head, "strict", False)
        assert check(kernel, [head]) == head[n:]
        assert check(kernel, [head, tail]) == b""
    assert check(kernel, [bytes([octet]) for octet in text]) == b""


@pytest.mark.parametrize("bad", BAD_UTF8)
@pytest.mark.parametrize("before", [b"", b"a", b"eight888", "\u20ac".encode()])
def test_no_utf8(kernel: ModuleType, bad: bytes, before: bytes) -> None:
    """It fails with the octet that makes it impossible, not before, not later."""
    text = before + bad
    assert check(kernel, [text]) is None
    assert check(kernel, [text + b"more"]) is None
    for at in range(len(text)):
        assert check(kernel, [text[:at]]) is not None
        assert check(kernel, [text[:at], text[at:]]) is None
    singles = [bytes([octet]) for octet in text]
    assert check(kernel, singles[:-1]) == bad[:-1]
    assert check(kernel, singles) is None


def test_utf8_of_all_short_texts(kernel: ModuleType) -> None:
    """Each start of two octets, and those of three and four at the borders."""
    borders = (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF)
    texts = [bytes([a]) for a in range(256)]
    texts += [bytes([a, b]) for a in range(256) for b in range(256)]
    texts += [
        bytes([a, b, c]) for a in range(0xE0, 256) for b in borders for c in borders
    ]
    texts += [
        bytes([a, b, 0x80, c])
        for a in range(0xF0, 256)
        for b in borders
        for c in borders
    ]
    for text in texts:
        assert (kernel.check_utf8(b"", bytearray(text), 0, len(text)) is None) == (
            not can_go_on(text)
        )


@given(st.binary(max_size=24) | st.text().map(str.encode), st.lists(st.integers(0, 24)))
def test_utf8_cut_anywhere(kernel: ModuleType, text: bytes, cuts: list[int]) -> None:
    pending: bytes | None = b""
    for piece in wire.cut(text, cuts):
        pending = kernel.check_utf8(pending, bytearray(piece), 0, len(piece))
        if pending is None:
            break
    if can_go_on(text):
        _, n = codecs.utf_8_decode(text, "strict", False)
        assert pending == text[n:]
    else:
        assert pending is None


# Frames

HEADS = [
    (0, b"\x00"),
    (1, b"\x01"),
    (125, b"\x7d"),
    (126, b"\x7e\x00\x7e"),
    (127, b"\x7e\x00\x7f"),
    (65535, b"\x7e\xff\xff"),
    (65536, b"\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    (70000, b"\x7f\x00\x00\x00\x00\x00\x01\x11\x70"),
]


@pytest.mark.parametrize(("n", "head"), HEADS)
@pytest.mark.parametrize("kind", [str, bytes, bytearray, memoryview])
def test_append_frame(kernel: ModuleType, n: int, head: bytes, kind: type) -> None:
    data = b"x" * n
    payload = data.decode() if kind is str else kind(data)
    out = bytearray(b"before")
    kernel.append_frame(out, 0x81, payload, False, KEY)
    assert out == b"before\x81" + head + data
    out = bytearray(b"before")
    kernel.append_frame(out, 0xC2, payload, True, KEY)
    masked_head = bytes([head[0] | 0x80]) + head[1:] + wire.KEY
    assert out == b"before\xc2" + masked_head + wire.xor(data, wire.KEY)


class Text(str):
    __slots__ = ()


class Octets(bytes):
    __slots__ = ()


@pytest.mark.parametrize(
    ("payload", "data"),
    [
        ("h\u00e9\U0001f600", "h\u00e9\U0001f600".encode()),
        (Text("h\u00e9"), b"h\xc3\xa9"),
        (Octets(b"bytes"), b"bytes"),
        (memoryview(b"abcdefgh")[2:5], b"cde"),
        (memoryview(b"abcdefgh").cast("I"), b"abcdefgh"),
        (memoryview(b"abcdefgh").cast("B", (2, 4)), b"abcdefgh"),
        (array.array("H", [0x6161, 0x6262]), b"aabb"),
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_append_frame_of_other_kinds(
    kernel: ModuleType, payload: bytes, data: bytes, masked: bool
) -> None:
    out = bytearray()
    kernel.append_frame(out, 0x82, payload, masked, KEY)
    assert out == wire.frame(0x82, data, masked)


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ("text \ud800", UnicodeEncodeError),
        (Text("text \udfff"), UnicodeEncodeError),
        (memoryview(b"abcdef")[::2], BufferError),
        (5, TypeError),
        (None, TypeError),
        (["a"], TypeError),
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_append_frame_of_no_payload(
    kernel: ModuleType, payload: bytes, error: type[Exception], masked: bool
) -> None:
    out = bytearray(b"before")
    with pytest.raises(error):
        kernel.append_frame(out, 0x81, payload, masked, KEY)
    assert out == b"before"


# Descriptors


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right


Pair = tuple[socket.socket, socket.socket]


def test_recv_fd(kernel: ModuleType, pair: Pair) -> None:
    ours, theirs = pair
    buffer = bytearray(b".........")
    assert kernel.recv_fd(ours.fileno(), buffer, 3) == -1
    theirs.sendall(b"abc")
    assert kernel.recv_fd(ours.fileno(), buffer, 3) == 3
    assert buffer == b"...abc..."
    theirs.sendall(b"12345678")
    assert kernel.recv_fd(ours.fileno(), buffer, 3) == 6
    assert buffer == b"...123456"
    assert kernel.recv_fd(ours.fileno(), buffer, 3) == 2
    theirs.close()
    assert kernel.recv_fd(ours.fileno(), buffer, 3) == 0
    buffer.append(0)  # nothing holds on to it


def test_send_fd(kernel: ModuleType, pair: Pair) -> None:
    ours, theirs = pair
    assert kernel.send_fd(ours.fileno(), bytearray()) == 0
    out = bytearray(b"x" * 2**16)
    n_sent = 0
    while (n := kernel.send_fd(ours.fileno(), out)) >= 0:
        n_sent += n
    assert n == -1
    n_there = 0
    with contextlib.suppress(BlockingIOError):
        while data := theirs.recv(2**16):
            n_there += len(data)
    assert n_there == n_sent > 0
    theirs.close()
    with pytest.raises(BrokenPipeError):
        kernel.send_fd(ours.fileno(), out)


def test_a_connection_that_was_reset(kernel: ModuleType, pair: Pair) -> None:
    """Octets that the peer never read make a reset of its close."""
    ours, theirs = pair
    assert kernel.send_fd(ours.fileno(), bytearray(b"unread")) == 6
    theirs.close()
    with pytest.raises(ConnectionResetError):
        kernel.recv_fd(ours.fileno(), bytearray(8), 0)


def test_a_descriptor_that_is_closed(kernel: ModuleType) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    with pytest.raises(OSError, match="Bad file descriptor"):
        kernel.recv_fd(reader, bytearray(8), 0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        kernel.send_fd(writer, bytearray(b"data"))
