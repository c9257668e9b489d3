"""`Messages`: frames in, messages out, and when reading should stop."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from gws.messages import OVERHEAD, PATIENCE, Messages
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
    assert not messages.overfull()
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


def test_overfull() -> None:
    messages = Messages(2, 1, 1000)
    n_bytes = 1000 * PATIENCE
    while n_bytes - 100 - OVERHEAD >= 0:
        assert not messages.overfull()
        messages.put(Frame(OP_BINARY, bytes(100)))
        n_bytes -= 100 + OVERHEAD
    assert messages.full()
    assert not messages.overfull()
    messages.put(Frame(OP_BINARY, bytes(100)))
    assert messages.overfull()
    messages.get()
    assert not messages.overfull()


def test_empty_messages_count_too() -> None:
    messages = Messages(2, 1, 100)
    messages.take([b""] * (100 * PATIENCE // OVERHEAD))
    assert not messages.overfull()
    messages.take([b""])
    assert messages.overfull()


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
