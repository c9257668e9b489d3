"""A WSGI request in, an open `ServerConnection` out: `accept`.

The request is checked as `serve` checks it, by the same code; the connection is the
same, too, with nothing of WSGI between it and its socket.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from gevent import getcurrent, spawn

from ..exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidMessage,
    InvalidMethod,
    InvalidProtocol,
    InvalidState,
)
from ..observe import tell, tell_closed, tell_opened
from ..options import Options
from ..protocol.codes import CloseCode, State
from ..protocol.datastructures import Headers, HeadersLike
from ..protocol.headers import parse_upgrade
from ..protocol.http11 import Request, Response
from ..protocol.server import refusal
from ..server.answers import checked_extra
from ..server.handshake import ServerConnection
from ..server.settings import CONNECTION_OPTIONS, Settings
from .takeover import Lent, StartResponse, Takeover


Environ = dict[str, Any]

#: Where a server of ours has its `OpenConnections`.
SERVER_KEY = "gws.server"

#: Where a server of ours has what starts greenlets that it waits for, as `Pool.spawn`.
SPAWN_KEY = "gws.spawn"

#: Where a test has who runs handlers, to see what they raise: `gws.testing.wsgi`.
WATCH_KEY = "gws.watch"


class Refused(InvalidHandshake):
    """The opening handshake was refused; ``response`` says how.

    It is a WSGI application that gives this answer::

        try:
            ws = accept(environ, start_response)
        except Refused as refused:
            return refused(environ, start_response)
    """

    def __init__(self, response: Response, takeover: Takeover) -> None:
        super().__init__(response)
        self.response = response
        self._takeover = takeover

    def __str__(self) -> str:
        return f"opening handshake refused: HTTP {self.response.status_code}"

    def __call__(self, environ: Environ, start_response: StartResponse) -> list[bytes]:
        """Answer the request."""
        response = self.response
        # What follows the request may be frames: never to be read as HTTP.
        if "Connection" not in response.headers:
            response.headers["Connection"] = "close"
        status = f"{response.status_code} {response.reason_phrase}"
        # The server has a clock and a name of its own.
        headers = [
            item
            for item in response.headers.raw_items()
            if item[0].lower() not in ("date", "server")
        ]
        start_response(status, headers)
        self._takeover.give_back()
        return [response.body]


class Acceptor:
    """Opens connections with the same options: `accept` for many requests.

    Args:
        handler: what will serve the connections, if somebody does; a `Router`
            resolves the path.
        create_connection: makes a subclass of `ServerConnection`.
        logger: by default ``logging.getLogger("gws.server")``.
        options: of `serve`, as far as they are about connections.

    Raises:
        TypeError, ValueError: as `serve`, for options.
    """

    def __init__(
        self,
        handler: Any = None,
        *,
        create_connection: Callable[..., ServerConnection] | None = None,
        logger: logging.Logger | None = None,
        **options: Any,
    ) -> None:
        self._handler = handler if handler is not None else nobody
        self._create_connection = create_connection or ServerConnection
        if unknown := ", ".join(sorted(options.keys() - OPTIONS)):
            raise TypeError(f"not options of a connection: {unknown}")
        defaults = Options(logger=logger or logging.getLogger("gws.server"))
        self._settings = Settings(options=defaults).replace(options)

    def accept(
        self,
        environ: Environ,
        start_response: StartResponse,
        headers: HeadersLike = (),
    ) -> ServerConnection:
        """Do the opening handshake of a request; see `accept`.

        The connection pings, and is closed with 1011 if nobody has closed it when
        the greenlet of the request ends.
        """
        checked = checked_extra(headers)
        ws = self.prepare(environ, start_response).open(checked)
        keep(ws)
        close_with(getcurrent(), ws)
        return ws

    def prepare(self, environ: Environ, start_response: StartResponse) -> Opening:
        """Decide about a request; open nothing yet.

        Raises:
            Refused, RuntimeError: as `accept`.
        """
        takeover = Takeover(environ, start_response)
        try:
            ws, response = self._decide(environ, takeover)
        except BaseException:
            takeover.give_back()
            raise
        return Opening(ws, response, takeover)

    def _decide(
        self, environ: Environ, takeover: Takeover
    ) -> tuple[ServerConnection, Response]:
        try:
            # Before the connection is touched: HTTP/2 has one for many requests.
            request = request_of(environ)
            request_head = request.serialize()
        except InvalidHandshake as exc:
            raise Refused(refusal(exc), takeover) from None
        except ValueError:
            wrong = InvalidMessage("invalid HTTP request target")
            raise Refused(refusal(wrong), takeover) from None
        sock = takeover.borrow()
        ws = self._create_connection(
            sock,
            self._settings,
            remote_address(environ, sock),
            environ.get(SERVER_KEY),
        )
        ws.protocol.request_head = request_head
        response = self._answer(ws, request)
        if response.status_code != 101:
            tell(ws.settings.options, "answered", ws, response.status_code)
            ws.begin_close()  # for whoever got it in a hook, and waits
            raise Refused(response, takeover)
        return ws, response

    def _answer(self, ws: ServerConnection, request: Request) -> Response:
        protocol = ws.protocol
        protocol.receive_request(request)
        protocol.events.clear()
        wrong = protocol.handshake_exc
        if isinstance(wrong, InvalidHandshake):
            return refusal(wrong)
        response = ws.answer(request, self._handler)
        if ws.state is not State.CONNECTING:  # a hook closed it
            response = ws.respond(503, "The server closed the connection.\n")
        return response


class Opening:
    """An opening handshake that is agreed on: all but the answer is done.

    Call either `open` or `decline`.
    """

    def __init__(
        self, ws: ServerConnection, response: Response, takeover: Takeover
    ) -> None:
        self._ws = ws
        self._response = response
        self._takeover = takeover

    def open(self, headers: HeadersLike = ()) -> ServerConnection:
        """Answer with 101 and return the connection.

        Args:
            headers: more for the response.

        Raises:
            InvalidState: if the connection was closed meanwhile.
        """
        try:
            self._open(headers)
        except BaseException:
            self.decline()
            raise
        return self._ws

    def decline(self) -> None:
        """Leave the connection to the server, for an answer over HTTP."""
        self._takeover.give_back()
        # Whoever waits for it shall not wait for ever. The server's socket is only
        # lent to it, unless the answer has failed half way.
        self._ws.begin_close(CloseCode.INTERNAL_ERROR)

    def _open(self, headers: HeadersLike) -> None:
        ws, response, takeover = self._ws, self._response, self._takeover
        if ws.state is not State.CONNECTING:
            raise InvalidState("the connection was closed before it was open")
        if headers:
            response.headers.update(headers)
            ws._response_head = response.serialize()
        leftover = takeover.take_early()
        n_head = len(response.serialize())
        takeover.tell_server(list(response.headers.raw_items()), n_head)
        ws.stream.sock = takeover.take()
        ws.start()
        ws.protocol.send_response(response)
        if leftover:
            ws.protocol.receive_data(leftover)
        server: Any = ws.server
        if server is not None:
            server.add(ws)
        ws.process_events()


def accept(
    environ: Environ,
    start_response: StartResponse,
    headers: HeadersLike = (),
    **options: Any,
) -> ServerConnection:
    """Open a WebSocket connection in a WSGI application.

        def application(environ, start_response):
            with contextlib.closing(accept(environ, start_response)) as ws:
                for message in ws:
                    ws.send(message)
            return []

    It works on gevent.pywsgi, on gunicorn with its gevent workers, and on
    werkzeug's development server when that is monkey-patched.

    Close the connection before the application returns, as `contextlib.closing`
    does; what the application returns is not sent. One that is left open, because
    the application raised, say, is closed with 1011 when its greenlet ends.

    Args:
        environ: of the request.
        start_response: of the request; to be used for nothing else after it.
        headers: more for the response, such as Set-Cookie.
        options: of `serve`, as far as they are about connections.

    Raises:
        Refused: if the request is none to open a WebSocket connection, or is
            refused; return ``refused(environ, start_response)``.
        RuntimeError: if the server can't have WebSockets.
        TypeError, ValueError: if an option or a header makes no sense.
    """
    return Acceptor(**options).accept(environ, start_response, headers)


def is_websocket(environ: Environ) -> bool:
    """Tell whether a request asks to open a WebSocket connection.

    Args:
        environ: of the request. Whether it asks rightly, `accept` will tell.
    """
    try:
        protocols = parse_upgrade(environ.get("HTTP_UPGRADE", ""))
    except InvalidHeader:
        return False
    return "websocket" in map(str.lower, protocols)


def request_of(environ: Mapping[str, Any]) -> Request:
    """Return the request as `serve` would have read it.

    Of what another part of the application has been mounted at (``SCRIPT_NAME``)
    the path has nothing.

    Raises:
        InvalidHandshake: if it is not a request to open a WebSocket connection.
        ValueError: if there is something wrong with the path.
    """
    if environ["SERVER_PROTOCOL"] != "HTTP/1.1":
        raise InvalidProtocol(environ["SERVER_PROTOCOL"])
    if environ["REQUEST_METHOD"] != "GET":
        raise InvalidMethod(environ["REQUEST_METHOD"])
    headers = Headers()
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            headers[key[5:].replace("_", "-").title()] = value
    for name in ("CONTENT_LENGTH", "CONTENT_TYPE"):
        if environ.get(name):
            headers[name.replace("_", "-").title()] = environ[name]
    authority = authority_of(environ)
    if authority and "Host" in headers:
        # RFC 9112, section 3.2.2: a server that gets the absolute-form "MUST ignore
        # the received Host header field (if any)"; WSGI servers leave that to us.
        del headers["Host"]
        headers["Host"] = authority
    return Request(path_of(environ), headers)


def authority_of(environ: Mapping[str, Any]) -> str:
    """Return the host that the request target names; empty if it names none."""
    for key in ("RAW_URI", "REQUEST_URI", "PATH_INFO"):
        target = environ.get(key) or "/"
        if not target.startswith("/"):
            return urlsplit(target).netloc
    return ""


def path_of(environ: Mapping[str, Any]) -> str:
    """Return path and query, percent-encoded.

    Raises:
        ValueError: if PATH_INFO is none.
    """
    path = environ.get("PATH_INFO", "")
    if not path.startswith("/"):
        # RFC 9112, section 3.2.2: "a server MUST accept the absolute-form in
        # requests"; pywsgi leaves it to the application.
        path = urlsplit(path).path
    # As it came, if that is what the application was called for: not all that is
    # percent-encoded must be.
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    raw_path = urlsplit(raw).path if not raw.startswith("/") else raw.partition("?")[0]
    if unquote(raw_path, "latin-1") == path != "":
        path = raw_path
    else:
        # PEP 3333: octets, decoded as ISO-8859-1.
        path = quote(path.encode("latin-1"), safe=PATH_SAFE) or "/"
    query = environ.get("QUERY_STRING")
    return f"{path}?{query}" if query else path


def remote_address(environ: Mapping[str, Any], sock: Lent) -> Any:
    """Return the peer's address as the server says, else as the socket does."""
    if environ.get("REMOTE_ADDR"):
        port = str(environ.get("REMOTE_PORT"))  # werkzeug has it as an int
        return environ["REMOTE_ADDR"], int(port) if port.isdecimal() else 0
    try:
        return sock.getpeername()
    except OSError:  # it has gone
        return ""


