"""Rooms in one process: who is in them, who hears what is published."""

from __future__ import annotations

import functools
import gc
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

import gws.rooms
from gws import ConcurrencyError, ConnectionClosed
from gws.rooms import Entry, EntryId, MemoryBus, Published, Rooms
from gws.testing import TEXT, settle


Make = Callable[..., Any]

LONG = 10


@pytest.fixture
def rooms() -> Rooms:
    return Rooms()


def hears_nothing(*clients: Any) -> bool:
    """Whether nothing has come for any of them, once all is settled."""
    settle()
    for client in clients:
        with pytest.raises(TimeoutError):
            client.recv(0)
    return True


def test_who_joined_hears(rooms: Rooms, member: Make) -> None:
    (client, server), (other, _) = member(), member()
    with rooms.join("lobby", server) as membership:
        assert (membership.name, membership.ws) == ("lobby", server)
        assert rooms.publish("lobby", "hello") == Published(1, 0, 0, 0)
        assert client.recv() == "hello"
        rooms.publish("lobby", memoryview(b"bytes"))
        assert client.recv() == b"bytes"
    assert rooms.publish("lobby", "too late") == Published(0, 0, 0, 0)
    assert rooms.publish("elsewhere", "nobody") == Published(0, 0, 0, 0)
    assert hears_nothing(client, other)


def test_but_not_who_is_excluded(rooms: Rooms, member: Make) -> None:
    (a, at_a), (b, at_b) = member(), member()
    rooms.join("r", at_a)
    rooms.join("r", at_b)
    assert rooms.publish("r", "from a", exclude=at_a).sent == 1
    assert rooms.publish("r", "for all").sent == 2
    assert a.recv() == "for all"
    assert [b.recv(), b.recv()] == ["from a", "for all"]
    rooms.leave("r", at_a)
    assert rooms.publish("r", "a is not there", exclude=at_a).sent == 1


def test_several_rooms(rooms: Rooms, member: Make) -> None:
    client, server = member()
    with rooms.join("a", server), rooms.join("b", server):
        rooms.publish("a", "1")
        rooms.publish("b", "2")
        assert [client.recv(), client.recv()] == ["1", "2"]
        rooms.leave("a", server)
        assert rooms.publish("a", "3").sent == 0
        assert rooms.publish("b", "4").sent == 1
        assert client.recv() == "4"


def test_who_joins_twice_leaves_twice(rooms: Rooms, member: Make) -> None:
    client, server = member()
    with rooms.join("r", server, user="ann") as first:
        with rooms.join("r", server, user="bob") as second:
            assert second is first
            assert rooms.members("r") == {"ann"}
            assert rooms.publish("r", "once").sent == 1
        assert rooms.publish("r", "still").sent == 1
        assert rooms.connections("r") == (server,)
    assert rooms.connections("r") == ()
    assert [client.recv(), client.recv()] == ["once", "still"]
    first.leave()  # no matter
    rooms.leave("r", server)
    rooms.leave("never was", server)
    assert rooms.join("r", server) is not first


def test_join_leave_join_at_once(rooms: Rooms, member: Make) -> None:
    client, server = member()
    rooms.join("r", server).leave()
    rooms.join("r", server)
    assert rooms.publish("r", "1").sent == 1
    assert client.recv() == "1"


def test_who_closes_has_left(rooms: Rooms, member: Make) -> None:
    client, server = member()
    rooms.join("a", server, user="ann")
    rooms.join("b", server)
    client.close()
    assert server.wait_closed(LONG)
    settle()
    assert rooms.connections("a") == rooms.connections("b") == ()
    assert rooms.members("a") == set()
    with pytest.raises(ConnectionClosed):
        rooms.join("a", server)
    assert is_empty(rooms)


def test_what_is_for_a_connection_that_is_closing_is_discarded(
    rooms: Rooms, raw_member: Make
) -> None:
    ws, peer = raw_member()
    rooms.join("r", ws)
    ws.begin_close()
    assert rooms.publish("r", "x") == Published(0, 0, 0, 0)
    assert rooms.totals.discarded == 1
    peer.end()


