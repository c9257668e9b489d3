"""A server with WebSockets; known as geventwebsocket.server."""

from __future__ import annotations

from typing import Any

from .. import pywsgi
from .handler import Client, WebSocketHandler
from .logging import create_logger


class WebSocketServer(pywsgi.WSGIServer):
    """gevent's WSGI server, with gevent-websocket's handler.

    Args:
        listener: an address, or a socket that listens.
        application: of WSGI; a `Resource`, say.
        debug: whether `logger` writes all it gets to stderr.
        pre_start_hook: called with the handler of each request to open a WebSocket
            connection; where it returns true, the application gets none.
        kwargs: as for `gws.wsgi.pywsgi.WSGIServer`.
    """

    handler_class = WebSocketHandler

    debug_log_format = "%(levelname)s in %(module)s:%(lineno)d: %(message)s"

    def __init__(
        self,
        *args: Any,
        debug: bool = False,
        pre_start_hook: Any = None,
        **kwargs: Any,
    ) -> None:
        self.debug = debug
        self.pre_start_hook = pre_start_hook
        #: Who is connected, by address.
        self.clients: dict[Any, Client] = {}
        self.logger = create_logger(
            "geventwebsocket.server", debug, self.debug_log_format
        )
        super().__init__(*args, **kwargs)
