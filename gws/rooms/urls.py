"""The URL of a bus in, the bus out."""

from __future__ import annotations

from .bus import Bus
from .memory import MemoryBus


#: The schemes of Redis, each perhaps with +sentinel or +cluster.
REDIS = {"redis", "rediss", "unix", "valkey", "valkeys"}


def open_bus(
    bus: str | Bus, history: int, history_ttl: float | None, timeout: float
) -> Bus:
    """Return the bus of a URL; a bus as it is.

    Args:
        history: how many entries of a room are kept.
        history_ttl: for how many seconds.
        timeout: the deadline of each call.

    Raises:
        ValueError: if there is no such bus.
        ImportError: if what it needs is not installed.
    """
    if not isinstance(bus, str):
        return bus
    if check_scheme(bus) == "memory":
        return MemoryBus(history, history_ttl)
    from .redisbus import RedisBus

    return RedisBus(bus, history, history_ttl, timeout)


def check_scheme(url: str) -> str:
    """Return the scheme of a bus's URL; needs nothing that may not be installed.

    Raises:
        ValueError: if there is no such bus.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise ValueError(f"{url!r} is not the URL of a bus, such as redis://localhost")
    known = scheme.removesuffix("+sentinel").removesuffix("+cluster")
    if scheme != "memory" and known not in REDIS:
        raise ValueError(f"no bus is called {scheme}://")
    return scheme
