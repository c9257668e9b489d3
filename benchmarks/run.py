"""Measures gws against its peers and a C program, and says where it stands.

    python benchmarks/run.py --quick
    python benchmarks/run.py --only gws,picows,c --rows echo-64-1,echo-64-8
    python benchmarks/run.py --curves --write     # results.json, and the tables

Each server runs on one processor and the load generator on another. See the README
beside this file for what each row means.
"""

import shlex
import signal
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import click
import tables
from report.figures import load
from report.tables import results_section
from suite.contenders import CLIENTS, SERVERS, Contender, of_my_own
from suite.node import install
from suite.processes import RESERVE, Failure, choose_cores, raise_descriptor_limit
from suite.programs import build
from suite.progress import Progress
from suite.results import Results
from suite.rounds import measure_row
from suite.rows import CURVED, CURVES, ROWS, Row, row_named
from suite.takes import Settings


HERE = Path(__file__).parent
RESULTS = HERE / "results.json"

NAMES = list(dict.fromkeys(one.name for one in [*SERVERS, *CLIENTS]))

#: What rows with many connections ask for, if it can be had.
DESCRIPTORS = 32_768
#: The part of its descriptors that a server uses for connections: gws keeps a reserve.
FOR_CONNECTIONS = 0.9

QUICK = {"rounds": 1, "seconds": 0.3, "warmup": 0.1}


def contenders_from(given: str | None) -> list[Contender]:
    """Return those of a list with commas; all if there is none."""
    wanted = words(given) if given else NAMES
    for name in wanted:
        if name not in NAMES:
            raise click.BadParameter(f"no contender {name}; there are {some(NAMES)}")
    return [one for one in [*SERVERS, *CLIENTS] if one.name in wanted]


def rows_from(given: str | None, quick: bool) -> list[Row]:
    """Return those of a list with commas; all, or those of a quick run, without."""
    if given is None:
        return [row for row in ROWS.values() if row.quick or not quick]
    rows = []
    for name in words(given):
        row = row_named(name)
        if row is None:
            raise click.BadParameter(f"no row {name}; there are {some(ROWS)}")
        rows.append(row)
    return rows


def words(given: str) -> list[str]:
    """Split a list at its commas."""
    return [word.strip() for word in given.split(",")]


def some(names: Iterable[str]) -> str:
    """Return a list with commas."""
    return ", ".join(names)


def leave_out(results: Results, title: str, why: list[str]) -> None:
    """Note once who or what cannot be measured."""
    if title not in results.missing:
        results.missing[title] = why
        click.echo(f"left out: {title} ({', '.join(why)})", err=True)


def add_contenders(results: Results, wanted: list[Contender], folder: Path) -> None:
    """Note who can be measured, and install what can only be installed here."""
    for one in wanted:
        if modules := one.missing():
            leave_out(results, one.title, modules)
            continue
        if one.packages:
            try:
                results.versions |= install(folder, one.packages)
            except Failure as exc:
                leave_out(results, one.title, [str(exc)])
                continue
        results.contenders.append(one)
        results.versions |= one.versions()


def possible(results: Results, rows: list[Row], no_tls: str) -> list[Row]:
    """Return the rows that this machine can take, and in which somebody has a part."""
    descriptors = raise_descriptor_limit(DESCRIPTORS)
    found = []
    for row in rows:
        needed = int(row.connections / FOR_CONNECTIONS) + RESERVE
        if no_tls and "tls" in row.needs:
            leave_out(results, "TLS", [no_tls])
        elif needed > descriptors:
            leave_out(results, row.title, [f"{needed:,} descriptors a process"])
        elif taking_part(results, row):
            found.append(row)
    return found


def taking_part(results: Results, row: Row) -> list[Contender]:
    """Return who is measured in a row."""
    return [
        one
        for one in results.contenders
        if one.role == row.role and not one.absent(row)
    ]


def absent(results: Results, row: Row) -> dict[str, str]:
    """Return who is not measured in a row, and why."""
    return {
        one.name: why
        for one in results.contenders
        if one.role == row.role and (why := one.absent(row))
    }


