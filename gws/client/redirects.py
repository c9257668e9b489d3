"""Where a redirect leads, and what may not go there with it."""

from __future__ import annotations

from urllib.parse import urldefrag, urljoin, urlsplit

from ..exceptions import InvalidHeader, InvalidURI, SecurityError
from ..protocol.datastructures import Headers
from ..protocol.headers import build_host
from ..protocol.http11 import Response
from ..protocol.uri import WebSocketURI, parse_uri


#: The statuses that say where else to go, if they do (RFC 9110, 15.4).
STATUSES = {300, 301, 302, 303, 307, 308}

#: How many redirects are followed in a row.
MAX_REDIRECTS = 10

#: The headers that are for one server alone.
PRIVATE = {"authorization", "cookie", "host", "proxy-authorization"}

# An answer to a WebSocket's request may well tell HTTP's name of the place.
_SCHEMES = {"http": "ws", "https": "wss"}


def location_of(response: Response, uri: WebSocketURI) -> str | None:
    """Return the URI that a response redirects to.

    Args:
        response: the answer to a request for ``uri``.

    Returns:
        A ``ws://`` or ``wss://`` URI; None if the response is no redirect.

    Raises:
        InvalidHeader: if there is no such URI.
        SecurityError: if it holds a user and a password.
    """
    locations = response.headers.get_all("Location")
    if response.status_code not in STATUSES or len(locations) != 1:
        return None
    location = as_text(locations[0])
    try:
        # urljoin would drop it without a word.
        if "\t" in location:
            raise ValueError("a tab")
        # RFC 9110 10.2.2: for a relative reference, "the final value is computed by
        # resolving it against the target URI". Its fragment is not for a server.
        resolved = urldefrag(urljoin(base_of(uri), location)).url
        scheme = urlsplit(resolved).scheme
        target = _SCHEMES.get(scheme, scheme) + resolved[len(scheme) :]
        user_info = parse_uri(target).user_info
    except (InvalidURI, ValueError):
        raise InvalidHeader("Location", locations[0]) from None
    # RFC 9110 4.2.4: a recipient "SHOULD parse for userinfo and treat its presence
    # as an error", in a reference "received from an untrusted source".
    if user_info is not None:
        raise SecurityError("the server redirects to a URI with a user and password")
    return target


def as_text(value: str) -> str:
    """Return the value of a header as the UTF-8 that its octets may be."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value


def base_of(uri: WebSocketURI) -> str:
    """Return the text of ``uri``, without user and password."""
    scheme = "wss" if uri.secure else "ws"
    host = build_host(uri.host, uri.port, uri.secure)
    return f"{scheme}://{host}{uri.resource_name}"


def is_same_origin(one: WebSocketURI, other: WebSocketURI) -> bool:
    """Return whether both have the same scheme, host and port (RFC 6454, 5)."""
    return (one.secure, one.host, one.port) == (other.secure, other.host, other.port)


def without_private(headers: Headers) -> Headers:
    """Return what of ``headers`` another server may see."""
    return Headers(
        [(name, v) for name, v in headers.raw_items() if name.lower() not in PRIVATE]
    )
