"""Lines that were typed in, kept in a file of the user's; those of before out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from .editor import is_kept


#: How many lines are remembered; the file is cut when it has twice as many.
LIMIT = 1000


class History:
    """The lines of all sessions of this user.

    Several sessions may add lines. A file that can't be read or written is no reason
    not to talk: then what was typed is remembered in this session only.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.lines = self._read()

    def add(self, line: str) -> None:
        """Remember a line."""
        if not is_kept(line, self.lines):
            return
        self.lines.append(line)
        with contextlib.suppress(OSError):
            self._write(os.O_APPEND, [line])

    def _read(self) -> list[str]:
        try:
            with open(self._path, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            return []
        if len(lines) > 2 * LIMIT:
            with contextlib.suppress(OSError):
                self._write(os.O_TRUNC, lines[-LIMIT:])
        return lines[-LIMIT:]

    def _write(self, how: int, lines: Sequence[str]) -> None:
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        # For the user's eyes only: there may be passwords in what was sent.
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o600)
        with open(fd, "w", encoding="utf-8", errors="replace") as file:
            file.write("".join(f"{line}\n" for line in lines))


def history_path() -> str:
    """Return where the history is, as the XDG Base Directory Specification has it."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):  # "All paths ... must be absolute"
        state = os.path.expanduser("~/.local/state")
    return os.path.join(state, "gws", "history")
