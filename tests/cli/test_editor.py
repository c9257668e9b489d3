"""Keys in, the line that is typed and what is shown of it out; no terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gws.cli.editor import Editor, columns


UP, DOWN, RIGHT, LEFT = (f"\x1b[{final}" for final in "ABCD")


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("abc", "abc"),
        ("a\tb", "a\tb"),
        ("ab\x00\x1c\x9b\u202ec", "abc"),
        ("abc\x7f\x08", "a"),
        ("\x7fa", "a"),
        (f"ac{LEFT}b", "abc"),
        (f"ac\x1bODb{RIGHT}{RIGHT}d", "abcd"),
        (f"bc{LEFT}{LEFT}{LEFT}a", "abc"),
        ("bc\x01a\x05d", "abcd"),
        ("bc\x1b[Ha\x1b[Fd", "abcd"),
        ("bc\x1bOHa\x1bOFd", "abcd"),
        ("bc\x1b[1~a\x1b[4~d", "abcd"),
        ("abc\x02\x02\x06x", "abxc"),
        (f"abc{LEFT}{LEFT}\x1b[3~", "ac"),
        (f"abc{LEFT}{LEFT}\x04\x04\x04", "a"),
        (f"abc{LEFT}\x0b", "ab"),
        (f"abc{LEFT}\x15", "c"),
        ("one two  \x17x", "one x"),
        ("one two\x1b\x7f", "one "),
        ("one\x17\x17x", "x"),
        ("one two\x1bb\x1bbx\x1bfy", "xoney two"),
        ("one two\x1b[1;5Dx\x1b[1;5Cy", "one xtwoy"),
        # What no key of ours sends does nothing, whole.
        ("a\x1b[15~\x1b[<0;1;1Mb\x1bzc", "abc"),
        ("wide 世界\x7f", "wide 世"),
    ],
)
def test_keys(keys: str, text: str) -> None:
    editor = Editor()
    assert list(editor.feed(keys)) == []
    assert editor.text == text
    # However the keys are cut.
    editor = Editor()
    assert [line for key in keys for line in editor.feed(key)] == []
    assert editor.text == text


@given(
    st.lists(
        st.sampled_from([UP, DOWN, LEFT, RIGHT, "\x7f", "\x17", "\x04", "\r", "\x1b"])
        | st.characters(),
        max_size=20,
    ),
    st.integers(0, 40),
    st.integers(8, 20),
)
def test_any_keys(keys: list[str], cut: int, width: int) -> None:
    """Cut anywhere they do the same, and what is shown fits."""
    typed = "".join(keys)
    whole, halves = Editor(["one", "two"]), Editor(["one", "two"])
    lines = list(whole.feed(typed))
    assert [*halves.feed(typed[:cut]), *halves.feed(typed[cut:])] == lines
    assert halves.text == whole.text
    shown, column = whole.view(width)
    assert shown.isprintable()
    assert column < width
    assert sum(map(columns, shown)) < width


def test_lines_and_the_end() -> None:
    editor = Editor()
    assert list(editor.feed("one\rtwo\n\nthree")) == ["one", "two", ""]
    assert list(editor.feed("\x04\r\x04")) == ["three", None]


def test_a_sequence_without_an_end_does_not_grow() -> None:
    editor = Editor()
    assert list(editor.feed("\x1b[" + "1;" * 100)) == []
    assert list(editor.feed("a\r")) == ["a"]


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (UP, "two"),
        ("\x10", "two"),
        (UP * 2, "one"),
        (UP * 9, "one"),
        (UP * 2 + DOWN, "two"),
        ("new" + UP + DOWN, "new"),
        ("new" + UP + "\x0e", "new"),
        ("new" + DOWN, "new"),
        (UP + "!\r" + UP, "two!"),
        (UP + "\r" + UP * 2, "one"),  # not twice
        (" secret\r" + UP, "two"),
        ("  \r" + UP, "two"),
    ],
)
def test_history(keys: str, text: str) -> None:
    editor = Editor(["one", "two"])
    list(editor.feed(keys))
    assert editor.text == text


@pytest.mark.parametrize(
    ("keys", "width", "view"),
    [
        ("", 10, ("", 0)),
        ("abc", 10, ("abc", 3)),
        ("abc" + LEFT, 10, ("abc", 2)),
        # A column is kept for the cursor.
        ("abcdefghij", 10, ("bcdefghij", 9)),
        ("abcdefghijkl\x01", 10, ("abcdefghi", 0)),
        ("abcdefghijkl\x02", 10, ("cdefghijk", 9)),
        ("世界", 10, ("世界", 4)),
        ("世界世界世界", 10, ("界世界世界"[-4:], 8)),
        ("e\u0301a", 10, ("e\u0301a", 2)),
        ("a\tb", 10, ("a b", 3)),
    ],
)
def test_view(keys: str, width: int, view: tuple[str, int]) -> None:
    editor = Editor()
    list(editor.feed(keys))
    assert editor.view(width) == view
