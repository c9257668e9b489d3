"""A server under attack, and what must hold whatever the peer does.

`site` is a running server, of each kind in turn, and `target` a client as well;
`sites` makes one of a kind with options and a handler. When it ends it is checked
what every case asserts:

- a neighbour, who echoes all the while, never waited for more than `PATIENCE`;
- each handler that began has ended, once;
- the log has no traceback, and nothing above INFO: the peer is to blame;
- no connection is left, nor what belongs to it: objects, descriptors, greenlets,
  watchers.
"""

from __future__ import annotations

import fcntl
import gc
import logging
import ssl
import termios
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
import gevent.ssl
import pytest
from gevent import socket
from gevent.queue import Queue

import gws
from gws import Connection, connect, serve
from gws.exceptions import ConnectionClosed
from gws.protocol.datastructures import Headers
from gws.protocol.http11 import Response
from gws.testing import BINARY, CLOSE, PONG, TEXT, FakeClock, RawPeer, request
from gws.testing.octets import HANDSHAKE
from gws.testing.rawpairs import Pair
from gws.wsgi.app import WebSocketApp
from gws.wsgi.pywsgi import WSGIServer

from ..wire import client_pair


#: The seconds of CPU that this thread may spend between a neighbour's message and
#: its echo. (Not of the clock: other processes are not the server's fault.) Coverage
#: makes the pure build slow.
PATIENCE = 0.1 if gws.COMPILED else 0.4

FOLDER = Path(__file__).parent

#: The seconds for what must happen at all, on a machine that is busy as well.
LONG = 20

#: The options of `serve` that are the server's under WSGI, not the application's.
SERVER_OPTIONS = ("open_timeout", "max_connections", "max_per_address", "spawn")

#: What must not outlive its connection.
KEPT = (Connection,)


@dataclass
class Run:
    """What one run of the handler saw."""

    path: str
    messages: list[str | bytes] = field(default_factory=list)
    #: What ended it: an exception of `ConnectionClosed`, or None while it runs.
    end: BaseException | None = None


