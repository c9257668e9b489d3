"""`dial`: a name in, the first of its addresses that connects out."""

from __future__ import annotations

import errno
import os
import socket as original_socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import gevent
import pytest
from gevent import socket

from gws.client.dial import Dialer, dial, dial_unix, interleave, is_connected_to_itself
from gws.exceptions import InvalidProxy

from ..conftest import live_greenlets
from ..wire import LONG


pytestmark = pytest.mark.usefixtures("leakcheck")

V4, V6 = original_socket.AF_INET, original_socket.AF_INET6

#: A delay that no test has the time to wait for.
NEVER = 1000.0


def info(address: Any, family: int = V4, proto: int = 0) -> Any:
    """Return an address as getaddrinfo does."""
    return (family, original_socket.SOCK_STREAM, proto, "", address)


def resolver(*found: Any) -> Callable[..., list[Any]]:
    """Return a getaddrinfo that finds these, whatever it is asked."""
    return lambda host, port, type: list(found)


@contextmanager
def listener(family: int = V4, host: str = "127.0.0.1") -> Iterator[Any]:
    sock = socket.socket(family)
    try:
        sock.bind((host, 0))
        sock.listen()
        yield sock
    finally:
        sock.close()


@contextmanager
def black_hole() -> Iterator[Any]:
    """The address of a socket whose queue is full: it drops what else comes."""
    with ExitStack() as stack:
        sock = stack.enter_context(original_socket.socket())
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        for _ in range(3):
            filler = stack.enter_context(original_socket.socket())
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        yield sock.getsockname()


def refused() -> Any:
    """Return an address where nobody listens."""
    with original_socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()


def test_one_address() -> None:
    with listener() as server:
        address = server.getsockname()
        sock = dial("127.0.0.1", address[1])
        try:
            assert sock.getpeername() == address
            assert sock.gettimeout() == 0
            assert not isinstance(sock, socket.socket)
            assert sock.getsockopt(
                original_socket.IPPROTO_TCP, original_socket.TCP_NODELAY
            )
        finally:
            sock.close()


def test_a_name() -> None:
    # Perhaps ::1 is tried first, where nobody listens.
    with listener() as server, dial("localhost", server.getsockname()[1]) as sock:
        assert sock.getpeername() == server.getsockname()


def test_ipv6() -> None:
    with (
        listener(V6, "::1") as server,
        dial("::1", server.getsockname()[1]) as sock,
    ):
        assert sock.getpeername()[:2] == server.getsockname()[:2]


@pytest.mark.parametrize(
    ("families", "order"),
    [
        ("", ""),
        ("4", "4"),
        ("444", "444"),
        ("6644", "6464"),
        ("4466", "4646"),
        ("66664", "64666"),
        ("4666", "4666"),
    ],
)
def test_families_take_turns(families: str, order: str) -> None:
    found = [
        info((n, 1), V4 if family == "4" else V6) for n, family in enumerate(families)
    ]
    ordered = interleave(found)
    assert "".join("4" if i[0] == V4 else "6" for i in ordered) == order
    for family in (V4, V6):  # within a family, the order of the system
        numbers = [i[4][0] for i in ordered if i[0] == family]
        assert numbers == sorted(numbers)
    assert interleave(found + found) == ordered


# Several addresses


def test_the_next_address_is_tried_while_one_does_not_answer() -> None:
    with black_hole() as hole, listener() as server:
        address = server.getsockname()
        resolve = resolver(info(hole), info(address))
        with dial("name", 1, delay=0.01, resolve=resolve) as sock:
            assert sock.getpeername() == address


def test_the_next_address_is_tried_at_once_when_one_fails() -> None:
    with listener() as server, gevent.Timeout(LONG):
        address = server.getsockname()
        resolve = resolver(info(refused()), info(refused()), info(address))
        with dial("name", 1, delay=NEVER, resolve=resolve) as sock:
            assert sock.getpeername() == address


def test_no_other_address_is_tried_when_the_first_answers() -> None:
    with listener() as first, listener() as second:
        resolve = resolver(info(first.getsockname()), info(second.getsockname()))
        with dial("name", 1, delay=NEVER, resolve=resolve) as sock:
            assert sock.getpeername() == first.getsockname()
        second.settimeout(0.01)
        with pytest.raises(TimeoutError):
            second.accept()


def test_addresses_fail_while_others_do_not_answer() -> None:
    with black_hole() as hole, listener() as server, gevent.Timeout(LONG):
        address = server.getsockname()
        resolve = resolver(info(hole), info(refused()), info(hole), info(address))
        with dial("name", 1, delay=0.01, resolve=resolve) as sock:
            assert sock.getpeername() == address


def test_no_address_answers() -> None:
    one, two = refused(), refused()
    v6 = info(("::1", one[1], 0, 0), V6)
    with pytest.raises(ConnectionRefusedError) as caught:
        dial("name", 1, resolve=resolver(info(one), v6, info(two)))
    text = str(caught.value)
    assert "can't connect to name port 1: " in text
    assert "(127.0.0.1)" in text
    assert "(::1)" in text
    assert caught.value.errno == errno.ECONNREFUSED


