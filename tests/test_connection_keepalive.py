"""Keepalive: pings in time, and the end of connections whose peer is gone.

Most of it goes by a clock that is moved by hand; a few tests at the end wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult
from gevent.monkey import get_original

from gws import ConnectionClosedError, serve
from gws.testing import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FakeClock,
    RawPeer,
    pair,
    server_pair,
    settle,
)

from .wire import LOCAL_PAIRS, LONG, port_of, until
from .wire import server_pair as tcp_server_pair


pytestmark = pytest.mark.usefixtures("leakcheck")

MIB = 2**20
SMALL = 2**14
REASON = "keepalive ping timeout"


@pytest.fixture(params=LOCAL_PAIRS)
def open_pair(request: pytest.FixtureRequest) -> Any:
    return LOCAL_PAIRS[request.param]


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with FakeClock() as clock:
        yield clock


def test_pings_are_sent(open_pair: Any, clock: FakeClock) -> None:
    with open_pair(ping_interval=20, ping_timeout=20) as pair:
        payloads = set()
        for i in range(4):
            assert pair.ws.latency == 0.25 * i
            clock.advance(20 * (i + 1) - 0.1 - clock.now())
            pair.ws.pong("not yet")
            assert pair.peer.receive() == (PONG, b"not yet")
            clock.advance(0.1)
            opcode, payload = pair.peer.receive()
            assert (opcode, len(payload)) == (PING, 4)
            payloads.add(payload)
            clock.advance(0.25 * (i + 1))
            pair.peer.send(PONG, payload)
            settle()
        assert len(payloads) == 4
        pair.peer.send(TEXT, b"x")
        assert pair.ws.recv() == "x"
        assert pair.ws.latency == 1


def test_no_keepalive(open_pair: Any, clock: FakeClock) -> None:
    with open_pair(ping_interval=None, ping_timeout=1) as pair:
        clock.advance(1000)
        pair.ws.send("first")
        assert pair.peer.receive() == (TEXT, b"first")
        assert pair.ws.open


def test_no_ping_timeout(open_pair: Any, clock: FakeClock) -> None:
    with open_pair(ping_interval=20, ping_timeout=None) as pair:
        clock.advance(20)
        assert pair.peer.receive()[0] == PING
        clock.advance(1000)
        assert pair.ws.open


def test_a_peer_that_is_silent(open_pair: Any, clock: FakeClock) -> None:
    options = {"ping_interval": 20, "ping_timeout": 10, "close_timeout": 5}
    with open_pair(**options) as pair:
        waiter = pair.ws.ping("mine")
        receiver = gevent.spawn(pair.ws.recv)
        clock.advance(29.9)
        assert pair.ws.open
        assert not receiver.ready()
        clock.advance(0.1)
        assert not pair.ws.open
        with pytest.raises(ConnectionClosedError) as caught:
            receiver.get(block=False)
        assert str(caught.value) == (
            f"sent 1011 (internal error) {REASON}; no close frame received"
        )
        with pytest.raises(ConnectionClosedError):
            pair.ws.send("x")
        assert clock.now() == 30
        assert pair.ws.close_code == 1006
        opcode, _ = pair.peer.receive()
        while opcode == PING:
            opcode, payload = pair.peer.receive()
        assert (opcode, payload[2:].decode()) == (CLOSE, REASON)
        # Its close frame is not waited for by those who were told already.
        assert not pair.ws.closed
        clock.advance(5)
        assert pair.ws.closed
        with pytest.raises(ConnectionClosedError):
            waiter.get()


def test_who_sends_is_released(open_pair: Any, clock: FakeClock) -> None:
    # The peer is gone without a word, while we have more to send than fits.
    options = {"ping_interval": 20, "ping_timeout": 10, "close_timeout": 5}
    with open_pair(receive_buffer=SMALL, **options) as pair:
        sender = gevent.spawn(pair.ws.send, bytes(8 * MIB))
        clock.advance(29.9)
        assert not sender.ready()
        clock.advance(0.1)
        with pytest.raises(ConnectionClosedError):
            sender.get(block=False)
        assert not pair.ws.closed
        clock.advance(5)
        assert pair.ws.closed
        assert pair.ws.buffered_amount == 0


@pytest.mark.parametrize(
    "life",
    [
        lambda peer: peer.frame(PONG, b"unsolicited"),
        lambda peer: peer.frame(PING),
        lambda peer: peer.frame(TEXT, b"x"),
        lambda peer: b"\x00",  # of the payload of a long frame
    ],
    ids=["pong", "ping", "message", "octet"],
)
def test_any_octet_is_life(
    open_pair: Any, clock: FakeClock, life: Callable[[RawPeer], bytes]
) -> None:
    options = {"ping_interval": 20, "ping_timeout": 30, "max_queue": None}
    # Where that of a long frame comes as slowly as this, it is a stall as well.
    with open_pair(stall_timeout=None, **options) as pair:
        pair.peer.write(pair.peer.frame(BINARY, bytes(1000))[:100])
        if len(life(pair.peer)) > 1:
            pair.peer.write(pair.peer.frame(BINARY, bytes(1000))[100:])
        for _ in range(8):
            clock.advance(25)
            pair.peer.write(life(pair.peer))
        assert pair.ws.open
        clock.advance(55)
        assert not pair.ws.open


def test_a_reader_is_alive(open_pair: Any, clock: FakeClock) -> None:
    # It takes a little now and then, and says nothing.
    options = {"ping_interval": 20, "ping_timeout": 30, "write_limit": None}
    with open_pair(receive_buffer=SMALL, **options) as pair:
        pair.ws.send(bytes(MIB))
        for _ in range(8):
            clock.advance(25)
            pair.peer.read(2**16)  # more than the kernel holds
        assert pair.ws.open
        clock.advance(55)
        assert not pair.ws.open


def test_a_handler_that_does_not_receive_keeps_its_peer(
    open_pair: Any, clock: FakeClock
) -> None:
    # Reading has stopped: that no pong arrives says nothing about the peer.
    options = {"ping_interval": 20, "ping_timeout": 20, "max_queue": 2}
    with open_pair(**options) as pair:
        octets = pair.peer.frame(BINARY, bytes(2**17))
        writer = gevent.spawn(lambda: [pair.peer.write(octets) for _ in range(100)])
        clock.advance(200)
        assert pair.ws.open
        assert pair.ws.stream.paused
        for _ in range(100):
            assert pair.ws.recv() == bytes(2**17)
        writer.get(timeout=LONG)


def test_who_does_not_receive_lives_for_its_peer(
    open_pair: Any, clock: FakeClock
) -> None:
    """The peer's pings stand behind messages that nobody takes: it gets pongs."""
    with open_pair(ping_interval=20, ping_timeout=20, max_queue=2) as pair:
        for _ in range(5):
            pair.peer.send(TEXT, b"x")
        settle()
        assert pair.ws.stream.paused
        clock.advance(20)
        assert pair.peer.receive()[0] == PING
        for _ in range(4):  # in any 20 seconds there is one
            clock.advance(10)
            assert pair.peer.receive() == (PONG, b"")
        for _ in range(5):
            assert pair.ws.recv() == "x"
        clock.advance(10)
        pair.ws.send("y")
        assert pair.peer.receive() == (TEXT, b"y")  # as before: its ping is out


