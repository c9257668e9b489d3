"""python-engineio's gevent mode, and what stands on it, with the WebSockets of gws.

python-socketio and Flask-SocketIO leave WebSockets to python-engineio, and that to a
driver which its gevent mode names. `install` puts another one there: no handler
class, no special worker, and nothing to change in the application.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

from gevent import Timeout

from ..exceptions import ConnectionClosed
from ..protocol.codes import CloseCode
from ..server.handling import handle
from ..server.handshake import ServerConnection
from .accept import Acceptor, Environ, Refused
from .takeover import StartResponse


#: What differs from `serve`: Engine.IO looks at origins (cors_allowed_origins) and
#: sends pings by itself.
DEFAULTS: dict[str, Any] = {"origins": "*", "ping_interval": None}

FOREIGN = (
    "environ['wsgi.websocket'] is a {}: somebody else has opened the connection. Give "
    "the server no handler_class of gevent-websocket; Flask-SocketIO does so by itself "
    "if that is installed, unless gws.wsgi.geventwebsocket.install() was called first"
)


def install(**options: Any) -> None:
    """Have ``async_mode="gevent"`` of python-engineio use gws.

    Before servers are made or after, on gevent.pywsgi and on gunicorn with its
    gevent workers. The limit of messages is the server's max_http_buffer_size.
    Calling it again changes the options.

    Args:
        options: of `gws.serve`, as far as they are about connections.

    Raises:
        ImportError: if python-engineio is not there.
        TypeError, ValueError: if an option makes no sense.
    """
    modes = gevent_mode()
    driver = modes["websocket"]
    original = driver.original if isinstance(driver, Drivers) else driver
    modes["websocket"] = Drivers(original, DEFAULTS | options)


def uninstall() -> None:
    """Undo `install`: later connections are opened as before."""
    modes = gevent_mode()
    driver = modes["websocket"]
    if isinstance(driver, Drivers):
        modes["websocket"] = driver.original


def gevent_mode() -> dict[str, Any]:
    """Return what all servers of the gevent mode look their driver up in."""
    module = importlib.import_module("engineio.async_drivers.gevent")
    modes: dict[str, Any] = module._async
    return modes


class Drivers:
    """Makes the driver of each connection; this is what engineio is given.

    Args:
        original: what was there before.
        options: of the connections.
    """

    def __init__(self, original: Any, options: dict[str, Any]) -> None:
        self.original = original
        self._options = options
        # By the limits of the servers: nearly always one.
        self._acceptors: dict[int, Acceptor] = {}
        Acceptor(**options)

    def __call__(self, handler: Callable[[Any], Any], server: Any) -> Driver:
        """Make a driver; engineio calls this."""
        limit = server.max_http_buffer_size
        acceptor = self._acceptors.get(limit)
        if acceptor is None:
            acceptor = Acceptor(**{"max_size": limit} | self._options)
            self._acceptors[limit] = acceptor
        return Driver(handler, server, acceptor)


class Driver:
    """One connection as python-engineio wants it: a WSGI application, and its verbs.

    Called with a request it opens the connection and runs ``handler(self)``, which
    calls `wait`; a greenlet beside it calls `send` and `close`.

    Args:
        handler: a method of the session (`engineio.Socket`).
        server: its `engineio.Server`.
        acceptor: opens the connection.
    """

    def __init__(
        self, handler: Callable[[Any], Any], server: Any, acceptor: Acceptor
    ) -> None:
        self._handler = handler
        self._server = server
        self._acceptor = acceptor
        self._timeout: float | None = None
        self._ws: ServerConnection

    @property
    def socket(self) -> Driver:
        """What engineio sets a time limit on."""
        return self

    # Public methods

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Open the connection, and serve it to its end."""
        there = environ.get("wsgi.websocket")
        if there is not None:
            self._ws = connection_of(there)
            try:
                self._serve(self._ws)
            finally:
                self._ws.close()
            return ()
        try:
            self._ws = self._acceptor.accept(environ, start_response)
        except Refused as refused:
            if not self._session.connected:
                self._end_session()
            # A tuple: of a list engineio thinks that it holds packets.
            return tuple(refused(environ, start_response))
        self._ws.handler = self._serve
        try:
            handle(self._ws)
        finally:
            self._ws.handler = None
        return ()

    def settimeout(self, timeout: float) -> None:
        """Set the seconds that `wait` and `send` may take; engineio calls this."""
        # Engine.IO looks by itself whether its pings are answered, every
        # ping_timeout, and tells the application: that shall come first.
        self._timeout = timeout + self._server.ping_timeout

    def wait(self) -> str | bytes | None:
        """Return the next message; None when the connection has ended."""
        try:
            return self._ws.recv(self._timeout)
        except ConnectionClosed:
            return None
        except TimeoutError:
            self._ws.begin_close(CloseCode.INTERNAL_ERROR, "ping timeout")
            return None

    def send(self, message: str | bytes) -> None:
        """Send a message.

        Raises:
            ConnectionClosed: if the connection is closed.
            Timeout: if the peer does not read.
        """
        with Timeout(self._timeout):
            self._ws.send(message)

    def close(self) -> None:
        """Close the connection, without waiting; `wait` returns when that is done."""
        self._ws.begin_close()

    # Private methods

    @property
    def _session(self) -> Any:
        return self._handler.__self__  # type: ignore[attr-defined]

    def _serve(self, ws: ServerConnection) -> None:
        try:
            self._handler(self)
        except Exception as exc:
            # What applications raise does not come here: it is an unreadable
            # packet, which engineio leaves to us, and its session open.
            ws.logger.info("no Engine.IO from %s: %.200r", ws.remote_address, exc)
            ws.begin_close(CloseCode.PROTOCOL_ERROR)
            self._end_session()
        except BaseException:
            # Stopped by the server; engineio's greenlet shall not go on without us.
            self._end_session()
            raise

    def _end_session(self) -> None:
        reason = self._server.reason.TRANSPORT_ERROR
        self._session.close(wait=False, abort=True, reason=reason)


def connection_of(websocket: Any) -> ServerConnection:
    """Return the connection that somebody opened for the application, or will.

    Raises:
        RuntimeError: if it is none of gws.
    """
    accept = getattr(websocket, "accept", None)
    connection = websocket if accept is None else accept()
    if not isinstance(connection, ServerConnection):
        kind = f"{type(websocket).__module__}.{type(websocket).__qualname__}"
        raise RuntimeError(FOREIGN.format(kind))
    return connection
