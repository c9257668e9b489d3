"""Bytes of an opening handshake in, requests and responses out, and back.

The subset of HTTP/1.1 (RFC 9112) that RFC 6455 needs: a request is a GET without
a body; a response is 101 without a body, or a refusal whose body says why.

There is one parser for each. :class:`RequestReader` and :class:`ResponseReader`
take bytes as they come, cut anywhere; what they raise depends on the bytes alone
and not on the cuts, and comes as soon as the bytes decide it. The functions
:func:`parse_request`, :func:`read_request` and :func:`read_response` are these
readers fed from somewhere.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import NoReturn, Protocol

from ..exceptions import (
    InvalidHeader,
    InvalidMessage,
    InvalidMethod,
    InvalidProtocol,
    RequestLineTooLong,
    StatusLineTooLong,
)
from .body import Body
from .datastructures import TCHAR, Headers, is_field_value
from .head import HEADER_LIMITS, MAX_LINE, Head, HeaderLimits
from .headers import parse_host


# RFC 9112 3: request-line = method SP request-target SP HTTP-version. No "#" in
# the target: RFC 6455 3 has no fragments. Without a version it is HTTP/0.9.
_TARGET_CHAR = r"[!-\x22\x24-~]"
_request_line = re.compile(
    rf"({TCHAR}+) ({_TARGET_CHAR}+)(?: (HTTP/[0-9](?:\.[0-9])?))?"
)

# RFC 9112 3.2.1: origin-form = absolute-path [ "?" query ].
_origin_form = re.compile(f"/{_TARGET_CHAR}*")

# What the first byte of a request may be: a method's, or that of an empty line.
_REQUEST_BEGINS = bytes(i for i in range(128) if re.match(TCHAR, chr(i))) + b"\r"

# RFC 9112 3.2.2, for the schemes that RFC 6455 4.1 allows.
_absolute_form = re.compile(r"https?://([^/?]+)(.*)", re.IGNORECASE)

# RFC 9112 4: status-line = HTTP-version SP status-code SP [ reason-phrase ]. The
# second SP is often forgotten.
_status_line = re.compile(r"(HTTP/[0-9](?:\.[0-9])?) ([1-5][0-9]{2})(?: (.*))?")


@dataclasses.dataclass(slots=True)
class Request:
    """A request to open a WebSocket connection: always GET and HTTP/1.1."""

    path: str
    """Path and query, percent-encoded, as they stand in the request line."""
    headers: Headers
    """Of the request, Host included."""

    def serialize(self) -> bytes:
        """Return the bytes to send.

        Raises:
            ValueError: If ``path`` does not begin with a slash, or may not stand in a
                request line.
        """
        if _origin_form.fullmatch(self.path) is None:
            raise ValueError(f"invalid path: {self.path!r}")
        return f"GET {self.path} HTTP/1.1\r\n".encode() + self.headers.serialize()


@dataclasses.dataclass(slots=True)
class Response:
    """A response to the opening handshake."""

    status_code: int
    """From 100 to 999; 101 opens the connection."""
    reason_phrase: str
    """What the status line says after the code; may be empty."""
    headers: Headers
    """Of the response."""
    body: bytes = b""
    """What follows the head; nothing does after 101."""

    def serialize(self) -> bytes:
        """Return the bytes to send; headers that tell the body's length are yours.

        Raises:
            ValueError: If the status line would not be one.
        """
        line = _status_line_octets(self.status_code, self.reason_phrase)
        return line + self.headers.serialize() + self.body


@functools.lru_cache(maxsize=64)
def _status_line_octets(status: int, reason: str) -> bytes:
    line = f"HTTP/1.1 {status} {reason}"
    if _status_line.fullmatch(line) is None or not is_field_value(line):
        raise ValueError(f"invalid status line: {line!r}")
    return f"{line}\r\n".encode("latin-1")


# Reading


class RequestReader:
    """Bytes of a connection in, its one request out.

    Call :meth:`feed` until it returns a request, then look at :attr:`leftover`.

    Args:
        limits: How much its head may be.
    """

    __slots__ = ("_authority", "_empty_line", "_head", "_path", "head", "leftover")

    def __init__(self, limits: HeaderLimits = HEADER_LIMITS) -> None:
        self._head = Head(limits)
        self._empty_line = False
        self._path: str | None = None
        self._authority: str | None = None
        #: The request's bytes up to the empty line and including it, for
        #: :func:`parse_request`.
        self.head = b""
        #: What came after them.
        self.leftover = b""

    def feed(self, data: bytes) -> Request | None:
        """Take bytes; return the request once its head is whole.

        Host is neither required nor checked, and a body is not looked for.

        Raises:
            InvalidMessage: If this is not HTTP, or breaks its grammar.
            InvalidProtocol: If the version is not HTTP/1.1.
            InvalidMethod: If the method is not GET.
            RequestLineTooLong, HeaderLineTooLong, TooManyHeaders: If a line or
                the number of headers is over the limit.
            SecurityError: If the whole head is over the limit.
        """
        self._head.buffer += data
        if self._path is None and not self._read_request_line():
            return None
        return self._finish() if self._head.read_headers() else None

    def feed_eof(self) -> NoReturn:
        """Say that no bytes will follow.

        Raises:
            InvalidMessage: Always, with ``eof`` set: the request is not whole.
        """
        part = "request line" if self._path is None else "headers"
        raise _cut_off(part)

    def _read_request_line(self) -> bool:
        """Parse the request line if it is there; return whether it was."""
        while True:
            # So that TLS spoken to a plain port, say, is refused by its first byte
            # and does not have to be waited for.
            if not self._head.begins_with(_REQUEST_BEGINS):
                raise InvalidMessage("not an HTTP request")
            line = self._head.next_line(RequestLineTooLong)
            if line is None:
                return False
            if line or self._empty_line:
                break
            # RFC 9112 2.2: a server "SHOULD ignore at least one empty line (CRLF)
            # received prior to the request-line".
            self._empty_line = True
        match = _request_line.fullmatch(line)
        if match is None:
            raise InvalidMessage(f"invalid HTTP request line: {line}")
        method, target, version = match.groups()
        # RFC 1945 4.1: Simple-Request = "GET" SP Request-URI CRLF.
        if version is None and not line.startswith("GET /"):
            raise InvalidMessage(f"invalid HTTP request line: {line}")
        if version != "HTTP/1.1":
            raise InvalidProtocol(version or "HTTP/0.9")
        if method != "GET":
            raise InvalidMethod(method)
        self._path = self._parse_target(target)
        return True

    def _parse_target(self, target: str) -> str:
        """Return path and query of a request target (RFC 9112 3.2)."""
        if target.startswith("/"):
            return target
        match = _absolute_form.fullmatch(target)
        if match is None:
            raise InvalidMessage(f"invalid HTTP request target: {target}")
        self._authority, path = match.groups()
        try:
            parse_host(self._authority)
        except InvalidHeader:
            raise InvalidMessage(f"invalid HTTP request target: {target}") from None
        return path if path.startswith("/") else "/" + path

    def _finish(self) -> Request:
        assert self._path is not None  # feed() parses the request line first
        headers = self._head.headers
        # RFC 9112 3.2.2: with an absolute-form target, a server "MUST ignore the
        # received Host header field (if any) and instead replace it with the host
        # information of the request-target". A missing or repeated one stays: it
        # is for the server protocol to refuse (RFC 9112 3.2).
        if self._authority is not None and len(headers.get_all("Host")) == 1:
            del headers["Host"]
            headers["Host"] = self._authority
        self.head = self._head.raw
        self.leftover = self._head.rest
        return Request(self._path, headers)


class ResponseReader:
    """Bytes of a connection in, the response to the opening handshake out.

    Call :meth:`feed`, and at the end :meth:`feed_eof`, until one returns a
    response. Whoever does not want to wait any longer for a body takes
    :meth:`response_so_far`.

    Args:
        to_connect: It is the response to a CONNECT request to a proxy.
    """

    __slots__ = ("_body", "_head", "_response", "_status", "_to_connect", "leftover")

    def __init__(self, *, to_connect: bool = False) -> None:
        self._to_connect = to_connect
        self._head = Head()
        self._status: tuple[int, str] | None = None
        self._response: Response | None = None
        self._body: Body | None = None
        #: What came after a response with status 101: WebSocket frames; or after
        #: one with 2xx to CONNECT: what the tunnel carries.
        self.leftover = b""

    @property
    def head_complete(self) -> bool:
        """Whether all but the body is there."""
        return self._response is not None

    @property
    def wanted(self) -> int:
        """The most that ``readline`` may ask for without asking beyond the end."""
        return MAX_LINE if self._body is None else self._body.wanted

    def feed(self, data: bytes) -> Response | None:
        """Take bytes; return the response once it is whole.

        Raises:
            InvalidMessage: If this is not HTTP, or breaks its grammar.
            InvalidProtocol: If the version is neither HTTP/1.1 nor, for a
                refusal, HTTP/1.0.
            StatusLineTooLong, HeaderLineTooLong, TooManyHeaders: If a line or
                the number of headers is over the limit.
            SecurityError: If the whole head is over the limit.
        """
        if self._body is not None:
            return self.response_so_far() if self._body.feed(data) else None
        self._head.buffer += data
        while (response := self._read_head()) is not None:
            if response.status_code == 101 or self._opens_tunnel(response):
                self._response = response
                self.leftover = self._head.rest
                return response
            if response.status_code >= 200:
                self._body = Body(response.status_code, response.headers)
                self._response = response
                return self.feed(self._head.rest)
            # RFC 9110 15.2: "A client MUST be able to parse one or more 1xx
            # responses received prior to a final response".
            self._status = None
            self._head.restart()
        return None

    def feed_eof(self) -> Response:
        """Say that no bytes will follow; return the response.

        Raises:
            InvalidMessage: With ``eof`` set, if the head is not whole.
        """
        response = self.response_so_far()
        if response is None:
            raise _cut_off("status line" if self._status is None else "headers")
        return response

    def response_so_far(self) -> Response | None:
        """Return the response with what came of its body; None without a head."""
        if self._response is not None and self._body is not None:
            self._response.body = bytes(self._body.data)
        return self._response

    def _opens_tunnel(self, response: Response) -> bool:
        # RFC 9110 9.3.6: "A client MUST ignore any Content-Length or
        # Transfer-Encoding header fields received in a successful response to
        # CONNECT." Any 2xx is one; the tunnel begins after its head.
        return self._to_connect and 200 <= response.status_code < 300

    def _read_head(self) -> Response | None:
        """Parse what is there of the head; return a response once it is whole."""
        if self._status is None:
            if not self._head.begins_with(b"H"):
                raise InvalidMessage("not an HTTP response")
            line = self._head.next_line(StatusLineTooLong)
            if line is None:
                return None
            self._status = _parse_status_line(line)
        if not self._head.read_headers():
            return None
        return Response(*self._status, self._head.headers)


def _parse_status_line(line: str) -> tuple[int, str]:
    """Return status code and reason phrase (RFC 9112 4)."""
    match = _status_line.fullmatch(line)
    if match is None or not is_field_value(line):
        raise InvalidMessage(f"invalid HTTP status line: {line}")
    version, code, reason = match.groups()
    # Only HTTP/1.1 has the Upgrade mechanism (RFC 9110 7.8). A refusal may come
    # from whatever stands in the way.
    if version != "HTTP/1.1" and (version != "HTTP/1.0" or code == "101"):
        raise InvalidProtocol(version)
    return int(code), reason or ""


def _cut_off(part: str) -> InvalidMessage:
    return InvalidMessage(f"connection closed while reading HTTP {part}", eof=True)


# Reading from somewhere


class LineStream(Protocol):
    """A file open for reading bytes, as far as it is needed here."""

    def readline(self, size: int, /) -> bytes: ...


def parse_request(head: bytes, limits: HeaderLimits = HEADER_LIMITS) -> Request:
    """Parse a head that is there as a whole, such as :attr:`RequestReader.head`.

    Args:
        limits: How much it may be.

    Raises:
        InvalidHandshake: As :meth:`RequestReader.feed`, and if bytes are missing.
    """
    reader = RequestReader(limits)
    return reader.feed(head) or reader.feed_eof()


def read_request(stream: LineStream) -> Request:
    """Read a request from ``stream``, and nothing beyond it.

    Raises:
        InvalidHandshake: As :meth:`RequestReader.feed`, and if the stream ends.
    """
    reader = RequestReader()
    while line := stream.readline(MAX_LINE):
        request = reader.feed(line)
        if request is not None:
            return request
    reader.feed_eof()


def read_response(stream: LineStream) -> Response:
    """Read a response from ``stream``, and nothing beyond its head or body.

    Raises:
        InvalidHandshake: As :meth:`ResponseReader.feed`, and if the stream ends
            within the head.
    """
    reader = ResponseReader()
    while line := stream.readline(reader.wanted):
        response = reader.feed(line)
        if response is not None:
            return response
    return reader.feed_eof()
