"""Starts Redis, servers in several processes and the load generator, and stops them;
tells what they hold: memory, sockets, and what Redis has counted."""

import ctypes
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from peers import SERVERS, Peer
from suite.processes import (
    PR_SET_PDEATHSIG,
    Failure,
    free_port,
    last_line,
    memory_bytes,
)
from suite.programs import CONNECTION, compile_c, of_load


HERE = Path(__file__).parent

#: Seconds for servers to listen, and to end before they are killed.
START_SECONDS = 30.0
STOP_SECONDS = 10.0

#: A process that used no more than this part of a processor for so long has come to
#: rest; seconds after which we do not wait for that any longer.
QUIET = 0.05
QUIET_SECONDS = 0.3
REST_SECONDS = 10.0

#: Seconds beyond the length of a stage for its answer.
ANSWER_SECONDS = 120.0

#: States of sockets, as /proc/net/tcp has them.
ESTABLISHED, LISTENING = "01", "0A"

_libc = ctypes.CDLL(None)


# Processes


def _end_with_parent() -> None:
    # Whatever happens to this process, its children end with it.
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a program inside the block; at its end it is stopped, with its children."""
    options["start_new_session"] = True
    options["preexec_fn"] = _end_with_parent
    with subprocess.Popen(command, text=True, **options) as child:
        try:
            yield child
        finally:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(STOP_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    return [
        int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ]


def cpu_times(pids: list[int]) -> tuple[float, float]:
    """Return the processor time that processes have used: user and system."""
    user = system = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        user += int(fields[11])
        system += int(fields[12])
    ticks = os.sysconf("SC_CLK_TCK")
    return user / ticks, system / ticks


def cpu_seconds(pids: list[int]) -> float:
    """Return the processor time that processes have used, user and system."""
    return sum(cpu_times(pids))


def wait_for_rest(pids: list[int]) -> None:
    """Wait until processes have come to rest: all is imported, all is joined."""
    deadline = time.monotonic() + REST_SECONDS
    while time.monotonic() < deadline:
        before = cpu_seconds(pids)
        time.sleep(QUIET_SECONDS)
        if cpu_seconds(pids) - before <= QUIET * QUIET_SECONDS:
            return


def sockets(pid: int) -> set[str]:
    """Return the inodes of the sockets that a process has open."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            target = os.readlink(link)
            if target.startswith("socket:"):
                found.add(target[8:-1])
    return found


def on_port(port: int, state: str) -> set[str]:
    """Return the inodes of the sockets of a port of ours that are in a state."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    end = f":{port:04X}"
    return {row[9] for row in rows if row[3] == state and row[1].endswith(end)}


def slab_bytes() -> int:
    """Return what the kernel holds in small pieces; sockets are among it."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Slab:"):
            return int(line.split()[1]) * 1024
    raise Failure("the kernel does not tell its memory")


# Redis


@dataclass(frozen=True)
class Counts:
    """What a Redis has counted since it was started."""

    commands: int
    bytes_in: int
    bytes_out: int

    def since(self, before: "Counts", n: int) -> tuple[float, float, float]:
        """Return commands, bytes in and bytes out for each of n publishes."""
        return (
            # Without the one that has asked for this.
            (self.commands - before.commands - 1) / n,
            (self.bytes_in - before.bytes_in) / n,
            (self.bytes_out - before.bytes_out) / n,
        )


