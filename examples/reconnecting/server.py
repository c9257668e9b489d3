"""A feed: what one says, all get; who was away gets what was missed.

    python examples/reconnecting/server.py [PORT [BUS]]

BUS is redis://HOST; if you don't say it is memory://, where what was said is forgotten
when the process ends.

A client's first message is the id of the last it had, "" for none; what follows is text
for all. It gets

    {"gap": true}                            some of what was missed is lost
    {"id": id, "mark": mark, "text": text}   id is null while the bus is away
"""

import contextlib
import json
import signal
import sys

import gevent

from gws import serve
from gws.rooms import InvalidEntryId, Rooms


#: Seconds for the first message.
PATIENCE = 10


def render(entry):
    """Return what clients get of an entry.

    Who published it, and the number it had there, mark it for ever: by that a client
    knows again what came without an id and comes once more, with one.
    """
    text = entry.message
    return json.dumps(
        {
            "id": str(entry.id) if entry.id else None,
            "mark": f"{entry.origin.hex()}-{entry.number}",
            "text": text if isinstance(text, str) else text.decode(errors="replace"),
        }
    )


class Feed:
    def __init__(self, bus):
        self.rooms = Rooms(bus, history=1000, history_ttl=3600, render=render)

    def handle(self, ws):
        try:
            since = ws.recv(PATIENCE, decode=True)
            with self.rooms.join("feed", ws, since=since) as member:
                if member.gap:
                    ws.send(json.dumps({"gap": True}))
                for text in ws:
                    self.rooms.publish("feed", text)
        except TimeoutError:
            ws.close(1008, "since when?")
        except (InvalidEntryId, UnicodeDecodeError):
            ws.close(1008, "that is no id of this feed")


def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    feed = Feed(sys.argv[2] if len(sys.argv) > 2 else "memory://")
    with (
        contextlib.closing(feed.rooms),
        serve(feed.handle, "localhost", port) as server,
    ):
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, server.close)
        port = server.sockets[0].getsockname()[1]
        print(f"Listening on ws://localhost:{port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
