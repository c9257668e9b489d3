"""Turns figures into Markdown: medians, ratios, bars met or missed, how measured."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from contenders import CLIENTS, LIMIT, OURS, SERVERS, Contender
from rounds import Figures
from rows import BARS, ROWS, Bar, Row


BEGIN, END = "<!-- results -->", "<!-- end of results -->"


@dataclass(frozen=True)
class Run:
    """One run of the benchmark: what was measured, and how."""

    figures: Figures
    rows: list[Row]
    missing: dict[str, list[str]]  #: title of a contender -> modules not installed
    command: str
    versions: list[str]  #: like "picows 2.3.1"
    rounds: int
    seconds: float
    interrupted: bool

    def figure(self, row: str, contender: str) -> float | None:
        """Return a median, None where there is none."""
        series = self.figures.get((row, contender))
        return series.figure if series else None


def markdown(run: Run) -> str:
    """Return the whole results section."""
    parts = [how_measured(run)]
    for title, contenders, kinds in [
        ("Servers", SERVERS, ("load", "idle")),
        ("Clients", CLIENTS, ("client",)),
    ]:
        rows = [row for row in run.rows if row.kind in kinds]
        names = {name for row, name in run.figures if row in {r.name for r in rows}}
        measured = [c for c in contenders if c.name in names]
        if rows and measured:
            parts.append(f"### {title}\n\n{medians(run, rows, measured)}")
            parts.append(ratios(run, rows, measured))
    bars = bar_table(run)
    if bars:
        parts.append(f"### Bars\n\n{bars}")
    parts.append(notes(run))
    return "\n\n".join(part for part in parts if part) + "\n"


# Tables


def table(header: list[str], body: list[list[str]]) -> str:
    """Return a Markdown table; all columns but the first are right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def medians(run: Run, rows: list[Row], contenders: list[Contender]) -> str:
    """Return the table of medians."""
    body = [
        [f"{row.title} ({row.unit})", *(median_cell(run, row, c) for c in contenders)]
        for row in rows
    ]
    return table(["median", *(c.title for c in contenders)], body)


def median_cell(run: Run, row: Row, contender: Contender) -> str:
    """Return a median and its marks, which `notes` explains."""
    series = run.figures.get((row.name, contender.name))
    if series is None or series.figure is None:
        return "failed" if series else "-"
    marks = ("*" if series.load_bound else "") + ("?" if series.unreliable else "")
    return readable(series.figure) + marks


def readable(figure: float) -> str:
    """Return three digits or so: 8.93, 171 k, 1.19 M."""
    if figure >= 1e6:
        return f"{figure / 1e6:.2f} M"
    if figure >= 1e5:
        return f"{figure / 1e3:.0f} k"
    if figure >= 1e3:
        return f"{figure / 1e3:.1f} k"
    return f"{figure:.1f}"


def ratios(run: Run, rows: list[Row], contenders: list[Contender]) -> str:
    """Return the table of ratios: to picows / to the C programs."""
    if not {"picows", LIMIT} & {c.name for c in contenders}:
        return ""
    header = ["x picows / x C", *(c.title for c in contenders)]
    body = [
        [row.title, *(ratio_cell(run, row.name, c.name) for c in contenders)]
        for row in rows
    ]
    return table(header, body)


def ratio_cell(run: Run, row: str, contender: str) -> str:
    """Return both ratios, `-` where one side has no figure."""
    ours = run.figure(row, contender)
    if ours is None:
        return "-"
    bases = [run.figure(row, base) for base in ("picows", LIMIT)]
    if ROWS[row].lower_is_better:
        bases[1] = None  # what C needs for a connection is no measure for Python
    return " / ".join(f"{ours / base:.2f}" if base else "-" for base in bases)


# Bars


def bar_table(run: Run) -> str:
    """Return which bars are met, "" if gws was not measured."""
    body = [bar_cells(run, bar) for bar in BARS if run.figure(bar.row, bar.ours)]
    return table(["measure", "bar", "figure", ""], body) if body else ""


