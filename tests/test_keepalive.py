"""`Deadlines`: one timer for many; `PingWaiter`: a ping until its pong."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gevent
import pytest
from gevent.event import Event

from gws import ConnectionClosedError
from gws.keepalive import Deadlines, PingWaiter


pytestmark = pytest.mark.usefixtures("leakcheck")

LONG = 10


class Sleeper:
    """Notes when it was called."""

    def __init__(self, then: Callable[[], Any] = lambda: None) -> None:
        self.calls: list[float] = []
        self.called = Event()
        self._then = then

    def on_deadline(self, now: float) -> None:
        self.calls.append(now)
        self.called.set()
        self._then()


@pytest.fixture
def deadlines(warm_hub: Any) -> Iterator[Deadlines]:
    yield Deadlines(warm_hub)


def timers(deadlines: Deadlines) -> int:
    """Return how many watchers the loop has."""
    n: int = gevent.get_hub().loop.activecnt
    return n


def test_each_is_called_at_its_time(deadlines: Deadlines) -> None:
    start = deadlines.now()
    sleepers = {delay: Sleeper() for delay in (0.03, 0.01, 0.02, 0.01001)}
    for delay, sleeper in sleepers.items():
        deadlines.set(sleeper, start + delay)
    assert sleepers[0.03].called.wait(LONG)
    times = [sleepers[delay].calls[0] for delay in sorted(sleepers)]
    assert times == sorted(times)
    for delay, sleeper in sleepers.items():
        assert len(sleeper.calls) == 1
        assert sleeper.calls[0] >= start + delay


def test_what_is_due_already(deadlines: Deadlines) -> None:
    sleeper = Sleeper()
    deadlines.set(sleeper, deadlines.now() - 100)
    assert sleeper.calls == []  # only the hub calls
    assert sleeper.called.wait(LONG)


def test_an_earlier_one_comes_later(deadlines: Deadlines) -> None:
    late, early = Sleeper(), Sleeper()
    entry = deadlines.set(late, deadlines.now() + 100)
    deadlines.set(early, deadlines.now() + 0.01)
    assert early.called.wait(LONG)
    assert late.calls == []
    deadlines.cancel(entry)


def test_cancelled_ones_are_not_called(deadlines: Deadlines) -> None:
    n_before = timers(deadlines)
    gone, stays = Sleeper(), Sleeper()
    entries = [deadlines.set(gone, deadlines.now() + 0.001) for _ in range(10)]
    deadlines.set(stays, deadlines.now() + 0.01)
    for entry in entries:
        deadlines.cancel(entry)
        deadlines.cancel(entry)  # again does no harm
    assert stays.called.wait(LONG)
    assert gone.calls == []
    assert timers(deadlines) == n_before


def test_no_timer_for_nobody(deadlines: Deadlines) -> None:
    n_before = timers(deadlines)
    entries = [deadlines.set(Sleeper(), deadlines.now() + i) for i in range(1, 10)]
    assert timers(deadlines) == n_before + 1
    for entry in entries:
        deadlines.cancel(entry)
    assert timers(deadlines) == n_before
    again = Sleeper()
    deadlines.set(again, deadlines.now())
    assert again.called.wait(LONG)
    assert timers(deadlines) == n_before


def test_many_are_set_and_cancelled(deadlines: Deadlines) -> None:
    stays = Sleeper()
    last = Sleeper()
    deadlines.set(stays, deadlines.now() + 0.01)
    entry = deadlines.set(last, deadlines.now() + 100)
    for _ in range(1000):
        deadlines.cancel(deadlines.set(Sleeper(), deadlines.now() + 50))
    assert stays.called.wait(LONG)
    assert last.calls == []
    deadlines.cancel(entry)


def test_setting_and_cancelling_in_a_call(deadlines: Deadlines) -> None:
    second = Sleeper()
    victim = Sleeper()
    entries = []

    def then() -> None:
        deadlines.set(second, deadlines.now() - 1)
        deadlines.cancel(entries[0])

    first = Sleeper(then)
    when = deadlines.now() + 0.01
    deadlines.set(first, when)
    entries.append(deadlines.set(victim, when))
    assert second.called.wait(LONG)
    assert len(first.calls) == 1
    assert victim.calls == []


class Clock:
    """A time that only the test moves."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_any_order_of_any_times(warm_hub: Any) -> None:
    """Each is called once, not before its time, and the earlier one first."""
    clock, chance = Clock(), random.Random(7)
    deadlines = Deadlines(warm_hub, clock)
    calls: list[float] = []
    entries = []
    for _ in range(2000):
        due = chance.choice([chance.uniform(0, 3), chance.randrange(30) / 10])
        entries.append(deadlines.set(Sleeper(partial(calls.append, due)), due))
    cancelled = chance.sample(entries, 700)
    gone = Counter(entry[0] for entry in cancelled)
    expected = Counter(entry[0] for entry in entries) - gone
    for entry in cancelled:
        deadlines.cancel(entry)
    while deadlines:
        clock.time = max(clock.time, deadlines.next_due() or 0.0)
        n_before = len(calls)
        deadlines.fire()
        assert calls[n_before:] == sorted(calls[n_before:])
        assert max(calls, default=0.0) <= clock.time
    assert Counter(calls) == expected
    assert deadlines.next_due() is None


