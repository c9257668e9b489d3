"""docs/topics/threats.md and docs/topics/limits.md say what is so.

Of the former: its cases have tests, and what it names is there. Test functions are
found by ast; nothing is imported. Of the latter: the defaults.
"""

from __future__ import annotations

import ast
import inspect
import re
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gws import HeaderLimits, serve


TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "topics" / "threats.md"
LIMITS = PAGE.with_name("limits.md")

#: The cases; their numbers have gaps.
CASES = [
    *(f"H{n:02}" for n in range(1, 21) if n not in (5, 18, 19)),
    *(f"F{n:02}" for n in range(1, 21) if n not in (6, 16, 18)),
    *(f"S{n:02}" for n in range(1, 21) if n not in (9, 10, 12, 17)),
    *(f"R{n:02}" for n in range(1, 12)),
    *(f"C{n:02}" for n in range(1, 7)),
]

#: A row of a table for a case, and where in any line tests are named.
ROW = re.compile(r"^\| ([A-Z]\d\d) \|.*$", re.M)
NAMED = re.compile(r"`(tests/[\w/]+\.py|\w+\.py)::([\w*]+)`")

Test = tuple[Path, str]


@cache
def all_tests() -> dict[Path, list[str]]:
    """Return the test functions of each module."""
    return {
        path: [
            node.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        ]
        for path in TESTS.rglob("test_*.py")
    }


def named_in(text: str) -> set[Test]:
    """Return the tests that a text names."""
    found: set[Test] = set()
    for file, pattern in NAMED.findall(text):
        path = TESTS.parent / file if "/" in file else TESTS / "hostile" / file
        names = [n for n in all_tests().get(path, ()) if fnmatchcase(n, pattern)]
        assert names, f"{file}::{pattern}: no such test"
        found.update((path, name) for name in names)
    return found


def rows() -> dict[str, str]:
    """Return the row of each case."""
    found = {}
    for match in ROW.finditer(PAGE.read_text()):
        assert match[1] not in found, f"{match[1]} stands there twice"
        found[match[1]] = match[0]
    return found


def test_all_cases_are_there() -> None:
    assert list(rows()) == CASES


def test_what_is_named_is_there() -> None:
    """Whatever looks like a test's name is one, or a pattern of some."""
    text = PAGE.read_text()
    assert text.count(".py::") == len(NAMED.findall(text))
    assert len(named_in(text)) > len(CASES)


@pytest.mark.parametrize("case", CASES)
def test_each_case_names_its_tests(case: str) -> None:
    """All that are named after it, of which there is one at least."""
    prefix = f"test_{case.lower()}_"
    own = {
        (path, name)
        for path, names in all_tests().items()
        for name in names
        if name.startswith(prefix)
    }
    named = named_in(rows()[case])
    assert own and own <= named


def test_no_hostile_test_is_left_out() -> None:
    """Those that are named after no case stand elsewhere on the page."""
    named = named_in(PAGE.read_text())
    hostile = {
        (path, name)
        for path, names in all_tests().items()
        if path.parent.name == "hostile"
        for name in names
    }
    assert hostile
    assert hostile - named == set()


def test_defaults() -> None:
    """Each is as docs/topics/limits.md says, but where it says it in words."""
    defaults: dict[str, Any] = {
        name: parameter.default
        for name, parameter in inspect.signature(serve).parameters.items()
    }
    for name in ("line", "headers", "total"):
        defaults[f"header_limits.{name}"] = getattr(HeaderLimits(), name)
    text = LIMITS.read_text().partition("\n## Beside others\n")[0]
    in_words = []
    for names, told in re.findall(r"^\| (`.*?) \| (.*?) \|", text, re.M):
        found = re.findall(r"`([\w.]+)`", names)
        for name, value in zip(found, told.split(", "), strict=len(found) > 1):
            if re.fullmatch(r"[\d*]+|None", value):
                assert defaults[name] == eval(value), name
            else:
                in_words.append(name)
    assert in_words == ["max_connections"]
