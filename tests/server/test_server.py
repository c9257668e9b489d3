"""`serve` and `Server`: connections of many kinds, from the first to the last."""

from __future__ import annotations

import logging
import os
import socket as original_socket
import ssl
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import gevent
import gevent.ssl
import pytest
from gevent import socket
from gevent.event import AsyncResult, Event

from gws import (
    COMPILED,
    ConnectionClosed,
    ConnectionClosedOK,
    Server,
    connect,
    serve,
    unix_connect,
    unix_serve,
)

from ..wire import (
    BINARY,
    LONG,
    TEXT,
    RawPeer,
    dial,
    echo,
    header,
    port_of,
    raw_client,
    request,
    until,
    uri,
)


pytestmark = pytest.mark.usefixtures("leakcheck")

MIB = 2**20
SMALL = 2**14


def check_echo(server: Server, **options: Any) -> None:
    """Check that the server serves somebody else, and promptly if compiled."""
    start = time.monotonic()
    with connect(uri(server), **options) as ws:
        ws.send("neighbour")
        assert ws.recv(timeout=LONG) == "neighbour"
    assert time.monotonic() - start < 0.5 or not COMPILED


# Where it listens


@pytest.mark.parametrize("host", [None, "", "localhost", "127.0.0.1"])
def test_hosts(host: str | None) -> None:
    with serve(echo, host, 0) as server:
        assert len({sock.getsockname()[1] for sock in server.sockets}) == 1
        check_echo(server)
        if not host:
            families = {sock.family for sock in server.sockets}
            assert original_socket.AF_INET in families


def test_ipv6() -> None:
    with (
        serve(echo, "::1", 0) as server,
        connect(f"ws://[::1]:{port_of(server)}/") as ws,
    ):
        assert ws.remote_address[0] == "::1"
        assert ws.request.headers["Host"] == f"[::1]:{port_of(server)}"
        ws.send("x")
        assert ws.recv() == "x"


def test_several_hosts() -> None:
    with serve(echo, ["127.0.0.1", "127.0.0.2"], 0) as server:
        addresses = [sock.getsockname() for sock in server.sockets]
        assert [host for host, _ in addresses] == ["127.0.0.1", "127.0.0.2"]
        for host, port in addresses:
            with connect(f"ws://{host}:{port}/") as ws:
                ws.send("x")
                assert ws.recv() == "x"


def test_a_socket_that_listens_already() -> None:
    sock = original_socket.create_server(("127.0.0.1", 0))
    with serve(echo, sock=sock) as server:
        assert server.sockets == (sock,)
        check_echo(server)
    assert sock.fileno() == -1


def test_a_socket_of_gevent() -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    with serve(echo, sock=sock) as server:
        check_echo(server)


def test_reuse_port() -> None:
    with (
        serve(echo, "127.0.0.1", 0, reuse_port=True) as one,
        serve(echo, "127.0.0.1", port_of(one), reuse_port=True) as two,
    ):
        check_echo(one)
        check_echo(two)


def test_an_address_in_use() -> None:
    with (
        serve(echo, "127.0.0.1", 0) as server,
        pytest.raises(OSError, match="can't listen on"),
    ):
        serve(echo, "127.0.0.1", port_of(server))


# Unix sockets


def test_a_unix_socket(unix_path: str) -> None:
    seen = []

    def handler(ws: Any) -> None:
        seen.append((ws.local_address, ws.remote_address))
        echo(ws)

    with unix_serve(handler, unix_path) as server:
        assert server.sockets[0].getsockname() == unix_path
        with unix_connect(unix_path) as ws:
            assert ws.request.headers["Host"] == "localhost"
            ws.send("x")
            assert ws.recv() == "x"
            assert ws.remote_address == unix_path
    assert seen == [(unix_path, "")]


def test_the_mode_of_a_unix_socket(unix_path: str) -> None:
    with unix_serve(echo, unix_path, mode=0o600):
        assert stat.S_IMODE(os.stat(unix_path).st_mode) == 0o600


def test_a_stale_unix_socket_is_replaced(unix_path: str) -> None:
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(unix_path)
    with unix_serve(echo, Path(unix_path)), unix_connect(Path(unix_path)) as ws:
        ws.send("x")
        assert ws.recv() == "x"


