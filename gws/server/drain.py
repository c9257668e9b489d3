"""Connections that shall end in; each told so, not all at once, and waited for."""

from __future__ import annotations

import random
import time
from collections.abc import Collection
from typing import Any

from gevent import getcurrent, sleep
from gevent.event import Event

from ..protocol.frames import Close
from .handshake import ServerConnection


#: How many connections are told at once; and the longest pause, in seconds, before
#: the next ones.
BATCH = 100
PAUSE = 0.1

#: Parts of the time that a server has to end: within the first all connections are
#: told; after the second what still runs is stopped, and has the rest to clean up.
TELL, STOP = 0.5, 0.9


class Countdown:
    """The time that something may take, from now on.

    Args:
        timeout: in seconds; None is no limit.
    """

    def __init__(self, timeout: float | None) -> None:
        self._began = time.monotonic()
        self._timeout = timeout

    def left(self, part: float = 1) -> float | None:
        """Return the seconds until this part of it is over; None without a limit."""
        if self._timeout is None:
            return None
        return max(self._began + part * self._timeout - time.monotonic(), 0)


class Greenlets(dict[Any, ServerConnection | None]):
    """The greenlets of a server, each with its connection once there is one."""

    def __init__(self) -> None:
        super().__init__()
        # Those of them that wait for the others to end: not for one another.
        self._waiting: set[Any] = set()
        self._changed = Event()

    def wait(self) -> None:
        """Wait until all have left; one of them, until all that don't wait have."""
        current = getcurrent()
        not_awaited: set[Any] = set()
        if current in self:
            not_awaited = self._waiting
            not_awaited.add(current)
            self._changed.set()
        try:
            while self.keys() - not_awaited:
                self._changed.clear()
                self._changed.wait()
        finally:
            self._waiting.discard(current)

    def leave(self, greenlet: Any) -> None:
        """Take note that ``greenlet`` ends."""
        del self[greenlet]
        # Not each time: who waits looks at all of them.
        if len(self) <= len(self._waiting):
            self._changed.set()

    def others(self) -> set[Any]:
        """Return those that neither wait here nor ask for this."""
        return self.keys() - self._waiting - {getcurrent()}


def check_close(code: int, reason: str) -> None:
    """Raise ProtocolError unless this can be sent; before anybody is told."""
    close = Close(code, reason)
    close.serialize()
    close.check()


def close_gradually(
    connections: Collection[ServerConnection],
    code: int,
    reason: str,
    seconds: float | None,
) -> None:
    """Begin to close all, in random order, and return when all are told.

    Not all at once: their clients, which come back at the same moment, shall not
    overrun whoever serves them next. Pauses are random, too: several processes may
    end together.

    Args:
        seconds: within which all are told; None is no limit.
    """
    waiting = list(connections)
    random.shuffle(waiting)
    pause = PAUSE
    if seconds is not None:
        pause = min(pause, seconds * BATCH / max(len(waiting), 1))
    for n, ws in enumerate(waiting, 1):
        ws.begin_close(code, reason)
        if n % BATCH == 0:
            sleep(pause * random.uniform(0.5, 1))
