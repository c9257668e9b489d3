"""gevent's own WSGI server, with WebSockets.

`RequestHandler` reads requests as strictly as `serve` does, and in a time.
`WebSocketHandler` opens the connection before the application is called, as that of
gevent-websocket does. `WSGIServer` knows its WebSocket connections, and closes them
when it stops. Neither of these two needs the other.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import socket
import time
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from gevent import Timeout, pywsgi
from gevent.pool import Pool

from ..exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidMessage,
    RequestLineTooLong,
)
from ..protocol.datastructures import TCHAR, Headers
from ..protocol.head import HEADER_LIMITS, Head
from ..protocol.server import refusal, text_response
from ..server.handshake import ServerConnection, date_header
from .accept import SERVER_KEY, SPAWN_KEY, Acceptor, Refused, is_websocket
from .middleware import Exchange
from .open import OpenConnections
from .takeover import StartResponse


#: Seconds that WebSockets have to close when a server stops.
WEBSOCKETS_TIMEOUT = 10


#: Seconds for the TLS handshake, and for the head of each request.
OPEN_TIMEOUT = 10

#: What is read, and dropped, of who was refused before it had sent all: until then it
#: may not have read the answer. Octets at once, how often, and seconds.
LINGER = 2**16, 64, 1

#: Headers that a request has once at most. Who takes the first of two lengths and who
#: takes the last see different requests.
SINGLE = ("Host", "Upgrade", "Content-Length", "Transfer-Encoding")

# RFC 9112, section 3; octets outside ASCII have no place there, but are usual.
_request_line = re.compile(
    rf"{TCHAR}+ (?:/|https?://|\*)[!-\x22$-~\x80-\xff]* HTTP/[0-9]\.[0-9]",
    re.IGNORECASE,
)


class RequestHandler(pywsgi.WSGIHandler):
    """Reads the head of a request as `serve` does, whatever the request is for.

    It has to come in time: else the answer is 408, or none if nothing came. Too long,
    it gets a 414 or a 431. A line that ends with a bare LF, or has control characters
    in it, or is folded, gets a 400; so does a request with two lengths, or with one
    that is no number. gevent's own handler takes all of that.
    """

    #: Seconds for the head, and for the wait for it; None is no limit. A server's own
    #: `open_timeout` counts first.
    open_timeout: float | None = OPEN_TIMEOUT

    _timer: Timeout | None = None
    _head: Head | None = None
    # What was wrong, or that the peer has gone.
    _wrong: Exception | None = None

    # What gevent calls

    def handle_one_request(self) -> Any:
        """Read and serve one request; say what to answer, or whether to go on."""
        seconds = getattr(self.server, "open_timeout", self.open_timeout)
        timer = self._timer = Timeout.start_new(seconds)
        self._head = None
        try:
            result = super().handle_one_request()
        except Timeout as exc:
            if exc is not timer:
                raise
            if self._head is None:  # it waited for another request, and none came
                return None
            return self._refuse(408, "The request took too long.\n")
        finally:
            timer.close()
        wrong = self._wrong
        if isinstance(wrong, InvalidHandshake):
            self.log_error("Invalid request from %s: %s", self.client_address, wrong)
            return self._refuse(refusal(wrong).status_code, f"{wrong}.\n")
        return result if wrong is None else None

    def read_requestline(self) -> str:
        """Wait for the request line; empty if there is none."""
        if not self.rfile.peek(1):
            return ""
        self._head = Head()
        line: str | None = None
        try:
            while line is None:
                line = self._next_line(self._head)
            if _request_line.fullmatch(line) is None:
                raise InvalidMessage(f"invalid HTTP request line: {line}")
        except InvalidHandshake as exc:
            self._wrong = exc
        return line or "-"  # something: it is not the end

    def read_request(self, raw_requestline: str) -> Any:
        """Read the rest of the head; tell whether there is nothing wrong with it."""
        if self._wrong is not None:
            return False
        try:
            return super().read_request(raw_requestline)
        except (InvalidHandshake, OSError) as exc:
            self._wrong = exc
            return False

    def MessageClass(self, *args: Any) -> Any:
        """Read the headers."""
        head = self._head
        assert head is not None  # read_requestline has made it
        while not head.read_headers():
            self._read_line(head)
        check_headers(head.headers)
        # Nobody parses them again, who might find other headers in them.
        make: Any = super().MessageClass
        message = make(io.BytesIO(), 0)
        for name, value in head.headers.raw_items():
            message[name] = value
        return message

    def handle_one_response(self) -> None:
        """Have the application answer; it has all the time that it likes."""
        if self._timer is not None:
            self._timer.close()
        self._timer = self._head = None
        super().handle_one_response()

    # Private methods

    def _next_line(self, head: Head) -> str | None:
        self._read_line(head)
        return head.next_line(RequestLineTooLong)

    def _read_line(self, head: Head) -> None:
        data = self.rfile.readline(HEADER_LIMITS.line)
        if not data:
            raise ConnectionAbortedError("the peer has gone")
        head.buffer += data

    def _refuse(self, status: int, text: str) -> tuple[str, bytes]:
        # Returns what goes into the log.
        response = text_response(status, text)
        response.headers["Connection"] = "close"
        response.headers["Date"] = date_header(int(time.time()))
        size, n, seconds = LINGER
        with contextlib.suppress(OSError), Timeout(seconds, ConnectionAbortedError):
            self.socket.sendall(response.serialize())
            self.socket.shutdown(socket.SHUT_WR)
            while n and self.socket.recv(size):
                n -= 1
        return str(status), b""


def check_headers(headers: Headers) -> None:
    """Check what tells where a request ends, and whom it is for.

    Raises:
        InvalidHeader: if two who read it may read it differently.
    """
    for name in SINGLE:
        if len(headers.get_all(name)) > 1:
            raise InvalidHeader(name, "multiple values")
    length, coding = headers.get("Content-Length"), headers.get("Transfer-Encoding")
    if length is not None and not (length.isascii() and length.isdecimal()):
        raise InvalidHeader("Content-Length", "not a number")
    # RFC 9112, section 6.1: "A server MAY reject a request that contains both
    # Content-Length and Transfer-Encoding".
    if coding is not None and (length is not None or coding.lower() != "chunked"):
        raise InvalidHeader("Transfer-Encoding", "not chunked alone")


class WebSocketHandler(RequestHandler):
    """Gives the application open WebSockets, in ``environ["wsgi.websocket"]``.

        WSGIServer(("", 8000), app, handler_class=WebSocketHandler).serve_forever()

    It is for applications that were written for gevent-websocket: the connection is
    open before the application is called, which so can't refuse it with a status,
    nor open it by `accept` and what stands on that. For the rest see
    `WebSocketMiddleware`.
    """

    #: Options of `serve`, as far as they are about connections; for subclasses.
    websocket_options: Mapping[str, Any] = MappingProxyType({})

    _acceptor_of_class: Acceptor

    def run_application(self) -> None:
        """Serve one request; gevent calls this."""
        environ = self.environ
        assert environ is not None  # gevent has made it
        if is_websocket(environ):
            try:
                opening = self._acceptor().prepare(environ, self.start_response)
            except Refused as refused:
                self.application = refused
            else:
                exchange = Exchange(opening, self.start_response)
                exchange.websocket.accept()
                self._let_go()
                self.application = functools.partial(run, exchange, self.application)
        super().run_application()

    @classmethod
    def _acceptor(cls) -> Acceptor:
        # One for each class: a subclass may have other options.
        acceptor = cls.__dict__.get("_acceptor_of_class")
        if acceptor is None:
            acceptor = cls._acceptor_of_class = Acceptor(**cls.websocket_options)
        return acceptor

    def _let_go(self) -> None:
        # An idle connection needs nothing of the request; the class has no headers.
        self.__dict__.pop("headers", None)


def run(
    exchange: Exchange,
    application: Any,
    environ: dict[str, Any],
    start_response: StartResponse,
) -> Iterable[bytes]:
    """Call an application whose connection is open."""
    return exchange.run(application, environ)


class WSGIServer(pywsgi.WSGIServer):
    """gevent's WSGI server; what differs is how requests come, and how it ends.

    Its WebSocket connections may be opened in any way: by `accept`, `WebSocketApp`,
    `WebSocketMiddleware`, `WebSocketHandler`.

    Args:
        listener: an address, or a socket that listens.
        application: of WSGI.
        max_connections: how many WebSockets may be open; further ones get a 503.
        max_per_address: how many of one peer address; further ones get a 429.
        open_timeout: seconds for the TLS handshake, and for each request's head, the
            wait for it included: so long a connection is kept that asks nothing.
        spawn: a `gevent.pool.Pool`, or how many requests and WebSockets there may
            be at once: further ones wait. By default a pool without a limit; then
            the connections of a `WebSocketApp` outlive their request, whose line in
            the access log is written when they open.
        kwargs: as for gevent's.
    """

    def __init__(
        self,
        listener: Any,
        application: Any = None,
        backlog: int | None = None,
        spawn: Any = "default",
        *,
        max_connections: int | None = None,
        max_per_address: int | None = None,
        open_timeout: float | None = OPEN_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        self._open = OpenConnections(max_connections, max_per_address)
        if open_timeout is not None and not open_timeout > 0:
            raise ValueError("open_timeout must be positive")
        #: See `RequestHandler`.
        self.open_timeout = open_timeout
        if spawn == "default":
            spawn = Pool()
        super().__init__(listener, application, backlog, spawn, **kwargs)

    handler_class = RequestHandler

    #: gevent's, for TLS.
    wrap_socket: Any
    ssl_args: Any

    # Properties

    @property
    def connections(self) -> set[ServerConnection]:
        """The WebSocket connections that are open or closing."""
        return self._open.connections

    # Public methods

    def stop(self, timeout: float | None = None) -> None:
        """Stop to accept, close all WebSockets with 1001, and wait for all requests.

        What has not ended then is stopped with `gevent.GreenletExit`.

        Args:
            timeout: for all of it, in seconds; WebSockets are told within half of
                it. By default the WebSockets have 10 seconds, and the rest, of which
                some may be idle, `stop_timeout` after them.
        """
        now = time.monotonic()
        end = now + (WEBSOCKETS_TIMEOUT if timeout is None else timeout)
        self.close()
        self._open.close((end - now) / 2)
        self._open.wait(end - time.monotonic())
        left = end - time.monotonic()
        super().stop(None if timeout is None else max(left, 0))

    def wrap_socket_and_handle(self, client_socket: Any, address: Any) -> None:
        """Do the TLS handshake of a connection, then serve it; gevent calls this."""
        tls = self._wrap_tls(client_socket)
        if tls is not None:
            with contextlib.closing(tls):
                self.handle(tls, address)

    def get_environ(self) -> dict[str, Any]:
        """Return what all requests have in their environ; gevent calls this."""
        environ: dict[str, Any] = super().get_environ()
        environ[SERVER_KEY] = self._open
        # A limit is for requests and connections together: one that waited for
        # another's place while it has its own would wait for ever.
        if self.pool is not None and self.pool.size is None:
            environ[SPAWN_KEY] = self.pool.spawn
        return environ

    # Private methods

    def _wrap_tls(self, sock: Any) -> Any:
        # None if the handshake fails, which is the peer's fault, or takes too long.
        timer = Timeout.start_new(self.open_timeout)
        options = {**self.ssl_args, "do_handshake_on_connect": False}
        try:
            tls = self.wrap_socket(sock, **options)
            try:
                tls.do_handshake()
            except BaseException:
                tls.close()
                raise
            return tls
        except OSError:
            return None
        except Timeout as exc:
            if exc is not timer:
                raise
            return None
        finally:
            timer.close()
