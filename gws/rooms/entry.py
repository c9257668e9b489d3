"""What is published in a room, and the name of its place in the room's history.

A `Bus` takes entries and gives them back; `Rooms` makes messages of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple


#: "EPOCH-NUMBER", as clients send it back to say what they saw last.
_form = re.compile(r"([0-9]{1,16})-([0-9]{1,16})", re.ASCII)


class InvalidEntryId(ValueError):
    """What should be the id of an entry is none."""


class EntryId(NamedTuple):
    """The place of an entry in the history of its room.

    Ids of one room grow; within an epoch their numbers have no holes. A history that
    began anew, because nothing of the old one is left, is another epoch.
    """

    epoch: int
    """Which history of the room."""
    number: int
    """Which entry of it, from 1 on."""

    @classmethod
    def parse(cls, text: str) -> EntryId:
        """Return the id that ``text`` shows.

        Raises:
            InvalidEntryId: if it shows none.
        """
        match = _form.fullmatch(text)
        if match is None:
            raise InvalidEntryId(f"{text[:50]!r} is not the id of an entry")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.epoch}-{self.number}"


@dataclass(slots=True)
class Entry:
    """One message, on its way to the members of a room."""

    #: str is sent as Text, bytes as Binary.
    message: str | bytes
    #: Who published it, by a process's own, random name.
    origin: bytes
    #: What tells apart the entries of one origin; it grows.
    number: int
    #: With the slow-consumer policy "latest" it takes the place of those of the
    #: same key.
    key: str | None = None
    #: Its place in the history; None where none is kept.
    id: EntryId | None = None