class Site:
    """A server under attack, with what its handler saw.

    Args:
        kind: "serve", "tls" (`serve` with TLS) or "pywsgi" (gws's WSGIServer).
        port: where it listens.
        handler: gets each connection, once it is open; by default all is echoed.
        tls: the folder of its certificates, for the kind "tls".
    """

    def __init__(
        self, kind: str, handler: Callable[[Any, Run], None], tls: Path
    ) -> None:
        self.kind = kind
        self.port = 0
        #: What the handler saw, a run each; the neighbour's not among them.
        self.runs: list[Run] = []
        #: Paths that were asked for as plain HTTP, and got a 200.
        self.plain: list[str] = []
        #: The server's object.
        self.server: Any = None
        #: The highest level that its log may have.
        self.log_level = logging.INFO
        self._handler = handler
        self._tls = tls

    # For the attacker

    @contextmanager
    def peer(self, receive_buffer: int | None = None) -> Iterator[RawPeer]:
        """Connect: what is sent is for the test to say."""
        peer = RawPeer(self.dial(receive_buffer))
        try:
            yield peer
        finally:
            peer.end()

    @contextmanager
    def open_peer(
        self,
        *packed: bytes,
        receive_buffer: int | None = None,
        extensions: str = "",
    ) -> Iterator[RawPeer]:
        """Connect, and do the opening handshake.

        Args:
            packed: octets that come in one packet with our part of it.
            extensions: the value of our header of that name, an offer or an answer.
        """
        with self.peer(receive_buffer) as peer:
            headers = HANDSHAKE + extensions_header(extensions)
            peer.ask(b"".join((request(headers=headers), *packed)))
            yield peer

    def end_seen(self, peer: RawPeer) -> bool:
        """Tell whether its stream ends now, a close frame having come before."""
        return peer.read_to_end() == b""

    def dial(self, receive_buffer: int | None = None) -> Any:
        """Return a connected socket; of TLS for a site of that kind."""
        sock = self.dial_tcp(receive_buffer)
        return self.tls_context().wrap_socket(sock) if self.kind == "tls" else sock

    def dial_tcp(self, receive_buffer: int | None = None) -> Any:
        """Return a connected TCP socket, whatever the kind."""
        sock = socket.socket()
        if receive_buffer is not None:  # it counts when the connection is made
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect(("127.0.0.1", self.port))
        return sock

    def tls_context(self) -> Any:
        context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def refuse(self, data: bytes) -> str:
        """Send what must be refused; return the answer, head and body, to its end."""
        with self.peer() as peer:
            peer.write(data)
            return peer.read_to_end().decode("latin-1")

    def status(self, data: bytes) -> str:
        """Send a request and leave; return the status of its answer."""
        with self.peer() as peer:
            peer.write(data)
            return peer.read_head().split()[1]

    # For what must be seen

    def last_run(self) -> Run:
        """Wait until the newest run of the handler has ended; return it."""
        until(lambda: self.runs and self.runs[-1].end is not None)
        return self.runs[-1]

    # For the server

    def handle(self, ws: Any) -> None:
        if ws.request.path == "/neighbour":
            for message in ws:
                ws.send(message)
            return
        run = Run(ws.request.path)
        self.runs.append(run)
        try:
            self._handler(ws, run)
            run.end = GeneratorExit()
        except BaseException as exc:
            assert run.end is None, "the handler ended twice"
            run.end = exc
            raise

    def answer(self, ws: Any, request: Any) -> Response | None:
        """Answer plain HTTP: a path that must never run by accident."""
        if "Upgrade" in request.headers:
            return None
        self.plain.append(request.path)
        return Response(200, "OK", Headers(), b"admin\n")

    def app(self, environ: Any, start_response: Any) -> Any:
        """Answer plain HTTP under WSGI."""
        self.plain.append(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Length", "6")])
        return [b"admin\n"]


class ClientSite(Site):
    """Clients under attack, by their server. What `port` serves is the neighbour.

    Args:
        options: for `connect`.
    """

    def __init__(self, handler: Callable[[Any, Run], None], **options: Any) -> None:
        super().__init__("client", handler, Path())
        self._options = options
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._listener.settimeout(LONG)
        #: Where the clients connect.
        self.uri = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/"
        #: Why clients could not connect, what no test has asked for with `refusal`.
        self.refusals: list[Exception] = []

    @contextmanager
    def peer(self, receive_buffer: int | None = None) -> Iterator[RawPeer]:
        """Have a client connect: what is answered is for the test to say."""
        if receive_buffer is not None:
            self._listener.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer
            )
        client = gevent.spawn(self._run_client)
        peer = RawPeer(self._listener.accept()[0], masks=False)
        try:
            yield peer
        finally:
            peer.end()
            client.get(timeout=LONG)

    @contextmanager
    def open_peer(
        self,
        *packed: bytes,
        receive_buffer: int | None = None,
        extensions: str = "",
    ) -> Iterator[RawPeer]:
        with self.peer(receive_buffer) as peer:
            peer.accept(*packed, extra=extensions_header(extensions))
            yield peer

    def end_seen(self, peer: RawPeer) -> bool:
        peer.half_close()  # RFC 6455 7.1.1: the client waits for the server to
        return super().end_seen(peer)

    def refusal(self) -> Exception:
        """Wait until a client could not connect; return why, once."""
        until(lambda: self.refusals)
        return self.refusals.pop()

    def end(self) -> None:
        self._listener.close()
        assert self.refusals == []

    def _run_client(self) -> None:
        try:
            with connect(self.uri, **self._options) as ws:
                self.handle(ws)
        except ConnectionClosed:
            pass
        except Exception as exc:
            self.refusals.append(exc)


def extensions_header(value: str) -> str:
    return f"Sec-WebSocket-Extensions: {value}\r\n" if value else ""


def echo(ws: Any, run: Run) -> None:
    """Echo, and keep what came; the default handler."""
    while True:
        message = ws.recv()
        run.messages.append(message)
        ws.send(message)


class Neighbour:
    """Somebody at the same server, who echoes all the while."""

    def __init__(self, site: Site) -> None:
        scheme, context = "ws", None
        if site.kind == "tls":
            scheme, context = "wss", site.tls_context()
        self._ws = connect(
            f"{scheme}://127.0.0.1:{site.port}/neighbour", ssl=context
        ).open()
        #: The longest wait so far, in seconds of this thread's CPU.
        self.longest = 0.0
        self.n_echoes = 0
        self._greenlet = gevent.spawn(self._run)

    def _run(self) -> None:
        while True:
            began = time.thread_time()
            self._ws.send("are you there?")
            self._ws.recv(timeout=LONG)
            self.longest = max(self.longest, time.thread_time() - began)
            self.n_echoes += 1
            gevent.sleep(0.002)

    def check(self) -> None:
        """Echo once more, then go."""
        n = self.n_echoes
        until(lambda: self.n_echoes > n or self._greenlet.dead)
        dead = self._greenlet.dead
        self._greenlet.kill()
        self._ws.close()
        assert not dead, f"the neighbour's connection failed: {self._greenlet}"
        assert self.longest < PATIENCE, f"a neighbour waited {self.longest:.3f} s"


