"""`Server.drain`: everything ends in good order and in time, and it says if it did."""

from __future__ import annotations

import logging
import ssl
import time
from contextlib import suppress
from typing import Any

import gevent
import pytest
import trustme
from gevent.event import AsyncResult, Event

from gws import (
    ConnectionClosed,
    ConnectionClosedOK,
    InvalidStatus,
    ProtocolError,
    connect,
    serve,
    unix_connect,
    unix_serve,
)
from gws.server.drain import BATCH, Countdown

from ..wire import (
    LONG,
    RawPeer,
    dial,
    echo,
    header,
    port_of,
    raw_client,
    request,
    until,
    uri,
)


pytestmark = pytest.mark.usefixtures("leakcheck")

MIB = 2**20


def read_answer(peer: RawPeer) -> bytes:
    answer = peer.read_to_end()
    peer.end()
    return answer


def check_503(answer: bytes) -> None:
    head = answer.decode()
    assert head.startswith("HTTP/1.1 503 ")
    assert header(head, "Retry-After").isdigit()
    assert header(head, "Connection") == "close"


# Connections and handlers


def test_all_end_in_good_order(caplog: pytest.LogCaptureFixture) -> None:
    with serve(echo, "127.0.0.1", 0) as server:
        clients = [connect(uri(server)).open() for _ in range(5)]
        readers = [gevent.spawn(ws.recv) for ws in clients]
        assert server.drain(LONG, 1012, "new version") is True
        assert not server.is_serving()
        assert not server.connections
        for ws, reader in zip(clients, readers, strict=True):
            with pytest.raises(ConnectionClosed, match="received 1012"):
                reader.get(timeout=LONG)
            assert ws.close_reason == "new version"
        with pytest.raises(OSError):
            connect(uri(server)).open()
        # Nothing is left to be waited for.
        assert server.drain(LONG) is True
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_what_handlers_sent_arrives() -> None:
    sent = Event()

    def handler(ws: Any) -> None:
        ws.send(bytes(8 * MIB))
        sent.set()
        echo(ws)

    options: Any = {"write_limit": None, "compression": None}
    with serve(handler, "127.0.0.1", 0, **options) as server:
        with connect(uri(server), max_size=None) as ws:
            assert sent.wait(LONG)
            drain = gevent.spawn(server.drain, LONG)
            until(lambda: not server.is_serving())
            assert len(ws.recv(LONG)) == 8 * MIB
            with pytest.raises(ConnectionClosedOK, match="received 1001"):
                ws.recv(LONG)
        assert drain.get(timeout=LONG) is True


def test_handlers_are_waited_for() -> None:
    cleaned = Event()

    def handler(ws: Any) -> None:
        echo(ws)
        cleaned.wait()

    with serve(handler, "127.0.0.1", 0) as server, connect(uri(server)) as ws:
        drain = gevent.spawn(server.drain, LONG)
        with pytest.raises(ConnectionClosedOK):
            ws.recv(LONG)
        until(lambda: not server.connections)
        assert not drain.ready()
        cleaned.set()
        assert drain.get(timeout=LONG) is True


@pytest.mark.parametrize("timeout", [0, 0.2])
def test_what_does_not_end_is_cut(
    timeout: float, caplog: pytest.LogCaptureFixture
) -> None:
    ended = AsyncResult()

    def handler(ws: Any) -> None:
        try:
            Event().wait()
        except gevent.GreenletExit as exc:
            ended.set(exc)
            raise

    with (
        serve(handler, "127.0.0.1", 0, close_timeout=None) as server,
        raw_client(server) as peer,
    ):
        peer.ask()
        start = time.monotonic()
        assert server.drain(timeout) is False
        assert 0.9 * timeout <= time.monotonic() - start < timeout + 0.5
        assert isinstance(ended.get(timeout=LONG), gevent.GreenletExit)
        assert not server.connections
        assert peer.receive_close() == (1001, "")
        assert peer.read_to_end() == b""
    (warning,) = (r for r in caplog.records if r.levelno == logging.WARNING)
    assert warning.getMessage() == (
        "1 connections had no closing handshake, 1 handlers were stopped"
    )


def test_a_handler_that_will_not_be_stopped_holds_nobody_up() -> None:
    let_go = Event()

    def handler(ws: Any) -> None:
        while not let_go.is_set():
            with suppress(gevent.GreenletExit):
                let_go.wait()

    for end in ("drain", "shutdown"):
        let_go.clear()
        with serve(handler, "127.0.0.1", 0, close_timeout=0.3) as server:
            ws = connect(uri(server)).open()
            start = time.monotonic()
            if end == "drain":
                assert server.drain(0.3) is False
            else:
                server.shutdown()
            assert time.monotonic() - start < 0.5
            with pytest.raises(ConnectionClosedOK):
                ws.recv(LONG)
            # Nor when it is done again, as at the end of a `with`.
            server.shutdown()
            assert time.monotonic() - start < 0.6
            let_go.set()
            assert server.wait_closed(LONG)


