"""What a peer sent, printed."""

from __future__ import annotations

import pytest

from gws.cli.printable import escape


@pytest.mark.parametrize(
    ("message", "printed"),
    [
        ("plain, ünïcode, 世界, 😀", "plain, ünïcode, 世界, 😀"),
        ("", ""),
        ("a\nClosed: 1000 (OK).", r"a\nClosed: 1000 (OK)."),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\r\t\b\x7f\x00", r"\r\t\x08\x7f\x00"),
        ("\x9b31m\x85", r"\x9b31m\x85"),
        ("\u202eevil\u2066\u200f", r"\u202eevil\u2066\u200f"),
        ("\u2028\ufeff\U000e0041", r"\u2028\ufeff\U000e0041"),
        (b"\x00\x1b\xff plain", r"\x00\x1b\xff plain"),
        (b"", ""),
    ],
)
def test_what_is_printed_moves_no_terminal(message: str | bytes, printed: str) -> None:
    assert escape(message) == printed