def measure(
    results: Results, rows: list[Row], curves: bool, settings: Settings, file: Path
) -> None:
    """Take all figures; the file has what is finished."""
    drawn = CURVES if curves else []
    curved = [one for one in results.contenders if one.name in CURVED]
    in_curves = [one for one in curved if one.role == "server"]
    fewer = replace(settings, rounds=min(settings.rounds, 2))
    plan = [(row, len(taking_part(results, row))) for row in rows]
    plan += [(row, len(in_curves)) for one in drawn for row in one.points.values()]
    with Progress(plan, settings) as progress:
        for row in rows:
            progress.begin(row)
            series = measure_row(row, taking_part(results, row), settings, progress)
            progress.end()
            results.add_row(row, series, absent(results, row))
            results.save(file)
        for curve in drawn:
            taken = {}
            for x, row in curve.points.items():
                progress.begin(row)
                taken[x] = measure_row(row, in_curves, fewer, progress)
                progress.end()
            results.add_curve(curve, taken)
            results.save(file)


def take_all(
    results: Results,
    wanted: list[Contender],
    rows: list[Row],
    curves: bool,
    settings: Settings,
    file: Path,
) -> bool:
    """Build what is needed and take all figures. Ctrl-C leaves what was finished.

    Returns:
        Whether all of it was.
    """
    try:
        no_tls = build(settings.folder)
        add_contenders(results, wanted, settings.folder)
        measure(results, possible(results, rows, no_tls), curves, settings, file)
    except Failure as exc:
        raise click.ClickException(str(exc)) from None
    except KeyboardInterrupt:
        click.echo("\ninterrupted: this is what was finished", err=True)
        return False
    return True


def renew(results: Results) -> None:
    """Write the figures that are kept, and the pages that show them."""
    results.save(RESULTS)
    tables.main([], standalone_mode=False)
    click.echo("python benchmarks/plots.py draws the pictures", err=True)


def end_politely(signum: int, frame: object) -> NoReturn:
    """Turn a signal into an exception, so that the servers are stopped."""
    raise SystemExit(128 + signum)


FILE = click.Path(dir_okay=False, path_type=Path)
PROGRAM = click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path)


@click.command()
@click.option("--only", help=f"Who takes part, of: {some(NAMES)}.")
@click.option("--rows", "row_names", help=f"What is measured, of: {some(ROWS)}.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=1.0, show_default=True, help="Length of a round.")
@click.option("--quick", is_flag=True, help="A row of each kind, one short round.")
@click.option("--curves", is_flag=True, help="Also how figures grow.")
@click.option("--binary", is_flag=True, help="Binary messages instead of text.")
@click.option(
    "--server",
    "own",
    type=PROGRAM,
    help="A server of your own, in Python: it gets a port, and echoes at /.",
)
@click.option("--json", "file", type=FILE, help="Write all figures there.")
@click.option("--write", is_flag=True, help="Renew results.json and what shows it.")
def main(
    only: str | None,
    row_names: str | None,
    rounds: int,
    seconds: float,
    quick: bool,
    curves: bool,
    binary: bool,
    own: Path | None,
    file: Path | None,
    write: bool,
) -> None:
    """Measure WebSocket servers and clients, interleaved, and compare them."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, end_politely)
    wanted = contenders_from(only) + ([of_my_own(own)] if own else [])
    roles = {one.role for one in wanted}
    rows = [row for row in rows_from(row_names, quick) if row.role in roles]
    command = shlex.join(["python", "benchmarks/run.py", *sys.argv[1:]])
    with tempfile.TemporaryDirectory(prefix="gws-benchmark-") as name:
        folder = Path(name)
        settings = Settings(folder, choose_cores(), rounds, seconds, 0.5, binary)
        settings = replace(settings, **QUICK) if quick else settings
        results = Results(command, settings.rounds, settings.seconds)
        file = file or folder / "results.json"
        finished = take_all(results, wanted, rows, curves, settings, file)
        if results.rows:
            click.echo(f"\n{results_section(load(file))}")
    if not finished:
        raise SystemExit(130)
    if write:
        renew(results)


if __name__ == "__main__":
    main()
