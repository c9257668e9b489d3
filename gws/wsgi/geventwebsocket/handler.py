"""What serves a request on gevent's WSGI server; known as geventwebsocket.handler."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from ...server.handshake import ServerConnection
from .. import pywsgi
from ..accept import Acceptor, Environ, is_websocket
from ..takeover import StartResponse
from .exceptions import WebSocketError
from .websocket import Socket, WebSocket


#: The subprotocol that the application has for the path of a request. It is asked
#: for where nothing is known of the application.
app_protocol: ContextVar[str] = ContextVar("app_protocol", default="")

#: Numbers for clients without an address.
numbers = itertools.count(1)


def select_subprotocol(ws: ServerConnection, offered: Sequence[str]) -> str | None:
    """Choose the subprotocol of the application, if the client offers it."""
    protocol = app_protocol.get()
    return protocol if protocol in offered else None


#: What differs from `gws.serve`: gevent-websocket looks at no Origin, and knows no
#: limit; the one here is only for those who mean no good.
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "origins": "*",
        "max_size": 2**24,
        "select_subprotocol": select_subprotocol,
    }
)


class Client:
    """Who is connected: what ``server.clients`` holds."""

    def __init__(self, address: Any, ws: WebSocket) -> None:
        self.address = address
        self.ws = ws


class WebSocketHandler(pywsgi.WebSocketHandler):
    """Gives the application its WebSocket, as gevent-websocket does.

    The server has all of them in ``clients``, by their addresses. Those that have
    none, over a Unix socket, are numbered.
    """

    websocket_options = DEFAULTS

    #: The connection of this request.
    websocket: WebSocket | None = None

    # Of gevent's handler: to its types, they are less than what they are here.
    application: Any
    environ: Any
    server: Any
    socket: Any

    _start_websocket_response: StartResponse

    # Properties

    @property
    def logger(self) -> Any:
        """The logger of the server."""
        return getattr(self.server, "logger", None) or logging.getLogger(__name__)

    @property
    def active_client(self) -> Client:
        """The client of this request."""
        client: Client = self.server.clients[self.client_address]
        return client

    # Public methods

    @classmethod
    def configure(cls, **options: Any) -> None:
        """Set options of connections; before the first one.

        Raises:
            TypeError, ValueError: if an option makes no sense.
        """
        options = {**DEFAULTS, **options}
        cls._acceptor_of_class = Acceptor(**options)
        cls.websocket_options = options

    def run_application(self) -> None:
        """Serve one request; gevent calls this."""
        if not self._asks_for_websocket():
            super(pywsgi.WebSocketHandler, self).run_application()
            return
        find_protocol = getattr(self.application, "app_protocol", None)
        path = self.environ["PATH_INFO"]
        token = app_protocol.set(find_protocol(path) if find_protocol else "")
        self.application = functools.partial(self._serve, self.application)
        try:
            super().run_application()
        finally:
            app_protocol.reset(token)

    def run_websocket(self) -> None:
        """Run the application; the connection is open."""
        if not hasattr(self.server, "clients"):
            self.server.clients = {}
        clients = self.server.clients
        assert self.websocket is not None  # _serve has set it
        client = Client(self.client_address, self.websocket)
        clients[client.address] = client
        result: Any = None
        try:
            result = self.application(self.environ, self._start_websocket_response)
            for _ in result or ():
                pass
        finally:
            if clients.get(client.address) is client:
                del clients[client.address]
            if hasattr(result, "close"):
                result.close()

    # Private methods

    def _asks_for_websocket(self) -> bool:
        environ = self.environ
        if (
            environ["REQUEST_METHOD"] != "GET"
            or not is_websocket(environ)
            or "upgrade" not in environ.get("HTTP_CONNECTION", "").lower()
        ):
            return False
        hook = getattr(self.server, "pre_start_hook", None)
        if hook is not None and hook(self):
            return False
        # A Resource without an application for this path answers over HTTP.
        find = getattr(self.application, "_app_by_path", None)
        return find is None or find(environ["PATH_INFO"], True) is not None

    def _serve(
        self,
        application: Callable[..., Any],
        environ: Environ,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        if not isinstance(self.client_address, tuple):
            self.client_address = f"unix:{next(numbers)}"
        connection = environ["wsgi.websocket"].accept()
        ws = self.websocket = WebSocket(connection, environ, self)
        environ["wsgi.websocket"] = ws
        self.application = application
        self.socket = Socket(ws)
        self._start_websocket_response = start_response
        try:
            self.run_websocket()
        except WebSocketError as exc:
            if not ws.closed:
                raise
            connection.logger.debug("application ended: %s", exc)
        finally:
            environ["wsgi.websocket"] = self.websocket = None
        return ()
