"""Options of connections: what is refused at once, and what the marks mean."""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import Any

import pytest

from gws.options import Options, high_and_low


def make(**options: Any) -> Options:
    return Options(logger=logging.getLogger("gws"), **options)


def test_defaults() -> None:
    options = make()
    assert dataclasses.asdict(options) == {
        "logger": logging.getLogger("gws"),
        "open_timeout": 10,
        "ping_interval": 20,
        "ping_timeout": 20,
        "close_timeout": 10,
        "max_size": 2**20,
        "max_queue": 16,
        "write_limit": 2**15,
        "max_fragments": 2**17,
        "message_rate": None,
        "byte_rate": None,
        "stall_timeout": 60,
        "idle_timeout": None,
        "max_lifetime": None,
        "observers": (),
        # Derived:
        "metered": False,
        "queue_marks": (16, 4),
        "write_marks": (2**15, 2**13),
    }


TIMES = [
    "open_timeout",
    "ping_interval",
    "ping_timeout",
    "close_timeout",
    "stall_timeout",
    "idle_timeout",
    "max_lifetime",
]


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("value", [None, 1, 0.001, 10**6])
def test_times(name: str, value: float | None) -> None:
    assert getattr(make(**{name: value}), name) == value


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("value", [0, -1, -0.5, math.nan])
def test_bad_times(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        make(**{name: value})
    with pytest.raises(TypeError):
        make(**{name: "1"})


@pytest.mark.parametrize(
    "max_size", [None, 0, 1, 2**63 - 1, (10, 5), (None, 5), (10, None), (None, None)]
)
def test_max_size(max_size: Any) -> None:
    assert make(max_size=max_size).max_size == max_size


@pytest.mark.parametrize("max_size", [-1, 2**63, (-1, 5), (5, -1), (1, 2, 3), (1,), ()])
def test_bad_max_size(max_size: Any) -> None:
    with pytest.raises(ValueError):
        make(max_size=max_size)


def test_max_size_of_another_type() -> None:
    for max_size in ("1", 1.5, [1, 2], (1, "2")):
        with pytest.raises(TypeError):
            make(max_size=max_size)


@pytest.mark.parametrize("name", ["max_queue", "write_limit"])
@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        (None, (0, 0)),
        (1, (1, 0)),
        (3, (3, 0)),
        (100, (100, 25)),
        ((100, 10), (100, 10)),
        ((100, None), (100, 25)),
        ((100, 0), (100, 0)),
        ((100, 100), (100, 100)),
    ],
)
def test_marks(name: str, marks: Any, expected: tuple[int, int]) -> None:
    options = make(**{name: marks})
    assert high_and_low(name, marks) == expected
    found = options.queue_marks if name == "max_queue" else options.write_marks
    assert found == expected


@pytest.mark.parametrize("name", ["max_queue", "write_limit"])
@pytest.mark.parametrize("marks", [0, -1, (10, 11), (10, -1), (0, 0), (1, 2, 3), ()])
def test_bad_marks(name: str, marks: Any) -> None:
    with pytest.raises(ValueError):
        make(**{name: marks})


@pytest.mark.parametrize("name", ["max_queue", "write_limit"])
@pytest.mark.parametrize("marks", ["16", 1.5, (16, 1.5), (1.5, 1), [16, 4]])
def test_marks_of_another_type(name: str, marks: Any) -> None:
    with pytest.raises(TypeError):
        make(**{name: marks})


@pytest.mark.parametrize("n", [None, 1, 2**17, 2**31 - 2])
def test_max_fragments(n: int | None) -> None:
    assert make(max_fragments=n).max_fragments == n


def test_bad_max_fragments() -> None:
    for n in (0, -1, 2**31 - 1):
        with pytest.raises(ValueError, match="max_fragments"):
            make(max_fragments=n)
    for wrong in ("1", 1.5, (1, 2)):
        with pytest.raises(TypeError, match="max_fragments"):
            make(max_fragments=wrong)


def test_rates() -> None:
    assert make(message_rate=10).message_bucket == (10, 20)
    assert make(message_rate=0.1).message_bucket == (0.1, 1)
    assert make(message_rate=(10, 500)).message_bucket == (10, 500)
    # A message of max_size may come at once.
    assert make(byte_rate=1000, max_size=5000).byte_bucket == (1000, 7000)
    assert make(byte_rate=1000, max_size=(5000, 1)).byte_bucket == (1000, 7000)
    assert make(byte_rate=1000, max_size=None).byte_bucket == (1000, 2000)
    assert make(byte_rate=(1000, 3000)).byte_bucket == (1000, 3000)


@pytest.mark.parametrize("name", ["message_rate", "byte_rate"])
def test_bad_rates(name: str) -> None:
    values = [0, -1, math.nan, math.inf, (1, 0.5), (0, 1), (1, math.inf), (1, math.nan)]
    for value in values:
        with pytest.raises(ValueError, match=name):
            make(**{name: value})
    for wrong in ("1", ("1", 2), [1, 2], (1, None)):
        with pytest.raises(TypeError):
            make(**{name: wrong})
    with pytest.raises(ValueError):
        make(**{name: (1, 2, 3)})


@pytest.mark.parametrize(
    "name", ["message_rate", "byte_rate", "idle_timeout", "max_lifetime"]
)
def test_what_has_to_be_counted(name: str) -> None:
    assert make(**{name: 1}).metered


def test_replace() -> None:
    options = make(max_queue=5)
    other = options.replace(max_size=7)
    assert (other.max_queue, other.max_size) == (5, 7)
    assert options.max_size == 2**20
    assert options.replace() == options
    with pytest.raises(ValueError):
        options.replace(max_size=-1)
    with pytest.raises(TypeError):
        options.replace(no_such_option=1)


def test_they_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().max_size = 1  # type: ignore[misc]
