"""Receiving: frames of a raw peer in, messages out of `recv` and of iteration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult

from gws import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
)
from gws.testing import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    RawPeer,
    frame,
    server_pair,
    settle,
)

from .wire import LOCAL_PAIRS, LONG, PAIRS, masked_for


pytestmark = pytest.mark.usefixtures("leakcheck")


@pytest.fixture(params=PAIRS)
def role(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def open_pair(role: str) -> Any:
    return LOCAL_PAIRS[role]


@pytest.fixture
def open_tcp_pair(role: str) -> Any:
    return PAIRS[role]


def in_hub(call: Callable[[], Any]) -> Any:
    """Return what ``call`` returns when the hub makes it, or raise what it raises."""
    result = AsyncResult()

    def make() -> None:
        try:
            result.set(call())
        except Exception as exc:
            result.set_exception(exc)

    gevent.get_hub().loop.run_callback(make)
    return result.get(timeout=LONG)


# Messages


def test_messages_come_in_their_order_and_with_their_types(open_pair: Any) -> None:
    with open_pair() as pair:
        pair.peer.write(
            pair.peer.frame(TEXT, "één".encode()),
            pair.peer.frame(BINARY, b"\x00\xff"),
            pair.peer.frame(TEXT),
            pair.peer.frame(BINARY),
            pair.peer.frame(TEXT, b"fra", first=0),
            pair.peer.frame(PING, b"?"),
            pair.peer.frame(CONT, b"", first=0),
            pair.peer.frame(CONT, b"gments"),
            pair.peer.frame(BINARY, b"\x01" * 70000),
        )
        received = [pair.ws.recv() for _ in range(6)]
        assert received == ["één", b"\x00\xff", "", b"", "fragments", b"\x01" * 70000]
        assert [type(message) for message in received] == [str, bytes] * 3


@pytest.mark.parametrize(
    ("opcode", "decode", "message"),
    [
        (TEXT, None, "é"),
        (TEXT, True, "é"),
        (TEXT, False, b"\xc3\xa9"),
        (BINARY, None, b"\xc3\xa9"),
        (BINARY, True, "é"),
        (BINARY, False, b"\xc3\xa9"),
    ],
)
@pytest.mark.parametrize("timeout", [None, LONG])
def test_decode(
    opcode: int, decode: bool | None, message: Any, timeout: float | None
) -> None:
    with server_pair() as pair:
        pair.peer.send(opcode, b"\xc3\xa9")
        assert pair.ws.recv(timeout, decode) == message


def test_decode_what_is_not_utf8() -> None:
    with server_pair() as pair:
        pair.peer.send(BINARY, b"\xff")
        pair.peer.send(BINARY, b"next")
        with pytest.raises(UnicodeDecodeError):
            pair.ws.recv(decode=True)
        assert pair.ws.recv(decode=True) == "next"
        assert pair.ws.open


def test_one_octet_at_a_time(open_pair: Any) -> None:
    with open_pair() as pair:
        octets = pair.peer.frame(TEXT, "é€𝄞".encode()) + pair.peer.frame(BINARY, b"12")
        receiver = gevent.spawn(lambda: [pair.ws.recv(), pair.ws.recv()])
        for octet in octets:
            pair.peer.write(bytes([octet]))
            gevent.sleep(0)
        assert receiver.get(timeout=LONG) == ["é€𝄞", b"12"]


# Timeouts and interruptions


def test_timeout(open_pair: Any) -> None:
    with open_pair() as pair:
        with pytest.raises(TimeoutError, match=r"0\.01"):
            pair.ws.recv(timeout=0.01)
        pair.peer.send(TEXT, b"late")
        assert pair.ws.recv(timeout=LONG) == "late"


@pytest.mark.parametrize("timeout", [0, -1, 0.0])
def test_polling(open_pair: Any, timeout: float) -> None:
    with open_pair() as pair:
        with pytest.raises(TimeoutError):
            pair.ws.recv(timeout)
        # All of it is with the kernel before recv looks there.
        pair.peer.write(pair.peer.frame(TEXT, b"1"), pair.peer.frame(TEXT, b"2"))
        assert pair.ws.recv(timeout) == "1"
        assert pair.ws.recv(timeout) == "2"
        with pytest.raises(TimeoutError):
            pair.ws.recv(timeout)
        pair.peer.write(pair.peer.frame(TEXT, b"3"), pair.peer.frame(CLOSE))
        assert pair.ws.recv(timeout) == "3"
        with pytest.raises(ConnectionClosedOK):
            pair.ws.recv(timeout)


def test_polling_in_a_loop_lets_others_run() -> None:
    with server_pair() as pair:
        sender = gevent.spawn(pair.peer.send, TEXT, b"x")
        message = None
        while message is None:
            try:
                message = pair.ws.recv(timeout=0)
            except TimeoutError:
                continue
        assert message == "x"
        sender.get(timeout=LONG)


def by_timeout_error(ws: Any) -> None:
    with pytest.raises(TimeoutError):
        ws.recv(timeout=0.01)


def by_gevent_timeout(ws: Any) -> None:
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        ws.recv(timeout=LONG)


def by_kill(ws: Any) -> None:
    receiver = gevent.spawn(ws.recv)
    receiver.join(timeout=0.01)
    receiver.kill()
    assert isinstance(receiver.value, gevent.GreenletExit)


@pytest.mark.parametrize("interrupt", [by_timeout_error, by_gevent_timeout, by_kill])
@pytest.mark.parametrize("cut", [0, 1, 4, 8, 9, 10, 14, 17, 26])
def test_nothing_is_lost_by_an_interruption(
    interrupt: Callable[[Any], None], cut: int
) -> None:
    octets = (
        frame(TEXT, b"one ", first=0)  # 10 octets
        + frame(PING)  # 6
        + frame(CONT, b"two ", first=0)  # 10
        + frame(CONT, b"three")
        + frame(BINARY, b"next")
    )
    with server_pair() as pair:
        pair.peer.write(octets[:cut])
        interrupt(pair.ws)
        interrupt(pair.ws)
        pair.peer.write(octets[cut:])
        assert pair.ws.recv() == "one two three"
        assert pair.ws.recv() == b"next"


@pytest.mark.parametrize("interrupt", [by_timeout_error, by_gevent_timeout, by_kill])
def test_interruption_on_the_side_of_a_client(
    interrupt: Callable[[Any], None],
) -> None:
    with LOCAL_PAIRS["client"]() as pair:
        pair.peer.send(TEXT, b"who", first=0)
        interrupt(pair.ws)
        pair.peer.send(CONT, b"le")
        assert pair.ws.recv() == "whole"


# Who may receive


def receive(ws: Any) -> Any:
    return ws.recv()


def receive_within(ws: Any) -> Any:
    return ws.recv(timeout=LONG)


def poll(ws: Any) -> Any:
    return ws.recv(timeout=0)


def iterate(ws: Any) -> Any:
    return next(iter(ws))


WAYS = [receive, receive_within, poll, iterate]


@pytest.mark.parametrize("way", WAYS)
def test_two_receivers(open_pair: Any, way: Callable[[Any], Any]) -> None:
    with open_pair() as pair:
        receiver = gevent.spawn(pair.ws.recv)
        gevent.sleep(0)
        with pytest.raises(ConcurrencyError, match="another greenlet"):
            way(pair.ws)
        # The first is not disturbed, and after it there may be another.
        pair.peer.send(TEXT, b"1")
        assert receiver.get(timeout=LONG) == "1"
        pair.peer.send(TEXT, b"2")
        assert pair.ws.recv() == "2"


@pytest.mark.parametrize("way", WAYS)
def test_receiving_in_another_thread(way: Callable[[Any], Any]) -> None:
    with server_pair() as pair:
        pair.peer.send(TEXT, b"mine")
        with pytest.raises(ConcurrencyError, match="thread"):
            gevent.get_hub().threadpool.apply(way, (pair.ws,))
        assert pair.ws.recv() == "mine"


@pytest.mark.parametrize("way", [receive, iterate])
def test_receiving_in_the_hub(way: Callable[[Any], Any]) -> None:
    with server_pair() as pair:
        with pytest.raises(ConcurrencyError, match="hub"):
            in_hub(lambda: way(pair.ws))
        pair.peer.write(pair.peer.frame(TEXT, b"1"), pair.peer.frame(TEXT, b"2"))
        assert pair.ws.recv() == "1"
        # What is there can be had without waiting.
        assert in_hub(lambda: way(pair.ws)) == "2"


# The end of the stream

ENDINGS = {
    "1000": lambda peer: peer.send_close(1000, "bye"),
    "1001": lambda peer: peer.send_close(1001),
    "no code": lambda peer: peer.send(CLOSE),
    "1011": lambda peer: peer.send_close(1011),
    "3000": lambda peer: peer.send_close(3000),
    "eof": lambda peer: peer.half_close(),
    "reset": lambda peer: peer.reset(),
    "bad frame": lambda peer: peer.send(TEXT, b"", first=0xA0),
    "cut frame": lambda peer: (peer.write(peer.frame(TEXT, b"x")[:-1]), peer.end()),
}
NORMAL = {"1000", "1001", "no code"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_messages_before_the_end_are_delivered(open_tcp_pair: Any, ending: str) -> None:
    expected = ConnectionClosedOK if ending in NORMAL else ConnectionClosedError
    with open_tcp_pair() as pair:
        receiver = gevent.spawn(pair.ws.wait_closed)
        pair.peer.write(pair.peer.frame(TEXT, b"1"), pair.peer.frame(BINARY, b"2"))
        assert pair.ws.recv() == "1"
        ENDINGS[ending](pair.peer)
        if ending in {"eof", "reset", "cut frame"}:  # nothing of ours is waited for
            assert receiver.get(timeout=LONG)
        assert pair.ws.recv() == b"2"
        for _ in range(2):
            with pytest.raises(expected):
                pair.ws.recv()
        with pytest.raises(expected):
            pair.ws.recv(timeout=LONG)
        with pytest.raises(expected):
            pair.ws.recv(timeout=0)
        pair.peer.end()
        assert receiver.get(timeout=LONG)


@pytest.mark.parametrize("ending", ENDINGS)
def test_iteration(open_tcp_pair: Any, ending: str) -> None:
    with open_tcp_pair() as pair:
        pair.peer.write(pair.peer.frame(TEXT, b"1"), pair.peer.frame(BINARY, b"2"))
        received = []
        expected = None if ending in NORMAL else ConnectionClosedError
        ended = None
        try:
            for message in pair.ws:
                received.append(message)
                if len(received) == 2:
                    ENDINGS[ending](pair.peer)
        except ConnectionClosed as exc:
            ended = type(exc)
        assert received == ["1", b"2"]
        assert ended is expected
        pair.peer.end()


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_end_wakes_who_receives(open_tcp_pair: Any, ending: str) -> None:
    with open_tcp_pair() as pair:
        receiver = gevent.spawn(pair.ws.recv)
        gevent.sleep(0)
        ENDINGS[ending](pair.peer)
        with pytest.raises(ConnectionClosed):
            receiver.get(timeout=LONG)
        pair.peer.end()


def test_our_own_close_wakes_who_receives(open_pair: Any) -> None:
    with open_pair() as pair:
        receiver = gevent.spawn(list, pair.ws)
        gevent.sleep(0)
        closer = gevent.spawn(pair.ws.close)
        assert pair.peer.receive_close() == (1000, "")
        # What the peer sent before it heard of it still arrives.
        pair.peer.send(TEXT, b"last")
        pair.peer.send_close(1000)
        assert receiver.get(timeout=LONG) == ["last"]
        pair.peer.end()
        closer.get(timeout=LONG)


# Octets in the same packet as the opening handshake


def test_frames_that_came_with_the_handshake(role: str, open_pair: Any) -> None:
    masked = masked_for(role)
    with open_pair(
        frame(TEXT, b"1", masked=masked), frame(PING, b"?", masked=masked)
    ) as pair:
        assert pair.ws.recv() == "1"
        assert pair.peer.receive() == (PONG, b"?")


def test_half_a_frame_that_came_with_the_handshake(role: str, open_pair: Any) -> None:
    octets = frame(TEXT, b"whole", masked=masked_for(role))
    for cut in range(1, len(octets)):
        with open_pair(octets[:cut]) as pair:
            with pytest.raises(TimeoutError):
                pair.ws.recv(timeout=0)
            pair.peer.write(octets[cut:])
            assert pair.ws.recv() == "whole"


def test_bad_frame_that_came_with_the_handshake(role: str, open_pair: Any) -> None:
    masked = masked_for(role)
    with open_pair(frame(TEXT, b"", first=0xA0, masked=masked)) as pair:
        with pytest.raises(ConnectionClosedError, match="sent 1002"):
            pair.ws.recv()
        assert pair.peer.receive_close() == (1002, "reserved bits must be 0")
        pair.peer.end()


def test_messages_and_a_bad_frame_with_the_handshake(role: str, open_pair: Any) -> None:
    masked = masked_for(role)
    octets = [
        frame(TEXT, b"1", masked=masked),
        frame(TEXT, b"2", masked=masked),
        frame(TEXT, b"", first=0xA0, masked=masked),
    ]
    with open_pair(*octets) as pair:
        for expected in ("1", "2"):
            assert pair.ws.recv() == expected
            pair.ws.send(expected)
        with pytest.raises(ConnectionClosedError):
            pair.ws.recv()
        assert pair.peer.receive() == (TEXT, b"1")
        assert pair.peer.receive() == (TEXT, b"2")
        assert pair.peer.receive_close()[0] == 1002
        pair.peer.end()


# Limits


def whole(peer: RawPeer, n: int) -> bytes:
    return peer.frame(BINARY, bytes(n))


def in_fragments(peer: RawPeer, n: int) -> bytes:
    size = n // 4
    return b"".join(
        [
            peer.frame(BINARY, bytes(size), first=0),
            peer.frame(PING),
            peer.frame(CONT, bytes(size), first=0),
            peer.frame(CONT, bytes(n - 2 * size), first=0),
            peer.frame(CONT),
        ]
    )


@pytest.mark.parametrize("shape", [whole, in_fragments])
@pytest.mark.parametrize(
    ("options", "limit"),
    [({}, 2**20), ({"max_size": 1000}, 1000), ({"max_size": (1000, 900)}, 1000)],
)
def test_max_size(
    open_pair: Any, shape: Callable[[RawPeer, int], bytes], options: Any, limit: int
) -> None:
    if shape is whole and "max_size" in options:
        limit = min(limit, 900) if isinstance(options["max_size"], tuple) else limit
    with open_pair(**options) as pair:
        sender = gevent.spawn(pair.peer.write, shape(pair.peer, limit))
        assert pair.ws.recv() == bytes(limit)
        sender.get(timeout=LONG)
        sender = gevent.spawn(pair.peer.write, shape(pair.peer, limit + 1))
        with pytest.raises(ConnectionClosedError, match="sent 1009"):
            pair.ws.recv()
        sender.get(timeout=LONG)
        pair.peer.end()


def test_no_max_size(open_pair: Any) -> None:
    with open_pair(max_size=None) as pair:
        sender = gevent.spawn(pair.peer.send, BINARY, bytes(3 * 2**20))
        assert pair.ws.recv() == bytes(3 * 2**20)
        sender.get(timeout=LONG)


def test_limits_are_decided_on_the_frame_header(open_pair: Any) -> None:
    with open_pair() as pair:
        pair.peer.write(pair.peer.frame(BINARY, bytes(2**20 + 1))[:10])
        if pair.ws.protocol.masked:
            assert pair.peer.receive_close()[0] == 1009
        else:
            pair.peer.write(bytes(4))
            assert pair.peer.receive_close()[0] == 1009
        pair.peer.end()


def test_invalid_text_is_found_as_it_arrives(open_pair: Any) -> None:
    with open_pair() as pair:
        pair.peer.send(TEXT, b"ok \xc3\xa9 \xf4\x90", first=0)
        assert pair.peer.receive_close()[0] == 1007
        pair.peer.end()
        with pytest.raises(ConnectionClosedError, match="sent 1007"):
            pair.ws.recv()


# Flow control


def test_reading_stops_at_the_high_mark_and_goes_on_at_the_low(
    open_pair: Any,
) -> None:
    with open_pair(max_queue=(8, 3)) as pair:
        pair.peer.write(*[pair.peer.frame(TEXT, b"%d" % i) for i in range(20)])
        assert pair.ws.recv() == "0"
        gevent.sleep(0)  # back to the callback that brought it
        assert pair.ws.stream.paused
        for i in range(1, 16):
            assert pair.ws.recv() == str(i)
            assert pair.ws.stream.paused
        assert pair.ws.recv() == "16"  # 3 are left
        assert not pair.ws.stream.paused
        for i in range(17, 20):
            assert pair.ws.recv() == str(i)


def test_low_mark_without_max_size(open_pair: Any) -> None:
    with open_pair(max_queue=(8, 3), max_size=None) as pair:
        pair.peer.write(*[pair.peer.frame(TEXT, b"%d" % i) for i in range(20)])
        for _ in range(16):
            pair.ws.recv()
            gevent.sleep(0)
            assert pair.ws.stream.paused
        pair.ws.recv()
        assert not pair.ws.stream.paused


def test_reading_stops_when_max_size_is_queued(open_pair: Any) -> None:
    with open_pair(max_size=1000) as pair:
        pair.peer.write(*[pair.peer.frame(BINARY, bytes(600)) for _ in range(4)])
        assert pair.ws.recv() == bytes(600)
        gevent.sleep(0)
        assert pair.ws.stream.paused  # 1800 octets
        assert pair.ws.recv() == bytes(600)
        assert pair.ws.stream.paused  # 1200
        assert pair.ws.recv() == bytes(600)
        assert not pair.ws.stream.paused


def test_who_does_not_receive_slows_down_its_peer(open_pair: Any) -> None:
    with open_pair(max_queue=2) as pair:
        message = bytes(2**18)
        octets = pair.peer.frame(BINARY, message)

        def write_all() -> None:
            for _ in range(100):
                pair.peer.write(octets)

        writer = gevent.spawn(write_all)
        settle()
        assert not writer.ready()
        for _ in range(100):
            assert pair.ws.recv() == message
        writer.get(timeout=LONG)


def test_no_max_queue(open_pair: Any) -> None:
    with open_pair(max_queue=None) as pair:
        octets = b"".join(pair.peer.frame(BINARY, bytes(2**16)) for _ in range(16))
        for _ in range(16):
            pair.peer.write(octets)
        assert [len(pair.ws.recv()) for _ in range(256)] == [2**16] * 256


@pytest.mark.parametrize("ending", ["1001", "eof"])
def test_closing_while_reading_has_stopped(open_pair: Any, ending: str) -> None:
    with open_pair(max_queue=2) as pair:

        def write_all() -> None:
            for _ in range(64):
                pair.peer.send(BINARY, bytes(2**16))
            ENDINGS[ending](pair.peer)

        writer = gevent.spawn(write_all)
        assert pair.ws.recv() == bytes(2**16)
        settle()
        assert pair.ws.stream.paused
        with gevent.Timeout(LONG / 2):
            closer = gevent.spawn(pair.ws.close)
            writer.get()
            assert pair.peer.receive_close() == (1000, "")
            pair.peer.end()
            closer.get()
        assert pair.ws.close_code == (1001 if ending == "1001" else 1006)
