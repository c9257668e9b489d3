"""Octets in, one `Frame` after another out (RFC 6455, section 5).

The reader takes each frame as far as it has come and never allocates by what a
header only claims. A payload that is whole in the buffer is unmasked in place
and copied once; one that comes in pieces is gathered in a buffer that grows by
what came. Text is checked as it arrives. What an extension encoded is decoded once
its frame is whole; limits and text are then those of what comes out.

    reader.load(buffer, start, end)
    while (frame := reader.next_frame()) is not None: ...

The buffer belongs to the caller, who may use it again once `next_frame` has
returned None. `HEADROOM` octets before ``start`` must be free: there the reader
puts back the header that the last buffer cut in two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..exceptions import PayloadTooBig, ProtocolError, TooManyFragments
from .codes import OP_BINARY, OP_CONT, OP_TEXT
from .frames import (
    Event,
    Frame,
    as_frame,
    check_first,
    check_length,
    check_mask_bit,
    make_frame,
)
from .mask import (
    append_bytes,
    check_utf8,
    rotate_key,
    take_bytes,
    take_text,
    unmask,
)


#: The room that a buffer needs before the octets that were read into it: a
#: header of 2 + 8 + 4 octets that is not whole has 13 at most.
HEADROOM = 16

#: The most fragments that one message may have by default. Their payload is bounded
#: by the size limit; this bounds what empty fragments can cost.
MAX_FRAGMENTS = 2**17

#: Section 5.2: no payload is longer ("the most significant bit MUST be 0").
NO_LIMIT = 2**63 - 1

#: More fragments than this are not counted.
MOST_FRAGMENTS = 2**31 - 2


class InvalidText(Exception):
    """A text message is not UTF-8 (RFC 6455, section 8.1)."""

    #: The close code that the connection fails with.
    close_code = 1007


class Reader:
    """Reads the frames of one side of a connection.

    Args:
        masked: whether the frames must be masked: a server's reader says True.
        max_size: the longest message, in bytes; None takes any.
        max_fragment: the longest fragment, in bytes; None takes any.
    """

    def __init__(
        self, masked: bool, max_size: int | None, max_fragment: int | None
    ) -> None:
        self._masked = masked
        # What decodes frames, in this order, and the reserved bits it goes by: see
        # `Extension.marks`. Whether it decodes all of them.
        self._extensions: tuple[Any, ...] | None = None
        self._marks = 0
        self._decodes_all = False
        self.limit(max_size, max_fragment)
        # The buffer that is being read, and the octets of a header cut in two.
        self._buffer: bytearray | None = None
        #: How many bytes extensions have made of what is in it.
        self.n_decoded = 0
        self._position = 0
        self._end = 0
        self._tail: bytes | None = None
        # The frame whose payload is not whole: its first octet (-1: none), what
        # has come of it, what is missing, and the key for what comes next.
        self._first = -1
        self._part: bytearray | None = None
        self._missing = 0
        self._key = 0
        # The message whose fragments are coming, and the reserved bits of the first.
        self._opcode = OP_CONT
        self._marked = 0
        self._size = 0
        self._n_fragments = 0
        # The octets of a character that is not whole.
        self._pending = b""

    def limit(
        self,
        max_size: int | None,
        max_fragment: int | None,
        max_fragments: int | None = MAX_FRAGMENTS,
    ) -> None:
        """Set the limits, between two messages; None is none."""
        self._max_fragments = MOST_FRAGMENTS if max_fragments is None else max_fragments
        self._max_size = NO_LIMIT if max_size is None else max_size
        self._max_fragment = NO_LIMIT if max_fragment is None else max_fragment
        # Encoded, a frame may be a little longer than decoded: the worst that
        # deflate can do to octets at random is an eighth.
        smaller = min(self._max_size, self._max_fragment)
        self._max_encoded = smaller + smaller // 8 + 1024

    def decode_with(self, extensions: Sequence[Any]) -> None:
        """Have extensions decode what comes, from the last to the first.

        Between two messages.
        """
        self._extensions = tuple(reversed(extensions)) or None
        self._marks = 0
        self._decodes_all = False
        for extension in extensions:
            self._marks |= extension.marks or 0x70
            self._decodes_all = self._decodes_all or not extension.marks

    def load(self, buffer: bytearray, start: int, end: int) -> None:
        """Take the octets between ``start`` and ``end`` to read from."""
        tail = self._tail
        if tail is not None:
            n = len(tail)
            buffer[start - n : start] = tail
            start -= n
            self._tail = None
        self._buffer = buffer
        self.n_decoded = 0
        self._position = start
        self._end = end

    def take_rest(self) -> bytes:
        """Return what is not read of the buffer, between two frames: to load again."""
        buffer = self._buffer
        if buffer is None:
            return b""
        self._buffer = None
        return take_bytes(buffer, self._position, self._end)

    def next_frame(self) -> Frame | None:
        """Return the next whole frame; None when the buffer is used up.

        Raises as `next_event`.
        """
        event = self.next_event()
        return None if event is None else as_frame(event)

    def next_event(self) -> Event | None:
        """Return the next whole frame; None when the buffer is used up.

        A message in one frame comes as its payload, str or bytes. (Micro-
        optimization: 10 % fewer instructions a message than with a `Frame`.)

        Raises:
            ProtocolError: if the peer breaks the protocol (1002).
            InvalidText: if a text message is not UTF-8 (1007).
            PayloadTooBig, TooManyFragments: if a limit is passed (1009).
        """
        if self._first >= 0:
            return self._continue_payload()
        buffer = self._buffer
        if buffer is None:
            return None
        position = self._position
        n_there = self._end - position
        # 1. FIN, RSV, opcode; MASK and the 7 bits of the length.
        if n_there < 2:
            self._keep_header(buffer)
            return None
        first = buffer[position]
        second = buffer[position + 1]
        if first & 0x70 or first & 0x07 > 2 or first & 0x88 == 0x08:
            self._check_first(first)
        if (second & 0x80 != 0) != self._masked:
            check_mask_bit(second, self._masked)
        # 2. The rest of the length.
        n = second & 0x7F
        n_header = 2 if n < 126 else 4 if n == 126 else 10
        if self._masked:
            n_header += 4
        if first & 0x08 and n > 125:
            # Section 5.5: "MUST have a payload length of 125 bytes or less"
            raise ProtocolError("control frame too long")
        if n_there < n_header:
            self._keep_header(buffer)
            return None
        if n >= 126:
            n = self._long_length(buffer, position + 2, n)
        # 3. What the message allows, before an octet of the payload is taken.
        if not first & 0x08:
            self._begin_data(first, n)
        # 4. The key.
        position += n_header
        key = 0
        if self._masked:
            # Step by step, all in the type of the key: in C, an octet that is
            # shifted by 24 does not fit into the int that it is there.
            key = buffer[position - 1]
            key = key << 8 | buffer[position - 2]
            key = key << 8 | buffer[position - 3]
            key = key << 8 | buffer[position - 4]
        # 5. The payload.
        n_there = self._end - position
        if n <= n_there:
            self._position = position + n
            if self._masked:
                unmask(buffer, position, position + n, key)
            return self._whole(first, buffer, position, position + n)
        self._first = first
        self._part = bytearray()
        self._missing = n
        self._key = key
        self._position = position
        return self._continue_payload()

    def inside(self) -> bool:
        """Tell whether something has begun to come: a header, a frame, a message."""
        return self._first >= 0 or self._opcode != OP_CONT or self._tail is not None

    def _keep_header(self, buffer: bytearray) -> None:
        # Keep what has come of a header; the buffer is used up.
        if self._position < self._end:
            self._tail = take_bytes(buffer, self._position, self._end)
        self._buffer = None

    def _long_length(self, buffer: bytearray, position: int, form: int) -> int:
        # Network byte order, 16 or 64 bits.
        n = 0
        for i in range(position, position + (2 if form == 126 else 8)):
            n = n << 8 | buffer[i]
        check_length(form, n)
        return n

    def _check_first(self, first: int) -> None:
        # Section 5.2, of the reserved bits: "MUST be 0 unless an extension is
        # negotiated that defines meanings for non-zero values." An extension that
        # marks messages does so in their first frame (RFC 7692, section 6: bits
        # "MUST NOT" be set on others, nor on control frames).
        marked = first & self._marks
        if marked and not self._decodes_all and (first & 0x08 or first & 0x0F == 0):
            marked = 0
        check_first(first & ~marked)

    def _begin_data(self, first: int, n: int) -> None:
        # Section 5.4: a message is one frame with an opcode, and, unless that
        # has FIN set, frames with opcode 0 up to one with FIN set; fragments of
        # one message "MUST NOT be interleaved" with those of another.
        if first & 0x0F == OP_CONT:
            if self._opcode == OP_CONT:
                raise ProtocolError("unexpected continuation frame")
            self._n_fragments += 1
            if self._n_fragments > self._max_fragments:
                raise TooManyFragments(self._n_fragments, self._max_fragments)
        else:
            if self._opcode != OP_CONT:
                raise ProtocolError("expected a continuation frame")
            self._opcode = first & 0x0F
            self._marked = first & 0x70
            self._n_fragments = 1
        if self._marked or self._decodes_all:
            # The size that counts is that of what it stands for.
            if n > self._max_encoded:
                raise PayloadTooBig(n, self._max_size, self._size or None)
            return
        self._count(n)

    def _count(self, n: int) -> None:
        # Count octets of a data frame against the limits.
        if n > self._max_fragment:
            raise PayloadTooBig(n, self._max_fragment)
        # By subtraction: the sum could overflow.
        if n > self._max_size - self._size:
            raise PayloadTooBig(n, self._max_size, self._size or None)
        self._size += n

    def _continue_payload(self) -> Event | None:
        # Gather what has come of a payload that the buffer did not hold whole.
        buffer = self._buffer
        start = self._position
        end = self._end
        if buffer is None or start == end:
            self._buffer = None
            return None
        n_there = end - start
        if n_there > self._missing:
            end = start + self._missing
        if self._masked:
            unmask(buffer, start, end, self._key)
            self._key = rotate_key(self._key, end - start)
        first = self._first
        part = self._part
        assert part is not None  # it is there while _first is
        encoded = self._is_encoded(first)
        if not first & 0x08 and self._opcode == OP_TEXT and not encoded:
            self._check_text(buffer, start, end)
        append_bytes(part, buffer, start, end)
        self._position = end
        self._missing -= end - start
        if self._missing:
            self._buffer = None
            return None
        self._first = -1
        self._part = None
        if encoded:
            return self._decoded(first, part, 0, len(part))
        return self._checked(first, part, 0, len(part))

    def _check_text(self, buffer: bytearray, start: int, end: int) -> None:
        # Section 8.1: "When an endpoint is to interpret a byte stream as UTF-8
        # but finds that the byte stream is not, in fact, a valid UTF-8 stream,
        # that endpoint MUST _Fail the WebSocket Connection_".
        pending = check_utf8(self._pending, buffer, start, end)
        if pending is None:
            raise InvalidText("invalid UTF-8")
        self._pending = pending

    def _whole(self, first: int, buffer: bytearray, start: int, end: int) -> Event:
        # A frame whose payload lies in the buffer, unmasked, its text unchecked.
        if self._extensions is not None and self._is_encoded(first):
            return self._decoded(first, buffer, start, end)
        if first == 0x80 | OP_TEXT:
            self._end_message()
            try:
                return take_text(buffer, start, end)
            except UnicodeDecodeError:
                raise InvalidText("invalid UTF-8") from None
        if not first & 0x08 and self._opcode == OP_TEXT:
            self._check_text(buffer, start, end)
        return self._checked(first, buffer, start, end)

    def _is_encoded(self, first: int) -> bool:
        # Whether an extension has to decode the frame.
        return self._decodes_all or (self._marked != 0 and not first & 0x08)

    def _decoded(self, first: int, buffer: bytearray, start: int, end: int) -> Event:
        # A frame that extensions encoded, unmasked.
        frame = make_frame(first, take_bytes(buffer, start, end))
        marked = 0 if first & 0x08 else self._marked
        room = None
        if self._max_size < NO_LIMIT or self._max_fragment < NO_LIMIT:
            room = min(self._max_fragment, self._max_size - self._size)
        for extension in self._extensions or ():
            if not extension.marks or extension.marks & marked:
                frame = extension.decode(frame, max_size=room)
        first = frame.first
        check_first(first)
        if first & 0x08:
            return frame
        data = frame.data
        self.n_decoded += len(data)
        self._count(len(data))
        # The rest as if it had come like that.
        return self._whole_decoded(first, data)

    def _whole_decoded(self, first: int, data: bytes) -> Event:
        # A data frame, decoded, its text unchecked.
        if first == 0x80 | OP_BINARY:
            self._end_message()
            return data
        if first == 0x80 | OP_TEXT:
            self._end_message()
            try:
                return data.decode()
            except UnicodeDecodeError:
                raise InvalidText("invalid UTF-8") from None
        fragment = bytearray(data)
        if self._opcode == OP_TEXT:
            self._check_text(fragment, 0, len(fragment))
        return self._checked(first, fragment, 0, len(fragment))

    def _end_message(self) -> None:
        self._opcode = OP_CONT
        self._marked = 0
        self._size = 0

    def _checked(self, first: int, buffer: bytearray, start: int, end: int) -> Event:
        # The same once all of its text is checked.
        if first & 0x88 == 0x80:  # the last frame of a message
            if self._pending:  # it ends inside a character
                raise InvalidText("invalid UTF-8")
            self._end_message()
        if first == 0x80 | OP_TEXT:
            return take_text(buffer, start, end)
        data = take_bytes(buffer, start, end)
        if first == 0x80 | OP_BINARY:
            return data
        return make_frame(first, data)
