"""The names of gevent-websocket, for what imports them: `install`."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from . import exceptions, handler, logging, resource, server, websocket


NAME = "geventwebsocket"

#: The modules whose names are here what they are there.
MODULES = {
    "exceptions": exceptions,
    "handler": handler,
    "logging": logging,
    "resource": resource,
    "server": server,
    "websocket": websocket,
}

#: What marks the packages as ours.
ORIGIN = "gws"

TOO_LATE = (
    "gevent-websocket was imported before: call gws.wsgi.geventwebsocket.install() "
    "before everything that imports it. Flask-SocketIO and python-engineio do when "
    'their servers are made for async_mode="gevent"'
)


def install(**options: Any) -> None:
    """Have ``import geventwebsocket``, and its modules, find gws.

    It may be installed, or not; it is not used. Calling it again does no harm.

    Args:
        options: of `gws.serve`, as far as they are about connections. By default
            any Origin may connect, and a message has at most 16 MiB.

    Raises:
        RuntimeError: if gevent-websocket was imported before.
        TypeError, ValueError: if an option makes no sense.
    """
    if not is_installed():
        if NAME in sys.modules:
            raise RuntimeError(TOO_LATE)
        sys.modules.update(make_modules())
    if options:
        handler.WebSocketHandler.configure(**options)


def uninstall() -> None:
    """Undo `install`, for what is imported from now on."""
    if is_installed():
        for name in make_modules():
            sys.modules.pop(name, None)
    handler.WebSocketHandler.configure()


def is_installed() -> bool:
    """Tell whether geventwebsocket is ours."""
    spec = getattr(sys.modules.get(NAME), "__spec__", None)
    return getattr(spec, "origin", None) == ORIGIN


def make_modules() -> dict[str, ModuleType]:
    """Return the modules by their names."""
    top = package("")
    top.__dict__.update(
        VERSION=(0, 10, 1, "final", 0),
        get_version=lambda: "0.10.1",
        WebSocketApplication=resource.WebSocketApplication,
        Resource=resource.Resource,
        WebSocketServer=server.WebSocketServer,
        WebSocketError=exceptions.WebSocketError,
    )
    protocols = package("protocols", base=module("protocols.base"))
    protocols.base.BaseProtocol = resource.BaseProtocol
    gunicorn = package("gunicorn", workers=module("gunicorn.workers"))
    # Not imported yet: gunicorn may not be there.
    gunicorn.workers.__getattr__ = find_worker
    below = MODULES | {"protocols": protocols, "gunicorn": gunicorn}
    top.__dict__.update(below)
    found = {NAME: top, **{f"{NAME}.{name}": below[name] for name in below}}
    found[f"{NAME}.protocols.base"] = protocols.base
    found[f"{NAME}.gunicorn.workers"] = gunicorn.workers
    return found


def package(name: str, **modules: ModuleType) -> Any:
    """Return a package with these modules, and no others to be found."""
    made = module(name)
    made.__path__ = []
    made.__dict__.update(modules)
    return made


def module(name: str) -> Any:
    """Return an empty module of ours."""
    full = f"{NAME}.{name}" if name else NAME
    made = ModuleType(full, "gevent-websocket's name of what is in gws.")
    made.__spec__ = ModuleSpec(full, None, origin=ORIGIN)
    return made


def find_worker(name: str) -> Any:
    """Return what geventwebsocket.gunicorn.workers holds."""
    if name != "GeventWebSocketWorker":
        raise AttributeError(name)
    from .worker import GeventWebSocketWorker

    return GeventWebSocketWorker
