"""Frames in, whole messages out, and when there are enough of them.

A queue between who reads the socket and who calls `recv`. Fragments are gathered
as they come, in one buffer, so that a message in many fragments costs what its
payload costs. Who streams a message takes what has gathered, again and again.
"""

from __future__ import annotations

from .protocol.codes import OP_TEXT
from .protocol.frames import Frame


#: How many times `max_size` is taken while both sides send and nobody receives.
PATIENCE = 64

#: What a message costs beyond its payload, in bytes, so that empty ones count.
OVERHEAD = 64

#: What the connections of one hub may hold beyond their own limits, all together,
#: while both sides send and nobody receives; in bytes.
BUDGET = 2**28


#: How much of a message that is taken in pieces may wait for who takes them, in
#: bytes: nobody needs the whole of it at once.
AHEAD = 2**18


class Budget:
    """Bytes that several connections draw from."""

    def __init__(self, size: int = BUDGET) -> None:
        self.left = size


class Drawn:
    """What one connection has drawn; it comes back with the end of this object."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._n = 0

    def set(self, n: int) -> bool:
        """Draw ``n`` bytes in all; return whether the budget has them."""
        if n - self._n > self._budget.left:
            return False
        self._budget.left -= n - self._n
        self._n = n
        return True

    def __del__(self) -> None:
        self._budget.left += self._n


class Messages:
    """The messages that came and were not received yet.

    Args:
        high: with more messages than this it is full; 0 means never.
        low: with no more than this there is room again.
        max_size: with more bytes than this it is full, too; 0 means never.
    """

    def __init__(self, high: int, low: int, max_size: int) -> None:
        self._high = high
        self._low = low
        self._max_size = max_size
        # The queue is what lies behind _head; one list, emptied as a whole.
        self._queue: list[str | bytes] = []
        self._head = 0
        self._size = 0
        # The message whose fragments are coming.
        self._part: bytearray | None = None
        self._part_is_text = False
        #: The next message is taken in pieces: `stream` began it.
        self.streaming = False
        #: Whether it is Text; known once a piece was taken.
        self.stream_is_text = False
        # What has gathered of it, None until some has; whether nothing follows.
        self._stream: bytearray | None = None
        self._stream_ended = False
        # What is above the limits, while a budget pays for it.
        self._drawn: Drawn | None = None

    def take(self, messages: list[str | bytes]) -> list[str | bytes]:
        """Take whole messages, in the order of their arrival.

        Returns:
            An empty list, for the next ones. (Micro-optimization: most often the
            two lists change places, and no message is touched.)
        """
        for message in messages:
            self._size += len(message)
        if self._queue:
            self._queue.extend(messages)
            messages.clear()
            return messages
        empty = self._queue
        self._queue = messages
        return empty

    def put(self, frame: Frame) -> None:
        """Take a frame of a message in several, in the order of its arrival."""
        if self._part is None and frame.first & 0x80:
            message = frame.payload
        else:
            if self._part is None:
                self._part = bytearray()
                self._part_is_text = frame.first & 0x0F == OP_TEXT
            self._part += frame.payload
            if not frame.first & 0x80:
                return
            part = self._part
            self._part = None
            if part is self._stream:
                self._stream_ended = True
                return
            # The reader has checked the text.
            message = part.decode() if self._part_is_text else bytes(part)
        self._queue.append(message)
        self._size += len(message)

    def get(self) -> str | bytes:
        """Return the oldest message; `ready` must have said that there is one."""
        queue = self._queue
        message = queue[self._head]
        self._head += 1
        if self._head == len(queue):
            queue.clear()
            self._head = 0
            self._size = 0
        else:
            queue[self._head - 1] = ""
            self._size -= len(message)
            # A queue that is never empty must not grow for ever.
            if self._head >= 64 and self._head * 2 >= len(queue):
                del queue[: self._head]
                self._head = 0
        if self._drawn is not None:
            self._give_back()
        return message

    def ready(self) -> bool:
        """Tell whether there is something to take: a whole message, or a piece."""
        if self.streaming:
            if self._stream is not None:
                return self._stream_ended or len(self._stream) > 0
            if self._part is not None:
                return True
        return self._head < len(self._queue)

    # The next message in pieces

    def stream(self) -> None:
        """Have the next message taken in pieces, with `get_piece`."""
        self.streaming = True

    def get_piece(self) -> tuple[str | bytes, bool]:
        """Return what is there of the message; `ready` must have said that some is.

        Returns:
            The piece, and whether it is the last. Of Text it is bytes, too, and may
            end inside a character, unless it is the whole message. The last one may
            be empty.
        """
        if self._stream is None:
            if self._head < len(self._queue):
                self.streaming = False
                return self.get(), True
            self._stream = self._part
            self.stream_is_text = self._part_is_text
        stream = self._stream
        assert stream is not None  # `ready` has said so
        piece = bytes(stream)
        stream.clear()
        ended = self._stream_ended
        if ended:
            self.end_stream()
        return piece, ended

    def end_stream(self) -> None:
        """Take no more pieces."""
        self.streaming = False
        self._stream = None
        self._stream_ended = False

    # When there is enough

    def full(self) -> bool:
        """Tell whether reading should stop."""
        n = len(self._queue) - self._head
        if (0 < self._high < n) or (0 < self._max_size < self._size):
            return True
        return self._is_ahead()

    def draw(self, budget: Budget) -> bool:
        """Have a budget pay for what is above the limits, while a sender waits.

        Returns:
            Whether it does; if not, reading should stop even so.
        """
        excess = self._excess()
        if not excess:
            return True
        if 0 < self._max_size * (PATIENCE - 1) < excess:
            return False
        if self._drawn is None:
            self._drawn = Drawn(budget)
        return self._drawn.set(excess)

    def has_room(self) -> bool:
        """Tell whether reading may go on after it stopped."""
        n = len(self._queue) - self._head
        fits = self._max_size == 0 or self._size <= self._max_size
        return n <= self._low and fits and not self._is_ahead()

    def _is_ahead(self) -> bool:
        return self._stream is not None and len(self._stream) > AHEAD

    def _excess(self) -> int:
        # How many bytes there are above max_size.
        n = len(self._queue) - self._head
        return max(self._size + n * OVERHEAD - self._max_size, 0)

    def _give_back(self) -> None:
        excess = self._excess()
        if self._drawn is not None and excess:
            self._drawn.set(excess)
        else:
            self._drawn = None
