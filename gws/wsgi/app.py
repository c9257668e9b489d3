"""A handler, or a router, in; a WSGI application out."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from ..server.handling import handle
from ..server.route import with_path
from .accept import SPAWN_KEY, WATCH_KEY, Acceptor, Environ, Refused
from .takeover import StartResponse


class WebSocketApp:
    """A WSGI application that serves WebSocket connections, and nothing else.

    Args:
        handler: ``handler(ws)``, or a `Router`. When it returns the connection is
            closed with 1000, when it raises with 1011.
        options: of `serve`, as far as they are about connections.

    Raises:
        TypeError, ValueError: as `serve`, for options.
    """

    def __init__(self, handler: Any, **options: Any) -> None:
        self._acceptor = Acceptor(with_path(handler), **options)

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Serve one request."""
        try:
            # Not `accept`: `handle` closes what is open, whatever happens.
            ws = self._acceptor.prepare(environ, start_response).open()
        except Refused as refused:
            return refused(environ, start_response)
        watch = environ.get(WATCH_KEY)
        if watch is not None:
            ws.handler = functools.partial(watch, ws.handler)
        spawn = environ.get(SPAWN_KEY)
        if spawn is None:
            handle(ws)
        else:
            # The request ends here, and with it all that WSGI keeps for one: an
            # idle connection takes 5 KB less.
            spawn(handle, ws)
        return ()
