"""A dashboard: what this machine does, drawn while it happens.

    python examples/dashboard/server.py [PORT] [--interval SECONDS]

and open the address that it prints. The page at / is plain HTTP; the WebSocket is at
/live. The server says, in JSON,

    {"type": "history", "interval": seconds,     at first: what was measured lately
     "metrics": [{"name": name, "title": text, "unit": text, "points": [point, ...]}]}
    {"type": "point", "name": name, "point": point}

and a point is [tick, value]: the ticks count how often was measured.

Whoever reads slower than this writes gets of each metric the latest point, and none of
those that are out of date: the room has slow="latest", the key is the metric's name.
"""

import argparse
import json
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import gevent

from gws import Router, serve
from gws.rooms import Rooms


ROOM = "live"

#: How many points of each metric a new page gets.
KEPT = 240

#: Bytes. What is under way to a slow browser it will get, however old it is then: so
#: little of it waits in the connection, and in the kernel; the rest in the room.
WRITE_LIMIT = 2**11
SEND_BUFFER = 2**13


# What is measured


class Metric(NamedTuple):
    title: str
    unit: str
    measure: Callable[[], float]


class Rate:
    """By how much a total grows in a second, since it was asked the last time."""

    def __init__(self, total):
        self._total = total
        self._before = total()
        self._asked_at = time.monotonic()

    def __call__(self):
        total, now = self._total(), time.monotonic()
        rate = (total - self._before) / max(now - self._asked_at, 1e-9)
        self._before, self._asked_at = total, now
        return rate


class BusyShare:
    """How much of their time the processors worked since the last time, in percent."""

    def __init__(self):
        self._before = processor_times()

    def __call__(self):
        times = processor_times()
        busy, idle = (now - was for now, was in zip(times, self._before, strict=True))
        self._before = times
        return 100 * busy / max(busy + idle, 1)


def processor_times():
    """Return for how long all processors together have worked, and have not."""
    with open("/proc/stat") as file:
        _, user, nice, system, idle, iowait, irq, softirq, *_ = file.readline().split()
    busy = sum(map(int, (user, nice, system, irq, softirq)))
    return busy, int(idle) + int(iowait)


def metrics_of_machine():
    """Return the metrics that the system knows; most of them Linux only."""
    metrics = {
        "load": Metric("Load", "", lambda: os.getloadavg()[0]),
        "cpu": Metric("CPU, this server", "%", Rate(lambda: 100 * time.process_time())),
    }
    if os.path.exists("/proc/meminfo"):
        metrics["busy"] = Metric("CPU, all", "%", BusyShare())
        metrics["memory"] = Metric("Memory, all", "MiB", memory_in_use)
        metrics["rss"] = Metric("Memory, this server", "MiB", resident_memory)
    return metrics


def memory_in_use():
    with open("/proc/meminfo") as file:
        kib = {name: int(size) for name, size, *_ in map(str.split, file)}
    return (kib["MemTotal:"] - kib["MemAvailable:"]) / 2**10


def resident_memory():
    with open("/proc/self/statm") as file:
        n_pages = int(file.read().split()[1])
    return n_pages * os.sysconf("SC_PAGE_SIZE") / 2**20


# Who gets it


class Dashboard:
    """The room, what was measured lately, and the router to them."""

    def __init__(self, interval):
        self.interval = interval
        self.rooms = Rooms(slow="latest")
        self.router = Router(process_request=answer)
        # A page says nothing.
        limits = {"max_size": 2**10, "write_limit": WRITE_LIMIT}
        self.router.route("/live", **limits)(self.handle)
        totals = self.rooms.totals
        self.metrics = metrics_of_machine() | {
            "connections": Metric("Connections", "", self.n_connections),
            "sent": Metric("Messages sent", "/s", Rate(lambda: totals.sent)),
            "dropped": Metric("Left out, too late", "/s", Rate(lambda: totals.dropped)),
        }
        self.points = {name: deque(maxlen=KEPT) for name in self.metrics}
        self.n_ticks = 0

    def handle(self, ws):
        with self.rooms.join(ROOM, ws):
            # Nothing switches in between: the points that come are those that follow.
            ws.send(json.dumps(self.history()))
            for _ in ws:
                pass

    def history(self):
        metrics = [
            {"name": name, "title": title, "unit": unit, "points": [*self.points[name]]}
            for name, (title, unit, _) in self.metrics.items()
        ]
        return {"type": "history", "interval": self.interval, "metrics": metrics}

    def tick(self):
        """Measure once, and tell all."""
        self.n_ticks += 1
        for name, metric in self.metrics.items():
            point = [self.n_ticks, round(metric.measure(), 2)]
            self.points[name].append(point)
            message = json.dumps({"type": "point", "name": name, "point": point})
            self.rooms.publish(ROOM, message, key=name)

    def n_connections(self):
        return len(self.rooms.connections(ROOM))


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
    parser = argparse.ArgumentParser(description="What this machine does, live.")
    parser.add_argument("port", type=int, nargs="?", default=8765)
    parser.add_argument("--interval", metavar="SECONDS", type=float, default=0.25)
    args = parser.parse_args()
    if args.interval <= 0:
        parser.error("the interval must be positive")
    dashboard = Dashboard(args.interval)
    with serve(dashboard.router, "localhost", args.port) as server:
        for sock in server.sockets:  # those that it accepts have the same
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, server.close)
        port = server.sockets[0].getsockname()[1]
        print(f"Open http://localhost:{port}/", flush=True)
        # This greenlet has something to do meanwhile; else it was serve_forever.
        while server.is_serving():
            gevent.sleep(args.interval)
            dashboard.tick()


if __name__ == "__main__":
    main()
