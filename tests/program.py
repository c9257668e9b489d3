"""A Python program in a process of its own, talked to over its pipes.

Everything waits in the hub, so that servers and clients of the test go on meanwhile.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import gevent
from gevent import subprocess


#: Seconds in which a program says what it must, or ends.
SOON = 20


class Program:
    """``python ARGS``, warnings being errors; ends with the ``with``."""

    def __init__(self, *args: str | Path, **options: Any) -> None:
        # -P: the working directory may be the checkout.
        command = [sys.executable, "-P", "-W", "error", *map(str, args)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self.process = subprocess.Popen(command, **(pipes | options))

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def hear(self) -> str:
        """Return the next line that it prints."""
        with gevent.Timeout(SOON):
            line: bytes = self.process.stdout.readline()
        if not line:
            raise EOFError(self.process.stderr.read().decode())
        return line.decode().removesuffix("\n")

    def tell(self, line: str | bytes) -> None:
        """Write a line to its standard input."""
        data = line.encode() if isinstance(line, str) else line
        self.process.stdin.write(data + b"\n")
        self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; return exit code, and what is left of its output."""
        with gevent.Timeout(SOON):
            out, err = self.process.communicate()
        return self.process.returncode, out.decode(), err.decode()
