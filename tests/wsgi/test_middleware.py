"""The middleware: under frameworks, and under applications that try its limits."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.event import AsyncResult, Event

from gws import ClientConnection, ConnectionClosed, InvalidStatus, connect
from gws.testing import TEXT, RawPeer, request
from gws.wsgi import accept
from gws.wsgi.middleware import WEBSOCKET_KEY, WebSocket, WebSocketMiddleware

from .stacks import LONG, Stack, load, pywsgi


pytestmark = pytest.mark.usefixtures("leakcheck")

Environ = dict[str, Any]


@contextmanager
def served(app: Any, **options: Any) -> Iterator[Stack]:
    """Serve an application with the middleware."""
    with pywsgi("pywsgi", WebSocketMiddleware(app, **options)) as stack:
        yield stack


def uri(stack: Stack, path: str = "/") -> str:
    return f"ws://127.0.0.1:{stack.address[1]}{path}"


def end_of(ws: ClientConnection) -> int | None:
    """Return the close code of the server; nothing may come before."""
    with pytest.raises(ConnectionClosed):
        ws.recv(LONG)
    return ws.close_code


# Frameworks


@pytest.fixture(params=["flask", "bottle", "django", "falcon"])
def framework(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def site(framework: str) -> Iterator[Stack]:
    load("frameworks:ended").clear()
    with served(load("frameworks:APPS")[framework]) as stack:
        yield stack


@pytest.mark.parametrize("path", ["/echo", "/iterate"])
def test_views(
    framework: str, path: str, site: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(uri(site, path)) as ws:
        for message in ("Grüß Gott", b"\0\xff"):
            ws.send(message)
            assert ws.recv(LONG) == message
        assert load("frameworks:ended") == []
    site.log.wait(f'"GET {path} HTTP/1.1" 101 ')
    assert load("frameworks:ended") == [framework]
    assert [r for r in caplog.records if r.levelno > logging.INFO] == []


@pytest.mark.parametrize("path", ["/echo", "/iterate"])
def test_peers_that_vanish_are_no_error_of_the_view(
    framework: str, path: str, site: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    with site.peer() as peer:
        peer.ask(request(path=path))
    site.log.wait(f'"GET {path} HTTP/1.1" 101 ')
    assert load("frameworks:ended") == [framework]
    assert [r for r in caplog.records if r.levelno > logging.INFO] == []
    assert len(site.log.lines) == 1


def test_views_that_fail(
    framework: str, site: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(uri(site, "/fail")) as ws:
        assert ws.recv(LONG) == "now"
        assert end_of(ws) == 1011
    site.log.wait('"GET /fail HTTP/1.1" 101 ')
    # The framework has logged it, or it is not for it to log.
    assert [r for r in caplog.records if r.name.startswith("gws") and r.exc_info] == []
    assert len(site.log.lines) == 1 or framework in ("bottle", "falcon")


def test_views_that_refuse(site: Stack) -> None:
    with site.peer() as peer:
        peer.write(request(path="/refuse"))
        answer = peer.read_to_end()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert answer.lower().count(b"\r\nconnection: close\r\n") == 1


# Applications of all sorts


class Body:
    """A result with a close method, which is counted."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.n_closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)

    def close(self) -> None:
        self.n_closed += 1


def test_a_generator_that_opens_late() -> None:
    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b""
        ws = environ[WEBSOCKET_KEY]
        ws.send("late")
        yield b"swallowed"
        ws.send("later")

    with served(app) as stack:
        with connect(uri(stack)) as ws:
            assert [*ws] == ["late", "later"]
            assert ws.close_code == 1000
        stack.log.wait('"GET / HTTP/1.1" 101 ')


def test_a_generator_that_does_not_open() -> None:
    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("404 Not Found", [("Connection", "close")])
        yield b""
        yield b"not "
        with pytest.raises(RuntimeError, match="answered over HTTP already"):
            environ[WEBSOCKET_KEY].accept()
        yield b"here"

    with served(app) as stack, stack.peer() as peer:
        peer.write(request())
        answer = peer.read_to_end()
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.endswith(b"4\r\nnot \r\n4\r\nhere\r\n0\r\n\r\n")
    assert answer.count(b"Connection: close") == 1


def test_an_empty_body() -> None:
    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("403 Forbidden", [])
        yield from ()

    with served(app) as stack, pytest.raises(InvalidStatus, match="403"):
        connect(uri(stack)).open()


