"""Applications by path; known as geventwebsocket.resource, and .protocols.base."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..accept import Environ
from ..takeover import StartResponse
from .exceptions import WebSocketError
from .websocket import WebSocket


class BaseProtocol:
    """What stands between a connection and its application, for subclasses.

    Args:
        app: the application.
    """

    #: The subprotocol, if there is one.
    PROTOCOL_NAME = ""

    def __init__(self, app: Any) -> None:
        self._app = app

    # Properties

    @property
    def app(self) -> Any:
        """The application."""
        if self._app is None:
            raise RuntimeError("No application coupled")
        return self._app

    @property
    def server(self) -> Any:
        """The server; None while there is no connection."""
        return getattr(self.handler, "server", None)

    @property
    def handler(self) -> Any:
        """The handler of the request; None while there is no connection."""
        return getattr(getattr(self.app, "ws", None), "handler", None)

    # Public methods

    def on_open(self) -> None:
        """Called once the connection is open."""
        self.app.on_open()

    def on_message(self, message: str | bytes) -> None:
        """Called with each message."""
        self.app.on_message(message)

    def on_close(self, reason: Any = None) -> None:
        """Called once the connection is closed."""
        self.app.on_close(reason)


class WebSocketApplication:
    """A connection and what it does, for subclasses; see `Resource`.

    Args:
        ws: the connection.
    """

    protocol_class: type[BaseProtocol] = BaseProtocol

    def __init__(self, ws: WebSocket) -> None:
        self.protocol = self.protocol_class(self)
        self.ws = ws

    # Public methods

    def handle(self) -> None:
        """Serve the connection to its end.

        `on_close` is called whatever happens after `on_open`, once.
        """
        self.protocol.on_open()
        try:
            while True:
                message = self.ws.receive()
                if message is None:
                    break
                self.protocol.on_message(message)
        except WebSocketError:
            if not self.ws.closed:
                raise
        finally:
            self.protocol.on_close()

    def on_open(self, *args: Any, **kwargs: Any) -> None:
        """Called once the connection is open."""

    def on_close(self, *args: Any, **kwargs: Any) -> None:
        """Called once the connection is closed."""

    def on_message(self, message: str | bytes, *args: Any, **kwargs: Any) -> None:
        """Called with each message; sends it back, unless a subclass knows better."""
        self.ws.send(message, **kwargs)

    @classmethod
    def protocol_name(cls) -> str:
        """Return the subprotocol."""
        return cls.protocol_class.PROTOCOL_NAME


class Resource:
    """A WSGI application made of others, and of classes for WebSockets, by path.

        Resource([("^/chat", ChatApplication), ("^/", flask_app)])

    Args:
        apps: pairs, or a mapping, of a regular expression for the beginning of the
            path and of a subclass of `WebSocketApplication` or a WSGI application.
            The first that matches, and is of the right kind, has the request.
    """

    def __init__(
        self, apps: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None
    ) -> None:
        if isinstance(apps, Mapping):
            apps = apps.items()
        self.apps: list[tuple[str, Any]] = list(apps or ())

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Serve one request."""
        ws = environ.get("wsgi.websocket")
        app = self._app_by_path(environ["PATH_INFO"], ws is not None)
        if app is None:
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"Nothing is here.\n"]
        if ws is None:
            result: Iterable[bytes] = app(environ, start_response)
            return result
        app(ws).handle()
        return []

    def app_protocol(self, path: str) -> str:
        """Return the subprotocol of the WebSocket application of a path."""
        app = self._app_by_path(path, True)
        return app.protocol_name() if hasattr(app, "protocol_name") else ""

    # Private methods, by the names that subclasses know

    def _is_websocket_app(self, app: Any) -> bool:
        return isinstance(app, type) and issubclass(app, WebSocketApplication)

    def _app_by_path(self, path: str, is_websocket_request: bool) -> Any:
        for pattern, app in self.apps:
            if (
                re.match(pattern, path)
                and self._is_websocket_app(app) == is_websocket_request
            ):
                return app
        return None
