"""The short form of the soak, and whether its judge would find anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .judge import MEMORY_ONCE, MIB, Result, growth, leftovers, table


HERE = Path(__file__).parent
BEFORE = {"greenlets": 2, "descriptors": 11, "objects": 26_000, "memory": 40 * MIB}


@pytest.mark.once
@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform != "linux", reason="epoll and /proc")
def test_short_form() -> None:
    """As `tox -e soak -- --short`."""
    done = subprocess.run(
        [sys.executable, HERE / "run.py", "--short"],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Each of the four as it ends; then all in a table, with the server's log.
    assert done.stdout.count("| ok |") == 4 + 5, done.stdout


@pytest.mark.parametrize(
    ("name", "more", "found"),
    [
        ("greenlets", 0, []),
        ("greenlets", 1, ["1 greenlets left behind"]),
        ("descriptors", 3, ["3 descriptors left behind"]),
        ("objects", 50, []),
        ("objects", 300, ["300 objects left behind"]),
        ("memory", 100 * MIB, []),
    ],
)
def test_leftovers(name: str, more: int, found: list[str]) -> None:
    assert leftovers(BEFORE, BEFORE | {name: BEFORE[name] + more}) == found


def test_growth() -> None:
    allowed = (MEMORY_ONCE, MIB)
    assert growth([40 * MIB, 45 * MIB, 46 * MIB], allowed) == []
    # A leak takes as much the second time as the first.
    assert growth([40 * MIB, 45 * MIB, 50 * MIB], allowed) == [
        "5.0 MiB more memory, over 1.0"
    ]
    assert growth([40 * MIB, 60 * MIB, 50 * MIB], allowed) == [
        "20.0 MiB more memory, over 8.0"
    ]


def test_table() -> None:
    """Who fails is told apart."""
    good = Result("good", 1000, seconds=2.0, memory=[MIB, 2 * MIB])
    bad = Result("bad", 10, faults=["3 failed", "pings are missing"])
    rows = table([good, bad]).splitlines()
    assert rows[2] == "| good | 1,000 | 500 | 1.0, 2.0 | 0.0 s |  | ok |"
    assert rows[3] == "| bad | 10 |  |  | 0.0 s |  | 3 failed; pings are missing |"
