"""One connection's place in one room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..connection import Connection
from .slow import Outlet


if TYPE_CHECKING:
    from .registry import Registry
    from .room import Room


class Membership:
    """What `Rooms.join` returns; its ``with`` leaves at the end.

    Without ``with`` the connection leaves when it closes.
    """

    __slots__ = ("_registry", "gap", "n_joined", "outlet", "room", "turn", "user")

    def __init__(
        self,
        registry: Registry,
        room: Room,
        outlet: Outlet,
        user: str | None,
        gap: bool,
    ) -> None:
        self._registry = registry
        #: The room, as far as it is in this process.
        self.room = room
        #: The way to the connection.
        self.outlet = outlet
        #: Who it is, to others in the room; None is nobody.
        self.user = user
        #: After joining with ``since``, whether some of what was missed is lost.
        self.gap = gap
        #: How often it has joined and not left.
        self.n_joined = 1
        #: The first of the deliveries in turns that is for it; those before were
        #: published before it joined.
        self.turn = room.n_turns

    @property
    def name(self) -> str:
        """The name of the room."""
        return self.room.name

    @property
    def ws(self) -> Connection:
        """The connection."""
        return self.outlet.ws

    def leave(self) -> None:
        """Leave, once for each time it has joined."""
        self._registry.leave_once(self)

    def __enter__(self) -> Membership:
        return self

    def __exit__(self, *args: object) -> None:
        self.leave()
