"""Rooms: connections join them, messages published in them go to all who did.

`Rooms` is the front: what its methods are given becomes entries for a `Bus`, and what
the bus gives back, or leaves to us, goes to the members in this process.
"""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import time
from collections.abc import Callable

from ..connection import Connection
from ..exceptions import ConcurrencyError
from ..greenlets import thread_id
from ..prepared import PreparedMessage, contiguous
from ..protocol.types import BytesLike
from .bus import Bus
from .callbacks import Callbacks
from .catchup import CatchingUp
from .entry import Entry, EntryId
from .membership import Membership
from .names import check_name
from .presence import OnPresence, Presence, check_user
from .registry import Registry
from .room import Delivery, Room, can_wait
from .slow import POLICIES
from .tally import Published, Tally
from .urls import open_bus


#: ``since`` of who has seen nothing yet, and wants all that is kept.
BEGINNING = ""


class Rooms:
    """Rooms by name; in one process, or over a bus in many.

        rooms = Rooms()

        @router.route("/chat/<name>")
        def chat(ws, name):
            with rooms.join(name, ws):
                for message in ws:
                    rooms.publish(name, message)

    A message is framed once, and compressed once for all connections that keep no
    context. Delivery is at most once, and in order for each publisher. It belongs to
    the thread that uses it first; nothing is opened before that, and in a fork all
    begins anew.

    Args:
        bus: "memory://" is for one process; "redis://HOST:PORT/DB" for many: see
            `gws.rooms.redis` for its other forms. Or a `Bus` of one's own.
        history: how many messages of a room are kept for who comes (back) later.
        history_ttl: for how many seconds each is kept; None is for ever, and for as
            many rooms as there ever were.
        presence: tell who is in a room across processes, and of each who comes or
            goes; without it, those of this process.
        presence_lease: seconds after which the users of a process that was killed are
            gone for the others.
        slow: what happens to members that read slower than others write, once more
            than ``budget`` waits for them: "close" (1013), "drop_new", "drop_old", or
            "latest", which keeps the latest message of each room and ``key``.
        budget: bytes that may wait for one connection: payloads, and 256 each for
            the keeping.
        render: makes of an `Entry` what members get, such as JSON with its id; by
            default its message. It may not wait.
        publish_timeout: seconds that `publish` may wait for the bus.
        on_bus_down: called with the exception when the bus is lost.
        on_bus_up: called with ``gap`` when it is back: whether messages of others may
            have been missed.
        on_presence: called with (room, user, whether the user came): of each user with
            the first connection in any process, and with the last.

    What is called is called in a greenlet of its own, one after the other; it may wait.

    Raises:
        ValueError: if an option makes no sense.
    """

    def __init__(
        self,
        bus: str | Bus = "memory://",
        *,
        history: int = 0,
        history_ttl: float | None = None,
        presence: bool = False,
        presence_lease: float = 30,
        slow: str = "close",
        budget: int = 2**20,
        render: Callable[[Entry], str | BytesLike] | None = None,
        publish_timeout: float = 5,
        on_bus_down: Callable[[Exception], object] | None = None,
        on_bus_up: Callable[[bool], object] | None = None,
        on_presence: OnPresence | None = None,
    ) -> None:
        if slow not in POLICIES:
            raise ValueError(f"slow must be one of {', '.join(POLICIES)}, not {slow!r}")
        if min(history, budget) < 0 or presence_lease <= 0:
            raise ValueError("history, budget or presence_lease is too small")
        self._bus = open_bus(bus, history, history_ttl, publish_timeout)
        self._presence_lease = presence_lease if presence else None
        self._slow = slow
        self._budget = budget
        self._render = render
        self._publish_timeout = publish_timeout
        self._on_bus_down, self._on_bus_up = on_bus_down, on_bus_up
        self._on_presence = on_presence
        # What the bus has been given, or is being given, by number.
        self._pending: dict[int, Delivery] = {}
        # Who uses this, 0 for nobody yet; and what tells its entries from those of
        # other processes.
        self._pid = self._thread = 0
        self._origin = b""
        self._numbers = itertools.count(1)
        self.logger = logging.getLogger("gws.rooms")
        self._callbacks = Callbacks(self.logger)
        #: What became of all messages in this process.
        self.totals = Tally()
        self._registry = self._make_registry()

    # Public methods

    def join(
        self,
        name: str,
        ws: Connection,
        *,
        since: str | EntryId | None = None,
        user: str | None = None,
    ) -> Membership:
        """Have a connection get what is published in a room from now on.

        It leaves at the end of ``with``, or when it closes. Who joins twice is there
        once, as the user of the first time, and leaves twice.

        Args:
            name: of the room: any text, at most 512 bytes of UTF-8.
            since: the id of the last message it saw, as `Entry.id` told: all later
                ones are sent before this returns, without hole or duplicate; where
                that can't be, ``gap`` of the result says so. "" is for who has seen
                none: all that are kept.
            user: who it is, for `members` and presence.

        Raises:
            ConnectionClosed: if the connection is closed, also meanwhile.
            ConcurrencyError: while it is sent what it had missed in this room; if
                `close` is called meanwhile; from another thread.
            InvalidEntryId, ValueError: if an argument makes no sense.
        """
        check_name(name)
        check_user(user)
        after = self._parse_since(since)
        self._start()
        registry = self._registry
        room = registry.begin_join(name)
        try:
            if not room.subscribed:
                self._bus.subscribe(name)
                room.subscribed = True
            if ws in room.catching_up:
                raise ConcurrencyError("the connection is joining this room already")
            gap = False
            if since is not None and ws not in room.members:
                gap = self._catch_up(room, ws, after)
            if registry is not self._registry:
                raise ConcurrencyError("the rooms were closed meanwhile")
            # No switch since it caught up: what comes next finds a member.
            return registry.add(room, ws, user, gap)
        finally:
            registry.end_join(room)

    def leave(self, name: str, ws: Connection) -> None:
        """Have a connection leave a room; no matter if it is not there.

        What waits for it of that room is discarded.
        """
        if self._is_mine():
            self._registry.leave(name, ws)

    def publish(
        self,
        name: str,
        message: str | BytesLike,
        *,
        exclude: Connection | None = None,
        key: str | None = None,
    ) -> Published:
        """Send a message to all members of a room, in whatever process they are.

        It does not wait for slow members; of many it serves some, then lets others
        run, then goes on. While the bus is down it reaches the members in this
        process. In a callback of the hub, which can't wait, it tells only what has
        happened by then.

        Args:
            message: str is sent as Text, bytes-like as Binary.
            exclude: a connection that does not get it, such as the sender's.
            key: what it is the latest state of, for the policy "latest".

        Returns:
            What became of it in this process, and its id in the history.

        Raises:
            ConcurrencyError: from another thread.
            TypeError: if the message is neither str nor bytes-like.
            ValueError: if the name is no name, or the message too long for the bus.
        """
        check_name(name)
        self._start()
        if not isinstance(message, str):
            message = bytes(contiguous(message))
        entry = Entry(message, self._origin, next(self._numbers), key)
        delivery = Delivery(name, entry, exclude)
        deadline = time.monotonic() + self._publish_timeout
        self._hand_over(delivery)
        if delivery.awaited and can_wait():
            # Whoever interrupts this wait: it is delivered when it comes.
            delivery.done.wait(max(deadline - time.monotonic(), 0))
        if not delivery.awaited or can_wait():
            self._pending.pop(entry.number, None)
            self._deliver(delivery)
        if can_wait():
            delivery.done.wait()
        return delivery.tally.published(delivery.entry.id)

    def members(self, name: str) -> set[str]:
        """Return who is in a room; with presence, in all processes.

        Of other processes nothing is known while the bus is away, nor in a callback of
        the hub, which can't ask.

        Raises:
            ValueError: if the name is no name.
        """
        check_name(name)
        self._start()
        return self._presence.users(name)

    def connections(self, name: str) -> tuple[Connection, ...]:
        """Return the connections of this process in a room."""
        room = self._registry.rooms.get(name) if self._is_mine() else None
        return () if room is None else room.connections()

    def close(self) -> None:
        """Have all leave, and end what the bus has opened; connections stay open.

        What waits for them is discarded. Used again, all begins anew.

        Raises:
            ConcurrencyError: from another thread.
        """
        if not self._is_mine():
            return
        self._deliver_pending()
        self._registry.leave_all()
        try:
            self._bus.close()
        finally:
            self._registry.leave_all()  # who has come while the bus was closing
            self._registry = self._make_registry()
            self._pid = 0

    # For the bus

    def on_entry(self, room: str, entry: Entry) -> None:
        """Take an entry that the bus brings; see `Receiver`."""
        delivery = None
        if entry.origin == self._origin:
            delivery = self._pending.pop(entry.number, None)
            if delivery is None:
                return  # members here have it
            delivery.entry = entry
        delivery = delivery or Delivery(room, entry, None)
        self._deliver_guarded(delivery)
        delivery.done.wait()

    def on_down(self, exc: Exception) -> None:
        """Deliver here what will not come back; see `Receiver`."""
        self._deliver_pending()
        self._callbacks.put(self._on_bus_down, exc)

    def on_up(self, gap: bool) -> None:
        """See `Receiver`."""
        self._callbacks.put(self._on_bus_up, gap)

    def on_presence(self, room: str, user: str, came: bool) -> None:
        """See `Receiver`."""
        self._callbacks.put(self._on_presence, room, user, came)

    # Private methods

    def _is_mine(self) -> bool:
        # Whether it is used in this process: what a fork inherits is its parent's.
        if self._pid != os.getpid():
            return False
        if self._thread != thread_id():
            raise ConcurrencyError(
                "rooms belong to the thread (the gevent hub) that used them first"
            )
        return True

    def _start(self) -> None:
        # In the process that uses it, which may be a fork of the one that made it.
        if self._is_mine():
            return
        if self._pid:
            self.totals = Tally()
            self._pending = {}
            self._callbacks = Callbacks(self.logger)
            self._registry = self._make_registry()
        self._pid, self._thread = os.getpid(), thread_id()
        self._origin = secrets.token_bytes(8)
        if self._presence_lease is None:
            self._bus.start(self)
            return
        shared = self._bus.presence(self._presence_lease)
        self._bus.start(self)
        if shared is not None:
            self._presence.share(shared)

    def _make_registry(self) -> Registry:
        self._presence = Presence(self.on_presence)
        return Registry(
            self._slow, self._budget, self.totals, self._presence, self._bus.unsubscribe
        )

    def _hand_over(self, delivery: Delivery) -> None:
        # To the bus, which says whether it comes back.
        number = delivery.entry.number
        self._pending[number] = delivery
        try:
            delivery.awaited = self._bus.publish(delivery.room, delivery.entry)
        except BaseException as exc:
            self._pending.pop(number, None)
            if not isinstance(exc, Exception):
                self._deliver(delivery)  # others may have it
            raise

    def _deliver(self, delivery: Delivery) -> None:
        # Begin to, once, whoever comes first.
        if delivery.begun:
            return
        delivery.begun = True
        room = self._registry.rooms.get(delivery.room)
        if room is None:
            delivery.done.set()
            return
        try:
            delivery.prepared = self._prepared(delivery.entry)
        except BaseException:
            delivery.done.set()
            raise
        room.deliver(delivery)

    def _deliver_guarded(self, delivery: Delivery) -> None:
        # In a greenlet that no error of `render` is to end.
        try:
            self._deliver(delivery)
        except Exception:
            self.logger.exception("an entry of %r is not delivered", delivery.room)

    def _deliver_pending(self) -> None:
        # What will not come back; in the order in which it was published.
        for number in sorted(self._pending):
            delivery = self._pending.get(number)
            if delivery is not None and delivery.awaited:
                del self._pending[number]
                self._deliver_guarded(delivery)

    def _prepared(self, entry: Entry) -> PreparedMessage:
        if self._render is None:
            return PreparedMessage(entry.message)
        return PreparedMessage(self._render(entry))

    def _parse_since(self, since: str | EntryId | None) -> EntryId | None:
        if since is None or since == BEGINNING:
            return None
        return since if isinstance(since, EntryId) else EntryId.parse(since)

    def _catch_up(self, room: Room, ws: Connection, after: EntryId | None) -> bool:
        # Send what was missed; what comes meanwhile is held, and sent after it.
        # Return whether there is a gap.
        held = CatchingUp(ws, self._slow, self._budget, self.totals)
        room.catching_up[ws] = held
        try:
            entries, whole = self._bus.read(room.name, after)
            last = held.send(entries, after, self._prepared)
            if last is not None:
                room.seen[ws] = last
            return held.gap or not whole
        finally:
            held.clear()
            del room.catching_up[ws]
