"""Headers: a dict that keeps repeated names, and only what may be sent."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gws.exceptions import InvalidHeader, InvalidHeaderValue
from gws.protocol.datastructures import (
    Headers,
    MultipleValuesError,
    is_field_value,
    is_token,
)


TCHARS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
# The characters of a value, save those from 0x80 that are legal as UTF-8 only.
VALUE_CHARS = "\t" + "".join(map(chr, [*range(0x20, 0x7F), *range(0xA0, 0x100)]))
names = st.text(TCHARS, min_size=1, max_size=8)
values = st.text(VALUE_CHARS, max_size=20).map(lambda value: value.strip(" \t"))
items = st.lists(st.tuples(names, values), max_size=6)


class DictLike:
    def keys(self) -> Iterable[str]:
        return ["Host", "Origin"]

    def __getitem__(self, name: str) -> str:
        return name.upper()


@pytest.fixture
def headers() -> Headers:
    return Headers([("Host", "a"), ("Via", "1"), ("Connection", "b"), ("VIA", "2")])


# Characters


def test_is_token_knows_each_character() -> None:
    for char in map(chr, range(0x250)):
        assert is_token(char) is (char in TCHARS)


@pytest.mark.parametrize("text", ["", "a b", "a\n", "a\0", "a:", "Upgra\u212ae"])
def test_not_a_token(text: str) -> None:
    assert not is_token(text)


def test_is_field_value_knows_each_ascii_character() -> None:
    for char in map(chr, range(0x80)):
        expected = char == "\t" or " " <= char <= "~"
        assert is_field_value(char) is expected
        assert is_field_value(f"a{char}b") is expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", True),
        ("Ångström €".encode(), True),  # UTF-8: holds a byte 0x85
        ("Café".encode("latin-1"), True),
        (b"\xa0\xff", True),
        (b"a\x85b", False),  # NEL
        (b"\x80", False),
        (b"\x9f", False),
        (b"\xe9\x85", False),
        ("a\x85b".encode(), False),  # NEL in UTF-8
        ("a\r\nb é".encode(), False),
    ],
)
def test_is_field_value_outside_ascii(raw: bytes, expected: bool) -> None:
    assert is_field_value(raw.decode("latin-1")) is expected


@pytest.mark.parametrize("text", ["€", "\u2028", "\ud800"])
def test_text_that_is_not_bytes_is_no_field_value(text: str) -> None:
    assert not is_field_value(text)


# Reading


def test_one_value(headers: Headers) -> None:
    assert headers["Host"] == "a"
    assert headers["hOST"] == "a"
    assert headers.get("host") == "a"


def test_no_value(headers: Headers) -> None:
    with pytest.raises(KeyError):
        headers["Origin"]
    assert headers.get("Origin") is None
    assert headers.get("Origin", "x") == "x"


def test_several_values(headers: Headers) -> None:
    with pytest.raises(MultipleValuesError, match="via"):
        headers["via"]
    with pytest.raises(LookupError):
        headers.get("via")
    assert headers.get_all("via") == ["1", "2"]


def test_get_all(headers: Headers) -> None:
    assert headers.get_all("HOST") == ["a"]
    assert headers.get_all("Origin") == []
    headers.get_all("Host").append("b")
    assert headers["Host"] == "a"


def test_mapping(headers: Headers) -> None:
    assert len(headers) == 3
    assert list(headers) == ["host", "via", "connection"]
    assert "HOST" in headers
    assert "Origin" not in headers
    not_a_name: object = 1
    assert not_a_name not in headers
    assert not Headers()


def test_raw_items(headers: Headers) -> None:
    assert list(headers.raw_items()) == [
        ("Host", "a"),
        ("Via", "1"),
        ("Connection", "b"),
        ("VIA", "2"),
    ]


def test_str_repr_serialize(headers: Headers) -> None:
    text = "Host: a\r\nVia: 1\r\nConnection: b\r\nVIA: 2\r\n\r\n"
    assert str(headers) == text
    assert headers.serialize() == text.encode()
    assert repr(Headers(Host="a")) == "Headers([('Host', 'a')])"
    assert Headers().serialize() == b"\r\n"


def test_serialize_is_latin_1() -> None:
    assert Headers({"X": "\xe9"}).serialize() == b"X: \xe9\r\n\r\n"


def test_equality(headers: Headers) -> None:
    same = Headers([("VIA", "1"), ("VIA", "2"), ("HOST", "a"), ("Connection", "b")])
    assert headers == same
    assert headers != Headers(Host="a")
    assert Headers([("a", "1"), ("a", "2")]) != Headers([("a", "2"), ("a", "1")])
    assert Headers(Host="a") != {"host": "a"}


def test_copy(headers: Headers) -> None:
    copy = headers.copy()
    assert copy == headers
    assert list(copy.raw_items()) == list(headers.raw_items())
    copy["Via"] = "3"
    assert headers.get_all("Via") == ["1", "2"]
    del headers["Host"]
    assert copy["Host"] == "a"


# Writing


def test_setting_adds(headers: Headers) -> None:
    headers["Host"] = "b"
    assert headers.get_all("Host") == ["a", "b"]


@pytest.mark.parametrize(
    ("value", "stored"),
    [(" a\t", "a"), ("a  b", "a  b"), ("", ""), (" ", ""), ("\xa0a", "\xa0a")],
)
def test_setting_strips_optional_whitespace(value: str, stored: str) -> None:
    assert Headers({"X": value})["X"] == stored


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\r\nSet-Cookie: b"),
        ("X", "a\n"),
        ("X", "\ra"),
        ("X", "a\0"),
        ("X", "a\x0b"),
        ("X", "a\x0c"),
        ("X", "a\x1c"),
        ("X", "a\x1e"),
        ("X", "a\x7f"),
        ("X", "a\x85"),
        ("X", "€"),
        ("", "a"),
        ("X ", "a"),
        ("X:", "a"),
        ("X\r\nY", "a"),
        ("É", "a"),
    ],
)
def test_what_may_not_be_sent_is_not_stored(name: str, value: str) -> None:
    headers = Headers()
    with pytest.raises(InvalidHeaderValue) as info:
        headers[name] = value
    assert (info.value.name, info.value.value) == (name, value)
    assert isinstance(info.value, ValueError)
    assert isinstance(info.value, InvalidHeader)
    assert headers.serialize() == b"\r\n"


@pytest.mark.parametrize(
    ("name", "value"), [("X", 1), ("X", None), ("X", b"a"), (1, "a"), (b"X", "a")]
)
def test_only_str(name: str, value: str) -> None:
    headers = Headers()
    with pytest.raises(TypeError):
        headers[name] = value
    assert not headers


def test_deleting_removes_all(headers: Headers) -> None:
    del headers["vIA"]
    assert list(headers.raw_items()) == [("Host", "a"), ("Connection", "b")]
    assert "Via" not in headers
    with pytest.raises(KeyError):
        del headers["Via"]


def test_clear(headers: Headers) -> None:
    headers.clear()
    assert headers == Headers()
    assert headers.serialize() == b"\r\n"


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((), []),
        ({"Via": "3"}, [("Via", "3")]),
        ([("Via", "3"), ("Via", "4")], [("Via", "3"), ("Via", "4")]),
        (Headers([("Via", "3"), ("Via", "4")]), [("Via", "3"), ("Via", "4")]),
        (iter([("A", "b")]), [("A", "b")]),
        (DictLike(), [("Host", "HOST"), ("Origin", "ORIGIN")]),
    ],
    ids=["nothing", "dict", "list", "headers", "iterator", "dict-like"],
)
def test_update_adds(
    headers: Headers,
    other: Iterable[tuple[str, str]],
    expected: list[tuple[str, str]],
) -> None:
    before = list(headers.raw_items())
    headers.update(other, Last="z")
    assert list(headers.raw_items()) == [*before, *expected, ("Last", "z")]


def test_update_with_itself(headers: Headers) -> None:
    headers.update(headers)
    assert headers.get_all("Host") == ["a", "a"]
    assert headers.get_all("Via") == ["1", "2", "1", "2"]


def test_methods_of_a_dict(headers: Headers) -> None:
    assert headers.setdefault("Host", "z") == "a"
    assert headers.setdefault("Origin", "z") == "z"
    assert headers.pop("Origin") == "z"
    assert headers.pop("Origin", None) is None
    assert dict(Headers(Host="a")) == {"host": "a"}


def test_not_hashable() -> None:
    with pytest.raises(TypeError):
        hash(Headers())


# Properties


@given(items)
def test_raw_items_are_what_was_put_in(pairs: list[tuple[str, str]]) -> None:
    headers = Headers(pairs)
    assert list(headers.raw_items()) == pairs
    assert Headers(headers) == headers == headers.copy()
    for name, _ in pairs:
        expected = [v for n, v in pairs if n.lower() == name.lower()]
        assert headers.get_all(name.swapcase()) == expected


@given(st.text(max_size=12), st.text(max_size=12) | values)
def test_any_text_is_refused_or_makes_one_line(name: str, value: str) -> None:
    headers = Headers()
    try:
        headers[name] = value
    except InvalidHeaderValue:
        assert headers.serialize() == b"\r\n"
    else:
        text = headers.serialize().decode("latin-1")
        stripped = value.strip(" \t")
        assert text.split("\r\n") == [f"{name}: {stripped}", "", ""]
        assert text.count("\r") == text.count("\n") == 2
