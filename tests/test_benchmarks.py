"""The benchmark of rooms, with few connections: what it counts is right."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


CHECKOUT = Path(__file__).parents[1]

#: What it needs beside Python.
PROGRAMS = ("cc", "redis-server")

#: Connections; 10 in each of 2 rooms.
OPTIONS = {
    "--only": "gws",
    "--parts": "rooms",
    "--connections": 20,
    "--rooms": 2,
    "--rate": 500,
    "--seconds": 0.2,
}


def measured(tmp_path: Path) -> dict[str, Any]:
    """Run the benchmark; return what it has written."""
    file = tmp_path / "figures.json"
    script = CHECKOUT / "benchmarks" / "rooms" / "run.py"
    options = [str(word) for pair in OPTIONS.items() for word in pair]
    command = [sys.executable, str(script), *options, "--no-held", "--json", str(file)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(file.read_text())
    return found


@pytest.mark.once
@pytest.mark.skipif(
    "CI" not in os.environ and not all(map(shutil.which, PROGRAMS)),
    reason="a C compiler or redis-server is not installed",
)
def test_all_that_is_published_over_redis_is_delivered_once(tmp_path: Path) -> None:
    run = measured(tmp_path)
    (figures,) = run["rooms"]

    assert run["missing"] == []
    assert figures["failure"] == ""
    assert len(figures["split"]) == 2
    assert sum(figures["split"]) == 20
    assert set(figures["stages"]) == {"steady", "flood"}
    for stage in figures["stages"].values():
        assert stage["deliveries"] > 0
        assert (stage["lost"], stage["disordered"]) == (0, 0)
        # Without history a publish is one command; health checks come now and then.
        assert 1 <= stage["commands"] < 1.5
        assert stage["server_cpu"] >= 0 < stage["p50"] <= stage["p99"]
