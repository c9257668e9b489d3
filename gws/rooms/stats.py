"""`Rooms` in, the numbers out that tell how they are."""

from __future__ import annotations

from typing import NamedTuple

from .bus import BusStats
from .rooms import Rooms


class Stats(NamedTuple):
    """How the rooms of this process are; all counts are of all the time."""

    #: What happens to members that read too slowly.
    policy: str
    n_rooms: int
    n_members: int
    #: Messages for members: with their connection, left out, and those after which
    #: one was closed.
    n_sent: int
    n_dropped: int
    n_closed: int
    bus: BusStats


def stats_of(rooms: Rooms) -> Stats:
    """Return how rooms are."""
    here = rooms._registry.rooms
    totals = rooms.totals
    return Stats(
        policy=rooms._slow,
        n_rooms=len(here),
        n_members=sum(len(room.members) for room in list(here.values())),
        n_sent=totals.sent,
        n_dropped=totals.dropped,
        n_closed=totals.closed,
        bus=getattr(rooms._bus, "stats", BusStats()),
    )
