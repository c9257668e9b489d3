"""Commands on their way to one Redis: those that wait, and those not answered yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from .command import Command


#: How many commands, and about how many bytes, go out together.
BATCH = 500
BATCH_BYTES = 2**18

#: How many bytes may wait, at most.
MAX_WAITING = 2**24


class Outbox:
    """Keeps commands in order, whatever becomes of connections; waits for nothing."""

    __slots__ = ("_sent", "_waiting", "n_bytes", "n_lost")

    def __init__(self) -> None:
        #: How many bytes wait.
        self.n_bytes = 0
        #: How many commands were lost, because too many waited.
        self.n_lost = 0
        self._waiting: deque[Command] = deque()
        # What was sent and not answered; all of it is older than what waits.
        self._sent: deque[Command] = deque()

    @property
    def waiting(self) -> bool:
        """Whether there is something to send."""
        return bool(self._waiting)

    @property
    def empty(self) -> bool:
        """Whether all is sent and answered."""
        return not (self._waiting or self._sent)

    def put(self, command: Command) -> bool:
        """Add a command; return whether there was room."""
        full = self.n_bytes and self.n_bytes + command.n_bytes > MAX_WAITING
        if full and not command.urgent:
            self.n_lost += 1
            return False
        if command.urgent:
            self._waiting.appendleft(command)
        else:
            self._waiting.append(command)
        self.n_bytes += command.n_bytes
        return True

    def send(self, run: bytes) -> list[tuple[Any, ...]]:
        """Return some commands for Redis, which is then to answer each."""
        n_bytes = 0
        commands = []
        while self._waiting and len(self._sent) < BATCH and n_bytes < BATCH_BYTES:
            command = self._waiting.popleft()
            self.n_bytes -= command.n_bytes
            n_bytes += command.n_bytes
            self._sent.append(command)
            commands.append(command.args(run))
            command.was_sent = True
        return commands

    def answered(self) -> Command:
        """Return the oldest that was sent, and forget it."""
        return self._sent.popleft()

    def take_back(self) -> None:
        """Have all that was not answered wait to be sent again, before the others."""
        while self._sent:
            command = self._sent.pop()
            self._waiting.appendleft(command)
            self.n_bytes += command.n_bytes

    def sent(self) -> Iterator[Command]:
        """Return what was sent and not answered."""
        return iter(self._sent)

    def remove(self, unwanted: Callable[[Command], bool]) -> list[Command]:
        """Return those that wait and are not wanted, and forget them."""
        found = [command for command in self._waiting if unwanted(command)]
        self._waiting = deque(c for c in self._waiting if not unwanted(c))
        self.n_bytes = sum(command.n_bytes for command in self._waiting)
        return found
