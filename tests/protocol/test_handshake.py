"""The headers of the opening handshake, on both sides (RFC 6455 section 4)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gws.exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderFormat,
    InvalidHeaderValue,
    InvalidUpgrade,
)
from gws.protocol.datastructures import Headers
from gws.protocol.handshake import (
    accept_key,
    build_request,
    build_response,
    check_request,
    check_response,
)


# The example of RFC 6455 1.3.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

Items = list[tuple[str, str]]

REQUEST = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
]
RESPONSE = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Accept", ACCEPT),
]


def with_values(items: Items, name: str, *values: str) -> Headers:
    """Return headers of ``items`` in which ``name`` has ``values`` instead."""
    rest = [item for item in items if item[0] != name]
    return Headers(rest + [(name, value) for value in values])


def test_accept_key() -> None:
    assert accept_key(KEY) == ACCEPT


def test_request() -> None:
    headers = Headers(Host="example.com")
    key = build_request(headers)
    assert len(base64.b64decode(key, validate=True)) == 16
    assert list(headers.raw_items()) == [
        ("Host", "example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", "13"),
    ]
    assert check_request(headers) == key


def test_keys_differ() -> None:
    assert len({build_request(Headers()) for _ in range(100)}) == 100


def test_response() -> None:
    headers = Headers(Server="x")
    build_response(headers, KEY)
    assert list(headers.raw_items()) == [("Server", "x"), *RESPONSE]
    check_response(headers, KEY)


@given(st.binary(min_size=16, max_size=16))
def test_both_sides(nonce: bytes) -> None:
    key = base64.b64encode(nonce).decode()
    assert check_request(with_values(REQUEST, "Sec-WebSocket-Key", key)) == key
    response = Headers()
    build_response(response, key)
    check_response(response, key)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Upgrade", ["WebSocket"]),
        ("Upgrade", ["h2c, WEBSOCKET"]),
        ("Connection", ["upgrade"]),
        ("Connection", ["keep-alive, Upgrade"]),
        ("Connection", ["keep-alive", "UPGRADE"]),
        ("Connection", ["", "Upgrade,"]),
        ("Sec-WebSocket-Key", ["  " + KEY + "\t"]),
    ],
)
def test_request_as_peers_write_it(name: str, values: list[str]) -> None:
    assert check_request(with_values(REQUEST, name, *values)) == KEY


@pytest.mark.parametrize(
    ("name", "values", "error", "message"),
    [
        ("Connection", [], InvalidUpgrade, "missing Connection header"),
        ("Connection", [""], InvalidUpgrade, "empty Connection header"),
        ("Connection", ["close"], InvalidUpgrade, "invalid Connection header: close"),
        (
            "Connection",
            ["close", "notupgrade"],
            InvalidUpgrade,
            "invalid Connection header: close, notupgrade",
        ),
        ("Connection", ["Upgrad\u00e9"], InvalidHeaderFormat, None),
        ("Connection", ["Upgrade Upgrade"], InvalidHeaderFormat, None),
        ("Upgrade", [], InvalidUpgrade, "missing Upgrade header"),
        ("Upgrade", [""], InvalidUpgrade, "empty Upgrade header"),
        ("Upgrade", ["h2c"], InvalidUpgrade, "invalid Upgrade header: h2c"),
        (
            "Upgrade",
            ["notwebsocket"],
            InvalidUpgrade,
            "invalid Upgrade header: notwebsocket",
        ),
        ("Upgrade", ["websocket/13"], InvalidUpgrade, None),
        ("Upgrade", ["websocket; a"], InvalidHeaderFormat, None),
        (
            "Upgrade",
            ["websocket", "websocket"],
            InvalidHeader,
            "invalid Upgrade header: multiple values",
        ),
        (
            "Sec-WebSocket-Version",
            [],
            InvalidHeader,
            "missing Sec-WebSocket-Version header",
        ),
        (
            "Sec-WebSocket-Version",
            ["13", "13"],
            InvalidHeader,
            "invalid Sec-WebSocket-Version header: multiple values",
        ),
        (
            "Sec-WebSocket-Version",
            [""],
            InvalidHeaderValue,
            "empty Sec-WebSocket-Version header",
        ),
        *[
            (
                "Sec-WebSocket-Version",
                [version],
                InvalidHeaderValue,
                f"invalid Sec-WebSocket-Version header: {version}",
            )
            for version in ("8", "12", "13, 8", "777", "013", "13.0")
        ],
        ("Sec-WebSocket-Key", [], InvalidHeader, "missing Sec-WebSocket-Key header"),
        (
            "Sec-WebSocket-Key",
            [KEY, KEY],
            InvalidHeader,
            "invalid Sec-WebSocket-Key header: multiple values",
        ),
        (
            "Sec-WebSocket-Key",
            [""],
            InvalidHeaderValue,
            "empty Sec-WebSocket-Key header",
        ),
        *[
            (
                "Sec-WebSocket-Key",
                [key],
                InvalidHeaderValue,
                f"invalid Sec-WebSocket-Key header: {key}",
            )
            for key in (
                "dGhlIHNhbXBsZSBub25jZQ",  # no padding
                "dGhlIHNhbXBsZSBub25j",  # 15 bytes
                "dGhlIHNhbXBsZSBub25jZSE=",  # 17 bytes
                "dGhlIHNhbXBsZSBub25jZQ==" * 2,
                "dGhlIHNhbXBsZSBub25j!Q==",
                "dGhlIHNhbXBsZSBub2 jZQ==",
                "dGhlIHNhbXBsZSBub25-_Q==",  # base64url
                "d\xe9hlIHNhbXBsZSBub25jZQ==",
            )
        ],
    ],
)
def test_request_refused(
    name: str, values: list[str], error: type[InvalidHeader], message: str | None
) -> None:
    with pytest.raises(InvalidHeader) as info:
        check_request(with_values(REQUEST, name, *values))
    assert type(info.value) is error
    # By its name, the server knows what to answer to a wrong version.
    assert info.value.name == name
    assert message is None or str(info.value) == message


def test_version_comes_before_key() -> None:
    headers = Headers({"Upgrade": "websocket", "Connection": "Upgrade"})
    headers["Sec-WebSocket-Key1"] = "18x 6]8vM;54 *(5:  {   U1]8  z [  8"
    with pytest.raises(InvalidHeader, match="missing Sec-WebSocket-Version"):
        check_request(headers)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Upgrade", ["WEBSOCKET"]),
        ("Connection", ["keep-alive", "x, upgrade"]),
    ],
)
def test_response_as_peers_write_it(name: str, values: list[str]) -> None:
    headers = with_values(RESPONSE, name, *values)
    before = headers.copy()
    check_response(headers, KEY)
    assert headers == before


@pytest.mark.parametrize(
    ("name", "values", "error", "message"),
    [
        ("Connection", [], InvalidUpgrade, "missing Connection header"),
        ("Connection", ["close"], InvalidUpgrade, "invalid Connection header: close"),
        ("Connection", ["a b"], InvalidHeaderFormat, None),
        ("Upgrade", [], InvalidUpgrade, "missing Upgrade header"),
        ("Upgrade", [""], InvalidUpgrade, "empty Upgrade header"),
        ("Upgrade", ["h2c"], InvalidUpgrade, "invalid Upgrade header: h2c"),
        (
            "Upgrade",
            ["websocket, h2c"],
            InvalidUpgrade,
            "invalid Upgrade header: websocket, h2c",
        ),
        (
            "Upgrade",
            ["websocket", "websocket"],
            InvalidHeader,
            "invalid Upgrade header: multiple values",
        ),
        (
            "Sec-WebSocket-Accept",
            [],
            InvalidHeader,
            "missing Sec-WebSocket-Accept header",
        ),
        (
            "Sec-WebSocket-Accept",
            [ACCEPT, ACCEPT],
            InvalidHeader,
            "invalid Sec-WebSocket-Accept header: multiple values",
        ),
        (
            "Sec-WebSocket-Accept",
            [ACCEPT.lower()],
            InvalidHeaderValue,
            f"invalid Sec-WebSocket-Accept header: {ACCEPT.lower()}",
        ),
        (
            "Sec-WebSocket-Accept",
            [KEY],
            InvalidHeaderValue,
            f"invalid Sec-WebSocket-Accept header: {KEY}",
        ),
    ],
)
def test_response_refused(
    name: str, values: list[str], error: type[InvalidHeader], message: str | None
) -> None:
    with pytest.raises(InvalidHeader) as info:
        check_response(with_values(RESPONSE, name, *values), KEY)
    assert type(info.value) is error
    assert info.value.name == name
    assert message is None or str(info.value) == message


NAMES = st.sampled_from([name for name, _ in REQUEST + RESPONSE])
VALUES = st.sampled_from(
    ["", "websocket", "upgrade", ",", "a b", "13", KEY, ACCEPT]
) | st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))


@given(st.lists(st.tuples(NAMES, VALUES)))
def test_any_headers_are_checked_or_refused(items: Items) -> None:
    headers = Headers(items)
    try:
        assert check_request(headers) == headers["Sec-WebSocket-Key"]
    except InvalidHandshake as exc:
        assert isinstance(exc, InvalidHeader)
    try:
        check_response(headers, KEY)
    except InvalidHandshake as exc:
        assert isinstance(exc, InvalidHeader)
    else:
        assert headers["Sec-WebSocket-Accept"] == ACCEPT
