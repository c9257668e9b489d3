"""Claims of the topics and of the pages on migrating that no block of theirs shows."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import gevent
import pytest
import websockets.exceptions

import gws
import gws.exceptions
from gws import messages, stream
from gws.testing import TEXT, FakeClock, pair, server_pair, settle

from .pages import CHECKOUT


pytestmark = [pytest.mark.once, pytest.mark.usefixtures("leakcheck")]

#: Seconds within which whatever a test waits for must have come.
LONG = 10

#: More messages than a connection keeps by default.
MANY = 20


def page(name: str) -> str:
    return CHECKOUT.joinpath("docs", name).read_text()


# Keepalive


def test_who_does_not_receive_lives_for_a_peer_of_gws() -> None:
    """Its peer's pings stand behind messages that nobody takes."""
    with FakeClock() as clock, pair() as (client, server):
        for _ in range(MANY):
            client.send("x")
        settle()
        clock.advance(300)
        settle()
        assert client.open and server.open
        for _ in range(MANY):
            assert server.recv(LONG) == "x"


def test_who_takes_what_comes_sees_the_end() -> None:
    """``for _ in ws: pass``, of a peer that sends much and vanishes."""
    with server_pair() as (ws, peer):
        for _ in range(MANY):
            peer.send(TEXT, b"x")
        peer.end()
        with pytest.raises(gws.ConnectionClosedError), gevent.Timeout(LONG):
            for _ in ws:
                pass
        assert ws.close_code == 1006


# Memory


def test_the_table_has_the_rows_of_the_benchmark() -> None:
    path = CHECKOUT / "benchmarks/memory.py"
    spec = importlib.util.spec_from_file_location("memory", path)
    assert spec is not None and spec.loader is not None
    benchmark: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    _, _, table = page("topics/memory.md").partition("| a connection | KiB |")
    rows = re.findall(r"^\| (.*) \| +[\d.]+ \|$", table.partition("\n\n")[0], re.M)
    assert rows == list(benchmark.KINDS)


# Back-pressure


def test_figures_of_back_pressure() -> None:
    assert messages.AHEAD == 256 * 2**10
    assert messages.PATIENCE == 64
    assert messages.BUDGET == 256 * 2**20
    read_at_once = stream.READ_SIZE
    assert read_at_once == (128 if gws.COMPILED else 16) * 2**10


# From websockets


def test_its_exceptions_are_ours() -> None:
    """`websockets.exceptions`: the same names, but for those of its legacy API."""
    theirs = set(websockets.exceptions.__all__)
    assert theirs - set(dir(gws.exceptions)) == set()
