"""A client of the dashboard that stops to read, and what it gets when it reads on.

    python examples/dashboard/slow_client.py [URI]

While it reads nothing, "Left out, too late" rises on the page. Press Enter: it prints
of each metric how many points it got and how many it never will, and which is its last.
"""

import json
import socket
import sys
import time
from urllib.parse import urlsplit

import gevent

from gws import connect


#: Bytes: a slow line holds little.
RECEIVE_BUFFER = 2**12

#: For how long it reads in the end, in seconds.
READS = 1


def read(ws, seconds):
    """Return the ticks of the points that come, by metric."""
    ticks = {}
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            message = json.loads(ws.recv(left))
        except TimeoutError:
            break
        ticks.setdefault(message["name"], []).append(message["point"][0])
    return ticks


def main():
    uri = sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:8765/live"
    sock = socket.socket()
    # Before it connects: by then it has told how much may come.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    sock.connect((urlsplit(uri).hostname, urlsplit(uri).port or 80))
    with connect(uri, sock=sock) as ws:
        ws.recv()  # the history
        print("Reading nothing. Press Enter to read on.", flush=True)
        gevent.get_hub().threadpool.apply(sys.stdin.readline)
        for name, ticks in read(ws, READS).items():
            n_left_out = ticks[-1] - ticks[0] + 1 - len(ticks)
            print(f"{name}: got {len(ticks)}, left out {n_left_out}, last {ticks[-1]}")


if __name__ == "__main__":
    main()
