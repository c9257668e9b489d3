"""Sock: what Flask does for every request, around a connection."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    current_app,
    g,
    has_app_context,
    has_request_context,
    jsonify,
    redirect,
    request,
    session,
    url_for,
)
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as WerkzeugResponse

from gws import ConnectionClosed, InvalidStatus, ServerConnection
from gws.testing import TEXT, RawPeer
from gws.testing import request as handshake
from gws.testing.wsgi import WebSocketClient
from gws.wsgi.flask import Sock, WebSocketResponse
from gws.wsgi.middleware import WebSocketMiddleware

from .stacks import Stack, dev_server, gunicorn, load, pywsgi


pytestmark = pytest.mark.usefixtures("leakcheck")


class Client(WebSocketClient, FlaskClient):
    """Flask's test client, with `websocket`."""


def make_app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "secret"
    app.test_client_class = Client
    return app


@pytest.fixture
def app() -> Flask:
    return make_app()


@pytest.fixture
def sock(app: Flask) -> Sock:
    return Sock(app)


def echo(ws: ServerConnection) -> None:
    for message in ws:
        ws.send(message)


def hear(app: Flask, path: str, **options: Any) -> str | bytes:
    """Connect and return the first message."""
    client: Any = app.test_client()
    with client.websocket(path, **options) as ws:
        message: str | bytes = ws.recv(timeout=5)
    return message


def refusal(app: Flask, path: str, **options: Any) -> Any:
    """Connect in vain and return the response."""
    client: Any = app.test_client()
    with (
        pytest.raises(InvalidStatus) as caught,
        client.websocket(path, **options) as ws,
    ):
        ws.recv(timeout=5)
    return caught.value.response


def closing(app: Flask, path: str) -> tuple[int, str]:
    """Connect and wait for the end; return its close code and reason."""
    client: Any = app.test_client()
    with client.websocket(path) as ws:
        assert ws.wait_closed(timeout=5)
    return ws.close_code, ws.close_reason


# Routes


def test_echo(app: Flask, sock: Sock) -> None:
    sock.route("/echo")(echo)
    client: Any = app.test_client()
    with client.websocket("/echo") as ws:
        for message in ("hello", b"\x00\xff", "x" * 100_000):
            ws.send(message)
            assert ws.recv(timeout=5) == message


def test_the_connection_is_the_one_of_serve(app: Flask, sock: Sock) -> None:
    kinds = []

    @sock.route("/")
    def handler(ws: Any) -> None:
        kinds.append(type(ws))
        ws.send(f"{ws.path} {ws.remote_address}")

    assert hear(app, "/?a=b") == "/?a=b ('127.0.0.1', 0)"
    assert kinds == [ServerConnection]


def test_view_args_and_rules(app: Flask, sock: Sock) -> None:
    @sock.route("/rooms", defaults={"number": 1, "name": "lobby"})
    @sock.route("/rooms/<name>/<int:number>", strict_slashes=False)
    def room(ws: Any, name: str, number: int) -> None:
        ws.send(f"{name} {number} {request.endpoint}")

    assert hear(app, "/rooms") == "lobby 1 room"
    assert hear(app, "/rooms/a%20b/42") == "a b 42 room"
    assert hear(app, "/rooms/a/42/") == "a 42 room"
    assert refusal(app, "/rooms/a/b").status_code == 404
    with app.test_request_context():
        assert url_for("room", name="x", number=2) == "ws://localhost/rooms/x/2"


def test_endpoints(app: Flask, sock: Sock) -> None:
    sock.route("/a", endpoint="first", max_size=1)(echo)
    sock.route("/b", endpoint="second", max_size=2)(echo)
    with app.test_request_context():
        assert url_for("first") == "ws://localhost/a"
        assert url_for("second", _scheme="wss") == "wss://localhost/b"
    with pytest.raises(AssertionError, match="first"):
        sock.route("/c", endpoint="first", max_size=3)(echo)


def test_the_view_is_named_as_its_handler(app: Flask, sock: Sock) -> None:
    """Other extensions go by the name and the module of a view."""
    assert sock.route("/a")(echo) is echo
    view = app.view_functions["echo"]
    assert (view.__name__, view.__module__) == ("echo", __name__)
    assert view != echo
    assert len({view, app.view_functions["echo"]}) == 1


