"""The command, as a shell runs it; and what it connects to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
from gevent.event import AsyncResult

from gws import ConnectionClosed, serve

from ..program import SOON, Program


def gws_(*args: str | Path, **options: Any) -> Program:
    return Program("-m", "gws", *args, **options)


def wait_log(program: Program, text: str) -> str:
    """Return what it prints to stderr, to the next line that has this in it."""
    lines = []
    with gevent.Timeout(SOON):
        while line := program.process.stderr.readline().decode():
            lines.append(line)
            if text in line:
                return "".join(lines)
    raise EOFError(f"{text} is not in:\n{''.join(lines)}")


def end_of_full(*args: str, **options: Any) -> tuple[int, str]:
    """Run it with an output that is full; return exit code and what stderr has."""
    with (
        open("/dev/full", "w") as full,
        gws_(*args, stdout=full, **options) as program,
        gevent.Timeout(SOON),
    ):
        _, err = program.process.communicate()
        return program.process.returncode, err.decode()


class Log:
    """A handler that tells the test who came and how it ended."""

    def __init__(self, handler: Callable[[Any], None]) -> None:
        self._handler = handler
        self.ended = AsyncResult()

    def __call__(self, ws: Any) -> None:
        try:
            self._handler(ws)
        except ConnectionClosed:
            pass
        finally:
            self.ended.set(ws)


def echo(ws: Any) -> None:
    for message in ws:
        ws.send(message)


@contextmanager
def server_of(handler: Callable[[Any], None], **options: Any) -> Iterator[Any]:
    """Serve in this process; yield the URI and the `Log`."""
    log = Log(handler)
    with serve(log, "127.0.0.1", 0, **options) as server:
        scheme = "ws" if options.get("ssl") is None else "wss"
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/", log
