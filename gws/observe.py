"""What happens to connections in, calls of who counts or logs it out: `Observer`.

Observers are told of events, not of messages: how many of these there were stands in
the `Meter` of a connection. What an observer raises is logged, and stops nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from .options import Options


class Observer:
    """Is told what happens to the connections of a server; for subclasses.

    Given to `serve`, or to what stands in its place under WSGI, as one of
    ``observers``. All but `ponged` is called in the greenlet of the connection, which
    waits meanwhile.
    """

    #: Whether the messages and bytes of connections shall be counted, in ``ws.meter``.
    counts = False

    def answered(self, ws: Any, status: int) -> None:
        """Take note of the answer to a request.

        Args:
            ws: a `ServerConnection`.
            status: of HTTP; 101 says that the connection is open, 0 that none could
                be given: the peer has gone.
        """

    def turned_away(self, address: Any, status: int) -> None:
        """Take note of who was refused before there was a request.

        Args:
            address: of the peer.
            status: of the answer; 0 if there was none, because TLS failed, say.
        """

    def closed(self, ws: Any, seconds: float, error: BaseException | None) -> None:
        """Take note of the end of a connection that was open; told once for each.

        Args:
            ws: a `ServerConnection`, which has its close code.
            seconds: how long it was served.
            error: what its handler raised, `gevent.GreenletExit` if it was stopped;
                None if nothing, or if who served it was no handler of ours.
        """

    def ponged(self, ws: Any, seconds: float) -> None:
        """Take note of the pong to a ping of ours; called in the hub, may not wait.

        Args:
            ws: a `ServerConnection`.
            seconds: between the two.
        """


def tell(options: Options, event: str, *args: Any) -> None:
    """Tell the observers of connections with these options."""
    for observer in options.observers:
        try:
            getattr(observer, event)(*args)
        except Exception:
            options.logger.error("an observer failed", exc_info=True)


def tell_opened(ws: Any) -> None:
    """Tell that a connection is open, if nobody has."""
    options = ws.settings.options
    if options.observers and ws._opened_at is None:
        ws._opened_at = time.monotonic()
        tell(options, "answered", ws, 101)


def tell_closed(ws: Any, error: BaseException | None = None) -> None:
    """Tell that a connection has ended, if it was told that it had opened."""
    opened_at = ws._opened_at
    if opened_at:
        ws._opened_at = 0.0
        seconds = time.monotonic() - opened_at
        tell(ws.settings.options, "closed", ws, seconds, error)
