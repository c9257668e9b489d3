"""Messages in pieces: what `recv_streaming` gives, and when."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent.event import Event

from gws import (
    ConcurrencyError,
    ConnectionClosedError,
    ConnectionClosedOK,
    ProtocolError,
)
from gws.messages import AHEAD
from gws.testing import BINARY, CLOSE, CONT, PING, PONG, TEXT, pair

from .wire import LOCAL_PAIRS, LONG, until


pytestmark = pytest.mark.usefixtures("leakcheck")


@pytest.fixture(params=LOCAL_PAIRS)
def open_pair(request: pytest.FixtureRequest) -> Any:
    return LOCAL_PAIRS[request.param]


def synchronize(joined: Any) -> None:
    """Return once the connection has read all that its peer has written."""
    joined.peer.send(PING, b"read")
    assert joined.peer.receive() == (PONG, b"read")


def test_pieces_come_as_they_are_sent(open_pair: Any) -> None:
    with open_pair() as joined:
        pieces = joined.ws.recv_streaming()
        for opcode, piece in [(TEXT, b"one"), (CONT, b"two"), (CONT, b"three")]:
            joined.peer.send(opcode, piece, first=0)
            assert next(pieces) == piece.decode()
        joined.peer.send(CONT)
        assert list(pieces) == []
        assert list(pieces) == []
        joined.peer.send(BINARY, b"\x00", first=0)
        pieces = joined.ws.recv_streaming()
        assert next(pieces) == b"\x00"
        joined.peer.send(CONT, b"\x01")
        assert list(pieces) == [b"\x01"]


def test_what_has_come_is_one_piece(open_pair: Any) -> None:
    with open_pair() as joined:
        for opcode, piece in [(TEXT, b"one"), (CONT, b"two"), (CONT, b"three")]:
            joined.peer.send(opcode, piece, first=0)
        synchronize(joined)
        pieces = joined.ws.recv_streaming()
        assert next(pieces) == "onetwothree"
        joined.peer.send(CONT, b"end")
        joined.peer.send(TEXT, b"next")
        assert list(pieces) == ["end"]
        assert joined.ws.recv() == "next"


def test_messages_before_it_come_first(open_pair: Any) -> None:
    with open_pair() as joined:
        joined.peer.send(TEXT, b"first")
        joined.peer.send(BINARY, b"second")
        joined.peer.send(TEXT, b"thi", first=0)
        synchronize(joined)
        assert list(joined.ws.recv_streaming()) == ["first"]
        assert list(joined.ws.recv_streaming()) == [b"second"]
        pieces = joined.ws.recv_streaming()
        assert next(pieces) == "thi"
        joined.peer.send(CONT, b"rd")
        joined.peer.send(TEXT, b"fourth", first=0)
        joined.peer.send(CONT)
        synchronize(joined)
        assert list(pieces) == ["rd"]
        assert joined.ws.recv() == "fourth"


def test_an_empty_message_is_one_empty_piece(open_pair: Any) -> None:
    with open_pair() as joined:
        joined.peer.send(TEXT)
        assert list(joined.ws.recv_streaming()) == [""]
        joined.peer.send(BINARY)
        assert list(joined.ws.recv_streaming()) == [b""]
        joined.peer.send(TEXT, first=0)
        synchronize(joined)
        pieces = joined.ws.recv_streaming()
        joined.peer.send(CONT, first=0)
        joined.peer.send(CONT)
        assert list(pieces) == [""]


def test_who_takes_pieces_slowly_holds_up_the_peer(open_pair: Any) -> None:
    """What waits is bounded, however long the message is."""
    fragment, n = bytes(2**16), 64

    def send_all(peer: Any) -> None:
        for i in range(n):
            peer.send(CONT if i else BINARY, fragment, first=0)
        peer.send(CONT)

    with open_pair(max_size=None) as joined:
        sending = gevent.spawn(send_all, joined.peer)
        sizes = []
        for piece in joined.ws.recv_streaming():
            sizes.append(len(piece))
            if sum(sizes) < len(fragment) * n // 2:
                until(lambda: joined.ws.stream.paused)  # it reads no further
        sending.get(timeout=LONG)
        assert sum(sizes) == len(fragment) * n
        # One read may bring more than there is room for.
        assert max(sizes) <= AHEAD + 2**18


def test_who_leaves_a_stream_that_holds_up_its_peer_can_close(open_pair: Any) -> None:
    with open_pair(max_size=None) as joined:
        pieces = joined.ws.recv_streaming()
        joined.peer.send(BINARY, b"begin", first=0)
        assert next(pieces) == b"begin"
        sending = gevent.spawn(joined.peer.send, CONT, bytes(2**19), first=0)
        until(lambda: joined.ws.stream.paused)
        closing = gevent.spawn(joined.ws.close)
        sending.get(timeout=LONG)
        assert joined.peer.receive()[0] == CLOSE
        joined.peer.send(CLOSE, b"\x03\xe8")
        closing.get(timeout=LONG)
        assert joined.ws.close_code == 1000


def test_characters_are_whole(open_pair: Any) -> None:
    octets = "\u00e9\U0001f600".encode()
    with open_pair() as joined:
        for i, octet in enumerate(octets):
            joined.peer.send(CONT if i else TEXT, bytes([octet]), first=0)
            if i == 0:
                synchronize(joined)
                waiting = gevent.spawn(list, joined.ws.recv_streaming())
        joined.peer.send(CONT)
        found = waiting.get(timeout=LONG)
        assert "".join(found) == "\u00e9\U0001f600"
        assert "" not in found


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_decode(open_pair: Any, opcode: int) -> None:
    with open_pair() as joined:
        for decode, expected in [(False, [b"\xc3", b"\xa9!"]), (True, ["\u00e9!"])]:
            joined.peer.send(opcode, b"\xc3", first=0)
            synchronize(joined)
            pieces = joined.ws.recv_streaming(decode)
            found = [] if decode else [next(pieces)]
            joined.peer.send(CONT, b"\xa9!")
            assert found + list(pieces) == expected
            joined.peer.send(opcode, b"\xc3\xa9!")
            whole: Any = "\u00e9!" if decode else b"\xc3\xa9!"
            assert list(joined.ws.recv_streaming(decode)) == [whole]


def test_decode_of_what_is_no_text() -> None:
    with pair() as (client, server):
        client.send([b"\xff"])
        with pytest.raises(UnicodeDecodeError):
            list(server.recv_streaming(decode=True))


# Nobody else receives meanwhile


def test_who_leaves_half_way_can_receive_nothing_else(open_pair: Any) -> None:
    with open_pair() as joined:
        joined.peer.send(TEXT, b"a", first=0)
        for piece in joined.ws.recv_streaming():
            assert piece == "a"
            break
        with pytest.raises(ConcurrencyError, match="in pieces"):
            joined.ws.recv()
        with pytest.raises(ConcurrencyError, match="in pieces"):
            next(iter(joined.ws))
        with pytest.raises(ConcurrencyError, match="in pieces"):
            next(joined.ws.recv_streaming())


def test_the_last_piece_is_the_end(open_pair: Any) -> None:
    with open_pair() as joined:
        joined.peer.send(TEXT, b"whole")
        joined.peer.send(TEXT, b"next")
        assert next(joined.ws.recv_streaming()) == "whole"
        assert joined.ws.recv() == "next"


def test_one_receiver_at_a_time(open_pair: Any) -> None:
    with open_pair() as joined:
        receiver = gevent.spawn(joined.ws.recv)
        gevent.sleep(0)
        with pytest.raises(ConcurrencyError, match="another greenlet"):
            next(joined.ws.recv_streaming())
        joined.peer.send(TEXT, b"x")
        assert receiver.get(timeout=LONG) == "x"
        streamer = gevent.spawn(list, joined.ws.recv_streaming())
        gevent.sleep(0)
        with pytest.raises(ConcurrencyError, match="in pieces"):
            joined.ws.recv()
        joined.peer.send(TEXT, b"y")
        assert streamer.get(timeout=LONG) == ["y"]


# Interruptions and the end


def test_an_interrupted_iteration_goes_on(open_pair: Any) -> None:
    with open_pair() as joined:
        pieces = joined.ws.recv_streaming()
        joined.peer.send(TEXT, b"a", first=0)
        assert next(pieces) == "a"
        with gevent.Timeout(0.01, False):
            next(pieces)
        joined.peer.send(CONT, b"b")
        assert list(pieces) == ["b"]


def test_interrupted_before_the_first_piece_nothing_is_taken(open_pair: Any) -> None:
    with open_pair() as joined:
        pieces = joined.ws.recv_streaming()
        with gevent.Timeout(0.01, False):
            next(pieces)
        joined.peer.send(TEXT, b"whole")
        assert joined.ws.recv() == "whole"
        joined.peer.send(TEXT, b"again")
        assert list(pieces) == ["again"]


def test_the_end_in_the_middle(open_pair: Any) -> None:
    with open_pair() as joined:
        joined.peer.send(TEXT, b"a", first=0)
        joined.peer.send_close(1000)
        synchronized = joined.ws.recv_streaming()
        assert next(synchronized) == "a"
        with pytest.raises(ConnectionClosedOK):
            next(synchronized)
        assert list(synchronized) == []
        with pytest.raises(ConnectionClosedOK):
            joined.ws.recv()


def test_a_violation_in_the_middle(open_pair: Any) -> None:
    with open_pair() as joined:
        pieces = joined.ws.recv_streaming()
        joined.peer.send(TEXT, b"a", first=0)
        assert next(pieces) == "a"
        joined.peer.send(TEXT, b"b")
        with pytest.raises(ConnectionClosedError) as caught:
            next(pieces)
        assert caught.value.sent is not None and caught.value.sent.code == 1002


def test_the_limit_is_for_the_whole_message(open_pair: Any) -> None:
    with open_pair(max_size=4) as joined:
        pieces = joined.ws.recv_streaming()
        joined.peer.send(BINARY, b"123", first=0)
        assert next(pieces) == b"123"
        joined.peer.send(CONT, b"45", first=0)
        with pytest.raises(ConnectionClosedError) as caught:
            next(pieces)
        assert caught.value.sent is not None and caught.value.sent.code == 1009


def test_reading_that_had_stopped_goes_on(open_pair: Any) -> None:
    with open_pair(max_queue=1) as joined:
        pieces = joined.ws.recv_streaming()
        joined.peer.send(BINARY, b"a", first=0)
        assert next(pieces) == b"a"
        joined.peer.send(CONT, b"b")
        for i in range(4):
            joined.peer.send(BINARY, bytes([i]))
        while not joined.ws.stream.paused:
            gevent.sleep(0)
        assert list(pieces) == [b"b"]
        assert [joined.ws.recv() for _ in range(4)] == [b"\0", b"\1", b"\2", b"\3"]


# Both ends


def test_what_an_iterator_sends_is_streamed_meanwhile() -> None:
    """The receiver has the first piece before the sender has made the second."""
    received = Event()

    def fragments() -> Any:
        yield "first"
        assert received.wait(LONG)
        yield "second"

    with pair() as (client, server):
        sender = gevent.spawn(client.send, fragments())
        found = []
        for piece in server.recv_streaming():
            found.append(piece)
            received.set()
        assert found == ["first", "second"]
        sender.get(timeout=LONG)


@pytest.mark.parametrize("compress", [None, True, False])
def test_compressed_streams(compress: bool | None) -> None:
    texts = [f"{i} \u00e9" * 500 for i in range(5)]
    with pair() as (client, server):
        assert client.protocol.extensions
        client.send(iter(texts), compress=compress)
        assert "".join(map(str, server.recv_streaming())) == "".join(texts)
        client.send(iter(texts), compress=compress)
        client.send("next")
        assert server.recv() == "".join(texts)
        assert server.recv() == "next"


@pytest.mark.parametrize("size", [0, 1, 255, 256, 4096, 2**20])
@pytest.mark.parametrize("compress", [None, True, False])
def test_compressed_messages(size: int, compress: bool | None) -> None:
    text = "\u00e9" * (size // 2)
    with pair(client={"max_size": 2**20}) as (client, server):
        for message, options, expected in [
            (text, {}, text),
            (text.encode(), {}, text.encode()),
            (text.encode(), {"text": True}, text),
            (memoryview(b"-" + text.encode())[1:], {}, text.encode()),
        ]:
            sender = gevent.spawn(server.send, message, compress=compress, **options)
            assert client.recv() == expected
            sender.get(timeout=LONG)


def test_compression_can_be_refused_by_either_side() -> None:
    for options in (
        {"client": {"compression": None}},
        {"server": {"compression": None}},
    ):
        with pair(**options) as (client, server):
            assert client.protocol.extensions == server.protocol.extensions == ()
            client.send("x" * 1000, compress=True)
            assert server.recv() == "x" * 1000


def test_too_large_once_inflated() -> None:
    with pair(server={"max_size": 1000}) as (client, server):
        client.send("x" * 1000, compress=True)
        assert server.recv() == "x" * 1000
        client.send("x" * 1001, compress=True)
        with pytest.raises(ConnectionClosedError) as caught:
            server.recv()
        assert caught.value.sent is not None and caught.value.sent.code == 1009


def test_what_cannot_be_sent_leaves_the_connection_open() -> None:
    with pair() as (client, server):
        with pytest.raises(UnicodeEncodeError):
            client.send("\ud800" * 1000)
        with pytest.raises(ProtocolError):
            client.ping(b"x" * 126)
        client.send("y" * 1000)
        assert server.recv() == "y" * 1000
