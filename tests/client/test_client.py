"""`connect`: a URI and options in, an open connection or a clear error out."""

from __future__ import annotations

import base64
import gzip
import logging
import socket as original_socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
import pytest
import trustme
from gevent import socket
from gevent.event import Event

from gws import (
    ClientConnection,
    ConnectionClosed,
    ConnectionClosedError,
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
    State,
    connect,
    serve,
    unix_connect,
    unix_serve,
)
from gws.client.connecting import USER_AGENT
from gws.exceptions import (
    InvalidHeader,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidProxy,
    InvalidProxyStatus,
    InvalidUpgrade,
    NegotiationError,
    SecurityError,
)

from ..wire import (
    LONG,
    TEXT,
    RawPeer,
    echo,
    frame,
    header,
    headers,
    port_of,
    raw_server,
    switching_protocols,
)


pytestmark = pytest.mark.usefixtures("leakcheck")


def play_echo(peer: RawPeer) -> None:
    peer.accept()
    while (received := peer.receive())[0] != 8:
        peer.send(*received)
    peer.send(*received)


def handshake_of(uri: str = "", **options: Any) -> str:
    """Return the request that ``connect`` sends."""
    requests = []

    def play(peer: RawPeer) -> None:
        requests.append(peer.accept())
        assert peer.receive_close() == (1000, "")
        peer.send_close(1000)

    with raw_server(play) as server:
        uri = uri.replace("PORT", str(server.port)) or server.uri
        with connect(uri, **options):
            pass
    return requests[0]


# The request


def test_the_request() -> None:
    head = handshake_of()
    assert head.startswith("GET / HTTP/1.1\r\n")
    assert header(head, "Host").startswith("localhost:")
    assert header(head, "Upgrade") == "websocket"
    assert header(head, "Connection") == "Upgrade"
    assert header(head, "Sec-WebSocket-Version") == "13"
    assert len(base64.b64decode(header(head, "Sec-WebSocket-Key"))) == 16
    assert header(head, "User-Agent") == USER_AGENT
    for name in ("Origin", "Authorization", "Sec-WebSocket-Protocol"):
        assert headers(head, name) == []


def test_keys_differ() -> None:
    keys = {header(handshake_of(), "Sec-WebSocket-Key") for _ in range(3)}
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("", "GET / HTTP/1.1"),
        ("/a/b?c=d", "GET /a/b?c=d HTTP/1.1"),
        ("?c", "GET /?c HTTP/1.1"),
        ("/é?ü", "GET /%C3%A9?%C3%BC HTTP/1.1"),
        ("/a%20b", "GET /a%20b HTTP/1.1"),
    ],
)
def test_paths(path: str, line: str) -> None:
    head = handshake_of(f"ws://localhost:PORT{path}")
    assert head.split("\r\n")[0] == line


@pytest.mark.parametrize(
    ("options", "name", "expected"),
    [
        ({"origin": "https://a.example"}, "Origin", ["https://a.example"]),
        ({"subprotocols": ["a", "b"]}, "Sec-WebSocket-Protocol", ["a, b"]),
        ({"user_agent_header": None}, "User-Agent", []),
        ({"user_agent_header": "mine/1"}, "User-Agent", ["mine/1"]),
        ({"additional_headers": {"User-Agent": "x"}}, "User-Agent", ["x"]),
        ({"additional_headers": {"X": "1"}}, "X", ["1"]),
        ({"additional_headers": [("X", "1"), ("X", "2")]}, "X", ["1", "2"]),
        ({"extra_headers": {"X": "1"}}, "X", ["1"]),
        (
            {"additional_headers": {"Authorization": "Bearer x"}},
            "Authorization",
            ["Bearer x"],
        ),
        ({"additional_headers": {"Cookie": "a=b"}}, "Cookie", ["a=b"]),
        ({"additional_headers": {"Host": "b.example"}}, "Host", ["b.example"]),
    ],
)
def test_headers(options: Any, name: str, expected: list[str]) -> None:
    assert headers(handshake_of(**options), name) == expected


