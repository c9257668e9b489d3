"""What `accept` makes of a request: what it reads of it, what it refuses, and where."""

from __future__ import annotations

import dataclasses
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest
from gevent import socket

from gws import Router, ServerConnection
from gws.exceptions import InvalidState
from gws.testing import TEXT, RawPeer
from gws.testing.octets import KEY, header, headers
from gws.wsgi import Refused, WebSocketApp, accept, is_websocket
from gws.wsgi.accept import Acceptor, path_of, remote_address, request_of

from .stacks import gunicorn, other_server


pytestmark = pytest.mark.usefixtures("leakcheck")

APP = "matrix:app"

ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/",
    "QUERY_STRING": "",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_SOFTWARE": "Toy/1",
    "HTTP_HOST": "localhost",
    "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_SEC_WEBSOCKET_KEY": KEY,
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
}


class Response:
    """What a server knows of a response, as gunicorn has it."""

    def __init__(self) -> None:
        self.headers_sent = False
        self.started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(self, status: str, headers: list[tuple[str, str]]) -> Any:
        self.started.append((status, headers))
        return lambda data: None


@dataclasses.dataclass
class Case:
    """One request of a server that has only what `accept` needs."""

    environ: dict[str, Any]
    response: Response
    peer: RawPeer
    sock: Any

    def accept(self, **options: Any) -> ServerConnection:
        return accept(self.environ, self.response.start_response, **options)


@contextmanager
def case(**changes: Any) -> Iterator[Case]:
    ours, theirs = socket.socketpair()
    ours.settimeout(7)
    peer = RawPeer(theirs)
    stream = io.BytesIO()
    environ = {**ENVIRON, "wsgi.input": stream, "gws.socket": ours, **changes}
    try:
        yield Case(environ, Response(), peer, ours)
    finally:
        ours.close()
        peer.end()


# What is read of the request


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({}, "/"),
        ({"PATH_INFO": ""}, "/"),
        ({"PATH_INFO": "", "SCRIPT_NAME": "/app"}, "/"),
        ({"PATH_INFO": "/a b"}, "/a%20b"),
        ({"PATH_INFO": "/\xc3\xa9"}, "/%C3%A9"),
        ({"PATH_INFO": "/a?b#c"}, "/a%3Fb%23c"),
        ({"PATH_INFO": "/a", "QUERY_STRING": "b=%41"}, "/a?b=%41"),
        ({"PATH_INFO": "//a"}, "//a"),
        # As it came, if it says what the application was called for.
        ({"PATH_INFO": "/a/b", "RAW_URI": "/a%2Fb?c", "QUERY_STRING": "c"}, "/a%2Fb?c"),
        ({"PATH_INFO": "/a", "RAW_URI": "http://x/%61"}, "/%61"),
        ({"PATH_INFO": "/a", "REQUEST_URI": "/%61"}, "/%61"),
        ({"PATH_INFO": "http://x/a"}, "/a"),
        ({"PATH_INFO": "http://x", "RAW_URI": "http://x"}, "/"),
        # A part of it was for somebody else, or it was rewritten.
        ({"PATH_INFO": "/b", "SCRIPT_NAME": "/a", "RAW_URI": "/a/b"}, "/b"),
        ({"PATH_INFO": "/new", "RAW_URI": "/old?q", "QUERY_STRING": "r"}, "/new?r"),
    ],
)
def test_paths(changes: dict[str, str], path: str) -> None:
    assert path_of({**ENVIRON, **changes}) == path


def test_headers() -> None:
    environ = {**ENVIRON, "HTTP_X_ONE": "1", "CONTENT_TYPE": "a/b", "OTHER": "no"}
    found = request_of(environ).headers
    assert found["x-one"] == "1"
    assert found["Content-Type"] == "a/b"
    assert "other" not in found
    assert "Content-Length" not in found


@pytest.mark.parametrize(
    ("changes", "address"),
    [
        ({"REMOTE_ADDR": "10.0.0.1", "REMOTE_PORT": "80"}, ("10.0.0.1", 80)),
        ({"REMOTE_ADDR": "10.0.0.1", "REMOTE_PORT": 80}, ("10.0.0.1", 80)),
        ({"REMOTE_ADDR": "10.0.0.1"}, ("10.0.0.1", 0)),
        ({"REMOTE_ADDR": "10.0.0.1", "REMOTE_PORT": ""}, ("10.0.0.1", 0)),
        ({"REMOTE_ADDR": "", "REMOTE_PORT": ""}, ""),
        ({}, ""),
    ],
)
def test_remote_addresses(changes: dict[str, Any], address: Any) -> None:
    with case() as made:
        assert remote_address(changes, made.sock) == address


def test_the_address_of_a_peer_that_has_gone() -> None:
    with socket.socket() as sock:
        assert remote_address({}, sock) == ""


