"""Values of HTTP headers in, Python values out, and back.

Each ``parse_`` function takes the value of one header line and raises
:exc:`~gws.exceptions.InvalidHeaderFormat` where it breaks the header's grammar;
each ``build_`` function is its reverse.

All of them take time linear in the length of the value, whatever it holds, as
:mod:`gws.protocol.grammar` says.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from functools import partial
from ipaddress import IPv6Address

from ..exceptions import InvalidHeaderFormat, InvalidHeaderValue
from .datastructures import TCHAR, is_field_value, is_token
from .grammar import (
    parse,
    parse_list,
    parse_quoted_string,
    parse_token,
    quoted,
    skip_ows,
)


#: One parameter of an extension; the value is None when there is none.
ExtensionParameter = tuple[str, str | None]

#: One extension of a Sec-WebSocket-Extensions header: name and parameters.
ExtensionHeader = tuple[str, list[ExtensionParameter]]

#: One challenge of a WWW-Authenticate header: its scheme, and its parameters by
#: their names in lower case, or a token68 in their place.
Challenge = tuple[str, dict[str, str] | str]

# RFC 9110 7.8: protocol = protocol-name ["/" protocol-version].
_protocol = re.compile(f"{TCHAR}+(?:/{TCHAR}+)?")
_parse_protocol = partial(parse, _protocol, "protocol")

# RFC 9110 11.2: token68 = 1*( ALPHA / DIGIT / "-" ... "/" ) *"=".
_TOKEN68 = "[-0-9A-Za-z._~+/]++=*+"
_credentials = re.compile(f" +({_TOKEN68})")
# Where nothing of its element follows it: else it is the name of a parameter.
_challenge_token68 = re.compile(rf"{_TOKEN68}(?=[ \t]*+(?:,|\Z))")

# RFC 9110 7.2: Host = uri-host [ ":" port ]. Of a registered name (RFC 3986
# 3.2.2) only what names of machines are made of: "%" and sub-delims have no use
# there, and a "," is what a proxy leaves that joins two Host headers.
_host = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([-._~0-9A-Za-z]+))(?::([0-9]{0,5}))?")


# Connection and Upgrade


def parse_connection(header: str) -> list[str]:
    """Parse a ``Connection`` header (RFC 9110 7.6.1) into its options.

    Options are case-insensitive; they are returned as they were written.

    Raises:
        InvalidHeaderFormat: If the value is not a list of tokens.
    """
    return parse_list(parse_token, header, "Connection")


def build_connection(options: Sequence[str]) -> str:
    """Build a ``Connection`` header."""
    return ", ".join(options)


def parse_upgrade(header: str) -> list[str]:
    """Parse an ``Upgrade`` header (RFC 9110 7.8) into its protocols.

    Protocols are case-insensitive; they are returned as they were written, with
    their version if they have one.

    Raises:
        InvalidHeaderFormat: If the value is not a list of protocols.
    """
    return parse_list(_parse_protocol, header, "Upgrade")


def build_upgrade(protocols: Sequence[str]) -> str:
    """Build an ``Upgrade`` header."""
    return ", ".join(protocols)


# Sec-WebSocket-Extensions


def _parse_parameter(
    header: str, pos: int, name: str
) -> tuple[ExtensionParameter, int]:
    """Parse ``extension-param = token [ "=" (token | quoted-string) ]``."""
    key, pos = parse_token(header, pos, name)
    pos = skip_ows(header, pos)
    if not header.startswith("=", pos):
        return (key, None), pos
    start = pos = skip_ows(header, pos + 1)
    if header.startswith('"', pos):
        value, pos = parse_quoted_string(header, pos, name)
        # RFC 6455 9.1: "the value after quoted-string unescaping MUST conform to
        # the 'token' ABNF."
        if not is_token(value):
            raise InvalidHeaderFormat(name, "quoted value not a token", header, start)
    else:
        value, pos = parse_token(header, pos, name)
    return (key, value), skip_ows(header, pos)


def _parse_extension(header: str, pos: int, name: str) -> tuple[ExtensionHeader, int]:
    """Parse ``extension = extension-token *( ";" extension-param )``."""
    extension, pos = parse_token(header, pos, name)
    pos = skip_ows(header, pos)
    parameters = []
    while header.startswith(";", pos):
        pos = skip_ows(header, pos + 1)
        parameter, pos = _parse_parameter(header, pos, name)
        parameters.append(parameter)
    return (extension, parameters), pos


def parse_extension(header: str) -> list[ExtensionHeader]:
    """Parse a ``Sec-WebSocket-Extensions`` header (RFC 6455 9.1).

    Returns:
        Pairs of an extension's name and the list of its parameters, each a pair
        of name and value, where the value is None if there is none. Parameters
        that stand twice are returned twice.

    Raises:
        InvalidHeaderFormat: If the value is not a list of extensions.
    """
    name = "Sec-WebSocket-Extensions"
    return parse_list(_parse_extension, header, name, at_least=1)


def build_extension(
    extensions: Sequence[tuple[str, Sequence[ExtensionParameter]]],
) -> str:
    """Build a ``Sec-WebSocket-Extensions`` header; names and values are tokens."""
    return ", ".join(
        "; ".join(
            [name]
            + [key if value is None else f"{key}={value}" for key, value in parameters]
        )
        for name, parameters in extensions
    )


# Sec-WebSocket-Protocol


def parse_subprotocol(header: str) -> list[str]:
    """Parse a ``Sec-WebSocket-Protocol`` header into subprotocols, best first.

    Raises:
        InvalidHeaderFormat: If the value is not a list of tokens.
    """
    return parse_list(parse_token, header, "Sec-WebSocket-Protocol", at_least=1)


def build_subprotocol(subprotocols: Sequence[str]) -> str:
    """Build a ``Sec-WebSocket-Protocol`` header."""
    return ", ".join(subprotocols)


def validate_subprotocols(subprotocols: Sequence[str]) -> None:
    """Check that ``subprotocols`` may be offered, as RFC 6455 4.1 item 10 says.

    Raises:
        TypeError: If it is not a list or tuple, or an item is not a str.
        ValueError: If an item is not a token, or stands twice.
    """
    if isinstance(subprotocols, str) or not isinstance(subprotocols, Sequence):
        raise TypeError("subprotocols must be a list of str")
    for subprotocol in subprotocols:
        if not is_token(subprotocol):
            raise ValueError(f"invalid subprotocol: {subprotocol!r}")
    # "[...] and MUST all be unique strings."
    if len(set(subprotocols)) < len(subprotocols):
        raise ValueError(f"subprotocols must be unique: {list(subprotocols)!r}")


# Authorization and WWW-Authenticate


def parse_authorization_basic(header: str) -> tuple[str, str]:
    """Parse an ``Authorization`` header for HTTP Basic Auth (RFC 7617).

    Credentials are UTF-8; other bytes come as surrogate escapes. Errors never
    repeat the credentials: they end up in logs.

    Returns:
        Username and password.

    Raises:
        InvalidHeaderFormat: If the value does not have the form of credentials.
        InvalidHeaderValue: If it is not Basic or not base64 of ``user:password``.
    """
    name = "Authorization"
    scheme, pos = parse_token(header, 0, name)
    if scheme.lower() != "basic":
        raise InvalidHeaderValue(name, f"unsupported scheme: {scheme}")
    match = _credentials.fullmatch(header, pos)
    if match is None:
        raise InvalidHeaderFormat(name, "expected credentials", header[:pos], pos)
    try:
        decoded = base64.b64decode(match.group(1), validate=True)
    except binascii.Error:
        raise InvalidHeaderValue(name, "credentials aren't base64") from None
    # RFC 7617 2: "the user-id [...] cannot contain a colon", the password may.
    username, colon, password = decoded.decode(errors="surrogateescape").partition(":")
    if not colon:
        raise InvalidHeaderValue(name, "credentials have no colon")
    return username, password


def build_authorization_basic(username: str, password: str) -> str:
    """Build an ``Authorization`` header for HTTP Basic Auth.

    Raises:
        ValueError: If ``username`` holds a colon, which Basic cannot express.
    """
    if ":" in username:
        raise ValueError("username can't contain a colon")
    credentials = f"{username}:{password}".encode(errors="surrogateescape")
    return "Basic " + base64.b64encode(credentials).decode("ascii")


def _parse_auth_param(header: str, pos: int, name: str) -> tuple[tuple[str, str], int]:
    """Parse ``auth-param = token BWS "=" BWS ( token / quoted-string )``."""
    key, pos = parse_token(header, pos, name)
    pos = skip_ows(header, pos)
    if not header.startswith("=", pos):
        raise InvalidHeaderFormat(name, "expected equals sign", header, pos)
    pos = skip_ows(header, pos + 1)
    parse_value = parse_quoted_string if header.startswith('"', pos) else parse_token
    value, pos = parse_value(header, pos, name)
    return (key.lower(), value), pos


def _parse_challenge_part(
    header: str, pos: int, name: str
) -> tuple[tuple[str | None, tuple[str, str] | str | None], int]:
    """Parse what stands between two commas of a list of challenges.

    Returns:
        A scheme, None if the challenge began before; a parameter, a token68 or
        nothing; and the position after them.
    """
    scheme, end = parse_token(header, pos, name)
    next_pos = skip_ows(header, end)
    if header.startswith("=", next_pos):
        parameter, pos = _parse_auth_param(header, pos, name)
        return (None, parameter), pos
    if next_pos == len(header) or header[next_pos] == ",":
        return (scheme, None), next_pos
    if next_pos == end:
        raise InvalidHeaderFormat(name, "expected space after scheme", header, end)
    match = _challenge_token68.match(header, next_pos)
    if match is not None:
        return (scheme, match.group()), match.end()
    parameter, pos = _parse_auth_param(header, next_pos, name)
    return (scheme, parameter), pos


def parse_www_authenticate(header: str) -> list[Challenge]:
    """Parse a ``WWW-Authenticate`` header (RFC 9110 11.6.1) into its challenges.

    Commas stand between challenges and between the parameters of one: a part that
    begins like ``name=`` belongs to the challenge before it.

    Returns:
        Pairs of scheme, as it was written, and parameters or token68.

    Raises:
        InvalidHeaderFormat: If the value is not a list of challenges.
        InvalidHeaderValue: If a parameter stands twice in one challenge.
    """
    name = "WWW-Authenticate"
    challenges: list[Challenge] = []
    for scheme, value in parse_list(_parse_challenge_part, header, name, at_least=1):
        if scheme is not None:
            challenges.append((scheme, value if isinstance(value, str) else {}))
        if isinstance(value, tuple):
            parameters = challenges[-1][1] if challenges else None
            if not isinstance(parameters, dict):
                raise InvalidHeaderFormat(name, "expected scheme", header, 0)
            key, text = value
            # RFC 9110 11.2: "each parameter name MUST only occur once per
            # challenge."
            if key in parameters:
                raise InvalidHeaderValue(name, f"parameter {key} twice")
            parameters[key] = text
    return challenges


def parse_www_authenticate_basic(header: str) -> str:
    """Parse a ``WWW-Authenticate`` header that holds a challenge for Basic.

    Returns:
        The realm (RFC 7617 2) of the first one.

    Raises:
        InvalidHeaderFormat: If the value is not a list of challenges.
        InvalidHeaderValue: If none is for Basic, or it names no realm.
    """
    name = "WWW-Authenticate"
    challenges = parse_www_authenticate(header)
    for scheme, parameters in challenges:
        if scheme.lower() == "basic":
            # RFC 7617 2: "The authentication parameter 'realm' is REQUIRED".
            if isinstance(parameters, str) or "realm" not in parameters:
                raise InvalidHeaderValue(name, "missing realm")
            return parameters["realm"]
    schemes = ", ".join(scheme for scheme, _ in challenges)
    raise InvalidHeaderValue(name, f"unsupported scheme: {schemes}")


def build_www_authenticate_basic(realm: str) -> str:
    """Build a ``WWW-Authenticate`` header for HTTP Basic Auth.

    Raises:
        ValueError: If ``realm`` holds what may not stand in a header.
    """
    if not is_field_value(realm):
        raise ValueError(f"invalid realm: {realm!r}")
    # RFC 7617 2.1: charset tells the client to encode credentials as UTF-8.
    return f'Basic realm={quoted(realm)}, charset="UTF-8"'


# Host


def parse_host(header: str) -> tuple[str, int | None]:
    """Parse a ``Host`` header (RFC 9110 7.2), or the same part of a URI.

    Returns:
        The host in lower case, an IPv6 address without its brackets and in its
        shortest form; the port, or None if there is none.

    Raises:
        InvalidHeaderFormat: If the value is not a host with or without a port.
        InvalidHeaderValue: If the address or the port is not possible. IPv6
            zones (``%eth0``) are not: they mean nothing on another machine.
    """
    match = _host.fullmatch(header)
    if match is None:
        raise InvalidHeaderFormat("Host", "expected host and port", header, 0)
    address, host, port = match.groups()
    if address is not None:
        try:
            host = str(IPv6Address(address))
        except ValueError:
            raise InvalidHeaderValue("Host", header) from None
    # RFC 3986 3.2.3: the port may be empty, which is as good as none.
    number = int(port) if port else None
    if number is not None and not 0 < number < 65536:
        raise InvalidHeaderValue("Host", header)
    return host.lower(), number


def build_host(host: str, port: int, secure: bool) -> str:
    """Build a ``Host`` header, without the port if it is the default one.

    Args:
        host: A name or an address; an IPv6 address has no brackets.
        secure: Whether the URI's scheme is wss, which makes the default 443.
    """
    # RFC 3986 3.2.2: only an IPv6 address has a colon, and it needs brackets.
    if ":" in host:
        host = f"[{host}]"
    # RFC 6455 4.1 item 4: the port follows "if not using the default port".
    return host if port == (443 if secure else 80) else f"{host}:{port}"
