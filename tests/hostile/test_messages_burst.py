"""F20: many messages at once, to a handler that is slow."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent.event import Event

from gws.testing import BINARY, CONT, TEXT

from ..conftest import live_greenlets
from .conftest import LONG, Run, Sites, closed_by, peak_memory, until


KINDS = ["serve", "tls", "pywsgi", "client"]


@pytest.mark.once
@pytest.mark.parametrize("kind", KINDS)
def test_f20_small_messages(sites: Sites, kind: str) -> None:
    # They wait in the kernel and with the peer: neither memory nor greenlets.
    n = 50_000
    go_on, n_got = Event(), [0]

    def wait_first(ws: Any, run: Run) -> None:
        go_on.wait()
        for message in ws:
            if message != str(n_got[0] % 10):
                raise ValueError((n_got[0], message))
            n_got[0] += 1

    with (
        sites(kind, handler=wait_first) as site,
        site.open_peer(receive_buffer=2**14) as peer,
    ):
        octets = b"".join(peer.frame(TEXT, b"%d" % i) for i in range(10)) * 10
        before = live_greenlets()
        with peak_memory(2**21):
            sending = gevent.spawn(send_all, peer, octets, n // 100)
            gevent.sleep(0.05)  # the handler is that slow
            assert live_greenlets() - before <= {sending}
            assert n_got[0] == 0
            go_on.set()
            sending.get(timeout=LONG)
            peer.send_close(1000)
            assert peer.receive_close()[0] == 1000
        assert n_got[0] == n


def send_all(peer: Any, octets: bytes, n: int) -> None:
    for _ in range(n):
        peer.write(octets)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("in_fragments", [False, True])
def test_f20_no_hole_where_we_close(
    sites: Sites, kind: str, in_fragments: bool
) -> None:
    # Who closes and goes on receiving gets what came first, and then the end: of what
    # there is no room for nothing, and nothing that comes behind that.
    def close_first(ws: Any, run: Run) -> None:
        ws.begin_close()
        while True:
            run.messages.append(ws.recv())
            gevent.sleep(0.0001)

    with (
        sites(kind, handler=close_first, max_queue=4) as site,
        site.open_peer() as peer,
    ):
        assert peer.receive_close() == (1000, "")
        for i in range(3000):
            text = b"%d" % i
            if in_fragments:
                peer.send(TEXT, text[:1], first=0)
                peer.send(CONT, text[1:])
            else:
                peer.send(TEXT, text)
            if i % 100 == 0:
                gevent.sleep(0)
        peer.send_close(1000)
        assert site.end_seen(peer)
        messages = site.last_run().messages
        assert messages == [str(i) for i in range(len(messages))]


@pytest.mark.parametrize("kind", KINDS)
def test_f20_large_messages_meet_a_handler_that_never_receives(
    sites: Sites, kind: str
) -> None:
    # More than all buffers hold: the peer can't go on, and the memory is bounded.
    done = Event()

    def wait(ws: Any, run: Run) -> None:
        done.wait()
        while True:
            run.messages.append(len(ws.recv()))

    with sites(kind, handler=wait, max_size=2**16) as site, site.open_peer() as peer:
        octets = peer.frame(BINARY, bytes(60_000))
        n = 0
        with peak_memory(2**20):
            peer.sock.settimeout(0.2)
            try:
                while n < 1000:
                    peer.write(octets)
                    n += 1
            except TimeoutError:
                pass
        assert n < 1000, "nothing held the peer back"
        done.set()
        until(lambda: len(site.runs[-1].messages) >= n)
    assert closed_by(site.last_run()).code == 1006
    assert set(site.runs[-1].messages) == {60_000}
