"""Headers of an opening handshake in: checked, or completed, on either side.

Only what RFC 6455 section 4 says of Upgrade, Connection and of the headers
Sec-WebSocket-Key, -Version and -Accept. The request line, Host, Origin,
extensions and subprotocols are the protocols' business, see
:mod:`gws.protocol.client` and :mod:`gws.protocol.server`.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets

from ..exceptions import InvalidHeader, InvalidHeaderValue, InvalidUpgrade
from .datastructures import Headers
from .headers import parse_connection, parse_upgrade


# RFC 6455 1.3: what the server appends to the key before it hashes it.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# RFC 6455 4.1 item 7: 16 bytes encoded as base64 (RFC 4648 section 4).
_key = re.compile(r"[A-Za-z0-9+/]{22}==")


def accept_key(key: str) -> str:
    """Return the Sec-WebSocket-Accept that answers ``key`` (RFC 6455 4.2.2)."""
    digest = hashlib.sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode("ascii")


# Client side


def build_request(headers: Headers) -> str:
    """Add to ``headers`` what makes a request an opening handshake.

    Returns:
        The new key; :func:`check_response` wants it.
    """
    # RFC 6455 4.1 item 7: "The nonce MUST be selected randomly for each
    # connection."
    key = base64.b64encode(secrets.token_bytes(16)).decode("ascii")
    headers["Upgrade"] = "websocket"
    headers["Connection"] = "Upgrade"
    headers["Sec-WebSocket-Key"] = key
    headers["Sec-WebSocket-Version"] = "13"
    return key


def check_response(headers: Headers, key: str) -> None:
    """Check the headers of a response with status 101 (RFC 6455 4.1).

    Args:
        key: What :func:`build_request` returned.

    Raises:
        InvalidUpgrade: If Upgrade or Connection do not agree to WebSocket.
        InvalidHeader: If they break their grammar, or if Sec-WebSocket-Accept
            is missing, repeated or does not answer ``key``.
    """
    _check_connection(headers)
    # Item 2: fail if Upgrade is missing or "contains a value that is not an
    # ASCII case-insensitive match for the value 'websocket'".
    if _parse_upgrade(headers) != ["websocket"]:
        raise InvalidUpgrade("Upgrade", headers["Upgrade"])
    accept = _single_value(headers, "Sec-WebSocket-Accept")
    if accept != accept_key(key):
        raise InvalidHeaderValue("Sec-WebSocket-Accept", accept)


# Server side


def check_request(headers: Headers) -> str:
    """Check the headers of an opening handshake (RFC 6455 4.2.1).

    Returns:
        The key; :func:`build_response` wants it.

    Raises:
        InvalidUpgrade: If Upgrade or Connection do not ask for WebSocket. To be
            answered with 426 (Upgrade Required).
        InvalidHeader: With ``name`` "Sec-WebSocket-Version" if the version is not
            13, missing or repeated. To be answered with 426 as well, and with
            ``Sec-WebSocket-Version: 13`` (RFC 6455 4.4).
        InvalidHeader: If Upgrade or Connection break their grammar, if Upgrade
            is repeated, or if Sec-WebSocket-Key is missing, repeated or not the
            base64 of 16 bytes. To be answered with 400 (Bad Request).
    """
    _check_connection(headers)
    # Item 3: "containing the value 'websocket', treated as an ASCII
    # case-insensitive value": there may be other protocols beside it.
    if "websocket" not in _parse_upgrade(headers):
        raise InvalidUpgrade("Upgrade", headers["Upgrade"])
    # Before the key: the drafts of other versions have other keys, or none.
    version = _single_value(headers, "Sec-WebSocket-Version")
    if version != "13":
        raise InvalidHeaderValue("Sec-WebSocket-Version", version)
    key = _single_value(headers, "Sec-WebSocket-Key")
    if _key.fullmatch(key) is None:
        raise InvalidHeaderValue("Sec-WebSocket-Key", key)
    return key


def build_response(headers: Headers, key: str) -> None:
    """Add to ``headers`` what makes a response accept the opening handshake.

    Args:
        key: What :func:`check_request` returned.
    """
    headers.add_valid("Upgrade", "websocket")
    headers.add_valid("Connection", "Upgrade")
    headers.add_valid("Sec-WebSocket-Accept", accept_key(key))


# Both sides


def _check_connection(headers: Headers) -> None:
    """Check that Connection, on one line or on several, has the option upgrade."""
    # "a |Connection| header field that includes the token 'Upgrade', treated as
    # an ASCII case-insensitive value": "keep-alive, Upgrade" will do.
    values = headers.get_all("Connection")
    for value in values:
        # Micro-optimization: what most say needs no parser.
        if value.lower() == "upgrade":
            return
        if any(option.lower() == "upgrade" for option in parse_connection(value)):
            return
    raise InvalidUpgrade("Connection", ", ".join(values) if values else None)


def _parse_upgrade(headers: Headers) -> list[str]:
    """Return the protocols of the only Upgrade header, in lower case."""
    if "Upgrade" not in headers:
        raise InvalidUpgrade("Upgrade")
    value = _single_value(headers, "Upgrade")
    if value.lower() == "websocket":  # as above
        return ["websocket"]
    return [protocol.lower() for protocol in parse_upgrade(value)]


def _single_value(headers: Headers, name: str) -> str:
    """Return the value of a header that must stand exactly once."""
    values = headers.get_all(name)
    if not values:
        raise InvalidHeader(name)
    if len(values) > 1:
        # Which of them counts is where two parsers of one message part ways.
        raise InvalidHeader(name, "multiple values")
    return values[0]