def test_user_and_password_of_the_uri() -> None:
    uri = "ws://us%65r:p%C3%A4ss@localhost:PORT/"
    head = handshake_of(uri)
    expected = "Basic " + base64.b64encode("user:päss".encode()).decode()
    assert header(head, "Authorization") == expected
    assert "@" not in header(head, "Host")
    head = handshake_of(uri, additional_headers={"authorization": "Bearer x"})
    assert header(head, "Authorization") == "Bearer x"


# Bad arguments


URI = "ws://localhost/"


@pytest.mark.parametrize(
    ("uri", "options", "error"),
    [
        ("http://localhost/", {}, InvalidURI),
        ("ws:///", {}, InvalidURI),
        ("ws://localhost/#f", {}, InvalidURI),
        ("ws://localhost/a\r\nX: y", {}, InvalidURI),
        ("ws://localhost:99999/", {}, InvalidURI),
        ("localhost:80", {}, InvalidURI),
        (URI, {"ssl": ssl.create_default_context()}, ValueError),
        (URI, {"compression": "gzip"}, ValueError),
        (URI, {"subprotocols": "chat"}, TypeError),
        (URI, {"subprotocols": ["a\r\nb"]}, ValueError),
        (URI, {"subprotocols": [""]}, ValueError),
        (URI, {"origin": "a\r\nb"}, ValueError),
        (URI, {"user_agent_header": "a\nb"}, ValueError),
        (URI, {"additional_headers": {"X": "a\r\nY: b"}}, InvalidHeaderValue),
        (URI, {"additional_headers": {"X": "a\0"}}, ValueError),
        (URI, {"additional_headers": {"X\r\nY": "b"}}, ValueError),
        (URI, {"additional_headers": {"X Y": "b"}}, ValueError),
        (URI, {"additional_headers": {}, "extra_headers": {}}, TypeError),
        (URI, {"additional_headers": {"Upgrade": "h2c"}}, ValueError),
        (URI, {"additional_headers": {"sec-websocket-protocol": "a"}}, ValueError),
        (URI, {"address": ("a", 1), "host": "b"}, TypeError),
        (URI, {"address": ("a", 1), "port": 2}, TypeError),
        (
            URI,
            {
                "create_connection": ClientConnection,
                "create_protocol": ClientConnection,
            },
            TypeError,
        ),
        (URI, {"max_size": -1}, ValueError),
        (URI, {"open_timeout": 0}, ValueError),
        (URI, {"no_such_option": 1}, TypeError),
        (URI, {"timeout": 1}, TypeError),
        (URI, {"host": "h", "unix_path": "p"}, ValueError),
        (URI, {"proxy": "localhost"}, InvalidProxy),
    ],
)
def test_bad_arguments(uri: str, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        connect(uri, **options)


def test_nothing_is_opened_before_it_is_entered() -> None:
    with raw_server(play_echo) as server:
        recipe = connect(server.uri)
        gevent.sleep(0.01)
        assert server.n_accepted == 0
        with recipe as ws:
            ws.send("x")
            assert ws.recv() == "x"
        assert server.n_accepted == 1


@pytest.mark.parametrize("name", ["send", "recv", "close", "ping", "state", "path"])
def test_a_recipe_is_no_connection(name: str) -> None:
    with pytest.raises(AttributeError, match=r"with connect.*\.open\(\)") as caught:
        getattr(connect(URI), name)
    assert caught.value.name == name


def test_other_attributes() -> None:
    with pytest.raises(AttributeError) as caught:
        connect(URI).no_such_thing  # noqa: B018
    assert "with" not in str(caught.value)
    assert not hasattr(connect(URI), "__len__")


# Opening and closing


def test_open() -> None:
    with raw_server(play_echo) as server:
        ws = connect(server.uri).open()
        assert ws.state is State.OPEN
        ws.send("x")
        assert ws.recv() == "x"
        ws.close()
        assert ws.close_code == 1000


def test_entering_twice() -> None:
    with raw_server(play_echo) as server:
        recipe = connect(server.uri)
        with recipe as ws:
            with pytest.raises(RuntimeError, match="entered already"):
                recipe.__enter__()
            ws.send("x")
            assert ws.recv() == "x"
        with recipe as again:
            assert again is not ws
            again.send("y")
            assert again.recv() == "y"
        assert server.n_accepted == 2


def test_entering_twice_at_once() -> None:
    over = Event()

    def play(peer: RawPeer) -> None:
        over.wait()
        play_echo(peer)

    with raw_server(play) as server:
        recipe = connect(server.uri)
        entering = gevent.spawn(recipe.__enter__)
        gevent.sleep(0)
        with pytest.raises(RuntimeError, match="entered already"):
            recipe.__enter__()
        over.set()
        entering.get(timeout=LONG)
        recipe.__exit__(None, None, None)


def test_entering_again_after_a_failure() -> None:
    answers: list[Callable[[RawPeer], Any]] = [
        lambda peer: peer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
        play_echo,
    ]
    with raw_server(lambda peer: answers.pop(0)(peer)) as server:
        recipe = connect(server.uri)
        with pytest.raises(InvalidStatus), recipe:
            pass
        with recipe as ws:
            ws.send("x")
            assert ws.recv() == "x"


class Unusual(BaseException):
    pass


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 1000),
        (GeneratorExit, 1000),
        (LookupError, 1011),
        (gevent.Timeout, 1011),
        (Unusual, 1011),
    ],
)
def test_the_end_of_the_body(error: type[BaseException] | None, code: int) -> None:
    codes = []

    def play(peer: RawPeer) -> None:
        peer.accept()
        codes.append(peer.receive_close()[0])
        peer.send_close(codes[0])

    with raw_server(play) as server:
        if error is None:
            with connect(server.uri) as ws:
                pass
        else:
            with pytest.raises(error), connect(server.uri) as ws:
                raise error
        assert ws.closed
    assert codes == [code]