def test_the_file_of_a_unix_socket_is_removed(unix_path: str) -> None:
    with unix_serve(echo, Path(unix_path)) as server:
        assert Path(unix_path).is_socket()
        server.close()
        assert not Path(unix_path).exists()
    with pytest.raises(ValueError, match="max_connections"):
        unix_serve(echo, unix_path, max_connections=0)
    assert not Path(unix_path).exists()


def test_an_abstract_unix_socket() -> None:
    address = f"\0gws-test-{os.getpid()}"
    with unix_serve(echo, address), unix_connect(address) as ws:
        ws.send("x")
        assert ws.recv() == "x"


def test_a_live_unix_socket_is_not_replaced(unix_path: str) -> None:
    with unix_serve(echo, unix_path):
        with pytest.raises(OSError, match="can't listen on"):
            unix_serve(echo, unix_path)
        with unix_connect(unix_path) as ws:
            ws.send("x")
            assert ws.recv() == "x"


def test_a_file_is_not_replaced(unix_path: str) -> None:
    Path(unix_path).write_text("precious")
    with pytest.raises(OSError, match="can't listen on"):
        unix_serve(echo, unix_path)
    assert Path(unix_path).read_text() == "precious"


# TLS


def test_tls(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    with (
        serve(echo, "127.0.0.1", 0, ssl=server_context) as server,
        connect(f"wss://localhost:{port_of(server)}/", ssl=client_context) as ws,
    ):
        ws.send("x" * 100_000)
        assert ws.recv() == "x" * 100_000


def test_a_context_of_gevent(tls_files: Path) -> None:
    ours = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(tls_files / "server.pem")
    theirs = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    theirs.load_verify_locations(tls_files / "ca.pem")
    with serve(echo, "127.0.0.1", 0, ssl=ours) as server:
        with connect(f"wss://localhost:{port_of(server)}/", ssl=theirs) as ws:
            ws.send("x" * 100_000)
            assert ws.recv() == "x" * 100_000
        with raw_client(server, tls=tls_files) as peer:
            # What is on the wire is TLS, and nothing else.
            peer.ask()
            peer.send(TEXT, b"secret")
            assert peer.receive() == (TEXT, b"secret")


def test_a_tls_handshake_that_stalls(
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with serve(echo, "127.0.0.1", 0, ssl=server_context, open_timeout=0.3) as server:
        start = time.monotonic()
        with raw_client(server) as silent, raw_client(server) as half:
            half.write(b"\x16\x03\x01\x02\x00\x01")
            # Others are not kept waiting.
            with connect(
                f"wss://localhost:{port_of(server)}/", ssl=client_context
            ) as ws:
                ws.send("x")
                assert ws.recv() == "x"
            assert time.monotonic() - start < 0.3
            assert silent.read_to_end() == b""
            assert half.read_to_end() == b""
            assert 0.3 <= time.monotonic() - start < 1
    records = [r for r in caplog.records if r.name == "gws.server"]
    assert len([r for r in records if r.levelno == logging.DEBUG]) >= 2
    assert not any(r.exc_info or r.levelno > logging.INFO for r in records)


@pytest.mark.parametrize(
    "data", [request(), bytes(100), b"\x16\x03\x01\x00\x02\x01\x00" + bytes(100)]
)
def test_no_tls_on_a_tls_port(
    data: bytes, server_context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with serve(echo, "127.0.0.1", 0, ssl=server_context) as server:
        with raw_client(server) as peer:
            peer.write(data)
            with suppress(ConnectionResetError):
                assert b"HTTP" not in peer.read_to_end()
        until(lambda: caplog.records)
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.DEBUG, None)


def test_tls_on_a_plain_port(
    client_context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with serve(echo, "127.0.0.1", 0) as server:
        with pytest.raises(ssl.SSLError):
            connect(f"wss://localhost:{port_of(server)}/", ssl=client_context).open()
        until(lambda: caplog.records)
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.DEBUG, None)


@pytest.mark.parametrize("over_tls", [False, True])
def test_port_scans(
    over_tls: bool, server_context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    context = server_context if over_tls else None
    with serve(echo, "127.0.0.1", 0, ssl=context) as server:
        for _ in range(5):
            with raw_client(server):
                pass
            with raw_client(server) as peer:
                peer.reset()
        until(lambda: len(caplog.records) >= 10)
    assert len(caplog.records) == 10
    for record in caplog.records:
        assert (record.levelno, record.exc_info) == (logging.DEBUG, None)


# Life


def test_it_listens_before_it_accepts() -> None:
    server = serve(echo, "127.0.0.1", 0)
    assert not server.is_serving()
    with raw_client(server) as peer:  # the kernel keeps it in the queue
        peer.write(request())
        with server:
            assert server.is_serving()
            assert peer.read_head().startswith("HTTP/1.1 101 ")
            peer.send_close(1000)
            assert peer.receive_close() == (1000, "")
            peer.end()
    assert not server.is_serving()
    with pytest.raises(RuntimeError, match="closed"):
        server.start()
    with pytest.raises(RuntimeError, match="closed"):
        server.serve_forever()


def test_a_server_that_never_started() -> None:
    server = serve(echo, "127.0.0.1", 0)
    server.close()
    assert server.wait_closed()
    server.shutdown()
    assert not server.is_serving()


def test_serve_forever_ends_on_close() -> None:
    server = serve(echo, "127.0.0.1", 0)
    serving = gevent.spawn(server.serve_forever)
    check_echo(server)
    assert not server.wait_closed(0.01)
    assert not serving.ready()
    server.close()
    serving.get(timeout=LONG)
    assert server.wait_closed(0)


def test_what_interrupts_serve_forever_shuts_down() -> None:
    server = serve(echo, "127.0.0.1", 0)
    serving = gevent.spawn(server.serve_forever)
    with connect(uri(server)) as ws:
        serving.kill(block=False)
        with pytest.raises(ConnectionClosedOK, match="received 1001"):
            ws.recv(timeout=LONG)
    serving.join(timeout=LONG)
    assert not server.is_serving()
    assert server.wait_closed(0)


def test_starting_twice() -> None:
    with serve(echo, "127.0.0.1", 0) as server:
        server.start()
        check_echo(server)
        server.close()
        server.close()


def test_shutdown_closes_what_is_open() -> None:
    with serve(echo, "127.0.0.1", 0) as server:
        clients = [connect(uri(server)).open() for _ in range(10)]
        readers = [gevent.spawn(list, ws) for ws in clients]
        until(lambda: len(server.connections) == 10)
        server.shutdown()
        assert not server.connections
        for ws, reader in zip(clients, readers, strict=True):
            assert reader.get(timeout=LONG) == []
            assert (ws.close_code, ws.close_reason) == (1001, "")
            ws.close()
    with pytest.raises(OSError):
        connect(uri_of_port(port_of_closed(server))).open()


def uri_of_port(port: int) -> str:
    return f"ws://127.0.0.1:{port}/"


def port_of_closed(server: Server) -> int:
    # Nobody listens there any more; the kernel gives the port to nobody yet.
    with original_socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def test_closing_with_a_code() -> None:
    with serve(echo, "127.0.0.1", 0) as server, connect(uri(server)) as ws:
        server.close(code=1012, reason="new version")
        with pytest.raises(ConnectionClosed, match="received 1012"):
            ws.recv(timeout=LONG)
        assert ws.close_reason == "new version"


def test_closing_but_not_the_connections() -> None:
    with serve(echo, "127.0.0.1", 0) as server:
        with connect(uri(server)) as ws:
            ws.send("1")
            assert ws.recv() == "1"
            server.close(close_connections=False)
            assert not server.is_serving()
            ws.send("2")
            assert ws.recv() == "2"
            assert not server.wait_closed(0.01)
        assert server.wait_closed(LONG)


def test_shutdown_from_a_handler() -> None:
    returned = AsyncResult()

    def handler(ws: Any) -> None:
        if ws.recv() == "stop":
            ws.server.shutdown()
            returned.set(len(ws.server.connections))

    server = serve(handler, "127.0.0.1", 0)
    serving = gevent.spawn(server.serve_forever)
    with connect(uri(server)) as other, connect(uri(server)) as ws:
        start = time.monotonic()
        ws.send("stop")
        for each in (ws, other):
            with pytest.raises(ConnectionClosedOK, match="received 1001"):
                each.recv(timeout=LONG)
        returned.get(timeout=LONG)
        serving.get(timeout=LONG)
        assert time.monotonic() - start < 1


def test_shutdown_from_several_handlers() -> None:
    def handler(ws: Any) -> None:
        ws.recv()
        ws.server.shutdown()

    server = serve(handler, "127.0.0.1", 0, close_timeout=2)
    serving = gevent.spawn(server.serve_forever)
    with connect(uri(server)) as one, connect(uri(server)) as two:
        start = time.monotonic()
        one.send("stop")
        two.send("stop")
        serving.get(timeout=LONG)
        assert time.monotonic() - start < 1


def test_shutdown_with_half_open_handshakes(server_context: ssl.SSLContext) -> None:
    for context in (None, server_context):
        with serve(echo, "127.0.0.1", 0, ssl=context) as server:
            silent, half = (
                RawPeer(dial(port_of(server))),
                RawPeer(dial(port_of(server))),
            )
            half.write(request()[:20] if context is None else b"\x16\x03\x01")
            gevent.sleep(0.01)
            start = time.monotonic()
            readers = [gevent.spawn(peer.read_to_end) for peer in (silent, half)]
            for reader in readers:
                reader.link(lambda reader: None)
            closer = gevent.spawn(server.shutdown)
            for peer, reader in zip((silent, half), readers, strict=True):
                answer = reader.get(timeout=LONG)
                assert answer.startswith(b"" if context else b"HTTP/1.1 503 ")
                if context is None:
                    assert header(answer.decode(), "Retry-After")
                peer.end()
            closer.get(timeout=LONG)
            assert time.monotonic() - start < 1


def test_shutdown_with_stuck_peers() -> None:
    def handler(ws: Any) -> None:
        ws.send(bytes(16 * MIB))

    with (
        serve(handler, "127.0.0.1", 0, close_timeout=0.3) as server,
        raw_client(server, receive_buffer=SMALL) as never_reads,
        raw_client(server) as never_asks,
    ):
        never_reads.ask()
        never_asks.write(b"GET")
        gevent.sleep(0.01)
        start = time.monotonic()
        server.shutdown()
        assert time.monotonic() - start < 1
        assert not server.connections


def test_a_handler_that_never_ends_is_stopped() -> None:
    ended = AsyncResult()

    def handler(ws: Any) -> None:
        try:
            Event().wait()
        except gevent.GreenletExit as exc:
            ended.set(exc)
            raise

    with (
        serve(handler, "127.0.0.1", 0, close_timeout=0.2) as server,
        connect(uri(server)) as ws,
    ):
        start = time.monotonic()
        server.shutdown()
        assert 0.18 <= time.monotonic() - start < 1
        assert isinstance(ended.get(timeout=0), gevent.GreenletExit)
        with pytest.raises(ConnectionClosedOK):
            ws.recv()


def test_a_connection_accepted_just_before_the_close() -> None:
    for n_turns in range(4):
        handled: list[Any] = []
        with serve(handled.append, "127.0.0.1", 0) as server:
            with raw_client(server) as peer:
                peer.write(request())
                for _ in range(n_turns):
                    gevent.sleep(0)
                server.close()
                data = b""
                with suppress(ConnectionResetError):
                    data = peer.read_to_end()
                assert data == b"" or data.startswith(
                    (b"HTTP/1.1 503", b"HTTP/1.1 101")
                )
            assert server.wait_closed(LONG)


# Connections


def test_the_set_of_connections() -> None:
    with serve(echo, "127.0.0.1", 0) as server:
        assert server.connections == set()
        with connect(uri(server)) as one, connect(uri(server)) as two:
            until(lambda: len(server.connections) == 2)
            addresses = {ws.remote_address for ws in server.connections}
            assert addresses == {one.local_address, two.local_address}
        with raw_client(server) as half:
            half.write(request()[:-1])
            gevent.sleep(0.01)
            assert server.connections == set()
        until(lambda: not server.connections)


def test_max_connections() -> None:
    with serve(echo, "127.0.0.1", 0, max_connections=2) as server:
        one, two = connect(uri(server)).open(), connect(uri(server)).open()
        for _ in range(2):
            with raw_client(server) as peer:
                peer.write(request())
                head = peer.read_head()
                assert head.startswith("HTTP/1.1 503 ")
                assert header(head, "Retry-After").isdigit()
                assert header(head, "Connection") == "close"
                peer.read_to_end()
        for ws in (one, two):
            ws.send("x")
            assert ws.recv() == "x"
        one.close()
        until(lambda: len(server.connections) == 1)
        check_echo(server)
        two.close()


def test_max_connections_with_a_slow_hook() -> None:
    # Two pass the hook at once; there is room for one.
    waiting = []
    go_on = Event()

    def process_response(ws: Any, request: Any, response: Any) -> None:
        waiting.append(ws)
        go_on.wait()

    with (
        serve(
            echo,
            "127.0.0.1",
            0,
            max_connections=1,
            process_response=process_response,
        ) as server,
        raw_client(server) as one,
        raw_client(server) as two,
    ):
        one.write(request())
        two.write(request())
        gevent.sleep(0.01)
        go_on.set()
        codes = {peer.read_head().split()[1] for peer in (one, two)}
        assert codes == {"101", "503"}


def test_many_come_and_go() -> None:
    ended = 0

    def handler(ws: Any) -> None:
        nonlocal ended
        try:
            echo(ws)
        finally:
            ended += 1

    with serve(handler, "127.0.0.1", 0) as server:

        def visit(number: int) -> None:
            with raw_client(server) as peer:
                peer.ask()
                peer.send(TEXT, b"%d" % number)
                assert peer.receive() == (TEXT, b"%d" % number)
                if number % 3 == 0:
                    peer.send_close(1000)
                    assert peer.receive_close() == (1000, "")
                elif number % 3 == 1:
                    peer.reset()

        visitors = [gevent.spawn(visit, i) for i in range(60)]
        gevent.joinall(visitors, timeout=LONG, raise_error=True)
        until(lambda: not server.connections)
        until(lambda: ended == 60)


def test_a_greedy_peer_leaves_time_for_others() -> None:
    stop = Event()

    def flood(peer: RawPeer) -> None:
        octets = b"".join(peer.frame(TEXT, b"x" * 1000) for _ in range(50))
        while not stop.is_set():
            peer.write(octets)

    def handler(ws: Any) -> None:
        if ws.path == "/flood":
            for _ in ws:
                pass
        else:
            echo(ws)

    with serve(handler, "127.0.0.1", 0) as server, raw_client(server) as greedy:
        greedy.ask(request("/flood"))
        flooding = gevent.spawn(flood, greedy)
        check_echo(server)
        stop.set()
        flooding.get(timeout=LONG)


def test_no_descriptors_left() -> None:
    resource = pytest.importorskip("resource")
    with serve(echo, "127.0.0.1", 0) as server:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        n = max(int(name) for name in os.listdir("/dev/fd")) + 8
        resource.setrlimit(resource.RLIMIT_NOFILE, (n, hard))
        socks = []
        try:
            with pytest.raises(OSError):
                while True:
                    socks.append(
                        original_socket.create_connection(
                            ("127.0.0.1", port_of(server))
                        )
                    )
            gevent.sleep(0.05)  # accepting fails
        finally:
            for sock in socks:
                sock.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with connect(uri(server), open_timeout=LONG) as ws:
            ws.send("x")
            assert ws.recv(timeout=LONG) == "x"


# Options


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"compression": "gzip"}, ValueError),
        ({"subprotocols": "chat"}, TypeError),
        ({"subprotocols": ["a b"]}, ValueError),
        ({"max_connections": 0}, ValueError),
        ({"max_size": -1}, ValueError),
        ({"open_timeout": 0}, ValueError),
        ({"ping_interval": -1}, ValueError),
        ({"max_queue": 0}, ValueError),
        ({"write_limit": (1, 2)}, ValueError),
        ({"no_such_option": 1}, TypeError),
    ],
)
def test_bad_options(options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        serve(echo, "127.0.0.1", 0, **options)


def test_a_socket_and_an_address() -> None:
    with original_socket.create_server(("127.0.0.1", 0)) as sock:
        with pytest.raises(TypeError, match="sock"):
            serve(echo, "127.0.0.1", sock=sock)
        with pytest.raises(TypeError, match="sock"):
            serve(echo, port=0, sock=sock)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_compression(compression: str | None) -> None:
    with serve(echo, "127.0.0.1", 0, compression=compression) as server:
        check_echo(server, compression=compression)


@pytest.mark.parametrize(
    "handler", [lambda: None, lambda ws, path, more: None, lambda *, ws: None]
)
def test_bad_handlers(handler: Any) -> None:
    with pytest.raises(TypeError):
        serve(handler, "127.0.0.1", 0)


class Callable_:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, ws: Any) -> None:
        self.seen.append(ws.path)

    def with_path(self, ws: Any, path: str) -> None:
        self.seen.append(path)


