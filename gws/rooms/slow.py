"""Messages for a connection that takes them slower than they come; what to do then.

An `Outlet` keeps what a connection could not take at once. Past its budget a policy
decides: "close" ends the connection with 1013, "drop_new" leaves out what comes,
"drop_old" what has waited longest; "latest" keeps one message of each topic, and drops
the oldest if these are too many.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING

from ..connection import Connection
from ..prepared import PreparedMessage
from .tally import Tally


if TYPE_CHECKING:
    from .membership import Membership


#: The names of the policies.
POLICIES = ("close", "drop_new", "drop_old", "latest")

#: What keeping a message takes beside its payload, in bytes: else a budget would let
#: any number of empty ones wait.
OVERHEAD = 256

#: Which messages are of one kind: the room, and what they tell of.
Topic = tuple[str, Hashable]


def cost(prepared: PreparedMessage) -> int:
    """Return how much of a budget a message takes while it waits."""
    return prepared.size + OVERHEAD


class Outlet:
    """The way to one connection, for all rooms that it is in.

    Args:
        ws: the connection.
        policy: one of `POLICIES`.
        budget: how many bytes may wait here.
        totals: counts what becomes of what waited.
        slow: has the connections for which `put` is the only way: what comes for
            them now is not to overtake what waits.
    """

    __slots__ = (
        "_budget",
        "_n_bytes",
        "_policy",
        "_slow",
        "_totals",
        "_waiting",
        "memberships",
        "ws",
    )

    def __init__(
        self,
        ws: Connection,
        policy: str,
        budget: int,
        totals: Tally,
        slow: set[Connection],
    ) -> None:
        self.ws = ws
        self._policy = policy
        self._budget = budget
        self._totals = totals
        self._slow = slow
        # What waits by its topic, the oldest first; None while the connection takes
        # all at once. If not None, the connection will call back.
        self._waiting: OrderedDict[Topic, PreparedMessage] | None = None
        self._n_bytes = 0
        #: Its places in rooms.
        self.memberships: list[Membership] = []

    # Public methods

    @property
    def n_waiting(self) -> int:
        """How many messages wait."""
        return len(self._waiting or ())

    def put(self, prepared: PreparedMessage, topic: Topic, tally: Tally) -> None:
        """Send a message, or have it wait, or do what the policy says; count it.

        Args:
            topic: of all that wait, with the policy "latest" only one has it.
        """
        if self._waiting is None and self.ws.send_now(prepared):
            tally.sent += 1
        elif self.ws.open:
            self._queue(prepared, topic, tally)
        else:
            tally.discarded += 1

    def discard(self, room: str) -> None:
        """Forget what waits of a room: the connection has left it."""
        for topic in list(self._waiting or ()):
            if topic[0] == room:
                self._totals.discarded += self._forget(topic)

    def clear(self) -> None:
        """Forget all that waits: the connection has closed, or is closing."""
        self._totals.discarded += self.n_waiting
        self._waiting = None
        self._n_bytes = 0
        self._slow.discard(self.ws)

    # Private methods

    def _queue(self, prepared: PreparedMessage, topic: Topic, tally: Tally) -> None:
        waiting = self._waiting
        if waiting is None:
            waiting = self._waiting = OrderedDict()
            self._slow.add(self.ws)
            self.ws.call_when_ready(self._send_waiting)
        if self._policy == "latest":
            tally.dropped += self._forget(topic)
        else:
            topic = (topic[0], object())  # none is like another
        if self._has_room(cost(prepared), tally):
            waiting[topic] = prepared
            self._n_bytes += cost(prepared)
            tally.queued += 1

    def _has_room(self, size: int, tally: Tally) -> bool:
        # For one more message; the policy makes room, or counts what becomes of it.
        if self._n_bytes + size <= self._budget:
            return True
        if self._policy == "close":
            tally.closed += 1
            self.clear()
            self.ws.fail_slow()
            return False
        if self._policy == "drop_new" or size > self._budget:
            tally.dropped += 1
            return False
        while self._waiting and self._n_bytes + size > self._budget:
            tally.dropped += self._forget(next(iter(self._waiting)))
        return True

    def _forget(self, topic: Topic) -> int:
        # Drop the message of a topic, if there is one; return how many.
        prepared = None if self._waiting is None else self._waiting.pop(topic, None)
        if prepared is None:
            return 0
        self._n_bytes -= cost(prepared)
        return 1

    def _send_waiting(self) -> None:
        # The connection takes more, or has closed; called in the hub.
        waiting = self._waiting
        if waiting is None:
            return
        while waiting and self.ws.send_now(next(iter(waiting.values()))):
            _, prepared = waiting.popitem(last=False)
            self._n_bytes -= cost(prepared)
            self._totals.sent += 1
        if not waiting or not self.ws.open:
            self.clear()
        else:
            self.ws.call_when_ready(self._send_waiting)
