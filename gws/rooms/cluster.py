"""Which Redis serves which room: the only one there is, or one master of a cluster.

In a cluster a greenlet finds out who the masters are: at the start, and whenever one is
lost or says that a room is not its own. What waits for a room, and the subscription to
it, then go where the room has gone. What has no master meanwhile is kept.
"""

from __future__ import annotations

import functools
import logging
import random
import time
from typing import Any

import gevent
from gevent.event import Event

from .redis import ERRORS, N_SLOTS, Address, Masters, Place, slot_of
from .shard import Owner, Shard


#: The pauses between two looks at a cluster that is not in order: they grow from the
#: one to the other, in seconds.
MIN_LOOK = 0.25
MAX_LOOK = 10.0


class Shards:
    """The servers behind a bus.

    Args:
        place: where they are.
        owner: is told what happens to them.
        history: entries are kept there.
        timeout: seconds to wait for subscriptions elsewhere.
        scripts: are loaded for those who call them.
    """

    def __init__(
        self,
        place: Place,
        owner: Owner,
        *,
        history: bool,
        timeout: float,
        scripts: tuple[str, ...] = (),
    ) -> None:
        self._place = place
        self._owner = owner
        self._history = history
        self._timeout = timeout
        self._scripts = scripts
        # By address; None is that of the only one.
        self._shards: dict[Address, Shard] = {}
        # Those that were masters, until they have ended.
        self._gone: list[Shard] = []
        # It serves what nobody does; never connected.
        self._nowhere = self._make(None)
        self._slots = [self._nowhere] * N_SLOTS if place.is_cluster else []
        # Who says it best, if a server has told of another.
        self._hint: Address = None
        self._look = Event()
        # As far as we know, all is served by whom we think.
        self._settled = False
        if not place.is_cluster:
            self._shards[None] = self._make(None)
        self._greenlet: Any = None
        self.logger = logging.getLogger("gws.rooms")

    # Public methods

    @property
    def up(self) -> bool:
        """Whether all rooms are served."""
        return self._settled and all(shard.up for shard in self._shards.values())

    @property
    def n_lost(self) -> int:
        """How many commands were lost, because too many waited."""
        return sum(shard.n_lost for shard in (self._nowhere, *self._shards.values()))

    @property
    def lag(self) -> float:
        """How many seconds the last exchange with the slowest of them took."""
        return max((shard.lag for shard in self._shards.values()), default=0.0)

    def start(self) -> None:
        """Begin to connect."""
        if self._place.is_cluster:
            self._greenlet = gevent.spawn(self._keep_looking)
        else:
            self._settled = True
            self._shards[None].start()

    def of(self, key: bytes) -> Shard:
        """Return which one serves a key, or a channel, now."""
        if self._place.is_cluster:
            return self._slots[slot_of(key)]
        return self._shards[None]

    def wait_for(self, key: bytes, deadline: float) -> Shard:
        """Return which one serves a key, once it is known whether it is there."""
        shard = self.of(key)
        # Connected: it is its own greenlet that asks, before all is decided.
        while not (shard.connected or shard.decided.is_set()):
            if not shard.decided.wait(max(deadline - time.monotonic(), 0)):
                break
            shard = self.of(key)
        return shard

    def on_down(self, exc: Exception) -> None:
        """Look who serves what, now that one of them has failed."""
        if self._place.is_cluster:
            self._settled = False
            self._hint = hint_of(exc) or self._hint
            self._look.set()

    def close(self, deadline: float) -> None:
        """Have all that waits sent, then end."""
        try:
            for shard in self._shards.values():
                shard.flush(deadline)
        finally:
            self.stop()

    def stop(self) -> None:
        """End now."""
        greenlet, self._greenlet = self._greenlet, None
        try:
            if greenlet is not None and greenlet is not gevent.getcurrent():
                greenlet.kill()
        finally:
            for shard in (self._nowhere, *self._gone, *self._shards.values()):
                shard.stop()

    # Private methods

    def _make(self, address: Address) -> Shard:
        connect = functools.partial(self._place.connect, address)
        return Shard(
            connect,
            self._owner,
            history=self._history,
            sharded=self._place.is_cluster,
            scripts=self._scripts,
        )

    def _keep_looking(self) -> None:
        pause = MIN_LOOK
        while True:
            self._look.clear()
            hint, self._hint = self._hint, None
            try:
                masters = self._place.masters(hint)
            except ERRORS as exc:
                self._owner.on_down(exc)
            else:
                self._arrange(masters)
            self._nowhere.decided.set()
            if self.up:
                pause = MIN_LOOK
                self._look.wait()
            gevent.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, MAX_LOOK)

    def _arrange(self, masters: Masters) -> None:
        # Nothing switches until all that has moved is where it belongs.
        known = self._shards
        self._shards = {a: known.get(a) or self._make(a) for a in masters}
        self._gone += [known[a] for a in known if a not in masters]
        self._slots = [self._nowhere] * N_SLOTS
        for address, ranges in masters.items():
            for first, last in ranges:
                n = last - first + 1
                self._slots[first : last + 1] = [self._shards[address]] * n
        channels: list[bytes] = []
        for shard in (self._nowhere, *known.values()):
            channels += self._move_from(shard)
        confirmed = [self.of(channel).subscribe(channel) for channel in channels]
        while self._gone:
            self._gone[-1].stop()
            self._gone.pop()
        for address in masters:
            if address not in known:
                self._shards[address].start()
        self._settle(channels, confirmed)

    def _move_from(self, shard: Shard) -> list[bytes]:
        commands, channels = shard.give_up(lambda key: self.of(key) is shard)
        for command in commands:
            self.of(command.key).put(command)
        return channels

    def _settle(self, channels: list[bytes], confirmed: list[Event]) -> None:
        gevent.wait(confirmed, timeout=self._timeout)
        self._owner.on_back([c for c in channels if self.of(c).connected])
        if self._nowhere not in self._slots and not self._look.is_set():
            self._settled = True
            self._owner.on_up()


def hint_of(exc: Exception) -> Address:
    """Return which node a server has told of, if it has."""
    address: Address = getattr(exc, "node_addr", None)
    return address if address is not None and address[0] else None
