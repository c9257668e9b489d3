"""`for ws in connect(...)`: stay connected, until the loop is left."""

from __future__ import annotations

import gc
import itertools
import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from gws import (
    ClientConnection,
    ConnectionClosed,
    InvalidStatus,
    State,
    connect,
    process_exception,
    serve,
)
from gws.client.retry import Reconnection
from gws.exceptions import InvalidMessage, InvalidUpgrade

from ..wire import LONG, RawPeer, RawServer, port_of, raw_server
from .test_dial import refused


pytestmark = pytest.mark.usefixtures("leakcheck")

Play = Callable[[RawPeer], Any]


class Delays:
    """Delays of no time; remembers what was asked for."""

    def __init__(self) -> None:
        #: How many delays of each series were used.
        self.used: list[int] = []

    def __call__(self) -> Iterator[float]:
        self.used.append(0)
        while True:
            self.used[-1] += 1
            yield 0.0


@contextmanager
def acts(*plays: Play) -> Iterator[RawServer]:
    """A server that treats the n-th connection by the n-th of ``plays``."""
    left = list(plays)
    with raw_server(lambda peer: left.pop(0)(peer)) as server:
        yield server


def answer(text: str) -> Play:
    def play(peer: RawPeer) -> None:
        peer.read_head()
        peer.write(text.replace("\n", "\r\n").encode())

    return play


def status(code: int, extra: str = "") -> Play:
    return answer(f"HTTP/1.1 {code} X\n{extra}Content-Length: 0\n\n")


def hang_up(peer: RawPeer) -> None:
    peer.read_head()


def drop(peer: RawPeer) -> None:
    peer.accept()


def close(peer: RawPeer) -> None:
    peer.accept()
    peer.send_close(1012)
    peer.receive_close()


def stay(codes: list[int]) -> Play:
    """Return what stays connected, and notes how the client closes."""

    def play(peer: RawPeer) -> None:
        peer.accept()
        codes.append(peer.receive_close()[0])
        peer.send_close(codes[-1])

    return play


def lost(ws: ClientConnection) -> None:
    with pytest.raises(ConnectionClosed):
        ws.recv(timeout=LONG)


# Failures


def test_failures_are_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gws.client")
    codes: list[int] = []
    delays = Delays()
    plays = [hang_up, status(503), status(429), status(500), stay(codes)]
    with acts(*plays) as server:
        for ws in connect(server.uri, reconnect_delays=delays):
            assert ws.state is State.OPEN
            break
        assert ws.close_code == 1000
    assert codes == [1000]
    assert delays.used == [4]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 4
    for line in lines:
        assert line.startswith("connect failed; reconnecting in 0.0 seconds: Invalid")
    assert {(r.levelname, r.exc_info) for r in caplog.records} == {("INFO", None)}


def test_nobody_listens_yet() -> None:
    host, port = refused()
    codes: list[int] = []
    servers = []

    def delays() -> Iterator[float]:
        yield 0.0
        yield 0.0
        servers.append(serve(lambda ws: codes.append(ws.recv()), host, port))
        servers[0].start()
        yield 0.0

    for ws in connect(f"ws://{host}:{port}/", reconnect_delays=delays):
        ws.send("x")
        break
    servers[0].shutdown()
    assert codes == ["x"]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 407, 426])
def test_refusals_are_not_tried_again(code: int) -> None:
    delays = Delays()
    with acts(status(code)) as server:
        with pytest.raises(InvalidStatus) as caught:
            next(iter(connect(server.uri, reconnect_delays=delays)))
        assert caught.value.status_code == code
        assert server.n_accepted == 1
    assert delays.used == []


def test_a_server_that_speaks_no_websocket_is_not_tried_again() -> None:
    for text, error in (
        ("SSH-2.0-x\n", InvalidMessage),
        ("HTTP/1.1 101 X\n\n", InvalidUpgrade),
    ):
        with acts(answer(text)) as server, pytest.raises(error):
            next(iter(connect(server.uri, reconnect_delays=Delays())))


