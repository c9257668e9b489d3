"""Any text as a URI, as a proxy's, and as what a server redirects to.

What must hold: only the documented exceptions are raised; what was taken can be said
again and means the same; no part of it can end a line of the request, or leave
the host that it was taken for.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from gws.client.proxy import parse_proxy
from gws.client.redirects import base_of, is_same_origin, location_of
from gws.exceptions import (
    InvalidHeader,
    InvalidProxy,
    InvalidURI,
    SecurityError,
    WebSocketException,
)
from gws.protocol.client import ClientProtocol
from gws.protocol.datastructures import Headers, is_field_value
from gws.protocol.headers import build_host, parse_host
from gws.protocol.http11 import Response, parse_request
from gws.protocol.uri import WebSocketURI, parse_uri

from ..choices import Choices, outcome


HERE = parse_uri("wss://user:secret@example.com/a/b?c")


def fuzz_one(data: bytes) -> None:
    choices = Choices(data)
    run = choices.one_of([as_uri, as_location, as_proxy])
    # What environment variables and command lines may hold, too.
    run(choices.rest().decode(errors="surrogateescape"))


def as_uri(text: str) -> None:
    uri = outcome(parse_uri, text, raises=InvalidURI)
    if isinstance(uri, InvalidURI):
        assert str(uri).isprintable()
        return
    check_uri(uri)
    user_info = ""
    if uri.user_info is not None:
        user_info = ":".join(quote(part, safe="") for part in uri.user_info) + "@"
    scheme = "wss" if uri.secure else "ws"
    host = build_host(uri.host, uri.port, uri.secure)
    query = f"?{uri.query}" if uri.query else ""
    assert parse_uri(f"{scheme}://{user_info}{host}{uri.path}{query}") == uri


def check_uri(uri: WebSocketURI) -> None:
    assert uri.host.isascii() and uri.host == uri.host.lower()
    assert 0 < uri.port < 65536
    assert re.fullmatch(r"/(?:[!-$&-~]|%[0-9A-Fa-f]{2})*", uri.resource_name)
    protocol = ClientProtocol(uri)
    protocol.send_request(protocol.connect())
    request = parse_request(b"".join(protocol.data_to_send()))
    assert request.path == uri.resource_name
    host, port = parse_host(request.headers["Host"])
    assert (host, port or (443 if uri.secure else 80)) == (uri.host, uri.port)


def as_location(text: str) -> None:
    value = text.encode(errors="surrogateescape").decode("latin-1").strip(" \t")
    if not is_field_value(value):
        return
    response = Response(302, "Found", Headers({"Location": value}))
    try:
        target = location_of(response, HERE)
    except (InvalidHeader, SecurityError) as exc:
        assert str(exc).isprintable()
        return
    assert target is not None
    uri = parse_uri(target)
    check_uri(uri)
    assert uri.user_info is None
    again = parse_uri(base_of(uri))
    assert is_same_origin(again, uri) and again.resource_name == uri.resource_name


def as_proxy(text: str) -> None:
    proxy = outcome(parse_proxy, text, raises=InvalidProxy)
    if isinstance(proxy, WebSocketException):
        assert str(proxy).isprintable()
        return
    assert 0 < proxy.port < 65536
    assert proxy.host and proxy.host.isascii()


URIS = [
    "ws://example.com",
    "wss://us%65r:pa:ss@EXAMPLE.com:8443/%7e/b%?q=%C3%A9&r",
    "ws://[2001:db8::1]:81/",
    "ws://b\u00fccher.example/\u00e9?\u20ac",
    "ws://x/\\y",
    "ws://x/50%",
    "ws://a@b@c/",
]
LOCATIONS = ["//other.example/x", "../c?d#e", "https://example.com:443/", "ws://u:p@x/"]
PROXIES = ["http://proxy:3128", "socks5h://user:p%40ss@[::1]:1080", "https://p"]

SEEDS = {
    f"{name}-{i}": bytes([role]) + text.encode()
    for role, (name, texts) in enumerate(
        [("uri", URIS), ("location", LOCATIONS), ("proxy", PROXIES)]
    )
    for i, text in enumerate(texts)
}
