"""Bytes after the head of a response in, its body out.

Only a response that refuses the opening handshake has a body. It is there to be
shown to a human: it is kept up to ``MAX_BODY`` bytes and never waited for beyond
that, no coding but chunked is undone, and what is wrong with it ends it.
"""

from __future__ import annotations

import re

from ..exceptions import InvalidMessage
from .datastructures import Headers
from .head import MAX_LINE


#: Most bytes kept of a body.
MAX_BODY = 2**20

# RFC 9110 8.6: Content-Length = 1*DIGIT. No more digits than an exabyte has.
_content_length = re.compile(r"[0-9]{1,18}")

# RFC 9112 7.1: chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF.
_chunk_line = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")


class Body:
    """The body of one response.

    Raises:
        InvalidMessage: If the headers do not tell where it ends.
    """

    __slots__ = ("_chunks", "_size", "data")

    def __init__(self, status_code: int, headers: Headers) -> None:
        #: What is there of it.
        self.data = bytearray()
        self._size = MAX_BODY  # it is whole with that many bytes
        self._chunks: _Chunks | None = None
        codings = ",".join(headers.get_all("Transfer-Encoding")).lower()
        # The rules of RFC 9112 6.3. Rule 1: any response with 204 or 304 ends
        # with its head.
        if status_code in (204, 304):
            self._size = 0
        # Rules 3 and 4: Transfer-Encoding overrides Content-Length; if chunked is
        # not its last coding, the body ends with the connection.
        elif codings:
            if codings.rpartition(",")[2].strip() == "chunked":
                self._chunks = _Chunks()
        # Rules 5, 6 and 8: Content-Length, or else the end of the connection.
        elif "Content-Length" in headers:
            self._size = min(_parse_content_length(headers), MAX_BODY)

    @property
    def wanted(self) -> int:
        """The most that ``readline`` may ask for without asking beyond the end."""
        return self._size - len(self.data)

    def feed(self, data: bytes) -> bool:
        """Take bytes; return whether the body is whole."""
        done = False
        if self._chunks is None:
            self.data += data
        else:
            done = self._chunks.feed(data, self.data)
        del self.data[self._size :]
        return done or len(self.data) == self._size


class _Chunks:
    """Undoes the chunked transfer coding (RFC 9112 7.1)."""

    __slots__ = ("_after_data", "_buffer", "_left")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0  # bytes to come of the chunk's data
        self._after_data = False  # and before the CRLF that follows it

    def feed(self, data: bytes, body: bytearray) -> bool:
        """Add what ``data`` holds to ``body``; return whether this was the last.

        It is, too, if this is not the coding: there is no going on from there.
        """
        self._buffer += data
        while True:
            piece = self._buffer[: self._left]
            body += piece
            del self._buffer[: len(piece)]
            self._left -= len(piece)
            if self._left:
                return False
            end = self._buffer.find(b"\n", 0, MAX_LINE) + 1
            if not end:
                return len(self._buffer) >= MAX_LINE
            line = self._buffer[:end]
            del self._buffer[:end]
            if self._after_data and line == b"\r\n":
                self._after_data = False
                continue
            match = _chunk_line.fullmatch(line)
            # The last chunk has size 0. Trailers follow it; none of them is
            # needed to show the body.
            if self._after_data or match is None or int(match.group(1), 16) == 0:
                return True
            self._left = int(match.group(1), 16)
            self._after_data = True


def _parse_content_length(headers: Headers) -> int:
    values = ",".join(headers.get_all("Content-Length")).split(",")
    # RFC 9112 6.3, rule 5: a list will do if all its values are valid and the
    # same. Otherwise, the client "MUST close the connection to the server and
    # discard the received response".
    lengths = {value.strip() for value in values}
    length = lengths.pop()
    if lengths or _content_length.fullmatch(length) is None:
        raise InvalidMessage("invalid Content-Length header")
    return int(length)
