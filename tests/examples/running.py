"""Examples as a user runs them: started, talked to, stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..program import Program


EXAMPLES = Path(__file__).parents[2] / "examples"
STOPS = [signal.SIGINT, signal.SIGTERM]


@contextmanager
def running(
    name: str,
    *args: str | Path,
    stop: signal.Signals = signal.SIGTERM,
    **environ: str,
) -> Iterator[str]:
    """Run an example that serves; yield the address that it prints.

    It must end well when the signal asks it to, and have nothing to complain about.

    Args:
        environ: what is added to the environment.
    """
    with started(name, *args, **environ) as program:
        yield program.hear().split()[-1]
        program.signal(stop)
        assert program.end() == (0, "", "")


def started(name: str, *args: str | Path, **environ: str) -> Program:
    """Start an example."""
    return Program(EXAMPLES / name, *args, env={**os.environ, **environ})


def run(name: str, *args: str | Path, **environ: str) -> list[str]:
    """Run an example to its end, which must be a good one; return what it prints."""
    with started(name, *args, **environ) as program:
        code, out, err = program.end()
    assert (code, err) == (0, "")
    return out.splitlines()