class Redis:
    """A Redis of our own."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.port = port
        self.url = f"redis://127.0.0.1:{port}"
        self.client = redis.Redis(port=port)

    def counts(self) -> Counts:
        """Return what it has counted."""
        told = self.client.info("stats")
        return Counts(
            told["total_commands_processed"],
            told["total_net_input_bytes"],
            told["total_net_output_bytes"],
        )


@contextmanager
def redis_running(folder: Path) -> Iterator[Redis]:
    """Run a Redis inside the block, which saves nothing."""
    port = free_port()
    place = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    command = ["redis-server", *place, "--save", ""]
    log = folder / "redis.log"
    with ExitStack() as stack:
        output = stack.enter_context(log.open("wb"))
        try:
            child = stack.enter_context(running(command, stdout=output, stderr=output))
        except FileNotFoundError:
            raise Failure("there is no redis-server") from None
        server = Redis(child.pid, port)
        stack.callback(server.client.close)
        wait_until(lambda: _answers(server), [child], log)
        yield server


def _answers(server: Redis) -> bool:
    try:
        return bool(server.client.ping())
    except redis.RedisError:
        return False


# Servers


@dataclass(frozen=True)
class Servers:
    """The processes of a peer, which accept on a port."""

    port: int
    pids: list[int]  #: all of them
    workers: list[int]  #: those that serve

    def memory(self) -> int:
        """Return the memory of all, libraries that they share counted once."""
        return sum(map(memory_bytes, self.pids))

    def split(self) -> list[int]:
        """Return how many connections each worker has."""
        ours = on_port(self.port, ESTABLISHED)
        return [len(sockets(pid) & ours) for pid in self.workers]


@contextmanager
def serving(peer: Peer, folder: Path, workers: int, bus: str) -> Iterator[Servers]:
    """Run the processes of a peer inside the block.

    Raises:
        Failure: one ended or did not listen; its standard error is in the message.
    """
    port = free_port()
    log = folder / f"{peer.name}.log"
    options = {"cwd": SERVERS, "env": {**os.environ, **peer.environment(bus)}}
    with ExitStack() as stack:
        output = stack.enter_context(log.open("wb"))
        started = [
            stack.enter_context(
                running(command, stdout=output, stderr=output, **options)
            )
            for command in peer.commands(port, workers, bus)
        ]
        pids = [child.pid for child in started]

        def serves() -> list[int]:
            there = children(pids[0]) if peer.is_served_by_gws else pids
            listen = on_port(port, LISTENING)
            return [pid for pid in there if sockets(pid) & listen]

        wait_until(lambda: len(serves()) == workers, started, log)
        serving_pids = serves()
        servers = Servers(port, sorted({*pids, *serving_pids}), serving_pids)
        wait_for_rest(servers.pids)
        yield servers


def wait_until(
    condition: Callable[[], bool], started: list[subprocess.Popen[str]], log: Path
) -> None:
    """Wait until what was started is as it should be.

    Raises:
        Failure: it has ended, or is not in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if any(child.poll() is not None for child in started):
            break
        with suppress(OSError):
            if condition():
                return
        time.sleep(0.05)
    raise Failure(f"it did not start: {last_line(log)}")


# The load


def build(folder: Path) -> None:
    """Compile load into the folder."""
    sources = [HERE / "load.c", *of_load(CONNECTION)]
    compile_c(folder / "load", sources, "-DWITHOUT_TLS")


class Load:
    """The load generator: a command in, what it has measured out."""

    def __init__(self, child: subprocess.Popen[str], errors: Path) -> None:
        self._child = child
        self._errors = errors

    def ask(self, command: str, seconds: float = 0.0) -> dict[str, Any]:
        """Return the answer to a command that takes so many seconds.

        Raises:
            Failure: there is none.
        """
        assert self._child.stdin and self._child.stdout  # both are pipes
        with suppress(BrokenPipeError):
            self._child.stdin.write(f"{command}\n")
            self._child.stdin.flush()
        readable, _, _ = select.select(
            [self._child.stdout], [], [], seconds + ANSWER_SECONDS
        )
        line = self._child.stdout.readline() if readable else ""
        if not line:
            raise Failure(last_line(self._errors) if readable else "no answer in time")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def loading(
    peer: Peer, servers: Servers, folder: Path, arguments: list[str], also: list[int]
) -> Iterator[Load]:
    """Run the load generator inside the block.

    Args:
        also: processes whose processor time it tells after that of the servers.
    """
    errors = folder / "load.log"
    pids = ",".join(map(str, [*servers.pids, *also]))
    command = [str(folder / "load"), "--port", str(servers.port), "--cpu", pids]
    command += [*arguments, *(["--socketio"] if peer.socketio else [])]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with errors.open("wb") as stderr, running(command, stderr=stderr, **pipes) as child:
        yield Load(child, errors)
