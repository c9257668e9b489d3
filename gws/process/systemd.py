"""What systemd gives a service, and is told by it: sockets in, its state out.

Nothing of systemd is needed for it: see sd_listen_fds(3) and sd_notify(3). Any
manager that follows them will do.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import MutableMapping


#: The first descriptor that is passed: SD_LISTEN_FDS_START.
FIRST = 3

#: Seconds that a manager may take to take a message.
SEND_TIMEOUT = 1


def listen_fds(environ: MutableMapping[str, str] = os.environ) -> list[tuple[int, str]]:
    """Return the descriptors that were passed to this process, and their names.

    They are not passed on to its children, nor are the variables that tell of them.

    Raises:
        ValueError: if these variables make no sense.
        OSError: if there is no such descriptor.
    """
    pid, n, names = (
        environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    )
    if not n or pid != str(os.getpid()):
        return []
    if not (n.isascii() and n.isdigit()):
        raise ValueError(f"LISTEN_FDS is no number: {n!r}")
    fds = range(FIRST, FIRST + int(n))
    for fd in fds:
        os.set_inheritable(fd, False)
    listed = names.split(":") if names else []
    listed += ["unknown"] * (len(fds) - len(listed))
    return list(zip(fds, listed, strict=False))


def notify(*assignments: str) -> None:
    """Tell the manager, if there is one that wants to know, what changed.

    Args:
        assignments: such as "READY=1"; all in one message.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    from gevent import socket

    if address.startswith("@"):  # an abstract address
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(SEND_TIMEOUT)
            sock.connect(address)
            sock.sendall("\n".join(assignments).encode())
    except OSError as exc:
        logging.getLogger("gws.server").warning("can't notify %s: %s", address, exc)


def notify_reloading() -> None:
    """Tell the manager that the configuration is read again; "READY=1" ends it."""
    microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify("RELOADING=1", f"MONOTONIC_USEC={microseconds}")
