"""A room in this process: its members, and the delivery of a message to all of them.

A message for few goes out at once. One for many takes its turn and goes out slice by
slice, so that the loop comes to others in between; a greenlet of the room does it: who
kills the publisher does not stop half way what it published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from ..connection import Connection
from ..greenlets import getcurrent
from ..prepared import PreparedMessage
from ..sender import send_each
from .entry import Entry, EntryId
from .membership import Membership
from .tally import Tally


if TYPE_CHECKING:
    from .catchup import CatchingUp


#: How many members get a message, and of how many bytes in all, before the loop comes
#: to others. Framing and the system call take some 3 us a member, several times that
#: where nothing is compiled: a few milliseconds a slice.
SLICE = 500
SLICE_BYTES = 2**22

#: In seconds: at the next turn of the loop. After 0 it would be in this one, before
#: the loop has looked at timers and sockets.
NEXT_TURN = 1e-9


class Delivery:
    """A message on its way to the members of a room in this process.

    Args:
        room: its name.
        exclude: the connection that does not get it.
    """

    __slots__ = (
        "awaited",
        "begun",
        "done",
        "entry",
        "exclude",
        "prepared",
        "room",
        "tally",
        "turn",
    )

    #: What members get; there from the beginning of the delivery on.
    prepared: PreparedMessage

    def __init__(self, room: str, entry: Entry, exclude: Connection | None) -> None:
        self.room = room
        self.entry = entry
        self.exclude = exclude
        #: The bus has taken it, and gives it back.
        self.awaited = False
        #: Once: from now on nobody else is to deliver it.
        self.begun = False
        #: Its number among the deliveries that take turns.
        self.turn = 0
        self.tally = Tally()
        #: Set once all members have it.
        self.done = Event()


class Room:
    """The members of a room in this process.

    Args:
        totals: counts what becomes of all messages.
        slow: the connections to which nothing may be sent past their outlet.
    """

    __slots__ = (
        "_connections",
        "_delivering",
        "_slow",
        "_totals",
        "_turns",
        "catching_up",
        "members",
        "n_joining",
        "n_turns",
        "name",
        "seen",
        "subscribed",
    )

    def __init__(self, name: str, totals: Tally, slow: set[Connection]) -> None:
        self.name = name
        self._totals = totals
        self._slow = slow
        self.members: dict[Connection, Membership] = {}
        # Their connections, until one joins or leaves: not gathered for each message.
        self._connections: tuple[Connection, ...] | None = None
        #: Those that are sent what they had missed.
        self.catching_up: dict[Connection, CatchingUp] = {}
        #: Those that have been, and the last entry that they got so: the bus may
        #: bring it yet.
        self.seen: dict[Connection, EntryId] = {}
        #: How many are on their way in.
        self.n_joining = 0
        #: The bus gives us what others publish.
        self.subscribed = False
        #: How many deliveries have taken turns.
        self.n_turns = 0
        # Those to come.
        self._turns: list[Delivery] = []
        self._delivering = False

    def is_empty(self) -> bool:
        """Tell whether nobody needs the room."""
        return not (self.members or self.n_joining)

    def add(self, member: Membership) -> None:
        """Take in a member."""
        self.members[member.ws] = member
        self._connections = None

    def remove(self, member: Membership) -> None:
        """Undo `add`."""
        del self.members[member.ws]
        self.seen.pop(member.ws, None)
        self._connections = None

    def connections(self) -> tuple[Connection, ...]:
        """Return the connections of all members."""
        if self._connections is None:
            self._connections = tuple(self.members)
        return self._connections

    def deliver(self, delivery: Delivery) -> None:
        """Give a message to all members; it is ``done`` once they have it.

        It does not wait.
        """
        for ws, held in list(self.catching_up.items()):
            if ws is not delivery.exclude:
                held.put(delivery)
        if self._delivering or len(self.members) > _slice_of(delivery.prepared):
            self._take_turn(delivery)
            return
        try:
            self._deliver_to(self.connections(), delivery)
        finally:
            self._finish(delivery)

    # Private methods

    def _take_turn(self, delivery: Delivery) -> None:
        delivery.turn = self.n_turns
        self.n_turns += 1
        self._turns.append(delivery)
        if not self._delivering:
            self._delivering = True
            gevent.spawn(self._deliver_all)

    def _deliver_all(self) -> None:
        try:
            while self._turns:
                delivery = self._turns.pop(0)
                try:
                    self._deliver_in_slices(delivery)
                finally:
                    self._finish(delivery)
        finally:
            self._delivering = bool(self._turns)
            if self._turns:  # whatever ended this one, others wait for theirs
                gevent.spawn(self._deliver_all)

    def _deliver_in_slices(self, delivery: Delivery) -> None:
        # Who has joined since it was published is too late for it; who has left does
        # not get it.
        connections = self.connections()
        n = _slice_of(delivery.prepared)
        for start in range(0, len(connections), n):
            there = [
                ws
                for ws in connections[start : start + n]
                if (member := self.members.get(ws)) is not None
                and member.turn <= delivery.turn
            ]
            self._deliver_to(there, delivery)
            gevent.sleep(NEXT_TURN)

    def _deliver_to(
        self, connections: Sequence[Connection], delivery: Delivery
    ) -> None:
        prepared, tally = delivery.prepared, delivery.tally
        if self.seen:
            connections = self._without_seen(connections, delivery.entry.id)
        slow: list[Connection] = []
        if self._slow:
            slow = [ws for ws in connections if ws in self._slow]
            connections = [ws for ws in connections if ws not in self._slow]
        refused = send_each(connections, prepared, delivery.exclude)
        tally.sent += len(connections) - len(refused)
        for ws in (*slow, *refused):
            member = self.members.get(ws)
            if ws is delivery.exclude:
                continue
            if member is None:  # it has left since
                tally.discarded += 1
            else:
                member.outlet.put(prepared, (self.name, delivery.entry.key), tally)

    def _without_seen(
        self, connections: Sequence[Connection], entry_id: EntryId | None
    ) -> list[Connection]:
        # Those that did not get the entry when they caught up.
        found = []
        for ws in connections:
            seen = self.seen.get(ws)
            if seen is None or entry_id is None:
                found.append(ws)
            elif entry_id > seen:
                del self.seen[ws]  # all that comes now is newer
                found.append(ws)
        return found

    def _finish(self, delivery: Delivery) -> None:
        self._totals.add(delivery.tally)
        delivery.done.set()


def can_wait() -> bool:
    """Tell whether this greenlet can wait: all but the hub can."""
    return getcurrent() is not gevent.get_hub()


def _slice_of(prepared: PreparedMessage) -> int:
    # How many members get a message before the loop comes to others.
    return max(1, min(SLICE, SLICE_BYTES // (prepared.size + 1)))