def is_empty(rooms: Rooms) -> bool:
    registry = rooms._registry
    return not (registry.rooms or registry._outlets or registry._behind)


def test_nothing_is_kept_of_a_connection_nor_of_rooms(member: Make) -> None:
    rooms = Rooms(history=1)
    client, server = member()
    for _ in range(100):
        with rooms.join("r", server, since="", user="ann"):
            rooms.publish("r", "x")
    assert not rooms._registry.rooms and not rooms._pending
    # The connection tells once that it has closed, however often it has joined.
    forget = rooms._registry._forget
    partials = [o for o in gc.get_objects() if type(o) is functools.partial]
    assert [o.func for o in partials].count(forget) == 1
    del forget, partials
    kept = weakref.ref(rooms)
    client.close()
    assert server.wait_closed(LONG)
    settle()
    assert is_empty(rooms)
    del rooms
    gc.collect()
    assert kept() is None


def test_users(member: Make) -> None:
    events: list[tuple[str, str, bool]] = []
    rooms = Rooms(on_presence=lambda *event: events.append(event))
    (_, phone), (_, laptop), (_, bob) = member(), member(), member()
    with rooms.join("r", phone, user="ann"), rooms.join("r", bob, user="bob"):
        with rooms.join("r", laptop, user="ann"):
            assert rooms.members("r") == {"ann", "bob"}
        assert rooms.members("r") == {"ann", "bob"}
    assert rooms.members("r") == set()
    settle()
    assert events == [
        ("r", "ann", True),
        ("r", "bob", True),
        ("r", "bob", False),
        ("r", "ann", False),
    ]


# Arguments


@pytest.mark.parametrize("name", ["", "x" * 513, "é" * 257])
def test_bad_names(rooms: Rooms, name: str, raw_member: Make) -> None:
    ws, _ = raw_member()
    for call in (
        lambda: rooms.publish(name, "x"),
        lambda: rooms.join(name, ws),
        lambda: rooms.members(name),
    ):
        with pytest.raises(ValueError, match="name of a room"):
            call()
    assert is_empty(rooms)


def test_names(rooms: Rooms, member: Make) -> None:
    with pytest.raises(TypeError, match="str, not bytes"):
        rooms.publish(b"r", "x")  # type: ignore[arg-type]
    client, server = member()
    for name in ("é" * 256, "\0", "{a} b\r\n"):
        with rooms.join(name, server):
            assert rooms.publish(name, name).sent == 1
            assert client.recv() == name


