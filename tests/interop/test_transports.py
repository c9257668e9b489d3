"""gws talks with the websockets library over each kind of socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .sides import Meeting, Pair


pytestmark = pytest.mark.usefixtures("leakcheck")

MIB = 2**20


@pytest.fixture(scope="module")
def library() -> str:
    return "websockets"


@pytest.fixture(params=["tcp", "tls", "unix", "unix-tls"])
def pair(
    request: pytest.FixtureRequest,
    role: str,
    peer: Any,
    unix_path: str,
    tls_files: Path,
) -> Iterator[Pair]:
    meeting = Meeting(
        peer,
        {"max_size": 2**24, "subprotocols": ["interop"], "compression": None},
        unix_path=unix_path if "unix" in request.param else None,
        tls_files=tls_files if "tls" in request.param else None,
    )
    with meeting.of(role) as pair:
        yield pair


def test_either_side_sends(pair: Pair) -> None:
    assert pair.ws.subprotocol == "interop"
    assert pair.ask("subprotocol") == "interop"
    pair.ws.send("¿qué?")
    assert pair.ask("recv") == "¿qué?"
    pair.tell("send", "grüß dich")
    assert pair.ws.recv() == "grüß dich"
    assert pair.hear() is None
    pair.ws.send(b"\x00\xff")
    assert pair.ask("recv") == {"hex": "00ff"}
    pair.tell("send", {"hex": "ff00"})
    assert pair.ws.recv() == b"\xff\x00"
    assert pair.hear() is None


def test_a_mebibyte(pair: Pair) -> None:
    text = "0123456789abcdé\n" * (MIB // 16)
    pair.ws.send(text)
    assert pair.ask("recv") == text
    pair.tell("send", text)
    assert pair.ws.recv() == text
    assert pair.hear() is None
    data = bytes(range(256)) * (MIB // 256)
    pair.ws.send(data)
    assert pair.ask("recv") == {"hex": data.hex()}
    pair.tell("send", {"hex": data.hex()})
    assert pair.ws.recv() == data
    assert pair.hear() is None
