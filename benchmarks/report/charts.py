"""Results in, pictures out: SVG, the same octets for the same figures.

Text stays text, and the background is a light panel of its own: so that a page may be
light or dark. gws has one colour in all of them, C is a dashed line, and what failed is
said in words, where a bar of no length would lie.
"""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from .drawing import (
    STYLE,
    Coloured,
    bar_panel,
    coloured,
    finish_bars,
    finish_lines,
    line,
    new_picture,
    no_picture,
    octets,
    spaced,
    tick,
    titled,
)
from .figures import LIMIT, OURS, Contender, Curve, Results, Row


#: The rows that the README shows.
ECHO = ("echo-64-1", "echo-64-8", "echo-64-64", "fanout-500")

Draw = Callable[[Results], Picture | None]


def draw_all(results: Results, folder: Path) -> None:
    """Write all pictures; one without figures says so, for pages to show."""
    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE}):
        for name, draw in PICTURES.items():
            picture = draw(results) or no_picture(name)
            path = folder / f"benchmark-{name}.svg"
            picture.savefig(path, metadata={"Date": None, "Creator": None})


# Bars


def echo_picture(results: Results) -> Picture | None:
    """Draw small messages and fan-out, for somebody who has five seconds."""
    rows = [row for name in ECHO if (row := results.row(name))]
    if not rows:
        return None
    measured = results.measured(rows)
    peers = [one for one in measured if one.is_python and not one.ours]
    ours = [one for one in measured if one.key == OURS]
    title = "Messages a second, server on one core: longer is better"
    return bars(rows, [*ours, *peers], title)


def memory_picture(results: Results) -> Picture | None:
    """Draw what idle connections cost."""
    rows = [row for row in results.rows if row.unit == "KiB"]
    rows.sort(key=lambda row: row.group != "idle")
    if not rows:
        return None
    title = "Memory of the server for an idle connection, KiB: shorter is better"
    # What C needs for a connection is no measure for others.
    measured = [one for one in results.measured(rows) if one.key != LIMIT]
    return bars(rows, measured, title)


def bars(rows: list[Row], everybody: list[Contender], title: str) -> Picture:
    """Draw one panel of bars a row, side by side; all have the same contenders."""
    everybody = sorted(
        everybody, key=lambda one: (not one.ours, standing(rows[0], one.key))
    )
    picture, panels = new_picture(title, len(rows), 1.25 + 0.25 * len(everybody))
    n_characters = 100 // len(rows)
    for panel, row in zip(panels, rows, strict=True):
        titled(panel, row.title, n_characters)
        bar_panel(panel, row, everybody)
    lowest = max(panel.get_ylim()[0] for panel in panels)
    for panel in panels:
        panel.set_ylim(bottom=lowest)  # so that a contender is at one height in all
    panels[0].set_yticks(range(len(everybody)), [one.title for one in everybody])
    for label, one in zip(panels[0].get_yticklabels(), everybody, strict=True):
        label.set_fontweight("bold" if one.ours else "normal")
    for panel in panels[1:]:
        panel.set_yticks([])
    return finish_bars(picture, rows, [LIMIT, *(one.key for one in everybody)])


def standing(row: Row, key: str) -> float:
    """Return what to sort by, the best first and who has no figure last."""
    median = row.median(key)
    if median is None:
        return float("inf")
    return median if row.lower_is_better else -median


# Lines


def sizes_picture(results: Results) -> Picture | None:
    """Draw echoes of messages of all sizes, a panel for how many are in flight."""
    echoes = [row for row in results.rows if row.group == "echo" and row.size]
    by_in_flight: dict[int, list[Row]] = {}
    for row in sorted(echoes, key=lambda row: (row.in_flight or 0, row.size or 0)):
        by_in_flight.setdefault(row.in_flight or 0, []).append(row)
    shown = {n: rows for n, rows in by_in_flight.items() if len(rows) > 1}
    if not shown:
        return None
    title = "Echoes a second by the size of the message: higher is better"
    picture, panels = new_picture(title, len(shown), 3.8)
    colours = coloured(results, echoes)
    missing: list[str] = []
    for panel, (in_flight, rows) in zip(panels, shown.items(), strict=True):
        titled(panel, f"{in_flight} in flight", 40)
        missing += size_panel(panel, rows, colours)
    return finish_lines(picture, panels, missing)


