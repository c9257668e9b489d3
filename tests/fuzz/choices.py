"""The octets of a fuzzer in, choices out; also what two runs are compared by.

A target takes its choices off the front of its input, and what it tests gets the rest.
So a seed can be read: b"\\x01\\x00" and then the octets of a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar


T = TypeVar("T")


class Choices:
    """Takes choices off the front; once nothing is left, each is the first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def octet(self) -> int:
        """Return the next octet."""
        if self._position == len(self._data):
            return 0
        self._position += 1
        return self._data[self._position - 1]

    def one_of(self, options: Sequence[T]) -> T:
        """Return one of them, by the next octet."""
        return options[self.octet() % len(options)]

    def numbers(self, n: int) -> list[int]:
        """Return n octets."""
        return [self.octet() for _ in range(n)]

    def rest(self) -> bytes:
        """Return what is left."""
        rest = self._data[self._position :]
        self._position = len(self._data)
        return rest


def cut(data: bytes, steps: Sequence[int]) -> list[bytes]:
    """Cut data after so many octets, then so many more; a step of 0 is none.

    The last step goes on: with [1] each octet comes alone, with [0] all come at once.
    """
    pieces = []
    position = 0
    for step in steps[:-1]:
        if step:
            pieces.append(data[position : position + step])
            position += step
    step = steps[-1] or len(data) or 1
    pieces += [data[i : i + step] for i in range(position, len(data), step)]
    return [piece for piece in pieces if piece]


def outcome(
    function: Callable[..., T], *args: Any, raises: type[Exception]
) -> T | Exception:
    """Return what the function returns, or what it raises if it may raise that."""
    try:
        return function(*args)
    except raises as exc:
        return exc


def described(exc: Exception | None) -> tuple[str, str]:
    """Return what exceptions of two builds, so of two classes, are compared by."""
    return type(exc).__name__, str(exc)