def until(condition: Callable[[], Any]) -> None:
    """Wait until something is so."""
    with gevent.Timeout(LONG, TimeoutError(f"never so: {condition}")):
        while not condition():
            gevent.sleep(0.001)


def advance_until(clock: FakeClock, condition: Callable[[], Any]) -> None:
    """Let time go on until something is so.

    Where a peer does not read, TCP goes on for a moment, by the real time, to fill
    what room there is: that is a sign of life in whatever second it comes.
    """

    def advanced() -> Any:
        clock.advance(10)
        return condition()

    until(advanced)


def wait_delivered(peer: RawPeer) -> None:
    """Wait until the other side's kernel has what was written: then time may go on."""

    def delivered() -> bool:
        answer = fcntl.ioctl(peer.sock, termios.TIOCOUTQ, b"\0" * 4)
        return answer == b"\0" * 4

    until(delivered)


@contextmanager
def running(
    kind: str, site: Site, server_context: ssl.SSLContext, **options: Any
) -> Iterator[None]:
    """Run the server of a site."""
    if kind == "pywsgi":
        for_server = {n: options.pop(n) for n in SERVER_OPTIONS if n in options}
        app = WebSocketApp(site.handle, **options)

        def choose(environ: Any, start_response: Any) -> Any:
            found = site.app if "HTTP_UPGRADE" not in environ else app
            return found(environ, start_response)

        server = site.server = WSGIServer(
            ("127.0.0.1", 0), choose, log=None, error_log=None, **for_server
        )
        server.start()
        site.port = server.server_port
        try:
            yield
        finally:
            server.stop(timeout=LONG)
        return
    if kind == "tls":
        options["ssl"] = server_context
    if isinstance(site, ClientSite):
        options = {}
    options.setdefault("process_request", site.answer)
    with serve(site.handle, "127.0.0.1", 0, **options) as site.server:
        site.port = site.server.sockets[0].getsockname()[1]
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all of this folder in the compiled environment only.

    Both builds share the code that these tests are about; coverage would make the
    others' CPU theirs.
    """
    for item in items:
        if item.path.parent == FOLDER:
            item.add_marker(pytest.mark.once)


Sites = Callable[..., AbstractContextManager[Site]]


class LogKeeper(logging.Handler):
    """Keeps what is logged, in all phases of a test."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    """What gws logs during the test."""
    caplog.set_level(logging.DEBUG, "gws")
    keeper = LogKeeper()
    logging.getLogger("gws").addHandler(keeper)
    yield keeper.records
    logging.getLogger("gws").removeHandler(keeper)


@pytest.fixture
def sites(
    leakcheck: None,
    tls_files: Path,
    server_context: ssl.SSLContext,
    log: list[logging.LogRecord],
) -> Iterator[Sites]:
    """Return what starts a site: ``sites(kind, handler, **options)``."""

    @contextmanager
    def start(
        kind: str = "serve",
        handler: Callable[[Any, Run], None] = echo,
        neighbour: bool = True,
        **options: Any,
    ) -> Iterator[Site]:
        site = (
            ClientSite(handler, **options)
            if kind == "client"
            else Site(kind, handler, tls_files)
        )
        with running(kind, site, server_context, **options):
            # A test that ends the server can't have one.
            echoing = Neighbour(site) if neighbour else None
            try:
                yield site
            finally:
                if echoing is not None:
                    echoing.check()
                if isinstance(site, ClientSite):
                    site.end()
            until(lambda: all(run.end is not None for run in site.runs))
        check_log(log, site.log_level)
        del echoing
        named = [arg for record in log for arg in record.args or ()]
        for record in log:
            record.exc_info = None  # what it says was checked
        for found in [run.end for run in site.runs] + named:
            if isinstance(found, BaseException):
                forget_frames(found)

    before = count_kept()
    yield start
    # Only now the variables of the test are gone.
    until(lambda: count_kept() <= before)


@pytest.fixture(params=["serve", "tls", "pywsgi"])
def site(request: pytest.FixtureRequest, sites: Sites) -> Iterator[Site]:
    """An echo server of each kind in turn, with the defaults."""
    with sites(request.param) as site:
        yield site


@pytest.fixture(params=["serve", "tls", "pywsgi", "client"])
def target(request: pytest.FixtureRequest, sites: Sites) -> Iterator[Site]:
    """The same, and clients: what echoes, whatever its role."""
    with sites(request.param) as site:
        yield site


Lend = Callable[..., AbstractContextManager[Pair]]


@pytest.fixture(params=["serve", "tls", "pywsgi", "client", "client-tls"])
def lend(
    request: pytest.FixtureRequest,
    sites: Sites,
    tls_files: Path,
    log: list[logging.LogRecord],
) -> Lend:
    """Return what lends a connection of gws, and its raw peer: of each kind in turn.

    ``with lend(receive_buffer=None, send_buffer=None, **options) as (ws, peer)``: the
    first is the kernel's for the peer, the second that for the connection. A client's
    ends as a server's must: no log of ours, and nothing left over.
    """
    kind = request.param

    @contextmanager
    def lend_server(
        receive_buffer: int | None = None,
        send_buffer: int | None = None,
        **options: Any,
    ) -> Iterator[Pair]:
        arrived: Queue[Any] = Queue()

        def handle(ws: Any, run: Run) -> None:
            arrived.put(ws)
            ws.wait_closed()

        with (
            sites(kind, handle, **options) as site,
            site.open_peer(receive_buffer=receive_buffer) as peer,
        ):
            ws = arrived.get(timeout=LONG)
            limit_sending(ws.stream.sock, send_buffer)
            yield Pair(ws, peer)

    @contextmanager
    def lend_client(send_buffer: int | None = None, **options: Any) -> Iterator[Pair]:
        tls = tls_files if kind == "client-tls" else None
        with client_pair(tls=tls, **options) as pair:
            limit_sending(pair.ws.stream.sock, send_buffer)
            yield pair
        check_log(log, logging.INFO)

    return lend_client if kind.startswith("client") else lend_server


def listener_of(site: Site) -> Any:
    """Return the socket that a site listens on."""
    return site.server.socket if site.kind == "pywsgi" else site.server.sockets[0]


def limit_sending(sock: Any, size: int | None) -> None:
    """Have the kernel take little of what a peer does not read.

    Args:
        sock: of a connection, or one that listens: then of all that it accepts.
    """
    if size is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


def count_kept() -> int:
    """Count the objects that must not outlive their connection."""
    gc.collect()
    return sum(issubclass(type(found), KEPT) for found in gc.get_objects())


def forget_frames(exc: BaseException) -> None:
    """Let go of the frames that an exception went through, and their variables."""
    found: BaseException | None = exc
    while found is not None:
        found.__traceback__ = None
        found = found.__context__


def check_log(records: list[logging.LogRecord], level: int) -> None:
    """Check that a peer's fault is not made ours."""
    for record in records:
        assert record.exc_info is None or level > logging.INFO, record.getMessage()
        assert record.levelno <= level, record.getMessage()


@contextmanager
def peak_memory(limit: int) -> Iterator[None]:
    """Fail if Python's allocations grow by more than ``limit`` bytes meanwhile."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before <= limit, f"{peak - before} bytes at the peak"


def fails(site: Site, *data: bytes, code: int, extensions: str = "") -> Run:
    """Send what must fail the connection; return the handler's run.

    What is checked: that a close frame comes, with ``code``, and then the end; and
    that the handler learns of it.
    """
    n = len(site.runs)
    with site.open_peer(extensions=extensions) as peer:
        peer.write(*data)
        while (found := peer.receive_frame())[0] != 0x80 | CLOSE:
            assert found[0] & 0x0F in (TEXT, BINARY, PONG), found
        payload = found[1]
        assert int.from_bytes(payload[:2], "big") == code, payload
        assert site.end_seen(peer)
        until(lambda: len(site.runs) > n)
        run = site.last_run()
    sent = closed_by(run).sent
    assert sent is not None
    assert (sent.code, sent.reason.encode()) == (code, payload[2:])
    return run


def closed_by(run: Run) -> ConnectionClosed:
    """Return the exception that ended a run, which must be of this kind."""
    assert isinstance(run.end, ConnectionClosed), repr(run.end)
    return run.end
