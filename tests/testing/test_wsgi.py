"""The test client of WSGI applications, and what it says when they misbehave."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import gevent
import pytest
from flask import Flask, abort, redirect, request, session, url_for
from flask.testing import FlaskClient

from gws import ConnectionClosed, InvalidStatus
from gws.testing.wsgi import WebSocketClient
from gws.wsgi import Refused, accept
from gws.wsgi.flask import Sock


pytestmark = pytest.mark.usefixtures("leakcheck")


class Client(WebSocketClient, FlaskClient):
    """Flask's test client, with `websocket`."""


def echo(ws: Any) -> None:
    for message in ws:
        ws.send(message)


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "secret"
    app.test_client_class = Client
    return app


@pytest.fixture
def sock(app: Flask) -> Sock:
    return Sock(app)


@pytest.fixture
def client(app: Flask) -> Any:
    return app.test_client()


def application(environ: Any, start_response: Any) -> Any:
    """A WSGI application without a framework."""
    try:
        with contextlib.closing(accept(environ, start_response)) as ws:
            ws.send(f"{environ['REMOTE_ADDR']} {environ.get('REMOTE_USER')}")
            echo(ws)
    except Refused as refused:
        return refused(environ, start_response)
    return []


def test_any_wsgi_application() -> None:
    client = WebSocketClient(application)
    with client.websocket("/", headers={"X-A": "b"}) as ws:
        assert ws.recv(timeout=5) == "127.0.0.1 None"
        ws.send("hello")
        assert ws.recv(timeout=5) == "hello"
        assert ws.request_headers["X-A"] == "b"
    assert ws.close_code == 1000


def test_the_environ() -> None:
    client = WebSocketClient(application)
    errors = io.StringIO()
    with client.websocket(
        environ={"REMOTE_USER": "ada", "wsgi.errors": errors},
        remote_address=("192.0.2.1", 4711),
    ) as ws:
        assert ws.recv(timeout=5) == "192.0.2.1 ada"


def test_it_is_still_a_test_client(app: Flask, client: Any) -> None:
    app.get("/")(lambda: "page")
    assert client.get("/").text == "page"


def test_two_at_once(sock: Sock, client: Any) -> None:
    sock.route("/")(echo)
    with client.websocket("/") as a, client.websocket("/") as b:
        a.send("a")
        b.send("b")
        assert (a.recv(timeout=5), b.recv(timeout=5)) == ("a", "b")


# Cookies


def test_cookies_go_both_ways(app: Flask, sock: Sock, client: Any) -> None:
    @app.post("/login")
    def login() -> str:
        session["name"] = "Ada"
        return ""

    @app.before_request
    def before() -> None:
        if request.path == "/who":
            session["seen"] = True

    @sock.route("/who")
    def who(ws: Any) -> None:
        ws.send(session.get("name", "nobody"))

    with client.websocket("/who") as ws:
        assert ws.recv(timeout=5) == "nobody"
    with client.session_transaction() as stored:
        assert stored["seen"]
    client.post("/login")
    with client.websocket("/who") as ws:
        assert ws.recv(timeout=5) == "Ada"
    with client.websocket("ws://elsewhere/who") as ws:
        assert ws.recv(timeout=5) == "nobody"


def test_cookies_of_a_refusal(app: Flask, sock: Sock, client: Any) -> None:
    sock.route("/")(echo)

    @app.before_request
    def before() -> None:
        session["tried"] = True
        abort(403)

    with pytest.raises(InvalidStatus), client.websocket("/"):
        pass
    with client.session_transaction() as stored:
        assert stored["tried"]


def test_a_client_without_cookies(sock: Sock, app: Flask) -> None:
    sock.route("/")(lambda ws: ws.send(str(request.cookies.to_dict())))
    client: Any = app.test_client(use_cookies=False)
    headers = {"Cookie": "a=b"}
    with client.websocket("/", headers=headers) as ws:
        assert ws.recv(timeout=5) == "{'a': 'b'}"


# What the application does


def test_no_redirect_is_followed(app: Flask, sock: Sock, client: Any) -> None:
    sock.route("/")(echo)
    app.before_request(lambda: redirect("/login"))
    with pytest.raises(InvalidStatus) as caught, client.websocket("/"):
        pass
    assert caught.value.response.headers["Location"] == "/login"


