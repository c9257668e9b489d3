"""Who is in a room, over all processes, whatever becomes of these or of Redis.

Each `Rooms` has its own bus, and is what a process is to the others; real processes
are used where they are killed or stopped.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
import pytest
import redis

from gws.rooms import Rooms
from gws.rooms.names import channel_of

from .conftest import RedisServer


pytestmark = [pytest.mark.covered, pytest.mark.usefixtures("quick")]

Make = Callable[..., Any]
Event = tuple[str, str, bool]

#: The lease of those that are killed; of others it is long, so that a machine that is
#: busy elsewhere ends none.
SHORT = 1.0

#: The longest wait for anything, in seconds.
LONG = 20

PEER = Path(__file__).with_name("presence_peer.py")

#: What Redis has of the room "r".
CHANNEL = channel_of("gws", "r")
KEY = CHANNEL + b":p"


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        gevent.sleep(0.01)


class Node:
    """Rooms as of one process, and what it was told."""

    def __init__(self, url: str, lease: float = 30, **options: Any) -> None:
        self.events: list[Event] = []
        self.rooms = Rooms(
            url,
            presence=True,
            presence_lease=lease,
            on_presence=lambda *event: self.events.append(event),
            **options,
        )

    def turns(self, user: str) -> list[bool]:
        return [came for _, name, came in self.events if name == user]

    def expect_turns(self, users: list[str], n: int) -> None:
        """Wait until each has come and gone in turn, ``n`` times in all.

        A process with a short lease may be late on a busy machine: then its users
        went, and came again, once more. Never twice in the same direction.
        """
        wait_for(lambda: all(self.is_done(self.turns(user), n) for user in users))
        for user in users:
            turns = self.turns(user)
            assert turns == ([True, False] * len(turns))[: len(turns)], user

    @staticmethod
    def is_done(turns: list[bool], n: int) -> bool:
        return len(turns) >= n and (len(turns) - n) % 2 == 0


@pytest.fixture
def node(stack: ExitStack, redis_server: RedisServer) -> Make:
    def make(**options: Any) -> Node:
        node = Node(redis_server.url, **options)
        stack.callback(node.rooms.close)
        return node

    return make


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Any]:
    with redis.Redis(unix_socket_path=redis_server.path) as client:
        yield client


def test_one_user_in_two_processes_comes_and_goes_once(
    node: Make, member: Make
) -> None:
    a, b, listener = node(), node(), node()
    (_, phone), (_, laptop), (_, other), (_, nobody) = (member() for _ in range(4))
    listener.rooms.join("r", nobody)
    at_phone = a.rooms.join("r", phone, user="ann")
    a.rooms.join("r", other, user="ann")
    at_laptop = b.rooms.join("r", laptop, user="ann")
    for x in (a, b, listener):
        assert x.rooms.members("r") == {"ann"}
    a.rooms.leave("r", other)
    at_phone.leave()
    assert a.rooms.members("r") == b.rooms.members("r") == {"ann"}
    at_laptop.leave()
    for x in (b, a, listener):
        assert x.rooms.members("r") == set()
    came_and_went = [("r", "ann", True), ("r", "ann", False)]
    wait_for(lambda: listener.events == came_and_went)
    wait_for(lambda: b.events == came_and_went or b.events == came_and_went[1:])
    at_phone = a.rooms.join("r", phone, user="ann")
    wait_for(lambda: listener.events == [*came_and_went, ("r", "ann", True)])


def test_one_sees_what_one_has_done(node: Make, member: Make) -> None:
    a, b = node(), node()
    (_, first), (_, second) = member(), member()
    for _ in range(20):
        with a.rooms.join("r", first, user="ann"):
            assert a.rooms.members("r") == {"ann"}
            with a.rooms.join("r", second, user="bob"):
                assert a.rooms.members("r") == {"ann", "bob"}
            assert a.rooms.members("r") == {"ann"}
        assert a.rooms.members("r") == set()
    assert b.rooms.members("r") == set()


def test_who_closes_has_left_for_all(node: Make, member: Make) -> None:
    a, b = node(), node()
    (_, stays), (client, goes) = member(), member()
    b.rooms.join("r", stays, user="bob")
    a.rooms.join("r", goes, user="ann")
    client.close()
    wait_for(lambda: b.events[-1:] == [("r", "ann", False)])
    assert b.rooms.members("r") == {"bob"}


def test_who_closes_the_rooms_has_left_for_all(
    node: Make, member: Make, client: Any
) -> None:
    a, b = node(), node()
    (_, stays), (_, goes) = member(), member()
    a.rooms.join("r", goes, user="ann")
    a.rooms.close()
    assert not client.keys()
    b.rooms.join("r", stays, user="bob")
    # It may be used again.
    wait_for(lambda: a.rooms.members("r") == {"bob"})
    a.rooms.join("r", goes, user="ann")
    wait_for(lambda: b.rooms.members("r") == {"ann", "bob"})
    wait_for(lambda: b.events == [("r", "bob", True), ("r", "ann", True)])


@pytest.mark.parametrize("name", ["a b", "-", "ä{}%\n", "0123456789abcdef " * 3])
def test_odd_names(node: Make, member: Make, name: str) -> None:
    a, b = node(), node()
    (_, first), (_, second) = member(), member()
    a.rooms.join(name, first, user=name)
    b.rooms.join(name, second, user=f"{name}2")
    wait_for(
        lambda: a.rooms.members(name) == b.rooms.members(name) == {name, f"{name}2"}
    )
    a.rooms.leave(name, first)
    assert a.rooms.members(name) == {f"{name}2"}


@pytest.mark.parametrize("user", ["", "x" * 513, "\ud800", 7])
def test_no_names(node: Make, member: Make, user: Any) -> None:
    a = node()
    _, server = member()
    with pytest.raises((ValueError, TypeError)):
        a.rooms.join("r", server, user=user)
    assert a.rooms.connections("r") == ()


def test_what_others_write_into_the_channel(
    node: Make, member: Make, client: Any
) -> None:
    a = node()
    ws, server = member()
    a.rooms.join("r", server, user="ann")
    wait_for(lambda: a.events)
    bad = [b"+\xff", b"?", b"?\xff", b"*", b"-", b"+" + b"x" * 513]
    for data in (*bad, b"?someone else", b"+eve"):
        assert client.publish(CHANNEL, data) == 1
    wait_for(lambda: len(a.events) > 1)
    assert a.events == [("r", "ann", True), ("r", "eve", True)]
    assert a.rooms._bus.n_invalid == len(bad)
    a.rooms.publish("r", "still there")
    assert ws.recv(LONG) == "still there"
    assert a.rooms.members("r") == {"ann"}


# A callback


def test_a_callback_may_publish_and_fail(
    node: Make, member: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """What it publishes comes back by the greenlet that told of the event."""

    def tell(room: str, user: str, came: bool) -> None:
        if user == "eve":
            raise LookupError("of mine")
        a.rooms.publish(room, user)

    a = node(history=10, publish_timeout=LONG)
    a.rooms._on_presence = tell
    ws, server = member()
    started = time.monotonic()
    a.rooms.join("r", server, user="ann")
    assert ws.recv(LONG) == "ann"
    assert time.monotonic() - started < LONG
    with caplog.at_level(logging.ERROR, "gws.rooms"):
        with a.rooms.join("r", member()[1], user="eve"):
            pass
        a.rooms.join("r", member()[1], user="bob")
        assert ws.recv(LONG) == "bob"
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [
        LookupError,
        LookupError,
    ]


# Redis goes


def test_while_redis_is_away_one_knows_only_oneself(
    node: Make, member: Make, redis_server: RedisServer
) -> None:
    a, b = node(), node()
    (_, first), (_, second), (_, third) = member(), member(), member()
    a.rooms.join("r", first, user="ann")
    b.rooms.join("r", second, user="bob")
    wait_for(lambda: a.rooms.members("r") == {"ann", "bob"})
    redis_server.kill()
    wait_for(lambda: a.rooms.members("r") == {"ann"})
    wait_for(lambda: b.rooms.members("r") == {"bob"})
    b.rooms.leave("r", second)
    a.rooms.join("r", third, user="cleo")
    assert a.rooms.members("r") == {"ann", "cleo"}
    assert b.rooms.members("r") == set()
    redis_server.start()  # empty
    b.rooms.join("r", second, user="ben")
    everybody = {"ann", "cleo", "ben"}
    wait_for(lambda: a.rooms.members("r") == b.rooms.members("r") == everybody)
    # Its own connection is there by then; others may miss that.
    wait_for(lambda: ("r", "ben", True) in b.events)
    assert ("r", "bob", False) not in b.events  # nobody knows any more
    b.rooms.leave("r", second)
    wait_for(lambda: ("r", "ben", False) in a.events)


def test_who_goes_while_redis_is_stopped_is_gone_when_it_is_back(
    node: Make, member: Make, client: Any
) -> None:
    """It still has what it had; only the connections are lost."""
    a, b = node(), node()
    (_, first), (_, second), (_, third) = member(), member(), member()
    a.rooms.join("r", first, user="ann")
    a.rooms.join("r", third, user="eve")
    b.rooms.join("r", second, user="bob")
    wait_for(lambda: len(b.events) == 1 and len(a.events) == 3)
    down: list[object] = []
    a.rooms._on_bus_down = down.append
    client.config_set("maxclients", 1)
    client.execute_command("CLIENT", "KILL", "SKIPME", "yes")
    wait_for(lambda: down)
    a.rooms.leave("r", first)
    assert a.rooms.members("r") == {"eve"}
    client.config_set("maxclients", 1000)
    wait_for(lambda: b.rooms.members("r") == {"bob", "eve"})
    wait_for(lambda: a.rooms.members("r") == {"bob", "eve"})
    # It has kept what it had: nobody else has come or gone.
    wait_for(lambda: ("r", "ann", False) in a.events)
    assert len(a.events) == 4
    assert set(client.hkeys(KEY)) == {b"", b"bob", b"eve"}


def test_redis_is_emptied(node: Make, member: Make, client: Any) -> None:
    a, b = node(lease=SHORT), node(lease=SHORT)
    (_, first), (_, second) = member(), member()
    a.rooms.join("r", first, user="ann")
    b.rooms.join("r", second, user="bob")
    wait_for(lambda: b.rooms.members("r") == a.rooms.members("r") == {"ann", "bob"})
    client.flushall()
    assert "ann" in a.rooms.members("r")  # at once
    wait_for(lambda: a.rooms.members("r") == b.rooms.members("r") == {"ann", "bob"})
    a.rooms.leave("r", first)
    b.rooms.leave("r", second)
    wait_for(lambda: b.rooms.members("r") == set())
    wait_for(lambda: not client.keys())


def test_redis_refuses_and_then_does_not(
    node: Make, member: Make, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What got lost on the way is found to be missing."""
    a, b = node(lease=SHORT), node()
    (_, first), (_, second) = member(), member()
    a.rooms.join("r", first, user="ann")
    wait_for(lambda: b.rooms.members("r") == {"ann"})
    client.config_set("maxmemory", 1)
    try:
        a.rooms.join("r", second, user="bob")
        wait_for(lambda: "refuses to be told who is in rooms" in caplog.text)
        assert a.rooms.members("r") == {"ann", "bob"}
    finally:
        client.config_set("maxmemory", 0)
    wait_for(lambda: b.rooms.members("r") == {"ann", "bob"})


