"""Takes the figures: a peer and a number of connections in, what they cost out.

A stage is one command to the load generator. What a peer is asked, in this order:

    idle     all connections have joined, and are silent: memory
    steady   a rate that is the same for all: times, processor time
    flood    as much as it takes: in each room some messages are always under way
    held     the highest rate, found in steps, with times that can be borne
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployment import (
    Load,
    Redis,
    Servers,
    cpu_times,
    loading,
    redis_running,
    serving,
    slab_bytes,
    wait_for_rest,
)
from peers import Peer
from suite.processes import Failure


#: Messages under way in each room in a flood.
UNDER_WAY = 4

#: A rate is held if 99 of 100 deliveries take no longer than so many milliseconds, none
#: is missing, and as many arrive as are due. It grows by the factor until it is not;
#: then one in between is tried.
HELD_MS = 250.0
HELD_PART = 0.97
FACTOR = 2.0
ATTEMPTS = 2

#: How many connections come from one address.
PER_SOURCE = 2000

#: Bytes of a message.
SIZE = 64


@dataclass(frozen=True)
class Setup:
    """How many connections, and how long; rates are deliveries a second."""

    connections: int
    rooms: int
    seconds: float
    warmup: float
    rate: float
    workers: int = 2
    steady: float = 1.0  #: how many times as long the steady stage is
    held: bool = True  #: find out which rate is held
    under_way: int = UNDER_WAY

    @property
    def members(self) -> float:
        """How many are in a room."""
        return self.connections / self.rooms

    def arguments(self) -> list[str]:
        """Return what the load generator is told."""
        sources = self.connections // PER_SOURCE + 1
        return [
            *("--connections", str(self.connections), "--rooms", str(self.rooms)),
            *("--size", str(SIZE), "--sources", str(sources)),
        ]


@dataclass(frozen=True)
class Stage:
    """What one command has shown; per second, of processor time in seconds."""

    publishes: float
    deliveries: float
    server_cpu: float  #: used in a second, by all processes of the server
    redis_cpu: float
    load_cpu: float
    kernel: float  #: which part of the servers' time was spent in the kernel
    p50: float  #: milliseconds
    p99: float
    longest: float
    lost: int
    disordered: int
    commands: float  #: of Redis, for each publish
    bytes_in: float
    bytes_out: float

    @property
    def per_cpu(self) -> float:
        """Deliveries for each second of the servers' processor time."""
        return self.deliveries / max(self.server_cpu, 1e-9)


@dataclass
class Figures:
    """What a peer has shown with one setup."""

    peer: str
    setup: Setup
    opened_per_second: float = 0.0
    memory: float = 0.0  #: bytes of the servers for each connection
    kernel: float = 0.0  #: bytes of the kernel for each, both of its ends
    split: list[int] = field(default_factory=list)
    stages: dict[str, Stage] = field(default_factory=dict)
    hold: float | None = None  #: seconds
    failure: str = ""


def measure(peer: Peer, setup: Setup, folder: Path, *, alone: bool = False) -> Figures:
    """Take all figures of a peer; what fails is told in them.

    Args:
        alone: in one process and without Redis; its share of the loop is asked for.
    """
    figures = Figures(peer.name, setup)
    with ExitStack() as stack:
        try:
            bus = None if alone else stack.enter_context(redis_running(folder))
            url = "" if bus is None else bus.url
            servers = stack.enter_context(serving(peer, folder, setup.workers, url))
            also = [] if bus is None else [bus.pid]
            load = stack.enter_context(
                loading(peer, servers, folder, setup.arguments(), also)
            )
            _open(load, servers, setup, figures)
            _run(load, servers, bus, setup, figures)
            if alone and peer.script.startswith("gws"):
                figures.hold = longest_hold(load, servers, setup)
        except Failure as exc:
            figures.failure = str(exc)
    return figures


