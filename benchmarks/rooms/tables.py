"""Turns figures into Markdown, for benchmarks/README.md and docs/topics/scale.md."""

from collections.abc import Callable
from dataclasses import dataclass, field

from peers import ALONE, HISTORY, OURS, PEERS, Peer
from redis_cost import LISTENERS, Cost
from report import readable, table
from stages import HELD_MS, Figures, Stage, cores
from suite.results import cpu_model


#: What gws is to do, as a multiple of each peer's deliveries for a second of the
#: servers' processor time.
BAR = 4.0
#: rooms.publish to 500 in one process, as a multiple.
ALONE_BARS = {"picows": 3.0, "websockets": 4.0}


@dataclass
class Run:
    """All that was measured, and how."""

    command: str
    versions: list[str]
    rooms: list[Figures] = field(default_factory=list)
    growth: list[Figures] = field(default_factory=list)
    alone: list[Figures] = field(default_factory=list)
    costs: dict[int, Cost] = field(default_factory=dict)  #: by history
    missing: list[str] = field(default_factory=list)
    load_before: float = 0.0  #: how many wanted a processor before it began


def how_measured(run: Run) -> str:
    """Return machine, versions and command."""
    return "\n".join(
        [
            f"- {cpu_model()}; {cores()} processors, for servers, Redis and load",
            f"- {', '.join(run.versions)}",
            f"- `{run.command}`; load average {run.load_before:.1f} before it began",
        ]
    )


def title_of(peers: list[Peer], name: str) -> str:
    """Return what a peer is called in tables."""
    return next(peer.title for peer in peers if peer.name == name)


# Rooms over Redis

Cell = Callable[[Figures], str]


def of_stage(name: str, cell: Callable[[Stage], str]) -> Cell:
    """Return what makes a cell of a stage; "-" if it was not taken."""
    return lambda f: cell(f.stages[name]) if name in f.stages else "-"


def times(stage: Stage) -> str:
    """Return the times of deliveries."""
    return f"{stage.p50:.1f} / {stage.p99:.1f}"


ROWS: list[tuple[str, Cell]] = [
    ("flood: deliveries/s", of_stage("flood", lambda s: readable(s.deliveries))),
    ("flood: per CPU second", of_stage("flood", lambda s: readable(s.per_cpu))),
    ("flood: CPU of servers, Redis, load", of_stage("flood", lambda s: cpu(s))),
    ("flood: in the kernel", of_stage("flood", lambda s: kernel(s))),
    ("held: deliveries/s", of_stage("held", lambda s: readable(s.deliveries))),
    ("held: p50 / p99 (ms)", of_stage("held", times)),
    ("held: per CPU second", of_stage("held", lambda s: readable(s.per_cpu))),
    ("steady: deliveries/s", of_stage("steady", lambda s: readable(s.deliveries))),
    ("steady: p50 / p99 (ms)", of_stage("steady", times)),
    ("steady: per CPU second", of_stage("steady", lambda s: readable(s.per_cpu))),
    ("steady: CPU of servers, Redis, load", of_stage("steady", lambda s: cpu(s))),
    ("steady: in the kernel", of_stage("steady", lambda s: kernel(s))),
    ("memory of a connection (KiB)", lambda f: f"{f.memory / 1024:.1f}"),
    ("opened and joined (/s)", lambda f: readable(f.opened_per_second)),
    ("connections of each worker", lambda f: " + ".join(map(str, f.split))),
]


def cpu(stage: Stage) -> str:
    """Return how many processors each has used."""
    used = (stage.server_cpu, stage.redis_cpu, stage.load_cpu)
    return " / ".join(f"{part:.2f}" for part in used)


def kernel(stage: Stage) -> str:
    """Return how much of the servers' time the kernel took."""
    return f"{stage.kernel:.0%}"


