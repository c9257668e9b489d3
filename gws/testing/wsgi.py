"""A WSGI application in, connections to its WebSockets out, without a port.

`WebSocketClient` is werkzeug's test client, which Flask's is too, and can what these
can't.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent import socket
from gevent.pywsgi import WSGIServer
from werkzeug.test import Client
from werkzeug.wsgi import ClosingIterator

from ..client import ClientConnection, connect
from ..exceptions import ConnectionClosed, InvalidStatus
from ..protocol.codes import CloseCode
from ..protocol.datastructures import Headers, HeadersLike
from ..sockets import plain
from ..wsgi.accept import WATCH_KEY
from .pairs import close
from .peer import TIMEOUT
from .served import CLOSE_TIMEOUT, REMOTE_ADDRESS, raise_failure


class WebSocketClient(Client):
    """A test client of werkzeug that opens WebSocket connections, too.

        client = WebSocketClient(application)

    For Flask it is added to Flask's own::

        class Client(WebSocketClient, FlaskClient):
            pass

        app.test_client_class = Client
    """

    @contextmanager
    def websocket(
        self,
        path: str = "/",
        *,
        headers: HeadersLike | None = None,
        environ: Mapping[str, Any] | None = None,
        remote_address: Any = REMOTE_ADDRESS,
        timeout: float = TIMEOUT,
        **options: Any,
    ) -> Iterator[ClientConnection]:
        """Connect to a route of the application.

            with client.websocket("/chat/lobby") as ws:
                ws.send("hello")
                assert ws.recv() == "lobby: hello"

        The application runs in a greenlet of its own, under gevent's WSGI server.
        The client's cookies go with the request; those of the response are kept. At
        the end of the ``with`` the connection is closed and the application must
        return.

        What the application raises is raised there, too; so is what a handler of
        `gws.wsgi.flask.Sock` raises. In the body, the end of the connection is what
        is seen of it.

        Args:
            path: of the request, with its query; or a whole ``ws://`` URI, for
                another host.
            headers: to add to the request.
            environ: to add to the request's environ; ``{"wsgi.url_scheme":
                "https"}`` is what a proxy with TLS would say.
            remote_address: the client's, as the application sees it.
            timeout: seconds that the application may take to end.
            options: as for `connect`; close_timeout is 1 s.

        Opening raises:
            InvalidStatus: if the application refuses or redirects; its ``response``
                tells how.
            TypeError, ValueError: if an option makes no sense.

        Ending raises:
            TimeoutError: if the application does not return; it is stopped.
        """
        uri = path if "://" in path else f"ws://localhost{path}"
        if not uri.lower().startswith("ws://"):
            raise ValueError(f"there is no TLS here: {uri!r}")
        sent = Headers(headers or ())
        for cookies in self._cookies_for(uri):
            sent["Cookie"] = cookies
        options = {"close_timeout": CLOSE_TIMEOUT, **options}
        with ServedApp(self.application, environ or {}, timeout) as served:
            sock = plain(served.dial(remote_address))
            try:
                recipe = ConnectOnce(uri, sock=sock, additional_headers=sent, **options)
            except BaseException:
                sock.close()
                raise
            ws = self._open(recipe, uri)
            try:
                yield ws
            except BaseException:
                close(ws, CloseCode.INTERNAL_ERROR, timeout)
                raise
            close(ws, CloseCode.NORMAL_CLOSURE, timeout)

    # Private methods. What they call of werkzeug is private, too, but Flask's client
    # calls it as well.

    def _open(self, recipe: connect, uri: str) -> ClientConnection:
        try:
            ws = recipe.open()
        except InvalidStatus as exc:
            self._keep_cookies(uri, exc.response.headers)
            raise
        self._keep_cookies(uri, ws.response_headers)
        return ws

    def _cookies_for(self, uri: str) -> list[str]:
        parts = urlsplit(uri)
        environ = {
            "wsgi.url_scheme": "http",
            "HTTP_HOST": parts.netloc,
            "SCRIPT_NAME": "",
            "PATH_INFO": parts.path or "/",
        }
        self._add_cookies_to_wsgi(environ)
        return [environ["HTTP_COOKIE"]] if "HTTP_COOKIE" in environ else []

    def _keep_cookies(self, uri: str, headers: Headers) -> None:
        parts = urlsplit(uri)
        self._update_cookies_from_response(
            parts.hostname or "localhost",
            parts.path or "/",
            headers.get_all("Set-Cookie"),
        )


class ConnectOnce(connect):
    """Connects, but follows no redirect: the test asks where it leads."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return what the server answered."""
        return exc


class ServedApp:
    """A WSGI application under gevent's WSGI server, without a port; for ``with``.

    At the end of the ``with`` it waits for the application to return, and raises what
    that raised, unless the body raised something that is no consequence of it.

    Args:
        app: the application.
        environ: to add to the environ of each request.
        timeout: seconds that the application may take to return.
    """

    def __init__(self, app: Any, environ: Mapping[str, Any], timeout: float) -> None:
        self._app = app
        self._timeout = timeout
        self._failure: BaseException | None = None
        self._serving: list[Any] = []
        self._environ = {"wsgi.errors": sys.stderr, **environ, WATCH_KEY: self._watch}
        # It never listens: connections are handed to it.
        self._server = WSGIServer(
            ("localhost", 0),
            self._run,
            log=None,
            error_log=None,
            environ={"SERVER_NAME": "localhost", "SERVER_PORT": "80"},
        )

    # Public methods

    def dial(self, remote_address: Any) -> Any:
        """Return our end, of gevent, of a new connection to the server."""
        ours, theirs = socket.socketpair()
        self._serving.append(gevent.spawn(self._serve, theirs, remote_address))
        return ours

    def __enter__(self) -> ServedApp:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()
        raise_failure(self._failure, exc)

    # Private methods

    def _serve(self, sock: Any, remote_address: Any) -> None:
        with contextlib.closing(sock):
            self._server.handle(sock, remote_address)

    def _run(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # The application, as pywsgi calls it.
        environ.update(self._environ)
        try:
            with self._noticing():
                answer = self._app(environ, start_response)
                with contextlib.closing(ClosingIterator(answer)) as parts:
                    return list(parts)
        except Exception:
            if start_response.__self__.headers_sent:
                return []
            start_response("500 Internal Server Error", [("Connection", "close")])
            return [b"The application failed.\n"]

    def _watch(self, handler: Callable[..., Any], ws: Any, /, **kwargs: Any) -> None:
        with self._noticing(ws):
            handler(ws, **kwargs)

    @contextmanager
    def _noticing(self, ws: Any = None) -> Iterator[None]:
        try:
            yield
        except gevent.GreenletExit:
            raise
        except BaseException as exc:
            # The end of its connection is no failure of a handler.
            if ws is None or ws.open or not isinstance(exc, ConnectionClosed):
                self._failure = exc
            raise

    def _end(self) -> None:
        gevent.joinall(self._serving, self._timeout)
        left = [found for found in self._serving if not found.dead]
        if not left:
            return
        stacks = [traceback.format_stack(found.gr_frame) for found in left]
        gevent.killall(left, timeout=self._timeout)
        raise TimeoutError(
            f"the application has not returned within {self._timeout} s after its "
            "connection had ended; it was here:\n" + "\n".join(map("".join, stacks))
        )
