"""An Origin header in: allowed or not (RFC 6455, section 10.2; RFC 6454).

Origins are taken apart and compared as scheme, host and port. Nothing is
searched for inside them: ``https://good.com.evil.com`` is not ``https://good.com``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..exceptions import InvalidHeader, InvalidOrigin
from .datastructures import Headers
from .headers import parse_host


#: What `serve` takes: "same", "*", or a list of origins, patterns and None.
Origins = str | Sequence[str | re.Pattern[str] | None]

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

# RFC 6454, section 7: scheme "://" host [ ":" port ].
_origin = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#@]+)")


def checked_origins(origins: object) -> Origins:
    """Return the option ``origins``, a list as a tuple, once it makes sense.

    Raises:
        TypeError: if it is something else.
        ValueError: if a member of a list could never be equal to an origin.
    """
    if isinstance(origins, str) and origins in ("same", "*"):
        return origins
    if isinstance(origins, (str, bytes)) or not isinstance(origins, Iterable):
        raise TypeError('origins must be "same", "*" or a list')
    entries = tuple(origins)
    for entry in entries:
        if isinstance(entry, re.Pattern):
            if not isinstance(entry.pattern, str):
                raise TypeError(f"a pattern for origins must be of str: {entry!r}")
        elif isinstance(entry, str):
            # RFC 6454, section 6.1: "null", or scheme, host and port, without a
            # path. Pages of files have "file://" in some browsers.
            without_host = entry == "null" or entry.endswith("://")
            if not without_host and split_origin(entry) is None:
                raise ValueError(f'{entry!r} is no origin like "https://example.com"')
        elif entry is not None:
            raise TypeError(f"origins has strs, patterns and None, not {entry!r}")
    return entries


def check_origin(headers: Headers, origins: Origins) -> None:
    """Check that a request may come from where its Origin header says.

    Args:
        headers: of a request; there must be one Host header.
        origins: "same": an origin, if there is one, must name the host and port
            of the Host header. The scheme is not compared: TLS often ends at a
            proxy. "*": any. A list: one of its members must equal the origin, or
            match all of it; None in it allows that there is none.

    Raises:
        InvalidOrigin: if not.
        InvalidHeader: if there are several Origin headers.
    """
    values = headers.get_all("Origin")
    if len(values) > 1:
        raise InvalidHeader("Origin", "multiple values")
    origin = values[0] if values else None
    if origins == "*":
        return
    if origins == "same":
        allowed = origin is None or is_same(origin, headers["Host"])
    else:
        allowed = any(is_allowed(origin, entry) for entry in origins)
    if not allowed:
        raise InvalidOrigin(origin)


def is_same(origin: str, host_header: str) -> bool:
    """Tell whether ``origin`` names the host and port of a Host header."""
    parts = split_origin(origin)
    # The page of an app or of an extension (``tauri://localhost``) came from no
    # server, whatever it calls its host.
    if parts is None or parts[0] not in DEFAULT_PORTS:
        return False
    scheme, host, port = parts
    host_there, port_there = parse_host(host_header)
    return (host, port) == (host_there, port_there or DEFAULT_PORTS[scheme])


def is_allowed(origin: str | None, entry: str | re.Pattern[str] | None) -> bool:
    """Tell whether one member of a list of origins allows ``origin``."""
    if origin is None or entry is None:
        return origin is None and entry is None
    if isinstance(entry, re.Pattern):
        return entry.fullmatch(origin) is not None
    parts = split_origin(origin)
    # "null" and the like have no parts; they are only equal to themselves.
    return origin == entry if parts is None else parts == split_origin(entry)


def split_origin(origin: str) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port of an origin; None if it has none of these."""
    match = _origin.fullmatch(origin)
    if match is None:
        return None
    scheme = match[1].lower()
    try:
        host, port = parse_host(match[2])
    except InvalidHeader:
        return None
    return scheme, host, port or DEFAULT_PORTS.get(scheme)
