"""Measures rooms over Redis: many connections, two workers, beside other libraries.

    python benchmarks/rooms/run.py                     # all of it, about 8 minutes
    python benchmarks/rooms/run.py --only gws,websockets --parts rooms
    python benchmarks/rooms/run.py --write     # into the pages with the figures

All share the processors of this machine: the servers, Redis and the load. What is
compared is what the servers deliver for a second of processor time.
"""

import json
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, NoReturn

import click


HERE = Path(__file__).parent
# What this shares with the other benchmarks.
sys.path.append(str(HERE.parent))

from deployment import build  # noqa: E402
from peers import ALONE, HISTORY, OURS, PEERS, Peer  # noqa: E402
from redis_cost import measure_cost  # noqa: E402
from report import write_into  # noqa: E402
from stages import Figures, Setup, measure  # noqa: E402
from suite.contenders import version_of  # noqa: E402
from suite.processes import Failure, raise_descriptor_limit  # noqa: E402
from tables import Run, rooms_section, scale_section  # noqa: E402


PARTS = ["rooms", "growth", "alone", "redis"]

#: How many are in a room while the number of connections grows.
ROOM = 100
#: Of all connections; and how many are in a room of all of them.
GROWTH = (0.1, 0.5, 1.0)
SIZES = (10, 1000)

#: To how many one process delivers.
FEW, MANY = 500, 20_000

#: How many times as long as others the steady stage is: with 4 seconds, it has as many
#: of the pings that connections get every 20 seconds as there should be.
STEADY = 5.0

#: The part of its descriptors that a process may use for connections: gws keeps a
#: reserve of them.
FOR_CONNECTIONS = 0.9


def names_from(known: Iterable[str], given: str | None, what: str) -> list[str]:
    """Split a list at its commas; all known names if none is given."""
    names = list(dict.fromkeys(known))
    if given is None:
        return names
    wanted = [name.strip() for name in given.split(",")]
    for name in wanted:
        if name not in names:
            raise click.BadParameter(f"no {what} {name}; known: {', '.join(names)}")
    return wanted


def installed(peers: list[Peer], only: list[str], run: Run) -> list[Peer]:
    """Return who can be measured, and note who cannot."""
    there = []
    for peer in peers:
        if peer.name not in only:
            continue
        if modules := peer.missing():
            run.missing.append(f"{peer.title} ({', '.join(modules)})")
            click.echo(f"not installed: {run.missing[-1]}")
        else:
            there.append(peer)
            versions = {name: version_of(name) for name in peer.distributions}
            run.versions += [f"{name} {one}" for name, one in versions.items() if one]
    return there


def measure_each(
    peers: list[Peer], setup: Setup, folder: Path, *, alone: bool = False
) -> list[Figures]:
    """Measure one after the other, and say how it went."""
    found = []
    for peer in peers:
        click.echo(f"{peer.name}: {setup.connections} in {setup.rooms} rooms", nl=False)
        figures = measure(peer, setup, folder, alone=alone)
        flood = figures.stages.get("flood")
        told = figures.failure
        if flood is not None:
            rates = f"{flood.deliveries:,.0f}/s, {flood.per_cpu:,.0f} per CPU second"
            told = f"{rates} {told}".rstrip()
        click.echo(f": {told}")
        found.append(figures)
    return found


def measure_growth(peer: Peer, setup: Setup, folder: Path) -> list[Figures]:
    """Measure gws with fewer connections, then with smaller and larger rooms."""
    n = setup.connections
    shapes = [(int(n * part), int(n * part) // ROOM) for part in GROWTH]
    shapes += [(n, n // size) for size in SIZES]
    found = []
    for connections, rooms in shapes:
        smaller = replace(
            setup,
            connections=connections,
            rooms=max(rooms, 1),
            steady=1.0,
            held=False,
        )
        found += measure_each([peer], smaller, folder)
    return found


def measure_alone(peers: list[Peer], setup: Setup, folder: Path) -> list[Figures]:
    """Measure one process, without Redis: one room of few, then one of many."""
    most = int(raise_descriptor_limit() * FOR_CONNECTIONS)
    found = []
    for n in (FEW, min(MANY, most)):
        one = replace(setup, connections=n, rooms=1, workers=1, rate=0.0, held=False)
        ours = [peer for peer in peers if n == FEW or peer.script.startswith("gws")]
        found += measure_each(ours, one, folder, alone=True)
    return found


def measure_parts(
    run: Run, parts: list[str], only: list[str], setup: Setup, folder: Path
) -> None:
    """Take all figures."""
    build(folder)
    peers = installed(PEERS, only, run)
    if "rooms" in parts:
        run.rooms = measure_each(peers, setup, folder)
    ours = next((peer for peer in peers if peer.name == OURS), None)
    if "growth" in parts and ours is not None:
        run.growth = measure_growth(ours, setup, folder)
    if "alone" in parts:
        run.alone = measure_alone(installed(ALONE, only, run), setup, folder)
    if "redis" in parts:
        for history in (0, HISTORY):
            run.costs[history] = measure_cost(folder, history, setup.seconds / 2)
            click.echo(f"redis, history={history}: {run.costs[history]}")


def end_politely(signum: int, frame: object) -> NoReturn:
    """Turn SIGTERM into an exception, so that the servers are stopped."""
    raise SystemExit(128 + signum)


@click.command()
@click.option(
    "--connections", default=10_000, show_default=True, type=click.IntRange(1)
)
@click.option("--rooms", default=100, show_default=True, type=click.IntRange(1))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1))
@click.option(
    "--rate",
    default=10_000.0,
    show_default=True,
    type=click.FloatRange(1),
    help="Deliveries a second of the stage that is the same for all.",
)
@click.option("--seconds", default=4.0, show_default=True, help="Length of a stage.")
@click.option(
    "--held/--no-held", default=True, help="Find out the highest rate in time."
)
@click.option("--only", help=f"Who takes part, of: {', '.join(p.name for p in PEERS)}.")
@click.option("--parts", help=f"What is measured, of: {', '.join(PARTS)}.")
@click.option("--json", "file", type=click.File("w"), help="Write all figures there.")
@click.option("--write", is_flag=True, help="Write the results into the documents.")
def main(
    connections: int,
    rooms: int,
    workers: int,
    rate: float,
    seconds: float,
    held: bool,
    only: str | None,
    parts: str | None,
    file: IO[str] | None,
    write: bool,
) -> None:
    """Measure rooms over Redis beside other libraries."""
    signal.signal(signal.SIGTERM, end_politely)
    names = names_from((peer.name for peer in [*PEERS, *ALONE]), only, "peer")
    command = shlex.join(["python", "benchmarks/rooms/run.py", *sys.argv[1:]])
    run = Run(command, [], load_before=os.getloadavg()[0])
    setup = Setup(connections, rooms, seconds, seconds / 4, rate, workers, STEADY, held)
    raise_descriptor_limit()
    try:
        with tempfile.TemporaryDirectory(prefix="gws-benchmark-") as folder:
            measure_parts(
                run, names_from(PARTS, parts, "part"), names, setup, Path(folder)
            )
    except Failure as exc:
        raise click.ClickException(str(exc)) from None
    click.echo(f"\n{rooms_section(run)}\n\n{scale_section(run)}")
    if file is not None:
        json.dump(asdict(run), file, indent=1)
    if write:
        write_into(HERE.parent / "README.md", "rooms", rooms_section(run))
        scale = HERE.parents[1] / "docs" / "topics" / "scale.md"
        write_into(scale, "figures", scale_section(run))


if __name__ == "__main__":
    main()
