"""Requests in, routes or refusals out; first by `resolve`, then over sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException
from werkzeug.routing import BaseConverter, Map, Rule, ValidationError

from gws import ConnectionClosed, InvalidStatus, Server, connect, serve, unix_connect
from gws.protocol.datastructures import Headers
from gws.protocol.http11 import Request, Response
from gws.router import Router, route, unix_route
from gws.server.route import Route

from .plain_http import get


#: For what opens sockets.
over_sockets = pytest.mark.usefixtures("leakcheck")

SOON = 10


def request(path: str, host: str = "localhost:8765") -> Request:
    return Request(path, Headers({"Host": host}))


def resolve(router: Any, path: str, host: str = "localhost:8765") -> Any:
    """Return (handler's name, kwargs), or (status, Location)."""
    found = router.resolve(None, request(path, host))
    if isinstance(found, Response):
        return found.status_code, found.headers.get("Location")
    assert isinstance(found, Route)
    return found.handler.__name__, found.kwargs


def take(name: str) -> Callable[..., None]:
    """Return a handler of that name that takes whatever it is given."""

    def handler(ws: Any, **values: Any) -> None:
        raise AssertionError("resolve calls no handler")

    handler.__name__ = name
    return handler


def routed(*rules: str, **options: Any) -> Router:
    """Return a router with handlers named like the rules."""
    router = Router(**options)
    for rule in rules:
        router.route(rule)(take(rule))
    return router


# Paths

PATHS = routed(
    "/",
    "/chat/<room>",
    "/int/<int:n>",
    "/float/<float:x>",
    "/uuid/<uuid:id>",
    "/any/<any(red, blue):colour>",
    "/short/<string(maxlength=3):word>",
    "/files/<path:name>",
    "/folder/<name>/",
    "/tree/<path:name>/",
    "/ünïcode",
)


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/", ("/", {})),
        ("/?query", ("/", {})),
        ("/chat/lobby", ("/chat/<room>", {"room": "lobby"})),
        ("/chat/lobby?a=/b?c", ("/chat/<room>", {"room": "lobby"})),
        ("/chat/a%20b%3F", ("/chat/<room>", {"room": "a b?"})),
        ("/chat/%E4%B8%96", ("/chat/<room>", {"room": "世"})),
        ("/chat/%F0%9F%98%80", ("/chat/<room>", {"room": "😀"})),
        ("/%C3%BCn%C3%AFcode", ("/ünïcode", {})),
        # Once, and once only.
        ("/chat/%2541", ("/chat/<room>", {"room": "%41"})),
        ("/chat/100%", ("/chat/<room>", {"room": "100%"})),
        ("/chat/a+b", ("/chat/<room>", {"room": "a+b"})),
        ("/chat/a;b=c", ("/chat/<room>", {"room": "a;b=c"})),
        # A value is whatever the peer wrote.
        ("/chat/..", ("/chat/<room>", {"room": ".."})),
        ("/chat/%2e%2e", ("/chat/<room>", {"room": ".."})),
        ("/chat/%00%0D%0A%7F", ("/chat/<room>", {"room": "\0\r\n\x7f"})),
        (
            "/files/../../etc/passwd",
            ("/files/<path:name>", {"name": "../../etc/passwd"}),
        ),
        ("/files/a/b%2Fc", ("/files/<path:name>", {"name": "a/b/c"})),
        # An encoded slash is a slash.
        ("/chat/a%2Fb", (404, None)),
        ("/int/12", ("/int/<int:n>", {"n": 12})),
        ("/int/-1", (404, None)),
        ("/int/x", (404, None)),
        # int() refuses so many, and it is no fault of ours.
        ("/int/" + 5000 * "9", (404, None)),
        ("/float/1.5", ("/float/<float:x>", {"x": 1.5})),
        ("/uuid/1", (404, None)),
        ("/any/red", ("/any/<any(red, blue):colour>", {"colour": "red"})),
        ("/any/green", (404, None)),
        ("/short/four", (404, None)),
        # Nothing is no value.
        ("/chat/", (404, None)),
        ("/chat", (404, None)),
        ("/files/", (404, None)),
        ("/nowhere", (404, None)),
        ("/CHAT/lobby", (404, None)),
        # Not UTF-8: a lone byte, cut off, overlong, a surrogate.
        ("/chat/%ff", (400, None)),
        ("/chat/%E4%B8", (400, None)),
        ("/chat/%C0%AF", (400, None)),
        ("/chat/%ED%A0%80", (400, None)),
        # Slashes.
        ("/folder/a", (308, "/folder/a/")),
        ("/folder/a?x=1&y=%20", (308, "/folder/a/?x=1&y=%20")),
        ("/folder/%E4%B8%96", (308, "/folder/%E4%B8%96/")),
        ("/folder/a%0D%0AX:b", (308, "/folder/a%0D%0AX:b/")),
        ("/folder/a%23b%3Fc", (308, "/folder/a%23b%3Fc/")),
        ("/chat//lobby", (308, "/chat/lobby")),
        ("//chat///lobby", (308, "/chat/lobby")),
        ("//chat/lobby", ("/chat/<room>", {"room": "lobby"})),
        ("/chat/lobby/", (404, None)),
        ("/" * 4000, ("/", {})),
        ("/chat" * 1000, (404, None)),
    ],
)
def test_paths(path: str, outcome: Any) -> None:
    assert resolve(PATHS, path) == outcome


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/a",
        "/%2Fevil.example/a",
        "/%2F%2Fevil.example/%2F/a",
        "/\\evil.example/a",
        "/%5Cevil.example/a",
        "/%5C/evil.example/a",
        "/https://evil.example/a",
        "/.//evil.example/a",
        "/%09/evil.example/a",
        "/@evil.example/a",
    ],
)
@pytest.mark.parametrize("host", ["localhost", "evil.example", "evil.example:99"])
def test_redirects_stay_here(path: str, host: str) -> None:
    """One slash, and whatever follows it is no other host's; nor is the Host header."""
    router = routed("/<path:name>/")
    status, location = resolve(router, path, host)
    assert status == 308
    assert location[0] == "/"
    assert location[1] not in "/\\\t"