def size_panel(panel: Axes, rows: list[Row], colours: Coloured) -> list[str]:
    """Draw a line for everybody, and return who has no point where."""
    for colour, one in colours:
        good = [
            (float(row.size or 0), figure)
            for row in rows
            if (figure := row.figures.get(one.key)) and figure.drawn
        ]
        if len(good) < 2:
            continue  # that is no line
        medians = [figure.median or 0.0 for _, figure in good]
        spread = [(figure.low, figure.high) for _, figure in good]
        line(panel, one, colour, [size for size, _ in good], medians, spread)
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    sizes = [row.size or 0 for row in rows]
    panel.set_xticks(sizes, [octets(size) for size in sizes])
    return omitted(rows, colours)


def omitted(rows: list[Row], colours: Coloured) -> list[str]:
    """Return who has no point in which row, though measured."""
    return [
        f"{one.title} ({row.title})"
        for row in rows
        for _, one in colours
        if one.key in row.figures and not row.figures[one.key].drawn
    ]


def latency_picture(results: Results) -> Picture | None:
    """Draw how long the slow ones of a row's messages took."""
    rows = [row for row in results.rows if row.group == "latency"]
    if not rows:
        return None
    title = "Time of a message there and back, by percentile: lower is better"
    picture, panels = new_picture(title, len(rows), 3.6)
    colours = coloured(results, rows)
    for panel, row in zip(panels, rows, strict=True):
        titled(panel, row.title.removesuffix(": p99"), 110 // len(rows))
        percentile_panel(panel, row, colours)
    panels[0].set_ylabel("milliseconds")
    return finish_lines(picture, panels, omitted(rows, colours))


def percentile_panel(panel: Axes, row: Row, colours: Coloured) -> None:
    """Draw a line for everybody through the percentiles that were taken."""
    names = {name for one in row.figures.values() for name in one.percentiles}
    order = sorted(names, key=float)
    for colour, one in colours:
        figure = row.figures.get(one.key)
        found = figure.percentiles if figure and figure.drawn else {}
        there = [name for name in order if name in found]
        if there:
            xs = [float(order.index(name)) for name in there]
            line(panel, one, colour, xs, [found[name] for name in there])
    panel.set_xticks(range(len(order)), [f"{name} %" for name in order])
    panel.set_yscale("log")


def curves_picture(results: Results) -> Picture | None:
    """Draw how figures grow, a panel each."""
    curves = [curve for curve in results.curves if curve.points]
    if not curves:
        return None
    picture, panels = new_picture("How it grows: higher is better", len(curves), 3.6)
    colours = coloured(results, results.rows)
    for panel, curve in zip(panels, curves, strict=True):
        curve_panel(panel, curve, colours)
    return finish_lines(picture, panels, [])


def curve_panel(panel: Axes, curve: Curve, colours: Coloured) -> None:
    """Draw one curve of everybody."""
    titled(panel, curve.title, 34)
    for colour, one in colours:
        if points := curve.points.get(one.key):
            line(panel, one, colour, [x for x, _ in points], [y for _, y in points])
    ys = [y for points in curve.points.values() for _, y in points]
    panel.set_xscale("log")
    if max(ys) > 30 * min(ys):
        panel.set_yscale("log")
    else:
        panel.set_ylim(bottom=0)
    xs = spaced({x for points in curve.points.values() for x, _ in points})
    in_words = octets if curve.x.startswith("bytes") else tick
    panel.set_xticks(xs, [in_words(x) for x in xs])
    panel.set_xlabel(curve.x)
    panel.set_ylabel(curve.unit)


PICTURES: dict[str, Draw] = {
    "echo": echo_picture,
    "sizes": sizes_picture,
    "memory": memory_picture,
    "latency": latency_picture,
    "curves": curves_picture,
}
