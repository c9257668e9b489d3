"""What one connection moves in, whether that is too fast or too slow out.

A connection has a `Meter` where an option asks for one, or where something is half
way for longer than `Options.stall_timeout`; the others count nothing.
"""

from __future__ import annotations

import random
from typing import Any, ClassVar

from .exceptions import ProtocolError
from .options import Options
from .protocol.frames import Frame


#: Bytes a second, on average over `stall_timeout`: who moves less has stalled.
MIN_RATE = 64


class RateExceeded(ProtocolError):
    """The peer sends faster than it may."""

    close_code: ClassVar[int] = 1008


class Bucket:
    """A token bucket: it fills with time, and who takes must find enough in it.

    Args:
        rate: tokens a second.
        burst: how many it holds; it is full at first.
        now: the time, in seconds.
    """

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._filled_at = now

    def take(self, n: int, now: float) -> int:
        """Take ``n`` tokens, or what there is; return how many."""
        filled = self._tokens + (now - self._filled_at) * self._rate
        self._filled_at = now
        # Sums of fractions are not exact.
        self._tokens = min(filled + 1e-9, self._burst)
        taken = min(n, int(self._tokens))
        self._tokens -= taken
        return taken


class Meter:
    """Counts what a connection moves.

    Args:
        options: the rates, and the times after which it ends.
        n_header: the bytes of a short frame's header, as they come here.
        now: the time, in seconds, of the clock that the deadlines go by.
    """

    def __init__(self, options: Options, n_header: int, now: float) -> None:
        self._n_header = n_header
        self.bytes_in = 0
        self.frames_in = 0
        self.messages_in = 0
        self.bytes_out = 0
        self.frames_out = 0
        self.messages_out = 0
        # Control frames are no progress of a message.
        self._control_bytes_in = 0
        self._message_bucket: Bucket | None = None
        self._byte_bucket: Bucket | None = None
        if options.message_rate is not None:
            self._message_bucket = Bucket(*options.message_bucket, now)
        if options.byte_rate is not None:
            self._byte_bucket = Bucket(*options.byte_bucket, now)
        self._idle_timeout = options.idle_timeout or 0.0
        self._data_at = now
        # When its time is over; 0.0 for never.
        self._ends_at = 0.0
        if options.max_lifetime is not None:
            # Those that were opened together shall not come back together.
            self._ends_at = now + options.max_lifetime * random.uniform(0.9, 1)
        #: When the window ends in which something must move; 0.0 without one.
        self.window_end = 0.0
        #: Reading has stopped in it: that little came is not the peer's fault.
        self.paused = False
        # What was half way when it began, and the counts of then.
        self._min_moved = 0.0
        self._was_receiving = False
        self._was_sending = False
        self._progress_before = 0
        self._messages_before = 0
        self._taken_before = 0

    # What moves

    def take_bytes(self, n: int, now: float) -> int:
        """Count bytes that were read; return how many of them may be used."""
        self.bytes_in += n
        return n if self._byte_bucket is None else self._byte_bucket.take(n, now)

    def take_events(self, events: list[Any], now: float) -> int:
        """Count frames that came; return how many of them may be used."""
        n_frames = 0
        for event in events:
            if isinstance(event, Frame):
                n_frames += 1
                if event.first & 0x08:
                    self._control_bytes_in += self._n_header + len(event.payload)
                    continue
                self._data_at = now
                if event.first & 0x80:
                    self.messages_in += 1
            elif isinstance(event, (str, bytes)):
                n_frames += 1
                self.messages_in += 1
                self._data_at = now
        self.frames_in += n_frames
        if self._message_bucket is None:
            return len(events)
        allowed = self._message_bucket.take(n_frames, now)
        # What is no frame, the answer to the opening handshake, comes first.
        return len(events) - n_frames + allowed

    def sent(self, whole: bool, now: float) -> None:
        """Count a data frame; ``whole`` if its message ends with it."""
        self.frames_out += 1
        if whole:
            self.messages_out += 1
        self._data_at = now

    # How long it lasts

    def next_due(self) -> float:
        """Return when `overdue` is to be asked; 0.0 for never."""
        due = self._ends_at
        if self._idle_timeout:
            idle_at = self._data_at + self._idle_timeout
            if not due or idle_at < due:
                due = idle_at
        return due

    def overdue(self, now: float, busy: bool) -> str:
        """Return why the connection has lasted long enough; empty if it has not.

        Args:
            busy: a message is half way: it is not idle.
        """
        if self._ends_at and now >= self._ends_at:
            return "lifetime"
        if self._idle_timeout and now >= self._data_at + self._idle_timeout:
            if not busy:
                return "idle"
            self._data_at = now
        return ""

    # Whether it stalls

    def begin_window(
        self,
        now: float,
        seconds: float,
        receiving: bool,
        sending: bool,
        n_unacknowledged: int,
    ) -> None:
        """Look from now on how much of what is half way moves.

        Args:
            receiving, sending: what is half way.
            n_unacknowledged: as `Stream.n_unacknowledged`.
        """
        self.window_end = now + seconds
        self.paused = False
        self._min_moved = MIN_RATE * seconds
        self._was_receiving = receiving
        self._was_sending = sending
        self._progress_before = self.bytes_in - self._control_bytes_in
        self._messages_before = self.messages_in
        self._taken_before = self.bytes_out - n_unacknowledged

    def stalls(self, receiving: bool, sending: bool, n_unacknowledged: int) -> bool:
        """Tell whether too little moved in the window of what was half way.

        Args:
            receiving, sending, n_unacknowledged: as they are at its end.
        """
        if receiving and self._was_receiving and not self.paused:
            moved = self.bytes_in - self._control_bytes_in - self._progress_before
            whole = self.messages_in - self._messages_before
            if not whole and moved < self._min_moved:
                return True
        # What the kernel got since, and what it has got rid of.
        moved = self.bytes_out - n_unacknowledged - self._taken_before
        return sending and self._was_sending and moved < self._min_moved
