"""Any octets after the opening handshake, cut anywhere, with any limits.

What must hold: nothing is raised; how the octets are cut changes nothing; a connection
ends with a code that its cause asks for; no message passes its limit, and what is kept
of one that is not whole is no more than came of it; the compiled modules and their
pure twins do the same.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import gws.extensions.deflate
import gws.protocol.base

from ...protocol import wire
from ...protocol.twin import load_pure
from ..choices import Choices, cut, described


#: Limits of a message and of a fragment.
LIMITS = [(2**20, None), (None, None), (20, None), (200, 20), (None, 50), (0, None)]

#: Context takeover and window bits of permessage-deflate; None is without it.
DEFLATES = [None, (True, 15), (False, 15), (False, 9)]

#: The codes that a bad frame may be answered with (RFC 6455, section 7.4.1).
FAILURES = {1002, 1007, 1009}

Build = tuple[ModuleType, ModuleType]
OURS: Build = (gws.protocol.base, gws.extensions.deflate)
_base, _deflate = load_pure("fuzzed", "protocol.base", "extensions.deflate")
TWIN: Build = (_base, _deflate)

#: What is to be instrumented besides what is imported as gws.
TWIN_PACKAGE = "gws.fuzzed"


def fuzz_one(data: bytes) -> None:
    choices = Choices(data)
    is_client = choices.one_of([False, True])
    limits = choices.one_of(LIMITS)
    deflate = choices.one_of(DEFLATES)
    steps = choices.numbers(4)
    octets = choices.rest()
    pieces = cut(octets, steps)
    seen = [
        run(build, is_client, limits, deflate, parts)
        for build, parts in [(OURS, [octets]), (OURS, pieces), (TWIN, pieces)]
    ]
    assert seen[0] == seen[1], "it matters how the octets are cut"
    assert seen[1] == seen[2], "the compiled modules are not what their twins are"


def run(
    build: Build, is_client: bool, limits: Any, deflate: Any, pieces: list[bytes]
) -> list[object]:
    """Feed the pieces to a new protocol; return all that is seen of it."""
    base, extension = build
    protocol = base.Protocol(base.Side(int(is_client)), max_size=limits)
    if deflate is not None:
        forget, bits = deflate
        protocol.use([extension.PerMessageDeflate(forget, forget, bits, bits)])
    events: list[Any] = []
    out = b""
    n_fed = 0
    for piece in pieces:
        protocol.receive_data(piece)
        n_fed += len(piece)
        check_kept(build, protocol, n_fed, limits)
        events += protocol.events_received()
        out += b"".join(protocol.data_to_send())
    events += protocol.events_received()
    out += b"".join(protocol.data_to_send())
    frames = wire.parse(out, masked=is_client)
    check_messages(events, limits)
    check_end(protocol, frames)
    state = protocol.state.name, protocol.eof_to_send, protocol.deaf
    protocol.receive_eof()
    assert protocol.state.name == "CLOSED" and protocol.close_code is not None
    return [
        [(event.first, event.payload) for event in events],
        frames,
        state,
        protocol.close_code,
        protocol.close_reason,
        described(protocol.close_exc),
    ]


def check_kept(build: Build, protocol: Any, n_fed: int, limits: Any) -> None:
    """Check what a reader holds of a frame; in C nobody can look."""
    if build is not TWIN:
        return
    reader = protocol._reader
    kept = len(reader._part or b"") + len(reader._tail or b"") + len(reader._pending)
    assert kept <= n_fed
    most = min((limit for limit in limits if limit is not None), default=2**63)
    # Compressed octets may be a little more than what they stand for; a control
    # frame has 125; the header of a frame and a character come on top.
    assert kept <= max(most + most // 8 + 1024, 125) + 13 + 3


def check_messages(events: list[Any], limits: Any) -> None:
    """Check order and size of what came (RFC 6455, sections 5.4 and 5.5)."""
    max_size, max_fragment = (2**63 if limit is None else limit for limit in limits)
    opcode, text = 0, b""
    for frame in events:
        assert not frame.first & 0x70, "a reserved bit is left"
        if frame.first & 0x08:
            assert frame.fin and len(frame.data) <= 125
            assert frame.opcode in (wire.PING, wire.PONG)
            continue
        assert (frame.opcode == wire.CONT) == (opcode != 0)
        opcode = opcode or frame.opcode
        assert len(frame.data) <= max_fragment
        text += frame.data
        assert len(text) <= max_size
        if frame.fin:
            if opcode == wire.TEXT:
                text.decode()
            opcode, text = 0, b""


def check_end(protocol: Any, frames: list[tuple[int, bytes]]) -> None:
    """Check that the end is told, once, after everything else, and is a known one."""
    closes = [payload for first, payload in frames if first & 0x0F == wire.CLOSE]
    assert all(first in (wire.FIN | wire.PONG, 0x88) for first, _ in frames)
    assert (protocol.state.name == "OPEN") == (not closes) == (not protocol.deaf)
    if not closes:
        return
    assert frames[-1] == (0x88, closes[0]) and len(closes) == 1
    assert protocol.state.name == "CLOSING" and protocol.close_expected()
    # Section 7.1.1: the server ends TCP, the client waits for it.
    assert protocol.eof_to_send == (not protocol.masked)
    if protocol.close_rcvd is None:
        assert protocol.close_sent.code in FAILURES
    else:
        assert protocol.close_sent == protocol.close_rcvd
        assert protocol.close_sent.serialize() == closes[0]


def seed(*frames: bytes, client: bool = False, steps: bytes = bytes(4)) -> bytes:
    return bytes([client, 0, 0]) + steps + b"".join(frames)


def masked(first: int, payload: bytes = b"") -> bytes:
    return wire.frame(first, payload, masked=True)


FIN, TEXT, CONT, BINARY = wire.FIN, wire.TEXT, wire.CONT, wire.BINARY
HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692, section 7.2.3.1

SEEDS = {
    "text": seed(masked(FIN | TEXT, b"h\xc3\xa9"), masked(FIN | BINARY, b"1")),
    "octet-by-octet": seed(masked(FIN | TEXT, b"hello"), steps=b"\x00\x00\x00\x01"),
    "fragments-and-ping": seed(
        masked(TEXT, b"\xe2\x82"), masked(FIN | wire.PING, b"?"), masked(FIN, b"\xac")
    ),
    "close": seed(wire.close(1000, b"bye", masked=True)),
    "close-bad-code": seed(wire.close(1005, masked=True)),
    "of-a-server": seed(
        wire.frame(FIN | TEXT, b"x" * 130), wire.close(1001), client=True
    ),
    "long-form": seed(wire.header(FIN | BINARY, 2**16, True, 64)),
    "longest": seed(wire.header(FIN | BINARY, 2**63 - 1, True, 64)),
    "not-utf8": seed(masked(TEXT, b"\xed\xa0"), masked(FIN, b"\x80")),
    "over-the-limit": b"\x00\x02" + seed(masked(FIN | TEXT, b"x" * 21))[2:],
    "fragments-over-the-limit": b"\x00\x02"
    + seed(masked(BINARY, b"x" * 15), masked(FIN, b"x" * 6))[2:],
    "fragment-over-the-limit": b"\x00\x04" + seed(masked(BINARY, b"x" * 51))[2:],
    "compressed": b"\x00\x00\x02" + seed(masked(FIN | TEXT | 0x40, HELLO))[3:],
    "compressed-fragments": b"\x00\x00\x02"
    + seed(masked(TEXT | 0x40, HELLO[:3]), masked(FIN, HELLO[3:]))[3:],
}
