"""The peers: a process for each library, which all tests of a module talk to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Peer
from ..node_packages import install as install_packages


HERE = Path(__file__).parent
LIBRARIES = ["websockets", "aiohttp", "node"]


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of node/ with its packages, made once for all processes of the run."""
    return install_packages(HERE / "node", tmp_path_factory, "node")


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
