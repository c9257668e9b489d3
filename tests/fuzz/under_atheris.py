"""Run one target under atheris: python under_atheris.py TARGET FOLDER [OPTION ...].

Into the folder come ``seeds`` (with the corpus of the tree), ``grown``, which is what
covered something new, and ``found``: inputs that fail. The options are libFuzzer's.

It sees the coverage of Python code: of gws where that is pure, and of the pure twins
that compiled modules are compared with. Of C code it sees what was compiled for that,
see run.py.
"""

from __future__ import annotations

import gc
import importlib.util
import sys
from pathlib import Path
from types import FunctionType, ModuleType

import atheris


TESTS = Path(__file__).parents[1]


def main() -> None:
    program, name, folder, *options = sys.argv
    with atheris.instrument_imports(include=["gws"]):
        target, inputs = load_target(name)
    for function in twin_functions(target):
        atheris.instrument_func(function)
    seeds, grown, found = (Path(folder, part) for part in ("seeds", "grown", "found"))
    for path in (seeds, grown, found):
        path.mkdir(parents=True, exist_ok=True)
    for label, data in inputs.items():
        seeds.joinpath(label).write_bytes(data)
    where = [f"-artifact_prefix={found}/", str(grown), str(seeds)]
    atheris.Setup([program, *options, *where], target.fuzz_one)
    atheris.Fuzz()


def load_target(name: str) -> tuple[ModuleType, dict[str, bytes]]:
    """Import a target, or a file of its kind; return it and its inputs."""
    if name.endswith(".py"):
        return load_file(Path(name)), {}
    # So that no other "tests" comes in between.
    package = ModuleType("tests")
    package.__path__ = [str(TESTS)]
    sys.modules["tests"] = package
    inputs = importlib.import_module("tests.fuzz.inputs")
    return inputs.load_target(name), inputs.inputs_of(name)


def load_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def twin_functions(target: ModuleType) -> list[FunctionType]:
    """Return the functions of twins: they are loaded past atheris's import hook."""
    prefix = getattr(target, "TWIN_PACKAGE", None)
    return [
        found
        for found in gc.get_objects()
        if type(found) is FunctionType
        and prefix is not None
        and (found.__module__ or "").startswith(prefix)
    ]


if __name__ == "__main__":
    main()
