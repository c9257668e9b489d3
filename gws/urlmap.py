"""A werkzeug map and a request in, what the map says about its path out.

:class:`Matcher` is what `Router` stands on: errors and redirects of werkzeug's
become HTTP responses here. `route` makes a server of a map whose endpoints are
handlers, without a `Router`.
"""

from __future__ import annotations

import contextlib
import os
import ssl as tls
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import Map, RequestRedirect, Rule
from werkzeug.routing.map import MapAdapter

from .protocol.headers import parse_host
from .protocol.http11 import Request, Response
from .protocol.server import text_response
from .server import Server, serve, unix_serve
from .server.route import Route


#: Stands for the server's name where a map needs one and nobody said it.
NO_NAME = "server.invalid"

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


class Matcher:
    """A werkzeug map, made to answer requests.

    Args:
        url_map: of rules that all have ``websocket=True``.
        server_name: of the server as clients know it: makes redirects absolute,
            and stands for the Host header. Without it redirects are relative, so
            that they hold behind a proxy, and whatever a Host header says.
        url_scheme: "ws" or "wss", for absolute redirects.
    """

    def __init__(
        self, url_map: Map, server_name: str | None = None, url_scheme: str = "ws"
    ) -> None:
        self.map = url_map
        self._server_name = server_name
        self._url_scheme = url_scheme
        #: Whether rules for hosts are matched with the Host header.
        self.by_host = url_map.host_matching and server_name is None
        # For all hosts that no rule is for. Micro-optimization: it is bound once;
        # binding costs 1.6 us, matching 8.5 us.
        no_name = "" if url_map.host_matching else NO_NAME
        self._any_host = self._bind(server_name or no_name)

    def match(self, request: Request) -> tuple[Rule, dict[str, Any]] | Response:
        """Return the rule for a request and the values in its path.

        If there is none: 404, 400 for a path that is not UTF-8, 308 to the path
        with its slashes right, or what else a rule or converter asks for.
        """
        path, _, query = request.path.partition("?")
        try:
            # As in WSGI, a slash is a slash, percent-encoded or not.
            path = unquote(path, errors="strict")
        except UnicodeDecodeError:
            return refuse(HTTPStatus.BAD_REQUEST, "The path isn't UTF-8.")
        try:
            for adapter in self._adapters(request):
                # What a converter can't convert does not match, also where it
                # does not say so: int() of 5,000 digits.
                with contextlib.suppress(NotFound, ValueError):
                    rule, values = adapter.match(
                        path, "GET", return_rule=True, query_args=query, websocket=True
                    )
                    return rule, dict(values)
        except RequestRedirect as exc:
            return self._redirect(exc.new_url, adapter.server_name)
        except HTTPException as exc:
            if exc.code is None:  # abort(response): for WSGI, not for us
                raise
            return refuse_with(exc)
        return refuse(HTTPStatus.NOT_FOUND, "There is nothing at this path.")

    def _adapters(self, request: Request) -> Iterator[MapAdapter]:
        # A rule for a host may name the port, or leave it out; rules without a host
        # come last.
        if self.by_host:
            host, port = parse_host(request.headers["Host"])
            name = f"[{host}]" if ":" in host else host
            yield self._bind(name)
            if port is not None:
                yield self._bind(f"{name}:{port}")
        yield self._any_host

    def _bind(self, server_name: str) -> MapAdapter:
        return self.map.bind(server_name, url_scheme=self._url_scheme)

    def _redirect(self, url: str, server_name: str) -> Response:
        parts = urlsplit(url)
        if self._server_name is None and parts.netloc == server_name:
            # One slash: "//host" would be another server.
            url = "/" + parts.path.lstrip("/") + (parts.query and f"?{parts.query}")
        response = refuse(HTTPStatus.PERMANENT_REDIRECT, "It is elsewhere.")
        response.headers["Location"] = url
        return response


def refuse(status: int, text: str) -> Response:
    return text_response(status, f"{text}\n")


def refuse_with(exc: HTTPException) -> Response:
    """Make a response of an error of werkzeug's."""
    assert exc.code is not None  # Matcher.match looks
    response = refuse(exc.code, exc.description or exc.name)
    if isinstance(exc, MethodNotAllowed) and exc.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(exc.valid_methods))
    return response


class MapRouter:
    """Handlers by a werkzeug map, whose endpoints they are; see `route`."""

    def __init__(self, url_map: Map, server_name: str | None, url_scheme: str) -> None:
        for rule in url_map.iter_rules():
            if not (callable(rule.endpoint) or rule.redirect_to or rule.build_only):
                raise TypeError(f"the endpoint of {rule.rule!r} must be a handler")
            rule.websocket = True
        self._matcher = Matcher(url_map, server_name, url_scheme)

    def resolve(self, ws: Any, request: Request) -> Route | Response:
        """Return who handles a request; see `Router.resolve`."""
        found = self._matcher.match(request)
        if isinstance(found, Response):
            return found
        rule, values = found
        return Route(rule.endpoint, values, NO_OPTIONS)


def route(
    url_map: Map,
    *args: Any,
    server_name: str | None = None,
    ssl: tls.SSLContext | Literal[True] | None = None,
    **kwargs: Any,
) -> Server:
    """Make a server whose handlers are the endpoints of a werkzeug map.

    Their rules need not say ``websocket=True``: it is set for all of them.

    Args:
        url_map: whose rules have handlers, ``handler(ws, **values)``, as endpoints.
        args: host and port, as for `serve`.
        server_name: as clients know it; makes redirects absolute.
        ssl: as for `serve`; True if a proxy in front of the server does TLS.
        kwargs: as for `serve`.

    Raises:
        TypeError: if an endpoint is no handler, or as `serve`.
        OSError, ValueError: as `serve`.
    """
    context = None if ssl is True else ssl
    router = MapRouter(url_map, server_name, "ws" if ssl is None else "wss")
    return serve(router, *args, ssl=context, **kwargs)


def unix_route(
    url_map: Map,
    path: str | os.PathLike[str],
    *,
    server_name: str | None = None,
    ssl: tls.SSLContext | Literal[True] | None = None,
    **kwargs: Any,
) -> Server:
    """Make a server as `route` does, on the Unix socket ``path``.

    Args:
        path: of the socket file.
        kwargs: as for `unix_serve`; the others as for `route`.

    Raises:
        TypeError, OSError, ValueError: as `route`.
    """
    context = None if ssl is True else ssl
    router = MapRouter(url_map, server_name, "ws" if ssl is None else "wss")
    return unix_serve(router, path, ssl=context, **kwargs)