def rooms_section(run: Run) -> str:
    """Return what the README says."""
    parts = [how_measured(run)]
    there = [figures for figures in run.rooms if not figures.failure]
    if there:
        setup = there[0].setup
        header = [
            f"{setup.connections:,} in {setup.rooms} rooms",
            *(title_of(PEERS, f.peer) for f in there),
        ]
        parts.append(
            table(header, [[title, *map(cell, there)] for title, cell in ROWS])
        )
    if run.alone:
        parts.append(alone_table(run))
    if bars := [*rooms_bars(there), *alone_bars(run)]:
        parts.append(table(["deliveries per CPU second", "bar", "figure", ""], bars))
    parts.append(notes(run))
    return "\n\n".join(part for part in parts if part)


def rooms_bars(there: list[Figures]) -> list[list[str]]:
    """Return how gws stands against each peer, for the same processor time."""
    ours = next((f for f in there if f.peer == OURS), None)
    lines = []
    for peer in there:
        if ours is None or peer.peer.startswith(OURS):
            continue
        against = title_of(PEERS, peer.peer)
        lines.append(bar("at best", BAR, against, best(ours) / best(peer)))
        for name in ("held", "steady"):
            if name in ours.stages and name in peer.stages:
                figure = ours.stages[name].per_cpu / peer.stages[name].per_cpu
                lines.append(bar(name, BAR, against, figure))
    return lines


def best(figures: Figures) -> float:
    """Return the most deliveries for a second of the servers' time, of all stages."""
    return max(stage.per_cpu for stage in figures.stages.values())


def bar(what: str, factor: float, against: str, figure: float) -> list[str]:
    """Return a line of the table of bars."""
    met = "met" if figure >= factor else "**missed**"
    return [what, f">= {factor:g} x {against}", f"{figure:.2f} x", met]


# One process


def alone_table(run: Run) -> str:
    """Return what fan-out costs without Redis."""
    body = []
    for f in run.alone:
        flood = f.stages.get("flood")
        if flood is None:
            continue
        hold = "-" if f.hold is None else f"{f.hold * 1e3:.1f}"
        body.append(
            [
                f"{title_of(ALONE, f.peer)} to {f.setup.connections:,}",
                readable(flood.deliveries),
                readable(flood.per_cpu),
                hold,
            ]
        )
    header = ["one process, no Redis", "deliveries/s", "per CPU second"]
    return table([*header, "longest hold of the loop (ms)"], body)


def alone_bars(run: Run) -> list[list[str]]:
    """Return how `rooms.publish` stands against broadcasts without rooms."""
    fewest = min((f.setup.connections for f in run.alone), default=0)
    floods = {
        f.peer: f.stages["flood"]
        for f in run.alone
        if f.setup.connections == fewest and "flood" in f.stages
    }
    return [
        bar(
            f"one process, to {fewest}",
            factor,
            title_of(ALONE, name),
            floods[OURS].per_cpu / floods[name].per_cpu,
        )
        for name, factor in ALONE_BARS.items()
        if OURS in floods and name in floods
    ]


def notes(run: Run) -> str:
    """Return who is not there, and what went wrong."""
    lines = [f"- Not installed, so left out: {text}." for text in run.missing]
    for f in [*run.rooms, *run.growth, *run.alone]:
        what = f"{f.peer}, {f.setup.connections:,} in {f.setup.rooms} rooms"
        if f.failure:
            lines.append(f"- Failed: {what}: {f.failure}.")
        for name, stage in f.stages.items():
            if stage.lost:
                lines.append(f"- Lost, of {what}, {name}: {stage.lost} deliveries.")
            if stage.disordered:
                lines.append(f"- Out of order, {what}, {name}: {stage.disordered}.")
        if f.setup.held and f.stages and "held" not in f.stages:
            lines.append(f"- {what}: no rate that was tried had p99 <= {HELD_MS:g} ms.")
    return "\n".join(lines)


# docs/topics/scale.md


def scale_section(run: Run) -> str:
    """Return what docs/topics/scale.md says: how the figures grow, and a million."""
    parts = [how_measured(run)]
    if run.growth:
        parts.append(growth_table(run.growth))
    if run.costs:
        parts.append(cost_table(run.costs))
    model = model_of(run)
    if model is not None:
        parts.append(model.text())
        parts.append(model.table())
    return "\n\n".join(parts)


