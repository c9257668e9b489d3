"""Soaks a server: scenarios in, a table out, and exit status 1 if it did not hold.

    python tests/soak/run.py            # the long form, some twenty minutes
    python tests/soak/run.py --short    # that of every day, in seconds
    python tests/soak/run.py --write    # the long form's table, into its page

Each load runs twice. What the server holds is compared with what it held before the
first: after ten seconds all must be as it was. And the second time must cost no memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import trustme
from judge import (
    MEMORY_AGAIN,
    MEMORY_ONCE,
    Figures,
    Result,
    growth,
    leftovers,
    table,
)


HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "project" / "soak.md"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"

#: The seconds in which all that a crowd occupied must be free again.
SETTLE_TIME = 10.0

#: What a process needs beside its connections.
SPARE_DESCRIPTORS = 100


@dataclasses.dataclass(frozen=True)
class Size:
    """How much of everything."""

    cycle: int
    refused: int
    vanish: int
    idle: int
    idle_seconds: float
    ping_interval: float
    #: What the server may use of a processor while all are idle.
    idle_cpu: float
    #: The seconds within which somebody new must have an echo, whoever leaves.
    probe_time: float


LONG = Size(
    cycle=100_000,
    refused=20_000,
    vanish=20_000,
    idle=10_000,
    idle_seconds=600,
    ping_interval=20,
    idle_cpu=0.01,
    probe_time=5,
)
# The two limits are wide: others use the machine. A server that runs in circles, or
# stands still, does not keep to them.
SHORT = Size(
    cycle=1000,
    refused=300,
    vanish=300,
    idle=300,
    idle_seconds=3,
    ping_interval=1,
    idle_cpu=0.2,
    probe_time=10,
)
WARM_UP = dataclasses.replace(
    SHORT, cycle=100, refused=50, vanish=100, idle=100, idle_seconds=0
)

#: What is done, in this order.
SCENARIOS = {
    "cycle": "connect, echo, close",
    "refused": "refused handshakes",
    "vanish": "vanished clients",
    "idle": "idle connections",
}


class Program:
    """A Python program of this folder that talks in lines of JSON."""

    def __init__(self, *args: str | Path, stderr: Any = None) -> None:
        command = [sys.executable, "-W", "error", *map(str, args)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            # What it was not told any more can't be flushed.
            with contextlib.suppress(OSError):
                pipe.close()

    def hear(self) -> Any:
        """Return the next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise EOFError(f"{self.process.args!r} ended: {self.process.wait()}")
        return json.loads(line)

    def ask(self, word: str) -> Any:
        """Say a word, and return the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.hear()

    def cpu_seconds(self) -> float:
        """Return the processor time used so far."""
        # See proc(5): after the name, which may contain anything, from field 3 on.
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Soak:
    """A running server, and what has been done to it."""

    def __init__(self, server: Program, told: Any) -> None:
        self.server = server
        self.ports = told["ports"]
        #: What is soaked, on what.
        self.description = describe(told)
        #: What it held before, and the objects of it by type.
        self.before: Figures = {}
        self.types: dict[str, int] = {}

    def warm_up(self) -> list[Result]:
        """Have all made that is made on first use, and stays; return what failed."""
        self.before = self.figures() | {"objects": sys.maxsize}
        self.types = self.server.ask("types")
        for result in self.run(WARM_UP):
            if result.faults:
                return [result]
        self.before = self.figures()
        self.types = self.server.ask("types")
        return []

    # Scenarios

    def run(self, size: Size, kinds: Sequence[str] = ()) -> Iterator[Result]:
        """Run all scenarios, or those named, one after the other."""
        for kind in kinds or SCENARIOS:
            if kind == "idle":
                yield self.run_idle(size)
            else:
                yield self.run_many(kind, getattr(size, kind))

    def run_many(self, kind: str, count: int) -> Result:
        """Run a load twice that ends by itself."""
        result = Result(SCENARIOS[kind], count)
        result.memory.append(self.figures()["memory"])
        for _ in range(2):
            with self.load(kind, count) as load:
                end = load.hear()
            result.seconds += end["seconds"] / 2
            result.faults += faults_in(end, count)
            self.settle(result)
        result.faults += growth(result.memory, (MEMORY_ONCE, MEMORY_AGAIN))
        return result

    def run_idle(self, size: Size) -> Result:
        """Have many idle, then gone all at once; then again, closing all at once."""
        result = Result(SCENARIOS["idle"], size.idle)
        result.memory.append(self.figures()["memory"])
        held = []
        for leave in (self.go_at_once, self.close_at_once):
            with self.load("idle", size.idle) as load:
                opened = load.hear()
                result.faults += [f"opening: {x}" for x in opened["faults"]]
                held.append(self.figures()["memory"])
                if len(held) == 1:
                    self.measure_idle(load, result, size)
                leave(load, result, size)
            self.settle(result)
        each = (held[0] - result.memory[0]) / size.idle
        result.notes.insert(0, f"{each / 1024:.1f} KiB each")
        # Of so much, the allocator can't give back what a single block holds. It is
        # used again: with as many connections, no more is held than the first time.
        kept = MEMORY_ONCE + (held[0] - result.memory[0]) // 2
        result.faults += growth(result.memory[:2], [kept])
        result.faults += growth(held, [MEMORY_AGAIN])
        return result

    def measure_idle(self, load: Program, result: Result, size: Size) -> None:
        """Measure what idle connections cost."""
        n = self.server.ask("connections")
        if n != size.idle:
            result.faults.append(f"{n} connections open, not {size.idle}")
        n_pings = load.ask("pings")
        cpu, start = self.server.cpu_seconds(), time.monotonic()
        time.sleep(size.idle_seconds)
        cpu = self.server.cpu_seconds() - cpu
        seconds = time.monotonic() - start
        n_pings = load.ask("pings") - n_pings
        still = self.server.ask("connections")
        if still != n:
            result.faults.append(f"{n - still} connections lost while idle")
        # Half of them: a machine that others use is late.
        if n_pings < size.idle * size.idle_seconds / size.ping_interval / 2:
            result.faults.append("pings are missing")
        share = cpu / seconds if size.idle_seconds else 0.0
        if share > size.idle_cpu:
            result.faults.append(f"over {size.idle_cpu:.0%} CPU while idle")
        result.notes.append(f"{share:.2%} CPU in {seconds:.0f} s, {n_pings:,} pings")

    def go_at_once(self, load: Program, result: Result, size: Size) -> None:
        """Have all of them gone without a word."""
        with self.probed("gone at once", result, size):
            load.process.kill()

    def close_at_once(self, load: Program, result: Result, size: Size) -> None:
        """Have all of them close as they should."""
        with self.probed("closed at once", result, size):
            load.ask("close")
        result.faults += faults_in(load.hear(), size.idle)

    @contextlib.contextmanager
    def probed(self, name: str, result: Result, size: Size) -> Iterator[None]:
        """Have somebody else connect again and again until all others have left."""
        with self.load("probe", 0) as prober:
            prober.hear()
            yield
            self.wait_until_gone(result)
            told = prober.ask("end")
            result.faults += faults_in(prober.hear(), 1)
        worst = told["worst"]
        result.notes.append(
            f"{name}: slowest of {told['probes']} probes {worst * 1000:.0f} ms"
        )
        if worst > size.probe_time:
            result.faults.append(f"a probe took over {size.probe_time} s, {name}")

    def wait_until_gone(self, result: Result) -> None:
        """Wait until only the prober may be there, and a moment more for it."""
        start = time.monotonic()
        while (n := self.server.ask("connections")) > 1:
            if time.monotonic() > start + SETTLE_TIME:
                result.faults.append(f"{n} still open")
                break
            time.sleep(0.05)
        time.sleep(0.2)

    # Steps of them

    def load(self, kind: str, count: int) -> Program:
        """Start a load."""
        return Program(HERE / "load.py", kind, str(count), *map(str, self.ports))

    def settle(self, result: Result) -> None:
        """Wait until the server holds no more than before; take what remains."""
        start = time.monotonic()
        while left := leftovers(self.before, now := self.figures()):
            if time.monotonic() > start + SETTLE_TIME:
                result.faults += left
                result.faults.append(f"of these types most: {self.types_left()}")
                break
            time.sleep(0.1)
        result.settled = max(result.settled, time.monotonic() - start)
        result.memory.append(now["memory"])

    def types_left(self) -> str:
        """Say of which types there are more objects than before."""
        more = Counter(self.server.ask("types")) - Counter(self.types)
        return ", ".join(f"{n} {name}" for name, n in more.most_common(5))

    def figures(self) -> Figures:
        """Return what the server holds."""
        found: Figures = self.server.ask("figures")
        return found


def faults_in(end: Any, count: int) -> list[str]:
    """Return what a load found, by its last line."""
    faults = [f"{n} x {fault}" for fault, n in end["faults"].items()]
    if end["done"] != count:
        faults.append(f"{count - end['done']} failed")
    return faults


@contextlib.contextmanager
def soaked_server(size: Size, results: list[Result]) -> Iterator[Soak]:
    """Run the server; at the end, add what it logged and how it ended."""
    interval = str(size.ping_interval)
    with tempfile.TemporaryDirectory(prefix="gws-soak-") as folder:
        authority = trustme.CA().issue_cert("localhost", "127.0.0.1")
        pem = Path(folder, "server.pem")
        authority.private_key_and_cert_chain_pem.write_to_path(pem)
        log = Path(folder, "log")
        with (
            open(log, "w") as stderr,
            Program(HERE / "server.py", folder, interval, stderr=stderr) as server,
        ):
            told = server.hear()
            if told["descriptors"] < size.idle + SPARE_DESCRIPTORS:
                raise click.ClickException("too few descriptors: see ulimit -Hn")
            try:
                yield Soak(server, told)
            except EOFError:  # somebody died: the server, maybe
                click.echo(log.read_text(), err=True)
                raise
            assert server.process.stdin is not None
            server.process.stdin.close()
            status = server.process.wait(SETTLE_TIME)
        results.append(judge_log(log.read_text(), status))


def judge_log(log: str, status: int) -> Result:
    """Return what the server had to complain about."""
    result = Result("log of the server", 0, notes=[f"exit status {status}"])
    if status:
        result.faults.append(f"ended with {status}")
    if log:
        click.echo(log[:5000], err=True)
        result.faults.append(f"{len(log.splitlines())} lines")
    return result


def describe(told: Any) -> str:
    """Say what is soaked, on what."""
    build = "compiled" if told["compiled"] else "pure"
    return (
        f"gws, {build}, on CPython {platform.python_version()}, Linux "
        f"{platform.release()}, {os.cpu_count()} processors"
    )


def write_into(page: Path, text: str) -> None:
    """Replace what stands between the marker lines of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{page} does not have the lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


@click.command()
@click.option("--short", is_flag=True, help="The short form.")
@click.option("--write", is_flag=True, help="Write the table into its page.")
@click.argument("kinds", nargs=-1, type=click.Choice(list(SCENARIOS)))
def main(short: bool, write: bool, kinds: Sequence[str]) -> None:
    """Soak a server: all scenarios, or those named."""
    size = SHORT if short else LONG
    results: list[Result] = []
    with soaked_server(size, results) as soak:
        click.echo(soak.description)
        results += soak.warm_up()
        # Who fails even that is not worth more.
        for result in () if results else soak.run(size, kinds):
            click.echo(table([result]).splitlines()[-1])
            results.append(result)
    text = table(results)
    click.echo("\n" + text)
    if write:
        write_into(PAGE, f"{soak.description}\n\n{text}")
    sys.exit(any(result.faults for result in results))


if __name__ == "__main__":
    main()
