"""The bus over one Redis: the rows of the table of cases, and what they leave open."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import gevent
import pytest
from gevent.event import Event

from gws.rooms import Entry, EntryId, Rooms
from gws.rooms import redisbus as redisbus_module
from gws.rooms import shard as shard_module
from gws.rooms.envelope import MAX_ENTRY, pack
from gws.rooms.names import channel_of


Make = Callable[..., Any]

#: Within this, what should happen has happened, on a machine that has other work.
LONG = 20

pytestmark = [pytest.mark.covered, pytest.mark.usefixtures("quick")]


def wait_for(condition: Callable[[], Any], seconds: float = LONG) -> None:
    with gevent.Timeout(seconds, "it has not happened"):
        while not condition():
            gevent.sleep(0.01)


def channel(room: str) -> bytes:
    return channel_of("gws", room)


# R01


@pytest.mark.parametrize("history", [0, 100])
def test_r01_killed_and_started_again(
    start_redis: Make, open_bus: Make, history: int
) -> None:
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    a = open_bus(server.url, history=history, timeout=LONG)
    b = open_bus(server.url, history=history, timeout=LONG)
    a.bus.subscribe("r")
    b.bus.subscribe("r")
    numbers = iter(range(1, 100)) if history else iter([None] * 100)
    for _ in range(2):
        assert a.say("r", "before") is bool(history)
        before = ("r", "before", next(numbers))
        b.expect(before)
        a.expect(before)
        server.kill()
        a.expect("down")
        b.expect("down")
        assert a.say("r", "meanwhile") is False
        gevent.sleep(0.3)  # some attempts fail, of which nobody is told
        server.start()
        wait_for(lambda: ("up", not history) in a.events)
        wait_for(lambda: ("up", not history) in b.events)
        if history:
            # It is another run of Redis: ids begin anew, nothing was missed.
            numbers = iter(range(2, 100))
            meanwhile = ("r", "meanwhile", 1)
        else:
            meanwhile = ("r", "meanwhile", None)
        for heard in (a, b):
            # The entry may come before the server is told to be up, or after; without
            # history it may come before we listen again: so there is a gap.
            events = heard.settle()
            assert events.count(("up", not history)) == 1
            assert events.count(meanwhile) <= 1
            assert len(events) == 1 + events.count(meanwhile)
            assert not history or meanwhile in events


def test_r01_pauses_grow_and_are_reset(
    start_redis: Make, open_bus: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    jitter: list[tuple[float, float]] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        hub_sleep(0.01)

    def uniform(low: float, high: float) -> float:
        jitter.append((low, high))
        return high

    hub_sleep = gevent.sleep
    monkeypatch.setattr(shard_module, "MIN_PAUSE", 1.0)
    monkeypatch.setattr(shard_module, "MAX_PAUSE", 60.0)
    server = start_redis()
    heard = open_bus(server.url)
    heard.bus.subscribe("r")
    monkeypatch.setattr(shard_module.gevent, "sleep", sleep)
    monkeypatch.setattr(shard_module.random, "uniform", uniform)
    server.kill()
    with gevent.Timeout(LONG):
        while len(pauses) < 8:
            hub_sleep(0.01)
    monkeypatch.setattr(shard_module.gevent, "sleep", hub_sleep)
    assert pauses[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert set(jitter) == {(0.5, 1)}
    monkeypatch.setattr(shard_module.random, "uniform", lambda *_: 0.001)
    server.start()
    heard.expect("down", ("up", True))
    server.kill()
    pauses.clear()
    monkeypatch.setattr(shard_module.random, "uniform", uniform)
    monkeypatch.setattr(shard_module.gevent, "sleep", sleep)
    with gevent.Timeout(LONG):
        while len(pauses) < 2:
            hub_sleep(0.01)
    assert pauses[:2] == [1, 2]


def test_r01_idle_meanwhile(
    start_redis: Make, open_bus: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_module, "MIN_PAUSE", 60.0)
    server = start_redis()
    heard = open_bus(server.url)
    heard.bus.subscribe("r")
    server.kill()
    heard.expect("down")
    gevent.sleep(0.2)
    before = time.process_time()
    gevent.sleep(1)
    assert time.process_time() - before < 0.1


def test_away_at_the_start(start_redis: Make, open_bus: Make) -> None:
    server = start_redis()
    server.kill()
    heard = open_bus(server.url, history=10)
    heard.bus.subscribe("r")
    heard.expect("down")
    assert heard.say("r", "kept") is False
    server.start()
    # Others may have said something since we joined.
    with gevent.Timeout(LONG):
        while ("up", True) not in heard.events:
            gevent.sleep(0.01)
    assert heard.settle().count(("up", True)) == 1


# R02


def test_r02_silence_is_noticed(
    start_redis: Make, open_bus: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A sign of life, and the answer to it, are due within 30 s.
    assert shard_module.HEALTH_INTERVAL + 5 < shard_module.SILENCE < 30
    monkeypatch.setattr(shard_module, "HEALTH_INTERVAL", 0.2)
    server = start_redis()
    heard = open_bus(f"{server.url}?socket_timeout=0.3&socket_connect_timeout=0.3")
    heard.bus.subscribe("r")
    assert heard.events == []
    server.pause()
    heard.expect("down")
    gevent.sleep(0.5)
    server.resume()
    heard.expect(("up", True))
    heard.say("r", "again")
    heard.expect(("r", "again", None))


def test_r02_a_listener_that_hears_nothing(
    start_redis: Make, open_bus: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy connection for commands does not hide that the other one is dead; nor is
    one dead that only has nothing to hear."""
    monkeypatch.setattr(shard_module, "HEALTH_INTERVAL", 0.1)
    monkeypatch.setattr(shard_module, "SILENCE", 1.5)
    server = start_redis()
    heard = open_bus(server.url)
    heard.bus.subscribe("r")
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        heard.say("elsewhere", "x")
        gevent.sleep(0.02)
    assert heard.events == []
    assert len(server.clients("pubsub")) == 1


