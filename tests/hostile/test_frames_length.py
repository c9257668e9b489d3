"""F01, F02, F04: what a frame claims to be long, and what may be long."""

from __future__ import annotations

import struct

import pytest

from gws.testing import BINARY, CONT, PING, PONG, TEXT
from gws.testing import frame as masked_frame
from gws.testing.octets import MASKING_KEY

from .conftest import Site, Sites, closed_by, fails, forget_frames, peak_memory


KINDS = ["serve", "tls", "pywsgi", "client"]

#: The limit by default.
MAX_SIZE = 2**20


def claim(site: Site, n: int, first: int = 0x80 | TEXT) -> bytes:
    """Return the head of a frame that claims a payload of ``n`` octets, and one."""
    if site.kind == "client":
        return struct.pack("!BBQ", first, 127, n) + b"x"
    return struct.pack("!BBQ", first, 0x80 | 127, n) + MASKING_KEY + b"x"


def frame(site: Site, opcode: int, payload: bytes = b"", first: int = 0x80) -> bytes:
    return masked_frame(opcode, payload, masked=site.kind != "client", first=first)


#: What a header may claim, and the close code that it gets.
CLAIMS = {
    2**63: 1002,
    2**64 - 1: 1002,
    2**63 - 1: 1009,
    2**62: 1009,
    3 * 2**30: 1009,
    MAX_SIZE + 1: 1009,
    # In a form that is not the shortest.
    65535: 1002,
    125: 1002,
    0: 1002,
}


def test_f01_the_header_decides(target: Site) -> None:
    for n, code in CLAIMS.items():
        with peak_memory(2**18):
            for opcode in (TEXT, BINARY):
                run = fails(target, claim(target, n, 0x80 | opcode), code=code)
                assert run.messages == []
            # Behind octets of the same message.
            begun = frame(target, BINARY, bytes(10), first=0)
            fails(target, begun, claim(target, n, 0x80 | CONT), code=code)
            # A control frame has no such form.
            fails(target, claim(target, n, 0x80 | PING), code=1002)


def test_f01_continuations_that_add_up(target: Site) -> None:
    begun = frame(target, BINARY, bytes(MAX_SIZE - 10), first=0)
    lasts = [frame(target, CONT, bytes(11))]
    lasts += [claim(target, n, CONT) for n in (2**63 - 1, 2**63 - 10, MAX_SIZE)]
    for last in lasts:
        with peak_memory(4 * MAX_SIZE):
            run = fails(target, begun, last, code=1009)
            assert run.messages == []
        forget_frames(closed_by(run))


@pytest.mark.parametrize("kind", KINDS)
def test_f01_nothing_is_allocated_without_a_limit(sites: Sites, kind: str) -> None:
    with sites(kind, max_size=None) as site, peak_memory(2**18):
        for n in (2**40, 2**62, 2**63 - 1):
            with site.open_peer() as peer:
                peer.write(claim(site, n))
            run = site.last_run()
            assert (run.messages, closed_by(run).code) == ([], 1006)
            site.runs.clear()


@pytest.mark.parametrize("kind", KINDS)
def test_f01_who_goes_on_all_the_same_is_heard_no_more(sites: Sites, kind: str) -> None:
    # It reads the close frame, and is cut off after close_timeout.
    with sites(kind, close_timeout=0.2) as site, site.open_peer() as peer:
        with peak_memory(2**20):
            peer.write(claim(site, 3 * 2**30))
            assert peer.receive_close()[0] == 1009
            with pytest.raises(OSError):
                while True:
                    peer.write(bytes(2**16))
        run = site.last_run()
        assert run.messages == []


#: Messages of this limit, and of one byte more, by their shape.
LIMIT = 1000


def shapes(site: Site, n: int) -> dict[str, list[bytes]]:
    """Return messages of ``n`` bytes, as the frames that they come in."""
    payload = b"x" * n
    cut = n // 3
    begin, go_on = payload[:cut], payload[cut:]
    pong = frame(site, PONG, b"nobody asked")
    return {
        "one frame": [frame(site, TEXT, payload)],
        "binary": [frame(site, BINARY, payload)],
        "fragments": [frame(site, TEXT, begin, first=0), frame(site, CONT, go_on)],
        "an empty one at the end": [
            frame(site, BINARY, payload, first=0),
            frame(site, CONT),
        ],
        "pongs between": [
            *(frame(site, BINARY, begin, first=0), pong),
            *(frame(site, CONT, first=0), pong),
            frame(site, CONT, go_on),
        ],
        "two bytes a character": [
            frame(site, TEXT, ("é" * (n // 2)).encode() + b"x" * (n % 2))
        ],
    }


@pytest.mark.parametrize("kind", KINDS)
def test_f02_the_limit_is_the_longest_message(sites: Sites, kind: str) -> None:
    with sites(kind, max_size=LIMIT) as site:
        for shape, frames in shapes(site, LIMIT).items():
            with site.open_peer() as peer:
                peer.write(*frames)
                assert len(peer.receive()[1]) == LIMIT, shape
                peer.send_close(1000)
                assert peer.receive_close() == (1000, "")
        for frames in shapes(site, LIMIT + 1).values():
            run = fails(site, *frames, code=1009)
            assert run.messages == []


@pytest.mark.parametrize("kind", KINDS)
def test_f04_one_limit_for_the_message(sites: Sites, kind: str) -> None:
    # None of its frames is too long.
    with sites(kind, max_size=(LIMIT, 100)) as site:
        begin = frame(site, BINARY, bytes(100), first=0)
        go_on = frame(site, CONT, bytes(100), first=0)
        with site.open_peer() as peer:
            peer.write(begin, go_on * 8, frame(site, CONT, bytes(100)))
            assert peer.receive() == (BINARY, bytes(LIMIT))
        fails(site, begin, go_on * 9, frame(site, CONT, b"x"), code=1009)
        fails(site, begin, go_on * 1000, code=1009)
        # And a limit for the frame, also where the message would have room.
        fails(site, frame(site, BINARY, bytes(101)), code=1009)
        fails(site, begin, frame(site, CONT, bytes(101)), code=1009)
