"""A request in, the `Route` of its path out, or the response that says why not.

The rules, their converters and the matching are werkzeug's (werkzeug.routing). Here
is what WebSocket needs around them: handlers with options of their own, routers
inside routers, and HTTP answers in the place of exceptions.

Values captured in a path are the peer's text: percent-decoded, any characters, and
``..`` is a value like others. A browser follows no redirect of a WebSocket: what
connects from a page needs the exact path, or ``strict_slashes=False``.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from werkzeug.routing import BaseConverter, Map, Rule

from .options import Options
from .protocol.codes import CloseCode
from .protocol.http11 import Request, Response
from .server.answers import ResponseLike, as_response
from .server.route import Route
from .server.settings import CONNECTION_OPTIONS, OPTION_NAMES, Settings
from .urlmap import Matcher
from .urlmap import route as route
from .urlmap import unix_route as unix_route


Handler = TypeVar("Handler", bound=Callable[..., Any])

#: ``(ws, request)``, called before the handshake; None lets it go on.
Hook = Callable[[Any, Request], ResponseLike | None]

#: Options of `serve` that a route may set.
ROUTE_OPTIONS = CONNECTION_OPTIONS - {
    # When a route is known the request was read, its Host checked and its sender
    # told; the hook is for the router to call.
    "open_timeout",
    "allowed_hosts",
    "process_request",
    "trusted_proxies",
    "proxy_header",
    "header_limits",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One rule of a router, as its author wrote it."""

    path: str
    name: str
    handler: Callable[..., Any]
    options: Mapping[str, Any]
    hooks: tuple[Hook, ...]
    converters: Mapping[str, type[BaseConverter]]
    host: str | None
    defaults: Mapping[str, Any] | None
    strict_slashes: bool


