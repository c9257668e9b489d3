"""The server that is soaked: lines on stdin in, a line of JSON on stdout for each.

The first line says where it listens; it is there before anybody asks. ``figures`` is
answered with what the server holds, after a collection; ``connections`` with how many
are open, which costs it nothing; ``types`` with how many objects there are of each
type. It ends when stdin does. On stderr stands what must not happen: tracebacks,
errors and warnings. Peers do a lot of wrong here, and none of it is to be seen there.
"""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import os
import resource
import ssl
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import gevent
from gevent.fileobject import FileObject
from greenlet import greenlet

import gws
from gws import Router, Server, serve
from gws.hubs import share_of


#: More than the kernel takes of a connection whose peer doesn't read, and its segments
#: are as short as on a real network.
BIG = bytes(2**20)

router = Router()
#: How many of those got it nevertheless; nobody may.
n_delivered = 0


@router.route("/echo")
def echo(ws: Any) -> None:
    for message in ws:
        ws.send(message)


@router.route("/once")
def once(ws: Any) -> None:
    ws.send(ws.recv())


@router.route("/big")
def big(ws: Any) -> None:
    global n_delivered
    ws.send(BIG)
    ws.flush()
    n_delivered += 1


def figures(servers: list[Server]) -> dict[str, int]:
    """Return how much there is of all that a connection must not leave behind."""
    hub = gevent.get_hub()
    gc.collect()
    objects = gc.get_objects()
    kinds = [type(found) for found in objects]
    deadlines = share_of(hub).deadlines
    return {
        "greenlets": sum(
            issubclass(kind, greenlet) and not found.dead
            for kind, found in zip(kinds, objects, strict=True)
        ),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "watchers": hub.loop.activecnt,
        "connections": sum(len(server.connections) for server in servers),
        "being served": sum(len(server._greenlets) for server in servers),
        "in handshakes": sum(len(server._handshaking) for server in servers),
        "deadlines": len(deadlines),
        "messages sent to nobody": n_delivered,
        "objects": len(objects),
        "memory": resident(),
    }


def types() -> dict[str, int]:
    """Return how many objects there are of each type."""
    gc.collect()
    names = (f"{type(x).__module__}.{type(x).__name__}" for x in gc.get_objects())
    return dict(Counter(names))


def resident() -> int:
    """Return the resident memory of this process, in bytes.

    What the C library keeps of freed memory, and might use again, goes first: how much
    that is depends on the order in which blocks were freed.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def log_faults() -> None:
    """Have every line formatted, also those that nobody reads; show the grave ones."""
    faults = logging.StreamHandler()
    faults.setLevel(logging.WARNING)
    nowhere = logging.FileHandler(os.devnull)
    logging.basicConfig(level=logging.DEBUG, handlers=[faults, nowhere])


def main(folder: str, ping_interval: str) -> None:
    """Serve plain and TLS, with keepalive as told, until stdin ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    log_faults()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(Path(folder, "server.pem"))
    # Only the interval: a ping must find its pong in time on any machine.
    options = {"host": "127.0.0.1", "port": 0, "ping_interval": float(ping_interval)}
    servers = [serve(router, **options), serve(router, ssl=context, **options)]
    answers = {
        "figures": lambda: figures(servers),
        "connections": lambda: sum(len(server.connections) for server in servers),
        "types": types,
    }
    with servers[0], servers[1]:
        ports = [server.sockets[0].getsockname()[1] for server in servers]
        say({"ports": ports, "compiled": gws.COMPILED, "descriptors": hard})
        for line in FileObject(sys.stdin.fileno(), "r", closefd=False):
            say(answers[line.strip()]())


def say(answer: Any) -> None:
    """Print a line of JSON."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
