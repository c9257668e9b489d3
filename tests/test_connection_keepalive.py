"""Keepalive: pings in time, and the end of connections whose peer is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult
from gevent.monkey import get_original

from gws import ConnectionClosedError, connect, serve

from .wire import (
    BINARY,
    CLOSE,
    LONG,
    PAIRS,
    PING,
    PONG,
    TEXT,
    RawPeer,
    port_of,
    server_pair,
)


pytestmark = pytest.mark.usefixtures("leakcheck")

MIB = 2**20
SMALL = 2**14
REASON = "keepalive ping timeout"


@pytest.fixture(params=PAIRS)
def open_pair(request: pytest.FixtureRequest) -> Any:
    return PAIRS[request.param]


def test_pings_are_sent(open_pair: Any) -> None:
    with open_pair(ping_interval=0.05, ping_timeout=LONG) as pair:
        start = time.monotonic()
        payloads = set()
        for _ in range(4):
            assert pair.ws.latency == 0.0 or payloads
            opcode, payload = pair.peer.receive()
            assert (opcode, len(payload)) == (PING, 4)
            payloads.add(payload)
            pair.peer.send(PONG, payload)
        assert len(payloads) == 4
        assert 0.19 < time.monotonic() - start < 1
        pair.peer.send(TEXT, b"x")
        assert pair.ws.recv() == "x"
        assert 0 < pair.ws.latency < LONG


def test_no_keepalive(open_pair: Any) -> None:
    with open_pair(ping_interval=None, ping_timeout=0.01) as pair:
        gevent.sleep(0.05)
        pair.ws.send("first")
        assert pair.peer.receive() == (TEXT, b"first")
        assert pair.ws.open


def test_no_ping_timeout(open_pair: Any) -> None:
    with open_pair(ping_interval=0.01, ping_timeout=None) as pair:
        assert pair.peer.receive()[0] == PING
        gevent.sleep(0.05)
        assert pair.ws.open


def test_a_peer_that_is_silent(open_pair: Any) -> None:
    options = {"ping_interval": 0.05, "ping_timeout": 0.05, "close_timeout": 0.3}
    with open_pair(**options) as pair:
        start = time.monotonic()
        waiter = pair.ws.ping("mine")
        with pytest.raises(ConnectionClosedError) as caught:
            pair.ws.recv()
        assert 0.1 <= time.monotonic() - start < 0.3
        assert str(caught.value) == (
            f"sent 1011 (internal error) {REASON}; no close frame received"
        )
        with pytest.raises(ConnectionClosedError):
            pair.ws.send("x")
        assert time.monotonic() - start < 0.3
        assert pair.ws.close_code == 1006
        assert not pair.ws.open
        opcode, _ = pair.peer.receive()
        while opcode == PING:
            opcode, payload = pair.peer.receive()
        assert (opcode, payload[2:].decode()) == (CLOSE, REASON)
        # Its close frame is not waited for by those who were told already.
        assert pair.ws.wait_closed(LONG)
        assert time.monotonic() - start < 1
        with pytest.raises(ConnectionClosedError):
            waiter.get()


def test_who_sends_is_released(open_pair: Any) -> None:
    # The peer is gone without a word, while we have more to send than fits.
    options = {"ping_interval": 0.1, "ping_timeout": 0.1, "close_timeout": 0.2}
    with open_pair(receive_buffer=SMALL, **options) as pair:
        start = time.monotonic()
        with pytest.raises(ConnectionClosedError):
            pair.ws.send(bytes(8 * MIB))
        assert time.monotonic() - start < 0.5
        assert pair.ws.wait_closed(LONG)
        assert time.monotonic() - start < 1
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
def test_any_octet_is_life(open_pair: Any, life: Callable[[RawPeer], bytes]) -> None:
    options = {"ping_interval": 0.05, "ping_timeout": 0.1, "max_queue": None}
    with open_pair(**options) as pair:
        pair.peer.write(pair.peer.frame(BINARY, bytes(1000))[:100])
        if len(life(pair.peer)) > 1:
            pair.peer.write(pair.peer.frame(BINARY, bytes(1000))[100:])
        for _ in range(8):
            gevent.sleep(0.05)
            pair.peer.write(life(pair.peer))
        assert pair.ws.open


def test_a_slow_reader_is_alive() -> None:
    # It takes a little now and then, and says nothing.
    options = {"ping_interval": 0.05, "ping_timeout": 0.3, "write_limit": None}
    with server_pair(receive_buffer=SMALL, **options) as pair:
        pair.ws.send(bytes(64 * MIB))
        start = time.monotonic()
        while time.monotonic() - start < 0.8:
            gevent.sleep(0.01)
            pair.peer.read(2**19)
        assert pair.ws.open


def test_a_handler_that_does_not_receive_keeps_its_peer(open_pair: Any) -> None:
    # Reading has stopped: that no pong arrives says nothing about the peer.
    options = {"ping_interval": 0.05, "ping_timeout": 0.05, "max_queue": 2}
    with open_pair(**options) as pair:
        octets = pair.peer.frame(BINARY, bytes(2**17))
        writer = gevent.spawn(lambda: [pair.peer.write(octets) for _ in range(100)])
        gevent.sleep(0.4)
        assert pair.ws.open
        assert pair.ws.stream.paused
        for _ in range(100):
            assert pair.ws.recv() == bytes(2**17)
        writer.get(timeout=LONG)


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


def test_pings_do_not_pile_up() -> None:
    # The peer lives, but never answers a ping.
    with server_pair(ping_interval=0.001, ping_timeout=LONG) as pair:
        assert pair.peer.receive()[0] == PING
        gevent.sleep(0.05)
        pair.ws.send("x")
        assert pair.peer.receive() == (TEXT, b"x")


def test_gws_with_gws() -> None:
    options: dict[str, Any] = {"ping_interval": 0.02, "ping_timeout": 0.2}

    def handler(ws: Any) -> None:
        for message in ws:
            ws.send(message)

    with (
        serve(handler, "127.0.0.1", 0, **options) as server,
        connect(f"ws://127.0.0.1:{port_of(server)}", **options) as ws,
    ):
        gevent.sleep(0.5)
        ws.send("still here")
        assert ws.recv() == "still here"
        assert 0 < ws.latency < 0.5
