"""The command ``gws``: a router by its name in, a server out; or a line in, a message
out.

A module for each command, and what these stand on. Nothing but click is imported at the
top of them, and gws by what it imports itself: `serve` monkey-patches before it imports
anything else.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import click

from ..version import version
from . import connect, publish, serve
from .help import Group


#: What a file system, or a quota, says that is full.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Main(Group):
    """Ends in order when what it prints can't be written."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command."""
        try:
            return super().main(*args, **kwargs)
        except OSError as exc:
            if exc.errno not in FULL:
                raise
            click.echo(f"Error: can't write: {exc.strerror}", err=True)
            # The rest is flushed at the end, which would fail as well.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version, prog_name="gws", message="%(prog)s %(version)s")
def main() -> None:
    """WebSocket servers and clients for gevent.

    `gws COMMAND --help` tells the options of a command.
    """


main.add_command(serve.serve)
main.add_command(connect.connect)
main.add_command(publish.publish)
main.examples = (
    (
        "Serve the router of chat.py, anew after each change",
        "gws serve chat:router --reload",
    ),
    ("Talk to it, line by line", "gws connect ws://localhost:8765/"),
)
