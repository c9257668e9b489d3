"""F02, F05, F08 to F11, F17: compression, as attackers and careless peers use it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from gws.extensions import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from gws.protocol.base import Protocol
from gws.protocol.codes import Side
from gws.testing import BINARY, CONT, PING, PONG, TEXT, request
from gws.testing import frame as any_frame
from gws.testing.octets import HANDSHAKE, headers

from .conftest import Run, Site, Sites, closed_by, fails, forget_frames, peak_memory


KINDS = ["serve", "tls", "pywsgi", "client"]

FIN, RSV1 = 0x80, 0x40
MIB = 2**20

#: What agrees on compression without context takeover, an offer and an answer; and
#: with it.
DEFLATE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
TAKEOVER = "permessage-deflate"


def frame(site: Site, opcode: int, payload: bytes = b"", first: int = FIN) -> bytes:
    return any_frame(opcode, payload, masked=site.kind != "client", first=first)


def deflated(data: bytes, level: int = 9) -> bytes:
    """Return a message compressed as RFC 7692, section 7.2.1, says."""
    compressor = zlib.compressobj(level, wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def zeros(n: int) -> bytes:
    """Return ``n`` octets 0, compressed; in little memory."""
    compressor = zlib.compressobj(9, wbits=-15)
    block = bytes(MIB)
    parts = [compressor.compress(block) for _ in range(n // MIB)]
    parts += [compressor.compress(bytes(n % MIB)), compressor.flush(zlib.Z_SYNC_FLUSH)]
    return b"".join(parts)[:-4]


def pieces(site: Site, data: bytes, size: int) -> list[bytes]:
    """Return a compressed message in fragments of at most ``size`` octets."""
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    frames = [frame(site, BINARY, parts[0], RSV1)]
    frames += [frame(site, CONT, part, 0) for part in parts[1:]]
    return [*frames, frame(site, CONT)]


def whole(site: Site, data: bytes, opcode: int = BINARY) -> bytes:
    return frame(site, opcode, data, FIN | RSV1)


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """200 kB that inflate to 200 MB."""
    return zeros(200 * MIB)


# F02: the limit is that of the message as it was


@pytest.mark.parametrize("kind", KINDS)
def test_f02_the_limit_compressed(sites: Sites, kind: str) -> None:
    with sites(kind, max_size=5000) as site:
        for make in (os.urandom, bytes):  # longer than it was, and much shorter
            data = deflated(make(5000))
            with site.open_peer(extensions=DEFLATE) as peer:
                for frames in ([whole(site, data)], pieces(site, data, 7)):
                    peer.write(*frames)
                    assert len(inflated(*peer.receive_frame())) == 5000
            data = deflated(make(5001))
            for frames in ([whole(site, data)], pieces(site, data, 7)):
                run = fails(site, *frames, code=1009, extensions=DEFLATE)
                assert run.messages == []


def inflated(first: int, payload: bytes) -> bytes:
    if not first & RSV1:
        return payload
    return zlib.decompress(payload + b"\0\0\xff\xff\x03\0", wbits=-15)


# F05: bombs


def test_f05_a_bomb(target: Site, bomb: bytes) -> None:
    attacks = [
        [whole(target, bomb)],
        pieces(target, bomb, 50_000),
        pieces(target, bomb, 1000),
        # In a bomb.
        [whole(target, deflated(bomb))],
    ]
    for frames in attacks[:3]:
        # Four times the limit for us; what the attacker holds comes on top.
        with peak_memory(4 * MIB + 4 * len(bomb)):
            run = fails(target, *frames, code=1009, extensions=DEFLATE)
        assert run.messages == []
        forget_frames(closed_by(run))
    # What it holds is not looked into.
    with target.open_peer(extensions=DEFLATE) as peer:
        peer.write(*attacks[3])
        assert inflated(*peer.receive_frame()) == bomb
    with target.open_peer(extensions=DEFLATE) as peer:
        peer.send(BINARY, bomb)  # and nothing that is not marked
        assert inflated(*peer.receive_frame()) == bomb


@pytest.mark.parametrize("kind", KINDS)
def test_f05_a_bomb_that_is_too_long_itself(sites: Sites, kind: str) -> None:
    # Its header is enough; 6 MB of it are never waited for.
    with sites(kind) as site, peak_memory(MIB):
        head = frame(site, BINARY, b"", FIN | RSV1)[:1]
        head += bytes([127 | (0x80 if kind != "client" else 0)])
        for n in (2 * MIB, 6 * MIB, 2**62):
            octets = head + n.to_bytes(8, "big") + bytes(4)
            fails(site, octets, code=1009, extensions=DEFLATE)


@pytest.mark.once
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("extensions", [DEFLATE, TAKEOVER])
def test_f05_many_messages_just_under_the_limit(
    sites: Sites, kind: str, extensions: str
) -> None:
    # A few hundred of them fit in what is read at once.
    lengths: list[int] = []

    def count(ws: Any, run: Run) -> None:
        for message in ws:
            lengths.append(len(message))
            del message

    options: dict[str, Any] = {}
    if extensions == TAKEOVER:
        options["extensions"] = [
            ClientPerMessageDeflateFactory()
            if kind == "client"
            else ServerPerMessageDeflateFactory()
        ]
    data = zeros(MIB - 1)
    with sites(kind, handler=count, **options) as site:
        octets = whole(site, data) * 100
        with site.open_peer(extensions=extensions) as peer, peak_memory(8 * MIB):
            peer.write(octets)
            peer.send_close(1000)
            assert peer.receive_close()[0] == 1000
        assert lengths == [MIB - 1] * 100


@pytest.mark.parametrize("kind", ["serve", "tls", "pywsgi"])
def test_f05_what_waits_is_counted_once(sites: Sites, kind: str) -> None:
    # 20 messages of 1 MiB in 20 kB: they wait for room, and are within the rate.
    data = zeros(MIB - 1)
    burst = 25 * len(data)
    with sites(kind, byte_rate=(1000, burst)) as site:
        with site.open_peer(extensions=DEFLATE) as peer:
            peer.write(whole(site, data) * 20)
            for _ in range(20):
                assert len(inflated(*peer.receive_frame())) == MIB - 1
        assert len(site.last_run().messages) == 20


def test_f05_without_a_socket() -> None:
    # Who does the I/O gets all of it, also what came before the end.
    octets = any_frame(BINARY, zeros(MIB - 1), first=FIN | RSV1) * 5
    for ends in (False, True):
        protocol = Protocol(Side.SERVER)
        protocol.use([PerMessageDeflate(True, True)])
        protocol.receive_data(octets[:-1])
        assert len(protocol.events) == 1
        protocol.receive_data(octets[-1:])
        if ends:
            protocol.receive_eof()
        assert len(protocol.events_received()) == 5


def test_f05_final_blocks_and_junk(target: Site) -> None:
    # Each final block would cost an inflater; and what inflates to nothing at all.
    final = b"\x01\x00\x00\xff\xff"
    for octets in (
        final * 20_000,
        deflated(b"x")[:-1] + b"\xff",
        b"\xff" * 1000,
        b"\x06",
        b"\x00\x01\x00\x00\x00",
    ):
        fails(target, whole(target, octets), code=1002, extensions=DEFLATE)
    nothing = b"\x00\x00\x00\xff\xff" * 200_000
    with target.open_peer(extensions=DEFLATE) as peer, peak_memory(8 * MIB):
        peer.write(whole(target, nothing + b"\x00"))
        assert peer.receive() == (BINARY, b"")


# F08: control frames between the fragments


def test_f08_control_frames_between(target: Site) -> None:
    data = deflated(b"hello, world")
    parts = [data[:3], data[3:5], data[5:]]
    with target.open_peer(extensions=DEFLATE) as peer:
        peer.send(PING, b"first of all")
        assert peer.receive() == (PONG, b"first of all")
        for _ in range(2):
            peer.send(TEXT, parts[0], RSV1)
            peer.send(PING, b"1")
            assert peer.receive() == (PONG, b"1")
            peer.send(CONT, parts[1], 0)
            peer.send(PONG, b"nobody asked")
            peer.send(PING, b"2")
            assert peer.receive() == (PONG, b"2")
            peer.send(CONT, parts[2])
            assert peer.receive() == (TEXT, b"hello, world")
        # The mark belongs to the message: the next has none.
        peer.write(*(frame(target, *f) for f in ((TEXT, b"a", 0), (CONT, b"b"))))
        assert peer.receive() == (TEXT, b"ab")


def test_f17_empty_compressed_messages(target: Site) -> None:
    with target.open_peer(extensions=DEFLATE) as peer:
        for empty in (b"\x00", b"\x02\x00", b"\x01\x00\x00\xff\xff\x00"):
            for opcode in (TEXT, BINARY):
                peer.send(opcode, empty, FIN | RSV1)
                assert peer.receive() == (opcode, b"")
                peer.send(opcode, b"", RSV1)
                peer.send(CONT, empty)
                assert peer.receive() == (opcode, b"")
    assert target.last_run().messages == ["", "", b"", b""] * 3


# F09, F10: what is offered

#: Offers, and what is answered to them; "" declines.
OFFERS = {
    "server_max_window_bits=7": "",
    "server_max_window_bits=16": "",
    "server_max_window_bits=0": "",
    "server_max_window_bits=-9": "",
    "server_max_window_bits=09": "",
    "server_max_window_bits=99999999999999999999": "",
    "server_max_window_bits=abc": "",
    "server_max_window_bits": "",
    "server_max_window_bits=10; server_max_window_bits=10": "",
    # zlib has none of 8 bits.
    "server_max_window_bits=8": "",
    'server_max_window_bits="10"': "server_max_window_bits=10",
    "client_max_window_bits=7": "",
    "client_max_window_bits=16": "",
    "client_max_window_bits=x": "",
    "client_max_window_bits; client_max_window_bits": "",
    "client_max_window_bits": None,
    "client_max_window_bits=8": "client_max_window_bits=8",
    "server_no_context_takeover": "server_no_context_takeover",
    "server_no_context_takeover=1": "",
    "server_no_context_takeover; server_no_context_takeover": "",
    "constructor": "",
    "__class__": "",
    "__proto__=1": "",
}


@pytest.mark.parametrize("kind", ["serve", "pywsgi"])
def test_f09_offers(sites: Sites, kind: str) -> None:
    with sites(kind) as site:
        for offer, answer in OFFERS.items():
            offered = f"permessage-deflate; {offer}"
            agreed = answers(site, offered)
            if answer == "":
                assert agreed == [], offer
            else:
                assert answer is None or answer in agreed[0].split("; "), offer
            # Where one is declined the next is taken, in one header or in two.
            for joint in (", ", "\r\nSec-WebSocket-Extensions: "):
                (found,) = answers(site, f"{offered}{joint}permessage-deflate")
                assert ("max_window" in found) is ("max_window" in (answer or ""))


def answers(site: Site, offer: str) -> list[str]:
    """Return what an offer is answered with; it must work."""
    with site.peer() as peer:
        head = peer.ask(
            request(headers=f"{HANDSHAKE}Sec-WebSocket-Extensions: {offer}\r\n")
        )
        agreed = headers(head, "Sec-WebSocket-Extensions")
        text = b"abc" * 1000
        if agreed:
            # An inflater of 15 bits reads what one of fewer bits wrote.
            window = 9 if "max_window_bits" in agreed[0] else 15
            compressor = zlib.compressobj(wbits=-window)
            data = compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)
            # Of 8 bits: no distance is larger than 256.
            peer.send(TEXT, data[:-4], FIN | RSV1)
            first, payload = peer.receive_frame()
            assert first == FIN | RSV1 | TEXT
            bits = 15
            for term in agreed[0].split("; "):
                if term.startswith("server_max_window_bits"):
                    bits = int(term.partition("=")[2])
            found = zlib.decompressobj(-bits).decompress(payload + b"\0\0\xff\xff")
            assert found == text
        else:
            peer.send(TEXT, text)
            assert peer.receive() == (TEXT, text)
    return agreed


def test_f10_a_server_that_asks_for_a_window_of_8_bits(sites: Sites) -> None:
    # zlib would take 9 instead, and the server could not read it: nothing is
    # compressed then. Its own messages may be.
    with sites("client") as site:
        terms = "; client_max_window_bits=8; server_max_window_bits=8"
        with site.open_peer(extensions=DEFLATE + terms) as peer:
            text = b"abc" * 1000
            peer.send(TEXT, deflated(text), FIN | RSV1)
            assert peer.receive_frame() == (FIN | TEXT, text)


# F11: senders that disturb each other


def send_at_once(ws: Any, n: int, kill: bool) -> None:
    """Have ``n`` greenlets send; with some of them killed in the middle."""

    def send(i: int) -> None:
        for _ in range(3):
            ws.send(bytes([i]) * 5 + os.urandom(20_000) + bytes([i]) * 50_000)

    greenlets = [gevent.spawn(send, i) for i in range(n)]
    gevent.sleep(0.01)
    for greenlet in greenlets[::2] if kill else ():
        greenlet.kill()
    gevent.joinall(greenlets, timeout=30, raise_error=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kill", [False, True])
def test_f11_one_compressor_and_many_senders(
    sites: Sites, kind: str, kill: bool
) -> None:
    def send(ws: Any, run: Run) -> None:
        send_at_once(ws, 8, kill)
        ws.send("all")
        run.messages.append(ws.recv())

    factory: Callable[[], Any] = (
        ClientPerMessageDeflateFactory
        if kind == "client"
        else ServerPerMessageDeflateFactory
    )
    with (
        sites(kind, handler=send, extensions=[factory()]) as site,
        site.open_peer(extensions=TAKEOVER, receive_buffer=2**14) as peer,
    ):
        # One inflater for all: nothing is missing in what they refer to.
        inflater = zlib.decompressobj(-15)
        counts = [0] * 8
        while True:
            first, payload = peer.receive_frame()
            if first & RSV1:
                payload = inflater.decompress(payload + b"\0\0\xff\xff")
            if first & 0x0F == TEXT:
                break
            i = payload[0]
            assert (first & 0x8F, len(payload)) == (FIN | BINARY, 70_005)
            assert payload[:5] == payload[-5:] == bytes([i]) * 5
            counts[i] += 1
            gevent.sleep(0.001)
        assert counts[1::2] == [3] * 4
        assert all(n <= 3 for n in counts) and (kill or sum(counts) == 24)
        peer.send(TEXT, b"thanks")
