"""Where redirects lead, and what may go there."""

from __future__ import annotations

import pytest

from gws.client.redirects import is_same_origin, location_of, without_private
from gws.exceptions import InvalidHeader, SecurityError
from gws.protocol.datastructures import Headers
from gws.protocol.http11 import Response
from gws.protocol.uri import parse_uri


def redirect(location: str, status: int = 302) -> Response:
    headers = Headers({"Location": location.encode().decode("latin-1")})
    return Response(status, "", headers)


BASE = "ws://user:password@h.example:81/a/b?c"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("d", "ws://h.example:81/a/d"),
        ("/d?e=f", "ws://h.example:81/d?e=f"),
        ("?e", "ws://h.example:81/a/b?e"),
        ("../../d", "ws://h.example:81/d"),
        ("./d/../e", "ws://h.example:81/a/e"),
        ("//k.example/d", "ws://k.example/d"),
        ("ws://k.example", "ws://k.example"),
        ("wss://k.example:444/", "wss://k.example:444/"),
        ("http://k.example/d", "ws://k.example/d"),
        ("https://k.example/d", "wss://k.example/d"),
        ("HTTPS://K.example/d", "wss://K.example/d"),
        ("", "ws://h.example:81/a/b?c"),
        ("d#fragment", "ws://h.example:81/a/d"),
        ("/é?ü", "ws://h.example:81/é?ü"),
        ("ws://bücher.example/é", "ws://bücher.example/é"),
        ("ws://[::1]:82/d", "ws://[::1]:82/d"),
    ],
)
def test_locations(location: str, target: str) -> None:
    assert location_of(redirect(location), parse_uri(BASE)) == target


def test_octets_that_are_no_utf_8() -> None:
    response = Response(302, "", Headers({"Location": "/\xe9"}))
    assert location_of(response, parse_uri("wss://[::1]/")) == "wss://[::1]/\xe9"


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_statuses(status: int) -> None:
    assert location_of(redirect("/", status), parse_uri("ws://h")) == "ws://h/"


@pytest.mark.parametrize("status", [200, 201, 304, 305, 306, 309, 401, 503])
def test_other_statuses(status: int) -> None:
    assert location_of(redirect("/", status), parse_uri("ws://h")) is None


def test_how_many_locations() -> None:
    headers = Headers([("Location", "/a"), ("Location", "/b")])
    for response in (Response(302, "", headers), Response(302, "", Headers())):
        assert location_of(response, parse_uri("ws://h")) is None


@pytest.mark.parametrize(
    "location",
    [
        "ftp://h/",
        "javascript:alert(1)",
        "mailto:a@b",
        "http:",
        "http:///d",
        "ws://h:99999/",
        "ws://h\\@k/",
        "/a b",
        "/a\tb",
        "ws://[::1/",
        "ws://[x]/",
        "ws://h\u2100.example/",
        "ws://a..b:x/",
    ],
)
def test_no_locations(location: str) -> None:
    with pytest.raises(InvalidHeader, match="Location"):
        location_of(redirect(location), parse_uri(BASE))


def test_nobody_else_chooses_who_we_are() -> None:
    for location in ("ws://u:p@h.example:81/", "//u:p@k/"):
        with pytest.raises(SecurityError, match="user and password"):
            location_of(redirect(location), parse_uri(BASE))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ws://h/a", "ws://H:80/b?c", True),
        ("wss://h", "wss://h:443", True),
        ("ws://u:p@h", "ws://h", True),
        ("ws://h", "ws://h:81", False),
        ("ws://h", "ws://k", False),
        ("ws://h", "ws://h.k", False),
        ("ws://h:443", "wss://h:443", False),
    ],
)
def test_origins(one: str, other: str, same: bool) -> None:
    assert is_same_origin(parse_uri(one), parse_uri(other)) is same


def test_private_headers() -> None:
    headers = Headers(
        [
            ("AUTHORIZATION", "a"),
            ("Cookie", "b"),
            ("cookie", "c"),
            ("Proxy-Authorization", "d"),
            ("Host", "e"),
            ("X", "f"),
            ("X", "g"),
        ]
    )
    assert list(without_private(headers).raw_items()) == [("X", "f"), ("X", "g")]
