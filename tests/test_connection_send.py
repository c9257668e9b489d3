"""Sending: messages into `send`, frames out to a raw peer; what waits for what."""

from __future__ import annotations

import array
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult, Event

from gws import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ProtocolError,
    broadcast,
)
from gws.testing import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FakeClock,
    RawPeer,
    client_pair,
    pair,
    server_pair,
    settle,
)

from .wire import LOCAL_PAIRS, LONG, PAIRS
from .wire import server_pair as tcp_server_pair


pytestmark = pytest.mark.usefixtures("leakcheck")

MIB = 2**20

#: A receive buffer that is soon full.
SMALL = 2**14


@pytest.fixture(params=LOCAL_PAIRS)
def open_pair(request: pytest.FixtureRequest) -> Any:
    return LOCAL_PAIRS[request.param]


@pytest.fixture(params=PAIRS)
def open_tcp_pair(request: pytest.FixtureRequest) -> Any:
    return PAIRS[request.param]


def run_in_hub(call: Callable[[], Any]) -> Any:
    """Return what ``call`` returns when the hub makes it, or raise what it raises."""
    result = AsyncResult()

    def make() -> None:
        try:
            result.set(call())
        except Exception as exc:
            result.set_exception(exc)

    gevent.get_hub().loop.run_callback(make)
    return result.get(timeout=LONG)


def stuck(greenlet: gevent.Greenlet) -> bool:
    """Let a greenlet do what it can; return whether it has not ended."""
    settle()
    return not greenlet.ready()


# Messages

MATRIX = memoryview(bytes(range(6))).cast("B", (2, 3))
MESSAGES = [
    ("één", {}, TEXT, "één".encode()),
    ("", {}, TEXT, b""),
    (b"\x00\xff", {}, BINARY, b"\x00\xff"),
    (b"", {}, BINARY, b""),
    (bytearray(b"ab"), {}, BINARY, b"ab"),
    (memoryview(b"ab"), {}, BINARY, b"ab"),
    (memoryview(b"a-b-c")[::2], {}, BINARY, b"abc"),
    (memoryview(b"cba")[::-1], {}, BINARY, b"abc"),
    (memoryview(array.array("H", [1, 2])), {}, BINARY, array.array("H", [1, 2])),
    (MATRIX, {}, BINARY, bytes(range(6))),
    ("é", {"text": True}, TEXT, "é".encode()),
    ("é", {"text": False}, BINARY, "é".encode()),
    ("é".encode(), {"text": True}, TEXT, "é".encode()),
    (b"\xff", {"text": False}, BINARY, b"\xff"),
    (memoryview(b"a-b")[::2], {"text": True}, TEXT, b"ab"),
    ("x" * 125, {}, TEXT, b"x" * 125),
    ("x" * 126, {}, TEXT, b"x" * 126),
    (b"x" * 65535, {}, BINARY, b"x" * 65535),
    (b"x" * 65536, {}, BINARY, b"x" * 65536),
]


def test_messages(open_pair: Any) -> None:
    with open_pair() as pair:
        for message, options, opcode, payload in MESSAGES:
            pair.ws.send(message, **options)
            assert pair.peer.receive() == (opcode, bytes(payload))


@pytest.mark.parametrize(
    ("message", "options", "error"),
    [
        ({"a": 1}, {}, TypeError),
        (1, {}, TypeError),
        (None, {}, TypeError),
        (1.5, {}, TypeError),
        (..., {}, TypeError),
        ([None], {}, TypeError),
        ([1, 2], {}, TypeError),
        ("\ud800", {}, UnicodeEncodeError),
        ("\ud800", {"text": False}, UnicodeEncodeError),
        (b"\xff", {"text": True}, UnicodeDecodeError),
    ],
    ids=repr,
)
def test_what_is_no_message(
    open_pair: Any, message: Any, options: Any, error: type[Exception]
) -> None:
    with open_pair() as pair:
        with pytest.raises(error):
            pair.ws.send(message, **options)
        pair.ws.send("next")
        assert pair.peer.receive() == (TEXT, b"next")


