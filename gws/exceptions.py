"""Every error that gws raises about a WebSocket connection, as one tree.

It is a peer's fault unless the entry says otherwise::

    WebSocketException
    |-- ConnectionClosed              the connection ended; says how
    |   |-- ConnectionClosedOK        nobody's fault: 1000, 1001 or no code
    |   `-- ConnectionClosedError     any other code, or no closing handshake
    |-- InvalidURI                    the caller's fault: not a ws:// or wss:// URI
    |-- InvalidProxy                  the caller's fault: not a usable proxy URI
    |-- ConcurrencyError              the caller's fault; also a RuntimeError
    |-- InvalidState                  the caller's fault: not possible in this state
    |-- InvalidHandshake              the opening handshake failed
    |   |-- SecurityError             a limit or a security rule was broken
    |   |   |-- RequestLineTooLong
    |   |   |-- StatusLineTooLong
    |   |   |-- HeaderLineTooLong
    |   |   `-- TooManyHeaders
    |   |-- ProxyError                the proxy on the way did not let us through
    |   |   |-- InvalidProxyMessage
    |   |   `-- InvalidProxyStatus
    |   |-- InvalidMessage            not HTTP, or cut off before its end
    |   |-- InvalidMethod             HTTP, but not GET
    |   |-- InvalidProtocol           HTTP, but not version 1.1
    |   |-- InvalidStatus             the server answered, but not with 101
    |   |-- InvalidHeader             a header is missing or wrong
    |   |   |-- InvalidHeaderFormat   it breaks the header's grammar
    |   |   |-- InvalidHeaderValue    the value is not acceptable; also a ValueError
    |   |   |-- InvalidOrigin         the Origin may not connect
    |   |   `-- InvalidUpgrade        the request asks for no upgrade to WebSocket
    |   `-- NegotiationError          no agreement on extensions or subprotocol
    |       |-- DuplicateParameter
    |       |-- InvalidParameterName
    |       `-- InvalidParameterValue
    `-- ProtocolError                 a frame breaks RFC 6455; close code 1002
        |-- PayloadTooBig             close code 1009
        |-- TooManyFragments          close code 1009
        `-- RateExceeded              close code 1008; in gws.limits

Older names are kept: ``InvalidStatusCode`` is :exc:`InvalidStatus` and
``WebSocketProtocolError`` is :exc:`ProtocolError`.

Text that came from the peer is escaped and shortened in messages: they end up in
logs and in HTTP bodies. All can be pickled.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol


# Longest piece of a peer's text that a message repeats, in characters.
_SHOWN = 200


def _shown(text: str) -> str:
    """Return ``text`` fit for one line of a log: escaped and not too long."""
    shown = text[:_SHOWN]
    if not shown.isprintable():
        shown = shown.encode("unicode_escape").decode("ascii")
    return shown if len(text) <= _SHOWN else shown + "..."


def _fault(what: str, value: str | None) -> str:
    """Say that ``what`` is missing (``value`` is None), empty or invalid."""
    if value is None:
        return f"missing {what}"
    return f"invalid {what}: {_shown(value)}" if value else f"empty {what}"


class WebSocketException(Exception):
    """Base class of every exception defined by gws."""


class CloseFrame(Protocol):
    """What is asked of a :class:`gws.protocol.frames.Close`, ``str()`` aside."""

    @property
    def code(self) -> int: ...

    @property
    def reason(self) -> str: ...


class ConnectionClosed(WebSocketException):
    """The connection is closed, so the operation cannot be done.

    Two of these are equal when they are of one class and tell of the same close.

    Args:
        rcvd: The close frame that was received, or None.
        sent: The close frame that was sent, or None.
        rcvd_then_sent: Whether the received one came first; None unless both exist.
    """

    def __init__(
        self,
        rcvd: CloseFrame | None,
        sent: CloseFrame | None,
        rcvd_then_sent: bool | None = None,
    ) -> None:
        super().__init__(rcvd, sent, rcvd_then_sent)
        self.rcvd = rcvd
        self.sent = sent
        self.rcvd_then_sent = rcvd_then_sent

    @property
    def code(self) -> int:
        """The close code received; 1006 when no close frame was received."""
        # RFC 6455 7.1.5: without a Close control frame, "the WebSocket
        # Connection Close Code is considered to be 1006".
        return 1006 if self.rcvd is None else self.rcvd.code

    @property
    def reason(self) -> str:
        """The close reason received; empty when no close frame was received."""
        return "" if self.rcvd is None else self.rcvd.reason

    def __str__(self) -> str:
        if self.rcvd is None:
            if self.sent is None:
                return "no close frame received or sent"
            return f"sent {self.sent}; no close frame received"
        if self.sent is None:
            return f"received {self.rcvd}; no close frame sent"
        if self.rcvd_then_sent:
            return f"received {self.rcvd}; then sent {self.sent}"
        return f"sent {self.sent}; then received {self.rcvd}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ConnectionClosed):
            return NotImplemented
        return type(self) is type(other) and self.args == other.args

    def __hash__(self) -> int:
        # Not of args: a close frame need not be hashable, an exception must be.
        return hash((type(self), self.code, self.reason))


class ConnectionClosedOK(ConnectionClosed):
    """The connection ended as it should: with 1000, 1001 or without a code."""


class ConnectionClosedError(ConnectionClosed):
    """The connection ended with another code or without a closing handshake."""


class InvalidURI(WebSocketException):
    """``uri`` is not a WebSocket URI (RFC 6455 section 3), for the reason ``msg``."""

    def __init__(self, uri: str, msg: str) -> None:
        super().__init__(uri, msg)
        self.uri = uri
        self.msg = msg

    def __str__(self) -> str:
        return f"{_shown(self.uri)} isn't a valid URI: {self.msg}"


class InvalidProxy(WebSocketException):
    """``proxy`` is not the URI of a proxy gws can use, for the reason ``msg``."""

    def __init__(self, proxy: str, msg: str) -> None:
        super().__init__(proxy, msg)
        self.proxy = proxy
        self.msg = msg

    def __str__(self) -> str:
        return f"{_shown(self.proxy)} isn't a valid proxy: {self.msg}"


class ConcurrencyError(WebSocketException, RuntimeError):
    """Two greenlets or threads did what only one may do at a time."""


class InvalidState(WebSocketException):
    """The connection's state does not allow this: a frame after close, say."""


