"""The hub's half of a connection: what happens without a greenlet of its own.

`Link` joins a `Protocol` (what octets mean) to a `Stream` (the socket). The hub
calls `on_readable`, which feeds the protocol; greenlets that wait in `recv` then
have their `Turns`. So pings are answered and closes are seen while a handler does
something else, without a second greenlet.

Writing is corked: frames gather in a buffer, which goes out in one call when the
callback that woke the sender returns, before `recv` waits, at the end of this turn
of the loop, or when it has grown past a mark.

What the hub calls here may neither block nor raise. The greenlets' half is
`connection.Connection`.
"""

from __future__ import annotations

import contextlib
import secrets
import sys
import uuid
from collections.abc import Callable
from typing import Any

from gevent import get_hub
from gevent.event import Event

from .exceptions import ConcurrencyError
from .greenlets import getcurrent, switch_to, thread_id
from .hubs import share_of
from .keepalive import Entry, PingWaiter
from .limits import Meter, RateExceeded
from .messages import Messages
from .options import Options
from .protocol.base import Protocol, split_max_size
from .protocol.codes import (
    CLOSED,
    CLOSING,
    CONNECTING,
    OP_PING,
    OP_PONG,
    OPEN,
    CloseCode,
)
from .protocol.frames import Frame
from .protocol.mask import take_bytes
from .protocol.reader import HEADROOM
from .stream import Stream


#: Frames are held back until they are this many bytes.
CORK_SIZE = 2**16


class Turns:
    """Whose turn it is, of the connections of one hub that have something to receive.

    All that the loop found to read is read before the first receiver runs. One that
    waits again then switches straight to the next, and only the last to the hub: a
    message costs one switch, not two.
    """

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._links: list[Link] = []
        # How many of them had their turn.
        self._n_had = 0

    def add(self, link: Link) -> None:
        """Give ``link`` a turn, before the loop reads again."""
        if not self._links:
            self._hub.loop.run_callback(self.run)
        self._links.append(link)

    def next_receiver(self) -> Any:
        """Return the greenlet whose turn it is; None if all had theirs."""
        while self._n_had < len(self._links):
            link = self._links[self._n_had]
            self._n_had += 1
            link._awaits_turn = False
            if link._receiver is not None:
                return link._receiver
        return None

    def run(self) -> None:
        """Have each receiver run, then settle what they leave; the hub calls this."""
        while True:
            receiver = self.next_receiver()
            if receiver is None:
                break
            try:
                switch_to(receiver)
            except BaseException:
                # It ended with this; it is not for whom the hub was serving.
                self._hub.handle_error(receiver, *sys.exc_info())
        links = self._links
        self._links = []
        self._n_had = 0
        for link in links:
            link._settle_guarded()


def turns_of(hub: Any) -> Turns:
    """Return the turns of the connections of ``hub``."""
    turns: Turns | None = getattr(hub, "_gws_turns", None)
    if turns is None:
        turns = hub._gws_turns = Turns(hub)
    return turns