def test_a_wrong_certificate_is_not_tried_again(
    server_context: ssl.SSLContext,
) -> None:
    with (
        serve(lambda ws: None, "127.0.0.1", 0, ssl=server_context) as server,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        uri = f"wss://localhost:{port_of(server)}/"
        next(iter(connect(uri, reconnect_delays=Delays())))


def test_a_timeout_is_tried_again() -> None:
    codes: list[int] = []
    over = Event()

    def silent(peer: RawPeer) -> None:
        peer.read_head()
        over.wait()

    with acts(silent, stay(codes)) as server:
        recipe = connect(server.uri, open_timeout=0.1, reconnect_delays=Delays())
        for _ in recipe:
            break
        over.set()
    assert codes == [1000]


def test_process_exception() -> None:
    seen: list[Exception] = []

    def process(exc: Exception) -> Exception | None:
        seen.append(exc)
        if len(seen) == 1:
            return None
        return exc if len(seen) == 2 else LookupError("mine")

    with acts(*[status(404)] * 4) as server:
        recipe = connect(
            server.uri, process_exception=process, reconnect_delays=Delays()
        )
        with pytest.raises(InvalidStatus) as caught:
            next(iter(recipe))
        assert caught.value is seen[1]
        with pytest.raises(LookupError) as mine:
            next(iter(recipe))
        assert mine.value.__cause__ is seen[2]
        assert server.n_accepted == 3


@pytest.mark.parametrize("name", ["process_exception", "reconnect_delays"])
def test_what_is_not_callable(name: str) -> None:
    options: Any = {name: [1.0]}
    with pytest.raises(TypeError, match=name):
        connect("ws://localhost/", **options)


def test_retry_after() -> None:
    codes: list[int] = []
    with acts(status(503, "Retry-After: 1\n"), stay(codes)) as server:
        reconnecting = iter(connect(server.uri, reconnect_delays=Delays()))
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
            next(reconnecting)
        assert server.n_accepted == 1
        next(reconnecting)
        reconnecting.close()
    assert codes == [1000]


# Connections that end


def test_a_connection_that_was_lost() -> None:
    codes: list[int] = []
    delays = Delays()
    with acts(close, hang_up, drop, stay(codes)) as server:
        opened = []
        for ws in connect(server.uri, reconnect_delays=delays):
            opened.append(ws)
            try:
                ws.recv(timeout=0.1)
            except ConnectionClosed:
                continue
            except TimeoutError:
                break
        assert len(opened) == 3
        assert [ws.close_code for ws in opened] == [1012, 1006, 1000]
    # The first loss costs no delay, the failure one, the second loss another.
    assert delays.used == [1, 1]


def test_the_one_before_is_closed_first() -> None:
    codes: list[int] = []
    delays = Delays()
    n_open = 0

    def handler(ws: Any) -> None:
        nonlocal n_open
        n_open += 1
        assert n_open == 1
        ws.wait_closed()
        n_open -= 1
        codes.append(ws.close_code)

    with serve(handler, "127.0.0.1", 0) as server:
        uri = f"ws://127.0.0.1:{port_of(server)}/"
        before = None
        for n, ws in enumerate(connect(uri, reconnect_delays=delays)):
            if before is not None:
                assert before.closed
            before = ws
            if n == 4:
                break
    assert codes == [1000] * 5
    assert delays.used == []  # what we close ourselves is no loss


def test_each_success_begins_a_new_series() -> None:
    delays = Delays()
    failures = [hang_up] * 3
    plays = [*failures, stay([]), *failures, stay([]), stay([])]
    with acts(*plays) as server:
        for _ in itertools.islice(connect(server.uri, reconnect_delays=delays), 3):
            pass
        gc.collect()
    assert delays.used == [3, 3]


def test_flapping(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gws.client")
    delays = Delays()
    with acts(drop, drop, close, drop, stay([]), drop, stay([])) as server:
        reconnecting = iter(connect(server.uri, reconnect_delays=delays))
        for _ in range(4):
            lost(next(reconnecting))
        next(reconnecting)
        # The first is at once, the second not: a series of its own.
        assert delays.used == [3]
        lost(next(reconnecting))
        next(reconnecting)
        assert delays.used == [3]
        reconnecting.close()
    lines = {record.getMessage() for record in caplog.records}
    assert lines <= {"connection lost; reconnecting in 0.0 seconds"}


def test_a_connection_that_lasted_is_no_flapping() -> None:
    delays = Delays()
    with acts(*[drop] * 4) as server:
        recipe = connect(server.uri)
        logger = logging.getLogger("gws.client")
        reconnection = Reconnection(
            recipe.open, process_exception, delays, logger, stable_time=0.0
        )
        for _ in range(4):
            lost(reconnection.open())
        reconnection.close(1000)
    assert delays.used == []


def test_the_end_of_the_delays_of_flapping() -> None:
    with acts(drop, drop) as server:
        reconnecting = iter(connect(server.uri, reconnect_delays=lambda: iter(())))
        lost(next(reconnecting))
        lost(next(reconnecting))
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.02):
            next(reconnecting)


def test_the_body_closes() -> None:
    codes: list[int] = []
    delays = Delays()
    with acts(*[stay(codes)] * 3) as server:
        for ws in connect(server.uri, reconnect_delays=delays):
            ws.close(1001 if len(codes) < 2 else 1000)
            if len(codes) == 3:
                break
    assert codes == [1001, 1001, 1000]
    assert delays.used == []


# The end of the loop


def test_break_closes_at_once() -> None:
    codes: list[int] = []
    with acts(stay(codes)) as server:
        for ws in connect(server.uri):
            if ws.open:
                break
        assert (ws.state, ws.close_code) == (State.CLOSED, 1000)
        assert codes == [1000]


def test_break_closes_at_once_whatever_went_wrong_before() -> None:
    codes: list[int] = []
    seen: list[Exception] = []
    over = Event()

    def silent(peer: RawPeer) -> None:
        peer.read_head()
        over.wait()

    def process(exc: Exception) -> None:
        seen.append(exc)  # with its traceback, and all frames of that

    with acts(hang_up, silent, status(503), stay(codes)) as server:
        for _ in connect(
            server.uri,
            open_timeout=0.1,
            process_exception=process,
            reconnect_delays=Delays(),
        ):
            break
        assert codes == [1000]
        over.set()
    assert len(seen) == 3


def test_return_closes_at_once() -> None:
    codes: list[int] = []

    def visit(uri: str) -> ClientConnection:
        for ws in connect(uri):
            return ws
        raise AssertionError("it ends")

    with acts(stay(codes)) as server:
        assert visit(server.uri).close_code == 1000
    assert codes == [1000]


def test_an_exception_closes_at_once() -> None:
    codes: list[int] = []
    with acts(stay(codes)) as server:
        with pytest.raises(LookupError):
            for _ in connect(server.uri):
                raise LookupError
        assert codes == [1000]


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 1000), (GeneratorExit, 1000), (LookupError, 1011), (gevent.Timeout, 1011)],
)
def test_a_loop_in_a_with(error: type[BaseException] | None, code: int) -> None:
    codes: list[int] = []

    def visit(uri: str) -> None:
        with iter(connect(uri)) as connections:
            for ws in connections:
                assert ws.open
                if error is not None:
                    raise error
                break
            assert codes == []

    with acts(stay(codes)) as server:
        if error is None:
            visit(server.uri)
        else:
            with pytest.raises(error):
                visit(server.uri)
        assert codes == [code]


