"""An exception in, in one line why it did not work, and what to do about it, out."""

from __future__ import annotations

import errno
import socket
import ssl
from urllib.parse import urlsplit


#: What to do about the status of a refusal.
STATUS_HINTS = {
    400: "A server of another protocol? A proxy that does not pass on Upgrade?",
    401: "Who you are goes into the URI: ws://USER:PASSWORD@HOST/",
    403: "Does it want an origin? --origin https://HOST",
    404: "There is a server, and nothing at this path.",
    426: "Nothing for WebSockets is at this path.",
    503: "It is full, or about to end: try again later.",
}


def reason(exc: Exception) -> str:
    """Return in one line why it did not work."""
    from ..exceptions import InvalidStatus

    if isinstance(exc, InvalidStatus):
        body = exc.response.body.decode(errors="replace").strip()
        return f"{exc}: {body}" if body else str(exc)
    if isinstance(exc, ModuleNotFoundError) and exc.name == "redis":
        return "redis is not installed: pip install 'gevent-gws[redis]'"
    return getattr(exc, "strerror", None) or str(exc)


def connect_hint(exc: Exception, uri: str) -> str:
    """Return what to do about a connection that could not be opened; "" if no idea."""
    from ..exceptions import InvalidStatus, InvalidURI

    if isinstance(exc, InvalidURI):
        return uri_hint(uri)
    if isinstance(exc, InvalidStatus):
        return STATUS_HINTS.get(exc.response.status_code, "")
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
