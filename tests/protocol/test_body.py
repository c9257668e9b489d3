"""The body of a response: where it ends, whole, cut off or broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gws.exceptions import InvalidMessage
from gws.protocol.body import MAX_BODY, Body
from gws.protocol.datastructures import Headers


Items = list[tuple[str, str]]

CHUNKED = [("Transfer-Encoding", "chunked")]


def feed_bytewise(body: Body, data: bytes) -> int | None:
    """Return after how many bytes the body was whole; None if it never was."""
    for n in range(len(data)):
        if body.feed(data[n : n + 1]):
            return n + 1
    return None


@pytest.mark.parametrize(
    ("status_code", "items", "data", "expected", "size"),
    [
        (204, [], b"abc", b"", 0),
        (304, [("Content-Length", "3")], b"abc", b"", 0),
        (204, CHUNKED, b"3\r\nabc\r\n0\r\n\r\n", b"", 0),
        (200, [("Content-Length", "0")], b"abc", b"", 0),
        (200, [("Content-Length", "3")], b"abcdef", b"abc", 3),
        (200, [("Content-Length", "003")], b"abcdef", b"abc", 3),
        (200, [("Content-Length", "3, 3")], b"abcdef", b"abc", 3),
        (200, [("Content-Length", "3")] * 2, b"abcdef", b"abc", 3),
        (200, [("Content-Length", "4")], b"abc", b"abc", None),
        (200, [("Content-Length", "9" * 18)], b"abc", b"abc", None),
        (200, [], b"abc", b"abc", None),
        (200, [("Transfer-Encoding", "gzip")], b"abc", b"abc", None),
        (
            200,
            [("Transfer-Encoding", "chunked, gzip"), ("Content-Length", "1")],
            b"abc",
            b"abc",
            None,
        ),
        # Content-Length does not count beside Transfer-Encoding, however bad.
        (200, [*CHUNKED, ("Content-Length", "x")], b"1\r\na\r\n0\r\n", b"a", 9),
        (200, [("Transfer-Encoding", "gzip, Chunked")], b"1\r\na\r\n0\r\n", b"a", 9),
        (
            200,
            [("Transfer-Encoding", "gzip"), *CHUNKED],
            b"1\r\na\r\n0\r\n",
            b"a",
            9,
        ),
        (200, CHUNKED, b"0\r\n\r\n", b"", 3),
        (200, CHUNKED, b"000\r\n\r\n", b"", 5),
        (
            200,
            CHUNKED,
            b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nT: 1",
            b"abc0123456789",
            30,
        ),
        (200, CHUNKED, b"3 \t;\r\n\r\n\n\r\n0;z\r\n\r\n", b"\r\n\n", 16),
        (200, CHUNKED, b"0000000000003\r\nabc", b"abc", None),
        (200, CHUNKED, b"5\r\nabc", b"abc", None),
        (200, CHUNKED, b"3\r\nabc\r", b"abc", None),
        (200, CHUNKED, b"3\r", b"", None),
        # Broken chunks: the body is what came before.
        (200, CHUNKED, b"1\r\na\r\nx\r\nb\r\n", b"a", 9),
        (200, CHUNKED, b"1\r\nab\r\n1\r\nb\r\n", b"a", 7),
        (200, CHUNKED, b"1\r\na\n1\r\nb\r\n", b"a", 5),
        (200, CHUNKED, b"1\na\r\n", b"", 2),
        (200, CHUNKED, b"-1\r\na\r\n", b"", 4),
        (200, CHUNKED, b"0x1\r\na\r\n", b"", 5),
        (200, CHUNKED, b" 1\r\na\r\n", b"", 4),
        (200, CHUNKED, b"\r\n1\r\na\r\n", b"", 2),
        (200, CHUNKED, b"1" * 16 + b"\r\na", b"", 18),
        (200, CHUNKED, b"1;" + b"x" * 8190 + b"\r\na", b"", 8192),
    ],
)
def test_end(
    status_code: int, items: Items, data: bytes, expected: bytes, size: int | None
) -> None:
    whole = Body(status_code, Headers(items))
    assert whole.feed(data) is (size is not None)
    assert whole.data == expected

    bytewise = Body(status_code, Headers(items))
    assert feed_bytewise(bytewise, data) == (size if size != 0 else 1)
    assert bytewise.data == expected


def test_no_bytes_are_needed_for_an_empty_body() -> None:
    assert Body(200, Headers({"Content-Length": "0"})).feed(b"")
    assert Body(204, Headers()).feed(b"")
    assert not Body(200, Headers({"Content-Length": "1"})).feed(b"")
    assert not Body(200, Headers()).feed(b"")


@pytest.mark.parametrize(
    "values",
    [
        [""],
        ["-1"],
        ["+1"],
        ["1.0"],
        ["0x1"],
        ["1 1"],
        ["1,2"],
        ["1,"],
        ["1", "2"],
        ["\xb2"],
        ["9" * 19],
    ],
)
def test_invalid_content_length(values: list[str]) -> None:
    with pytest.raises(InvalidMessage, match="invalid Content-Length header"):
        Body(200, Headers([("Content-Length", value) for value in values]))


@pytest.mark.parametrize(
    "items", [[], [("Content-Length", "99999999")], CHUNKED], ids=repr
)
def test_no_more_than_the_limit_is_kept_or_waited_for(items: Items) -> None:
    body = Body(200, Headers(items))
    data = b"x" * (MAX_BODY - 1)
    if items == CHUNKED:
        assert not body.feed(b"5F5E0FF\r\n")
    assert not body.feed(data)
    assert body.data == data
    assert body.wanted == 1
    assert body.feed(b"yz")
    assert body.data == data + b"y"


def test_many_small_chunks() -> None:
    """Quadratic time would make the run stand still."""
    body = Body(200, Headers(CHUNKED))
    assert body.feed(b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n")
    assert body.data == b"a" * 50_000


@pytest.mark.parametrize(
    ("items", "data", "wanted"),
    [
        ([("Content-Length", "5")], b"abc", 2),
        ([], b"abc", MAX_BODY - 3),
        (CHUNKED, b"3\r\nabc", MAX_BODY - 3),
    ],
)
def test_wanted(items: Items, data: bytes, wanted: int) -> None:
    body = Body(200, Headers(items))
    body.feed(data)
    assert body.wanted == wanted


@given(st.lists(st.binary(min_size=1)), st.lists(st.integers(0, 300)))
def test_chunks_cut_anywhere(chunks: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    wire += b"0\r\n"
    body = Body(200, Headers(CHUNKED))
    start = 0
    for end in sorted(cut for cut in cuts if cut < len(wire)):
        assert not body.feed(wire[start:end])
        start = end
    assert body.feed(wire[start:])
    assert body.data == b"".join(chunks)


PIECES = st.sampled_from([b"1", b"\r", b"\n", b"\r\n", b"a", b"0", b";"])


@given(st.binary() | st.lists(PIECES).map(b"".join))
def test_any_bytes_give_some_body(data: bytes) -> None:
    whole = Body(200, Headers(CHUNKED))
    done = whole.feed(data)
    bytewise = Body(200, Headers(CHUNKED))
    assert (feed_bytewise(bytewise, data) is not None) is done
    assert bytewise.data == whole.data
    assert len(whole.data) <= len(data)
