"""permessage-deflate on the wire (RFC 7692): zlib by hand against each side of gws."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from gevent.event import Event
from gevent.queue import Queue

from gws import ConnectionClosed, connect, serve
from gws.extensions import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from gws.limits import MIN_RATE
from gws.testing import FakeClock

from .wire import (
    BINARY,
    CLOSE,
    CONT,
    HANDSHAKE,
    LONG,
    PING,
    PONG,
    TEXT,
    Pair,
    RawPeer,
    header,
    mask,
    raw_client,
    raw_server,
    request,
)


pytestmark = pytest.mark.usefixtures("leakcheck")

FIN, RSV1 = 0x80, 0x40
MAX_SIZE = 10_000

#: What a peer answers or offers so that nothing is kept between messages.
NO_TAKEOVER = "; server_no_context_takeover; client_no_context_takeover"


@contextmanager
def server_pair(extension: str, **options: Any) -> Iterator[Pair]:
    """The connection of gws is a server's; the peer offers ``extension``."""
    arrived: Queue[Any] = Queue()

    def lend(ws: Any) -> None:
        arrived.put(ws)
        ws.wait_closed()

    with serve(lend, "127.0.0.1", 0, **options) as server, raw_client(server) as peer:
        head = peer.ask(request(headers=f"{HANDSHAKE}{extension}"))
        assert ("permessage-deflate" in head) is ("permessage-deflate" in extension)
        yield Pair(arrived.get(timeout=LONG), peer)


@contextmanager
def client_pair(extension: str, **options: Any) -> Iterator[Pair]:
    """The connection of gws is a client's; the peer answers with ``extension``."""
    arrived: Queue[RawPeer] = Queue()
    done = Event()

    def lend(peer: RawPeer) -> None:
        head = peer.accept(extra=extension)
        assert "permessage-deflate" in header(head, "Sec-WebSocket-Extensions")
        arrived.put(peer)
        done.wait()

    with raw_server(lend) as server:
        ws = connect(server.uri, **options).open()
        try:
            yield Pair(ws, arrived.get(timeout=LONG))
        finally:
            done.set()
            ws.close()


