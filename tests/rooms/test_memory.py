"""The bus of one process: its history, what it forgets, what its ids tell."""

from __future__ import annotations

from typing import Any

import pytest

from gws.rooms import Entry, EntryId, InvalidEntryId, MemoryBus


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_bus(history: int, **options: Any) -> MemoryBus:
    bus = MemoryBus(history, **options)
    bus.start(None)  # type: ignore[arg-type]
    return bus


def publish(bus: MemoryBus, room: str, *messages: str) -> list[EntryId]:
    ids = []
    for message in messages:
        entry = Entry(message, b"origin--", 1)
        assert bus.publish(room, entry) is False, "nothing comes back"
        assert entry.id is not None
        ids.append(entry.id)
    return ids


def read(bus: MemoryBus, room: str, since: EntryId | None) -> tuple[str, bool]:
    entries, whole = bus.read(room, since)
    return "".join(str(entry.message) for entry in entries), whole


def test_what_is_kept() -> None:
    bus = make_bus(3)
    ids = publish(bus, "r", *"abcde")
    assert [n for _, n in ids] == [1, 2, 3, 4, 5]
    assert read(bus, "r", None) == ("cde", True)
    assert [read(bus, "r", since) for since in ids] == [
        ("cde", False),
        ("cde", True),
        ("de", True),
        ("e", True),
        ("", True),
    ]
    epoch = ids[0].epoch
    assert read(bus, "r", EntryId(epoch, 0)) == ("cde", False)
    assert read(bus, "r", EntryId(epoch, 6)) == ("cde", False), "not said yet"
    assert read(bus, "r", EntryId(epoch - 1, 5)) == ("cde", False)
    assert read(bus, "other", None) == ("", True)
    assert read(bus, "other", ids[0]) == ("", False)


def test_without_history() -> None:
    bus = make_bus(0)
    entry = Entry("x", b"origin--", 1)
    assert bus.publish("r", entry) is False and entry.id is None
    assert read(bus, "r", None) == ("", True)
    assert read(bus, "r", EntryId(1, 1)) == ("", False)


def test_what_is_too_old_is_forgotten(clock: Clock) -> None:
    bus = make_bus(10, ttl=10, clock=clock)
    [first] = publish(bus, "r", "a")
    clock.now = 6
    [second] = publish(bus, "r", "b")
    assert read(bus, "r", None) == ("ab", True)
    clock.now = 10
    assert read(bus, "r", None) == ("b", True)
    assert read(bus, "r", first) == ("b", True)
    clock.now = 16
    assert read(bus, "r", second) == ("", False), "nobody knows what was said since"
    [third] = publish(bus, "r", "c")
    assert third.epoch > second.epoch
    assert read(bus, "r", second) == ("c", False)


def test_names_that_anybody_makes_up_are_forgotten(clock: Clock) -> None:
    bus = make_bus(10, ttl=10, clock=clock)
    for i in range(100):
        clock.now = i
        publish(bus, f"room {i}", "x")
        publish(bus, "kept", "x")
    # Those of the last ten seconds; the one that is spoken in stays as well.
    assert list(bus._histories) == [
        *(f"room {i}" for i in range(90, 100)),
        "kept",
    ]
    bus.close()
    assert not bus._histories


def test_who_starts_again_begins_another_history() -> None:
    bus = make_bus(10)
    [last] = publish(bus, "r", "a")
    bus.close()
    bus.start(None)  # type: ignore[arg-type]
    assert read(bus, "r", last) == ("", False)
    [first] = publish(bus, "r", "b")
    assert first > last
    assert read(bus, "r", last) == ("b", False)


def test_ids() -> None:
    assert EntryId.parse("12-34") == (12, 34)
    assert str(EntryId(12, 34)) == "12-34"
    [entry_id] = publish(make_bus(1), "r", "a")
    assert EntryId.parse(str(entry_id)) == entry_id


@pytest.mark.parametrize(
    "text", ["", "1", "-", "1-", "1-1-1", "+1-1", "1-1\n", "٣-٣", "1" * 17 + "-1"]
)
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(InvalidEntryId, match="not the id of an entry"):
        EntryId.parse(text)
