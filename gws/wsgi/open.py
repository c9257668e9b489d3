"""What the WebSocket connections of a WSGI server are to it: known, counted, closed.

Servers of ours put an `OpenConnections` into the environ of each request. To a
connection it is what `Server` is to those of `serve`.
"""

from __future__ import annotations

from gevent.event import Event

from ..protocol.codes import CloseCode
from ..server.admission import Addresses
from ..server.drain import close_gradually
from ..server.handshake import ServerConnection


class OpenConnections:
    """The open WebSocket connections of one server, however they were opened.

    Args:
        limit: how many there may be; None is no limit.
        max_per_address: as for `serve`.
    """

    def __init__(
        self, limit: int | None = None, max_per_address: int | None = None
    ) -> None:
        if limit is not None and limit < 1:
            raise ValueError("max_connections must be positive")
        self._limit = limit
        #: What counts the connections of each peer address.
        self.addresses = Addresses(max_per_address)
        #: Those that are open or closing.
        self.connections: set[ServerConnection] = set()
        #: All shall close; no other may open.
        self.closing = False
        self._empty = Event()

    # Public methods

    def close(self, seconds: float) -> None:
        """Begin to close all with 1001, a few at a time, and refuse further ones.

        Args:
            seconds: within which all are told.
        """
        self.closing = True
        close_gradually(self.connections, CloseCode.GOING_AWAY, "", seconds)

    def wait(self, timeout: float) -> None:
        """Wait until all are closed, at most ``timeout`` seconds."""
        if self.connections:
            self._empty.clear()
            self._empty.wait(max(timeout, 0))

    # For who opens connections, and for these

    def has_room(self) -> bool:
        """Tell whether one more connection may open."""
        limit = self._limit
        return not self.closing and (limit is None or len(self.connections) < limit)

    def is_ready(self) -> bool:
        """Tell whether whoever connects now would be served."""
        return self.has_room()

    def add(self, ws: ServerConnection) -> None:
        """Take note that a connection is open."""
        self.connections.add(ws)
        if self.closing:  # it was agreed on before
            ws.begin_close(CloseCode.GOING_AWAY)

    def forget(self, ws: ServerConnection) -> None:
        """Take note that a connection is gone."""
        self.connections.discard(ws)
        self.addresses.leave(ws)
        if not self.connections:
            self._empty.set()
