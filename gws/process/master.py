"""A plan in, processes out that serve by it, started and watched over: `run`.

`gws serve --workers` is this, and gunicorn's master: it starts the workers, replaces
those that die, and at SIGHUP all of them. Here it learns the signals and exit codes of
`gws serve`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from enum import Enum, auto
from types import FrameType
from typing import Any, NoReturn

from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from gunicorn.errors import HaltServer  # type: ignore[import-untyped]
from gunicorn.systemd import sd_notify  # type: ignore[import-untyped]

from .places import Place
from .service import END_SIGNALS, EXIT_CUT, exit_now, inherit, print_urls
from .workers import Application, Plan, Worker


#: Seconds between two looks at the workers.
LOOK = 0.05


def run(plan: Plan) -> NoReturn:
    """Serve until SIGTERM or SIGINT comes; ends with SystemExit, in workers, too.

    The code is that of `gws.process.service.run`, or 1 if no worker can serve.
    """
    Master(Application(plan)).run()
    raise AssertionError("the master ends with SystemExit")


def handed_over() -> list[Place]:
    """Return the sockets of the master that started this process after SIGUSR2."""
    if "GUNICORN_PID" not in os.environ:
        return []
    fds = os.environ.pop("GUNICORN_FD", "").split(",")
    return [Place(inherit(int(fd)), inherited=True) for fd in fds if fd]


def accepts(worker: Worker) -> bool:
    """Tell, in the master, whether a worker has given a sign of life."""
    # It is the time of a file: that of its creation, by the calendar, before the
    # first sign, then that of the monotonic clock, which is far behind.
    updated: float = worker.tmp.last_update()
    return updated <= time.monotonic()


class Phase(Enum):
    """Of the life of a master."""

    STARTING = auto()
    SERVING = auto()
    RELOADING = auto()
    ENDING = auto()


class Master(Arbiter):  # type: ignore[misc]
    """gunicorn's master, with the signals and exit codes of ``gws serve``.

    A reload tells the old workers to end when all new ones accept, and does not when
    these can't.
    """

    app: Application
    WORKERS: dict[int, Worker]
    LISTENERS: list[Place]

    # SIGTERM, SIGINT or SIGQUIT has come.
    _shall_end = False
    # Something had to be cut in the end.
    _cut = False

    def __init__(self, app: Application) -> None:
        super().__init__(app)
        self.LISTENERS = list(app.plan.places)
        # Not sys.argv: of "python -m gws" that names a file, which is none to run.
        self.START_CTX["args"] = [sys.executable, *sys.orig_argv[1:]]
        self._phase = Phase.STARTING
        # The workers before the reload.
        self._old: set[int] = set()

    # What gunicorn calls: signals

    def signal(self, sig: int, frame: FrameType | None) -> None:
        """Take note of a signal; SIGINT is no quicker than SIGTERM."""
        self._shall_end |= sig in (*END_SIGNALS, signal.SIGQUIT)
        super().signal(signal.SIGTERM if sig == signal.SIGINT else sig, frame)

    # What gunicorn calls: workers

    def start(self) -> None:
        """Get ready to start workers."""
        # It would say READY=1, and nobody accepts yet.
        address = os.environ.pop("NOTIFY_SOCKET", None)
        super().start()
        if address is not None:
            os.environ["NOTIFY_SOCKET"] = address

    def spawn_worker(self) -> Any:
        """Start a worker; no signal is lost before it is one."""
        signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)

    def manage_workers(self) -> None:
        """Have as many workers as there should be, the youngest."""
        if self._phase is Phase.RELOADING:
            self._wait_for_workers()
        super().manage_workers()
        if self._phase is Phase.STARTING:
            self._wait_for_workers()
            self._phase = Phase.SERVING
            scheme = "ws" if self.app.plan.make_context is None else "wss"
            print_urls((place.sock for place in self.LISTENERS), scheme)
            self._tell("READY=1")

    def reload(self) -> None:
        """Replace all workers; if the new ones can't start, the old ones stay."""
        self._old = set(self.WORKERS)
        self._phase = Phase.RELOADING
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={microseconds}")
        try:
            super().reload()
        except HaltServer as exc:
            self.log.error("not reloaded, the old workers go on: %s", exc.reason)
            self._end_new_ones()
        self._phase = Phase.SERVING
        self._tell("READY=1")

    def reap_workers(self) -> None:
        """Take note of workers that have ended."""
        before = dict(self.WORKERS)
        try:
            super().reap_workers()
        except HaltServer:
            if self._phase is not Phase.ENDING:
                raise
        finally:
            gone = [before[pid] for pid in before.keys() - self.WORKERS.keys()]
            for worker in gone:
                worker.tmp.close()  # which HaltServer leaves out
        if self._phase is Phase.ENDING:
            self._cut |= not all(worker.ended_well[0] for worker in gone)
        elif self._phase is not Phase.SERVING and self._shall_end:
            raise StopIteration  # for `run`, which waits somewhere in here

    def kill_worker(self, pid: int, sig: int) -> None:
        """Send a signal to a worker."""
        if sig == signal.SIGTERM and self._nobody_follows():
            sig = signal.SIGINT
        super().kill_worker(pid, sig)

    # What gunicorn calls: the end

    def stop(self, graceful: bool = True) -> None:
        """End all workers; a second signal ends all at once."""
        self._phase = Phase.ENDING
        self._tell("STOPPING=1")
        for number in END_SIGNALS:
            signal.signal(number, self._end_now)
        for place in self.LISTENERS:
            if self._nobody_follows():
                place.remove()
            else:
                place.close()
        self.LISTENERS = []
        if graceful and self.WORKERS:
            timeout = self.app.plan.drain_timeout
            self.log.info("draining, within %g s; a second signal ends it", timeout)
        super().stop(graceful)
        self._cut |= bool(self.WORKERS)

    def halt(self, reason: str | None = None, exit_status: int = 0) -> NoReturn:
        """End the master, too."""
        try:
            super().halt(reason, exit_status)
        finally:
            sys.exit(1 if exit_status else EXIT_CUT if self._cut else 0)

    # Private methods

    def _nobody_follows(self) -> bool:
        # Of our own: whether somebody outside does each `Place` knows. There are a
        # new master and an old one after SIGUSR2.
        return (
            self._phase is Phase.ENDING and not self.reexec_pid and not self.master_pid
        )

    def _wait_for_workers(self) -> None:
        new = self.WORKERS.keys() - self._old
        while not all(map(accepts, self.WORKERS.values())):
            self.reap_workers()
            if self._phase is Phase.RELOADING and not new <= self.WORKERS.keys():
                raise HaltServer("A worker died early.")
            time.sleep(LOOK)

    def _end_new_ones(self) -> None:
        for pid in self.WORKERS.keys() - self._old:
            self.kill_worker(pid, signal.SIGTERM)
        while self.WORKERS.keys() - self._old:
            with contextlib.suppress(HaltServer):
                self.reap_workers()
            time.sleep(LOOK)

    def _end_now(self, number: int, frame: FrameType | None) -> NoReturn:
        self.kill_workers(signal.SIGKILL)
        exit_now(number, frame)

    def _tell(self, *assignments: str) -> None:
        # Not by `gws.process.systemd`, which would start a hub before the fork.
        sd_notify("\n".join(assignments), self.log)
