"""Code as people have it, written for gevent-websocket, on gws."""

from __future__ import annotations

import importlib.util
import json
import logging
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bottle
import flask
import gevent
import gevent.pywsgi
import pytest
from gevent.event import Event
from gevent.pool import Group
from gevent.queue import Queue

from gws.testing import BINARY, PING, PONG, TEXT, RawPeer, request
from gws.testing.octets import HANDSHAKE, header
from gws.wsgi import engineio, geventwebsocket

from ..program import Program
from .stacks import APPS, LONG, Stack, gunicorn, load, pywsgi


pytestmark = pytest.mark.usefixtures("leakcheck")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put gws in the place of gevent-websocket, whoever may have imported that."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "geventwebsocket":
            monkeypatch.delitem(sys.modules, name)
    geventwebsocket.install()
    yield
    geventwebsocket.uninstall()


@contextmanager
def serving(app: Any, **options: Any) -> Iterator[Stack]:
    """Run an application as the README of gevent-websocket says."""
    from geventwebsocket.handler import WebSocketHandler

    options = {"handler_class": WebSocketHandler} | options
    with pywsgi("pywsgi", app, **options) as stack:
        yield stack


@contextmanager
def opened(view: Callable[[Any], Any], **options: Any) -> Iterator[RawPeer]:
    """Have ``view(ws)`` serve one connection; yield its peer.

    What it asserts counts: it runs to its end.
    """
    ended: Queue[BaseException | None] = Queue()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        exc: BaseException | None = None
        try:
            view(environ["wsgi.websocket"])
        except BaseException as caught:
            exc = caught
            raise
        finally:
            ended.put(exc)
        return []

    with serving(app, **options) as stack:
        with stack.peer() as peer:
            peer.ask(request("/a%20b?c=d"))
            yield peer
        exc = ended.get(timeout=LONG)
        if isinstance(exc, (AssertionError, pytest.fail.Exception)):
            raise exc


def leave(peer: RawPeer, code: int = 1000) -> None:
    """Answer the close frame of the server, with the code that it must have."""
    assert peer.receive_close()[0] == code
    peer.send_close(code)
    assert peer.read_to_end() == b""


# Views


def test_a_flask_view() -> None:
    app = flask.Flask(__name__)

    @app.route("/api", websocket=True)
    def api() -> str:
        ws = flask.request.environ["wsgi.websocket"]
        while True:
            message = ws.receive()
            if message is None:
                break
            ws.send(message)
        return ""

    @app.route("/")
    def index() -> str:
        return "No websocket" if not flask.request.environ.get("wsgi.websocket") else ""

    with serving(app) as stack, stack.peer() as peer:
        assert stack.get("/") == "No websocket"
        peer.ask(request("/api"))
        for opcode, message in [(TEXT, "Grüß".encode()), (BINARY, b"\0\xff")]:
            peer.send(opcode, message)
            assert peer.receive() == (opcode, message)
        peer.send_close(1000)
        assert peer.receive_close() == (1000, "")
        assert peer.read_to_end() == b""
        peer.end()
        stack.log.wait('"GET /api HTTP/1.1" 101 ')


def test_a_view_that_fails() -> None:
    app = flask.Flask(__name__)

    @app.route("/", websocket=True)
    def fail() -> str:
        raise RuntimeError("as it happens")

    app.logger.disabled = True
    with serving(app) as stack, stack.peer() as peer:
        peer.ask(request("/"))
        leave(peer, 1011)


def test_django_style_loop() -> None:
    """``while not ws.closed`` ends, and what is received there is no error."""
    seen = []

    def view(ws: Any) -> None:
        while not ws.closed:
            message = ws.receive()
            if message is None:
                continue
            seen.append(message)

    with opened(view) as peer:
        peer.send(TEXT, b"hello")
        peer.send_close(4000, "bye")
        assert peer.receive_close() == (4000, "bye")
    assert seen == ["hello"]