def test_pings_do_not_pile_up(clock: FakeClock) -> None:
    # The peer lives, but never answers a ping.
    with server_pair(ping_interval=1, ping_timeout=100) as pair:
        clock.advance(1)
        assert pair.peer.receive()[0] == PING
        clock.advance(50)
        pair.ws.send("x")
        assert pair.peer.receive() == (TEXT, b"x")


# In real time


def test_a_slow_reader_is_alive() -> None:
    # It takes a little now and then, and says nothing.
    options = {"ping_interval": 0.05, "ping_timeout": 0.3, "write_limit": None}
    with tcp_server_pair(receive_buffer=SMALL, **options) as pair:
        pair.ws.send(bytes(64 * MIB))
        start = time.monotonic()
        while time.monotonic() - start < 0.8:
            gevent.sleep(0.01)
            pair.peer.read(2**19)
        assert pair.ws.open


@pytest.mark.parametrize("open_pair", [tcp_server_pair])
def test_a_peer_that_is_gone_while_nobody_receives(open_pair: Any) -> None:
    """Its end stands behind messages that nobody takes, as a reset does."""
    options = {"ping_interval": 0.02, "ping_timeout": 0.02, "max_queue": 2}
    with open_pair(**options) as pair:
        for _ in range(50):
            pair.peer.send(BINARY, bytes(2**12))
        until(lambda: pair.ws.stream.paused)
        pair.peer.end()
        assert pair.ws.wait_closed(LONG)
        assert pair.ws.recv() == bytes(2**12)


def test_a_loop_that_was_held_up_keeps_its_peers() -> None:
    # Somebody computes for longer than ping_timeout. The pongs came meanwhile,
    # but the timer is looked at first.
    def client(port: int) -> None:
        sock = get_original("socket", "socket")()
        sock.connect(("127.0.0.1", port))
        with sock:
            peer = RawPeer(sock)
            peer.ask()
            while (received := peer.receive())[0] != CLOSE:
                time.sleep(0.03)
                peer.send(PONG, received[1])
            peer.send_close(1000)

    def handler(ws: Any) -> None:
        for _ in range(4):
            time.sleep(0.15)
            gevent.sleep(0.01)
        outcome.set(ws.open)

    outcome = AsyncResult()
    options = {"ping_interval": 0.02, "ping_timeout": 0.05}
    with serve(handler, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=client, args=(port_of(server),))
        thread.start()
        assert outcome.get(timeout=LONG)
        while server.connections:
            gevent.sleep(0.001)
        thread.join()


def test_gws_with_gws() -> None:
    options: dict[str, Any] = {"ping_interval": 0.02, "ping_timeout": 0.2}
    with pair(client=options, server=options) as (client, server):
        gevent.sleep(0.5)
        for ws, other in [(client, server), (server, client)]:
            ws.send("still here")
            assert other.recv() == "still here"
            assert 0 < ws.latency < 0.5
