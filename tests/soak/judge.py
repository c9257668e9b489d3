"""What the server held before and after in, what it should not hold any more out."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence


MIB = 2**20

#: By how much figures may be higher than before; those not named, by nothing. Objects
#: are few: a date of the log, a compiled pattern. One a connection would be hundreds.
ALLOWED = {"objects": 50}

#: What the first round may add to the memory: the allocator then has enough of each
#: size for a crowd. What every round takes is lost: the second may hardly add to it.
MEMORY_ONCE = 8 * MIB
MEMORY_AGAIN = 2 * MIB

Figures = dict[str, int]


@dataclasses.dataclass
class Result:
    """What came of a scenario."""

    name: str
    count: int
    seconds: float = 0.0
    #: The memory before, and after each round.
    memory: list[int] = dataclasses.field(default_factory=list)
    #: The most seconds it took until all was as before.
    settled: float = 0.0
    #: What else was measured, in words.
    notes: list[str] = dataclasses.field(default_factory=list)
    #: What went wrong.
    faults: list[str] = dataclasses.field(default_factory=list)


def leftovers(before: Figures, now: Figures) -> list[str]:
    """Return what is left of the crowd; memory is for `growth` to judge."""
    return [
        f"{n - before[name]} {name} left behind"
        for name, n in now.items()
        if name != "memory" and n - before[name] > ALLOWED.get(name, 0)
    ]


def growth(memory: list[int], allowed: Sequence[int]) -> list[str]:
    """Return by how much too much the memory grew, from each figure to the next."""
    grown = [after - before for before, after in itertools.pairwise(memory)]
    return [
        f"{n / MIB:.1f} MiB more memory, over {most / MIB:.1f}"
        for n, most in zip(grown, allowed, strict=True)
        if n > most
    ]


def table(results: list[Result]) -> str:
    """Return the results in Markdown."""
    head = ["scenario", "clients", "/s", "memory, MiB", "settled", "measured", "result"]
    rows = [head, ["---", "---:", "---:", "---", "---:", "---", "---"]]
    for result in results:
        rate = f"{result.count / result.seconds:,.0f}" if result.seconds else ""
        rows.append(
            [
                result.name,
                f"{result.count:,}",
                rate,
                ", ".join(f"{n / MIB:.1f}" for n in result.memory),
                f"{result.settled:.1f} s",
                "; ".join(result.notes),
                "; ".join(result.faults) or "ok",
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
