"""The pages of this project in, their code blocks out, and who runs which.

A test takes the blocks that it runs by `blocks`, with literal arguments: these calls
are what `claims` finds in the sources of the tests.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt


CHECKOUT = Path(__file__).parents[2]

#: Where pages are; nothing that a build, tox or npm may have put beside them.
PLACES = (
    "*.md",
    "docs/**/*.md",
    "examples/**/README.md",
    "benchmarks/**/README.md",
    "gws/**/README.md",
    "tests/**/README.md",
)

#: The first line of a block that names a file, as a comment of any language.
FILE = re.compile(r"(?:#|//|/\*|<!--|--) ([\w./-]+\.\w+)(?: \*/| -->)?\n")


@dataclass(frozen=True)
class Block:
    """A block of code on a page; its line is that of its first character."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language or 'no language'})"

    @property
    def file(self) -> str | None:
        """What its first line names: a file of the checkout, or one to be written."""
        found = FILE.match(self.text)
        return found and found[1]

    def is_excerpt(self) -> bool:
        """Say whether the file that it names is one of the checkout."""
        return self.file is not None and CHECKOUT.joinpath(self.file).is_file()


@cache
def pages() -> list[str]:
    """Return all pages, as paths from the checkout's root."""
    found = {path for place in PLACES for path in CHECKOUT.glob(place)}
    found = {path for path in found if "node_modules" not in path.parts}
    return sorted(path.relative_to(CHECKOUT).as_posix() for path in found)


@cache
def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page; one that is not fenced has no language."""
    tokens = MarkdownIt().parse(CHECKOUT.joinpath(page).read_text())
    return [
        Block(
            page, token.map[0] + 1 + (token.type == "fence"), token.info, token.content
        )
        for token in tokens
        if token.type in ("fence", "code_block") and token.map is not None
    ]


def blocks(page: str, language: str, holding: str = "") -> list[str]:
    """Return what a test runs of a page; calling this is to claim it.

    Args:
        page: its path from the checkout's root.
        language: that of the blocks.
        holding: only blocks with this in them.
    """
    return [
        block.text
        for block in blocks_of(page)
        if block.language == language and holding in block.text
    ]


@cache
def claims() -> list[tuple[str, ...]]:
    """Return the arguments of all calls of `blocks` in the tests."""
    sources = [path.read_text() for path in CHECKOUT.glob("tests/**/test_*.py")]
    return [found for x in sources if "blocks(" in x for found in calls(ast.parse(x))]


def calls(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="blocks"), args=[_, _, *_] as args):
                if all(isinstance(x, ast.Constant) for x in args):
                    yield tuple(ast.literal_eval(x) for x in args)


def is_claimed(block: Block) -> bool:
    """Say whether some test takes this block."""
    return any(
        (block.page, block.language) == (page, language)
        and all(text in block.text for text in holding)
        for page, language, *holding in claims()
    )


def excerpt_problem(block: Block) -> str | None:
    """Return why the file that a block names does not hold the block's other lines."""
    assert block.file is not None
    source = CHECKOUT.joinpath(block.file).read_text()
    _, _, text = block.text.partition("\n")
    indents = {len(line) - len(line.lstrip()) for line in source.splitlines()}
    for n in sorted(indents):
        if textwrap.indent(text.strip("\n"), " " * n) in source:
            return None
    return f"{block}: {block.file} has it not, word for word"
