"""`TLSSocket`: TLS inside TLS, as a non-blocking socket and under a `Stream`."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import gevent.ssl
import pytest

from gws.stream import Stream, read_buffer, wrap_tls
from gws.tls import RECORD, TLSSocket


pytestmark = pytest.mark.usefixtures("leakcheck")

LONG = 10

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture(params=[ssl, gevent.ssl], ids=["ssl", "gevent.ssl"])
def contexts(request: pytest.FixtureRequest, tls_files: Path) -> Contexts:
    """Of a server and of a client."""
    server = request.param.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tls_files / "server.pem")
    client = request.param.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(tls_files / "ca.pem")
    return server, client


def wrap_both(one: Any, two: Any, contexts: Contexts) -> tuple[Any, Any]:
    wrapping = gevent.spawn(wrap_tls, one, contexts[0], server_side=True)
    two = wrap_tls(two, contexts[1], server_side=False, server_hostname="localhost")
    return wrapping.get(timeout=LONG), two


@pytest.fixture
def outer(contexts: Contexts) -> Iterator[tuple[Any, Any]]:
    """Two ends of a TLS connection that holds little on its way."""
    pair = socket.socketpair()
    for sock in pair:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    pair = wrap_both(*pair, contexts)
    yield pair
    for sock in pair:
        sock.close()


@pytest.fixture
def inner(outer: tuple[Any, Any], contexts: Contexts) -> tuple[TLSSocket, TLSSocket]:
    """Two ends of a TLS connection inside that of `outer`, past its handshake."""
    one, two = wrap_both(*outer, contexts)
    for sock in (one, two):
        with pytest.raises(ssl.SSLWantReadError):
            sock.recv_into(bytearray(1))
    return one, two


def read(sock: Any, n: int = RECORD) -> bytes:
    """Read what comes next, waiting for it."""
    with gevent.Timeout(LONG):
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                return read_now(sock, n)
            gevent.socket.wait_read(sock.fileno())


def read_now(sock: Any, n: int = RECORD) -> bytes:
    buffer = bytearray(n)
    return bytes(buffer[: sock.recv_into(buffer)])


def is_readable(sock: Any) -> bool:
    with gevent.Timeout(0.05, False):
        gevent.socket.wait_read(sock.fileno())
        return True
    return False


def test_nothing_is_there(inner: tuple[TLSSocket, TLSSocket]) -> None:
    assert inner[0].pending() == 0
    with pytest.raises(ssl.SSLWantReadError):
        inner[0].recv_into(bytearray(10))


def test_octets(inner: tuple[TLSSocket, TLSSocket]) -> None:
    for sender, receiver in (inner, inner[::-1]):
        assert sender.send(b"hello") == 5
        assert read(receiver, 3) == b"hel"
        # Decrypted, and not announced.
        assert receiver.pending() == 2
        assert read(receiver, 3) == b"lo"
        assert receiver.pending() == 0


def test_what_is_not_announced(inner: tuple[TLSSocket, TLSSocket]) -> None:
    # Both records come at once, in one of the outer connection.
    one, two = inner
    one._tls.write(b"first")
    one.send(b"second")
    assert read(two) == b"first"
    assert not is_readable(two)
    assert two.pending() > 0
    assert read(two) == b"second"
    assert two.pending() == 0


def test_no_more_than_a_record_at_a_time(inner: tuple[TLSSocket, TLSSocket]) -> None:
    one, two = inner
    data = os.urandom(3 * RECORD)
    sent = gevent.spawn(send_all, one, data)
    received = b""
    while len(received) < len(data):
        received += read(two, 2 * RECORD)
    assert received == data
    assert max(sent.get(timeout=LONG)) == RECORD


def send_all(sock: Any, data: bytes) -> list[int]:
    """Send as `Stream.flush` does; return how much was sent at a time."""
    rest, sizes = bytearray(data), []
    while rest:
        try:
            sizes.append(sock.send(rest))
        except ssl.SSLWantWriteError:
            gevent.socket.wait_write(sock.fileno())
        else:
            del rest[: sizes[-1]]
    return sizes


def fill(sock: Any, data: bytes) -> int:
    """Send until the outer connection takes no more; return how much it took."""
    n = 0
    with pytest.raises(ssl.SSLWantWriteError):
        while True:
            n += sock.send(data[n:])
    return n


def test_what_is_encrypted_is_sent_once(inner: tuple[TLSSocket, TLSSocket]) -> None:
    one, two = inner
    data = os.urandom(2**20)
    n = fill(one, data)
    # Again and again, and with more behind it: nothing is sent twice.
    for _ in range(3):
        with pytest.raises(ssl.SSLWantWriteError):
            one.send(data[n:] + b"more")
    sending = gevent.spawn(send_all, one, data[n:] + b"more")
    received = b""
    while len(received) < len(data) + 4:
        received += read(two)
    assert received == data + b"more"
    sending.get(timeout=LONG)


def test_reading_goes_on_with_writing(inner: tuple[TLSSocket, TLSSocket]) -> None:
    # What is encrypted and not taken yet does not keep us from reading, and goes out
    # whenever we look for something to read.
    one, two = inner
    data = os.urandom(2**20)
    n = fill(one, data)
    two.send(b"hello")
    assert read(one) == b"hello"
    received = b""
    with gevent.Timeout(LONG):
        while len(received) < n + RECORD:
            with pytest.raises(ssl.SSLWantReadError):
                one.recv_into(bytearray(1))
            gevent.socket.wait_read(two.fileno())
            with contextlib.suppress(ssl.SSLWantReadError):
                received += read_now(two)
    assert received == data[: n + RECORD]
    assert one.send(data[n:]) == RECORD


def test_close_notify_behind_data(inner: tuple[TLSSocket, TLSSocket]) -> None:
    # In one record of the outer connection, and TCP goes on: nothing announces the
    # end but what `TLSSocket` does for it.
    one, two = inner
    one._tls.write(b"last")
    with contextlib.suppress(ssl.SSLWantReadError):
        one._tls.unwrap()
    one._flush()
    assert read(two) == b"last"
    assert two.pending() > 0
    assert two.recv_into(bytearray(10)) == 0
    assert two.pending() == 0
    assert is_readable(two)
    assert two.recv_into(bytearray(10)) == 0
    # The other direction is not over.
    assert two.send(b"bye") == 3
    assert one._outer.recv(100)


def test_a_stream_sees_close_notify_behind_data(
    inner: tuple[TLSSocket, TLSSocket],
) -> None:
    one, two = inner
    one._tls.write(b"last")
    with contextlib.suppress(ssl.SSLWantReadError):
        one._tls.unwrap()
    one._flush()
    reads: list[int] = []
    ended = gevent.event.Event()
    stream = Stream(two, gevent.get_hub(), read_buffer(), bytearray())  # type: ignore[arg-type]

    def on_readable() -> None:
        reads.append(stream.read())
        if reads[-1] == 0:
            stream.stop_reading()
            ended.set()

    stream.start(on_readable)
    assert ended.wait(LONG)
    assert [n for n in reads if n != -1] == [4, 0]
    stream.close()


@pytest.mark.parametrize("layer", ["outer", "tcp"])
def test_the_outer_connection_ends(
    inner: tuple[TLSSocket, TLSSocket], layer: str
) -> None:
    one, two = inner
    one.send(b"last")
    if layer == "outer":
        with contextlib.suppress(OSError):
            one._outer.unwrap()
    else:
        one.shutdown(socket.SHUT_WR)
    assert read(two) == b"last"
    assert read(two) == b""
    assert read(two) == b""


def test_the_end_in_both_layers(inner: tuple[TLSSocket, TLSSocket]) -> None:
    one, two = inner
    with contextlib.suppress(OSError):
        one.unwrap()
    one.shutdown(socket.SHUT_WR)
    assert read(two) == b""
    # After our end the rest comes encrypted, to be dropped.
    assert two.send(b"late") == 4
    assert len(read(one)) > 4
    assert one.pending() == 0
    with pytest.raises(BrokenPipeError):
        one.send(b"x")
    two.close()
    two.close()
    assert two.fileno() == -1


def test_junk(inner: tuple[TLSSocket, TLSSocket]) -> None:
    # In the place of a record; our alert tells the peer.
    one, two = inner
    one._outer.send(b"this is no record")
    with pytest.raises(ssl.SSLError):
        read(two)
    with pytest.raises(ssl.SSLError):
        read(one)


def test_a_broken_connection(inner: tuple[TLSSocket, TLSSocket]) -> None:
    one, two = inner
    two.close()
    with pytest.raises(OSError):
        for _ in range(3):
            one.send(b"x")
    # What is written may not be, and reading finds the end.
    assert read(one) == b""


def test_the_socket_inside(inner: tuple[TLSSocket, TLSSocket]) -> None:
    one, _ = inner
    assert one.family == socket.AF_UNIX
    assert one.getsockname() == one.getpeername() == ""
    assert one.fileno() == one._outer.fileno()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    one.setblocking(False)
    with pytest.raises(ValueError, match="doesn't block"):
        one.setblocking(True)


# The inner handshake


def test_the_wrong_name(outer: tuple[Any, Any], contexts: Contexts) -> None:
    wrapping = gevent.spawn(wrap_tls, outer[0], contexts[0], server_side=True)
    with pytest.raises(ssl.SSLCertVerificationError):
        wrap_tls(
            outer[1], contexts[1], server_side=False, server_hostname="example.com"
        )
    wrapping.join(timeout=LONG)
    assert isinstance(wrapping.exception, OSError)
    assert [sock.fileno() for sock in outer] == [-1, -1]


def test_the_handshake_is_cut_off(outer: tuple[Any, Any], contexts: Contexts) -> None:
    outer[0].close()
    with pytest.raises(OSError):
        wrap_tls(outer[1], contexts[1], server_side=False, server_hostname="localhost")
    assert outer[1].fileno() == -1


def test_the_handshake_is_interrupted(
    outer: tuple[Any, Any], contexts: Contexts
) -> None:
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        wrap_tls(outer[0], contexts[0], server_side=True)
    assert outer[0].fileno() == -1


def test_the_handshake_waits_to_write(
    outer: tuple[Any, Any], contexts: Contexts
) -> None:
    # Below TLS there is something that has to be read first.
    one, two = outer
    with pytest.raises(ssl.SSLWantReadError):
        two.recv(1)  # what comes with the end of the outer handshake
    n = 0
    with same_socket(one) as below, pytest.raises(BlockingIOError):
        while True:
            n += below.send(bytes(1000))
    wrapping = gevent.spawn(
        wrap_tls, one, contexts[1], server_side=False, server_hostname="localhost"
    )
    gevent.sleep(0.01)
    assert not wrapping.ready()
    with same_socket(two) as below:
        while n:
            n -= len(below.recv(n))
    wrap_tls(two, contexts[0], server_side=True)
    wrapping.get(timeout=LONG)


def same_socket(sock: Any) -> socket.socket:
    below = socket.fromfd(sock.fileno(), sock.family, socket.SOCK_STREAM)
    below.setblocking(False)
    return below
