"""Bytes of the head of an HTTP/1.1 message in, its lines and headers out.

The head is all that comes before the body (RFC 9112 2.1), in a request and in a
response. The grammar is taken strictly where two parsers that disagree can be
played off against each other: a line ends with CRLF and nothing else ends one;
no line is folded; no space stands before a colon; control characters are refused.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..exceptions import (
    HeaderLineTooLong,
    InvalidHeaderValue,
    InvalidMessage,
    SecurityError,
    TooManyHeaders,
)
from .datastructures import TCHAR, Headers


# All headers of most heads: one line each, of ASCII, and nothing to object to.
_plain_headers = re.compile(rf"(?:{TCHAR}++:[\t -~]*+\r\n)*+")

#: Longest request line, status line or header line, in bytes with its CRLF.
MAX_LINE = 8192

#: Most headers in a message.
MAX_HEADERS = 100

#: Longest head, in bytes with the empty line that ends it.
MAX_HEAD = 32768


class HeaderLimits(NamedTuple):
    """How much the head of a request may be; past it the answer is 414 or 431."""

    line: int = MAX_LINE
    """The longest request line or header line, in bytes with its CRLF."""
    headers: int = MAX_HEADERS
    """The most headers."""
    total: int = MAX_HEAD
    """The longest head, in bytes with the empty line that ends it."""


#: Of a response always, of a request by default.
HEADER_LIMITS = HeaderLimits()


class Head:
    """Bytes of one head, as they come, and what is parsed of them so far.

    What is raised depends on the bytes alone and not on how they are cut, and
    comes as soon as the bytes decide it.
    """

    __slots__ = ("_limits", "_n_headers", "_start", "buffer", "headers")

    def __init__(self, limits: HeaderLimits = HEADER_LIMITS) -> None:
        self._limits = limits
        #: Everything that came; append to it.
        self.buffer = bytearray()
        self.headers = Headers()
        self._start = 0  # of the line to come
        self._n_headers = 0

    @property
    def raw(self) -> bytes:
        """The lines returned so far, as they came."""
        return bytes(self.buffer[: self._start])

    @property
    def rest(self) -> bytes:
        """What came after the lines returned so far."""
        return bytes(self.buffer[self._start :])

    def restart(self) -> None:
        """Forget the lines returned so far; what follows them is another head."""
        del self.buffer[: self._start]
        self.headers = Headers()
        self._start = 0
        self._n_headers = 0

    def begins_with(self, first_bytes: bytes) -> bool:
        """Return whether the line to come may begin with one of ``first_bytes``."""
        first = self.buffer[self._start : self._start + 1]
        return not first or first in first_bytes

    def next_line(self, too_long: type[SecurityError]) -> str | None:
        """Return the next line without its CRLF, None if it is not there yet.

        Args:
            too_long: What to raise for a line over the limit.

        Raises:
            InvalidMessage: If the line ends with a bare LF.
            SecurityError: If the head is over its limit.
        """
        longest, _, total = self._limits
        limit = min(self._start + longest, total)
        end = self.buffer.find(b"\n", self._start, limit)
        if end < 0:
            if len(self.buffer) < limit:
                return None
            if limit == self._start + longest:
                raise too_long(f"line exceeds {longest} bytes")
            raise SecurityError(f"HTTP head exceeds {total} bytes")
        line = self.buffer[self._start : end].decode("latin-1")
        # RFC 9112 2.2: "a recipient MAY recognize a single LF as a line
        # terminator". Not here: what is in front of us may not have done so.
        if not line.endswith("\r"):
            raise InvalidMessage(f"line doesn't end with CRLF: {line}")
        self._start = end + 1
        return line[:-1]

    def read_headers(self) -> bool:
        """Parse the headers that are there; return whether these are all.

        Raises:
            InvalidMessage: If a header breaks the grammar.
            HeaderLineTooLong, TooManyHeaders, SecurityError: If a header, their
                number or the head is over its limit.
        """
        if self._read_plain_headers():
            return True
        while line := self.next_line(HeaderLineTooLong):
            if self._n_headers == self._limits.headers:
                raise TooManyHeaders(f"more than {self._limits.headers} headers")
            self._n_headers += 1
            # RFC 9112 5: field-line = field-name ":" OWS field-value OWS. "No
            # whitespace is allowed between the field name and colon" (5.1), and
            # obs-fold may be refused (5.2): neither leaves a token for a name.
            name, colon, value = line.partition(":")
            if not colon:
                raise InvalidMessage(f"HTTP header line without colon: {line}")
            try:
                self.headers[name] = value
            except InvalidHeaderValue:
                raise InvalidMessage(f"invalid HTTP header line: {line}") from None
        return line is not None

    def _read_plain_headers(self) -> bool:
        """Parse all headers at once, if they are there and are like most.

        Micro-optimization: one match instead of one a line, which takes half of the
        time. What is wrong with a head, or rare, is left to the loop over its lines.
        """
        longest, n_most, total = self._limits
        # The last two octets of the line before, and then no header, match as well.
        found = self.buffer.find(b"\r\n\r\n", max(self._start - 2, 0))
        end = found + 2
        if found < 0 or end + 2 > min(self._start + longest, total):
            return False
        text = self.buffer[self._start : end].decode("latin-1")
        if _plain_headers.fullmatch(text) is None:
            return False
        lines = text.split("\r\n")[:-1]
        if self._n_headers + len(lines) > n_most:
            return False
        for line in lines:
            name, _, value = line.partition(":")
            self.headers.add_valid(name, value.strip(" \t"))
        self._start = end + 2
        self._n_headers += len(lines)
        return True
