"""gws in one process, without Redis: rooms, or broadcast as what they cost more than.

    gws_one_server.py PORT rooms|broadcast

/N joins the room N; what a member sends goes to all members. /hold answers with the
longest time, in seconds, for which the loop came to nobody else since it was asked.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable

import gevent

from gws import ServerConnection, broadcast, serve
from gws.rooms import Rooms


#: Seconds between two looks at the clock.
BEAT = 0.001


class Watch:
    """A greenlet that wants to run each `BEAT`, and how late it was at most."""

    def __init__(self) -> None:
        self.longest = 0.0

    def run(self) -> None:
        """Never return."""
        while True:
            before = time.monotonic()
            gevent.sleep(BEAT)
            late = time.monotonic() - before - BEAT
            self.longest = max(self.longest, late)

    def answer(self, ws: ServerConnection) -> None:
        """Tell the longest time, and begin anew."""
        longest, self.longest = self.longest, 0.0
        ws.send(str(longest))


def in_rooms(ws: ServerConnection) -> None:
    name = ws.path[1:]
    with rooms.join(name, ws):
        ws.send("joined")
        for message in ws:
            rooms.publish(name, message)


def in_sets(ws: ServerConnection) -> None:
    members = sets[ws.path]
    members.add(ws)
    try:
        ws.send("joined")
        for message in ws:
            broadcast(members, message)
    finally:
        members.discard(ws)


HANDLERS: dict[str, Callable[[ServerConnection], None]] = {
    "rooms": in_rooms,
    "broadcast": in_sets,
}

rooms = Rooms()
sets: defaultdict[str, set[ServerConnection]] = defaultdict(set)
watch = Watch()


if __name__ == "__main__":
    join = HANDLERS[sys.argv[2]]

    def handler(ws: ServerConnection) -> None:
        (watch.answer if ws.path == "/hold" else join)(ws)

    gevent.spawn(watch.run)
    with serve(handler, "127.0.0.1", int(sys.argv[1])) as server:
        server.serve_forever()
