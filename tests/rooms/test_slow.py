"""Members that do not read: what waits for them, what is dropped, who is closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

from gws.prepared import PreparedMessage
from gws.rooms import Published, Rooms
from gws.rooms import room as room_module
from gws.rooms.slow import OVERHEAD, POLICIES
from gws.testing import TEXT, settle


Make = Callable[..., Any]

LONG = 10

#: A message, what it takes of a budget, and a budget for so many.
SIZE = 1000
COST = SIZE + OVERHEAD
N = 10

#: Of a peer that is soon full.
SMALL = {"receive_buffer": 4096, "write_limit": 4096, "close_timeout": 0.5}


def message(number: int) -> str:
    return f"{number:<{SIZE}}"


def heard(peer: Any, n: int) -> list[int]:
    found = []
    for _ in range(n):
        opcode, payload = peer.receive()
        assert opcode == TEXT
        found.append(int(payload))
    return found


def fill(rooms: Rooms, name: str = "r") -> int:
    """Publish until somebody reads too slowly; return how many messages were sent."""
    n = 0
    while rooms.publish(name, message(n), key="fill").sent:
        n += 1
    return n


def waiting(rooms: Rooms, ws: Any) -> Any:
    return rooms._registry._outlets[ws]


@pytest.mark.parametrize("policy", POLICIES)
def test_policies(raw_member: Make, policy: str) -> None:
    """Each message for the member ends in one way, and the counters say in which."""
    rooms = Rooms(slow=policy, budget=N * COST)
    ws, peer = raw_member(**SMALL)
    rooms.join("r", ws)
    told = [rooms.publish("r", message(i), key=str(i % 3)) for i in range(60)]
    n_sent = sum(published.sent for published in told)
    assert [published.sent for published in told] == [1] * n_sent + [0] * (60 - n_sent)
    slow = [published[1:4] for published in told[n_sent:]]
    n_slow = len(slow)
    assert n_slow > N + 3
    if policy == "close":
        # What comes then is for a connection that is closing.
        assert slow == [(1, 0, 0)] * N + [(0, 0, 1)] + [(0, 0, 0)] * (n_slow - N - 1)
        kept = []
        ended = {"closed": 1, "discarded": n_slow - 1}
    elif policy == "drop_new":
        assert slow == [(1, 0, 0)] * N + [(0, 1, 0)] * (n_slow - N)
        kept = list(range(n_sent, n_sent + N))
        ended = {"dropped": n_slow - N}
    elif policy == "drop_old":
        assert slow == [(1, 0, 0)] * N + [(1, 1, 0)] * (n_slow - N)
        kept = list(range(60 - N, 60))
        ended = {"dropped": n_slow - N}
    else:
        assert slow == [(1, 0, 0)] * 3 + [(1, 1, 0)] * (n_slow - 3)
        kept = [57, 58, 59]
        ended = {"dropped": n_slow - 3}
    assert heard(peer, n_sent + len(kept)) == [*range(n_sent), *kept]
    if policy == "close":
        assert peer.receive_close()[0] == 1013
    totals = rooms.totals
    assert totals.sent == n_sent + len(kept)
    assert ended == {
        name: value
        for name in ("dropped", "closed", "discarded")
        if (value := getattr(totals, name))
    }
    peer.end()


def test_all_are_over_budget(raw_member: Make) -> None:
    pairs = [raw_member(**SMALL) for _ in range(3)]
    rooms = Rooms(slow="drop_new", budget=0)
    for ws, _ in pairs:
        rooms.join("r", ws)
    fill(rooms)
    assert rooms.publish("r", message(0)) == Published(0, 0, 3, 0)
    closing = Rooms(budget=0)
    for ws, _ in pairs:
        closing.join("r", ws)
    assert closing.publish("r", message(0)) == Published(0, 0, 0, 3)
    assert closing.publish("r", message(0)) == Published(0, 0, 0, 0)
    for _, peer in pairs:
        peer.end()


def test_a_budget_is_of_bytes_and_kept_by_all_rooms_together(raw_member: Make) -> None:
    rooms = Rooms(slow="drop_new", budget=2 * COST + OVERHEAD)
    ws, peer = raw_member(**SMALL)
    rooms.join("a", ws)
    rooms.join("b", ws)
    n = fill(rooms, "a")  # one waits
    assert rooms.publish("b", message(n + 1)).queued == 1
    assert rooms.publish("a", message(9)).dropped == 1
    assert rooms.publish("b", "").queued == 1, "an empty one takes its keeping"
    assert rooms.publish("a", "").dropped == 1
    assert waiting(rooms, ws)._n_bytes == 2 * COST + OVERHEAD
    assert heard(peer, n + 2) == list(range(n + 2))
    assert peer.receive() == (TEXT, b"")
    settle()
    assert waiting(rooms, ws)._n_bytes == waiting(rooms, ws).n_waiting == 0
    assert rooms.publish("a", "now").sent == 1
    assert peer.receive() == (TEXT, b"now")


@pytest.mark.parametrize("policy", ["drop_new", "drop_old", "latest"])
def test_what_is_larger_than_the_budget_drives_out_nothing(
    raw_member: Make, policy: str
) -> None:
    rooms = Rooms(slow=policy, budget=2 * COST)
    ws, peer = raw_member(**SMALL)
    rooms.join("r", ws)
    n = fill(rooms)
    assert rooms.publish("r", "x" * 2 * COST) == Published(0, 0, 1, 0)
    assert heard(peer, n + 1) == list(range(n + 1))
    # It takes what it can take at once, however large.
    settle()
    assert rooms.publish("r", "x" * 2 * COST).sent == 1


def test_latest_is_by_room_and_key(raw_member: Make) -> None:
    rooms = Rooms(slow="latest", budget=4 * COST)
    ws, peer = raw_member(**SMALL)
    rooms.join("a", ws)
    rooms.join("b", ws)
    n = fill(rooms, "a")
    sent = [("a", "k"), ("b", "k"), ("a", None), ("a", "k"), ("a", None)]
    told = [rooms.publish(name, message(i), key=k) for i, (name, k) in enumerate(sent)]
    assert [published[:3] for published in told] == [
        (0, 1, 0),
        (0, 1, 0),
        (0, 1, 0),
        (0, 1, 1),  # in the place of the first
        (0, 1, 1),
    ]
    # Too many: the oldest goes.
    assert rooms.publish("b", message(5), key="l") == Published(0, 1, 1, 0)
    assert heard(peer, n + 4) == [*range(n), 1, 3, 4, 5]


def test_what_waits_of_a_room_goes_with_the_membership(raw_member: Make) -> None:
    """Who comes again, and catches up, hears nothing twice."""
    rooms = Rooms(slow="drop_new", history=10)
    ws, peer = raw_member(**SMALL)
    rooms.join("a", ws)
    rooms.join("b", ws)
    n = fill(rooms, "a")
    rooms.publish("b", message(100))
    rooms.leave("a", ws)
    assert (rooms.totals.discarded, waiting(rooms, ws).n_waiting) == (1, 1)
    rooms.leave("b", ws)
    assert (rooms.totals.discarded, waiting(rooms, ws).n_waiting) == (2, 0)
    joining = gevent.spawn(rooms.join, "b", ws, since="")
    assert heard(peer, n + 1) == [*range(n), 100]
    assert joining.get(LONG).gap is False
    assert rooms.publish("b", message(101)).sent == 1
    assert heard(peer, 1) == [101]


def test_who_goes_without_reading(raw_member: Make) -> None:
    rooms = Rooms()
    ws, peer = raw_member(**SMALL)
    rooms.join("r", ws)
    n = fill(rooms)
    assert rooms.publish("r", message(n)).queued == 1
    peer.end()
    assert ws.wait_closed(LONG)
    settle()
    assert (rooms.totals.sent, rooms.totals.discarded) == (n, 2)
    assert not rooms._registry._outlets and not rooms._registry._behind


def test_order_while_it_begins_to_read(raw_member: Make) -> None:
    """What comes while something waits does not overtake it."""
    rooms = Rooms(slow="drop_new")
    ws, peer = raw_member(**SMALL)
    rooms.join("r", ws)
    n = fill(rooms) + 1
    reading = gevent.spawn(heard, peer, n + 200)
    for i in range(n, n + 200):
        rooms.publish("r", message(i))
        gevent.sleep(0)
    assert reading.get(LONG) == list(range(n + 200))
    assert rooms.totals.sent == n + 200
    assert rooms.totals.queued > 1


def test_while_it_sends_a_message_in_fragments(raw_member: Make) -> None:
    """Nothing may come between these (RFC 6455, section 5.4); it waits."""
    rooms = Rooms()
    ws, peer = raw_member()
    rooms.join("r", ws)
    for n_before in (0, 1):  # and once more
        go_on = Event()

        def fragments(go_on: Event = go_on) -> Any:
            yield "a"
            go_on.wait(LONG)
            yield "b"

        sending = gevent.spawn(ws.send, fragments())
        assert peer.receive_fragment() == (False, TEXT, b"a")
        assert rooms.publish("r", "1") == Published(0, 1, 0, 0)
        go_on.set()
        sending.get(LONG)
        assert peer.receive_fragment() == (False, 0, b"b")
        assert peer.receive_fragment() == (True, 0, b"")
        assert peer.receive() == (TEXT, b"1")
        settle()
        assert (rooms.totals.sent, rooms.totals.queued) == (n_before + 1, n_before + 1)


def test_one_that_never_reads_changes_nothing_for_the_others(
    raw_member: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what they get, nor in how many turns of the loop; nor is it tried again."""
    monkeypatch.setattr(room_module, "SLICE", 25)
    n_others, n_messages = 99, 20  # with one more, so many slices as well
    others = [raw_member() for _ in range(n_others)]
    ws, peer = raw_member(**SMALL)
    n_turns = []
    for policy in ("none is there", *POLICIES[1:], "close"):
        rooms = Rooms(slow=policy if policy in POLICIES else "close", budget=N * COST)
        if policy != "none is there":
            rooms.join("r", ws)
            while ws.send_now(PreparedMessage(message(0))):
                pass
        for other in others:
            rooms.join("r", other.ws)
        turns = []
        watcher = gevent.get_hub().loop.prepare()
        watcher.start(turns.append, None)
        told = [rooms.publish("r", message(i)) for i in range(n_messages)]
        watcher.stop()
        watcher.close()
        assert [published.sent for published in told] == [n_others] * n_messages
        n_turns.append(len(turns))
        for other in others:
            assert heard(other.peer, n_messages) == list(range(n_messages))
        rooms.close()
    n_slices = n_messages * -(-n_others // 25)
    assert n_turns[0] >= n_slices
    assert max(n_turns) - min(n_turns) <= 10  # what the ends of connections take
    peer.end()
