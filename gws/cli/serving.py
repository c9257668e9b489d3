"""What is to be served, and where, in; three ways to serve it, each to an exit code."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .params import is_terminal, wants_color


if TYPE_CHECKING:
    from ..process.monitor import Monitor
    from ..process.places import Place
    from ..process.reload import Link
    from .serve import Given, MakeTLS, Where


# In this process


def serve_here(
    given: Given,
    where: Where,
    make_tls: MakeTLS | None,
    monitor: Monitor,
    options: dict[str, Any],
) -> int:
    """Serve in this process; return the exit code."""
    from ..process import places
    from ..process.loading import load
    from ..process.service import Service, run

    handler = show_errors(partial(load, given.app))
    options |= {"ssl": make_tls and make_tls(), "observers": monitor.observers()}
    with contextlib.ExitStack() as stack:
        services = []
        for name, make, is_inherited in places.ways_to_serve(*where):
            server = places.listen(name, partial(make, handler, **options))
            stack.callback(server.close)
            services.append(Service(server, is_inherited))
        stack.enter_context(monitor.answering([s.server for s in services]))
        greet([sock for s in services for sock in s.server.sockets], given)
        return run(services, given.drain_timeout, make_tls)


def show_errors(load: Callable[[], Any]) -> Any:
    """Return what ``load`` does; if the module raises, print that, and end."""
    from ..process.loading import CannotServe

    try:
        return load()
    except CannotServe:
        raise
    except Exception as exc:
        print_error(exc)
        raise click.exceptions.Exit(1) from None


def print_error(exc: Exception) -> None:
    """Print a traceback that begins in the module that was to be imported."""
    found = exc.__traceback__
    while found is not None and is_ours(found.tb_frame.f_code.co_filename):
        found = found.tb_next
    traceback.print_exception(exc.with_traceback(found))


def is_ours(path: str) -> bool:
    """Tell whether a file is of the command line, or of what imports modules."""
    package = os.path.dirname(os.path.dirname(__file__))
    return (
        path.startswith(
            (os.path.join(package, "cli"), os.path.join(package, "process"))
        )
        or path == importlib.__file__
        or path.startswith("<frozen importlib")
    )


def greet(socks: Any, given: Given) -> None:
    """Tell who sits at the terminal what is served, and how to try it."""
    if not is_terminal(sys.stderr):
        return
    from .. import COMPILED, __version__

    build = "compiled" if COMPILED else "pure Python"
    n = f"{given.workers} workers" if given.workers else "one process"
    after = ", that follows the files of the app" if given.reload else ""
    click.echo(f"gws {__version__} ({build}), {n}{after}. Ctrl-C ends it.", err=True)
    url = url_to_try(socks, "ws" if given.ssl_cert is None else "wss")
    if url is not None:
        command = f"gws connect {url}"
        if wants_color(sys.stderr, given.color):
            command = click.style(command, bold=True)
        click.echo(f"Try it: {command}", err=True, color=True)


def url_to_try(socks: Any, scheme: str) -> str | None:
    """Return where somebody on this machine connects to; None if only by a path."""
    from ..process.service import url_of

    for sock in socks:
        address = sock.getsockname()
        if isinstance(address, tuple):
            if address[0] in ("127.0.0.1", "::1", "0.0.0.0", "::"):
                return f"{scheme}://localhost:{address[1]}/"
            return f"{url_of(sock, scheme)}/"
    return None


# In another process, anew after each change


def serve_reloading(
    given: Given,
    where: Where,
    make_tls: MakeTLS | None,
    monitor: Monitor,
    options: dict[str, Any],
) -> int:
    """Serve in a process that follows the files; return the exit code."""
    from ..process import places
    from ..process.loading import look_for
    from ..process.reload import Supervisor
    from ..process.service import print_urls

    look_for(given.app)
    opened = places.open_places(*where)
    greet([place.sock for place in opened], given)
    print_urls([place.sock for place in opened], "ws" if make_tls is None else "wss")
    child = partial(serve_once, given, opened, make_tls, monitor, options)
    name = given.app.partition(":")[0]
    with contextlib.ExitStack() as stack:
        for place in opened:
            stack.callback(place.close)
        for sock in monitor.sockets:
            stack.callback(sock.close)
        return Supervisor(child, name, opened, given.drain_timeout).run()


def serve_once(
    given: Given,
    opened: list[Place],
    make_tls: MakeTLS | None,
    monitor: Monitor,
    options: dict[str, Any],
    link: Link,
) -> int:
    """Serve until there is a change."""
    if not given.no_patch:
        from gevent import monkey

        monkey.patch_all()
    from ..process.loading import load
    from ..process.reload import serve_linked
    from ..process.service import Service, renewing
    from ..server import serve

    handler = show_errors(partial(link.importing, partial(load, given.app)))
    options |= {"ssl": make_tls and make_tls(), "observers": monitor.observers()}
    services = [
        Service(serve(handler, sock=place.sock, **options), place.inherited)
        for place in opened
    ]
    with (
        monitor.answering([service.server for service in services]),
        renewing(services, make_tls),
    ):
        return serve_linked(services, given.drain_timeout, link)


# In processes of gunicorn


def serve_by_workers(
    given: Given,
    where: Where,
    make_tls: MakeTLS | None,
    monitor: Monitor,
    options: dict[str, Any],
) -> NoReturn:
    """Serve in processes that gunicorn starts."""
    from ..process import loading, places
    from ..process.monitor import shared_folder

    try:
        from ..process import master, workers
    except ModuleNotFoundError as exc:
        if not f"{exc.name}.".startswith("gunicorn."):
            raise
        raise click.ClickException(
            "--workers needs gunicorn: pip install 'gevent-gws[gunicorn]'"
        ) from None
    opened = master.handed_over() or places.open_places(*where)
    greet([place.sock for place in opened], given)
    assert given.workers is not None, "serve_given looks"
    plan = workers.Plan(
        partial(loading.load, given.app),
        opened,
        given.workers,
        make_tls,
        given.drain_timeout,
        not given.no_patch,
        monitor,
        options,
    )
    with shared_folder(monitor):
        master.run(plan)
