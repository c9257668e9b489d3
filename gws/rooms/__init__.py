"""Rooms: what one says, all who joined hear; in one process, or over Redis in many."""

from typing import TYPE_CHECKING, Any

from .bus import Bus as Bus
from .bus import Receiver as Receiver
from .entry import Entry as Entry
from .entry import EntryId as EntryId
from .entry import InvalidEntryId as InvalidEntryId
from .membership import Membership as Membership
from .memory import MemoryBus as MemoryBus
from .presence import SharedPresence as SharedPresence
from .rooms import Rooms as Rooms
from .tally import Published as Published


if TYPE_CHECKING:
    from .publisher import Publisher as Publisher


def __getattr__(name: str) -> Any:
    # It needs redis-py, which rooms of one process do without.
    if name == "Publisher":
        from .publisher import Publisher

        return Publisher
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
