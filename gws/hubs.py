"""What the connections of one hub share: a buffer to read into, deadlines, corks."""

from __future__ import annotations

import sys
from typing import Any

from .greenlets import thread_id
from .keepalive import Deadlines
from .messages import Budget
from .stream import read_buffer


class HubShare:
    """What the connections of one hub share: made once, kept by the hub.

    Args:
        deadlines: in the place of those that a timer of the hub's loop fires.
    """

    def __init__(self, hub: Any, deadlines: Deadlines | None = None) -> None:
        self.hub = hub
        self.thread = thread_id()
        self.buffer = read_buffer()
        self.deadlines = Deadlines(hub) if deadlines is None else deadlines
        #: What pays for the messages that are queued beyond the limits.
        self.budget = Budget()
        # Connections with frames to be written at the end of this turn.
        self._corked: list[Any] = []

    def flush_later(self, connection: Any) -> None:
        """Flush ``connection`` once the greenlets that run now have had their turn."""
        if not self._corked:
            self.hub.loop.run_callback(self._flush_corked)
        self._corked.append(connection)

    def _flush_corked(self) -> None:
        corked = self._corked
        self._corked = []
        for connection in corked:
            try:
                connection.uncork()
            except Exception:
                # A bug of ours; the others are still to be flushed.
                self.hub.handle_error(connection, *sys.exc_info())


def share_of(hub: Any) -> HubShare:
    """Return what the connections of ``hub`` share."""
    share: HubShare | None = getattr(hub, "_gws_share", None)
    if share is None:
        share = hub._gws_share = HubShare(hub)
    return share


def swap_share(hub: Any, share: HubShare) -> HubShare:
    """Give ``share`` to the connections made from now on; return what others have."""
    before = share_of(hub)
    hub._gws_share = share
    return before
