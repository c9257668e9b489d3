"""Pages and WebSockets of the usual frameworks on one port, under gevent's server."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator

import pytest

from gws.testing import TEXT, RawPeer, request

from .stacks import APPS, Stack, bound, process


pytestmark = pytest.mark.usefixtures("leakcheck")


@pytest.fixture(params=["bottle", "django", "falcon", "flask"])
def framework(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def sites() -> Iterator[Stack]:
    """All frameworks in one process."""
    with bound(False) as (listener, address), tempfile.TemporaryDirectory() as home:
        fd = listener.fileno()
        command = [sys.executable, "-W", "error", str(APPS / "sites.py"), str(fd)]
        with process("sites", command, address, fd, home) as stack:
            yield stack


def test_a_page_and_a_websocket(sites: Stack, framework: str) -> None:
    mark = sites.log.mark()
    assert sites.get(f"/{framework}/page") == f"page of {framework}"
    with sites.peer() as peer:
        peer.ask(request(f"/{framework}/echo?room=1"))
        for message in (b"hello", b"x" * 70_000):
            peer.send(TEXT, message)
            assert peer.receive() == (TEXT, message)
        peer.send_close(1000)
        assert peer.receive_close() == (1000, "")
        # And nothing of what the framework answers.
        assert peer.read_to_end() == b""
    assert sites.get(f"/{framework}/page") == f"page of {framework}"
    sites.log.wait(f'"GET /{framework}/echo?room=1 HTTP/1.1" 101 ', mark)
    assert "Traceback" not in sites.log.since(mark)


def test_a_view_refuses(sites: Stack, framework: str) -> None:
    with sites.peer() as peer:
        peer.write(request(f"/{framework}/echo"))
        assert status_of(peer) == 403


def test_plain_http_to_a_websocket(sites: Stack, framework: str) -> None:
    path = f"/{framework}/echo?room=1"
    with sites.peer() as peer:
        peer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert status_of(peer) == (426 if framework == "flask" else 400)


def test_no_such_path(sites: Stack, framework: str) -> None:
    with sites.peer() as peer:
        peer.write(request(f"/{framework}/nowhere"))
        assert status_of(peer) == 404


def status_of(peer: RawPeer) -> int:
    return int(peer.read_head().split()[1])
