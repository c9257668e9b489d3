"""`RawPeer`, and what joins one to a connection or to a handler."""

from __future__ import annotations

import socket as original_socket
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent import socket

from gws import InvalidHandshake, Router
from gws.protocol.frames import Frame
from gws.testing import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    RawPeer,
    client_pair,
    frame,
    raw_connect_to,
    request,
    server_pair,
)
from gws.testing.octets import HANDSHAKE, header, headers

from ..wire import LONG


pytestmark = pytest.mark.usefixtures("leakcheck")


@pytest.fixture
def two() -> Iterator[tuple[RawPeer, RawPeer]]:
    """A client and a server, both by hand."""
    one, other = socket.socketpair()
    yield RawPeer(one), RawPeer(other, masks=False)
    one.close()
    other.close()


@pytest.fixture
def impatient(two: tuple[RawPeer, RawPeer]) -> tuple[RawPeer, RawPeer]:
    """The same, for those that wait for what does not come."""
    client, server = two
    return RawPeer(client.sock, timeout=0.01), RawPeer(server.sock, False, 0.01)


# Octets


@pytest.mark.parametrize("n", [0, 1, 125, 126, 65535, 65536])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("first", [0x80, 0x00])
def test_frames_are_those_of_gws(n: int, masked: bool, first: int) -> None:
    octets = bytearray(frame(BINARY, b"x" * n, masked=masked, first=first))

    def read_exact(n: int) -> bytes:
        data = bytes(octets[:n])
        del octets[:n]
        return data

    read = Frame.read(read_exact, mask=masked)
    assert (read.opcode, read.data) == (BINARY, b"x" * n)
    assert read.fin is (first == 0x80)
    assert octets == b""


@pytest.mark.parametrize("n", [0, 1, 125, 126, 65535, 65536])
def test_frames_there_and_back(two: Any, n: int) -> None:
    for sender, receiver in (two, two[::-1]):
        writer = gevent.spawn(sender.send, TEXT, b"x" * n)
        assert receiver.receive() == (TEXT, b"x" * n)
        writer.get(timeout=LONG)


def test_first_octets(two: Any) -> None:
    sender, receiver = two
    sender.send(TEXT, b"a", first=0)
    sender.send(CONT, b"b")
    sender.send(TEXT, b"c", first=0xC0)
    assert receiver.receive_fragment() == (False, TEXT, b"a")
    assert receiver.receive_fragment() == (True, CONT, b"b")
    assert receiver.receive_frame() == (0xC1, b"c")


def test_closes(two: Any) -> None:
    sender, receiver = two
    sender.send_close(1001, "é")
    sender.send(CLOSE)
    assert receiver.receive_close() == (1001, "é")
    assert receiver.receive_close() == (1005, "")


@pytest.mark.parametrize(
    ("octets", "receive", "text"),
    [
        (frame(TEXT, b"x", first=0), "receive", "a fragment: opcode 0x1, b'x'"),
        (frame(TEXT, first=0xC0), "receive_fragment", "reserved bits are set: 0xc1"),
        (frame(TEXT, masked=False), "receive", "masked by the wrong side"),
        (frame(TEXT, b"x"), "receive_close", "no close: opcode 0x1, b'x'"),
    ],
)
def test_what_is_not_right(two: Any, octets: bytes, receive: str, text: str) -> None:
    two[0].write(octets)
    with pytest.raises(AssertionError, match=text):
        getattr(two[1], receive)()


def test_what_does_not_come(impatient: Any) -> None:
    impatient[0].write(b"\x81")
    with pytest.raises(TimeoutError) as caught:
        impatient[1].receive()
    text = r"2 octets did not come within 0.01 s, only 1 octets: b'\x81'"
    assert str(caught.value) == text
    with pytest.raises(TimeoutError, match="the end of an HTTP head did not come"):
        impatient[1].read_head()
    with pytest.raises(TimeoutError, match="the end of the stream did not come"):
        impatient[1].read_to_end()


def test_what_is_cut_off(two: Any) -> None:
    two[0].write(b"abc")
    two[0].half_close()
    with pytest.raises(EOFError) as caught:
        two[1].read(4)
    text = "the stream ended after 3 octets: b'abc', before 4 octets"
    assert str(caught.value) == text
    assert two[1].read_to_end() == b"abc"
    # The other direction is open.
    two[1].send(TEXT, b"x")
    assert two[0].receive() == (TEXT, b"x")


def test_what_is_not_taken(impatient: Any) -> None:
    with pytest.raises(TimeoutError, match=r"not taken within 0\.01 s"):
        impatient[0].write(bytes(2**24))


# The opening handshake by hand


def test_opening_by_hand_on_both_sides(two: Any) -> None:
    client, server = two
    accepting = gevent.spawn(server.accept, server.frame(TEXT, b"x"), extra="A: b\r\n")
    head = client.ask(request("/path", HANDSHAKE + "Cookie: c\r\n", host="example.com"))
    assert header(head, "a") == "b"
    assert client.receive() == (TEXT, b"x")
    asked = accepting.get(timeout=LONG)
    assert asked.startswith("GET /path HTTP/1.1\r\n")
    assert header(asked, "Host") == "example.com"
    assert headers(asked, "Cookie") == ["c"]
    assert headers(asked, "Set-Cookie") == []
    with pytest.raises(ValueError, match="not enough values"):
        header(asked, "Set-Cookie")