def test_a_peer_that_goes_without_a_word_counts() -> None:
    with serve(echo, "127.0.0.1", 0) as server, raw_client(server) as peer:
        peer.ask()
        drain = gevent.spawn(server.drain, LONG)
        assert peer.receive_close() == (1001, "")
        peer.end()
        assert drain.get(timeout=LONG) is False


def test_a_drain_from_a_handler() -> None:
    drained = AsyncResult()

    def handler(ws: Any) -> None:
        for _ in ws:
            drained.set(ws.server.drain(LONG))

    server = serve(handler, "127.0.0.1", 0)
    serving = gevent.spawn(server.serve_forever)
    with connect(uri(server)) as other, connect(uri(server)) as ws:
        ws.send("drain")
        for each in (ws, other):
            with pytest.raises(ConnectionClosedOK, match="received 1001"):
                each.recv(LONG)
        assert drained.get(timeout=LONG) is True
        serving.get(timeout=LONG)


def test_many_are_told_in_batches() -> None:
    with serve(echo, "127.0.0.1", 0) as server:
        clients = [connect(uri(server)).open() for _ in range(BATCH + 20)]
        until(lambda: len(server.connections) == len(clients))
        connections = list(server.connections)
        drain = gevent.spawn(server.drain, LONG)
        told: list[Any] = []
        while not told:
            gevent.sleep(0)
            told = [n for n, ws in enumerate(connections) if not ws.open]
        assert len(told) == BATCH
        assert drain.get(timeout=LONG) is True
        for ws in clients:
            ws.close()
            assert ws.close_code == 1001


def test_what_can_not_be_sent_is_told_before_anything_ends() -> None:
    with serve(echo, "127.0.0.1", 0) as server, connect(uri(server)) as ws:
        for end in (server.drain, server.close):
            with pytest.raises(ProtocolError):
                end(code=1005)
            with pytest.raises(ProtocolError):
                end(reason="x" * 124)
        assert server.is_serving()
        ws.send("x")
        assert ws.recv(LONG) == "x"


# Who serves


def test_serve_forever_lasts_until_the_drain_is_done() -> None:
    cleaned = Event()

    def handler(ws: Any) -> None:
        echo(ws)
        cleaned.wait()

    server = serve(handler, "127.0.0.1", 0)
    serving = gevent.spawn(server.serve_forever)
    with connect(uri(server)) as ws:
        drain = gevent.spawn(server.drain, LONG)
        with pytest.raises(ConnectionClosedOK):
            ws.recv(LONG)
        until(lambda: not server.connections)
        gevent.sleep(0)
        assert not serving.ready()
        cleaned.set()
        assert drain.get(timeout=LONG) is True
        serving.get(timeout=LONG)


def test_what_interrupts_a_drain_shuts_down() -> None:
    with serve(lambda ws: Event().wait(), "127.0.0.1", 0, close_timeout=0.1) as server:
        serving = gevent.spawn(server.serve_forever)
        with connect(uri(server)) as ws:
            drain = gevent.spawn(server.drain, 1000)
            with pytest.raises(ConnectionClosedOK):
                ws.recv(LONG)
            drain.kill()
            serving.get(timeout=LONG)
            assert server.wait_closed(0)


def test_the_shorter_of_two_drains_counts() -> None:
    with (
        serve(lambda ws: Event().wait(), "127.0.0.1", 0) as server,
        connect(uri(server)) as ws,
    ):
        long = gevent.spawn(server.drain, 1000)
        with pytest.raises(ConnectionClosedOK):
            ws.recv(LONG)
        assert server.drain(0.1) is False
        assert long.get(timeout=LONG) is False


def test_time_without_a_limit() -> None:
    assert Countdown(None).left(0.5) is None
    with serve(echo, "127.0.0.1", 0) as server, connect(uri(server)) as ws:
        drain = gevent.spawn(server.drain, None)
        with pytest.raises(ConnectionClosedOK):
            ws.recv(LONG)
        assert drain.get(timeout=LONG) is True


# Who is not connected yet


def test_who_waits_to_be_accepted_is_answered() -> None:
    server = serve(echo, "127.0.0.1", 0)  # and never started
    peers = [RawPeer(dial(port_of(server))) for _ in range(5)]
    for peer in peers[1:]:  # the first says nothing
        peer.write(request())
    readers = [gevent.spawn(read_answer, peer) for peer in peers]
    assert server.drain(LONG) is True
    for reader in readers:
        check_503(reader.get(timeout=LONG))


