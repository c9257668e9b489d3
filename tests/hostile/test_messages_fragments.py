"""F03: messages in fragments that never end, or that come in single octets."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from gws.protocol.reader import MAX_FRAGMENTS
from gws.testing import BINARY, CONT, PING, PONG, TEXT
from gws.testing import frame as any_frame

from .conftest import Site, Sites, closed_by, peak_memory


KINDS = ["serve", "tls", "pywsgi", "client"]


def frame(site: Site, opcode: int, payload: bytes = b"", first: int = 0x80) -> bytes:
    return any_frame(opcode, payload, masked=site.kind != "client", first=first)


def send_fragments(site: Site, payload: bytes, n: int, limit: int) -> list[object]:
    """Send a message of ``n`` fragments that does not end; return how it ended.

    The reader may allocate ``limit`` bytes meanwhile.
    """
    many = frame(site, CONT, payload, first=0) * 1000
    with site.open_peer() as peer:
        # Traced, 65 536 frames of two octets in one read would hold up the neighbour.
        traced = nullcontext() if site.kind == "client" else peak_memory(limit)
        with traced:
            peer.write(frame(site, BINARY, payload, first=0))
            for _ in range((n - 1) // 1000):
                peer.write(many)
            peer.write(frame(site, CONT, payload, first=0) * ((n - 1) % 1000))
            # When it is answered they have all been read.
            peer.send(PING, b"all?")
            answer = peer.receive_frame()
        found: list[object] = [answer[0] & 0x0F, answer[1]]
        if answer == (0x80 | PONG, b"all?"):
            peer.send(CONT, payload)
            found.append(peer.receive_fragment())
        else:
            assert site.end_seen(peer)
    return found


@pytest.mark.once
@pytest.mark.parametrize("kind", ["serve", "client"])
@pytest.mark.parametrize("payload", [b"", b"x"])
def test_f03_fragments_for_ever(sites: Sites, kind: str, payload: bytes) -> None:
    # Empty ones count. What the others cost is their payload, and the frames of one
    # read at a time, not their number.
    with sites(kind) as site:
        n = MAX_FRAGMENTS - 1
        assert send_fragments(site, payload, n, 2**22) == [
            PONG,
            b"all?",
            (True, BINARY, payload * (n + 1)),
        ]
        site.runs.clear()
        found = send_fragments(site, payload, MAX_FRAGMENTS + 1, 2**22)
        assert bytes(found[1])[:2] == (1009).to_bytes(2, "big")  # type: ignore[call-overload]
        assert site.last_run().messages == []


def test_f03_one_octet_a_packet(target: Site) -> None:
    octets = b"".join(
        (
            frame(target, TEXT, "ü".encode()[:1], first=0),
            frame(target, PING, b"between"),
            frame(target, CONT, first=0),
            frame(target, CONT, "ü€".encode()[1:]),
            frame(target, BINARY, bytes(300)),
        )
    )
    with target.open_peer() as peer:
        for i in range(len(octets)):
            peer.write(octets[i : i + 1])
        assert peer.receive() == (PONG, b"between")
        assert peer.receive() == (TEXT, "ü€".encode())
        assert peer.receive() == (BINARY, bytes(300))
    assert closed_by(target.last_run()).code == 1006


def test_f03_pings_do_not_end_it(target: Site) -> None:
    # Control frames in a message that never ends are answered, and kept nowhere.
    with target.open_peer() as peer, peak_memory(2**20):
        peer.send(TEXT, b"a", first=0)
        for i in range(5):
            peer.write(frame(target, PING, b"%d" % i) * 100)
            for _ in range(100):
                assert peer.receive() == (PONG, b"%d" % i)
        peer.write(frame(target, PONG, b"nobody asked") * 4_000)
        peer.send(CONT, b"b")
        assert peer.receive() == (TEXT, b"ab")
