"""What was imported in; the files of an application, and which have changed, out.

Their times are asked for, a few times a second: a few hundred calls of stat take a
millisecond, see what editors and containers do on any file system, and need nothing
that would have to be installed.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable


#: The time, size and number of a file; None if it is not there.
Signature = tuple[int, int, int] | None


class Files:
    """Files that are watched."""

    def __init__(self) -> None:
        self._known: dict[str, Signature] = {}
        self._last: dict[str, Signature] | None = None

    def __len__(self) -> int:
        return len(self._known)

    def add(self, paths: Iterable[str], imported: float) -> None:
        """Watch further files.

        Args:
            imported: the time, of the calendar, after which they were imported. One
                written later has changed already.
        """
        for path in paths:
            if path not in self._known:
                signature = sign(path)
                if signature is not None and signature[0] > imported * 1e9:
                    signature = None
                self._known[path] = signature

    def changed(self) -> list[str]:
        """Return those that have changed.

        Only once all have stayed as they are from one call to the next: who saves
        several files means one change.
        """
        now = {path: sign(path) for path in self._known}
        changed = [path for path in now if now[path] != self._known[path]]
        has_settled = now == self._last
        self._last = now
        if not (changed and has_settled):
            return []
        self._known = now
        return changed


def sign(path: str) -> Signature:
    """Return what differs when a file has changed."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def files_of_modules() -> dict[str, str]:
    """Return the Python files of all that is imported, by the names of the modules."""
    named = {name: getattr(m, "__file__", None) for name, m in [*sys.modules.items()]}
    return {
        name: os.path.abspath(path)
        for name, path in named.items()
        if path and path.endswith(".py")
    }


def files_of_error(error: BaseException | None) -> set[str]:
    """Return the files that an error names."""
    if error is None:
        return set()
    found = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        found.append(error.filename)
    return {os.path.abspath(path) for path in found if path.endswith(".py")}


def is_of_app(path: str) -> bool:
    """Tell whether a file is in this directory, and not in its virtual environment."""
    here = os.path.join(os.getcwd(), "")
    environment = os.path.join(sys.prefix, "")
    if environment.startswith(here) and path.startswith(environment):
        return False
    return path.startswith(here)