def test_the_body_may_close() -> None:
    with raw_server(play_echo) as server, connect(server.uri) as ws:
        ws.close(1001)
        with pytest.raises(ConnectionClosed):
            ws.send("x")
        assert ws.close_code == 1001


def test_attributes() -> None:
    def play(peer: RawPeer) -> None:
        peer.accept(extra="X-A: 1\r\nSec-WebSocket-Protocol: b\r\n")
        peer.receive_close()
        peer.send_close(1000)

    with raw_server(play) as server:
        with connect(server.uri + "p?q", subprotocols=["a", "b"]) as ws:
            assert isinstance(ws, ClientConnection)
            assert ws.path == "/p?q"
            assert ws.request is not None
            assert ws.request.path == "/p?q"
            assert ws.request_headers["Sec-WebSocket-Protocol"] == "a, b"
            assert ws.response is not None
            assert (ws.response.status_code, ws.response.body) == (101, b"")
            assert ws.response_headers["X-A"] == "1"
            assert ws.subprotocol == "b"
            assert ws.logger.name == "gws.client"
            assert ws.remote_address[1] == server.port
            ws.mine = "may be set"
        assert ws.mine == "may be set"
        assert ws.response_headers["X-A"] == "1"


def test_a_subclass_and_a_logger() -> None:
    class Mine(ClientConnection):
        pass

    logger = logging.getLogger("mine")
    with raw_server(play_echo) as server:
        for name in ("create_connection", "create_protocol"):
            with connect(server.uri, logger=logger, **{name: Mine}) as ws:
                assert isinstance(ws, Mine)
                assert ws.logger is logger
                assert ws.request_headers["Upgrade"] == "websocket"


# Refused

TEXTS = "HTTP/1.1 403 Forbidden\r\nX-Why: because\r\n"
REFUSALS = {
    "length": f"{TEXTS}Content-Length: 4\r\n\r\nbody",
    "chunked": f"{TEXTS}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    "connection": f"{TEXTS}\r\nbody",
}


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("stays", [False, True])
def test_a_refusal_carries_the_whole_response(kind: str, stays: bool) -> None:
    over = Event()

    def play(peer: RawPeer) -> None:
        peer.read_head()
        for octet in REFUSALS[kind].encode():
            peer.write(bytes([octet]))
        if stays:  # and keeps the connection open
            over.wait()

    with raw_server(play) as server:
        start = time.monotonic()
        with pytest.raises(InvalidStatus, match="HTTP 403") as caught:
            connect(server.uri).open()
        assert time.monotonic() - start < (2 if kind == "connection" else 0.5)
        over.set()
    response = caught.value.response
    assert (response.status_code, response.reason_phrase) == (403, "Forbidden")
    assert caught.value.status_code == 403
    assert response.headers["X-Why"] == "because"
    assert response.body == b"body"


