"""What the client programs share: their arguments in, their one line of JSON out."""

import json
import os
import resource
import sys
import time
from typing import NamedTuple, NoReturn


#: What every client sends and must get back: 64 bytes of text.
MESSAGE = "0123456789abcdef" * 4
MESSAGE_BYTES = MESSAGE.encode()


class Arguments(NamedTuple):
    """How to measure: `NAME_client.py PORT CONNECTIONS IN_FLIGHT WARMUP SECONDS`."""

    uri: str
    connections: int
    in_flight: int
    warmup: float
    seconds: float


def arguments() -> Arguments:
    """Read the command line."""
    port, connections, in_flight, warmup, seconds = sys.argv[1:]
    return Arguments(
        f"ws://127.0.0.1:{port}/",
        int(connections),
        int(in_flight),
        float(warmup),
        float(seconds),
    )


class Counter:
    """Counts echoes; each connection of the client adds to the same one."""

    def __init__(self) -> None:
        self.echoes = 0
        self._before = 0
        self._started = 0.0
        self._cpu = 0.0

    def start(self) -> None:
        """The warm-up is over."""
        self._before, self._started, self._cpu = self.echoes, now(), cpu_seconds()

    def finish(self) -> NoReturn:
        """Print the figure and end the process, in the middle of what it does.

        The connections' loops never end by themselves, and the echo server does not
        mind being left without a word.
        """
        count, seconds = self.echoes - self._before, now() - self._started
        if count == 0:
            print("nothing was echoed", file=sys.stderr, flush=True)
            os._exit(1)
        cpu = (cpu_seconds() - self._cpu) / seconds
        line = {"count": count, "per_second": round(count / seconds, 1), "cpu": cpu}
        print(json.dumps(line), flush=True)
        os._exit(0)


def wrong(message: object) -> NoReturn:
    """End the process: the echo is not what was sent."""
    print(f"got {message!r}", file=sys.stderr, flush=True)
    os._exit(1)


def now() -> float:
    """Return seconds on a clock that never jumps."""
    return time.perf_counter()


def cpu_seconds() -> float:
    """Return the processor time this process has used, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
