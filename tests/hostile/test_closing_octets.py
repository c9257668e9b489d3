"""Octets in the packet of the handshake, and behind a close frame.

The former are delivered first; the latter are nothing any more, HTTP least of all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gws import ConnectionClosedOK
from gws.testing import CLOSE, PING, PONG, TEXT, RawPeer, frame, request

from .conftest import LONG, Lend, Run, Sites, closed_by


KINDS = pytest.mark.parametrize("kind", ["serve", "tls", "pywsgi"])

ADMIN = b"GET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n"


# Octets behind the end


BEHIND: dict[str, Callable[[RawPeer], bytes]] = {
    "HTTP": lambda peer: ADMIN,
    "a handshake": lambda peer: request("/admin"),
    "a message": lambda peer: peer.frame(TEXT, b"late"),
    "a ping": lambda peer: peer.frame(PING, b"late"),
    "another close frame": lambda peer: peer.frame(CLOSE, b"\x03\xe9"),
    "a bad frame": lambda peer: peer.frame(TEXT, b"late", first=0xF0),
    "much": lambda peer: bytes(2**20),
}


@pytest.mark.parametrize("behind", BEHIND)
@KINDS
def test_octets_behind_a_close_frame(sites: Sites, kind: str, behind: str) -> None:
    with sites(kind) as site, site.open_peer() as peer:
        octets = BEHIND[behind](peer)
        peer.write(peer.frame(TEXT, b"last"), peer.frame(CLOSE, b"\x03\xe8"), octets)
        assert peer.receive() == (TEXT, b"last")
        assert peer.receive_close() == (1000, "")
        assert peer.read_to_end() == b""
        assert closed_by(site.last_run()).code == 1000
        assert [run.messages for run in site.runs] == [["last"]]
        assert site.plain == []


@pytest.mark.parametrize("behind", BEHIND)
@KINDS
def test_octets_behind_our_close_frame(sites: Sites, kind: str, behind: str) -> None:
    # We close first: frames may be on their way still, and are read as such.
    def handle(ws: Any, run: Run) -> None:
        ws.close(1000, "enough")
        while True:
            run.messages.append(ws.recv())

    with sites(kind, handle, close_timeout=0.2) as site:
        with site.open_peer() as peer:
            assert peer.receive_close() == (1000, "enough")
            octets = BEHIND[behind](peer)
            peer.write(octets, peer.frame(CLOSE, b"\x03\xe8"), ADMIN)
            assert peer.read_to_end() == b""
            closed_by(site.last_run())
        assert site.plain == []
        assert len(site.runs) == 1
        late = ["late"] if behind == "a message" else []
        assert site.runs[0].messages == late


def test_octets_behind_the_close_frame_of_a_server(lend: Lend) -> None:
    with lend() as (ws, peer):
        peer.write(peer.frame(CLOSE, b"\x03\xe8"), b"HTTP/1.1 200 OK\r\n\r\n")
        assert peer.receive_close() == (1000, "")
        peer.end()
        with pytest.raises(ConnectionClosedOK):
            ws.recv(timeout=LONG)


# Octets in the packet of the handshake


def test_many_messages_in_the_packet_of_the_handshake(sites: Sites) -> None:
    n = 300
    for kind in ("serve", "tls", "pywsgi", "client"):
        with sites(kind) as site:
            masked = kind != "client"
            octets = b"".join(frame(TEXT, b"%d" % i, masked=masked) for i in range(n))
            with site.open_peer(octets) as peer:
                for i in range(n):
                    assert peer.receive() == (TEXT, b"%d" % i)
                peer.send_close(1000)
                assert peer.receive_close() == (1000, "")
            assert site.last_run().messages == [str(i) for i in range(n)]
            assert site.plain == []


def test_half_a_message_in_the_packet_of_the_handshake(sites: Sites) -> None:
    for kind in ("serve", "tls", "pywsgi", "client"):
        with sites(kind) as site:
            octets = frame(TEXT, b"cut" * 100, masked=kind != "client")
            for cut in (1, 3, 150):
                with site.open_peer(octets[:cut]) as peer:
                    peer.write(octets[cut:])
                    assert peer.receive() == (TEXT, b"cut" * 100)
                    peer.send_close(1000)
                    assert peer.receive_close() == (1000, "")


def test_the_end_in_the_packet_of_the_handshake(sites: Sites) -> None:
    for kind in ("serve", "tls", "pywsgi", "client"):
        with sites(kind) as site:
            masked = kind != "client"
            octets = (
                frame(PING, b"?", masked=masked)
                + frame(TEXT, b"all", masked=masked)
                + frame(CLOSE, b"\x03\xe8", masked=masked)
                + ADMIN
            )
            with site.open_peer(octets) as peer:
                assert peer.receive() == (PONG, b"?")
                assert peer.receive() == (TEXT, b"all")
                assert peer.receive_close() == (1000, "")
            assert site.last_run().messages == ["all"]
            assert site.plain == []
