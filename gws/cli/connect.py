"""``gws connect``: a URI in, a connection to type into, or to pipe through, out."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from .help import Command, color_option, option
from .params import is_terminal, parse_header, wants_color


if TYPE_CHECKING:
    import ssl

    from ..client import ClientConnection

#: Close codes that are no error: normal closure, going away, none sent.
NORMAL = {1000, 1001, 1005}

#: Seconds for the server's answer to a close, before we say that it is waited for.
PATIENCE = 0.5


@click.command(
    cls=Command,
    examples=(
        ("Talk, line by line", "gws connect ws://localhost:8765/chat/lobby"),
        ("One question, its answer", "echo hello | gws connect ws://localhost:8765/"),
        (
            "As the page of a site, with a cookie",
            "gws connect wss://a.example/ --origin https://a.example --header "
            "'Cookie: id=1'",
        ),
    ),
)
@click.argument("uri")
@option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    type=parse_header,
    group="The request",
    help="Add a header; may be given several times.  [default: none]",
)
@option(
    "--subprotocol",
    "subprotocols",
    multiple=True,
    metavar="NAME",
    group="The request",
    help="Offer a subprotocol, the best first; may be given several times.  [default: "
    "none]",
)
@option(
    "--origin",
    metavar="ORIGIN",
    group="The request",
    help="Send this Origin header, as a page of that site would.  [default: none]",
)
@option(
    "--insecure",
    is_flag=True,
    group="The request",
    help="Do not verify the certificate.",
)
@option(
    "--binary",
    is_flag=True,
    group="Messages",
    help="Send lines as Binary messages, not as Text.",
)
@option(
    "--linger",
    metavar="SECONDS",
    type=click.FloatRange(0, 1e6),
    default=1,
    show_default=True,
    group="Messages",
    help="After the end of the input, close when nothing came for so long.",
)
@color_option
def connect(
    uri: str,
    headers: tuple[tuple[str, str], ...],
    subprotocols: tuple[str, ...],
    origin: str | None,
    insecure: bool,
    binary: bool,
    linger: float,
    color: str,
) -> None:
    """Connect to URI, send the lines of the input, print what comes.

    One line is one message. At a terminal there are the keys and the history of a
    shell, and commands: /help lists them. The history is in
    $XDG_STATE_HOME/gws/history, or else ~/.local/state/gws/history.

    By a pipe, lines go as they are, and messages come as lines; all else is printed to
    stderr. Control characters are escaped in what is printed, and Binary messages
    shown as bytes.

    Ctrl-C closes with 1000, a second one does not wait; so does the end of the input,
    by a pipe once the server has been quiet for a while: see --linger. While it still
    connects, Ctrl-C ends it.

    It exits with 1 if it could not connect, or if the connection ended with a code that
    is an error: neither 1000 nor 1001; with 130 after a second Ctrl-C, or one before
    it was connected, and with 2 if the command line is wrong.
    """
    with ending_at_once():
        ws = open_connection(
            uri,
            additional_headers=headers,
            subprotocols=subprotocols or None,
            origin=origin,
            insecure=insecure,
        )
    talk(ws, uri, binary, linger, color)


def talk(
    ws: ClientConnection, uri: str, binary: bool, linger: float, color: str
) -> None:
    """Talk until it is closed; ends with click's Exit if that was an error."""
    from ..protocol.codes import CloseCode
    from ..protocol.frames import Close
    from .printable import escape

    # Whatever the encoding of the output lacks is escaped, too.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    problem = None
    with interrupting(ws, color):
        note(f"Connected to {uri}.", color, dim=True)
        if can_edit():
            from .session import Session

            Session(ws, binary, wants_color(sys.stdout, color)).run()
        else:
            from . import piping

            problem = piping.talk(ws, click.echo, binary, linger)
    close = Close(ws.close_code or CloseCode.ABNORMAL_CLOSURE, ws.close_reason or "")
    is_error = close.code not in NORMAL
    note(f"Closed: {escape(str(close))}.", color, fg="red" if is_error else None)
    if problem is not None:
        raise click.ClickException(problem)
    if is_error:
        raise click.exceptions.Exit(1)


def open_connection(
    uri: str, insecure: bool, origin: str | None, **options: Any
) -> ClientConnection:
    """Connect; ends with click's exception if that does not work."""
    from .. import client
    from ..exceptions import WebSocketException
    from .printable import escape
    from .reasons import connect_hint, reason

    try:
        tls = unverified_tls() if insecure else None
        return client.connect(uri, ssl=tls, origin=origin, **options).open()
    except (WebSocketException, OSError, ValueError, ImportError) as exc:
        lines = [escape(reason(exc)), escape(connect_hint(exc, uri, origin))]
        raise click.ClickException("\n".join(filter(None, lines))) from None


def unverified_tls() -> ssl.SSLContext:
    """Return a context that takes any certificate."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def can_edit() -> bool:
    """Tell whether there is a terminal, on both sides, that moves its cursor."""
    if not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        return False
    if os.environ.get("TERM", "dumb") == "dumb":
        return False
    try:
        import termios  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Have SIGINT end the process: there is nothing to close yet."""
    from ..process.service import exit_now

    before = signal.signal(signal.SIGINT, exit_now)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def interrupting(ws: ClientConnection, color: str) -> Iterator[None]:
    """Have SIGINT and SIGTERM close the connection; the second one ends it at once."""
    import gevent

    from ..process.service import END_SIGNALS, on_signal

    came: list[int] = []

    def stop(number: int) -> None:
        came.append(number)
        if len(came) > 1:
            ws.abort()
            return
        waiting = gevent.spawn_later(PATIENCE, tell_to_wait, color)
        ws.close()
        waiting.kill()

    with ExitStack() as stack:
        for number in END_SIGNALS:
            stack.enter_context(on_signal(number, partial(stop, number)))
        yield
    if len(came) > 1:
        raise click.exceptions.Exit(128 + signal.Signals(came[1]))


def tell_to_wait(color: str) -> None:
    """Tell who sits at the terminal, perhaps in a line that is typed, how to go on."""
    if is_terminal(sys.stderr):
        if can_edit():
            click.echo("\r\x1b[K", err=True, nl=False, color=True)
        note("Closing; Ctrl-C again does not wait.", color, dim=True)


def note(text: str, color: str, **style: Any) -> None:
    """Print something that is no message, to stderr."""
    if wants_color(sys.stderr, color):
        text = click.style(text, **style)
    click.echo(text, err=True, color=True)
