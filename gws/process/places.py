"""What a command line names in; TLS and listening sockets out.

Raises `CannotServe` for what is not there or not right.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ..server import Server, serve, unix_serve
from ..server.listener import listen_tcp, listen_unix
from .loading import CannotServe as CannotServe
from .service import inherit, serve_inherited
from .systemd import listen_fds


T = TypeVar("T")

#: HOST and PORT.
Address = tuple[str | None, int]


# TLS


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
        why = tls_problem(certificate, key, exc) or exc.strerror or exc
        raise OSError(f"{files}: {why}") from None
    return context


def tls_problem(certificate: str, key: str | None, exc: OSError) -> str:
    """Return what is wrong with these files; "" if OpenSSL knows better."""
    if not isinstance(exc, ssl.SSLError):
        return ""
    if exc.reason == "KEY_VALUES_MISMATCH":
        return "key values mismatch: the key is that of another certificate"
    key_file = key or certificate
    if "-----BEGIN CERTIFICATE-----" not in text_of(certificate):
        return f"there is no certificate (PEM) in {certificate}"
    if "PRIVATE KEY-----" not in text_of(key_file):
        where = "" if key else "; --ssl-key names another file"
        return f"there is no private key (PEM) in {key_file}{where}"
    if "ENCRYPTED" in text_of(key_file):
        return f"the key needs a password: openssl pkey -in {key_file} takes it off"
    return ""


def text_of(path: str) -> str:
    """Return what stands in a file that was there a moment ago."""
    try:
        with open(path, encoding="latin-1") as file:
            return file.read()
    except OSError:
        return ""


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
        raise CannotServe(
            f"can't listen on {where}: {why}", listen_hint(where, exc.errno)
        ) from None


def listen_hint(where: str, number: int | None) -> str:
    """Return what to do about a place that can't be had; "" if no idea."""
    port = where.rpartition(":")[2]
    is_tcp = port.isdecimal()
    if number == errno.EADDRINUSE and is_tcp:
        return f"Who listens there: ss -ltnp 'sport = :{port}'. Or take another port."
    if number == errno.EADDRINUSE:
        return f"Who listens there: ss -lxp src {where}"
    if number == errno.EACCES and is_tcp and int(port) < 1024:
        return (
            "Ports below 1024 are for root: take another one, behind a proxy, or have "
            "systemd open it."
        )
    if number == errno.EADDRNOTAVAIL and is_tcp:
        return f"It is no address of this machine; all of them are --bind :{port}"
    if number == errno.ENOENT and not is_tcp:
        return "Is the directory there?"
    return ""


def passed_fds() -> dict[int, str]:
    """Return the listening sockets that systemd passed, and how they are named."""
    try:
        return {fd: f" ({name})" for fd, name in listen_fds()}
    except (ValueError, OSError) as exc:
        raise CannotServe(f"LISTEN_FDS: {exc}") from None
