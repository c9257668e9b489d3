"""The benchmarks, short and with few connections: what they count is right."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest


CHECKOUT = Path(__file__).parents[1]

#: What they need beside Python.
PROGRAMS = ("cc", "redis-server")

NEEDS = pytest.mark.skipif(
    "CI" not in os.environ and not all(map(shutil.which, PROGRAMS)),
    reason="a C compiler or redis-server is not installed",
)

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
@NEEDS
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


#: A server that answers, but something else.
LIAR = """
import sys
from gws import serve

def handler(ws):
    for message in ws:
        ws.send(message[::-1])

with serve(handler, "127.0.0.1", int(sys.argv[1])) as server:
    server.serve_forever()
"""

#: The third row is interrupted.
ROWS = ("echo-64-1", "latency-1k", "echo-64-8")


def interrupted(tmp_path: Path) -> tuple[dict[str, Any], str]:
    """Run the benchmark until two rows are written; return them, and what it said."""
    file, liar = tmp_path / "figures.json", tmp_path / "liar.py"
    liar.write_text(LIAR)
    script = CHECKOUT / "benchmarks" / "run.py"
    command = [sys.executable, str(script), "--only", "gws", "--server", str(liar)]
    command += ["--quick", "--rows", ",".join(ROWS), "--json", str(file)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        deadline = time.monotonic() + 50
        while run.poll() is None and time.monotonic() < deadline:
            if file.exists() and len(json.loads(file.read_text())["rows"]) == 2:
                run.send_signal(signal.SIGINT)
                break
            time.sleep(0.02)
        out, errors = run.communicate(timeout=30)
    assert run.returncode == 130, errors
    found: dict[str, Any] = json.loads(file.read_text())
    return found, out


@pytest.mark.once
@NEEDS
def test_who_answers_wrongly_has_no_figure_and_what_was_finished_is_kept(
    tmp_path: Path,
) -> None:
    run, shown = interrupted(tmp_path)
    echo, latency = run["rows"]

    assert run["contenders"]["gws"] == {
        "title": "gws",
        "language": "Python",
        "role": "server",
    }
    assert (echo["name"], echo["unit"], echo["better"]) == (ROWS[0], "/s", "higher")
    assert (echo["size"], echo["in_flight"], echo["connections"]) == (64, 1, 50)
    figure = echo["figures"]["gws"]
    assert 0 < min(figure["values"]) <= figure["median"] <= max(figure["values"])
    assert figure["failed"] is None
    assert f"| {echo['title']} (/s) |" in shown

    assert (latency["name"], latency["better"]) == (ROWS[1], "lower")
    times = latency["figures"]["gws"]["percentiles"]
    assert 0 < times["50"] <= times["90"] <= times["99"] <= times["99.9"]
    assert latency["figures"]["gws"]["median"] == pytest.approx(times["99"])

    for row in (echo, latency):
        figure = row["figures"]["liar.py"]
        assert "a message that is not its next one" in figure["failed"]
        assert (figure["median"], figure["values"]) == (None, [])
