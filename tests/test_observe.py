"""What observers are told of connections, and that they can't harm one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from typing import Any

import gevent
import pytest
from gevent import GreenletExit, socket

from gws import ConnectionClosed, Router, connect, serve
from gws.exceptions import InvalidStatus
from gws.observe import Observer
from gws.testing import PING, PONG, connect_to, raw_connect_to, request
from gws.testing.octets import HANDSHAKE
from gws.wsgi.accept import accept
from gws.wsgi.app import WebSocketApp
from gws.wsgi.middleware import WebSocketMiddleware
from gws.wsgi.pywsgi import WSGIServer


pytestmark = pytest.mark.usefixtures("leakcheck")


class Recorder(Observer):
    """Keeps what it is told, connections by their path."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.meters: list[Any] = []

    def answered(self, ws: Any, status: int) -> None:
        self.told.append(("answered", ws.path, status))

    def turned_away(self, address: Any, status: int) -> None:
        assert address[0] == "127.0.0.1"
        self.told.append(("turned away", status))

    def closed(self, ws: Any, seconds: float, error: BaseException | None) -> None:
        assert 0 <= seconds < 60
        self.meters.append(ws.meter)
        self.told.append(("closed", ws.path, type(error)))

    def ponged(self, ws: Any, seconds: float) -> None:
        assert 0 <= seconds < 60
        self.told.append(("ponged", ws.path))


class Counting(Recorder):
    counts = True


class Failing(Observer):
    """Raises whenever it is told something."""

    def fail(self, *args: Any) -> None:
        raise LookupError("of the observer")

    answered = turned_away = closed = ponged = fail


class Waiting(Failing):
    """Waits, in the hub, where nobody may."""

    def fail(self, *args: Any) -> None:
        gevent.sleep(0)

    ponged = fail


def wait_for(condition: Callable[[], object]) -> None:
    """Return once it is true; the test's time limit bounds it."""
    while not condition():
        gevent.sleep(0.001)


def echo(ws: Any) -> None:
    for message in ws:
        ws.send(message)


def fail(ws: Any) -> None:
    raise LookupError("of the handler")


# What they are told


def test_open_and_closed() -> None:
    recorder = Recorder()
    with connect_to(echo, "/a", server={"observers": [recorder]}) as ws:
        assert recorder.told == [("answered", "/a", 101)]
        ws.close()
    assert recorder.told[1:] == [("closed", "/a", type(None))]
    assert recorder.meters == [None]


def test_messages_are_counted_for_who_asks() -> None:
    recorder = Counting()
    with connect_to(echo, server={"observers": [Recorder(), recorder]}) as ws:
        for text in ("a" * 10, "b" * 200):
            ws.send(text, compress=False)
            assert ws.recv() == text
    (meter,) = recorder.meters
    assert (meter.messages_in, meter.messages_out) == (2, 2)
    # Headers: 6 and 8 octets in, 2 and 4 out; and a close frame of each side.
    assert meter.bytes_in == 10 + 6 + 200 + 8 + 8
    assert meter.bytes_out > 10 + 2 + 200 + 4


def test_errors_of_handlers() -> None:
    recorder = Recorder()
    with (
        serve(fail, "127.0.0.1", 0, observers=[recorder]) as server,
        connect(url_of(server)) as ws,
        pytest.raises(ConnectionClosed),
    ):
        ws.recv()
    assert recorder.told[-1] == ("closed", "/", LookupError)


def test_a_peer_that_goes_is_no_error() -> None:
    recorder = Recorder()
    with raw_connect_to(lambda ws: ws.recv(), observers=[recorder]) as peer:
        peer.ask(request("/gone"))
    assert recorder.told[-1] == ("closed", "/gone", type(None))


def test_handlers_that_are_stopped() -> None:
    recorder = Recorder()

    def handler(ws: Any) -> None:
        gevent.sleep(1000)

    server = serve(handler, "127.0.0.1", 0, observers=[recorder], close_timeout=0.1)
    with server, connect(url_of(server)) as ws:
        server.shutdown()
        assert ws.wait_closed(10)
    assert recorder.told[-1] == ("closed", "/", GreenletExit)


def url_of(server: Any) -> str:
    return "ws://{}:{}/".format(*server.sockets[0].getsockname())


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (request("/x", HANDSHAKE + "Origin: http://elsewhere\r\n"), 403),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 426),
        (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"\0\r\n\r\n", 400),
        (b"", 0),
    ],
)
def test_refused(octets: bytes, status: int) -> None:
    recorder = Recorder()
    with (
        serve(echo, "127.0.0.1", 0, observers=[recorder]) as server,
        closing(socket.create_connection(server.sockets[0].getsockname())) as sock,
    ):
        sock.sendall(octets)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(2**16):
            pass
        wait_for(lambda: recorder.told)
    assert [(event, last) for event, _, last in recorder.told] == [("answered", status)]


