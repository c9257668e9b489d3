"""The user of Locust: a short run, and what its table says."""

from __future__ import annotations

import itertools
import json
import signal
import sys
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import gevent
import pytest
from gevent import subprocess
from gevent.event import Event

from gws import ServerConnection, serve

from ..docs.pages import blocks
from ..program import SOON
from .running import EXAMPLES


# Where it is not among the dependencies: it brings many of its own.
pytestmark = [
    pytest.mark.usefixtures("leakcheck"),
    pytest.mark.once,
    pytest.mark.skipif(find_spec("locust") is None, reason="locust is not installed"),
]


def run_locust(
    handler: Callable[[ServerConnection], object], enough: Event
) -> tuple[int, dict[tuple[str, str], Any], str]:
    """Run what the README says, with fewer users, until the server has had enough.

    Returns:
        Exit code, the lines of the table by type and name, and the log.
    """
    (block,) = blocks("examples/locust/README.md", "console")
    dollar, program, *arguments = block.splitlines()[-1].split()
    assert (dollar, program) == ("$", "locust")
    assert EXAMPLES.parent / arguments[1] == EXAMPLES / "locust/locustfile.py"
    with serve(handler, "localhost", 0) as server:
        port = server.sockets[0].getsockname()[1]
        values = {"-u": "5", "-t": "60s", "-H": f"ws://localhost:{port}"}
        for option, value in values.items():
            arguments[arguments.index(option) + 1] = value
        with subprocess.Popen(
            [sys.executable, "-P", "-m", program, *arguments, "--json"],
            cwd=EXAMPLES.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                with gevent.Timeout(SOON):
                    enough.wait()
                    process.send_signal(signal.SIGTERM)
                    out, err = process.communicate()
            finally:
                process.kill()
    table = {(line["method"], line["name"]): line for line in json.loads(out)}
    return process.returncode, table, err.decode()


def test_a_run_without_failures() -> None:
    seen: Counter[int] = Counter()
    enough = Event()

    def echo(ws: ServerConnection) -> None:
        for message in ws:
            ws.send(message)
            seen[len(message)] += 1
            if min(seen[1], seen[5], seen[10_000]) > 10:
                enough.set()

    code, table, log = run_locust(echo, enough)
    assert code == 0, log
    assert "Traceback" not in log
    assert {*table} == {
        ("open", "/"),
        ("ask", "hello"),
        ("ask", "10 KB"),
        ("tell", "burst"),
        ("push", "burst"),
    }
    assert table["open", "/"]["num_requests"] == 5
    assert all(line["num_requests"] > 0 for line in table.values())
    assert all(line["num_failures"] == 0 for line in table.values())
    assert table["ask", "hello"]["total_response_time"] > 0
    assert table["push", "burst"]["max_response_time"] == 0


def test_what_fails_stands_in_the_table() -> None:
    """Each connection is lost with the first message, and opened again."""
    numbers = itertools.count(1)
    enough = Event()

    def leave(ws: ServerConnection) -> None:
        ws.recv()
        if next(numbers) > 20:
            enough.set()

    code, table, log = run_locust(leave, enough)
    assert code == 1
    assert "Traceback" not in log
    assert table["open", "/"]["num_requests"] >= 20
    assert table["open", "/"]["num_failures"] == 0
    # What is told may still be taken; there is never an answer.
    heard = [line for (kind, _), line in table.items() if kind in ("ask", "push")]
    assert heard
    assert all(line["num_failures"] == line["num_requests"] for line in heard)
