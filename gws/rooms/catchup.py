"""A connection that is sent what it had missed, while more comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from ..connection import Connection
from ..prepared import PreparedMessage
from .entry import Entry, EntryId
from .room import Delivery
from .slow import cost
from .tally import Tally


class CatchingUp:
    """What a connection had missed, then what came meanwhile, each once.

    Args:
        ws: the connection.
        policy: past the budget, "close" closes the connection; with any other, what
            comes is left out, which is a gap.
        budget: how many bytes may wait here.
        totals: counts what becomes of what waited.
    """

    __slots__ = ("_budget", "_n_bytes", "_policy", "_totals", "_waiting", "_ws", "gap")

    def __init__(self, ws: Connection, policy: str, budget: int, totals: Tally) -> None:
        self._ws = ws
        self._policy = policy
        self._budget = budget
        self._totals = totals
        self._waiting: deque[tuple[EntryId | None, PreparedMessage]] = deque()
        self._n_bytes = 0
        #: Something was left out.
        self.gap = False

    def put(self, delivery: Delivery) -> None:
        """Keep a message until its turn comes."""
        tally, prepared = delivery.tally, delivery.prepared
        if not self._ws.open:
            tally.discarded += 1
        elif self._n_bytes + cost(prepared) <= self._budget:
            self._waiting.append((delivery.entry.id, prepared))
            self._n_bytes += cost(prepared)
            tally.queued += 1
        elif self._policy == "close":
            tally.closed += 1
            self.clear()
            self._ws.fail_slow()
        else:
            tally.dropped += 1
            self.gap = True

    def send(
        self,
        missed: Iterable[Entry],
        after: EntryId | None,
        prepare: Callable[[Entry], PreparedMessage],
    ) -> EntryId | None:
        """Send what was missed, then what has come meanwhile.

        Args:
            after: the id of the last message that the connection had seen.

        Returns:
            The id of the last one that it has now; None if none had one. There was no
            switch since nothing waited any more.

        Raises:
            ConnectionClosed: if the connection is closed.
        """
        for entry in missed:
            self._ws.send_prepared(prepare(entry))
            after = entry.id
        while self._waiting:
            entry_id, prepared = self._waiting[0]
            # What was published while the history was read may be in both.
            if entry_id is None or after is None or entry_id > after:
                self._ws.send_prepared(prepared)
                after = entry_id or after
            self._waiting.popleft()
            self._n_bytes -= cost(prepared)
            self._totals.sent += 1
        return after

    def clear(self) -> None:
        """Forget what waits: the connection is not to have it."""
        self._totals.discarded += len(self._waiting)
        self._waiting.clear()
        self._n_bytes = 0
