"""Takes the figures: rows and contenders in, samples (or what went wrong) out.

Rounds are interleaved: each contender once, then each again, so that a machine that
gets slower or busier does so for all of them alike.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import deflate
from contenders import LIMIT, Contender
from processes import (
    Cores,
    Failure,
    Server,
    finish,
    memory_bytes,
    reporting,
    serving,
)
from rows import Row


#: A round in which neither side had this much of its core was disturbed.
BUSY = 0.85
#: How often a round is taken while it is disturbed.
ATTEMPTS = 2
#: A side that had this much of its core was the bottleneck.
FULL = 0.95


@dataclass(frozen=True)
class Sample:
    """One round's figure, and how much of its core each side used (0 to 1)."""

    figure: float
    busy: float = 1.0  #: the program that is measured
    load: float = 0.0  #: its opposite

    @property
    def disturbed(self) -> bool:
        """Whether neither side kept its core busy: something else took them."""
        return max(self.busy, self.load) < BUSY


@dataclass
class Series:
    """All rounds of one contender in one row."""

    row: Row
    samples: list[Sample] = field(default_factory=list)
    failure: str = ""

    def undisturbed(self) -> list[Sample]:
        """Return the rounds in which nothing else took the processors.

        All of them, if that leaves none.
        """
        good = [s for s in self.samples if not s.disturbed]
        return good if good and self.row.saturates else self.samples

    @property
    def unreliable(self) -> bool:
        """Whether something disturbed all rounds, so that the figure is too low."""
        return self.row.saturates and all(s.disturbed for s in self.samples)

    @property
    def figure(self) -> float | None:
        """The median, or None without a sample or after a failure."""
        if self.failure or not self.samples:
            return None
        return median(s.figure for s in self.undisturbed())

    @property
    def spread(self) -> float:
        """How far apart the rounds were: (highest - lowest) / median."""
        figures = [s.figure for s in self.undisturbed()]
        return (max(figures) - min(figures)) / median(figures) if figures else 0.0

    @property
    def load_bound(self) -> bool:
        """Whether the load generator was the bottleneck, not what is measured."""
        samples = self.undisturbed()
        return (
            self.row.saturates
            and bool(samples)
            and median(s.load for s in samples) >= FULL
            and median(s.busy for s in samples) < FULL
        )


@dataclass(frozen=True)
class Settings:
    """How to measure."""

    folder: Path  #: where the C programs are, and logs go
    cores: Cores
    rounds: int
    seconds: float
    warmup: float
    idle_connections: int
    binary: bool


Figures = dict[tuple[str, str], Series]  #: by row and contender
Say = Callable[[str], None]


def measure_row(
    row: Row, contenders: list[Contender], settings: Settings, say: Say
) -> dict[str, Series]:
    """Take all rounds of one row. A contender that fails is left out from then on."""
    series = {contender.name: Series(row) for contender in contenders}
    # Memory hardly differs from round to round, and takes long.
    rounds = min(settings.rounds, 2) if row.kind == "idle" else settings.rounds
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        if row.kind == "load":
            servers = start_servers(row, contenders, series, settings, stack)
        for _ in range(rounds):
            for contender in contenders:
                one = series[contender.name]
                if not one.failure:
                    server = servers.get(contender.name)
                    take_round(one, contender, server, settings, say)
    return series


def server_arguments(row: Row) -> list[str]:
    """Return what the servers are told for the row."""
    return ["deflate"] if row.deflate else []


def start_servers(
    row: Row,
    contenders: list[Contender],
    series: dict[str, Series],
    settings: Settings,
    stack: ExitStack,
) -> dict[str, Server]:
    """Start the contenders' servers; the stack stops them."""
    servers = {}
    for contender in contenders:
        core = settings.cores.server
        server = serving(contender, settings.folder, core, *server_arguments(row))
        try:
            servers[contender.name] = stack.enter_context(server)
        except Failure as exc:
            series[contender.name].failure = str(exc)
    return servers


