"""The sources of gws.protocol, loaded again as pure Python under another name.

A compiled module shadows the ``.py`` that lies beside it; `PureFinder` looks at the
``.py`` only. The name begins with "gws.": coverage goes by the first module that it
meets of a file, and measures nothing of a file whose module is not of gws.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import gws


SOURCES = Path(gws.__file__).parent


class PureFinder(MetaPathFinder):
    """Finds ``gws.NAME.protocol.base`` where ``gws.protocol.base`` has its source."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        package, *parts = fullname.split(".")
        if package != "gws" or parts[:1] != [self._name]:
            return None
        del parts[0]
        if not parts:  # the root has no code: gws/__init__.py imports all of gws
            return ModuleSpec(fullname, None, is_package=True)
        file = SOURCES.joinpath(*parts)
        if file.is_dir():
            return importlib.util.spec_from_file_location(
                fullname, file / "__init__.py", submodule_search_locations=[]
            )
        return importlib.util.spec_from_file_location(fullname, file.with_suffix(".py"))


def load_pure(name: str, *modules: str) -> list[ModuleType]:
    """Import e.g. "protocol.base" of a new twin, whose package is ``gws.NAME``."""
    finder = PureFinder(name)
    sys.meta_path.insert(0, finder)
    try:
        return [importlib.import_module(f"gws.{name}.{module}") for module in modules]
    finally:
        sys.meta_path.remove(finder)
