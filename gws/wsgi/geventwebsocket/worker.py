"""gunicorn's worker of gevent-websocket; known as geventwebsocket.gunicorn.workers."""

from __future__ import annotations

from typing import Any

import gevent
from gunicorn.workers.ggevent import (  # type: ignore[import-untyped]
    GeventPyWSGIWorker,
    PyWSGIHandler,
)

from .. import pywsgi
from .handler import WebSocketHandler
from .install import install


#: Seconds within which all clients are told that the worker ends.
TELL = 1


class Handler(PyWSGIHandler, WebSocketHandler):  # type: ignore[misc]
    """That of gevent-websocket, with gunicorn's access log."""


class Server(pywsgi.WSGIServer):
    """The server of one listening socket."""

    def close(self) -> None:
        """Stop to accept, and have the WebSockets closed with 1001."""
        super().close()
        if not self._open.closing:
            self._open.closing = True
            gevent.spawn(self._open.close, TELL)


class GeventWebSocketWorker(GeventPyWSGIWorker):  # type: ignore[misc]
    """``gunicorn -k gws.wsgi.geventwebsocket.worker.GeventWebSocketWorker``.

    It calls `install` before it loads the application. With ``--preload`` that is
    too late: have gunicorn's configuration file do it.
    """

    server_class = Server
    wsgi_handler = Handler

    def load_wsgi(self) -> Any:
        """Load the application; gunicorn calls this."""
        install()
        return super().load_wsgi()
