"""The same cases in every stack: what a client sees, and what the server logs."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from gws.testing import PING, PONG, TEXT, RawPeer, frame, request
from gws.testing.octets import HANDSHAKE, header, headers

from .stacks import Stack, gunicorn


pytestmark = pytest.mark.usefixtures("leakcheck")

#: What must never be served: it came where frames were due.
SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n"

#: The application itself, and behind a middleware that has its own start_response.
PREFIXES = ["", "/wrapped"]

#: The stacks of gunicorn's own parser. It ignores what an application says about the
#: connection; behind a middleware it can't be told, though it finds no next request.
GUNICORN = ("gunicorn", "gunicorn-tls", "gunicorn-unix", "gunicorn-gws")


def said_goodbye(peer: RawPeer, code: int) -> bool:
    """Close with the server; return whether nothing came but its close frame."""
    peer.send_close(code)
    return peer.receive_close() == (code, "") and peer.read_to_end() == b""


# Messages


@pytest.mark.parametrize("path", ["/echo", "/direct"])
def test_echo(stack: Stack, path: str) -> None:
    for prefix in PREFIXES:
        with stack.peer() as peer:
            peer.ask(request(prefix + path))
            peer.send(TEXT, b"hello")
            assert peer.receive() == (TEXT, b"hello")
            peer.send(PING, b"now")
            assert peer.receive() == (PONG, b"now")
            assert said_goodbye(peer, 1000)


@pytest.mark.parametrize("size", [5, 20_000])
def test_frames_that_come_with_the_request(stack: Stack, size: int) -> None:
    for prefix in PREFIXES:
        messages = [b"x" * size, b"after it"]
        with stack.peer() as peer:
            peer.ask(
                request(prefix + "/echo") + b"".join(frame(TEXT, m) for m in messages)
            )
            assert [peer.receive() for _ in messages] == [(TEXT, m) for m in messages]
            assert said_goodbye(peer, 1000)


def test_the_head_of_the_101(stack: Stack) -> None:
    for prefix in PREFIXES:
        with stack.peer() as peer:
            head = peer.ask(request(prefix + "/echo"))
            assert said_goodbye(peer, 1000)
        assert header(head, "Connection") == "Upgrade"
        assert header(head, "Upgrade") == "websocket"
        assert header(head, "Server").startswith("gws/")
        assert header(head, "Date")
        assert headers(head, "Content-Length") == []
        assert headers(head, "Transfer-Encoding") == []
        assert headers(head, "X-Wrapped") == []


def test_headers_of_the_application_ride_on_the_101(stack: Stack) -> None:
    for prefix in PREFIXES:
        with stack.peer() as peer:
            head = peer.ask(request(prefix + "/cookie"))
            assert headers(head, "Set-Cookie") == ["a=1", "b=2"]
            assert header(head, "X-Extra") == "yes"
            assert peer.receive() == (TEXT, b'["a=1", "b=2"]')
            assert peer.receive_close() == (1000, "")


@pytest.mark.parametrize("connection", ["keep-alive, Upgrade", "upgrade", "Upgrade"])
def test_ways_to_ask(stack: Stack, connection: str) -> None:
    asked = HANDSHAKE.replace("Connection: Upgrade", f"Connection: {connection}")
    with stack.peer() as peer:
        peer.ask(request("/echo", asked) + frame(TEXT, b"early"))
        assert peer.receive() == (TEXT, b"early")
        assert said_goodbye(peer, 1000)


@pytest.mark.parametrize("together", [False, True])
def test_keep_alive_then_upgrade(stack: Stack, together: bool) -> None:
    if stack.name == "werkzeug":
        pytest.skip("it closes after each response")
    upgrade = request("/echo") + frame(TEXT, b"early")
    with stack.peer() as peer:
        peer.write(b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if together:
            peer.write(upgrade)
        assert peer.read_head().startswith("HTTP/1.1 200 ")
        assert peer.read(5) == b"hello"
        if together:
            assert peer.read_head().startswith("HTTP/1.1 101 ")
        else:
            peer.ask(upgrade)
        assert peer.receive() == (TEXT, b"early")
        assert said_goodbye(peer, 1000)


def test_a_timeout_inside_a_frame_loses_nothing(stack: Stack) -> None:
    octets = frame(TEXT, b"in two parts")
    with stack.peer() as peer:
        peer.ask(request("/hasty") + octets[:9])
        assert peer.receive() == (TEXT, b"waiting")
        peer.write(octets[9:])
        assert peer.receive() == (TEXT, b"in two parts")
        assert peer.receive_close() == (1000, "")


def test_two_senders(stack: Stack) -> None:
    with stack.peer() as peer:
        peer.ask(request("/senders"))
        received = {peer.receive()[1] for _ in range(2)}
        assert received == {b"a" * 3_000_000, b"b" * 3_000_000}
        assert peer.receive_close() == (1000, "")


def test_two_receivers(stack: Stack) -> None:
    with stack.peer() as peer:
        peer.ask(request("/receivers"))
        assert b"another greenlet is receiving already" in peer.receive()[1]
        peer.send(TEXT, b"for the first")
        assert peer.receive() == (TEXT, b"for the first")
        assert peer.receive_close() == (1000, "")


# The end


@pytest.mark.parametrize(
    ("path", "code"),
    [("/leave", 1000), ("/fail", 1011), ("/killed", 1001), ("/broken", 1011)],
)
def test_how_it_ends(stack: Stack, path: str, code: int) -> None:
    for prefix in PREFIXES:
        with stack.peer() as peer:
            peer.ask(request(prefix + path))
            assert peer.receive_close() == (code, "")
            peer.send_close(code)
            assert peer.read_to_end() == b""


def test_a_connection_that_is_left_open(stack: Stack) -> None:
    for prefix in PREFIXES:
        with stack.peer() as peer:
            peer.ask(request(prefix + "/abandoned"))
            assert peer.receive() == (TEXT, b"left alone")
            assert peer.receive_close() == (1011, "")
            peer.send_close(1011)
            assert peer.read_to_end() == b""


def test_a_failure_before_accept(stack: Stack) -> None:
    with stack.peer() as peer:
        peer.write(request("/early-failure"))
        assert peer.read_head().startswith("HTTP/1.1 500 ")


def test_another_greenlet_closes(stack: Stack) -> None:
    stack.seen()
    with stack.peer() as peer:
        peer.ask(request("/waker"))
        assert peer.receive_close() == (4000, "elsewhere")
        peer.send_close(4000)
        assert peer.read_to_end() == b""
    assert stack.seen() == ["woken"]


def test_a_client_that_does_not_answer_the_close(stack: Stack) -> None:
    stack.seen()
    with stack.peer() as peer:
        peer.ask(request("/impatient"))
        began = time.monotonic()
        assert peer.receive_close() == (1000, "")
        assert peer.read_to_end() == b""
        assert time.monotonic() - began < 2
    (note,) = stack.seen()
    assert 0.2 < float(note.removeprefix("closed after ")) < 2


def test_the_peer_goes_away(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    mark = stack.log.mark()
    for path in ("/echo", "/wrapped/echo"):
        with stack.peer() as peer:
            peer.ask(request(f"{path}?gone"))
            peer.write(frame(TEXT, b"cut off")[:4])
        stack.log.wait(f"GET {path}?gone", mark)
    assert "Traceback" not in stack.log.since(mark) + capsys.readouterr().err


# What comes where it may not


def test_what_follows_the_handshake_is_not_http(stack: Stack) -> None:
    for prefix in PREFIXES:
        stack.seen()
        with stack.peer() as peer:
            peer.ask(request(prefix + "/echo") + SMUGGLED)
            assert peer.receive_close()[0] == 1002
            peer.write(SMUGGLED)
            assert peer.read_to_end() == b""
        assert stack.seen() == []


@pytest.mark.parametrize("path", ["/echo", "/leave", "/fail", "/abandoned"])
def test_what_follows_a_close_is_not_http(stack: Stack, path: str) -> None:
    for prefix in PREFIXES:
        stack.seen()
        with stack.peer() as peer:
            peer.ask(request(prefix + path))
            peer.write(frame(TEXT, b"in flight"), peer.frame(0x8, b""), SMUGGLED)
            assert b"HTTP/" not in peer.read_to_end()
        assert stack.seen() == []


#: Requests that are refused: path, headers, what else comes, status.
REFUSED: dict[str, tuple[str, str, bytes, int]] = {
    "a hook": ("/forbidden", HANDSHAKE, b"", 403),
    "closed by a hook": ("/closed-early", HANDSHAKE, b"", 503),
    "no subprotocol": ("/protocols", HANDSHAKE, b"", 400),
    "another version": ("/echo", HANDSHAKE.replace(" 13", " 12"), b"", 426),
    "a foreign page": ("/echo", HANDSHAKE + "Origin: http://evil\r\n", b"", 403),
    "a key too short": ("/echo", HANDSHAKE.replace("Key: ", "Key: x"), b"", 400),
    "two hosts": ("/echo", HANDSHAKE + "Host: other\r\n", b"", 400),
    "a control character": ("/echo", HANDSHAKE + "X-Bad: a\x01b\r\n", b"", 400),
    "a body": ("/echo", HANDSHAKE + "Content-Length: 5\r\n", b"hello", 400),
    "half a body": ("/echo", HANDSHAKE + "Content-Length: 500\r\n", b"", 400),
    "chunks": (
        "/echo",
        HANDSHAKE + "Transfer-Encoding: chunked\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        400,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_request(
    stack: Stack, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for prefix in PREFIXES:
        path, asked, body, status = REFUSED[case]
        stack.seen()
        mark = stack.log.mark()
        with stack.peer() as peer:
            peer.write(request(prefix + path, asked), body, SMUGGLED)
            head = peer.read_head()
            assert head.startswith(f"HTTP/1.1 {status} "), head
            assert b"HTTP/" not in peer.read_to_end()
        assert stack.seen() == []
        assert "Traceback" not in stack.log.since(mark) + capsys.readouterr().err


def test_a_refusal_ends_the_connection(stack: Stack) -> None:
    for prefix in PREFIXES:
        with stack.peer() as peer:
            peer.write(request(prefix + "/forbidden"))
            head = peer.read_head()
            if not (prefix and stack.name in GUNICORN):
                assert set(headers(head, "Connection")) == {"close"}
            assert len(headers(head, "Date")) == 1
            assert len(headers(head, "Server")) <= 1
            assert peer.read(int(header(head, "Content-Length"))) == b"not you"
            assert peer.read_to_end() == b""


def test_http_1_0(stack: Stack) -> None:
    with stack.peer() as peer:
        peer.write(request("/echo").replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert peer.read_head().split()[1] == "505"
        assert peer.read_to_end().count(b"HTTP/") == 1  # the body speaks of it


# What the application learns


def ask_json(stack: Stack, target: str) -> Any:
    with stack.peer() as peer:
        peer.ask(request(target))
        answer = json.loads(peer.receive()[1])
        assert peer.receive_close() == (1000, "")
        peer.send_close(1000)
    return answer


def test_the_address_of_the_peer(stack: Stack) -> None:
    with stack.peer() as peer:
        peer.ask(request("/tell"))
        address, _ = json.loads(peer.receive()[1])
        if stack.is_unix:
            assert address == ""
        else:
            assert tuple(address) == peer.sock.getsockname()


#: Request targets, and what is the path in them.
TARGETS = {
    "/tell": "/tell",
    "/tell?": "/tell",
    "/tell?a=%41&b=/": "/tell?a=%41&b=/",
    "/tell/a%20b/%C3%A9~(,;=)?q?": "/tell/a%20b/%C3%A9~(,;=)?q?",
    "http://localhost/tell?a": "/tell?a",
    "http://localhost:80/tell/%20": "/tell/%20",
}


@pytest.mark.parametrize("target", TARGETS)
def test_the_path(stack: Stack, target: str) -> None:
    assert ask_json(stack, target)[1] == TARGETS[target]


def test_a_slash_in_a_path(stack: Stack) -> None:
    _, path = ask_json(stack, "/tell/a%2Fb")
    # Others than gunicorn's own parser and werkzeug tell only the decoded path.
    assert path in ("/tell/a%2Fb", "/tell/a/b")


def test_a_mounted_router(stack: Stack) -> None:
    with stack.peer() as peer:
        peer.ask(request("/mount/rooms/a%20b"))
        assert peer.receive() == (TEXT, b"a b")
        assert peer.receive_close() == (1000, "")
    with stack.peer() as peer:
        peer.write(request("/mount/nowhere"))
        assert peer.read_head().startswith("HTTP/1.1 404 ")


def test_the_kind_of_socket(stack: Stack) -> None:
    """A plain connection is read and written by its descriptor, as with `serve`."""
    kind = ask_json(stack, "/describe")
    assert kind == ("gevent.ssl.SSLSocket" if stack.tls else "socket.socket")


def test_the_server_can_not_reach_the_connection(stack: Stack) -> None:
    """What it writes or closes is no longer ours, nor yet somebody else's."""
    for prefix in PREFIXES:
        with stack.peer() as peer:
            peer.ask(request(prefix + "/reaching"))
            peer.send(TEXT, b"go on")
            peer.send(TEXT, b"hello")
            assert peer.receive() == (TEXT, b"hello")
            assert said_goodbye(peer, 1000)


