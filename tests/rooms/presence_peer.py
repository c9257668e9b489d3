"""A process with rooms over Redis, where users are: its arguments are URL and lease.

It does what each line of JSON says, as `Peer` of tests/conftest.py writes them:
["join", ROOM, USERS], ["leave", ROOM, USERS], ["members", ROOM], ["events"] or, until
it is killed, ["clean", ROOM].
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import Any

import gevent
from gevent.fileobject import FileObjectPosix

from gws.rooms import Rooms
from gws.testing import pair


def main(url: str, lease: str) -> None:
    events: list[tuple[str, str, bool]] = []
    rooms = Rooms(
        url,
        presence=True,
        presence_lease=float(lease),
        on_presence=lambda *event: events.append(event),
    )
    joined: dict[tuple[str, str], Any] = {}
    commands = FileObjectPosix(sys.stdin.fileno(), "rb", closefd=False)
    with ExitStack() as stack:
        for line in commands:
            verb, *args = json.loads(line)
            answer: Any = None
            if verb == "join":
                for user in args[1]:
                    _, server = stack.enter_context(pair())
                    joined[args[0], user] = rooms.join(args[0], server, user=user)
            elif verb == "leave":
                for user in args[1]:
                    joined.pop((args[0], user)).leave()
            elif verb == "events":
                answer = events
            elif verb == "clean":
                gevent.spawn(clean, rooms, args[0])
            # Whatever was done before is done in Redis, too, when that is answered.
            if verb != "events":
                answer = sorted(rooms.members(args[0]))
            print(json.dumps(answer), flush=True)


def clean(rooms: Rooms, room: str) -> None:
    while True:
        rooms.members(room)


main(*sys.argv[1:])
