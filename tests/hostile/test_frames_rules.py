"""F07, F12, F13, F14: frames that nobody may send, and the codes of a close frame."""

from __future__ import annotations

from typing import Any

import pytest

from gws.testing import BINARY, CLOSE, CONT, PING, PONG, TEXT
from gws.testing import frame as any_frame

from .conftest import Site, closed_by, fails


RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10

#: What agrees on compression, an offer and an answer.
DEFLATE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def frame(site: Site, opcode: int, payload: bytes = b"", first: int = 0x80) -> bytes:
    return any_frame(opcode, payload, masked=site.kind != "client", first=first)


def test_f07_reserved_bits_that_mean_nothing(target: Site) -> None:
    opened = frame(target, TEXT, b"a", first=0)
    for bits in (RSV1, RSV2, RSV3, RSV1 | RSV2 | RSV3):
        for opcode in (TEXT, BINARY, CLOSE, PING, PONG):
            # Not negotiated; and negotiated, on a frame where RSV1 may not stand.
            fails(target, frame(target, opcode, b"", 0x80 | bits), code=1002)
            if bits != RSV1 or opcode & 0x08:
                bad = frame(target, opcode, b"", 0x80 | bits)
                fails(target, bad, code=1002, extensions=DEFLATE)
        for extensions in ("", DEFLATE):
            bad = frame(target, CONT, b"", 0x80 | bits)
            fails(target, opened, bad, code=1002, extensions=extensions)


def test_f12_masked_by_the_wrong_side(target: Site) -> None:
    wrong = target.kind == "client"
    for opcode, payload in (
        *((TEXT, b""), (TEXT, b"x"), (BINARY, bytes(70_000))),
        *((PING, b""), (PONG, b"x"), (CLOSE, b"\x03\xe8")),
    ):
        # The first octet is enough to know; the rest need not have come.
        octets = any_frame(opcode, payload, masked=wrong)
        run = fails(target, octets[:2], code=1002)
        assert run.messages == []
    between = any_frame(CONT, b"b", masked=wrong)
    fails(target, frame(target, TEXT, b"a", first=0), between, code=1002)


#: What breaks section 5.4 or 5.5: the frames (opcode, payload, first octet).
BROKEN: dict[str, list[tuple[int, bytes, int]]] = {
    "a continuation of nothing": [(CONT, b"a", 0x80)],
    "a continuation of nothing that goes on": [(CONT, b"a", 0)],
    "an empty continuation of nothing": [(CONT, b"", 0x80)],
    "a continuation of what has ended": [
        *((TEXT, b"a", 0), (CONT, b"b", 0x80)),
        (CONT, b"c", 0x80),
    ],
    "text inside a message": [(TEXT, b"a", 0), (TEXT, b"b", 0x80)],
    "binary inside a message": [(TEXT, b"a", 0), (BINARY, b"b", 0)],
    "text inside a message, after a ping": [
        *((TEXT, b"a", 0), (PING, b"", 0x80)),
        (TEXT, b"b", 0x80),
    ],
    "a ping in fragments": [(PING, b"a", 0)],
    "a pong in fragments": [(PONG, b"a", 0)],
    "a close frame in fragments": [(CLOSE, b"\x03\xe8", 0)],
    "a ping too long": [(PING, bytes(126), 0x80)],
    "a pong too long": [(PONG, bytes(126), 0x80)],
    "a close frame too long": [(CLOSE, b"\x03\xe8" + b"x" * 124, 0x80)],
    "a ping far too long": [(PING, bytes(70_000), 0x80)],
    **{
        f"opcode {opcode:#x}": [(opcode, b"a", 0x80)]
        for opcode in (*range(0x3, 0x8), *range(0xB, 0x10))
    },
    **{
        f"opcode {opcode:#x} inside a message": [(TEXT, b"a", 0), (opcode, b"", 0x80)]
        for opcode in (0x3, 0x7, 0xB, 0xF)
    },
}


def test_f13_frames_out_of_place(target: Site) -> None:
    for frames in BROKEN.values():
        octets = [frame(target, *parts) for parts in frames]
        # What was whole before it is delivered.
        before = frame(target, TEXT, b"hello")
        run = fails(target, before, *octets, code=1002)
        assert run.messages[0] == "hello"
        assert len(run.messages) == 1 + sum(
            opcode == CONT and first and i > 0
            for i, (opcode, _, first) in enumerate(frames[:-1])
        )


def payload_of(code: int, reason: bytes = b"") -> bytes:
    return code.to_bytes(2, "big") + reason


VALID = (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999)
INVALID = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)


def test_f14_valid_close_frames_are_echoed(target: Site) -> None:
    payloads = [payload_of(code) for code in VALID]
    payloads += [b"", payload_of(1000, b"x" * 123), payload_of(4000, "ü€😀".encode())]
    for payload in payloads:
        with target.open_peer() as peer:
            peer.send(CLOSE, payload)
            assert peer.receive() == (CLOSE, payload)
            assert target.end_seen(peer)
            end = closed_by(target.last_run())
            code = int.from_bytes(payload[:2], "big") if payload else 1005
            assert (end.code, end.reason) == (code, payload[2:].decode())
        target.runs.clear()


@pytest.mark.parametrize(
    ("payloads", "code"),
    [
        ([payload_of(code) for code in INVALID], 1002),
        ([payload_of(code, b"why") for code in INVALID], 1002),
        ([b"\x03", b"\x00"], 1002),
        ([payload_of(1000, b"\xff"), payload_of(1000, b"\xed\xa0\x80")], 1007),
        # It ends inside a character.
        ([payload_of(1000, b"x" * 122 + b"\xc3")], 1007),
    ],
)
def test_f14_invalid_close_frames(
    target: Site, payloads: list[bytes], code: int
) -> None:
    for payload in payloads:
        run = fails(target, frame(target, CLOSE, payload), code=code)
        # What the peer said is not repeated as if it were true.
        assert closed_by(run).rcvd is None


def test_f14_nothing_after_a_close_frame(target: Site) -> None:
    frames: list[Any] = [
        frame(target, CLOSE, payload_of(1000)),
        frame(target, TEXT, b"too late"),
        frame(target, PING, b"too late"),
        frame(target, CLOSE, payload_of(4000)),
        frame(target, 0x3, b"and wrong"),
        b"GET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ]
    with target.open_peer() as peer:
        peer.write(*frames)
        assert peer.receive_close() == (1000, "")
        assert target.end_seen(peer)
        run = target.last_run()
        assert (run.messages, closed_by(run).code) == ([], 1000)
    assert target.plain == []
