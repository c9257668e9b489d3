"""What a subscription makes of entries, and of what is kept of them: without Redis."""

from __future__ import annotations

from typing import Any

import pytest

from gws.rooms import Entry, EntryId
from gws.rooms import subscription as subscription_module
from gws.rooms.command import OVERHEAD, Command
from gws.rooms.envelope import pack
from gws.rooms.outbox import MAX_WAITING
from gws.rooms.scripts import NOTHING, Kept
from gws.rooms.shard import Shard
from gws.rooms.subscription import Subscription


ORIGIN = b"12345678"


def item(number: int, *, epoch: int = 1, ms: int = 1000) -> Any:
    data = pack(Entry(str(number), ORIGIN, epoch * 1000 + number))
    return [f"{epoch}-{number}".encode(), [b"e", data, b"t", str(ms).encode()]]


def kept(last: str | None, *items: Any, ttl: float | None = None) -> Kept:
    epoch, _, number = (last or "").partition("-")
    head = (epoch.encode(), number.encode()) if last else (None, None)
    return Kept([*head, 2000, list(items)], ttl)


@pytest.mark.parametrize(
    "found, since, numbers, whole",
    [
        (kept("1-3", item(1), item(2), item(3)), (1, 1), [2, 3], True),
        (kept("1-3", item(2), item(3)), (1, 1), [2, 3], True),
        (kept("1-3", item(3)), (1, 1), [3], False),
        (kept("1-3", item(3)), (1, 3), [], True),
        (kept("1-3"), (1, 3), [], True),
        (kept("1-3"), (1, 2), [], False),
        (kept("1-3"), (1, 4), [], False),
        (kept(None), (1, 4), [], False),
        (kept(None), NOTHING, [], True),
        (kept("1-2", item(1), item(2)), NOTHING, [1, 2], True),
        (kept("1-3", item(2), item(3)), NOTHING, [2, 3], False),
        (kept("2-1", item(3), item(1, epoch=2)), (1, 3), [1], True),
        (kept("2-1", item(1, epoch=2)), (1, 3), [1], False),
        # Of the time before the last second, nothing is given.
        (kept("1-2", item(1, ms=1), item(2), ttl=1), (1, 1), [2], True),
        (kept("1-2", item(1), item(2, ms=1), ttl=1), (1, 1), [], True),
        (kept("1-3", item(1, ms=1), item(2, ms=1), item(3), ttl=1), (1, 1), [3], False),
    ],
)
def test_what_is_missing(
    found: Kept, since: tuple[int, int], numbers: list[int], whole: bool
) -> None:
    entries, is_whole = found.after(EntryId(*since))
    assert [int(entry.message) for entry in entries] == numbers
    assert is_whole is whole


def test_what_comes_while_the_history_is_read() -> None:
    """It is no gap, and nothing of it comes twice."""
    handed: list[str] = []

    def read(room: str, since: EntryId | None) -> Kept:
        entry = Entry("4", ORIGIN, 4)
        entry.id = EntryId(1, 4)
        subscription.take(entry)
        return kept("1-4", item(3), item(4))

    def hand_on(room: str, entry: Entry) -> None:
        handed.append(str(entry.message))

    subscription = Subscription("room", b"room", read, hand_on)
    subscription.last = EntryId(1, 3)
    assert not subscription.catch_up()
    assert handed == ["4"]
    assert subscription.last == EntryId(1, 4)


class Heard:
    """A subscription, what is kept, and what it hands on."""

    def __init__(self, *answers: Kept | Exception) -> None:
        self.asked: list[Any] = []
        self.got: list[Any] = []
        self._answers = list(answers)
        self.subscription = Subscription(
            "r", b"r", self._read, lambda room, entry: self.got.append(entry.message)
        )

    def take(self, number: int, *, epoch: int = 1, said: int = 0) -> bool:
        entry = Entry(str(number), ORIGIN, said or epoch * 1000 + number)
        entry.id = EntryId(epoch, number)
        return self.subscription.take(entry)

    def _read(self, room: str, since: EntryId | None) -> Kept:
        self.asked.append(since)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_in_order_and_once() -> None:
    heard = Heard(kept("1-1"))
    heard.subscription.begin()
    assert not any([heard.take(2), heard.take(2), heard.take(1), heard.take(3)])
    # Sent again because a connection broke, after the first had left the history.
    assert not heard.take(4, said=1003)
    assert not heard.take(1, epoch=2)
    assert heard.got == ["2", "3", "1"]
    assert heard.subscription.last == (2, 1)


def test_a_hole_is_filled() -> None:
    heard = Heard(kept(None), kept("1-3", item(1), item(2), item(3)))
    heard.subscription.begin()
    assert not heard.take(3)
    assert heard.got == ["1", "2", "3"] and heard.asked[1:] == [NOTHING]


def test_a_hole_that_stays() -> None:
    heard = Heard(kept("1-1"), kept("1-4", item(3), item(4)), TimeoutError())
    heard.subscription.begin()
    assert heard.take(4)
    assert heard.take(9), "and Redis does not tell what was before it"
    assert heard.got == ["3", "4", "9"]


def test_a_hole_to_be_filled_later() -> None:
    """The connection is lost meanwhile: there will be another one."""
    heard = Heard(kept("1-1"), ConnectionError(), ConnectionError())
    heard.subscription.begin()
    assert not heard.take(3) and not heard.subscription.catch_up()
    assert heard.got == []
    heard._answers.append(kept("1-3", item(2), item(3)))
    assert not heard.subscription.catch_up() and heard.got == ["2", "3"]


def test_redis_has_lost_some() -> None:
    heard = Heard(kept("5-5"), kept("5-3"), kept(None))
    heard.subscription.begin()
    assert heard.subscription.catch_up() and heard.subscription.last == (5, 3)
    assert heard.subscription.catch_up() and heard.subscription.last == NOTHING
    # Its clock may have been set back as well.
    assert not heard.take(1, epoch=4) and heard.got == ["1"]


def test_origins_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription_module, "MAX_ORIGINS", 3)
    heard = Heard()
    for i in range(10):
        for _ in range(2):
            heard.subscription.take(Entry(i.to_bytes(), i.to_bytes(8), 1))
    assert len(heard.got) == 10
    assert len(heard.subscription._numbers) == 3


def test_a_shard_without_a_server() -> None:
    """It keeps what it can, in order, until somebody else is found to serve it."""
    shard = Shard(lambda: None, None, history=False, sharded=True)  # type: ignore[arg-type]
    size = MAX_WAITING // 4
    commands = [Command(key, lambda **_: (), size - OVERHEAD) for key in (b"a", b"b")]
    assert all(shard.put(command) for command in [*commands, *commands])
    assert not shard.put(commands[0]) and shard.n_lost == 1
    shard.subscribe(b"b")
    confirmed = shard.subscribe(b"a")
    with pytest.raises(ConnectionError):
        shard.call(commands[0], 0)
    found, channels = shard.give_up(lambda key: key == b"b")
    assert found == [commands[0]] * 2 and channels == [b"a"] and confirmed.is_set()
    assert list(shard.channels) == [b"b"]
    assert shard.put(commands[0])
