"""Who is in a room of this process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.hub import Hub

from gws.rooms import MemoryBus, Rooms
from gws.testing import settle


Make = Callable[..., Any]


@pytest.mark.parametrize("presence", [False, True])
def test_the_first_comes_the_last_goes(member: Make, presence: bool) -> None:
    events: list[Any] = []
    rooms = Rooms(presence=presence, on_presence=lambda *event: events.append(event))
    (_, phone), (client, laptop), (_, nobody) = member(), member(), member()
    with rooms.join("r", phone, user="ann"), rooms.join("r", nobody):
        rooms.join("r", laptop, user="ann")
        rooms.join("other", laptop, user="ann")
        assert rooms.members("r") == rooms.members("other") == {"ann"}
    assert rooms.members("r") == {"ann"}
    client.close()
    assert laptop.wait_closed(10)
    settle()
    assert rooms.members("r") == rooms.members("other") == set()
    assert events == [
        ("r", "ann", True),
        ("other", "ann", True),
        ("r", "ann", False),
        ("other", "ann", False),
    ]


def test_callbacks_run_in_order_and_may_wait(member: Make) -> None:
    """Also those for what a callback of the hub told of."""
    told: list[Any] = []
    go_on = Event()

    def tell(room: str, user: str, came: bool) -> None:
        assert not isinstance(gevent.getcurrent(), Hub)
        told.append((user, came))
        go_on.wait()
        told.append(user)

    rooms = Rooms(on_presence=tell)
    (client, at_client), (_, other) = member(), member()
    rooms.join("r", at_client, user="ann")
    client.close()
    assert at_client.wait_closed(10)
    rooms.join("r", other, user="bob")
    settle()
    assert told == [("ann", True)]
    go_on.set()
    settle()
    assert told == [
        *[("ann", True), "ann"],
        *[("ann", False), "ann"],
        *[("bob", True), "bob"],
    ]


def test_what_a_callback_raises_stops_nothing(
    member: Make, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def tell(room: str, user: str, came: bool) -> None:
        told.append(user)
        if user == "ann":
            raise LookupError("of mine")

    rooms = Rooms(on_presence=tell)
    with caplog.at_level(logging.ERROR, "gws.rooms"):
        rooms.join("r", member()[1], user="ann")
        rooms.join("r", member()[1], user="bob")
        settle()
    assert told == ["ann", "bob"]
    (record,) = caplog.records
    assert record.exc_info is not None and record.exc_info[0] is LookupError


def test_a_bus_of_ones_own_need_not_know_of_presence(member: Make) -> None:
    class Other(MemoryBus):
        presence = None  # type: ignore[assignment]

    rooms = Rooms(Other())
    with rooms.join("r", member()[1], user="ann"):
        assert rooms.members("r") == {"ann"}


def test_a_lease_is_positive() -> None:
    with pytest.raises(ValueError, match="presence_lease"):
        Rooms(presence=True, presence_lease=0)


@pytest.mark.parametrize("user", ["", "é" * 257, "\ud800", b"ann", 7])
def test_names_of_users(member: Make, user: Any) -> None:
    rooms = Rooms()
    with pytest.raises((ValueError, TypeError), match=r"user|surrogates"):
        rooms.join("r", member()[1], user=user)
    assert rooms.connections("r") == ()