def growth_table(growth: list[Figures]) -> str:
    """Return what more connections, and larger rooms, change."""
    header = ["connections", "in a room", "memory (KiB)", "deliveries/s"]
    header += ["per CPU second", "p50 / p99 (ms)", "Redis: commands, bytes in, out"]
    body = []
    for f in growth:
        if f.failure or "flood" not in f.stages:
            continue
        flood, steady = f.stages["flood"], f.stages.get("steady")
        traffic = f"{flood.commands:.1f}, {flood.bytes_in:.0f}, {flood.bytes_out:.0f}"
        body.append(
            [
                f"{f.setup.connections:,}",
                f"{f.setup.members:,.0f}",
                f"{f.memory / 1024:.1f}",
                readable(flood.deliveries),
                readable(flood.per_cpu),
                "-" if steady is None else times(steady),
                traffic,
            ]
        )
    return table(header, body)


def cost_table(costs: dict[int, Cost]) -> str:
    """Return what a publish costs Redis."""
    header = ["Redis CPU of a publish (us)", "fixed", "for each process with members"]
    header += [f"publishes/s to {n}" for n in LISTENERS]
    body = []
    for history, cost in costs.items():
        title = f"history={history}" if history else "no history"
        most = [readable(1e6 / cost.of(n)) for n in LISTENERS]
        body.append([title, f"{cost.publish:.1f}", f"{cost.listener:.2f}", *most])
    return table(header, body)


#: What is reckoned with.
MILLION = 1_000_000
ROOM = 100
PER_WORKER = 50_000
#: How much of a processor a worker, and Redis, is planned to use.
PLANNED = 0.5
#: Seconds between two messages that a connection gets.
INTERVALS = {"a minute": 60, "10 seconds": 10, "a second": 1}


@dataclass(frozen=True)
class Model:
    """What a million connections need, by what fewer have shown."""

    memory: float  #: bytes of a worker for each connection
    kernel: float
    per_cpu: float  #: deliveries
    costs: dict[int, Cost]

    def text(self) -> str:
        """Return what is put in."""
        return (
            f"Put in, as measured above: {self.memory / 1024:.1f} KiB of a worker and "
            f"{self.kernel / 1024:.1f} KiB of the kernel for a connection (both of its "
            f"ends), and {readable(self.per_cpu)} deliveries for a second of a "
            "processor. Computed:"
        )

    def table(self) -> str:
        """Return what comes out."""
        header = [f"{MILLION:,} in rooms of {ROOM}, each gets a message every"]
        header += ["deliveries/s", "publishes/s", "workers", "memory (GiB)"]
        header += ["processors", "copies by Redis (/s)", "Redis servers"]
        header += ["with history"]
        body = [self._line(name, MILLION / s) for name, s in INTERVALS.items()]
        return table(header, body)

    def _line(self, name: str, deliveries: float) -> list[str]:
        publishes = deliveries / ROOM
        processors = deliveries / self.per_cpu
        workers = max(MILLION / PER_WORKER, processors / PLANNED)
        # So many of the workers have at least one of a room's members.
        with_members = workers * (1 - (1 - 1 / workers) ** ROOM)
        gib = MILLION * (self.memory + self.kernel) / 2**30
        servers = [
            publishes * cost.of(with_members) / 1e6 / PLANNED
            for _, cost in sorted(self.costs.items())
        ]
        return [
            name,
            readable(deliveries),
            readable(publishes),
            f"{workers:.0f}",
            f"{gib:.0f}",
            f"{processors:.1f}",
            readable(publishes * with_members),
            *(f"{n:.2f}" if n < 10 else f"{n:.0f}" for n in servers),
        ]


def model_of(run: Run) -> Model | None:
    """Return what is to be put in; None if it was not measured."""
    figures = next((f for f in run.rooms if f.peer == OURS and not f.failure), None)
    if figures is None or set(run.costs) != {0, HISTORY}:
        return None
    # The worse of the two: under load many messages go out together.
    per_cpu = min(figures.stages[name].per_cpu for name in ("flood", "steady"))
    return Model(figures.memory, figures.kernel, per_cpu, run.costs)
