"""The pages: their Python is Python, and what they name is there and says what it is.

docs/howto/testing.md is run by tests/testing/test_docs.py, the examples by test_examples.py.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest


CHECKOUT = Path(__file__).parents[1]
PAGES = [CHECKOUT / "README.md", *sorted(CHECKOUT.glob("docs/*.md"))]


def snippets(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.M)


def names_in(module: str) -> list[tuple[Any, str]]:
    """Return what docs/reference/protocol.md lists of a module, and its name."""
    text = CHECKOUT.joinpath("docs/reference/protocol.md").read_text()
    (cell,) = re.findall(rf"^\| `{re.escape(module)}` \| (.*) \|$", text, re.M)
    names = re.findall(r"`([A-Za-z_]+)`", cell)
    if module.endswith("headers"):
        prefixes = [name for name in names if name.endswith("_")]
        names = [a + b for a in prefixes for b in names if b not in prefixes]
    found: list[tuple[Any, str]] = []
    owner: Any = importlib.import_module(module)
    for name in names:
        # `Frame` with `check`: a method of the class before it.
        holder = owner if hasattr(owner, name) else found[-1][0]
        if not hasattr(holder, name):
            holder = next(x for x, _ in reversed(found) if inspect.isclass(x))
        found.append((getattr(holder, name), name))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets(page: Path) -> None:
    """Each is Python, and what it imports is there."""
    for snippet in snippets(page):
        for node in ast.walk(ast.parse(snippet)):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


def test_the_protocol_page_runs() -> None:
    for snippet in snippets(CHECKOUT / "docs/reference/protocol.md"):
        exec(compile(snippet, "docs/reference/protocol.md", "exec"), {})


@pytest.mark.parametrize(
    "module",
    [
        "gws.protocol",
        "gws.protocol.frames",
        "gws.protocol.handshake",
        "gws.protocol.headers",
        "gws.protocol.http11",
        "gws.protocol.datastructures",
        "gws.protocol.uri",
        "gws.extensions",
    ],
)
def test_low_level_names_are_there_and_documented(module: str) -> None:
    found = names_in(module)
    assert len(found) > 1
    assert [name for value, name in found if not inspect.getdoc(value)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    local = [target for target in targets if "://" not in target]
    assert [x for x in local if not (page.parent / x).exists()] == []
