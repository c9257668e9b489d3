"""`FakeClock`: what it moves, in which order, and what it leaves alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from gws.hubs import share_of
from gws.testing import PING, FakeClock, pair, server_pair, settle
from gws.testing.clock import SteppedDeadlines

from ..wire import LONG


pytestmark = pytest.mark.usefixtures("leakcheck")


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with FakeClock() as clock:
        yield clock


class Note:
    """Writes down who was called when, and by whom."""

    log: list[tuple[str, float]]

    def __init__(self, name: str, log: list[tuple[str, float]]) -> None:
        self._name = name
        self._log = log

    def on_deadline(self, now: float) -> None:
        assert gevent.getcurrent() is gevent.get_hub()
        self._log.append((self._name, now))


def deadlines_of_now() -> Any:
    return share_of(gevent.get_hub()).deadlines


def test_time_moves_only_when_told(clock: FakeClock) -> None:
    assert clock.now() == 0
    gevent.sleep(0.002)
    assert clock.now() == 0
    clock.advance(1.5)
    clock.advance(0)
    assert clock.now() == 1.5


def test_what_is_due_happens_in_order_and_at_its_time(clock: FakeClock) -> None:
    log: list[tuple[str, float]] = []
    deadlines = deadlines_of_now()
    for name, when in [("c", 3), ("a", 1), ("d", 4), ("b", 2), ("b2", 2)]:
        deadlines.set(Note(name, log), when)
    gone = deadlines.set(Note("gone", log), 1.5)
    deadlines.cancel(gone)
    deadlines.set(Note("past", log), -5)
    clock.advance(3)
    assert log == [("past", 0), ("a", 1), ("b", 2), ("b2", 2), ("c", 3)]
    assert deadlines.next_due() == 4
    clock.advance(1)
    assert log[-1] == ("d", 4)
    assert deadlines.next_due() is None


def test_steps_that_are_not_exact_add_up(clock: FakeClock) -> None:
    log: list[tuple[str, float]] = []
    deadlines_of_now().set(Note("x", log), 1)
    for _ in range(10):
        clock.advance(0.1)
    assert log == [("x", 1)]


@pytest.mark.parametrize("seconds", [-1, -0.001, float("nan")])
def test_time_does_not_go_back(clock: FakeClock, seconds: float) -> None:
    with pytest.raises(ValueError, match="back"):
        clock.advance(seconds)


def test_outside_the_with() -> None:
    clock = FakeClock()
    with pytest.raises(RuntimeError, match="inside"):
        clock.advance(1)
    with clock:
        clock.advance(1)
        with pytest.raises(RuntimeError, match="once"):
            clock.__enter__()
    with pytest.raises(RuntimeError, match="inside"):
        clock.advance(1)
    with pytest.raises(RuntimeError, match="once"):
        clock.__enter__()


def test_another_thread(clock: FakeClock) -> None:
    caught: list[BaseException] = []

    def advance() -> None:
        try:
            clock.advance(1)
        except RuntimeError as exc:
            caught.append(exc)
        finally:
            gevent.get_hub().destroy()

    thread = threading.Thread(target=advance)
    thread.start()
    thread.join()
    assert "thread" in str(caught[0])
    assert clock.now() == 0


def test_a_ping_is_answered_before_the_next(clock: FakeClock) -> None:
    options: Any = {"ping_interval": 10, "ping_timeout": 5}
    with pair(client=options, server=options) as (client, server):
        clock.advance(1000)
        assert client.open
        assert server.open


def test_latency(clock: FakeClock) -> None:
    with server_pair(ping_interval=10) as (ws, peer):
        clock.advance(10)
        opcode, payload = peer.receive()
        assert opcode == PING
        clock.advance(0.5)
        peer.send(0xA, payload)
        settle()
        assert ws.latency == 0.5


def test_connections_made_before_keep_the_real_time() -> None:
    options: Any = {"ping_interval": 0.01, "ping_timeout": None}
    with server_pair(**options) as (before, peer), FakeClock() as clock:
        with server_pair(**options) as (_, quiet):
            assert peer.receive()[0] == PING
            quiet.sock.settimeout(0)
            with pytest.raises(BlockingIOError):
                quiet.sock.recv(1)
            clock.advance(0.01)
            assert quiet.sock.recv(1) == bytes([0x80 | PING])
        assert before.open


def test_clocks_within_clocks() -> None:
    real = deadlines_of_now()
    with FakeClock() as outer:
        first = deadlines_of_now()
        with FakeClock() as inner:
            assert deadlines_of_now() is not first
            inner.advance(5)
        assert deadlines_of_now() is first
        assert outer.now() == 0
    assert deadlines_of_now() is real
    assert not isinstance(real, SteppedDeadlines)


def test_after_the_with_time_goes_on() -> None:
    with FakeClock() as clock:
        closing = server_pair(close_timeout=0.05)
        ws, peer = closing.__enter__()
        ws.begin_close()
        clock.advance(0.04)
    assert clock.now() >= 0.04
    assert peer.receive_close() == (1000, "")
    assert ws.wait_closed(timeout=LONG)
    closing.__exit__(None, None, None)


def test_a_loop_without_rest() -> None:
    def spin() -> None:
        while True:
            gevent.sleep(0)

    spinner = gevent.spawn(spin)
    with pytest.raises(TimeoutError, match=r"no rest within 0\.02 s"):
        settle(timeout=0.02)
    spinner.kill()
    settle(timeout=LONG)


def test_settling_is_interrupted_by_others() -> None:
    def spin() -> None:
        while True:
            gevent.sleep(0)

    spinner = gevent.spawn(spin)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        settle()
    spinner.kill()