def test_accepted_twice(stack: Stack) -> None:
    for prefix in PREFIXES:
        with stack.peer() as peer:
            peer.ask(request(prefix + "/twice"))
            text = b"the WebSocket of this request was accepted before"
            assert peer.receive() == (TEXT, text)
            assert peer.receive_close() == (1000, "")


# What the server logs


@pytest.mark.parametrize("path", ["/leave", "/fail", "/abandoned"])
def test_one_line_of_the_access_log(
    stack: Stack, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for prefix in PREFIXES:
        mark = stack.log.mark()
        target = f"{prefix}{path}?logged"
        with stack.peer() as peer:
            peer.ask(request(target))
            peer.send_close(1000)
            peer.read_to_end()
        # Without its quotes: werkzeug may put colours inside them.
        line = stack.log.wait(f"GET {target} HTTP/1.1", mark)
        # Where gevent's handler writes too late, gunicorn's logs that in the status.
        is_late = bool(prefix) and stack.name == "gunicorn-pywsgi"
        assert '" 101 ' in line or (is_late and '" socket ' in line)
        stack.get("/plain?after")
        stack.log.wait("/plain?after", mark)
        log = stack.log.since(mark) + capsys.readouterr().err
        assert log.count(target) == 1
        assert "EBADF" not in log
        assert "Bad file descriptor" not in log
        if path != "/fail":
            assert "Traceback" not in log


def test_early_frames_with_the_other_parser_of_gunicorn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("gunicorn_h1c")
    options = ("--http-parser", "fast")
    with gunicorn("gunicorn-h1c", "matrix:app", "gevent", *options) as stack:
        for size in (5, 20_000):
            test_frames_that_come_with_the_request(stack, size)
        test_a_refused_request(stack, "chunks", capsys)
        test_keep_alive_then_upgrade(stack, True)


@pytest.mark.parametrize("stack", ["pywsgi-unix", "gunicorn-unix"], indirect=True)
def test_two_clients_of_a_unix_socket(stack: Stack) -> None:
    with stack.peer() as first, stack.peer() as second:
        for peer, text in ((first, b"one"), (second, b"two")):
            peer.ask(request("/echo"))
            peer.send(TEXT, text)
        assert first.receive() == (TEXT, b"one")
        assert second.receive() == (TEXT, b"two")
        assert said_goodbye(first, 1000)
        second.send(TEXT, b"still there")
        assert second.receive() == (TEXT, b"still there")
        assert said_goodbye(second, 1000)