def test_a_redirect_is_a_whole_response() -> None:
    found = PATHS.resolve(None, request("/folder/a"))
    assert isinstance(found, Response)
    assert found.reason_phrase == "Permanent Redirect"
    assert found.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert found.headers["Content-Length"] == str(len(found.body))


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/chat/a", ("/chat/<room>", {"room": "a"})),
        ("/chat/a/", ("/chat/<room>", {"room": "a"})),
        ("/folder/", ("/folder/", {})),
        ("/folder", ("/folder/", {})),
        ("/strict", (308, "/strict/")),
    ],
)
def test_slashes_that_do_not_matter(path: str, outcome: Any) -> None:
    router = routed("/chat/<room>", "/folder/", strict_slashes=False)
    router.route("/strict/", strict_slashes=True)(take("strict"))
    assert resolve(router, path) == outcome


def test_defaults() -> None:
    router = Router()
    handler = take("page")
    router.route("/page", defaults={"n": 1})(handler)
    router.route("/page/<int:n>")(handler)
    assert resolve(router, "/page") == ("page", {"n": 1})
    assert resolve(router, "/page/2") == ("page", {"n": 2})
    assert resolve(router, "/page/1?x") == (308, "/page?x")


def test_values_are_each_requests_own() -> None:
    first = PATHS.resolve(None, request("/chat/a"))
    second = PATHS.resolve(None, request("/chat/a"))
    assert isinstance(first, Route) and isinstance(second, Route)
    first.kwargs["room"] = "changed"
    assert second.kwargs == {"room": "a"}


# Converters


class Even(BaseConverter):
    """Even numbers; speaks of the others in several ways."""

    regex = r"\d+"

    def to_python(self, value: str) -> int:
        if value == "13":
            raise Forbidden("Bad luck.")
        if value == "15":
            raise BadRequest()
        if int(value) % 2:
            raise ValidationError()
        return int(value)


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/12", ("/<even:n>", {"n": 12})),
        ("/11", (404, None)),
        ("/13", (403, None)),
        ("/15", (400, None)),
    ],
)
def test_converters(path: str, outcome: Any) -> None:
    assert resolve(routed("/<even:n>", converters={"even": Even}), path) == outcome