def test_no_other_methods(sock: Sock) -> None:
    with pytest.raises(ValueError, match="WebSocket rules"):
        sock.route("/", methods=["POST"])(echo)


def test_a_page_and_a_connection_at_one_path(app: Flask, sock: Sock) -> None:
    sock.route("/", endpoint="connection")(echo)

    @app.get("/")
    def page() -> str:
        return "page"

    assert app.test_client().get("/").text == "page"
    client: Any = app.test_client()
    with client.websocket("/") as ws:
        ws.send("hello")
        assert ws.recv(timeout=5) == "hello"


# Applications and blueprints


def test_init_app(app: Flask) -> None:
    sock = Sock(close_timeout=1)
    sock.route("/before")(lambda_named("before"))
    sock.init_app(app)
    sock.route("/after")(lambda_named("after"))
    other = make_app()
    sock.init_app(other)
    sock.init_app(app)  # once is enough
    assert len(list(app.url_map.iter_rules())) == 3  # and that of static files
    for place in (app, other):
        assert hear(place, "/before") == "before"
        assert hear(place, "/after") == "after"


def lambda_named(name: str) -> Any:
    def handler(ws: Any) -> None:
        ws.send(name)

    handler.__name__ = name
    return handler


def blueprint_of_sock(app: Flask, blueprint: Blueprint) -> Sock:
    return Sock(blueprint)


def blueprint_of_route(app: Flask, blueprint: Blueprint) -> Any:
    sock = Sock(app)

    class WithBlueprint:
        def route(self, rule: str) -> Any:
            return sock.route(rule, bp=blueprint)

    return WithBlueprint()


@pytest.mark.parametrize("make", [blueprint_of_sock, blueprint_of_route])
def test_blueprints(app: Flask, make: Any) -> None:
    blueprint = Blueprint("chat", __name__, url_prefix="/chat")
    sock = make(app, blueprint)

    @blueprint.before_request
    def before() -> None:
        g.name = request.args.get("name")
        if g.name is None:
            abort(401)

    @sock.route("/<room>")
    def chat(ws: Any, room: str) -> None:
        ws.send(f"{room}: {g.name}, {request.blueprint}, {url_for('.chat', room='x')}")

    app.register_blueprint(blueprint)
    assert hear(app, "/chat/lobby?name=Ada") == (
        "lobby: Ada, chat, ws://localhost/chat/x"
    )
    assert refusal(app, "/chat/lobby").status_code == 401
    assert app.test_client().get("/chat/lobby").status_code == 426


# Before the handshake


def test_before_request_and_error_pages(app: Flask, sock: Sock) -> None:
    sock.route("/echo")(echo)
    app.before_request(lambda: abort(403))

    @app.errorhandler(403)
    def page(error: Any) -> tuple[str, int]:
        return "the page of the application", 403

    response = refusal(app, "/echo")
    assert response.status_code == 403
    assert response.body == b"the page of the application"


def test_an_answer_of_before_request(app: Flask, sock: Sock) -> None:
    sock.route("/echo")(echo)
    app.before_request(lambda: redirect("/login"))
    response = refusal(app, "/echo")
    assert (response.status_code, response.headers["Location"]) == (302, "/login")


def test_a_view_decides(app: Flask, sock: Sock) -> None:
    @app.route("/rooms/<name>", websocket=True)
    def room(name: str) -> WebSocketResponse:
        if name == "closed":
            abort(403)
        return sock.response(lambda ws: ws.send(f"welcome to {name}"), max_size=7)

    assert hear(app, "/rooms/lobby") == "welcome to lobby"
    assert refusal(app, "/rooms/closed").status_code == 403


def test_headers_and_the_session_ride_on_the_101(app: Flask, sock: Sock) -> None:
    @app.before_request
    def before() -> None:
        session["visits"] = session.get("visits", 0) + 1

    @app.after_request
    def after(response: Response) -> Response:
        assert isinstance(response, WebSocketResponse)
        response.headers["X-Request"] = "1"
        response.headers["Connection"] = "close"
        response.set_cookie("a", "b")
        return response

    @sock.route("/", extra_headers={"X-Own": "2"})
    def visits(ws: Any) -> None:
        ws.send(str(session["visits"]))

    client: Any = app.test_client()
    for n in ("1", "2"):
        with client.websocket("/") as ws:
            assert ws.recv(timeout=5) == n
    headers = ws.response_headers
    assert (headers["X-Request"], headers["X-Own"]) == ("1", "2")
    assert len(headers.get_all("Set-Cookie")) == 2
    assert headers["Connection"] == "Upgrade"
    assert "Content-Type" not in headers
    assert "Content-Length" not in headers


