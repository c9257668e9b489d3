"""A room that this process hears over Redis: what comes by the channel in, what is new
out, in order, with what was missed in between."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from .entry import Entry, EntryId, InvalidEntryId
from .redis import ERRORS
from .scripts import LATEST, NOTHING, Kept


#: How many origins are remembered, with their latest numbers: those of the processes
#: that publish, and of many that published once.
MAX_ORIGINS = 1000

logger = logging.getLogger("gws.rooms")


class Subscription:
    """A room that this process has members in.

    Args:
        room: its name.
        channel: that of the room.
        read: returns what is kept after an id; raises one of `ERRORS`.
        hand_on: takes each entry, once.
    """

    __slots__ = ("_hand_on", "_numbers", "_read", "channel", "last", "leaves", "room")

    def __init__(
        self,
        room: str,
        channel: bytes,
        read: Callable[[str, EntryId | None], Kept],
        hand_on: Callable[[str, Entry], object],
    ) -> None:
        self.room = room
        self.channel = channel
        self._read = read
        self._hand_on = hand_on
        #: The id of the last entry that came; None without history, or while it is not
        #: known which one there was.
        self.last: EntryId | None = None
        #: When it may be forgotten, by the clock; 0.0 while it has members.
        self.leaves = 0.0
        # The number of the last entry of each origin, the one heard last at the end:
        # what was sent twice, because a connection broke before the reply, has one
        # that is not greater.
        self._numbers: dict[bytes, int] = {}

    def begin(self) -> None:
        """Find out after which entry it begins.

        Raises one of `ERRORS`, or InvalidEntryId.
        """
        if self.last is None:
            last = self._read(self.room, LATEST).last or NOTHING
            self.last = self.last or last  # what came meanwhile is later

    def take(self, entry: Entry) -> bool:
        """Hand on an entry that came by the channel, after what is missing before it.

        Returns:
            Whether something is missing that is nowhere any more.
        """
        if entry.id is None or self.last is None or follows(entry.id, self.last):
            self.last = entry.id or self.last
            self._take_once(entry)
        elif entry.id > self.last:
            return self._fill(entry)
        return False

    def catch_up(self) -> bool:
        """Hand on what came while the channel was not heard.

        Returns:
            Whether something is missing that is nowhere any more, or may be.
        """
        if self.last is not None:
            return self._fill(None)
        with contextlib.suppress(*ERRORS, InvalidEntryId):
            self.begin()
        return True

    # Private methods

    def _fill(self, newest: Entry | None) -> bool:
        # Hand on what is after the last entry; return whether something is missing.
        since = self.last
        assert since is not None  # else nothing is known to be missing
        try:
            # Meanwhile more may come by the channel, and `last` change.
            kept = self._read(self.room, since)
        except ConnectionError:
            # All that is missing is asked for as soon as there is a connection.
            return False
        except (*ERRORS, InvalidEntryId) as exc:
            logger.info("no history of %r: %s", self.room, exc)
            found, whole = ([] if newest is None else [newest]), False
        else:
            found, whole = kept.after(since)
            if newest is None and (kept.last or NOTHING) < since == self.last:
                # Redis has lost some. What comes next may have a lesser id, too.
                self.last = kept.last or NOTHING
        for entry in found:
            # It comes from the stream; and what is known once is never forgotten.
            assert entry.id is not None and self.last is not None
            if entry.id > self.last:
                self.last = entry.id
                self._take_once(entry)
        return not whole

    def _take_once(self, entry: Entry) -> None:
        before = self._numbers.pop(entry.origin, 0)
        self._numbers[entry.origin] = max(entry.number, before)
        if len(self._numbers) > MAX_ORIGINS:
            del self._numbers[next(iter(self._numbers))]
        if entry.number > before:
            try:
                self._hand_on(self.room, entry)
            except Exception:
                # What the user's code makes of one is no reason to hear no more.
                logger.exception("an entry of %r could not be delivered", self.room)


def follows(entry_id: EntryId, last: EntryId) -> bool:
    """Return whether there is nothing between two entries of a room."""
    if entry_id.epoch == last.epoch:
        return entry_id.number == last.number + 1
    return entry_id.epoch > last.epoch and entry_id.number == 1