def test_a_body_that_is_not_text() -> None:
    body = gzip.compress(b"no")

    def play(peer: RawPeer) -> None:
        peer.read_head()
        peer.write(TEXTS.encode(), b"Content-Encoding: gzip\r\n\r\n", body)

    with raw_server(play) as server, pytest.raises(InvalidStatus) as caught:
        connect(server.uri).open()
    assert caught.value.response.body == body


def test_a_body_after_101_is_frames() -> None:
    def play(peer: RawPeer) -> None:
        peer.accept(b"hello, hello", extra="Content-Length: 12\r\n")
        assert peer.receive_close()[0] == 1002

    with (
        raw_server(play) as server,
        connect(server.uri) as ws,
        pytest.raises(ConnectionClosedError),
    ):
        ws.recv()


def test_a_body_that_never_ends() -> None:
    def play(peer: RawPeer) -> None:
        peer.read_head()
        peer.write(TEXTS.encode(), b"\r\n")
        with pytest.raises(OSError):
            while True:
                peer.write(bytes(2**16))

    with raw_server(play) as server:
        with pytest.raises(InvalidStatus) as caught:
            connect(server.uri).open()
        assert len(caught.value.response.body) == 2**20


ANSWERS: dict[str, tuple[bytes, type[Exception]]] = {
    "nothing": (b"", InvalidMessage),
    "cut": (b"HTTP/1.1 101 Switching", InvalidMessage),
    "no HTTP": (b"SSH-2.0-x\r\n", InvalidMessage),
    "no headers": (b"HTTP/1.1 101 X\r\n\r\n", InvalidUpgrade),
    "long": (b"HTTP/1.1 101 X\r\nX: " + b"x" * 100_000, SecurityError),
    "101 to HTTP/1.0": (b"HTTP/1.0 101 X\r\n\r\n", InvalidHandshake),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_bad_answers(answer: str) -> None:
    data, error = ANSWERS[answer]

    def play(peer: RawPeer) -> None:
        peer.read_head()
        peer.write(data)

    with raw_server(play) as server, pytest.raises(error):
        connect(server.uri).open()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda r: r.replace(b"Accept: ", b"Accept: x"), InvalidHeader),
        (lambda r: r.replace(b"Upgrade: websocket\r\n", b""), InvalidUpgrade),
        (lambda r: r.replace(b"Connection: Upgrade\r\n", b""), InvalidUpgrade),
        (
            lambda r: r.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: a\r\n\r\n"),
            NegotiationError,
        ),
        (
            lambda r: r.replace(
                b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
            ),
            NegotiationError,
        ),
        (lambda r: r.replace(b"101", b"200"), InvalidStatus),
    ],
)
def test_answers_that_break_the_handshake(
    change: Callable[[bytes], bytes], error: type[Exception]
) -> None:
    def play(peer: RawPeer) -> None:
        key = header(peer.read_head(), "Sec-WebSocket-Key")
        peer.write(change(switching_protocols(key)), frame(TEXT, b"x", masked=False))
        assert peer.read_to_end() == b""

    with raw_server(play) as server:
        start = time.monotonic()
        with pytest.raises(error):
            connect(server.uri).open()
        assert time.monotonic() - start < 2


def test_answers_before_the_answer() -> None:
    def play(peer: RawPeer) -> None:
        key = header(peer.read_head(), "Sec-WebSocket-Key")
        peer.write(
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
            switching_protocols(key),
        )
        peer.receive_close()
        peer.send_close(1000)

    with raw_server(play) as server, connect(server.uri) as ws:
        assert ws.open


def test_the_server_resets() -> None:
    def play(peer: RawPeer) -> None:
        peer.read_head()
        peer.reset()

    with raw_server(play) as server, pytest.raises((InvalidMessage, OSError)):
        connect(server.uri).open()


def test_nobody_listens() -> None:
    with original_socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            connect(f"ws://127.0.0.1:{sock.getsockname()[1]}/").open()


def test_no_such_name() -> None:
    with pytest.raises(OSError):
        connect("ws://no-such-name.invalid/").open()


# One deadline


def silent(peer: RawPeer) -> None:
    peer.read(1)
    peer.sock.recv(2**20)
    peer.sock.recv(2**20)


