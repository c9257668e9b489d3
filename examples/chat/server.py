"""A chat: rooms, names, who is here, and what was said while one was away.

    python examples/chat/server.py [--bind HOST] [--port PORT] [--bus URL]

and open the address that it prints. It is one process, unless there is a Redis:

    cd examples/chat && CHAT_BUS=redis://localhost gws serve server:router --workers 2

The WebSocket is at /chat/<room>; the page (/ and /room/<room>) and the rooms that
somebody is in (/rooms) are plain HTTP. Messages are JSON; the client's are

    {"join": name, "key": secret, "since": id}   the first one: who comes again with the
                                                 key keeps the name, and gets all that
                                                 was said after the message with that id
    {"say": text, "mark": mark}                  a mark is the client's own: with it,
                                                 saying something again is no harm

and the server's

    {"type": "welcome", "name": yours}           then comes what was missed, and then
    {"type": "ready", "names": [...], "gap": whether some of it is lost}
    {"type": "said", "name": name, "text": text, "time": seconds, "mark": mark,
     "id": id, or null while the bus is away}
    {"type": "notice", "text": text, "id": id}   what `gws publish` says in a room
    {"type": "joined" | "left", "name": name}
    {"type": "names", "names": [...]}            all who are here, to begin with anew
"""

import argparse
import base64
import contextlib
import hashlib
import json
import os
import re
import secrets
import signal
import time
from pathlib import Path

import gevent
from werkzeug.routing import BaseConverter

from gws import Router, broadcast, serve
from gws.rooms import InvalidEntryId, Rooms


MAX_NAME = 24
MAX_TEXT = 2000
MAX_MARK = 64

#: How many messages of a room are kept, and for how many seconds.
HISTORY = 100
HISTORY_TTL = 7 * 24 * 3600

#: Messages a second, and at once: a page that comes back has some to send.
RATE = (5, 50)

#: Seconds that a visitor has to say who they are.
JOIN_TIMEOUT = 10

#: A room of the rooms, which are its "users". No room of people can be called so.
OPEN_ROOMS = "/"
MAX_SHOWN = 50


# The WebSocket


class BadMessage(Exception):
    """The page sends no such thing."""


class RoomName(BaseConverter):
    """What a room may be called: letters, digits, - and _."""

    regex = r"[\w-]{1,32}"


