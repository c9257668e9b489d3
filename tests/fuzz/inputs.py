"""The targets by name, and the inputs that each of them has.

A target is a module of the folder ``targets``: ``fuzz_one(data)`` raises if something
does not hold, and ``SEEDS`` are inputs with names. What fuzzing added to them lies in
``corpus``, in files named by their content.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType


HERE = Path(__file__).parent

NAMES = sorted(path.stem for path in HERE.glob("targets/*.py"))


def load_target(name: str) -> ModuleType:
    """Import a target."""
    return importlib.import_module(f"{__package__}.targets.{name}")


def inputs_of(name: str) -> dict[str, bytes]:
    """Return the seeds of a target, and its corpus."""
    corpus = sorted(HERE.glob(f"corpus/{name}/*"))
    return {
        **load_target(name).SEEDS,
        **{path.name: path.read_bytes() for path in corpus},
    }