class EntryRule(Rule):
    """A werkzeug rule that knows its `Entry`."""

    def __init__(self, entry: Entry) -> None:
        # werkzeug's endpoint is what URLs are built by.
        super().__init__(
            entry.path,
            endpoint=entry.name,
            host=entry.host,
            defaults=entry.defaults,
            strict_slashes=entry.strict_slashes,
            websocket=True,
        )
        self.entry = entry

    def get_converter(
        self,
        variable_name: str,
        converter_name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> BaseConverter:
        # Those of the router where the rule was written, wherever it is mounted.
        if converter_name in self.entry.converters:
            converter = self.entry.converters[converter_name]
            return converter(self.map, *args, **kwargs)
        return super().get_converter(variable_name, converter_name, args, kwargs)


@dataclasses.dataclass(frozen=True, slots=True)
class Mount:
    """A place of a router inside another one."""

    parent: Router
    prefix: str
    name: str
    host: str | None

    def place(self, entry: Entry, hook: Hook | None) -> Entry:
        """Return what a rule of the mounted router is in the other one."""
        return dataclasses.replace(
            entry,
            path=self.prefix + entry.path,
            name=f"{self.name}.{entry.name}" if self.name else entry.name,
            host=entry.host or self.host,
            hooks=entry.hooks if hook is None else (hook, *entry.hooks),
        )


class Router:
    """Handlers by path; a handler for `serve`.

        router = Router()

        @router.route("/chat/<room>")
        def chat(ws, room):
            ...

        serve(router, "localhost", 8765)

    Routes may be added at any time, also after mounting.

    Args:
        process_request: ``(ws, request) -> None | Response | (status, headers,
            body)``, as for `serve`. Called for every request, unknown paths
            included. Of a mounted router it is called for those that it has a
            route for, after the hooks of the routers around it.
        converters: classes of converters by their names in rules, besides
            werkzeug's.
        strict_slashes: False lets a path match with and without a slash at its
            end; True redirects to the path that the rule says.
    """

    def __init__(
        self,
        process_request: Hook | None = None,
        *,
        converters: Mapping[str, type[BaseConverter]] | None = None,
        strict_slashes: bool = True,
    ) -> None:
        self._hook = process_request
        self._converters = dict(converters or {})
        self._strict_slashes = strict_slashes
        self._entries: list[Entry] = []
        # By name; url_for goes by it.
        self._handlers: dict[str, Callable[..., Any]] = {}
        # Where this router is mounted.
        self._mounts: list[Mount] = []
        self._matcher = Matcher(Map(host_matching=True))
        self._matcher.by_host = False  # until a rule is for a host

    def route(
        self,
        path: str,
        *,
        name: str | None = None,
        host: str | None = None,
        defaults: Mapping[str, Any] | None = None,
        strict_slashes: bool | None = None,
        process_request: Hook | None = None,
        **options: Any,
    ) -> Callable[[Handler], Handler]:
        """Decorate the handler of a path: ``handler(ws, **values)``.

        Args:
            path: a rule of werkzeug's, such as ``/chat/<room>``, ``/<int:n>`` or
                ``/files/<path:name>``.
            name: for `url_for`; by default the handler's own.
            host: a rule for the host, such as ``<tenant>.example.com``; rules
                without one are for all other hosts. A port in it must be equal.
            defaults: values to pass as if they had been captured.
            strict_slashes: in place of the router's.
            process_request: as the router's, for this route.
            options: options of `serve` in place of the server's.

        Raises:
            TypeError: if there is no such option, or the handler does not take
                the values.
            ValueError: if the path or an option makes no sense, or the name is
                another handler's.
            LookupError: if there is no such converter.
        """
        check_options(options)
        fixed = MappingProxyType(options)

        def decorate(handler: Handler) -> Handler:
            entry = Entry(
                path=path,
                name=name or name_of(handler) or path,
                handler=handler,
                options=fixed,
                hooks=() if process_request is None else (process_request,),
                converters=self._converters,
                host=host,
                defaults=defaults,
                strict_slashes=(
                    self._strict_slashes if strict_slashes is None else strict_slashes
                ),
            )
            self._add([entry])
            return handler

        return decorate

    def mount(
        self,
        prefix: str,
        other: Router,
        *,
        name: str | None = None,
        host: str | None = None,
    ) -> None:
        """Serve the routes of another router, too, below ``prefix``.

        Args:
            prefix: may hold variables, which all its handlers then get; "" for a
                router that has other hosts or another hook.
            name: put with a dot before the names of its routes, for `url_for`; by
                default the prefix, dots for slashes: "v1.chat".
            host: for those of its routes that have none.

        Raises:
            ValueError: if a router would be inside itself; and as `route`, for
                what is wrong with a route in this place.
            TypeError, LookupError: as `route`.
        """
        if other is self or other in self._around():
            raise ValueError("a router can't be mounted inside itself")
        prefix = prefix.rstrip("/")
        if name is None:
            name = prefix.strip("/").replace("/", ".")
        mount = Mount(self, prefix, name, host)
        self._add([mount.place(entry, other._hook) for entry in other._entries])
        other._mounts.append(mount)

    def url_for(self, name: str, /, *, _base: str | None = None, **values: Any) -> str:
        """Return the path of a route, with ``values`` in it.

        Values that the rule has no place for become the query.

        Args:
            name: of the route, "v1.chat" if mounted.
            _base: such as "wss://example.com": makes it a whole URL. The host of a
                route that has one takes the place of its host and port.

        Raises:
            LookupError: if there is no such route, or it needs other values.
            ValueError: if a converter does not take a value.
        """
        adapter = self._matcher.map.bind("", url_scheme="ws")
        parts = urlsplit(adapter.build(name, values))
        path = parts.path + (parts.query and f"?{parts.query}")
        if _base is None:
            return path
        if parts.netloc:
            _base = f"{urlsplit(_base).scheme}://{parts.netloc}"
        return _base.rstrip("/") + path

    def resolve(self, ws: Any, request: Request) -> Route | Response:
        """Return who handles a request, or the response that refuses it.

        `serve` calls it for each request whose head and Host are right, before
        it looks whether it asks for a WebSocket.
        """
        if self._hook is not None:
            answer = self._hook(ws, request)
            if answer is not None:
                return as_response(answer)
        found = self._matcher.match(request)
        if isinstance(found, Response):
            return found
        rule, values = found
        assert isinstance(rule, EntryRule)  # _add adds no others
        for hook in rule.entry.hooks:
            answer = hook(ws, request)
            if answer is not None:
                return as_response(answer)
        entry = rule.entry
        return Route(entry.handler, values, entry.options, entry.path)

    def __call__(self, ws: Any) -> None:
        """Handle a connection that is open already, as a plain handler would.

        For where `resolve` is not asked: options of the route have no effect, and
        what would have been a refusal is a close with 1008.
        """
        found = self.resolve(ws, ws.request)
        if isinstance(found, Response):
            text = f"{found.status_code} {found.reason_phrase}"
            ws.close(CloseCode.POLICY_VIOLATION, text)
        else:
            found.handler(ws, **found.kwargs)

    # Private methods

    def _add(self, entries: Sequence[Entry]) -> None:
        # All or none of them, here and in the routers around.
        placed = list(self._placed(entries))
        for router, entry in placed:
            known = router._handlers.get(entry.name, entry.handler)
            if known != entry.handler:
                raise ValueError(f"two routes are called {entry.name!r}: pass name=")
            check_entry(entry)
        for router, entry in placed:
            router._insert(entry)

    def _placed(self, entries: Sequence[Entry]) -> Iterator[tuple[Router, Entry]]:
        for entry in entries:
            yield self, entry
        for mount in self._mounts:
            placed = [mount.place(entry, self._hook) for entry in entries]
            yield from mount.parent._placed(placed)

    def _insert(self, entry: Entry) -> None:
        self._matcher.map.add(EntryRule(entry))
        self._matcher.by_host |= entry.host is not None
        self._handlers[entry.name] = entry.handler
        self._entries.append(entry)

    def _around(self) -> Iterator[Router]:
        for mount in self._mounts:
            yield mount.parent
            yield from mount.parent._around()


def check_entry(entry: Entry) -> None:
    """Check a rule, and that its handler takes what it captures.

    Raises:
        ValueError, LookupError: as `Router.route`, for the rule.
        TypeError: for the handler.
    """
    rule = EntryRule(entry)
    rule.bind(Map(host_matching=True))
    try:
        signature = inspect.signature(entry.handler)
    except ValueError:  # a builtin without a signature
        return
    try:
        signature.bind(None, **dict.fromkeys(rule.arguments))
    except TypeError as exc:
        raise TypeError(f"{entry.name!r} can't handle {entry.path!r}: {exc}") from None


def check_options(options: dict[str, Any]) -> None:
    """Check what was given to `Router.route`; what can be read once is a list then.

    Raises:
        TypeError, ValueError: as `serve` does for the same options.
    """
    unknown = ", ".join(sorted(options.keys() - ROUTE_OPTIONS))
    if unknown:
        raise TypeError(f"not options of a route: {unknown}")
    defaults = Settings(Options(logger=logging.getLogger("gws.server")))
    checked = defaults.replace(options)
    options.update({n: getattr(checked, n) for n in options if n not in OPTION_NAMES})


def name_of(handler: Callable[..., Any]) -> str | None:
    """Return the name of a function or class; None for a lambda and what has none."""
    name: str = getattr(handler, "__name__", "")
    return name if name.isidentifier() else None
