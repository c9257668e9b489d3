"""When a connection has to do something by itself: one timer for a whole hub.

`Deadlines` calls ``on_deadline`` of each connection at its time. A timer or a
greenlet a connection would cost an idle one more than the rest of it.
"""

from __future__ import annotations

import heapq
import itertools
import sys
import time
from typing import Any, Protocol

from gevent.event import Event


class HasDeadline(Protocol):
    """What `Deadlines` asks of a connection."""

    def on_deadline(self, now: float) -> None:
        """Do what is due; called in the hub, may neither block nor raise."""


#: The timer fires at most this often, in seconds: what is due meanwhile is done
#: together, so that each of many idle connections costs less.
SLACK = 0.1

#: A deadline: when, a number that breaks ties, and who; None once cancelled.
Entry = list[Any]


class Deadlines:
    """The deadlines of the connections of one hub, in order.

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
        self._entries: list[Entry] = []
        self._n_cancelled = 0
        self._numbers = itertools.count()

    # Public methods

    def now(self) -> float:
        """Return the time that deadlines are measured by."""
        return float(self._clock())

    def set(self, connection: HasDeadline, when: float) -> Entry:
        """Call ``connection.on_deadline`` at ``when``; return what `cancel` takes.

        Never before, and at most `SLACK` later, unless the hub is busy.
        """
        entry: Entry = [when, next(self._numbers), connection]
        heapq.heappush(self._entries, entry)
        if self._entries[0] is entry:
            self._arm()
        return entry

    def cancel(self, entry: Entry) -> None:
        """Forget a deadline, and the connection at once."""
        if entry[2] is None:
            return
        entry[2] = None
        self._n_cancelled += 1
        if self._n_cancelled == len(self._entries):
            self._clear()
        # Cancelled entries wait for their time, unless they are the most.
        elif self._n_cancelled > 64 and self._n_cancelled > len(self._entries) // 2:
            self._entries = [entry for entry in self._entries if entry[2] is not None]
            heapq.heapify(self._entries)
            self._n_cancelled = 0

    def __len__(self) -> int:
        """Return how many entries there are; those cancelled go by and by."""
        return len(self._entries)

    def next_due(self) -> float | None:
        """Return when `fire` has something to look at; None if never."""
        return self._entries[0][0] if self._entries else None

    def fire(self) -> None:
        """Call those whose time has come; the timer does it, in the hub."""
        self._disarm()
        self._firing = True
        try:
            self._fire()
        finally:
            self._firing = False
            if self._n_cancelled == len(self._entries):
                self._clear()
            else:
                self._arm()

    # Private methods

    def _fire(self) -> None:
        now = self._fired_at = self.now()
        while self._entries and self._entries[0][0] <= now:
            entry = heapq.heappop(self._entries)
            connection = entry[2]
            if connection is None:
                self._n_cancelled -= 1
                continue
            entry[2] = None
            try:
                connection.on_deadline(now)
            except Exception:
                # A bug of ours; the others still have theirs.
                self._hub.handle_error(connection, *sys.exc_info())

    def _arm(self) -> None:
        # The first entry may have changed: see that the timer is right.
        if self._firing:
            return  # at the end of it
        when = max(self._entries[0][0], self._fired_at + SLACK)
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

    def _clear(self) -> None:
        # A timer for nobody would only keep the loop from coming to its end.
        self._entries.clear()
        self._n_cancelled = 0
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
