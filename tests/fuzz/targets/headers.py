"""Any text as the value of a header, to each parser of headers.

What must hold: only InvalidHeader is raised; what was taken is built to text that means
the same; and whatever stands in a value, repeated to 64 KiB, it takes time linear
in that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, NamedTuple

from gws.auth import DigestAuth, digest_challenges
from gws.client.retry import retry_after
from gws.exceptions import InvalidHeader, InvalidOrigin, NegotiationError
from gws.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from gws.protocol import headers as h
from gws.protocol.datastructures import Headers, is_field_value
from gws.protocol.grammar import quoted
from gws.protocol.http11 import Response
from gws.protocol.origins import check_origin
from gws.server.forwarded import TrustedProxies, parse_forwarded

from ..choices import Choices, outcome


#: The length that is tried for its time, and the seconds that it may take: a thousand
#: times what a linear parser needs, a tenth of what a quadratic one does.
LONG = 2**16
SECONDS = 0.5


class Parser(NamedTuple):
    """A parser, and its reverse if it has one."""

    parse: Callable[[str], Any]
    build: Callable[[Any], str] | None = None


def fuzz_one(data: bytes) -> None:
    choices = Choices(data)
    name = choices.one_of(list(PARSERS))
    repeated = choices.octet()
    value = choices.rest().decode("latin-1")
    # A reader of heads has seen to these.
    value = "".join(filter(is_field_value, value)).strip(" \t")
    parser = PARSERS[name]
    if repeated:
        check_time(parser.parse, value, repeated)
        return
    parsed = outcome(parser.parse, value, raises=InvalidHeader)
    if isinstance(parsed, InvalidHeader):
        assert str(parsed).isprintable()
    elif parser.build is not None:
        built = parser.build(parsed)
        assert is_field_value(built)
        assert parser.parse(built) == parsed


def check_time(parse: Callable[[str], Any], value: str, repeated: int) -> None:
    """Repeat the middle of a value, between its ends, and look how long it takes.

    Args:
        repeated: where the middle begins (high digit) and how long it is (low digit).
    """
    start, n = divmod(repeated, 16)
    middle = value[start : start + n + 1] or "x"
    long = value[:start] + middle * (LONG // len(middle)) + value[start + n + 1 :]
    begin = time.thread_time()
    outcome(parse, long, raises=InvalidHeader)
    seconds = time.thread_time() - begin
    assert seconds < SECONDS, f"{seconds:.1f} s for {len(long)} characters"


# Parsers with more behind them


def parse_forwarded_for(value: str) -> None:
    check_client("X-Forwarded-For", value)


def parse_forwarded_by_rfc(value: str) -> list[dict[str, str]]:
    check_client("Forwarded", value)
    return parse_forwarded(value)


def check_client(header: str, value: str) -> None:
    """Whatever a trusted proxy passes on, an address comes out (RFC 7239)."""
    proxies = TrustedProxies(["10.0.0.0/8", "::1"], header)
    peer = ("10.0.0.1", 1234)
    client = proxies.client_of(peer, Headers({header: value}))
    host, port = client
    assert ip_address(host) and 0 <= port < 65536
    # Whoever is not trusted can forge what comes before, and nothing by that.
    forged = "203.0.113.9" if header == "X-Forwarded-For" else "for=203.0.113.9"
    headers = Headers({header: f"{forged}, {value}"})
    if proxies.client_of(client, headers) is client:
        assert proxies.client_of(peer, headers) == client
    assert TrustedProxies(["192.0.2.1"], header).client_of(peer, headers) is peer


def build_forwarded(elements: list[dict[str, str]]) -> str:
    return ", ".join(
        ";".join(f"{name}={quoted(value)}" for name, value in element.items()) or ";"
        for element in elements
    )


def parse_challenges(value: str) -> Any:
    """A server's challenges, and the answer to them (RFC 7616)."""
    challenges = h.parse_www_authenticate(value)
    answer = DigestAuth("user", "pass").authorization([value], "GET", "/", again=False)
    assert answer is None or (digest_challenges([value]) and is_field_value(answer))
    return challenges