def test_what_a_call_leaves_undone_is_done_later(warm_hub: Any) -> None:
    """An exception that is nobody's error stops the loop: the others keep theirs."""
    clock = Clock()
    deadlines = Deadlines(warm_hub, clock)

    def stop() -> None:
        raise KeyboardInterrupt

    stopper, others = Sleeper(stop), [Sleeper(), Sleeper()]
    deadlines.set(stopper, 0.05)
    for other, due in zip(others, (0.06, 0.09), strict=True):
        deadlines.set(other, due)
    clock.time = 0.07
    with pytest.raises(KeyboardInterrupt):
        deadlines.fire()
    deadlines.fire()
    assert [len(sleeper.calls) for sleeper in (stopper, *others)] == [1, 1, 0]
    clock.time = 0.09
    deadlines.fire()
    assert others[1].calls == [0.09]
    assert len(deadlines) == 0


def test_all_others_are_cancelled_in_a_call(warm_hub: Any) -> None:
    clock = Clock()
    deadlines = Deadlines(warm_hub, clock)
    victims = [Sleeper() for _ in range(200)]
    entries = []
    first = Sleeper(lambda: [deadlines.cancel(entry) for entry in entries])
    deadlines.set(first, 0.01)
    entries = [deadlines.set(v, 0.02 + i / 50) for i, v in enumerate(victims)]
    clock.time = 0.5
    deadlines.fire()
    assert (len(first.calls), len(deadlines)) == (1, 0)
    assert not any(victim.calls for victim in victims)


def test_one_that_fails_does_not_harm_the_others(
    deadlines: Deadlines, capsys: pytest.CaptureFixture[str]
) -> None:
    fails = Sleeper(lambda: 1 // 0)
    others = [Sleeper(), Sleeper()]
    when = deadlines.now()
    deadlines.set(others[0], when)
    deadlines.set(fails, when)
    deadlines.set(others[1], when)
    assert others[1].called.wait(LONG)
    assert [len(sleeper.calls) for sleeper in (fails, *others)] == [1, 1, 1]
    assert "ZeroDivisionError" in capsys.readouterr().err


# PingWaiter


def test_the_pong_comes() -> None:
    waiter = PingWaiter(100.0)
    assert not waiter.is_set()
    assert not waiter.wait(0.001)
    greenlets = [gevent.spawn(waiter.wait), gevent.spawn(waiter.get)]
    gevent.sleep(0)
    assert waiter.answer(100.25) == 0.25
    assert greenlets[0].get(timeout=LONG) is True
    assert greenlets[1].get(timeout=LONG) == 0.25
    assert waiter.is_set()
    assert waiter.wait()
    assert waiter.get() == 0.25


def test_no_pong_comes() -> None:
    waiter = PingWaiter(0.0)
    with pytest.raises(TimeoutError):
        waiter.get(timeout=0.001)
    greenlets = [gevent.spawn(waiter.wait), gevent.spawn(waiter.get)]
    gevent.sleep(0)
    waiter.fail(ConnectionClosedError(None, None))
    assert greenlets[0].get(timeout=LONG) is False
    with pytest.raises(ConnectionClosedError):
        greenlets[1].get(timeout=LONG)
    assert not waiter.is_set()
    assert not waiter.wait()
    with pytest.raises(ConnectionClosedError):
        waiter.get(timeout=0)
