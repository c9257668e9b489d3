"""The command ``gws``: a router by its name in, a server out; or a line in, a message
out.

Nothing but click is imported up here, and gws by what it imports itself: `serve`
monkey-patches before it imports anything else.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import click

from .version import version


if TYPE_CHECKING:
    import ssl

    from .process.monitor import Monitor
    from .process.places import Address

    MakeTLS = Callable[[], ssl.SSLContext]
    # --bind, --unix, and the descriptors of --fd with what to call them.
    Where = tuple[tuple[Address, ...], str | None, dict[int, str]]


#: Where ``gws serve`` listens when nobody says.
DEFAULT_BIND = ("localhost", 8765)

#: Close codes that are no error: normal closure, going away, none sent.
NORMAL = {1000, 1001, 1005}

#: HOST:PORT; an IPv6 address in brackets; no host is all addresses.
_address = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]*)):([0-9]{1,5})")


def parse_address(value: str) -> tuple[str | None, int]:
    """Return (host, port) of HOST:PORT."""
    match = _address.fullmatch(value)
    if match is None or int(match[3]) > 65535:
        raise click.BadParameter(f"{value!r} is not HOST:PORT")
    return match[1] or match[2] or None, int(match[3])


def parse_metrics_address(value: str) -> tuple[str | None, int]:
    """Return (host, port) of HOST:PORT, or of PORT alone, which is for this machine."""
    return parse_address(f"localhost:{value}" if value.isdecimal() else value)


def parse_header(value: str) -> tuple[str, str]:
    """Return (name, value) of "Name: value"."""
    name, colon, text = value.partition(":")
    if not colon:
        raise click.BadParameter(f"{value!r} is not 'Name: value'")
    return name.strip(), text.strip()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version, prog_name="gws", message="%(prog)s %(version)s")
def main() -> None:
    """WebSocket servers and clients for gevent."""


# gws serve


@main.command()
@click.argument("app", metavar="MODULE:ROUTER")
@click.option(
    "--bind",
    multiple=True,
    metavar="HOST:PORT",
    type=parse_address,
    help="Listen there; may be given several times. [default: localhost:8765]",
)
@click.option("--unix", metavar="PATH", help="Listen on a Unix socket.")
@click.option(
    "--fd",
    "fds",
    multiple=True,
    type=int,
    help="Take a listening socket that is inherited; may be given several times. "
    "[default: those of LISTEN_FDS, if systemd passed any]",
)
@click.option(
    "--ssl-cert",
    metavar="FILE",
    help="Serve wss:// with this certificate (PEM, its chain included).",
)
@click.option(
    "--ssl-key",
    metavar="FILE",
    help="The certificate's key, if not in the same file.",
)
@click.option(
    "--drain-timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, 1e6),
    default=30.0,
    show_default=True,
    help="How long connections and handlers may take to end.",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1),
    help="Serve in N processes, started and watched over by gunicorn.",
)
@click.option(
    "--metrics",
    metavar="[HOST:]PORT",
    type=parse_metrics_address,
    help="Answer /metrics, /healthz and /readyz there; HOST is localhost.",
)
@click.option("--access-log", is_flag=True, help="Print a line for each connection.")
@click.option("--no-patch", is_flag=True, help="Do not monkey-patch.")
def serve(
    app: str,
    bind: tuple[tuple[str | None, int], ...],
    unix: str | None,
    fds: tuple[int, ...],
    ssl_cert: str | None,
    ssl_key: str | None,
    drain_timeout: float,
    workers: int | None,
    metrics: tuple[str | None, int] | None,
    access_log: bool,
    no_patch: bool,
) -> None:
    """Serve a Router, or a handler, until SIGTERM or Ctrl-C.

    MODULE is imported with the current directory on the path, after
    gevent.monkey.patch_all().

    SIGTERM and SIGINT (Ctrl-C) drain: nothing more is accepted, connections are closed
    with 1001 (1012 if the listening socket was inherited), and their handlers may end
    within --drain-timeout. A second signal ends the process at once. SIGHUP reads
    --ssl-cert and --ssl-key again, for connections to come; with --workers it replaces
    all workers, which then read MODULE again, too.

    It exits with 0 if all connections and handlers ended by themselves, with 3 if some
    had to be cut, with 143 or 130 after a second SIGTERM or SIGINT, with 1 if it can't
    serve, and with 2 if the command line is wrong.
    """
    if not (workers or no_patch):
        from gevent import monkey

        monkey.patch_all()
    start_log("%(process)d " if workers else "")
    from .process import places
    from .process.monitor import make_monitor

    try:
        monitor = make_monitor(metrics, access_log, bool(workers))
        make_tls = tls_maker(ssl_cert, ssl_key)
        inherited = dict.fromkeys(fds, "")
        if not (bind or unix or fds):
            inherited = places.passed_fds()
            bind = () if inherited else (DEFAULT_BIND,)
        where = bind, unix, inherited
        if workers:
            serve_by_workers(
                app, where, make_tls, drain_timeout, workers, not no_patch, monitor
            )
        code = serve_here(app, where, make_tls, drain_timeout, monitor)
    except places.CannotServe as exc:
        raise click.ClickException(str(exc)) from None
    raise click.exceptions.Exit(code)


def start_log(process: str) -> None:
    """Have the log go to stderr."""
    import logging

    logging.basicConfig(
        level=logging.INFO,
        format=f"%(asctime)s {process}%(levelname)s %(name)s: %(message)s",
    )


def serve_here(
    app: str,
    where: Where,
    make_tls: MakeTLS | None,
    drain_timeout: float,
    monitor: Monitor,
) -> int:
    """Serve in this process; return the exit code."""
    from .process import places
    from .process.service import Service, run

    handler = places.load(app)
    options = {"ssl": make_tls and make_tls(), "observers": monitor.observers()}
    with contextlib.ExitStack() as stack:
        services = []
        for name, make, is_inherited in places.ways_to_serve(*where):
            server = places.listen(name, partial(make, handler, **options))
            stack.callback(server.close)
            services.append(Service(server, is_inherited))
        stack.enter_context(monitor.answering([s.server for s in services]))
        return run(services, drain_timeout, make_tls)


def serve_by_workers(
    app: str,
    where: Where,
    make_tls: MakeTLS | None,
    drain_timeout: float,
    n: int,
    patch: bool,
    monitor: Monitor,
) -> NoReturn:
    """Serve in processes that gunicorn starts."""
    from .process import places
    from .process.monitor import shared_folder

    try:
        from .process import master, workers
    except ModuleNotFoundError as exc:
        if not f"{exc.name}.".startswith("gunicorn."):
            raise
        raise click.ClickException(
            "--workers needs gunicorn: pip install 'gevent-gws[gunicorn]'"
        ) from None
    opened = master.handed_over() or places.open_places(*where)
    load = partial(places.load, app)
    plan = workers.Plan(load, opened, n, make_tls, drain_timeout, patch, monitor)
    with shared_folder(monitor):
        master.run(plan)


def tls_maker(certificate: str | None, key: str | None) -> MakeTLS | None:
    """Return what reads these PEM files, which are right now; None without any."""
    if certificate is None:
        if key is not None:
            raise click.UsageError("--ssl-key needs --ssl-cert")
        return None
    from .process.places import make_tls

    make = partial(make_tls, certificate, key)
    try:
        make()
    except OSError as exc:
        raise click.ClickException(str(exc)) from None
    return make


# gws connect


@main.command()
@click.argument("uri")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    type=parse_header,
    help="Add a header to the request; may be given several times.",
)
@click.option(
    "--subprotocol",
    "subprotocols",
    multiple=True,
    metavar="NAME",
    help="Offer a subprotocol, the best first; may be given several times.",
)
@click.option("--origin", metavar="ORIGIN", help="Send this Origin header.")
@click.option("--insecure", is_flag=True, help="Do not verify the certificate.")
@click.option("--binary", is_flag=True, help="Send Binary messages instead of Text.")
@click.option(
    "--linger",
    metavar="SECONDS",
    type=click.FloatRange(0, 1e6),
    default=1.0,
    show_default=True,
    help="After the end of the input, close when nothing came for so long.",
)
def connect(
    uri: str,
    headers: tuple[tuple[str, str], ...],
    subprotocols: tuple[str, ...],
    origin: str | None,
    insecure: bool,
    binary: bool,
    linger: float,
) -> None:
    """Connect to URI, send the lines of the input, print what comes.

    One line is one message. Control characters are escaped in what is printed, and
    Binary messages shown as bytes. Ctrl-C closes with 1000; so does the end of the
    input, once the server has been quiet for a while: see --linger.

    It exits with 1 if it could not connect, or if the connection ended with a code that
    is an error: neither 1000 nor 1001.
    """
    from . import client, terminal
    from .exceptions import WebSocketException
    from .process.service import on_signal
    from .protocol.codes import CloseCode
    from .protocol.frames import Close

    try:
        ws = client.connect(
            uri,
            additional_headers=headers,
            subprotocols=subprotocols or None,
            origin=origin,
            ssl=unverified_tls() if insecure else None,
        ).open()
    except (WebSocketException, OSError, ValueError, ImportError) as exc:
        raise click.ClickException(terminal.escape(reason(exc))) from None
    click.echo(f"Connected to {uri}.", err=True)
    # Whatever the encoding of the output lacks is escaped, too.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    with on_signal(signal.SIGINT, ws.close):
        problem = terminal.talk(ws, click.echo, binary, linger)
    close = Close(ws.close_code or CloseCode.ABNORMAL_CLOSURE, ws.close_reason or "")
    click.echo(f"Closed: {terminal.escape(str(close))}.", err=True)
    if problem is not None:
        raise click.ClickException(problem)
    if close.code not in NORMAL:
        raise click.exceptions.Exit(1)


def unverified_tls() -> ssl.SSLContext:
    """Return a context that takes any certificate."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def reason(exc: Exception) -> str:
    """Return in one line why there is no connection."""
    from .exceptions import InvalidStatus

    if isinstance(exc, InvalidStatus):
        body = exc.response.body.decode(errors="replace").strip()
        return f"{exc}: {body}" if body else str(exc)
    return getattr(exc, "strerror", None) or str(exc)