def test_two_loops_of_one_recipe() -> None:
    codes: list[int] = []
    with acts(*[stay(codes)] * 3) as server:
        recipe = connect(server.uri)
        for one in recipe:
            for other in recipe:
                assert one is not other
                break
            with recipe:
                break
    assert codes == [1000] * 3


def test_a_socket_connects_once() -> None:
    with acts(drop) as server:
        sock = socket.create_connection(("127.0.0.1", server.port))
        reconnecting = iter(connect("ws://x/", sock=sock, reconnect_delays=Delays()))
        lost(next(reconnecting))
        with pytest.raises(RuntimeError, match="used up"):
            next(reconnecting)


# Interruptions


def test_a_timeout_while_it_waits_or_opens() -> None:
    over = Event()

    def silent(peer: RawPeer) -> None:
        peer.read_head()
        over.wait()

    for play in (hang_up, silent):
        with acts(play) as server:
            recipe = connect(server.uri, reconnect_delays=lambda: iter([60.0]))
            with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
                next(iter(recipe))
            over.set()


def test_a_kill_in_the_body() -> None:
    codes: list[int] = []
    inside = Event()

    def visit(uri: str) -> None:
        for _ in connect(uri):
            inside.set()
            gevent.sleep(LONG)

    with acts(stay(codes)) as server:
        visitor = gevent.spawn(visit, server.uri)
        inside.wait()
        visitor.kill()
        assert codes == [1000]


def test_a_kill_while_the_last_one_closes() -> None:
    closing = Event()

    def play(peer: RawPeer) -> None:
        peer.accept()
        peer.receive_close()
        closing.set()
        peer.read_to_end()

    def visit(uri: str) -> str:
        for _ in connect(uri, close_timeout=60):
            break
        gevent.sleep(LONG)
        return "not killed"

    with acts(play) as server:
        visitor = gevent.spawn(visit, server.uri)
        closing.wait()
        # Python would print and forget what is raised in a finalizer.
        visitor.kill(timeout=LONG)
        assert isinstance(visitor.value, gevent.GreenletExit)


def test_the_collector_does_not_wait() -> None:
    codes: list[int] = []
    with acts(stay(codes)) as server:
        reconnecting = iter(connect(server.uri))
        ws = next(reconnecting)
        cycle = [reconnecting]
        cycle.append(cycle)  # type: ignore[arg-type]
        del reconnecting, cycle
        collector = gevent.spawn(gc.collect)  # not the loop's greenlet
        collector.join()
        assert ws.wait_closed(LONG)
    assert codes == [1000]


def test_another_thread_may_collect() -> None:
    codes: list[int] = []
    with acts(stay(codes)) as server:
        reconnecting = [iter(connect(server.uri))]
        ws = next(reconnecting[0])
        thread = threading.Thread(target=reconnecting.clear)
        thread.start()
        thread.join()
        assert ws.wait_closed(LONG)
    assert codes == [1000]
