"""What a server's caller may decide: hooks and headers, in all forms, and mistakes.

What a request may look like is in test_handshake.py.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import gevent
import pytest
from gevent import GreenletExit
from gevent.event import Event

from gws import Router, ServerConnection, connect, serve
from gws.exceptions import InvalidOrigin, InvalidState, NegotiationError
from gws.protocol.datastructures import Headers
from gws.protocol.http11 import Request, Response

from ..wire import (
    HANDSHAKE,
    LONG,
    RawPeer,
    header,
    headers,
    raw_client,
    request,
)


pytestmark = pytest.mark.usefixtures("leakcheck")


def wait(ws: Any) -> None:
    ws.wait_closed()


@contextmanager
def asking(
    data: bytes = b"", handler: Any = wait, **options: Any
) -> Iterator[tuple[RawPeer, str]]:
    """Send ``data`` to a new server; give the peer and the head of the response."""
    with (
        serve(handler, "127.0.0.1", 0, **options) as server,
        raw_client(server) as peer,
    ):
        peer.write(data or request())
        yield peer, peer.read_head()


def answer(data: bytes = b"", handler: Any = wait, **options: Any) -> tuple[int, str]:
    """Return status and body of what is no 101."""
    with asking(data, handler, **options) as (peer, head):
        return status(head), peer.read_to_end().decode()


def status(head: str) -> int:
    return int(head.split(" ", 2)[1])


COOKIES = [("Set-Cookie", "a=1"), ("set-cookie", "b=2")]


class Mapped:
    """The least that is a mapping."""

    def keys(self) -> list[str]:
        return ["X-Mapped"]

    def __getitem__(self, name: str) -> str:
        return "1"


# process_request


@pytest.mark.parametrize(
    ("given", "cookies"),
    [
        (COOKIES, ["a=1", "b=2"]),
        (tuple(COOKIES), ["a=1", "b=2"]),
        (Headers(COOKIES), ["a=1", "b=2"]),
        ({"Set-Cookie": "a=1"}, ["a=1"]),
        ({}, []),
        (Mapped(), []),
    ],
)
@pytest.mark.parametrize("code", [200, HTTPStatus.CONFLICT])
def test_a_tuple_as_answer(given: Any, cookies: list[str], code: int) -> None:
    with asking(process_request=lambda ws, request: (code, given, b"body")) as (
        peer,
        head,
    ):
        assert head.startswith(f"HTTP/1.1 {int(code)} {HTTPStatus(code).phrase}\r\n")
        assert headers(head, "Set-Cookie") == cookies
        assert headers(head, "X-Mapped") == ["1"] * isinstance(given, Mapped)
        assert header(head, "Content-Length") == "4"
        assert header(head, "Connection") == "close"
        assert peer.read_to_end() == b"body"


@pytest.mark.parametrize(
    "hook",
    [
        lambda ws, request: (204, {}, b""),
        lambda ws, request: ws.respond(204, ""),
        lambda ws, request: Response(204, "", Headers({"Content-Length": "0"})),
    ],
)
def test_no_content_has_no_length(hook: Any) -> None:
    with asking(process_request=hook) as (peer, head):
        assert status(head) == 204
        assert headers(head, "Content-Length") == []
        assert peer.read_to_end() == b""


def test_a_response_may_be_given_again() -> None:
    unhealthy = Response(503, "Mine", Headers(COOKIES), b"ill\n")
    with serve(
        wait, "127.0.0.1", 0, process_request=lambda ws, request: unhealthy
    ) as server:
        for _ in range(2):
            with raw_client(server) as peer:
                peer.write(request())
                head = peer.read_head()
                assert head.startswith("HTTP/1.1 503 Mine\r\n")
                assert headers(head, "Set-Cookie") == ["a=1", "b=2"]
                for name in ("Date", "Server", "Connection"):
                    assert len(headers(head, name)) == 1
                # Without a length, it ends with the connection.
                assert peer.read_to_end() == b"ill\n"
    assert unhealthy.headers == Headers(COOKIES)


def test_a_hook_may_be_a_method_and_wait() -> None:
    class Application:
        def __init__(self) -> None:
            self.go_on = Event()

        def process_request(self, ws: Any, request: Request) -> None:
            assert self.go_on.wait(LONG)
            ws.from_hook = request.headers["Host"]

    seen = []
    application = Application()
    gevent.spawn_later(0, application.go_on.set)
    with asking(
        handler=lambda ws: seen.append(ws.from_hook),
        process_request=application.process_request,
    ) as (peer, head):
        assert status(head) == 101
        assert peer.receive_close() == (1000, "")
    assert seen == ["localhost"]


# process_response


def test_process_response_sees_every_answer() -> None:
    def process_request(ws: Any, request: Request) -> Any:
        return (401, {}, b"who?\n") if request.path == "/401" else None

    def process_response(ws: Any, request: Request, response: Response) -> None:
        seen.append((request.path, response.status_code))
        for name, value in COOKIES:
            response.headers[name] = value

    seen: list[Any] = []
    router = Router()
    router.route("/")(wait)
    router.route("/s", subprotocols=["s"])(wait)
    cases = [("/", 101), ("/401", 401), ("/404", 404), ("/s", 400)]
    for path, code in cases:
        with asking(
            request(path),
            router,
            process_request=process_request,
            process_response=process_response,
        ) as (_, head):
            assert status(head) == code
            assert headers(head, "Set-Cookie") == ["a=1", "b=2"]
    assert seen == cases


def test_process_response_and_a_full_server() -> None:
    def process_response(ws: Any, request: Request, response: Response) -> Any:
        if response.status_code == 503:
            retry = response.headers["Retry-After"]
            return ws.respond(503, f"full; come back after {retry} s\n")
        return None

    with (
        serve(
            wait, "127.0.0.1", 0, process_response=process_response, max_connections=1
        ) as server,
        raw_client(server) as first,
        raw_client(server) as second,
    ):
        first.ask()
        second.write(request())
        assert status(second.read_head()) == 503
        assert second.read_to_end() == b"full; come back after 5 s\n"


def test_process_response_of_a_route() -> None:
    def add(value: str) -> Any:
        def process_response(ws: Any, request: Request, response: Response) -> None:
            response.headers["X"] = value

        return process_response

    router = Router()
    router.route("/a", process_response=add("route"))(wait)
    router.route("/b")(wait)
    for path, value in [("/a", "route"), ("/b", "server"), ("/c", "server")]:
        with asking(request(path), router, process_response=add("server")) as (_, head):
            assert header(head, "X") == value


def test_process_response_returns_another_101() -> None:
    def process_response(ws: Any, request: Any, response: Response) -> Response:
        given = Headers(response.headers)
        given["X"] = "new"
        return Response(101, "Mine", given)

    seen = []

    def handler(ws: ServerConnection) -> None:
        seen.append((ws.response.reason_phrase, ws.response_headers["X"]))

    with asking(handler=handler, process_response=process_response) as (peer, head):
        assert head.startswith("HTTP/1.1 101 Mine\r\n")
        assert header(head, "X") == "new"
        assert peer.receive_close() == (1000, "")
    assert seen == [("Mine", "new")]


@pytest.mark.parametrize("in_place", [False, True])
def test_process_response_takes_back_a_101(in_place: bool) -> None:
    def process_response(ws: Any, request: Any, response: Response) -> Response | None:
        if not in_place:
            return Response(403, "No", Headers(COOKIES), b"no\n")
        response.status_code, response.reason_phrase, response.body = 403, "No", b"no\n"
        return None

    handled = []
    assert answer(handler=handled.append, process_response=process_response) == (
        403,
        "no\n",
    )
    assert handled == []


@pytest.mark.parametrize(
    ("data", "options", "code"),
    [
        (request(headers=""), {}, 426),
        (b"GET", {"open_timeout": 0.05}, 408),
        (request(), {"process_request": lambda ws, request: (200, COOKIES, b"")}, 200),
    ],
)
def test_the_response_that_refused_can_be_seen(
    data: bytes, options: Any, code: int
) -> None:
    made = []

    def create_connection(*args: Any) -> ServerConnection:
        made.append(ServerConnection(*args))
        return made[0]

    with asking(data, create_connection=create_connection, **options) as (_, head):
        (ws,) = made
        assert (status(head), ws.response.status_code) == (code, code)
        for name in ("Date", "Server", "Connection", "Set-Cookie"):
            assert ws.response_headers.get_all(name) == headers(head, name)


# Mistakes


def with_status(code: int) -> Any:
    """Return a process_response hook that changes the status alone."""

    def process_response(ws: Any, request: Any, response: Response) -> None:
        response.status_code = code

    return process_response


def with_date_twice(ws: Any, request: Any, response: Response) -> None:
    response.headers["Date"] = "today"
    response.headers["Date"] = "tomorrow"


MISTAKES: list[tuple[str, Any, str]] = [
    *[
        ("process_request", lambda ws, request, junk=junk: junk, message)
        for junk, message in [
            ("text", "must return None or a response, not 'text'"),
            (b"bytes", "must return None or a response"),
            (True, "must return None or a response, not True"),
            ({}, "must return None or a response, not {}"),
            ((200, {}), "must return None or a response"),
            ([200, {}, b""], "must return None or a response"),
            ((200, {}, "text"), "body of a response is bytes, not 'text'"),
            ((200, {}, None), "body of a response is bytes, not None"),
            (("OK", {}, b""), "invalid literal"),
            ((999, {}, b""), "999 is not a valid HTTPStatus"),
            ((200, 5, b""), "not iterable"),
            ((200, ["X"], b""), "unpack"),
            ((200, {"X": 1}, b""), "expected string"),
            ((200, {"X": "a\r\nSet-Cookie: evil"}, b""), "invalid X header"),
            ((200, {"X": "a\0evil"}, b""), "invalid X header"),
            ((200, {"X\r\nevil": "a"}, b""), "invalid"),
            ((200, {"X:": "evil"}, b""), "invalid"),
            ((200, {"": "evil"}, b""), "invalid"),
            ((200, {"X": "evil €"}, b""), "invalid X header"),
            ((101, {}, b""), "can't accept"),
            ((100, {}, b""), "can't accept"),
            (Response(101, "OK", Headers()), "can't accept"),
            (Response(200, "a\r\nevil: 1", Headers()), "invalid status line"),
            (Response(1000, "evil", Headers()), "invalid status line"),
            (Response(200, "OK", Headers(), "evil"), "is bytes, not 'evil'"),
        ]
    ],
    *[
        ("process_response", lambda ws, request, response, junk=junk: junk, message)
        for junk, message in [
            ("text", "process_response must return None or a response, not 'text'"),
            (0, "must return None or a response, not 0"),
            ((200, {}, b""), "must return None or a response"),
            (Response(102, "evil", Headers()), "can't accept what was refused"),
            (Response(200, "a\nevil", Headers()), "invalid status line"),
            (Response(200, "OK", Headers(), "evil"), "is bytes, not 'evil'"),
        ]
    ],
    ("process_response", with_status(199), "can't accept what was refused"),
    ("process_response", with_status(0), "can't accept what was refused"),
    *[
        ("extra_headers", lambda ws, request, junk=junk: junk, message)
        for junk, message in [
            (5, "not iterable"),
            ("evil", "unpack"),
            ({"X": "a\r\nevil: 1"}, "invalid X header"),
            ([("X", "a"), ("Y", "\nevil")], "invalid Y header"),
            ({"X": "evil\0"}, "invalid X header"),
            ({"X": None}, "expected string"),
            ({"Upgrade": "evil"}, "upgrade can't be added"),
            ({"Connection": "evil"}, "connection can't be added"),
            ({"Content-Length": "5"}, "content-length can't be added"),
            ({"Transfer-Encoding": "chunked"}, "transfer-encoding can't be added"),
            ([("Sec-WebSocket-Protocol", "evil")], "sec-websocket-protocol can't"),
            ({"sec-websocket-accept": "evil"}, "sec-websocket-accept can't"),
        ]
    ],
    *[
        ("select_subprotocol", lambda ws, offered, junk=junk: junk, "not offered")
        for junk in ["evil", "a\r\nevil: 1", "a, b", "", 5, ["a"], b"a"]
    ],
    # What only the caller of an older library would have.
    ("process_request", lambda path, request_headers, more: None, "argument"),
    ("extra_headers", lambda: {"X": "evil"}, "argument"),
]


@pytest.mark.parametrize(("option", "hook", "message"), MISTAKES)
def test_mistakes_of_hooks(
    option: str, hook: Any, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    handled = []
    data = request(headers=HANDSHAKE + "Sec-WebSocket-Protocol: a, b\r\n")
    with asking(data, handled.append, **{option: hook}) as (peer, head):
        text = head + peer.read_to_end().decode()
    assert status(head) == 500
    assert text.count("HTTP/1.1") == 1
    assert "evil" not in text
    assert handled == []
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.ERROR, "gws.server")
    assert record.exc_info is not None
    assert message in str(record.exc_info[1])


ACCEPTING = [
    with_status(101),
    with_status(100),
    lambda ws, request, response: Response(101, "OK", Headers()),
]


@pytest.mark.parametrize("hook", ACCEPTING)
def test_process_response_can_not_accept_what_was_refused(hook: Any) -> None:
    handled = []
    data = request(headers=HANDSHAKE + "Origin: null\r\n")
    assert answer(data, handled.append, process_response=hook)[0] == 500
    assert handled == []


@pytest.mark.parametrize("hook", ACCEPTING)
def test_process_response_can_not_accept_what_there_is_no_room_for(hook: Any) -> None:
    def process_response(ws: Any, request: Any, response: Response) -> Any:
        return hook(ws, request, response) if response.status_code == 503 else None

    with (
        serve(
            wait, "127.0.0.1", 0, process_response=process_response, max_connections=1
        ) as server,
        raw_client(server) as first,
        raw_client(server) as second,
    ):
        first.ask()
        second.write(request())
        assert status(second.read_head()) == 500
        second.read_to_end()
        assert len(server.connections) == 1


def test_a_date_twice_is_sent_as_it_is() -> None:
    seen = []
    with asking(
        handler=lambda ws: seen.append(ws.response_headers.get_all("Date")),
        process_response=with_date_twice,
    ) as (peer, head):
        assert headers(head, "Date") == ["today", "tomorrow"]
        assert peer.receive_close() == (1000, "")
    assert seen == [["today", "tomorrow"]]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"process_request": "x"}, TypeError, "process_request must be callable"),
        ({"process_response": {}}, TypeError, "process_response must be callable"),
        ({"select_subprotocol": ["a"]}, TypeError, "must be callable"),
        ({"server_header": "a\r\nb: c"}, ValueError, "invalid Server header"),
        ({"server_header": "a\0"}, ValueError, "invalid Server header"),
        ({"extra_headers": {"X": "a\r\nb: c"}}, ValueError, "invalid X header"),
        ({"extra_headers": [("X", "a\0")]}, ValueError, "invalid X header"),
        ({"extra_headers": {"Upgrade": "h2c"}}, ValueError, "upgrade can't be added"),
        ({"extra_headers": 5}, TypeError, "not iterable"),
        ({"subprotocols": ["a\r\nb"]}, ValueError, "invalid subprotocol"),
        ({"subprotocols": ["a\0"]}, ValueError, "invalid subprotocol"),
        ({"subprotocols": "chat"}, TypeError, "list"),
        ({"origins": None}, TypeError, "origins must be"),
        ({"origins": "https://a"}, TypeError, "origins must be"),
        ({"origins": b"same"}, TypeError, "origins must be"),
        ({"origins": ["a.example"]}, ValueError, "is no origin like"),
        ({"origins": [b"https://a"]}, TypeError, "strs, patterns and None"),
        ({"allowed_hosts": "a.example"}, TypeError, "list of str"),
        ({"allowed_hosts": 5}, TypeError, "list of str"),
        ({"allowed_hosts": [None]}, TypeError, "list of str"),
    ],
)
def test_mistakes_that_serve_can_see(
    options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        serve(wait, "127.0.0.1", 0, **options)


# extra_headers


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (COOKIES, COOKIES),
        (tuple(COOKIES), COOKIES),
        (Headers(COOKIES), COOKIES),
        ({"Set-Cookie": "a=1", "X-Y": ""}, [("Set-Cookie", "a=1"), ("X-Y", "")]),
        (Mapped(), [("X-Mapped", "1")]),
        (Headers(), []),
        ({"Server": "mine"}, [("Server", "mine")]),
    ],
)
@pytest.mark.parametrize("form", ["value", "iterator", "callable", "generator"])
def test_extra_headers(given: Any, expected: list[tuple[str, str]], form: str) -> None:
    seen: list[Headers] = []

    def handler(ws: ServerConnection) -> None:
        seen.append(ws.response_headers)

    if form == "iterator":
        given = iter(list(Headers(given).raw_items()))
    elif form == "callable":
        value = given
        given = lambda ws, request: value  # noqa: E731
    elif form == "generator":
        pairs = list(Headers(given).raw_items())
        given = lambda ws, request: (pair for pair in pairs)  # noqa: E731
    with serve(handler, "127.0.0.1", 0, extra_headers=given) as server:
        # Every connection gets them, also of what can be read but once.
        for _ in range(2):
            with raw_client(server) as peer:
                head = peer.ask()
                assert peer.receive_close() == (1000, "")
            for name, _ in expected:
                values = [v for n, v in expected if n.lower() == name.lower()]
                assert headers(head, name) == values
                assert seen[-1].get_all(name) == values
            assert len(headers(head, "Server")) == 1


def test_extra_headers_are_for_what_is_accepted() -> None:
    with asking(request(headers=""), extra_headers={"X": "1"}) as (_, head):
        assert (status(head), headers(head, "X")) == (426, [])


def test_extra_headers_are_of_the_request() -> None:
    def extra_headers(ws: ServerConnection, request: Request) -> dict[str, str]:
        return {"X-Path": request.path, "X-Chosen": str(ws.subprotocol)}

    data = request("/p", HANDSHAKE + "Sec-WebSocket-Protocol: a\r\n")
    with asking(data, extra_headers=extra_headers, subprotocols=["a"]) as (_, head):
        assert (header(head, "X-Path"), header(head, "X-Chosen")) == ("/p", "a")


# select_subprotocol


@pytest.mark.parametrize("subprotocols", [None, ["b"], ["z"]])
@pytest.mark.parametrize(
    ("lines", "select", "code", "chosen"),
    [
        ("a, b", lambda ws, offered: offered[0], 101, ["a"]),
        ("a, b", lambda ws, offered: None, 101, []),
        ("", lambda ws, offered: None, 101, []),
        ("", lambda ws, offered: "a", 500, []),
        ("a, b", lambda ws, offered: "z", 500, []),
        ("a, b", lambda ws, offered: ws.request_headers["X-Want"], 101, ["b"]),
    ],
)
def test_select_subprotocol(
    lines: str, select: Any, code: int, chosen: list[str], subprotocols: Any
) -> None:
    seen = []

    def select_subprotocol(ws: Any, offered: Any) -> Any:
        seen.append(offered)
        return select(ws, offered)

    more = "X-Want: b\r\n" + (f"Sec-WebSocket-Protocol: {lines}\r\n" if lines else "")
    with asking(
        request(headers=HANDSHAKE + more),
        select_subprotocol=select_subprotocol,
        subprotocols=subprotocols,
    ) as (_, head):
        assert status(head) == code
        assert headers(head, "Sec-WebSocket-Protocol") == chosen
    assert seen == [["a", "b"] if lines else []]


@pytest.mark.parametrize("subprotocols", [None, ["b"]])
def test_select_subprotocol_refuses(
    subprotocols: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def select_subprotocol(ws: Any, offered: Any) -> str:
        raise NegotiationError("speak v2")

    caplog.set_level(logging.INFO)
    code, body = answer(
        select_subprotocol=select_subprotocol, subprotocols=subprotocols
    )
    assert code == 400
    assert "speak v2" in body
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.INFO, None)


def test_select_subprotocol_may_wait() -> None:
    def select_subprotocol(ws: Any, offered: Any) -> str:
        gevent.sleep(0)
        return "a"

    data = request(headers=HANDSHAKE + "Sec-WebSocket-Protocol: a\r\n")
    with asking(data, select_subprotocol=select_subprotocol) as (_, head):
        assert header(head, "Sec-WebSocket-Protocol") == "a"


# Origins, as browsers and attackers send them (CASES H14)


@pytest.mark.parametrize(
    ("lines", "options", "code"),
    [
        ([], {}, 101),
        (["Origin: http://localhost"], {}, 101),
        (["Origin: https://localhost"], {}, 101),
        (["Origin: HTTP://LOCALHOST"], {}, 101),
        (["Origin: http://evil.com", "Cookie: session=1"], {}, 403),
        (["Origin: null", "Cookie: session=1"], {}, 403),
        (["Origin: "], {}, 403),
        (["Origin: http://localhost.evil.com"], {}, 403),
        (["Origin: http://evil.com/localhost"], {}, 403),
        (["Origin: http://localhost@evil.com"], {}, 403),
        (["Origin: http://localhost:8080"], {}, 403),
        (["Origin: http://localhost."], {}, 403),
        (["Origin: http://[::1]"], {}, 403),
        (["Origin: http://localhost", "Origin: http://localhost"], {}, 400),
        (["Origin: http://localhost", "Origin: http://evil.com"], {}, 400),
        (["Origin: http://evil.com", "X-Forwarded-Host: evil.com"], {}, 403),
        (["Origin: http://evil.com", "Forwarded: host=evil.com"], {}, 403),
        (["Origin: http://evil.com"], {"origins": "*"}, 101),
        (["Origin: null"], {"origins": "*"}, 101),
        (["Origin: null"], {"origins": ["null"]}, 101),
        ([], {"origins": []}, 403),
        ([], {"origins": [None]}, 101),
        ([], {"origins": ["http://a"]}, 403),
        ([], {"origins": [re.compile(".*")]}, 403),
        (["Origin: http://a"], {"origins": [None]}, 403),
        (["Origin: http://a"], {"origins": iter(["http://a"])}, 101),
        (["Origin: http://a"], {"origins": {"http://a", None}}, 101),
        (["Origin: http://a:80"], {"origins": ("http://a",)}, 101),
        (["Origin: http://[::1]"], {"origins": ["http://[0:0::1]"]}, 101),
        # What looks like a pattern and is a str is none.
        (["Origin: http://axb"], {"origins": ["http://a.b"]}, 403),
        (["Origin: http://axb"], {"origins": [re.compile("http://a.b")]}, 101),
        (["Origin: http://axb.evil"], {"origins": [re.compile("http://a.b")]}, 403),
        (["Origin: http://A.b"], {"origins": [re.compile("http://a.b")]}, 403),
        (["Origin: http://A.b"], {"origins": [re.compile("(?i)http://a.b")]}, 101),
        (["Origin: x http://a.b"], {"origins": [re.compile("http://a.b")]}, 403),
    ],
)
def test_origins(lines: list[str], options: Any, code: int) -> None:
    handled = []
    more = "".join(f"{line}\r\n" for line in lines)
    with asking(request(headers=HANDSHAKE + more), handled.append, **options) as (
        peer,
        head,
    ):
        assert status(head) == code
        if code == 101:
            assert peer.receive_close() == (1000, "")
        else:
            peer.read_to_end()
    assert len(handled) == (code == 101)


def test_origins_are_read_once() -> None:
    data = request(headers=HANDSHAKE + "Origin: http://a\r\n")
    with serve(wait, "127.0.0.1", 0, origins=iter(["http://a"])) as server:
        for _ in range(2):
            with raw_client(server) as peer:
                peer.ask(data)


def test_the_log_says_which_option_refused_an_origin(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    code, body = answer(request(headers=HANDSHAKE + "Origin: http://evil.com\r\n"))
    assert code == 403
    assert "option origins" in body
    (record,) = caplog.records
    assert "http://evil.com" in record.getMessage()
    assert "the option origins" in record.getMessage()


def test_a_hook_may_refuse_an_origin_by_itself() -> None:
    def select_subprotocol(ws: Any, offered: Any) -> str:
        raise InvalidOrigin(ws.request_headers["Origin"])

    data = request(headers=HANDSHAKE + "Origin: http://localhost\r\n")
    assert answer(data, select_subprotocol=select_subprotocol)[0] == 403


# Hooks that end it


HOOKS = ["process_request", "process_response", "select_subprotocol", "extra_headers"]


@pytest.mark.parametrize("option", HOOKS)
@pytest.mark.parametrize("then", ["returns", "raises"])
def test_a_hook_closes_the_connection(
    option: str, then: str, caplog: pytest.LogCaptureFixture
) -> None:
    def hook(ws: Any, *args: Any) -> None:
        ws.close()
        assert ws.closed
        ended.append(ws)
        if then == "raises":
            raise LookupError("a bug")

    caplog.set_level(logging.WARNING)
    ended: list[Any] = []
    handled = []
    with (
        serve(handled.append, "127.0.0.1", 0, **{option: hook}) as server,
        raw_client(server) as peer,
    ):
        peer.write(request())
        assert peer.read_to_end() == b""
        assert len(ended) == 1
        assert server.connections == set()
    assert handled == []
    assert [bool(r.exc_info) for r in caplog.records] == [True] * (then == "raises")


@pytest.mark.parametrize("option", HOOKS)
def test_a_hook_blocks(option: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    start = time.monotonic()
    code, _ = answer(**{option: lambda *args: Event().wait()}, open_timeout=0.05)
    assert code == 408
    assert 0.05 <= time.monotonic() - start < 2
    assert caplog.records == []


@pytest.mark.parametrize("option", HOOKS)
def test_a_hook_is_killed(option: str, caplog: pytest.LogCaptureFixture) -> None:
    entered = Event()
    greenlets = []

    def hook(*args: Any) -> None:
        greenlets.append(gevent.getcurrent())
        entered.set()
        Event().wait()

    caplog.set_level(logging.WARNING)
    with (
        serve(wait, "127.0.0.1", 0, **{option: hook}) as server,
        raw_client(server) as peer,
    ):
        peer.write(request())
        assert entered.wait(LONG)
        gevent.kill(greenlets[0])
        head = peer.read_head()
        assert status(head) == 503
        assert header(head, "Retry-After")
        peer.read_to_end()
        assert server.is_serving()
    assert caplog.records == []


def test_a_hook_ends_its_greenlet() -> None:
    def process_request(ws: Any, request: Any) -> None:
        raise GreenletExit

    assert answer(process_request=process_request)[0] == 503


def test_a_hook_is_killed_after_it_closed_the_connection() -> None:
    def process_request(ws: Any, request: Any) -> None:
        ws.close()
        raise GreenletExit

    with (
        serve(wait, "127.0.0.1", 0, process_request=process_request) as server,
        raw_client(server) as peer,
    ):
        peer.write(request())
        assert peer.read_to_end() == b""


def test_killed_before_the_request_is_whole() -> None:
    made = Event()
    greenlets = []

    def create_connection(*args: Any) -> ServerConnection:
        greenlets.append(gevent.getcurrent())
        made.set()
        return ServerConnection(*args)

    with (
        serve(wait, "127.0.0.1", 0, create_connection=create_connection) as server,
        raw_client(server) as peer,
    ):
        peer.write(request()[:20])
        assert made.wait(LONG)
        gevent.kill(greenlets[0])
        assert status(peer.read_head()) == 503
        peer.read_to_end()


def test_shutdown_stops_a_hook_that_blocks(caplog: pytest.LogCaptureFixture) -> None:
    entered = Event()

    def process_request(ws: Any, request: Any) -> None:
        entered.set()
        Event().wait()

    caplog.set_level(logging.WARNING)
    server = serve(
        wait, "127.0.0.1", 0, process_request=process_request, close_timeout=0.05
    )
    with raw_client(server) as peer, server:
        peer.write(request())
        assert entered.wait(LONG)
        server.shutdown()
        head = peer.read_head()
        assert (status(head), len(headers(head, "Retry-After"))) == (503, 1)
        peer.read_to_end()
    assert caplog.records == []


@pytest.mark.parametrize(
    "options",
    [
        {"origins": ["a.example"]},
        {"extra_headers": {"X": "a\r\nb: c"}},
        {"server_header": "a\0"},
        {"process_response": "x"},
    ],
)
def test_mistakes_that_a_route_can_see(options: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Router().route("/", **options)


def test_what_a_route_can_read_once() -> None:
    router = Router()
    router.route("/", origins=iter(["http://a"]), extra_headers=iter(COOKIES))(wait)
    data = request(headers=HANDSHAKE + "Origin: http://a\r\n")
    for _ in range(2):
        with asking(data, router) as (_, head):
            assert headers(head, "Set-Cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("option", HOOKS)
def test_a_timeout_of_a_hook_is_a_mistake(
    option: str, caplog: pytest.LogCaptureFixture
) -> None:
    def hook(*args: Any) -> None:
        with gevent.Timeout(0.001):
            Event().wait()

    caplog.set_level(logging.WARNING)
    assert answer(**{option: hook})[0] == 500
    (record,) = caplog.records
    assert (record.levelno, bool(record.exc_info)) == (logging.ERROR, True)


@pytest.mark.parametrize("use", ["recv", "send", "ping", "iterate"])
def test_nothing_can_be_sent_or_received_before_the_handshake_is_done(
    use: str,
) -> None:
    uses = {
        "recv": lambda ws: ws.recv(),
        "send": lambda ws: ws.send("x"),
        "ping": lambda ws: ws.ping(),
        "iterate": lambda ws: next(iter(ws)),
    }
    errors = []

    def hook(ws: Any, request: Any) -> None:
        try:
            uses[use](ws)
        except InvalidState as exc:
            errors.append(str(exc))

    with serve(
        lambda ws: ws.send("open"), "127.0.0.1", 0, process_request=hook
    ) as server:
        port = server.sockets[0].getsockname()[1]
        with connect(f"ws://127.0.0.1:{port}") as ws:
            assert ws.recv() == "open"
    assert errors == ["the opening handshake is not done"]
