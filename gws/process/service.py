"""Servers in, an exit code out: what signals do to a process that serves.

`gws serve` is this and a command line. SIGTERM and SIGINT drain, a second one ends the
process at once; SIGHUP renews the certificate.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

import gevent
from gevent.event import Event

from ..protocol.codes import CloseCode
from ..server import Server, serve
from ..sockets import Socket
from .systemd import notify, notify_reloading


#: The exit code when not everything ended by itself.
EXIT_CUT = 3

#: The signals that end a process.
END_SIGNALS = (signal.SIGINT, signal.SIGTERM)

logger = logging.getLogger("gws.server")


@dataclass(frozen=True)
class Service:
    """A server, and whether somebody else has its listening socket as well."""

    server: Server
    inherited: bool = False

    def drain(self, timeout: float) -> bool:
        """Have it end; who else has the socket may accept from now on."""
        code = CloseCode.GOING_AWAY
        if self.inherited:
            code = CloseCode.SERVICE_RESTART
        return self.server.drain(timeout, code, handover=self.inherited)


def serve_inherited(fd: int, handler: Any, **options: Any) -> Server:
    """Serve on a listening socket that somebody opened for this process.

    Raises:
        OSError: if the descriptor is none.
    """
    return serve(handler, sock=inherit(fd), **options)


def inherit(fd: int) -> socket.socket:
    """Return a listening socket that somebody opened for this process.

    Raises:
        OSError: if the descriptor is none.
    """
    os.set_inheritable(fd, False)
    sock: socket.socket = Socket(fileno=fd)
    listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if not listens or sock.type != socket.SOCK_STREAM:
        sock.close()
        raise OSError(errno.EINVAL, "This socket does not listen")
    return sock


def run(
    services: Sequence[Service],
    drain_timeout: float,
    make_context: Callable[[], ssl.SSLContext] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT comes, then drain all servers at once.

    Args:
        drain_timeout: seconds for that.
        make_context: makes what the servers use for TLS, anew for each SIGHUP.

    Returns:
        The exit code: 0, or `EXIT_CUT`.
    """
    stop = Event()
    with contextlib.ExitStack() as stack:
        for number in END_SIGNALS:
            stack.enter_context(on_signal(number, stop.set))
        stack.enter_context(renewing(services, make_context))
        for service in services:
            service.server.start()
        announce(services)
        notify("READY=1")
        stop.wait()
        for number in END_SIGNALS:
            signal.signal(number, exit_now)
        notify("STOPPING=1")
        logger.info("draining, within %g s; a second signal ends it", drain_timeout)
        return drain(services, drain_timeout)


def drain(services: Sequence[Service], timeout: float) -> int:
    """Drain all servers at once; return the exit code: 0, or `EXIT_CUT`."""
    drains = [gevent.spawn(service.drain, timeout) for service in services]
    gevent.joinall(drains)
    return 0 if all(drain.value for drain in drains) else EXIT_CUT


def exit_now(number: int, frame: FrameType | None) -> NoReturn:
    """End the process; the kernel drops its connections.

    Not by the signal itself: the first process of a container can't be ended so.
    """
    os._exit(128 + number)


@contextlib.contextmanager
def renewing(
    services: Sequence[Service], make_context: Callable[[], ssl.SSLContext] | None
) -> Iterator[None]:
    """Have SIGHUP renew the certificate, if there is one."""
    if make_context is None or not hasattr(signal, "SIGHUP"):
        yield
        return
    servers = [service.server for service in services]
    with on_signal(signal.SIGHUP, lambda: renew(servers, make_context)):
        yield


def renew(servers: Sequence[Server], make_context: Callable[[], Any]) -> None:
    """Have new handshakes use what the certificate's files hold now.

    If that is not right, they go on with what they held before.
    """
    notify_reloading()
    try:
        context = make_context()
    except OSError as exc:
        logger.error("the certificate is not renewed: %s", exc)
    else:
        for server in servers:
            server.ssl = context
        logger.info("the certificate is renewed")
    notify("READY=1")


def announce(services: Sequence[Service]) -> None:
    """Print where they listen."""
    for service in services:
        scheme = "ws" if service.server.ssl is None else "wss"
        print_urls(service.server.sockets, scheme)


def print_urls(socks: Iterable[socket.socket], scheme: str) -> None:
    """Print where sockets listen."""
    for sock in socks:
        print(f"Listening on {url_of(sock, scheme)}", flush=True)


def url_of(sock: socket.socket, scheme: str) -> str:
    """Return the URL of a listening socket."""
    address = sock.getsockname()
    if not isinstance(address, tuple):
        return f"{scheme}+unix:{os.fsdecode(address)}"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{scheme}://{host}:{address[1]}"


@contextlib.contextmanager
def on_signal(number: int, call: Callable[[], object]) -> Iterator[None]:
    """Call ``call``, in a greenlet, when the signal comes."""
    watcher = gevent.signal_handler(number, call)
    try:
        yield
    finally:
        watcher.cancel()
