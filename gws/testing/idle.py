"""Waiting for what was set off, without guessing how long that takes."""

from __future__ import annotations

from gevent import Timeout, idle

from .peer import TIMEOUT


#: How often the loop must have been found idle. With libev once would do; an idle
#: watcher of libuv waits for one turn of the loop, and a ping and its pong take
#: several.
ROUNDS = 8


def settle(timeout: float = TIMEOUT) -> None:
    """Wait until the connections and greenlets of this thread have nothing to do.

    What was sent without a port has then arrived, and was answered if a connection
    or a handler answers at once. What waits for time, for another thread or for the
    network is not waited for.

    Args:
        timeout: seconds that it may take.

    Raises:
        TimeoutError: if somebody still has something to do.
    """
    timer = Timeout.start_new(timeout)
    try:
        for _ in range(ROUNDS):
            idle()
    except Timeout as exc:
        if exc is not timer:
            raise
        raise TimeoutError(f"the loop has no rest within {timeout} s") from None
    finally:
        timer.close()
