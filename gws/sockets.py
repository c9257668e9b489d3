"""The standard library's sockets, which gevent does not replace."""

from __future__ import annotations

from typing import Any

from gevent.monkey import get_original


# The socket class that gevent did not replace: light, and non-blocking is all
# that we need of it.
Socket: Any = get_original("socket", "socket")


def plain(sock: Any) -> Any:
    """Return the connection of a gevent socket in one of the standard library."""
    family, kind, proto = sock.family, sock.type, sock.proto
    return Socket(family, kind, proto, fileno=sock.detach())
