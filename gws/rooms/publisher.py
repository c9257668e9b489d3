"""Publishing from a process that serves nothing: a worker of Celery, cron, a script.

No monkey-patching is needed, no hub is started: it waits as any blocking code does, and
may be used by several threads, and after a fork.
"""

from __future__ import annotations

import itertools
import os
import secrets
import threading
from typing import Any

from ..prepared import contiguous
from ..protocol.types import BytesLike
from .entry import Entry, EntryId
from .envelope import pack
from .names import channel_of, check_name
from .redis import ERRORS, Address, Masters, Place, master_of
from .scripts import as_id, prepare, publish_command


class Publisher:
    """Publishes in rooms that other processes serve.

        publisher = Publisher("redis://localhost")
        publisher.publish("lobby", "the build is done")

    Nothing is opened before the first `publish`; then the connection is kept.

    Args:
        bus: the URL that the servers' `Rooms` have.
        history, history_ttl: as the servers' `Rooms` have them.

    Raises:
        ValueError: if the URL makes no sense.
    """

    def __init__(
        self, bus: str, *, history: int = 0, history_ttl: float | None = None
    ) -> None:
        if history < 0:
            raise ValueError("history must not be negative")
        if bus.startswith("memory:"):
            raise ValueError("memory:// is for one process: there is no other to hear")
        self._place = Place(bus, plain=True)
        self._history = history
        self._ttl = history_ttl
        self._opened = Opened()

    def publish(
        self, name: str, message: str | BytesLike, *, key: str | None = None
    ) -> EntryId | None:
        """Send a message to all members of a room, in whatever process they are.

        Args:
            name: of the room.
            message: str is sent as Text, bytes-like as Binary.
            key: see `Rooms.publish`.

        Returns:
            Its place in the history; None where none is kept.

        Raises:
            ConnectionError: if Redis is not there, or refuses; it was tried twice, and
                may have been published all the same.
            TypeError, ValueError: as `Rooms.publish`.
        """
        check_name(name)
        if not isinstance(message, str):
            message = bytes(contiguous(message))
        opened = self._opened_here()
        with opened.lock:
            entry = Entry(message, opened.origin, next(opened.numbers), key)
            data = pack(entry)
            failure: Exception | None = None
            # Again if it was closed while idle, or serves the room no longer. It is
            # the same entry: nobody takes it twice.
            for again in (False, True):
                try:
                    return self._send(opened, name, data, again)
                except ERRORS as exc:
                    failure = exc
                    opened.close()
                except BaseException:
                    opened.close()  # a reply that nobody read may be under way
                    raise
            raise ConnectionError(f"not published: {failure}") from failure

    def close(self) -> None:
        """Close the connections; the next `publish` opens them again."""
        opened = self._opened_here()
        with opened.lock:
            opened.close()

    # Private methods

    def _opened_here(self) -> Opened:
        # After a fork, by whoever comes first; if two do, each has its own, once.
        if self._opened.pid != os.getpid():
            self._opened = Opened()
        return self._opened

    def _send(
        self, opened: Opened, name: str, data: bytes, again: bool
    ) -> EntryId | None:
        channel = channel_of(self._place.prefix, name)
        connection, run = self._connection_for(opened, channel)
        connection.send_command(
            *publish_command(
                channel,
                data,
                sharded=self._place.is_cluster,
                history=self._history,
                ttl=self._ttl,
                run=run,
                again=again,
            )
        )
        reply = connection.read_response()
        return as_id(reply) if self._history else None

    def _connection_for(self, opened: Opened, channel: bytes) -> tuple[Any, bytes]:
        address = None
        if self._place.is_cluster:
            opened.masters = opened.masters or self._place.masters()
            address = master_of(opened.masters, channel)
        found = opened.connections.get(address)
        if found is None:
            connection = self._place.connect(address)
            try:
                found = connection, prepare(connection, bool(self._history))
            except BaseException:
                connection.disconnect()
                raise
            opened.connections[address] = found
        return found


class Opened:
    """What a publisher has in one process.

    After a fork all of it is the parent's: the connections, and also the lock, which a
    thread may hold that the child does not have.
    """

    __slots__ = ("connections", "lock", "masters", "numbers", "origin", "pid")

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        #: Who publishes, and what tells apart what it does.
        self.origin = secrets.token_bytes(8)
        self.numbers = itertools.count(1)
        #: By address, None for the only one; each with the run of its Redis.
        self.connections: dict[Address, tuple[Any, bytes]] = {}
        self.masters: Masters = {}

    def close(self) -> None:
        """Close the connections."""
        for connection, _ in self.connections.values():
            connection.disconnect()
        self.connections = {}
        self.masters = {}
