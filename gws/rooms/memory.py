"""A bus for one process: entries go nowhere else; history is a deque a room."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable

from .bus import Receiver
from .entry import Entry, EntryId


class History:
    """The latest entries of a room, and when each goes."""

    __slots__ = ("entries", "expires", "last")

    def __init__(self, epoch: int, n: int) -> None:
        #: With the time of the clock when each is too old.
        self.entries: deque[tuple[float, Entry]] = deque(maxlen=n)
        #: The id of the newest entry, whether it is still kept or not.
        self.last = EntryId(epoch, 0)
        #: When nothing of it is left.
        self.expires = 0.0

    def forget(self, now: float) -> None:
        """Drop what is too old."""
        while self.entries and self.entries[0][0] <= now:
            self.entries.popleft()


class MemoryBus:
    """The bus "memory://".

    Args:
        history: how many entries of a room are kept, at most.
        ttl: for how many seconds each; None is for ever.
        clock: tells the time, in seconds.
    """

    def __init__(
        self,
        history: int = 0,
        ttl: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._n = history
        self._ttl = float("inf") if ttl is None else ttl
        self._clock = clock
        # Rooms by the time of their last entry, the longest ago first.
        self._histories: OrderedDict[str, History] = OrderedDict()
        self._epoch = 0

    def presence(self, lease: float) -> None:
        """See `Bus`; there is only this process."""

    def start(self, receiver: Receiver) -> None:
        """See `Bus`; nothing ever comes back."""
        # Each process that starts begins another history, a fork as well: of a time
        # before this, nobody can say what was missed.
        self._histories.clear()
        self._epoch = time.time_ns() // 1000

    def publish(self, room: str, entry: Entry) -> bool:
        """See `Bus`."""
        if self._n:
            self._forget_old()
            now = self._clock()
            history = self._histories.get(room)
            if history is None:
                history = self._histories[room] = self._begin()
            self._histories.move_to_end(room)
            history.forget(now)
            entry.id = history.last = EntryId(
                history.last.epoch, history.last.number + 1
            )
            history.expires = now + self._ttl
            history.entries.append((history.expires, entry))
        return False

    def subscribe(self, room: str) -> None:
        """See `Bus`."""

    def unsubscribe(self, room: str) -> None:
        """See `Bus`."""

    def read(self, room: str, since: EntryId | None) -> tuple[list[Entry], bool]:
        """See `Bus`."""
        self._forget_old()
        history = self._histories.get(room)
        if history is None:
            # Nothing was ever said, or nobody knows any more what.
            return [], since is None
        history.forget(self._clock())
        kept = [entry for _, entry in history.entries]
        if since is None:
            return kept, True
        last = history.last
        if since.epoch != last.epoch or since.number > last.number:
            return kept, False
        n_missed = last.number - since.number
        return kept[max(len(kept) - n_missed, 0) :], n_missed <= len(kept)

    def close(self) -> None:
        """See `Bus`."""
        self._histories.clear()

    # Private methods

    def _begin(self) -> History:
        # Each history is an epoch: one that was forgotten left no trace of its ids.
        self._epoch += 1
        return History(self._epoch, self._n)

    def _forget_old(self) -> None:
        # The rooms of which nothing is left: names are for anybody to make up.
        now = self._clock()
        while self._histories:
            room = next(iter(self._histories))
            if self._histories[room].expires > now:
                break
            del self._histories[room]
