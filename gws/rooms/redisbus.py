"""Rooms over Redis: a channel a room, and where history is kept a stream a room.

Without history an entry is published and that is all. With it, a script gives it its
place in the room's stream and publishes it in one step: so the order of the stream is
that in which all processes get it, and a hole in the numbers tells of entries that
were missed; they are read from the stream.

What is published while Redis is away waits, up to a limit, until it is back.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import time
from collections.abc import Iterable
from typing import Any

import gevent

from .bus import BusStats, Receiver
from .cluster import Shards
from .command import Command
from .entry import Entry, EntryId, InvalidEntryId
from .envelope import InvalidEnvelope, pack
from .names import channel_of
from .redis import ERRORS, Place
from .redispresence import SCRIPT, SIGNS, RedisPresence
from .scripts import Kept, parse_message, publish_command, read_command
from .subscription import Subscription


#: For how many seconds a room without members stays subscribed: they may come back.
GRACE = 5.0

#: Of what anybody can make happen, a line is logged at most so often, in seconds.
LOG_INTERVAL = 10.0


class RedisBus:
    """The bus "redis://…"; see `gws.rooms.redis` for its URLs.

    Args:
        url: where Redis is.
        history: how many entries of a room are kept.
        ttl: for how many seconds each; None is for ever.
        timeout: seconds that each call may take.

    Raises:
        ValueError: if the URL makes no sense.
    """

    def __init__(
        self, url: str, history: int = 0, ttl: float | None = None, timeout: float = 5
    ) -> None:
        self._place = Place(url)
        self._history = history
        self._ttl = ttl
        self._timeout = timeout
        self._receiver: Receiver | None = None
        self._presence: RedisPresence | None = None
        self._shards = self._make_shards()
        self._working = False
        self._subscriptions: dict[bytes, Subscription] = {}
        self._janitor: Any = None
        # The receiver knows that Redis is away; and how often it has been.
        self._is_down = False
        self._n_downs = 0
        self._missed = False
        # When which line was logged last.
        self._logged: dict[str, float] = {}
        #: How many messages came that were no entries.
        self.n_invalid = 0
        #: How many entries Redis has refused, for want of rights or memory.
        self.n_refused = 0
        #: How often messages of a room may have been missed.
        self.n_gaps = 0
        self.logger = logging.getLogger("gws.rooms")

    @property
    def stats(self) -> BusStats:
        """How it is."""
        shards = self._shards
        return BusStats(
            shards.up,
            shards.lag,
            self.n_gaps,
            self.n_invalid,
            shards.n_lost,
            self.n_refused,
        )

    # Public methods

    def presence(self, lease: float) -> RedisPresence:
        """See `Bus`."""
        if self._presence is not None:
            self._presence.stop()
        self._presence = RedisPresence(
            self._place.prefix,
            sharded=self._place.is_cluster,
            lease=lease,
            call=self._call,
            put=self._put,
            tell=self._tell_presence,
        )
        return self._presence

    def start(self, receiver: Receiver) -> None:
        """See `Bus`."""
        before, self._shards = self._shards, self._make_shards()
        self._receiver = receiver
        self._is_down = self._missed = False
        self._working = True
        for channel in self._subscriptions:
            self._shards.of(channel).subscribe(channel)
        self._shards.start()
        # In a fork: what they have open is the parent's.
        before.stop()

    def publish(self, room: str, entry: Entry) -> bool:
        """See `Bus`."""
        deadline = time.monotonic() + self._timeout
        channel = channel_of(self._place.prefix, room)
        data = pack(entry)
        make = functools.partial(
            publish_command,
            channel,
            data,
            sharded=self._place.is_cluster,
            history=self._history,
            ttl=self._ttl,
        )
        refused = functools.partial(self._on_refused, room, entry)
        n_downs = self._n_downs
        # Before anything waits: so those who publish keep their order.
        taken = self._shards.of(channel).put(Command(channel, make, len(data), refused))
        if not taken:
            self._warn("too much waits for Redis: some entries reach this process only")
        self._shards.wait_for(channel, deadline).wait_for_room(deadline)
        # With history it comes back, so that all get all entries in one order.
        was_up = self._shards.up and n_downs == self._n_downs
        return bool(self._history) and taken and was_up

    def subscribe(self, room: str) -> None:
        """See `Bus`."""
        deadline = time.monotonic() + self._timeout
        channel = channel_of(self._place.prefix, room)
        subscription = self._subscriptions.get(channel)
        if subscription is None:
            subscription = Subscription(room, channel, self._read, self._hand_on)
            self._subscriptions[channel] = subscription
        subscription.leaves = 0.0
        if self._shards.wait_for(channel, deadline).up and self._history:
            with contextlib.suppress(*ERRORS, InvalidEntryId):
                subscription.begin()
        shard = self._shards.of(channel)
        confirmed = shard.subscribe(channel)
        if shard.up:
            confirmed.wait(max(deadline - time.monotonic(), 0))

    def unsubscribe(self, room: str) -> None:
        """See `Bus`."""
        channel = channel_of(self._place.prefix, room)
        subscription = self._subscriptions.get(channel)
        if subscription is None:
            return
        subscription.leaves = time.monotonic() + GRACE
        if not self._working:
            del self._subscriptions[channel]
        elif self._janitor is None:
            self._janitor = gevent.spawn_later(GRACE, self._forget_left)

    def read(self, room: str, since: EntryId | None) -> tuple[list[Entry], bool]:
        """See `Bus`."""
        try:
            kept = self._read(room, since)
        except (*ERRORS, InvalidEntryId) as exc:
            self.logger.info("no history of %r: %s", room, exc)
            return [], False
        return kept.after(since)

    def close(self) -> None:
        """See `Bus`."""
        deadline = time.monotonic() + self._timeout
        self._working = False
        if self._presence is not None:
            self._presence.close()
        janitor, self._janitor = self._janitor, None
        try:
            if janitor is not None and janitor is not gevent.getcurrent():
                janitor.kill()
        finally:
            self._forget_left(math.inf)
            self._shards.close(deadline)

    # For shards

    def on_message(self, channel: bytes, data: bytes) -> None:
        """Take what was published in a channel."""
        subscription = self._subscriptions.get(channel)
        if subscription is None:
            return
        try:
            if data[:1] in SIGNS:
                if self._presence is not None:
                    self._presence.on_message(subscription.room, data)
                return
            entry = parse_message(data)
        except (InvalidEnvelope, InvalidEntryId) as exc:
            self.n_invalid += 1
            self._warn(
                "skipped messages in rooms that are no entries; the last: %s", exc
            )
            return
        if not self._history:
            entry.id = None  # others keep one; then they are to blame for holes
        self._note_gap(subscription.take(entry))

    def on_back(self, channels: Iterable[bytes]) -> None:
        """Read what was missed in channels that are subscribed to again."""
        for channel in channels:
            subscription = self._subscriptions.get(channel)
            if subscription is not None and self._history:
                self._note_gap(subscription.catch_up())
            elif self._is_down:
                self._note_gap(True)

    def on_up(self) -> None:
        """Tell the receiver, once all are up."""
        if self._presence is not None:
            self._presence.enter_again()
        if self._is_down and self._shards.up:
            missed, self._missed = self._missed, False
            self._is_down = False
            self.logger.info("Redis is back")
            assert self._receiver is not None  # `start` has set it
            self._receiver.on_up(missed)

    def on_down(self, exc: Exception) -> None:
        """Tell the receiver, once."""
        self._n_downs += 1
        self._shards.on_down(exc)
        if not self._is_down:
            self._is_down = True
            self.logger.warning("Redis is away: %s", exc)
            assert self._receiver is not None  # `start` has set it
            self._receiver.on_down(exc)

    # Private methods

    def _note_gap(self, missed: bool) -> None:
        self._missed |= missed
        self.n_gaps += missed

    def _make_shards(self) -> Shards:
        return Shards(
            self._place,
            self,
            history=self._history > 0,
            timeout=self._timeout,
            scripts=() if self._presence is None else (SCRIPT,),
        )

    def _call(self, key: bytes, args: tuple[Any, ...], *, urgent: bool = False) -> Any:
        # Return the reply to a command, or raise one of `ERRORS`.
        deadline = time.monotonic() + self._timeout
        shard = self._shards.wait_for(key, deadline)
        command = Command.of(key, args)
        command.urgent = urgent
        return shard.call(command, deadline)

    def _put(self, key: bytes, args: tuple[Any, ...]) -> None:
        # Have a command of presence sent, unless Redis is away: then all is told anew.
        shard = self._shards.of(key)
        if shard.up:
            shard.put(Command.of(key, args, self._on_presence_refused))

    def _on_presence_refused(self, exc: Exception) -> None:
        self._warn("Redis refuses to be told who is in rooms: %s", exc)

    def _tell_presence(self, room: str, user: str, came: bool) -> None:
        assert self._receiver is not None  # `start` has set it
        self._receiver.on_presence(room, user, came)

    def _read(self, room: str, since: EntryId | None) -> Kept:
        channel = channel_of(self._place.prefix, room)
        # Before what waits to be published: that comes by the channel.
        reply = self._call(channel, read_command(channel, since), urgent=True)
        kept = Kept(reply, self._ttl)
        self.n_invalid += kept.n_invalid
        return kept

    def _hand_on(self, room: str, entry: Entry) -> None:
        assert self._receiver is not None  # `start` has set it
        self._receiver.on_entry(room, entry)

    def _on_refused(self, room: str, entry: Entry, exc: Exception) -> None:
        self.n_refused += 1
        self._warn("Redis refuses entries: they reach this process only: %s", exc)
        if self._history:
            self._hand_on(room, entry)  # whoever waits for it to come back has it

    def _warn(self, line: str, *args: object) -> None:
        now = time.monotonic()
        if now - self._logged.get(line, -LOG_INTERVAL) >= LOG_INTERVAL:
            self._logged[line] = now
            self.logger.warning(line, *args)

    def _forget_left(self, until: float | None = None) -> None:
        # The grace of at least one room is over.
        now = time.monotonic()
        due = []
        for channel, subscription in list(self._subscriptions.items()):
            if subscription.leaves and subscription.leaves <= (until or now):
                del self._subscriptions[channel]
                self._shards.of(channel).unsubscribe(channel)
            elif subscription.leaves:
                due.append(subscription.leaves)
        self._janitor = None
        if due:
            self._janitor = gevent.spawn_later(min(due) - now, self._forget_left)