def test_after_request_may_refuse(app: Flask, sock: Sock) -> None:
    sock.route("/echo")(echo)

    @app.after_request
    def after(response: Response) -> Response:
        response.status_code = 503
        response.set_data("later")
        return response

    response = refusal(app, "/echo")
    assert (response.status_code, response.body) == (503, b"later")


def test_after_request_of_this_request(app: Flask, sock: Sock) -> None:
    hooked = []

    class Answer(Response):
        """A response class of the application's own."""

        default_mimetype = "application/json"

        @property
        def own(self) -> str:
            return "own"

    app.response_class = Answer
    sock.route("/")(lambda_named("hello"))

    @app.after_request
    def after(response: Any) -> Any:
        hooked.append(response.own)
        return response

    assert hear(app, "/") == "hello"
    assert hooked == ["own"]


def test_a_header_of_the_handshake(app: Flask, sock: Sock) -> None:
    sock.route("/echo")(echo)

    @app.after_request
    def after(response: Response) -> Response:
        response.headers["Sec-WebSocket-Protocol"] = "mine"
        return response

    client: Any = app.test_client()
    with (
        pytest.raises(ValueError, match="the handshake makes it"),
        client.websocket("/echo"),
    ):
        pass


def test_another_origin(app: Flask, sock: Sock) -> None:
    sock.route("/echo")(echo)
    response = refusal(app, "/echo", origin="https://evil.example")
    assert response.status_code == 403


def with_start_response_of_its_own(app: Any) -> Any:
    def middleware(environ: Any, start_response: Any) -> Any:
        return app(environ, lambda *args: start_response(*args))

    return middleware


@pytest.mark.parametrize(
    "middleware", [with_start_response_of_its_own, WebSocketMiddleware]
)
def test_inside_a_middleware(app: Flask, sock: Sock, middleware: Any) -> None:
    app.wsgi_app = middleware(app.wsgi_app)  # type: ignore[method-assign]
    sock.route("/")(lambda_named("hello"))
    assert hear(app, "/") == "hello"


# Without a handshake


def test_plain_http(app: Flask, sock: Sock) -> None:
    sock.route("/echo")(echo)
    response = app.test_client().get("/echo")
    assert response.status_code == 426
    assert response.headers["Upgrade"] == "websocket"
    assert response.headers["Connection"] == "Upgrade"
    assert response.headers["Sec-WebSocket-Version"] == "13"
    assert "browser" in response.text


def test_plain_http_with_error_pages(app: Flask, sock: Sock) -> None:
    sock.route("/echo")(echo)

    @app.errorhandler(HTTPException)
    def page(error: HTTPException) -> Any:
        return jsonify(error=error.name), error.code

    response = app.test_client().get("/echo")
    assert (response.status_code, response.json) == (426, {"error": "Upgrade Required"})


def test_a_connection_to_a_page(app: Flask, sock: Sock) -> None:
    app.get("/")(lambda: "page")

    @app.errorhandler(400)
    def page(error: Any) -> tuple[str, int]:
        return "my page", 400

    response = refusal(app, "/")
    assert (response.status_code, response.body) == (400, b"my page")


def test_a_server_without_a_socket(app: Flask, sock: Sock) -> None:
    """As under Flask's own test client, and under waitress."""
    sock.route("/echo")(echo)
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    with pytest.raises(RuntimeError, match=r"use gevent\.pywsgi"):
        app.test_client().get("/echo", headers=headers)


# In the handler


def test_contexts(app: Flask, sock: Sock) -> None:
    @app.before_request
    def before() -> None:
        g.answer = 42

    @sock.route("/")
    def handler(ws: Any) -> None:
        gevent.sleep(0)
        assert has_request_context() and has_app_context()
        assert current_app.name == app.name
        ws.send(f"{g.answer} {request.path} {session.get('x')}")

    assert hear(app, "/") == "42 / None"


