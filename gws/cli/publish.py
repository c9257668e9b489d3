"""``gws publish``: a message in, for the members of a room in all servers."""

from __future__ import annotations

import os
import sys

import click

from .help import Command, option


@click.command(
    cls=Command,
    examples=(
        (
            "A message for all in the room news, of all servers on this Redis",
            "gws publish redis://localhost news 'it rains'",
        ),
        (
            "A picture, of which the room remembers the last ten",
            "gws publish redis://localhost cam - --binary --history 10 < cam.jpg",
        ),
    ),
)
@click.argument("bus")
@click.argument("room")
@click.argument("message")
@option(
    "--binary", is_flag=True, group="Message", help="Publish it as Binary, not as Text."
)
@option("--key", metavar="KEY", group="Message", help="What it is the latest state of.")
@option(
    "--history",
    metavar="N",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    group="As the servers' Rooms have it",
    help="How many messages each room remembers.",
)
@option(
    "--history-ttl",
    metavar="SECONDS",
    type=float,
    group="As the servers' Rooms have it",
    help="For how long it remembers them.  [default: that of Rooms]",
)
def publish(
    bus: str,
    room: str,
    message: str,
    history: int,
    history_ttl: float | None,
    key: str | None,
    binary: bool,
) -> None:
    """Publish MESSAGE in ROOM, for its members in all servers.

    BUS is the URL that the servers' Rooms have, such as redis://localhost. If MESSAGE
    is "-" it is the input; of Text without the newline at its end. With --history its
    id is printed.

    It exits with 0 once Redis has the message, whoever hears it; with 1 if it can't be
    published, and with 2 if the command line is wrong.
    """
    from .printable import escape
    from .reasons import reason

    octets = os.fsencode(message)
    if message == "-":
        octets = sys.stdin.buffer.read()
        octets = octets if binary else octets.removesuffix(b"\n")
    try:
        from ..rooms.urls import check_scheme

        check_scheme(bus)
        from ..rooms.publisher import Publisher

        publisher = Publisher(bus, history=history, history_ttl=history_ttl)
        payload = octets if binary else octets.decode()
        entry_id = publisher.publish(room, payload, key=key)
    except (ImportError, ValueError, OSError) as exc:
        raise click.ClickException(escape(reason(exc))) from None
    if entry_id is not None:
        click.echo(entry_id)