class InvalidHandshake(WebSocketException):
    """The opening handshake failed."""


class SecurityError(InvalidHandshake):
    """The peer broke a limit or a rule that protects this side."""


class RequestLineTooLong(SecurityError):
    """The request line is longer than the limit."""


class StatusLineTooLong(SecurityError):
    """The status line is longer than the limit."""


class HeaderLineTooLong(SecurityError):
    """A header line is longer than the limit."""


class TooManyHeaders(SecurityError):
    """There are more headers than the limit."""


class ProxyError(InvalidHandshake):
    """No connection through the proxy."""


class InvalidProxyMessage(ProxyError):
    """The proxy's answer is not an HTTP response."""


class InvalidProxyStatus(ProxyError):
    """The proxy refused to connect; ``response`` is its whole answer."""

    def __init__(self, response: Any) -> None:
        super().__init__(response)
        # A gws.protocol.http11.Response. Not named as its type: nothing of gws
        # may be imported here.
        self.response = response
        self.status_code: int = response.status_code

    def __str__(self) -> str:
        return f"proxy rejected connection: HTTP {self.status_code}"


class InvalidMessage(InvalidHandshake):
    """What came is not an HTTP/1.1 head, or the connection ended inside it.

    Args:
        message: What is wrong with it.
        eof: Whether the connection ended before the head was whole. Nothing
            else was wrong then, so trying again may help.
    """

    def __init__(self, message: str = "", eof: bool = False) -> None:
        super().__init__(message, eof)
        self.message = message
        self.eof = eof

    def __str__(self) -> str:
        return _shown(self.message)


class InvalidMethod(InvalidHandshake):
    """The request's ``method`` is not GET (RFC 6455 4.1)."""

    def __init__(self, method: str) -> None:
        super().__init__(method)
        self.method = method

    def __str__(self) -> str:
        return f"unsupported HTTP method: {_shown(self.method)}"


