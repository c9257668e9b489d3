"""What serves in; a process that does, and another one when its files change, out.

`gws serve --reload` is this. The first process listens, and watches; it forks another
one that imports and serves. When a file has changed that one is told to end, and the
next is forked: who connects meanwhile waits in the queue of the listening socket. One
that fails, since what it imports has an error, is followed by another after the next
change.

The two talk over a pair of sockets: one tells which files it has imported, the other
what shall be done. Signals would not do: Ctrl-C goes to both. When either is gone the
other one reads the end of the stream.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import Any, NoReturn

from .files import Files, files_of_error, files_of_modules, is_of_app
from .places import Place
from .service import END_SIGNALS, EXIT_CUT, Service, drain, exit_now, on_signal


#: Seconds between two looks at the files.
POLL = 0.25

#: Seconds that connections and handlers have to end in before the next process begins.
DRAIN = 1.0

#: Seconds that a process has for all the rest, before it is killed.
GRACE = 2.0

#: Seconds between two looks at a process that ends.
LOOK = 0.05

#: What a process is told: that another follows it, or that nobody does.
REPLACED, END = b"r", b"e"

#: The exit codes of all if a signal has ended the last process: one that imported, or
#: one that did not end in time.
EXIT_CODES = {-signal.SIGTERM: 0, -signal.SIGINT: 0, -signal.SIGKILL: EXIT_CUT}

logger = logging.getLogger("gws.server")


# The process that serves


class Link:
    """To the process that watches, of the one that serves.

    Args:
        name: of the module that it imports.
    """

    def __init__(self, sock: socket.socket, name: str) -> None:
        self.sock = sock
        self._name = name
        # What was imported before the fork is not imported again.
        self._told = set(files_of_modules().values())
        self._n_modules = 0

    def report(self, error: BaseException | None = None) -> None:
        """Tell which files of the app were imported, so far.

        Args:
            error: what their import raised: they include the files that it names.
        """
        self._n_modules = len(sys.modules)
        modules = files_of_modules()
        own = modules.get(self._name)
        found = {*modules.values(), *files_of_error(error)} - self._told
        self._told |= found
        self._send(path for path in found if path == own or is_of_app(path))

    def importing(self, load: Callable[[], Any]) -> Any:
        """Return what ``load`` does, and tell of its files even if it fails."""
        # A .pyc tells by second and size whether it is of its source: for who saves
        # twice in a second that is not enough.
        sys.dont_write_bytecode = True
        error: BaseException | None = None
        try:
            return load()
        except BaseException as exc:
            error = exc
            raise
        finally:
            self.report(error)

    def wait(self) -> bool:
        """Wait until this process shall end; return whether another follows."""
        import gevent.socket

        self._send([""])
        with gevent.socket.socket(fileno=self.sock.detach()) as self.sock:
            self.sock.settimeout(1)
            while True:
                try:
                    return self.sock.recv(1) == REPLACED
                except TimeoutError:
                    # What a handler imports is imported late.
                    if len(sys.modules) != self._n_modules:
                        self.report()
                except OSError:  # who watches is gone
                    return False

    def _send(self, paths: Iterable[str]) -> None:
        # A path can't have a NUL in it. One that is empty says that we serve.
        with contextlib.suppress(OSError):
            self.sock.sendall(b"".join(os.fsencode(path) + b"\0" for path in paths))


def serve_linked(services: Sequence[Service], drain_timeout: float, link: Link) -> int:
    """Serve until who watches says that it is enough; return the exit code."""
    with contextlib.ExitStack() as stack:
        # Ctrl-C comes to both: it is for who watches.
        for number in END_SIGNALS:
            stack.enter_context(on_signal(number, int))
        for service in services:
            service.server.start()
        if not link.wait():
            return drain(services, drain_timeout)
        others = [replace(service, inherited=True) for service in services]
        return drain(others, min(drain_timeout, DRAIN))


# The process that watches


class Child:
    """A process that serves, of the one that watches."""

    def __init__(self, pid: int, sock: socket.socket, started: float) -> None:
        self._pid = pid
        self.sock = sock
        self.started = started
        #: Its exit code; None while it lives.
        self.code: int | None = None
        #: Whether it has come to serve.
        self.served = False
        self._rest = b""
        self._is_heard = True

    def hear(self) -> list[str]:
        """Return the files that it has told of since."""
        with contextlib.suppress(BlockingIOError):
            while data := self._receive():
                self._rest += data
            self._is_heard = False
        *names, self._rest = self._rest.split(b"\0")
        self.served |= b"" in names
        return [os.fsdecode(name) for name in names if name]

    def sources(self) -> list[socket.socket]:
        """Return what can be read when it has something to tell."""
        return [self.sock] if self._is_heard else []

    def has_ended(self) -> bool:
        """Tell whether it has ended."""
        if self.code is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def tell(self, what: bytes) -> None:
        """Tell it what to do."""
        with contextlib.suppress(OSError):
            self.sock.send(what)
        if not self.served and self.code is None:
            # It imports still, and would not hear; if it does by now, it does not mind.
            os.kill(self._pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it, whatever it does."""
        if not self.has_ended():
            os.kill(self._pid, signal.SIGKILL)
            self.code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _receive(self) -> bytes:
        try:
            return self.sock.recv(2**16)
        except ConnectionResetError:
            return b""


