"""A client that stays connected, and shows each message once.

    python examples/reconnecting/client.py [URI]

URI is ws://localhost:8765 if you don't say: the address of server.py. Stop the server
and start it again meanwhile. SIGINT (Ctrl-C) or SIGTERM ends it.
"""

import collections
import contextlib
import functools
import json
import logging
import signal
import sys

import gevent

from gws import CloseCode, ConnectionClosed, backoff, connect


#: The first attempt after up to a second, the next after 1 s, 1.6 s, ... 60 s. The
#: random second keeps the clients of a server that comes back from coming all at once.
delays = functools.partial(backoff, initial_delay=1, min_delay=1, max_delay=60)

#: How many messages are known again.
MAX_KNOWN = 1000


class Feed:
    """What a client has of the feed, from one connection to the next."""

    def __init__(self):
        self.last = ""
        self.known = collections.deque(maxlen=MAX_KNOWN)

    def follow(self, connections):
        """Show what comes, as long as there are connections."""
        for ws in connections:
            with contextlib.suppress(ConnectionClosed):
                ws.send(self.last)
                print(f"connected: since {self.last or 'the beginning'}", flush=True)
                for message in ws:
                    self.take(json.loads(message))
            print(f"lost: {ws.close_code} {ws.close_reason}".rstrip(), flush=True)
            if ws.close_code == CloseCode.POLICY_VIOLATION:
                # It would be no better the next time.
                sys.exit(f"refused: {ws.close_reason}")

    def take(self, message):
        if message.get("gap"):
            # Here an application fetches the whole state from elsewhere.
            print("gap: something is lost", flush=True)
            return
        self.last = message["id"] or self.last
        if message["mark"] not in self.known:
            self.known.append(message["mark"])
            print(f"< {message['text']}", flush=True)


def main():
    uri = sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:8765"
    # It tells of each attempt that fails, and how long it waits.
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    with (
        # Closes with 1000 what is open, once whatever interrupts it has been caught.
        iter(connect(uri, reconnect_delays=delays)) as connections,
        contextlib.suppress(gevent.GreenletExit),
    ):
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, gevent.kill, gevent.getcurrent())
        Feed().follow(connections)
    print("ended", flush=True)


if __name__ == "__main__":
    main()