def dripping(peer: RawPeer) -> None:
    peer.read_head()
    with pytest.raises(OSError):
        while True:
            peer.write(b"H" if peer.sock.gettimeout() else b"")
            peer.write(b"TTP/1.1 101 " + b"x" * 50)
            gevent.sleep(0.01)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_server_that_never_answers(
    scheme: str, client_context: ssl.SSLContext
) -> None:
    context = client_context if scheme == "wss" else None
    with raw_server(silent) as server:
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            connect(
                f"{scheme}://localhost:{server.port}/", open_timeout=0.2, ssl=context
            ).open()
        assert 0.2 <= time.monotonic() - start < 1


def test_a_server_that_answers_slowly() -> None:
    def play(peer: RawPeer) -> None:
        peer.read_head()
        peer.write(b"HTTP/1.1 101 X\r\n")
        with pytest.raises(OSError):
            while True:
                peer.write(b"X: x\r\n")
                gevent.sleep(0.02)

    with raw_server(play) as server:
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            connect(server.uri, open_timeout=0.2).open()
        assert 0.2 <= time.monotonic() - start < 1


def test_a_refusal_that_is_not_complete_at_the_deadline() -> None:
    def play(peer: RawPeer) -> None:
        peer.read_head()
        peer.write(TEXTS.encode(), b"Content-Length: 100\r\n\r\nbody")
        assert peer.read_to_end() == b""

    with raw_server(play) as server:
        start = time.monotonic()
        with pytest.raises((InvalidStatus, TimeoutError)):
            connect(server.uri, open_timeout=0.2).open()
        assert time.monotonic() - start < 1


def test_a_timeout_of_the_caller() -> None:
    with (
        raw_server(silent) as server,
        pytest.raises(gevent.Timeout),
        gevent.Timeout(0.05),
    ):
        connect(server.uri).open()


def test_no_deadline() -> None:
    with raw_server(play_echo) as server, connect(server.uri, open_timeout=None) as ws:
        ws.send("x")
        assert ws.recv() == "x"


# TLS