def test_what_a_converter_says_is_the_body() -> None:
    router = routed("/<even:n>", converters={"even": Even})
    found = router.resolve(None, request("/13"))
    assert isinstance(found, Response)
    assert found.body == b"Bad luck.\n"


def test_an_error_without_a_status_is_ours() -> None:
    class Broken(BaseConverter):
        def to_python(self, value: str) -> str:
            raise HTTPException

    router = routed("/<broken:x>", converters={"broken": Broken})
    with pytest.raises(HTTPException):
        router.resolve(None, request("/x"))


# Hosts

HOSTS = Router()
HOSTS.route("/", host="api.example.com")(take("api"))
HOSTS.route("/", host="<tenant>.example.com")(take("tenant"))
HOSTS.route("/", host="example.com:99")(take("port"))
HOSTS.route("/", host="[::1]")(take("ipv6"))
HOSTS.route("/")(take("others"))
HOSTS.route("/slash/", host="api.example.com")(take("slash"))


@pytest.mark.parametrize(
    ("path", "host", "outcome"),
    [
        ("/", "api.example.com", ("api", {})),
        ("/", "API.Example.com:8765", ("api", {})),
        ("/", "acme.example.com:8765", ("tenant", {"tenant": "acme"})),
        ("/", "a.b.example.com", ("tenant", {"tenant": "a.b"})),
        ("/", "example.com:99", ("port", {})),
        ("/", "example.com:98", ("others", {})),
        ("/", "example.com", ("others", {})),
        ("/", "[::1]:8765", ("ipv6", {})),
        ("/", "[0:0::1]", ("ipv6", {})),
        ("/", "127.0.0.1", ("others", {})),
        # Not a name for DNS, but for a Host header.
        ("/", "a..b", (400, None)),
        ("/slash", "api.example.com:8765", (308, "/slash/")),
        ("/slash", "localhost", (404, None)),
    ],
)
def test_hosts(path: str, host: str, outcome: Any) -> None:
    assert resolve(HOSTS, path, host) == outcome


# Mounting


def test_mount() -> None:
    router, v1, admin = Router(), Router(), Router()
    v1.route("/")(take("index"))
    v1.route("/rooms/<name>")(take("room"))
    router.mount("/v1", v1)
    v1.mount("/admin/", admin)
    # Later, and two levels up.
    admin.route("/users/<int:n>")(take("user"))
    v1.route("/late")(take("late"))
    assert resolve(router, "/v1/") == ("index", {})
    assert resolve(router, "/v1") == (308, "/v1/")
    assert resolve(router, "/v1/rooms/a") == ("room", {"name": "a"})
    assert resolve(router, "/v1/late") == ("late", {})
    assert resolve(router, "/v1/admin/users/7") == ("user", {"n": 7})
    assert resolve(router, "/rooms/a") == (404, None)
    # Each of them still stands alone.
    assert resolve(v1, "/admin/users/7") == ("user", {"n": 7})
    assert resolve(admin, "/users/7") == ("user", {"n": 7})


def test_mount_with_values_converters_and_host() -> None:
    router = Router(converters={"even": BaseConverter})
    inner = routed("/<even:n>", converters={"even": Even})
    inner.route("/here", host="fixed.example")(take("here"))
    router.mount("/<tenant>", inner, host="api.example")
    assert resolve(router, "/acme/12", "api.example") == (
        "/<even:n>",
        {"tenant": "acme", "n": 12},
    )
    assert resolve(router, "/acme/11", "api.example") == (404, None)
    assert resolve(router, "/acme/12", "localhost") == (404, None)
    assert resolve(router, "/acme/here", "fixed.example") == (
        "here",
        {"tenant": "acme"},
    )


def test_mount_twice_and_at_the_root() -> None:
    router, inner = Router(), routed("/a")
    for prefix in ("/v1", "/v2", ""):
        router.mount(prefix, inner)
    for path in ("/v1/a", "/v2/a", "/a"):
        assert resolve(router, path) == ("/a", {})


def test_mount_in_a_circle() -> None:
    a, b, c = Router(), Router(), Router()
    a.mount("/b", b)
    b.mount("/c", c)
    for outer, inner in [(a, a), (b, a), (c, a), (c, b)]:
        with pytest.raises(ValueError, match="inside itself"):
            outer.mount("/x", inner)