def test_being_refused() -> None:
    with raw_connect_to(Router()) as peer, pytest.raises(AssertionError, match="404"):
        peer.ask()


# Its ends


def test_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = RawPeer(socket.create_connection(listener.getsockname()))
        other, _ = listener.accept()
        with other:
            peer.reset()
            with pytest.raises(ConnectionResetError):
                other.recv(1)


@pytest.mark.skipif(not hasattr(original_socket, "AF_UNIX"), reason="TCP only")
def test_no_reset_without_tcp(two: Any) -> None:
    with pytest.raises(ValueError, match="TCP"):
        two[0].reset()
    two[0].send(TEXT, b"still there")
    assert two[1].receive() == (TEXT, b"still there")


# Joined


def echo(ws: Any) -> None:
    for message in ws:
        ws.send(message)


def test_a_peer_of_a_handler() -> None:
    with raw_connect_to(echo, remote_address=("10.0.0.1", 5), max_size=3) as peer:
        peer.ask(request("/path"))
        peer.send(TEXT, b"abc")
        assert peer.receive() == (TEXT, b"abc")
        peer.send(TEXT, b"abcd")
        assert peer.receive_close()[0] == 1009


def test_a_peer_that_says_nothing() -> None:
    with raw_connect_to(echo):
        pass


def test_what_its_handler_raises() -> None:
    def handler(ws: Any) -> None:
        raise LookupError(ws.path)

    with pytest.raises(LookupError, match="/path"), raw_connect_to(handler) as peer:
        peer.ask(request("/path"))


def test_a_handler_that_does_not_end() -> None:
    with (
        pytest.raises(TimeoutError, match=r"has not ended within 0\.3 s"),
        raw_connect_to(lambda ws: gevent.sleep(100), timeout=0.3) as peer,
    ):
        peer.ask()


def test_a_handler_and_a_connection_that_do_not_end() -> None:
    # The peer keeps a copy of the socket, which keeps the connection open.
    with (
        pytest.raises(TimeoutError, match="has not ended"),
        raw_connect_to(
            lambda ws: gevent.sleep(100), timeout=0.3, close_timeout=None
        ) as peer,
    ):
        peer.ask()
        copy = peer.sock.dup()
    copy.settimeout(1)
    while copy.recv(100):
        pass
    copy.close()


def test_a_peer_of_a_server() -> None:
    packed = frame(TEXT, b"early")
    with server_pair(packed, path="/a?b", max_size=10) as (ws, peer):
        assert ws.path == "/a?b"
        assert ws.recv(timeout=LONG) == "early"
        ws.ping("x")
        assert peer.receive() == (PING, b"x")
    assert ws.closed


def test_a_peer_of_a_client() -> None:
    packed = frame(TEXT, b"early", masked=False)
    with client_pair(
        packed,
        path="/a?b",
        extra="Sec-WebSocket-Protocol: p\r\n",
        subprotocols=["p"],
    ) as (ws, peer):
        assert ws.path == "/a?b"
        assert ws.subprotocol == "p"
        assert ws.recv(timeout=LONG) == "early"
        ws.pong("x")
        assert peer.receive() == (PONG, b"x")
    assert ws.closed


@pytest.mark.parametrize("open_pair", [server_pair, client_pair])
def test_a_small_receive_buffer(open_pair: Any) -> None:
    with open_pair(receive_buffer=2**14, write_limit=None) as (ws, peer):
        ws.send(bytes(2**20))
        gevent.sleep(0)
        assert ws.buffered_amount > 2**19
        assert peer.receive() == (BINARY, bytes(2**20))


@pytest.mark.parametrize("open_pair", [server_pair, client_pair])
def test_the_body_raises(open_pair: Any) -> None:
    with pytest.raises(ZeroDivisionError), open_pair() as (ws, _):
        print(1 // 0)
    assert ws.closed


@pytest.mark.parametrize("open_pair", [server_pair, client_pair])
@pytest.mark.parametrize(
    ("options", "error"),
    [({"max_size": -1}, ValueError), ({"no_option": 1}, TypeError)],
)
def test_bad_options(open_pair: Any, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error), open_pair(**options):
        raise AssertionError("it is open")


def test_a_client_that_does_not_accept_the_answer() -> None:
    with (
        pytest.raises(InvalidHandshake, match="unheard-of"),
        client_pair(extra="Sec-WebSocket-Protocol: unheard-of\r\n"),
    ):
        raise AssertionError("it is open")


def test_a_connection_that_does_not_close() -> None:
    # Its peer keeps a copy of the socket, which keeps the connection open.
    with client_pair(close_timeout=None, timeout=0.3) as (ws, peer):
        copy = peer.sock.dup()
    assert ws.closed
    copy.close()
