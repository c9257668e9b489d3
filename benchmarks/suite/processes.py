"""Starts processes, each on its processor; reads their memory; stops them."""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO


#: Descriptors that a process has beside its connections.
RESERVE = 200

START_SECONDS = 20.0
STOP_SECONDS = 3.0
PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>

_libc = ctypes.CDLL(None)


class Failure(Exception):
    """A program could not be built, started, or did not do its work."""


@dataclass(frozen=True)
class Cores:
    """The server, or the client that is measured, has one; its opposite the other."""

    server: int
    load: int


def choose_cores() -> Cores:
    """Return two of the processors that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise Failure("two processors are needed: one for the server, one for the load")
    return Cores(allowed[0], allowed[1])


def raise_descriptor_limit(wanted: int = 0) -> int:
    """Allow as many descriptors as the hard limit, and return how many that is.

    Args:
        wanted: who may raise the hard limit (root) has so many at least.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (max(hard, wanted), hard):
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            return most
    return hard


def pinned(core: int) -> Callable[[], None]:
    """Return what a child does before it becomes its program."""

    def prepare() -> None:
        os.sched_setaffinity(0, {core})
        # Whatever happens to this process, its children end with it.
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return prepare


@contextmanager
def reporting(command: list[str], core: int) -> Iterator[subprocess.Popen[str]]:
    """Run a program whose output is wanted."""
    with process(command, core, subprocess.PIPE, subprocess.PIPE) as child:
        yield child


@contextmanager
def process(
    command: list[str],
    core: int,
    stdout: int,
    stderr: IO[bytes] | int,
    environment: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Run a pinned program inside the block; at its end it is stopped."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        text=True,
        env=environment,
        preexec_fn=pinned(core),
        start_new_session=True,  # Ctrl-C is for us; we stop it ourselves
    )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()


@dataclass(frozen=True)
class Server:
    """A server that runs and accepts."""

    pid: int
    port: int


@contextmanager
def serving(
    command: list[str],
    log: Path,
    core: int,
    *arguments: str,
    environment: dict[str, str] | None = None,
) -> Iterator[Server]:
    """Run a server inside the block, on a free port that it gets as first argument.

    Args:
        log: where its standard error goes.

    Raises:
        Failure: it ended or did not listen; its standard error is in the message.
    """
    port = free_port()
    command = [*command, str(port), *arguments]
    with (
        log.open("wb") as stderr,
        process(command, core, subprocess.DEVNULL, stderr, environment) as child,
    ):
        if not wait_until_it_listens(child, port):
            raise Failure(f"the server did not start: {last_line(log)}")
        yield Server(child.pid, port)


def free_port() -> int:
    """Return a port that the kernel says is free."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_until_it_listens(child: subprocess.Popen[str], port: int) -> bool:
    """Return whether the child accepts connections, after START_SECONDS at most."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False


def last_line(log: Path) -> str:
    """Return the last line of a log: of a traceback, that is the error."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def finish(child: subprocess.Popen[str], seconds: float) -> str:
    """Wait until a child ends by itself, and return what it printed.

    Raises:
        Failure: it failed, or did not end in so many seconds.
    """
    try:
        out, err = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failure(f"no result after {seconds:.0f} seconds") from None
    if child.returncode != 0:
        raise Failure((err or "").strip().splitlines()[-1] if err else "it failed")
    return out


def memory_bytes(pid: int) -> int:
    """Return the proportional set size of a process: its memory, libraries shared."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise Failure("the kernel does not tell the memory of a process")
