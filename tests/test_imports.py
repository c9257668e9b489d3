"""The layers of gws: who may import whom, what stays small, what an import may do.

The rules are checked on the source, by ast. An import counts wherever it stands: in a
function or under TYPE_CHECKING as well.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import gws


PACKAGE = Path(gws.__file__).parent

#: The layers, bottom first. A module may import what stands on its own line or on a
#: line before. Names are those of a folder or of a module right in gws.
LAYERS = [
    {"version"},
    {"exceptions"},
    {"protocol"},
    {"extensions", "greenlets", "sockets"},
    {"tls"},
    {"stream"},
    {"messages", "options", "keepalive", "prepared", "limits", "observe"},
    {"hubs"},
    {"turns"},
    {"link"},
    {"pulse"},
    {"sender"},
    {"connection"},
    {"fanout"},
    {"auth"},
    {"server", "client"},
    {"urlmap", "router"},
    {"wsgi", "rooms", "metrics", "testing", "access", "health"},
    {""},  # gws/__init__.py, the table of contents
    {"process"},
    {"cli"},
    {"__main__"},
]

#: Who may not import what although the layers would let it, and why not.
FORBIDDEN = [
    ("exceptions", "protocol", "the error tree stands alone"),
    ("messages", "stream", "frames to messages: touches no socket"),
    ("server", "client", "a server is no client"),
    ("client", "server", "a client is no server"),
    ("rooms", "server", "rooms hold connections, wherever they come from"),
    ("rooms", "client", "rooms hold connections, wherever they come from"),
    ("rooms", "wsgi", "rooms hold connections, wherever they come from"),
    ("wsgi", "rooms", "an adapter adapts"),
]

#: What sans-I/O code may not import: whatever waits, knows the time, or writes.
IO_MODULES = {
    "asyncio",
    "gevent",
    "greenlet",
    "logging",
    "pathlib",
    "redis",
    "select",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "werkzeug",
    "wsgiref",
}

#: The only importer of each of these, or the only folder with importers.
ONLY_IN = {
    "redis": "rooms/redis.py",
    "prometheus_client": "metrics.py",
    "flask": "wsgi/flask.py",
    "gunicorn": "wsgi/gunicorn.py",
    "engineio": "wsgi/engineio.py",
    "python_socks": "client/proxy.py",
    "click": "cli/",
    "pytest": "testing/plugin.py",
}

#: Who imports one of them all the same, and why.
ALSO_IN = {
    ("wsgi/geventwebsocket/worker.py", "gunicorn"): "its worker has another base",
    ("process/workers.py", "gunicorn"): "its processes serve a Router: nothing of WSGI",
    ("process/master.py", "gunicorn"): "starts these, with the signals of `gws serve`",
}

MODULE_LINES = 400
FUNCTION_LINES = 40
PARSER_STEP_LINES = 60
PUBLIC_METHODS = 12

#: A method so decorated is no method to learn.
PROPERTIES = {"property", "cached_property", "functools.cached_property", "overload"}

#: What is over its budget, with the reason. "path" is a module, "path:name" a
#: function or a class.
EXCEPTIONS: dict[str, str] = {
    "client/connecting.py:__init__": "one parameter a line, and one attribute each",
    "server/serving.py:serve": "one parameter a line, and one setting each",
    "protocol/base.py": "one state; a third of it is what users read",
    "protocol/base.py:Protocol": "a method for each verb of the RFC",
}


@dataclass(frozen=True)
class Import:
    """``module`` is relative to gws, as "protocol.frames", if it is ``inside``."""

    path: str
    line: int
    module: str
    inside: bool

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.module or 'gws'}"


def sources() -> Iterator[tuple[str, ast.Module, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text()
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(text), text


def imports() -> Iterator[Import]:
    for path, tree, _ in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(path, node.lineno, alias.name, inside=False)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield Import(path, node.lineno, node.module or "", inside=False)
            elif isinstance(node, ast.ImportFrom):
                yield from relative_imports(path, node)


def relative_imports(path: str, node: ast.ImportFrom) -> Iterator[Import]:
    """``from .frames import Frame`` in protocol/ is one of protocol.frames."""
    folder = path.split("/")[:-1]
    assert node.level <= len(folder) + 1, f"{path}:{node.lineno} leaves gws"
    base = folder[: len(folder) - node.level + 1]
    if node.module:
        yield Import(path, node.lineno, ".".join([*base, node.module]), inside=True)
        return
    for alias in node.names:  # from . import name: a module, or a name of __init__
        name = [*base, alias.name]
        is_module = any(
            PACKAGE.joinpath(*name).with_suffix(suffix).exists()
            for suffix in ["", ".py"]
        )
        yield Import(
            path, node.lineno, ".".join(name if is_module else base), inside=True
        )


def part_of(dotted: str) -> str:
    """Return the folder or top module that a module belongs to; "" is gws itself."""
    return dotted.partition(".")[0]


def part_of_path(path: str) -> str:
    return part_of(path.removesuffix(".py").replace("/", ".")).replace("__init__", "")


INSIDE = [found for found in imports() if found.inside]
OUTSIDE = [found for found in imports() if not found.inside]


def test_every_module_has_its_layer() -> None:
    known = set().union(*LAYERS)
    assert {part_of_path(path) for path, _, _ in sources()} <= known


def test_imports_inside_gws_are_relative() -> None:
    assert [str(found) for found in OUTSIDE if part_of(found.module) == "gws"] == []


def test_layers_run_one_way() -> None:
    level = {name: n for n, names in enumerate(LAYERS) for name in names}
    upward = [
        str(found)
        for found in INSIDE
        if level[part_of(found.module)] > level[part_of_path(found.path)]
    ]
    assert upward == []


@pytest.mark.parametrize(("importer", "imported", "reason"), FORBIDDEN)
def test_neighbours_do_not_know_one_another(
    importer: str, imported: str, reason: str
) -> None:
    found = [
        str(found)
        for found in INSIDE
        if (part_of_path(found.path), part_of(found.module)) == (importer, imported)
    ]
    assert found == [], reason


def test_adapters_are_leaves() -> None:
    """A module of wsgi/ imports none of its neighbours but those they stand on."""
    base = {
        "wsgi",
        "wsgi.takeover",
        "wsgi.accept",
        "wsgi.app",
        "wsgi.middleware",
        "wsgi.open",
    }
    found = [
        str(found)
        for found in INSIDE
        if found.path.startswith("wsgi/")
        and part_of(found.module) == "wsgi"
        and found.path != "wsgi/__init__.py"
        # Old names for all of it: a shim stands on the other adapters.
        and not found.path.startswith("wsgi/geventwebsocket/")
        and found.module not in base
    ]
    assert found == []


def test_the_protocol_does_no_io() -> None:
    found = [
        str(found)
        for found in OUTSIDE
        if part_of_path(found.path) in {"exceptions", "protocol", "extensions"}
        and not IO_MODULES.isdisjoint({part_of(found.module), found.module})
    ]
    assert found == []


def test_optional_dependencies_have_one_importer() -> None:
    found = [
        str(found)
        for found in OUTSIDE
        if not found.path.startswith(ONLY_IN.get(part_of(found.module), found.path))
        and (found.path, part_of(found.module)) not in ALSO_IN
    ]
    assert found == []


def test_the_kernel_has_its_places() -> None:
    """Python reaches the kernel through its twin alone; the rest cimports it."""
    found = [str(found) for found in INSIDE if found.module == "protocol._speedups"]
    assert [line for line in found if not line.startswith("protocol/mask.py")] == []


# What an import does


def test_import_gws_does_nothing_else() -> None:
    """It patches nothing, starts no hub, and loads nothing that it may not need."""
    program = """
