"""MODULE:ROUTER in; what serves, or why there is no such thing, out."""

from __future__ import annotations

import difflib
import importlib
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
    module_name, _, attribute = name.partition(":")
    if not attribute or not all(module_name.split(".")):
        raise CannotServe(f"{name!r} is not MODULE:ROUTER", module_hint(module_name))
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        # What the module itself fails to import is for a traceback to show.
        if not f"{module_name}.".startswith(f"{exc.name}."):
            raise
        missing = str(exc.name)
        raise CannotServe(
            f"there is no module {missing!r}", module_hint(missing)
        ) from None
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
    try:
        return with_path(found)
    except TypeError as exc:
        raise CannotServe(
            f"{name} can't be served: {exc}", "A handler takes one argument: def f(ws)"
        ) from None


def module_hint(name: str) -> str:
    """Return which module was probably meant, of those in this directory."""
    here = os.getcwd()
    parent, _, last = name.rpartition(".")
    if parent.isidentifier() and last != "py":
        return f"There is {parent}, and nothing of that name in it."
    wanted = os.path.basename(name).removesuffix(".py")
    near = difflib.get_close_matches(wanted, modules_in(here), 1)
    if wanted in near and not name.endswith(".py"):
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