@pytest.mark.parametrize(
    ("upgrade", "expected"),
    [
        ("websocket", True),
        ("WebSocket", True),
        ("h2c, websocket", True),
        ("h2c", False),
        ("", False),
        ("web socket", False),
        ('"websocket', False),
    ],
)
def test_is_websocket(upgrade: str, expected: bool) -> None:
    assert is_websocket({"HTTP_UPGRADE": upgrade}) is expected


# What is refused


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"SERVER_PROTOCOL": "HTTP/1.0"}, 505),
        ({"SERVER_PROTOCOL": "HTTP/2.0"}, 505),
        ({"SERVER_PROTOCOL": "HTTP/2"}, 505),
        ({"SERVER_PROTOCOL": "HTTP/3"}, 505),
        ({"REQUEST_METHOD": "POST"}, 405),
        ({"REQUEST_METHOD": "CONNECT"}, 405),
        ({"HTTP_X_BAD": "a\nb"}, 400),
        ({"HTTP_X Y": "a"}, 400),
        ({"PATH_INFO": "\u20ac"}, 400),
        ({"PATH_INFO": "http://[x/"}, 400),
        ({"QUERY_STRING": "a b"}, 400),
        ({"QUERY_STRING": "\xe9"}, 400),
        ({"HTTP_UPGRADE": ""}, 426),
        ({"CONTENT_LENGTH": "1"}, 400),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, 400),
    ],
)
def test_refusals(changes: dict[str, str], status: int) -> None:
    with case(**changes) as made:
        with pytest.raises(Refused) as caught:
            made.accept()
        assert str(caught.value) == f"opening handshake refused: HTTP {status}"
        body = b"".join(caught.value(made.environ, made.response.start_response))
        ((line, told),) = made.response.started
        assert line.startswith(f"{status} ")
        assert "close" in dict(told)["Connection"]
        assert dict(told)["Content-Length"] == str(len(body))
        # The server can still answer.
        assert made.sock.gettimeout() == 7
        made.sock.sendall(b"over HTTP")
        assert made.peer.read(9) == b"over HTTP"


def test_a_connection_of_http_2_is_not_touched() -> None:
    with case(SERVER_PROTOCOL="HTTP/2.0") as made:
        made.peer.write(b"another stream")
        made.environ["wsgi.input"] = made.sock.makefile("rb")
        with pytest.raises(Refused), made.environ["wsgi.input"]:
            made.accept()
        assert made.sock.recv(100) == b"another stream"


def test_a_hook_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    def hook(ws: Any, request: Any) -> None:
        raise ValueError("no")

    with case() as made:
        with pytest.raises(Refused) as caught:
            made.accept(process_request=hook)
        assert caught.value.response.status_code == 500
    assert "opening handshake failed" in caplog.text


def test_who_waits_for_a_refused_connection_is_woken() -> None:
    waiting: list[Any] = []

    def hook(ws: Any, request: Any) -> Any:
        waiting.append(gevent.spawn(ws.wait_closed))
        gevent.sleep(0)
        return 403, {}, b""

    with case() as made:
        with pytest.raises(Refused):
            made.accept(process_request=hook)
        assert waiting[0].get(timeout=10)
        made.sock.sendall(b"over HTTP")
        assert made.peer.read(9) == b"over HTTP"


def test_a_connection_that_was_closed_before_it_was_open() -> None:
    with case() as made:
        opening = Acceptor().prepare(made.environ, made.response.start_response)
        opening._ws.close()
        with pytest.raises(InvalidState):
            opening.open()
        made.sock.sendall(b"over HTTP")
        assert made.peer.read(9) == b"over HTTP"


def test_the_body_of_a_request_that_was_taken() -> None:
    with case() as made:
        ws = made.accept()
        body = made.environ["wsgi.input"]
        assert (body.read(), body.readline(5), body.readlines()) == (b"", b"", [])
        assert list(body) == []
        body.close()
        made.peer.end()
        ws.close()


# Options and headers


@pytest.mark.parametrize("app", [accept, Acceptor])
def test_no_such_option(app: Any) -> None:
    arguments = ({}, None) if app is accept else ()
    with pytest.raises(TypeError, match="not options of a connection: open_timeout"):
        app(*arguments, open_timeout=1)


@pytest.mark.parametrize(
    "options",
    [
        {"max_size": -1},
        {"ping_interval": 0},
        {"compression": "zip"},
        {"extra_headers": {"Upgrade": "x"}},
        {"subprotocols": [""]},
    ],
)
def test_options_that_make_no_sense(options: Any) -> None:
    with pytest.raises(ValueError):
        WebSocketApp(lambda ws: None, **options)


def test_headers_that_make_no_sense() -> None:
    with case() as made:
        for wrong in ({"Connection": "close"}, {"X": "a\r\nb"}, [("a b", "c")]):
            with pytest.raises(ValueError):
                made.accept(headers=wrong)
        assert made.response.started == []


