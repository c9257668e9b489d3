"""A ``ws://`` or ``wss://`` URI or IRI in, its parts out, ready to connect to."""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import quote, unquote

from ..exceptions import InvalidHeader, InvalidURI
from .headers import parse_host


# RFC 3986 3: URI = scheme ":" hier-part [ "?" query ] [ "#" fragment ]. By hand
# rather than by urllib.parse, which drops tabs and newlines without a word.
_parts = re.compile(r"([^:/?#]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?", re.DOTALL)

# What no URI may hold: spaces and control characters, which could end a line of
# the request; the backslash, which browsers take for a slash; lone surrogates,
# which are no characters.
_forbidden = re.compile(r"[\x00-\x20\x7f-\x9f\\\ud800-\udfff]")

# What must be percent-encoded in a path or query: a "%" that encodes nothing, and
# all but the unreserved and reserved characters (RFC 3986 2.2, 2.3).
_unsafe = re.compile(r"%(?![0-9A-Fa-f]{2})|[^-._~0-9A-Za-z%:/?\[\]@!$&'()*+,;=]+")

# RFC 1035 2.3.4, in the dotted form.
_MAX_HOST_NAME = 253


@dataclasses.dataclass(frozen=True, slots=True)
class WebSocketURI:
    """The parts of a WebSocket URI (RFC 6455 section 3).

    ``repr()`` leaves the password out.
    """

    secure: bool
    """Whether the scheme is wss."""
    host: str
    """In lower case and ASCII; an IPv6 address has no brackets."""
    port: int
    """Always set, if need be to 80 (ws) or 443 (wss)."""
    path: str
    """Percent-encoded; empty if the URI ends with the host and port."""
    query: str
    """Percent-encoded, without the question mark; may be empty."""
    username: str | None = None
    """Percent-decoded; None if the URI has no user information."""
    password: str | None = dataclasses.field(default=None, repr=False)
    """Percent-decoded; None if the URI has no user information."""

    @property
    def resource_name(self) -> str:
        """What the request asks for, path and query (RFC 6455 section 3)."""
        # "'/' if the path component is empty", "'?' if the query component is
        # non-empty".
        query = "?" + self.query if self.query else ""
        return (self.path or "/") + query

    @property
    def user_info(self) -> tuple[str, str] | None:
        """Username and password, or None."""
        if self.username is None or self.password is None:
            return None
        return self.username, self.password


def parse_uri(uri: str) -> WebSocketURI:
    """Parse a WebSocket URI, or an IRI, which is turned into a URI.

    Host names outside ASCII become IDNA; characters that may not stand in a path
    or query are percent-encoded as UTF-8, what is encoded already stays.

    Raises:
        InvalidURI: If ``uri`` is not a URI to connect to.
    """
    if _forbidden.search(uri) is not None:
        raise InvalidURI(uri, "it contains a character that no URI may hold")
    match = _parts.fullmatch(uri)
    if match is None:
        raise InvalidURI(uri, "it isn't like ws://host/path")
    scheme, authority, path, query, fragment = match.groups()
    scheme = scheme.lower()
    if scheme not in ("ws", "wss"):
        raise InvalidURI(uri, "scheme isn't ws or wss")
    # RFC 6455 3: "Fragment identifiers are meaningless in the context of WebSocket
    # URIs and MUST NOT be used on these URIs."
    if fragment is not None:
        raise InvalidURI(uri, "fragment identifier is meaningless")
    secure = scheme == "wss"
    user_info, at, host_port = authority.rpartition("@")
    try:
        host, port = parse_host(_to_ascii(host_port))
        if port is None:
            port = 443 if secure else 80
        path, query = _percent_encode(path), _percent_encode(query or "")
        username, password = _parse_user_info(user_info) if at else (None, None)
    except InvalidHeader:
        raise InvalidURI(uri, "host or port isn't valid") from None
    except ValueError as exc:
        raise InvalidURI(uri, str(exc)) from None
    return WebSocketURI(secure, host, port, path, query, username, password)


def _to_ascii(host_port: str) -> str:
    """Return ``host_port`` with its host as IDNA; ValueError if that cannot be."""
    if host_port.isascii():
        return host_port
    # An IPv6 address, with its own colons, is ASCII.
    host, colon, port = host_port.partition(":")
    # The codec takes quadratic time on some Python versions.
    if len(host) > _MAX_HOST_NAME:
        raise ValueError("host name is too long")
    try:
        encoded = host.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError("host name can't be encoded as IDNA") from None
    # Compatibility forms of ":" become plain ones: the host would change.
    if ":" in encoded:
        raise ValueError("host name contains a colon")
    return encoded + colon + port


def _percent_encode(text: str) -> str:
    """Percent-encode what may not stand in a path or query, but nothing twice."""
    return _unsafe.sub(lambda match: quote(match.group(), safe=""), text)


def _parse_user_info(user_info: str) -> tuple[str, str]:
    """Return username and password; ValueError where Basic Auth cannot use them."""
    username, colon, password = user_info.partition(":")
    if not colon:
        raise ValueError("username provided without password")
    try:
        username = unquote(username, errors="strict")
        password = unquote(password, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("user information isn't UTF-8") from None
    # RFC 7617 2: "a user-id containing a colon character is invalid".
    if ":" in username:
        raise ValueError("username contains a colon")
    return username, password
