"""The bus over a master that sentinels watch, and its replica."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest

from gws.rooms import Publisher
from gws.rooms import shard as shard_module


Make = Callable[..., Any]

LONG = 30

pytestmark = [pytest.mark.covered, pytest.mark.usefixtures("quick")]


@pytest.fixture
def servers(start_redis: Make) -> tuple[Any, Any]:
    """A master and its replica, in sync."""
    quick = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
    master = start_redis(*quick)
    replica = start_redis("--replicaof", f"127.0.0.1 {master.port}", *quick)
    master.wait_until(lambda: in_sync(replica))
    return master, replica


def in_sync(replica: Any) -> bool:
    return bool(replica.ask("ROLE")[3] == b"connected")


@pytest.fixture
def sentinel(start_redis: Make, servers: tuple[Any, Any]) -> Any:
    master, replica = servers
    sentinel = start_redis("--sentinel")
    ask = sentinel.ask
    ask("SENTINEL", "MONITOR", "chat", "127.0.0.1", master.port, 1)
    ask("SENTINEL", "SET", "chat", "down-after-milliseconds", 500)
    ask("SENTINEL", "SET", "chat", "failover-timeout", 3000)
    sentinel.wait_until(
        lambda: str(replica.port) in str(ask("SENTINEL", "REPLICAS", "chat"))
    )
    return sentinel


@pytest.mark.timeout(120)
def test_r04_failover(
    servers: tuple[Any, Any],
    sentinel: Any,
    open_bus: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shard_module, "HEALTH_INTERVAL", 0.5)
    master, replica = servers
    # The first does not answer.
    url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/chat"
    a, b = (open_bus(url, history=100) for _ in range(2))
    a.bus.subscribe("r")
    b.bus.subscribe("r")
    a.say("r", "1")
    b.expect(("r", "1", 1))
    a.expect(("r", "1", 1))
    master.wait_until(lambda: replica.ask("XLEN", "gws:{room:r}:s") == 1)
    master.kill()
    b.expect("down")
    with gevent.Timeout(LONG):
        while ("up", False) not in b.events or ("up", False) not in a.events:
            gevent.sleep(0.02)
    assert replica.ask("ROLE")[0] == b"master"
    b.events.clear()
    publisher = Publisher(url, history=100)
    publisher.publish("r", "2")
    publisher.close()
    b.expect(("r", "2", 1))
    assert len(replica.clients("pubsub")) >= 2


def test_r04_read_only_replica_is_refused(
    servers: tuple[Any, Any], open_bus: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_module, "HEALTH_INTERVAL", 0.1)
    master, replica = servers
    heard = open_bus(replica.url)
    heard.bus.subscribe("r")
    heard.expect("down")
    replica.ask("REPLICAOF", "NO", "ONE")
    heard.expect(("up", True))
    # What is published there would not reach those at the master: so it is noticed.
    replica.ask("REPLICAOF", "127.0.0.1", master.port)
    heard.expect("down")


def test_unknown_service(sentinel: Any, open_bus: Make) -> None:
    heard = open_bus(f"redis+sentinel://127.0.0.1:{sentinel.port}/other")
    heard.bus.subscribe("r")
    assert heard.events == ["down"]
