"""Closing: the closing handshake from either side, and every other way to end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult, Event

from gws import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    ProtocolError,
    State,
    serve,
)
from gws.testing import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    FakeClock,
    RawPeer,
    connect_to,
    server_pair,
)

from .wire import LOCAL_PAIRS, LONG, PAIRS, raw_client
from .wire import server_pair as tcp_server_pair


pytestmark = pytest.mark.usefixtures("leakcheck")

MIB = 2**20

#: A receive buffer that is soon full.
SMALL = 2**14


@pytest.fixture(params=PAIRS)
def role(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def open_pair(role: str) -> Any:
    return LOCAL_PAIRS[role]


@pytest.fixture
def open_tcp_pair(role: str) -> Any:
    return PAIRS[role]


@contextmanager
def lasting(at_least: float, at_most: float) -> Iterator[None]:
    """Check how many seconds the body takes."""
    start = time.monotonic()
    yield
    assert at_least <= time.monotonic() - start < at_most


# The closing handshake


@pytest.mark.parametrize(
    ("code", "reason", "text"),
    [
        (1000, "", "1000 (OK)"),
        (1000, "bye", "1000 (OK) bye"),
        (1001, "é" * 61, "1001 (going away) " + "é" * 61),
        (1012, "", "1012 (service restart)"),
        (3000, "x" * 123, "3000 (registered) " + "x" * 123),
        (4999, "", "4999 (private use)"),
    ],
)
def test_we_close(open_pair: Any, code: int, reason: str, text: str) -> None:
    with open_pair() as pair:
        ws = pair.ws
        assert (ws.state, ws.open, ws.closed) == (State.OPEN, True, False)
        assert (ws.close_code, ws.close_reason) == (None, None)
        closer = gevent.spawn(ws.close, code, reason)
        assert pair.peer.receive_close() == (code, reason)
        assert (ws.state, ws.open, ws.closed) == (State.CLOSING, False, False)
        assert (ws.close_code, ws.close_reason) == (None, None)
        pair.peer.send_close(code, reason)
        expected = ConnectionClosedOK if code < 1002 else ConnectionClosedError
        with pytest.raises(expected) as caught:
            ws.recv()
        assert (ws.close_code, ws.close_reason) == (code, reason)
        assert not closer.ready()  # the peer has not ended TCP yet
        pair.peer.end()
        closer.get(timeout=LONG)
        assert (ws.state, ws.open, ws.closed) == (State.CLOSED, False, True)
        assert (ws.close_code, ws.close_reason) == (code, reason)
        assert str(caught.value) == f"sent {text}; then received {text}"
        assert (caught.value.code, caught.value.reason) == (code, reason)
        assert caught.value.rcvd_then_sent is False


@pytest.mark.parametrize(
    ("code", "reason"),
    [(1000, "bye"), (1001, ""), (1011, "é"), (1014, ""), (3000, "x" * 123), (4999, "")],
)
def test_the_peer_closes(open_pair: Any, code: int, reason: str) -> None:
    with open_pair() as pair:
        pair.peer.send_close(code, reason)
        assert pair.peer.receive_close() == (code, reason)
        with pytest.raises(ConnectionClosed) as caught:
            pair.ws.recv()
        assert caught.value.rcvd_then_sent is True
        assert str(caught.value).startswith(f"received {code} (")
        assert "; then sent " in str(caught.value)
        assert (pair.ws.close_code, pair.ws.close_reason) == (code, reason)
        pair.peer.end()
        assert pair.ws.wait_closed(LONG)


def test_the_peer_closes_without_a_code(open_pair: Any) -> None:
    with open_pair() as pair:
        pair.peer.send(CLOSE)
        assert pair.peer.receive() == (CLOSE, b"")
        with pytest.raises(ConnectionClosedOK, match="received 1005"):
            pair.ws.recv()
        assert (pair.ws.close_code, pair.ws.close_reason) == (1005, "")
        pair.peer.end()


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x03", 1002),
        *[
            (n.to_bytes(2, "big"), 1002)
            for n in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
        ],
        (b"\x03\xe8\xff", 1007),
    ],
)
def test_bad_close_frames(payload: bytes, code: int) -> None:
    with server_pair() as pair:
        pair.peer.send(CLOSE, payload)
        assert pair.peer.receive_close()[0] == code
        with pytest.raises(ConnectionClosedError, match=f"sent {code}"):
            pair.ws.recv()
        assert pair.ws.close_code == 1006
        pair.peer.end()


def test_both_close_at_once(open_pair: Any) -> None:
    with open_pair() as pair:
        pair.peer.send_close(1001)
        closer = gevent.spawn(pair.ws.close, 1000)
        assert pair.peer.receive_close()[0] in (1000, 1001)
        pair.peer.end()
        closer.get(timeout=LONG)
        assert pair.ws.close_code == 1001


def test_who_ends_tcp(role: str, open_tcp_pair: Any) -> None:
    # RFC 6455, section 7.1.1: the server does, at once; the client waits for it.
    with open_tcp_pair() as pair:
        pair.peer.send_close(1000)
        assert pair.peer.receive_close() == (1000, "")
        if role == "server":
            assert pair.peer.read_to_end() == b""
        else:
            with pytest.raises(TimeoutError):
                pair.peer.sock.settimeout(0.05)
                pair.peer.sock.recv(1)
            assert not pair.ws.closed
            pair.peer.end()
        assert pair.ws.wait_closed(LONG)


def test_a_server_waits_for_no_client_to_end_tcp() -> None:
    with LOCAL_PAIRS["server"](close_timeout=None) as pair:
        closer = gevent.spawn(pair.ws.close)
        assert pair.peer.receive_close() == (1000, "")
        pair.peer.send_close(1000)
        closer.get(timeout=LONG)
        assert pair.peer.read_to_end() == b""


@pytest.mark.parametrize(
    ("args", "error"),
    [
        *[
            ((code,), ProtocolError)
            for code in (0, -1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536)
        ],
        (("1000",), TypeError),
        ((None,), TypeError),
        ((1000.0,), TypeError),
        ((1000, "x" * 124), ProtocolError),
        ((1000, "é" * 62), ProtocolError),
        ((1000, "😀" * 31), ProtocolError),
        ((1000, b"bye"), TypeError),
        ((1000, bytearray(b"bye")), TypeError),
        ((1000, memoryview(b"bye")), TypeError),
        ((1000, 5), TypeError),
        ((1000, None), TypeError),
        ((1000, "\ud800"), UnicodeEncodeError),
    ],
)
def test_nothing_is_written_on_bad_arguments(args: Any, error: type[Exception]) -> None:
    with server_pair() as pair:
        with pytest.raises(error):
            pair.ws.close(*args)
        assert pair.ws.open
        pair.ws.send("next")
        assert pair.peer.receive() == (TEXT, b"next")
        pair.peer.end()
        assert pair.ws.wait_closed(LONG)
        with pytest.raises(error):  # the arguments count, not the moment
            pair.ws.close(*args)


def test_closing_again(open_pair: Any) -> None:
    with open_pair() as pair:
        closers = [gevent.spawn(pair.ws.close, 1000 + i) for i in range(2)]
        closers.append(gevent.spawn(pair.ws.wait_closed))
        assert pair.peer.receive_close() == (1000, "")
        assert not pair.ws.wait_closed(0.01)
        assert not any(closer.ready() for closer in closers)
        pair.peer.send_close(1000)
        pair.peer.end()
        gevent.joinall(closers, timeout=LONG, raise_error=True)
        pair.ws.close(1011, "too late")
        assert pair.ws.close_code == 1000
        assert pair.ws.wait_closed(0)
        assert pair.ws.wait_closed()


def test_closing_in_the_hub_does_not_wait(open_pair: Any) -> None:
    with open_pair() as pair:
        returned = AsyncResult()
        hub = gevent.get_hub()
        hub.loop.run_callback(lambda: returned.set(pair.ws.close(1001)))
        assert returned.get(timeout=LONG) is None
        assert not pair.ws.closed
        assert pair.peer.receive_close() == (1001, "")
        hub.loop.run_callback(lambda: returned.set(pair.ws.wait_closed()))
        pair.peer.send_close(1001)
        pair.peer.end()
        assert pair.ws.wait_closed(LONG)
        hub.loop.run_callback(lambda: returned.set(pair.ws.close()))


# How a handler ends


@contextmanager
def handled_by(handler: Callable[[Any], Any], **options: Any) -> Iterator[RawPeer]:
    with (
        serve(handler, "127.0.0.1", 0, **options) as server,
        raw_client(server) as peer,
    ):
        peer.ask()
        yield peer


def raise_error(ws: Any) -> None:
    raise LookupError("no such thing")


def raise_timeout(ws: Any) -> None:
    raise gevent.Timeout(1)


def raise_exit(ws: Any) -> None:
    raise gevent.GreenletExit


def raise_foreign_close(ws: Any) -> None:
    raise ConnectionClosedError(None, None)


@pytest.mark.parametrize(
    ("handler", "code", "n_errors"),
    [
        (lambda ws: None, 1000, 0),
        (lambda ws: "ignored", 1000, 0),
        (raise_error, 1011, 1),
        (raise_timeout, 1011, 1),
        (raise_foreign_close, 1011, 1),
        (raise_exit, 1001, 0),
    ],
)
def test_the_end_of_a_handler(
    handler: Callable[[Any], Any],
    code: int,
    n_errors: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with handled_by(handler) as peer:
        assert peer.receive_close() == (code, "")
        peer.send_close(code)
        assert peer.read_to_end() == b""
    errors = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(errors) == n_errors
    for record in errors:
        assert record.name == "gws.server"
        assert record.levelno == logging.ERROR
        assert record.exc_info


def test_a_killed_handler() -> None:
    greenlets = []

    def handler(ws: Any) -> None:
        greenlets.append(gevent.getcurrent())
        ws.recv()

    with handled_by(handler) as peer:
        peer.send(PING)
        peer.receive()
        gevent.kill(greenlets[0])
        assert peer.receive_close() == (1001, "")
        peer.send_close(1001)
        assert peer.read_to_end() == b""


ENDINGS: dict[str, Callable[[RawPeer], Any]] = {
    "close": lambda peer: peer.send_close(1001),
    "eof": lambda peer: peer.half_close(),
    "reset": lambda peer: peer.reset(),
    "bad frame": lambda peer: peer.send(TEXT, b"", first=0xA0),
    "bad text": lambda peer: peer.send(TEXT, b"\xff"),
}


def receiving(ws: Any) -> None:
    ws.recv()


def sending(ws: Any) -> None:
    while True:
        ws.send(bytes(MIB))


def busy(ws: Any) -> None:
    ws.wait_closed()
    with pytest.raises(ConnectionClosed):
        ws.recv()
    with pytest.raises(ConnectionClosed):
        ws.send("x")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("doing", [receiving, sending, busy])
def test_what_a_peer_does_is_no_error(
    ending: str, doing: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    n_ended = 0

    def handler(ws: Any) -> None:
        nonlocal n_ended
        try:
            doing(ws)
        finally:
            n_ended += 1

    with (
        serve(handler, "127.0.0.1", 0, close_timeout=0.2) as server,
        raw_client(server, receive_buffer=SMALL) as peer,
    ):
        peer.ask()
        peer.send(PING)
        peer.read(1)
        ENDINGS[ending](peer)
        while server.connections:
            gevent.sleep(0.001)
    assert n_ended == 1
    for record in caplog.records:
        assert record.levelno <= logging.INFO
        assert not record.exc_info


# Peers that do not play along


def test_a_peer_that_never_answers_the_close_frame(open_pair: Any) -> None:
    with FakeClock() as clock, open_pair(close_timeout=10) as pair:
        closer = gevent.spawn(pair.ws.close)
        clock.advance(9.9)
        assert not closer.ready()
        clock.advance(0.1)
        closer.get(timeout=LONG)
        assert pair.ws.close_code == 1006
        assert pair.peer.receive_close() == (1000, "")
        assert pair.peer.read_to_end() == b""
        with pytest.raises(ConnectionClosedError) as caught:
            pair.ws.recv()
        assert str(caught.value) == "sent 1000 (OK); no close frame received"


def test_a_server_that_answers_late_and_never_ends_tcp() -> None:
    with FakeClock() as clock, LOCAL_PAIRS["client"](close_timeout=10) as pair:
        closer = gevent.spawn(pair.ws.close)
        assert pair.peer.receive_close() == (1000, "")
        clock.advance(8)
        pair.peer.send_close(1000)
        clock.advance(1.9)
        assert not closer.ready()
        clock.advance(0.1)  # it is for all of it, not for each step
        closer.get(timeout=LONG)
        assert pair.ws.close_code == 1000


def test_a_peer_that_goes_on_sending(open_pair: Any) -> None:
    with open_pair(close_timeout=0.3, max_queue=4) as pair:
        octets = pair.peer.frame(BINARY, bytes(2**16))
        stop = Event()

        def write() -> None:
            with pytest.raises(OSError):
                while not stop.is_set():
                    pair.peer.write(octets)

        writer = gevent.spawn(write)
        with lasting(0.3, 2):
            pair.ws.close()
        writer.get(timeout=LONG)
        assert pair.ws.close_code == 1006


def test_the_answer_is_found_behind_much_data(open_pair: Any) -> None:
    with open_pair(max_queue=4) as pair:

        def write() -> None:
            for _ in range(100):
                pair.peer.send(BINARY, bytes(2**16))
            assert pair.peer.receive_close() == (1000, "")
            for _ in range(100):
                pair.peer.send(BINARY, bytes(2**16))
            pair.peer.send_close(1000)
            pair.peer.end()

        writer = gevent.spawn(write)
        with lasting(0, 3):
            pair.ws.close()
        assert pair.ws.close_code == 1000
        writer.get(timeout=LONG)


def test_a_peer_that_never_reads(open_pair: Any) -> None:
    with open_pair(receive_buffer=SMALL, close_timeout=0.2) as pair:
        sender = gevent.spawn(pair.ws.send, bytes(16 * MIB))
        gevent.sleep(0)
        assert not sender.ready()
        with lasting(0.2, 1):
            pair.ws.close()
        with pytest.raises(ConnectionClosedError):
            sender.get(timeout=LONG)


@pytest.mark.parametrize("cause", ["bad frame", "handler", "too big"])
@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_no_reset_swallows_the_close_code(
    cause: str, transport: str, tls_files: Path
) -> None:
    # The peer has much in flight when we fail the connection; were the socket
    # closed with octets unread, a TCP reset would overtake the close frame.
    tls = tls_files if transport == "tls" else None
    with tcp_server_pair(tls=tls, max_size=2**17) as pair:
        if cause == "handler":
            gevent.spawn(pair.ws.close, 1011)
            code = 1011
        elif cause == "bad frame":
            pair.peer.send(TEXT, b"", first=0xA0)
            code = 1002
        else:
            pair.peer.write(pair.peer.frame(BINARY, bytes(2**17 + 1))[:14])
            code = 1009
        for _ in range(200):
            pair.peer.write(bytes(2**16))
        assert pair.peer.receive_close()[0] == code
        assert pair.peer.read_to_end() == b""
        pair.peer.end()


# Errors take their turn


def test_messages_before_a_bad_frame_are_answered_first(open_pair: Any) -> None:
    with open_pair() as pair:

        def echo() -> None:
            for message in pair.ws:
                pair.ws.send(message * 2)

        echoer = gevent.spawn(echo)
        gevent.sleep(0)
        pair.peer.write(
            *[pair.peer.frame(TEXT, b"%d" % i) for i in range(5)],
            pair.peer.frame(TEXT, b"", first=0xA0),
            pair.peer.frame(TEXT, b"not processed"),
        )
        for i in range(5):
            assert pair.peer.receive() == (TEXT, b"%d%d" % (i, i))
        assert pair.peer.receive_close() == (1002, "reserved bits must be 0")
        with pytest.raises(ConnectionClosedError):
            echoer.get(timeout=LONG)
        pair.peer.end()


def test_messages_before_a_close_frame_are_answered_first(open_pair: Any) -> None:
    with open_pair() as pair:
        pair.peer.write(
            *[pair.peer.frame(TEXT, b"%d" % i) for i in range(5)],
            pair.peer.frame(CLOSE, b"\x03\xe8"),
        )
        for message in pair.ws:
            pair.ws.send(message)
        for i in range(5):
            assert pair.peer.receive() == (TEXT, b"%d" % i)
        assert pair.peer.receive_close() == (1000, "")
        pair.peer.end()


@pytest.mark.parametrize(
    ("last", "code"), [(b"\x88\x82\x01\x02\x03\x04\x02\xea", 1000), (b"\xa1\x80", 1002)]
)
def test_a_busy_handler_does_not_hold_back_the_answer_for_ever(
    last: bytes, code: int
) -> None:
    with FakeClock() as clock, server_pair(close_timeout=10) as pair:
        pair.peer.write(pair.peer.frame(TEXT, b"unread"), last)
        clock.advance(9.9)
        assert pair.ws.open
        clock.advance(0.1)
        assert pair.peer.receive_close()[0] == code
        pair.peer.end()
        assert pair.ws.wait_closed(LONG)
        assert pair.ws.recv() == "unread"
        with pytest.raises(ConnectionClosed):
            pair.ws.recv()


def test_closing_before_the_turn_of_the_peers_close() -> None:
    with server_pair() as pair:
        pair.peer.write(pair.peer.frame(TEXT, b"1"), pair.peer.frame(TEXT, b"2"))
        assert pair.ws.recv() == "1"
        pair.peer.send_close(1001)
        pair.peer.send_close(1001)
        closer = gevent.spawn(pair.ws.close, 1000)
        assert pair.peer.receive_close()[0] in (1000, 1001)
        pair.peer.end()
        closer.get(timeout=LONG)
        assert pair.ws.close_code == 1001
        assert pair.ws.recv() == "2"
        with pytest.raises(ConnectionClosedOK):
            pair.ws.recv()


def test_sending_meets_the_peers_close_behind_messages() -> None:
    with server_pair() as pair:
        pair.peer.write(pair.peer.frame(TEXT, b"1"), pair.peer.frame(TEXT, b"2"))
        assert pair.ws.recv() == "1"
        pair.peer.send_close(1001)
        gevent.sleep(0.01)
        pair.ws.send("still goes out")
        assert pair.ws.recv() == "2"
        with pytest.raises(ConnectionClosedOK):
            pair.ws.recv()
        assert pair.peer.receive() == (TEXT, b"still goes out")
        assert pair.peer.receive_close()[0] == 1001
        pair.peer.end()


# Whatever ends it


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (lambda peer: peer.end(), "no close frame received or sent"),
        (lambda peer: peer.reset(), "no close frame received or sent"),
    ],
)
def test_no_closing_handshake(
    open_tcp_pair: Any, end: Callable[[RawPeer], Any], text: str
) -> None:
    with open_tcp_pair() as pair:
        end(pair.peer)
        with pytest.raises(ConnectionClosedError) as caught:
            pair.ws.recv()
        assert str(caught.value) == text
        assert (caught.value.code, caught.value.reason) == (1006, "")
        assert (pair.ws.close_code, pair.ws.close_reason) == (1006, "")
        assert pair.ws.state is State.CLOSED
        pair.ws.close()


def test_addresses_survive(open_tcp_pair: Any) -> None:
    with open_tcp_pair() as pair:
        ws = pair.ws
        assert ws.local_address == pair.peer.sock.getpeername()
        assert ws.remote_address == pair.peer.sock.getsockname()
        before = (ws.local_address, ws.remote_address, ws.id)
        pair.peer.end()
        assert ws.wait_closed(LONG)
        assert (ws.local_address, ws.remote_address, ws.id) == before


def test_addresses_first_asked_for_after_the_end() -> None:
    with tcp_server_pair() as pair:
        address = pair.peer.sock.getpeername()
        pair.peer.end()
        assert pair.ws.wait_closed(LONG)
        assert pair.ws.local_address == address


def test_ids_differ() -> None:
    with server_pair() as one, server_pair() as two:
        assert one.ws.id == one.ws.id
        assert one.ws.id != two.ws.id
        assert one.ws.id.version == 4


def test_no_octet_reaches_another_connection_with_the_same_descriptor() -> None:
    # A connection is closed with much unsent; the next gets its descriptor.
    def handler(ws: Any) -> None:
        name = ws.recv()
        if name == "a":
            ws.send(b"a" * (4 * MIB))  # waits; the peer goes away
        for _ in range(100):
            ws.send(b"b" * 1000)

    seen = set()
    with serve(handler, "127.0.0.1", 0, write_limit=2**20) as server:
        for _ in range(20):
            with raw_client(server, receive_buffer=SMALL) as peer:
                peer.ask()
                peer.send(TEXT, b"a")
                peer.read(1)
                seen |= {ws.stream.sock.fileno() for ws in server.connections}
                peer.reset()
            with raw_client(server) as peer:
                peer.ask()
                seen |= {ws.stream.sock.fileno() for ws in server.connections}
                peer.send(TEXT, b"b")
                for _ in range(100):
                    assert peer.receive() == (BINARY, b"b" * 1000)
                assert peer.receive_close() == (1000, "")
    assert len(seen - {-1}) < 20, "descriptors were used again"


def test_gws_with_gws() -> None:
    ended = AsyncResult()

    def handler(ws: Any) -> None:
        try:
            for message in ws:
                ws.send(message)
        finally:
            ended.set((ws.close_code, ws.close_reason))

    with connect_to(handler) as ws:
        ws.send("x")
        assert ws.recv() == "x"
        with lasting(0, 1):
            ws.close(3456, "for a reason")
        assert ended.get(timeout=LONG) == (3456, "for a reason")
        assert (ws.close_code, ws.close_reason) == (3456, "for a reason")
        assert ws.closed
