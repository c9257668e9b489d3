"""S07, S08: peers that vanish without a word, and peers that are only slow.

Time is moved by hand: the defaults of keepalive hold, twenty and twenty seconds.
"""

from __future__ import annotations

from typing import Any

import gevent
import pytest

from gws import ConnectionClosed, ConnectionClosedError
from gws.testing import BINARY, CONT, PING, TEXT, FakeClock

from .conftest import LONG, Lend, advance_until, wait_delivered


MIB = 2**20

#: A receive buffer that is soon full.
SMALL = 2**14

KEEPALIVE = {"ping_interval": 20, "ping_timeout": 20, "close_timeout": 10}

#: What comes in a second, and how many seconds, of S08: 100 MB at 100 kB/s took too
#: long for a test; the time is what counts.
RATE = 10_000
SECONDS = 1000


def outcome_of(call: Any, *args: Any) -> Any:
    """Return the exception of a call whose connection closes."""
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            call(*args)
    return caught.value


# S07: vanished


def test_s07_the_peer_vanishes(lend: Lend) -> None:
    # Whoever waits for it hears so in time, and then the connection is gone.
    with FakeClock() as clock, lend(**KEEPALIVE) as (ws, peer):
        receiver = gevent.spawn(outcome_of, ws.recv)
        pinger = gevent.spawn(outcome_of, ws.ping("mine").get)
        clock.advance(39.9)
        assert not receiver.ready()
        clock.advance(0.1)
        exc = receiver.get(block=False)
        assert isinstance(exc, ConnectionClosedError)
        assert "keepalive ping timeout" in str(exc)
        assert not ws.closed
        clock.advance(9.9)
        assert not ws.closed
        clock.advance(0.1)
        assert ws.closed
        assert isinstance(pinger.get(timeout=LONG), ConnectionClosedError)
        peer.end()


def test_s07_the_peer_vanishes_with_much_unread(lend: Lend) -> None:
    buffers = {"receive_buffer": SMALL, "send_buffer": SMALL}
    with FakeClock() as clock, lend(**buffers, **KEEPALIVE) as (ws, peer):
        waiting = [
            gevent.spawn(outcome_of, ws.recv),
            gevent.spawn(outcome_of, ws.send, bytes(MIB)),
            gevent.spawn(outcome_of, ws.flush),
        ]
        clock.advance(39)
        assert not any(greenlet.ready() for greenlet in waiting)
        advance_until(clock, lambda: not ws.open)
        for greenlet in waiting:
            exc = greenlet.get(timeout=LONG)
            assert isinstance(exc, ConnectionClosedError)
            assert "keepalive ping timeout" in str(exc)
        clock.advance(10)
        assert ws.closed
        assert ws.buffered_amount == 0
        peer.end()


def test_s07_the_peer_vanishes_in_a_message(lend: Lend) -> None:
    with FakeClock() as clock, lend(**KEEPALIVE) as (ws, peer):
        receiver = gevent.spawn(outcome_of, ws.recv)
        peer.send(TEXT, b"half", first=0)
        peer.write(peer.frame(CONT, bytes(1000))[:500])
        wait_delivered(peer)
        clock.advance(40)
        assert isinstance(receiver.get(block=False), ConnectionClosedError)
        clock.advance(10)
        assert ws.closed
        peer.end()


def test_s07_the_peer_vanishes_while_closing(lend: Lend) -> None:
    buffers = {"receive_buffer": SMALL, "send_buffer": SMALL}
    with FakeClock() as clock, lend(**buffers, **KEEPALIVE) as (ws, peer):
        sender = gevent.spawn(outcome_of, ws.send, bytes(MIB))
        clock.advance(39)
        closer = gevent.spawn(ws.close)
        clock.advance(9.9)
        assert not closer.ready()
        clock.advance(0.1)
        closer.get(timeout=LONG)
        assert isinstance(sender.get(timeout=LONG), ConnectionClosedError)
        peer.end()


def test_s07_a_reader_stalls_that_answers_pings(lend: Lend) -> None:
    # Or has nobody to send it any: `stall_timeout` is the deadline of writing.
    options = {"ping_interval": None, "stall_timeout": 60, "close_timeout": 10}
    buffers = {"receive_buffer": SMALL, "send_buffer": SMALL}
    with FakeClock() as clock, lend(**buffers, **options) as (ws, peer):
        sender = gevent.spawn(outcome_of, ws.send, bytes(MIB))
        clock.advance(59)
        assert not sender.ready()
        advance_until(clock, lambda: not ws.open)
        clock.advance(10)
        assert ws.closed
        assert "sent 1008 (policy violation) stalled" in str(sender.get(timeout=LONG))
        peer.end()


# S08: slow, and alive


def test_s08_much_comes_slowly(lend: Lend) -> None:
    # One frame of 10 MB: its sender can answer no ping before the end of it.
    with FakeClock() as clock, lend(max_size=None, **KEEPALIVE) as (ws, peer):
        message = bytes(RATE * SECONDS)
        octets = memoryview(peer.frame(BINARY, message))
        for begin in range(0, len(octets), 19 * RATE):
            peer.write(octets[begin : begin + 19 * RATE])
            wait_delivered(peer)
            clock.advance(19)
        assert ws.open
        assert ws.recv(timeout=LONG) == message


def test_s08_much_is_read_slowly(lend: Lend) -> None:
    # The pings are behind it: its reader can answer none before the end of it.
    with FakeClock() as clock, lend(receive_buffer=SMALL, **KEEPALIVE) as (ws, peer):
        n = SECONDS * RATE // MIB + 4  # what is left at the end fills the kernel
        sender = gevent.spawn(lambda: [ws.send(bytes([i]) * MIB) for i in range(n)])
        for _ in range(SECONDS // 19):
            clock.advance(19)
            peer._buffer += peer.sock.recv(1)
            for _ in range(19):
                peer._buffer += peer.sock.recv(RATE)
        assert ws.open
        numbers = []
        while len(numbers) < n:
            opcode, payload = peer.receive()
            if opcode == BINARY:
                assert payload == payload[:1] * MIB
                numbers.append(payload[0])
        assert numbers == list(range(n))
        sender.get(timeout=LONG)


def test_s08_a_little_now_and_then(lend: Lend) -> None:
    # Somebody who never answers a ping, but says something before each deadline.
    with FakeClock() as clock, lend(**KEEPALIVE) as (ws, peer):
        for _ in range(20):
            peer.send(TEXT, b"still here")
            wait_delivered(peer)
            clock.advance(19)
            assert ws.recv(timeout=LONG) == "still here"
        n_pings = 0
        peer.send(PING, b"last")
        while peer.receive() != (0xA, b"last"):
            n_pings += 1
        assert n_pings >= 1
        assert ws.open
