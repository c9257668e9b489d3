"""Who is in which room of this process: connections come and go, rooms with them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from ..connection import Connection
from .membership import Membership
from .presence import Presence
from .room import Room
from .slow import Outlet
from .tally import Tally


class Registry:
    """The rooms of this process, and the connections in them.

    Args:
        policy, budget: of `Outlet`.
        totals: counts what becomes of all messages.
        presence: told of the users who come and go.
        on_empty: called with the name of a room that nobody needs any more.
    """

    def __init__(
        self,
        policy: str,
        budget: int,
        totals: Tally,
        presence: Presence,
        on_empty: Callable[[str], object],
    ) -> None:
        self._policy = policy
        self._budget = budget
        self._totals = totals
        self._presence = presence
        self._on_empty = on_empty
        #: By name, those that somebody is in, or on the way in.
        self.rooms: dict[str, Room] = {}
        # Of each connection that has joined a room, until it closes.
        self._outlets: dict[Connection, Outlet] = {}
        # Those for which something waits.
        self._behind: set[Connection] = set()
        # What a fork inherits is its parent's.
        self._pid = os.getpid()

    # Public methods

    def begin_join(self, name: str) -> Room:
        """Return a room, and keep it until `end_join`."""
        room = self.rooms.get(name)
        if room is None:
            room = self.rooms[name] = Room(name, self._totals, self._behind)
        room.n_joining += 1
        return room

    def end_join(self, room: Room) -> None:
        """Undo `begin_join`; who has joined meanwhile stays."""
        room.n_joining -= 1
        self._tidy(room)

    def add(
        self, room: Room, ws: Connection, user: str | None, gap: bool
    ) -> Membership:
        """Have a connection join, once more if it has before.

        Raises:
            ConnectionClosed: if it is closed.
        """
        ws.check_open()  # else nobody would ever remove it
        member = room.members.get(ws)
        if member is not None:
            member.n_joined += 1
            return member
        outlet = self._outlets.get(ws)
        if outlet is None:
            outlet = Outlet(ws, self._policy, self._budget, self._totals, self._behind)
            self._outlets[ws] = outlet
            ws.call_when_closed(functools.partial(self._forget, ws))
        member = Membership(self, room, outlet, user, gap)
        outlet.memberships.append(member)
        room.add(member)
        self._presence.enter(room.name, user)
        return member

    def leave(self, name: str, ws: Connection) -> None:
        """Have a connection leave, once; no matter if it is not there."""
        room = self.rooms.get(name)
        member = None if room is None else room.members.get(ws)
        if member is not None:
            self.leave_once(member)

    def leave_once(self, member: Membership) -> None:
        """Undo one `add`; what waits of the room is discarded with the last."""
        if member.n_joined == 1:
            self._remove(member)
        elif member.n_joined:
            member.n_joined -= 1

    def leave_all(self) -> None:
        """Have all leave; their connections stay open."""
        self.rooms.clear()
        for ws in list(self._outlets):
            self._forget(ws)

    # Private methods

    def _forget(self, ws: Connection) -> None:
        # It has closed, and the hub calls this; or all leave.
        outlet = self._outlets.pop(ws, None)
        if outlet is not None:
            outlet.clear()
            for member in list(outlet.memberships):
                self._remove(member)

    def _remove(self, member: Membership) -> None:
        if self._pid != os.getpid():
            return
        room, outlet = member.room, member.outlet
        member.n_joined = 0
        room.remove(member)
        outlet.memberships.remove(member)
        outlet.discard(room.name)
        self._tidy(room)
        self._presence.leave(room.name, member.user)

    def _tidy(self, room: Room) -> None:
        # Nobody is in it, nobody comes: nobody needs it.
        if room.is_empty() and self.rooms.get(room.name) is room:
            del self.rooms[room.name]
            self._on_empty(room.name)
