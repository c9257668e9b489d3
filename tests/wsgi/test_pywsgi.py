"""gevent's WSGI server with the handler and the server of gws."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gevent
import gevent.pywsgi
import pytest
from gevent.event import AsyncResult, Event

from gws import ClientConnection, ConnectionClosed, InvalidStatus, connect, unix_connect
from gws.server.drain import BATCH
from gws.testing import request
from gws.wsgi import WebSocketApp
from gws.wsgi.middleware import WEBSOCKET_KEY
from gws.wsgi.open import OpenConnections
from gws.wsgi.pywsgi import WebSocketHandler, WSGIServer

from .stacks import LONG, Stack, pywsgi


pytestmark = pytest.mark.usefixtures("leakcheck")

Environ = dict[str, Any]


def echo(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Echo, as applications for gevent-websocket do."""
    ws = environ.get(WEBSOCKET_KEY)
    if ws is None:
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]
    while not ws.closed:
        message = ws.receive()
        if message is not None:
            ws.send(message)
    return []


def opened(
    stack: Stack, path: str = "/", context: ssl.SSLContext | None = None
) -> ClientConnection:
    if stack.is_unix:
        return unix_connect(stack.address, f"ws://localhost{path}").open()
    if stack.tls:
        return connect(f"wss://localhost:{stack.address[1]}{path}", ssl=context).open()
    return connect(f"ws://127.0.0.1:{stack.address[1]}{path}").open()


def end_of(ws: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed):
        ws.recv(LONG)
    return ws.close_code


# The handler


@pytest.mark.parametrize("kind", ["plain", "tls", "unix"])
@pytest.mark.parametrize("server_class", [gevent.pywsgi.WSGIServer, WSGIServer])
def test_the_handler(
    kind: str, server_class: Any, tls_files: Path, client_context: ssl.SSLContext
) -> None:
    tls = tls_files if kind == "tls" else None
    with pywsgi(
        kind,
        echo,
        tls=tls,
        unix=kind == "unix",
        server_class=server_class,
        handler_class=WebSocketHandler,
    ) as stack:
        assert stack.get("/") == "ok"
        connections = [opened(stack, "/ws", client_context) for _ in range(2)]
        for message in ("x", "y" * 10_000, b"z"):
            for ws in connections:
                ws.send(message)
            assert [ws.recv(LONG) for ws in connections] == [message, message]
        for ws in connections:
            mark = stack.log.mark()
            ws.close()
            stack.log.wait('"GET /ws HTTP/1.1" 101 ', mark)
    assert len(stack.log.lines) == 3


def test_the_handler_opens_before_the_application_is_called() -> None:
    called = Event()

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        assert environ["wsgi.websocket_version"] == "13"
        called.wait()
        start_response("403 Forbidden", [])
        return [b"swallowed"]

    with pywsgi("pywsgi", app, handler_class=WebSocketHandler) as stack:
        ws = opened(stack)
        called.set()
        assert end_of(ws) == 1000
        stack.log.wait('"GET / HTTP/1.1" 101 ')


def test_the_handler_refuses() -> None:
    with (
        pywsgi("pywsgi", echo, handler_class=WebSocketHandler) as stack,
        stack.peer() as peer,
    ):
        peer.write(request().replace(b"Version: 13", b"Version: 8"))
        assert peer.read_to_end().startswith(b"HTTP/1.1 426 ")
    assert '"GET / HTTP/1.1" 426 ' in stack.log.lines[0]


def test_options_of_the_handler() -> None:
    class Handler(WebSocketHandler):
        websocket_options = MappingProxyType({"max_size": 10})

    with pywsgi("pywsgi", echo, handler_class=Handler) as stack:
        ws = opened(stack)
        ws.send("x" * 11)
        assert end_of(ws) == 1009
    with pywsgi("pywsgi", echo, handler_class=WebSocketHandler) as stack:
        ws = opened(stack)
        ws.send("x" * 11)
        assert ws.recv(LONG) == "x" * 11
        ws.close()


