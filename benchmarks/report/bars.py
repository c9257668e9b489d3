"""What gws must reach, and whether it does."""

from dataclasses import dataclass

from .figures import LIMIT, Results, Row
from .markdown import readable, table


#: Instead of a key: whoever is the best of the other Python libraries.
BEST = "best peer"


@dataclass(frozen=True)
class Bar:
    """The figure of `ours` must reach `factor` times that of `against`.

    `against` is a contender's key, `BEST`, or "" for `factor` as an absolute figure in
    the row's unit: of what our figure in the row `beyond` leaves of it, if that is
    given.
    """

    row: str
    factor: float
    against: str
    beyond: str = ""
    ours: str = "gws"  #: the contender


BARS = [
    Bar("echo-64-1", 1.05, "picows"),
    Bar("echo-64-1", 0.75, LIMIT),
    Bar("echo-64-8", 5, "picows"),
    Bar("echo-64-8", 0.6, LIMIT),
    Bar("echo-8k-1", 1, "picows"),
    Bar("echo-64k-1", 1, "picows"),
    Bar("fanout-500", 3, "picows"),
    Bar("fanout-500", 4, "websockets"),
    Bar("connect", 1.2, BEST),
    Bar("idle-15000", 9, ""),
    Bar("idle-15000", 1, BEST),
    Bar("deflate-200", 1.5, BEST),
    Bar("deflate-4k", 1.5, BEST),
    Bar("deflate-fanout-500", 10, "websockets"),
    Bar("deflate-idle", 1, "", beyond="idle-1000"),
    Bar("client-1x1", 1, "picows"),
    Bar("client-50x1", 1, "picows"),
    Bar("client-50x8", 1, "picows"),
    Bar("echo-64-1", 2, "gevent-websocket", ours="gws-pywsgi"),
    Bar("echo-64-1", 2, "simple-websocket", ours="gws-pywsgi"),
    Bar("echo-64-8", 2, "gevent-websocket", ours="gws-pywsgi"),
    Bar("echo-64-8", 2, "simple-websocket", ours="gws-pywsgi"),
    Bar("idle-15000", 12, "", ours="gws-pywsgi"),
]


def bars_of(results: Results) -> list[Bar]:
    """Return these, and of each other row that gws is the first of Python's."""
    there = {bar.row for bar in BARS if bar.against == BEST}
    others = [row.name for row in results.rows if row.name not in there]
    return [*BARS, *(Bar(name, 1, BEST) for name in others)]


def bar_table(results: Results) -> str:
    """Return which bars are met, of the rows that were measured; "" for none."""
    body = [
        cells(results, row, bar)
        for bar in bars_of(results)
        if (row := results.row(bar.row)) and bar.ours in row.figures
    ]
    return table(["measure", "bar", "figure", ""], body) if body else ""


def cells(results: Results, row: Row, bar: Bar) -> list[str]:
    """Return one line of the table."""
    title = row.title
    if bar.ours != "gws":
        title += f": {results.contenders[bar.ours].title}"
    sign = "<=" if row.lower_is_better else ">="
    measure, base = opposite(results, row, bar)
    bound = f"{sign} {bar.factor:g} {measure}"
    ours = row.median(bar.ours)
    if ours is None:
        return [title, bound, "failed", "**missed**"]
    if base is None:
        return [title, bound, "-", "not measured"]
    figure = ours - base if bar.beyond else ours / base
    met = figure <= bar.factor if row.lower_is_better else figure >= bar.factor
    other = against(results, row, bar)
    marks = row.marks(bar.ours, *([other] if other else []))
    words = (readable(figure) if not bar.against else f"{figure:.2f}") + marks
    verdict = "met" if met else "**missed**"
    # Of figures that are not to be believed, neither is said.
    return [title, bound, f"{words} {measure}", "-" if "?" in marks else verdict]


def against(results: Results, row: Row, bar: Bar) -> str | None:
    """Return the key of whom a bar is against; None if nobody, or not measured."""
    key = results.best_peer(row) if bar.against == BEST else bar.against
    return key if key in row.figures else None


def opposite(results: Results, row: Row, bar: Bar) -> tuple[str, float | None]:
    """Return what a bar is a multiple of, in words, and its figure."""
    if bar.beyond:
        other = results.row(bar.beyond)
        less = other.median(bar.ours) if other else None
        return f"{row.unit} more than {other.title if other else bar.beyond}", less
    if not bar.against:
        return row.unit, 1.0
    key = against(results, row, bar)
    if key is None:
        return f"x {bar.against}", None
    title = results.contenders[key].title
    words = f"{BEST} ({title})" if bar.against == BEST else title
    return f"x {words}", row.median(key)