def test_a_buffer_may_change_after_it_was_sent() -> None:
    with server_pair() as pair:
        buffer = bytearray(b"before")
        pair.ws.send(buffer)
        buffer[:] = b"after"
        pair.ws.send(memoryview(buffer))
        buffer.clear()
        assert pair.peer.receive() == (BINARY, b"before")
        assert pair.peer.receive() == (BINARY, b"after")


# Corking


def test_messages_go_out_together_at_the_end_of_the_turn(open_pair: Any) -> None:
    with open_pair() as pair:
        for i in range(1000):
            pair.ws.send(f"{i:4}")
        header = 6 if pair.ws.protocol.masked else 2
        assert pair.ws.buffered_amount == 1000 * (header + 4)
        gevent.sleep(0)
        assert pair.ws.buffered_amount == 0
        for i in range(1000):
            assert pair.peer.receive() == (TEXT, b"%4d" % i)


def test_messages_go_out_before_recv_waits(open_pair: Any) -> None:
    with open_pair() as pair:
        pair.ws.send("question")
        answer = gevent.spawn(pair.ws.recv)
        assert pair.peer.receive() == (TEXT, b"question")
        pair.peer.send(TEXT, b"answer")
        assert answer.get(timeout=LONG) == "answer"


def test_answers_to_a_burst(open_pair: Any) -> None:
    with open_pair() as pair:

        def echo() -> None:
            for message in pair.ws:
                pair.ws.send(message)

        echoer = gevent.spawn(echo)
        pair.peer.write(*[pair.peer.frame(TEXT, b"%d" % i) for i in range(100)])
        assert [pair.peer.receive()[1] for _ in range(100)] == [
            b"%d" % i for i in range(100)
        ]
        pair.peer.send_close(1000)
        echoer.get(timeout=LONG)
        pair.peer.end()


def test_flush(open_pair: Any) -> None:
    with open_pair() as pair:
        pair.ws.flush()
        pair.ws.send("x")
        assert pair.ws.buffered_amount > 0
        pair.ws.flush()
        assert pair.ws.buffered_amount == 0
        pair.ws.flush(timeout=LONG)
        assert pair.peer.receive() == (TEXT, b"x")


def test_sending_from_the_hub(open_pair: Any) -> None:
    with open_pair(receive_buffer=SMALL) as pair:
        run_in_hub(lambda: pair.ws.send("1"))
        run_in_hub(lambda: pair.ws.pong("2"))
        # It can't wait there: it is buffered, whatever the limit.
        run_in_hub(lambda: pair.ws.send(bytes(8 * MIB)))
        run_in_hub(lambda: pair.ws.flush())
        assert pair.ws.buffered_amount > 0
        assert pair.peer.receive() == (TEXT, b"1")
        assert pair.peer.receive() == (PONG, b"2")
        assert pair.peer.receive() == (BINARY, bytes(8 * MIB))


def in_thread(call: Callable[[], Any]) -> Any:
    return gevent.get_hub().threadpool.apply(call)


USES: dict[str, Callable[[Any], Any]] = {
    "send": lambda ws: ws.send("x"),
    "fragments": lambda ws: ws.send(["x"]),
    "ping": lambda ws: ws.ping(),
    "pong": lambda ws: ws.pong(),
    "flush": lambda ws: ws.flush(),
    "close": lambda ws: ws.close(),
    "broadcast": lambda ws: broadcast([ws], "x"),
}


@pytest.mark.parametrize("use", USES)
def test_another_thread(use: str) -> None:
    with server_pair() as pair:
        with pytest.raises(ConcurrencyError, match="thread"):
            in_thread(lambda: USES[use](pair.ws))
        pair.ws.send("mine")
        assert pair.peer.receive() == (TEXT, b"mine")


# From many greenlets


