"""Handshakes that take their time, and many that come to nothing."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import gevent.ssl
import pytest
from gevent import socket

from gws.testing import TEXT, RawPeer, request
from gws.wsgi.pywsgi import WSGIServer

from .conftest import Site, Sites, until


#: The seconds that a peer has here.
SHORT = 0.3

KINDS = ["serve", "tls", "pywsgi"]


@pytest.fixture(params=KINDS)
def hasty(request: pytest.FixtureRequest, sites: Sites) -> Iterator[Site]:
    """A server of each kind, with little time."""
    with sites(request.param, open_timeout=SHORT) as site:
        yield site


def drip(peer: RawPeer, data: bytes) -> None:
    """Write an octet now and then, until nobody takes it any more."""
    with contextlib.suppress(OSError):
        for octet in data:
            peer.write(bytes([octet]))
            gevent.sleep(SHORT / 10)


def end_of(peer: RawPeer) -> bytes:
    """Return what comes to the end; a reset is one, since more was sent than read."""
    with contextlib.suppress(ConnectionResetError):
        return peer.read_to_end()
    return b""


@pytest.mark.parametrize("sent", [b"", b"GET", request()[:-2]])
def test_h01_silence(hasty: Site, sent: bytes) -> None:
    with hasty.peer() as peer:
        peer.write(sent)
        answer = end_of(peer)
    # gevent's WSGI server may have answered before: then it is no request any more.
    if sent or hasty.kind != "pywsgi":
        assert answer.startswith(b"HTTP/1.1 408 ")
    else:
        assert answer == b""
    assert hasty.runs == [] == hasty.plain


@pytest.mark.parametrize(
    "sent", [b"", request()[:20]], ids=["request line", "in a header"]
)
def test_h01_an_octet_at_a_time(hasty: Site, sent: bytes) -> None:
    """The time is for the whole request: no octet makes it longer."""
    with hasty.peer() as peer:
        peer.write(sent)
        dripping = gevent.spawn(drip, peer, request()[len(sent) :])
        assert peer.read_head().startswith("HTTP/1.1 408 ")
        dripping.kill()
    assert hasty.runs == []


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_h01_a_stall_in_the_hello_of_tls(sites: Sites, sent: bytes) -> None:
    with sites("tls", open_timeout=SHORT) as site:
        stalled = [RawPeer(site.dial_tcp()) for _ in range(20)]
        for peer in stalled:
            peer.write(sent)
        # They are not in the way of who comes after them.
        with site.open_peer() as peer:
            peer.send(TEXT, b"hello")
            assert peer.receive() == (TEXT, b"hello")
        for peer in stalled:
            assert end_of(peer) == b""
            peer.end()
        assert [run.path for run in site.runs] == ["/"]


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01", request()])
def test_h01_a_stall_in_the_hello_of_tls_under_wsgi(
    leakcheck: None, tls_files: Path, capfd: pytest.CaptureFixture[str], sent: bytes
) -> None:
    context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls_files / "server.pem")
    server = WSGIServer(
        ("127.0.0.1", 0), log=None, open_timeout=SHORT, ssl_context=context
    )
    server.start()
    for _ in range(5):
        peer = RawPeer(socket.create_connection(("127.0.0.1", server.server_port)))
        peer.write(sent)
        assert b"HTTP/1.1" not in end_of(peer)
        peer.end()
    server.stop(timeout=1)
    assert capfd.readouterr().err == ""


def test_h01_a_reset_in_the_headers_under_wsgi(
    sites: Sites, capfd: pytest.CaptureFixture[str]
) -> None:
    with sites("pywsgi") as site:
        for data in (b"", b"GET", request()[:40], request()[:-2]):
            with site.peer() as peer:
                peer.write(data)
                gevent.sleep(0.01)  # it reads
                peer.reset()
        assert site.runs == [] == site.plain
    assert capfd.readouterr().err == ""


def test_h01_a_request_on_time_is_not_hurried_afterwards(hasty: Site) -> None:
    with hasty.open_peer() as peer:
        gevent.sleep(SHORT * 1.5)
        peer.send(TEXT, b"still here")
        assert peer.receive() == (TEXT, b"still here")


# H16: 20 000 of these are in the soak tests


def refused(peer: RawPeer) -> None:
    peer.write(request().replace(b": 13", b": 12"))
    assert peer.read_head().startswith("HTTP/1.1 426 ")


def gone_in_the_request(peer: RawPeer) -> None:
    peer.write(request()[:40])


def gone_before_the_answer(peer: RawPeer) -> None:
    peer.write(request())


def reset_before_the_answer(peer: RawPeer) -> None:
    peer.write(request())
    if hasattr(peer.sock, "unwrap"):
        return  # what TLS has under it is closed as it is
    peer.reset()


def reset_at_once(peer: RawPeer) -> None:
    if not hasattr(peer.sock, "unwrap"):
        peer.reset()


@pytest.mark.parametrize(
    "leave",
    [
        refused,
        gone_in_the_request,
        gone_before_the_answer,
        reset_before_the_answer,
        reset_at_once,
    ],
)
def test_h16_many_that_come_to_nothing(
    site: Site, leave: Callable[[RawPeer], Any]
) -> None:
    n = 20 if site.kind == "tls" else 60
    for _ in range(n):
        with site.peer() as peer:
            leave(peer)
    if leave in (refused, gone_in_the_request, reset_at_once):
        assert site.runs == []
    # Handlers that began all the same have ended: the fixture waits for them.
    server = site.server
    until(lambda: len(server.connections) == 1)  # the neighbour's
