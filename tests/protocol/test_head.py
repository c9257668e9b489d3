"""The head of an HTTP message: lines, headers, and what may be neither."""

from __future__ import annotations

import pytest

from gws.exceptions import (
    HeaderLineTooLong,
    InvalidHandshake,
    InvalidMessage,
    RequestLineTooLong,
    SecurityError,
    TooManyHeaders,
)
from gws.protocol.head import MAX_HEAD, MAX_HEADERS, MAX_LINE, Head, HeaderLimits


def head_of(data: bytes) -> Head:
    head = Head()
    head.buffer += data
    return head


def fail(data: bytes, error: type[InvalidHandshake]) -> str:
    """Check that ``data`` raises ``error``, no matter how it is cut."""
    with pytest.raises(InvalidHandshake) as whole:
        head_of(data).read_headers()
    assert type(whole.value) is error
    head = Head()
    with pytest.raises(InvalidHandshake) as bytewise:
        for byte in data:
            head.buffer.append(byte)
            head.read_headers()
    assert repr(bytewise.value) == repr(whole.value)
    return str(whole.value)


# Lines


def test_lines() -> None:
    head = head_of(b"one\r\ntwo \r\n\r\nrest")
    assert head.raw == b""
    assert head.next_line(RequestLineTooLong) == "one"
    assert head.raw == b"one\r\n"
    assert head.next_line(RequestLineTooLong) == "two "
    assert head.next_line(RequestLineTooLong) == ""
    assert head.next_line(RequestLineTooLong) is None
    assert head.raw == b"one\r\ntwo \r\n\r\n"
    assert head.rest == b"rest"


@pytest.mark.parametrize("data", [b"", b"one", b"one\r"])
def test_unfinished_line(data: bytes) -> None:
    head = head_of(data)
    assert head.next_line(RequestLineTooLong) is None
    head.buffer += b"\r\n"[len(data) > 3 :]
    assert head.next_line(RequestLineTooLong) == data.decode().rstrip()


def test_latin_1() -> None:
    assert head_of(b"\xe9\x85\r\n").next_line(RequestLineTooLong) == "\xe9\x85"


@pytest.mark.parametrize("data", [b"\n", b"one\n", b"one\x0b\n", b"o\rne\n"])
def test_line_without_carriage_return(data: bytes) -> None:
    with pytest.raises(InvalidMessage, match="line doesn't end with CRLF"):
        head_of(data).next_line(RequestLineTooLong)


def test_line_at_the_limit() -> None:
    line = "x" * (MAX_LINE - 2)
    head = head_of(line.encode() + b"\r\n")
    assert head.next_line(RequestLineTooLong) == line


@pytest.mark.parametrize(
    "data",
    [
        b"x" * MAX_LINE,
        b"x" * (MAX_LINE - 1) + b"\r\n",
        b"x" * MAX_LINE + b"\n",
        b"x" * 1_000_000,
    ],
    ids=len,
)
def test_line_over_the_limit(data: bytes) -> None:
    with pytest.raises(RequestLineTooLong, match="line exceeds 8192 bytes"):
        head_of(data).next_line(RequestLineTooLong)


@pytest.mark.parametrize(
    ("data", "expected"), [(b"", True), (b"a", True), (b"bc", True), (b"ca", False)]
)
def test_begins_with(data: bytes, expected: bool) -> None:
    head = head_of(b"first\r\n" + data)
    head.next_line(RequestLineTooLong)
    assert head.begins_with(b"ab") is expected


# Headers


@pytest.mark.parametrize(
    ("data", "items"),
    [
        (b"\r\n", []),
        (b"A: b\r\n\r\n", [("A", "b")]),
        (b"A:b\r\nA: \t c \t\r\na:\r\n\r\n", [("A", "b"), ("A", "c"), ("a", "")]),
        (b"A: b: c\td  e\r\n\r\n", [("A", "b: c\td  e")]),
        (b"A: \xc3\x85\r\nB: \xe9\r\n\r\n", [("A", "\xc3\x85"), ("B", "\xe9")]),
        (b"!#$%&'*+-.^_`|~0aZ: \x21\x7e\r\n\r\n", [("!#$%&'*+-.^_`|~0aZ", "!~")]),
    ],
)
def test_headers(data: bytes, items: list[tuple[str, str]]) -> None:
    head = head_of(data + b"B: rest")
    assert head.read_headers()
    assert list(head.headers.raw_items()) == items
    assert head.rest == b"B: rest"

    head = Head()
    for i in range(len(data)):
        assert not head.read_headers()
        head.buffer += data[i : i + 1]
    assert head.read_headers()
    assert list(head.headers.raw_items()) == items


