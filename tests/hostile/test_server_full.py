"""More connections than there is room for, and none left to have.

A worker of gunicorn that is full is in tests/wsgi: `test_a_full_worker_says_so`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator

import gevent
import pytest

from gws.testing import TEXT, RawPeer, request
from gws.testing.octets import header

from .conftest import Site, Sites, until


KINDS = ["serve", "tls", "pywsgi"]

#: The seconds that a handshake may take, where it shall end soon.
SHORT = 0.3


@contextlib.contextmanager
def silent(site: Site, n: int) -> Iterator[list[RawPeer]]:
    """Connect ``n`` times by TCP, and say nothing."""
    peers = [RawPeer(site.dial_tcp()) for _ in range(n)]
    try:
        yield peers
    finally:
        for peer in peers:
            peer.end()


def check_echo(site: Site) -> None:
    with site.open_peer() as peer:
        peer.send(TEXT, b"hello")
        assert peer.receive() == (TEXT, b"hello")


@pytest.mark.parametrize("kind", KINDS)
def test_s13_half_open_connections(sites: Sites, kind: str) -> None:
    """Nobody waits for them, and they end."""
    with sites(kind, open_timeout=SHORT) as site, silent(site, 200) as peers:
        check_echo(site)
        for peer in peers:
            with contextlib.suppress(ConnectionResetError):
                assert peer.read_to_end()[:13] in (b"", b"HTTP/1.1 408 ")
        check_echo(site)


def test_s13_idle_connections_of_http(sites: Sites) -> None:
    """They fill the pool, until their time is over."""
    with (
        sites("pywsgi", open_timeout=SHORT, spawn=4) as site,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(3):  # the neighbour has the fourth place
            peer = stack.enter_context(site.peer())
            peer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert peer.read_head().startswith("HTTP/1.1 200 ")
        check_echo(site)
        assert site.plain == ["/"] * 3


def test_s13_too_many_handshakes(sites: Sites) -> None:
    with sites("serve", max_handshakes=20) as site, silent(site, 20) as peers:
        # Who comes now hears of it without having asked.
        with site.peer() as peer:
            head = peer.read_to_end().decode().partition("\r\n\r\n")[0]
            assert head.startswith("HTTP/1.1 503 ")
            assert header(head, "Retry-After")
            assert header(head, "Connection") == "close"
        peers.pop().end()
        until(lambda: is_open_to(site))
    assert {run.path for run in site.runs} <= {"/"}


def test_s13_too_many_handshakes_of_tls(sites: Sites) -> None:
    with sites("tls", max_handshakes=20) as site, silent(site, 20) as peers:
        with silent(site, 1) as (late,):
            # An answer could not be read before the handshake of TLS.
            assert late.read_to_end() == b""
        peers.pop().end()
        until(lambda: is_open_to(site))


def is_open_to(site: Site) -> bool:
    """Tell whether a connection opens now."""
    try:
        with site.peer() as peer:
            peer.write(request())
            return peer.read_head().startswith("HTTP/1.1 101 ")
    except (OSError, EOFError):
        return False


@pytest.mark.parametrize("kind", KINDS)
def test_s13_no_descriptors_left(
    sites: Sites,
    kind: str,
    log: list[logging.LogRecord],
    capfd: pytest.CaptureFixture[str],
) -> None:
    resource = pytest.importorskip("resource")
    with sites(kind) as site:
        site.log_level = logging.ERROR  # the operator has to know
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        n = max(int(name) for name in os.listdir("/dev/fd")) + 10
        peers: list[RawPeer] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (n, hard))
        try:
            with pytest.raises(OSError):
                while True:
                    peers.append(RawPeer(site.dial_tcp()))
            gevent.sleep(0.05)  # accepting fails, and is not tried all the time
            began = time.thread_time()
            gevent.sleep(0.2)
            busy = time.thread_time() - began
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for peer in peers:
                peer.end()
        check_echo(site)
    assert busy < 0.15, "it spins"
    if kind != "pywsgi":  # there gevent tells of each try
        assert "Traceback" not in capfd.readouterr().err
        told = [r.getMessage() for r in log if r.levelno > logging.INFO]
        assert len(told) == 1, told
        assert told[0].startswith("can't accept connections: ")


@pytest.mark.parametrize("kind", KINDS)
def test_s19_no_room(sites: Sites, kind: str) -> None:
    with sites(kind, max_connections=3) as site:
        with site.open_peer() as first, site.open_peer() as second:
            for _ in range(20):
                head = site.refuse(request()).partition("\r\n\r\n")[0]
                assert head.startswith("HTTP/1.1 503 ")
                assert header(head, "Retry-After") == "5"
            assert len(site.server.connections) == 3
            for peer in (first, second):
                peer.send(TEXT, b"hello")
                assert peer.receive() == (TEXT, b"hello")
            first.send_close(1000)
            first.receive_close()
            until(lambda: len(site.server.connections) == 2)
            check_echo(site)
        assert len(site.runs) == 3


@pytest.mark.parametrize("kind", ["serve", "pywsgi"])
def test_s19_no_room_for_an_address(sites: Sites, kind: str) -> None:
    with sites(kind, max_per_address=3) as site:
        with site.open_peer(), site.open_peer():
            head = site.refuse(request()).partition("\r\n\r\n")[0]
            assert head.startswith("HTTP/1.1 429 ")
            assert header(head, "Retry-After")
        until(lambda: len(site.server.connections) == 1)
        check_echo(site)
