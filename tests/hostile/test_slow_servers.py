"""S15, S16: a server that has nothing to do does nothing, and one that is flooded
serves the others all the same.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import gevent
import pytest
from gevent.monkey import get_original

import gws
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

#: How many times 20 000 frames are sent.
TIMES = 10 if gws.COMPILED else 2

FLOODS = {
    "text of 2 octets": (TEXT, b"hi"),
    "empty binary": (BINARY, b""),
    "empty pings": (PING, b""),
    "pongs": (PONG, b"?"),
}


@contextmanager
def flooding(port: int, octets: bytes, times: int) -> Iterator[threading.Thread]:
    """Write to a server at full speed, from a thread; read nothing meanwhile."""
    ended = threading.Event()

    def write() -> None:
        sock = get_original("socket", "socket")()
        sock.connect(("127.0.0.1", port))
        with sock:
            peer = RawPeer(sock)
            peer.ask(request("/flood"))
            try:
                for _ in range(times):
                    sock.sendall(octets)
                    if ended.is_set():
                        break
                peer.send_close(1000)
                while sock.recv(2**16):
                    pass
            except OSError:
                pass

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield thread
    finally:
        ended.set()
        until(lambda: not thread.is_alive())


@pytest.mark.parametrize("flood", FLOODS)
def test_s16_tiny_frames_at_full_speed(sites: Sites, flood: str) -> None:
    # The neighbour's echoes must not wait: half of `PATIENCE` is 50 ms, compiled.
    n_frames = 20_000

    def handle(ws: Any, run: Run) -> None:
        for message in ws:
            run.messages.append(message)

    octets = frame(*FLOODS[flood]) * n_frames
    with sites("serve", handle) as site, flooding(site.port, octets, TIMES) as thread:
        near = Neighbour(site)
        until(lambda: not thread.is_alive())
        near.check()
        assert near.longest < PATIENCE / 2
        assert near.n_echoes > 2
        until(lambda: site.runs)
        n_messages = len(site.last_run().messages)
        is_message = FLOODS[flood][0] in (TEXT, BINARY)
        assert n_messages == (TIMES * n_frames if is_message else 0)


def test_s16_who_floods_gets_echoes(sites: Sites) -> None:
    # Each message of the flood costs a turn of the handler, and an answer that
    # nobody reads: its peer has to wait, the neighbour has not.
    octets = frame(TEXT, b"hi") * 20_000
    options = {"close_timeout": 0.2}
    with sites("serve", **options) as site, flooding(site.port, octets, 10):
        until(lambda: site.runs and len(site.runs[0].messages) > 20_000)
