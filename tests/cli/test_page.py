"""docs/howto/command-line.md tells of every option, and what a terminal shows.

Its commands are run by tests/docs.
"""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from gws.cli import main

from ..docs.pages import CHECKOUT, blocks
from .command import echo, server_of
from .tty import Terminal


PAGE = "docs/howto/command-line.md"

TEXT = CHECKOUT.joinpath(PAGE).read_text()

#: The sections about the commands.
SECTIONS = {
    "serve": "## Serve\n",
    "connect": "## Talk to a server\n",
    "publish": "## Publish in a room\n",
}


def options_of(command: click.Command) -> dict[str, str | None]:
    """Return what the options are called, with what they take."""
    return {
        max(param.opts, key=len): param.metavar
        for param in command.params
        if isinstance(param, click.Option)
    }


@pytest.mark.parametrize("name", SECTIONS)
def test_every_option_is_on_the_page(name: str) -> None:
    _, _, rest = TEXT.partition(SECTIONS[name])
    section = rest.partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(--[\w-]+) ?([^`]*)` \|", section, re.M))
    assert {name: takes or None for name, takes in rows.items()} == {
        # A choice is a word on the page.
        name: "WHEN" if name == "--color" else takes
        for name, takes in options_of(main.commands[name]).items()
    }


@pytest.mark.parametrize("name", SECTIONS)
def test_every_default_is_on_the_page(name: str) -> None:
    """As the help has it."""
    _, _, rest = TEXT.partition(SECTIONS[name])
    section = rest.partition("\n## ")[0]
    for param in main.commands[name].params:
        if isinstance(param, click.Option) and param.show_default:
            option = max(param.opts, key=len)
            (row,) = re.findall(rf"^\| `{option}[ `].*", section, re.M)
            assert row.split("|")[2].strip(" `") == str(param.default)


@pytest.mark.usefixtures("leakcheck")
def test_the_session(tmp_path: Path) -> None:
    """What the page shows, typed again."""
    (session,) = blocks(PAGE, "text")
    shown = session.splitlines()
    typed = [
        line
        for line, before in zip(shown[1:], shown, strict=False)
        if line.startswith("> ") and not before.startswith("> /binary")
    ]
    with (
        server_of(echo) as (uri, _),
        Terminal("connect", uri, cwd=tmp_path) as terminal,
    ):
        terminal.see(f"Connected to {uri}.", "> ")
        for line in typed[:-1]:
            n = len(terminal.rows)
            terminal.type(line.removeprefix("> ") + "\r")
            # Itself, what it does, and the prompt.
            answers = shown[shown.index(line) + 1 :]
            n += next(i for i, x in enumerate(answers) if x in typed) + 1
            terminal.wait(lambda rows, n=n: len(rows) == n)
        terminal.type(typed[-1].removeprefix("> ") + "\r")
        assert terminal.end() == 0
    seen = [row for row in terminal.rows if row]
    seen[0] = shown[0]
    assert [masked(row) for row in seen] == [masked(row) for row in shown]


def masked(row: str) -> str:
    return re.sub(r"\d+\.\d\d ms", "N ms", row)
