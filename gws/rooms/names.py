"""The names of rooms, and of their channels on a bus."""

from __future__ import annotations


#: The longest name of a room, in bytes of UTF-8.
MAX_NAME = 512


def check_name(name: str) -> None:
    """Check the name of a room.

    Raises:
        ValueError: if it is empty or too long.
        TypeError: if it is no str.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a room is a str, not {type(name).__name__}")
    if not 0 < len(name.encode()) <= MAX_NAME:
        raise ValueError(f"the name of a room is 1 to {MAX_NAME} bytes of UTF-8")


def channel_of(prefix: str, room: str) -> bytes:
    """Return the channel of a room; its keys begin with it.

    A cluster keeps in one place what is alike from the first "{" to the next "}": that
    must not be empty, whatever the room is called.
    """
    return f"{prefix}:{{room:{room}}}".encode()
