"""The grammar that headers share: text and a position in, an item and the next out.

A function here only moves forward, and a repetition in a regular expression is
either over one character class or possessive, so that a match which fails at the
end of the value is not tried again in other ways: time is linear in any input.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ..exceptions import InvalidHeaderFormat
from .datastructures import TCHAR


T = TypeVar("T")

# RFC 9110 5.6.2: token = 1*tchar.
_token = re.compile(TCHAR + "+")

# RFC 9110 5.6.3: OWS = *( SP / HTAB ).
_ows = re.compile(r"[ \t]*")

# What may stand between two elements of a list, empty elements included.
_separators = re.compile(r"[ \t,]*")

# Most commas and semicolons in one list. Browsers send one or two.
_MAX_SEPARATORS = 100

# RFC 9110 5.6.4: quoted-string = DQUOTE *( qdtext / quoted-pair ) DQUOTE.
_quoted_string = re.compile(
    r'"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+)"'
)
_quoted_pair = re.compile(r"\\(.)")


def parse(
    what: re.Pattern[str], word: str, header: str, pos: int, name: str
) -> tuple[str, int]:
    """Return the text that matches ``what`` at ``pos`` and the position after it.

    Args:
        word: what it is, for the error.
        name: of the header, for the error.

    Raises:
        InvalidHeaderFormat: if there is none; so does every function here.
    """
    match = what.match(header, pos)
    if match is None:
        raise InvalidHeaderFormat(name, f"expected {word}", header, pos)
    return match.group(), match.end()


parse_token = partial(parse, _token, "token")


def parse_quoted_string(header: str, pos: int, name: str) -> tuple[str, int]:
    """Parse a quoted string; return what it stands for."""
    match = _quoted_string.match(header, pos)
    if match is None:
        raise InvalidHeaderFormat(name, "expected quoted string", header, pos)
    return _quoted_pair.sub(r"\1", match.group(1)), match.end()


def quoted(text: str) -> str:
    """Return the quoted string that stands for ``text``."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def skip_ows(header: str, pos: int) -> int:
    """Return the position after optional white space."""
    return _skip(_ows, header, pos)


def parse_list(
    parse_item: Callable[[str, int, str], tuple[T, int]],
    header: str,
    name: str,
    *,
    at_least: int = 0,
) -> list[T]:
    """Parse a whole value as a comma-separated list (RFC 9110 5.6.1.2).

    Args:
        parse_item: Takes header, position and name; returns item and new position.
    """
    # A count first: what is over it shall not cost a loop here and others later.
    if header.count(",") + header.count(";") > _MAX_SEPARATORS:
        raise InvalidHeaderFormat(name, "too many elements", header, 0)
    items = []
    # RFC 9110 5.6.1.2: "a recipient MUST parse and ignore a reasonable number of
    # empty list elements".
    pos = _skip(_separators, header, 0)
    while pos < len(header):
        item, pos = parse_item(header, pos, name)
        items.append(item)
        pos = skip_ows(header, pos)
        if pos < len(header) and header[pos] != ",":
            raise InvalidHeaderFormat(name, "expected comma", header, pos)
        pos = _skip(_separators, header, pos)
    if len(items) < at_least:
        raise InvalidHeaderFormat(name, "expected an element", header, pos)
    return items


def _skip(what: re.Pattern[str], header: str, pos: int) -> int:
    """Return the position after ``what``, a pattern that matches anywhere."""
    match = what.match(header, pos)
    assert match is not None  # both _ows and _separators match the empty string
    return match.end()
