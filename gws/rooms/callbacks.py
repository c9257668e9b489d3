"""Calls of the user's functions, one after the other, in a greenlet of their own.

So they may wait, even for what only the greenlet that tells of something can bring; and
what is told from a callback of the hub reaches them as well.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent


class Callbacks:
    """Calls that are made in the order in which they are put.

    Args:
        logger: told of what they raise, which stops nothing.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._calling = False

    def put(self, callback: Callable[..., object] | None, *args: Any) -> None:
        """Have a function called, if there is one; does not wait."""
        if callback is None:
            return
        self._calls.append((callback, args))
        if not self._calling:
            self._calling = True
            gevent.spawn(self._call_all)

    # Private methods

    def _call_all(self) -> None:
        try:
            while self._calls:
                callback, args = self._calls.popleft()
                try:
                    callback(*args)
                except Exception:
                    self._logger.exception("%r failed", callback)
        finally:
            self._calling = False
