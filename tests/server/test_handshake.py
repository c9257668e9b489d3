"""The opening handshake of a server: requests on the wire, answers on the wire."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest
from gevent.event import Event

from gws import ServerConnection, serve
from gws.protocol.datastructures import Headers
from gws.protocol.http11 import Response
from gws.server.route import Route
from gws.server.settings import SERVER

from ..wire import (
    HANDSHAKE,
    KEY,
    LONG,
    TEXT,
    RawPeer,
    echo,
    frame,
    header,
    headers,
    raw_client,
    request,
)


pytestmark = pytest.mark.usefixtures("leakcheck")


DATE = r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT"


@contextmanager
def asking(
    data: bytes, handler: Any = echo, **options: Any
) -> Iterator[tuple[RawPeer, str]]:
    """Send ``data`` to a new server; give the peer and the head of the response."""
    with (
        serve(handler, "127.0.0.1", 0, **options) as server,
        raw_client(server) as peer,
    ):
        peer.write(data)
        yield peer, peer.read_head()


def answer(data: bytes, handler: Any = echo, **options: Any) -> tuple[str, str]:
    """Return the head and the body of the answer to what is no opening handshake."""
    with asking(data, handler, **options) as (peer, head):
        body = peer.read_to_end()
        assert "close" in header(head, "Connection")
        assert int(header(head, "Content-Length")) == len(body)
        return head, body.decode()


def status(head: str) -> int:
    version, code, _ = head.split(" ", 2)
    assert version == "HTTP/1.1"
    return int(code)


def without(*names: str) -> str:
    """Return the headers of a handshake but for some."""
    return "".join(
        f"{line}\r\n"
        for line in HANDSHAKE.split("\r\n")
        if line and line.partition(":")[0] not in names
    )


# Accepted


def test_accepted() -> None:
    with asking(request()) as (peer, head):
        assert head.startswith("HTTP/1.1 101 Switching Protocols\r\n")
        assert header(head, "Upgrade") == "websocket"
        assert header(head, "Connection") == "Upgrade"
        # The example of RFC 6455, section 1.3.
        assert header(head, "Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert header(head, "Server") == SERVER
        assert re.fullmatch(DATE, header(head, "Date"))
        assert headers(head, "Sec-WebSocket-Protocol") == []
        assert headers(head, "Sec-WebSocket-Extensions") == []
        peer.send(TEXT, b"x")
        assert peer.receive() == (TEXT, b"x")


@pytest.mark.parametrize(
    "headers",
    [
        HANDSHAKE.replace("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
        HANDSHAKE.replace(
            "Connection: Upgrade", "Connection: x\r\nConnection: upgrade"
        ),
        HANDSHAKE.lower().replace(KEY.lower(), KEY),
        HANDSHAKE.upper().replace(KEY.upper(), KEY),
        HANDSHAKE.replace("websocket\r\n", "h2c, WebSocket\r\n"),
        HANDSHAKE + "Content-Length: 0\r\n",
        HANDSHAKE + "Sec-WebSocket-Extensions: permessage-deflate, x; y=z\r\n",
        HANDSHAKE + "Sec-WebSocket-Protocol: chat\r\n",
        HANDSHAKE + "Origin: http://localhost\r\n",
    ],
)
def test_legal_requests(headers: str) -> None:
    with asking(request(headers=headers)) as (_, head):
        assert status(head) == 101


def test_absolute_form() -> None:
    seen = []
    data = request("http://other:80/a?b").replace(b"localhost", b"ignored")
    with asking(
        data, lambda ws: seen.append((ws.path, ws.request_headers["Host"]))
    ) as (peer, head):
        assert status(head) == 101
        assert peer.receive_close() == (1000, "")
    assert seen == [("/a?b", "other:80")]


# Refused

POST = request().replace(b"GET", b"POST")
REFUSED = [
    ("POST", POST, 405, "method"),
    ("HEAD", request().replace(b"GET", b"HEAD"), 405, "method"),
    ("HTTP/1.0", request().replace(b"HTTP/1.1", b"HTTP/1.0"), 505, "version"),
    ("HTTP/0.9", b"GET /\r\n", 505, "version"),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version"),
    ("asterisk", request("*"), 400, "target"),
    ("page", request(headers=""), 426, "WebSocket server"),
    ("no Upgrade", request(headers=without("Upgrade")), 426, "Upgrade"),
    ("no Connection", request(headers=without("Connection")), 426, "Connection"),
    (
        "other Upgrade",
        request(headers=HANDSHAKE.replace("websocket", "notwebsocket")),
        426,
        "Upgrade",
    ),
    (
        "other Connection",
        request(headers=HANDSHAKE.replace(": Upgrade", ": notupgrade")),
        426,
        "Connection",
    ),
    ("two Upgrades", request(headers=HANDSHAKE + "Upgrade: websocket\r\n"), 400, "Upg"),
    ("no version", request(headers=without("Sec-WebSocket-Version")), 426, "ersion"),
    *[
        (
            f"version {version!r}",
            request(headers=HANDSHAKE.replace(": 13", f": {version}")),
            426,
            "Sec-WebSocket-Version",
        )
        for version in ("8", "12", "13, 8", "777", "")
    ],
    ("no key", request(headers=without("Sec-WebSocket-Key")), 400, "Key"),
    ("empty key", request(headers=HANDSHAKE.replace(KEY, "")), 400, "Key"),
    ("short key", request(headers=HANDSHAKE.replace(KEY, KEY[:-4])), 400, "Key"),
    ("no base64", request(headers=HANDSHAKE.replace(KEY, "!" * 24)), 400, "Key"),
    (
        "two keys",
        request(headers=HANDSHAKE + f"Sec-WebSocket-Key: {KEY}\r\n"),
        400,
        "Key",
    ),
    ("no Host", request().replace(b"Host: localhost\r\n", b""), 400, "Host"),
    ("two Hosts", request(headers=HANDSHAKE + "Host: localhost\r\n"), 400, "Host"),
    ("bad Host", request(host="a b"), 400, "Host"),
    ("body", request(headers=HANDSHAKE + "Content-Length: 5\r\n"), 400, "Length"),
    (
        "chunked",
        request(headers=HANDSHAKE + "Transfer-Encoding: chunked\r\n"),
        400,
        "Transfer",
    ),
    ("foreign", request(headers=HANDSHAKE + "Origin: http://evil\r\n"), 403, "origins"),
    ("null", request(headers=HANDSHAKE + "Origin: null\r\n"), 403, "origins"),
    ("no HTTP", b"\x16\x03\x01\x02\x00\x01", 400, "HTTP"),
    ("not HTTP", b"hello\r\n\r\n", 400, "HTTP"),
    ("bare LF", request().replace(b"\r\n", b"\n"), 400, "CRLF"),
    ("folded", request(headers=HANDSHAKE + "X: a\r\n b\r\n"), 400, "header"),
    ("space", request(headers=HANDSHAKE + "X : a\r\n"), 400, "header"),
    ("NUL", request(headers=HANDSHAKE + "X: a\0\r\n"), 400, "header"),
    ("long line", request("/" + "x" * 8192), 414, "8192"),
    ("long header", request(headers=f"X: {'x' * 8192}\r\n"), 431, "8192"),
    ("many headers", request(headers="X: x\r\n" * 101), 431, "100"),
    ("long head", request(headers=f"X: {'x' * 8000}\r\n" * 5), 431, "32768"),
]


@pytest.mark.parametrize(
    ("data", "code", "word"),
    [case[1:] for case in REFUSED],
    ids=[c[0] for c in REFUSED],
)
def test_refused(
    data: bytes, code: int, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    head, body = answer(data)
    assert status(head) == code
    assert word in body
    assert header(head, "Content-Type") == "text/plain; charset=utf-8"
    assert header(head, "Server") == SERVER
    assert re.fullmatch(DATE, header(head, "Date"))
    if code == 405:
        assert header(head, "Allow") == "GET"
    if code == 426:
        assert header(head, "Upgrade") == "websocket"
        assert header(head, "Sec-WebSocket-Version") == "13"
        assert header(head, "Connection") == "Upgrade, close"
    (record,) = caplog.records
    assert record.levelno in (logging.DEBUG, logging.INFO)
    assert not record.exc_info


@pytest.mark.parametrize(
    "refused",
    [request(headers=""), request(headers=HANDSHAKE + "Origin: null\r\n"), POST],
)
def test_what_follows_a_refused_request_is_nothing(refused: bytes) -> None:
    handled = []
    with asking(refused + request("/admin"), handled.append) as (peer, head):
        assert status(head) != 101
        rest = peer.read_to_end()
        assert rest.count(b"HTTP/1.1") == 0
    assert handled == []


def test_what_follows_an_accepted_request_are_frames() -> None:
    handled = []

    def handler(ws: Any) -> None:
        handled.append(ws.path)
        ws.wait_closed()

    with asking(request("/a") + request("/admin"), handler) as (peer, head):
        assert status(head) == 101
        assert peer.receive_close()[0] == 1002
        assert peer.read_to_end() == b""
    assert handled == ["/a"]


def test_a_request_in_pieces() -> None:
    with serve(echo, "127.0.0.1", 0) as server, raw_client(server) as peer:
        for octet in request():
            peer.write(bytes([octet]))
            gevent.sleep(0)
        assert status(peer.read_head()) == 101


@pytest.mark.parametrize("cut", [0, 1, 20, len(request()) - 1])
def test_a_peer_that_leaves_early(cut: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serve(echo, "127.0.0.1", 0) as server, raw_client(server) as peer:
        peer.write(request()[:cut])
        peer.half_close()
        assert peer.read_to_end() == b""
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert not record.exc_info


# Deadlines


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", request()[:-2]])
def test_silence(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    start = time.monotonic()
    head, _ = answer(sent, open_timeout=0.1)
    assert status(head) == 408
    assert 0.1 <= time.monotonic() - start < 1
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.DEBUG, None)


def test_the_deadline_is_for_the_whole_request() -> None:
    with (
        serve(echo, "127.0.0.1", 0, open_timeout=0.2) as server,
        raw_client(server) as peer,
    ):
        start = time.monotonic()

        def drip() -> None:
            for octet in request(headers="X: x\r\n" * 90):
                peer.write(bytes([octet]))
                gevent.sleep(0.02)

        dripping = gevent.spawn(drip)
        assert status(peer.read_head()) == 408
        assert 0.2 <= time.monotonic() - start < 0.5
        dripping.kill()


# Hooks


def test_process_request() -> None:
    seen = []

    def process_request(ws: Any, request: Any) -> None:
        seen.append(
            (request.path, request.headers["Host"], ws.request.path, ws.response)
        )

    with asking(request("/x?y"), process_request=process_request) as (_, head):
        assert status(head) == 101
    assert seen == [("/x?y", "localhost", "/x?y", None)]


@pytest.mark.parametrize(
    "hook",
    [
        lambda ws, request: ws.respond(200, "healthy\n"),
        lambda ws, request: (200, {}, b"healthy\n"),
        lambda ws, request: (200, [("Content-Length", "8")], b"healthy\n"),
        lambda ws, request: (200, Headers(), b"healthy\n"),
        lambda ws, request: Response(
            200, "OK", Headers({"Content-Length": "8"}), b"healthy\n"
        ),
    ],
)
def test_process_request_answers_by_itself(hook: Any) -> None:
    handled = []
    # Also what is no handshake at all.
    for data in (request(), request(headers="")):
        head, body = answer(data, handled.append, process_request=hook)
        assert (status(head), body) == (200, "healthy\n")
        assert header(head, "Connection") == "close"
        assert header(head, "Server") == SERVER
    assert handled == []


def fails(*args: Any) -> Any:
    raise LookupError("a bug of the application")


@pytest.mark.parametrize(
    "options",
    [
        {"process_request": fails},
        {"process_response": fails},
        {"select_subprotocol": fails},
        {"extra_headers": fails},
        {"process_request": lambda ws, request: "no response"},
        {"process_request": lambda ws, request: (200, {})},
        {"process_request": lambda ws, request: (999, {}, b"")},
        {"process_request": lambda ws, request: (200, {"X": "a\r\nb"}, b"")},
        {"process_request": lambda ws, request: Response(200, "a\nb", Headers())},
        {"process_request": lambda ws, request: Response(101, "OK", Headers())},
        {"process_response": lambda ws, request, response: "no response"},
        {"process_response": lambda *args: Response(1000, "OK", Headers())},
        {"select_subprotocol": lambda ws, offered: "never offered"},
        {"extra_headers": lambda ws, request: {"X": "a\0"}},
        {"extra_headers": lambda ws, request: 5},
    ],
    ids=lambda options: next(iter(options)),
)
def test_hooks_that_fail(options: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    handled = []
    head, body = answer(request(), handled.append, **options)
    assert status(head) == 500
    assert "application" not in body
    assert handled == []
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.name == "gws.server"
    assert record.exc_info


def test_process_response() -> None:
    def process_response(ws: Any, request: Any, response: Response) -> None:
        response.headers["X-Path"] = request.path
        ws.noted = response.status_code

    noted = []
    with asking(
        request("/p"),
        lambda ws: noted.append((ws.noted, ws.response.headers["X-Path"])),
        process_response=process_response,
    ) as (peer, head):
        assert status(head) == 101
        assert header(head, "X-Path") == "/p"
        assert peer.receive_close() == (1000, "")
    assert noted == [(101, "/p")]


def test_process_response_sees_refusals_and_may_replace_the_response() -> None:
    def process_response(ws: Any, request: Any, response: Response) -> Response:
        return ws.respond(418, f"was {response.status_code}")

    for data, code in [(request(), 101), (request(headers=""), 426)]:
        head, body = answer(data, process_response=process_response)
        assert (status(head), body) == (418, f"was {code}")


def test_a_slow_hook_meets_the_deadline(caplog: pytest.LogCaptureFixture) -> None:
    def process_request(ws: Any, request: Any) -> None:
        Event().wait()

    head, _ = answer(request(), process_request=process_request, open_timeout=0.1)
    assert status(head) == 408


def test_a_peer_that_leaves_while_a_hook_runs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    entered, go_on, handled = Event(), Event(), Event()

    def process_request(ws: Any, request: Any) -> None:
        entered.set()
        go_on.wait()

    def handler(ws: Any) -> None:
        assert list(ws) == []
        handled.set()

    with (
        serve(handler, "127.0.0.1", 0, process_request=process_request) as server,
        raw_client(server) as peer,
    ):
        peer.write(request())
        assert entered.wait(LONG)
        peer.reset()
        go_on.set()
    assert not server.connections
    for record in caplog.records:
        assert not record.exc_info or record.exc_info[0] is not AssertionError


def test_the_server_closes_while_a_hook_runs() -> None:
    entered, go_on = Event(), Event()
    handled = []

    def process_request(ws: Any, request: Any) -> None:
        entered.set()
        go_on.wait()

    with (
        serve(
            handled.append, "127.0.0.1", 0, process_request=process_request
        ) as server,
        raw_client(server) as peer,
    ):
        peer.write(request())
        assert entered.wait(LONG)
        server.close()
        go_on.set()
        data = peer.read_to_end().decode()
        # One answer, and no other behind it.
        assert data.startswith("HTTP/1.1 503 ")
        assert data.count("HTTP/1.1") == 1
        assert header(data.partition("\r\n\r\n")[0], "Retry-After")
    assert handled == []


# Subprotocols


@pytest.mark.parametrize(
    ("options", "offered", "chosen"),
    [
        ({}, "a, b", None),
        ({"subprotocols": ["a"]}, "b, a", "a"),
        ({"subprotocols": ["b", "a"]}, "a, b", "b"),
        ({"subprotocols": ["a"]}, "b\r\nSec-WebSocket-Protocol: a", "a"),
        ({"select_subprotocol": lambda ws, offered: offered[-1]}, "a, b", "b"),
        ({"select_subprotocol": lambda ws, offered: None}, "a, b", None),
    ],
)
def test_subprotocols(options: Any, offered: str, chosen: str | None) -> None:
    seen = []
    data = request(headers=HANDSHAKE + f"Sec-WebSocket-Protocol: {offered}\r\n")
    with asking(data, lambda ws: seen.append(ws.subprotocol), **options) as (
        peer,
        head,
    ):
        assert status(head) == 101
        expected = [] if chosen is None else [chosen]
        assert headers(head, "Sec-WebSocket-Protocol") == expected
        assert peer.receive_close() == (1000, "")
    assert seen == [chosen]


@pytest.mark.parametrize("offered", ["", "Sec-WebSocket-Protocol: b\r\n"])
def test_no_common_subprotocol(offered: str) -> None:
    head, body = answer(request(headers=HANDSHAKE + offered), subprotocols=["a", "c"])
    assert status(head) == 400
    assert "expected one of a, c" in body


# Headers


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"X": "1"}, ["1"]),
        ([("X", "1"), ("x", "2")], ["1", "2"]),
        (Headers([("X", "1"), ("X", "2")]), ["1", "2"]),
        (lambda ws, request: {"X": request.path}, ["/"]),
        (lambda ws, request: [("X", "1"), ("X", "2")], ["1", "2"]),
        (lambda ws, request: None, []),
        ((), []),
    ],
)
def test_extra_headers(given: Any, expected: list[str]) -> None:
    with asking(request(), extra_headers=given) as (_, head):
        assert status(head) == 101
        assert headers(head, "X") == expected


@pytest.mark.parametrize(
    ("given", "expected"), [(None, []), ("mine/1", ["mine/1"]), ("", [])]
)
def test_server_header(given: str | None, expected: list[str]) -> None:
    with asking(request(), server_header=given) as (_, head):
        assert headers(head, "Server") == expected
    for data in (request(headers=""), b"no HTTP\r\n\r\n"):
        head, _ = answer(data, server_header=given)
        assert headers(head, "Server") == expected


# Origins and hosts


@pytest.mark.parametrize(
    ("options", "host", "origin", "accepted"),
    [
        ({}, "a.example", "http://a.example", True),
        ({}, "a.example:80", "http://a.example", True),
        ({}, "a.example:443", "https://a.example", True),
        ({}, "a.example:8080", "http://a.example", False),
        ({}, "good.com", "https://good.com.evil.com", False),
        ({}, "a.example", None, True),
        ({"origins": "*"}, "a.example", "https://evil", True),
        ({"origins": ["https://a"]}, "x", "https://A:443", True),
        ({"origins": ["https://a"]}, "x", "http://a", False),
        ({"origins": ["https://a"]}, "x", None, False),
        ({"origins": ["https://a", None]}, "x", None, True),
        ({"origins": [re.compile(r"https://\w+\.a")]}, "x", "https://b.a", True),
        ({"origins": [re.compile(r"https://\w+\.a")]}, "x", "https://b.a.evil", False),
        ({"origins": []}, "x", "https://a", False),
        ({"allowed_hosts": ["a.example"]}, "a.example:99", None, True),
        ({"allowed_hosts": ["a.example"]}, "A.Example", None, True),
    ],
)
def test_origins(options: Any, host: str, origin: str | None, accepted: bool) -> None:
    given = "" if origin is None else f"Origin: {origin}\r\n"
    with asking(request(headers=HANDSHAKE + given, host=host), **options) as (_, head):
        assert status(head) == (101 if accepted else 403)


def test_allowed_hosts() -> None:
    head, body = answer(request(host="b.example"), allowed_hosts=["a.example"])
    assert status(head) == 400
    assert "allowed_hosts" in body


def test_two_origins() -> None:
    data = request(headers=HANDSHAKE + "Origin: http://localhost\r\n" * 2)
    assert status(answer(data)[0]) == 400


# What a handler sees


def test_attributes() -> None:
    seen: dict[str, Any] = {}

    def handler(ws: ServerConnection) -> None:
        seen.update(
            path=ws.path,
            request=ws.request.path,
            header=ws.request_headers["X-A"],
            all=ws.request.headers.get_all("X-B"),
            response=ws.response.status_code,
            accept=ws.response_headers["Sec-WebSocket-Accept"],
            subprotocol=ws.subprotocol,
            username=ws.username,
            kwargs=dict(ws.handler_kwargs),
            server=ws.server,
            logger=ws.logger.name,
            secure=ws.latency,
            open=ws.open,
        )
        ws.mine = "may be set"
        seen["ws"] = ws

    data = request("/a%20b?c=d", HANDSHAKE + "X-A: 1\r\nX-B: 2\r\nx-b: 3\r\n")
    with serve(handler, "127.0.0.1", 0) as server, raw_client(server) as peer:
        peer.ask(data)
        address = peer.sock.getsockname()
        assert peer.receive_close() == (1000, "")
    ws = seen.pop("ws")
    assert seen == {
        "path": "/a%20b?c=d",
        "request": "/a%20b?c=d",
        "header": "1",
        "all": ["2", "3"],
        "response": 101,
        "accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "subprotocol": None,
        "username": None,
        "kwargs": {},
        "server": server,
        "logger": "gws.server",
        "secure": 0.0,
        "open": True,
    }
    # After the end, too.
    assert ws.mine == "may be set"
    assert (ws.path, ws.request.headers["X-A"]) == ("/a%20b?c=d", "1")
    assert ws.remote_address == address
    assert ws.response.status_code == 101


def test_a_handler_that_wants_the_path() -> None:
    seen = []
    with asking(request("/p?q"), lambda ws, path: seen.append(path)) as (peer, head):
        assert status(head) == 101
        assert peer.receive_close() == (1000, "")
    assert seen == ["/p?q"]


# Handlers that resolve


class Resolver:
    """What `serve` asks of a router."""

    def __init__(self, resolve: Callable[[Any, Any], Any]) -> None:
        self._resolve = resolve

    def resolve(self, ws: Any, request: Any) -> Any:
        return self._resolve(ws, request)


def test_resolve_chooses_the_handler_and_options() -> None:
    def chat(ws: Any, room: str) -> None:
        seen.append((room, ws.handler_kwargs, ws.subprotocol, ws.handler))
        ws.send(ws.recv())

    seen: list[Any] = []
    options = {"max_size": 4, "subprotocols": ["a"], "extra_headers": {"X": "route"}}
    route = Route(chat, {"room": "lobby"}, options)
    resolver = Resolver(lambda ws, request: route)
    data = request(headers=HANDSHAKE + "Sec-WebSocket-Protocol: a\r\n")
    for payload, end in [(b"four", 1000), (b"fives", 1009)]:
        with asking(data, resolver, max_size=100) as (peer, head):
            assert status(head) == 101
            assert header(head, "X") == "route"
            peer.send(TEXT, payload)
            if end == 1000:
                assert peer.receive() == (TEXT, payload)
            assert peer.receive_close()[0] == end
    assert seen == [("lobby", {"room": "lobby"}, "a", chat)] * 2


def test_resolve_refuses() -> None:
    resolver = Resolver(lambda ws, request: ws.respond(404, "no such path\n"))
    # Before the handshake is looked at: there is no such page, either.
    for data in (request(), request(headers="")):
        head, body = answer(data, resolver)
        assert (status(head), body) == (404, "no such path\n")


@pytest.mark.parametrize(
    "resolve",
    [
        fails,
        lambda ws, request: None,
        lambda ws, request: Route(echo, {}, {"max_queue": -1}),
        lambda ws, request: Route(echo, {}, {"no_such_option": 1}),
    ],
)
def test_resolve_fails(resolve: Any, caplog: pytest.LogCaptureFixture) -> None:
    head, _ = answer(request(), Resolver(resolve))
    assert status(head) == 500
    errors = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert [(r.levelno, bool(r.exc_info)) for r in errors] == [(logging.ERROR, True)]


def test_limits_of_a_route_hold_for_what_came_with_the_handshake() -> None:
    route = Route(echo, {}, {"max_size": 4})
    data = request() + frame(TEXT, b"four") + frame(TEXT, b"fives")
    with asking(data, Resolver(lambda ws, request: route)) as (peer, head):
        assert status(head) == 101
        assert peer.receive() == (TEXT, b"four")
        assert peer.receive_close()[0] == 1009


def test_a_subclass_of_the_connection() -> None:
    class Mine(ServerConnection):
        def greet(self) -> str:
            return f"hello {self.path}"

    def handler(ws: Any) -> None:
        ws.send(ws.greet())

    with asking(request(), handler, create_connection=Mine) as (peer, head):
        assert status(head) == 101
        assert peer.receive() == (TEXT, b"hello /")