def test_the_error_of_one_address() -> None:
    address = refused()
    with pytest.raises(ConnectionRefusedError) as caught:
        dial(*address)
    assert caught.value.strerror == (
        f"can't connect to 127.0.0.1 port {address[1]}: "
        f"{os.strerror(errno.ECONNREFUSED)} (127.0.0.1)"
    )


def test_an_address_of_a_kind_that_this_machine_has_not() -> None:
    with listener() as server:
        address = server.getsockname()
        resolve = resolver(info(address, proto=255), info(address))
        with dial("name", 1, resolve=resolve) as sock:
            assert sock.getpeername() == address
    with pytest.raises(OSError, match="can't connect"):
        dial("name", 1, resolve=resolver(info(address, proto=255)))


def test_no_address() -> None:
    with pytest.raises(OSError, match="no address"):
        dial("name", 1, resolve=resolver())


@pytest.mark.parametrize("name", ["no-such-name.invalid", "x" * 64 + ".invalid"])
def test_no_such_name(name: str) -> None:
    with pytest.raises(original_socket.gaierror, match=f"can't find {name}"):
        dial(name, 1)


def test_no_port() -> None:
    with pytest.raises(OverflowError):
        dial("name", 1, resolve=resolver(info(("127.0.0.1", 2**20))))


def test_no_greenlet_is_needed() -> None:
    with black_hole() as hole:
        before = live_greenlets()
        dialling = gevent.spawn(
            dial, "name", 1, delay=0.0, resolve=resolver(info(hole), info(hole))
        )
        gevent.sleep(0.01)
        assert live_greenlets() - before == {dialling}
        dialling.kill()


@pytest.mark.parametrize("n", [1, 3])
def test_interruptions(n: int) -> None:
    with black_hole() as hole:
        resolve = resolver(*[info(hole)] * n)
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.02):
            dial("name", 1, delay=0.001, resolve=resolve)


def test_an_interruption_after_the_last_has_failed() -> None:
    with black_hole() as hole:
        resolve = resolver(info(hole), info(refused()))
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
            dial("name", 1, delay=0.001, resolve=resolve)


def test_an_address_that_is_none_to_connect_to() -> None:
    with pytest.raises(OSError, match="can't connect"):
        dial("255.255.255.255", 1)


# Where from


def test_source_address() -> None:
    with listener() as server:
        port = server.getsockname()[1]
        with dial("127.0.0.1", port, ("127.0.0.3", 0)) as sock:
            assert sock.getsockname()[0] == "127.0.0.3"


def test_the_source_address_decides_the_family() -> None:
    with listener() as server:
        address = server.getsockname()
        v6 = info(("::1", address[1], 0, 0), V6)
        resolve = resolver(v6, info(address))
        with dial("name", 1, ("127.0.0.1", 0), resolve=resolve) as sock:
            assert sock.getpeername() == address
        with pytest.raises(OSError, match=r"\(::1\)"):
            dial("name", 1, ("127.0.0.1", 0), resolve=resolver(v6))


def test_a_connection_to_itself_is_none() -> None:
    address = refused()
    with pytest.raises(ConnectionRefusedError):
        dial(*address, source_address=address)
    with original_socket.socket() as sock:  # and the server can have its port back
        sock.setsockopt(original_socket.SOL_SOCKET, original_socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen()


def test_what_is_connected_to_nothing_is_not_connected_to_itself() -> None:
    with original_socket.socket() as sock:
        assert not is_connected_to_itself(sock)


# Unix sockets


def test_a_unix_socket(unix_path: str) -> None:
    with pytest.raises(FileNotFoundError, match="can't connect"):
        dial_unix(unix_path)
    with original_socket.socket(original_socket.AF_UNIX) as server:
        server.bind(unix_path)
        with pytest.raises(ConnectionRefusedError):
            dial_unix(unix_path)
        server.listen()
        with dial_unix(unix_path) as sock:
            assert sock.gettimeout() == 0


def test_a_unix_socket_whose_queue_is_full(unix_path: str) -> None:
    with socket.socket(original_socket.AF_UNIX) as server:
        server.bind(unix_path)
        server.listen(0)
        with dial_unix(unix_path):
            dialling = gevent.spawn(dial_unix, unix_path)
            gevent.sleep(0)
            assert not dialling.dead
            for _ in range(2):
                server.accept()[0].close()
            dialling.get(timeout=LONG).close()
        with dial_unix(unix_path), pytest.raises(gevent.Timeout), gevent.Timeout(0.02):
            dial_unix(unix_path)


# Ways


def test_one_way_only() -> None:
    sock = original_socket.socket()
    for ways in (
        {"sock": sock, "host": "a"},
        {"sock": sock, "unix_path": "a"},
        {"unix_path": "a", "port": 1},
    ):
        with pytest.raises(ValueError, match="excludes"):
            Dialer(**ways)
    sock.close()
    with pytest.raises(InvalidProxy):
        Dialer(proxy="gopher://x")
