"""The site of the documentation: built without a warning, and nothing public missing.

What stands in the blocks of the pages is run by tests/docs.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from .docs.pages import CHECKOUT, pages


#: Packages whose `__init__` is a table of what is public.
PACKAGES = (
    "gws",
    "gws.extensions",
    "gws.protocol",
    "gws.rooms",
    "gws.testing",
    "gws.wsgi",
    "gws.wsgi.geventwebsocket",
)

#: Modules that are public as they are; and what in them is for gws alone.
MODULES = {
    "gws.access": {
        *("ColorFormatter", "LineFormatter", "color_of", "quoted", "text_of"),
    },
    "gws.exceptions": set(),
    "gws.health": {"HasReadiness", "answer"},
    "gws.metrics": {
        *("Heart", "Refresher", "Total", "added", "code_label"),
    },
    "gws.observe": {"tell", "tell_closed", "tell_opened"},
    "gws.protocol.datastructures": {
        *("SupportsKeysAndGetItem", "is_field_value", "is_token"),
    },
    "gws.protocol.frames": {
        *("as_frame", "check_first", "check_length", "check_mask_bit"),
        *("cut_reason", "make_frame"),
    },
    "gws.protocol.handshake": set(),
    "gws.protocol.headers": set(),
    "gws.protocol.http11": {
        *("LineStream", "RequestReader", "ResponseReader", "parse_request"),
    },
    "gws.protocol.uri": set(),
    "gws.testing.plugin": set(),
    "gws.wsgi.engineio": {"Driver", "Drivers", "connection_of"},
    "gws.wsgi.flask": {
        *("Terms", "UpgradeRequired", "View", "WebSocketResponse"),
        *("answer_mismatch", "answer_mismatches", "first_of", "overridden"),
        *("response_class_of", "serve_view", "too_late", "translated"),
    },
    "gws.wsgi.gunicorn": {"Server", "refuse"},
    "gws.wsgi.pywsgi": {"RequestHandler", "check_headers", "run"},
}


@pytest.mark.once
def test_the_site(tmp_path: Path) -> None:
    options = ["-q", "-W", "--keep-going", "-d", tmp_path / "doctrees"]
    command = [sys.executable, "-P", "-m", "sphinx", *options]
    run = subprocess.run(
        [*command, CHECKOUT / "docs", tmp_path / "html"], capture_output=True, text=True
    )
    assert (run.returncode, run.stderr) == (0, "")
    inventory = names_of(tmp_path / "html/objects.inv")
    assert [name for name in public_names() if name not in inventory] == []


def names_of(inventory: Path) -> set[str]:
    """Return the names of Python that a site documents."""
    *_, packed = inventory.read_bytes().split(b"\n", 4)
    lines = zlib.decompress(packed).decode().splitlines()
    return {line.split()[0] for line in lines if " py:" in line}


def public_names() -> Iterator[str]:
    """Yield what must be in the reference, by the names that it has there."""
    for package in PACKAGES:
        for node in ast.walk(tree_of(package, "__init__")):
            if isinstance(node, ast.ImportFrom):
                names = [x.name for x in node.names if x.asname == x.name]
                yield from (home_of(package, name) for name in names)
    for module, private in MODULES.items():
        for node in tree_of(module).body:
            match node:
                case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                    if not name.startswith("_") and name not in private:
                        yield f"{module}.{name}"


def tree_of(module: str, *parts: str) -> ast.Module:
    """Return the tree of its source in the checkout: it may be compiled elsewhere."""
    path = CHECKOUT.joinpath(*module.split("."), *parts).with_suffix(".py")
    return ast.parse(path.read_text())


def home_of(package: str, name: str) -> str:
    """Return the name of a class where it is defined: the reference knows it, too."""
    value = getattr(importlib.import_module(package), name)
    if inspect.isclass(value):
        return f"{value.__module__}.{value.__qualname__}"
    return f"{package}.{name}"


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page: str) -> None:
    """On the repository's site too, which knows only files."""
    path = CHECKOUT / page
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text())
    local = [target for target in targets if "://" not in target]
    assert [x for x in local if not path.parent.joinpath(x).exists()] == []