def test_frames_never_interleave_and_close_comes_last(open_pair: Any) -> None:
    n_senders, n_messages = 20, 10
    with open_pair(receive_buffer=SMALL) as pair:

        def send(letter: int) -> int:
            for i in range(n_messages):
                # Every third goes past the limits.
                n = 100_000 if i % 3 == 2 else 100 * i
                pair.ws.send(bytes([letter]) * n)
                if i % 4 == 0:
                    pair.ws.ping()
            return letter

        senders = [gevent.spawn(send, i) for i in range(n_senders)]
        closer = gevent.spawn(
            lambda: (gevent.joinall(senders), pair.ws.close(1000, "done"))
        )
        counts = dict.fromkeys(range(n_senders), 0)
        while (received := pair.peer.receive())[0] != CLOSE:
            opcode, payload = received
            if opcode == PING:
                continue
            assert opcode == BINARY
            if payload:
                letter = payload[0]
                assert payload == bytes([letter]) * len(payload)
                counts[letter] += 1
        # Message 0 of each is empty.
        assert counts == dict.fromkeys(range(n_senders), n_messages - 1)
        pair.peer.send_close(1000)
        pair.peer.end()
        closer.get(timeout=LONG)


def test_closing_while_many_send(open_pair: Any) -> None:
    with open_pair(receive_buffer=SMALL) as pair:
        sent = []

        def send(number: int) -> None:
            with pytest.raises(ConnectionClosed):
                while True:
                    pair.ws.send(number.to_bytes(4, "big") * 5000)
                    sent.append(number)

        senders = [gevent.spawn(send, i) for i in range(8)]
        assert pair.peer.receive()[0] == BINARY
        closer = gevent.spawn(pair.ws.close)
        n = 1
        while (received := pair.peer.receive())[0] != CLOSE:
            payload = received[1]
            assert received == (BINARY, payload[:4] * 5000)
            n += 1
        pair.peer.send_close(1000)
        pair.peer.end()
        closer.get(timeout=LONG)
        gevent.joinall(senders, timeout=LONG, raise_error=True)
        # Those whose send was waiting went out, too.
        assert len(sent) <= n <= len(sent) + len(senders)


# Back-pressure


def test_send_waits_above_the_write_limit(open_pair: Any) -> None:
    with open_pair(receive_buffer=SMALL, write_limit=2**16) as pair:

        def send() -> None:
            for _ in range(500):
                pair.ws.send(bytes(2**15))

        sender = gevent.spawn(send)
        assert stuck(sender)
        assert 2**16 < pair.ws.buffered_amount < 2**16 + 2**15 + 100
        # Reading does not wait for writing.
        pair.peer.write(pair.peer.frame(TEXT, b"?"), pair.peer.frame(PING, b"!"))
        assert pair.ws.recv(timeout=LONG) == "?"
        assert not sender.ready()
        received = [pair.peer.receive() for _ in range(501)]
        assert received.count((BINARY, bytes(2**15))) == 500
        assert received.count((PONG, b"!")) == 1
        sender.get(timeout=LONG)
        pair.ws.flush(timeout=LONG)
        assert pair.ws.buffered_amount == 0


def test_the_low_mark(open_pair: Any) -> None:
    with open_pair(receive_buffer=SMALL, write_limit=(4 * MIB, MIB)) as pair:
        sender = gevent.spawn(pair.ws.send, bytes(8 * MIB))
        assert stuck(sender)
        assert pair.ws.buffered_amount > 4 * MIB
        while not sender.ready():
            pair.peer.read(2**16)
            gevent.sleep(0)
        assert pair.ws.buffered_amount <= MIB


def test_no_write_limit(open_pair: Any) -> None:
    with open_pair(receive_buffer=SMALL, write_limit=None) as pair:
        for _ in range(16):
            pair.ws.send(bytes(MIB))
        assert pair.ws.buffered_amount > 8 * MIB
        for _ in range(16):
            assert pair.peer.receive() == (BINARY, bytes(MIB))