def test_the_write_of_wsgi() -> None:
    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", [("Content-Length", "6")])
        if environ["PATH_INFO"] == "/ws":
            environ[WEBSOCKET_KEY].send("open")
        write(b"abc")
        write(b"def")
        return []

    with served(app) as stack:
        with stack.peer() as peer:
            peer.write(request())
            assert peer.read_to_end().endswith(b"\r\n\r\nabcdef")
        with connect(uri(stack, "/ws")) as ws:
            assert [*ws] == ["open"]


def test_start_response_again_after_the_body_began() -> None:
    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "3")])(b"abc")
        try:
            raise ValueError("too late")
        except ValueError as exc:
            # PEP 3333: if headers were sent, start_response raises it again.
            with pytest.raises(AssertionError, match="already"):
                start_response("500 Oh", [], (ValueError, exc, None))
        return []

    with served(app) as stack, stack.peer() as peer:
        peer.write(request())
        assert peer.read_to_end().endswith(b"\r\n\r\nabc")


@pytest.mark.parametrize(
    ("status", "code"), [("200 OK", 1000), ("404 No", 1000), ("503 Full", 1011)]
)
def test_the_close_code_tells_the_status(status: str, code: int) -> None:
    body = Body(b"swallowed")

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        environ[WEBSOCKET_KEY].accept()
        start_response(status, [])
        return body

    with served(app) as stack:
        with connect(uri(stack)) as ws:
            assert end_of(ws) == code
        stack.log.wait('"GET / HTTP/1.1" 101 ')
    assert body.n_closed == 1


def test_results_are_closed_when_nothing_was_opened() -> None:
    body = Body(b"no")

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("403 Forbidden", [])
        return body

    with served(app) as stack:
        with pytest.raises(InvalidStatus, match="403"):
            connect(uri(stack)).open()
        stack.log.wait('"GET / HTTP/1.1" 403 ')
    assert body.n_closed == 1


def test_what_an_application_raises(caplog: pytest.LogCaptureFixture) -> None:
    class Closing(Body):
        def close(self) -> None:
            raise ZeroDivisionError("in close")

    def generator(environ: Environ) -> Iterator[bytes]:
        environ[WEBSOCKET_KEY].accept()
        yield b"swallowed"
        raise KeyError

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/generator":
            return generator(environ)
        environ[WEBSOCKET_KEY].accept()
        if environ["PATH_INFO"] == "/close":
            return Closing()
        raise gevent.Timeout(0.0) if environ["PATH_INFO"] == "/timeout" else KeyError

    with served(app) as stack:
        for path in ("/close", "/generator", "/timeout", "/error"):
            caplog.clear()
            with connect(uri(stack, path)) as ws:
                assert end_of(ws) == (1000 if path == "/close" else 1011)
            stack.log.wait(f'"GET {path} HTTP/1.1" 101 ')
            (record,) = [r for r in caplog.records if r.levelno > logging.INFO]
            assert record.getMessage() == "application failed"
            assert record.exc_info is not None
        assert len(stack.log.lines) == 4


def test_what_an_application_raises_before_it_is_open() -> None:
    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        raise ZeroDivisionError("before")

    with served(app) as stack, pytest.raises(InvalidStatus, match="500"):
        connect(uri(stack)).open()


