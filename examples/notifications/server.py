"""Tells people what other programs have for them.

    python examples/notifications/server.py [PORT]

It needs a Redis, at REDIS_URL or redis://localhost. Each user has a room, and is
asked for name and password; whoever connects several times is told several times:

    gws connect ws://ann:apple@localhost:8765/

Then tell ann something, with notify.py or `gws publish`: see README.md.
"""

import contextlib
import json
import os
import signal
import sys
from urllib.parse import parse_qs

import gevent

from gws import basic_auth, serve
from gws.rooms import InvalidEntryId, Rooms


BUS = os.environ.get("REDIS_URL", "redis://localhost")

#: Who may come, and their passwords.
USERS = [("ann", "apple"), ("bob", "banana")]


def render(entry):
    """Return what a user gets: with the id, so as to ask for what follows."""
    text = entry.message
    text = text if isinstance(text, str) else text.decode(errors="replace")
    return json.dumps({"id": str(entry.id) if entry.id else None, "text": text})


# History is for who is away: it is kept for a week. notify.py has the same numbers.
rooms = Rooms(BUS, history=100, history_ttl=7 * 24 * 3600, render=render)


def notifications(ws):
    """Send what the user has missed since ?since=ID, then what comes."""
    query = parse_qs(ws.path.partition("?")[2])
    try:
        # Without an id: all that is kept.
        since = query.get("since", [""])[0]
        with rooms.join(f"user:{ws.username}", ws, since=since) as member:
            if member.gap:
                ws.send(json.dumps({"gap": True}))
            for _ in ws:
                ws.close(1008, "there is nothing to say here")
    except InvalidEntryId:
        ws.close(1008, "since is not the id of a notification")


def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    server = serve(
        notifications,
        "localhost",
        port,
        process_request=basic_auth("notifications", USERS),
        max_size=2**10,
    )
    with contextlib.closing(rooms), server:
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, server.close)
        port = server.sockets[0].getsockname()[1]
        print(f"Listening on ws://localhost:{port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
