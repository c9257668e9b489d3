"""Time for keepalive that moves only when told."""

from __future__ import annotations

import time
from typing import Any

from gevent import get_hub

from ..hubs import HubShare, swap_share
from ..keepalive import Deadlines
from .idle import settle


#: What differs by less is the same time: sums of fractions are not exact.
ROUNDING = 1e-9


class FakeClock:
    """Time for the connections made inside its ``with``: it moves only when told.

        with FakeClock() as clock, pair(server={"ping_interval": 20}) as (ws, _):
            clock.advance(20)

    It is the time of ping_interval, ping_timeout, close_timeout, stall_timeout,
    idle_timeout, max_lifetime, the rates and of `latency`. What waits in a call goes by
    the real time all the same: ``recv(timeout=...)``, ``open_timeout``,
    ``gevent.sleep``.

    It is for the connections of one hub (and so thread). After the ``with`` time
    goes on by itself for those that are still open.
    """

    def __init__(self) -> None:
        self._now = 0.0
        # Of the real clock, when time began to go on by itself.
        self._released_at: float | None = None
        self._hub: Any = None
        self._deadlines: SteppedDeadlines | None = None
        self._share_before: HubShare | None = None

    # Public methods

    def now(self) -> float:
        """Return the time in seconds, 0 at the beginning."""
        if self._released_at is None:
            return self._now
        return self._now + time.monotonic() - self._released_at

    def advance(self, seconds: float) -> None:
        """Let time go on by so much.

        What is due meanwhile happens at its time and in its order. Before and after
        each of these everything that was set off has its turn, as by `settle`: a ping
        is answered before the next is due.

        Raises:
            ValueError: if ``seconds`` is negative.
            RuntimeError: outside the ``with``, or in another thread.
            TimeoutError: as `settle`, which it calls.
        """
        if not seconds >= 0:
            raise ValueError(f"time can't go back: {seconds!r}")
        deadlines = self._deadlines
        if deadlines is None or self._released_at is not None:
            raise RuntimeError("use the clock inside its `with`")
        if get_hub() is not self._hub:
            raise RuntimeError("the clock belongs to the thread that entered it")
        end = self._now + seconds
        settle()
        while (due := deadlines.next_due()) is not None and due <= end + ROUNDING:
            self._now = max(due, self._now)
            self._hub.loop.run_callback(deadlines.fire)
            settle()
        self._now = max(end, self._now)

    def __enter__(self) -> FakeClock:
        if self._deadlines is not None:
            raise RuntimeError("a clock is entered once; make another one")
        self._hub = hub = get_hub()
        self._deadlines = SteppedDeadlines(hub, self)
        self._share_before = swap_share(hub, HubShare(hub, self._deadlines))
        return self

    def __exit__(self, *args: object) -> None:
        assert self._deadlines is not None  # both set by __enter__
        assert self._share_before is not None
        swap_share(self._hub, self._share_before)
        self._released_at = time.monotonic()
        self._deadlines.release()


class SteppedDeadlines(Deadlines):
    """Deadlines without a timer: somebody fires them, until they are released."""

    def __init__(self, hub: Any, clock: FakeClock) -> None:
        super().__init__(hub, clock.now)
        self._released = False

    def release(self) -> None:
        """Have the loop's timer fire them from now on."""
        self._released = True
        due = self.next_due()
        if due is not None:
            self._arm(due)

    def _arm(self, due: float) -> None:
        if self._released:
            super()._arm(due)
