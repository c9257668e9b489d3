"""A chat: rooms by path, and their page, all on one port.

    python examples/chat/server.py [--bind HOST] [--port PORT]

and open the address that it prints. The WebSocket is at /chat/<room>. The page (/ and
/room/<room>) and the list of rooms (/rooms) are answered by process_request, as plain
HTTP. Messages are JSON; the client's are

    {"join": name}                           the first one
    {"say": text}

and the server's

    {"type": "welcome", "name": yours, "names": [...], "recent": [...]}
    {"type": "joined" | "left", "name": name}
    {"type": "said", "name": name, "text": text, "time": seconds}
"""

import argparse
import base64
import collections
import hashlib
import json
import re
import signal
import time
from pathlib import Path

import gevent
from werkzeug.routing import BaseConverter

from gws import Router, broadcast, serve


MAX_NAME = 24
MAX_TEXT = 2000
MAX_RECENT = 50

#: Seconds that a visitor has to say who they are.
JOIN_TIMEOUT = 10


# Rooms


class Room:
    """Who is here, and what was said last."""

    def __init__(self):
        self.names = {}
        self.recent = collections.deque(maxlen=MAX_RECENT)

    def tell(self, **message):
        broadcast(self.names, json.dumps(message))

    def free_name(self, name):
        """Return the name, with a number if somebody here has it already."""
        taken = set(self.names.values())
        names = (f"{name} {n}" if n > 1 else name for n in range(1, len(taken) + 2))
        return next(name for name in names if name not in taken)


#: The rooms that somebody is in.
rooms = {}


# The WebSocket


class BadMessage(Exception):
    """The page sends no such thing."""


class RoomName(BaseConverter):
    """What a room may be called: letters, digits, - and _."""

    regex = r"[\w-]{1,32}"


def pages(ws, request):
    """Answer plain requests; None leaves the rest to the router."""
    path = request.path.partition("?")[0]
    if path == "/" or path.startswith("/room/"):
        return 200, PAGE_HEADERS, PAGE
    if path == "/rooms":
        people = {name: len(room.names) for name, room in rooms.items()}
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        return 200, headers | SAFE_HEADERS, json.dumps(people).encode()
    return None


router = Router(process_request=pages, converters={"room": RoomName})


# JSON may need 12 bytes for a character.
@router.route("/chat/<room:room_name>", max_size=12 * MAX_TEXT + 100)
def chat(ws, room_name):
    try:
        name = " ".join(read(ws.recv(JOIN_TIMEOUT), "join", MAX_NAME).split())
        if not name:
            raise BadMessage("a name is needed")
        take_part(ws, room_name, name)
    except TimeoutError:
        ws.close(1008, "who are you?")
    except BadMessage as exc:
        ws.close(1008, str(exc))


def take_part(ws, room_name, name):
    """Be in the room until the connection ends."""
    room = rooms.setdefault(room_name, Room())
    name = room.free_name(name)
    room.tell(type="joined", name=name)
    room.names[ws] = name
    try:
        names = sorted(room.names.values())
        welcome = {"type": "welcome", "name": name, "names": names}
        ws.send(json.dumps(welcome | {"recent": list(room.recent)}))
        for message in ws:
            text = read(message, "say", MAX_TEXT).strip()
            if text:
                said = {"name": name, "text": text, "time": time.time()}
                room.recent.append(said)
                room.tell(type="said", **said)
    finally:
        del room.names[ws]
        room.tell(type="left", name=name)
        if not room.names:
            del rooms[room_name]


def read(message, kind, limit):
    """Return the text of a message from the page, without control characters."""
    try:
        text = json.loads(message)[kind]
    except (ValueError, TypeError, LookupError, RecursionError):
        raise BadMessage("that is no message of this chat") from None
    if not isinstance(text, str) or len(text) > limit:
        raise BadMessage(f"that is no text of at most {limit} characters")
    return "".join(char for char in text if char.isprintable() or char in "\n\u200d")


# The page


def hash_of(tag, page):
    """Return the hash by which a Content-Security-Policy knows an inline element."""
    (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def policy(page):
    """Allow the page what it has in it, and nothing else."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {hash_of('script', page)}",
            f"style-src {hash_of('style', page)}",
            "img-src data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


TEXT = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
PAGE = TEXT.encode()
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": policy(TEXT),
    "Cache-Control": "no-cache",
    **SAFE_HEADERS,
}


def main():
    parser = argparse.ArgumentParser(description="A chat in the browser.")
    parser.add_argument("--bind", metavar="HOST", default="localhost")
    parser.add_argument("--port", type=int, default=8765)
    args = parser.parse_args()
    with serve(router, args.bind, args.port) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, server.close)
        host = f"[{args.bind}]" if ":" in args.bind else args.bind
        port = server.sockets[0].getsockname()[1]
        print(f"Open http://{host}:{port}/", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
