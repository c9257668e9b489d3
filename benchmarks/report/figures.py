"""``results.json`` in; rows, and who is how far ahead in them, out."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


#: What gws by itself is called.
OURS = "gws"
#: What the C programs are called: the limit, no library at all.
LIMIT = "c"


@dataclass(frozen=True)
class Contender:
    """Who was measured."""

    key: str
    title: str
    language: str
    role: str  #: "server" or "client"

    @property
    def ours(self) -> bool:
        """Whether it is gws, by itself or inside another server."""
        return self.key.startswith("gws")

    @property
    def is_python(self) -> bool:
        """Whether it is written in Python, or compiled from it; gws is."""
        return self.language == "Python"


@dataclass(frozen=True)
class Figure:
    """What one contender reached in one row."""

    median: float | None  #: None if it failed
    values: tuple[float, ...]  #: of the rounds
    disturbed: bool  #: something else took the processors in all rounds
    generator_bound: bool  #: the load generator was the bottleneck
    failed: str | None  #: why there is no figure
    percentiles: dict[str, float]  #: by "50", "99.9"; empty in most rows

    @property
    def low(self) -> float:
        """The lowest of the rounds."""
        return min(self.values, default=self.median or 0.0)

    @property
    def high(self) -> float:
        """The highest of the rounds."""
        return max(self.values, default=self.median or 0.0)

    @property
    def marks(self) -> str:
        """What to know before believing it: `*` and `?`; the tables explain them."""
        return "*" * self.generator_bound + "?" * self.disturbed

    @property
    def drawn(self) -> bool:
        """Whether a line should go through it: it is there, and to be believed."""
        return bool(self.median) and not self.disturbed

    @property
    def spread(self) -> float:
        """How far the rounds are from each other: half of it, per median."""
        return (self.high - self.low) / 2 / self.median if self.median else 0.0


@dataclass(frozen=True)
class Row:
    """One measure, and what everybody reached in it."""

    name: str
    title: str
    group: str
    unit: str
    lower_is_better: bool
    size: int | None
    in_flight: int | None
    connections: int | None
    figures: dict[str, Figure]
    absent: dict[str, str]  #: who has no part in it, and why

    def median(self, key: str) -> float | None:
        """Return a contender's median, None if it has none."""
        figure = self.figures.get(key)
        return figure.median if figure else None

    def factor(self, key: str, other: str) -> float | None:
        """Return how many times as good one is as the other; None without both.

        Above 1 the first is better, whether more or less of the unit is.
        """
        one, two = self.median(key), self.median(other)
        if not one or not two:
            return None
        return two / one if self.lower_is_better else one / two

    def marks(self, *keys: str) -> str:
        """Return the marks of a ratio of these contenders' figures."""
        found = "".join(self.figures[key].marks for key in keys)
        return "".join(mark for mark in "*?" if mark in found)

    def best(self, keys: list[str]) -> str | None:
        """Return which of these contenders is the best; None if none has a figure."""
        medians = {key: m for key in keys if (m := self.median(key)) is not None}
        choose = min if self.lower_is_better else max
        return choose(medians, key=lambda key: medians[key]) if medians else None

    def overlap(self, key: str, other: str) -> bool:
        """Whether some round of the one was as good as some round of the other."""
        one, two = self.figures[key], self.figures[other]
        return one.low <= two.high and two.low <= one.high


@dataclass(frozen=True)
class Curve:
    """How figures grow with something: by contender, its points."""

    name: str
    title: str
    x: str
    unit: str
    points: dict[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class Results:
    """One run of the benchmark."""

    meta: dict[str, Any]
    contenders: dict[str, Contender]
    rows: list[Row]
    curves: list[Curve]
    missing: dict[str, list[str]]  #: who or what was left out, and why

    def row(self, name: str) -> Row | None:
        """Return a row by its name; None if it was not measured."""
        return next((row for row in self.rows if row.name == name), None)

    def measured(self, rows: list[Row]) -> list[Contender]:
        """Return who took part in any of these rows, in the order of the file."""
        keys = {key for row in rows for key in row.figures}
        return [one for one in self.contenders.values() if one.key in keys]

    def peers(self, row: Row) -> list[str]:
        """Return the keys of the Python libraries other than gws in a row."""
        return [
            one.key for one in self.measured([row]) if one.is_python and not one.ours
        ]

    def best_peer(self, row: Row) -> str | None:
        """Return the key of the best of these, None if none has a figure."""
        return row.best(self.peers(row))


def load(path: Path) -> Results:
    """Read what the benchmark has written."""
    data = json.loads(path.read_text())
    return Results(
        meta=data["meta"],
        contenders={
            key: Contender(key, one["title"], one["language"], one["role"])
            for key, one in data["contenders"].items()
        },
        rows=[row_of(row) for row in data["rows"]],
        curves=[curve_of(curve) for curve in data["curves"]],
        missing=data["missing"],
    )


def row_of(row: dict[str, Any]) -> Row:
    """Return a row of the file as a `Row`."""
    return Row(
        name=row["name"],
        title=row["title"],
        group=row["group"],
        unit=row["unit"],
        lower_is_better=row["better"] == "lower",
        size=row["size"],
        in_flight=row["in_flight"],
        connections=row["connections"],
        figures={key: figure_of(one) for key, one in row["figures"].items()},
        absent=row["absent"],
    )


def figure_of(one: dict[str, Any]) -> Figure:
    """Return a figure of the file as a `Figure`; one that failed has no median."""
    return Figure(
        median=None if one["failed"] else one["median"],
        values=tuple(one["values"]),
        disturbed=one["disturbed"],
        generator_bound=one["generator_bound"],
        failed=one["failed"],
        percentiles=one["percentiles"] or {},
    )


def curve_of(curve: dict[str, Any]) -> Curve:
    """Return a curve of the file as a `Curve`."""
    points = {
        key: [(float(x), float(y)) for x, y in found]
        for key, found in curve["figures"].items()
    }
    return Curve(curve["name"], curve["title"], curve["x"], curve["unit"], points)