def test_mount_all_or_nothing() -> None:
    router, inner = Router(), Router()
    inner.route("/good")(take("good"))

    @inner.route("/bad")
    def bad(ws: Any) -> None:
        pass

    with pytest.raises(TypeError, match="unexpected keyword argument 'tenant'"):
        router.mount("/<tenant>", inner)
    assert resolve(router, "/acme/good") == (404, None)
    inner.route("/late")(take("late"))
    assert resolve(router, "/acme/late") == (404, None)


# Hooks


def test_process_request_runs_outside_in() -> None:
    calls: list[str] = []

    def hook(name: str) -> Callable[..., None]:
        return lambda ws, request: calls.append(name)

    router, inner = Router(hook("router")), Router(hook("inner"))
    inner.route("/a", process_request=hook("route"))(take("a"))
    inner.route("/b")(take("b"))
    router.mount("/in", inner)
    for path, expected in [
        ("/in/a", ["router", "inner", "route"]),
        ("/in/b", ["router", "inner"]),
        ("/in/nowhere", ["router"]),
        ("//in/a", ["router", "inner", "route"]),
    ]:
        resolve(router, path)
        assert calls == expected
        calls.clear()


@pytest.mark.parametrize("level", ["router", "mounted", "route"])
def test_process_request_answers(level: str) -> None:
    def hook(ws: Any, request: Request) -> Any:
        return 403, {"X-Level": level}, b"No.\n"

    hooks = {level: hook}
    inner = Router(hooks.get("mounted"))
    inner.route("/", process_request=hooks.get("route"))(take("index"))
    router = Router(hooks.get("router"))
    router.mount("/in", inner)
    found = router.resolve(None, request("/in/"))
    assert isinstance(found, Response)
    assert (found.status_code, found.body) == (403, b"No.\n")
    assert found.headers["X-Level"] == level
    assert found.headers["Content-Length"] == "4"


