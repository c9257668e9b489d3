"""Counts of what became of messages, one for each member that they were for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .entry import EntryId


class Published(NamedTuple):
    """What became of a message, in the process that published it."""

    #: For how many members it is with their connection.
    sent: int
    #: For how many it waits, because they read slower than others write.
    queued: int
    #: How many messages were left out, this or older ones.
    dropped: int
    #: How many members were closed for being slow.
    closed: int
    #: Its place in the history of the room; None without one.
    id: EntryId | None = None


@dataclass(slots=True)
class Tally:
    """Counts while they are made; of one message, or of all there were.

    Of all there were, each message for a member counts once in the end: as sent (at
    once, or after it waited), dropped, closed, or discarded; or it still waits.
    """

    sent: int = 0
    queued: int = 0
    dropped: int = 0
    closed: int = 0
    #: What was for a connection that was closing, or waited when it closed or left.
    discarded: int = 0

    def add(self, other: Tally) -> None:
        """Add the counts of another."""
        self.sent += other.sent
        self.queued += other.queued
        self.dropped += other.dropped
        self.closed += other.closed
        self.discarded += other.discarded

    def published(self, entry_id: EntryId | None) -> Published:
        """Return what the counts of one message tell its publisher."""
        return Published(self.sent, self.queued, self.dropped, self.closed, entry_id)
