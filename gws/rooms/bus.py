"""The seam between rooms and what carries entries from process to process.

`Rooms` calls a `Bus`; the bus calls its `Receiver`, which is `Rooms`. A bus keeps the
history, too, if there is one: only it can tell the order of what many publish.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from .entry import Entry, EntryId
from .presence import SharedPresence


class Receiver(Protocol):
    """What a bus calls, in a greenlet of its own, never in the hub's."""

    def on_entry(self, room: str, entry: Entry) -> None:
        """Take an entry of a room that was subscribed to; may wait a little."""

    def on_down(self, exc: Exception) -> None:
        """Take note that the bus is gone; entries go on in this process only."""

    def on_up(self, gap: bool) -> None:
        """Take note that the bus is there again.

        Args:
            gap: whether entries of others may have been missed meanwhile.
        """

    def on_presence(self, room: str, user: str, came: bool) -> None:
        """Take note that a user has come or gone, in any process; does not wait.

        A bus calls this only if it was asked for `presence`.
        """


class BusStats(NamedTuple):
    """How a bus is; a `Bus` that has more to tell than this has it as ``stats``."""

    #: Whether it is there.
    up: bool = True
    #: How many seconds the last exchange with what is behind it took.
    lag: float = 0.0
    #: How often messages of a room may have been missed.
    n_gaps: int = 0
    #: How many messages came that were none; how many were lost, because too many
    #: waited; how many were refused.
    n_invalid: int = 0
    n_lost: int = 0
    n_refused: int = 0


class Bus(Protocol):
    """Carries entries between the processes that have members in a room.

    Its methods are called in greenlets. None waits longer than the deadline of the
    bus, whatever has become of what is behind it.
    """

    def presence(self, lease: float) -> SharedPresence | None:
        """Return what tells who is in a room over all processes; called before `start`.

        Args:
            lease: seconds after which the users of a process that was killed are gone.

        Returns:
            None if there is only this process.
        """

    def start(self, receiver: Receiver) -> None:
        """Begin to work; called before anything else but `presence`.

        Args:
            receiver: whom to tell of what comes.
        """

    def publish(self, room: str, entry: Entry) -> bool:
        """Hand an entry to the others, and give it its id if history is kept.

        Returns:
            Whether it comes back by `Receiver.on_entry`, in its turn; if not, it is
            the caller's to deliver in this process. `Receiver.on_down` says that
            what has not come back will not.
        """

    def subscribe(self, room: str) -> None:
        """Have the entries of a room come; when it returns they do, or the bus is down
        and will see to it as soon as it is up."""

    def unsubscribe(self, room: str) -> None:
        """Have them come no longer; does not wait."""

    def read(self, room: str, since: EntryId | None) -> tuple[list[Entry], bool]:
        """Return the entries after ``since``, oldest first.

        Args:
            since: None returns all that are kept.

        Returns:
            The entries, and whether that is all there was; if not, there is a gap.
        """

    def close(self) -> None:
        """End all that the bus has; what was published before is handed on first,
        within the deadline."""