# What a route is given


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"max_sice": 1}, TypeError, "max_sice"),
        ({"host_": "x", "a": 1}, TypeError, "a, host_"),
        # Too late for these.
        ({"open_timeout": 1}, TypeError, "open_timeout"),
        ({"allowed_hosts": []}, TypeError, "allowed_hosts"),
        ({"ssl": None}, TypeError, "ssl"),
        ({"options": {}}, TypeError, "options"),
        ({"ping_interval": -1}, ValueError, "ping_interval"),
        ({"max_size": -1}, ValueError, "max_size"),
        ({"subprotocols": "chat"}, TypeError, "subprotocols"),
        ({"compression": "gzip"}, ValueError, "compression"),
    ],
)
def test_options_are_checked_at_once(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        Router().route("/", **options)


def test_options_are_one_mapping_a_route() -> None:
    router, outer = Router(), Router()
    router.route("/a/<x>", max_size=7, compression=None)(take("a"))
    outer.mount("/in", router)
    found = [
        asked.resolve(None, request(path))
        for asked, path in [(router, "/a/1"), (router, "/a/2"), (outer, "/in/a/1")]
    ]
    first, *others = [each.options for each in found if isinstance(each, Route)]
    assert dict(first) == {"max_size": 7, "compression": None}
    assert [options is first for options in others] == [True, True]
    with pytest.raises(TypeError):
        first["max_size"] = 8  # type: ignore[index]


@pytest.mark.parametrize(
    ("rule", "error", "text"),
    [
        ("chat", ValueError, "slash"),
        ("/<room", ValueError, "malformed"),
        ("/<nosuch:room>", LookupError, "nosuch"),
        ("/<a>/<b>", TypeError, "unexpected keyword argument"),
        ("/", TypeError, "missing a required argument: 'a'"),
    ],
)
def test_rules_are_checked_at_once(
    rule: str, error: type[Exception], text: str
) -> None:
    router = Router()

    def handler(ws: Any, a: str) -> None:
        pass

    with pytest.raises(error, match=text):
        router.route(rule)(handler)
    assert resolve(router, rule)[0] in (400, 404)


def test_a_handler_without_a_signature() -> None:
    router = Router()
    router.route("/<a>")(dict)  # takes anything, and doesn't say so
    assert resolve(router, "/x") == ("dict", {"a": "x"})


def test_names_are_unique() -> None:
    router = Router()
    handler = take("room")
    router.route("/a")(handler)
    router.route("/b")(handler)
    with pytest.raises(ValueError, match=r"'room'.*name="):
        router.route("/c")(take("room"))
    router.route("/c", name="other")(take("room"))
    router.route("/d")(lambda ws: None)
    router.route("/e")(lambda ws: None)
    assert resolve(router, "/c") == ("room", {})


# URLs

URLS = Router()
URLS.route("/chat/<room>", name="chat")(take("a"))
URLS.route("/files/<path:name>", name="files")(take("b"))
URLS.route("/any/<any(red, blue):colour>", name="any")(take("c"))
URLS.route("/", name="tenant", host="<tenant>.example.com")(take("d"))
URLS.mount("/v1", routed("/<int:n>"))
named = Router()
named.route("/", name="index")(take("e"))
URLS.mount("/api/v2", named)
URLS.mount("/api/v3", named, name="latest")


@pytest.mark.parametrize(
    ("name", "values", "url"),
    [
        ("chat", {"room": "lobby"}, "/chat/lobby"),
        ("chat", {"room": "a b?#%ü"}, "/chat/a%20b%3F%23%25%C3%BC"),
        ("chat", {"room": "x", "since": 7}, "/chat/x?since=7"),
        (
            "chat",
            {"room": "x", "_base": "wss://example.com"},
            "wss://example.com/chat/x",
        ),
        ("chat", {"room": "x", "_base": "ws://e.com/ws/"}, "ws://e.com/ws/chat/x"),
        ("files", {"name": "a/b"}, "/files/a/b"),
        ("tenant", {"tenant": "acme"}, "/"),
        ("tenant", {"tenant": "a", "_base": "wss://x:1"}, "wss://a.example.com/"),
        ("v1./<int:n>", {"n": 3}, "/v1/3"),
        ("api.v2.index", {}, "/api/v2/"),
        ("latest.index", {}, "/api/v3/"),
    ],
)
def test_url_for(name: str, values: dict[str, Any], url: str) -> None:
    assert URLS.url_for(name, **values) == url


@pytest.mark.parametrize(
    ("name", "values", "error"),
    [
        ("chatt", {}, LookupError),
        ("chat", {}, LookupError),
        ("any", {"colour": "green"}, ValueError),
    ],
)
def test_url_for_what_is_not_there(
    name: str, values: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        URLS.url_for(name, **values)


# Over sockets


def echo(ws: Any) -> None:
    for message in ws:
        ws.send(message)


def tell(ws: Any, **values: Any) -> None:
    assert ws.handler_kwargs == values
    ws.send(repr(sorted(values.items())))


@contextmanager
def serving(handler: Any, **options: Any) -> Iterator[tuple[Server, str]]:
    with serve(handler, "localhost", 0, **options) as server:
        host, port = server.sockets[0].getsockname()[:2]
        uri = f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"
        yield server, uri


@over_sockets
def test_served() -> None:
    router = Router()
    router.route("/chat/<room>/<int:n>")(tell)
    with serving(router) as (_, uri):
        with connect(f"{uri}/chat/a%20b/3?x") as ws:
            assert ws.recv(SOON) == "[('n', 3), ('room', 'a b')]"
        for path, status in [("/", 404), ("/chat/a/b", 404), ("/chat/%ff/1", 400)]:
            with pytest.raises(InvalidStatus) as caught:
                connect(uri + path).open()
            assert caught.value.status_code == status


@over_sockets
def test_served_in_plain_http() -> None:
    router = Router()
    router.route("/ws/")(echo)
    with serving(router) as (server, _):
        address = server.sockets[0].getsockname()
        there = get(address, "/ws/")
        assert (there.status_code, there.headers["Upgrade"]) == (426, "websocket")
        moved = get(address, "/ws?x=%41", host="evil.example")
        assert (moved.status_code, moved.headers["Location"]) == (308, "/ws/?x=%41")
        assert get(address, "/nowhere").status_code == 404


@over_sockets
def test_options_of_routes() -> None:
    router = Router()
    router.route("/small", max_size=5)(echo)
    router.route("/large")(echo)
    router.route("/spoken", subprotocols=["b", "a"])(echo)
    router.route(
        "/chosen", select_subprotocol=lambda ws, offered: offered[-1], origins="*"
    )(echo)
    with serving(router, max_size=10) as (_, uri):
        for path, limit in [("/small", 5), ("/large", 10), ("/small", 5)]:
            with connect(uri + path) as ws:
                ws.send("x" * limit)
                assert ws.recv(SOON) == "x" * limit
                ws.send("x" * (limit + 1))
                with pytest.raises(ConnectionClosed):
                    ws.recv(SOON)
            assert ws.close_code == 1009
        with connect(f"{uri}/spoken", subprotocols=["a", "b"]) as ws:
            assert ws.subprotocol == "b"
        foreign = {"subprotocols": ["a", "b"], "origin": "https://elsewhere.example"}
        with connect(f"{uri}/chosen", **foreign) as ws:
            assert ws.subprotocol == "b"
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"{uri}/spoken", **foreign).open()


@over_sockets
def test_route_with_a_werkzeug_map() -> None:
    url_map = Map(
        [
            Rule("/chat/<room>/<uuid:id>", endpoint=tell),
            Rule("/old/<room>", redirect_to="chat/<room>"),
            Rule("/away", redirect_to="https://elsewhere.example/"),
            Rule("/posted", endpoint=tell, methods=["POST"]),
        ]
    )
    with route(url_map, "localhost", 0, max_size=10) as server:
        address = server.sockets[0].getsockname()
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        uuid = "12345678-1234-5678-1234-567812345678"
        with connect(f"ws://{host}:{address[1]}/chat/x/{uuid}") as ws:
            assert ws.recv(SOON) == f"[('id', UUID('{uuid}')), ('room', 'x')]"
        for path, status, location in [
            ("/old/x", 308, "/chat/x"),
            ("/away", 308, "https://elsewhere.example/"),
            ("/nowhere", 404, None),
            ("/posted", 405, None),
        ]:
            response = get(address, path)
            assert response.status_code == status
            assert response.headers.get("Location") == location
        assert response.headers["Allow"] == "POST"


@over_sockets
@pytest.mark.parametrize(
    ("options", "location"),
    [
        ({"server_name": "example.com"}, "ws://example.com/a/?x"),
        ({"server_name": "example.com", "ssl": True}, "wss://example.com/a/?x"),
        ({"ssl": True}, "/a/?x"),
        ({}, "/a/?x"),
    ],
)
def test_route_redirects(
    unix_path: str, options: dict[str, Any], location: str
) -> None:
    class Here(connect):
        def process_redirect(self, exc: Exception) -> Exception:
            return exc

    with (
        unix_route(Map([Rule("/a/", endpoint=tell)]), unix_path, **options),
        pytest.raises(InvalidStatus) as caught,
    ):
        Here("ws://localhost/a?x", unix_path=unix_path).open()
    assert caught.value.response.headers["Location"] == location


@over_sockets
def test_route_by_host(unix_path: str) -> None:
    url_map = Map(
        [
            Rule("/", endpoint=tell, host="<name>.example.com"),
            Rule("/", endpoint=tell, host="localhost:1"),
        ],
        host_matching=True,
    )
    with unix_route(url_map, unix_path):
        with unix_connect(unix_path, "ws://a.example.com/") as ws:
            assert ws.recv(SOON) == "[('name', 'a')]"
        with unix_connect(unix_path, "ws://localhost:1/") as ws:
            assert ws.recv(SOON) == "[]"
        with pytest.raises(InvalidStatus, match="404"):
            unix_connect(unix_path, "ws://localhost/").open()


@over_sockets
def test_route_wants_handlers() -> None:
    with pytest.raises(TypeError, match="'/a' must be a handler"):
        route(Map([Rule("/a", endpoint="name")]), "localhost", 0)


@over_sockets
def test_a_router_called_as_a_handler() -> None:
    """As by who opened the connection without asking `resolve`."""
    router = Router()
    router.route("/chat/<room>")(lambda ws, room: ws.send(room))
    with serving(lambda ws: router(ws)) as (_, uri):
        with connect(f"{uri}/chat/lobby") as ws:
            assert ws.recv(SOON) == "lobby"
        with connect(f"{uri}/nowhere") as ws, pytest.raises(ConnectionClosed):
            ws.recv(SOON)
        assert (ws.close_code, ws.close_reason) == (1008, "404 Not Found")