def test_flush_waits_for_who_does_not_read(open_pair: Any) -> None:
    with open_pair(receive_buffer=SMALL, write_limit=None) as pair:
        pair.ws.send(bytes(8 * MIB))
        with pytest.raises(TimeoutError):
            pair.ws.flush(timeout=0.01)
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
            pair.ws.flush(timeout=LONG)
        flusher = gevent.spawn(pair.ws.flush)
        assert stuck(flusher)
        assert pair.peer.receive() == (BINARY, bytes(8 * MIB))
        flusher.get(timeout=LONG)
        assert pair.ws.buffered_amount == 0


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_50_mib_to_who_pauses(
    open_tcp_pair: Any, transport: str, tls_files: Path
) -> None:
    tls = tls_files if transport == "tls" else None
    n, message = 50, bytes(range(256)) * (MIB // 256)
    with open_tcp_pair(receive_buffer=2**18, tls=tls) as pair:

        def send_all() -> None:
            for i in range(n):
                pair.ws.send(bytes([i]) + message[1:])

        sender = gevent.spawn(send_all)
        received = []
        for i in range(n):
            if i in (0, 10, 40):  # it pauses
                sender.join(timeout=0.1)
                assert not sender.ready()
            opcode, payload = pair.peer.receive()
            assert (opcode, len(payload)) == (BINARY, MIB)
            received.append(payload[0])
            digest = hashlib.sha1(payload[1:]).digest()
            assert digest == hashlib.sha1(message[1:]).digest()
        assert received == list(range(n))
        sender.get(timeout=LONG)


def test_one_message_of_50_mib(tls_files: Path) -> None:
    message = bytes(range(256)) * (50 * MIB // 256)
    with server_pair(receive_buffer=SMALL) as pair:
        sender = gevent.spawn(pair.ws.send, message)
        assert stuck(sender)
        opcode, payload = pair.peer.receive()
        assert opcode == BINARY
        assert payload == message
        sender.get(timeout=LONG)


def test_both_send_32_mib_before_they_receive() -> None:
    n, message = 32, bytes(MIB)

    def send_then_receive(ws: Any) -> int:
        for _ in range(n):
            ws.send(message)
        for _ in range(n):
            assert ws.recv() == message
        return n

    with pair() as both, gevent.Timeout(LONG):
        greenlets = [gevent.spawn(send_then_receive, ws) for ws in both]
        assert [greenlet.get() for greenlet in greenlets] == [n, n]


# When the connection ends


ENDS: dict[str, Callable[[RawPeer], Any]] = {
    "reset": lambda peer: peer.reset(),
    "eof": lambda peer: peer.half_close(),
    "close": lambda peer: peer.send_close(1001, "enough"),
    "bad frame": lambda peer: peer.send(TEXT, b"", first=0xA0),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("role", PAIRS)
def test_the_end_releases_who_waits(role: str, end: str) -> None:
    open_pair = (PAIRS if end == "reset" else LOCAL_PAIRS)[role]
    with (
        FakeClock() as clock,
        open_pair(receive_buffer=SMALL, close_timeout=10) as pair,
    ):

        def send() -> None:
            while True:
                pair.ws.send(bytes(MIB))

        senders = [gevent.spawn(send) for _ in range(3)]
        flusher = gevent.spawn(pair.ws.flush)
        assert stuck(flusher)
        ENDS[end](pair.peer)
        clock.advance(10)
        for greenlet in [*senders, flusher]:
            with pytest.raises(
                ConnectionClosedError if end != "close" else ConnectionClosed
            ):
                greenlet.get(timeout=LONG)
        with pytest.raises(ConnectionClosed):
            pair.ws.send("x")
        with pytest.raises(ConnectionClosed):
            pair.ws.ping()
        with pytest.raises(ConnectionClosed):
            pair.ws.pong()
        with pytest.raises(ConnectionClosed):
            pair.ws.flush()
        assert pair.ws.wait_closed(LONG)
        assert pair.ws.buffered_amount == 0


def test_what_the_peer_sent_before_its_reset_is_delivered() -> None:
    with tcp_server_pair() as pair:
        pair.peer.send(TEXT, b"last words")
        # They are in our kernel; the reset is met by writing, not by reading.
        pair.peer.reset()
        pair.ws.send("too late")
        assert pair.ws.recv() == "last words"
        with pytest.raises(ConnectionClosedError):
            pair.ws.recv()
        with pytest.raises(ConnectionClosedError):
            pair.ws.send("x")


@pytest.mark.parametrize("in_hub", [False, True], ids=["greenlet", "hub"])
@pytest.mark.parametrize("size", [1, 2**20])
def test_a_write_that_fails_at_once_is_told(size: int, in_hub: bool) -> None:
    with tcp_server_pair() as pair:
        # The hub has not had its turn: nobody knows yet but the kernel.
        pair.peer.reset()

        def send() -> ConnectionClosed | None:
            try:
                pair.ws.send(bytes(size))
                pair.ws.flush()
            except ConnectionClosed as exc:
                return exc
            return None

        if in_hub:
            told = AsyncResult()
            gevent.get_hub().loop.run_callback(lambda: told.set(send()))
            exc = told.get(timeout=LONG)
        else:
            exc = send()
        assert isinstance(exc, ConnectionClosedError)
        assert pair.ws.wait_closed(LONG)
        assert pair.ws.close_code == 1006


def test_a_fragment_that_cannot_be_written_is_told() -> None:
    with tcp_server_pair() as pair:
        pair.peer.reset()
        given = []

        def fragments() -> Iterator[bytes]:
            for i in range(3):
                given.append(i)
                yield bytes(2**20)

        with pytest.raises(ConnectionClosedError):
            pair.ws.send(fragments())
        assert given == [0]


def test_after_a_reset_no_more_is_read_than_there_is_room_for() -> None:
    with tcp_server_pair(max_size=1000) as pair:
        for i in range(2000):
            pair.peer.send(TEXT, f"{i:01000}".encode())
        pair.peer.reset()
        pair.ws.send("too late")
        assert pair.ws.wait_closed(LONG)
        received = []
        with pytest.raises(ConnectionClosedError):
            for message in pair.ws:
                received.append(int(message))
        assert received == list(range(len(received)))
        # What max_size allows 64 times, and what one read brings.
        assert 16 < len(received) < 64 + 2 + 2**17 // 1000


def by_gevent_timeout(ws: Any, message: bytes) -> None:
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        ws.send(message)


def by_kill(ws: Any, message: bytes) -> None:
    sender = gevent.spawn(ws.send, message)
    assert stuck(sender)
    sender.kill()
    assert isinstance(sender.value, gevent.GreenletExit)


@pytest.mark.parametrize("interrupt", [by_gevent_timeout, by_kill])
def test_no_frame_is_torn_by_an_interruption(
    open_pair: Any, interrupt: Callable[[Any, bytes], None]
) -> None:
    with open_pair(receive_buffer=SMALL) as pair:
        messages = [bytes([i]) * (8 * MIB) for i in range(2)]
        for message in messages:
            interrupt(pair.ws, message)
        after = gevent.spawn(pair.ws.send, "after")
        for message in messages:
            assert pair.peer.receive() == (BINARY, message)
        assert pair.peer.receive() == (TEXT, b"after")
        after.get(timeout=LONG)


# Fragments


def test_fragments_of_an_iterable(open_pair: Any) -> None:
    with open_pair() as pair:
        pair.ws.send(["a", "é"])
        pair.ws.send(iter([b"a", bytearray(b"b"), memoryview(b"c-d")[::2]]))
        pair.ws.send([b"x"], text=True)
        pair.ws.send(["x"], text=False)
        pair.ws.send([])
        pair.ws.send("end")
        assert read_message(pair.peer) == (TEXT, [b"a", "é".encode()])
        assert read_message(pair.peer) == (BINARY, [b"a", b"b", b"cd"])
        assert read_message(pair.peer) == (TEXT, [b"x"])
        assert read_message(pair.peer) == (BINARY, [b"x"])
        assert read_message(pair.peer) == (TEXT, [b"end"])


def read_message(peer: RawPeer) -> tuple[int, list[bytes]]:
    """Return the opcode and the fragments of a message, but an empty last one."""
    opcode, fragments = 0, []
    while True:
        fin, opcode_here, payload = peer.receive_fragment()
        opcode = opcode or opcode_here
        if payload or not fin:
            fragments.append(payload)
        if fin:
            return opcode, fragments


def test_other_messages_wait_and_control_frames_pass(open_pair: Any) -> None:
    with open_pair() as pair:
        go_on = Event()

        def fragments() -> Iterator[str]:
            yield "one"
            go_on.wait()
            yield "two"

        senders = [gevent.spawn(pair.ws.send, fragments())]
        assert pair.peer.receive_fragment() == (False, TEXT, b"one")
        senders.append(gevent.spawn(pair.ws.send, "other"))
        senders.append(gevent.spawn(pair.ws.send, ["oth", "er"]))
        waiter = pair.ws.ping("passes")
        pair.peer.send(PING, b"answered")
        assert pair.peer.receive() == (PING, b"passes")
        assert pair.peer.receive() == (PONG, b"answered")
        pair.peer.send(PONG, b"passes")
        assert waiter.wait(timeout=LONG)
        assert stuck(senders[1])
        go_on.set()
        assert pair.peer.receive_fragment() == (False, 0, b"two")
        assert pair.peer.receive_fragment() == (True, 0, b"")
        assert read_message(pair.peer) == (TEXT, [b"other"])
        assert read_message(pair.peer) == (TEXT, [b"oth", b"er"])
        gevent.joinall(senders, timeout=LONG, raise_error=True)


def failing() -> Iterator[str]:
    yield "one"
    raise LookupError("the rest")


def interrupted() -> Iterator[str]:
    yield "one"
    with gevent.Timeout(0.01):
        Event().wait()


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (["one", b"two"], TypeError),
        (["one", None], TypeError),
        (["one", 2], TypeError),
        (failing(), LookupError),
        (interrupted(), gevent.Timeout),
    ],
    ids=["mixed", "none", "int", "raises", "interrupted"],
)
def test_a_message_that_is_not_completed(message: Any, error: Any) -> None:
    with server_pair() as pair:
        with pytest.raises(error):
            pair.ws.send(message)
        assert pair.peer.receive_fragment() == (False, TEXT, b"one")
        assert pair.peer.receive_close()[0] == 1011
        pair.peer.end()
        with pytest.raises(ConnectionClosedError):
            pair.ws.send("x")


def test_an_iterator_that_fails_at_once_does_no_harm() -> None:
    with server_pair() as pair:
        with pytest.raises(ZeroDivisionError):
            pair.ws.send(str(1 // i) for i in range(1))
        pair.ws.send("next")
        assert pair.peer.receive() == (TEXT, b"next")


def test_a_first_fragment_that_cannot_be_sent_does_no_harm() -> None:
    with server_pair() as pair:
        with pytest.raises(UnicodeEncodeError):
            pair.ws.send(["\ud800"])
        pair.ws.send("next")
        assert pair.peer.receive() == (TEXT, b"next")


def test_an_iterator_that_sends_by_itself() -> None:
    with server_pair() as pair:

        def fragments() -> Iterator[str]:
            yield "one"
            pair.ws.send("inside")

        with pytest.raises(ConcurrencyError):
            pair.ws.send(fragments())
        assert pair.peer.receive_fragment() == (False, TEXT, b"one")
        assert pair.peer.receive_close()[0] == 1011
        pair.peer.end()


def test_closing_inside_a_fragmented_message(open_pair: Any) -> None:
    with open_pair() as pair:
        go_on = Event()

        def fragments() -> Iterator[str]:
            yield "one"
            go_on.wait()
            yield "two"

        sender = gevent.spawn(pair.ws.send, fragments())
        other = gevent.spawn(pair.ws.send, "other")
        assert pair.peer.receive_fragment() == (False, TEXT, b"one")
        closer = gevent.spawn(pair.ws.close)
        assert pair.peer.receive_close() == (1000, "")
        pair.peer.send_close(1000)
        pair.peer.end()
        go_on.set()
        for greenlet in (sender, other):
            with pytest.raises(ConnectionClosed):
                greenlet.get(timeout=LONG)
        closer.get(timeout=LONG)


# Pings


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        ("é", "é".encode()),
        (b"\xff", b"\xff"),
        (bytearray(b"a"), b"a"),
        (memoryview(b"a-b")[::2], b"ab"),
        ("", b""),
        (b"x" * 125, b"x" * 125),
    ],
)
def test_ping(open_pair: Any, data: Any, payload: bytes) -> None:
    with open_pair() as pair:
        waiter = pair.ws.ping(data)
        assert pair.peer.receive() == (PING, payload)
        assert not waiter.is_set()
        assert pair.ws.latency == 0.0
        with pytest.raises(TimeoutError):
            waiter.get(timeout=0.001)
        assert not waiter.wait(timeout=0.001)
        pair.peer.send(PONG, payload)
        assert waiter.wait(timeout=LONG)
        assert waiter.is_set()
        assert 0 < waiter.get() < LONG
        assert pair.ws.latency == waiter.get()
        pair.ws.pong(data)
        assert pair.peer.receive() == (PONG, payload)


def test_ping_without_data() -> None:
    with server_pair() as pair:
        payloads = set()
        for _ in range(20):
            pair.ws.ping()
            opcode, payload = pair.peer.receive()
            assert (opcode, len(payload)) == (PING, 4)
            payloads.add(payload)
        assert len(payloads) == 20
        pair.ws.pong()
        assert pair.peer.receive() == (PONG, b"")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"x" * 126, ProtocolError),
        ("é" * 63, ProtocolError),
        (1, TypeError),
        ([b"x"], TypeError),
        ("\ud800", UnicodeEncodeError),
    ],
)
def test_bad_pings(open_pair: Any, data: Any, error: type[Exception]) -> None:
    with open_pair() as pair:
        with pytest.raises(error):
            pair.ws.ping(data)
        with pytest.raises(error):
            pair.ws.pong(data)
        pair.ws.send("next")
        assert pair.peer.receive() == (TEXT, b"next")


