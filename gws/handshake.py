"""A socket in, an open `ServerConnection` out: the opening handshake of a server.

What `serve` and the routes of a router let their caller decide about it stands in
`Settings`. Every request gets an answer; what a peer does wrong is told to the
peer, and to the log in one line.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .connection import Connection
from .options import Options
from .protocol.codes import State
from .protocol.datastructures import Headers
from .protocol.http11 import Request, Response, ResponseReader, parse_request
from .protocol.origins import Origins
from .protocol.server import ServerProtocol
from .version import version


if TYPE_CHECKING:
    from .server import Server


#: The default Server header.
SERVER = f"gws/{version}"

#: When to try again, in seconds, for who found the server full or closing.
RETRY_AFTER = "5"

#: What a process_request hook may return in the place of a Response.
ResponseLike = Response | tuple[int, Any, bytes]

#: Headers, or what makes them for a request.
ExtraHeaders = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """How a server opens connections, and how these behave."""

    options: Options
    origins: Origins = "same"
    allowed_hosts: Sequence[str] | None = None
    subprotocols: Sequence[str] | None = None
    select_subprotocol: Callable[..., str | None] | None = None
    process_request: Callable[..., ResponseLike | None] | None = None
    process_response: Callable[..., Response | None] | None = None
    server_header: str | None = SERVER
    extra_headers: ExtraHeaders | Callable[..., ExtraHeaders | None] | None = None
    _merged: dict[int, tuple[Mapping[str, Any], Settings]] = dataclasses.field(
        default_factory=dict, repr=False
    )

    def __post_init__(self) -> None:
        if isinstance(self.origins, str) and self.origins not in ("same", "*"):
            raise TypeError('origins must be "same", "*" or a list')
        if isinstance(self.allowed_hosts, str):
            raise TypeError("allowed_hosts must be a list")

    def merged(self, changes: Mapping[str, Any]) -> Settings:
        """Return these settings but for what a route says; made once a route."""
        if not changes:
            return self
        known = self._merged.get(id(changes))
        if known is None:
            names = {field.name for field in dataclasses.fields(Options)}
            mine = {name: v for name, v in changes.items() if name not in names}
            options = {name: v for name, v in changes.items() if name in names}
            settings = dataclasses.replace(
                self, options=self.options.replace(**options), **mine
            )
            # The mapping is kept, so that no other can get its id.
            known = self._merged[id(changes)] = changes, settings
        return known[1]


class ServerConnection(Connection):
    """The server's side of a connection: what a handler gets.

    Attributes of your own may be set on it.
    """

    protocol: ServerProtocol

    #: Who `basic_auth` let in; None without it.
    username: str | None = None

    #: What a router found in the path.
    handler_kwargs: Mapping[str, Any] = MappingProxyType({})

    #: Who serves the connection.
    handler: Callable[..., Any] | None = None

    _path = ""
    # The response: its Date, and all of it if hooks had a hand in it. Otherwise it
    # is made again when somebody asks, which spares an idle connection 0.2 KB.
    _date: str | None = None
    _response_head = b""
    _refusal: Response | None = None

    def __init__(
        self,
        sock: Any,
        settings: Settings,
        remote_address: Any,
        server: Server | None = None,
    ) -> None:
        protocol = ServerProtocol(allowed_hosts=settings.allowed_hosts)
        super().__init__(sock, protocol, settings.options, remote_address)
        #: What the connection was opened with.
        self.settings = settings
        #: The `Server` that accepted it; None behind a WSGI server.
        self.server = server

    # Properties

    @property
    def request(self) -> Request | None:
        """The request of the opening handshake; None before it has come."""
        # Parsed again when somebody asks: as bytes it costs an idle connection
        # a tenth of what the headers would.
        head = self.protocol.request_head
        return parse_request(head) if head else None

    @property
    def response(self) -> Response | None:
        """Our answer to it; None before it is given."""
        if self._refusal is not None:
            return self._refusal
        request = self.request
        if self._date is None or request is None:
            return None
        if self._response_head:
            return ResponseReader().feed(self._response_head)
        response = self.protocol.acceptance(request.headers["Sec-WebSocket-Key"])
        response.headers["Date"] = self._date
        self._add_headers(response)
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
        """Make a plain text response, for a process_request hook to return."""
        return self.protocol.reject(status, text)

    def open_handshake(self, handler: Any) -> bool:
        """Wait for the request and answer it.

        Args:
            handler: what will serve the connection; its ``resolve``, if it has
                one, chooses by the request.

        Returns:
            Whether the connection is open; `handler` then says who serves it. If
            not, the answer is on its way, and `close` ends it.
        """
        request = self.wait_handshake()
        logger = self.logger
        if request is None:
            exc = self.protocol.handshake_exc
            logger.debug("no opening handshake from %s: %s", self.remote_address, exc)
            return False
        self._path = request.path
        self.stream.pause()
        try:
            response = self._answer(request, handler)
            self._add_headers(response)
            head = self._checked_head(response)
        except Exception:
            logger.error("opening handshake failed", exc_info=True)
            response = self.respond(500, "The server failed; its log tells why.\n")
            self._add_headers(response)
        if self.state is not State.CONNECTING:
            return False  # refused meanwhile: the server shuts down
        self.protocol.send_response(response)
        is_open = response.status_code == 101
        if is_open:
            self._date = response.headers["Date"]
            if self.settings.process_response or self.settings.extra_headers:
                self._response_head = head
        else:
            self._refusal = response
            why = self.protocol.handshake_exc or response.reason_phrase
            status = response.status_code
            logger.info("refused %s: %d %s", self.remote_address, status, why)
        self.stream.resume()
        self.process_events()
        return is_open

    def refuse(self, status: int, text: str) -> None:
        """Answer without waiting for the request any longer."""
        response = self._refusal = self.respond(status, text)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            response.headers["Retry-After"] = RETRY_AFTER
        self._add_headers(response)
        self.protocol.send_response(response)
        self.process_events()

    # Private methods

    def _answer(self, request: Request, handler: Any) -> Response:
        settings = self.settings
        if settings.process_request is not None:
            answer = settings.process_request(self, request)
            if answer is not None:
                return as_response(answer)
        resolve = getattr(handler, "resolve", None)
        if resolve is not None:
            route = resolve(self, request)
            if isinstance(route, Response):
                return route
            handler = route.handler
            self.handler_kwargs = route.kwargs
            settings = self.settings = settings.merged(route.options)
            self.configure(settings.options)
        self.handler = handler
        response = self._accept(request, settings) if self._has_room() else None
        # Asked again: others may have opened while hooks ran.
        if response is None or (response.status_code == 101 and not self._has_room()):
            response = self.respond(503, "The server is full, or shutting down.\n")
            response.headers["Retry-After"] = RETRY_AFTER
        return response

    def _has_room(self) -> bool:
        return self.server is None or self.server.has_room()

    def _accept(self, request: Request, settings: Settings) -> Response:
        protocol = self.protocol
        protocol.origins = settings.origins
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
                extra = extra(self, request)
            response.headers.update(extra or ())
        if settings.process_response is not None:
            return settings.process_response(self, request, response) or response
        return response

    def _checked_head(self, response: Response) -> bytes:
        # What hooks make may be no response, or may accept what nobody handles.
        accepted = self.handler is not None and self.protocol.handshake_exc is None
        if response.status_code == 101 and not accepted:
            raise ValueError("a hook can't accept a request by itself: return None")
        return response.serialize()

    def _add_headers(self, response: Response) -> None:
        if "Date" not in response.headers:
            response.headers["Date"] = date_header(int(time.time()))
        server_header = self.settings.server_header
        if server_header and "Server" not in response.headers:
            response.headers["Server"] = server_header

    def on_finished(self) -> None:
        if self.server is not None:
            self.server.forget(self)


@functools.lru_cache(maxsize=1)
def date_header(now: int) -> str:
    """Return the Date header for a time in whole seconds (RFC 9110, 6.6.1)."""
    return formatdate(now, usegmt=True)


def as_response(answer: ResponseLike) -> Response:
    """Return what a process_request hook answered as a Response."""
    if isinstance(answer, Response):
        return answer
    status, given, body = answer
    headers = Headers(given)
    if "Content-Length" not in headers:
        headers["Content-Length"] = str(len(body))
    return Response(int(status), HTTPStatus(status).phrase, headers, body)
