"""Results in, Markdown out: medians, how gws stands, where it loses, how measured."""

from .bars import bar_table
from .figures import LIMIT, OURS, Contender, Figure, Results, Row
from .markdown import readable, table


PICOWS = "picows"  #: the fastest of the others when gws was begun

#: The groups of rows, in the order of the page.
GROUPS = {
    "echo": "Echo",
    "tls": "TLS",
    "deflate": "Compression",
    "fan-out": "Fan-out",
    "connect": "Opening connections",
    "idle": "Memory",
    "latency": "Latency",
    "client": "Clients",
}

PERCENTILES = ("50", "90", "99", "99.9")


def results_section(results: Results) -> str:
    """Return all of it, for the README of the benchmarks."""
    parts = [how_measured(results)]
    for group, title in GROUPS.items():
        rows = [row for row in results.rows if row.group == group]
        if rows:
            parts += [f"### {title}", *group_tables(results, rows)]
    parts += ["### How gws stands", standing(results)]
    parts += ["### Where gws loses", losses(results)]
    if bars := bar_table(results):
        parts += ["### Bars", bars]
    parts.append(notes(results))
    return "\n\n".join(part for part in parts if part)


def how_measured(results: Results) -> str:
    """Return machine, versions and command."""
    meta = results.meta
    versions = ", ".join(f"{name} {one}" for name, one in meta["versions"].items())
    return "\n".join(
        [
            f"- {meta['date']}: {meta['machine']}, {meta['processors']} processors, "
            f"{meta['kernel']}; load average {meta['load_before']:.1f} before it began",
            f"- {meta['python']}; {versions}",
            f"- `{meta['command']}`: medians of {meta['rounds']} interleaved rounds of "
            f"{meta['seconds']:g} s; ± is half of what lies between the lowest and the "
            "highest round",
        ]
    )


# Medians


def group_tables(results: Results, rows: list[Row]) -> list[str]:
    """Return the tables of one group: Python's libraries, and apart the others."""
    measured = results.measured(rows)
    python = [one for one in measured if one.is_python]
    others = [one for one in measured if not one.is_python]
    found = [medians(rows, python, "median")]
    if others:
        ours = [one for one in measured if one.key == OURS]
        found.append(medians(rows, [*ours, *others], "in other languages"))
    if any(figure.percentiles for row in rows for figure in row.figures.values()):
        found.append(percentile_table(rows, measured))
    return found


def medians(rows: list[Row], contenders: list[Contender], corner: str) -> str:
    """Return the table of medians."""
    body = [
        [
            label(row),
            *(cell(row.figures.get(c.key)) for c in contenders),
        ]
        for row in rows
    ]
    return table([corner, *map(heading, contenders)], body)


def label(row: Row) -> str:
    """Return what a line of a table is about."""
    return f"{row.title} ({row.unit})"


def heading(contender: Contender) -> str:
    """Return a contender's title, and its language if that is not Python."""
    if contender.is_python or contender.title.startswith(f"{contender.language} "):
        return contender.title
    return f"{contender.title}, {contender.language}"


def cell(figure: Figure | None) -> str:
    """Return a median, its spread, and the marks that `notes` explains."""
    if figure is None:
        return "-"
    if figure.median is None:
        return "failed"
    words = readable(figure.median) + figure.marks
    return f"{words} ± {figure.spread:.0%}" if len(figure.values) > 1 else words


def percentile_table(rows: list[Row], contenders: list[Contender]) -> str:
    """Return the table of percentiles of the rows that have them."""
    body = [
        [label(row), *(percentiles(row, c.key) for c in contenders)]
        for row in rows
        if any(figure.percentiles for figure in row.figures.values())
    ]
    corner = "p" + " / p".join(PERCENTILES)
    return table([corner, *map(heading, contenders)], body)


def percentiles(row: Row, key: str) -> str:
    """Return a contender's percentiles in a row."""
    figure = row.figures.get(key)
    if figure is None or figure.median is None:
        return "failed" if figure else "-"
    found = figure.percentiles
    return " / ".join(readable(found[p]) if p in found else "-" for p in PERCENTILES)


# How gws stands


#: What the project's README shows: rows, and beside which libraries.
IN_SHORT = (
    "echo-64-1",
    "echo-64-8",
    "echo-8k-1",
    "tls-64-8",
    "deflate-4k",
    "fanout-500",
    "connect",
    "idle-15000",
    "latency-20k",
)
BESIDE = ("picows", "aiohttp", "websockets", "uvicorn", "gevent-websocket")


def overview(results: Results) -> str:
    """Return how many times as good as others gws is in a few rows, for the README."""
    beside = [results.contenders[key] for key in BESIDE if key in results.contenders]
    body = [
        [row.title, *(factor_cell(row, other.key) for other in beside)]
        for name in IN_SHORT
        if (row := results.row(name))
    ]
    header = ["gws is better by", *(f"than {other.title}" for other in beside)]
    return table(header, body)


