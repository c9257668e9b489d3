"""An exception in, in one line why it did not work, and what to do about it, out."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit


if TYPE_CHECKING:
    from ..exceptions import InvalidStatus


#: What to do about the status of a refusal.
STATUS_HINTS = {
    400: "A server of another protocol? A proxy that does not pass on Upgrade?",
    401: "Who you are goes into the URI: ws://USER:PASSWORD@HOST/",
    403: "It refuses you: does it want a cookie or a token? --header 'Cookie: ...'",
    404: "Is the path right?",
    426: "Nothing for WebSockets is at this path.",
    503: "It is full, or about to end: try again later.",
}


def reason(exc: Exception) -> str:
    """Return in one line why it did not work."""
    from ..exceptions import InvalidStatus

    # What a web server answers otherwise is a page, and tells nothing.
    if isinstance(exc, InvalidStatus) and not is_success(exc):
        body = exc.response.body.decode(errors="replace").strip()
        return f"{exc}: {body}" if body else str(exc)
    if isinstance(exc, ModuleNotFoundError) and exc.name == "redis":
        return "redis is not installed: pip install 'gevent-gws[redis]'"
    return getattr(exc, "strerror", None) or str(exc)


def connect_hint(exc: Exception, uri: str, origin: str | None) -> str:
    """Return what to do about a connection that could not be opened; "" if no idea."""
    from ..exceptions import InvalidMessage, InvalidStatus, InvalidURI

    if isinstance(exc, InvalidURI):
        return uri_hint(uri)
    if isinstance(exc, InvalidStatus):
        return status_hint(exc, origin)
    if isinstance(exc, InvalidMessage) and exc.eof and uri.lower().startswith("ws:"):
        return f"Does it want TLS? wss{uri[2:]}"
    if isinstance(exc, ssl.SSLCertVerificationError):
        return "--insecure connects all the same, to whoever it is."
    if isinstance(exc, ssl.SSLError):
        return "Does it speak TLS there? If not: ws:// in the place of wss://"
    if isinstance(exc, socket.gaierror):
        return "Is the name right?"
    if isinstance(exc, TimeoutError):
        return "Nobody answers: is the port right, does a firewall drop it?"
    if isinstance(exc, OSError) and exc.errno == errno.ECONNREFUSED:
        return "Nobody listens there: is the server started, and is the port right?"
    return ""


def status_hint(exc: InvalidStatus, origin: str | None) -> str:
    """Return what to do about a refusal."""
    if is_success(exc):
        return "It is a web server; is there a WebSocket at this path?"
    if exc.status_code == 403 and b"Origin" in exc.response.body:
        return "" if origin else "Does it want an origin? --origin https://HOST"
    return STATUS_HINTS.get(exc.status_code, "")


def is_success(exc: InvalidStatus) -> bool:
    """Tell whether the request succeeded, and became no WebSocket."""
    return 200 <= exc.status_code < 300


def uri_hint(uri: str) -> str:
    """Return what was probably meant."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        meant = f"ws://{uri.lstrip('/')}"
    elif scheme.lower() in ("http", "https"):
        meant = f"{'wss' if scheme.lower() == 'https' else 'ws'}://{rest}"
    else:
        return ""
    try:
        known = urlsplit(meant).hostname
    except ValueError:
        return ""
    return f"Did you mean {meant} ?" if known else ""
