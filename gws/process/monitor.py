"""What a command line wants to see of its servers in; observers and an endpoint out.

Several processes share the sockets of the endpoint, and a folder for what they count:
whichever is asked tells of all, but of /readyz, which is its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..access import AccessLog
from ..health import Endpoint
from ..observe import Observer
from ..server import Server
from ..server.listener import listen_tcp
from .places import Address, CannotServe, listen, name_of
from .service import url_of


#: What names the shared folder to prometheus_client.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"

#: How the names of folders begin that we make.
PREFIX = "gws-metrics-"


@dataclass(frozen=True)
class Monitor:
    """What there is to see, and where.

    Args:
        sockets: listen for who asks for metrics and health; none if nobody shall.
        access_log: how to format the lines of one; None prints none.
    """

    sockets: Sequence[socket.socket] = ()
    access_log: logging.Formatter | None = None

    def observers(self) -> list[Observer]:
        """Make the observers of this process."""
        observers: list[Observer] = []
        if self.sockets:
            from ..metrics import shared

            observers.append(shared())
        if self.access_log is not None:
            observers.append(AccessLog())
            print_access_log(self.access_log)
        return observers

    @contextlib.contextmanager
    def answering(self, servers: Sequence[Server]) -> Iterator[None]:
        """Answer who asks, for as long as the ``with`` lasts."""
        if not self.sockets:
            yield
            return
        from ..metrics import shared

        metrics = shared().application
        with Endpoint(servers, sockets=self.sockets, metrics=metrics):
            yield

    def forget(self, pid: int) -> None:
        """Take note that one of several processes has ended."""
        if self.sockets:
            from ..metrics import forget_process

            forget_process(pid)


def make_monitor(
    address: Address | None,
    access_log: logging.Formatter | None,
    several: bool = False,
) -> Monitor:
    """Listen for who asks, unless ``address`` is None.

    Args:
        several: for processes that are forked from this one.

    Raises:
        CannotServe: if it can't listen there, or prometheus_client is missing.
    """
    if address is None:
        return Monitor((), access_log)
    if importlib.util.find_spec("prometheus_client") is None:
        raise CannotServe(
            "--metrics needs prometheus-client: pip install 'gevent-gws[metrics]'"
        )
    # A new master after SIGUSR2 listens there before the old one ends.
    make = partial(listen_tcp, *address, reuse_port=several)
    sockets = listen(name_of(*address), make)
    for sock in sockets:
        print(f"Metrics on {url_of(sock, 'http')}/metrics", flush=True)
    return Monitor(sockets, access_log)


@contextlib.contextmanager
def shared_folder(monitor: Monitor) -> Iterator[None]:
    """Have forked processes share what they count, in a folder of their own.

    Who has set PROMETHEUS_MULTIPROC_DIR has a folder already, and empties it.
    """
    given = os.environ.get(FOLDER)
    # One that we made is that of the old master, after SIGUSR2.
    ours = given is None or os.path.basename(given).startswith(PREFIX)
    if not monitor.sockets or not ours:
        yield
        return
    pid = os.getpid()
    folder = os.environ[FOLDER] = tempfile.mkdtemp(prefix=PREFIX)
    try:
        yield
    finally:
        if os.getpid() == pid:
            shutil.rmtree(folder, ignore_errors=True)


def print_access_log(formatter: logging.Formatter) -> None:
    """Have the access log go to stdout, and nowhere else."""
    logger = logging.getLogger("gws.access")
    handler: Any = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logger.handlers = [handler]
    logger.propagate = False