def take_round(
    series: Series,
    contender: Contender,
    server: Server | None,
    settings: Settings,
    say: Say,
) -> None:
    """Take one sample, and another if something disturbed it."""
    row = series.row
    take = {"load": take_load, "idle": take_idle, "client": take_client}[row.kind]
    for _ in range(ATTEMPTS):
        try:
            series.samples.append(take(row, contender, server, settings))
        except Failure as exc:
            series.failure = str(exc)
        say(describe(contender, series))
        if series.failure or not row.saturates or not series.samples[-1].disturbed:
            return


def describe(contender: Contender, series: Series) -> str:
    """Return a line about the round just taken."""
    start = f"{series.row.name:11} {contender.title:26}"
    if series.failure:
        return f"{start} FAILED: {series.failure}"
    last = series.samples[-1]
    cpu = f"  (cpu: {last.busy:.2f}, load {last.load:.2f})"
    return f"{start} {last.figure:14,.1f} {series.row.unit}" + (
        "" if series.row.kind == "idle" else cpu
    )


def load_command(row: Row, port: int, settings: Settings) -> list[str]:
    """Return the load generator's command line for the row."""
    return [
        str(settings.folder / "load"),
        *(row.arguments or ("echo",)),
        *("--port", str(port)),
        *("--connections", str(row.connections)),
        *("--in-flight", str(row.in_flight)),
        *("--seconds", str(settings.seconds)),
        *("--warmup", str(settings.warmup)),
        *(["--binary"] if settings.binary else []),
        *(deflate.arguments(row.deflate, settings.folder) if row.deflate else []),
    ]


def run_to_end(command: list[str], core: int, settings: Settings) -> dict[str, Any]:
    """Run a program that ends with one line of JSON, and return what it says."""
    with reporting(command, core) as child:
        out = finish(child, settings.seconds * 2 + settings.warmup + 60)
    result: dict[str, Any] = json.loads(out)
    return result


def take_load(
    row: Row, contender: Contender, server: Server | None, settings: Settings
) -> Sample:
    """Run the load generator against a server for one round."""
    assert server is not None  # measure_row started it
    command = load_command(row, server.port, settings)
    command += ["--server-pid", str(server.pid)]
    result = run_to_end(command, settings.cores.load, settings)
    if row.deflate:
        deflate.check(result["reply"], bool(result["compressed"]), row.deflate)
    return Sample(result["per_second"], result["server_cpu"], result["cpu"])


def take_idle(
    row: Row, contender: Contender, server: Server | None, settings: Settings
) -> Sample:
    """Measure how much a fresh server grows by connections that say nothing.

    A few connections come and go first: what the first of them makes the server
    import or allocate once is not the price of a connection.
    """
    count = settings.idle_connections
    cores = settings.cores
    arguments = server_arguments(row)
    with serving(contender, settings.folder, cores.server, *arguments) as fresh:
        load = str(settings.folder / "load")
        port = ["--port", str(fresh.port)]
        warm = [load, "echo", *port, "--connections", "20", "--seconds", "0.2"]
        if row.deflate:
            warm += deflate.arguments(row.deflate, settings.folder)
            port += ["--offer", deflate.OFFER]
        run_to_end(warm, cores.load, settings)
        time.sleep(0.5)
        before = memory_bytes(fresh.pid)
        command = [load, "idle", *port, "--connections", str(count), "--sources", "10"]
        with reporting(command, cores.load) as child:
            assert child.stdout is not None  # it is a pipe
            if not child.stdout.readline():  # the load generator dies if it must wait
                finish(child, 10)
            time.sleep(1)
            after = memory_bytes(fresh.pid)
    return Sample((after - before) / count / 1024)


def take_client(
    row: Row, contender: Contender, server: Server | None, settings: Settings
) -> Sample:
    """Run a client against the C echo server. They have swapped their cores."""
    limit = Contender(LIMIT, "", None, (), ())
    cores = settings.cores
    with serving(limit, settings.folder, cores.load) as echo:
        if contender.script is None:
            command = load_command(row, echo.port, settings)
        else:
            shape = (row.connections, row.in_flight, settings.warmup, settings.seconds)
            arguments = [str(value) for value in (echo.port, *shape)]
            command = [sys.executable, str(contender.script), *arguments]
        result = run_to_end(command, cores.server, settings)
    return Sample(result["per_second"], result["cpu"])
