"""What a command line names in; a handler, TLS and listening sockets out.

Raises `CannotServe`, in one line, for what is not there or not right.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from ..server import Server, serve, unix_serve
from ..server.listener import listen_tcp, listen_unix
from ..server.route import with_path
from .service import inherit, serve_inherited
from .systemd import listen_fds


T = TypeVar("T")

#: HOST and PORT.
Address = tuple[str | None, int]


class CannotServe(Exception):
    """Why this can't be served, or not there."""


# What


def load(name: str) -> Any:
    """Import what ``module:attribute`` names.

    Raises:
        CannotServe: if there is no such thing, or it handles nothing.
    """
    module_name, _, attribute = name.partition(":")
    if not attribute or not all(module_name.split(".")):
        raise CannotServe(f"{name!r} is not MODULE:ROUTER")
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        # What the module itself fails to import is for a traceback to show.
        if not f"{module_name}.".startswith(f"{exc.name}."):
            raise
        raise CannotServe(f"there is no module {exc.name!r}") from None
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise CannotServe(f"there is no {attribute!r} in {module_name!r}") from None
    if not callable(found) or isinstance(found, type):
        raise CannotServe(f"{name} is neither a Router nor a handler")
    try:
        return with_path(found)
    except TypeError as exc:
        raise CannotServe(f"{name} can't be served: {exc}") from None


def make_tls(certificate: str, key: str | None) -> ssl.SSLContext:
    """Return a context with these PEM files.

    Raises:
        OSError: if they are not there, or no certificate and its key.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Nobody is there to be asked for a password.
        context.load_cert_chain(certificate, key, password="")
    except OSError as exc:
        files = certificate if key is None else f"{certificate}, {key}"
        raise OSError(f"{files}: {exc.strerror or exc}") from None
    return context


# Where


@dataclass(frozen=True)
class Place:
    """A listening socket that several processes have.

    Args:
        inherited: so has somebody who is none of them.
        path: of its file, if that is to go with it.
    """

    sock: socket.socket
    inherited: bool = False
    path: str | None = None

    def fileno(self) -> int:
        """Return its descriptor."""
        return self.sock.fileno()

    def close(self) -> None:
        """Close the copy of this process."""
        self.sock.close()

    def remove(self) -> None:
        """Close it, and remove its file: nobody comes after us."""
        self.close()
        if self.path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.path)

    def __str__(self) -> str:
        return str(self.sock.getsockname())


def open_places(
    bind: Iterable[Address], unix: str | None, inherited: dict[int, str]
) -> list[Place]:
    """Listen everywhere, or nowhere."""
    places: list[Place] = []
    with contextlib.ExitStack() as stack:
        for where, make in ways_to_open(bind, unix, inherited):
            for place in listen(where, make):
                places.append(place)
                stack.callback(place.remove)
        stack.pop_all()
    return places


def ways_to_open(
    bind: Iterable[Address], unix: str | None, inherited: dict[int, str]
) -> Iterator[tuple[str, Callable[[], list[Place]]]]:
    """Yield what to call each place, and what opens it."""
    for host, port in bind:
        yield name_of(host, port), partial(open_tcp, host, port)
    if unix is not None:
        yield unix, partial(open_unix, unix)
    for fd, name in inherited.items():
        yield f"descriptor {fd}{name}", partial(take, fd)


def open_tcp(host: str | None, port: int) -> list[Place]:
    """Listen on TCP."""
    return [Place(sock) for sock in listen_tcp(host, port)]


def open_unix(path: str) -> list[Place]:
    """Listen on a Unix socket."""
    return [Place(listen_unix(path), path=path)]


def take(fd: int) -> list[Place]:
    """Take a listening socket that is inherited."""
    return [Place(inherit(fd), inherited=True)]


def ways_to_serve(
    bind: Iterable[Address], unix: str | None, inherited: dict[int, str]
) -> Iterator[tuple[str, Callable[..., Server], bool]]:
    """Yield what to call each place, what makes its server, and if it is inherited."""
    for host, port in bind:
        yield name_of(host, port), partial(serve, host=host, port=port), False
    if unix is not None:
        yield unix, partial(unix_serve, path=unix), False
    for fd, name in inherited.items():
        yield f"descriptor {fd}{name}", partial(serve_inherited, fd), True


def name_of(host: str | None, port: int) -> str:
    """Return what to call an address."""
    return f"{host or '*'}:{port}"


def listen(where: str, make: Callable[[], T]) -> T:
    """Make what listens, or say why it can't listen there."""
    try:
        return make()
    except OSError as exc:
        # Its last part says why; what comes before names the place, too.
        why = (exc.strerror or str(exc)).rpartition(": ")[2]
        raise CannotServe(f"can't listen on {where}: {why}") from None


def passed_fds() -> dict[int, str]:
    """Return the listening sockets that systemd passed, and how they are named."""
    try:
        return {fd: f" ({name})" for fd, name in listen_fds()}
    except (ValueError, OSError) as exc:
        raise CannotServe(f"LISTEN_FDS: {exc}") from None
