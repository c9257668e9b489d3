"""Options in groups, and examples, in; the text of --help out."""

from __future__ import annotations

from functools import partial
from typing import Any

import click


#: The group of what every command has.
GENERAL = "General"


class Option(click.Option):
    """An option that belongs to a group.

    Args:
        group: the heading under which it is listed.
    """

    def __init__(self, *args: Any, group: str = GENERAL, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Return what stands in brackets; not the range, which errors tell."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra


class Command(click.Command):
    """A command whose help lists its options by group and ends with examples.

    Args:
        examples: (what it is for, the command) of each.
    """

    def __init__(
        self, *args: Any, examples: tuple[tuple[str, str], ...] = (), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the options, in the order of their groups."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            # Newer versions of click list arguments, too, with nothing to say.
            if record is not None and isinstance(param, click.Option):
                group = getattr(param, "group", GENERAL)
                groups.setdefault(group, []).append(record)
        # That of --help comes last, as it does.
        groups[GENERAL] = groups.pop(GENERAL, [])
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records, col_max=26)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, as they are to be typed."""
        write_examples(formatter, self.examples)


class Group(click.Group):
    """A group of commands whose help ends with examples."""

    command_class = Command

    examples: tuple[tuple[str, str], ...] = ()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they were added."""
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, as they are to be typed."""
        write_examples(formatter, self.examples)


def write_examples(
    formatter: click.HelpFormatter, examples: tuple[tuple[str, str], ...]
) -> None:
    """Write each example under what it is for."""
    with formatter.section("Examples"):
        for purpose, command in examples:
            formatter.write(f"{'':{formatter.current_indent}}{purpose}:\n")
            formatter.write(f"{'':{formatter.current_indent}}  $ {command}\n")


option = partial(click.option, cls=Option)

#: An option of every command that may print in colours.
color_option = option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Print in colours; auto is at a terminal, unless NO_COLOR is set, or "
    "anywhere if FORCE_COLOR is.",
)
