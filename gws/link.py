"""The hub's half of a connection: what happens without a greenlet of its own.

`Link` joins a `Protocol` (what octets mean) to a `Stream` (the socket). The hub
calls `on_readable`, which feeds the protocol; greenlets that wait in `recv` then
have their turns (`turns.Turns`). So pings are answered and closes are seen while a
handler does something else, without a second greenlet.

Writing is corked: frames gather in a buffer, which goes out in one call when the
callback that woke the sender returns, before `recv` waits, at the end of this turn
of the loop, or when it has grown past a mark.

What the hub calls here may neither block nor raise. What a connection does when its
time has come is `pulse.Pulse`; the greenlets' half is `connection.Connection`.
"""

from __future__ import annotations

import contextlib
import sys
import uuid
from typing import Any

from gevent import get_hub
from gevent.event import Event

from .limits import Meter, RateExceeded
from .messages import Messages
from .options import Options
from .protocol.base import Protocol, split_max_size
from .protocol.codes import CLOSED, CLOSING, CONNECTING, OP_PONG
from .protocol.frames import Frame
from .protocol.mask import take_bytes
from .protocol.reader import HEADROOM
from .stream import Stream
from .turns import Awaited


#: Frames are held back until they are this many bytes.
CORK_SIZE = 2**16


class Link(Awaited):
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
        super().__init__(hub)
        self.protocol = protocol
        self.stream = Stream(sock, hub, self._share.buffer, protocol.out)
        self.configure(options)
        #: The request or response of the opening handshake, until it is taken.
        self.handshake_event: Any = None
        # The hub's share will flush.
        self._corked = False
        # Octets came, or were taken, since the last ping.
        self._alive = False
        # How many octets the kernel took since.
        self._n_written = 0
        # The kernel takes nothing any more.
        self._broken = False
        # Messages that nobody has room for are dropped: we are closing.
        self._dropping = False
        # One was.
        self._dropped = False
        # How much of what comes next was counted before.
        self._n_counted = 0
        self._drained: Event | None = None
        # How many greenlets wait for _drained.
        self._n_waiting = 0
        # When it is cut if it has not ended; 0.0 for never.
        self._close_due = 0.0
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

    @property
    def meter(self) -> Meter | None:
        """What counts its frames, messages and bytes; None where nobody asks for it."""
        return self._meter

    # For who opens the connection

    def start(self) -> None:
        """Begin to read."""
        self.stream.start(self.on_readable)

    def process_events(self) -> None:
        """Bring what the protocol has found to whom it concerns."""
        if self._meter is not None:
            # Frames that came with the opening handshake.
            self._count_events(self._share.deadlines.now())
        self._process_events()

    def wait_handshake(self) -> Any:
        """Return the request or response of the opening handshake; None at EOF."""
        while self.handshake_event is None and self.protocol.state_number == CONNECTING:
            self._wait_input()
        event = self.handshake_event
        self.handshake_event = None
        return event

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
            n_known = min(self._n_counted, n)
            self._n_counted -= n_known
            if protocol.state_number == CONNECTING:
                protocol.receive_data(take_bytes(buffer, HEADROOM, HEADROOM + n))
            elif self._meter is not None:
                self._receive_counted(n, n_known)
            else:
                protocol._receive(buffer, HEADROOM, HEADROOM + n)
        self._process_events()

    def _receive_counted(self, n: int, n_known: int) -> None:
        # Only what the rates allow is taken. What comes again was counted.
        protocol = self.protocol
        meter = self._meter
        if protocol.deaf or meter is None:
            return
        now = self._share.deadlines.now()
        allowed = n_known + meter.take_bytes(n - n_known, now)
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
            self._n_counted += len(protocol.rest)
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
            self._take_turn()
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
                self._expect_end()
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
                # Pings are answered by now, close frames taken.
                if event.first & 0x0F == OP_PONG:
                    self._take_pong(event.data)
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

    def _before_waiting(self) -> None:
        if self.protocol.out:
            self._flush()

    def _flush(self) -> None:
        # Write what there is, as far as the kernel takes it.
        protocol = self.protocol
        out = protocol.out
        if not self._broken:
            n_before = len(out)
            was_full = self.stream.awaits_room
            try:
                self.stream.flush()
                if not out and protocol.ping_unanswered is not None:
                    protocol.answer_ping()
                    n_before += len(out)
                    self.stream.flush()
                if was_full and len(out) < n_before:
                    # There is room again, because the peer has read.
                    self._alive = True
                self._n_written += n_before - len(out)
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
        elif self.stream.awaits_room:
            self.stream.stop_waiting_writable()
        if self._drained is not None and len(out) <= self._write_low:
            self._drained.set()
        if not out and protocol.eof_to_send:
            self._end_stream()

    def _end_stream(self) -> None:
        # Section 7.1.1: the server closes first, once both have sent a close frame:
        # then nothing more comes that a reset could answer.
        protocol = self.protocol
        if protocol.state_number == CLOSED or protocol.close_rcvd_then_sent is not None:
            self._finish()
        else:
            self.stream.shut()

    def _read_rest(self) -> None:
        # The connection is broken for writing: read to its end, unless that is more
        # than anybody has room for.
        messages = self._messages
        while self.protocol.state_number != CLOSED:
            if messages.full() and not messages.draw(self._share.budget):
                self._finish()
            else:
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
            self._expect_end()
        self.stream.resume()
        self._flush()
        if self._drained is not None:
            self._drained.set()
        if self.protocol.deaf:
            self._wake_receiver()

    def _finish(self) -> None:
        # TCP is gone: release everything that waits, once.
        if self._finished:
            return
        self._finished = True
        self.protocol.receive_eof()
        self.protocol.out.clear()
        with contextlib.suppress(OSError):
            self._local_address = self.local_address
        self.stream.close()
        self._expect_nothing()
        for event in (self._closed, self._drained, self._message_sent):
            if event is not None:
                event.set()
        self._wake_receiver()
        self.on_finished()

    def on_finished(self) -> None:
        """Called once when TCP is gone; for subclasses. May not block or raise."""

    # For `Pulse` to say

    def _take_pong(self, data: bytes) -> None:
        """Take the payload of a pong that came."""

    def _expect_end(self) -> None:
        """See that it ends within close_timeout, whatever the peer does."""

    def _expect_nothing(self) -> None:
        """It has ended: nothing is due any more."""