@pytest.mark.parametrize("quiet", [True, False])
def test_bottle_websocket(quiet: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bottle_websocket", "bottle_websocket.plugin"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delitem(sys.modules, "bottle_websocket.server", raising=False)
    from bottle_websocket import GeventWebSocketServer, websocket

    app = bottle.Bottle()

    @app.get("/echo", apply=[websocket])
    def echo(ws: Any) -> None:
        while (message := ws.receive()) is not None:
            ws.send(message)

    servers: Queue[Any] = Queue()
    start = gevent.pywsgi.WSGIServer.start
    monkeypatch.setattr(
        gevent.pywsgi.WSGIServer,
        "start",
        lambda self: (start(self), servers.put(self)),
    )
    adapter = GeventWebSocketServer("127.0.0.1", 0, quiet=quiet)
    running = gevent.spawn(adapter.run, app)
    server = servers.get(timeout=LONG)
    try:
        with Stack("bottle", server.address).peer() as peer:
            peer.ask(request("/echo"))
            peer.send(TEXT, b"hello")
            assert peer.receive() == (TEXT, b"hello")
            peer.send_close(1000)
            assert peer.receive_close() == (1000, "")
    finally:
        server.stop()
        running.join()


def test_flask_socketio_runs_with_it() -> None:
    """In a process of its own: flask_socketio.run ends with it."""
    with Program(APPS / "socketio_run.py") as program:
        address = ("127.0.0.1", int(program.hear()))
        with Stack("run", address).peer() as peer:
            peer.ask(request("/socket.io/?EIO=4&transport=websocket"))
            assert peer.receive()[1].startswith(b"0{")
            peer.send(TEXT, b"40")
            assert peer.receive()[1].startswith(b"40{")
            peer.send(TEXT, b'42["echo","hello"]')
            assert peer.receive() == (TEXT, b'42["echo","hello"]')
        assert program.hear() == "transport close"


def test_engineio_behind_its_handler() -> None:
    """Both are installed: the connection is opened once, by the handler."""
    app = load("socketio_app:make")(ping_interval=0.2, monitor_clients=False)
    engineio.install()
    try:
        with serving(app) as stack, stack.peer() as peer:
            peer.ask(request("/socket.io/?EIO=4&transport=websocket"))
            assert peer.receive()[1].startswith(b"0{")
            peer.send(TEXT, b"40")
            assert peer.receive()[1].startswith(b"40{")
            peer.send_close(1000)
            assert peer.receive_close() == (1000, "")
            assert peer.read_to_end() == b""
    finally:
        engineio.uninstall()


def test_gunicorn() -> None:
    """Found by its old name, with one line more in the configuration file."""
    worker = "geventwebsocket.gunicorn.workers.GeventWebSocketWorker"
    config = ("-c", str(APPS / "geventwebsocket_conf.py"))
    with (
        gunicorn("gunicorn", "geventwebsocket_app:app", worker, *config) as stack,
        stack.peer() as ada,
        stack.peer() as bob,
    ):
        ada.ask(request("/chat"))
        bob.ask(request("/chat"))
        ada.send(TEXT, b"hello")
        for peer in (ada, bob):
            assert peer.receive() == (TEXT, b"2 hear hello")
        bob.send_close(1000)
        assert bob.receive_close() == (1000, "")
        bob.end()
        assert '"GET /chat HTTP/1.1" 101 ' in stack.log.wait(" 101 ")
        stack.process.terminate()
        leave(ada, 1001)
        ada.end()
        with gevent.Timeout(LONG):
            assert stack.process.wait() == 0


def test_gunicorn_by_its_new_name() -> None:
    worker = "gws.wsgi.geventwebsocket.worker.GeventWebSocketWorker"
    with (
        gunicorn("gunicorn", "geventwebsocket_app:app", worker, unix=True) as stack,
        stack.peer() as ada,
        stack.peer() as bob,
    ):
        ada.ask(request("/chat"))
        bob.ask(request("/chat"))
        ada.send(TEXT, b"hello")
        for peer in (ada, bob):
            assert peer.receive() == (TEXT, b"2 hear hello")


# Resources


@contextmanager
def serving_resource(apps: Any, **options: Any) -> Iterator[Stack]:
    from geventwebsocket import Resource, WebSocketServer

    with pywsgi(
        "resource", Resource(apps), server_class=WebSocketServer, **options
    ) as stack:
        yield stack


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


@pytest.mark.parametrize("kind", [dict, list])
def test_resources(kind: Callable[..., Any]) -> None:
    from geventwebsocket import WebSocketApplication

    seen: Queue[Any] = Queue()

    class Echo(WebSocketApplication):  # type: ignore[misc]
        def on_open(self) -> None:
            self.ws.send(f"welcome to {self.ws.path}")

        def on_message(self, message: str) -> None:
            super().on_message(message)
            if message == "enough":
                self.ws.close()

        def on_close(self, reason: Any) -> None:
            seen.put(reason)

    apps = kind({"^/echo": Echo, "^/$": hello}.items())
    with serving_resource(apps, debug=False) as stack, stack.peer() as peer:
        assert stack.get("/") == "hello"
        peer.ask(request("/echo/1"))
        assert peer.receive() == (TEXT, b"welcome to /echo/1")
        for message in (b"hello", b"enough"):
            peer.send(TEXT, message)
            assert peer.receive() == (TEXT, message)
        leave(peer)
        assert seen.get(timeout=LONG) is None
        for path in ("/", "/nowhere"):  # there is no WebSocket there
            with stack.peer() as other:
                other.write(request(path))
                status = "200" if path == "/" else "404"
                assert other.read_head().startswith(f"HTTP/1.1 {status} ")
    assert "Traceback" not in stack.log.since(0)


def test_a_resource_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """on_close is called all the same."""
    from geventwebsocket.resource import WebSocketApplication

    seen = []

    class Failing(WebSocketApplication):  # type: ignore[misc]
        def on_message(self, message: str) -> None:
            raise RuntimeError(message)

        def on_close(self, reason: Any) -> None:
            seen.append(reason)

    with serving_resource({"": Failing}) as stack, stack.peer() as peer:
        peer.ask()
        peer.send(TEXT, b"as it happens")
        leave(peer, 1011)
    assert seen == [None]
    assert "RuntimeError: as it happens" in caplog.text


def test_a_resource_whose_peer_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """What sends to it then ends, and nobody is told of an error."""
    from geventwebsocket import WebSocketApplication, WebSocketError

    seen: Queue[Any] = Queue()

    class Late(WebSocketApplication):  # type: ignore[misc]
        def on_message(self, message: str) -> None:
            self.ws.connection.wait_closed(LONG)
            try:
                self.ws.send(message)
            except WebSocketError as exc:
                assert isinstance(exc, OSError)
                seen.put(str(exc))
                raise

    with serving_resource({"": Late}) as stack:
        with stack.peer() as peer:
            peer.ask()
            peer.send(TEXT, b"hello")
        assert seen.get(timeout=LONG) == "Socket is dead"
        stack.log.wait(" 101 ")
    assert "Traceback" not in caplog.text + stack.log.since(0)


def test_the_subprotocol_of_an_application() -> None:
    from geventwebsocket import WebSocketApplication
    from geventwebsocket.protocols.base import BaseProtocol

    class Loud(BaseProtocol):  # type: ignore[misc]
        PROTOCOL_NAME = "loud"

        def on_message(self, message: str) -> None:
            assert self.server is self.handler.server
            super().on_message(message.upper())

    class App(WebSocketApplication):  # type: ignore[misc]
        protocol_class = Loud

    with serving_resource([("", App)]) as stack:
        for offered, agreed in [("quiet, loud", ["loud"]), ("quiet", [])]:
            with stack.peer() as peer:
                extra = f"Sec-WebSocket-Protocol: {offered}\r\n"
                head = peer.ask(request("/", HANDSHAKE + extra))
                found = "sec-websocket-protocol" in head.lower()
                assert found is bool(agreed)
                if agreed:
                    assert header(head, "Sec-WebSocket-Protocol") == "loud"
                peer.send(TEXT, b"hello")
                assert peer.receive() == (TEXT, b"HELLO")


def test_a_protocol_without_a_connection() -> None:
    from geventwebsocket.protocols.base import BaseProtocol
    from geventwebsocket.resource import Resource

    assert BaseProtocol(object()).server is None
    with pytest.raises(RuntimeError, match="No application coupled"):
        _ = BaseProtocol(None).app
    assert Resource().app_protocol("/") == ""


def test_pre_start_hook() -> None:
    from geventwebsocket import Resource, WebSocketServer

    options = {"server_class": WebSocketServer, "pre_start_hook": lambda handler: True}
    with (
        pywsgi("hook", Resource({"": hello}), **options) as stack,
        stack.peer() as peer,
    ):
        peer.write(request())
        assert peer.read_head().startswith("HTTP/1.1 200 ")


def test_debug(capsys: pytest.CaptureFixture[str]) -> None:
    with serving_resource({"": hello}, debug=True) as stack:
        logging.getLogger("geventwebsocket.server").debug("a word")
        assert stack.get("/") == "hello"
    assert "a word" in capsys.readouterr().err
    from geventwebsocket.logging import create_logger

    assert create_logger("geventwebsocket.server").handlers == []


# server.clients


@pytest.mark.parametrize("unix", [False, True])
def test_a_chat_of_all_clients(unix: bool) -> None:
    def chat(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        ws = environ["wsgi.websocket"]
        handler = ws.handler
        assert handler.active_client.ws is ws
        assert handler.active_client.address == handler.client_address
        sockets.add(ws)
        came.put(ws)
        while (message := ws.receive()) is not None:
            for client in list(handler.server.clients.values()):
                client.ws.send(message)
        sockets.remove(ws)
        return []

    sockets: set[Any] = set()
    came: Queue[Any] = Queue()
    with (
        serving(chat, unix=unix) as stack,
        stack.peer() as ada,
        stack.peer() as bob,
    ):
        ada.ask()
        server = came.get(timeout=LONG).handler.server
        bob.ask()
        came.get(timeout=LONG)
        assert len(server.clients) == 2
        ada.send(TEXT, b"hello")
        for peer in (ada, bob):
            assert peer.receive() == (TEXT, b"hello")
            before = stack.log.mark()
            peer.send_close(1000)
            assert peer.receive_close() == (1000, "")
            peer.end()
            stack.log.wait(" 101 ", before)
        assert (server.clients, sockets) == ({}, set())


# The object


def test_what_it_knows() -> None:
    seen: list[Any] = []

    def view(ws: Any) -> None:
        sock = ws.stream.handler.socket
        assert sock is ws.handler.socket
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert sock.getpeername() == ws.handler.client_address
        seen.extend([ws.path, ws.origin, ws.protocol, ws.version, ws.closed])
        seen.extend([sock.fileno() > 0, sock.getsockname()[0], sock.gettimeout()])
        assert ws.environ["wsgi.websocket"] is ws
        assert ws.environ["wsgi.websocket_version"] == "13"
        assert ws.logger is ws.handler.logger

    with opened(view) as peer:
        leave(peer)
    assert seen == ["/a b", None, None, "13", False, True, "127.0.0.1", None]


def test_frames() -> None:
    from geventwebsocket.websocket import WebSocket, WebSocketError

    def view(ws: Any) -> None:
        assert isinstance(ws, WebSocket)
        ws.send("text")
        ws.send(b"bytes")
        ws.send(bytearray(b"text"), binary=False)
        ws.send("bytes", True)
        ws.send_frame("", ws.OPCODE_PING)
        ws.send_frame("", ws.OPCODE_PING)
        ws.send_frame(b"x", ws.OPCODE_PONG)
        ws.send_frame("a frame", ws.OPCODE_TEXT)
        ws.send_frame(b"a frame", ws.OPCODE_BINARY)
        for wrong in [b"\x03", b"\x03\xe8\xff", b"\x03\xed"]:
            with pytest.raises(WebSocketError):
                ws.send_frame(wrong, ws.OPCODE_CLOSE)
        with pytest.raises(WebSocketError, match="opcode 0"):
            ws.send_frame("", ws.OPCODE_CONTINUATION)
        with pytest.raises(WebSocketError, match="too long"):
            ws.send_frame(b"x" * 126, ws.OPCODE_PING)
        with pytest.raises(TypeError):
            ws.send({"no": "message"})
        with pytest.raises(WebSocketError):
            ws.close(1005)
        assert not ws.closed
        ws.send_frame(b"\x0f\xa0bye", ws.OPCODE_CLOSE)
        for opcode in (ws.OPCODE_PING, ws.OPCODE_PONG):
            with pytest.raises(WebSocketError, match="dead"):
                ws.send_frame("", opcode)

    with opened(view) as peer:
        frames = [peer.receive() for _ in range(8)]
        assert peer.receive_close() == (4000, "bye")
        peer.send_close(4000)
        assert peer.read_to_end() == b""
    assert frames == [
        (TEXT, b"text"),
        (BINARY, b"bytes"),
        (TEXT, b"text"),
        (BINARY, b"bytes"),
        (PING, b""),
        (PONG, b"x"),
        (TEXT, b"a frame"),
        (BINARY, b"a frame"),
    ]


def test_tls(tls_files: Path) -> None:
    def view(ws: Any) -> None:
        ws.send(ws.receive())
        assert ws.handler.socket.fileno() > 0

    with opened(view, tls=tls_files) as peer:
        peer.send(TEXT, b"hello")
        assert peer.receive() == (TEXT, b"hello")
        leave(peer)


def test_an_empty_close_frame() -> None:
    with opened(lambda ws: ws.send_frame(b"", ws.OPCODE_CLOSE)) as peer:
        leave(peer)


def test_receive_after_the_end() -> None:
    """None once, whatever ended it; then an error."""
    from geventwebsocket import WebSocketError

    seen: Queue[Any] = Queue()

    def view(ws: Any) -> None:
        seen.put(ws.receive())
        seen.put(ws.receive())
        for verb in (ws.receive, lambda: ws.send("x")):
            with pytest.raises(WebSocketError):
                verb()
        ws.close()
        ws.close()
        seen.put(ws.closed)

    with opened(view) as peer:
        peer.send(TEXT, b"")
    assert [seen.get(timeout=LONG) for _ in range(3)] == ["", None, True]


def test_close() -> None:
    """It does not wait, ends who receives, and cuts the reason where that may be."""
    from geventwebsocket import WebSocketError

    seen: Queue[Any] = Queue()

    def view(ws: Any) -> None:
        receiving = gevent.spawn(ws.receive)
        gevent.sleep(0)
        ws.close(4001, "é" * 100)
        seen.put(receiving.get(timeout=LONG))
        with pytest.raises(WebSocketError, match="already closed"):
            ws.receive()

    with opened(view) as peer:
        assert peer.receive_close() == (4001, "é" * 61)
        peer.send_close(4001)
        assert seen.get(timeout=LONG) is None


def test_a_view_that_sends_too_late(caplog: pytest.LogCaptureFixture) -> None:
    """What it raises is nobody's fault, and in nobody's log."""
    ended = Event()

    def view(ws: Any) -> None:
        try:
            while True:
                ws.receive()
        finally:
            ended.set()

    with opened(view) as peer:
        peer.send_close(1000)
        leave(peer)
    assert ended.wait(LONG)
    assert "Traceback" not in caplog.text


def test_an_error_that_is_not_of_this_connection() -> None:
    from geventwebsocket import WebSocketError

    def view(ws: Any) -> None:
        raise WebSocketError("of another connection")

    with opened(view) as peer:
        leave(peer, 1011)


def test_many_greenlets_send() -> None:
    def view(ws: Any) -> None:
        group = Group()
        for n in range(20):
            group.spawn(lambda n=n: [ws.send(json.dumps([n, i])) for i in range(50)])
        group.join(raise_error=True)

    with opened(view) as peer:
        seen = [json.loads(peer.receive()[1]) for _ in range(1000)]
        leave(peer)
    assert sorted(seen) == [[n, i] for n in range(20) for i in range(50)]


def test_timeouts() -> None:
    """Of gevent lose nothing; that of the socket closes."""

    def view(ws: Any) -> None:
        assert gevent.with_timeout(0.01, ws.receive, timeout_value="") == ""
        go.set()
        assert ws.receive() == "hello"
        ws.handler.socket.settimeout(0.01)
        assert ws.receive() is None

    go = Event()
    with opened(view) as peer:
        go.wait(LONG)
        peer.send(TEXT, b"hello")
        leave(peer, 1001)


def test_a_timeout_of_the_socket_when_sending() -> None:
    from geventwebsocket import WebSocketError

    seen: Queue[str] = Queue()

    def view(ws: Any) -> None:
        ws.handler.socket.settimeout(0.05)
        with pytest.raises(WebSocketError) as caught:
            ws.send(b"x" * 2**25)
        seen.put(str(caught.value))
        ws.handler.socket.shutdown(socket.SHUT_RDWR)
        ws.handler.socket.close()

    with opened(view):
        assert seen.get(timeout=LONG) == "Socket is dead"


# What is no WebSocket


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\n" + HANDSHAKE.encode() + b"\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", 200),
        (request(headers=HANDSHAKE.replace("13", "8")), 426),
        (request(headers=HANDSHAKE.replace("Key: ", "Key: x")), 400),
    ],
)
def test_other_requests(octets: bytes, status: int) -> None:
    with serving(hello) as stack, stack.peer() as peer:
        peer.write(octets)
        assert peer.read_head().startswith(f"HTTP/1.1 {status} ")
        stack.log.wait(f" {status} ")


