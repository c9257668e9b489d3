"""S04, S05: one message for many, of whom some do not read."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import gevent
import pytest

from gws import ConnectionClosedError, broadcast
from gws.testing import BINARY, CLOSE, RawPeer

from .conftest import (
    LONG,
    PATIENCE,
    Run,
    Site,
    Sites,
    closed_by,
    limit_sending,
    listener_of,
    peak_memory,
    until,
)


MIB = 2**20

#: A receive buffer that is soon full.
SMALL = 2**14

KINDS = pytest.mark.parametrize("kind", ["serve", "tls", "pywsgi"])


def stay(ws: Any, run: Run) -> None:
    run.messages.append("open")
    for _ in ws:
        pass


def connections_of(site: Site) -> list[Any]:
    """Return all but the neighbour's."""
    return [ws for ws in site.server.connections if ws.path != "/neighbour"]


def open_peers(
    stack: ExitStack, site: Site, n: int, receive_buffer: int | None = None
) -> list[RawPeer]:
    n_before = len(site.runs)
    peers = [
        stack.enter_context(site.open_peer(receive_buffer=receive_buffer))
        for _ in range(n)
    ]
    until(lambda: len(site.runs) == n_before + n)
    return peers


def leave(peer: RawPeer) -> None:
    peer.send_close(1000)
    assert peer.receive_close() == (1000, "")


@KINDS
def test_s04_one_of_many_never_reads(sites: Sites, kind: str) -> None:
    n_readers, n_messages, size = 12, 100, 2**12
    with ExitStack() as stack, sites(kind, stay) as site:
        limit_sending(listener_of(site), SMALL)
        (deaf,) = open_peers(stack, site, 1, SMALL)
        (deaf_ws,) = connections_of(site)
        readers = open_peers(stack, site, n_readers)

        def read(peer: RawPeer) -> None:
            for i in range(n_messages):
                assert peer.receive() == (BINARY, i.to_bytes(4, "big") * (size // 4))

        reading = [gevent.spawn(read, peer) for peer in readers]
        most = 0
        n_closed = None
        for i in range(n_messages):
            began = time.thread_time()
            broadcast(connections_of(site), i.to_bytes(4, "big") * (size // 4))
            assert time.thread_time() - began < PATIENCE
            most = max(most, deaf_ws.buffered_amount)
            if n_closed is None and not deaf_ws.open:
                n_closed = i
            gevent.sleep(0.001 if i % 8 == 0 else 0)
        gevent.joinall(reading, timeout=LONG, raise_error=True)
        assert all(greenlet.successful() for greenlet in reading)
        # The offender kept no more than its budget, and is told why.
        assert n_closed is not None
        assert most <= 2**15 + 2 * size
        n = 0
        while (received := deaf.receive())[0] == BINARY:
            assert received[1] == n.to_bytes(4, "big") * (size // 4)
            n += 1
        assert received == (CLOSE, b"\x03\xf5slow consumer")
        assert n == n_closed, "a hole before the close frame"
        deaf.end()
        for peer in readers:
            leave(peer)
        assert isinstance(closed_by(site.runs[0]), ConnectionClosedError)


@KINDS
def test_s04_many_never_read(sites: Sites, kind: str) -> None:
    # Nobody waits for them to go, and what is kept for them is bounded by number.
    n_deaf, size = 20, 2**14
    with ExitStack() as stack, sites(kind, stay, close_timeout=0.2) as site:
        limit_sending(listener_of(site), SMALL)
        open_peers(stack, site, n_deaf, SMALL)
        with peak_memory(n_deaf * 2**17 + MIB):
            while connections := [ws for ws in connections_of(site) if ws.open]:
                broadcast(connections, bytes(size))
                gevent.sleep(0)
        # They still do not read: close_timeout ends them.
        until(lambda: not connections_of(site))
        for run in site.runs:
            assert isinstance(run.end, ConnectionClosedError)


@KINDS
def test_s05_all_are_over_their_budget(sites: Sites, kind: str) -> None:
    n_deaf = 3
    with ExitStack() as stack, sites(kind, stay, close_timeout=0.2) as site:
        limit_sending(listener_of(site), SMALL)
        open_peers(stack, site, n_deaf, SMALL)
        connections = connections_of(site)
        # More than the kernel takes.
        broadcast(connections, bytes(MIB), raise_exceptions=True)
        with pytest.raises(ExceptionGroup) as caught:
            broadcast(connections, "nobody gets it", raise_exceptions=True)
        assert len(caught.value.exceptions) == n_deaf
        for exc in caught.value.exceptions:
            assert isinstance(exc, ConnectionClosedError)
            assert "slow consumer" in str(exc)
        assert not any(ws.open for ws in connections)
        until(lambda: not connections_of(site))


@KINDS
def test_s04_peers_go_during_a_broadcast(sites: Sites, kind: str) -> None:
    n, rounds = 10, 30
    with ExitStack() as stack, sites(kind, stay) as site:
        (stays,) = open_peers(stack, site, 1)
        for peer in (peers := open_peers(stack, site, n)):
            gevent.spawn_later(0.001 * peers.index(peer), peer.reset)
        for i in range(rounds):
            broadcast(list(site.server.connections), b"%d" % i)
            assert stays.receive() == (BINARY, b"%d" % i)
            gevent.sleep(0.001)
        until(lambda: len(connections_of(site)) == 1)
        leave(stays)