@pytest.mark.parametrize(
    "line",
    [
        b"A : b",
        b" A: b",
        b"\tA: b",
        b"A\t: b",
        b": b",
        b":",
        b"A B: c",
        b"A(B): c",
        b"\xe9: b",
        b"A\0: b",
        *[b"A: b%cc" % char for char in range(0x20) if char not in b"\t\n"],
        b"A: \x7f",
        b"A: b\x85c",
        b"A: \xc2\x85",
        b"A: b\r",
    ],
)
def test_invalid_header(line: bytes) -> None:
    message = fail(b"X: y\r\n" + line + b"\r\n\r\n", InvalidMessage)
    assert message.startswith("invalid HTTP header line: ")
    assert message.isprintable()


@pytest.mark.parametrize("line", [b"A", b" ", b"\x00", b" folded", b"\xff\xfe"])
def test_line_without_colon(line: bytes) -> None:
    message = fail(b"X: y\r\n" + line + b"\r\n\r\n", InvalidMessage)
    assert message.startswith("HTTP header line without colon: ")


@pytest.mark.parametrize("data", [b"A: b\nC: d\r\n\r\n", b"A: b\r\n\nC: d\r\n\r\n"])
def test_header_with_bare_line_feed(data: bytes) -> None:
    assert "doesn't end with CRLF" in fail(data, InvalidMessage)


# Limits


def test_headers_at_the_limit() -> None:
    head = head_of(b"A: b\r\n" * MAX_HEADERS + b"\r\n")
    assert head.read_headers()
    assert head.headers.get_all("A") == ["b"] * MAX_HEADERS


@pytest.mark.parametrize("n", [101, 2_000, 5_000])
def test_headers_over_the_limit(n: int) -> None:
    assert fail(b"A: b\r\n" * n, TooManyHeaders) == "more than 100 headers"


def test_header_over_the_limit() -> None:
    for size in (MAX_LINE - 4, MAX_LINE, 20_000):
        assert fail(b"A: b\r\nA: " + b"b" * size + b"\r\n", HeaderLineTooLong)


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n", b"", b"x" * 9000])
def test_head_over_the_limit(end: bytes) -> None:
    lines = (b"A: " + b"b" * 8000 + b"\r\n") * 4
    data = lines + b"A: " + b"b" * (MAX_HEAD - len(lines) - 3) + end
    assert fail(data, SecurityError) == "HTTP head exceeds 32768 bytes"


def test_head_at_the_limit() -> None:
    lines = (b"A: " + b"b" * 8000 + b"\r\n") * 4
    data = lines + b"A: " + b"b" * (MAX_HEAD - len(lines) - 7) + b"\r\n\r\n"
    assert len(data) == MAX_HEAD
    assert head_of(data).read_headers()
    # One more byte in any line is too much, even if the empty line alone is over.
    fail(b"A: bb" + data[4:], SecurityError)


def test_line_limit_wins_where_both_end() -> None:
    lines = (b"A: " + b"b" * 8187 + b"\r\n") * 3
    assert len(lines) == MAX_HEAD - MAX_LINE
    fail(lines + b"A: " + b"b" * 10_000, HeaderLineTooLong)


def test_other_limits() -> None:
    limits = HeaderLimits(line=10, headers=3, total=20)

    def limited(data: bytes) -> Head:
        head = Head(limits)
        head.buffer += data
        return head

    assert limited(b"x" * 8 + b"\r\n").next_line(RequestLineTooLong) == "x" * 8
    with pytest.raises(RequestLineTooLong, match="line exceeds 10 bytes"):
        limited(b"x" * 9 + b"\r\n").next_line(RequestLineTooLong)
    assert limited(b"A:b\r\n" * 3 + b"\r\n").read_headers()
    with pytest.raises(TooManyHeaders, match="more than 3 headers"):
        limited(b"A:b\r\n" * 4).read_headers()
    assert limited(b"A:bcdef\r\n" * 2 + b"\r\n").read_headers()
    with pytest.raises(SecurityError, match="HTTP head exceeds 20 bytes"):
        limited(b"A:bcdef\r\n" * 2 + b"B:\r\n").read_headers()
    assert HeaderLimits() == (MAX_LINE, MAX_HEADERS, MAX_HEAD)


def test_restart() -> None:
    head = head_of(b"A: b\r\n" * MAX_HEADERS + b"\r\nB: c\r\n\r\nrest")
    assert head.read_headers()
    head.restart()
    assert head.raw == b""
    assert head.read_headers()
    assert list(head.headers.raw_items()) == [("B", "c")]
    assert head.rest == b"rest"
