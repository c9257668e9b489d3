"""A WSGI application in, the same with a WebSocket in its environ out.

A view of any framework finds ``environ["wsgi.websocket"]``. Once it has used that,
what the framework answers over HTTP goes nowhere; until then it is answered as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gevent import GreenletExit, Timeout

from ..exceptions import ConnectionClosed
from ..protocol.codes import CloseCode
from ..server.handshake import ServerConnection
from .accept import Acceptor, Environ, Opening, Refused, is_websocket, keep
from .takeover import StartResponse


#: Where views find the connection, as with gevent-websocket.
WEBSOCKET_KEY = "wsgi.websocket"


class WebSocket:
    """The connection of a request, which is opened when it is first used.

    It has all that a `ServerConnection` has. What differs: `receive`, `closed` and
    the iteration take every end of the connection for one, as what a view raises
    becomes an error page and a traceback in its framework's log.

    Args:
        open: opens the connection.
    """

    #: Those of the connection, once it is open.
    recv: Callable[..., str | bytes]
    send: Callable[..., None]

    def __init__(self, open: Callable[[], ServerConnection]) -> None:
        self._open = open
        self._connection: ServerConnection | None = None
        # Somebody was told that it is closed.
        self._told = False

    # Properties

    @property
    def opened(self) -> bool:
        """Whether it was used: the answer to the request is a WebSocket."""
        return self._connection is not None

    @property
    def closed(self) -> bool:
        """Whether no message can be sent any more."""
        return self._connection is not None and not self._connection.open

    # Public methods

    def accept(self) -> ServerConnection:
        """Open the connection, if that was not done; return it.

        Raises:
            RuntimeError: if the request was answered over HTTP, or the server can't
                have WebSockets.
        """
        connection = self._connection
        if connection is None:
            connection = self._connection = self._open()
            self.recv, self.send = connection.recv, connection.send
            connection.logger.info("connection open: %s", connection.remote_address)
            keep(connection)
        return connection

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """Return the next message; None once the connection is closed.

        ``close_code`` and ``close_reason`` tell why it is.

        Args:
            timeout: seconds to wait.

        Raises:
            TimeoutError: after ``timeout``.
            ConnectionClosed: if None was returned before.
        """
        connection = self.accept()
        try:
            return connection.recv(timeout)
        except ConnectionClosed:
            if self._told:
                raise
            self._told = True
            return None

    def __iter__(self) -> Iterator[str | bytes]:
        """Iterate over the messages, until the connection is closed."""
        connection = self.accept()
        while True:
            try:
                message = connection.recv()
            except ConnectionClosed:
                return
            yield message

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # who looks for protocols does not use it
            raise AttributeError(name)
        return getattr(self.accept(), name)


class WebSocketMiddleware:
    """Gives an application a WebSocket for each request that asks for one.

        @app.route("/echo", websocket=True)  # Flask: such routes alone get them
        def echo():
            ws = request.environ["wsgi.websocket"]
            for message in ws:
                ws.send(message)
            return ""

        app.wsgi_app = WebSocketMiddleware(app.wsgi_app)

    In Django it is in ``request.META``, in bottle in ``request.environ``, in falcon
    in ``req.env``. A request that is to be refused does not come to the application.
    When that returns, the connection is closed with 1000; if it raised, or answered
    with a status of 500 or more, with 1011.

    A view that does not use it answers over HTTP: so it refuses.

    Args:
        app: a WSGI application.
        options: of `serve`, as far as they are about connections.

    Raises:
        TypeError, ValueError: as `serve`, for options.
    """

    def __init__(self, app: Callable[..., Iterable[bytes]], **options: Any) -> None:
        self._app = app
        self._acceptor = Acceptor(**options)

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Serve one request."""
        if not is_websocket(environ):
            return self._app(environ, start_response)
        opening: Opening | Unable
        try:
            opening = self._acceptor.prepare(environ, start_response)
        except Refused as refused:
            return refused(environ, start_response)
        except RuntimeError as exc:
            opening = Unable(exc)
        return Exchange(opening, start_response).run(self._app, environ)


class Unable:
    """The `Opening` of a server that can't have WebSockets: its views need none."""

    def __init__(self, why: RuntimeError) -> None:
        self._why = why

    def open(self) -> ServerConnection:
        """Say why it can't be done."""
        raise self._why

    def decline(self) -> None:
        """Do nothing: the connection is the server's."""


