"""S01: peers that read slowly, late or never, while much is sent to them.

Every octet arrives in its order, or who sends gets an error and the connection ends:
never success with a hole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest

from gws import ConnectionClosed, ConnectionClosedError, connect
from gws.testing import BINARY, FakeClock, RawPeer

from .conftest import LONG, Lend, Run, Site, Sites, advance_until, peak_memory


MIB = 2**20

#: A receive buffer that is soon full.
SMALL = 2**14

BODY = bytes(range(256)) * (MIB // 256 - 1) + bytes(252)


def message(number: int) -> bytes:
    """Return a message of 1 MiB that is like no other."""
    return number.to_bytes(4, "big") + BODY


def send_messages(ws: Any, n: int) -> None:
    for i in range(n):
        ws.send(message(i))


@pytest.mark.once
def test_s01_50_mib_to_a_reader_that_pauses(lend: Lend) -> None:
    with lend(receive_buffer=2**18) as (ws, peer):
        sender = gevent.spawn(send_messages, ws, 50)
        for i in range(50):
            if i in (0, 1, 40):
                sender.join(timeout=0.1)
                n_left = ws.buffered_amount
                sender.join(timeout=0.05)
                assert not sender.ready()
                assert ws.buffered_amount == n_left > 0, "it has not come to a stop"
            assert peer.receive() == (BINARY, message(i))
        sender.get(timeout=LONG)


def test_s01_one_octet_a_millisecond(lend: Lend) -> None:
    with lend(receive_buffer=SMALL, send_buffer=SMALL) as (ws, peer):
        sender = gevent.spawn(send_messages, ws, 2)
        n_slow = 100
        first = bytearray()
        for _ in range(n_slow):
            first += peer.sock.recv(1)
            gevent.sleep(0.001)
        assert not sender.ready()
        # Read again, as if it had come now.
        peer._buffer[:0] = first
        for i in range(2):
            assert peer.receive() == (BINARY, message(i))
        sender.get(timeout=LONG)


STALLS: dict[str, Callable[[RawPeer], Any]] = {
    "for ever": lambda peer: None,
    "eof": lambda peer: peer.half_close(),
    "close": lambda peer: peer.send_close(1001),
}


@pytest.mark.parametrize("stall", STALLS)
def test_s01_a_stall_without_end(lend: Lend, stall: str) -> None:
    options = {
        "receive_buffer": SMALL,
        "send_buffer": SMALL,
        "ping_interval": 20,
        "ping_timeout": 20,
        "close_timeout": 10,
    }
    with FakeClock() as clock, lend(**options) as (ws, peer):
        sender = gevent.spawn(send_messages, ws, 50)
        clock.advance(19)
        assert not sender.ready()
        STALLS[stall](peer)
        advance_until(clock, lambda: ws.closed)
        with pytest.raises(ConnectionClosed):
            sender.get(timeout=LONG)
        assert ws.buffered_amount == 0
        # What the kernel has still comes: from the beginning, without a hole.
        n = 0
        with pytest.raises((EOFError, ConnectionError)):
            while (received := peer.receive())[0] == BINARY:
                assert received[1] == message(n)
                n += 1
        assert n < 50


# Both sides send first


def send_then_receive(ws: Any, n: int, size: int) -> None:
    payload = bytes(size)
    for _ in range(n):
        ws.send(payload)
    for _ in range(n):
        assert ws.recv() == payload


def dial_gws(site: Site, **options: Any) -> Any:
    scheme, context = (
        ("wss", site.tls_context()) if site.kind == "tls" else ("ws", None)
    )
    return connect(f"{scheme}://127.0.0.1:{site.port}/", ssl=context, **options)


@pytest.mark.parametrize("kind", ["serve", "tls", "pywsgi"])
def test_both_send_32_mib_before_they_receive(sites: Sites, kind: str) -> None:
    def handle(ws: Any, run: Run) -> None:
        send_then_receive(ws, 32, MIB)
        run.messages.append("all of it")

    with sites(kind, handle, compression=None) as site:
        with dial_gws(site, compression=None) as ws, gevent.Timeout(LONG):
            send_then_receive(ws, 32, MIB)
        site.last_run()
        assert [run.messages for run in site.runs] == [["all of it"]]


@pytest.mark.parametrize("kind", ["serve", "tls", "pywsgi"])
def test_both_send_more_than_either_keeps(sites: Sites, kind: str) -> None:
    # Neither reads on, so neither can answer: both hear so, and no memory is filled.
    size = 2**14
    options = {
        "max_size": size,
        "compression": None,
        "ping_interval": 0.2,
        "ping_timeout": 0.2,
        "close_timeout": 0.2,
    }

    def handle(ws: Any, run: Run) -> None:
        send_then_receive(ws, 2**12, size)

    with sites(kind, handle, **options) as site, peak_memory(8 * MIB):
        ws = dial_gws(site, **options).open()
        with pytest.raises(ConnectionClosedError), gevent.Timeout(LONG):
            send_then_receive(ws, 2**12, size)
        ws.close()
        end = site.last_run().end
        assert isinstance(end, ConnectionClosedError)