def build_challenges(challenges: Any) -> str:
    return ", ".join(
        f"{scheme} {value}"
        if isinstance(value, str)
        else f"{scheme} " + ", ".join(f"{k}={quoted(v)}" for k, v in value.items())
        for scheme, value in challenges
    )


def parse_deflate(value: str) -> Any:
    """Extensions as they are offered and as they are answered (RFC 7692, 7.1)."""
    extensions = h.parse_extension(value)
    client = ClientPerMessageDeflateFactory(True, False, 12, 10)
    server = ServerPerMessageDeflateFactory(False, True, 12, 10)
    for _, params in extensions:
        outcome(client.process_response_params, params, [], raises=NegotiationError)
        answered = outcome(
            server.process_request_params, params, [], raises=NegotiationError
        )
        if isinstance(answered, tuple):
            # What we answer is in the grammar, and an answer to that very offer.
            [(_, again)] = h.parse_extension(h.build_extension([("x", answered[0])]))
            assert again == answered[0]
    return extensions


def parse_origin(value: str) -> None:
    headers = Headers({"Host": "example.com", "Origin": value})
    for origins in ("same", ["https://example.com"]):
        outcome(check_origin, headers, origins, raises=InvalidOrigin)


def parse_retry_after(value: str) -> None:
    response = Response(503, "", Headers({"Retry-After": value}))
    assert retry_after(response, 1e9) >= 0


def build_host(parsed: tuple[str, int | None]) -> str:
    host, port = parsed
    # The port is left out where it is the default one.
    return h.build_host(host, port or 80, secure=port == 80)


PARSERS = {
    "connection": Parser(h.parse_connection, h.build_connection),
    "upgrade": Parser(h.parse_upgrade, h.build_upgrade),
    "extension": Parser(parse_deflate, h.build_extension),
    "subprotocol": Parser(h.parse_subprotocol, h.build_subprotocol),
    "basic": Parser(
        h.parse_authorization_basic, lambda pair: h.build_authorization_basic(*pair)
    ),
    "challenges": Parser(parse_challenges, build_challenges),
    "basic-challenge": Parser(
        h.parse_www_authenticate_basic, h.build_www_authenticate_basic
    ),
    "host": Parser(h.parse_host, build_host),
    "origin": Parser(parse_origin),
    "forwarded-for": Parser(parse_forwarded_for),
    "forwarded": Parser(parse_forwarded_by_rfc, build_forwarded),
    "retry-after": Parser(parse_retry_after),
}

EXAMPLES = {
    "connection": "keep-alive, , Upgrade",
    "upgrade": "h2c, websocket/13",
    "extension": 'permessage-deflate; client_max_window_bits; x="y", a;b=c',
    "subprotocol": "chat, superchat",
    "basic": "Basic dXNlcjpwYTpzcw==",
    "challenges": 'Digest realm="a\\"b\\\\", nonce="n", qop="auth,auth-int", '
    'algorithm=SHA-256-sess, Basic realm="x", Bearer abc==',
    "basic-challenge": 'Digest realm="a", Basic realm="b"',
    "host": "[2001:db8::1]:8443",
    "origin": "https://example.com:443",
    "forwarded-for": "192.0.2.60, [2001:db8::17]:80, 10.0.0.9",
    "forwarded": 'for="[2001:db8::17]:4711";proto=wss, for=_x;by=10.0.0.2',
    "retry-after": "Sun, 06 Nov 1994 08:49:37 GMT",
}

SEEDS = {
    name + suffix: bytes([i, repeated]) + EXAMPLES[name].encode("latin-1")
    for i, name in enumerate(PARSERS)
    for suffix, repeated in (("", 0), ("-long", 0x51))
}
