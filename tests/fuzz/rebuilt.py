"""Build the package of this checkout once more, into a folder, with other flags."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path


CHECKOUT = Path(__file__).parents[2]


def build(folder: Path, flags: str, compiler: str = "gcc") -> Path:
    """Compile the extensions with these flags; return what belongs on the path."""
    shutil.rmtree(folder, ignore_errors=True)
    library = folder / "lib"
    command = [sys.executable, "setup.py", "-q", "build", "--build-lib", library]
    subprocess.run(
        [*command, "--build-base", folder],
        cwd=CHECKOUT,
        env={
            **os.environ,
            "CC": compiler,
            "LDSHARED": f"{compiler} -shared",
            "CFLAGS": flags,
        },
        check=True,
    )
    return library
