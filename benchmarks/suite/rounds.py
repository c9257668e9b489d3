"""Takes the figures: rows and contenders in, samples (or what went wrong) out.

Rounds are interleaved: each contender once, then each again, so that a machine that
gets slower or busier does so for all of them alike.
"""

from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

from .contenders import Contender
from .processes import Failure, Server
from .rows import Row
from .takes import Sample, Settings, serve, take


#: How often a round is taken while it is disturbed.
ATTEMPTS = 2
#: A side that had this much of its core was the bottleneck.
FULL = 0.95


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
        return [s for s in self.samples if not s.disturbed] or self.samples

    @property
    def unreliable(self) -> bool:
        """Whether something disturbed all rounds, so that the figure is too bad."""
        return bool(self.samples) and all(s.disturbed for s in self.samples)

    @property
    def figure(self) -> float | None:
        """The median, or None without a sample or after a failure."""
        if self.failure or not self.samples:
            return None
        return median(s.figure for s in self.undisturbed())

    @property
    def percentiles(self) -> dict[str, float] | None:
        """The median of each, in milliseconds; None where a row has none."""
        told = [s.percentiles for s in self.undisturbed() if s.percentiles]
        if self.failure or not told:
            return None
        return {part: round(median(one[part] for one in told), 3) for part in told[0]}

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


class Watcher(Protocol):
    """Who wants to know how far a row has come."""

    def starting(self, contender: Contender) -> None:
        """A round begins."""

    def took(self, contender: Contender, series: Series) -> None:
        """It has ended; the series has its sample, or failed."""


def rounds_of(row: Row, settings: Settings) -> int:
    """Return how often a row is taken: memory hardly differs, and takes long."""
    return min(settings.rounds, 2) if row.kind == "idle" else settings.rounds


def measure_row(
    row: Row, contenders: list[Contender], settings: Settings, watcher: Watcher
) -> dict[str, Series]:
    """Take all rounds of one row. A contender that fails is left out from then on."""
    series = {contender.name: Series(row) for contender in contenders}
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        if row.kind in ("load", "latency"):
            servers = start_servers(row, contenders, series, settings, stack)
        for _ in range(rounds_of(row, settings)):
            for contender in contenders:
                one = series[contender.name]
                watcher.starting(contender)
                if not one.failure:
                    take_round(one, contender, servers.get(contender.name), settings)
                watcher.took(contender, one)
    return series


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
        try:
            server = stack.enter_context(serve(row, contender, settings))
        except Failure as exc:
            series[contender.name].failure = str(exc)
        else:
            servers[contender.name] = server
    return servers


def take_round(
    series: Series, contender: Contender, server: Server | None, settings: Settings
) -> None:
    """Take one sample, and another if something disturbed it."""
    for _ in range(ATTEMPTS):
        try:
            sample = take(series.row, contender, server, settings)
        except Failure as exc:
            series.failure = str(exc)
            return
        series.samples.append(sample)
        if not sample.disturbed:
            return