def test_hooks_and_routes() -> None:
    """A route may have observers of its own."""
    mine, others = Recorder(), Recorder()
    router = Router()
    router.route("/mine", observers=[mine])(echo)
    router.route("/no", process_request=lambda ws, _: ws.respond(418, ""))(echo)
    server = {"observers": [others]}
    with connect_to(router, "/mine", server=server):
        pass
    for path in ("/no", "/nowhere"):
        with pytest.raises(InvalidStatus), connect_to(router, path, server=server):
            pass
    assert mine.told == [("answered", "/mine", 101), ("closed", "/mine", type(None))]
    assert others.told == [("answered", "/no", 418), ("answered", "/nowhere", 404)]


def test_no_answer_in_time() -> None:
    recorder = Recorder()
    with (
        serve(echo, "127.0.0.1", 0, observers=[recorder], open_timeout=0.01) as server,
        closing(socket.create_connection(server.sockets[0].getsockname())) as sock,
    ):
        assert sock.recv(2**16).startswith(b"HTTP/1.1 408 ")
        wait_for(lambda: recorder.told)
    assert recorder.told == [("answered", "", 408)]


@pytest.mark.parametrize(
    ("options", "status"), [({"max_handshakes": 1}, 503), ({"max_per_address": 1}, 429)]
)
def test_turned_away(options: dict[str, int], status: int) -> None:
    recorder = Recorder()
    with serve(echo, "127.0.0.1", 0, observers=[recorder], **options) as server:
        address = server.sockets[0].getsockname()
        with (
            closing(socket.create_connection(address)),
            closing(socket.create_connection(address)) as second,
        ):
            assert second.recv(2**16).startswith(b"HTTP/1.1 %d " % status)
            wait_for(lambda: recorder.told)
            assert recorder.told == [("turned away", status)]


def test_tls_that_fails(server_context: Any) -> None:
    recorder = Recorder()
    with (
        serve(echo, "127.0.0.1", 0, ssl=server_context, observers=[recorder]) as server,
        closing(socket.create_connection(server.sockets[0].getsockname())) as sock,
    ):
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        wait_for(lambda: recorder.told)
    assert recorder.told == [("turned away", 0)]


def test_pongs() -> None:
    recorder = Recorder()
    with raw_connect_to(echo, observers=[recorder], ping_interval=0.01) as peer:
        peer.ask(request("/p"))
        opcode, data = peer.receive()
        assert opcode == PING
        peer.send(PONG, data)
        peer.send(PING, b"x")
        while peer.receive() != (PONG, b"x"):
            pass
    assert ("ponged", "/p") in recorder.told


# Under WSGI


def app_of_accept(environ: Any, start_response: Any) -> Any:
    with closing(accept(environ, start_response, observers=[RECORDERS[-1]])) as ws:
        echo(ws)
    return []


def app_with_view(environ: Any, start_response: Any) -> Any:
    echo(environ["wsgi.websocket"])
    return []


RECORDERS: list[Recorder] = []


@pytest.mark.parametrize("kind", ["app", "accept", "middleware"])
def test_wsgi(kind: str) -> None:
    recorder = Recorder()
    RECORDERS.append(recorder)
    app: Any = app_of_accept
    if kind == "app":
        app = WebSocketApp(echo, observers=[recorder])
    elif kind == "middleware":
        app = WebSocketMiddleware(app_with_view, observers=[recorder])
    server = WSGIServer(("127.0.0.1", 0), app, log=None)
    server.start()
    try:
        with connect(f"ws://127.0.0.1:{server.server_port}/w") as ws:
            ws.send("a")
            assert ws.recv() == "a"
        wait_for(lambda: len(recorder.told) == 2)
        assert recorder.told == [("answered", "/w", 101), ("closed", "/w", type(None))]
        if kind != "accept":  # there, the application answers the exception
            with pytest.raises(InvalidStatus):
                connect(
                    f"ws://127.0.0.1:{server.server_port}/w", origin="http://elsewhere"
                ).open()
            assert recorder.told[2:] == [("answered", "/w", 403)]
    finally:
        server.stop()


# What they raise


@pytest.mark.parametrize("observer", [Failing(), Waiting()])
def test_they_break_nothing(
    observer: Observer, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    observers = [observer, recorder]
    with raw_connect_to(echo, observers=observers, ping_interval=0.01) as peer:
        peer.ask(request("/p"))
        _, data = peer.receive()
        peer.send(PONG, data)
        wait_for(lambda: ("ponged", "/p") in recorder.told)
    assert recorder.told[-1] == ("closed", "/p", type(None))
    failures = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert {r.getMessage() for r in failures} == {"an observer failed"}
    assert len(failures) >= 3


@pytest.mark.parametrize("observers", [Recorder(), [Recorder], ["x"], 1])
def test_what_is_no_list_of_observers(observers: Any) -> None:
    with pytest.raises(TypeError, match="bserver"):
        serve(echo, "127.0.0.1", 0, observers=observers)
