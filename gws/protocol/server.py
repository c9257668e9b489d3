"""A server's side of a connection: a request in, the answer and then frames out.

`ServerProtocol` adds the opening handshake (RFC 6455, section 4.2) to `Protocol`.
The `Request` is the first of `events_received`; answer it with

    protocol.send_response(protocol.accept(request))

or with `reject` in the place of `accept`. A request that is none has been
answered already: see `handshake_exc`. Who parsed the request elsewhere, in a WSGI
server say, gives it to `receive_request`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from ..exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidMessage,
    InvalidMethod,
    InvalidOrigin,
    InvalidProtocol,
    InvalidState,
    InvalidUpgrade,
    NegotiationError,
    RequestLineTooLong,
    SecurityError,
)
from .base import Protocol
from .codes import CONNECTING, Side, State
from .datastructures import Headers
from .handshake import build_response, check_request
from .head import HEADER_LIMITS, HeaderLimits
from .headers import (
    ExtensionHeader,
    ExtensionParameter,
    build_extension,
    parse_extension,
    parse_host,
    parse_subprotocol,
)
from .http11 import Request, RequestReader, Response
from .origins import Origins, check_origin
from .types import MaxSize


#: Chooses one of the subprotocols that the client offers, or None.
SelectSubprotocol = Callable[[Sequence[str]], str | None]

# What a server answers to what is wrong with a request; the first that fits.
STATUSES: list[tuple[type[InvalidHandshake], HTTPStatus]] = [
    (InvalidMethod, HTTPStatus.METHOD_NOT_ALLOWED),
    (InvalidProtocol, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED),
    (RequestLineTooLong, HTTPStatus.REQUEST_URI_TOO_LONG),
    (SecurityError, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    (InvalidUpgrade, HTTPStatus.UPGRADE_REQUIRED),
    (InvalidOrigin, HTTPStatus.FORBIDDEN),
    (InvalidHandshake, HTTPStatus.BAD_REQUEST),
]


class ServerProtocol(Protocol):
    """A server's side of a WebSocket connection, without I/O.

    Args:
        origins: who may connect; see `check_origin`.
        allowed_hosts: the names that the Host header may have;
            None is any.
        extensions: factories of those we speak, the best first.
        subprotocols: those we speak, the best first; a client must offer one.
        select_subprotocol: chooses instead; it gets what the client offers.
        max_size: as in `Protocol`.
        header_limits: how much the head of the request may be.
    """

    __slots__ = (
        "_leftover",
        "_request_reader",
        "allowed_hosts",
        "available_extensions",
        "extensions_header",
        "handshake_exc",
        "origins",
        "request_head",
        "select_subprotocol",
        "subprotocol",
        "subprotocols",
    )

    def __init__(
        self,
        *,
        origins: Origins = "same",
        allowed_hosts: Sequence[str] | None = None,
        extensions: Sequence[Any] | None = None,
        subprotocols: Sequence[str] | None = None,
        select_subprotocol: SelectSubprotocol | None = None,
        max_size: MaxSize = 2**20,
        header_limits: HeaderLimits = HEADER_LIMITS,
    ) -> None:
        super().__init__(Side.SERVER, state=State.CONNECTING, max_size=max_size)
        self.origins = origins
        self.allowed_hosts = allowed_hosts
        self.available_extensions = extensions
        #: The Sec-WebSocket-Extensions header of the response; empty for none.
        self.extensions_header = ""
        self.subprotocols = subprotocols
        self.select_subprotocol = select_subprotocol
        #: What was agreed on; None if there was nothing to.
        self.subprotocol: str | None = None
        #: Why the opening handshake failed; None if it did not.
        self.handshake_exc: Exception | None = None
        #: The request as it came; `parse_request` reads it.
        self.request_head = b""
        self._request_reader: RequestReader | None = RequestReader(header_limits)
        self._leftover = b""

    # Public methods

    def receive_request(self, request: Request, leftover: bytes = b"") -> None:
        """Take a request that was parsed elsewhere.

        Args:
            leftover: octets that came behind it.

        Raises:
            InvalidState: if the opening handshake is over.
        """
        self._check_connecting()
        self._request_reader = None
        self._leftover = leftover
        try:
            check_is_bare(request.headers)
            self._check_host(request.headers)
        except InvalidHandshake as exc:
            self._refuse(exc)
        else:
            self.events.append(request)

    def accept(self, request: Request) -> Response:
        """Make the response to ``request``: 101, or what says why not.

        Nothing is sent yet: see `send_response`. `handshake_exc` tells a refusal.

        Raises:
            ValueError: if ``select_subprotocol`` chose what was not offered.
        """
        try:
            host_of(request.headers)
            key = check_request(request.headers)
            check_origin(request.headers, self.origins)
            self.subprotocol = self._negotiate_subprotocol(request.headers)
            self._negotiate_extensions(request.headers)
        except InvalidHandshake as exc:
            self.handshake_exc = exc
            return refusal(exc)
        return self.acceptance(key)

    def acceptance(self, key: str) -> Response:
        """Make the response that accepts a request, with what was agreed on.

        Args:
            key: the request's Sec-WebSocket-Key.
        """
        headers = Headers()
        build_response(headers, key)
        if self.extensions_header:
            headers["Sec-WebSocket-Extensions"] = self.extensions_header
        if self.subprotocol is not None:
            headers["Sec-WebSocket-Protocol"] = self.subprotocol
        return Response(101, "Switching Protocols", headers)

    def reject(self, status: int, text: str) -> Response:
        """Make a response that refuses the handshake; see `send_response`.

        Args:
            status: an HTTP status code, not 101.
            text: the body.

        Raises:
            ValueError: if the status is 101, or none.
        """
        if status == HTTPStatus.SWITCHING_PROTOCOLS:
            raise ValueError("101 is no refusal")
        return text_response(status, text)

    def send_response(self, response: Response) -> None:
        """Send the response: the connection is open after 101, else it ends.

        Octets that came with a request that was accepted are frames; with one
        that was refused they are nothing: they are never read as HTTP. Call
        `events_received` afterwards.

        Raises:
            InvalidState: if the request has been answered, or the peer is gone.
        """
        self._check_connecting()
        if response.status_code == 101:
            self.out.extend(response.serialize())
            leftover, self._leftover = self._leftover, b""
            self._open(leftover)
            return
        if "Connection" not in response.headers:
            response.headers["Connection"] = "close"
        self.out.extend(response.serialize())
        self._leftover = b""
        self._end_handshake()

    # Private methods

    def _receive_handshake(self, data: bytes) -> None:
        if self._request_reader is None:
            self._leftover += data
            return
        try:
            request = self._request_reader.feed(data)
        except InvalidHandshake as exc:
            self._refuse(exc)
            return
        if request is not None:
            self.request_head = self._request_reader.head
            self.receive_request(request, self._request_reader.leftover)

    def _receive_handshake_eof(self) -> None:
        if self._request_reader is not None:
            try:
                self._request_reader.feed_eof()
            except InvalidMessage as exc:
                self.handshake_exc = exc

    def _refuse(self, exc: InvalidHandshake) -> None:
        self.handshake_exc = exc
        self.send_response(refusal(exc))

    def _check_connecting(self) -> None:
        if self.state_number != CONNECTING:
            raise InvalidState(f"connection is {self.state.name.lower()}")

    def _check_host(self, headers: Headers) -> None:
        # A page that another name leads to, by DNS, shall not get an answer.
        host = host_of(headers)
        allowed = self.allowed_hosts
        if allowed is not None and host not in map(str.lower, allowed):
            raise InvalidHeader("Host", f"{host} (see the option allowed_hosts)")

    def _negotiate_extensions(self, headers: Headers) -> None:
        # Section 9.1: the client lists what it would use, in order of preference,
        # and may offer one extension several times with other parameters. Our
        # answer lists what we take, in the order in which it is applied.
        if not self.available_extensions:
            return
        answer: list[ExtensionHeader] = []
        accepted: list[Any] = []
        for value in headers.get_all("Sec-WebSocket-Extensions"):
            for name, offered in parse_extension(value):
                params = self._accept_extension(name, offered, accepted)
                if params is not None:
                    answer.append((name, params))
        if accepted:
            # Interned: all connections with the same terms share one text.
            self.extensions_header = sys.intern(build_extension(answer))
            self.use(accepted)

    def _accept_extension(
        self, name: str, offered: list[ExtensionParameter], accepted: list[Any]
    ) -> list[ExtensionParameter] | None:
        # The parameters to answer one offer with; None if nobody accepts it, which
        # is as if it had not been made.
        for factory in self.available_extensions or ():
            if factory.name == name:
                try:
                    answer = factory.process_request_params(offered, accepted)
                except NegotiationError:
                    continue
                params: list[ExtensionParameter] = answer[0]
                accepted.append(answer[1])
                return params
        return None

    def _negotiate_subprotocol(self, headers: Headers) -> str | None:
        # Section 4.2.2: "either a single value representing the subprotocol the
        # server is ready to use or null".
        offered = [
            subprotocol
            for value in headers.get_all("Sec-WebSocket-Protocol")
            for subprotocol in parse_subprotocol(value)
        ]
        if self.select_subprotocol is not None:
            chosen = self.select_subprotocol(offered)
            if chosen is not None and chosen not in offered:
                raise ValueError(f"select_subprotocol chose {chosen!r}: not offered")
            return chosen
        if not self.subprotocols:
            return None
        for subprotocol in self.subprotocols:
            if subprotocol in offered:
                return subprotocol
        raise NegotiationError(
            "unsupported subprotocol; expected one of " + ", ".join(self.subprotocols)
        )


def check_is_bare(headers: Headers) -> None:
    """Check that a request has no body.

    A body would have to be told from frames, and two parsers that disagree about
    it would let one smuggle a request past the other.

    Raises:
        InvalidHeader: if it has.
    """
    if "Transfer-Encoding" in headers:
        raise InvalidHeader("Transfer-Encoding", "unsupported")
    if any(value.strip() != "0" for value in headers.get_all("Content-Length")):
        raise InvalidHeader("Content-Length", "unsupported: a request has no body")


def host_of(headers: Headers) -> str:
    """Return the host, in lower case, that a request asks for.

    RFC 9112, section 3.2: "A server MUST respond with a 400 (Bad Request) status
    code to any HTTP/1.1 request message that lacks a Host header field and to any
    request message that contains more than one Host header field line or a Host
    header field with an invalid field value."

    Raises:
        InvalidHeader: for these.
    """
    hosts = headers.get_all("Host")
    if len(hosts) != 1:
        raise InvalidHeader("Host", "multiple values" if hosts else None)
    host, _ = parse_host(hosts[0])
    return host


def refusal(exc: InvalidHandshake) -> Response:
    """Make the response that tells what is wrong with a request."""
    status = next(status for kind, status in STATUSES if isinstance(exc, kind))
    is_version = isinstance(exc, InvalidHeader) and exc.name == "Sec-WebSocket-Version"
    if is_version:
        status = HTTPStatus.UPGRADE_REQUIRED
    text = f"Failed to open a WebSocket connection: {exc}.\n"
    if isinstance(exc, InvalidOrigin):
        text += "The server's option origins says who may connect.\n"
    if isinstance(exc, InvalidUpgrade):
        text += "This is a WebSocket server; a browser can't open it like a page.\n"
    response = text_response(status, text)
    if status is HTTPStatus.UPGRADE_REQUIRED:
        # RFC 9110, section 15.5.22: "MUST send an Upgrade header field in a 426
        # response"; RFC 6455, section 4.4: "the server MUST abort ... and
        # include a |Sec-WebSocket-Version| header".
        response.headers["Upgrade"] = "websocket"
        response.headers["Connection"] = "Upgrade, close"
        response.headers["Sec-WebSocket-Version"] = "13"
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        # RFC 9110, section 15.5.6: "MUST generate an Allow header field"
        response.headers["Allow"] = "GET"
    return response


def text_response(status: int, text: str) -> Response:
    """Make a response whose body is plain text."""
    status = HTTPStatus(status)
    body = text.encode()
    headers = Headers()
    headers["Content-Length"] = str(len(body))
    headers["Content-Type"] = "text/plain; charset=utf-8"
    return Response(status.value, status.phrase, headers, body)