def test_certificates_are_verified(
    tls_files: Path, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    with serve(echo, "127.0.0.1", 0, ssl=server_context) as server:
        uri = f"wss://localhost:{port_of(server)}/"
        # By default nobody's own authority is trusted.
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(uri).open()
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(
                "wss://example.com/",
                ssl=client_context,
                host="127.0.0.1",
                port=port_of(server),
            ).open()
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(uri, ssl=client_context, server_hostname="example.com").open()
        recipe = connect(
            "wss://example.com/",
            ssl=client_context,
            host="127.0.0.1",
            port=port_of(server),
            server_hostname="localhost",
        )
        with recipe as ws:
            assert ws.request_headers["Host"] == "example.com"
            ws.send("x")
            assert ws.recv() == "x"


def test_certificates_of_nobody_and_of_the_past(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    past = authority.issue_cert("localhost", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    stranger = trustme.CA().issue_cert("localhost")
    trusting = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    for certificate, reason in ((past, "expired"), (stranger, "unable to get local")):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(context)
        with (
            serve(echo, "127.0.0.1", 0, ssl=context) as server,
            pytest.raises(ssl.SSLCertVerificationError, match=reason),
        ):
            connect(f"wss://localhost:{port_of(server)}/", ssl=trusting).open()


def test_sni(tls_files: Path, client_context: ssl.SSLContext) -> None:
    names = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls_files / "server.pem")
    context.sni_callback = lambda sock, name, context: names.append(name)
    with (
        serve(echo, "127.0.0.1", 0, ssl=context) as server,
        connect(f"wss://localhost:{port_of(server)}/", ssl=client_context) as ws,
    ):
        assert ws.open
    assert names == ["localhost"]


def test_a_plain_server(client_context: ssl.SSLContext) -> None:
    def play(peer: RawPeer) -> None:
        peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with raw_server(play) as server, pytest.raises(OSError):
        connect(f"wss://localhost:{server.port}/", ssl=client_context).open()


# Where to


def test_host_and_port() -> None:
    with raw_server(play_echo) as server:
        for options in (
            {"host": "127.0.0.1", "port": server.port},
            {"address": ("127.0.0.1", server.port)},
        ):
            with connect("ws://example.com/", **options) as ws:
                assert ws.request_headers["Host"] == "example.com"
                assert ws.remote_address == ("127.0.0.1", server.port)
        with connect(f"ws://example.com:{server.port}/", host="127.0.0.1") as ws:
            assert ws.request_headers["Host"] == f"example.com:{server.port}"
        with connect("ws://localhost:9/", port=server.port) as ws:
            assert ws.request_headers["Host"] == "localhost:9"


def test_source_address() -> None:
    with (
        raw_server(play_echo) as server,
        connect(
            f"ws://127.0.0.1:{server.port}/", source_address=("127.0.0.3", 0)
        ) as ws,
    ):
        assert ws.local_address[0] == "127.0.0.3"


def test_a_connected_socket() -> None:
    with raw_server(play_echo) as server:
        for module in (original_socket, socket):
            sock = module.create_connection(("127.0.0.1", server.port))
            with connect("ws://example.com/", sock=sock) as ws:
                assert ws.stream.sock.getsockopt(
                    original_socket.IPPROTO_TCP, original_socket.TCP_NODELAY
                )
                ws.send("x")
                assert ws.recv() == "x"
            assert sock.fileno() == -1


def test_one_end_of_a_pair_of_sockets() -> None:
    one, other = socket.socketpair()
    peer = RawPeer(other, masks=False)
    playing = gevent.spawn(play_echo, peer)
    playing.link(lambda _: peer.end())
    with unix_connect(sock=one) as ws:
        ws.send("x")
        assert ws.recv() == "x"
    playing.get(timeout=LONG)
    with pytest.raises(TypeError, match="path"):
        unix_connect()


def test_a_socket_that_is_not_connected() -> None:
    sock = original_socket.socket()
    with pytest.raises(OSError):
        connect("ws://example.com/", sock=sock).open()
    assert sock.fileno() == -1


def test_a_unix_socket(
    unix_path: str, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    with unix_serve(echo, unix_path, ssl=server_context):
        with unix_connect(unix_path, ssl=client_context) as ws:
            assert ws.request_headers["Host"] == "localhost"
            ws.send("x")
            assert ws.recv() == "x"
        with unix_connect(unix_path, "wss://localhost/p", ssl=client_context) as ws:
            assert ws.path == "/p"


def test_no_unix_socket(unix_path: str) -> None:
    with pytest.raises(FileNotFoundError):
        unix_connect(unix_path).open()


# Through a proxy; what goes on there is in test_proxy.py


def test_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, unix_path: str
) -> None:
    asked = []

    def refuse(peer: RawPeer) -> None:
        asked.append(peer.read_head().split("\r\n")[0])
        peer.write(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")

    with raw_server(refuse) as proxy, raw_server(play_echo) as server:
        monkeypatch.setenv("http_proxy", f"http://localhost:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(InvalidProxyStatus):
            connect("ws://example.com/").open()
        with pytest.raises(InvalidProxyStatus):
            connect("ws://example.com/", host="other.example", port=82).open()
        expected = ["example.com:80", "other.example:82"]
        assert asked == [f"CONNECT {each} HTTP/1.1" for each in expected]
        with connect(server.uri, proxy=None) as ws:
            assert ws.open
        sock = socket.create_connection(("127.0.0.1", server.port))
        with connect("ws://example.com/", sock=sock) as ws:
            assert ws.open
        with unix_serve(echo, unix_path), unix_connect(unix_path) as ws:
            assert ws.open
    assert len(asked) == 2


# Many


def test_many_clients() -> None:
    with serve(echo, "127.0.0.1", 0) as server:

        def visit(number: int) -> None:
            with connect(f"ws://127.0.0.1:{port_of(server)}/{number}") as ws:
                ws.send(str(number))
                assert ws.recv() == str(number)

        visitors = [gevent.spawn(visit, i) for i in range(50)]
        gevent.joinall(visitors, timeout=LONG, raise_error=True)


def test_the_server_fails_right_after_the_handshake() -> None:
    def play(peer: RawPeer) -> None:
        peer.accept()

    with (
        raw_server(play) as server,
        connect(server.uri) as ws,
        pytest.raises(ConnectionClosedError),
    ):
        ws.recv()