# gws publish


@main.command()
@click.argument("bus")
@click.argument("room")
@click.argument("message")
@click.option("--history", metavar="N", type=click.IntRange(0), default=0)
@click.option("--history-ttl", metavar="SECONDS", type=float)
@click.option("--key", help="What it is the latest state of.")
@click.option("--binary", is_flag=True, help="Publish it as Binary instead of Text.")
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

    BUS is the URL that the servers' Rooms have, such as redis://localhost, and
    --history and --history-ttl are as they have them. If MESSAGE is "-" it is the
    input; of Text without the newline at its end. With --history its id is printed.

    It exits with 0 once Redis has the message, whoever hears it; with 1 if it can't be
    published, and with 2 if the command line is wrong.
    """
    from . import terminal

    octets = os.fsencode(message)
    if message == "-":
        octets = sys.stdin.buffer.read()
        octets = octets if binary else octets.removesuffix(b"\n")
    try:
        from .rooms.publisher import Publisher

        publisher = Publisher(bus, history=history, history_ttl=history_ttl)
        payload = octets if binary else octets.decode()
        entry_id = publisher.publish(room, payload, key=key)
    except (ImportError, ValueError, OSError) as exc:
        raise click.ClickException(terminal.escape(reason(exc))) from None
    if entry_id is not None:
        click.echo(entry_id)
