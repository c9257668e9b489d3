"""Presence, and publishing from elsewhere, over a Redis Cluster and by a sentinel."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import gevent
import pytest

from gws.rooms import Publisher
from gws.rooms.names import channel_of
from gws.rooms.redis import slot_of

from .conftest import RedisServer
from .test_presence_redis import Node, wait_for


pytestmark = [pytest.mark.covered, pytest.mark.usefixtures("quick")]

Make = Callable[..., Any]

LONG = 20

#: The first slot of the second master.
MIDDLE = 8192


@pytest.fixture
def masters(start_redis: Make) -> list[RedisServer]:
    """A cluster of two masters."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
    first, second = nodes = [start_redis(*options) for _ in range(2)]
    first.ask("CLUSTER", "ADDSLOTSRANGE", 0, MIDDLE - 1)
    second.ask("CLUSTER", "ADDSLOTSRANGE", MIDDLE, 16383)
    second.ask("CLUSTER", "SET-CONFIG-EPOCH", 2)
    first.ask("CLUSTER", "MEET", "127.0.0.1", second.port)
    for node in nodes:
        node.wait_until(
            lambda node=node: (
                "cluster_state:ok" in str(node.ask("CLUSTER", "INFO"))
                and len(node.ask("CLUSTER", "SLOTS")) == 2
            )
        )
    return nodes


def rooms_of(n: int, *, first: bool) -> list[str]:
    """Return names of rooms that the first master has, or the second."""
    names = (f"room {i}" for i in range(1000))
    mine = (
        name for name in names if (slot_of(channel_of("gws", name)) < MIDDLE) == first
    )
    return [next(mine) for _ in range(n)]


def url_of(masters: list[RedisServer]) -> str:
    return f"redis+cluster://127.0.0.1:{masters[0].port}"


def test_presence(masters: list[RedisServer], stack: ExitStack, member: Make) -> None:
    a, b = nodes = [Node(url_of(masters)) for _ in range(2)]
    for node in nodes:
        stack.callback(node.rooms.close)
    rooms = rooms_of(2, first=True) + rooms_of(2, first=False)
    (_, at_a), (_, at_b) = member(), member()
    for room in rooms:
        a.rooms.join(room, at_a, user="ann")
        b.rooms.join(room, at_b, user="bob")
    for node in nodes:
        for room in rooms:
            wait_for(
                lambda node=node, room=room: node.rooms.members(room) == {"ann", "bob"}
            )
    for room in rooms:
        wait_for(lambda room=room: (room, "bob", True) in a.events)
        a.rooms.leave(room, at_a)
        wait_for(lambda room=room: b.events.count((room, "ann", False)) == 1)
    # They forget it all, and break the connections: all is told again.
    for master in masters:
        master.ask("FLUSHALL")
        master.ask("CLIENT", "KILL", "TYPE", "pubsub")
    for room in rooms:
        wait_for(lambda room=room: a.rooms.members(room) == {"bob"})


def test_publisher(masters: list[RedisServer], stack: ExitStack, member: Make) -> None:
    heard = Node(url_of(masters), history=10)
    stack.callback(heard.rooms.close)
    first, second = rooms_of(1, first=True) + rooms_of(1, first=False)
    client, server = member()
    publisher = Publisher(url_of(masters), history=10)
    stack.callback(publisher.close)
    call = gevent.get_hub().threadpool.apply
    for room in (first, second):
        heard.rooms.join(room, server)
        assert call(publisher.publish, (room, room)).number == 1
        assert client.recv(LONG) == room
    # The slot of the first goes to the second master, which the publisher can't know.
    for key in masters[0].ask("KEYS", "*"):
        masters[0].ask("DEL", key)
    owner = masters[1].ask("CLUSTER", "MYID")
    for master in reversed(masters):
        slot = slot_of(channel_of("gws", first))
        master.ask("CLUSTER", "SETSLOT", slot, "NODE", owner)
    assert call(publisher.publish, (first, "moved")).number == 1
    assert len(publisher._opened.connections) == 1
    assert masters[1].ask("EXISTS", channel_of("gws", first) + b":n") == 1


def test_publisher_by_sentinel(start_redis: Make) -> None:
    master, sentinel = start_redis(), start_redis("--sentinel")
    sentinel.ask("SENTINEL", "MONITOR", "chat", "127.0.0.1", master.port, 1)
    # The first does not answer.
    url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/chat"
    publisher = Publisher(url, history=10)
    assert publisher.publish("r", "1").number == 1
    assert master.ask("XLEN", channel_of("gws", "r") + b":s") == 1
    # It is found again at each new connection.
    publisher.close()
    other = start_redis()
    sentinel.ask("SENTINEL", "REMOVE", "chat")
    sentinel.ask("SENTINEL", "MONITOR", "chat", "127.0.0.1", other.port, 1)
    publisher.publish("r", "2")
    publisher.close()
    assert other.ask("XLEN", channel_of("gws", "r") + b":s") == 1
