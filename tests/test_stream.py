"""`Stream`: octets through a non-blocking socket, plain and TLS."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import gevent.ssl
import pytest

from gws.protocol.reader import HEADROOM
from gws.stream import READ_SIZE, Stream, read_buffer, wrap_tls

from .wire import LONG, until


pytestmark = pytest.mark.usefixtures("leakcheck")


class End:
    """One end of a connection: a stream, and what it has read."""

    def __init__(self, sock: Any) -> None:
        self.out = bytearray()
        self.received = bytearray()
        self.ended = False
        self.n_reads = 0
        self._buffer = read_buffer()
        self.stream = Stream(sock, gevent.get_hub(), self._buffer, self.out)

    def start(self) -> End:
        self.stream.start(self._on_readable)
        return self

    def _on_readable(self) -> None:
        self.n_reads += 1
        n = self.stream.read()
        if n == 0:
            self.ended = True
            self.stream.stop_reading()
        elif n > 0:
            self.received += self._buffer[HEADROOM : HEADROOM + n]

    def send(self, data: bytes) -> None:
        self.out += data
        self._write()

    def _write(self) -> None:
        self.stream.flush()
        if self.out:
            self.stream.wait_writable(self._write)
        else:
            self.stream.stop_waiting_writable()


def plain_pair() -> tuple[Any, Any]:
    return socket.socketpair()


@pytest.fixture(
    params=["plain", "tls", "tls of gevent", "tls in tls", "tls in gevent", "methods"]
)
def ends(
    request: pytest.FixtureRequest, tls_files: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[End, End]]:
    """Two ends; "methods" is what systems do that are not POSIX."""
    one, two = plain_pair()
    if request.param.startswith("tls"):
        module = gevent.ssl if "gevent" in request.param else ssl
        server = module.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(tls_files / "server.pem")
        client = module.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(tls_files / "ca.pem")
        for _ in range(2 if "in" in request.param else 1):
            wrapping = gevent.spawn(wrap_tls, one, server, server_side=True)
            two = wrap_tls(two, client, server_side=False, server_hostname="localhost")
            one = wrapping.get(timeout=LONG)
    if request.param == "methods":
        monkeypatch.setattr(os, "name", "nt")
    pair = End(one), End(two)
    monkeypatch.undo()
    yield pair[0].start(), pair[1].start()
    for end in pair:
        end.stream.close()


SIZES = [1, 1000, 16384, 16385, READ_SIZE - 1, READ_SIZE, READ_SIZE + 1, 10**7]


@pytest.mark.parametrize("n", SIZES)
def test_octets_go_both_ways(ends: tuple[End, End], n: int) -> None:
    data = os.urandom(n)
    for sender, receiver in (ends, ends[::-1]):
        sender.send(data)
        until(lambda receiver=receiver: len(receiver.received) >= n)
        assert receiver.received == data
        assert not sender.out


def test_both_ways_at_once(ends: tuple[End, End]) -> None:
    data = os.urandom(5 * 10**6)
    for end in ends:
        end.send(data)
    until(lambda: all(len(end.received) >= len(data) for end in ends))
    assert [end.received == data for end in ends] == [True, True]


def test_nothing_is_there(ends: tuple[End, End]) -> None:
    assert ends[0].stream.read() == -1
    ends[0].stream.flush()
    assert ends[0].received == b""


def test_pausing(ends: tuple[End, End]) -> None:
    sender, receiver = ends
    receiver.stream.pause()
    receiver.stream.pause()
    assert receiver.stream.paused
    sender.send(bytes(10**7))
    gevent.sleep(0.05)
    assert receiver.received == b""
    assert sender.out, "the kernel takes only so much"
    n_left = len(sender.out)
    receiver.stream.resume()
    receiver.stream.resume()
    assert not receiver.stream.paused
    until(lambda: len(receiver.received) == 10**7)
    assert n_left > 0


def test_pausing_within_a_read(ends: tuple[End, End]) -> None:
    # What TLS holds decrypted is not announced by the descriptor.
    sender, receiver = ends
    sender.send(bytes(3 * READ_SIZE))
    while len(receiver.received) < 3 * READ_SIZE:
        n_before = len(receiver.received)
        until(lambda n=n_before: len(receiver.received) > n)
        receiver.stream.pause()
        n_paused = len(receiver.received)
        gevent.sleep(0.005)
        assert len(receiver.received) == n_paused
        receiver.stream.resume()


def test_the_end(ends: tuple[End, End]) -> None:
    one, two = ends
    one.send(b"last")
    one.stream.shut()
    one.stream.shut()
    until(lambda: two.ended)
    assert two.received == b"last"


def test_what_comes_after_our_end_is_drained(ends: tuple[End, End]) -> None:
    one, two = ends
    one.stream.shut()
    until(lambda: two.ended)
    # Now and later; of TLS it is not decrypted.
    two.send(bytes(10**6))
    until(lambda: len(one.received) >= 10**6)
    two.stream.shut()
    until(lambda: one.ended)


def test_what_came_before_our_end_is_drained(ends: tuple[End, End]) -> None:
    one, two = ends
    one.stream.pause()
    two.send(bytes(10**6))
    gevent.sleep(0.01)
    one.stream.shut()
    one.stream.resume()
    until(lambda: not two.out)
    two.stream.shut()
    until(lambda: one.ended)
    until(lambda: two.ended)


def test_closing(ends: tuple[End, End]) -> None:
    one, two = ends
    one.send(b"last")
    one.out += b"never sent"
    one.stream.close()
    one.stream.close()
    assert one.stream.read() == -1
    one.stream.flush()
    assert one.out == b"never sent"
    one.stream.wait_writable(lambda: None)
    one.stream.pause()
    one.stream.resume()
    one.stream.shut()
    assert one.stream.sock.fileno() == -1
    until(lambda: two.ended)
    assert two.received == b"last"


def test_a_broken_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        sock, _ = listener.accept()
    end = End(sock)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    with pytest.raises(ConnectionResetError):
        end.stream.read()
    end.out += b"x"
    with pytest.raises(OSError):
        end.stream.flush()
    end.stream.close()


# What is given back


def test_what_is_given_back_comes_again(ends: tuple[End, End]) -> None:
    one, two = ends
    two.stream.pause()
    one.send(b"three")
    for piece in (b"two ", b"one "):
        two.stream.unread(piece)
    gevent.sleep(0.01)
    assert two.received == b""  # it is paused
    two.stream.resume()
    until(lambda: two.received == b"one two three")


def test_what_is_given_back_comes_at_a_later_turn(ends: tuple[End, End]) -> None:
    _, two = ends
    two.stream.unread(b"again")
    assert two.received == b""
    until(lambda: two.received)
    assert two.received == b"again"


def test_more_is_given_back_than_fits_the_buffer(ends: tuple[End, End]) -> None:
    one, two = ends
    data = os.urandom(2 * READ_SIZE + 1)
    one.send(b"behind")
    two.stream.unread(data)
    until(lambda: len(two.received) == len(data) + 6)
    assert two.received == data + b"behind"
    assert two.n_reads >= 4


def test_what_was_given_back_before_it_reads() -> None:
    one, two = plain_pair()
    end = End(one)
    end.stream.unread(b"first")
    gevent.sleep(0)
    assert end.received == b""
    two.send(b" second")
    end.start()
    until(lambda: end.received == b"first second")
    end.stream.close()
    two.close()


# What a slow peer takes


def test_what_is_gone_shows(ends: tuple[End, End]) -> None:
    # Of TLS too, though OpenSSL would tell of all or nothing.
    sender, receiver = ends
    receiver.stream.pause()
    sender.send(bytes(10**7))
    assert 0 < len(sender.out) < 10**7
    assert sender.stream.awaits_room
    assert sender.stream.n_unacknowledged() > 0
    left = len(sender.out)
    receiver.stream.resume()
    until(lambda: len(sender.out) < left)
    until(lambda: len(receiver.received) == 10**7)
    until(lambda: not sender.stream.awaits_room)


# The TLS handshake


@pytest.fixture
def contexts(tls_files: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tls_files / "server.pem")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(tls_files / "ca.pem")
    return server, client


def test_the_handshake_fails(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    one, two = plain_pair()
    wrapping = gevent.spawn(wrap_tls, one, contexts[0], server_side=True)
    with pytest.raises(ssl.SSLCertVerificationError):
        wrap_tls(two, contexts[1], server_side=False, server_hostname="example.com")
    wrapping.join(timeout=LONG)
    assert isinstance(wrapping.exception, OSError)


def test_the_handshake_is_interrupted(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    one, two = plain_pair()
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        wrap_tls(one, contexts[0], server_side=True)
    # The socket given was closed.
    assert two.recv(1) == b""
    two.close()


def test_the_handshake_waits_to_write(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    # A buffer that is full of something else.
    one, two = plain_pair()
    one.setblocking(False)
    n = 0
    with pytest.raises(BlockingIOError):
        while True:
            n += one.send(bytes(1000))
    wrapping = gevent.spawn(
        wrap_tls, one, contexts[1], server_side=False, server_hostname="localhost"
    )
    gevent.sleep(0.01)
    assert not wrapping.ready()
    while n:
        n -= len(two.recv(min(n, 2**16)))
    two = wrap_tls(two, contexts[0], server_side=True)
    wrapping.get(timeout=LONG).close()
    two.close()