class Link:
    """A connection as the hub drives it; see `Connection` for its use.

    Args:
        sock: connected; the connection owns it from now on.
        protocol: knows what the octets mean.
        options: limits and times.
        remote_address: the peer's, as `socket.accept` gives it.
    """

    def __init__(
        self, sock: Any, protocol: Protocol, options: Options, remote_address: Any
    ) -> None:
        hub = get_hub()
        self._hub = hub
        self._share = share_of(hub)
        self._turns = turns_of(hub)
        self.protocol = protocol
        self.stream = Stream(sock, hub, self._share.buffer, protocol.out)
        self.configure(options)
        #: The request or response of the opening handshake, until it is taken.
        self.handshake_event: Any = None
        # The greenlet that waits in recv.
        self._receiver: Any = None
        # The receiver's turn will come; after it, and those of others, we settle.
        self._awaits_turn = False
        self._unsettled = False
        # The hub's share will flush.
        self._corked = False
        # Octets came, or were taken, since the last ping.
        self._alive = False
        # What the peer had not taken then of what the kernel holds.
        self._n_unacknowledged = -1
        # The kernel takes nothing any more.
        self._broken = False
        # Messages that nobody has room for are dropped: we are closing.
        self._dropping = False
        # One was.
        self._dropped = False
        # How much of what comes next was counted before.
        self._n_counted = 0
        # TCP is gone.
        self._finished = False
        self._closed: Event | None = None
        self._drained: Event | None = None
        # How many greenlets wait for _drained.
        self._n_waiting = 0
        # When to do what, 0.0 for never, and the entry for the earliest.
        self._ping_due = 0.0
        self._pong_due = 0.0
        self._close_due = 0.0
        # When to look whether something stalls, or has lasted too long.
        self._look_due = 0.0
        self._deadline: Entry | None = None
        self._pings: dict[bytes, PingWaiter] | None = None
        #: Seconds between the last ping and its pong; 0.0 before the first.
        self.latency = 0.0
        #: The peer's address, as `socket.accept` gives it; also after closing.
        self.remote_address = remote_address
        self._local_address: Any = None
        # Only for `Connection`, which shares this object's layout.
        self._id: uuid.UUID | None = None
        self._fragmenter: Any = None
        self._message_sent: Event | None = None

    def configure(self, options: Options) -> None:
        """Take other limits and times; before the first message."""
        self._options = options
        high, low = options.queue_marks
        max_size, max_fragment = split_max_size(options.max_size)
        self._messages = Messages(high, low, max_size or 0 if high else 0)
        self._write_high, self._write_low = options.write_marks
        self._flush_at = min(self._write_high or CORK_SIZE, CORK_SIZE)
        self.protocol.limit(max_size, max_fragment, options.max_fragments)
        # What is moved is counted only where somebody asks.
        self._meter: Meter | None = None
        if options.metered:
            self._meter = self._make_meter(self._share.deadlines.now())

    def _make_meter(self, now: float) -> Meter:
        return Meter(self._options, 2 if self.protocol.masked else 6, now)

    @property
    def local_address(self) -> Any:
        """Our address, as `socket.getsockname` gives it; also after closing."""
        if self._local_address is None:
            self._local_address = self.stream.sock.getsockname()
        return self._local_address

    # For who opens the connection

    def start(self) -> None:
        """Begin to read."""
        self.stream.start(self.on_readable)

    def start_keepalive(self) -> None:
        """Begin to send pings, and to look for stalls, once it is open."""
        if self._finished:  # it ended before anybody served it
            return
        now = self._share.deadlines.now()
        if self._options.ping_interval is not None:
            self._ping_due = now + self._options.ping_interval
        self._set_look_due(now)
        self._schedule()

    def process_events(self) -> None:
        """Bring what the protocol has found to whom it concerns."""
        if self._meter is not None:
            # Frames that came with the opening handshake.
            self._count_events(self._share.deadlines.now())
        self._process_events()

    def wait_input(self) -> None:
        """Wait for what `on_readable` finds, or the end of the connection."""
        self._wait_input()

    def wait_handshake(self) -> Any:
        """Return the request or response of the opening handshake; None at EOF."""
        while self.handshake_event is None and self.protocol.state_number == CONNECTING:
            self._wait_input()
        event = self.handshake_event
        self.handshake_event = None
        return event

    # For who waits for the end

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until the TCP connection is gone, at most ``timeout`` seconds.

        Returns:
            Whether it is.
        """
        self._check_thread()
        if self._finished or getcurrent() is self._hub:
            return self._finished
        if self._closed is None:
            self._closed = Event()
        return self._closed.wait(timeout)

    def call_when_closed(self, callback: Callable[[], object]) -> None:
        """Call back in the hub, once, when the TCP connection is gone."""
        if self._finished:
            self._hub.loop.run_callback(callback)
            return
        if self._closed is None:
            self._closed = Event()
        self._closed.rawlink(lambda _: callback())

    # Receiving

    def on_readable(self) -> None:
        """Take what came; the hub calls this."""
        try:
            self._take_input()
        except BaseException:
            # A bug of ours: the loop, and other connections, must go on.
            self._hub.handle_error(self, *sys.exc_info())
            self._finish()

    def _take_input(self) -> None:
        protocol = self.protocol
        try:
            n = self.stream.read()
        except OSError:
            self._broken = True
            n = 0
        if n < 0 and not self._broken:
            return
        if n <= 0:
            self.stream.stop_reading()
            protocol.receive_eof()
        else:
            self._alive = True
            buffer = self._share.buffer
            if protocol.state_number == CONNECTING:
                protocol.receive_data(take_bytes(buffer, HEADROOM, HEADROOM + n))
            elif self._meter is not None:
                self._receive_counted(n)
            else:
                protocol._receive(buffer, HEADROOM, HEADROOM + n)
        self._process_events()

    def _receive_counted(self, n: int) -> None:
        # Only what the rates allow is taken.
        protocol = self.protocol
        meter = self._meter
        if protocol.deaf or meter is None:
            return
        now = self._share.deadlines.now()
        known = self._n_counted  # of what comes again
        self._n_counted = 0
        allowed = known + meter.take_bytes(n - known, now)
        protocol._receive(self._share.buffer, HEADROOM, HEADROOM + allowed)
        self._count_events(now)
        if allowed < n and protocol.ending is None:
            self._end_for_rate()

    def _count_events(self, now: float) -> None:
        events = self.protocol.events
        allowed = self._meter.take_events(events, now) if self._meter else len(events)
        if allowed < len(events):
            del events[allowed:]
            self._end_for_rate()

    def _end_for_rate(self) -> None:
        # It takes its turn behind the messages that came before.
        self.protocol.ending = RateExceeded("rate limit")
        self.protocol.deaf = True

    def _process_events(self) -> None:
        protocol = self.protocol
        messages = self._messages
        if protocol.rest:
            self.stream.unread(protocol.rest)
            self._n_counted = len(protocol.rest)
            protocol.rest = b""
        if protocol.events:
            if protocol.mixed or self._dropping:
                self._sort_events()
            else:
                protocol.events = messages.take(protocol.events)
        if self._receiver is not None and (
            messages.ready()
            or self.handshake_event is not None
            or protocol.state_number == CONNECTING
            or protocol.state_number == CLOSED
        ):
            # Its turn comes once all that the loop found to read is read.
            if not self._awaits_turn:
                self._awaits_turn = self._unsettled = True
                self._turns.add(self)
        elif not self._unsettled:
            self._settle()

    def _settle_guarded(self) -> None:
        # Do what the receiver's turn has left to do.
        self._unsettled = False
        try:
            self._settle()
        except BaseException:
            self._hub.handle_error(self, *sys.exc_info())
            self._finish()

    def _settle(self) -> None:
        protocol = self.protocol
        messages = self._messages
        if protocol.ending is not None:
            # Its turn comes when the messages before it are taken; unless we
            # are closing already, and could not answer them.
            if self._dropping or not messages.ready():
                self._conclude()
            elif not self._close_due:
                self._set_close_due()
        elif protocol.state_number >= CLOSING and not self._dropping:
            self._begin_closing()
        if (
            not self._dropping
            and messages.full()
            and not (self._n_waiting and messages.draw(self._share.budget))
        ):
            self.stream.pause()
            if self._meter is not None:
                self._meter.paused = True
        if protocol.out or protocol.eof_to_send:
            self._flush()

    def _sort_events(self) -> None:
        protocol = self.protocol
        events = protocol.events
        for event in events:
            if isinstance(event, Frame) and event.first & 0x08:
                self._take_control_frame(event)
            elif not isinstance(event, (Frame, str, bytes)):
                self.handshake_event = event
            elif self._dropping and (self._dropped or self._messages.full()):
                # We are closing, and nobody has room for it; nor for what follows,
                # or there would be a hole.
                self._dropped = True
            elif isinstance(event, Frame):
                self._messages.put(event)
            else:
                self._messages.take([event])
        events.clear()
        protocol.mixed = False

    def _take_control_frame(self, frame: Frame) -> None:
        # Pings are answered by now, close frames taken.
        if frame.first & 0x0F == OP_PONG:
            self._take_pong(frame.data)

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

    def _wake_receiver(self) -> None:
        # Have the greenlet that waits in recv look again.
        if self._receiver is None:
            return
        if getcurrent() is self._hub:
            self._switch_to_receiver()
        else:
            self._hub.loop.run_callback(self._wake_receiver)

    def _switch_to_receiver(self) -> None:
        # Straight into the greenlet that waits in recv; only the hub may.
        receiver = self._receiver
        try:
            switch_to(receiver)
        except BaseException:
            # It ended with this; it is not for whom the hub was serving.
            self._hub.handle_error(receiver, *sys.exc_info())

    def _check_thread(self) -> None:
        if thread_id() != self._share.thread:
            raise ConcurrencyError(
                "a connection belongs to the thread (the gevent hub) that made it"
            )

    def _wait_input(self) -> None:
        # Until on_readable, or the end of the connection, switches back.
        current = getcurrent()
        if current is self._hub:
            raise ConcurrencyError("the hub can't wait for a message")
        self._receiver = current
        try:
            if self.protocol.out:
                self._flush()
            # Micro-optimization: not the method of gevent's hub. What that adds is
            # the check above; its call costs each idle connection some stack.
            following = self._turns.next_receiver()
            switch_to(self._hub if following is None else following)
        finally:
            self._receiver = None

    # Sending

    def _cork(self) -> None:
        # Have it flushed, when its turn or that of the loop ends.
        if not self._unsettled and not self._corked:
            self._corked = True
            self._share.flush_later(self)

    def uncork(self) -> None:
        """Write what was sent in this turn of the loop; the hub calls this."""
        self._corked = False
        if self.protocol.out:
            self._flush()

    def on_writable(self) -> None:
        """Write more; the hub calls this when the kernel has room."""
        self._flush()
        if not self.protocol.out:
            self.stream.stop_waiting_writable()

    def _flush(self) -> None:
        # Write what there is, as far as the kernel takes it.
        protocol = self.protocol
        out = protocol.out
        if not self._broken:
            n_before = len(out)
            was_full = self.stream.awaits_room()
            try:
                self.stream.flush()
                if not out and protocol.ping_unanswered is not None:
                    protocol.answer_ping()
                    n_before += len(out)
                    self.stream.flush()
                if was_full and len(out) < n_before:
                    # There is room again, because the peer has read.
                    self._alive = True
                if self._meter is not None:
                    self._meter.bytes_out += n_before - len(out)
            except OSError:
                # What the peer sent before may still be read.
                self._broken = True
                self._hub.loop.run_callback(self._read_rest)
        if self._broken:
            out.clear()
        if out:
            self.stream.wait_writable(self.on_writable)
        if self._drained is not None and len(out) <= self._write_low:
            self._drained.set()
        if not out and protocol.eof_to_send:
            # Section 7.1.1: the server closes first, once both have sent a close
            # frame: then nothing more comes that a reset could answer.
            if (
                protocol.state_number == CLOSED
                or protocol.close_rcvd_then_sent is not None
            ):
                self._finish()
            else:
                self.stream.shut()

    def _read_rest(self) -> None:
        # The connection is broken for writing: read to its end.
        while self.protocol.state_number != CLOSED:
            self.on_readable()

    # The end

    def _conclude(self) -> None:
        # Answer the close frame, or the violation, that ended the stream.
        self.protocol.conclude()
        self._begin_closing()

    def _begin_closing(self) -> None:
        if not self._dropping:
            # Once: close_timeout is for all of it, not for each step.
            self._dropping = True
            self._set_close_due()
        self.stream.resume()
        self._flush()
        if self._drained is not None:
            self._drained.set()
        if self.protocol.deaf:
            self._wake_receiver()

    def _set_close_due(self) -> None:
        self._ping_due = self._pong_due = self._close_due = self._look_due = 0.0
        if self._options.close_timeout is not None and not self._finished:
            now = self._share.deadlines.now()
            self._close_due = now + self._options.close_timeout
            self._schedule()

    def _finish(self) -> None:
        # TCP is gone: release everything that waits, once.
        if self._finished:
            return
        self._finished = True
        self._ping_due = self._pong_due = self._close_due = self._look_due = 0.0
        self.protocol.receive_eof()
        self.protocol.out.clear()
        with contextlib.suppress(OSError):
            self._local_address = self.local_address
        self.stream.close()
        if self._deadline is not None:
            self._share.deadlines.cancel(self._deadline)
            self._deadline = None
        for event in (self._closed, self._drained, self._message_sent):
            if event is not None:
                event.set()
        for waiter in (self._pings or {}).values():
            waiter.fail(self.protocol.close_exc)
        self._pings = None
        self._wake_receiver()
        self.on_finished()

    def on_finished(self) -> None:
        """Called once when TCP is gone; for subclasses. May not block or raise."""

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
            if self._is_silent():
                # Also when the ping itself could not be written.
                self.protocol.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
                self._begin_closing()
                return
        if self._look_due and now >= self._look_due:
            self._look(now)
        if self._ping_due and now >= self._ping_due:
            self._keep_alive(now)
        self._schedule()

    def _is_silent(self) -> bool:
        # Whether the peer gave no sign of life since the last ping. The loop calls
        # timers before watchers: what came while it was held up is to be read.
        if not self._alive and not self.stream.paused:
            self.on_readable()
        # Where reading has stopped, silence says nothing; unless somebody waits
        # for the peer to read.
        deaf = self.stream.paused and not self._n_waiting
        reads = self.stream.n_unacknowledged() < self._n_unacknowledged
        return not (self._alive or deaf or reads)

    def _keep_alive(self, now: float) -> None:
        interval, timeout = self._options.ping_interval, self._options.ping_timeout
        self._ping_due = now + interval if interval is not None else 0.0
        if timeout is not None and not self._pong_due:
            self._pong_due = now + timeout
            self._alive = False
            self._n_unacknowledged = self.stream.n_unacknowledged()
        # One that was not answered yet will do; else who never answers, but
        # lives, would have us remember more and more of them.
        if self.protocol.state_number == OPEN and not self._pings:
            self._send_ping(secrets.token_bytes(4))

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

    def _send_ping(self, payload: bytes) -> PingWaiter:
        self.protocol.write(0x80 | OP_PING, payload)
        self._cork()
        waiter = PingWaiter(self._share.deadlines.now())
        if self._pings is None:
            self._pings = {}
        self._pings[payload] = waiter
        return waiter
