"""``pip install .`` where there is no compiler: what setup.py says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..docs.pages import CHECKOUT
from ..program import SOON


#: Builds one small extension, as setup.py builds ours.
BUILD = """
import runpy, sys, setuptools
setup, setuptools.setup = setuptools.setup, lambda **options: None
build_ext = runpy.run_path(sys.argv[1])["BuildSealed"]
setup(
    ext_modules=[setuptools.Extension("small", ["small.c"])],
    cmdclass={"build_ext": build_ext},
    script_args=["-q", "build_ext"],
)
"""


@pytest.mark.once
def test_no_compiler(tmp_path: Path) -> None:
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools")
    tmp_path.joinpath("small.c").touch()
    environ = os.environ | {"CC": "nosuchcc", "GWS_COMPILE": ""}
    ended = subprocess.run(
        [sys.executable, "-c", BUILD, CHECKOUT / "setup.py"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=SOON,
    )
    assert ended.returncode == 1
    error, hint = ended.stderr.splitlines()[-2:]
    assert "nosuchcc" in error
    assert hint == "Without a C compiler: GWS_COMPILE=no pip install ."