def test_an_application_that_ends_because_its_connection_did(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        while True:
            environ[WEBSOCKET_KEY].recv()

    with served(app) as stack:
        with connect(uri(stack)):
            pass
        stack.log.wait('"GET / HTTP/1.1" 101 ')
    assert [r for r in caplog.records if r.levelno > logging.INFO] == []


def test_a_request_that_is_stopped() -> None:
    ready = Event()

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        environ[WEBSOCKET_KEY].accept()
        running.set(gevent.getcurrent())
        ready.wait()
        return []

    running: AsyncResult[Any] = AsyncResult()
    with served(app) as stack, connect(uri(stack)) as ws:
        gevent.kill(running.get(timeout=LONG))
        assert end_of(ws) == 1001


def test_bad_requests_do_not_come_to_the_application() -> None:
    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        raise AssertionError("it was called")

    with served(app, origins=["https://example.com"]) as stack:
        with pytest.raises(InvalidStatus, match="403"):
            connect(uri(stack), origin="https://example.org").open()
        with stack.peer() as peer:
            peer.write(request().replace(b"Version: 13", b"Version: 8"))
            assert peer.read_to_end().startswith(b"HTTP/1.1 426 ")
        assert len(stack.log.lines) == 2


def test_plain_requests_pass_by() -> None:
    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        assert WEBSOCKET_KEY not in environ
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    with served(app) as stack, stack.peer() as peer:
        for _ in range(2):
            peer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert peer.read(len(b"HTTP/1.1 200 OK")) == b"HTTP/1.1 200 OK"
            while peer.read(1) != b"k":
                pass


def test_accept_beside_the_middleware() -> None:
    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        ws = accept(environ, start_response)
        ws.send("hello")
        ws.close()
        return []

    with served(app) as stack:
        with connect(uri(stack)) as ws:
            assert [*ws] == ["hello"]
        stack.log.wait('"GET / HTTP/1.1" 101 ')
        assert len(stack.log.lines) == 1


# The object in the environ


@contextmanager
def lent(path: str = "/") -> Iterator[tuple[WebSocket, RawPeer, Callable[[], Any]]]:
    """Give the object of a request that runs in the test, its peer and its end."""
    ours, theirs = socket.socketpair()
    peer = RawPeer(theirs)
    done = Event()
    arrived: AsyncResult[WebSocket] = AsyncResult()

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        arrived.set(environ[WEBSOCKET_KEY])
        done.wait()
        start_response("404 Not Found", [])
        return []

    environ = environ_of(ours, path)
    running = gevent.spawn(WebSocketMiddleware(app), environ, lambda *args: print)
    try:
        yield arrived.get(timeout=LONG), peer, running.join
    finally:
        peer.end()
        done.set()
        running.get(timeout=LONG)
        ours.close()


def environ_of(sock: Any, path: str = "/") -> Environ:
    return {
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "none",
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "HTTP_HOST": "localhost",
        "HTTP_UPGRADE": "websocket",
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "1",
        "gws.socket": sock,
        "wsgi.input": io.BytesIO(),
    }


def test_it_opens_on_first_use() -> None:
    with lent("/path") as (ws, _, _):
        assert not ws.opened
        assert not ws.closed
        assert not hasattr(ws, "__len__")
        assert not ws.opened
        assert ws.path == "/path"
        assert ws.opened
        assert ws.accept() is ws.accept()
        assert ws.accept().latency == 0.0


def test_receive() -> None:
    with lent() as (ws, peer, _):
        with pytest.raises(TimeoutError):
            ws.receive(timeout=0)
        peer.read_head()
        peer.send(TEXT, b"hello")
        assert ws.receive(timeout=LONG) == "hello"
        assert not ws.closed
        peer.end()
        assert ws.receive() is None
        assert ws.closed
        assert ws.close_code == 1006
        with pytest.raises(ConnectionClosed):
            ws.receive()
        with pytest.raises(ConnectionClosed):
            ws.send("too late")
        ws.close()


def test_iteration_ends_with_the_connection() -> None:
    with lent() as (ws, peer, _):
        ws.accept()
        peer.read_head()
        peer.send(TEXT, b"one")
        peer.send(TEXT, b"two")
        peer.end()
        assert [*ws] == ["one", "two"]


def test_what_ends_the_process_passes() -> None:
    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        environ[WEBSOCKET_KEY].accept()
        raise SystemExit(3)

    ours, theirs = socket.socketpair()
    peer = RawPeer(theirs)
    with pytest.raises(SystemExit):
        WebSocketMiddleware(app)(environ_of(ours), lambda *args: print)
    peer.read_head()
    assert peer.receive_close() == (1011, "")
    peer.end()
    ours.close()


def test_servers_without_a_socket() -> None:
    """Views that do not use it answer; the others learn what to do."""

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/use":
            environ[WEBSOCKET_KEY].receive()
        return [b"ok"]

    heard: list[Any] = []
    middleware = WebSocketMiddleware(app)
    assert middleware(environ_of(None), lambda *args: heard.append(args)) == [b"ok"]
    assert heard == [("200 OK", [])]
    with pytest.raises(RuntimeError, match="none has no socket for a WebSocket: use"):
        middleware(environ_of(None, "/use"), lambda *args: print)


@pytest.mark.parametrize("options", [{"no_such": 1}, {"host": "localhost"}])
def test_options_are_checked_at_once(options: Any) -> None:
    with pytest.raises(TypeError):
        WebSocketMiddleware(lambda *args: [], **options)
