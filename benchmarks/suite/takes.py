"""Takes one sample: a row and a contender in, a figure out, or `Failure`."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import deflate
from .contenders import Contender
from .node import environment
from .processes import (
    Cores,
    Server,
    finish,
    memory_bytes,
    reporting,
    serving,
)
from .programs import CERTIFICATE
from .rows import Row


#: A round in which neither side had this much of its core was disturbed.
BUSY = 0.85
#: So was one in which the load generator sent a message in a hundred so late, in ms.
LATE = 1.0

PERCENTILES = ("50", "90", "99", "99.9")

#: How many a second even the slowest server lets in.
OPENED_PER_SECOND = 500
#: Seconds beyond what a round takes until it is given up.
PATIENCE = 60


@dataclass(frozen=True)
class Sample:
    """One round's figure, and how much of its core each side used (0 to 1)."""

    figure: float
    busy: float = 1.0  #: the program that is measured
    load: float = 0.0  #: its opposite
    disturbed: bool = False  #: something else took the processors
    percentiles: dict[str, float] | None = None


@dataclass(frozen=True)
class Settings:
    """How to measure."""

    folder: Path  #: where the C programs are, and logs go
    cores: Cores
    rounds: int
    seconds: float
    warmup: float
    binary: bool = False


@contextmanager
def serve(row: Row, contender: Contender, settings: Settings) -> Iterator[Server]:
    """Run a contender's server inside the block, as the row needs it."""
    folder = settings.folder
    arguments = ["deflate"] if "deflate" in row.needs else []
    if "tls" in row.needs:
        arguments.append(f"tls={folder / CERTIFICATE}")
    with serving(
        contender.command(folder),
        folder / f"{contender.name}.log",
        settings.cores.server,
        *arguments,
        environment=environment(folder),
    ) as server:
        yield server


def take(
    row: Row, contender: Contender, server: Server | None, settings: Settings
) -> Sample:
    """Take one sample of a row; the server is None where none is wanted yet."""
    return TAKES[row.kind](row, contender, server, settings)


# The load generator


def load_command(row: Row, port: int, settings: Settings) -> list[str]:
    """Return the load generator's command line for the row."""
    return [
        str(settings.folder / "load"),
        *row.arguments,
        *("--port", str(port)),
        *("--connections", str(row.connections)),
        *("--in-flight", str(max(row.in_flight, 1))),
        *(("--size", str(row.size)) if row.size else ()),
        *("--seconds", str(settings.seconds)),
        *("--warmup", str(settings.warmup)),
        *(["--binary"] if settings.binary else []),
        *as_needed(row, settings.folder),
    ]


def as_needed(row: Row, folder: Path) -> list[str]:
    """Return the load generator's arguments for TLS and compression."""
    tls = ["--tls", str(folder / CERTIFICATE)] if "tls" in row.needs else []
    if "deflate" not in row.needs:
        return tls
    return [*tls, *deflate.arguments(row.size, folder)]


def run_to_end(
    command: list[str], core: int, row: Row, settings: Settings
) -> dict[str, Any]:
    """Run a program that ends with one line of JSON, and return what it says."""
    opening = row.connections / OPENED_PER_SECOND
    with reporting(command, core) as child:
        out = finish(child, settings.seconds + settings.warmup + opening + PATIENCE)
    result: dict[str, Any] = json.loads(out)
    return result


def take_load(
    row: Row, contender: Contender, server: Server | None, settings: Settings
) -> Sample:
    """Count what comes back from a server."""
    assert server is not None  # measure_row started it
    command = load_command(row, server.port, settings)
    command += ["--server-pid", str(server.pid)]
    result = run_to_end(command, settings.cores.load, row, settings)
    if "deflate" in row.needs:
        deflate.check(result["reply"], bool(result["compressed"]), row.size)
    return counted(row, result["per_second"], result["server_cpu"], result["cpu"])


def counted(row: Row, figure: float, busy: float, load: float = 0.0) -> Sample:
    """Return a sample of what was counted while each side used so much of its core."""
    disturbed = row.saturates and max(busy, load) < BUSY
    return Sample(figure, busy, load, disturbed)


def take_latency(
    row: Row, contender: Contender, server: Server | None, settings: Settings
) -> Sample:
    """Tell how long echoes take at the row's rate."""
    assert server is not None  # measure_row started it
    command = load_command(row, server.port, settings)
    command += ["--server-pid", str(server.pid)]
    told = run_to_end(command, settings.cores.load, row, settings)
    percentiles = {part: told[f"p{part}"] for part in PERCENTILES}
    return Sample(
        told["p99"], told["server_cpu"], told["cpu"], told["late"] > LATE, percentiles
    )


# Memory


def take_idle(
    row: Row, contender: Contender, server: Server | None, settings: Settings
) -> Sample:
    """Measure how much a fresh server grows by connections that say nothing.

    A few connections come and go first: what the first of them makes the server
    import or allocate once is not the price of a connection.
    """
    load, core = str(settings.folder / "load"), settings.cores.load
    with serve(row, contender, settings) as fresh:
        port = ["--port", str(fresh.port)]
        warm = [load, "echo", *port, "--connections", "20", "--seconds", "0.2"]
        run_to_end([*warm, *as_needed(row, settings.folder)], core, row, settings)
        time.sleep(0.5)
        before = memory_bytes(fresh.pid)
        command = [load, *row.arguments, *port, "--connections", str(row.connections)]
        if "deflate" in row.needs:
            command += ["--offer", deflate.OFFER]
        with reporting(command, core) as child:
            assert child.stdout is not None  # it is a pipe
            if not child.stdout.readline():  # the load generator dies if it must wait
                finish(child, 10)
            time.sleep(1)
            after = memory_bytes(fresh.pid)
    return Sample((after - before) / row.connections / 1024)


# Clients


def take_client(
    row: Row, contender: Contender, server: Server | None, settings: Settings
) -> Sample:
    """Run a client against the C echo server. They have swapped their cores."""
    folder, cores = settings.folder, settings.cores
    program = [str(folder / "epoll_echo")]
    with serving(program, folder / "c.log", cores.load) as echo:
        if contender.script is None:
            command = load_command(row, echo.port, settings)
        else:
            shape = (row.connections, row.in_flight, settings.warmup, settings.seconds)
            arguments = [str(value) for value in (echo.port, *shape)]
            command = [sys.executable, str(contender.script), *arguments]
        result = run_to_end(command, cores.server, row, settings)
    return counted(row, result["per_second"], result["cpu"])


Take = Callable[[Row, Contender, Server | None, Settings], Sample]

TAKES: dict[str, Take] = {
    "load": take_load,
    "latency": take_latency,
    "idle": take_idle,
    "client": take_client,
}
