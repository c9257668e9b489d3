"""A socket in, an open `ServerConnection` out: the opening handshake of a server.

Every request gets an answer; what a peer does wrong is told to the peer, and to the
log in one line.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gevent import Timeout

from ..connection import Connection
from ..exceptions import InvalidOrigin
from ..protocol.codes import State
from ..protocol.datastructures import Headers
from ..protocol.head import HeaderLimits
from ..protocol.http11 import Request, Response, ResponseReader, parse_request
from ..protocol.server import ServerProtocol
from .answers import as_response, checked_extra, checked_response
from .settings import Settings


if TYPE_CHECKING:
    from .server import Server


#: When to try again, in seconds, for who found the server full or closing.
RETRY_AFTER = "5"

#: The answers that say so.
RETRY_STATUSES = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}

#: Said with the second.
TOO_MANY = "There are too many connections from your address.\n"


class AnsweringProtocol(ServerProtocol):
    """Gives all answers, also those to what is no request, Date and Server headers.

    The protocol itself has no clock.
    """

    __slots__ = ("server_header", "status")

    server_header: str | None
    #: Of the answer that was given; 0 before.
    status: int

    def send_response(self, response: Response) -> None:
        """Send the response; see `ServerProtocol`."""
        self.complete(response)
        super().send_response(response)
        self.status = response.status_code

    def complete(self, response: Response) -> None:
        """Add the headers, unless they are there already."""
        if "Date" not in response.headers:
            response.headers.add_valid("Date", date_header(int(time.time())))
        if self.server_header and "Server" not in response.headers:
            response.headers["Server"] = self.server_header


class ServerConnection(Connection):
    """The server's side of a connection: what a handler gets.

    Attributes of your own may be set on it.
    """

    # Each connection has these; without slots the dict for them costs an idle one
    # 0.3 KB. The dict for others is made when it is needed.
    __slots__: tuple[str, ...] = ("_date", "_path", "handler", "server", "settings")
    if not Connection.__dictoffset__:  # compiled
        __slots__ += ("__dict__", "__weakref__")

    protocol: AnsweringProtocol

    #: Who `basic_auth` let in; None without it.
    username: str | None = None

    #: What a router found in the path.
    handler_kwargs: Mapping[str, Any] = MappingProxyType({})

    #: The rule of its route, "/chat/<room>"; empty without a router.
    route = ""

    # When observers were told that it is open, 0.0 once they know of its end.
    _opened_at: float | None = None

    # All of the response, if hooks had a hand in it. Otherwise it is made again, with
    # the Date it had, when somebody asks: that spares an idle connection 0.2 KB.
    _response_head = b""
    _refusal: Response | None = None

    def __init__(
        self,
        sock: Any,
        settings: Settings,
        remote_address: Any,
        server: Server | None = None,
    ) -> None:
        protocol = AnsweringProtocol(
            allowed_hosts=settings.allowed_hosts,
            header_limits=settings.header_limits,
        )
        protocol.server_header = settings.server_header
        protocol.status = 0
        super().__init__(sock, protocol, settings.options, remote_address)
        #: What the connection was opened with.
        self.settings = settings
        #: The `Server` that accepted it; behind a WSGI server that is ours, its
        #: `OpenConnections`, else None.
        self.server = server
        #: Who serves the connection.
        self.handler: Callable[..., Any] | None = None
        self._path = ""
        self._date: str | None = None

    # Properties

    @property
    def request(self) -> Request | None:
        """The request of the opening handshake; None before it has come."""
        # Parsed again when somebody asks: as bytes it costs an idle connection
        # a tenth of what the headers would.
        head = self.protocol.request_head
        # It was within the limits, whatever they were.
        limits = HeaderLimits(len(head), len(head), len(head))
        return parse_request(head, limits) if head else None

    @property
    def response(self) -> Response | None:
        """Our answer to it; None before it is given."""
        if self._refusal is not None:
            return self._refusal
        if self._response_head:
            return ResponseReader().feed(self._response_head)
        request = self.request
        if self._date is None or request is None:
            return None
        response = self.protocol.acceptance(request.headers["Sec-WebSocket-Key"])
        response.headers["Date"] = self._date
        self.protocol.complete(response)
        return response

    @property
    def path(self) -> str:
        """The path and query of the request; empty before it has come."""
        return self._path

    @property
    def request_headers(self) -> Headers:
        """The headers of the request."""
        request = self.request
        return Headers() if request is None else request.headers

    @property
    def response_headers(self) -> Headers:
        """The headers of the response."""
        response = self.response
        return Headers() if response is None else response.headers

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        return self.protocol.subprotocol

    # Public methods

    def respond(self, status: int, text: str) -> Response:
        """Make a plain text response, for a process_request hook to return.

        Args:
            status: of HTTP, not 101.
            text: the body.

        Raises:
            ValueError: if the status is 101, or none.
        """
        return self.protocol.reject(status, text)

    def open_handshake(self, handler: Any) -> bool:
        """Wait for the request and answer it.

        Args:
            handler: what will serve the connection; its ``resolve``, if it has
                one, chooses by the request.

        Returns:
            Whether the connection is open; `handler` then says who serves it. If
            not, the answer is on its way, and `close` ends it.

        Raises:
            Timeout: if the caller set one, who then has to `refuse`.
        """
        try:
            request = self.wait_handshake()
            if request is not None:
                return self._open(request, handler)
        except BaseException as exc:
            # Whoever is killed here leaves no connection behind.
            if not isinstance(exc, Timeout) and self.state is State.CONNECTING:
                self.refuse(503, "The server is shutting down.\n")
            raise
        why = self.protocol.handshake_exc
        self.logger.debug("no opening handshake from %s: %s", self.remote_address, why)
        return False

    def answer(self, request: Request, handler: Any) -> Response:
        """Return the answer to a request, which is still to be sent.

        Args:
            handler: as for `open_handshake`.
        """
        self._path = request.path
        proxies = self.settings._proxies
        if proxies is not None:
            self.remote_address = proxies.client_of(
                self.remote_address, request.headers
            )
        try:
            response = self._answer(request, handler)
            self.protocol.complete(response)
            by_hooks = self._is_by_hooks(response)
            head = response.serialize() if by_hooks else b""
        except Exception:
            self.logger.error("opening handshake failed", exc_info=True)
            text = "The server failed; its log tells why.\n"
            response = self._make_refusal(500, text)
        if response.status_code != 101:
            self._refusal = response
            self._log_refusal(response)
        elif by_hooks:
            self._response_head = head
        else:
            self._date = response.headers["Date"]
        return response

    def refuse(self, status: int, text: str) -> None:
        """Answer without waiting for the request any longer."""
        self._refusal = self._make_refusal(status, text)
        self.protocol.send_response(self._refusal)
        self.process_events()

    # Private methods

    def _open(self, request: Request, handler: Any) -> bool:
        self.stream.pause()
        response = self.answer(request, handler)
        if self.state is not State.CONNECTING:
            return False  # a hook closed it, or the server, which shuts down
        self.protocol.send_response(response)
        self.stream.resume()
        self.process_events()
        return response.status_code == 101

    def _is_by_hooks(self, response: Response) -> bool:
        # Whether what is sent is not ours alone: it may break the rules, and can't be
        # made again.
        settings = self.settings
        return bool(
            response.status_code != 101
            or settings.process_response
            or settings.extra_headers
        )

    def _answer(self, request: Request, handler: Any) -> Response:
        response = self._decide(request, handler)
        accepted = response.status_code == 101
        process_response = self.settings.process_response
        if process_response is not None:
            changed = process_response(self, request, response)
            if changed is not None:
                response = checked_response(changed, "process_response")
        if response.status_code >= 200:
            return response
        if not accepted or response.status_code != 101:
            raise ValueError("process_response can't accept what was refused")
        # Asked again: others may have opened while hooks ran.
        return self._find_no_room() or response

    def _decide(self, request: Request, handler: Any) -> Response:
        settings = self.settings
        if settings.process_request is not None:
            answer = settings.process_request(self, request)
            if answer is not None:
                return as_response(answer)
        resolve = getattr(handler, "resolve", None)
        if resolve is not None:
            route = resolve(self, request)
            if isinstance(route, Response):
                return as_response(route)
            handler = route.handler
            self.handler_kwargs = route.kwargs
            if route.rule:
                self.route = route.rule
            settings = self.settings = settings.merged(route.options)
            self.configure(settings.options)
        self.handler = handler
        return self._find_no_room() or self._accept(request, settings)

    def _find_no_room(self) -> Response | None:
        server = self.server
        if server is None:
            return None
        if not server.has_room():
            return self._make_refusal(503, "The server is full, or shutting down.\n")
        proxies = self.settings._proxies
        if not server.addresses.enter(self, self.remote_address, proxies):
            return self._make_refusal(429, TOO_MANY)
        return None

    def _make_refusal(self, status: int, text: str) -> Response:
        return with_retry(self.respond(status, text))

    def _accept(self, request: Request, settings: Settings) -> Response:
        protocol = self.protocol
        protocol.origins = settings.origins
        protocol.available_extensions = settings._available_extensions
        protocol.subprotocols = settings.subprotocols
        if settings.select_subprotocol is not None:
            protocol.select_subprotocol = functools.partial(
                settings.select_subprotocol, self
            )
        response = protocol.accept(request)
        protocol.select_subprotocol = None
        if response.status_code == 101:
            extra = settings.extra_headers
            if callable(extra):
                extra = checked_extra(extra(self, request) or ())
            response.headers.update(extra or ())
        return response

    def _log_refusal(self, response: Response) -> None:
        why = self.protocol.handshake_exc or response.reason_phrase
        hint = ""
        if isinstance(why, InvalidOrigin):
            hint = " (the option origins says who may connect)"
        # Who asks for a page, such as a health check, gets it: that is no refusal.
        self.logger.log(
            logging.INFO if response.status_code >= 400 else logging.DEBUG,
            "refused %s: %d %s%s",
            self.remote_address,
            response.status_code,
            why,
            hint,
        )

    def on_finished(self) -> None:
        if self.server is not None:
            self.server.forget(self)


def with_retry(response: Response) -> Response:
    """Say when to try again, if that makes sense."""
    if response.status_code in RETRY_STATUSES:
        response.headers["Retry-After"] = RETRY_AFTER
    return response


def refusal_octets(settings: Settings, status: int, text: str) -> bytes:
    """Return an answer for who has not asked yet, as it is sent."""
    protocol = AnsweringProtocol()
    protocol.server_header = settings.server_header
    protocol.send_response(with_retry(protocol.reject(status, text)))
    return bytes(protocol.out)


@functools.lru_cache(maxsize=1)
def date_header(now: int) -> str:
    """Return the Date header for a time in whole seconds (RFC 9110, 6.6.1)."""
    return formatdate(now, usegmt=True)
