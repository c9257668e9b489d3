"""Frames in, whole messages out, and when there are enough of them.

A queue between who reads the socket and who calls `recv`. Fragments are gathered
as they come, in one buffer, so that a message in many fragments costs what its
payload costs.
"""

from __future__ import annotations

from .protocol.codes import OP_TEXT
from .protocol.frames import Frame


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

    def put(self, frame: Frame) -> None:
        """Take a data frame, in the order of its arrival."""
        if self._part is None and frame.first & 0x80:
            message = frame.payload
        else:
            if self._part is None:
                self._part = bytearray()
                self._part_is_text = frame.first & 0x0F == OP_TEXT
            self._part += frame.payload
            if not frame.first & 0x80:
                return
            # The reader has checked the text.
            message = self._part.decode() if self._part_is_text else bytes(self._part)
            self._part = None
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
        return message

    def ready(self) -> bool:
        """Tell whether a whole message is there."""
        return self._head < len(self._queue)

    def full(self) -> bool:
        """Tell whether reading should stop."""
        n = len(self._queue) - self._head
        return (0 < self._high < n) or (0 < self._max_size < self._size)

    def has_room(self) -> bool:
        """Tell whether reading may go on after it stopped."""
        n = len(self._queue) - self._head
        return n <= self._low and self._size <= self._max_size
