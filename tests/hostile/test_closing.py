"""S06, S11, S14 and beside them: connections, and servers, that are to end.

Whatever the peer does, or leaves undone: `close` and `shutdown` return in their time,
and nothing is left. Who calls them from a handler, or in the hub, does not wait for
itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult, Event

from gws import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, State
from gws.testing import BINARY, CLOSE, PING, TEXT, RawPeer, request

from .conftest import (
    LONG,
    Lend,
    Run,
    Site,
    Sites,
    closed_by,
    limit_sending,
    listener_of,
    until,
)


MIB = 2**20

#: A receive buffer that is soon full.
SMALL = 2**14

#: What these tests set, in seconds, and the most that more than it may pass.
CLOSE_TIMEOUT = 0.2
SLACK = 3.0

KINDS = pytest.mark.parametrize("kind", ["serve", "tls", "pywsgi"])


@contextmanager
def in_time(seconds: float = CLOSE_TIMEOUT) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds + SLACK


# S06: peers that do not play along when we close


def say_nothing(peer: RawPeer) -> None:
    pass


def read_only(peer: RawPeer) -> None:
    gevent.spawn(read_all, peer)


def read_all(peer: RawPeer) -> None:
    with suppress(OSError):
        peer.read_to_end()


def send_for_ever(peer: RawPeer) -> None:
    gevent.spawn(write_all, peer, peer.frame(BINARY, bytes(2**16)))


def ping_for_ever(peer: RawPeer) -> None:
    gevent.spawn(write_all, peer, peer.frame(PING, b"?") * 100)


def begin_a_frame(peer: RawPeer) -> None:
    # Of 1 MB, an octet at a time.
    peer.write(peer.frame(BINARY, bytes(10**6))[:20])
    gevent.spawn(write_all, peer, b"\x00", 0.01)


def answer_slowly(peer: RawPeer) -> None:
    def answer() -> None:
        with suppress(OSError):
            for octet in peer.frame(CLOSE, b"\x03\xe8" + b"x" * 120):
                peer.write(bytes([octet]))
                gevent.sleep(0.01)

    gevent.spawn(answer)


def write_all(peer: RawPeer, octets: bytes, pause: float = 0) -> None:
    with suppress(OSError):
        while True:
            peer.write(octets)
            gevent.sleep(pause)


UNWILLING = [
    say_nothing,
    read_only,
    send_for_ever,
    ping_for_ever,
    begin_a_frame,
    answer_slowly,
]
BEHAVIOURS = pytest.mark.parametrize("behave", UNWILLING)


@BEHAVIOURS
@pytest.mark.parametrize("much", [0, MIB], ids=["idle", "unread"])
def test_s06_close(lend: Lend, behave: Callable[[RawPeer], Any], much: int) -> None:
    options = {"close_timeout": CLOSE_TIMEOUT}
    buffers = {"receive_buffer": SMALL, "send_buffer": SMALL}
    with lend(**options, **buffers) as (ws, peer):
        receiver = gevent.spawn(outcome_of, ws.recv)
        sender = gevent.spawn(outcome_of, ws.send, bytes(much))
        behave(peer)
        gevent.sleep(0.01)
        with in_time():
            ws.close()
        assert ws.closed
        assert ws.state is State.CLOSED
        assert ws.buffered_amount == 0
        assert ws.close_code == 1006
        outcomes = receiver.get(timeout=LONG), sender.get(timeout=LONG)
        expected = (bytes, ConnectionClosedError)
        assert isinstance(outcomes[0], expected)
        assert outcomes[1] is None or isinstance(outcomes[1], ConnectionClosedError)
        peer.end()


def outcome_of(call: Callable[..., Any], *args: Any) -> Any:
    """Return what a call returns or raises, if the connection closed."""
    try:
        return call(*args)
    except ConnectionClosed as exc:
        return exc


@pytest.mark.parametrize("kind", ["serve", "tls", "pywsgi"])
def test_s06_shutdown(sites: Sites, kind: str) -> None:
    # All of them at once, some with much unread, and two that never opened.
    def handle(ws: Any, run: Run) -> None:
        if ws.path == "/much":
            ws.send(bytes(MIB))
        ws.wait_closed()

    n_peers = 2 * len(UNWILLING)
    options = {"neighbour": False, "close_timeout": CLOSE_TIMEOUT}
    with sites(kind, handle, **options) as site, ExitStack() as stack:
        limit_sending(listener_of(site), SMALL)
        peers = [stack.enter_context(site.peer(SMALL)) for _ in range(n_peers)]
        for i, peer in enumerate(peers):
            peer.ask(request("/much" if i % 2 else "/"))
        for half in (b"", request()[:30]):
            stack.enter_context(site.peer()).write(half)
        until(lambda: len(site.runs) == n_peers)
        for i, peer in enumerate(peers):
            UNWILLING[i // 2](peer)
        with in_time():
            shut_down(site)
        assert not site.server.connections
        for run in site.runs:
            assert run.end is not None


def shut_down(site: Site) -> None:
    if site.kind == "pywsgi":
        site.server.stop(timeout=CLOSE_TIMEOUT)
    else:
        site.server.shutdown()


# From handlers, hooks and the hub


def in_hub(call: Callable[[], Any]) -> Any:
    """Return what ``call`` returns when the hub makes it, or raise what it raises."""
    result = AsyncResult()

    def make() -> None:
        try:
            result.set(call())
        except BaseException as exc:
            result.set_exception(exc)

    gevent.get_hub().loop.run_callback(make)
    return result.get(timeout=LONG)


@pytest.mark.parametrize("n_callers", [1, 3])
@pytest.mark.parametrize("kind", ["serve", "tls"])
def test_shutdown_from_handlers(sites: Sites, kind: str, n_callers: int) -> None:
    def handle(ws: Any, run: Run) -> None:
        run.messages.append(ws.recv())
        ws.server.shutdown()
        run.messages.append("returned")
        ws.recv()

    options = {"neighbour": False, "close_timeout": LONG}
    with sites(kind, handle, **options) as site, ExitStack() as stack:
        peers = [stack.enter_context(site.open_peer()) for _ in range(n_callers + 1)]
        until(lambda: len(site.runs) == n_callers + 1)
        with in_time():
            for peer in peers[1:]:
                peer.send(TEXT, b"stop")
            for peer in peers:
                assert peer.receive_close() == (1001, "")
                peer.send_close(1001)
            until(lambda: all(run.end is not None for run in site.runs))
        assert [run.messages for run in site.runs[1:]] == [["stop", "returned"]] * (
            n_callers
        )
        for run in site.runs:
            assert isinstance(run.end, ConnectionClosedOK)
        assert site.server.wait_closed(LONG)


def test_shutdown_from_a_hook(sites: Sites) -> None:
    # Its own handshake is refused like any other that is not done.
    def process_request(ws: Any, asked: Any) -> None:
        ws.server.shutdown()

    options = {"neighbour": False, "process_request": process_request}
    with sites("serve", **options) as site, site.peer() as peer, in_time():
        peer.write(request())
        assert peer.read_to_end().startswith(b"HTTP/1.1 503 ")
        peer.end()
        assert site.server.wait_closed(LONG)
        assert not site.runs


def test_shutdown_in_the_hub(sites: Sites) -> None:
    # As a handler of signals may: it can wait for nobody there.
    with sites("serve", neighbour=False) as site, site.open_peer() as peer, in_time():
        until(lambda: site.runs)
        in_hub(site.server.shutdown)
        assert in_hub(site.server.wait_closed) is False
        assert peer.receive_close() == (1001, "")
        peer.send_close(1001)
        assert peer.read_to_end() == b""
        assert site.server.wait_closed(LONG)
        assert in_hub(site.server.wait_closed) is True
        site.server.shutdown()


def test_close_in_the_hub(lend: Lend) -> None:
    with lend() as (ws, peer):
        began = time.monotonic()
        in_hub(ws.close)
        assert time.monotonic() - began < SLACK
        assert peer.receive_close() == (1000, "")
        peer.send_close(1000)
        peer.end()
        assert ws.wait_closed(LONG)
        in_hub(ws.close)
        assert ws.close_code == 1000


@KINDS
def test_close_from_many_places_at_once(sites: Sites, kind: str) -> None:
    def handle(ws: Any, run: Run) -> None:
        closers = [gevent.spawn(ws.close, 1000 + i) for i in (0, 1, 2)]
        ws.close(3000, "mine")
        gevent.joinall(closers, timeout=LONG, raise_error=True)
        ws.close()
        in_hub(ws.close)

    with sites(kind, handle) as site, site.open_peer() as peer:
        assert peer.receive_close() == (3000, "mine")
        peer.send_close(3000)
        assert peer.read_to_end() == b""
        assert isinstance(site.last_run().end, GeneratorExit)


@KINDS
def test_a_handler_closes_others(sites: Sites, kind: str) -> None:
    # Two close each other at once.
    members: list[Any] = []

    def handle(ws: Any, run: Run) -> None:
        members.append(ws)
        ws.recv()
        for member in members:
            member.close(1000, "all")

    with sites(kind, handle) as site, site.open_peer() as one, site.open_peer() as two:
        until(lambda: len(members) == 2)
        with in_time():
            for peer in (one, two):
                peer.send(TEXT, b"now")
            for peer in (one, two):
                assert peer.receive_close() == (1000, "all")
                peer.send_close(1000)
                assert peer.read_to_end() == b""
        site.last_run()


# S11: handlers that do not see the end coming


@KINDS
def test_s11_gone_while_the_handler_is_busy(sites: Sites, kind: str) -> None:
    done = Event()
    seen: list[str] = []

    def handle(ws: Any, run: Run) -> None:
        done.wait()
        for use in (ws.recv, ws.ping, ws.flush, lambda: ws.send("x")):
            with pytest.raises(ConnectionClosedError):
                use()
        try:
            ws.recv()
        finally:
            seen.append("cleaned up")

    with sites(kind, handle) as site:
        with site.open_peer() as peer:
            until(lambda: site.server.connections and site.runs)
            peer.reset()
        # Its socket is closed at once, whatever the handler does.
        until(lambda: len(site.server.connections) == 1)
        done.set()
        assert isinstance(closed_by(site.last_run()), ConnectionClosedError)
        assert seen == ["cleaned up"]


def test_s11_a_handler_that_never_ends(sites: Sites) -> None:
    # Its server stops it; one that will not even then is left behind.
    stubborn = Event()

    def handle(ws: Any, run: Run) -> None:
        try:
            Event().wait()
        except gevent.GreenletExit:
            if ws.path == "/stubborn":
                stubborn.wait()
            raise

    options = {"neighbour": False, "close_timeout": CLOSE_TIMEOUT}
    with sites("serve", handle, **options) as site, ExitStack() as stack:
        for path in ("/", "/stubborn"):
            stack.enter_context(site.peer()).ask(request(path))
        until(lambda: len(site.runs) == 2)
        with in_time(2 * CLOSE_TIMEOUT):
            site.server.shutdown()
        assert not site.server.connections
        ends = {run.path: run.end for run in site.runs}
        assert isinstance(ends["/"], gevent.GreenletExit)
        assert ends["/stubborn"] is None
        stubborn.set()
        assert site.server.wait_closed(LONG)


@KINDS
def test_s11_a_handler_fails_when_its_peer_is_gone(sites: Sites, kind: str) -> None:
    # That is a bug of the handler's: the log says so, once, and others go on.
    def handle(ws: Any, run: Run) -> None:
        try:
            ws.recv()
        finally:
            raise ZeroDivisionError("in the cleanup")

    with sites(kind, handle) as site:
        site.log_level = logging.ERROR
        with site.open_peer() as peer:
            peer.reset()
        assert isinstance(site.last_run().end, ZeroDivisionError)
        until(lambda: len(site.server.connections) == 1)


# S14: many come and go


def visit(peer: RawPeer) -> None:
    peer.ask()
    peer.send(TEXT, b"?")
    assert peer.receive() == (TEXT, b"?")
    peer.send_close(1000)
    assert peer.receive_close() == (1000, "")
    assert peer.read_to_end() == b""


@KINDS
def test_s14_many_come_and_go(sites: Sites, kind: str) -> None:
    n = 40
    with sites(kind) as site:

        def come_and_go() -> None:
            with site.peer() as peer:
                visit(peer)

        for _ in range(3):
            visitors = [gevent.spawn(come_and_go) for _ in range(n // 3)]
            gevent.joinall(visitors, timeout=LONG, raise_error=True)
        until(lambda: len(site.server.connections) == 1)
        assert len(site.runs) == 3 * (n // 3)


@KINDS
def test_s14_many_are_dropped_at_once(sites: Sites, kind: str) -> None:
    n = 40
    with sites(kind) as site, ExitStack() as stack:
        peers = [stack.enter_context(site.open_peer()) for _ in range(n)]
        until(lambda: len(site.runs) == n)
        for peer in peers[::2]:
            peer.reset()
        for peer in peers[1::2]:
            peer.end()
        # Meanwhile others are served.
        with site.peer() as peer:
            visit(peer)
        until(lambda: len(site.server.connections) == 1)
        for run in site.runs:
            until(lambda run=run: run.end is not None)
            closed_by(run)