@pytest.fixture(params=[server_pair, client_pair], ids=["server", "client"])
def join(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def terms() -> str | None:
    """The parameters that are agreed on; None: no extension at all."""
    return NO_TAKEOVER


@pytest.fixture
def pair(join: Any, terms: str | None) -> Iterator[Pair]:
    extension = ""
    if terms is not None:
        extension = f"Sec-WebSocket-Extensions: permessage-deflate{terms}\r\n"
    with join(extension, max_size=MAX_SIZE, close_timeout=LONG) as pair:
        yield pair


def deflate(data: bytes, compressor: Any = None) -> bytes:
    """Compress a message as section 7.2.1 says."""
    compressor = compressor or zlib.compressobj(wbits=-15)
    octets: bytes = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    assert octets.endswith(b"\x00\x00\xff\xff")
    return octets[:-4]


def inflate(octets: bytes) -> bytes:
    return zlib.decompressobj(wbits=-15).decompress(octets + b"\x00\x00\xff\xff")


def thirds(octets: bytes) -> tuple[bytes, bytes, bytes]:
    n = len(octets) // 3 + 1
    return octets[:n], octets[n : 2 * n], octets[2 * n :]


def send_fragments(peer: RawPeer, *fragments: bytes, opcode: int = TEXT) -> None:
    """Send a compressed message in several frames."""
    first, *between, last = fragments
    peer.send(opcode, first, first=RSV1)
    for fragment in between:
        peer.send(CONT, fragment, first=0)
    peer.send(CONT, last, first=FIN)


def receive(peer: RawPeer, masked: bool) -> tuple[int, bytes]:
    """Return the first octet, and the payload, of a frame that may have RSV1."""
    first, second = peer.read(2)
    assert (second & 0x80 != 0) is masked
    n = second & 0x7F
    if n == 126:
        n = int.from_bytes(peer.read(2), "big")
    key = peer.read(4) if masked else b""
    payload = peer.read(n)
    return first, mask(payload, key) if key and payload else payload


def assert_closed(pair: Pair, code: int) -> None:
    """gws closes with ``code``, and the receiver gets to know of it."""
    with pytest.raises(ConnectionClosed) as caught:
        pair.ws.recv(timeout=LONG)
    assert caught.value.sent is not None
    assert caught.value.sent.code == code
    assert pair.peer.receive_close()[0] == code


# What comes


def test_message(pair: Pair) -> None:
    text = "näme " * 100
    pair.peer.send(TEXT, deflate(text.encode()), first=FIN | RSV1)
    assert pair.ws.recv(timeout=LONG) == text
    pair.peer.send(BINARY, deflate(b"\x00\xff"), first=FIN | RSV1)
    assert pair.ws.recv(timeout=LONG) == b"\x00\xff"
    # Section 6: each message says for itself whether it is compressed.
    pair.peer.send(TEXT, b"as it is")
    assert pair.ws.recv(timeout=LONG) == "as it is"


def test_what_waited_for_its_turn_counts_no_second_time() -> None:
    # One read of 1 KB stands for 800 KB: most of it waits. What is counted later,
    # because something is half way, begins at 0.
    extension = f"Sec-WebSocket-Extensions: permessage-deflate{NO_TAKEOVER}\r\n"
    with (
        FakeClock() as clock,
        server_pair(extension, stall_timeout=10, ping_interval=None) as pair,
    ):
        data = bytes(100_000)
        pair.peer.write(pair.peer.frame(BINARY, deflate(data), first=FIN | RSV1) * 8)
        for _ in range(8):
            assert pair.ws.recv(timeout=LONG) == data
        pair.peer.write(pair.peer.frame(BINARY, bytes(5000))[:10])
        clock.advance(10)
        pair.peer.write(bytes(10 * MIN_RATE + 10))
        clock.advance(10)
        assert pair.ws.open
        clock.advance(10)
        assert not pair.ws.open


def test_pings_between_the_fragments_are_answered_at_once(pair: Pair) -> None:
    text = "".join(map(str, range(1000)))
    one, two, three = thirds(deflate(text.encode()))
    pair.peer.send(TEXT, one, first=RSV1)
    pair.peer.send(PING, b"first")
    assert pair.peer.receive() == (PONG, b"first")
    pair.peer.send(CONT, two, first=0)
    pair.peer.send(PING, b"second")
    assert pair.peer.receive() == (PONG, b"second")
    pair.peer.send(PONG, b"unsolicited")
    pair.peer.send(CONT, three, first=FIN)
    assert pair.ws.recv(timeout=LONG) == text


def test_fragments_as_they_come(pair: Pair) -> None:
    text = "".join(map(str, range(1000)))
    send_fragments(pair.peer, *thirds(deflate(text.encode())))
    assert "".join(pair.ws.recv_streaming()) == text


@pytest.mark.parametrize("cut", [0, 1, -1])
def test_fragments_without_octets(pair: Pair, cut: int) -> None:
    octets = deflate(b"fragments")
    send_fragments(pair.peer, octets[:cut], b"", octets[cut:], b"")
    assert pair.ws.recv(timeout=LONG) == "fragments"


#: Section 7.2.3.6: an empty block without compression; with fixed Huffman codes too.
EMPTY = [b"\x00", b"\x02\x00"]


@pytest.mark.parametrize("octets", EMPTY)
@pytest.mark.parametrize(("opcode", "message"), [(TEXT, ""), (BINARY, b"")])
def test_empty_message(
    pair: Pair, octets: bytes, opcode: int, message: str | bytes
) -> None:
    pair.peer.send(opcode, octets, first=FIN | RSV1)
    assert pair.ws.recv(timeout=LONG) == message
    send_fragments(pair.peer, octets[:1], octets[1:], opcode=opcode)
    assert pair.ws.recv(timeout=LONG) == message


#: Section 7.2.3: the examples; "Hello" each time.
EXAMPLES = {
    "one block": bytes.fromhex("f248cdc9c90700"),
    "no compression": bytes.fromhex("000500faff48656c6c6f00"),
    "BFINAL": bytes.fromhex("f348cdc9c9070000"),
    "two blocks": bytes.fromhex("f248050000 00ffffcac9c90700"),
}


@pytest.mark.parametrize("octets", EXAMPLES.values(), ids=EXAMPLES)
def test_examples_of_the_rfc(pair: Pair, octets: bytes) -> None:
    pair.peer.send(TEXT, octets, first=FIN | RSV1)
    assert pair.ws.recv(timeout=LONG) == "Hello"
    send_fragments(pair.peer, octets[:3], octets[3:])
    assert pair.ws.recv(timeout=LONG) == "Hello"


FACTORIES: dict[Any, Any] = {
    server_pair: ServerPerMessageDeflateFactory,
    client_pair: ClientPerMessageDeflateFactory,
}


def test_a_message_that_refers_to_the_one_before(join: Any) -> None:
    factory = FACTORIES[join]()
    extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    with join(extension, extensions=[factory]) as pair:
        compressor = zlib.compressobj(wbits=-15)
        data = random.Random(1).randbytes(1000)
        for _ in range(3):
            octets = deflate(data, compressor)
            pair.peer.send(BINARY, octets, first=FIN | RSV1)
            assert pair.ws.recv(timeout=LONG) == data
        assert len(octets) < 100


def test_a_message_that_refers_to_the_one_before_and_must_not(pair: Pair) -> None:
    compressor = zlib.compressobj(wbits=-15)
    data = random.Random(1).randbytes(1000)
    pair.peer.send(BINARY, deflate(data, compressor), first=FIN | RSV1)
    assert pair.ws.recv(timeout=LONG) == data
    pair.peer.send(BINARY, deflate(data, compressor), first=FIN | RSV1)
    assert_closed(pair, 1002)


# What may not come


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_control_frames_are_never_compressed(pair: Pair, opcode: int) -> None:
    pair.peer.send(opcode, b"", first=FIN | RSV1)
    assert_closed(pair, 1002)


def test_control_frame_with_rsv1_between_fragments(pair: Pair) -> None:
    octets = deflate(b"fragments")
    pair.peer.send(TEXT, octets[:4], first=RSV1)
    pair.peer.send(PING, b"", first=FIN | RSV1)
    assert_closed(pair, 1002)


@pytest.mark.parametrize("first", [FIN, 0], ids=["last", "middle"])
@pytest.mark.parametrize("begin", [RSV1, 0], ids=["compressed", "plain"])
def test_rsv1_on_a_continuation(pair: Pair, begin: int, first: int) -> None:
    octets = deflate(b"fragments") if begin else b"fragments"
    pair.peer.send(TEXT, octets[:4], first=begin)
    pair.peer.send(CONT, octets[4:], first=first | RSV1)
    assert_closed(pair, 1002)


@pytest.mark.parametrize("bits", [0x20, 0x10, RSV1 | 0x20, RSV1 | 0x10])
def test_reserved_bits_of_nobody(pair: Pair, bits: int) -> None:
    pair.peer.send(TEXT, deflate(b"message"), first=FIN | bits)
    assert_closed(pair, 1002)


@pytest.mark.parametrize("terms", [None])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING])
def test_rsv1_that_was_not_agreed_on(pair: Pair, opcode: int) -> None:
    pair.peer.send(opcode, deflate(b"message"), first=FIN | RSV1)
    assert_closed(pair, 1002)


