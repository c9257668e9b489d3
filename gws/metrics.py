"""What happens to connections in, metrics of Prometheus out.

`Metrics` is an observer: it counts events as they come. What a connection moves its own
`Meter` counts; these are added up when somebody asks, slice by slice.

Several processes that shall look like one share files, where prometheus_client keeps
all values if PROMETHEUS_MULTIPROC_DIR names a folder. Then nobody knows when somebody
asks, who may ask another process: what else is added up on demand is then added up
every few seconds.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import gevent
from gevent import GreenletExit, get_hub, getcurrent
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    make_wsgi_app,
    multiprocess,
)
from prometheus_client.exposition import choose_encoder

from .observe import Observer
from .protocol.codes import CloseCode
from .protocol.http11 import Request
from .rooms import Rooms
from .rooms.stats import stats_of
from .server.answers import ResponseLike


#: How many connections are added up before the loop comes to others: that takes less
#: than a millisecond.
SLICE = 1000

#: Seconds between two looks at how late the loop is, and how many looks there are
#: between two times that all is added up for other processes.
BEAT, BEATS = 0.25, 20

#: Bounds of the histograms, in seconds.
RTT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
HANDLER_BUCKETS = (0.01, 0.1, 1, 10, 60, 300, 1800, 3600, 4 * 3600, 24 * 3600)
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

#: Counters of rooms: how `Stats` or its `BusStats` call it, name, text, labels.
ROOM_COUNTERS = (
    ("n_sent", "room_sent", "Messages that members got.", ()),
    ("n_dropped", "room_dropped", "Messages left out for slow members.", ("policy",)),
    ("n_closed", "room_closed", "Members closed for being slow.", ("policy",)),
    ("n_gaps", "bus_gaps", "Times that messages of a room may be missing.", ()),
    ("n_invalid", "bus_invalid", "Messages of the bus that were none.", ()),
    ("n_lost", "bus_lost", "Messages that waited for the bus in vain.", ()),
    ("n_refused", "bus_refused", "Messages that the bus did not take.", ()),
)

#: Values of the label "direction", in the order of `added`.
DIRECTIONS = ("in", "out")

#: The folder that processes share.
MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"

CODES = frozenset(code.value for code in CloseCode)

logger = logging.getLogger("gws.metrics")


class Total:
    """A counter that is told totals, not steps; less than before is nothing new."""

    def __init__(self, counter: Any) -> None:
        self._counter = counter
        self._told = 0

    def reach(self, total: int) -> None:
        """Have it show what there is in all."""
        if total > self._told:
            self._counter.inc(total - self._told)
            self._told = total


class Heart:
    """A timer that tells how late the loop calls it.

    Args:
        beat: called in the hub with the seconds that it was late.
    """

    def __init__(self, beat: Callable[[float], None]) -> None:
        self._call = beat
        self._due = 0.0
        # It alone does not keep the loop running.
        self._timer: Any = get_hub().loop.timer(BEAT, BEAT, ref=False)
        self._begin()

    def stop(self) -> None:
        """End it."""
        self._timer.close()

    def _begin(self) -> None:
        self._due = time.monotonic() + BEAT
        self._timer.again(self._beat, update=True)

    def _beat(self) -> None:
        try:
            self._call(max(time.monotonic() - self._due, 0.0))
        except Exception:  # the folder has gone, say
            self._timer.stop()
            logger.error("the loop's lag is measured no more", exc_info=True)
        else:
            self._begin()


class Metrics(Observer):
    """An observer that counts for Prometheus; docs/howto/metrics.md lists what.

        metrics = Metrics()
        serve(handler, observers=[metrics], process_request=metrics.process_request)

    One is enough for all servers of a process. Its connections count what they move,
    which makes them a little slower.

    Args:
        registry: where the metrics are registered; by default that of
            prometheus_client, which has those of the process as well.

    Raises:
        ValueError: if the registry has metrics of these names.
    """

    counts = True

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._registry = registry
        self._is_shared = MULTIPROCESS_DIR in os.environ
        self._refresher = Refresher(self.refresh)
        registry.register(self._refresher)  # the first: others tell what it finds
        self._made: list[Any] = []
        self._make_of_connections()
        #: An application of WSGI that answers with all metrics, whatever the path.
        self.application = make_wsgi_app(self._exposed())
        # The open connections, and what the others have moved.
        self._open: set[Any] = set()
        self._moved = (0, 0, 0, 0)
        self._rooms: list[tuple[Rooms, dict[str, Total]]] = []
        self._heart: Heart | None = None
        self._n_beats = 0

    # Public methods

    def watch(self, rooms: Rooms) -> None:
        """Count for rooms as well."""
        if not self._rooms:
            self._make_of_rooms()
        policy = stats_of(rooms).policy
        totals = {}
        for found, _, _, labels in ROOM_COUNTERS:
            counter = self._of_rooms[found]
            totals[found] = Total(counter.labels(policy) if labels else counter)
        self._rooms.append((rooms, totals))
        self._refresh_rooms()

    def process_request(self, ws: Any, request: Request) -> ResponseLike | None:
        """Answer /metrics; a hook for `serve`, or to be called in one.

        On a port that the public reaches, let a proxy keep it from the path.
        """
        if request.path.partition("?")[0] != "/metrics":
            return None
        accept = ",".join(request.headers.get_all("Accept"))
        encode, content_type = choose_encoder(accept)
        return 200, {"Content-Type": content_type}, encode(self._exposed())

    def refresh(self) -> None:
        """Add up what is not counted by events; whoever collects has it done."""
        moved = self._moved
        n_queued = 0
        # Who closes meanwhile is still counted here, and who opens the next time: no
        # total is ever less than it was.
        for n, ws in enumerate(list(self._open), 1):
            moved = added(moved, ws.meter)
            n_queued += ws.buffered_amount
            if not n % SLICE and getcurrent() is not get_hub():
                gevent.sleep(0)
        for total, n in zip(self._totals, moved, strict=True):
            total.reach(n)
        self._send_queue_bytes.set(n_queued)
        self._refresh_rooms()

    def close(self) -> None:
        """Measure no more, and take the metrics out of the registry."""
        if self._heart is not None:
            self._heart.stop()
        for metric in (self._refresher, *self._made):
            self._registry.unregister(metric)

    # For servers

    def answered(self, ws: Any, status: int) -> None:
        """Count the answer to a handshake, and the connection if it is open."""
        self._start()
        self._handshakes.labels(status or "none").inc()
        if status == 101:
            self._open.add(ws)
            self._connections.labels(ws.route).inc()

    def turned_away(self, address: Any, status: int) -> None:
        """Count who was refused before there was a request."""
        self._handshakes.labels(status or "none").inc()

    def closed(self, ws: Any, seconds: float, error: BaseException | None) -> None:
        """Count the end of a connection."""
        self._open.discard(ws)
        self._moved = added(self._moved, ws.meter)
        self._connections.labels(ws.route).dec()
        self._disconnects.labels(code_label(ws.close_code)).inc()
        self._handler_seconds.observe(seconds)
        if error is not None and not isinstance(error, GreenletExit):
            self._handler_errors.inc()
        if self._is_shared and not self._open:
            self.refresh()  # the process may end before it is time

    def ponged(self, ws: Any, seconds: float) -> None:
        """Count how long a ping took."""
        self._ping_rtt.observe(seconds)

    # Private methods: what there is

    def _make(self, kind: Any, name: str, text: str, **options: Any) -> Any:
        if kind is Gauge:
            options.setdefault("multiprocess_mode", "livesum")
        metric = kind(f"gws_{name}", text, registry=self._registry, **options)
        self._made.append(metric)
        return metric

    def _make_of_connections(self) -> None:
        counter, gauge = partial(self._make, Counter), partial(self._make, Gauge)
        histogram = partial(self._make, Histogram)
        self._connections = gauge(
            "connections", "Connections that are open.", labelnames=["route"]
        )
        self._handshakes = counter(
            "handshakes", "Answers to opening handshakes.", labelnames=["status"]
        )
        self._disconnects = counter(
            "disconnects", "Connections that ended.", labelnames=["code"]
        )
        self._handler_errors = counter("handler_errors", "Handlers that failed.")
        self._handler_seconds = histogram(
            "handler_seconds", "How long handlers ran.", buckets=HANDLER_BUCKETS
        )
        self._ping_rtt = histogram(
            "ping_rtt_seconds", "Time from a ping to its pong.", buckets=RTT_BUCKETS
        )
        self._lag = histogram(
            "loop_lag_seconds", "How late the loop calls a timer.", buckets=LAG_BUCKETS
        )
        ways = {"labelnames": ["direction"]}
        messages = counter("messages", "Messages received and sent.", **ways)
        octets = counter("bytes", "Bytes received and sent, without TLS.", **ways)
        # In the order of `added`.
        self._totals = [
            Total(each.labels(way)) for each in (messages, octets) for way in DIRECTIONS
        ]
        self._send_queue_bytes = gauge(
            "send_queue_bytes", "Bytes sent that the kernel has not taken yet."
        )

    def _make_of_rooms(self) -> None:
        gauge = partial(self._make, Gauge)
        self._of_rooms = {
            found: self._make(Counter, name, text, labelnames=labels)
            for found, name, text, labels in ROOM_COUNTERS
        }
        self._n_rooms = gauge("rooms", "Rooms with members.")
        self._n_members = gauge("room_members", "Members of all rooms.")
        # Of several processes the worst.
        self._bus_up = gauge(
            "bus_up", "Whether the bus is there.", multiprocess_mode="livemin"
        )
        self._bus_lag = gauge(
            "bus_lag_seconds",
            "How long the last exchange with the bus took.",
            multiprocess_mode="livemax",
        )

    # Private methods

    def _exposed(self) -> CollectorRegistry:
        if not self._is_shared:
            return self._registry
        registry = CollectorRegistry()
        registry.register(self._refresher)
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry

    def _refresh_rooms(self) -> None:
        if not self._rooms:
            return
        found = [stats_of(rooms) for rooms, _ in self._rooms]
        for stats, (_, totals) in zip(found, self._rooms, strict=True):
            for name, total in totals.items():
                there = stats if hasattr(stats, name) else stats.bus
                total.reach(getattr(there, name))
        self._n_rooms.set(sum(stats.n_rooms for stats in found))
        self._n_members.set(sum(stats.n_members for stats in found))
        self._bus_up.set(min(stats.bus.up for stats in found))
        self._bus_lag.set(max(stats.bus.lag for stats in found))

    def _start(self) -> None:
        # In the process that serves, which may be a fork of the one that made it.
        if self._heart is None:
            self._heart = Heart(self._beat)
            self._refresh_rooms()  # in a fork a gauge begins with 0

    def _beat(self, lag: float) -> None:
        self._lag.observe(lag)
        self._n_beats += 1
        if self._is_shared and not self._n_beats % BEATS:
            gevent.spawn(self.refresh)


class Refresher:
    """A collector without metrics: it brings others up to date before they tell."""

    def __init__(self, refresh: Callable[[], None]) -> None:
        self._refresh = refresh

    def describe(self) -> Iterable[Any]:
        """Return nothing."""
        return ()

    def collect(self) -> Iterable[Any]:
        """Return nothing, either."""
        self._refresh()
        return ()


def added(moved: tuple[int, int, int, int], meter: Any) -> tuple[int, int, int, int]:
    """Return sums of messages in and out, bytes in and out, with one more meter."""
    if meter is None:
        return moved
    messages_in, messages_out, bytes_in, bytes_out = moved
    return (
        messages_in + meter.messages_in,
        messages_out + meter.messages_out,
        bytes_in + meter.bytes_in,
        bytes_out + meter.bytes_out,
    )


def code_label(code: int | None) -> str:
    """Return the label of a close code: peers, who may choose any, make no labels."""
    if code is None:
        return str(CloseCode.ABNORMAL_CLOSURE.value)
    return str(code) if code in CODES else f"{code // 1000}xxx"


@functools.cache
def shared() -> Metrics:
    """Return the metrics of this process, in the default registry; made once.

    They are those of ``gws serve --metrics``: so a module that it serves gets its rooms
    into them, by ``shared().watch(rooms)``.
    """
    return Metrics()


def forget_process(pid: int) -> None:
    """Count for a process no more that has ended; where several share a folder.

    Its counters stay: the connections that it had were.

    Args:
        pid: of the process.
    """
    multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
