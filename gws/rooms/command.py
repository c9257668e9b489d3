"""A command for Redis, on its way there and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gevent.event import Event


#: What a command takes besides its bytes, about.
OVERHEAD = 200


class Make(Protocol):
    """Returns what Redis takes, once it is known to which it goes."""

    def __call__(self, *, run: bytes, again: bool) -> tuple[Any, ...]:
        """Return name and arguments.

        Args:
            run: what tells the Redis from what it was before it started anew.
            again: it may have been sent, and done, before.
        """


class Command:
    """A command, until its reply is there.

    Args:
        key: what tells a cluster where it goes.
        make: returns the command; what it does twice is as if it were done once.
        n_bytes: how long it is, about.
        refused: called with the error if Redis does not do it, and nobody waits.
    """

    __slots__ = (
        "_make",
        "_refused",
        "done",
        "error",
        "key",
        "n_bytes",
        "reply",
        "urgent",
        "was_sent",
    )

    def __init__(
        self,
        key: bytes,
        make: Make,
        n_bytes: int,
        refused: Callable[[Exception], object] | None = None,
    ) -> None:
        self.key = key
        self.n_bytes = n_bytes + OVERHEAD
        self._make = make
        self._refused = refused
        #: It may have reached Redis.
        self.was_sent = False
        #: It goes before all others that wait.
        self.urgent = False
        self.reply: Any = None
        self.error: Exception | None = None
        #: Set with the reply, or the error; None where nobody waits.
        self.done: Event | None = None

    @classmethod
    def of(
        cls,
        key: bytes,
        args: tuple[Any, ...],
        refused: Callable[[Exception], object] | None = None,
    ) -> Command:
        """Return a command that is the same for every Redis, and each time."""
        n_bytes = sum(len(arg) for arg in args if isinstance(arg, (bytes, str)))
        return cls(key, lambda run, again: args, n_bytes, refused)

    def args(self, run: bytes) -> tuple[Any, ...]:
        """Return what Redis takes."""
        return self._make(run=run, again=self.was_sent)

    def finish(self, reply: Any, error: Exception | None = None) -> None:
        """Give the reply, or what came in its place, to who waits for it."""
        self.reply, self.error = reply, error
        if self.done is not None:
            self.done.set()
        elif error is not None and self._refused is not None:
            self._refused(error)