INVALID = {
    "reserved block type": b"\xff\xff\xff\xff",
    "wrong length": b"\x00\x05\x00\x00\x00Hello\x00",
    "too short": deflate(bytes(1000))[:-3],
    "no octets": deflate(random.Random(2).randbytes(500))[:200],
}


@pytest.mark.parametrize("octets", INVALID.values(), ids=INVALID)
def test_what_is_no_deflate(pair: Pair, octets: bytes) -> None:
    pair.peer.send(TEXT, b"before")
    pair.peer.send(BINARY, octets, first=FIN | RSV1)
    assert pair.ws.recv(timeout=LONG) == "before"
    assert_closed(pair, 1002)


@pytest.mark.parametrize("octets", INVALID.values(), ids=INVALID)
def test_fragments_that_are_no_deflate(pair: Pair, octets: bytes) -> None:
    send_fragments(pair.peer, octets[:2], octets[2:], opcode=BINARY)
    assert_closed(pair, 1002)


def test_text_that_is_no_utf8(pair: Pair) -> None:
    pair.peer.send(TEXT, deflate(b"\xff" * 100), first=FIN | RSV1)
    assert_closed(pair, 1007)


def test_fragments_that_are_no_utf8_are_found_before_the_last(pair: Pair) -> None:
    compressor = zlib.compressobj(wbits=-15)
    octets = compressor.compress(b"\xff" * 100) + compressor.flush(zlib.Z_SYNC_FLUSH)
    pair.peer.send(TEXT, octets, first=RSV1)
    assert_closed(pair, 1007)