class Chat:
    """The rooms on a bus, and the router to them."""

    def __init__(self, bus):
        self.rooms = Rooms(
            bus,
            history=HISTORY,
            history_ttl=HISTORY_TTL,
            presence=True,
            render=render,
            on_presence=self.on_presence,
            on_bus_up=self.on_bus_up,
        )
        self.router = Router(process_request=self.answer, converters={"room": RoomName})
        # JSON may need 12 bytes for a character.
        limits = {"max_size": 12 * (MAX_TEXT + MAX_MARK) + 100, "message_rate": RATE}
        self.router.route("/chat/<room:room>", **limits)(self.handle)

    def handle(self, ws, room):
        try:
            self.take_part(ws, room)
        except TimeoutError:
            ws.close(1008, "who are you?")
        except InvalidEntryId:
            ws.close(1008, "that is no id of a message")
        except BadMessage as exc:
            ws.close(1008, str(exc))

    def take_part(self, ws, room):
        """Be in the room until the connection ends."""
        asked = parse(ws.recv(JOIN_TIMEOUT))
        name = " ".join(read(asked, "join", MAX_NAME).split())
        if not name:
            raise BadMessage("a name is needed")
        key = read(asked, "key", MAX_MARK, default=secrets.token_hex())
        # Of the key others see nothing, and other servers only so much.
        who = hashlib.sha256(key.encode()).hexdigest()[:16]
        name = self.free_name(room, name, who)
        since = read(asked, "since", MAX_MARK, default="")
        ws.send(json.dumps({"type": "welcome", "name": name}))
        with (
            self.rooms.join(OPEN_ROOMS, ws, user=room),
            self.rooms.join(room, ws, since=since, user=f"{name}\n{who}") as member,
        ):
            ready = {"type": "ready", "names": self.names(room), "gap": member.gap}
            ws.send(json.dumps(ready))
            for message in ws:
                self.say(room, name, parse(message))

    def say(self, room, name, message):
        text = read(message, "say", MAX_TEXT).strip()
        mark = read(message, "mark", MAX_MARK, default=secrets.token_hex(8))
        if text:
            said = {"type": "said", "name": name, "text": text, "mark": mark}
            self.rooms.publish(room, json.dumps(said | {"time": time.time()}))

    # Who is here

    def free_name(self, room, name, who):
        """Return the name, with a number if somebody else here has it already."""
        users = (user.split("\n") for user in self.rooms.members(room))
        taken = {other.casefold() for other, whose in users if whose != who}
        names = (f"{name} {n}" if n > 1 else name for n in range(1, len(taken) + 2))
        return next(name for name in names if name.casefold() not in taken)

    def names(self, room):
        return sorted({user.split("\n")[0] for user in self.rooms.members(room)})

    def on_presence(self, room, user, came):
        name = user.split("\n")[0]
        if room != OPEN_ROOMS:
            self.tell(room, type="joined" if came else "left", name=name)

    def on_bus_up(self, gap):
        """Tell who is here: while the bus was away, nobody knew of all."""
        for room in self.rooms.members(OPEN_ROOMS):
            self.tell(room, type="names", names=self.names(room))

    def tell(self, room, **message):
        """Tell those who are in a room, in this process."""
        broadcast(self.rooms.connections(room), json.dumps(message))

    # Plain HTTP

    def answer(self, ws, request):
        """Answer plain requests; None leaves the rest to the router."""
        path = request.path.partition("?")[0]
        if path == "/" or path.startswith("/room/"):
            return 200, PAGE_HEADERS, PAGE
        if path == "/rooms":
            names = sorted(self.rooms.members(OPEN_ROOMS))[:MAX_SHOWN]
            people = {name: len(self.names(name)) for name in names}
            headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
            return 200, headers | SAFE_HEADERS, json.dumps(people).encode()
        return None


# Messages


def parse(message):
    """Return the fields of a message from the page."""
    try:
        fields = json.loads(message)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise BadMessage("that is no message of this chat")
    return fields


def read(fields, name, limit, default=None):
    """Return the text of a field, without control characters."""
    if name not in fields and default is None:
        raise BadMessage("that is no message of this chat")
    text = fields.get(name, default)
    if not isinstance(text, str) or len(text) > limit:
        raise BadMessage(f"that is no text of at most {limit} characters")
    return "".join(char for char in text if char.isprintable() or char in "\n\u200d")


def render(entry):
    """Return what pages get of an entry: by its id they can ask for what follows."""
    try:
        fields = parse(entry.message)
    except BadMessage:
        text = entry.message
        text = text if isinstance(text, str) else text.decode(errors="replace")
        fields = {"type": "notice", "text": text}
    return json.dumps(fields | {"id": str(entry.id) if entry.id else None})


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

BUS = os.environ.get("CHAT_BUS", "memory://")

#: For ``gws serve``. Nothing is opened before the first one comes.
router = Chat(BUS).router


def main():
    parser = argparse.ArgumentParser(description="A chat in the browser.")
    parser.add_argument("--bind", metavar="HOST", default="localhost")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--bus", metavar="URL", default=BUS, help="redis://HOST")
    args = parser.parse_args()
    chat = Chat(args.bus)
    with (
        contextlib.closing(chat.rooms),
        serve(chat.router, args.bind, args.port) as server,
    ):
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, server.close)
        host = f"[{args.bind}]" if ":" in args.bind else args.bind
        port = server.sockets[0].getsockname()[1]
        print(f"Open http://{host}:{port}/", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
