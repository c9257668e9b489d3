"""WebSocket URIs: their parts, and whatever else is refused with InvalidURI."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gws.exceptions import InvalidURI
from gws.protocol.uri import WebSocketURI, parse_uri


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("ws://localhost/", WebSocketURI(False, "localhost", 80, "/", "")),
        ("wss://localhost/", WebSocketURI(True, "localhost", 443, "/", "")),
        ("ws://localhost", WebSocketURI(False, "localhost", 80, "", "")),
        ("ws://localhost?a", WebSocketURI(False, "localhost", 80, "", "a")),
        ("ws://localhost/?", WebSocketURI(False, "localhost", 80, "/", "")),
        ("WSS://LocalHost/A", WebSocketURI(True, "localhost", 443, "/A", "")),
        ("ws://localhost:8765/", WebSocketURI(False, "localhost", 8765, "/", "")),
        ("ws://localhost:/", WebSocketURI(False, "localhost", 80, "/", "")),
        ("ws://localhost:443/", WebSocketURI(False, "localhost", 443, "/", "")),
        (
            "ws://a.b.:1/c/d?e=f&g=h?/i",
            WebSocketURI(False, "a.b.", 1, "/c/d", "e=f&g=h?/i"),
        ),
        ("ws://127.0.0.1:65535", WebSocketURI(False, "127.0.0.1", 65535, "", "")),
        ("ws://[::1]/", WebSocketURI(False, "::1", 80, "/", "")),
        ("wss://[2001:DB8::1]:8765/", WebSocketURI(True, "2001:db8::1", 8765, "/", "")),
        ("ws://a:b@h/", WebSocketURI(False, "h", 80, "/", "", "a", "b")),
        ("ws://a:b@[::1]:1/", WebSocketURI(False, "::1", 1, "/", "", "a", "b")),
        ("ws://a:@h/", WebSocketURI(False, "h", 80, "/", "", "a", "")),
        ("ws://:@h/", WebSocketURI(False, "h", 80, "/", "", "", "")),
        ("ws://a:b:c@h/", WebSocketURI(False, "h", 80, "/", "", "a", "b:c")),
        ("ws://a:b@c@h/", WebSocketURI(False, "h", 80, "/", "", "a", "b@c")),
        (
            "ws://%61%40:%3a%2F%C3%A9@h/",
            WebSocketURI(False, "h", 80, "/", "", "a@", ":/é"),
        ),
        ("ws://é:ü@h/", WebSocketURI(False, "h", 80, "/", "", "é", "ü")),
        ("ws://h/a:b@c", WebSocketURI(False, "h", 80, "/a:b@c", "")),
        ("ws://h//a/../b", WebSocketURI(False, "h", 80, "//a/../b", "")),
        # IRIs, and URIs that lack some encoding
        (
            "wss://Bücher.example/Straße?größe=ü",
            WebSocketURI(
                True,
                "xn--bcher-kva.example",
                443,
                "/Stra%C3%9Fe",
                "gr%C3%B6%C3%9Fe=%C3%BC",
            ),
        ),
        (
            "ws://例え.テスト:8765",
            WebSocketURI(False, "xn--r8jz45g.xn--zckzah", 8765, "", ""),
        ),
        ("ws://h/%C3%A9é%2F", WebSocketURI(False, "h", 80, "/%C3%A9%C3%A9%2F", "")),
        ("ws://h/100%?50%2", WebSocketURI(False, "h", 80, "/100%25", "50%252")),
        ("ws://h/%zz%41", WebSocketURI(False, "h", 80, "/%25zz%41", "")),
        (
            'ws://h/<"^`{|}>',
            WebSocketURI(False, "h", 80, "/%3C%22%5E%60%7B%7C%7D%3E", ""),
        ),
        (
            "ws://h/\u2028\u3000",
            WebSocketURI(False, "h", 80, "/%E2%80%A8%E3%80%80", ""),
        ),
        (
            "ws://h/:/[]@!$&'()*+,;=-._~?a[]=:/?@!$&'()*+,;=-._~",
            WebSocketURI(
                False,
                "h",
                80,
                "/:/[]@!$&'()*+,;=-._~",
                "a[]=:/?@!$&'()*+,;=-._~",
            ),
        ),
    ],
)
def test_parts(uri: str, expected: WebSocketURI) -> None:
    assert parse_uri(uri) == expected


@pytest.mark.parametrize(
    ("uri", "msg"),
    [
        ("", "it isn't like ws://host/path"),
        ("localhost", "it isn't like ws://host/path"),
        ("localhost:8765", "it isn't like ws://host/path"),
        ("ws:localhost", "it isn't like ws://host/path"),
        ("ws:/localhost", "it isn't like ws://host/path"),
        ("//localhost/", "it isn't like ws://host/path"),
        ("/path", "it isn't like ws://host/path"),
        ("://localhost/", "scheme isn't ws or wss"),
        ("http://localhost/", "scheme isn't ws or wss"),
        ("https://localhost/", "scheme isn't ws or wss"),
        ("wsx://localhost/", "scheme isn't ws or wss"),
        ("ws://localhost/#", "fragment identifier is meaningless"),
        ("ws://localhost/#a", "fragment identifier is meaningless"),
        ("ws://localhost#a", "fragment identifier is meaningless"),
        ("ws://localhost/?a#b\u2028", "fragment identifier is meaningless"),
        ("ws://", "host or port isn't valid"),
        ("ws:///path", "host or port isn't valid"),
        ("ws://:8765/", "host or port isn't valid"),
        ("ws://a:b@/", "host or port isn't valid"),
        ("ws://localhost:0/", "host or port isn't valid"),
        ("ws://localhost:65536/", "host or port isn't valid"),
        ("ws://localhost:-1/", "host or port isn't valid"),
        ("ws://localhost:http/", "host or port isn't valid"),
        ("ws://localhost:80:80/", "host or port isn't valid"),
        ("ws://localhost:" + "1" * 5000, "host or port isn't valid"),
        ("ws://localhost:\u0661/", "host or port isn't valid"),
        ("ws://a%00b/", "host or port isn't valid"),
        ("ws://a,b/", "host or port isn't valid"),
        ("ws://::1/", "host or port isn't valid"),
        ("ws://[::1/", "host or port isn't valid"),
        ("ws://[::1]a/", "host or port isn't valid"),
        ("ws://[localhost]/", "host or port isn't valid"),
        ("ws://[fe80::1%25eth0]/", "host or port isn't valid"),
        ("ws://[fe80::1%eth0]/", "host or port isn't valid"),
        # Characters that become others: a/c, and evil:80
        ("ws://\u2100.example/", "host or port isn't valid"),
        ("ws://evil\uff1a80/", "host name contains a colon"),
        ("ws://a\uff20b/", "host or port isn't valid"),
        ("ws://é..b/", "host name can't be encoded as IDNA"),
        ("ws://" + "é" * 60 + "/", "host name can't be encoded as IDNA"),
        ("ws://" + "é" * 254 + "/", "host name is too long"),
        ("ws://" + "é" * 100_000 + "/", "host name is too long"),
        ("ws://a@h/", "username provided without password"),
        ("ws://@h/", "username provided without password"),
        ("ws://a%3Ab:c@h/", "username contains a colon"),
        ("ws://%ff:b@h/", "user information isn't UTF-8"),
        ("ws://a:%C3@h/", "user information isn't UTF-8"),
    ],
)
def test_refused(uri: str, msg: str) -> None:
    with pytest.raises(InvalidURI) as info:
        parse_uri(uri)
    assert (info.value.uri, info.value.msg) == (uri, msg)
    # No chained error: what it says is all there is to know.
    assert info.value.__suppress_context__ or info.value.__context__ is None


@pytest.mark.parametrize(
    "char", [*map(chr, range(0x21)), "\x7f", "\x85", "\x9f", "\\", "\ud800"]
)
@pytest.mark.parametrize(
    "uri",
    [
        "{}ws://host/path",
        "w{}s://host/path",
        "ws:/{}/host/path",
        "ws://a{}:b@host/path",
        "ws://ho{}st/path",
        "ws://host:8{}0/path",
        "ws://host/pa{}th",
        "ws://host/path?a{}",
        "ws://host/path{}",
    ],
)
def test_characters_that_stand_nowhere(uri: str, char: str) -> None:
    with pytest.raises(InvalidURI, match="a character that no URI may hold"):
        parse_uri(uri.format(char))


@pytest.mark.parametrize(
    ("uri", "resource_name"),
    [
        ("ws://h", "/"),
        ("ws://h?a", "/?a"),
        ("ws://h/", "/"),
        ("ws://h/?", "/"),
        ("ws://h/a/b", "/a/b"),
        ("ws://h/a?b=c?d", "/a?b=c?d"),
    ],
)
def test_resource_name(uri: str, resource_name: str) -> None:
    assert parse_uri(uri).resource_name == resource_name


@pytest.mark.parametrize(
    ("uri", "user_info"),
    [("ws://h/", None), ("ws://a:b@h/", ("a", "b")), ("ws://:@h/", ("", ""))],
)
def test_user_info(uri: str, user_info: tuple[str, str] | None) -> None:
    assert parse_uri(uri).user_info == user_info


def test_user_info_needs_both() -> None:
    assert WebSocketURI(False, "h", 80, "/", "", username="a").user_info is None


def test_repr_leaves_the_password_out() -> None:
    uri = parse_uri("ws://user:secret@h/")
    assert "user" in repr(uri)
    assert "secret" not in repr(uri)


def test_frozen() -> None:
    uri = parse_uri("ws://h/")
    with pytest.raises(dataclasses.FrozenInstanceError):
        uri.host = "other"  # type: ignore[misc]


# Properties

PIECES = st.sampled_from(
    ["ws", "wss", ":", "//", "/", "@", "[", "]", "::1", "%", "%41", "é", "h", "80"]
)
texts = (
    st.text()
    | st.text().map(lambda text: "ws://" + text)
    | st.text().map(lambda text: "ws://h/" + text)
    | st.lists(PIECES).map("".join).map(lambda text: "ws://" + text)
)


@given(texts)
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        uri = parse_uri(text)
    except InvalidURI as exc:
        assert exc.uri == text
        return
    # What is left is fit for a request line and a Host header.
    line = uri.resource_name
    assert line.isascii()
    assert line.isprintable()
    assert " " not in line
    assert line.startswith("/")
    assert uri.host.isascii()
    assert uri.host.strip("[]/@ ") == uri.host != ""
    assert 0 < uri.port < 65536


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20))
def test_nothing_is_encoded_twice(path: str) -> None:
    try:
        once = parse_uri("ws://h/" + path)
    except InvalidURI:
        return
    assert parse_uri("ws://h" + once.resource_name) == once