def _open(load: Load, servers: Servers, setup: Setup, figures: Figures) -> None:
    memory, slab = servers.memory(), slab_bytes()
    opened = load.ask("open", 60)
    figures.opened_per_second = opened["opened"] / opened["seconds"]
    wait_for_rest(servers.pids)
    figures.memory = (servers.memory() - memory) / setup.connections
    figures.kernel = (slab_bytes() - slab) / setup.connections
    figures.split = servers.split()


def _run(
    load: Load, servers: Servers, bus: Redis | None, setup: Setup, figures: Figures
) -> None:
    def stage(command: str, seconds: float = setup.seconds) -> Stage:
        taken = _stage(load, servers, bus, command, seconds, setup.warmup)
        wait_for_rest(servers.pids)
        return taken

    if setup.rate:
        command = f"rate {setup.rate / setup.members}"
        figures.stages["steady"] = stage(command, setup.seconds * setup.steady)
    figures.stages["flood"] = stage(f"flood {setup.under_way}")
    if setup.held:
        _climb(stage, figures)


def _climb(stage: Callable[[str], Stage], figures: Figures) -> None:
    # Find the highest rate that is held, from that of the steady stage on.
    setup = figures.setup
    if is_held(figures.stages["steady"], setup.rate):
        figures.stages["held"] = figures.stages["steady"]
    rate, factor = setup.rate, FACTOR
    while factor > 1:
        held = _held(stage, rate * factor, setup.members)
        if held is not None:
            figures.stages["held"] = held
            rate *= factor
        if factor < FACTOR:
            break
        if held is None:
            factor **= 0.5


def _held(stage: Callable[[str], Stage], rate: float, members: float) -> Stage | None:
    # The stage at a rate, if it is held; what else runs may disturb it once.
    for _ in range(ATTEMPTS):
        held = stage(f"rate {rate / members}")
        if is_held(held, rate):
            return held
    return None


def _stage(
    load: Load,
    servers: Servers,
    bus: Redis | None,
    command: str,
    seconds: float,
    warmup: float,
) -> Stage:
    before = None if bus is None else bus.counts()
    user, system = cpu_times(servers.pids)
    told: dict[str, Any] = load.ask(f"{command} {seconds} {warmup}", seconds + warmup)
    user, system = (
        now - then
        for now, then in zip(cpu_times(servers.pids), (user, system), strict=True)
    )
    commands = bytes_in = bytes_out = 0.0
    if bus is not None and before is not None:
        # A server may deliver to its own members before Redis has come to it.
        wait_for_rest([bus.pid])
        commands, bytes_in, bytes_out = bus.counts().since(
            before, max(told["all_published"], 1)
        )
    n_servers = len(servers.pids)
    window = told["seconds"]
    return Stage(
        publishes=told["published"] / window,
        deliveries=told["delivered"] / window,
        server_cpu=sum(told["cpu"][:n_servers]) / window,
        redis_cpu=sum(told["cpu"][n_servers:]) / window,
        load_cpu=told["load_cpu"] / window,
        kernel=system / max(user + system, 1e-9),
        p50=told["p50"],
        p99=told["p99"],
        longest=told["longest"],
        # What comes twice, or later, is out of order, too.
        lost=max(told["all_expected"] - told["all_delivered"], 0),
        disordered=told["disordered"],
        commands=commands,
        bytes_in=bytes_in,
        bytes_out=bytes_out,
    )


def is_held(stage: Stage, rate: float) -> bool:
    """Tell whether a server keeps up with a rate."""
    in_time = stage.p99 <= HELD_MS and stage.deliveries >= rate * HELD_PART
    return in_time and not stage.lost


def longest_hold(load: Load, servers: Servers, setup: Setup) -> float:
    """Return for how long the loop of a process comes to nobody else, at most, while
    messages come one by one."""
    from gws import connect

    def ask() -> float:
        uri = f"ws://127.0.0.1:{servers.port}/hold"
        with connect(uri, proxy=None) as ws:
            return float(ws.recv(10))

    ask()
    load.ask(f"flood 1 {setup.seconds} 0", setup.seconds)
    return ask()


def cores() -> int:
    """Return how many processors all share."""
    return len(os.sched_getaffinity(0))
