"""``gws serve``: a router by its name in, a server out."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .help import Command, color_option, option
from .params import parse_address, parse_metrics_address, wants_color


if TYPE_CHECKING:
    import ssl

    from ..process.places import Address

    MakeTLS = Callable[[], ssl.SSLContext]
    # --bind, --unix, and the descriptors of --fd with what to call them.
    Where = tuple[tuple[Address, ...], str | None, dict[int, str]]


#: Where ``gws serve`` listens when nobody says.
DEFAULT_BIND = ("localhost", 8765)


@dataclass(frozen=True)
class Given:
    """What the command line says; a field for each parameter."""

    app: str
    bind: tuple[tuple[str | None, int], ...]
    unix: str | None
    fds: tuple[int, ...]
    ssl_cert: str | None
    ssl_key: str | None
    trusted_proxies: tuple[str, ...]
    proxy_protocol: bool
    workers: int | None
    reload: bool
    drain_timeout: float
    no_patch: bool
    metrics: tuple[str | None, int] | None
    access_log: bool
    color: str


class ServeCommand(Command):
    """Knows what others call --bind."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the arguments."""
        given = " ".join(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as exc:
            match = re.search(r"(?:^| )--port[= ]([0-9]+)(?: |$)", given)
            if exc.option_name != "--port" or match is None:
                raise
            raise click.UsageError(
                f"{exc.message}\nDid you mean --bind localhost:{match[1]} ?", ctx
            ) from None


@click.command(
    cls=ServeCommand,
    examples=(
        (
            "The router of chat.py; a change of its files restarts it",
            "gws serve chat:router --reload --access-log",
        ),
        (
            "On all addresses, with TLS, by four processes",
            "gws serve chat:router --bind :443 --ssl-cert server.pem --workers 4",
        ),
        (
            "Behind a proxy on this machine",
            "gws serve chat:router --unix /run/chat.sock --trusted-proxies unix",
        ),
    ),
)
@click.argument("app", metavar="MODULE:ROUTER")
@option(
    "--bind",
    multiple=True,
    metavar="HOST:PORT",
    type=parse_address,
    group="Where to listen",
    help="Listen there; may be given several times. Without a host: on all addresses."
    "  [default: localhost:8765]",
)
@option(
    "--unix", metavar="PATH", group="Where to listen", help="Listen on a Unix socket."
)
@option(
    "--fd",
    "fds",
    multiple=True,
    metavar="N",
    type=int,
    group="Where to listen",
    help="Take a listening socket that is inherited; may be given several times.  "
    "[default: those of LISTEN_FDS, if systemd passed any]",
)
@option(
    "--ssl-cert",
    metavar="FILE",
    group="TLS",
    help="Serve wss:// with this certificate (PEM, its chain included).",
)
@option(
    "--ssl-key",
    metavar="FILE",
    group="TLS",
    help="The certificate's key.  [default: it is in the same file]",
)
@option(
    "--trusted-proxies",
    multiple=True,
    metavar="ADDRESS",
    group="Behind proxies",
    help="Believe this address or network when it says in X-Forwarded-For whose "
    "request it passes on; 'unix' is who comes by a Unix socket. May be given several "
    "times.  [default: nobody]",
)
@option(
    "--proxy-protocol",
    is_flag=True,
    group="Behind proxies",
    help="Each connection begins with a header of the PROXY protocol, of one of "
    "--trusted-proxies.",
)
@option(
    "--workers",
    metavar="N",
    type=click.IntRange(1),
    group="Processes",
    help="Serve in N processes, started and watched over by gunicorn.  [default: in "
    "this one]",
)
@option(
    "--reload",
    is_flag=True,
    group="Processes",
    help="Serve anew when a Python file of the app changes; for development.",
)
@option(
    "--drain-timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, 1e6),
    default=30,
    show_default=True,
    group="Processes",
    help="How long connections and handlers may take to end.",
)
@option("--no-patch", is_flag=True, group="Processes", help="Do not monkey-patch.")
@option(
    "--metrics",
    metavar="[HOST:]PORT",
    type=parse_metrics_address,
    group="What can be seen",
    help="Answer /metrics, /healthz and /readyz there; HOST is localhost.  [default: "
    "nowhere]",
)
@option(
    "--access-log",
    is_flag=True,
    group="What can be seen",
    help="Print a line when a connection opens or is refused, and one when it ends.",
)
@color_option
def serve(**given: Any) -> NoReturn:
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
    raise click.exceptions.Exit(serve_given(Given(**given)))


def serve_given(given: Given) -> int:
    """Serve as the command line says; return the exit code."""
    if given.reload and given.workers:
        raise click.UsageError(
            "--reload serves in one process: leave out --workers. With these, SIGHUP "
            "has all of them read MODULE again."
        )
    if not (given.workers or given.reload or given.no_patch):
        from gevent import monkey

        monkey.patch_all()
    start_log("%(process)d " if given.workers else "", given.access_log)
    from ..process import places
    from ..process.monitor import make_monitor
    from . import serving

    try:
        options = proxy_options(given)
        formatter = access_formatter(given.color) if given.access_log else None
        monitor = make_monitor(given.metrics, formatter, bool(given.workers))
        make_tls = tls_maker(given.ssl_cert, given.ssl_key)
        where = where_to_listen(given)
        serve_as = serving.serve_here
        if given.workers:
            serve_as = serving.serve_by_workers
        elif given.reload:
            serve_as = serving.serve_reloading
        return serve_as(given, where, make_tls, monitor, options)
    except places.CannotServe as exc:
        raise click.ClickException(str(exc)) from None


def start_log(process: str, access_log: bool) -> None:
    """Have the log go to stderr; but for what the access log tells."""
    import logging

    logging.basicConfig(
        level=logging.INFO,
        format=f"%(asctime)s {process}%(levelname)s %(name)s: %(message)s",
    )
    if access_log:
        logging.getLogger("gws.server").addFilter(is_no_visit)


def is_no_visit(record: Any) -> bool:
    """Tell whether a record is another one than that somebody came, or left."""
    return record.msg not in ("connection open: %s", "connection closed: %s")


def access_formatter(color: str) -> Any:
    """Return what formats the access log, which goes to stdout."""
    from ..access import ColorFormatter, LineFormatter

    return ColorFormatter() if wants_color(sys.stdout, color) else LineFormatter()


def proxy_options(given: Given) -> dict[str, Any]:
    """Return the options of `gws.serve` about proxies."""
    from ..server.forwarded import TrustedProxies

    try:
        TrustedProxies(given.trusted_proxies)
    except ValueError as exc:
        raise click.UsageError(f"--trusted-proxies: {exc}") from None
    if given.proxy_protocol and not given.trusted_proxies:
        raise click.UsageError("--proxy-protocol needs --trusted-proxies: of whom")
    return {
        "trusted_proxies": given.trusted_proxies or None,
        "proxy_protocol": given.proxy_protocol,
    }


def where_to_listen(given: Given) -> Where:
    """Return where; if nobody says, where systemd does, or else here."""
    from ..process import places

    bind, inherited = given.bind, dict.fromkeys(given.fds, "")
    if not (bind or given.unix or inherited):
        inherited = places.passed_fds()
        bind = () if inherited else (DEFAULT_BIND,)
    return bind, given.unix, inherited


def tls_maker(certificate: str | None, key: str | None) -> MakeTLS | None:
    """Return what reads these PEM files, which are right now; None without any."""
    if certificate is None:
        if key is not None:
            raise click.UsageError("--ssl-key needs --ssl-cert")
        return None
    from ..process.places import make_tls

    make = partial(make_tls, certificate, key)
    try:
        make()
    except OSError as exc:
        raise click.ClickException(str(exc)) from None
    return make