class InvalidProtocol(InvalidHandshake):
    """The HTTP version, ``protocol``, is not HTTP/1.1."""

    def __init__(self, protocol: str) -> None:
        super().__init__(protocol)
        self.protocol = protocol

    def __str__(self) -> str:
        return f"unsupported HTTP version: {_shown(self.protocol)}"


class InvalidStatus(InvalidHandshake):
    """The server did not answer with 101; ``response`` is its whole answer."""

    def __init__(self, response: Any) -> None:
        super().__init__(response)
        # A gws.protocol.http11.Response, see InvalidProxyStatus.
        self.response = response
        self.status_code: int = response.status_code

    def __str__(self) -> str:
        return f"server rejected WebSocket connection: HTTP {self.status_code}"


class InvalidHeader(InvalidHandshake):
    """The header ``name`` is missing (``value`` is None) or wrong."""

    def __init__(self, name: str, value: str | None = None) -> None:
        super().__init__(name, value)
        self.name = name
        self.value = value

    def __str__(self) -> str:
        return _fault(f"{_shown(self.name)} header", self.value)


class InvalidHeaderFormat(InvalidHeader):
    """The header ``name`` breaks its grammar: ``error`` at ``pos`` in ``header``."""

    def __init__(self, name: str, error: str, header: str, pos: int) -> None:
        super().__init__(name, f"{error} at {pos} in {_shown(header)}")
        self.args = (name, error, header, pos)


class InvalidHeaderValue(InvalidHeader, ValueError):
    """The header's value is not acceptable, be it received or about to be set."""


class InvalidOrigin(InvalidHeader):
    """A page from ``origin`` may not connect; None when no Origin was sent."""

    def __init__(self, origin: str | None) -> None:
        super().__init__("Origin", origin)
        self.args = (origin,)


class InvalidUpgrade(InvalidHeader):
    """The Upgrade or Connection header does not ask for WebSocket."""


class NegotiationError(InvalidHandshake):
    """The two sides do not agree on an extension or a subprotocol."""


class DuplicateParameter(NegotiationError):
    """An extension's parameter ``name`` stands twice."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"duplicate parameter: {_shown(self.name)}"


class InvalidParameterName(NegotiationError):
    """The extension has no parameter ``name``."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"invalid parameter name: {_shown(self.name)}"


class InvalidParameterValue(NegotiationError):
    """The parameter ``name`` may not have ``value``; None is no value at all."""

    def __init__(self, name: str, value: str | None) -> None:
        super().__init__(name, value)
        self.name = name
        self.value = value

    def __str__(self) -> str:
        return _fault(f"value for parameter {_shown(self.name)}", self.value)


class ProtocolError(WebSocketException):
    """A frame, or its place in the stream, breaks RFC 6455."""

    #: The close code that the connection fails with.
    close_code: ClassVar[int] = 1002


class PayloadTooBig(ProtocolError):
    """A frame or message is larger than this side accepts.

    Args:
        size: Bytes of the frame; None when unknown, as while inflating.
        max_size: The limit, in bytes.
        cur_size: Bytes of the same message that came in earlier frames.
    """

    close_code: ClassVar[int] = 1009

    def __init__(
        self, size: int | None, max_size: int, cur_size: int | None = None
    ) -> None:
        super().__init__(size, max_size, cur_size)
        self.size = size
        self.max_size = max_size
        self.cur_size = cur_size

    def __str__(self) -> str:
        size = "" if self.size is None else f" with {self.size} bytes"
        before = "" if self.cur_size is None else f" after {self.cur_size} bytes"
        return f"frame{size}{before} exceeds limit of {self.max_size} bytes"


class TooManyFragments(ProtocolError):
    """A message has ``count`` fragments, more than ``max_fragments``."""

    close_code: ClassVar[int] = 1009

    def __init__(self, count: int, max_fragments: int) -> None:
        super().__init__(count, max_fragments)
        self.count = count
        self.max_fragments = max_fragments

    def __str__(self) -> str:
        return f"message with {self.count} frames exceeds limit of {self.max_fragments}"


InvalidStatusCode = InvalidStatus
WebSocketProtocolError = ProtocolError
