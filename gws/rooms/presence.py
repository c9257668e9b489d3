"""Who is in which room: users come with their first connection, go with their last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from .room import can_wait


#: Called with (room, user, whether the user came).
OnPresence = Callable[[str, str, bool], object]

#: The longest name of a user, in bytes of UTF-8.
MAX_USER = 512


def check_user(user: str | None) -> None:
    """Check the name of a user; None is nobody.

    Raises:
        ValueError: if it is empty, too long or no Unicode.
        TypeError: if it is no str.
    """
    if user is None:
        return
    if not isinstance(user, str):
        raise TypeError(f"the name of a user is a str, not {type(user).__name__}")
    if not 0 < len(user.encode()) <= MAX_USER:
        raise ValueError(f"the name of a user is 1 to {MAX_USER} bytes of UTF-8")


class SharedPresence(Protocol):
    """Who is in which room, over all processes; `Bus.presence` gives one."""

    def enter(self, room: str, user: str | None) -> None:
        """Take note of the first connection of a user here; does not wait.

        Args:
            user: None is nobody, who is there to hear of others.
        """

    def leave(self, room: str, user: str | None) -> None:
        """Take note that the last one has left; does not wait.

        Args:
            user: as for `enter`.
        """

    def users(self, room: str) -> set[str] | None:
        """Return who is in a room, in any process; None if that can't be told now."""


class Presence:
    """The users in the rooms of this process.

    Args:
        tell: told of each who comes or goes; where presence is shared, the bus tells
            it. It does not wait.
    """

    def __init__(self, tell: OnPresence) -> None:
        self._tell = tell
        # How many connections of each user; None has those of nobody.
        self._users: dict[str, Counter[str | None]] = {}
        self._shared: SharedPresence | None = None

    def share(self, shared: SharedPresence) -> None:
        """Have other processes know; nobody is here yet."""
        self._shared = shared

    def enter(self, room: str, user: str | None) -> None:
        """Take note that a connection of a user has joined; None is nobody."""
        users = self._users.setdefault(room, Counter())
        users[user] += 1
        if users[user] > 1:
            return
        if self._shared is not None:
            self._shared.enter(room, user)
        elif user is not None:
            self._tell(room, user, True)

    def leave(self, room: str, user: str | None) -> None:
        """Take note that one has left."""
        users = self._users[room]
        users[user] -= 1
        if users[user]:
            return
        del users[user]
        if not users:
            del self._users[room]
        if self._shared is not None:
            self._shared.leave(room, user)
        elif user is not None:
            self._tell(room, user, False)

    def users(self, room: str) -> set[str]:
        """Return who is in a room; of this process only, if no other can be asked."""
        others = None
        if self._shared is not None and can_wait():
            others = self._shared.users(room)
        here = self._users.get(room, ())
        return {user for user in here if user is not None} | (others or set())