class Exchange:
    """A request to open a WebSocket connection, and what an application makes of it.

    It is what the application gets as start_response, and what the server gets as
    its result: the answer over HTTP waits until it is sure that it is one.

    Args:
        opening: of the connection.
        start_response: of the request.
    """

    def __init__(
        self, opening: Opening | Unable, start_response: StartResponse
    ) -> None:
        self._opening = opening
        self._start_response = start_response
        #: What the application gets.
        self.websocket = WebSocket(self._open)
        # The application's answer, its status and its headers last.
        self._result: Iterable[bytes] = ()
        self._chunks: Iterator[bytes] = iter(())
        self._status = ""
        self._headers: list[tuple[str, str]] = []
        # What sends the body; None before the answer over HTTP has begun.
        self._write: Callable[[bytes], object] | None = None
        self._close_code = CloseCode.NORMAL_CLOSURE

    # Public methods

    def run(
        self, app: Callable[..., Iterable[bytes]], environ: Environ
    ) -> Iterable[bytes]:
        """Call the application; return what is to be sent over HTTP."""
        environ[WEBSOCKET_KEY] = self.websocket
        environ["wsgi.websocket_version"] = environ.get("HTTP_SEC_WEBSOCKET_VERSION")
        try:
            self._result = app(environ, self.start_response)
        except BaseException as exc:
            self._fail(exc)
        if self.websocket.opened:
            self.close()
            return ()
        if hasattr(self._result, "__len__"):
            # Nothing of the application runs any more: the server may count it.
            self._begin()
            return self._result
        self._chunks = iter(self._result)
        return self

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        """Take the status and headers; the application calls this."""
        if self._write is not None:
            # Too late, as the server will say.
            return self._start_response(status, headers, exc_info)
        self._status, self._headers = status, headers
        return self.write

    def write(self, data: bytes) -> None:
        """Send some of the body; what `start_response` returns."""
        if not self.websocket.opened:
            self._begin()
            assert self._write is not None  # _begin sets it
            self._write(data)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            for chunk in self._chunks:
                if chunk and not self.websocket.opened:
                    self._begin()
                    return chunk
        except BaseException as exc:
            self._fail(exc)
        if not self.websocket.opened:
            self._begin()
        raise StopIteration

    def close(self) -> None:
        """Close the connection, and the application's result; the server calls this."""
        if not self.websocket.opened:
            self._close_result()
            return
        ws = self.websocket.accept()
        if self._status[:1] == "5":
            self._close_code = CloseCode.INTERNAL_ERROR
        ws.begin_close(self._close_code)
        try:
            self._close_result()
        except BaseException as exc:
            self._fail(exc)
        finally:
            ws.close(self._close_code)
            ws.logger.info("connection closed: %s", ws.remote_address)

    # Private methods

    def _open(self) -> ServerConnection:
        if self._write is not None:
            raise RuntimeError("the request was answered over HTTP already")
        ws = self._opening.open()
        self._status = ""
        return ws

    def _begin(self) -> None:
        # The answer goes out over HTTP.
        if self._write is not None:
            return
        self._opening.decline()
        if self._status:
            headers = self._headers
            if isinstance(self._opening, Opening) and not names_connection(headers):
                # What follows the request may be frames: never to be read as HTTP.
                headers = [*headers, ("Connection", "close")]
            self._write = self._start_response(self._status, headers)

    def _fail(self, exc: BaseException) -> None:
        # The application raised. A connection that is open gets no error page.
        if not self.websocket.opened:
            self._opening.decline()
            raise exc
        ws = self.websocket.accept()
        self._close_code = CloseCode.INTERNAL_ERROR
        if isinstance(exc, GreenletExit):
            self._close_code = CloseCode.GOING_AWAY
        elif isinstance(exc, ConnectionClosed) and not ws.open:
            ws.logger.debug("application ended: %s", exc)
        elif isinstance(exc, (Exception, Timeout)):
            ws.logger.error("application failed", exc_info=exc)
        else:
            ws.begin_close(self._close_code)
            raise exc

    def _close_result(self) -> None:
        close = getattr(self._result, "close", None)
        if close is not None:
            close()


def names_connection(headers: list[tuple[str, str]]) -> bool:
    """Tell whether there is a Connection header."""
    return any(name.lower() == "connection" for name, _ in headers)