def test_kinds_of_handlers() -> None:
    handled = Callable_()
    builtin: list[Any] = []
    for handler in (
        handled,
        handled.with_path,
        builtin.append,
        lambda *args: handled.seen.append(args[0].path),
        lambda ws, path="default": handled.seen.append(path),
    ):
        with (
            serve(handler, "127.0.0.1", 0) as server,
            connect(uri(server)) as ws,
            pytest.raises(ConnectionClosedOK),
        ):
            ws.recv()
    assert handled.seen == ["/", "/", "/", "default"]
    assert len(builtin) == 1


def test_a_logger_of_ones_own(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logger = logging.getLogger("mine")
    seen = []
    with (
        serve(
            lambda ws: seen.append(ws.logger), "127.0.0.1", 0, logger=logger
        ) as server,
        raw_client(server) as peer,
    ):
        peer.ask()
        assert peer.receive_close() == (1000, "")
    assert seen == [logger]
    assert {record.name for record in caplog.records} == {"mine"}
    messages = [record.getMessage() for record in caplog.records]
    assert [message.partition(":")[0] for message in messages] == [
        "connection open",
        "connection closed",
    ]
    assert messages[0].endswith(str(peer_address(messages)))


def peer_address(messages: list[str]) -> str:
    return messages[1].partition(": ")[2]


def test_a_connection_class_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*args: Any) -> Any:
        raise LookupError("a bug of the application")

    with (
        serve(echo, "127.0.0.1", 0, create_connection=fail) as server,
        raw_client(server) as peer,
    ):
        assert peer.read_to_end() == b""
    assert "a bug of the application" in capsys.readouterr().err