def test_contexts_of_two_connections(app: Flask, sock: Sock) -> None:
    @sock.route("/<name>")
    def handler(ws: Any, name: str) -> None:
        g.name = name
        for _ in ws:
            ws.send(f"{g.name} {request.path}")

    client: Any = app.test_client()
    with client.websocket("/a") as a, client.websocket("/b") as b:
        for ws in (a, b, a):
            ws.send("?")
            assert ws.recv(timeout=5) == ("a /a" if ws is a else "b /b")


def test_teardown_is_at_the_end_and_once(app: Flask, sock: Sock) -> None:
    done: list[str] = []
    app.teardown_request(lambda exc: done.append(f"request {exc}"))
    app.teardown_appcontext(lambda exc: done.append(f"app {exc}"))

    @app.after_request
    def after(response: Response) -> Response:
        response.call_on_close(lambda: done.append("close"))
        return response

    @sock.route("/")
    def handler(ws: Any) -> None:
        ws.send(str(done))
        ws.wait_closed()

    assert hear(app, "/") == "[]"
    assert done == ["close", "request None", "app None"]


def test_an_exception(app: Flask, sock: Sock, caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    app.teardown_request(lambda exc: done.append("torn down"))

    @sock.route("/")
    def handler(ws: Any) -> None:
        raise ValueError("the handler failed")

    client: Any = app.test_client()
    with (
        pytest.raises(ValueError, match="the handler failed"),
        client.websocket("/") as ws,
    ):
        ws.recv(timeout=5)
    assert ws.close_code == 1011
    assert done == ["torn down"]
    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert (record.name, record.exc_info is None) == ("gws.server", False)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, (1008, "HTTP 401")), (404, (1008, "HTTP 404")), (503, (1011, "HTTP 503"))],
)
def test_abort_that_comes_too_late(
    app: Flask,
    sock: Sock,
    caplog: pytest.LogCaptureFixture,
    status: int,
    expected: tuple[int, str],
) -> None:
    sock.route("/")(lambda ws: abort(status))
    assert closing(app, "/") == expected
    assert [r for r in caplog.records if r.levelno > logging.INFO] == []


@pytest.mark.parametrize("kind", [Response, WerkzeugResponse])
def test_a_response_that_comes_too_late(app: Flask, sock: Sock, kind: Any) -> None:
    """Such as a decorator for views returns, that stands under `route`."""

    @sock.route("/")
    def handler(ws: Any) -> Any:
        return kind("please log in", 302)

    assert closing(app, "/") == (1008, "HTTP 302")


def test_a_handler_that_is_killed(app: Flask, sock: Sock) -> None:
    @sock.route("/")
    def handler(ws: Any) -> None:
        raise gevent.GreenletExit

    assert closing(app, "/") == (1001, "")


def test_no_async_handlers(app: Flask, sock: Sock) -> None:
    async def handler(ws: Any) -> None: ...

    with pytest.raises(TypeError, match="async"):
        sock.route("/")(handler)
    with app.test_request_context(), pytest.raises(TypeError, match="async"):
        sock.response(handler)


# Options


def too_big(app: Flask, path: str, size: int) -> bool:
    """Return whether a message of this size is refused."""
    client: Any = app.test_client()
    with client.websocket(path) as ws:
        ws.send(b"x" * size)
        try:
            return bool(ws.recv(timeout=5) != b"x" * size)
        except ConnectionClosed:
            return bool(ws.close_code == 1009)


def test_whose_option_counts(app: Flask) -> None:
    app.config["SOCK_SERVER_OPTIONS"] = {"max_message_size": 30}
    sock = Sock(app)
    other = Sock(app, max_size=20)
    sock.route("/app", endpoint="app")(echo)
    other.route("/sock", endpoint="sock")(echo)
    other.route("/route", endpoint="route", max_size=10)(echo)
    for path, size in (("/app", 30), ("/sock", 20), ("/route", 10)):
        assert not too_big(app, path, size)
        assert too_big(app, path, size + 1)


def test_a_configuration_that_comes_after_sock(app: Flask, sock: Sock) -> None:
    sock.route("/")(echo)
    app.config["SOCK_SERVER_OPTIONS"] = {"max_size": 10}
    assert too_big(app, "/", 11)


