"""A name or a URI in, a connected socket out.

`dial` tries the addresses of a name as RFC 8305 ("Happy Eyeballs") says, in the
greenlet that calls it: an attempt is a non-blocking socket and a watcher, so one
address costs no more than it must, and whatever interrupts leaves nothing behind.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
import ssl as tls
import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain, zip_longest
from typing import Any, cast

from gevent import get_hub, sleep
from gevent import socket as gevent_socket
from gevent.event import Event

from ..protocol.uri import WebSocketURI
from ..sockets import Socket
from ..stream import WRITE, wrap_tls
from .proxy import get_proxy, open_tunnel, parse_proxy


#: Seconds before the next address is tried beside the one before (RFC 8305 5,
#: "Connection Attempt Delay").
ATTEMPT_DELAY = 0.25

#: Seconds before a Unix socket whose queue is full is tried again.
QUEUE_DELAY = 0.01

#: Not done, and not failed either.
IN_PROGRESS = (errno.EINPROGRESS, errno.EWOULDBLOCK)

#: What getaddrinfo tells of an address: family, kind, protocol, name, address.
AddressInfo = tuple[int, int, int, str, Any]


def dial(
    host: str,
    port: int,
    source_address: tuple[str, int] | None = None,
    *,
    delay: float = ATTEMPT_DELAY,
    resolve: Callable[..., Sequence[Any]] = gevent_socket.getaddrinfo,
) -> socket.socket:
    """Connect to ``host`` by TCP.

    If it has several addresses they are tried in turn, IPv6 and IPv4 alternately,
    each ``delay`` seconds after the one before, or when that has failed. The first
    that connects is taken, and all others are given up.

    Args:
        source_address: (host, port) to connect from.
        delay: seconds.
        resolve: works as `socket.getaddrinfo`, without blocking other greenlets.

    Returns:
        A plain, non-blocking socket with TCP_NODELAY.

    Raises:
        OSError: if there is no such name, or no address can be connected to; then
            of the kind of the first address' error, and with the text of all.
    """
    try:
        found = resolve(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as exc:
        text = f"can't find {host}: {exc.strerror}"
        raise socket.gaierror(exc.errno, text) from None
    except UnicodeError:  # Python encodes names; a part may be too long for it
        text = f"can't find {host}: not a host name"
        raise socket.gaierror(socket.EAI_NONAME, text) from None
    errors: list[OSError] = []
    sock = race(interleave(found), source_address, delay, errors)
    if sock is None:
        texts = dict.fromkeys(exc.strerror or str(exc) for exc in errors)
        text = "; ".join(texts) or "no address"
        number = errors[0].errno if errors else errno.EADDRNOTAVAIL
        raise OSError(number, f"can't connect to {host} port {port}: {text}")
    return sock


def interleave(found: Iterable[AddressInfo]) -> list[AddressInfo]:
    """Order addresses by turns of family, beginning with that of the first.

    RFC 8305 4: "Whichever address family is first in the list should be followed by
    an address of the other address family". The system has sorted them by RFC 6724.
    """
    families: dict[int, list[AddressInfo]] = {}
    for info in dict.fromkeys(found):
        families.setdefault(info[0], []).append(info)
    turns = chain.from_iterable(zip_longest(*families.values()))
    return [info for info in turns if info is not None]


def race(
    addresses: Iterable[AddressInfo],
    source_address: tuple[str, int] | None,
    delay: float,
    errors: list[OSError],
) -> socket.socket | None:
    """Connect to one of ``addresses``; None if none answers.

    Args:
        errors: gets what went wrong, in the order in which it did.
    """
    waiting = deque(addresses)
    attempts: list[Attempt] = []
    news = Event()
    try:
        while waiting or attempts:
            if waiting:
                attempts.append(Attempt(waiting.popleft(), news))
                attempts[-1].start(source_address)
            news.wait(delay if waiting else None)
            news.clear()
            for attempt in [a for a in attempts if a.outcome is not None]:
                attempts.remove(attempt)
                if attempt.outcome == 0:
                    return cast(socket.socket, attempt.sock)
                attempt.close()
                errors.append(attempt.error())
        return None
    finally:
        for attempt in attempts:
            attempt.close()


class Attempt:
    """One address being connected to.

    Args:
        info: of the address.
        news: is set when there is an `outcome`.
    """

    def __init__(self, info: AddressInfo, news: Event) -> None:
        self._info = info
        self._news = news
        #: Connected, after success.
        self.sock: Any = None
        self._watcher: Any = None
        self._text = ""
        #: An error number, 0 for success; None while it goes on.
        self.outcome: int | None = None

    # Public methods

    def start(self, source_address: tuple[str, int] | None) -> None:
        """Begin to connect; errors are an outcome as any other."""
        family, kind, proto, _, address = self._info
        try:
            self.sock = Socket(family, kind, proto)
            self.sock.setblocking(False)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source_address is not None:
                self.sock.bind(source_address)
        except OSError as exc:
            self._text = exc.strerror or str(exc)
            self._end(exc.errno or errno.EADDRNOTAVAIL)
            return
        number = self.sock.connect_ex(address)
        if number in IN_PROGRESS:
            self._watcher = get_hub().loop.io(self.sock.fileno(), WRITE)
            self._watcher.start(self._on_writable)
        else:
            self._end(number)

    def error(self) -> OSError:
        """Return what the outcome is, as an exception."""
        assert self.outcome  # the caller looked
        host = self._info[4][0]
        return OSError(
            self.outcome, f"{self._text or os.strerror(self.outcome)} ({host})"
        )

    def close(self) -> None:
        """Give it up."""
        self._stop()
        if self.sock is not None:
            self.sock.close()

    # Private methods

    def _on_writable(self) -> None:
        # A socket is when it is connected, and when it never will be.
        self._end(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _end(self, outcome: int) -> None:
        self._stop()
        if outcome == 0 and is_connected_to_itself(self.sock):
            outcome = errno.ECONNREFUSED
            # A reset, so that the port is not kept for a minute after closing.
            linger = struct.pack("ii", 1, 0)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.outcome = outcome
        self._news.set()

    def _stop(self) -> None:
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None


def is_connected_to_itself(sock: Any) -> bool:
    """Return whether the socket is both ends of its connection.

    The kernel may choose, to connect from, the very port of this machine that
    nobody listens on. It would keep the server from having its port back.
    """
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:  # the connection is gone already; who uses it will see
        return False


def dial_unix(path: str | os.PathLike[str]) -> Any:
    """Connect to a Unix socket.

    Returns:
        A plain, non-blocking socket.

    Raises:
        OSError: if nobody listens there.
    """
    path = os.fspath(path)
    sock = Socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # The queue of the server is full, and no watcher would say when it is not.
        while (number := sock.connect_ex(path)) in IN_PROGRESS:
            sleep(QUEUE_DELAY)
        if number:
            text = f"can't connect to {path!r}: {os.strerror(number)}"
            raise OSError(number, text)
    except BaseException:
        sock.close()
        raise
    return sock


@dataclasses.dataclass(frozen=True, slots=True, repr=False)  # it holds passwords
class Dialer:
    """How to get to the server of a URI; see `connect` for what each of them is."""

    sock: socket.socket | None = None
    unix_path: str | os.PathLike[str] | None = None
    host: str | None = None
    port: int | None = None
    source_address: tuple[str, int] | None = None
    ssl: tls.SSLContext | None = None
    server_hostname: str | None = None
    proxy: str | bool | None = None
    proxy_ssl: tls.SSLContext | None = None
    proxy_server_hostname: str | None = None
    user_agent: str | None = None

    def __post_init__(self) -> None:
        ways = {
            "sock": self.sock is not None,
            "unix_path": self.unix_path is not None,
            "host and port": self.host is not None or self.port is not None,
        }
        given = [name for name, is_given in ways.items() if is_given]
        if len(given) > 1:
            raise ValueError(f"{given[0]} excludes {given[1]}")
        if isinstance(self.proxy, str):
            parse_proxy(self.proxy)

    @property
    def has_its_own_way(self) -> bool:
        """Whether the URI does not say where to connect to."""
        ways = (self.sock, self.unix_path, self.host, self.port)
        return any(way is not None for way in ways)

    def dial(self, uri: WebSocketURI) -> Any:
        """Return a socket that is connected to the server, with TLS if need be.

        Raises:
            OSError: if there is no TCP or TLS connection.
            ProxyError: if the proxy does not let us through.
        """
        sock = self._dial(uri)
        if not uri.secure:
            return sock
        try:
            return wrap_tls(
                sock,
                self.ssl or tls.create_default_context(),
                server_side=False,
                server_hostname=self.server_hostname or uri.host,
            )
        except BaseException:
            sock.close()
            raise

    def _dial(self, uri: WebSocketURI) -> Any:
        if self.sock is not None:
            return self._given()
        if self.unix_path is not None:
            return dial_unix(self.unix_path)
        host, port = self.host or uri.host, self.port or uri.port
        dial_from = partial(dial, source_address=self.source_address)
        proxy = get_proxy(uri, self.proxy)
        if proxy is None:
            return dial_from(host, port)
        return open_tunnel(
            proxy,
            host,
            port,
            dial=dial_from,
            ssl=self.proxy_ssl,
            server_hostname=self.proxy_server_hostname,
            user_agent=self.user_agent,
        )

    def _given(self) -> Any:
        sock = cast(socket.socket, self.sock)
        if sock.fileno() < 0:
            raise RuntimeError("the socket is used up: it connects only once")
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
