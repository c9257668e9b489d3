"""gevent's own WSGI server, with WebSockets.

`WebSocketHandler` opens the connection before the application is called, as that of
gevent-websocket does. `WSGIServer` knows its WebSocket connections, and closes them
when it stops. Neither needs the other.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from gevent import pywsgi
from gevent.pool import Pool

from ..handshake import ServerConnection
from .accept import SERVER_KEY, SPAWN_KEY, Acceptor, Refused, is_websocket
from .middleware import Exchange
from .open import OpenConnections
from .takeover import StartResponse


#: Seconds that WebSockets have to close when a server stops.
WEBSOCKETS_TIMEOUT = 10


class WebSocketHandler(pywsgi.WSGIHandler):
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
    """gevent's WSGI server; what differs is how it ends.

    Its WebSocket connections may be opened in any way: by `accept`, `WebSocketApp`,
    `WebSocketMiddleware`, `WebSocketHandler`.

    Args:
        listener: an address, or a socket that listens.
        application: of WSGI.
        max_connections: how many WebSockets may be open; further ones get a 503.
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
        **kwargs: Any,
    ) -> None:
        self._open = OpenConnections(max_connections)
        if spawn == "default":
            spawn = Pool()
        super().__init__(listener, application, backlog, spawn, **kwargs)

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

    def get_environ(self) -> dict[str, Any]:
        """Return what all requests have in their environ; gevent calls this."""
        environ: dict[str, Any] = super().get_environ()
        environ[SERVER_KEY] = self._open
        # A limit is for requests and connections together: one that waited for
        # another's place while it has its own would wait for ever.
        if self.pool is not None and self.pool.size is None:
            environ[SPAWN_KEY] = self.pool.spawn
        return environ