def test_a_handshake_that_has_begun_is_refused() -> None:
    with serve(echo, "127.0.0.1", 0) as server, raw_client(server) as peer:
        peer.write(request()[:20])
        until(lambda: server._handshaking)
        drain = gevent.spawn(server.drain, LONG)
        check_503(read_answer(peer))
        assert drain.get(timeout=LONG) is True


def test_who_is_refused_and_stays_is_no_handler() -> None:
    with serve(echo, "127.0.0.1", 0) as server, raw_client(server) as peer:
        peer.write(request()[:20])
        until(lambda: server._handshaking)
        assert server.drain(0.1) is True
        check_503(peer.read_to_end())


def test_tls_goes_on_to_the_refusal(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    server = serve(echo, "127.0.0.1", 0, ssl=server_context)
    with raw_client(server) as silent:
        recipe = connect(
            "wss://localhost/", ssl=client_context, sock=dial(port_of(server))
        )
        client = gevent.spawn(refusal_of, recipe)
        start = time.monotonic()
        assert server.drain(1) is True
        # Who says nothing has half of the time.
        assert 0.5 <= time.monotonic() - start < 1
        assert silent.read_to_end() == b""
        assert client.get(timeout=LONG) == 503


def refusal_of(recipe: connect) -> int:
    """Return the status that it is refused with."""
    with pytest.raises(InvalidStatus) as caught:
        recipe.open()
    return caught.value.status_code


# Handing over


def test_who_waits_to_be_accepted_is_left_to_the_next() -> None:
    old = serve(echo, "127.0.0.1", 0)
    port = port_of(old)
    # As another process would have it.
    shared = old.sockets[0].dup()
    with raw_client(old) as peer:
        peer.write(request())
        assert old.drain(LONG, 1012, handover=True) is True
        with serve(echo, sock=shared):
            assert peer.read_head().startswith("HTTP/1.1 101 ")
            with connect(f"ws://127.0.0.1:{port}/") as ws:
                ws.send("x")
                assert ws.recv(LONG) == "x"
            peer.send_close(1000)
            peer.read_to_end()


def test_a_unix_socket_is_left_to_the_next(unix_path: str) -> None:
    with unix_serve(echo, unix_path) as old:
        shared = old.sockets[0].dup()
        assert old.drain(LONG, handover=True) is True
    with serve(echo, sock=shared), unix_connect(unix_path) as ws:
        ws.send("x")
        assert ws.recv(LONG) == "x"


def test_a_handshake_that_has_begun_goes_on() -> None:
    with serve(echo, "127.0.0.1", 0) as server, raw_client(server) as peer:
        peer.write(request()[:20])
        until(lambda: server._handshaking)
        drain = gevent.spawn(server.drain, LONG, 1012, handover=True)
        until(lambda: not server.is_serving())
        peer.write(request()[20:])
        assert peer.read_head().startswith("HTTP/1.1 101 ")
        assert peer.receive_close() == (1012, "")
        peer.send_close(1012)
        assert peer.read_to_end() == b""
        assert drain.get(timeout=LONG) is True


def test_who_was_just_accepted_is_served() -> None:
    """In each of the first turns of the loop."""
    for n_turns in range(4):
        server = serve(echo, "127.0.0.1", 0)
        shared = server.sockets[0].dup()
        with server, raw_client(server) as peer, serve(echo, sock=shared) as other:
            other._listeners[0].stop_accepting()
            peer.write(request())
            for _ in range(n_turns):
                gevent.sleep(0)
            drain = gevent.spawn(server.drain, LONG, 1012, handover=True)
            until(lambda server=server: not server.is_serving())
            other._listeners[0].start_accepting()
            assert peer.read_head().startswith("HTTP/1.1 101 ")
            peer.end()
            drain.get(timeout=LONG)


def test_who_does_not_go_on_has_half_of_the_time() -> None:
    with serve(echo, "127.0.0.1", 0) as server, raw_client(server) as peer:
        peer.write(request()[:20])
        until(lambda: server._handshaking)
        start = time.monotonic()
        reader = gevent.spawn(read_answer, peer)
        assert server.drain(0.4, handover=True) is True
        assert 0.2 <= time.monotonic() - start < 0.4
        check_503(reader.get(timeout=LONG))


# Certificates


def test_another_certificate(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    authority = trustme.CA()
    with serve(echo, "127.0.0.1", 0, ssl=server_context) as server:
        uri = f"wss://localhost:{port_of(server)}/"
        with connect(uri, ssl=client_context) as before:
            server.ssl = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            authority.issue_cert("localhost").configure_cert(server.ssl)
            with pytest.raises(ssl.SSLCertVerificationError):
                connect(uri, ssl=client_context).open()
            trusting = ssl.create_default_context()
            authority.configure_trust(trusting)
            with connect(uri, ssl=trusting) as after:
                for ws in (before, after):
                    ws.send("x")
                    assert ws.recv(LONG) == "x"