# R03


@pytest.mark.parametrize("history", [0, 1000])
def test_r03_slow_subscriber_is_told_of_the_gap(
    start_redis: Make, open_bus: Make, history: int
) -> None:
    server = start_redis("--client-output-buffer-limit", "pubsub", "1mb", "1mb", "0")
    slow = open_bus(server.url, history=history, timeout=LONG)
    quick = open_bus(server.url, history=history, timeout=LONG)
    slow.bus.subscribe("r")
    goes_on = Event()
    note = slow._note
    slow._note = lambda event: (note(event), goes_on.wait())[0]
    n = 500
    for i in range(n):
        quick.say("r", f"{i:05} " + "x" * 20_000)
    wait_for(lambda: not server.clients("pubsub"))
    goes_on.set()
    slow._note = note
    wait_for(lambda: ("up", not history) in slow.events)
    got = [e[1][:5] for e in slow.settle() if e[0] == "r"]
    assert got == sorted(set(got)), "in order, and once"
    if history:
        assert got == [f"{i:05}" for i in range(n)]
    else:
        assert len(got) < n


# R05


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/gws-unpickled",)


GARBAGE = {
    "empty": b"",
    "pickle": pickle.dumps(Evil()),
    "pickle, as others frame it": b"1-1 " + pickle.dumps(Evil()),
    "json": b'{"method": "emit", "event": ',
    "later version": b"gw\x02" + bytes(40),
    "unknown flags": b"gw\x01\x80" + bytes(40),
    "cut off": pack(Entry("x", b"12345678", 1))[:15],
    "key cut off": pack(Entry("x", b"12345678", 1, "key"))[:23],
    "text that is none": pack(Entry(b"\xff", b"12345678", 1)).replace(
        b"gw\x01\x00", b"gw\x01\x01", 1
    ),
    "an id that is none": b"1-x " + pack(Entry("x", b"12345678", 1)),
    "an id too long": b"1" * 40 + b"-1 " + pack(Entry("x", b"12345678", 1)),
    "presence nobody asked for": b"+\xff",
}


