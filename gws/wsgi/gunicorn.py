"""gunicorn's gevent worker, which knows its WebSocket connections.

They open on ``-k gevent``, too. With this worker they are closed when it ends, and
not cut: the clients see 1001, and a restart takes a second, not all of
``--graceful-timeout``.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Iterable
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]

from ..server.handshake import RETRY_AFTER
from .accept import SERVER_KEY, Environ, is_websocket
from .open import OpenConnections
from .takeover import StartResponse


#: How many connections a worker that is full serves beside, to say so.
SPARE = 100

#: Parts of ``--graceful-timeout``: within the first, WebSockets are told that the
#: worker ends; after the second, what still runs is stopped; after the third, the
#: worker ends. At all of it gunicorn kills the worker.
TELL, STOP, END = 0.4, 0.75, 0.9

#: Seconds between two looks whether all have ended.
LOOK = 0.05


class WebSocketWorker(GeventWorker):  # type: ignore[misc]
    """``gunicorn -k gws.wsgi.gunicorn.WebSocketWorker``.

    When the worker ends (SIGTERM, SIGHUP, ``--max-requests``), all WebSockets are
    closed with 1001, in batches, and handlers that do not end are stopped with
    `gevent.GreenletExit` before ``--graceful-timeout`` is over. After SIGINT and
    SIGQUIT nobody waits for anything, but the WebSockets are told.

    ``--worker-connections`` is how many connections a worker has at once, of HTTP
    and WebSockets together. One that has so many leaves further ones to others. What
    none has taken within a second it serves beside, up to 100 connections: HTTP with
    an answer and the end of the connection, WebSockets with a 503.
    """

    wsgi: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._open = OpenConnections()
        self._servers: list[Server] = []
        self._spare: Any = Pool(SPARE)
        # Greenlets of connections that wait for another request.
        self._idle: set[Any] = set()
        self._drains = False

    # What gunicorn calls

    def server_class(
        self,
        listener: Any,
        *,
        spawn: Pool,
        application: Any,
        log: Any,
        handler_class: Any,
        environ: Any,
        **tls: Any,
    ) -> Server:
        """Make a server of a listening socket; in gunicorn it is a class."""
        handle = functools.partial(self.handle, listener)
        server = Server(listener, handle, spawn=spawn, **tls)
        if self.cfg.workers > 1:
            server.max_accept = 1
        self._servers.append(server)
        return server

    def load_wsgi(self) -> None:
        """Load the application."""
        super().load_wsgi()
        self.wsgi = functools.partial(self._serve, self.wsgi)

    def notify(self) -> None:
        """Tell the master that we live, and look after the rest; once a second."""
        super().notify()
        if not self.alive:
            self._drain()
            return
        n_served = sum(server.serve_beside(self._spare) for server in self._servers)
        if n_served:
            self.log.warning(
                "worker_connections (%d) reached: %d connections served beside",
                self.worker_connections,
                n_served,
            )

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection."""
        try:
            super().handle(listener, client, addr)
        finally:
            self._idle.discard(gevent.getcurrent())

    def handle_request(
        self, listener_name: Any, req: Any, sock: Any, addr: Any
    ) -> None:
        """Serve one request; it raises StopIteration if it was the last."""
        self._idle.discard(gevent.getcurrent())
        super().handle_request(listener_name, req, sock, addr)
        self._idle.add(gevent.getcurrent())

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Any) -> None:
        """Log and answer what went wrong; that we stopped it is nothing wrong."""
        if not isinstance(exc, gevent.GreenletExit):
            super().handle_error(req, client, addr, exc)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """End gracefully: SIGTERM."""
        super().handle_exit(sig, frame)
        self._drain()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """End quickly: SIGINT and SIGQUIT."""
        gevent.spawn(self._open.close, 0)
        super().handle_quit(sig, frame)

    # Private methods

    def _serve(
        self, app: Any, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        # All requests come by here.
        environ[SERVER_KEY] = self._open
        if gevent.getcurrent() in self._spare:
            response: Any = getattr(start_response, "__self__", None)
            if hasattr(response, "force_close"):  # HTTP/2 has none
                response.force_close()
            if is_websocket(environ):
                return refuse(start_response)
        result: Iterable[bytes] = app(environ, start_response)
        return result

    def _drain(self) -> None:
        if not self._drains:
            self._drains = True
            gevent.spawn(self._drain_in_time)

    def _drain_in_time(self) -> None:
        now = time.monotonic()
        whole = self.cfg.graceful_timeout
        for server in self._servers:
            server.close()
        gevent.killall(self._idle, block=False)
        self._open.close(whole * TELL)
        if n_left := self._wait(now + whole * STOP):
            self.log.warning("Stopping %d requests that do not end", n_left)
            for pool in self._pools():
                pool.kill(block=False)
            self._wait(now + whole * END)
        sys.exit(0)

    def _wait(self, deadline: float) -> int:
        # Until all requests have ended; how many have not, else.
        while n_left := sum(map(len, self._pools())):
            if time.monotonic() >= deadline:
                break
            gevent.sleep(LOOK)
        return n_left

    def _pools(self) -> list[Any]:
        return [self._spare, *(server.pool for server in self._servers)]


class Server(StreamServer):
    """A listening socket of a worker."""

    pool: Any
    _handle: Any  # serves a connection, after the TLS handshake if there is one

    def serve_beside(self, spare: Pool) -> int:
        """Serve connections that wait for a place in the pool, and have long.

        Returns:
            How many there were.
        """
        n = 0
        while not self.closed and self.pool.full() and spare.free_count() > 0:
            try:
                accepted = self.do_read()
            except OSError:  # the peer has gone, or there are no descriptors left
                break
            if accepted is None:
                break
            spare.spawn(self._serve_one, self._handle, *accepted)
            n += 1
        return n

    def _serve_one(self, handle: Any, sock: Any, address: Any) -> None:
        try:
            handle(sock, address)
        finally:
            self.do_close(sock, address)


def refuse(start_response: StartResponse) -> Iterable[bytes]:
    """Answer that there is no room for a WebSocket."""
    headers = [("Content-Type", "text/plain"), ("Retry-After", RETRY_AFTER)]
    start_response("503 Service Unavailable", headers)
    return [b"The server is full.\n"]
