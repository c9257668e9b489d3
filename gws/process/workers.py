"""A plan in; of a process that gunicorn's master forks, a server for it out.

A worker knows nothing of WSGI: it runs `gws.serve`, with the same limits, drain and
answers as one process alone. Its master is that of `gws.process.master`.

All workers have the same listening sockets. Of those each would open for itself
(SO_REUSEPORT) the kernel resets what waits in the queue when one is closed, at every
reload: see docs/topics/restarts.md.
"""

from __future__ import annotations

import math
import mmap
import os
import signal
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gevent
from gevent import monkey
from gevent.event import Event
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.errors import AppImportError  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from gunicorn.workers import base  # type: ignore[import-untyped]

from ..server import serve
from .monitor import Monitor
from .places import CannotServe, Place
from .service import END_SIGNALS, Service


#: Seconds that the master gives a worker beyond the drain, which ends in time itself.
GRACE = 5

#: Seconds for the closing handshakes after SIGQUIT.
QUICK = 1

#: Seconds between two signs of life.
BEAT = 1


@dataclass(frozen=True)
class Plan:
    """What all workers do.

    Args:
        load: returns the handler; called in each worker. Raises `CannotServe`.
        make_context: makes what a worker uses for TLS; called in each worker.
        drain_timeout: seconds.
        patch: monkey-patch each worker, before it loads the handler.
        monitor: what each tells of its connections.
        options: of `serve`, further ones.
    """

    load: Callable[[], Any]
    places: Sequence[Place]
    n_workers: int
    make_context: Callable[[], ssl.SSLContext] | None = None
    drain_timeout: float = 30
    patch: bool = True
    monitor: Monitor = field(default_factory=Monitor)
    options: Mapping[str, Any] = field(default_factory=dict)


def pass_on(master: Any) -> None:
    """Have the sockets survive exec; the fork of the master that SIGUSR2 makes."""
    for place in master.LISTENERS:
        os.set_inheritable(place.fileno(), True)


def forget(master: Any, worker: Worker) -> None:
    """Tell who shows what the workers do that one has ended."""
    worker.app.plan.monitor.forget(worker.pid)


# What gunicorn is told


class Application(BaseApplication):  # type: ignore[misc]
    """The configuration."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        super().__init__(prog="gws serve")

    def load_config(self) -> None:
        """Set what is not gunicorn's default."""
        settings: dict[str, Any] = {
            "proc_name": "gws serve",
            "workers": self.plan.n_workers,
            "worker_class": Worker,
            "logger_class": Log,
            "graceful_timeout": math.ceil(self.plan.drain_timeout) + GRACE,
            "pre_exec": pass_on,
            "child_exit": forget,
            "control_socket_disable": True,
        }
        for name in settings.keys() & self.cfg.settings.keys():
            self.cfg.set(name, settings[name])

    def load(self) -> Any:
        """Return the handler."""
        return self.plan.load()


class Log(Logger):  # type: ignore[misc]
    """What gunicorn has to say goes to our log: the logger is "gunicorn.error"."""

    def setup(self, cfg: Any) -> None:
        """Add no handlers; those of the root do."""
        self.cfg = cfg
        self.error_log.propagate = True


# The workers


class Worker(base.Worker):  # type: ignore[misc]
    """A process that serves.

    SIGTERM drains; others go on to accept: 1012. SIGINT drains; it is the end of
    all: 1001. SIGQUIT says 1001 and waits a second.
    """

    app: Application
    sockets: list[Place]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # Seen by the master as well: whether nothing had to be cut.
        self.ended_well = mmap.mmap(-1, 1)
        self.ended_well[0] = True
        self._services: list[Service] = []
        self._drains = False

    # What gunicorn calls

    def init_process(self) -> None:
        """Become a worker, in the new process."""
        self.init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
        if self.app.plan.patch:
            monkey.patch_all()
        super().init_process()

    def init_signals(self) -> None:
        """Let signals end it, as long as there is nothing to be drained."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        # There are no log files to be opened again.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    def load_wsgi(self) -> None:
        """Load the handler, and make servers of the sockets."""
        make_context = self.app.plan.make_context
        try:
            handler = self.app.load()
            context = make_context() if make_context is not None else None
        except (CannotServe, OSError) as exc:
            raise AppImportError(f"Error: {exc}") from None
        options = {
            **self.app.plan.options,
            "ssl": context,
            "observers": self.app.plan.monitor.observers(),
        }
        for place in self.sockets:
            server = serve(handler, sock=place.sock, **options)
            self._services.append(Service(server, place.inherited))

    def run(self) -> None:
        """Serve, until all is drained."""
        self._over = Event()
        self._take_signals()
        self.ended_well[0] = False
        for service in self._services:
            service.server.start()
        self.notify()
        servers = [service.server for service in self._services]
        with self.app.plan.monitor.answering(servers):
            while not self._over.wait(BEAT):
                self.notify()

    def notify(self) -> None:
        """Tell the master that we live; end if it does not."""
        super().notify()
        if self.ppid != os.getppid() and not self._drains:
            self.log.warning("the master has gone")
            gevent.spawn(self._drain, False)

    # Private methods

    def _take_signals(self) -> None:
        gevent.signal_handler(signal.SIGTERM, self._drain, True)
        gevent.signal_handler(signal.SIGINT, self._drain, False)
        gevent.signal_handler(signal.SIGQUIT, self._quit)

    def _drain(self, others_accept: bool) -> None:
        if self._drains:
            return
        self._drains = True
        services = [
            Service(service.server, service.inherited or others_accept)
            for service in self._services
        ]
        timeout = self.app.plan.drain_timeout
        self._wait([gevent.spawn(service.drain, timeout) for service in services])

    def _quit(self) -> None:
        self._drains = True
        servers = [service.server for service in self._services]
        for server in servers:
            server.close()
        self._wait([gevent.spawn(server.wait_closed, QUICK) for server in servers])

    def _wait(self, ends: list[gevent.Greenlet[..., bool]]) -> None:
        gevent.joinall(ends)
        self.ended_well[0] = all(end.value for end in ends)
        self._over.set()
