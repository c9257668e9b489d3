"""Listening sockets: which addresses, which errors, and accepting from them."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.queue import Queue

from gws.server.listener import Listener, bind_tcp, listen_tcp, listen_unix


pytestmark = pytest.mark.usefixtures("leakcheck")


def close_all(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


@pytest.mark.parametrize("host", [None, "", "127.0.0.1", "localhost", ["127.0.0.1"]])
def test_listen_tcp(host: Any) -> None:
    sockets = listen_tcp(host, 0)
    ports = {sock.getsockname()[1] for sock in sockets}
    assert len(ports) == 1
    assert all(
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for sock in sockets
    )
    with socket.create_connection(("127.0.0.1", ports.pop())):
        pass
    close_all(sockets)


def test_all_addresses_are_of_both_families() -> None:
    sockets = listen_tcp(None, 0)
    families = {sock.family for sock in sockets}
    assert families == {socket.AF_INET, socket.AF_INET6}
    for sock in sockets:
        if sock.family == socket.AF_INET6:
            assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    close_all(sockets)


def test_the_same_address_twice() -> None:
    sockets = listen_tcp(["127.0.0.1", "localhost", "127.0.0.1"], 0)
    names = [sock.getsockname()[0] for sock in sockets]
    assert names.count("127.0.0.1") == 1
    close_all(sockets)


def test_an_address_in_use() -> None:
    sockets = listen_tcp("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    with pytest.raises(OSError, match=f"can't listen on .*{port}") as caught:
        listen_tcp(["127.0.0.2", "127.0.0.1"], port)
    assert caught.value.errno == errno.EADDRINUSE
    # Those that could be had were given back.
    close_all(listen_tcp("127.0.0.2", port))
    close_all(sockets)


def test_reuse_port() -> None:
    one = listen_tcp("127.0.0.1", 0, reuse_port=True)
    two = listen_tcp("127.0.0.1", one[0].getsockname()[1], reuse_port=True)
    close_all(one + two)


def test_no_such_host() -> None:
    with pytest.raises(OSError):
        listen_tcp("no-such-name.invalid", 0)


def test_an_address_of_another_machine() -> None:
    with pytest.raises(OSError) as caught:
        listen_tcp("192.0.2.1", 0)
    assert caught.value.errno == errno.EADDRNOTAVAIL
    # As where IPv6 is built in but off.
    assert bind_tcp(socket.AF_INET6, ("2001:db8::1", 0), False) is None
    with pytest.raises(OSError, match="no address to listen on"):
        listen_tcp("2001:db8::1", 0)


def test_no_such_family() -> None:
    unknown = 9999
    assert bind_tcp(unknown, ("127.0.0.1", 0), False) is None


def test_backlog() -> None:
    sockets = listen_tcp("127.0.0.1", 0, backlog=0)
    address = sockets[0].getsockname()
    waiting = []
    with pytest.raises(BlockingIOError):
        for _ in range(10):
            sock = socket.socket()
            waiting.append(sock)
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.connect(address)
            sock.send(b"x")
    close_all(waiting + sockets)


# Unix sockets


def test_listen_unix(unix_path: str) -> None:
    sock = listen_unix(unix_path)
    assert stat.S_ISSOCK(os.stat(unix_path).st_mode)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(unix_path)
    with pytest.raises(OSError) as caught:
        listen_unix(unix_path)
    assert caught.value.errno == errno.EADDRINUSE
    sock.close()
    # Now the file is stale.
    sock = listen_unix(Path(unix_path), mode=0o620, backlog=1)
    assert stat.S_IMODE(os.stat(unix_path).st_mode) == 0o620
    sock.close()


def test_a_busy_unix_socket_is_live(unix_path: str) -> None:
    sock = listen_unix(unix_path, backlog=0)
    waiting = []
    with pytest.raises(BlockingIOError):
        for _ in range(10):
            client = socket.socket(socket.AF_UNIX)
            waiting.append(client)
            client.setblocking(False)
            client.connect(unix_path)
    with pytest.raises(OSError):
        listen_unix(unix_path)
    assert os.path.exists(unix_path)
    close_all([*waiting, sock])


def test_no_such_folder(unix_path: str) -> None:
    with pytest.raises(FileNotFoundError, match="can't listen on"):
        listen_unix(unix_path + "/x")


def test_too_long_a_path(unix_path: str) -> None:
    with pytest.raises(OSError):
        listen_unix(unix_path + "x" * 200)


# Accepting


def test_accepting(unix_path: str) -> None:
    (tcp,) = listen_tcp("127.0.0.1", 0)
    for sock, family in (
        (tcp, socket.AF_INET),
        (listen_unix(unix_path), socket.AF_UNIX),
    ):
        accepted: Queue[Any] = Queue()

        def handle(*args: Any, accepted: Queue[Any] = accepted) -> None:
            accepted.put((*args, gevent.getcurrent()))

        listener = Listener(sock, handle)
        listener.start()
        clients = [socket.socket(family) for _ in range(3)]
        greenlets = set()
        for client in clients:
            client.connect(sock.getsockname())
            connection, address, greenlet = accepted.get(timeout=10)
            greenlets.add(greenlet)
            assert address == client.getsockname()
            assert connection.family == family
            client.sendall(b"x")
            assert connection.recv(1) == b"x"
            connection.close()
        assert len(greenlets) == 3
        assert gevent.getcurrent() not in greenlets
        listener.close()
        close_all(clients)