def standing(results: Results) -> str:
    """Return how many times as good as others gws is in each row; below 1 it loses."""
    others = [c for c in results.contenders.values() if not c.is_python]
    header = ["gws is better by", "than picows", "than the best Python peer"]
    body = [
        [
            row.title,
            factor_cell(row, PICOWS),
            best_cell(results, row),
            *(factor_cell(row, other.key) for other in others),
        ]
        for row in results.rows
        if OURS in row.figures
    ]
    return table([*header, *(f"than {heading(other)}" for other in others)], body)


def factor_cell(row: Row, key: str) -> str:
    """Return how many times as good as another gws is, `-` if one has no figure."""
    # What C needs for a connection's memory is no measure for Python.
    if key == LIMIT and row.unit == "KiB":
        return "-"
    factor = row.factor(OURS, key)
    return f"{factor:.2f}{row.marks(OURS, key)}" if factor else "-"


def best_cell(results: Results, row: Row) -> str:
    """Return the same for the best of the Python libraries, and which that is."""
    best = results.best_peer(row)
    if best is None:
        return "-"
    return f"{factor_cell(row, best)} ({results.contenders[best].title})"


# Where gws loses


def losses(results: Results) -> str:
    """Return every row in which gws is not the first of the Python libraries."""
    lost = [line for row in results.rows if (line := loss(results, row))]
    rows = [row for row in results.rows if OURS in row.figures and results.peers(row)]
    words = f"Of {len(rows)} rows, gws is not the first Python library in {len(lost)}."
    if not lost:
        return words
    header = ["row", "gws", "the first", "it is better by", ""]
    return f"{words}\n\n{table(header, lost)}"


def loss(results: Results, row: Row) -> list[str]:
    """Return what a row says of who is ahead of gws; nothing if nobody is."""
    best = results.best_peer(row)
    if best is None or OURS not in row.figures:
        return []
    title = results.contenders[best].title
    first = f"{title}: {cell(row.figures[best])}"
    start = [label(row), cell(row.figures[OURS]), first]
    factor = row.factor(best, OURS)
    if factor is None:
        return [*start, "-", "gws failed"]
    if factor <= 1:
        return []
    remark = "within the spread of the rounds" if row.overlap(best, OURS) else ""
    return [*start, f"{factor:.2f}{row.marks(best, OURS)}", remark]


# What to know about the figures


def notes(results: Results) -> str:
    """Return marks, failures, and who is not there."""
    lines = [
        f"- Left out: {title} ({', '.join(modules)})."
        for title, modules in results.missing.items()
    ]
    lines += failures(results)
    lines += absences(results)
    figures = [figure for row in results.rows for figure in row.figures.values()]
    if any(figure.generator_bound for figure in figures):
        lines.append(
            "- `*`: the load generator's core was full and the server's was not; the "
            "server can do more, and the ratio is not what it would be."
        )
    if any(figure.disturbed for figure in figures):
        lines.append(
            "- `?`: something else took the processors in all rounds; do not believe "
            "it, nor its ratios."
        )
    return "\n".join(lines)


def failures(results: Results) -> list[str]:
    """Return a line for each contender that failed in a row, with the reason."""
    return [
        f"- Failed: {results.contenders[key].title}, {row.title}: {figure.failed}."
        for row in results.rows
        for key, figure in row.figures.items()
        if figure.failed
    ]


def absences(results: Results) -> list[str]:
    """Return a line for each contender that is not in all rows, and why."""
    reasons: dict[str, list[str]] = {}
    for row in results.rows:
        for key, reason in row.absent.items():
            reasons.setdefault(key, []).append(reason)
    return [
        f"- Not in all rows: {results.contenders[key].title}; "
        f"{'; '.join(dict.fromkeys(found))}."
        for key, found in reasons.items()
    ]


# What it costs to switch something on


#: What is switched on, the row with it, and the row without.
COSTS = [
    ("TLS", "tls-64-1", "echo-64-1"),
    ("TLS", "tls-64-8", "echo-64-8"),
    ("TLS", "tls-8k-1", "echo-8k-1"),
    ("TLS", "connect-tls", "connect"),
    ("compression", "deflate-idle", "idle-1000"),
]


def costs(results: Results) -> str:
    """Return what gws does with something on, and without it."""
    body = [
        [
            what,
            label(row),
            cell(with_it),
            cell(without),
            f"{times:.2f}",
        ]
        for what, name, other in COSTS
        if (row := results.row(name)) and (base := results.row(other))
        if (with_it := row.figures.get(OURS)) and (without := base.figures.get(OURS))
        if with_it.median and without.median
        for times in [with_it.median / without.median]
    ]
    header = ["", "row", "with", "without", "with / without"]
    return table(header, body) if body else "Not measured."
