"""Who connects in, whether there is room out: before anything of it is read.

What is refused here costs a server no more than the refusal: it may be full, or
under attack.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address
from typing import Any

from .forwarded import TrustedProxies


try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

#: Of the descriptors of a process, those that are no connections of a server: at
#: least so many, and this part of all.
RESERVE = 64
RESERVE_PART = 16


def descriptors_allow() -> int | None:
    """Return how many connections the process has descriptors for; None for any."""
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    return max(soft - max(RESERVE, soft // RESERVE_PART), 1)


def turn_away(sock: Any, octets: bytes) -> None:
    """Write an answer to what was not asked yet; wait for nothing."""
    with contextlib.suppress(OSError):
        sock.setblocking(False)
        sock.send(octets)
        sock.shutdown(socket.SHUT_WR)
        # To close a socket with octets unread is a reset, which may be faster than
        # the answer.
        while sock.recv(2**16):
            pass


class Admission:
    """How many connections a server may have.

    Args:
        max_connections: open ones; None is what the process has descriptors for.
        max_handshakes: those that are not open yet; None is no limit.
        max_per_address: open or not, of one peer address; None is no limit.

    Raises:
        ValueError: if one makes no sense.
    """

    def __init__(
        self,
        max_connections: int | None = None,
        max_handshakes: int | None = None,
        max_per_address: int | None = None,
    ) -> None:
        check_positive("max_connections", max_connections)
        check_positive("max_handshakes", max_handshakes)
        self._max_sockets = descriptors_allow()
        self._max_connections = max_connections or self._max_sockets
        self._max_handshakes = max_handshakes
        #: What counts the connections of each peer address.
        self.addresses = Addresses(max_per_address)
        #: How many are not open yet; whoever opens them counts.
        self.n_opening = 0

    def has_room(self, n_open: int) -> bool:
        """Tell whether one more may be open."""
        return self._max_connections is None or n_open < self._max_connections

    def is_crowded(self, n_open: int) -> bool:
        """Tell whether one more could not even be asked what it wants."""
        n_sockets = n_open + self.n_opening
        if self._max_sockets is not None and n_sockets >= self._max_sockets:
            return True
        return (
            self._max_handshakes is not None and self.n_opening >= self._max_handshakes
        )


class Addresses:
    """How many connections there are of each peer address.

    Args:
        limit: how many there may be; None counts nothing.

    Raises:
        ValueError: if it makes no sense.
    """

    def __init__(self, limit: int | None) -> None:
        check_positive("max_per_address", limit)
        self._limit = limit
        self._counts: dict[Hashable, int] = {}
        self._keys: dict[Any, Hashable] = {}

    def enter(self, owner: Any, address: Any, proxies: TrustedProxies | None) -> bool:
        """Count a connection, once.

        Args:
            owner: stands for it.
            address: of the peer, as far as it is known.
            proxies: of those it does not count: they are not the peer.

        Returns:
            Whether there is room for it.
        """
        if self._limit is None or (proxies is not None and proxies.trusts(address)):
            return True
        key = key_of(address)
        if key is None or self._keys.get(owner) == key:
            return True
        if self._counts.get(key, 0) >= self._limit:
            return False
        self.leave(owner)
        self._keys[owner] = key
        self._counts[key] = self._counts.get(key, 0) + 1
        return True

    def move(self, owner: Any, heir: Any) -> None:
        """Have another object stand for a connection."""
        if owner in self._keys:
            self._keys[heir] = self._keys.pop(owner)

    def leave(self, owner: Any) -> None:
        """Count a connection no more, if it was counted."""
        key = self._keys.pop(owner, None)
        if key is None:
            return
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]


def check_positive(name: str, limit: int | None) -> None:
    """Check the option of that name.

    Raises:
        ValueError: if nothing would be admitted.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"{name} must be positive, not {limit!r}")


def key_of(address: Any) -> Hashable:
    """Return what the connections of one peer have in common; None if nothing.

    Of IPv6 it is the /64, all of which one host may have.
    """
    if not isinstance(address, tuple):
        return None
    try:
        ip = ip_address(address[0].partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is None:
            return int(ip) >> 64, 64
        ip = ip.ipv4_mapped
    return int(ip)
