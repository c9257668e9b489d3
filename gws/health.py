"""Servers in, answers to who asks how they are out: /healthz, /readyz, /metrics.

/healthz is 200 as long as the loop runs, which else could not answer. /readyz is 503
while whoever connects would not be served: a server drains, has not started, or is
full.

`process_request` answers on a server's own port; `Endpoint` on one for them alone.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, Protocol

from gevent.socket import socket as GeventSocket

from .protocol.http11 import Request, Response
from .server.listener import listen_tcp
from .wsgi.pywsgi import WSGIServer


#: How many requests an `Endpoint` serves at once; others wait.
MAX_REQUESTS = 50

#: An application of WSGI (PEP 3333).
Application = Callable[..., Iterable[bytes]]


class HasReadiness(Protocol):
    """A `Server`, or the `OpenConnections` of one of WSGI."""

    def is_ready(self) -> bool:
        """Tell whether whoever connects now would be served."""


def answer(path: str, servers: Iterable[HasReadiness | None]) -> tuple[int, str] | None:
    """Return status and text for a path; None if it is neither of the two."""
    if path == "/healthz":
        return 200, "ok\n"
    if path == "/readyz":
        ready = all(server is None or server.is_ready() for server in servers)
        return (200, "ready\n") if ready else (503, "not ready\n")
    return None


def process_request(ws: Any, request: Request) -> Response | None:
    """Answer /healthz and /readyz; a hook for `serve`, or to be called in one.

        serve(handler, process_request=health.process_request)

    A server that drains accepts nobody any more: who asks finds the port closed,
    which says as much.
    """
    answered = answer(request.path.partition("?")[0], [ws.server])
    if answered is None:
        return None
    response: Response = ws.respond(*answered)
    return response


class Endpoint:
    """An HTTP server that says how other servers are; for ``with``.

        with Endpoint([server], port=9100, metrics=metrics.application):
            server.serve_forever()

    Whoever reaches it may ask: let it listen where the public is not.

    Args:
        servers: whether all of them are ready is what /readyz tells.
        host, port: where to listen, as for `serve`.
        sockets: that listen already, in the place of these.
        metrics: what answers /metrics, an application of WSGI.

    Raises:
        OSError: if the address can't be had.
    """

    def __init__(
        self,
        servers: Sequence[HasReadiness],
        host: str | None = "localhost",
        port: int = 0,
        *,
        sockets: Sequence[socket.socket] | None = None,
        metrics: Application | None = None,
    ) -> None:
        self._servers = servers
        self._metrics = metrics
        #: The listening sockets.
        self.sockets = [
            GeventSocket(fileno=sock.detach())
            for sock in (listen_tcp(host, port) if sockets is None else sockets)
        ]
        self._endpoints: list[Any] = [
            WSGIServer(
                sock, self.application, spawn=MAX_REQUESTS, log=None, error_log=None
            )
            for sock in self.sockets
        ]

    def start(self) -> None:
        """Begin to answer."""
        for endpoint in self._endpoints:
            endpoint.start()

    def close(self) -> None:
        """Listen no more, and cut what is being answered."""
        for endpoint in self._endpoints:
            endpoint.stop(0)

    def __enter__(self) -> Endpoint:
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def application(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Answer a request; it is an application of WSGI."""
        path = environ["PATH_INFO"]
        if path == "/metrics" and self._metrics is not None:
            return self._metrics(environ, start_response)
        status, text = answer(path, self._servers) or (404, "There is no such page.\n")
        body = text.encode()
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
        ]
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [body]