def test_a_callback_of_the_hub_cannot_ask_others(node: Make, member: Make) -> None:
    a, b = node(), node()
    a.rooms.join("r", member()[1], user="ann")
    b.rooms.join("r", member()[1], user="bob")
    wait_for(lambda: a.rooms.members("r") == {"ann", "bob"})
    found: list[set[str]] = []
    gevent.get_hub().loop.run_callback(lambda: found.append(a.rooms.members("r")))
    wait_for(lambda: found)
    assert found == [{"ann"}]


# Processes are killed


def users_of(name: str, n: int) -> list[str]:
    return [f"{name}{i}" for i in range(n)]


def test_r09_a_process_with_many_users_is_killed(
    node: Make, member: Make, spawn_peer: Make, redis_server: RedisServer, client: Any
) -> None:
    """All go, once each, although several processes could clean up at once."""
    nodes = [node() for _ in range(3)]
    for x in nodes:
        x.rooms.join("r", member()[1], user="stays")
    wait_for(lambda: nodes[0].events)
    users = users_of("user", 200)
    victim = spawn_peer(PEER, redis_server.url, str(SHORT))
    victim.tell(["join", "r", users])
    assert set(victim.hear()) == {"stays", *users}
    assert nodes[1].rooms.members("r") == {"stays", *users}
    for x in nodes:
        x.expect_turns(users, 1)
    victim.end()
    wait_for(lambda: all(x.rooms.members("r") == {"stays"} for x in nodes))
    for x in nodes:
        x.expect_turns(users, 2)
    # It is started again: they come again, once each.
    again = spawn_peer(PEER, redis_server.url, "30")
    again.tell(["join", "r", [*users, "stays"]])
    assert set(again.hear()) == {"stays", *users}
    for x in nodes:
        x.expect_turns(users, 3)
    assert nodes[0].turns("stays") == [True]
    assert client.hget(KEY, "").count(b";") == 4