def bar_cells(run: Run, bar: Bar) -> list[str]:
    """Return one line of the table of bars."""
    row = ROWS[bar.row]
    sign = "<=" if row.lower_is_better else ">="
    against, base = opposite(run, bar)
    title = row.title if bar.ours == "gws" else f"{row.title}: {title_of(bar.ours)}"
    ours = run.figure(bar.row, bar.ours)
    assert ours is not None  # bar_table looked
    if bar.beyond:
        less = run.figure(bar.beyond, bar.ours)
        against = "more than without"
        ours, base = (0.0, None) if less is None else (ours - less, 1.0)
    if base is None:
        return [title, f"{sign} {bar.factor} x {against}", "-", "not measured"]
    figure = ours / base
    met = figure <= bar.factor if row.lower_is_better else figure >= bar.factor
    measure = f"x {against}" if bar.against else f"{row.unit} {against}".rstrip()
    words, limit = f"{figure:.2f} {measure}", f"{bar.factor} {measure}"
    return [title, f"{sign} {limit}", words, "met" if met else "**missed**"]


def title_of(server: str) -> str:
    """Return the title of a server."""
    return next(c.title for c in SERVERS if c.name == server)


def opposite(run: Run, bar: Bar) -> tuple[str, float | None]:
    """Return whom a bar is against, and its figure."""
    if not bar.against:
        return "", 1.0
    row = ROWS[bar.row]
    contenders = CLIENTS if row.kind == "client" else SERVERS
    titles = {c.name: c.title for c in contenders}
    if bar.against != "best peer":
        return titles[bar.against], run.figure(bar.row, bar.against)
    peers = {
        name: figure
        for name in titles
        if name not in {*OURS, LIMIT} and (figure := run.figure(bar.row, name))
    }
    if not peers:
        return bar.against, None
    best = (min if row.lower_is_better else max)(peers, key=lambda name: peers[name])
    return f"{bar.against} ({titles[best]})", peers[best]


# How it was measured


def how_measured(run: Run) -> str:
    """Return machine, versions and command."""
    return "\n".join(
        [
            f"- {cpu_model()}, {os.cpu_count()} processors, "
            f"{platform.system()} {platform.release()}",
            f"- {platform.python_implementation()} {platform.python_version()}, "
            f"{', '.join(run.versions)}",
            f"- `{run.command}`: medians of {run.rounds} interleaved rounds of "
            f"{run.seconds:g} s",
        ]
    )


def cpu_model() -> str:
    """Return what the kernel calls the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def notes(run: Run) -> str:
    """Return what to know about the figures: marks, failures, who is not there."""
    lines = [
        f"- Not installed, so left out: {title} ({', '.join(modules)})."
        for title, modules in run.missing.items()
    ]
    for (row, name), series in run.figures.items():
        if series.failure:
            lines.append(f"- Failed: {name}, {ROWS[row].title}: {series.failure}.")
    if any(series.load_bound for series in run.figures.values()):
        lines.append(
            "- `*`: the load generator's core was full and the server's was not; "
            "the server can do more."
        )
    if any(series.unreliable for series in run.figures.values() if series.samples):
        lines.append("- `?`: all rounds were disturbed, the figure is too low.")
    taken = [s for s in run.figures.values() if s.samples]
    disturbed = sum(len(s.samples) - len(s.undisturbed()) for s in taken)
    if disturbed:
        total = sum(len(s.samples) for s in taken)
        lines.append(
            f"- {disturbed} of {total} rounds were not counted: something else on "
            "the machine took the processors."
        )
    if taken and run.rounds > 1:
        widest = max(taken, key=lambda series: series.spread)
        lines.append(
            f"- The widest spread of a figure's rounds was {widest.spread:.0%} of "
            f"its median ({widest.row.title})."
        )
    return "\n".join(lines)


def write_into(readme: Path, text: str) -> None:
    """Replace what stands between the marker lines of a file."""
    before, _, rest = readme.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{readme} does not have the lines {BEGIN} and {END}")
    readme.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")