def test_options_that_make_no_sense(app: Flask, sock: Sock) -> None:
    with pytest.raises(ValueError, match="max_size"):
        Sock(max_size=-1)
    with pytest.raises(TypeError, match="no_such"):
        Sock(no_such=1)
    with pytest.raises(ValueError, match="ping_interval"):
        sock.route("/", ping_interval=0)
    with pytest.raises(TypeError, match="no_such"):
        sock.route("/", no_such=1)(echo)
    app.config["SOCK_SERVER_OPTIONS"] = {"no_such": 1}
    with pytest.raises(TypeError, match="no_such"):
        Sock(app)


def settings_with(options: dict[str, Any]) -> Any:
    """Return the settings of a connection under SOCK_SERVER_OPTIONS."""
    app = make_app()
    app.config["SOCK_SERVER_OPTIONS"] = options
    found = []
    Sock(app).route("/")(lambda ws: found.append(ws.settings))
    assert closing(app, "/") == (1000, "")
    return found[0]


@pytest.mark.parametrize(
    ("given", "interval", "timeout", "max_size"),
    [
        ({}, 20, 20, 2**20),
        ({"ping_interval": 25}, 25, 25, 2**20),
        ({"ping_interval": 25, "ping_timeout": 5}, 25, 5, 2**20),
        ({"ping_interval": None}, None, None, 2**20),
        ({"ping_interval": 0}, None, None, 2**20),
        ({"max_message_size": 100}, 20, 20, 100),
        ({"max_message_size": None}, 20, 20, None),
        ({"receive_bytes": 1, "thread_class": 2, "event_class": 3}, 20, 20, 2**20),
    ],
)
def test_options_of_flask_sock(
    given: dict[str, Any],
    interval: int | None,
    timeout: int | None,
    max_size: int | None,
) -> None:
    options = settings_with(given).options
    found = (options.ping_interval, options.ping_timeout, options.max_size)
    assert found == (interval, timeout, max_size)


@pytest.mark.parametrize(
    ("configured", "offered", "agreed"),
    [
        (["a", "b"], ["b", "a"], "b"),
        (["a", "b"], ["c"], None),
        (["a", "b"], None, None),
        ("a", ["a"], "a"),
        ([], ["a"], None),
    ],
)
def test_subprotocols_of_flask_sock(
    app: Flask, configured: Any, offered: list[str] | None, agreed: str | None
) -> None:
    """The client's first choice; and who offers nothing that fits is let in."""
    app.config["SOCK_SERVER_OPTIONS"] = {"subprotocols": configured}
    Sock(app).route("/")(lambda ws: ws.send(str(ws.subprotocol)))
    assert hear(app, "/", subprotocols=offered) == str(agreed)


def test_subprotocols_of_a_route(app: Flask) -> None:
    app.config["SOCK_SERVER_OPTIONS"] = {"subprotocols": ["old"]}
    sock = Sock(app)
    sock.route("/", subprotocols=["new"])(lambda ws: ws.send(ws.subprotocol))
    assert hear(app, "/", subprotocols=["old", "new"]) == "new"
    assert refusal(app, "/", subprotocols=["old"]).status_code == 400


def test_options_that_can_be_read_once(app: Flask) -> None:
    sock = Sock(app, origins=iter(["https://a.example"]))
    sock.route("/", subprotocols=iter(["chat"]))(echo)
    for _ in range(2):
        client: Any = app.test_client()
        options = {"origin": "https://a.example", "subprotocols": ["chat"]}
        with client.websocket("/", **options) as ws:
            assert ws.subprotocol == "chat"


def test_extra_headers_that_are_made(app: Flask) -> None:
    def extra(ws: Any, handshake: Any) -> dict[str, str]:
        return {"X-Path": handshake.path, "X-Endpoint": str(request.endpoint)}

    sock = Sock(app, extra_headers=extra)
    sock.route("/")(echo)
    client: Any = app.test_client()
    with client.websocket("/") as ws:
        assert ws.response_headers["X-Path"] == "/"
        assert ws.response_headers["X-Endpoint"] == "echo"