def test_r09_all_processes_are_killed(
    spawn_peer: Make, redis_server: RedisServer, client: Any
) -> None:
    """Nobody is left to clean up: nothing is left either, after ten leases more."""
    peers = [spawn_peer(PEER, redis_server.url, str(SHORT / 5)) for _ in range(2)]
    for peer in peers:
        peer.tell(["join", "r", ["ann", "bob"]])
    assert [peer.hear() for peer in peers] == [["ann", "bob"]] * 2
    assert client.keys()
    for peer in peers:
        peer.end()
    wait_for(lambda: not client.keys())


def test_r09_who_cleans_up_is_killed(
    node: Make, member: Make, spawn_peer: Make, redis_server: RedisServer
) -> None:
    """At whatever moment: all go once."""
    x = node(lease=SHORT * 3)
    x.rooms.join("r", member()[1])  # it only listens
    users = users_of("user", 100)
    victim = spawn_peer(PEER, redis_server.url, str(SHORT))
    cleaner = spawn_peer(PEER, redis_server.url, str(SHORT))
    victim.tell(["join", "r", users])
    cleaner.tell(["join", "r", ["cleaner"]])
    assert len(victim.hear()) >= 100
    assert "cleaner" in cleaner.hear()
    x.expect_turns([*users, "cleaner"], 1)
    cleaner.tell(["clean", "r"])
    cleaner.hear()
    victim.end()
    # As soon as the first has gone.
    wait_for(lambda: not all(came for _, _, came in x.events))
    cleaner.end()
    # Without a look at the members: by its own renewals.
    x.expect_turns([*users, "cleaner"], 2)
    assert x.rooms.members("r") == set()


def test_r09_a_process_that_was_stopped_comes_back(
    node: Make, member: Make, spawn_peer: Make, redis_server: RedisServer
) -> None:
    x = node()
    x.rooms.join("r", member()[1], user="stays")
    users = users_of("user", 20)
    sleeper = spawn_peer(PEER, redis_server.url, str(SHORT))
    sleeper.tell(["join", "r", users])
    sleeper.hear()
    x.expect_turns(users, 1)
    sleeper._process.send_signal(signal.SIGSTOP)
    wait_for(lambda: x.rooms.members("r") == {"stays"})
    x.expect_turns(users, 2)
    sleeper._process.send_signal(signal.SIGCONT)
    wait_for(lambda: x.rooms.members("r") == {"stays", *users})
    sleeper.tell(["leave", "r", users])
    assert sleeper.hear() == ["stays"]
    assert x.rooms.members("r") == {"stays"}
    x.expect_turns(users, 4)
