"""The command ``gws``: a router by its name in, a server out; or a line in, a message
out.

Nothing but click is imported up here, and gws by what it imports itself: `serve`
monkey-patches before it imports anything else.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from .version import version


if TYPE_CHECKING:
    import ssl

    from .server import Server


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
@click.option("--no-patch", is_flag=True, help="Do not monkey-patch.")
def serve(
    app: str,
    bind: tuple[tuple[str | None, int], ...],
    unix: str | None,
    fds: tuple[int, ...],
    ssl_cert: str | None,
    ssl_key: str | None,
    drain_timeout: float,
    no_patch: bool,
) -> None:
    """Serve a Router, or a handler, until SIGTERM or Ctrl-C.

    MODULE is imported with the current directory on the path, after
    gevent.monkey.patch_all().

    SIGTERM and SIGINT (Ctrl-C) drain: nothing more is accepted, connections are closed
    with 1001 (1012 if the listening socket was inherited), and their handlers may end
    within --drain-timeout. A second signal ends the process at once. SIGHUP reads
    --ssl-cert and --ssl-key again, for connections to come.

    It exits with 0 if all connections and handlers ended by themselves, with 3 if some
    had to be cut, with 143 or 130 after a second SIGTERM or SIGINT, with 1 if it can't
    serve, and with 2 if the command line is wrong.
    """
    if not no_patch:
        from gevent import monkey

        monkey.patch_all()
    import logging

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    inherited = dict.fromkeys(fds, "")
    if not (bind or unix or fds):
        inherited = passed_fds()
        bind = () if inherited else (DEFAULT_BIND,)
    handler = load(app)
    context = server_tls(ssl_cert, ssl_key)
    from .process import Service, run

    renewed = None if ssl_cert is None else partial(make_tls, ssl_cert, ssl_key)
    with contextlib.ExitStack() as stack:
        services = []
        for where, make, is_inherited in ways_to_listen(bind, unix, inherited):
            server = listen(where, partial(make, handler, ssl=context))
            stack.callback(server.close)
            services.append(Service(server, is_inherited))
        code = run(services, drain_timeout, renewed)
    raise click.exceptions.Exit(code)


def listen(where: str, make: Callable[[], Server]) -> Server:
    """Make a server, or say why it can't listen there."""
    try:
        return make()
    except OSError as exc:
        # Its last part says why; what comes before names the place, too.
        why = (exc.strerror or str(exc)).rpartition(": ")[2]
        raise click.ClickException(f"can't listen on {where}: {why}") from None


def passed_fds() -> dict[int, str]:
    """Return the listening sockets that systemd passed, and how they are named."""
    from .systemd import listen_fds

    try:
        return {fd: f" ({name})" for fd, name in listen_fds()}
    except (ValueError, OSError) as exc:
        raise click.ClickException(f"LISTEN_FDS: {exc}") from None


def load(name: str) -> Any:
    """Import what ``module:attribute`` names.

    Raises:
        click.ClickException: if there is no such thing, or it handles nothing.
    """
    module_name, _, attribute = name.partition(":")
    if not attribute or not all(module_name.split(".")):
        raise click.ClickException(f"{name!r} is not MODULE:ROUTER")
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        # What the module itself fails to import is for a traceback to show.
        if not f"{module_name}.".startswith(f"{exc.name}."):
            raise
        raise click.ClickException(f"there is no module {exc.name!r}") from None
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise click.ClickException(
                f"there is no {attribute!r} in {module_name!r}"
            ) from None
    if not callable(found) or isinstance(found, type):
        raise click.ClickException(f"{name} is neither a Router nor a handler")
    from .route import with_path

    try:
        return with_path(found)
    except TypeError as exc:
        raise click.ClickException(f"{name} can't be served: {exc}") from None


def server_tls(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """Return a context with these PEM files; None without a certificate."""
    if certificate is None:
        if key is not None:
            raise click.UsageError("--ssl-key needs --ssl-cert")
        return None
    try:
        return make_tls(certificate, key)
    except OSError as exc:
        raise click.ClickException(str(exc)) from None


def make_tls(certificate: str, key: str | None) -> ssl.SSLContext:
    """Return a context with these PEM files.

    Raises:
        OSError: if they are not there, or no certificate and its key.
    """
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Nobody is there to be asked for a password.
        context.load_cert_chain(certificate, key, password="")
    except OSError as exc:
        files = certificate if key is None else f"{certificate}, {key}"
        raise OSError(f"{files}: {exc.strerror or exc}") from None
    return context


def ways_to_listen(
    bind: Iterable[tuple[str | None, int]], unix: str | None, inherited: dict[int, str]
) -> Iterator[tuple[str, Callable[..., Server], bool]]:
    """Yield what to call each place, what makes its server, and if it is inherited."""
    from . import server
    from .process import serve_inherited

    for host, port in bind:
        make = partial(server.serve, host=host, port=port)
        yield f"{host or '*'}:{port}", make, False
    if unix is not None:
        yield unix, partial(server.unix_serve, path=unix), False
    for fd, name in inherited.items():
        yield f"descriptor {fd}{name}", partial(serve_inherited, fd), True


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
    from .process import on_signal
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
