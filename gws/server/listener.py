"""Addresses in, listening sockets out, and from these the connections that come."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import Callable, Sequence
from typing import Any

from gevent import get_hub
from gevent.baseserver import BaseServer
from greenlet import greenlet

from ..sockets import Socket


#: How many connections may wait to be accepted.
BACKLOG = 1024

#: There are no descriptors left, or no memory for one; others may give some back.
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

#: Seconds until it is tried again.
PAUSE = 0.1

logger = logging.getLogger("gws.server")


class Listener(BaseServer):  # type: ignore[type-arg]
    """A listening socket; each connection gets a greenlet.

    gevent's server does the waiting. When there are no descriptors left, it says so,
    once, and tries again after a pause.

    Args:
        sock: bound and listening.
        handle: called in a new greenlet with the socket and the peer's address.
    """

    #: gevent's.
    _start_accepting_if_started: Any

    def __init__(self, sock: socket.socket, handle: Callable[[Any, Any], None]) -> None:
        sock.setblocking(False)
        # Asked once: Python makes an enum of each.
        self._kind = sock.family, sock.type, sock.proto
        self._connect = handle
        # Accepting failed the last time.
        self._rests = False
        super().__init__(sock, handle)

    def do_read(self) -> tuple[Any, Any] | None:
        """Accept one connection; None if there is none."""
        sock: Any = self.socket
        try:
            fd, address = sock._accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None
        except OSError as exc:
            if exc.errno not in EXHAUSTED:
                raise
            self._rest(exc)
            return None
        self._rests = False
        return Socket(*self._kind, fileno=fd), address

    def _rest(self, exc: OSError) -> None:
        # Whoever waits to be accepted would wake us all the time; gevent rests, too,
        # but with a traceback each time.
        if not self._rests:
            logger.error("can't accept connections: %s", exc)
        self._rests = True
        self.stop_accepting()
        timer: Any = self.loop.timer(PAUSE)
        timer.start(self._start_accepting_if_started)
        self._timer = timer

    def take_queue(self) -> None:
        """Accept all that wait to be, whom the kernel would reset on `close`."""
        for _ in range(BACKLOG):
            try:
                accepted = self.do_read()
            except OSError:  # whatever it is, the close goes on
                return
            if accepted is None:
                return
            self.do_handle(*accepted)

    def do_handle(self, sock: Any, address: Any) -> None:
        """Serve one connection in its greenlet.

        A plain one: what gevent's own add is not needed here, and a switch to a
        subclass costs greenlet a search of its bases for each check of its type.
        """
        hub = get_hub()
        hub.loop.run_callback(greenlet(self._connect, hub).switch, sock, address)


def listen_tcp(
    host: str | Sequence[str] | None,
    port: int | None,
    *,
    reuse_port: bool = False,
    backlog: int | None = None,
) -> list[socket.socket]:
    """Listen on TCP: one socket for each address of each host.

    Args:
        host: a name or address, or several; None and "" are all addresses, of
            IPv4 and IPv6.
        port: 0 has the kernel choose one, the same for all addresses.

    Raises:
        OSError: if an address cannot be had.
    """
    hosts: Sequence[str | None] = [host] if isinstance(host, str | None) else host
    addresses = [
        (family, address)
        for name in hosts
        for family, _, _, _, address in socket.getaddrinfo(
            name or None, port or 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    ]
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys(addresses):
            if not port and sockets:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            sock = bind_tcp(family, address, reuse_port)
            if sock is not None:
                sockets.append(sock)
                sock.listen(BACKLOG if backlog is None else backlog)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    if not sockets:
        raise OSError(errno.EADDRNOTAVAIL, f"no address to listen on for {host!r}")
    return sockets


def bind_tcp(family: int, address: Any, reuse_port: bool) -> socket.socket | None:
    """Bind one address; None if this machine has no such family."""
    try:
        sock: socket.socket = Socket(family, socket.SOCK_STREAM)
    except OSError as exc:
        if exc.errno == errno.EAFNOSUPPORT:
            return None
        raise
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # The IPv4 addresses have sockets of their own.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError as exc:
        sock.close()
        if family == socket.AF_INET6 and exc.errno == errno.EADDRNOTAVAIL:
            return None  # IPv6 is built in but off, as in many containers
        raise OSError(
            exc.errno, f"can't listen on {address!r}: {exc.strerror}"
        ) from None
    return sock


def listen_unix(
    path: str | os.PathLike[str], *, mode: int | None = None, backlog: int | None = None
) -> socket.socket:
    """Listen on a Unix socket.

    A socket file that nobody listens on any more is removed first.

    Args:
        mode: permissions of the socket file, such as 0o660.

    Raises:
        OSError: if the path cannot be had; EADDRINUSE if somebody listens there.
    """
    path = os.fsdecode(path)
    remove_stale(path)
    sock: socket.socket = Socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        if mode is not None:
            os.chmod(path, mode)
        sock.listen(BACKLOG if backlog is None else backlog)
    except OSError as exc:
        sock.close()
        raise OSError(exc.errno, f"can't listen on {path!r}: {exc.strerror}") from None
    return sock


def remove_stale(path: str) -> None:
    """Remove a socket file that refuses connections."""
    if path.startswith("\0"):
        return  # an abstract address has no file
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except OSError:
        return
    with contextlib.closing(Socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            pass