def test_a_failing_application(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        raise ZeroDivisionError

    with pywsgi("pywsgi", app, handler_class=WebSocketHandler) as stack:
        assert end_of(opened(stack)) == 1011
        stack.log.wait('"GET / HTTP/1.1" 101 ')
    (record,) = [r for r in caplog.records if r.levelno > logging.INFO]
    assert record.getMessage() == "application failed"
    assert len(stack.log.lines) == 1


# The server


class Site:
    """An application with a WebSocket, and a request that does not end."""

    def __init__(self) -> None:
        self.never = Event()
        self.running: AsyncResult[Any] = AsyncResult()
        self._websockets = WebSocketApp(self._serve)

    def _serve(self, ws: Any) -> None:
        if ws.path == "/deaf":
            ws.send("hello")
            self.never.wait()
        for message in ws:
            ws.send(message)

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/never":
            return self._websockets(environ, start_response)
        self.running.set(True)
        self.never.wait()
        return []


@contextmanager
def site(**options: Any) -> Iterator[tuple[WSGIServer, Stack, Site]]:
    app = Site()
    server = WSGIServer(("127.0.0.1", 0), app, log=None, error_log=None, **options)
    server.start()
    try:
        yield server, Stack("pywsgi", ("127.0.0.1", server.server_port)), app
    finally:
        server.stop(timeout=1)


@pytest.mark.parametrize("spawn", ["default", 5])
def test_a_connection_outlives_its_request_where_nothing_counts_them(
    spawn: Any,
) -> None:
    def handler(ws: Any) -> None:
        for message in ws:
            ws.send(message)

    options = {"server_class": WSGIServer, "spawn": spawn}
    with pywsgi("pywsgi", WebSocketApp(handler), **options) as stack:
        ws = opened(stack)
        ws.send("x")
        assert ws.recv(LONG) == "x"
        if spawn == "default":
            stack.log.wait(" 101 ")
        else:
            assert " 101 " not in stack.log.since(0)
        ws.send("y")
        assert ws.recv(LONG) == "y"
        ws.close()
        stack.log.wait(" 101 ")


def test_stopping_closes_with_1001() -> None:
    with site() as (server, stack, _):
        connections = [opened(stack) for _ in range(3)]
        assert len(server.connections) == 3
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 5
        assert [end_of(ws) for ws in connections] == [1001] * 3
        assert server.connections == set()
        with pytest.raises(OSError):
            opened(stack)


def test_serve_forever_ends_well() -> None:
    with site(spawn=5) as (server, stack, _):
        serving = gevent.spawn(server.serve_forever)
        ws = opened(stack)
        server.close()
        serving.get(timeout=LONG)
        assert end_of(ws) == 1001


def test_what_does_not_end_is_stopped() -> None:
    with site() as (server, stack, app):
        deaf = opened(stack, "/deaf")
        with stack.peer() as peer:
            peer.write(b"GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n")
            app.running.get(timeout=LONG)
            server.stop(timeout=0.2)
            # gevent answers what it stops.
            assert peer.read_to_end().startswith(b"HTTP/1.1 500 ")
        assert deaf.recv(LONG) == "hello"
        assert end_of(deaf) == 1001


def test_who_does_not_answer_holds_nobody_up() -> None:
    with site() as (server, stack, _), stack.peer() as peer:
        peer.ask(request())
        server.stop(timeout=0.2)
        assert peer.receive_close() == (1001, "")


def test_max_connections() -> None:
    with site(max_connections=1) as (server, stack, _):
        first = opened(stack)
        with pytest.raises(InvalidStatus) as refused:
            opened(stack)
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"] == "5"
        first.close()
        server._open.wait(LONG)
        opened(stack).close()


def test_max_connections_is_checked() -> None:
    with pytest.raises(ValueError, match="positive"):
        WSGIServer(("127.0.0.1", 0), echo, max_connections=0)


def test_max_per_address() -> None:
    with site(max_per_address=1) as (server, stack, _):
        for _ in range(2):
            first = opened(stack)
            with pytest.raises(InvalidStatus) as refused:
                opened(stack)
            assert refused.value.response.status_code == 429
            assert refused.value.response.headers["Retry-After"] == "5"
            first.close()
            server._open.wait(LONG)


def test_other_servers_of_the_process_go_on() -> None:
    with site() as (server, stack, _), site() as (_, other, _):
        one, two = opened(stack), opened(other)
        server.stop(timeout=1)
        assert end_of(one) == 1001
        two.send("x")
        assert two.recv(LONG) == "x"
        two.close()


# All connections of a server


def test_many_are_told_in_batches() -> None:
    with site() as (server, stack, _):
        connections = [opened(stack) for _ in range(BATCH + 1)]
        closing = gevent.spawn(server._open.close, LONG)
        gevent.sleep(0)
        told = [ws for ws in server.connections if not ws.open]
        assert len(told) == BATCH
        closing.get(timeout=LONG)
        assert {end_of(ws) for ws in connections} == {1001}


def test_one_that_opens_while_all_close() -> None:
    class Late(OpenConnections):
        """Has room when it is asked, and none when the connection opens."""

        def has_room(self) -> bool:
            return True

    with site() as (server, stack, _):
        server._open = Late()
        server._open.closing = True
        assert end_of(opened(stack)) == 1001


def test_no_more_are_opened_while_all_close() -> None:
    with site() as (server, stack, _):
        server._open.close(0)
        with pytest.raises(InvalidStatus, match="503"):
            opened(stack)
