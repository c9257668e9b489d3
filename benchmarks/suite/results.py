"""Series in; the JSON that tables and pictures are made of out.

`Results.as_json` is its schema. A figure that `failed` has no median; whoever has no
part in a row is in its `absent`, with the reason.
"""

import json
import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .contenders import Contender
from .rounds import Series
from .rows import Curve, Row


@dataclass
class Results:
    """What was measured until now."""

    command: str
    rounds: int
    seconds: float
    contenders: list[Contender] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, list[str]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])

    def add_row(
        self, row: Row, series: dict[str, Series], absent: dict[str, str]
    ) -> None:
        """Keep a row that is finished."""
        self.rows.append(
            {
                "name": row.name,
                "title": row.title,
                "group": row.group,
                "unit": row.unit,
                "better": "lower" if row.lower_is_better else "higher",
                "size": row.size or None,
                "in_flight": row.in_flight or None,
                "connections": row.connections,
                "figures": {key: figure(one) for key, one in series.items()},
                "absent": absent,
            }
        )

    def add_curve(self, curve: Curve, taken: dict[int, dict[str, Series]]) -> None:
        """Keep a curve; a point that failed, or was disturbed, is not in it."""
        found: dict[str, list[list[float]]] = {}
        for x, series in taken.items():
            for key, one in series.items():
                if one.figure is not None and not one.unreliable:
                    found.setdefault(key, []).append([x, one.figure])
        self.curves.append(
            {
                "name": curve.name,
                "title": curve.title,
                "x": curve.x,
                "unit": curve.unit,
                "figures": found,
            }
        )

    def as_json(self) -> dict[str, Any]:
        """Return all of it. One name is one contender, as a server and as a client."""
        contenders: dict[str, dict[str, str]] = {}
        for one in self.contenders:
            described = {"title": one.title, "language": one.language, "role": one.role}
            contenders.setdefault(one.name, described)
        return {
            "meta": self.meta(),
            "contenders": contenders,
            "rows": self.rows,
            "curves": self.curves,
            "missing": self.missing,
        }

    def meta(self) -> dict[str, Any]:
        """Return how it was measured."""
        return {
            "date": time.strftime("%Y-%m-%d"),
            "machine": cpu_model(),
            "processors": os.cpu_count(),
            "kernel": f"{platform.system()} {platform.release()}",
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "versions": self.versions,
            "command": self.command,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "load_before": self.load_before,
        }

    def save(self, file: Path) -> None:
        """Write it; who is interrupted in this leaves the file as it was."""
        text = json.dumps(self.as_json(), indent=1) + "\n"
        unfinished = file.with_name(file.name + ".unfinished")
        unfinished.write_text(text)
        unfinished.rename(file)


def figure(series: Series) -> dict[str, Any]:
    """Return what one contender reached in one row."""
    return {
        "median": series.figure,
        "values": [] if series.failure else [s.figure for s in series.undisturbed()],
        "disturbed": series.unreliable,
        "generator_bound": series.load_bound,
        "failed": series.failure or None,
        "percentiles": series.percentiles,
    }


def cpu_model() -> str:
    """Return what the kernel calls the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
