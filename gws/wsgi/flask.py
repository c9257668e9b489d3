"""A Flask view in, a WebSocket connection inside its request out: `Sock`.

The view of a route returns a `WebSocketResponse`. So Flask first does all that it
does for any request: hooks, errors, the session cookie. Then it calls the response as
a WSGI application, while the request's contexts are still there; that opens the
connection, with the headers that the response has got, and runs the handler.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from flask import Blueprint, Flask, Response, current_app, request
from flask.sansio.scaffold import Scaffold
from werkzeug.exceptions import BadRequest, HTTPException
from werkzeug.routing.exceptions import WebsocketMismatch
from werkzeug.wrappers import Response as WerkzeugResponse

from ..protocol.codes import CloseCode
from ..server.answers import OWN_HEADERS, checked_extra
from ..server.handling import handle
from ..server.handshake import ServerConnection
from .accept import (
    OPTIONS,
    WATCH_KEY,
    Acceptor,
    Environ,
    Refused,
    is_websocket,
)
from .takeover import StartResponse


Handler = TypeVar("Handler", bound=Callable[..., Any])

#: What takes `Sock.route`'s routes.
Place = Flask | Blueprint

#: Headers of a response that are the handshake's affair.
NOT_OURS = {*OWN_HEADERS, "date", "server"}

#: Options of flask-sock that say how it works inside.
MEANINGLESS = {"receive_bytes", "thread_class", "event_class", "selector_class"}


class UpgradeRequired(BadRequest):
    """426: a plain HTTP request came to a route that is for WebSockets."""

    code = HTTPStatus.UPGRADE_REQUIRED
    description = "This is for WebSocket connections; a browser can't open it."

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """Return the headers of the response.

        RFC 9110, section 15.5.22: "The server MUST send an Upgrade header field in
        a 426 response"; section 7.8: "A sender of Upgrade MUST also send an
        "Upgrade" connection option".
        """
        return [
            *super().get_headers(*args, **kwargs),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
        ]


class WebSocketResponse(Response):
    """A response that opens the connection and runs its handler; `Sock` makes it.

    Its status is 101 and its headers go out with the handshake's own. With another
    status, which an ``after_request`` function may have set, it is a response as
    others are.
    """

    #: Serves the connection: ``handler(ws, **view_args)``.
    handler: Callable[..., Any]
    view_args: Mapping[str, Any]
    _acceptor: Acceptor

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer the request; returns when the connection has ended."""
        if self.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return super().__call__(environ, start_response)
        try:
            return self._serve(environ, start_response)
        finally:
            self.close()  # calls what was given to call_on_close

    def _serve(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        headers = checked_extra(
            [item for item in self.headers if item[0].lower() not in NOT_OURS]
        )
        try:
            ws = self._acceptor.prepare(environ, start_response).open(headers)
        except Refused as refused:
            return refused(environ, start_response)
        run = functools.partial(serve_view, self.handler)
        watch = environ.get(WATCH_KEY)
        ws.handler = run if watch is None else functools.partial(watch, run)
        ws.handler_kwargs = self.view_args
        ws.route = str(request.url_rule or "")
        handle(ws)
        return ()


class Sock:
    """WebSocket routes for a Flask application, or for one of its blueprints.

        sock = Sock(app)

        @sock.route("/chat/<room>")
        def chat(ws, room):
            for message in ws:
                ws.send(f"{room}: {message}")

    ``ws`` is a `ServerConnection`, as from `serve`. Handlers run inside the request:
    ``request``, ``session``, ``g`` and ``url_for`` work in them. The session is read
    only: its cookie went out before.

    What a handler raises is logged and closes with 1011. ``abort(403)`` in it comes
    too late for HTTP and closes with 1008: to refuse, use a ``before_request``
    function or `response`.

    Args:
        app: an application or a blueprint; otherwise call `init_app`.
        options: of `serve`, as far as they are about connections. Those of a route
            come first, then these, then the application's SOCK_SERVER_OPTIONS.

    Raises:
        TypeError, ValueError: as `serve`, for options.
    """

    def __init__(self, app: Place | None = None, **options: Any) -> None:
        self._terms = Terms(options)
        self._routes: list[tuple[str, View, dict[str, Any]]] = []
        self._places: WeakSet[Place] = WeakSet()
        if app is not None:
            self.init_app(app)

    # Public methods

    def init_app(self, app: Place) -> None:
        """Add the routes, those to come included, to an application or blueprint.

        May be called again, for others.

        Raises:
            TypeError, ValueError: if its SOCK_SERVER_OPTIONS make no sense.
        """
        if app in self._places:
            return
        if isinstance(app, Flask):
            self._terms.make_acceptor(app)
        self._places.add(app)
        answer_mismatches(app)
        for rule, view, options in self._routes:
            app.add_url_rule(rule, view_func=view, websocket=True, **options)

    def route(
        self, rule: str, bp: Blueprint | None = None, **options: Any
    ) -> Callable[[Handler], Handler]:
        """Decorate the handler of a path: ``handler(ws, **view_args)``.

        Args:
            rule: as for `flask.Flask.route`.
            bp: a blueprint to add it to, in the place of the application.
            options: of `serve`, for this route; all others, such as ``endpoint`` and
                ``defaults``, are those of `flask.Flask.route`.

        Raises:
            TypeError, ValueError: if an option makes no sense, or the handler is
                async.
        """
        mine = {name: v for name, v in options.items() if name in CONNECTION_OPTIONS}
        others = {name: v for name, v in options.items() if name not in mine}
        terms = self._terms.narrowed(mine)

        def decorate(handler: Handler) -> Handler:
            view = View(handler, terms)
            places: Iterable[Place] = [bp] if bp else self._places
            if bp:
                answer_mismatches(bp)
            else:
                self._routes.append((rule, view, others))
            for place in places:
                place.add_url_rule(rule, view_func=view, websocket=True, **others)
            return handler

        return decorate

    def response(
        self, handler: Callable[[ServerConnection], Any], **options: Any
    ) -> WebSocketResponse:
        """Make what a view of your own returns to open the connection.

            @app.route("/chat", websocket=True)
            @login_required
            def chat():
                if current_user.is_banned:
                    abort(403)
                return sock.response(serve_chat)

        Args:
            handler: ``handler(ws)``.
            options: of `serve`, for this connection.

        Raises:
            TypeError, ValueError: if an option makes no sense, or the handler is
                async.
        """
        return View(handler, self._terms.narrowed(options))()


class Terms:
    """Options, and what opens connections with them in an application.

    Args:
        options: as given to `Sock`, and then to a route.

    Raises:
        TypeError, ValueError: as `serve`, for options.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        # An iterator can be read once: here, not for the first application.
        self.options: dict[str, Any] = {
            name: list(value) if isinstance(value, Iterator) else value
            for name, value in options.items()
        }
        Acceptor(**self.options)
        # Made with the first request: a configuration may change until then.
        self._acceptors: WeakKeyDictionary[Flask, Acceptor] = WeakKeyDictionary()

    def narrowed(self, options: Mapping[str, Any]) -> Terms:
        """Return those of a part that has options of its own."""
        return Terms(overridden(self.options, options)) if options else self

    def acceptor_for(self, app: Flask) -> Acceptor:
        """Return what opens connections in an application."""
        acceptor = self._acceptors.get(app)
        if acceptor is None:
            acceptor = self._acceptors[app] = self.make_acceptor(app)
        return acceptor

    def make_acceptor(self, app: Flask) -> Acceptor:
        """Make what opens connections, with the configuration as it is now.

        Raises:
            TypeError, ValueError: if its SOCK_SERVER_OPTIONS make no sense.
        """
        configured = translated(app.config.get("SOCK_SERVER_OPTIONS") or {})
        return Acceptor(**overridden(configured, self.options))


class View:
    """A handler as a view of Flask's.

    Two of the same handler and options are equal: so one handler may have several
    rules, as a view may.
    """

    __name__: str

    def __init__(self, handler: Callable[..., Any], terms: Terms) -> None:
        if inspect.iscoroutinefunction(handler):
            raise TypeError(f"a handler is no async function: {handler!r}")
        functools.update_wrapper(self, handler)
        self._handler = handler
        self._terms = terms

    def __call__(self, **view_args: Any) -> WebSocketResponse:
        app = current_app._get_current_object()  # type: ignore[attr-defined]
        response = response_class_of(app.response_class)(
            status=HTTPStatus.SWITCHING_PROTOCOLS
        )
        response.headers.pop("Content-Type", None)
        response.handler = self._handler
        response.view_args = view_args
        response._acceptor = self._terms.acceptor_for(app)
        return response

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, View):
            return NotImplemented
        return (
            self._handler == other._handler
            and self._terms.options == other._terms.options
        )

    def __hash__(self) -> int:
        return hash(self._handler)


def serve_view(handler: Callable[..., Any], ws: Any, /, **view_args: Any) -> None:
    """Run a handler; what it answers as a view would is too late, and closes."""
    try:
        answer = handler(ws, **view_args)
    except HTTPException as exc:  # abort()
        answer = exc.get_response()
    if isinstance(answer, WerkzeugResponse):
        ws.logger.info("the handler refused %s: %s", ws.remote_address, answer.status)
        too_late(ws, answer)


def too_late(ws: ServerConnection, answer: WerkzeugResponse) -> None:
    """Close in the place of a response: with 1008, of a 5xx with 1011."""
    code = CloseCode.POLICY_VIOLATION
    if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        code = CloseCode.INTERNAL_ERROR
    ws.close(code, f"HTTP {answer.status_code}")


@functools.cache
def response_class_of(base: type[Response]) -> type[WebSocketResponse]:
    """Return a `WebSocketResponse` that is a response of the application, too.

    Otherwise Flask would make it one, and it would lose what it does.
    """
    bases = (WebSocketResponse,) if base is Response else (WebSocketResponse, base)
    return type("WebSocketResponse", bases, {})


def answer_mismatches(place: Scaffold) -> None:
    """Have plain HTTP requests to routes for WebSockets answered with 426."""
    if isinstance(place, Blueprint):
        # What does not match a rule is not the blueprint's.
        place.record_once(lambda state: answer_mismatches(state.app))
    else:
        place.register_error_handler(WebsocketMismatch, answer_mismatch)


def answer_mismatch(mismatch: Exception) -> Any:
    """Answer what werkzeug answers with 400, by the application's error pages."""
    if is_websocket(request.environ):
        error = BadRequest("This path is not for WebSocket connections.")
    else:
        error = UpgradeRequired()
    return current_app.handle_http_exception(error)


def overridden(wide: Mapping[str, Any], narrow: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a part inside a whole that has options as well."""
    options = {**wide, **narrow}
    if "subprotocols" in narrow and "select_subprotocol" not in narrow:
        options.pop("select_subprotocol", None)  # it would take their place
    return options


def translated(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return SOCK_SERVER_OPTIONS, as flask-sock has them, as options of gws.

    Those of gws may stand there, too.
    """
    options = {name: v for name, v in given.items() if name not in MEANINGLESS}
    if "max_message_size" in options:
        options["max_size"] = options.pop("max_message_size")
    if "ping_interval" in options:
        # There, the answer to a ping must have come before the next one is sent; and
        # 0 is never.
        interval = options["ping_interval"] = options["ping_interval"] or None
        options.setdefault("ping_timeout", interval)
    names = options.pop("subprotocols", None)
    if names:
        # There, who offers none of them is let in all the same.
        names = [names] if isinstance(names, str) else list(names)
        options.setdefault("select_subprotocol", functools.partial(first_of, names))
    return options


def first_of(
    names: Iterable[str], ws: ServerConnection, offered: Iterable[str]
) -> str | None:
    """Choose the first subprotocol offered that is one of ``names``."""
    return next((name for name in offered if name in names), None)


#: What `Sock.route` takes as an option of the connection, not of the rule.
CONNECTION_OPTIONS = OPTIONS | {"create_connection", "logger"}
