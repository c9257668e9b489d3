"""One Redis server: commands go out on one connection, what others publish comes in on
another.

A greenlet keeps both connections, and opens them again with growing pauses when they
are lost. It listens; a second one, as long as there are connections, writes to both: no
two greenlets ever write to one. Commands that wait go out together, and their replies
come back in order; they are kept, up to a limit, while there is no connection, and sent
again if their replies were lost with one: each is such that this does no harm.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import gevent
from gevent.event import Event

from .command import Command
from .outbox import Outbox
from .redis import ERRORS, MOVED, NO_MASTER, ResponseError, hang_up, set_timeout
from .scripts import check_master, prepare


#: Seconds between two signs of life that we ask for; and the seconds of silence after
#: which a connection is taken for lost.
HEALTH_INTERVAL = 10.0
SILENCE = 25.0

#: The pauses before connecting again: they grow from the one to the other, in seconds.
MIN_PAUSE = 1.0
MAX_PAUSE = 60.0

#: From how many bytes on those who put commands wait.
WAIT_FROM = 2**22

#: How many channels one command subscribes to.
CHANNELS = 500


class Owner(Protocol):
    """What a shard calls, from its greenlets."""

    def on_message(self, channel: bytes, data: bytes) -> None:
        """Take what was published."""

    def on_back(self, channels: Iterable[bytes]) -> None:
        """Ask for what was missed in channels that are subscribed to again."""

    def on_up(self) -> None:
        """Take note that a shard is up; perhaps all are."""

    def on_down(self, exc: Exception) -> None:
        """Take note that one is not; called for each attempt that fails, too."""


class Shard:
    """One Redis server, or one master of a cluster.

    Args:
        connect: opens a connection of redis-py.
        owner: is told what happens.
        history: entries are kept there.
        sharded: use the commands of sharded pub/sub.
        scripts: are loaded for those who call them.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        owner: Owner,
        *,
        history: bool,
        sharded: bool,
        scripts: tuple[str, ...] = (),
    ) -> None:
        self._connect = connect
        self._owner = owner
        self._history = history
        self._sharded = sharded
        self._scripts = scripts
        #: The channels to listen to, each with what is set once it is certain.
        self.channels: dict[bytes, Event] = {}
        #: Set once it is known whether the server is there.
        self.decided = Event()
        #: Whether it is, and all is subscribed again; and whether it is at least.
        self.up = False
        self.connected = False
        #: How many seconds the last exchange took.
        self.lag = 0.0
        # What tells the server from what it was before it started anew.
        self._run_id = b""
        self._outbox = Outbox()
        # What is to be written to the connection that listens.
        self._listening: deque[tuple[Any, ...]] = deque()
        # Channels that we asked to hear no longer, until the server says so.
        self._leaving: set[bytes] = set()
        self._listener: Any = None
        self._wake = Event()
        self._room = Event()
        self._greenlet: Any = None
        self._stopped = False
        self._pause = MIN_PAUSE
        # Why the greenlet that writes has ended.
        self._failure: Exception | None = None
        self.logger = logging.getLogger("gws.rooms")

    # Public methods

    @property
    def n_lost(self) -> int:
        """How many commands were lost, because too many waited."""
        return self._outbox.n_lost

    def start(self) -> None:
        """Begin to connect."""
        self._greenlet = gevent.spawn(self._run)

    def flush(self, deadline: float) -> None:
        """Wait until all is sent and answered, as long as there are connections."""
        self._wait_while(lambda: not self._outbox.empty, deadline)

    def stop(self) -> None:
        """End now."""
        self._stopped = True
        try:
            # Its own greenlet, which comes here by a callback, ends by itself.
            if self._greenlet is not None and self._greenlet is not gevent.getcurrent():
                self._greenlet.kill()
        finally:
            self.connected = self.up = False
            self._settle()
            self._outbox.take_back()
            self._fail_calls()

    def put(self, command: Command) -> bool:
        """Have a command sent in its turn; return whether there is room for it.

        It does not wait: those who then `wait_for_room` keep their order.
        """
        self._wake.set()
        return self._outbox.put(command)

    def wait_for_room(self, deadline: float) -> None:
        """Wait while much waits to be sent, and there are connections."""
        self._wait_while(lambda: self._outbox.n_bytes > WAIT_FROM, deadline)

    def call(self, command: Command, deadline: float) -> Any:
        """Return the reply to a command.

        Raises one of `ERRORS`.
        """
        if not self.connected:
            raise ConnectionError("Redis is not there")
        command.done = Event()
        left = max(deadline - time.monotonic(), 0)
        if not self.put(command) or not command.done.wait(left):
            raise TimeoutError("Redis did not answer in time")
        if command.error is not None:
            raise command.error
        return command.reply

    def subscribe(self, channel: bytes) -> Event:
        """Listen to a channel; return what is set once that is certain."""
        confirmed = self.channels.get(channel)
        if confirmed is None:
            confirmed = self.channels[channel] = Event()
            self._write_listening(self._verb("SUBSCRIBE"), channel)
        return confirmed

    def unsubscribe(self, channel: bytes) -> None:
        """Listen to a channel no longer."""
        if self.channels.pop(channel, None) is not None:
            self._leaving.add(channel)
            self._write_listening(self._verb("UNSUBSCRIBE"), channel)

    def give_up(
        self, serves: Callable[[bytes], bool]
    ) -> tuple[list[Command], list[bytes]]:
        """Return the commands and channels that it serves no longer, and forget them.

        It does not wait, so that nothing gets between what it gives up and what comes
        after it in another shard.
        """
        if any(not serves(command.key) for command in self._outbox.sent()):
            # Some may have been done there, some not: they are sent again.
            self._fail(ConnectionError("rooms have moved to another server"))
        commands = self._outbox.remove(lambda command: not serves(command.key))
        channels = [channel for channel in self.channels if not serves(channel)]
        for channel in channels:
            self.channels.pop(channel).set()
        self._room.set()
        return commands, channels

    # Private methods

    def _verb(self, name: str) -> str:
        return f"S{name}" if self._sharded else name

    def _wait_while(self, condition: Callable[[], bool], deadline: float) -> None:
        while condition() and self.connected:
            self._room.clear()
            if not self._room.wait(max(deadline - time.monotonic(), 0)):
                return

    # Private methods: the greenlet that keeps the connections, and listens

    def _run(self) -> None:
        while not self._stopped:
            try:
                self._session()
            except Exception as exc:
                if not isinstance(exc, ERRORS):
                    # Not Redis's fault but ours: no reason to hear no more.
                    self.logger.exception("the connections to Redis are opened again")
                self._go_down(self._failure or exc)
            if not self._stopped:
                # With jitter: other processes have lost the same server.
                gevent.sleep(self._pause * random.uniform(0.5, 1))
                self._pause = min(self._pause * 2, MAX_PAUSE)

    def _session(self) -> None:
        # Open both connections, and listen until one fails.
        connections: list[Any] = []
        writer = self._failure = None
        try:
            connections.append(commands := self._connect())
            self._run_id = prepare(commands, self._history, self._scripts)
            connections.append(listener := self._connect())
            set_timeout(listener, SILENCE)
            self._listener = listener
            self._listening.clear()
            self._leaving.clear()
            self.connected = True
            writer = gevent.spawn(self._write, commands, listener)
            self._resubscribe(listener)
            self._go_up()
            while not self._stopped:
                self._take(listener.read_response())
        finally:
            self.connected = False
            try:
                if writer is not None:
                    writer.kill()
            finally:
                self._listener = None
                for connection in connections:
                    connection.disconnect()

    def _resubscribe(self, listener: Any) -> None:
        for confirmed in self.channels.values():
            confirmed.clear()
        channels = list(self.channels)
        # Of a cluster, the channels of one command are all of one slot.
        step = 1 if self._sharded else CHANNELS
        for i in range(0, len(channels), step):
            self._write_listening(self._verb("SUBSCRIBE"), *channels[i : i + step])
        for channel, confirmed in list(self.channels.items()):
            # Unless it was unsubscribed meanwhile.
            while self.channels.get(channel) is confirmed and not confirmed.is_set():
                self._take(listener.read_response())

    def _go_up(self) -> None:
        self._owner.on_back(list(self.channels))
        if self.connected:
            self._pause = MIN_PAUSE
            self.up = True
            self.decided.set()
            self._owner.on_up()

    def _take(self, message: Any) -> None:
        kind = message[0]
        if kind in (b"message", b"smessage"):
            self._owner.on_message(message[1], message[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            confirmed = self.channels.get(message[1])
            if confirmed is not None:
                confirmed.set()
        elif kind in (b"unsubscribe", b"sunsubscribe"):
            if message[1] in self._leaving:
                self._leaving.discard(message[1])
            elif message[1] in self.channels:
                # Nobody asked for that: its slot has moved.
                raise ConnectionError("a room has moved to another server")

    def _go_down(self, exc: Exception) -> None:
        self.up = False
        self._outbox.take_back()
        if not isinstance(exc, MOVED):
            self._fail_calls()
        self._settle()
        self._owner.on_down(exc)

    def _settle(self) -> None:
        # Nobody waits for a server that is not there.
        self.decided.set()
        self._room.set()
        for confirmed in self.channels.values():
            confirmed.set()

    def _fail_calls(self) -> None:
        for command in self._outbox.remove(lambda command: command.done is not None):
            command.finish(None, ConnectionError("the connection to Redis is lost"))

    # Private methods: the greenlet that writes

    def _write_listening(self, *command: Any) -> None:
        if self.connected:
            self._listening.append(command)
            self._wake.set()

    def _write(self, commands: Any, listener: Any) -> None:
        check_at = time.monotonic() + HEALTH_INTERVAL
        try:
            while self.connected:
                self._wake.clear()
                if self._listening:
                    packed = listener.pack_commands(list(self._listening))
                    self._listening.clear()
                    listener.send_packed_command(packed, check_health=False)
                if self._outbox.waiting:
                    self._exchange(commands)
                left = check_at - time.monotonic()
                if left <= 0:
                    # By the clock: a busy connection tells nothing of an idle one.
                    listener.send_command("PING", check_health=False)
                    check_master(commands)
                    check_at = time.monotonic() + HEALTH_INTERVAL
                elif not self._outbox.waiting:
                    self._wake.wait(left)
        except Exception as exc:
            if not isinstance(exc, ERRORS):
                self.logger.exception("cannot write to Redis")
            self._fail(exc)

    def _exchange(self, connection: Any) -> None:
        commands = self._outbox.send(self._run_id)
        packed = connection.pack_commands(commands)
        sent_at = time.monotonic()
        connection.send_packed_command(packed, check_health=False)
        for _ in commands:
            reply, error = self._read_reply(connection)
            if not self.connected:
                return  # it is no longer there: see `give_up`
            self._outbox.answered().finish(reply, error)
        self.lag = time.monotonic() - sent_at
        self._room.set()

    def _read_reply(self, connection: Any) -> tuple[Any, Exception | None]:
        try:
            return connection.read_response(), None
        except NO_MASTER:
            raise  # it is to be sent again, elsewhere or after the script
        except ResponseError as exc:
            return None, exc

    def _fail(self, exc: Exception) -> None:
        # The greenlet that listens sees it, too, as soon as it reads.
        if self.connected:
            self._failure = exc
            self.connected = False
            self._outbox.take_back()
            self._room.set()
            hang_up(self._listener)