def test_the_same_ping_twice() -> None:
    with server_pair() as pair:
        first = pair.ws.ping("same")
        with pytest.raises(ConcurrencyError):
            pair.ws.ping(b"same")
        assert pair.peer.receive() == (PING, b"same")
        pair.peer.send(PONG, b"same")
        assert first.wait(timeout=LONG)
        second = pair.ws.ping("same")
        assert pair.peer.receive() == (PING, b"same")
        assert not second.is_set()


def test_a_pong_answers_the_pings_before_it(open_pair: Any) -> None:
    with open_pair() as pair:
        first, second, third = [pair.ws.ping(data) for data in ("1", "2", "3")]
        waiters = [gevent.spawn(first.get), gevent.spawn(first.wait)]
        pair.peer.send(PONG, b"nobody asked")
        pair.peer.send(PONG, b"2")
        assert second.wait(timeout=LONG)
        assert first.is_set()
        assert not third.is_set()
        assert [greenlet.get(timeout=LONG) > 0 for greenlet in waiters] == [True] * 2
        pair.peer.send(PONG, b"2")
        pair.peer.send(PONG, b"3")
        assert third.wait(timeout=LONG)


def test_the_end_fails_pings(open_pair: Any) -> None:
    with open_pair() as pair:
        answered, waiter = pair.ws.ping("1"), pair.ws.ping("2")
        pair.peer.send(PONG, b"1")
        getter = gevent.spawn(waiter.get)
        assert answered.wait(timeout=LONG)
        assert stuck(getter)
        pair.peer.end()
        assert pair.ws.wait_closed(LONG)
        assert answered.get() > 0
        assert not waiter.wait()
        assert not waiter.is_set()
        for get in (waiter.get, getter.get):
            with pytest.raises(ConnectionClosedError):
                get(timeout=LONG)