# What is installed


def run(program: str) -> str:
    """Run a program of its own, and return what it prints."""
    command = [sys.executable, "-P", "-c", textwrap.dedent(program)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_names() -> None:
    import geventwebsocket as top
    import geventwebsocket.gunicorn.workers as workers
    from geventwebsocket.exceptions import (
        FrameTooLargeException,
        ProtocolError,
        WebSocketError,
    )
    from geventwebsocket.websocket import MSG_ALREADY_CLOSED, MSG_CLOSED

    assert top.get_version() == "0.10.1" and top.VERSION[:2] == (0, 10)
    assert issubclass(FrameTooLargeException, ProtocolError)
    assert issubclass(ProtocolError, WebSocketError)
    assert MSG_ALREADY_CLOSED != MSG_CLOSED
    assert importlib.util.find_spec("geventwebsocket") is not None
    assert importlib.util.find_spec("geventwebsocket.handler") is not None
    with pytest.raises(AttributeError):
        _ = workers.AnotherWorker
    with pytest.raises(ImportError, match=r"geventwebsocket\.protocols\.wamp"):
        importlib.import_module("geventwebsocket.protocols.wamp")


def test_install_and_uninstall() -> None:
    before = sys.modules["geventwebsocket"]
    geventwebsocket.install()
    assert sys.modules["geventwebsocket"] is before
    geventwebsocket.uninstall()
    geventwebsocket.uninstall()
    assert "geventwebsocket" not in sys.modules
    assert "geventwebsocket.handler" not in sys.modules


def test_options() -> None:
    with pytest.raises(TypeError, match="colour"):
        geventwebsocket.install(colour="red")
    geventwebsocket.install(max_size=3)
    with opened(lambda ws: ws.receive()) as peer:
        peer.send(TEXT, b"four")
        leave(peer, 1009)


def test_too_late() -> None:
    """gevent-websocket is in use already."""
    out = run(
        """
        import sys
        import geventwebsocket
        from gws.wsgi import geventwebsocket
        try:
            geventwebsocket.install()
        except RuntimeError as exc:
            print(exc)
        geventwebsocket.uninstall()
        print("geventwebsocket" in sys.modules)
        """
    )
    assert out.startswith("gevent-websocket was imported before: call ")
    assert out.endswith("\nTrue\n")


def test_it_needs_no_gunicorn() -> None:
    program = """
        import sys
        from gws.wsgi import geventwebsocket
        geventwebsocket.install()
        import geventwebsocket.gunicorn.workers
        print("gunicorn" in sys.modules)
        """
    assert run(program) == "False\n"
