"""Keys of a terminal in; lines above the one that is typed out."""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator

import click
from gevent.os import tp_read

from ..process.service import on_signal
from .editor import Editor


#: To the left of what is typed.
PROMPT = "> "

#: Back to the first column, and delete what stands in the line.
CLEAR_LINE = "\r\x1b[K"

#: To the first column of the first line, and delete everything.
CLEAR_SCREEN = "\x1b[H\x1b[2J"


class Screen:
    """A terminal: a line that is typed at the bottom, and above it what was shown.

    Each time something is shown it comes in the place of the line, and the line is
    drawn anew under it, in one write.
    """

    def __init__(self, editor: Editor, has_colors: bool) -> None:
        self._editor = editor
        self._has_colors = has_colors
        self._fd = sys.stdin.fileno()

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Take each key at once, without an echo, for as long as the ``with`` lasts.

        Ctrl-C and Ctrl-Z are signals, as ever.
        """
        before = termios.tcgetattr(self._fd)
        try:
            with (
                # Who comes back after Ctrl-Z finds the terminal as the shell has it.
                on_signal(signal.SIGCONT, self._resume),
                on_signal(signal.SIGWINCH, self.draw),
            ):
                self._resume()
                yield
        finally:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, before)
            self._write(CLEAR_LINE)

    def lines(self) -> Iterator[str]:
        """Yield what is typed, line by line, to Ctrl-D."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while data := self._read():
            keys = decoder.decode(data)
            if "\x0c" in keys:
                self._write(CLEAR_SCREEN)
            for line in self._editor.feed(keys):
                if line is None:
                    return
                yield line
            self.draw()

    def show(self, line: str, **style: str | bool) -> None:
        """Show a line of text, above the one that is typed.

        Args:
            style: as of `click.style`.
        """
        if self._has_colors:
            line = click.style(line, **style)  # type: ignore[arg-type]
        self._write(f"{CLEAR_LINE}{line}\n{self._drawn()}")

    def draw(self) -> None:
        """Draw the line that is typed."""
        self._write(self._drawn())

    # Private methods

    def _resume(self) -> None:
        tty.setcbreak(self._fd, termios.TCSADRAIN)
        self.draw()

    def _drawn(self) -> str:
        shown, column = self._editor.view(self._width() - len(PROMPT))
        # Columns count from 1 (ECMA-48, 8.3.9).
        return f"{CLEAR_LINE}{PROMPT}{shown}\x1b[{len(PROMPT) + column + 1}G"

    def _width(self) -> int:
        try:
            width = os.get_terminal_size(self._fd).columns
        except OSError:
            width = 0
        return max(width or 80, 10)

    def _read(self) -> bytes:
        # A thread of gevent's reads: see `piping.input_lines`.
        try:
            return tp_read(self._fd, 2**10)
        except OSError:  # the terminal is gone
            return b""

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
