"""The fixtures of `gws.testing.plugin`; what they make is tested where it is made."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gws.testing import FakeClock

from ..wire import LONG


pytest_plugins = ["gws.testing.plugin"]

pytestmark = pytest.mark.usefixtures("leakcheck")

CONNECTIONS: list[Any] = []


def upper(ws: Any) -> None:
    for message in ws:
        ws.send(message.upper())


@pytest.fixture(autouse=True)
def closed_at_the_end() -> Iterator[None]:
    """Set up first and so torn down last: looks at what the fixtures left."""
    yield
    assert CONNECTIONS
    assert all(ws.closed for ws in CONNECTIONS)
    CONNECTIONS.clear()


def test_connections_to_handlers(websocket_connect: Callable[..., Any]) -> None:
    for path in ("/one", "/two"):
        ws = websocket_connect(upper, path)
        CONNECTIONS.append(ws)
        ws.send("x")
        assert ws.recv(timeout=LONG) == "X"
        assert ws.path == path
    assert all(ws.open for ws in CONNECTIONS)


def test_pairs(websocket_pair: Callable[..., Any]) -> None:
    for path in ("/one", "/two"):
        client, server = websocket_pair(path)
        CONNECTIONS.extend([client, server])
        client.send("x")
        assert server.recv(timeout=LONG) == "x"
        assert server.path == path
    assert all(ws.open for ws in CONNECTIONS)


def test_time(websocket_pair: Callable[..., Any], fake_clock: FakeClock) -> None:
    client, server = websocket_pair(client={"ping_interval": 5})
    CONNECTIONS.extend([client, server])
    waiter = client.ping()
    fake_clock.advance(3)
    assert fake_clock.now() == 3
    assert waiter.is_set()


def test_what_a_handler_raised_is_an_error(tmp_path: Path) -> None:
    CONNECTIONS.append(type("Closed", (), {"closed": True}))
    tmp_path.joinpath("test_it.py").write_text(
        """
pytest_plugins = ["gws.testing.plugin"]

def fail(ws):
    raise LookupError("no such thing")

def test_it(websocket_connect):
    websocket_connect(fail)
"""
    )
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    # Other plugins take a second to be imported.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert "LookupError: no such thing" in run.stdout
    assert "1 passed, 1 error" in run.stdout.splitlines()[-1]
