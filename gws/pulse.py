"""What a connection does by itself when its time has come: pings, stalls, the end.

`Pulse` gives a `Link` its deadlines, one entry among those of the hub. What is due
first is done in `on_deadline`, which the hub calls: it may neither block nor raise.
"""

from __future__ import annotations

import random
from typing import Any

from .keepalive import Entry, PingWaiter
from .link import Link
from .observe import tell
from .options import Options
from .protocol.base import Protocol
from .protocol.codes import OP_PING, OP_PONG, OPEN, CloseCode


class Pulse(Link):
    """A connection that keeps itself alive, and ends in time; see `Connection`."""

    def __init__(
        self, sock: Any, protocol: Protocol, options: Options, remote_address: Any
    ) -> None:
        super().__init__(sock, protocol, options, remote_address)
        # When to do what, 0.0 for never, and the entry for the earliest.
        self._ping_due = 0.0
        self._pong_due = 0.0
        # When to look whether something stalls, or has lasted too long.
        self._look_due = 0.0
        self._deadline: Entry | None = None
        # What the peer had not taken, at the last ping, of what the kernel holds.
        self._n_unacknowledged = 0
        self._pings: dict[bytes, PingWaiter] | None = None
        #: Seconds between the last ping and its pong; 0.0 before the first.
        self.latency = 0.0

    def start_keepalive(self) -> None:
        """Begin to send pings, and to look for stalls, once it is open."""
        if self._finished:  # it ended before anybody served it
            return
        now = self._share.deadlines.now()
        if self._options.ping_interval is not None:
            self._ping_due = now + self._options.ping_interval
        self._set_look_due(now)
        self._schedule()

    def on_deadline(self, now: float) -> None:
        """Do what is due; `Deadlines` calls this in the hub."""
        self._deadline = None
        if self._close_due and now >= self._close_due:
            self._close_due = 0.0
            if self.protocol.ending is not None:
                self._conclude()  # nobody took the messages before it
            else:
                self._finish()
            return
        if self._pong_due and now >= self._pong_due:
            self._pong_due = 0.0
            if not self._alive and self._is_silent():
                # Also when the ping itself could not be written.
                self.protocol.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
                self._begin_closing()
                return
        if self._look_due and now >= self._look_due:
            self._look(now)
        if self._ping_due and now >= self._ping_due:
            self._keep_alive(now)
        self._schedule()

    # Deadlines

    def _schedule(self) -> None:
        # See that on_deadline is called at the earliest due time.
        due = 0.0
        for when in (self._ping_due, self._pong_due, self._close_due, self._look_due):
            if when and (not due or when < due):
                due = when
        entry = self._deadline
        if entry is not None:
            if due and entry[0] <= due:
                return  # it fires early enough, and looks again
            self._share.deadlines.cancel(entry)
            self._deadline = None
        if due:
            self._deadline = self._share.deadlines.set(self, due)

    def _expect_end(self) -> None:
        # Nothing else is due any more.
        self._ping_due = self._pong_due = self._close_due = self._look_due = 0.0
        if self._options.close_timeout is not None and not self._finished:
            now = self._share.deadlines.now()
            self._close_due = now + self._options.close_timeout
            self._schedule()

    def _expect_nothing(self) -> None:
        self._ping_due = self._pong_due = self._close_due = self._look_due = 0.0
        if self._deadline is not None:
            self._share.deadlines.cancel(self._deadline)
            self._deadline = None
        pings = self._pings
        self._pings = None
        for waiter in (pings or {}).values():
            waiter.fail(self.protocol.close_exc)

    # Pings

    def _keep_alive(self, now: float) -> None:
        interval, timeout = self._options.ping_interval, self._options.ping_timeout
        self._ping_due = now + interval if interval is not None else 0.0
        if timeout is not None and not self._pong_due:
            self._pong_due = now + timeout
            self._alive = False
            # While nothing but pings is written the kernel need not be asked.
            if self._n_written or self._n_unacknowledged > 0:
                self._n_unacknowledged = self.stream.n_unacknowledged()
            self._n_written = 0
        protocol = self.protocol
        if protocol.state_number != OPEN:
            return
        quiet = self._n_written == 0 and not protocol.out
        # One that was not answered yet will do; else who never answers, but
        # lives, would have us remember more and more of them.
        if not self._pings:
            self._send_ping(random.getrandbits(32).to_bytes(4, "big"))
        elif self.stream.paused and not protocol.out:
            # The answer may stand behind what nobody takes, and so may the end. To
            # write tells us of the end, and the peer, whose pings stand there too,
            # that we live. Section 5.5.3: a pong may be sent unsolicited.
            protocol.write(0x80 | OP_PONG, b"")
        if self.stream.paused and interval is not None:
            # Twice in a time that a peer with the same times waits.
            self._ping_due = now + interval / 2
        self._flush()
        if quiet:
            self._n_written = 0

    def _is_silent(self) -> bool:
        # Whether the peer gave no sign of life since the last ping. The loop calls
        # timers before watchers: what came while it was held up is to be read.
        if not self.stream.paused:
            self.on_readable()
        # Where reading has stopped, silence says nothing; unless somebody waits
        # for the peer to read.
        deaf = self.stream.paused and not self._n_waiting
        n_before = self._n_unacknowledged
        if self.stream.awaits_room:
            # The kernel has got more since. (While it is not full, that less is left
            # of it may be the work of the peer's kernel alone.)
            n_before += self._n_written
        n = self.stream.n_unacknowledged()
        reads = 0 <= n < n_before
        return not (self._alive or deaf or reads)

    def _send_ping(self, payload: bytes) -> PingWaiter:
        self.protocol.write(0x80 | OP_PING, payload)
        waiter = PingWaiter(self._share.deadlines.now())
        if self._pings is None:
            self._pings = {}
        self._pings[payload] = waiter
        return waiter

    def _take_pong(self, data: bytes) -> None:
        # Section 5.5.3: a pong may answer only the latest of several pings.
        pings = self._pings
        if pings is None or data not in pings:
            return
        now = self._share.deadlines.now()
        for payload in list(pings):
            self.latency = pings.pop(payload).answer(now)
            if payload == data:
                break
        if not pings:
            self._pings = None
        if self._options.observers:
            tell(self._options, "ponged", self, self.latency)

    # Stalls, and the end of who has nothing to say

    def _set_look_due(self, now: float) -> None:
        self._look_due = 0.0
        if self._options.stall_timeout is not None:
            self._look_due = now + self._options.stall_timeout
        meter = self._meter
        if meter is not None:
            for due in (meter.window_end, meter.next_due()):
                if due > now and (not self._look_due or due < self._look_due):
                    self._look_due = due

    def _look(self, now: float) -> None:
        # Whether the peer stalls, or the connection has lasted long enough.
        if self.protocol.out:
            self._flush()
        why = self._find_end(now)
        if why and not self.stream.paused:
            # The loop calls timers before watchers: what came while it was held up
            # is to be read.
            self.on_readable()
            why = self._find_end(now)
        protocol = self.protocol
        if protocol.state_number != OPEN or protocol.ending is not None:
            return
        if why == "stalled":
            protocol.fail(CloseCode.POLICY_VIOLATION, why)
        elif why:
            protocol.send_close(CloseCode.GOING_AWAY, why)
        else:
            self._sample(now)
            self._set_look_due(now)
            return
        self._begin_closing()

    def _find_end(self, now: float) -> str:
        # The reason to close; empty if there is none.
        meter = self._meter
        if meter is None:
            return ""
        receiving = self.protocol.receiving
        sending = len(self.protocol.out) > 0
        if meter.window_end and now >= meter.window_end:
            meter.paused = meter.paused or self.stream.paused
            if meter.stalls(receiving, sending, self.stream.n_unacknowledged()):
                return "stalled"
        return meter.overdue(now, receiving or sending)

    def _sample(self, now: float) -> None:
        # What is half way now shall have moved by the next look.
        timeout = self._options.stall_timeout
        meter = self._meter
        if timeout is None or (meter is not None and now < meter.window_end):
            return
        if self._n_waiting and self._messages.draw(self._share.budget):
            # Others have given back what this one was not given.
            self.stream.resume()
        receiving = self.protocol.receiving and not self.stream.paused
        sending = len(self.protocol.out) > 0
        if receiving or sending:
            if meter is None:
                meter = self._meter = self._make_meter(now)
            n = self.stream.n_unacknowledged()
            meter.begin_window(now, timeout, receiving, sending, n)
        elif meter is not None:
            meter.window_end = 0.0
            if not self._options.metered:
                self._meter = None
