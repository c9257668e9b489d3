"""What `serve` and `connect` let their caller set for a connection, checked once.

All connections of a server, or of one of its routes, share one object.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from .protocol.base import split_max_size
from .protocol.types import MaxSize


#: A high mark, or (high, low); None is no limit.
Marks = int | tuple[int, int | None] | None


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

    def __post_init__(self) -> None:
        for name in ("open_timeout", "ping_interval", "ping_timeout", "close_timeout"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive or None, not {value!r}")
        max_size, max_fragment = split_max_size(self.max_size)
        for size in (max_size, max_fragment):
            if size is not None and not 0 <= as_int("max_size", size) < 2**63:
                raise ValueError(f"max_size must not be negative: {self.max_size!r}")
        high_and_low("max_queue", self.max_queue)
        high_and_low("write_limit", self.write_limit)

    def replace(self, **changes: Any) -> Options:
        """Return the same options but for ``changes``."""
        return dataclasses.replace(self, **changes)

    @property
    def queue_marks(self) -> tuple[int, int]:
        """High and low mark of the messages not received yet; 0 is no limit."""
        return high_and_low("max_queue", self.max_queue)

    @property
    def write_marks(self) -> tuple[int, int]:
        """High and low mark of the bytes not sent yet; 0 is no limit."""
        return high_and_low("write_limit", self.write_limit)


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
