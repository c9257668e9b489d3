"""Measures gws against its peers and a C program, and says which bars it meets.

    python benchmarks/echo/run.py --quick
    python benchmarks/echo/run.py --only gws,picows,c --rows echo1,echo8
    python benchmarks/echo/run.py --write     # the results section of ../README.md

Each server runs on one processor and the load generator on another. See the README
beside this folder for what each row means.
"""

import shlex
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import click
from contenders import CLIENTS, DEFLATING, HERE, SERVERS, Contender
from processes import Failure, build, choose_cores, raise_descriptor_limit
from report import Run, markdown, write_into
from rounds import Figures, Settings, measure_row
from rows import ROWS, Row


NAMES = list(dict.fromkeys(c.name for c in [*SERVERS, *CLIENTS]))


def names_from(known: list[str], given: str | None, what: str) -> list[str]:
    """Split a list at its commas; all known names if none is given."""
    if given is None:
        return known
    wanted = [name.strip() for name in given.split(",")]
    for name in wanted:
        if name not in known:
            raise click.BadParameter(f"no {what} {name}; known: {', '.join(known)}")
    return wanted


def installed(
    contenders: list[Contender], only: list[str], missing: dict[str, list[str]]
) -> list[Contender]:
    """Return who can be measured, and note who cannot."""
    there = []
    for contender in contenders:
        if contender.name not in only:
            continue
        if modules := contender.missing():
            if contender.title not in missing:
                missing[contender.title] = modules
                click.echo(f"{contender.title}: not installed ({', '.join(modules)})")
        else:
            there.append(contender)
    return there


def measure(rows: list[Row], only: list[str], settings: Settings) -> Run:
    """Take all figures. Ctrl-C ends the run; what was measured until then stays."""
    missing: dict[str, list[str]] = {}
    figures: Figures = {}
    taking_part = {
        "server": installed(SERVERS, only, missing),
        "client": installed(CLIENTS, only, missing),
    }
    everybody = [*taking_part["server"], *taking_part["client"]]
    versions = list(dict.fromkeys(v for c in everybody for v in c.versions()))
    interrupted = False
    try:
        for row in rows:
            contenders = [
                contender
                for contender in taking_part[row.role]
                if contender.name != row.without
                and (not contender.rows or row.name in contender.rows)
                and (contender.name in DEFLATING or not row.deflate)
            ]
            series = measure_row(row, contenders, settings, click.echo)
            figures.update({(row.name, name): one for name, one in series.items()})
    except KeyboardInterrupt:
        interrupted = True
        click.echo("interrupted: these are the rows that were finished")
    command = shlex.join(["python", "benchmarks/echo/run.py", *sys.argv[1:]])
    rounds, seconds = settings.rounds, settings.seconds
    return Run(figures, rows, missing, command, versions, rounds, seconds, interrupted)


def end_politely(signum: int, frame: object) -> NoReturn:
    """Turn SIGTERM into an exception, so that the servers are stopped."""
    raise SystemExit(128 + signum)


@click.command()
@click.option("--only", help=f"Who takes part, of: {', '.join(NAMES)}.")
@click.option("--rows", "row_names", help=f"What is measured, of: {', '.join(ROWS)}.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=2.0, show_default=True, help="Length of a round.")
@click.option("--quick", is_flag=True, help="One round of 0.5 s, 1000 idle ones.")
@click.option("--binary", is_flag=True, help="Binary messages instead of text.")
@click.option("--write", is_flag=True, help="Write the results into the README.")
def main(
    only: str | None,
    row_names: str | None,
    rounds: int,
    seconds: float,
    quick: bool,
    binary: bool,
    write: bool,
) -> None:
    """Measure WebSocket servers and clients, interleaved, and compare them."""
    signal.signal(signal.SIGTERM, end_politely)
    contenders = names_from(NAMES, only, "contender")
    rows = [ROWS[name] for name in names_from(list(ROWS), row_names, "row")]
    idle = min(1000 if quick else 8000, raise_descriptor_limit() - 200)
    try:
        with tempfile.TemporaryDirectory(prefix="gws-benchmark-") as folder:
            settings = Settings(
                Path(folder), choose_cores(), rounds, seconds, 0.5, idle, binary
            )
            if quick:
                settings = replace(settings, rounds=1, seconds=0.5, warmup=0.2)
            build(settings.folder)
            run = measure(rows, contenders, settings)
    except Failure as exc:
        raise click.ClickException(str(exc)) from None
    text = markdown(run)
    click.echo(f"\n{text}")
    if run.interrupted:
        raise SystemExit(130)
    if write:
        write_into(HERE.parent / "README.md", text)


if __name__ == "__main__":
    main()