def test_a_connection_of_ones_own(app: Flask, sock: Sock) -> None:
    class Own(ServerConnection):
        def shout(self) -> None:
            self.send("!")

    sock.route("/", create_connection=Own)(lambda ws: ws.shout())
    assert hear(app, "/") == "!"


# Databases


class Engine:
    """As many connections as sessions have checked out, and no database."""

    def __init__(self) -> None:
        self.n_connected = 0


class Session:
    """Takes a connection at its first query, as those of SQLAlchemy do."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_connected = False

    def get(self, key: str) -> str:
        if not self._is_connected:
            self._is_connected = True
            self._engine.n_connected += 1
        return key.upper()

    def remove(self) -> None:
        if self._is_connected:
            self._is_connected = False
            self._engine.n_connected -= 1


class Database:
    """One session for each application context, as Flask-SQLAlchemy has it."""

    def __init__(self, app: Flask) -> None:
        self.engine = Engine()
        app.teardown_appcontext(lambda exc: self.session.remove())

    @property
    def session(self) -> Session:
        if "session" not in g:
            g.session = Session(self.engine)
        found: Session = g.session
        return found


def test_a_session_is_not_held_while_nothing_comes(app: Flask, sock: Sock) -> None:
    db = Database(app)
    seen = []

    @app.before_request
    def who() -> None:
        g.user = db.session.get("ada")

    @sock.route("/")
    def rows(ws: Any) -> None:
        seen.append(db.engine.n_connected)
        db.session.remove()
        for key in ws:
            with current_app.app_context():
                row = db.session.get(key)
                seen.append(db.engine.n_connected)
            ws.send(f"{g.user}: {row}")

    client: Any = app.test_client()
    with client.websocket("/") as ws:
        for _ in range(3):
            ws.send("row")
            assert ws.recv(timeout=5) == "ADA: ROW"
            assert db.engine.n_connected == 0
    assert seen == [1, 1, 1, 1]


def test_a_session_without_a_scope_is_held(app: Flask, sock: Sock) -> None:
    """What the page warns of."""
    db = Database(app)

    @sock.route("/")
    def rows(ws: Any) -> None:
        for key in ws:
            ws.send(db.session.get(key))

    client: Any = app.test_client()
    with client.websocket("/") as ws:
        ws.send("row")
        assert ws.recv(timeout=5) == "ROW"
        assert db.engine.n_connected == 1
    assert db.engine.n_connected == 0


# Servers


STACKS = {
    "pywsgi": lambda: pywsgi("pywsgi", load("flask_app:app")),
    "gunicorn": lambda: gunicorn("gunicorn", "flask_app:app", "gevent"),
    "werkzeug": lambda: dev_server("werkzeug", "flask_app:app"),
}


@pytest.fixture(scope="module", params=STACKS)
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    with STACKS[request.param]() as stack:
        yield stack


def test_a_server(stack: Stack) -> None:
    stack.get("/")  # what it logs when it starts is behind it
    mark = stack.log.mark()
    with stack.peer() as peer:
        head = peer.ask(handshake("/chat/lobby"))
        assert "X-After: 101" in head
        assert "Set-Cookie: session=" in head
        peer.send(TEXT, b"hello")
        assert peer.receive() == (TEXT, b"lobby: hello")
        end(peer)
    stack.log.wait("/chat/lobby", mark)
    assert "Traceback" not in stack.log.since(mark)


def test_a_server_and_a_handler_that_fails(stack: Stack) -> None:
    """No page of Flask's gets into the stream."""
    with stack.peer() as peer:
        peer.ask(handshake("/fail"))
        assert peer.receive_close()[0] == 1011
        peer.send_close(1011)
        assert peer.read_to_end() == b""


def test_a_server_and_plain_http(stack: Stack) -> None:
    assert stack.get("/") == "page"
    with stack.peer() as peer:
        peer.write(b"GET /chat/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert peer.read_head().startswith("HTTP/1.1 426 ")
    with stack.peer() as peer:
        peer.write(handshake("/closed"))
        assert peer.read_head().startswith("HTTP/1.1 403 ")
        assert peer.read(11) == b"not for you"


def end(peer: RawPeer) -> None:
    peer.send_close(1000)
    assert peer.receive_close() == (1000, "")
    assert peer.read_to_end() == b""