def test_what_a_handler_raises_comes_at_the_end(sock: Sock, client: Any) -> None:
    @sock.route("/")
    def handler(ws: Any) -> None:
        ws.recv()
        raise ValueError("the handler failed")

    with (
        pytest.raises(ValueError, match="the handler failed"),
        client.websocket("/") as ws,
    ):
        ws.send("go on")
        ws.wait_closed()


def test_what_a_handler_raises_comes_in_place_of_the_end(
    sock: Sock, client: Any
) -> None:
    @sock.route("/")
    def handler(ws: Any) -> None:
        raise ValueError("the handler failed")

    with pytest.raises(ValueError) as caught, client.websocket("/") as ws:
        ws.recv(timeout=5)
    assert caught.value.__context__ is None


def test_the_end_of_the_connection_is_no_failure(sock: Sock, client: Any) -> None:
    @sock.route("/")
    def handler(ws: Any) -> None:
        while True:
            ws.recv()

    with client.websocket("/") as ws:
        ws.send("hello")


def test_the_end_of_another_connection_is(sock: Sock, client: Any) -> None:
    @sock.route("/")
    def handler(ws: Any) -> None:
        raise ConnectionClosed(None, None)

    with pytest.raises(ConnectionClosed), client.websocket("/") as ws:
        ws.wait_closed()


def test_what_the_test_raises_comes_first(sock: Sock, client: Any) -> None:
    @sock.route("/")
    def handler(ws: Any) -> None:
        raise ValueError("the handler failed")

    with pytest.raises(KeyError) as caught, client.websocket("/") as ws:
        ws.wait_closed()
        raise KeyError("the test failed")
    assert "the handler failed" in caught.value.__notes__[0]
    with pytest.raises(KeyError), client.websocket("/") as ws:
        raise KeyError("the test failed")
    assert ws.close_code == 1011


@pytest.mark.parametrize("testing", [True, False])
def test_a_view_that_raises(app: Flask, sock: Sock, client: Any, testing: bool) -> None:
    """As with the client's other methods: it comes to the test if app.testing."""
    app.testing = testing
    sock.route("/")(echo)

    @app.before_request
    def before() -> None:
        raise ValueError("the view failed")

    expected: type[Exception] = ValueError if testing else InvalidStatus
    with pytest.raises(expected, match=r"failed|500"), client.websocket("/"):
        pass


def test_an_application_that_raises_after_the_handshake() -> None:
    def failing(environ: Any, start_response: Any) -> Any:
        with contextlib.closing(accept(environ, start_response)) as ws:
            ws.send("hello")
            raise ValueError("the application failed")

    client = WebSocketClient(failing)
    with (
        pytest.raises(ValueError, match="the application failed"),
        client.websocket("/") as ws,
    ):
        assert ws.recv(timeout=5) == "hello"
        ws.recv(timeout=5)


def test_an_application_that_is_killed(sock: Sock) -> None:
    def killed(environ: Any, start_response: Any) -> Any:
        with contextlib.closing(accept(environ, start_response)):
            raise gevent.GreenletExit

    with WebSocketClient(killed).websocket("/") as ws:
        assert ws.wait_closed(timeout=5)


def test_an_application_that_does_not_return(sock: Sock, client: Any) -> None:
    @sock.route("/")
    def handler(ws: Any) -> None:
        gevent.sleep(3600)

    with (
        pytest.raises(TimeoutError, match=r"gevent\.sleep\(3600\)"),
        client.websocket("/", timeout=0.1),
    ):
        pass


def test_options(sock: Sock, client: Any) -> None:
    sock.route("/", subprotocols=["chat"])(echo)
    with client.websocket("/", subprotocols=["chat"], max_size=5) as ws:
        assert ws.subprotocol == "chat"
        ws.send("123456")
        with pytest.raises(ConnectionClosed):
            ws.recv(timeout=5)
    with pytest.raises(TypeError), client.websocket("/", no_such=1):
        pass
    with pytest.raises(ValueError, match="no TLS"), client.websocket("wss://a/"):
        pass


def test_a_proxy_with_tls(sock: Sock, client: Any) -> None:
    sock.route("/")(lambda ws: ws.send(url_for("home")))
    sock.route("/home", endpoint="home")(echo)
    with client.websocket("/", environ={"wsgi.url_scheme": "https"}) as ws:
        assert ws.recv(timeout=5) == "wss://localhost/home"
