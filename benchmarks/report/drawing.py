"""Figures in, bars and lines on panels out; and the frame of all pictures."""

from itertools import cycle
from math import ceil
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import LogLocator

from .figures import LIMIT, OURS, Contender, Figure, Results, Row
from .markdown import readable


WIDTH = 800  #: pixels
COLUMNS = 5  #: of the legend
DPI = 96  #: CSS: so many pixels an inch

PANEL, INK, FAINT = "#ffffff", "#1f2933", "#6b7785"
GWS = "#0b6e99"
GWS_INSIDE = "#7ab8d4"  #: gws inside another server
BAR = "#c3ccd5"  #: of everybody else
#: Of lines, which must be told from each other; in the order of the contenders.
COLOURS = (
    *("#d1495b", "#e09f3e", "#588157", "#8d6a9f", "#7f5539"),
    *("#4d908e", "#adb5bd", "#ef8fa3", "#3d405b", "#a3b18a"),
)

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gws",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": INK,
    "figure.facecolor": PANEL,
    "savefig.facecolor": PANEL,
}

MARKS = {
    "*": "the load generator was the bottleneck",
    "?": "something else took the processors: do not believe it",
}

#: Contenders, each with its colour.
Coloured = list[tuple[str, Contender]]


# Bars


def bar_panel(panel: Axes, row: Row, contenders: list[Contender]) -> None:
    """Draw one row: bars, the spread of their rounds, and how far C comes."""
    for place, one in enumerate(contenders):
        figure = row.figures.get(one.key)
        if figure is None or figure.median is None:
            words = "failed" if figure else "not measured"
            panel.annotate(
                words,
                (0, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                color=FAINT,
                style="italic",
            )
        else:
            bar(panel, place, one, figure, f"bar-{row.name}-{one.key}")
    highs = [row.figures[one.key].high for one in contenders if one.key in row.figures]
    lowest = len(contenders) - 0.4
    limit = None if row.lower_is_better else row.figures.get(LIMIT)
    if limit and limit.median:
        limit_mark(panel, limit, len(contenders))
        highs.append(limit.median)
        lowest += 0.8
    panel.set_ylim(lowest, -0.6)
    panel.set_xlim(0, max(highs, default=0) * 1.25 or 1)
    panel.set_xticks([])
    panel.spines["bottom"].set_visible(False)
    panel.tick_params(left=False)


def bar(panel: Axes, place: int, one: Contender, figure: Figure, name: str) -> None:
    """Draw one contender's bar, the spread of its rounds, and its figure."""
    median = figure.median or 0.0
    panel.barh(place, median, 0.68, color=colour_of_bar(one), gid=name)
    if figure.low < figure.high:
        spread = [[median - figure.low], [figure.high - median]]
        panel.errorbar(
            median, place, xerr=spread, color=INK, elinewidth=0.8, capsize=1.5
        )
    panel.annotate(
        readable(median) + figure.marks,
        (figure.high, place),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontweight="bold" if one.ours else "normal",
        # So that the line of C does not go through it.
        bbox={"facecolor": PANEL, "edgecolor": "none", "pad": 0.5},
    )


def colour_of_bar(one: Contender) -> str:
    """Return the colour of a contender's bar."""
    if one.key == OURS:
        return GWS
    return GWS_INSIDE if one.ours else BAR


def limit_mark(panel: Axes, figure: Figure, place: int) -> None:
    """Draw how far a C program without a library comes."""
    limit = figure.median or 0.0
    panel.axvline(limit, color=INK, linestyle=(0, (3, 2)), linewidth=0.9, zorder=1)
    panel.annotate(
        f"C: {readable(limit)}{figure.marks}",
        (limit, place),
        xytext=(-3, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        color=FAINT,
    )


# Lines


def coloured(results: Results, rows: list[Row]) -> Coloured:
    """Return who took part in rows, in colours that are the same in all pictures."""
    colours = cycle(COLOURS)
    palette = {LIMIT: INK, OURS: GWS}
    for one in results.contenders.values():
        if one.key not in palette:
            palette[one.key] = GWS_INSIDE if one.ours else next(colours)
    return [(palette[one.key], one) for one in results.measured(rows)]


def line(
    panel: Axes,
    one: Contender,
    colour: str,
    xs: list[float],
    ys: list[float],
    spread: list[tuple[float, float]] | None = None,
) -> None:
    """Draw one contender's line; `spread` is the lowest and highest of each point."""
    errors = None
    if spread:
        errors = [
            [y - low for y, (low, _) in zip(ys, spread, strict=True)],
            [high - y for y, (_, high) in zip(ys, spread, strict=True)],
        ]
    panel.errorbar(
        xs,
        ys,
        yerr=errors,
        label=one.title,
        color=colour,
        linestyle="--" if one.key == LIMIT else "-",
        linewidth=2.4 if one.key == OURS else 1.2,
        marker="o",
        markersize=3,
        elinewidth=0.8,
        capsize=1.5,
        zorder=3 if one.key == OURS else 2,
    )


def spaced(xs: set[float]) -> list[float]:
    """Return those of the positions on a log axis whose words have room."""
    found: list[float] = []
    room = (max(xs) / min(xs)) ** (1 / 5)
    for x in sorted(xs):
        if not found or x >= found[-1] * room:
            found.append(x)
    return found


def tick(figure: float) -> str:
    """Return the words at an axis: 0, 0.5, 100, 20 k."""
    for unit, scale in [(" M", 1e6), (" k", 1e3)]:
        if figure >= scale:
            return f"{figure / scale:g}{unit}"
    return f"{figure:g}"


def octets(size: float) -> str:
    """Return a size in words."""
    for unit, scale in [("MiB", 2**20), ("KiB", 2**10)]:
        if size >= scale:
            return f"{size / scale:g} {unit}"
    return f"{size:g} B"


# The frame


def titled(panel: Axes, title: str, width: int) -> None:
    """Give a panel its title, in lines of so many characters."""
    whole = title.replace(" in flight", "\N{NO-BREAK SPACE}in\N{NO-BREAK SPACE}flight")
    panel.set_title("\n".join(wrap(whole, width)), color=INK)


def new_picture(title: str, count: int, height: float) -> tuple[Picture, list[Axes]]:
    """Return a picture of our width, inches high, with panels side by side."""
    picture = Picture(figsize=(WIDTH / DPI, height))
    panels = list(picture.subplots(1, count, squeeze=False)[0])
    picture.suptitle(title, x=0.012, ha="left", fontweight="bold", fontsize=11)
    return picture, panels


def no_picture(name: str) -> Picture:
    """Return what stands where there are no figures."""
    picture, (panel,) = new_picture(f"Not measured: {name}", 1, 0.8)
    panel.set_axis_off()
    command = "python benchmarks/run.py --curves --write"
    picture.text(0.012, 0.2, f"By {command}", color=FAINT)
    return picture


def finish_bars(picture: Picture, rows: list[Row], keys: list[str]) -> Picture:
    """Say what the marks mean, if any of these contenders has one."""
    figures = [row.figures[key] for row in rows for key in keys if key in row.figures]
    said = {mark for figure in figures for mark in figure.marks}
    words = [f"{mark} {meaning}" for mark, meaning in MARKS.items() if mark in said]
    below = 0.05 if words else 0
    picture.text(0.012, 0.02, "   ".join(words), fontsize=8, color=FAINT)
    picture.tight_layout(rect=(0, below, 1, 1), w_pad=1.2)
    return picture


def finish_lines(picture: Picture, panels: list[Axes], omitted: list[str]) -> Picture:
    """Add who is who, below, and who is not drawn."""
    handles: dict[str, object] = {}
    for panel in panels:
        if panel.get_yscale() == "log":
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        panel.minorticks_off()
        panel.yaxis.set_major_formatter(lambda y, _: tick(y))
        panel.grid(axis="y", color="#e4e8ec", linewidth=0.6)
        panel.set_axisbelow(True)
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    picture.legend(
        handles.values(), handles.keys(), loc="lower left", ncols=COLUMNS, frameon=False
    )
    inches = 0.12 + 0.2 * ceil(len(handles) / COLUMNS)
    if omitted:
        words = wrap(f"Failed or disturbed, and not drawn: {'; '.join(omitted)}", 130)
        place = inches / picture.get_figheight()
        picture.text(0.012, place, "\n".join(words), fontsize=8, color=FAINT)
        inches += 0.05 + 0.15 * len(words)
    picture.tight_layout(rect=(0, inches / picture.get_figheight(), 1, 1), w_pad=1.2)
    return picture
