"""A board of counters that all see, and all may change at the same time.

    python examples/counter/server.py [PORT]

and open the address that it prints, in two windows. The page at / is plain HTTP; the
WebSocket is at /board. Messages are JSON; the client's are

    {"hello": secret}                            the first one
    {"add": n, "to": name, "seq": seq}           its steps, numbered from 1; a counter
                                                 begins with the first step to it

and the server's

    {"type": "board", "counters": {name: value}, the answer to "hello", and the whole
     "you": number, "done": seq}                 state; up to `done` all steps are in it
    {"type": "value", "counter": name,           each step, to all, in one order; who
     "value": value, "by": number, "seq": seq}   sent it knows by it that it is done

Clients send steps, not values, so no step of another one is lost; the server counts.
A client that was cut off can't know which of its last steps have arrived. It comes
again with the same secret, learns it from the board, and sends those that have not:
each counts once. That nothing is missing in between is for the room to see to: its
members get all, or are closed for being slow and come again.
"""

import argparse
import itertools
import json
import signal
from collections import OrderedDict
from pathlib import Path

import gevent

from gws import Router, serve
from gws.rooms import Rooms


ROOM = "board"
FIRST_COUNTERS = ("coffee", "tea", "water")

MAX_COUNTERS = 24
MAX_NAME = 24
MAX_SECRET = 64
MAX_STEP = 1000
MAX_SEQ = 2**53  # as far as JavaScript counts

#: Of how many clients the server remembers which steps they have done.
MAX_CLIENTS = 10_000

#: Steps a second, and at once: a page that comes back has some to send.
RATE = (50, 200)

#: Seconds that a client has to say hello.
HELLO_TIMEOUT = 10


class BadMessage(Exception):
    """The page sends no such thing."""


class Client:
    """What is known of who has said hello."""

    def __init__(self, number):
        self.number = number
        self.done = 0


class Board:
    """The counters, who has changed them, and the router to them."""

    def __init__(self):
        self.counters = dict.fromkeys(FIRST_COUNTERS, 0)
        self.clients = OrderedDict()  # by secret; who has come last is the last
        self.numbers = itertools.count(1)
        self.rooms = Rooms()
        self.router = Router(process_request=answer)
        limits = {"max_size": 2**10, "message_rate": RATE}
        self.router.route("/board", **limits)(self.handle)

    def handle(self, ws):
        try:
            self.take_part(ws)
        except TimeoutError:
            ws.close(1008, "who are you?")
        except BadMessage as exc:
            ws.close(1008, str(exc))

    def take_part(self, ws):
        secret = read_text(parse(ws.recv(HELLO_TIMEOUT)), "hello", MAX_SECRET)
        client = self.client(secret)
        with self.rooms.join(ROOM, ws):
            # Nothing switches in between: the steps that come are those that follow.
            ws.send(json.dumps(self.state_for(client)))
            for message in ws:
                self.step(client, parse(message))

    def client(self, secret):
        client = self.clients.pop(secret, None) or Client(next(self.numbers))
        self.clients[secret] = client
        while len(self.clients) > MAX_CLIENTS:
            self.clients.popitem(last=False)
        return client

    def state_for(self, client):
        return {
            "type": "board",
            "counters": self.counters,
            "you": client.number,
            "done": client.done,
        }

    def step(self, client, message):
        name = read_text(message, "to", MAX_NAME)
        by = read_int(message, "add", -MAX_STEP, MAX_STEP)
        seq = read_int(message, "seq", 1, MAX_SEQ)
        if seq <= client.done:
            return  # it has come on an earlier connection
        if name not in self.counters and len(self.counters) >= MAX_COUNTERS:
            raise BadMessage(f"there are {MAX_COUNTERS} counters already")
        # From here on nothing switches until it is published: all get all steps in
        # the order in which they were counted.
        client.done = seq
        self.counters[name] = value = self.counters.get(name, 0) + by
        done = {"counter": name, "value": value, "by": client.number, "seq": seq}
        self.rooms.publish(ROOM, json.dumps({"type": "value"} | done))


# Messages


def parse(message):
    """Return the fields of a message from the page."""
    try:
        fields = json.loads(message)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise BadMessage("that is no message of this board")
    return fields


def read_text(fields, name, limit):
    text = fields.get(name)
    if not isinstance(text, str) or not 0 < len(text) <= limit:
        raise BadMessage(f"{name} is no text of 1 to {limit} characters")
    return text


def read_int(fields, name, low, high):
    number = fields.get(name)
    if type(number) is not int or not low <= number <= high:
        raise BadMessage(f"{name} is no integer from {low} to {high}")
    return number


# The page

PAGE = Path(__file__).with_name("page.html").read_bytes()
PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    # What is in the page, and the WebSocket; nothing from elsewhere.
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; img-src data:; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def answer(ws, request):
    """Answer plain requests; None leaves the rest to the router."""
    if request.path.partition("?")[0] == "/":
        return 200, PAGE_HEADERS, PAGE
    return None


def main():
    parser = argparse.ArgumentParser(description="Counters that all may change.")
    parser.add_argument("port", type=int, nargs="?", default=8765)
    args = parser.parse_args()
    with serve(Board().router, "localhost", args.port) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, server.close)
        port = server.sockets[0].getsockname()[1]
        print(f"Open http://localhost:{port}/", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
