"""What `serve` and `connect` let their caller set for a connection, checked once.

All connections of a server, or of one of its routes, share one object.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any

from .observe import Observer
from .protocol.base import split_max_size
from .protocol.reader import MAX_FRAGMENTS, MOST_FRAGMENTS
from .protocol.types import MaxSize


#: A high mark, or (high, low); None is no limit.
Marks = int | tuple[int, int | None] | None

#: So many a second, or (a second, at once); None is no limit.
Rate = float | tuple[float, float] | None

TIMES = (
    "open_timeout",
    "ping_interval",
    "ping_timeout",
    "close_timeout",
    "stall_timeout",
    "idle_timeout",
    "max_lifetime",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """How connections behave. All times in seconds, all sizes in bytes.

    Raises:
        ValueError: if a value makes no sense.
        TypeError: if it is of the wrong type.
    """

    logger: logging.Logger
    open_timeout: float | None = 10
    ping_interval: float | None = 20
    ping_timeout: float | None = 20
    close_timeout: float | None = 10
    max_size: MaxSize = 2**20
    max_queue: Marks = 16
    write_limit: Marks = 2**15
    max_fragments: int | None = MAX_FRAGMENTS
    message_rate: Rate = None
    byte_rate: Rate = None
    stall_timeout: float | None = 60
    idle_timeout: float | None = None
    max_lifetime: float | None = None
    observers: Sequence[Observer] = ()

    # Derived of these, once for all connections.

    #: High and low mark of the messages not received yet; 0 is no limit.
    queue_marks: tuple[int, int] = dataclasses.field(init=False)
    #: High and low mark of the bytes not sent yet; 0 is no limit.
    write_marks: tuple[int, int] = dataclasses.field(init=False)
    #: Whether what a connection moves has to be counted all the time.
    metered: bool = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        for name in TIMES:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive or None, not {value!r}")
        max_size, max_fragment = split_max_size(self.max_size)
        for size in (max_size, max_fragment):
            if size is not None and not 0 <= as_int("max_size", size) < 2**63:
                raise ValueError(f"max_size must not be negative: {self.max_size!r}")
        n = self.max_fragments
        if n is not None and not 0 < as_int("max_fragments", n) <= MOST_FRAGMENTS:
            raise ValueError(f"max_fragments must be positive, not {n!r}")
        rate_and_burst("message_rate", self.message_rate)
        rate_and_burst("byte_rate", self.byte_rate)
        kept = {
            "observers": checked_observers(self.observers),
            "queue_marks": high_and_low("max_queue", self.max_queue),
            "write_marks": high_and_low("write_limit", self.write_limit),
        }
        for name, derived in kept.items():
            object.__setattr__(self, name, derived)
        object.__setattr__(self, "metered", self._is_metered())

    def replace(self, **changes: Any) -> Options:
        """Return the same options but for ``changes``."""
        return dataclasses.replace(self, **changes)

    @property
    def message_bucket(self) -> tuple[float, float]:
        """How many frames may come a second, and at once."""
        return rate_and_burst("message_rate", self.message_rate)

    @property
    def byte_bucket(self) -> tuple[float, float]:
        """How many bytes may come a second, and at once.

        By default a message of `max_size` may come at once as well.
        """
        rate, burst = rate_and_burst("byte_rate", self.byte_rate)
        if not isinstance(self.byte_rate, tuple):
            burst += split_max_size(self.max_size)[0] or 0
        return rate, burst

    def _is_metered(self) -> bool:
        return not (
            self.message_rate is None
            and self.byte_rate is None
            and self.idle_timeout is None
            and self.max_lifetime is None
            and not any(x.counts for x in self.observers)
        )


def high_and_low(name: str, marks: Marks) -> tuple[int, int]:
    """Return both marks; the low one is a quarter of the high one by default."""
    if marks is None:
        return 0, 0
    high, low = marks if isinstance(marks, tuple) else (marks, None)
    if low is None:
        low = as_int(name, high) // 4
    if not 0 <= as_int(name, low) <= as_int(name, high) or high == 0:
        raise ValueError(f"{name} must be positive, high before low: {marks!r}")
    return high, low


def rate_and_burst(name: str, value: Rate) -> tuple[float, float]:
    """Return both; of a burst that is not given, what comes in 2 s, at least 1."""
    if value is None:
        return 0.0, 0.0
    rate, burst = value if isinstance(value, tuple) else (value, max(2 * value, 1))
    if not (0 < rate < math.inf and 1 <= burst < math.inf):
        raise ValueError(f"{name} must be positive, with a burst from 1: {value!r}")
    return float(rate), float(burst)


def checked_observers(observers: object) -> tuple[Observer, ...]:
    """Return the option of that name as a tuple.

    Raises:
        TypeError: if it is no list of observers.
    """
    if not isinstance(observers, Iterable):
        raise TypeError(f"observers must be a list of them, not {observers!r}")
    entries = tuple(observers)
    for entry in entries:
        if not isinstance(entry, Observer):
            raise TypeError(f"{entry!r} is no Observer")
    return entries


def as_int(name: str, value: int) -> int:
    """Return ``value``; what counts bytes or messages has no fractions."""
    if not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {value!r}")
    return value


def check_compression(compression: str | None) -> None:
    """Check the option of that name.

    Raises:
        ValueError: if it is neither "deflate" nor None.
    """
    if compression not in (None, "deflate"):
        raise ValueError(f'compression must be "deflate" or None, not {compression!r}')