@pytest.mark.parametrize("message", [{"a": 1}, None, 1, ["a"]])
def test_bad_messages(rooms: Rooms, message: Any) -> None:
    with pytest.raises(TypeError, match="str or bytes-like"):
        rooms.publish("r", message)
    assert not rooms._pending


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"slow": "wait"}, "slow must be one of close, drop_new, drop_old, latest"),
        ({"history": -1}, "too small"),
        ({"budget": -1}, "too small"),
        ({"bus": "ftp://x"}, "no bus is called ftp"),
        ({"presence_lease": 0}, "too small"),
    ],
)
def test_bad_options(options: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Rooms(**options)


def test_what_the_package_offers() -> None:
    for name in ("Rooms", "Published", "Publisher", "Membership", "Bus", "Entry"):
        assert getattr(gws.rooms, name).__name__ == name
    with pytest.raises(AttributeError, match="Romos"):
        gws.rooms.Romos  # noqa: B018


# What was missed


def by_number(entry: Entry) -> str:
    assert entry.id is not None
    return f"{entry.id.number}:{entry.message!s}"


def test_history(member: Make) -> None:
    rooms = Rooms(history=3, render=by_number)
    ids = [rooms.publish("r", text).id for text in "abcde"]
    assert [entry_id.number for entry_id in ids if entry_id] == [1, 2, 3, 4, 5]
    client, server = member()
    # What was missed, in order, then what is live.
    with rooms.join("r", server, since=str(ids[2])) as membership:
        rooms.publish("r", "f")
        assert not membership.gap
        assert [client.recv() for _ in range(3)] == ["4:d", "5:e", "6:f"]
    with rooms.join("r", server, since=ids[0]) as membership:
        assert membership.gap  # only three are kept
        assert [client.recv() for _ in range(3)] == ["4:d", "5:e", "6:f"]
    with rooms.join("r", server, since="") as membership:
        assert not membership.gap
        assert [client.recv() for _ in range(3)] == ["4:d", "5:e", "6:f"]
    with rooms.join("r", server, since="1-1") as membership:
        assert membership.gap  # of another time
        assert [client.recv() for _ in range(3)] == ["4:d", "5:e", "6:f"]
    with pytest.raises(ValueError, match="not the id of an entry"):
        rooms.join("r", server, since="$")
    assert hears_nothing(client)


def test_who_is_in_already_catches_up_with_nothing(member: Make) -> None:
    rooms = Rooms(history=3)
    rooms.publish("r", "a")
    client, server = member()
    with rooms.join("r", server), rooms.join("r", server, since=""):
        rooms.publish("r", "b")
        assert client.recv() == "b"


def test_what_is_published_while_one_catches_up(raw_member: Make) -> None:
    rooms = Rooms(history=100, budget=2**16)
    for i in range(20):
        rooms.publish("r", f"{i:03}" + "x" * 1000)
    ws, peer = raw_member(receive_buffer=4096, write_limit=1000)
    joining = gevent.spawn(rooms.join, "r", ws, since="")
    gevent.sleep(0)
    for since in ("", None):
        with pytest.raises(ConcurrencyError, match="is joining"):
            rooms.join("r", ws, since=since)
    for i in range(20, 30):
        assert rooms.publish("r", f"{i:03}" + "x" * 1000)[1] == 1
    assert rooms.publish("r", "not for it", exclude=ws).queued == 0
    seen = []
    while len(seen) < 31:
        opcode, payload = peer.receive()
        assert opcode == TEXT
        seen.append(int(payload[:3]))
        if len(seen) == 30:
            assert joining.get(LONG).gap is False
            rooms.publish("r", "030")
    assert seen == list(range(31))
    assert (rooms.totals.sent, rooms.totals.queued) == (11, 10)


@pytest.mark.parametrize("slow", ["close", "drop_new"])
def test_past_the_budget_who_catches_up_slowly_is_closed_or_has_a_gap(
    raw_member: Make, slow: str
) -> None:
    rooms = Rooms(history=4, budget=3 * 1256, slow=slow)
    for i in range(4):
        rooms.publish("r", f"{i}" + "x" * 100_000)
    ws, peer = raw_member(receive_buffer=4096, close_timeout=0.2)
    joining = gevent.spawn(rooms.join, "r", ws, since="")
    gevent.sleep(0)
    assert [rooms.publish("r", "y" * 1000).queued for _ in range(3)] == [1, 1, 1]
    published = rooms.publish("r", "z")
    if slow == "close":
        assert published == Published(0, 0, 0, 1, published.id)
        with pytest.raises(ConnectionClosed, match="1013"):
            joining.get(LONG)
        assert rooms.totals.discarded == 3
        assert is_empty(rooms)
    else:
        assert published == Published(0, 0, 1, 0, published.id)
        heard = [peer.receive()[1][:2] for _ in range(7)]
        assert heard == [b"0x", b"1x", b"2x", b"3x", b"yy", b"yy", b"yy"]
        assert joining.get(LONG).gap
        assert rooms.totals.sent == 3
    peer.end()


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_catching_up_ends_half_way(raw_member: Make, how: str) -> None:
    rooms = Rooms(history=10)
    for _ in range(10):
        rooms.publish("r", "x" * 100_000)
    ws, peer = raw_member(receive_buffer=4096)
    joining = gevent.spawn(rooms.join, "r", ws, since="")
    gevent.sleep(0)
    assert rooms.publish("r", "y").queued == 1
    if how == "closed":
        peer.end()
        with pytest.raises(ConnectionClosed):
            joining.get(LONG)
    else:
        joining.kill()
    assert is_empty(rooms)
    assert (rooms.totals.queued, rooms.totals.discarded) == (1, 1)
    peer.end()


class Lagging(MemoryBus):
    """Brings what was published later than it can be read, as others do."""

    def publish(self, room: str, entry: Entry) -> bool:
        super().publish(room, entry)
        return False

    def start(self, receiver: Any) -> None:
        super().start(receiver)
        self.receiver = receiver


def test_what_was_read_and_comes_again_is_sent_once(member: Make) -> None:
    bus = Lagging(history=10)
    rooms = Rooms(bus)
    client, server = member()
    rooms.publish("r", "1")
    first = Entry("2", b"other---", 1)
    second = Entry("3", b"other---", 2)
    bus.publish("r", first)
    with rooms.join("r", server, since=""):
        rooms.on_entry("r", first)
        rooms.on_entry("r", Entry("4", b"other---", 9, None, None))  # without id
        bus.publish("r", second)
        rooms.on_entry("r", second)
        assert [client.recv() for _ in range(4)] == ["1", "2", "4", "3"]
        assert not rooms._registry.rooms["r"].seen
    assert hears_nothing(client)


# A bus that brings back what it was given


class Echo(MemoryBus):
    """Has the entries come back when a test says so."""

    def __init__(self) -> None:
        super().__init__(history=10)
        self.given: list[Entry] = []
        self.interrupted = False

    def publish(self, room: str, entry: Entry) -> bool:
        super().publish(room, entry)
        self.given.append(entry)
        if self.interrupted:
            gevent.sleep(LONG)
        return True


def test_what_the_bus_gives_back_is_delivered_once(member: Make) -> None:
    bus = Echo()
    rooms = Rooms(bus)
    client, server = member()
    rooms.join("r", server)
    publishing = gevent.spawn(rooms.publish, "r", "1")
    gevent.sleep(0)
    rooms.on_entry("r", bus.given[0])
    rooms.on_entry("r", bus.given[0])
    assert publishing.get(LONG) == Published(1, 0, 0, 0, bus.given[0].id)
    # It does not come in time; or the bus is lost; or the publisher is killed.
    rooms._publish_timeout = 0.01
    assert rooms.publish("r", "2").sent == 1
    rooms._publish_timeout = LONG
    lost = [gevent.spawn(rooms.publish, "r", text) for text in ("3", "4")]
    gevent.sleep(0)
    rooms.on_down(ConnectionError())
    assert [greenlet.get(LONG).sent for greenlet in lost] == [1, 1]
    killed = gevent.spawn(rooms.publish, "r", "5")
    gevent.sleep(0)
    killed.kill()
    for entry in bus.given[1:]:
        rooms.on_entry("r", entry)
    assert [client.recv() for _ in range(5)] == ["1", "2", "3", "4", "5"]
    assert not rooms._pending
    assert hears_nothing(client)


def test_an_interrupted_publish_reaches_members_here(member: Make) -> None:
    bus = Echo()
    bus.interrupted = True
    rooms = Rooms(bus)
    client, server = member()
    rooms.join("r", server)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        rooms.publish("r", "1")
    rooms.on_entry("r", bus.given[0])
    assert client.recv() == "1"
    assert hears_nothing(client)


def test_what_the_bus_refuses_is_not_delivered(member: Make) -> None:
    class Refusing(MemoryBus):
        def publish(self, room: str, entry: Entry) -> bool:
            raise ValueError("too long")

    rooms = Rooms(Refusing())
    client, server = member()
    rooms.join("r", server)
    with pytest.raises(ValueError, match="too long"):
        rooms.publish("r", "1")
    assert not rooms._pending
    assert hears_nothing(client)


def test_errors_of_render(member: Make, caplog: pytest.LogCaptureFixture) -> None:
    """They are the publisher's; in the greenlet of the bus they are logged."""

    def render(entry: Entry) -> str:
        raise KeyError("no such template")

    rooms = Rooms(render=render)
    client, server = member()
    rooms.join("r", server)
    with pytest.raises(KeyError):
        rooms.publish("r", "x")
    rooms.on_entry("r", Entry("x", b"other---", 1))
    [record] = caplog.records
    assert "'r' is not delivered" in record.getMessage()
    assert hears_nothing(client)


# Ends and beginnings


def test_close(member: Make) -> None:
    rooms = Rooms(history=3)
    client, server = member()
    membership = rooms.join("r", server, user="ann")
    old = rooms.publish("r", "1").id
    rooms.close()
    rooms.close()
    assert rooms.connections("r") == () and is_empty(rooms)
    assert client.recv() == "1"
    # The connection is open, and may join again, in rooms that know nothing.
    with rooms.join("r", server, since=old, user="bob") as again:
        membership.leave()  # of the time before
        assert again.gap
        assert rooms.members("r") == {"bob"}
        assert rooms.publish("r", "2").sent == 1
        assert client.recv() == "2"


def test_close_while_one_joins_and_one_publishes(member: Make) -> None:
    class Slow(Echo):
        go_on = Event()

        def subscribe(self, room: str) -> None:
            if room == "slow":
                self.go_on.wait(LONG)

    bus = Slow()
    rooms = Rooms(bus)
    client, server = member()
    rooms.join("r", server)
    joining = gevent.spawn(rooms.join, "slow", server)
    publishing = gevent.spawn(rooms.publish, "r", "pending")
    gevent.sleep(0)
    rooms.close()
    assert publishing.get(LONG).sent == 1
    assert client.recv() == "pending"
    bus.go_on.set()
    with pytest.raises(ConcurrencyError, match="closed meanwhile"):
        joining.get(LONG)
    assert is_empty(rooms)


def test_another_thread_is_told(rooms: Rooms, member: Make) -> None:
    client, server = member()
    rooms.join("r", server)
    calls: list[Callable[[], object]] = [
        lambda: rooms.publish("r", "x"),
        lambda: rooms.join("r", server),
        lambda: rooms.leave("r", server),
        lambda: rooms.connections("r"),
        lambda: rooms.members("r"),
        rooms.close,
    ]
    complaints: list[str] = []

    def call_all() -> None:
        for call in calls:
            try:
                call()
            except ConcurrencyError as exc:
                complaints.append(str(exc))

    thread = threading.Thread(target=call_all)
    thread.start()
    thread.join(LONG)
    assert len(complaints) == len(calls)
    assert {"thread" in complaint for complaint in complaints} == {True}
    assert rooms.publish("r", "mine").sent == 1
    assert client.recv() == "mine"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_begins_anew(member: Make) -> None:
    """It sends nothing to its parent's connections, and its history is its own."""
    rooms = Rooms(history=3)
    client, server = member()
    membership = rooms.join("r", server)
    first = rooms.publish("r", "parent").id
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            membership.leave()
            told = [rooms.connections("r"), rooms.publish("r", "child").sent]
            last = rooms.publish("r", "child").id
            told += [last.number if last else None, last == first]
            told += [last.epoch == first.epoch if last and first else None]
            told += [rooms.totals.sent]
            os.write(writer, repr(told).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    told = os.read(reader, 1000).decode()
    os.close(reader)
    os.close(writer)
    assert told == repr([(), 0, 2, False, False, 0])
    assert rooms.connections("r") == (server,)
    assert client.recv() == "parent"
    assert hears_nothing(client)


def test_ids_are_those_of_entries(rooms: Rooms) -> None:
    assert rooms.publish("r", "x").id is None
    with_history = Rooms(history=1)
    entry_id = with_history.publish("r", "x").id
    assert isinstance(entry_id, EntryId)
    assert EntryId.parse(str(entry_id)) == entry_id
