"""A terminal for a program: a keyboard, and a screen that tells what stands on it."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from gevent import subprocess
from gevent.os import make_nonblocking, nb_read

from ..program import SOON


#: What a program writes: a sequence (ECMA-48, 5.4), or a character.
_written = re.compile(r"\x1b\[([0-9;?]*)([@-~])|(.)", re.DOTALL)


class Screen:
    """What stands in the rows, by the few sequences that `gws` writes."""

    def __init__(self) -> None:
        self.rows = [""]
        self._row = self._column = 0

    def write(self, text: str) -> None:
        for numbers, final, char in _written.findall(text):
            if char == "\r":
                self._column = 0
            elif char == "\n":
                self._row += 1
                self.rows += [""] * (self._row + 1 - len(self.rows))
            elif char:
                row = self.rows[self._row].ljust(self._column)
                self.rows[self._row] = (
                    row[: self._column] + char + row[self._column + 1 :]
                )
                self._column += 1
            elif final == "K":
                self.rows[self._row] = self.rows[self._row][: self._column]
            elif final == "G":
                self._column = int(numbers) - 1
            elif final == "H":
                self._row = self._column = 0
            elif final == "J":
                self.rows = [""]
            else:
                assert final == "m", f"unknown: {numbers}{final}"


class Terminal:
    """``python -m gws ARGS`` in a session of its own, at a terminal of its own."""

    def __init__(self, *args: str | Path, cwd: Path, **environ: str) -> None:
        self._master, self.tty = os.openpty()
        make_nonblocking(self._master)
        self.resize(80)
        self.screen = Screen()
        #: All that was written.
        self.raw = ""
        clean = {k: v for k, v in os.environ.items() if not k.endswith("_COLOR")}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-W", "error", "-m", "gws", *map(str, args)],
            stdin=self.tty,
            stdout=self.tty,
            stderr=self.tty,
            cwd=cwd,
            env=clean | {"TERM": "xterm", "XDG_STATE_HOME": str(cwd)} | environ,
            preexec_fn=self._own_session,
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self.tty)

    @property
    def rows(self) -> list[str]:
        """What stands on the screen."""
        return self.screen.rows

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int) -> None:
        size = struct.pack("HHHH", 24, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def is_cooked(self) -> bool:
        """Whether it edits lines itself, and echoes."""
        flags = termios.tcgetattr(self.tty)[3]
        return flags & (termios.ICANON | termios.ECHO) == termios.ICANON | termios.ECHO

    def wait(self, is_there: Callable[[list[str]], Any]) -> None:
        """Wait until the rows are as they must be."""
        try:
            with gevent.Timeout(SOON):
                while not is_there(self.rows):
                    self._read()
        except gevent.Timeout:
            raise AssertionError("\n".join(["on the screen:", *self.rows])) from None

    def see(self, *rows: str) -> None:
        """Wait until these are the last rows."""
        self.wait(lambda found: found[-len(rows) :] == [*rows])

    def end(self) -> int:
        """Wait for its end; return the exit code."""
        reading = gevent.spawn(self._read_all)
        try:
            code: int = self.process.wait(timeout=SOON)
        finally:
            reading.kill()
        with gevent.Timeout(SOON):
            while self._is_readable():
                self._read()
        return code

    def _own_session(self) -> None:
        # So Ctrl-C is a signal, and so is a new size.
        os.setsid()
        fcntl.ioctl(self.tty, termios.TIOCSCTTY, 0)

    def _read_all(self) -> None:
        while True:
            self._read()

    def _read(self) -> None:
        text = nb_read(self._master, 2**12).decode()
        self.raw += text
        self.screen.write(text)

    def _is_readable(self) -> bool:
        (n,) = struct.unpack("i", fcntl.ioctl(self._master, termios.FIONREAD, b"...."))
        return bool(n)
