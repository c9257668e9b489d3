"""The command ``gws``: a router by its name in, a server out; or a line in, a message
out.

A module for each command, and what these stand on. Nothing but click is imported at the
top of them, and gws by what it imports itself: `serve` monkey-patches before it imports
anything else.
"""

from __future__ import annotations

import click

from ..version import version
from . import connect, publish, serve
from .help import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
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
