"""When a connection has to do something by itself: one timer for a whole hub.

`Deadlines` calls ``on_deadline`` of each connection at its time. A timer or a
greenlet a connection would cost an idle one more than the rest of it.
"""

from __future__ import annotations

import heapq
import math
import sys
import time
from operator import itemgetter
from typing import Any, Protocol

from gevent.event import Event


class HasDeadline(Protocol):
    """What `Deadlines` asks of a connection."""

    def on_deadline(self, now: float) -> None:
        """Do what is due; called in the hub, may neither block nor raise."""


#: The timer fires at most this often, in seconds: what is due meanwhile is done
#: together, so that each of many idle connections costs less.
SLACK = 0.1

#: A deadline: when, and who; None once it was called or cancelled.
Entry = list[Any]

when_of = itemgetter(0)


class Deadlines:
    """The deadlines of the connections of one hub, in order.

    They lie in buckets of `SLACK` seconds, and only the buckets are kept in order, as
    a heap: with thousands of connections that costs a third of a heap of all.

    Args:
        hub: its loop fires the timer.
        clock: tells the time, in seconds; only differences count.
    """

    def __init__(self, hub: Any, clock: Any = time.monotonic) -> None:
        self._hub = hub
        self._loop = hub.loop
        self._clock = clock
        self._timer: Any = None
        self._timer_when = 0.0
        self._fired_at = -SLACK
        self._firing = False
        # Entries by the number of their bucket, and these numbers as a heap.
        self._buckets: dict[int, list[Entry]] = {}
        self._ticks: list[int] = []
        self._n_entries = 0
        self._n_cancelled = 0

    # Public methods

    def now(self) -> float:
        """Return the time that deadlines are measured by."""
        return float(self._clock())

    def set(self, connection: HasDeadline, when: float) -> Entry:
        """Call ``connection.on_deadline`` at ``when``; return what `cancel` takes.

        Never before, and at most `SLACK` later, unless the hub is busy.
        """
        entry: Entry = [when, connection]
        self._put(entry)
        self._n_entries += 1
        self._arm(when)
        return entry

    def cancel(self, entry: Entry) -> None:
        """Forget a deadline, and the connection at once."""
        if entry[1] is None:
            return
        entry[1] = None
        self._n_cancelled += 1
        if self._firing:
            return  # it may be on the way; `fire` looks at its end
        if self._n_cancelled == self._n_entries:
            self._clear()
        # Cancelled entries wait for their time, unless they are the most.
        elif self._n_cancelled > 64 and self._n_cancelled > self._n_entries // 2:
            self._sweep()

    def __len__(self) -> int:
        """Return how many entries there are; those cancelled go by and by."""
        return self._n_entries

    def next_due(self) -> float | None:
        """Return when `fire` has something to look at; None if never."""
        if not self._ticks:
            return None
        due: float = min(map(when_of, self._buckets[self._ticks[0]]))
        return due

    def fire(self) -> None:
        """Call those whose time has come; the timer does it, in the hub."""
        self._disarm()
        self._firing = True
        try:
            self._fire()
        finally:
            self._firing = False
            due = self.next_due()
            if due is None or self._n_cancelled == self._n_entries:
                self._clear()
            else:
                self._arm(due)

    # Private methods

    def _put(self, entry: Entry) -> None:
        tick = math.floor(entry[0] / SLACK)
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = [entry]
            heapq.heappush(self._ticks, tick)
        else:
            bucket.append(entry)

    def _fire(self) -> None:
        now = self._fired_at = self.now()
        last = math.floor(now / SLACK)
        taken: list[list[Entry]] = []
        try:
            while self._ticks and self._ticks[0] <= last:
                # Out of the way: who is called may set others for the same time.
                bucket = self._buckets.pop(heapq.heappop(self._ticks))
                # The first comes last; of two for one time, the one set first.
                bucket.sort(key=when_of)
                bucket.reverse()
                taken.append(bucket)
                while bucket and bucket[-1][0] <= now:
                    self._n_entries -= 1
                    self._call(bucket.pop(), now)
        finally:
            for bucket in taken:  # what is left of it
                for entry in bucket:
                    self._put(entry)

    def _call(self, entry: Entry, now: float) -> None:
        connection = entry[1]
        if connection is None:
            self._n_cancelled -= 1
            return
        entry[1] = None
        try:
            connection.on_deadline(now)
        except Exception:
            # A bug of ours; the others still have theirs.
            self._hub.handle_error(connection, *sys.exc_info())

    def _arm(self, due: float) -> None:
        # The first entry may have changed: see that the timer is right.
        if self._firing:
            return  # at the end of it
        when = max(due, self._fired_at + SLACK)
        if self._timer is not None:
            if self._timer_when <= when:
                return  # it fires early enough, and looks again
            self._disarm()
        self._timer_when = when
        # The loop's own clock may lag behind: a delay counts from its now().
        self._loop.update_now()
        self._timer = self._loop.timer(max(when - self.now(), 0.0))
        self._timer.start(self.fire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _sweep(self) -> None:
        # Drop the entries that were cancelled.
        kept = [entry for bucket in self._buckets.values() for entry in bucket]
        self._buckets.clear()
        self._ticks.clear()
        for entry in kept:
            if entry[1] is not None:
                self._put(entry)
        self._n_entries -= self._n_cancelled
        self._n_cancelled = 0

    def _clear(self) -> None:
        # A timer for nobody would only keep the loop from coming to its end.
        self._buckets.clear()
        self._ticks.clear()
        self._n_entries = self._n_cancelled = 0
        self._disarm()


class PingWaiter:
    """A ping that was sent: tells when its pong came (RFC 6455, section 5.5.3).

    Any number of greenlets of the connection's hub may wait for it.
    """

    def __init__(self, sent_at: float) -> None:
        self._sent_at = sent_at
        self._latency: float | None = None
        self._exc: Exception | None = None
        # Only there while somebody waits: keepalive's own pings need none.
        self._done: Event | None = None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the pong, at most ``timeout`` seconds.

        Returns:
            Whether it came; False also when the connection ended.
        """
        if self._latency is None and self._exc is None:
            if self._done is None:
                self._done = Event()
            self._done.wait(timeout)
        return self.is_set()

    def is_set(self) -> bool:
        """Tell whether the pong came."""
        return self._latency is not None

    def get(self, timeout: float | None = None) -> float:
        """Wait for the pong and return the latency in seconds.

        Raises:
            TimeoutError: if no pong came within ``timeout`` seconds.
            ConnectionClosed: if the connection ended before.
        """
        self.wait(timeout)
        if self._exc is not None:
            raise self._exc
        if self._latency is None:
            raise TimeoutError("no pong within the time")
        return self._latency

    def answer(self, now: float) -> float:
        """Take the pong; return the latency in seconds."""
        self._latency = now - self._sent_at
        self._finish()
        return self._latency

    def fail(self, exc: Exception) -> None:
        """Take the end of the connection."""
        self._exc = exc
        self._finish()

    def _finish(self) -> None:
        if self._done is not None:
            self._done.set()
