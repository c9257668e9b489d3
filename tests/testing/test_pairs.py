"""`connect_to` and `pair`: what they join, and what reaches the test."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

from gws import (
    ClientConnection,
    ConnectionClosedError,
    InvalidStatus,
    Router,
    ServerConnection,
    State,
)
from gws.testing import FakeClock, connect_to, pair

from ..wire import LONG


pytestmark = pytest.mark.usefixtures("leakcheck")


def echo(ws: Any) -> None:
    for message in ws:
        ws.send(message)


def fail(ws: Any) -> None:
    raise LookupError("no such thing")


def receive_then_fail(ws: Any) -> None:
    ws.recv()
    fail(ws)


# pair


def test_both_sides_are_open_and_joined() -> None:
    with pair() as (client, server):
        assert isinstance(client, ClientConnection)
        assert isinstance(server, ServerConnection)
        for ws, other in [(client, server), (server, client)]:
            assert ws.open
            ws.send("é")
            ws.send(b"\x00")
            assert other.recv(timeout=LONG) == "é"
            assert other.recv(timeout=LONG) == b"\x00"
            assert ws.ping().wait(timeout=LONG)
        assert client.path == server.path == "/"
        assert server.remote_address == ("127.0.0.1", 0)
    assert (client.state, server.state) == (State.CLOSED, State.CLOSED)
    assert (client.close_code, server.close_code) == (1000, 1000)


def test_both_sides_have_their_options() -> None:
    with pair(
        "/chat/lobby?x=1",
        headers={"X-Name": "value"},
        client={"subprotocols": ["b", "a"], "max_size": 10},
        server={"subprotocols": ["a", "b"], "max_size": 20},
    ) as (client, server):
        assert server.path == "/chat/lobby?x=1"
        assert server.request_headers["X-Name"] == "value"
        assert client.subprotocol == server.subprotocol == "a"
        client.send("x" * 20)
        assert server.recv(timeout=LONG) == "x" * 20
        server.send("x" * 11)
        with pytest.raises(ConnectionClosedError, match="sent 1009"):
            client.recv(timeout=LONG)


@pytest.mark.parametrize("side", ["client", "server"])
def test_either_side_may_close(side: str) -> None:
    with pair() as (client, server):
        ws, other = (client, server) if side == "client" else (server, client)
        ws.close(3000, "enough")
        with pytest.raises(ConnectionClosedError):
            other.recv(timeout=LONG)
        assert (other.close_code, other.close_reason) == (3000, "enough")
        assert other.wait_closed(timeout=LONG)


def test_what_was_not_received_does_not_hold_up_the_end() -> None:
    start = time.monotonic()
    with FakeClock(), pair() as (client, server):
        for _ in range(100):
            client.send("unread")
            server.send("unread")
    assert client.closed
    assert server.closed
    assert time.monotonic() - start < LONG / 2


def test_the_body_raises() -> None:
    with pytest.raises(ZeroDivisionError), pair() as (client, server):
        print(1 // 0)
    assert client.closed
    assert server.closed


def test_tls(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    with pair(client={"ssl": client_context}, server={"ssl": server_context}) as both:
        for ws, other in [both, both[::-1]]:
            ws.send("secret")
            assert other.recv(timeout=LONG) == "secret"


def test_a_refused_pair() -> None:
    with (
        pytest.raises(InvalidStatus),
        pair(client={"origin": "https://evil.example"}),
    ):
        raise AssertionError("it is open")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"client": {"max_size": -1}}, ValueError),
        ({"server": {"max_size": -1}}, ValueError),
        ({"client": {"no_option": 1}}, TypeError),
        ({"server": {"no_option": 1}}, TypeError),
        ({"client": {"sock": None}}, TypeError),
        ({"server": {"host": "localhost"}}, TypeError),
        ({"client": {"origin": "\r\n"}}, ValueError),
        ({"path": "no path\n"}, Exception),
    ],
)
def test_options_that_make_no_sense(options: Any, error: type[Exception]) -> None:
    with pytest.raises(error), pair(**options):
        raise AssertionError("it is open")


# connect_to: handlers, routers, refusals


def test_a_handler() -> None:
    with connect_to(echo, "/path", remote_address=("10.0.0.1", 5)) as ws:
        assert isinstance(ws, ClientConnection)
        ws.send("x")
        assert ws.recv(timeout=LONG) == "x"
    assert ws.close_code == 1000


def test_a_handler_that_takes_the_path() -> None:
    def handler(ws: Any, path: str) -> None:
        ws.send(path)

    with connect_to(handler, "/a?b=c") as ws:
        assert list(ws) == ["/a?b=c"]


def test_a_router() -> None:
    router = Router()

    @router.route("/chat/<room>", subprotocols=["chat"], max_size=3)
    def chat(ws: Any, room: str) -> None:
        for message in ws:
            ws.send(f"{room}: {message}")

    session = connect_to(router, "/chat/lobby", subprotocols=["chat"])
    with session as ws:
        ws.send("hi")
        assert ws.recv(timeout=LONG) == "lobby: hi"
        assert ws.subprotocol == "chat"
        assert session.server_connection.handler_kwargs == {"room": "lobby"}
        ws.send("long")
        with pytest.raises(ConnectionClosedError, match="1009"):
            ws.recv(timeout=LONG)

    with pytest.raises(InvalidStatus) as caught, connect_to(router, "/nowhere"):
        pass
    assert caught.value.response.status_code == 404


def test_captured_values_of_any_name() -> None:
    router = Router()

    @router.route("/<self>/<handler>/<hook>")
    def handle(ws: Any, **values: str) -> None:
        ws.send(" ".join(values.values()))

    with connect_to(router, "/a/b/c") as ws:
        assert ws.recv(timeout=LONG) == "a b c"


def test_a_whole_uri() -> None:
    router = Router()

    @router.route("/", host="<tenant>.example.com")
    def handler(ws: Any, tenant: str) -> None:
        ws.send(tenant)

    with connect_to(router, "ws://acme.example.com/") as ws:
        assert ws.recv(timeout=LONG) == "acme"


def test_server_options() -> None:
    def hook(ws: Any, request: Any) -> Any:
        if "Cookie" not in request.headers:
            return (401, [], b"who are you?")
        return None

    server = {"process_request": hook, "extra_headers": {"X-Server": "yes"}}
    with connect_to(echo, headers={"Cookie": "a=b"}, server=server) as ws:
        assert ws.response_headers["X-Server"] == "yes"
    with pytest.raises(InvalidStatus) as caught, connect_to(echo, server=server):
        pass
    assert caught.value.response.body == b"who are you?"


def test_the_server_side() -> None:
    session = connect_to(echo, remote_address=("10.0.0.1", 5))
    with pytest.raises(RuntimeError, match="not entered"):
        session.server_connection  # noqa: B018
    with session as ws:
        server = session.server_connection
        assert isinstance(server, ServerConnection)
        assert server.remote_address == ("10.0.0.1", 5)
        assert server.open
        assert server.request_headers["Host"] == "localhost"
    assert ws.closed
    assert session.server_connection is server
    assert server.closed


def test_interrupted_while_it_opens() -> None:
    def hook(ws: Any, request: Any) -> None:
        Event().wait()

    session = connect_to(echo, server={"process_request": hook}, timeout=0.05)
    with pytest.raises(TimeoutError, match="has not ended"), gevent.Timeout(0.01):
        session.__enter__()


def test_interrupted_before_it_opens() -> None:
    # At the first switch.
    gevent.get_hub().loop.run_callback(gevent.getcurrent().throw, LookupError)
    with pytest.raises(LookupError), connect_to(echo):
        raise AssertionError("it is open")


def test_entering_twice() -> None:
    session = connect_to(echo)
    with session, pytest.raises(RuntimeError, match="entered already"):
        session.__enter__()
    with session as ws:
        ws.send("again")
        assert ws.recv(timeout=LONG) == "again"


# What a handler raises


def test_it_is_raised_at_the_end() -> None:
    with pytest.raises(LookupError, match="no such thing"), connect_to(fail):
        pass


def test_it_is_raised_in_the_place_of_the_end_of_the_connection() -> None:
    with pytest.raises(LookupError), connect_to(fail) as ws:
        ws.recv(timeout=LONG)


def test_what_it_was_raised_from_is_kept() -> None:
    def handler(ws: Any) -> None:
        try:
            fail(ws)
        except LookupError:
            raise ValueError("a consequence")  # noqa: B904 (its context is meant)

    with pytest.raises(ValueError, match="consequence") as caught, connect_to(handler):
        pass
    assert isinstance(caught.value.__context__, LookupError)


def test_the_body_has_another_error() -> None:
    with pytest.raises(ZeroDivisionError) as caught, connect_to(fail) as ws:
        assert ws.wait_closed(timeout=LONG)
        print(1 // 0)
    assert caught.value.__notes__ == [
        "What was served had failed with LookupError('no such thing')."
    ]


def test_it_is_asked_for() -> None:
    session = connect_to(receive_then_fail)
    with pytest.raises(RuntimeError, match="not entered"):
        session.handler_exception()
    with session as ws:
        with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
            session.handler_exception(timeout=0.01)
        ws.send("x")
        assert isinstance(session.handler_exception(), LookupError)
        with pytest.raises(ConnectionClosedError, match="1011"):
            ws.recv(timeout=LONG)


def test_nothing_was_raised() -> None:
    session = connect_to(lambda ws: ws.send("bye"))
    with session as ws:
        assert session.handler_exception(timeout=LONG) is None
        assert list(ws) == ["bye"]


class Outcome(BaseException):
    """As those of test frameworks: no Exception."""


@pytest.mark.parametrize("failure", [gevent.Timeout(1), Outcome()])
def test_any_exception_counts(
    failure: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    def handler(ws: Any) -> None:
        raise failure

    with pytest.raises(type(failure)), connect_to(handler):
        pass
    # The server leaves what is no Exception to the hub, which prints it.
    assert ("Outcome" in capsys.readouterr().err) is isinstance(failure, Outcome)


def test_a_foreign_end_is_a_failure() -> None:
    def handler(ws: Any) -> None:
        raise ConnectionClosedError(None, None)

    with pytest.raises(ConnectionClosedError), connect_to(handler) as ws:
        assert ws.wait_closed(timeout=LONG)


def test_the_end_of_its_own_connection_is_none() -> None:
    session = connect_to(lambda ws: ws.recv())
    with session as ws:
        ws.close(3000)
        assert session.handler_exception() is None


def test_a_killed_handler_has_not_failed() -> None:
    def handler(ws: Any) -> None:
        raise gevent.GreenletExit

    with connect_to(handler) as ws:
        assert ws.wait_closed(timeout=LONG)
    assert ws.close_code == 1001


def failing_hook(*args: Any) -> Any:
    raise LookupError("in a hook")


@pytest.mark.parametrize(
    "hook",
    ["process_request", "process_response", "extra_headers", "select_subprotocol"],
)
@pytest.mark.parametrize("place", ["server", "route"])
def test_what_a_hook_raises_is_raised(hook: str, place: str) -> None:
    router = Router()
    options: dict[str, Any] = {hook: failing_hook}
    router.route("/", **(options if place == "route" else {}))(echo)
    server = options if place == "server" else {}
    with (
        pytest.raises(LookupError, match="in a hook"),
        connect_to(router, subprotocols=["a"], server=server),
    ):
        raise AssertionError("it is open")


def test_a_hook_that_answers_500_has_not_failed() -> None:
    server = {"process_request": lambda ws, request: (500, [], b"")}
    with pytest.raises(InvalidStatus), connect_to(echo, server=server):
        pass


def test_the_servers_log_is_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(LookupError), connect_to(fail) as ws:
        assert ws.wait_closed(timeout=LONG)
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert record.name == "gws.server"
    assert record.exc_info


# Handlers that do not end


def sleep_for_ever(ws: Any) -> None:
    Event().wait()


def sleep_for_ever_after_a_message(ws: Any) -> None:
    ws.recv()
    sleep_for_ever(ws)


def end_late(ws: Any) -> None:
    try:
        Event().wait()
    except gevent.GreenletExit:
        gevent.sleep(0.01)


@pytest.mark.parametrize(
    "handler", [sleep_for_ever, sleep_for_ever_after_a_message, end_late]
)
def test_a_handler_that_does_not_end(handler: Callable[[Any], None]) -> None:
    with (
        pytest.raises(TimeoutError, match=r"within 0\.1 s") as caught,
        connect_to(handler, timeout=0.1) as ws,
    ):
        ws.send("1")
        ws.send("2")
    assert handler.__name__ in str(caught.value)
    assert ws.closed


def test_a_handler_that_does_not_end_while_time_stands_still() -> None:
    session = connect_to(sleep_for_ever, timeout=0.05)
    with (
        pytest.raises(TimeoutError, match="has not ended"),
        FakeClock(),
        session as ws,
    ):
        ws.send("never received")
    assert ws.closed
    assert session.server_connection.closed
