"""Notifications: what a plain program says reaches the user's connections."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from gws import ClientConnection, ConnectionClosed, InvalidStatus, connect

from ..program import SOON, Program
from ..rooms.conftest import RedisServer
from .running import EXAMPLES, run, running, started


pytestmark = [pytest.mark.usefixtures("leakcheck"), pytest.mark.once]


SERVER = "notifications/server.py"


@pytest.fixture
def bus(redis_process: RedisServer) -> Iterator[str]:
    """A Redis in which nobody has any notifications."""
    redis_process.ask("FLUSHALL")
    yield redis_process.url
    redis_process.ask("FLUSHALL")


@pytest.fixture(scope="module")
def uri(redis_process: RedisServer) -> Iterator[str]:
    with running(SERVER, "0", REDIS_URL=redis_process.url) as address:
        yield address


def login(uri: str, user: str = "ann:apple", since: str = "") -> connect:
    return connect(f"{uri.replace('//', f'//{user}@')}/?since={since}")


def heard(ws: ClientConnection) -> Any:
    return json.loads(ws.recv(SOON))


def notify(bus: str, user: str, text: str) -> str:
    (entry_id,) = run("notifications/notify.py", user, text, REDIS_URL=bus)
    return entry_id


def test_a_user_is_told_on_all_connections(bus: str, uri: str) -> None:
    with login(uri) as phone, login(uri) as laptop, login(uri, "bob:banana") as other:
        entry_id = notify(bus, "ann", "ready")
        for_bob = notify(bus, "bob", "done")
        told = {"id": entry_id, "text": "ready"}
        assert heard(phone) == heard(laptop) == told
        assert heard(other) == {"id": for_bob, "text": "done"}


def publish(bus: str, user: str, text: str) -> str:
    """Say it by the command line."""
    history = "--history", "100", "--history-ttl", "604800"
    command = "-m", "gws", "publish", *history, bus, f"user:{user}", text
    with Program(*command) as program:
        code, out, err = program.end()
    assert (code, err) == (0, "")
    return out.strip()


def test_who_was_away_is_told_later(bus: str, uri: str) -> None:
    ids = [notify(bus, "ann", "one"), publish(bus, "ann", "two")]
    one, two = {"id": ids[0], "text": "one"}, {"id": ids[1], "text": "two"}
    with login(uri) as ws:
        assert [heard(ws), heard(ws)] == [one, two]
    with login(uri, since=ids[0]) as ws:
        assert heard(ws) == two
    with login(uri, since="1-1") as ws:
        assert [heard(ws), heard(ws), heard(ws)] == [one, two, {"gap": True}]


def test_the_wrong_password(uri: str) -> None:
    with pytest.raises(InvalidStatus, match="401"):
        login(uri, "ann:banana").open()


@pytest.mark.parametrize(
    ("since", "message", "reason"),
    [
        ("nonsense", None, "since is not the id of a notification"),
        ("", "hello?", "there is nothing to say here"),
    ],
)
def test_what_it_does_not_take(
    uri: str, since: str, message: str | None, reason: str
) -> None:
    with login(uri, since=since) as ws:
        if message is not None:
            ws.send(message)
        with pytest.raises(ConnectionClosed):
            ws.recv(SOON)
        assert (ws.close_code, ws.close_reason) == (1008, reason)


def test_any_path_will_do(bus: str, uri: str) -> None:
    with connect(f"{uri.replace('//', '//ann:apple@')}//[?since=") as ws:
        entry_id = notify(bus, "ann", "ready")
        assert heard(ws) == {"id": entry_id, "text": "ready"}


def test_it_ends_with_somebody_there(bus: str) -> None:
    with running(SERVER, "0", stop=signal.SIGINT, REDIS_URL=bus) as uri:
        ws = login(uri).open()
        entry_id = notify(bus, "ann", "ready")
        assert heard(ws)["id"] == entry_id
    with pytest.raises(ConnectionClosed):
        ws.recv(SOON)
    assert ws.close_code == 1001


def test_notify_without_redis(unix_path: str) -> None:
    bus = f"unix://{unix_path}"
    with started("notifications/notify.py", "ann", "ready", REDIS_URL=bus) as program:
        code, out, err = program.end()
    assert (code, out) == (1, "")
    assert "ConnectionError: not published" in err


def test_notify_wakes_nothing_of_gevent(bus: str) -> None:
    folder = EXAMPLES / "notifications"
    code = f"""
import sys
sys.path.insert(0, {str(folder)!r})
from notify import notify
notify("ann", "ready")
from gevent import monkey
from gevent._hub_local import get_hub_if_exists
print(get_hub_if_exists(), monkey.saved)
"""
    with Program("-B", "-c", code, env={**os.environ, "REDIS_URL": bus}) as program:
        assert program.end() == (0, "None {}\n", "")