def test_pings_of_the_peer_are_answered_while_nobody_receives(open_pair: Any) -> None:
    with open_pair() as pair:
        for i in range(10):
            pair.peer.send(PING, b"%d" % i)
            assert pair.peer.receive() == (PONG, b"%d" % i)


def test_a_flood_of_pings_is_answered_once_its_peer_reads(open_pair: Any) -> None:
    with open_pair(receive_buffer=SMALL, ping_interval=None) as pair:
        # Our answers fill all buffers, then they wait for who never reads.
        octets = b"".join(pair.peer.frame(PING, b"x" * 125) for _ in range(100))
        for _ in range(800):
            pair.peer.write(octets)
            assert pair.ws.buffered_amount < 2**18
        pair.peer.send(PING, b"last")
        while (received := pair.peer.receive()) != (PONG, b"last"):
            assert received == (PONG, b"x" * 125)


# Broadcast


def test_broadcast() -> None:
    with server_pair() as one, client_pair() as two, server_pair() as gone:
        gone.peer.end()
        assert gone.ws.wait_closed(LONG)
        everybody = [one.ws, two.ws, gone.ws]
        broadcast(everybody, "é")
        broadcast(everybody, b"\x01")
        broadcast(everybody, "x", text=False)
        broadcast(everybody, bytearray(b"y"), text=True)
        broadcast(everybody, memoryview(b"a-b")[::2])
        broadcast([], "nobody")
        for pair in (one, two):
            assert pair.peer.receive() == (TEXT, "é".encode())
            assert pair.peer.receive() == (BINARY, b"\x01")
            assert pair.peer.receive() == (BINARY, b"x")
            assert pair.peer.receive() == (TEXT, b"y")
            assert pair.peer.receive() == (BINARY, b"ab")