import json, socket, sys, threading, time
before = [socket.socket, socket.create_connection, threading.Thread, time.sleep]
import gws
after = [socket.socket, socket.create_connection, threading.Thread, time.sleep]
from gevent import monkey
from gevent._hub_local import get_hub_if_exists
print(json.dumps({
    "patched": before != after or bool(monkey.saved),
    "hub": get_hub_if_exists() is not None,
    "threads": threading.active_count(),
    "modules": sorted(sys.modules),
}))
"""
    # -P: the working directory is the checkout and must not be imported from.
    python = [sys.executable, "-P", "-c", program]
    run = subprocess.run(python, capture_output=True, text=True, check=True)
    assert run.stderr == ""
    seen = json.loads(run.stdout)
    assert (seen["patched"], seen["hub"], seen["threads"]) == (False, False, 1)
    optional = {*ONLY_IN, "asyncio", "websockets", "gws.testing"}
    assert optional.isdisjoint(seen["modules"])


# Budgets


def over_budget() -> Iterator[tuple[str, str]]:
    """Yield what is too big: its name as in `EXCEPTIONS`, and how big it is."""
    for path, tree, text in sources():
        if (n := text.count("\n")) > MODULE_LINES:
            yield path, f"{n} lines"
        limit = PARSER_STEP_LINES if path.startswith("protocol/") else FUNCTION_LINES
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and (n := code_lines(node)) > limit:
                yield f"{path}:{node.name}", f"{n} lines"
            if (
                isinstance(node, ast.ClassDef)
                and (n := n_public(node)) > PUBLIC_METHODS
            ):
                yield f"{path}:{node.name}", f"{n} public methods"


def code_lines(function: ast.FunctionDef) -> int:
    """Return the lines of a function from its def; what its docstring says is free."""
    assert function.end_lineno is not None
    n = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        assert first.end_lineno is not None
        n -= first.end_lineno - first.lineno + 1
    return n


def n_public(node: ast.ClassDef) -> int:
    """Return how many methods there are to learn: properties are read, not called."""
    if node.name.startswith("_"):
        return 0
    methods = {
        item.name: item for item in node.body if isinstance(item, ast.FunctionDef)
    }
    return sum(
        not name.startswith("_")
        and PROPERTIES.isdisjoint(map(ast.unparse, method.decorator_list))
        and f"{name}.setter" not in map(ast.unparse, method.decorator_list)
        for name, method in methods.items()
    )


def test_budgets() -> None:
    over = dict(over_budget())
    assert {name: n for name, n in over.items() if name not in EXCEPTIONS} == {}
    assert [name for name in EXCEPTIONS if name not in over] == [], "needed no more"