def keep(ws: ServerConnection) -> None:
    """Begin what an open connection needs that `handle` does not serve."""
    tell_opened(ws)
    ws.start_keepalive()
    if ws._opened_at:
        # Observers may wait; the hub, which knows of the end, may not.
        ws.call_when_closed(functools.partial(spawn, tell_closed, ws))


def close_with(greenlet: Any, ws: ServerConnection) -> None:
    """Have the connection closed when a greenlet ends, if nobody else did."""
    # Micro-optimization: not `link`, which makes an object more. The main greenlet
    # and plain ones, which WSGI servers don't use, tell nobody.
    rawlink = getattr(greenlet, "rawlink", None)
    if rawlink is not None:
        rawlink(functools.partial(close_left, ws))


def close_left(ws: ServerConnection, greenlet: object) -> None:
    """Close a connection that an application left open; the hub calls this."""
    if ws.open:
        ws.logger.warning("left open by its application: %s", ws.remote_address)
        ws.begin_close(CloseCode.INTERNAL_ERROR)


def nobody(ws: ServerConnection) -> None:
    """Stand for the caller of `accept`, who serves the connection."""


#: RFC 3986, section 3.3: what a path may hold as it is.
PATH_SAFE = "/:@!$&'()*+,;=-._~"

#: Options of `serve` that `Acceptor` takes as they are.
OPTIONS = CONNECTION_OPTIONS - {"logger", "open_timeout", "header_limits"}
