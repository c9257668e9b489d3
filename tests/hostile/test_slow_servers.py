"""S15, S16: a server that has nothing to do does nothing, and one that is flooded
serves the others all the same.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any

import gevent
import pytest
from gevent.monkey import get_original

from gws.testing import (
    BINARY,
    PING,
    PONG,
    TEXT,
    FakeClock,
    RawPeer,
    frame,
    request,
)

from .conftest import (
    PATIENCE,
    Neighbour,
    Run,
    Sites,
    limit_sending,
    listener_of,
    until,
    wait_delivered,
)


KINDS = pytest.mark.parametrize("kind", ["serve", "tls", "pywsgi"])


# S15: idle


def count_turns(seconds: float) -> int:
    """Count the turns of the loop meanwhile: who spins makes thousands."""
    n = 0

    def count() -> None:
        nonlocal n
        n += 1

    prepare = gevent.get_hub().loop.prepare()
    prepare.start(count)
    try:
        gevent.sleep(seconds)
    finally:
        prepare.close()
    return n


def stay(ws: Any, run: Run) -> None:
    for _ in ws:
        pass


@KINDS
def test_s15_idle(sites: Sites, kind: str) -> None:
    with sites(kind, stay, neighbour=False) as site, ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(site.open_peer())
        until(lambda: len(site.runs) == 20)
        gevent.sleep(0.05)
        assert count_turns(0.3) < 10


@KINDS
def test_s15_after_a_ping_timeout(sites: Sites, kind: str) -> None:
    # Their close frames wait for an answer; others pay no mind, and stay.
    n = 10
    with (
        FakeClock() as clock,
        sites(kind, stay, neighbour=False) as site,
        ExitStack() as stack,
    ):
        silent = [stack.enter_context(site.open_peer()) for _ in range(n)]
        alive = [stack.enter_context(site.open_peer()) for _ in range(n)]
        until(lambda: len(site.runs) == 2 * n)
        clock.advance(20)
        for peer in alive:
            opcode, payload = peer.receive()
            assert opcode == PING
            peer.send(PONG, payload)
            wait_delivered(peer)
        clock.advance(20)
        until(lambda: sum(run.end is not None for run in site.runs) == n)
        for peer in alive:
            opcode, payload = peer.receive()
            peer.send(PONG, payload)
        assert count_turns(0.2) < 10
        clock.advance(10)
        assert len(site.server.connections) == n
        assert count_turns(0.2) < 10
        for peer in silent:
            peer.end()


@KINDS
def test_s15_while_others_do_not_read(sites: Sites, kind: str) -> None:
    def handle(ws: Any, run: Run) -> None:
        ws.send(bytes(2**20))

    options = {"neighbour": False, "close_timeout": 0.3}
    with sites(kind, handle, **options) as site, ExitStack() as stack:
        limit_sending(listener_of(site), 2**14)
        for _ in range(5):
            stack.enter_context(site.open_peer(receive_buffer=2**14))
        until(lambda: len(site.runs) == 5)
        gevent.sleep(0.05)
        assert count_turns(0.3) < 20


# S16: flooded

#: How many frames are sent at once.
N_FRAMES = 20_000

FLOODS = {
    "text of 2 octets": (TEXT, b"hi"),
    "empty binary": (BINARY, b""),
    "empty pings": (PING, b""),
    "pongs": (PONG, b"?"),
}


class Flood:
    """Writes to a server at full speed, from a thread; reads nothing meanwhile."""

    def __init__(self, port: int, octets: bytes) -> None:
        self._port = port
        self._octets = octets
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write)
        #: How often the octets were written.
        self.n_written = 0

    def __enter__(self) -> Flood:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.end()

    def end(self) -> None:
        """Close, and wait until the server has taken all."""
        self._ended.set()
        until(lambda: not self._thread.is_alive())

    def _write(self) -> None:
        sock = get_original("socket", "socket")()
        sock.connect(("127.0.0.1", self._port))
        with sock:
            peer = RawPeer(sock)
            peer.ask(request("/flood"))
            try:
                while not self._ended.is_set():
                    sock.sendall(self._octets)
                    self.n_written += 1
                peer.send_close(1000)
                while sock.recv(2**16):
                    pass
            except OSError:
                pass


@pytest.mark.parametrize("flood", FLOODS)
def test_s16_tiny_frames_at_full_speed(sites: Sites, flood: str) -> None:
    # The neighbour's echoes must not wait: half of `PATIENCE` is 50 ms, compiled.
    n_messages = 0

    def handle(ws: Any, run: Run) -> None:
        nonlocal n_messages
        for _ in ws:
            n_messages += 1

    octets = frame(*FLOODS[flood]) * N_FRAMES
    with sites("serve", handle) as site, Flood(site.port, octets) as flooder:
        near = Neighbour(site)
        until(lambda: near.n_echoes > 20)
        flooder.end()
        near.check()
        assert near.longest < PATIENCE / 2
        site.last_run()
        is_message = FLOODS[flood][0] in (TEXT, BINARY)
        assert n_messages == (flooder.n_written * N_FRAMES if is_message else 0)


def test_s16_who_floods_gets_echoes(sites: Sites) -> None:
    # Each message of the flood costs a turn of the handler, and an answer that
    # nobody reads: its peer has to wait, the neighbour has not.
    octets = frame(TEXT, b"hi") * N_FRAMES
    options = {"close_timeout": 0.2}
    with sites("serve", **options) as site, Flood(site.port, octets):
        until(lambda: site.runs and len(site.runs[0].messages) > N_FRAMES)
