"""MODULE:ROUTER in; what serves, or why there is no such thing, out."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import os
import sys
from typing import Any

from ..router import Router
from ..server.route import with_path


#: How many names an error lists.
SHOWN = 8


class CannotServe(Exception):
    """Why this can't be served, or not there.

    Args:
        why: in one line.
        hint: what to do about it, if there is an idea, in another.
    """

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(f"{why}\n{hint}" if hint else why)


def load(name: str) -> Any:
    """Import what ``module:attribute`` names.

    Raises:
        CannotServe: if there is no such thing, or it handles nothing.
    """
    module_name, attribute = split_name(name)
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        # What the module itself fails to import is for a traceback to show.
        if not f"{module_name}.".startswith(f"{exc.name}."):
            raise
        raise no_module(str(exc.name)) from None
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise CannotServe(
                f"there is no {attribute!r} in {module_name!r}",
                attribute_hint(module, attribute),
            ) from None
    if not callable(found) or isinstance(found, type):
        raise CannotServe(
            f"{name} is neither a Router nor a handler",
            attribute_hint(module, attribute),
        )
    if is_wsgi(found):
        raise CannotServe(
            f"{name} can't be served: a handler takes one argument: def f(ws)",
            "Is it a WSGI application? gunicorn -k gws.wsgi.gunicorn.WebSocketWorker "
            f"{name}",
        )
    try:
        return with_path(found)
    except TypeError as exc:
        raise CannotServe(
            f"{name} can't be served: {exc}", "A handler takes one argument: def f(ws)"
        ) from None


def look_for(name: str) -> None:
    """Look for the module of ``module:attribute``, or its package, and import nothing.

    Raises:
        CannotServe: if there is none.
    """
    top = split_name(name)[0].partition(".")[0]
    sys.path.insert(0, os.getcwd())
    try:
        if top not in sys.modules and importlib.util.find_spec(top) is None:
            raise no_module(top)
    finally:
        del sys.path[0]


def split_name(name: str) -> tuple[str, str]:
    """Return (module, attribute) of ``module:attribute``.

    Raises:
        CannotServe: if one is missing, or the module is not named as Python does.
    """
    module_name, _, attribute = name.partition(":")
    if attribute and all(part and "/" not in part for part in module_name.split(".")):
        return module_name, attribute
    hint = module_hint(module_name)
    path = os.path.normpath(module_name).removesuffix(".py")
    if not module_name:
        hint = f"Name the module before the colon, such as app:{attribute}"
    elif "/" in module_name and path[0] not in "/." and os.path.isfile(f"{path}.py"):
        hint = f"Did you mean {path.replace('/', '.')}:{attribute or '...'} ?"
    raise CannotServe(f"{name!r} is not MODULE:ROUTER", hint)


def no_module(name: str) -> CannotServe:
    """Return the error that there is none of this name."""
    return CannotServe(f"there is no module {name!r}", module_hint(name))


def is_wsgi(handler: Any) -> bool:
    """Tell whether it is a WSGI application (PEP 3333), which takes two arguments.

    So does a handler with a path: see `with_path`.
    """
    if hasattr(handler, "wsgi_app"):  # that of Flask
        return True
    try:
        names = list(inspect.signature(handler).parameters)
    except ValueError:  # a builtin without a signature
        return False
    return names[:2] == ["environ", "start_response"]


def module_hint(name: str) -> str:
    """Return which module was probably meant, of those in this directory."""
    here = os.getcwd()
    parent, _, last = name.rpartition(".")
    if parent.isidentifier() and last != "py":
        return f"There is {parent}, and nothing of that name in it."
    wanted = os.path.basename(name).removesuffix(".py")
    near = difflib.get_close_matches(wanted, modules_in(here), 1)
    if name in near:
        return f"Name the router in it, such as {name}:router"
    if near:
        return f"Did you mean {near[0]}:... ? It is in {here}."
    return f"Modules are looked for in {here}, and where Python looks."


def modules_in(folder: str) -> list[str]:
    """Return the names of what can be imported from there."""
    found = []
    for entry in os.scandir(folder):
        name, suffix = os.path.splitext(entry.name)
        if suffix == ".py" or (not suffix and is_package(entry.path)):
            found.append(name)
    return sorted(name for name in found if name.isidentifier())


def is_package(path: str) -> bool:
    """Tell whether a folder is a package."""
    return os.path.isfile(os.path.join(path, "__init__.py"))


def attribute_hint(module: Any, attribute: str) -> str:
    """Return what of a module can be served."""
    names = [name for name, value in vars(module).items() if is_served(module, value)]
    near = difflib.get_close_matches(attribute, names, 1)
    if near:
        return f"Did you mean {module.__name__}:{near[0]} ?"
    if names:
        return f"It has {', '.join(names[:SHOWN])}{' ...' * (len(names) > SHOWN)}"
    return f"Nothing in it can be served; it is {getattr(module, '__file__', None)}"


def is_served(module: Any, value: Any) -> bool:
    """Tell whether it is a router, or a handler of this module."""
    if isinstance(value, Router):
        return True
    if not inspect.isfunction(value) or value.__module__ != module.__name__:
        return False
    try:
        inspect.signature(value).bind(None)
    except TypeError:
        return False
    return True