@pytest.mark.parametrize("history", [0, 10])
def test_r05_garbage_on_the_channel(
    redis_server: Any,
    open_bus: Make,
    history: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard = open_bus(redis_server.url, history=history)
    heard.bus.subscribe("r")
    with caplog.at_level(logging.INFO, "gws.rooms"):
        for garbage in GARBAGE.values():
            redis_server.ask("PUBLISH", channel("r"), garbage)
        redis_server.ask("PUBLISH", channel("r"), b"g" * 20_000_000)
        # Both at once, and Redis would take the listener for slow.
        wait_for(lambda: heard.bus.n_invalid == len(GARBAGE))
        redis_server.ask("PUBLISH", channel("r"), b"gw\x01\x00" + bytes(MAX_ENTRY))
        heard.say("r", "fine")
        heard.expect(("r", "fine", 1 if history else None))
    assert heard.bus.n_invalid == len(GARBAGE) + 2 - 1  # not presence
    lines = [r for r in caplog.records if "no entries" in r.message]
    assert len(lines) == 1 and not lines[0].exc_info
    assert not os.path.exists("/tmp/gws-unpickled")


def test_r05_garbage_in_the_stream(redis_server: Any, open_bus: Make) -> None:
    a = open_bus(redis_server.url, history=10)
    a.bus.subscribe("r")
    a.say("r", "1")
    a.expect(("r", "1", 1))
    stream = channel("r") + b":s"
    redis_server.ask("XADD", stream, "*", "e", b"\x80pickle", "t", "x")
    redis_server.ask("XADD", stream, "*", "only", "this")
    redis_server.ask("XADD", stream, "*", "e", b"{}", "t", "99999999999999")
    redis_server.ask("XADD", stream, "18446744073709551615-1", "e", b"", "t", "1")
    entries, _ = a.bus.read("r", None)
    assert [entry.message for entry in entries] == ["1"]
    assert a.bus.n_invalid == 4
    # Nothing can be added to such a stream: it begins anew.
    a.say("r", "2")
    a.expect(("r", "2", 2))
    entries, whole = a.bus.read("r", EntryId(1, 1))
    assert [entry.message for entry in entries] == ["2"] and not whole


def test_r05_keys_of_another_kind(redis_server: Any, open_bus: Make) -> None:
    """The room is broken then; the others, and the bus, are not."""
    a = open_bus(redis_server.url, history=10)
    redis_server.ask("SET", channel("r") + b":n", "x")
    redis_server.ask("HSET", channel("q") + b":n", "epoch", "x", "number", "y")
    a.bus.subscribe("r")
    a.bus.subscribe("q")
    assert a.bus.read("r", None) == ([], False)
    assert a.bus.read("q", None) == ([], False)
    a.say("r", "only here")
    a.expect(("r", "only here", None))
    assert a.bus.n_refused == 1
    a.bus.subscribe("fine")
    a.say("fine", "x")
    a.expect(("fine", "x", 1))


# R06


@pytest.mark.parametrize("history", [0, 10_000])
def test_r06_all_in_order_per_sender(
    redis_server: Any, open_bus: Make, history: int
) -> None:
    n, buses = 2500, [open_bus(redis_server.url, history=history) for _ in range(4)]
    for heard in buses:
        heard.bus.subscribe("r")

    def speak(heard: Any, name: int) -> None:
        for i in range(n):
            heard.say("r", f"{name} {i}")

    speakers = [gevent.spawn(speak, h, i) for i, h in enumerate(buses)]
    gevent.joinall(speakers, timeout=40, raise_error=True)
    for heard in buses:
        wait_for(lambda h=heard: len(h.events) >= 4 * n, 40)
        by_sender: dict[str, list[int]] = {}
        for _, message, _ in heard.events:
            sender, _, i = message.partition(" ")
            by_sender.setdefault(sender, []).append(int(i))
        assert by_sender == {str(i): list(range(n)) for i in range(4)}
    if history:
        assert all(h.events == buses[0].events for h in buses)


def test_r06_many_who_publish_at_once(redis_server: Any, open_bus: Make) -> None:
    """They keep the order of their numbers, even while the bus is being opened."""
    b = open_bus(redis_server.url)
    b.bus.subscribe("r")
    a = open_bus(redis_server.url)
    speakers = [gevent.spawn(a.say, "r", str(i)) for i in range(200)]
    gevent.joinall(speakers, timeout=LONG, raise_error=True)
    b.expect(*(("r", str(i), None) for i in range(200)))


# R07


def test_r07_two_connections(redis_server: Any, open_bus: Make) -> None:
    heard = open_bus(redis_server.url, history=1, timeout=60)
    joiners = [gevent.spawn(heard.bus.subscribe, f"room {i}") for i in range(5000)]
    gevent.joinall(joiners, timeout=50, raise_error=True)
    assert len(redis_server.ask("PUBSUB", "CHANNELS", "gws:*")) == 5000
    assert len(redis_server.clients()) == len(redis_server.clients("pubsub")) == 1
    assert heard.events == []
    redis_server.ask("CLIENT", "KILL", "TYPE", "pubsub")
    with gevent.Timeout(30):
        while len(heard.events) < 2:
            gevent.sleep(0.02)
    heard.expect("down", ("up", False))
    assert len(redis_server.ask("PUBSUB", "CHANNELS", "gws:*")) == 5000
    assert len(redis_server.clients()) == len(redis_server.clients("pubsub")) == 1


# R08


def test_r08_who_has_joined_hears(redis_server: Any, open_bus: Make) -> None:
    a, b = open_bus(redis_server.url), open_bus(redis_server.url)
    for i in range(50):
        b.bus.subscribe(f"r{i}")
        a.say(f"r{i}", "at once")
        b.expect((f"r{i}", "at once", None))
        b.bus.unsubscribe(f"r{i}")
        b.bus.subscribe(f"r{i}")
        a.say(f"r{i}", "again")
        b.expect((f"r{i}", "again", None))


def test_r08_last_leaves_while_first_joins(
    redis_server: Any, open_bus: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redisbus_module, "GRACE", 0.0)
    a, b = open_bus(redis_server.url), open_bus(redis_server.url)
    for i in range(50):
        b.bus.subscribe("r")
        b.bus.unsubscribe("r")
        if i % 2:
            gevent.sleep(0)
        b.bus.subscribe("r")
        a.say("r", str(i))
        b.expect(("r", str(i), None))


def test_left_after_a_grace(
    redis_server: Any, open_bus: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redisbus_module, "GRACE", 0.3)
    heard = open_bus(redis_server.url)
    for room in ("a", "b", "stays"):
        heard.bus.subscribe(room)
        heard.bus.unsubscribe(room)
    assert len(redis_server.ask("PUBSUB", "CHANNELS", "gws:*")) == 3
    heard.bus.subscribe("stays")
    wait_for(lambda: redis_server.ask("PUBSUB", "CHANNELS", "*") == [channel("stays")])
    assert heard.events == []


# What publishing may cost


@pytest.mark.parametrize("history", [0, 10])
def test_publish_keeps_its_deadline(
    start_redis: Make, open_bus: Make, history: int
) -> None:
    server = start_redis()
    heard = open_bus(server.url, history=history, timeout=0.5)
    heard.bus.subscribe("r")
    server.pause()
    for _ in range(3):
        start = time.monotonic()
        heard.say("r", "x" * 3_000_000)
        heard.bus.subscribe(f"room {start}")
        assert time.monotonic() - start < 5
    start = time.monotonic()
    heard.bus.close()
    assert time.monotonic() - start < 5
    server.resume()


def test_what_waits_is_bounded(start_redis: Make, open_bus: Make) -> None:
    server = start_redis()
    heard = open_bus(server.url, history=100, timeout=LONG)
    heard.bus.subscribe("r")
    server.kill()
    heard.expect("down")
    for i in range(40):
        heard.say("r", f"{i:03}" + "x" * 1_000_000)
    lost = heard.bus._shards.n_lost
    assert 20 <= lost < 30
    server.start()
    wait_for(lambda: ("up", False) in heard.events)
    got = [e[1][:3] for e in heard.settle() if e[0] == "r"]
    assert got == [f"{i:03}" for i in range(40 - lost)]


def test_the_longest_entry(redis_server: Any, open_bus: Make) -> None:
    heard = open_bus(redis_server.url, history=1)
    heard.bus.subscribe("r")
    longest = "x" * (MAX_ENTRY - 20)
    assert heard.say("r", longest)
    heard.expect(("r", longest, 1))
    with pytest.raises(ValueError, match="at most"):
        heard.say("r", longest + "x")


def test_who_is_killed_while_it_waits(start_redis: Make, open_bus: Make) -> None:
    """A greenlet that is killed in a call leaves the connection as it should be."""
    server = start_redis()
    heard = open_bus(server.url, history=10)
    heard.bus.subscribe("r")
    server.pause()
    calls = [
        gevent.spawn(heard.bus.read, "r", None),
        gevent.spawn(heard.say, "r", "x" * 5_000_000),
        gevent.spawn(heard.say, "r", "y"),
        gevent.spawn(heard.bus.subscribe, "q"),
    ]
    gevent.sleep(0.1)
    gevent.killall(calls, timeout=LONG)
    server.resume()
    heard.bus.subscribe("q")
    heard.say("q", "z")
    heard.expect(("r", "x" * 5_000_000, 1), ("r", "y", 2), ("q", "z", 1))
    assert [e.message for e in heard.bus.read("r", None)[0]][1:] == ["y"]


# History


def test_history_heals(start_redis: Make, open_bus: Make) -> None:
    """Killed again and again while many are written: none is missing, none twice."""
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    a = open_bus(server.url, history=5000, timeout=LONG)
    b = open_bus(server.url, history=5000, timeout=LONG)
    a.bus.subscribe("r")
    b.bus.subscribe("r")
    said = []
    stop = Event()

    def speak() -> None:
        while not stop.is_set():
            said.append(str(len(said)))
            a.say("r", said[-1])
            gevent.sleep(0.002)

    speaker = gevent.spawn(speak)
    for _ in range(3):
        gevent.sleep(0.3)
        server.kill()
        server.start()
    gevent.sleep(0.1)
    stop.set()
    speaker.join()
    wait_for(lambda: b.bus._shards.up and a.bus._shards.up)
    a.settle()
    got = [event for event in b.settle() if event[0] == "r"]
    assert [event[1] for event in got] == said
    entries, whole = b.bus.read("r", None)
    assert whole and [entry.message for entry in entries] == said


@pytest.mark.parametrize("what", ["empty", "older"])
def test_comes_back_with_less(start_redis: Make, open_bus: Make, what: str) -> None:
    server = start_redis("--dbfilename", "dump.rdb")
    a = open_bus(server.url, history=10)
    a.bus.subscribe("r")
    a.say("r", "1")
    if what == "older":
        server.ask("SAVE")
    a.say("r", "2")
    a.expect(("r", "1", 1), ("r", "2", 2))
    entries, _ = a.bus.read("r", None)
    server.kill()
    server.start()
    a.expect("down", ("up", True))
    a.say("r", "3")
    a.expect(("r", "3", 1))
    again, whole = a.bus.read("r", entries[-1].id)
    assert [entry.message for entry in again] == ["3"] and not whole
    assert again[0].id is not None and entries[-1].id is not None
    assert again[0].id.epoch > entries[-1].id.epoch
    assert a.settle() == []


def test_a_room_that_was_forgotten(redis_server: Any, open_bus: Make) -> None:
    """Its ttl is over: another epoch begins, and nobody has missed anything."""
    a = open_bus(redis_server.url, history=10, ttl=0.2)
    a.bus.subscribe("r")
    a.say("r", "1")
    a.expect(("r", "1", 1))
    wait_for(lambda: not redis_server.ask("KEYS", "*"))
    a.say("r", "2")
    a.expect(("r", "2", 1))
    assert a.settle() == [] and a.bus._missed is False


def test_more_was_missed_than_is_kept(redis_server: Any, open_bus: Make) -> None:
    a, b = (open_bus(redis_server.url, history=5) for _ in range(2))
    b.bus.subscribe("r")
    a.say("r", "0")
    b.expect(("r", "0", 1))
    listener = b.bus._shards.of(channel("r"))
    listener.unsubscribe(channel("r"))  # behind its back
    wait_for(lambda: not redis_server.ask("PUBSUB", "CHANNELS", "*"))
    for i in range(1, 10):
        a.say("r", str(i))
    last = ("HGET", channel("r") + b":n", "number")
    wait_for(lambda: redis_server.ask(*last) == b"10")
    redis_server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    listener.subscribe(channel("r"))
    wait_for(lambda: ("up", True) in b.events)
    assert [e[1] for e in b.settle() if e[0] == "r"] == list("56789")


# Opening and closing


def test_opened_again(redis_server: Any, open_bus: Make) -> None:
    a, b = open_bus(redis_server.url), open_bus(redis_server.url)
    a.bus.subscribe("r")
    a.bus.close()
    assert a.bus.read("r", None) == ([], False)
    a.bus.unsubscribe("nowhere")
    a.bus.start(a)
    a.bus.subscribe("q")
    b.say("r", "1")
    b.say("q", "2")
    a.expect(("r", "1", None), ("q", "2", None))


def test_closing_sends_what_waits(redis_server: Any, open_bus: Make) -> None:
    a, b = open_bus(redis_server.url), open_bus(redis_server.url)
    b.bus.subscribe("r")
    for i in range(1000):
        a.say("r", str(i))
    a.bus.close()
    b.expect(*(("r", str(i), None) for i in range(1000)))


def test_closed_by_who_is_told(start_redis: Make, open_bus: Make) -> None:
    server = start_redis()
    heard = open_bus(server.url)
    heard.bus.subscribe("r")
    heard.on_down = lambda exc: heard.bus.close()
    server.kill()
    wait_for(lambda: not heard.bus._working)
    gevent.sleep(0.3)  # nothing goes on: the leak check says so


def test_user_code_that_fails(
    redis_server: Any, open_bus: Make, caplog: pytest.LogCaptureFixture
) -> None:
    heard = open_bus(redis_server.url)
    heard.bus.subscribe("r")
    on_entry, heard.on_entry = heard.on_entry, lambda room, entry: 1 / 0
    heard.say("r", "1")
    wait_for(lambda: "could not be delivered" in caplog.text)
    heard.on_entry = on_entry
    heard.say("r", "2")
    heard.expect(("r", "2", None))


def test_fork(redis_server: Any, open_bus: Make) -> None:
    heard = open_bus(redis_server.url)
    heard.bus.subscribe("r")
    pid = gevent.os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            child = object.__new__(type(heard))
            child.__dict__.update(heard.__dict__, _origin=b"achild!!")
            heard.bus.start(child)
            with gevent.Timeout(LONG):
                heard.bus.subscribe("r")
                child.say("r", "from the child")
                heard.bus.close()
        os._exit(0)
    heard.expect(("r", "from the child", None))
    os.waitpid(pid, 0)
    heard.say("r", "from the parent")
    heard.expect(("r", "from the parent", None))
    assert heard.settle() == []


# Rooms


def test_r08_publish_right_after_join(
    redis_server: Any, member: Make, stack: ExitStack
) -> None:
    a, b = (Rooms(redis_server.url) for _ in range(2))
    stack.callback(a.close)
    stack.callback(b.close)
    (client, server) = member()
    for i in range(20):
        with a.join(f"r{i}", server):
            b.publish(f"r{i}", str(i))
            assert client.recv(LONG) == str(i)


@pytest.mark.parametrize("history", [0, 10])
def test_r11_exactly_once(
    redis_server: Any, member: Make, stack: ExitStack, history: int
) -> None:
    a, b = (Rooms(redis_server.url, history=history) for _ in range(2))
    stack.callback(a.close)
    stack.callback(b.close)
    (sender, at_a), (friend, also_at_a), (other, at_b) = member(), member(), member()
    a.join("r", at_a)
    a.join("r", also_at_a)
    b.join("r", at_b)
    assert a.publish("r", "from a", exclude=at_a).sent == 1
    assert b.publish("r", "from b", exclude=at_b).sent == 0
    a.publish("r", "for all")
    assert {sender.recv(LONG), sender.recv(LONG)} == {"from b", "for all"}
    assert {friend.recv(LONG) for _ in range(3)} == {"from a", "from b", "for all"}
    assert {other.recv(LONG), other.recv(LONG)} == {"from a", "for all"}
    for ws in (sender, friend, other):
        with pytest.raises(TimeoutError):
            ws.recv(0.1)


@pytest.mark.parametrize("history", [0, 10])
def test_members_here_hear_while_redis_is_away(
    start_redis: Make, member: Make, stack: ExitStack, history: int
) -> None:
    server = start_redis()
    down, up = Event(), Event()
    rooms = Rooms(
        server.url,
        history=history,
        on_bus_down=lambda exc: down.set(),
        on_bus_up=lambda gap: up.set(),
    )
    stack.callback(rooms.close)
    client, ws = member()
    rooms.join("r", ws)
    server.kill()
    assert down.wait(LONG)
    assert rooms.publish("r", "alone").sent == 1
    assert client.recv(LONG) == "alone"
    server.start()
    assert up.wait(LONG)
    rooms.publish("r", "together")
    assert client.recv(LONG) == "together"
    with pytest.raises(TimeoutError):
        client.recv(0.2)


@pytest.mark.parametrize("name", ["}", "{", "}{", "{}", "a{b}c", "\xe9", " \n", "?*"])
def test_any_name(redis_server: Any, open_bus: Make, name: str) -> None:
    heard = open_bus(redis_server.url, history=2)
    heard.bus.subscribe(name)
    heard.say(name, "x")
    heard.expect((name, "x", 1))
