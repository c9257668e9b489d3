"""What a keyboard sends in; the line that is being typed, and those that are done, out.

It knows no terminal: whoever has one feeds it, and draws what it says. The readline
module would edit in a thread of its own, and lets nobody else write while it does: a
message that comes while a line is typed would tear it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence


#: What a key sends: a sequence that begins with ESC (ECMA-48, 5.4), or a character.
_key = re.compile(
    r"\x1b\[[\x30-\x3f]*[\x20-\x2f]*[\x40-\x7e]|\x1bO.|\x1b[^\[O]|[^\x1b]", re.DOTALL
)

#: No sequence is longer; what is goes to nobody.
LONGEST = 32


class Editor:
    """A line that is typed, and the ones that were typed before.

    Args:
        history: these, the oldest first.
    """

    def __init__(self, history: Sequence[str] = ()) -> None:
        self._history = [*history]
        self._text = ""
        # Of the cursor; and of what is shown of the history.
        self._pos = 0
        self._index = len(self._history)
        # What was typed before one went back in the history.
        self._draft = ""
        # Of a sequence that has not come to its end.
        self._rest = ""

    @property
    def text(self) -> str:
        """The line, as far as it is typed."""
        return self._text

    def feed(self, keys: str) -> Iterator[str | None]:
        """Take what was typed; yield lines that are done, None for the end of all."""
        keys = self._rest + keys
        end = 0
        for match in _key.finditer(keys):
            if match.start() != end:
                break
            end = match.end()
            key = match[0]
            if key in ("\r", "\n"):
                yield self._done()
            elif key == "\x04" and not self._text:
                yield None
            elif key in KEYS:
                KEYS[key](self)
            elif key.isprintable() or key == "\t":
                self._insert(key)
        self._rest = keys[end:] if len(keys) - end < LONGEST else ""

    def view(self, width: int) -> tuple[str, int]:
        """Return what to show of the line in so many columns, and that of the cursor.

        A line that is too long for them is cut on the left, and on the right.
        """
        room = width - 1
        start, column = self._pos, 0
        while start > 0 and column + columns(self._text[start - 1]) <= room:
            start -= 1
            column += columns(self._text[start])
        shown, used = "", 0
        for char in self._text[start:]:
            used += columns(char)
            if used > room:
                break
            shown += visible(char)
        return shown, column

    # Keys

    def _insert(self, text: str) -> None:
        self._text = self._text[: self._pos] + text + self._text[self._pos :]
        self._pos += len(text)

    def _delete(self, start: int, end: int) -> None:
        self._text = self._text[:start] + self._text[end:]
        self._pos = start

    def _backspace(self) -> None:
        self._delete(max(self._pos - 1, 0), self._pos)

    def _delete_next(self) -> None:
        self._delete(self._pos, self._pos + 1)

    def _delete_word(self) -> None:
        self._delete(self._word_start(), self._pos)

    def _delete_all_before(self) -> None:
        self._delete(0, self._pos)

    def _delete_all_after(self) -> None:
        self._delete(self._pos, len(self._text))

    def _left(self) -> None:
        self._pos = max(self._pos - 1, 0)

    def _right(self) -> None:
        self._pos = min(self._pos + 1, len(self._text))

    def _home(self) -> None:
        self._pos = 0

    def _end(self) -> None:
        self._pos = len(self._text)

    def _word_left(self) -> None:
        self._pos = self._word_start()

    def _word_right(self) -> None:
        match = re.compile(r"\s*\S*").match(self._text, self._pos)
        assert match is not None, "it matches nothing, too"
        self._pos = match.end()

    def _word_start(self) -> int:
        before = self._text[: self._pos].rstrip()
        return max(before.rfind(" "), before.rfind("\t")) + 1

    def _back(self) -> None:
        self._go_to(self._index - 1)

    def _forth(self) -> None:
        self._go_to(self._index + 1)

    def _go_to(self, index: int) -> None:
        if not 0 <= index <= len(self._history):
            return
        if self._index == len(self._history):
            self._draft = self._text
        self._index = index
        is_old = index < len(self._history)
        self._text = self._history[index] if is_old else self._draft
        self._pos = len(self._text)

    def _done(self) -> str:
        line = self._text
        if is_kept(line, self._history):
            self._history.append(line)
        self._text, self._pos, self._draft = "", 0, ""
        self._index = len(self._history)
        return line


def is_kept(line: str, history: Sequence[str]) -> bool:
    """Tell whether a line belongs into the history.

    One that begins with a space does not, as in a shell: it is for secrets.
    """
    return bool(line.strip()) and line[0] != " " and [line] != [*history[-1:]]


def columns(char: str) -> int:
    """Return how many columns of a terminal a character takes."""
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def visible(char: str) -> str:
    """Return what stands for a character that may have been pasted."""
    return char if char.isprintable() else " " if char == "\t" else "?"


KEYS: Mapping[str, Callable[[Editor], None]] = {
    "\x01": Editor._home,
    "\x02": Editor._left,
    "\x04": Editor._delete_next,
    "\x05": Editor._end,
    "\x06": Editor._right,
    "\x08": Editor._backspace,
    "\x0b": Editor._delete_all_after,
    "\x0e": Editor._forth,
    "\x10": Editor._back,
    "\x15": Editor._delete_all_before,
    "\x17": Editor._delete_word,
    "\x7f": Editor._backspace,
    "\x1bb": Editor._word_left,
    "\x1bf": Editor._word_right,
    "\x1b\x7f": Editor._delete_word,
    "\x1b[1~": Editor._home,
    "\x1b[3~": Editor._delete_next,
    "\x1b[4~": Editor._end,
    "\x1b[1;5C": Editor._word_right,
    "\x1b[1;5D": Editor._word_left,
} | {
    f"\x1b{introducer}{final}": method
    for introducer in "[O"  # as the terminal's mode is (DECCKM)
    for final, method in {
        "A": Editor._back,
        "B": Editor._forth,
        "C": Editor._right,
        "D": Editor._left,
        "F": Editor._end,
        "H": Editor._home,
    }.items()
}