@pytest.mark.parametrize("message", [{"a": 1}, 1, None, ["a"]])
def test_broadcast_of_no_message(message: Any) -> None:
    with server_pair() as pair:
        with pytest.raises(TypeError):
            broadcast([pair.ws], message)
        pair.ws.send("next")
        assert pair.peer.receive() == (TEXT, b"next")


def test_broadcast_raises_what_went_wrong() -> None:
    with server_pair() as pair, server_pair() as gone:
        gone.peer.end()
        assert gone.ws.wait_closed(LONG)
        with pytest.raises(ExceptionGroup) as caught:
            broadcast([gone.ws, pair.ws], "x", raise_exceptions=True)
        assert [type(exc) for exc in caught.value.exceptions] == [ConnectionClosedError]
        assert pair.peer.receive() == (TEXT, b"x")
        broadcast([pair.ws], "y", raise_exceptions=True)
        assert pair.peer.receive() == (TEXT, b"y")


def test_broadcast_waits_for_nobody_and_closes_who_does_not_read() -> None:
    with server_pair() as pair, server_pair(receive_buffer=SMALL) as slow:
        for i in range(500):
            broadcast([slow.ws, pair.ws], i.to_bytes(4, "big") * 2**13)
            assert pair.peer.receive() == (BINARY, i.to_bytes(4, "big") * 2**13)
            assert slow.ws.buffered_amount < 2**18
        assert not slow.ws.open
        n = 0
        while (received := slow.peer.receive())[0] == BINARY:
            assert received[1] == n.to_bytes(4, "big") * 2**13
            n += 1
        assert int.from_bytes(received[1][:2], "big") == 1013
        slow.peer.end()
