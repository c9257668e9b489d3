"""A message for many: slices, turns, whoever comes, goes, or is killed meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest

from gws.rooms import Published, Rooms
from gws.rooms import room as module
from gws.testing import settle


Make = Callable[..., Any]

LONG = 10


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch) -> Rooms:
    """Rooms with small slices, instead of many members."""
    monkeypatch.setattr(module, "SLICE", 2)
    return Rooms(history=10)


def heard(peer: Any, n: int) -> list[str]:
    return [peer.receive()[1].decode() for _ in range(n)]


def in_room(rooms: Rooms, make: Make, n: int) -> list[Any]:
    """Return the pairs of n members."""
    pairs = [make() for _ in range(n)]
    for pair in pairs:
        rooms.join("r", pair.ws)
    return pairs


class Turns:
    """Counts the turns of the loop: how often it looks for what to read."""

    def __init__(self) -> None:
        self.n = 0
        self._watcher = gevent.get_hub().loop.prepare()

    def __enter__(self) -> Turns:
        self._watcher.start(self._count)
        return self

    def __exit__(self, *args: object) -> None:
        self._watcher.stop()
        self._watcher.close()

    def _count(self) -> None:
        self.n += 1


def test_the_loop_comes_to_others_between_slices(
    rooms: Rooms, raw_member: Make
) -> None:
    pairs = in_room(rooms, raw_member, 5)
    with Turns() as turns:
        assert rooms.publish("r", "x").sent == 5
    assert turns.n >= 3
    with Turns() as turns:
        for pair in pairs[2:]:
            rooms.leave("r", pair.ws)
        assert rooms.publish("r", "y").sent == 2
    assert turns.n == 0, "for few it does not wait"


def test_a_slice_is_of_so_many_bytes_too(rooms: Rooms, raw_member: Make) -> None:
    in_room(rooms, raw_member, 2)
    with Turns() as turns:
        assert rooms.publish("r", b"\0" * (module.SLICE_BYTES + 1)).sent == 2
    assert turns.n >= 2


def test_who_waits_for_the_network_is_not_kept_waiting(
    rooms: Rooms, raw_member: Make
) -> None:
    """A member that asks while a message goes out is answered before it is out."""
    pairs = in_room(rooms, raw_member, 40)
    ws, peer = pairs[-1]
    answered = gevent.spawn(ws.recv)
    peer.send(1, b"?")
    gevent.sleep(0)
    publishing = gevent.spawn(rooms.publish, "r", "x")
    assert answered.get(LONG) == "?"
    assert not publishing.ready()
    assert publishing.get(LONG).sent == 40


def test_all_publishers_keep_their_order(rooms: Rooms, raw_member: Make) -> None:
    pairs = in_room(rooms, raw_member, 5)
    publishers = [gevent.spawn(rooms.publish, "r", str(i)) for i in range(10)]
    gevent.joinall(publishers, timeout=LONG, raise_error=True)
    assert [publisher.value[:4] for publisher in publishers] == [(5, 0, 0, 0)] * 10
    for pair in pairs:
        assert heard(pair.peer, 10) == [str(i) for i in range(10)]
    assert rooms.totals.sent == 50


def test_killing_the_publisher_does_not_stop_a_delivery(
    rooms: Rooms, raw_member: Make
) -> None:
    pairs = in_room(rooms, raw_member, 5)
    publisher = gevent.spawn(rooms.publish, "r", "to all")
    gevent.sleep(0)
    publisher.kill()
    assert [heard(pair.peer, 1) for pair in pairs] == [["to all"]] * 5
    settle()
    assert rooms.totals.sent == 5


def test_an_error_half_way_does_not_stop_the_next(
    rooms: Rooms, raw_member: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor whoever waits: of a bug of ours, say, in the first of two deliveries."""
    in_room(rooms, raw_member, 3)
    send_each = module.send_each
    errors = [ZeroDivisionError("on purpose")]

    def fail_once(*args: Any) -> Any:
        if errors:
            raise errors.pop()
        return send_each(*args)

    monkeypatch.setattr(module, "send_each", fail_once)
    monkeypatch.setattr(gevent.get_hub(), "print_exception", lambda *args: None)
    publishers = [gevent.spawn(rooms.publish, "r", str(i)) for i in range(2)]
    gevent.joinall(publishers, timeout=LONG, raise_error=True)
    assert [publisher.value.sent for publisher in publishers] == [0, 3]


def test_who_leaves_before_its_turn_hears_nothing(
    rooms: Rooms, raw_member: Make
) -> None:
    pairs = in_room(rooms, raw_member, 5)
    first, last = pairs[0], pairs[-1]
    publishing = gevent.spawn(rooms.publish, "r", "x")
    assert heard(first.peer, 1) == ["x"]
    assert not publishing.ready()
    rooms.leave("r", last.ws)
    rooms.join("r", last.ws)  # too late for it
    assert publishing.get(LONG)[:4] == (4, 0, 0, 0)
    assert rooms.publish("r", "y").sent == 5
    assert heard(last.peer, 1) == ["y"]


def test_the_room_empties_during_a_delivery(rooms: Rooms, raw_member: Make) -> None:
    pairs = in_room(rooms, raw_member, 6)
    publishers = [gevent.spawn(rooms.publish, "r", text) for text in "ab"]
    assert heard(pairs[0].peer, 1) == ["a"]
    for pair in pairs:
        rooms.leave("r", pair.ws)
    assert not rooms._registry.rooms
    rooms.join("r", pairs[0].ws)  # another room of the same name
    assert rooms.publish("r", "c").sent == 1
    gevent.joinall(publishers, timeout=LONG, raise_error=True)
    assert publishers[0].value.sent < 6
    assert publishers[1].value.sent == 0
    assert heard(pairs[0].peer, 1) == ["c"]


def test_who_joins_meanwhile_hears_what_comes_next(
    rooms: Rooms, raw_member: Make
) -> None:
    """Once each: of what is on its way, who catches up has it from the history."""
    in_room(rooms, raw_member, 5)
    late, later = raw_member(), raw_member()
    publishers = [gevent.spawn(rooms.publish, "r", text) for text in "ab"]
    gevent.sleep(0)
    rooms.join("r", late.ws)
    rooms.join("r", later.ws, since="")
    publishers.append(gevent.spawn(rooms.publish, "r", "c"))
    gevent.joinall(publishers, timeout=LONG, raise_error=True)
    assert [publisher.value.sent for publisher in publishers] == [5, 5, 7]
    assert heard(late.peer, 1) == ["c"]
    assert heard(later.peer, 3) == ["a", "b", "c"]


@pytest.mark.parametrize("n", [2, 5])
def test_publish_in_a_callback_of_the_hub(
    rooms: Rooms, raw_member: Make, n: int
) -> None:
    """It does not wait: of a delivery that takes turns it can tell nothing yet."""
    pairs = in_room(rooms, raw_member, n)
    told: list[Published] = []
    gevent.get_hub().loop.run_callback(lambda: told.append(rooms.publish("r", "x")))
    assert [heard(pair.peer, 1) for pair in pairs] == [["x"]] * n
    settle()
    assert [published.sent for published in told] == [2 if n == 2 else 0]
    assert rooms.totals.sent == n


def test_a_greenlet_that_ends_may_publish(rooms: Rooms, raw_member: Make) -> None:
    """`Greenlet.link` calls in the hub."""
    [pair] = in_room(rooms, raw_member, 1)
    gevent.spawn(str).link(lambda _: rooms.publish("r", "done"))
    assert heard(pair.peer, 1) == ["done"]