def test_headers_of_one_request_are_of_that_one_alone() -> None:
    acceptor = Acceptor(extra_headers={"X-All": "yes"})
    for cookies in (["a=1", "b=2"], []):
        with case() as made:
            given = [("Set-Cookie", cookie) for cookie in cookies]
            ws = acceptor.accept(made.environ, made.response.start_response, given)
            head = made.peer.read_head()
            assert headers(head, "Set-Cookie") == cookies
            assert headers(head, "X-All") == ["yes"]
            assert ws.response_headers.get_all("Set-Cookie") == cookies
            made.peer.end()
            ws.close()


def test_options_of_routes() -> None:
    router = Router()

    @router.route("/small", max_size=1)
    def small(ws: Any) -> None:
        ws.recv()

    with case(PATH_INFO="/small") as made:
        app = WebSocketApp(router)
        running = gevent.spawn(app, made.environ, made.response.start_response)
        made.peer.read_head()
        made.peer.send(TEXT, b"too big")
        assert made.peer.receive_close()[0] == 1009
        made.peer.end()
        assert running.get() == ()


def test_keepalive_runs() -> None:
    with case() as made:
        ws = made.accept(ping_interval=0.01, ping_timeout=None)
        made.peer.read_head()
        assert made.peer.receive()[0] == 0x9
        made.peer.end()
        ws.close()


def test_the_server_is_told() -> None:
    with case() as made:
        ws = made.accept()
        ((line, told),) = made.response.started
        assert line == "101 Switching Protocols"
        assert "sec-websocket-accept" in {name.lower() for name, _ in told}
        # wsgiref refuses them: PEP 3333.
        assert {"connection", "upgrade"}.isdisjoint(name.lower() for name, _ in told)
        assert made.response.headers_sent
        assert made.sock.fileno() == -1
        made.peer.end()
        ws.close()


def test_a_connection_that_is_left_open_by_the_main_greenlet() -> None:
    # It has no end that could be waited for: the connection lives on.
    with case() as made:
        ws = made.accept()
        made.peer.read_head()
        ws.send("alive")
        assert made.peer.receive() == (TEXT, b"alive")
        made.peer.end()
        ws.close()


def test_what_is_left_open_is_closed_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with case() as made:
        with caplog.at_level(logging.WARNING):
            ws = gevent.spawn(made.accept).get()
            made.peer.read_head()
            assert made.peer.receive_close() == (1011, "")
        made.peer.end()
        ws.close()
    (record,) = caplog.records
    assert record.getMessage() == "left open by its application: "


def test_an_answer_that_had_begun() -> None:
    def start_response(*args: Any) -> Any:
        raise AssertionError("headers are set already")

    with case() as made:
        with pytest.raises(AssertionError, match="already"):
            accept(made.environ, start_response)
        made.sock.sendall(b"still the server's")
        assert made.peer.read(18) == b"still the server's"


# Where it can't work


def test_no_socket() -> None:
    with pytest.raises(RuntimeError, match=r"Toy/1 has no socket .* use gevent.pywsgi"):
        accept(dict(ENVIRON), Response().start_response)


@pytest.mark.parametrize("worker", ["gthread", "sync"])
def test_gunicorn_without_gevent(worker: str) -> None:
    with gunicorn(worker, APP, worker) as stack:
        with stack.peer() as peer:
            peer.write(upgrade_to("/doubtful"))
            head, body = peer.read_to_end().decode().split("\r\n\r\n", 1)
        assert "200 OK" in head
        assert "the socket of gunicorn/" in body
        assert "not one of gevent but a socket.socket: use gevent.pywsgi" in body


@pytest.mark.parametrize(
    ("server", "text"),
    [
        ("waitress", "waitress has no socket for a WebSocket: use gevent.pywsgi"),
        ("wsgiref", "is not one of gevent but a socket.socket: use gevent.pywsgi"),
    ],
)
def test_servers_without_gevent(server: str, text: str) -> None:
    with other_server(server, APP) as stack, stack.peer() as peer:
        peer.write(upgrade_to("/doubtful"))
        n = int(header(peer.read_head(), "Content-Length"))
        assert text in peer.read(n).decode()


def test_wsgiref_with_gevent() -> None:
    with other_server("wsgiref", APP, patched=True) as stack:
        with stack.peer() as peer:
            peer.ask(upgrade_to("/echo"))
            peer.send(TEXT, b"hello")
            assert peer.receive() == (TEXT, b"hello")
            peer.send_close(1000)
            assert peer.receive_close() == (1000, "")
            assert peer.read_to_end() == b""
        assert '" 101 ' in stack.log.wait("GET /echo")
        assert "Traceback" not in stack.log.since(0)


def upgrade_to(path: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1"]
    lines += [
        f"{name[5:].replace('_', '-')}: {value}"
        for name, value in ENVIRON.items()
        if name.startswith("HTTP_")
    ]
    return "\r\n".join([*lines, "", ""]).encode()
