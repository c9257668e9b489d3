"""The bus over a Redis Cluster of three masters and a replica."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import gevent
import pytest

from gws.rooms import Publisher
from gws.rooms import shard as shard_module
from gws.rooms.names import channel_of
from gws.rooms.redis import slot_of


Make = Callable[..., Any]

LONG = 30

pytestmark = [pytest.mark.covered, pytest.mark.usefixtures("quick")]

#: Room by room, they are served by all masters.
ROOMS = [f"room {i}" for i in range(12)]


class Cluster:
    """Three masters, and a replica of the first."""

    def __init__(self, start_redis: Make) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        # A replica counts once it has heard something.
        quick = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
        self.nodes = [start_redis(*options, *quick) for _ in range(4)]
        self.masters, self.replica = self.nodes[:3], self.nodes[3]
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        self.url = f"redis+cluster://{addresses[0]},{addresses[2]}"
        create = ["redis-cli", "--cluster", "create", *addresses[:3], "--cluster-yes"]
        subprocess.run(create, check=True, capture_output=True, timeout=40)
        for master in self.masters:
            self.replica.ask("CLUSTER", "MEET", "127.0.0.1", master.port)
        first = node_id(self.masters[0])
        self.replica.wait_until(lambda: self.replica.ask("CLUSTER", "REPLICATE", first))
        for node in self.nodes:
            node.wait_until(lambda node=node: self.is_whole(node))

    def is_whole(self, node: Any) -> bool:
        info = node.ask("CLUSTER", "INFO")
        told = [slots[2:] for slots in node.ask("CLUSTER", "SLOTS")]
        linked = self.replica.ask("INFO", "replication")
        return (
            b"cluster_state:ok" in info
            and sum(map(len, told)) == 4
            and b"master_link_status:up" in linked
        )

    def master_of(self, room: str) -> Any:
        slot = slot_of(channel_of("gws", room))
        return self.masters[0 if slot <= 5460 else 1 if slot <= 10922 else 2]

    def move_room(self, room: str, target: Any) -> None:
        """Move the slot of a room, with its keys, as redis-cli does."""
        slot, source = slot_of(channel_of("gws", room)), self.master_of(room)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(source))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(target))
        gevent.sleep(0.1)  # those who publish meet what is half way
        for key in source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
        gevent.sleep(0.1)
        for node in (target, source):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", node_id(target))


def node_id(node: Any) -> bytes:
    found: bytes = node.ask("CLUSTER", "MYID")
    return found


@pytest.fixture
def cluster(start_redis: Make) -> Cluster:
    return Cluster(start_redis)


class Speaker:
    """Says numbers in rooms, on and on."""

    def __init__(self, heard: Any, rooms: list[str]) -> None:
        self.n = 0
        self._stopped = False
        self._greenlet = gevent.spawn(self._run, heard, rooms)

    def stop(self) -> None:
        """Stop after a round."""
        self._stopped = True
        self._greenlet.join()

    def _run(self, heard: Any, rooms: list[str]) -> None:
        while not self._stopped:
            for room in rooms:
                heard.say(room, str(self.n))
            self.n += 1
            gevent.sleep(0.01)


@pytest.fixture
def make_speaker(stack: ExitStack) -> Make:
    def make(heard: Any, rooms: list[str]) -> Speaker:
        speaker = Speaker(heard, rooms)
        stack.callback(speaker.stop)
        return speaker

    return make


def numbers(events: list[Any], room: str) -> list[int]:
    return [int(event[1]) for event in events if event[0] == room]


def wait_for(condition: Callable[[], Any]) -> None:
    with gevent.Timeout(LONG, "it has not happened"):
        while not condition():
            gevent.sleep(0.02)


def wait_for_last(heard: Any, speaker: Speaker) -> None:
    """Wait until what was said last has come, in all rooms."""
    last = [speaker.n - 1]
    wait_for(lambda: all(numbers(heard.events, room)[-1:] == last for room in ROOMS))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("history", [0, 1000])
def test_r04_rooms_move(
    cluster: Cluster, open_bus: Make, make_speaker: Make, history: int
) -> None:
    a = open_bus(cluster.url, history=history, timeout=LONG)
    b = open_bus(cluster.url, history=history, timeout=LONG)
    for room in ROOMS:
        a.bus.subscribe(room)
        b.bus.subscribe(room)
    assert {cluster.master_of(room).port for room in ROOMS} == {
        node.port for node in cluster.masters
    }
    for room in ROOMS:
        a.say(room, "0")
        b.expect((room, "0", 1 if history else None))
        a.expect((room, "0", 1 if history else None))
    publisher = Publisher(cluster.url, history=history)
    publisher.publish(ROOMS[0], "0")
    publisher.close()
    b.expect((ROOMS[0], "0", 2 if history else None))
    # Presence sends its commands by key.
    for room in ROOMS:
        key = channel_of("gws", room) + b":x"
        a.bus._put(key, ("SET", key, room))
        assert a.bus._call(key, ("GET", key)) == room.encode()
    a.settle()
    moved = next(r for r in ROOMS if cluster.master_of(r) is cluster.masters[1])
    speaker = make_speaker(a, ROOMS)
    gevent.sleep(0.2)
    cluster.move_room(moved, cluster.masters[2])
    wait_for(lambda: "down" in b.events and "down" in a.events)
    wait_for(lambda: any(event[0] == "up" for event in b.events))
    gevent.sleep(0.2)
    speaker.stop()
    wait_for_last(a, speaker)
    wait_for_last(b, speaker)
    ups = ("up", not history)
    wait_for(lambda: b.events.count("down") == b.events.count(ups))
    assert 1 <= b.events.count("down") <= 3
    for room in ROOMS:
        got = numbers(b.events, room)
        if history:
            assert got == list(range(speaker.n))
        else:
            assert got == sorted(set(got)), "in order, and once"


@pytest.mark.timeout(120)
def test_r04_master_fails_over(
    cluster: Cluster,
    open_bus: Make,
    make_speaker: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shard_module, "HEALTH_INTERVAL", 0.5)
    a = open_bus(cluster.url, history=5000, timeout=LONG)
    b = open_bus(cluster.url, history=5000, timeout=LONG)
    for room in ROOMS:
        b.bus.subscribe(room)
        a.say(room, "0")
        b.expect((room, "0", 1))
    speaker = make_speaker(a, ROOMS)
    cluster.masters[0].kill()
    wait_for(lambda: "down" in b.events)
    wait_for(lambda: any(event[0] == "up" for event in b.events))
    gevent.sleep(0.2)
    speaker.stop()
    wait_for_last(b, speaker)
    assert cluster.replica.ask("ROLE")[0] == b"master"
    for room in ROOMS:
        got = numbers(b.events, room)
        assert got == sorted(set(got)), "in order, and once"
        if cluster.master_of(room) is not cluster.masters[0]:
            assert got == list(range(speaker.n))
    assert len(b.bus._shards._shards) == 3


def test_no_node_answers(open_bus: Make, start_redis: Make) -> None:
    """Nor is it a cluster."""
    server = start_redis()
    heard = open_bus(server.url.replace("redis:", "redis+cluster:"), history=1)
    heard.bus.subscribe("r")
    assert heard.events == ["down"]
    assert heard.say("r", "x") is False
    assert heard.bus.read("r", None) == ([], False)
