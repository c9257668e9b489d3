"""How far a run has come: a bar on a terminal, a line a round where there is none."""

import signal
import sys
from contextlib import ExitStack
from types import TracebackType

import click

from .contenders import Contender
from .rounds import Series, rounds_of
from .rows import Row
from .takes import Settings


#: Seconds, measured: to start and stop a server; for a round beside its own time; for
#: members to join; to look at a server's memory.
SERVER, ROUND, JOIN, LOOK = 0.7, 0.25, 0.5, 3.0
#: Connections that are opened, and closed, a second.
OPENED = 3000

#: The bar moves in tenths of a second.
TENTHS = 10


def round_seconds(row: Row, settings: Settings) -> float:
    """Return about how long a round of a row takes."""
    opening = row.connections / OPENED
    if row.kind == "idle":
        return SERVER + LOOK + opening
    around = SERVER if row.kind == "client" else ROUND + opening
    if "fan-out" in row.needs:
        around += JOIN
    return around + settings.warmup + settings.seconds


def row_seconds(row: Row, contenders: int, settings: Settings) -> float:
    """Return about how long a row takes."""
    starts = SERVER if row.kind in ("load", "latency") else 0.0
    rounds = rounds_of(row, settings)
    return contenders * (starts + rounds * round_seconds(row, settings))


def in_words(seconds: float) -> str:
    """Return "40 s" or "12 min"."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


class Progress:
    """Says what is measured and how much is left, on stderr."""

    def __init__(self, plan: list[tuple[Row, int]], settings: Settings) -> None:
        """Take what will be measured: rows, and how many contenders each has."""
        self._settings = settings
        self._left = [row_seconds(row, n, settings) for row, n in plan]
        self._rows = len(plan)
        self._row = 0
        self._interrupted = False
        self._bar = None
        self._stack = ExitStack()
        total = sum(self._left)
        self._length = int(total * TENTHS)
        click.echo(f"{self._rows} rows, about {in_words(total)}", err=True)
        if sys.stderr.isatty():
            self._bar = click.progressbar(
                length=self._length,
                item_show_func=lambda item: item,
                file=sys.stderr,
                show_percent=False,
                width=24,
            )

    def __enter__(self) -> "Progress":
        former = signal.signal(signal.SIGINT, self._interrupt)
        self._stack.callback(signal.signal, signal.SIGINT, former)
        if self._bar is not None:
            self._stack.enter_context(self._bar)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def begin(self, row: Row) -> None:
        """Begin the next row."""
        self._look()
        self._row += 1
        if self._bar is not None:
            self._bar.label = f"{self._row}/{self._rows} {row.name:18}"
            self._move("servers start")

    def starting(self, contender: Contender) -> None:
        """Show whose round begins."""
        self._look()
        if self._bar is not None:
            self._move(contender.title)

    def took(self, contender: Contender, series: Series) -> None:
        """Note a round."""
        step = round_seconds(series.row, self._settings)
        self._left[self._row - 1] = max(self._left[self._row - 1] - step, 0.0)
        if self._bar is not None:
            return
        left = in_words(sum(self._left))
        line = f"{self._row}/{self._rows} {describe(contender, series)}"
        click.echo(f"{line}; {left} left", err=True)

    def end(self) -> None:
        """End a row."""
        self._left[self._row - 1] = 0.0
        if self._bar is not None:
            self._move("done")

    def _interrupt(self, signum: int, frame: object) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def _look(self) -> None:
        # Where a process is forked Python may ignore the exception.
        if self._interrupted:
            raise KeyboardInterrupt

    def _move(self, what: str) -> None:
        assert self._bar is not None  # whoever calls this looked
        position = self._length - int(sum(self._left) * TENTHS)
        self._bar.update(max(position - self._bar.pos, 0), what)
        self._bar.render_progress()  # `update` does not where nothing has moved


def describe(contender: Contender, series: Series) -> str:
    """Return what a round has told."""
    start = f"{series.row.name:18} {contender.title:24}"
    if series.failure:
        return f"{start} FAILED: {series.failure}"
    last = series.samples[-1]
    digits = ".1" if series.row.unit == "/s" else ".2"
    marks = ", disturbed" if last.disturbed else ""
    cpu = f" (cpu {last.busy:.2f}, load {last.load:.2f}{marks})"
    shown = "" if series.row.kind == "idle" else cpu
    return f"{start} {last.figure:12,{digits}f} {series.row.unit}{shown}"