# What is too big


def text_of(n: int) -> bytes:
    return b"0123456789" * (n // 10) + b"x" * (n % 10)


def test_as_much_as_the_limit(pair: Pair) -> None:
    octets = deflate(text_of(MAX_SIZE))
    pair.peer.send(TEXT, octets, first=FIN | RSV1)
    assert len(pair.ws.recv(timeout=LONG)) == MAX_SIZE
    send_fragments(pair.peer, *thirds(octets))
    assert len(pair.ws.recv(timeout=LONG)) == MAX_SIZE


@pytest.mark.parametrize("n", [MAX_SIZE + 1, 2**24], ids=["a byte more", "a bomb"])
@pytest.mark.parametrize("in_fragments", [False, True])
def test_more_than_the_limit(pair: Pair, n: int, in_fragments: bool) -> None:
    octets = deflate(bytes(n))
    if in_fragments:
        octets = octets[: MAX_SIZE // 2]
        send_fragments(pair.peer, *thirds(octets), opcode=BINARY)
    else:
        pair.peer.send(BINARY, octets[:MAX_SIZE], first=FIN | RSV1)
    assert_closed(pair, 1009)


def test_limit_of_all_fragments_together(pair: Pair) -> None:
    compressor = zlib.compressobj(wbits=-15)
    half = text_of(MAX_SIZE // 2)
    *before, last = [
        compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
        for data in (half, half, b"x")
    ]
    send_fragments(pair.peer, *before, last[:-4])
    assert_closed(pair, 1009)


# What goes out


@pytest.fixture
def masked(join: Any) -> bool:
    return join is client_pair


def test_rsv1_is_on_the_first_frame_only(pair: Pair, masked: bool) -> None:
    def fragments() -> Iterator[str]:
        yield "a" * 300
        pair.ws.ping(b"between")
        yield "b" * 300

    pair.ws.send(fragments())
    pair.ws.flush(timeout=LONG)
    octets = b""
    firsts = []
    while not firsts or firsts[-1] & 0x8F != FIN | CONT:
        first, payload = receive(pair.peer, masked)
        firsts.append(first)
        octets += b"" if first & 0x0F == PING else payload
    assert firsts[0] == RSV1 | TEXT
    assert firsts.count(FIN | PING) == 1
    assert set(firsts[1:]) == {FIN | PING, CONT, FIN | CONT}
    assert inflate(octets) == b"a" * 300 + b"b" * 300


@pytest.mark.parametrize(
    ("n", "compress", "is_compressed"),
    [
        (255, None, False),
        (256, None, True),
        (1, True, True),
        (0, True, True),
        (5000, False, False),
    ],
)
def test_which_messages_are_compressed(
    pair: Pair, masked: bool, n: int, compress: bool | None, is_compressed: bool
) -> None:
    data = text_of(n)
    pair.ws.send(data, compress=compress)
    pair.ws.flush(timeout=LONG)
    first, payload = receive(pair.peer, masked)
    assert first == FIN | BINARY | (RSV1 if is_compressed else 0)
    assert (inflate(payload) if is_compressed else payload) == data


def test_each_message_stands_for_itself(pair: Pair, masked: bool) -> None:
    data = random.Random(3).randbytes(1000)
    for _ in range(3):
        pair.ws.send(data)
        pair.ws.flush(timeout=LONG)
        first, payload = receive(pair.peer, masked)
        assert first == FIN | RSV1 | BINARY
        assert inflate(payload) == data


def test_close_frame_is_never_compressed(pair: Pair, masked: bool) -> None:
    pair.ws.send(text_of(1000))
    pair.ws.flush(timeout=LONG)
    receive(pair.peer, masked)
    pair.peer.send_close(1000, "x" * 100)
    assert pair.peer.receive_close() == (1000, "x" * 100)
