"""`Messages`: frames in, messages out, and when reading should stop."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from gws.messages import OVERHEAD, PATIENCE, Budget, Messages
from gws.protocol.codes import OP_BINARY, OP_CONT, OP_TEXT
from gws.protocol.frames import Frame


def unlimited() -> Messages:
    return Messages(0, 0, 0)


def received(messages: Messages) -> list[str | bytes]:
    found = []
    while messages.ready():
        found.append(messages.get())
    return found


def test_nothing() -> None:
    messages = unlimited()
    assert not messages.ready()
    assert not messages.full()
    assert messages.has_room()


def test_whole_messages() -> None:
    messages = unlimited()
    given: list[str | bytes] = ["é", b"\xff", "", b""]
    rest = messages.take(given)
    assert rest == []
    rest += ["next"]
    assert messages.take(rest) == []
    found = received(messages)
    assert found == ["é", b"\xff", "", b"", "next"]
    assert [type(message) for message in found] == [str, bytes, str, bytes, str]


def test_frames() -> None:
    messages = unlimited()
    messages.put(Frame(OP_TEXT, "whole"))
    messages.put(Frame(OP_BINARY, b"\x00"))
    messages.put(Frame(OP_TEXT, b"\xc3", fin=False))
    assert received(messages) == ["whole", b"\x00"]
    messages.put(Frame(OP_CONT, b"", fin=False))
    assert not messages.ready()
    messages.put(Frame(OP_CONT, b"\xa9"))
    messages.put(Frame(OP_BINARY, b"\xc3", fin=False))
    messages.put(Frame(OP_CONT, b"\xa9"))
    messages.put(Frame(OP_TEXT, b"", fin=False))
    messages.put(Frame(OP_CONT, b""))
    assert received(messages) == ["é", b"\xc3\xa9", ""]


@pytest.mark.parametrize("low", [0, 1, 2])
def test_marks_in_messages(low: int) -> None:
    messages = Messages(3, low, 0)
    for n in range(1, 6):
        messages.put(Frame(OP_BINARY, b"x" * 1000))
        assert messages.full() is (n > 3)
    for n in range(4, -1, -1):
        messages.get()
        assert messages.full() is (n > 3)
        assert messages.has_room() is (n <= low)


def test_marks_in_bytes() -> None:
    messages = Messages(100, 50, 10)
    messages.take([b"12345", b"12345"])
    assert not messages.full()
    messages.take([b"1"])
    assert messages.full()
    assert not messages.has_room()
    messages.get()
    assert not messages.full()
    assert messages.has_room()
    assert received(messages) == [b"12345", b"1"]
    messages.take([b"x" * 10])  # the count begins anew
    assert not messages.full()


# What is above the limits, while a sender waits


def test_patience() -> None:
    messages = Messages(2, 1, 1000)
    n_bytes = 1000 * PATIENCE
    budget = Budget(10**9)
    while n_bytes - 100 - OVERHEAD >= 0:
        assert messages.draw(budget)
        messages.put(Frame(OP_BINARY, bytes(100)))
        n_bytes -= 100 + OVERHEAD
    assert messages.full()
    assert messages.draw(budget)
    messages.put(Frame(OP_BINARY, bytes(100)))
    assert not messages.draw(budget)
    messages.get()
    assert messages.draw(budget)


def test_empty_messages_count_too() -> None:
    messages = Messages(2, 1, 100)
    budget = Budget(10**9)
    messages.take([b""] * (100 * PATIENCE // OVERHEAD))
    assert messages.draw(budget)
    messages.take([b""])
    assert not messages.draw(budget)


def test_one_budget_for_all() -> None:
    budget = Budget(1000)
    one, two = Messages(2, 1, 100), Messages(2, 1, 100)
    one.take([bytes(100 - OVERHEAD)])
    assert one.draw(budget)
    assert budget.left == 1000  # it is within its own limit
    one.take([bytes(600 - OVERHEAD)])
    assert one.draw(budget)
    assert one.draw(budget)
    assert budget.left == 400
    two.take([bytes(500 - OVERHEAD), bytes(1), b""])
    assert not two.draw(budget)
    assert budget.left == 400
    # What is received comes back, at once.
    assert len(one.get()) == 100 - OVERHEAD
    assert budget.left == 500
    assert two.draw(budget) is False
    one.get()
    assert budget.left == 1000
    assert two.draw(budget)
    assert budget.left == 1000 - (500 + 1 + OVERHEAD + OVERHEAD - 100)
    received(two)
    assert budget.left == 1000


def test_without_max_size_all_is_above_it() -> None:
    budget = Budget(1000)
    messages = Messages(2, 1, 0)
    assert messages.draw(budget)
    messages.take([bytes(100 - OVERHEAD)] * 10)
    assert messages.draw(budget)
    assert budget.left == 0
    messages.take([b""])
    assert not messages.draw(budget)


def test_what_was_drawn_comes_back_with_the_end() -> None:
    budget = Budget(1000)
    messages = Messages(2, 1, 0)
    messages.take([bytes(500)])
    assert messages.draw(budget)
    assert budget.left == 500 - OVERHEAD
    del messages
    gc.collect()
    assert budget.left == 1000


def lists_in(messages: Any) -> list[list[Any]]:
    """Return the lists that the queue holds, compiled or not."""
    found = gc.get_referents(messages)
    found += [value for d in found if isinstance(d, dict) for value in d.values()]
    return [value for value in found if isinstance(value, list)]


def test_a_queue_that_is_never_empty_does_not_grow() -> None:
    messages = unlimited()
    messages.take([b"0", b"1", b"2"])
    for i in range(3, 10_000):
        messages.put(Frame(OP_BINARY, b"%d" % i))
        assert messages.get() == b"%d" % (i - 3)
    assert received(messages) == [b"9997", b"9998", b"9999"]
    messages.take([b"x"] * 1000)
    for _ in range(10_000):
        messages.take([b"x"])
        messages.get()
        assert max(len(queue) for queue in lists_in(messages)) < 5000
    assert len(received(messages)) == 1000


def test_what_was_received_is_let_go() -> None:
    class Bulk(bytes):
        alive = 0

        def __init__(self, *args: Any) -> None:
            Bulk.alive += 1

        def __del__(self) -> None:
            Bulk.alive -= 1

    messages = unlimited()
    messages.take([Bulk(b"1"), Bulk(b"2"), Bulk(b"3")])
    for left in (2, 1, 0):
        messages.get()
        gc.collect()
        assert Bulk.alive == left