def test_handlers_of_one_server_see_each_other() -> None:
    def handler(ws: Any) -> None:
        for message in ws:
            for other in ws.server.connections:
                other.send(message)

    with (
        serve(handler, "127.0.0.1", 0) as server,
        connect(uri(server)) as one,
        connect(uri(server)) as two,
    ):
        until(lambda: len(server.connections) == 2)
        one.send(b"to all")
        assert [one.recv(), two.recv()] == [b"to all"] * 2


def test_a_large_echo_over_tls_to_many(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    message = os.urandom(MIB)
    with serve(echo, "127.0.0.1", 0, ssl=server_context) as server:

        def visit() -> None:
            recipe = connect(f"wss://localhost:{port_of(server)}/", ssl=client_context)
            with recipe as ws:
                for _ in range(3):
                    ws.send(message)
                    assert ws.recv(timeout=LONG) == message

        visitors = [gevent.spawn(visit) for _ in range(5)]
        gevent.joinall(visitors, timeout=LONG, raise_error=True)


def test_frames_of_all_sizes_over_tls(tls_files: Path, server_context: Any) -> None:
    with (
        serve(echo, "127.0.0.1", 0, ssl=server_context) as server,
        raw_client(server, tls=tls_files) as peer,
    ):
        peer.ask()
        sizes = [0, 1, 125, 126, 16383, 16384, 2**16, 2**17 - 14, 2**17, 2**18]
        # More than a read takes at once, so that TLS holds some back.
        writer = gevent.spawn(
            peer.write, *[peer.frame(BINARY, bytes(n)) for n in sizes * 3]
        )
        for n in sizes * 3:
            assert peer.receive() == (BINARY, bytes(n))
        writer.get(timeout=LONG)
