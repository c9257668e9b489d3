"""Pairs of header name and value in; a case-insensitive multi-dict of them out.

What may be a name and what a value is decided here, for both directions.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Protocol

from ..exceptions import InvalidHeaderValue


# RFC 9110 5.6.2: token = 1*tchar; RFC 9110 5.1: field-name = token.
TCHAR = r"[-!#$%&'*+.^_`|~0-9A-Za-z]"
_token = re.compile(TCHAR + "+").fullmatch

# RFC 9110 5.5: field-value = *field-content, of VCHAR, obs-text, SP and HTAB.
_field_value = re.compile(r"[\t \x21-\x7e\x80-\xff]*").fullmatch
_c1_control = re.compile(r"[\x80-\x9f]").search


def is_token(text: str) -> bool:
    """Return whether ``text`` is a token (RFC 9110 5.6.2), such as a header name."""
    return _token(text) is not None


def is_field_value(text: str) -> bool:
    """Return whether ``text`` may be sent and received as the value of a header.

    RFC 9110 5.5: "Field values containing CR, LF, or NUL characters are invalid
    and dangerous"; so are all other control characters here, HTAB excepted.
    Bytes from 0x80 up are opaque and pass when they are UTF-8 or ISO-8859-1
    text. They do not when they are control characters (0x80-0x9F) in both:
    somebody's ``splitlines`` breaks a line at 0x85.

    Args:
        text: The bytes of the value, decoded as ISO-8859-1.
    """
    if _field_value(text) is None:
        return False
    if text.isascii():
        return True
    with contextlib.suppress(UnicodeDecodeError):
        text = text.encode("latin-1").decode()
    return _c1_control(text) is None


class MultipleValuesError(LookupError):
    """``headers[name]`` was asked for where ``name`` has several values."""


class Headers(MutableMapping[str, str]):
    """HTTP headers: names are case-insensitive and may stand several times.

    - ``headers[name]`` is the only value; :exc:`KeyError` when there is none and
      :exc:`MultipleValuesError` when there are several;
    - ``headers[name] = value`` adds a value and keeps the ones that are there;
    - ``del headers[name]`` removes all values;
    - iteration gives each name once, in lower case.

    The other methods of a dict follow from these. Two :class:`Headers` are equal
    when they have the same values for the same names, however written; the order
    counts only among the values of one name.

    What is stored is always fit to be sent: names are tokens and values hold no
    control characters (see :func:`is_field_value`), so no
    text that is put in can end a line. Text outside ASCII is bytes decoded as
    ISO-8859-1.

    Not for use by several threads at once while somebody changes it.
    """

    __slots__ = ("_items", "_values")

    def __init__(self, other: HeadersLike = (), /, **kwargs: str) -> None:
        #: As written, in order.
        self._items: list[tuple[str, str]] = []
        #: Values by name in lower case.
        self._values: dict[str, list[str]] = {}
        if other or kwargs:
            self.update(other, **kwargs)

    def __repr__(self) -> str:
        return f"Headers({self._items!r})"

    def __str__(self) -> str:
        return "".join([f"{name}: {value}\r\n" for name, value in self._items]) + "\r\n"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return self._values == other._values

    # Methods for reading

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, name: str) -> str:
        values = self._values[name.lower()]
        if len(values) > 1:
            raise MultipleValuesError(name)
        return values[0]

    def get_all(self, name: str) -> list[str]:
        """Return a list of all values of ``name``, empty if there is none."""
        return list(self._values.get(name.lower(), ()))

    def raw_items(self) -> Iterator[tuple[str, str]]:
        """Iterate over all names and values as they were written, in order."""
        return iter(self._items)

    def copy(self) -> Headers:
        """Return headers that are equal now and change on their own."""
        copy = Headers()
        copy._items = self._items.copy()
        copy._values = {name: values.copy() for name, values in self._values.items()}
        return copy

    def serialize(self) -> bytes:
        """Return the header section of a message, the empty line included."""
        return str(self).encode("latin-1")

    # Methods for writing

    def __setitem__(self, name: str, value: str) -> None:
        """Add a value.

        Raises:
            InvalidHeaderValue: If the name or the value may not stand in a
                header. It is a :exc:`ValueError`.
            TypeError: If one of them is not a str.
        """
        if _token(name) is None or not is_field_value(value):
            raise InvalidHeaderValue(name, value)
        # RFC 9110 5.5: "A field value does not include leading or trailing
        # whitespace."
        self.add_valid(name, value.strip(" \t"))

    def add_valid(self, name: str, value: str) -> None:
        """Add a value that the caller has checked, or that is ours.

        .. danger:: What `[]=` would refuse lets whoever wrote it add headers.
        """
        self._items.append((name, value))
        values = self._values.get(name := name.lower())
        if values is None:
            self._values[name] = [value]
        else:
            values.append(value)

    def __delitem__(self, name: str) -> None:
        lower = name.lower()
        del self._values[lower]
        self._items = [item for item in self._items if item[0].lower() != lower]

    def clear(self) -> None:
        """Remove all headers."""
        self._items = []
        self._values = {}

    def update(self, other: HeadersLike = (), /, **kwargs: str) -> None:
        """Add all headers of ``other`` and ``kwargs``, as ``[]=`` does."""
        if isinstance(other, Headers):
            # A copy, so that ``headers.update(headers)`` comes to an end.
            other = list(other._items)
        super().update(other, **kwargs)


class SupportsKeysAndGetItem(Protocol):
    """What is enough of a dict to be made into headers."""

    def keys(self) -> Iterable[str]: ...

    def __getitem__(self, name: str, /) -> str: ...


#: What headers can be made of: headers, a dict, or pairs of name and value.
HeadersLike = SupportsKeysAndGetItem | Iterable[tuple[str, str]]