class Supervisor:
    """Has a process serve, and another one after each change.

    Args:
        serve: called with its `Link` in each new process; returns the exit code.
        name: of the module that it imports.
        drain_timeout: seconds that it has at the end of all.
    """

    def __init__(
        self,
        serve: Callable[[Link], int],
        name: str,
        places: Sequence[Place],
        drain_timeout: float,
    ) -> None:
        self._serve = serve
        self._name = name
        self._places = places
        self._drain_timeout = drain_timeout
        self._files = Files()
        # Those that have come.
        self._signals: list[int] = []
        # Readable when one comes.
        self._wakeup, self._on_wakeup = socket.socketpair()

    def run(self) -> int:
        """Return the exit code, in this process and in those that it forks."""
        with self._wakeup, self._on_wakeup, contextlib.ExitStack() as stack:
            stack.callback(signal.set_wakeup_fd, -1)
            self._take_signals()
            while True:
                child = self._start()
                with child.sock:
                    if isinstance(child, Link):
                        return self._serve(child)
                    code = self._watch(child)
                if code is not None:
                    return code

    # Private methods

    def _take_signals(self) -> None:
        for sock in (self._wakeup, self._on_wakeup):
            sock.setblocking(False)
        signal.set_wakeup_fd(self._on_wakeup.fileno(), warn_on_full_buffer=False)
        for number in END_SIGNALS:
            signal.signal(number, self._take_signal)

    def _take_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def _start(self) -> Child | Link:
        """Return, in this process, the new one; in the new one, its link."""
        ours, theirs = socket.socketpair()
        started = time.time()
        sys.stdout.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
        try:
            pid = os.fork()
            if pid:
                theirs.close()
                ours.setblocking(False)
                return Child(pid, ours, started)
            ours.close()
            signal.set_wakeup_fd(-1)
            for number in END_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            return Link(theirs, self._name)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)

    def _watch(self, child: Child) -> int | None:
        """Return the exit code; or None when another process must follow."""
        says_that_it_waits = False
        while not self._signals:
            self._wait(child, POLL)
            has_ended = child.has_ended()
            self._files.add(child.hear(), child.started)
            if changed := self._files.changed():
                names = ", ".join(sorted(map(os.path.relpath, changed)))
                logger.info("changed: %s; reloading", names)
                self._end(child, REPLACED, DRAIN)
                if child.has_ended():
                    return None
            elif has_ended and not len(self._files):
                return exit_code(child)  # it did not come to import anything
            elif has_ended and not says_that_it_waits:
                says_that_it_waits = True
                logger.info("waiting for a change")
        return self._end_all(child)

    def _wait(self, child: Child, seconds: float) -> None:
        """Wait until a child has something to tell, or a signal comes."""
        readable, _, _ = select.select(
            [self._wakeup, *child.sources()], [], [], seconds
        )
        if self._wakeup in readable:
            self._wakeup.recv(2**10)

    def _end(self, child: Child, how: bytes, seconds: float) -> None:
        """End a child; one that shall be replaced, unless a signal comes meanwhile."""
        child.tell(how)
        deadline = time.monotonic() + seconds + GRACE
        while not child.has_ended() and time.monotonic() < deadline:
            if how == REPLACED and self._signals:
                return
            self._wait(child, LOOK)
            child.hear()
        child.kill()

    def _end_all(self, child: Child) -> int:
        for place in self._places:
            place.remove()
        for number in END_SIGNALS:
            signal.signal(number, partial(self._end_now, child))
        if child.has_ended():
            return 0
        timeout = self._drain_timeout
        logger.info("draining, within %g s; a second signal ends it", timeout)
        self._end(child, END, timeout)
        return exit_code(child)

    def _end_now(self, child: Child, number: int, frame: FrameType | None) -> NoReturn:
        child.kill()
        exit_now(number, frame)


def exit_code(child: Child) -> int:
    """Return the exit code of all, by that of the last process."""
    assert child.code is not None, "it has ended"
    # A signal is told as a shell does.
    code = child.code if child.code >= 0 else 128 - child.code
    return EXIT_CODES.get(child.code, code)
