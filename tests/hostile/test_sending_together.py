"""S02, S03: many greenlets send on one connection, and some are killed at it.

Frames are whole and the close frame is the last; an octet for one connection never
reaches another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import gevent
import pytest

from gws import ConnectionClosed, ConnectionClosedOK
from gws.testing import BINARY, CLOSE, PING, TEXT, RawPeer

from .conftest import LONG, Lend, Run, Sites, limit_sending, listener_of, until


MIB = 2**20

#: A receive buffer that is soon full.
SMALL = 2**14

N_SENDERS = 50


def test_s02_50_greenlets_send_and_another_closes(lend: Lend) -> None:
    size = 2**17
    sent: Counter[int] = Counter()
    options = {"receive_buffer": SMALL, "ping_interval": 0.005, "ping_timeout": None}
    with lend(**options) as (ws, peer):

        def send(number: int) -> None:
            with pytest.raises(ConnectionClosedOK):
                while True:
                    ws.send(bytes([number]) * size)
                    sent[number] += 1

        senders = [gevent.spawn(send, i) for i in range(N_SENDERS)]
        received: Counter[int] = Counter()
        n_pings = 0
        closer = None
        while (found := peer.receive())[0] != CLOSE:
            opcode, payload = found
            if opcode == PING:
                n_pings += 1
                continue
            assert opcode == BINARY
            assert payload == payload[:1] * size, "a torn frame"
            received[payload[0]] += 1
            if closer is None and n_pings and received.total() > N_SENDERS:
                closer = gevent.spawn(ws.close, 1000, "done")
        assert found == (CLOSE, b"\x03\xe8done")
        peer.send_close(1000)
        if ws.protocol.masked:  # RFC 6455 7.1.1: a client waits for its server
            peer.end()
        else:
            assert peer.read_to_end() == b""
        gevent.joinall([closer, *senders], timeout=LONG, raise_error=True)
        assert all(greenlet.successful() for greenlet in senders)
        # Whose send was waiting when it closed has not heard that it went out.
        assert not sent - received
        assert all(n <= 1 for n in (received - sent).values())


def by_timeout(ws: Any, message: bytes) -> None:
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.02):
        ws.send(message)


def by_kill(ws: Any, message: bytes) -> None:
    sender = gevent.spawn(ws.send, message)
    sender.join(timeout=0.02)
    sender.kill()
    assert isinstance(sender.value, gevent.GreenletExit)


@pytest.mark.parametrize("interrupt", [by_timeout, by_kill])
def test_s03_who_is_stopped_in_send_tears_no_frame(
    lend: Lend, interrupt: Callable[[Any, bytes], None]
) -> None:
    with lend(receive_buffer=SMALL, send_buffer=SMALL) as (ws, peer):
        messages = [bytes([i]) * MIB for i in range(2)]
        for message in messages:
            interrupt(ws, message)
        last = gevent.spawn(ws.send, "last")
        for message in messages:
            assert peer.receive() == (BINARY, message)
        assert peer.receive() == (TEXT, b"last")
        last.get(timeout=LONG)


@pytest.mark.parametrize("kind", ["serve", "tls", "pywsgi"])
def test_s03_a_handler_is_killed_in_send(sites: Sites, kind: str) -> None:
    handlers = []

    def handle(ws: Any, run: Run) -> None:
        handlers.append(gevent.getcurrent())
        ws.send(bytes(MIB))

    with sites(kind, handle) as site, ExitStack() as stack:
        limit_sending(listener_of(site), SMALL)
        peer = stack.enter_context(site.open_peer(receive_buffer=SMALL))
        until(lambda: handlers)
        gevent.sleep(0.01)
        gevent.kill(handlers[0])
        assert peer.receive() == (BINARY, bytes(MIB))
        assert peer.receive_close() == (1001, "")
        peer.send_close(1001)
        assert peer.read_to_end() == b""
        assert isinstance(site.last_run().end, gevent.GreenletExit)


LEAVING: dict[str, Callable[[RawPeer], Any]] = {
    "reset": lambda peer: peer.reset(),
    "end": lambda peer: peer.end(),
    "close": lambda peer: peer.send_close(1000),
}


@pytest.mark.parametrize("kind", ["serve", "tls", "pywsgi"])
@pytest.mark.parametrize("leave", LEAVING)
def test_s03_a_descriptor_is_used_again_at_once(
    sites: Sites, kind: str, leave: str
) -> None:
    # Each second connection leaves with much unsent; the next gets its descriptor.
    n_visits = 8
    seen: list[int] = []

    def handle(ws: Any, run: Run) -> None:
        seen.append(ws.stream.sock.fileno())
        octet = ws.recv()
        late = gevent.spawn_later(0.002, send_late, ws)
        try:
            for _ in range(100):
                ws.send(octet * 2**13)
        finally:
            late.get(timeout=LONG)

    def send_late(ws: Any) -> None:
        with suppress(ConnectionClosed):
            ws.send(b"late" * 2**11)

    with sites(kind, handle, close_timeout=0.05) as site:
        limit_sending(listener_of(site), SMALL)
        for _ in range(n_visits):
            with site.open_peer(receive_buffer=SMALL) as peer:
                peer.send(BINARY, b"a")
                peer.read(1)
                LEAVING[leave](peer)
            with site.open_peer() as peer:
                peer.send(BINARY, b"b")
                messages = [peer.receive()[1] for _ in range(101)]
                assert messages.count(b"b" * 2**13) == 100
                assert messages.count(b"late" * 2**11) == 1
            until(lambda: all(run.end is not None for run in site.runs))
    assert len(seen) == 2 * n_visits
    assert len(set(seen)) < n_visits, "descriptors were used again"
