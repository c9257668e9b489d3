"""What is shipped: an sdist that builds, and a package that has all it needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib.metadata import Distribution
from pathlib import Path

import pytest

import gws
from gws.version import version


CHECKOUT = Path(__file__).parents[1]
SOURCES = {
    path.relative_to(CHECKOUT).as_posix()
    for path in CHECKOUT.joinpath("gws").rglob("*")
    if path.suffix in {".py", ".pyi", ".pyx", ".pxd", ".typed"}
}

#: -P: the working directory is the checkout and must not be imported from.
PYTHON = [sys.executable, "-P", "-c"]
NOT_SOURCES = [".*", "build", "dist", "*.egg-info", "*.so", "__pycache__"]

Differences = Callable[[Path, Path], list[str]]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of a copy: the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("sdist")
    shutil.copytree(
        CHECKOUT, folder / "gws", ignore=shutil.ignore_patterns(*NOT_SOURCES)
    )
    backend = "from setuptools import build_meta; build_meta.build_sdist('..')"
    run([*PYTHON, backend], cwd=folder / "gws")
    (path,) = folder.glob("*.tar.gz")
    return path


def run(command: list[str], **options: object) -> str:
    """Return what the command prints; what it says when it fails is in the failure."""
    ended = subprocess.run(
        command,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,  # type: ignore[call-overload]
    )
    assert ended.returncode == 0, ended.stdout
    return str(ended.stdout)


def test_sdist_has_the_sources_and_nothing_built(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    others = {"LICENSE", "README.md", "CHANGES.md", "setup.py", "tests/conftest.py"}
    assert SOURCES | others <= names
    assert [name for name in names if name.startswith("gws/") and built(name)] == []


@pytest.mark.timeout(200)
def test_sdist_installs(sdist: Path, tmp_path: Path) -> None:
    """Built from the sdist alone, compiled or pure as the package under test is."""
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps"]
    run(
        [*pip, "--no-build-isolation", "--target", str(tmp_path), str(sdist)],
        # -O0: that it compiles is the question here, and takes half the time.
        env=os.environ
        | {"GWS_COMPILE": "yes" if gws.COMPILED else "no", "CFLAGS": "-O0"},
    )

    package = tmp_path / "gws"
    files = {path.relative_to(tmp_path).as_posix() for path in package.rglob("*")}
    assert files >= SOURCES
    extensions = {name.partition(".")[0] for name in files if name.endswith(".so")}
    declared = {name.removesuffix(".pxd") for name in SOURCES if name.endswith(".pxd")}
    # Of the C constants in codes.pxd there is nothing to compile.
    assert extensions == (declared - {"gws/protocol/codes"} if gws.COMPILED else set())

    program = "import gws, gws.cli; print(gws.COMPILED, gws.__file__)"
    # Not measured: coverage would take this copy for a part of the package.
    env = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    env["PYTHONPATH"] = str(tmp_path)
    said = run([*PYTHON, program], env=env)
    assert said.split() == [str(gws.COMPILED), str(package / "__init__.py")]

    (info,) = tmp_path.glob("gevent_gws-*.dist-info")
    distribution = Distribution.at(info)
    assert distribution.version == version
    (script,) = distribution.entry_points
    assert (script.group, script.name) == ("console_scripts", "gws")
    assert callable(script.load())


def test_a_stale_build_is_noticed(
    tmp_path: Path, differences_between: Differences
) -> None:
    package = Path(gws.__file__).parent
    assert differences_between(package, CHECKOUT) == []
    edited = tmp_path / "checkout"
    shutil.copytree(package, edited / "gws")
    shutil.copy(CHECKOUT / "setup.py", edited)
    with edited.joinpath("gws/protocol/reader.pxd").open("a") as declarations:
        declarations.write("# changed\n")
    edited.joinpath("gws/version.py").unlink()
    edited.joinpath("gws/new.py").touch()
    found = [line.partition(":")[0] for line in differences_between(package, edited)]
    sealed = ["gws/protocol/reader.pxd"] if gws.COMPILED else []
    assert found == ["gws/new.py", "gws/protocol/reader.pxd", "gws/version.py", *sealed]
    # Built in place, package and checkout are one: only the seal can tell.
    found = [
        line.partition(":")[0] for line in differences_between(edited / "gws", edited)
    ]
    assert found == sealed


def test_an_extension_without_a_seal_is_noticed(
    tmp_path: Path, differences_between: Differences
) -> None:
    (tmp_path / "gws").mkdir()
    (tmp_path / "gws/stream.cpython-311-x86_64-linux-gnu.so").touch()
    found = differences_between(tmp_path / "gws", tmp_path)
    assert found == ["gws/stream: an extension without a seal"]


def test_ci_does_what_the_readme_says() -> None:
    command = CHECKOUT.joinpath(".ci/run").read_text().splitlines()[-1]
    assert command.endswith("/tox")
    assert f"$ {command}" in CHECKOUT.joinpath("README.md").read_text().splitlines()


def built(name: str) -> bool:
    return name.endswith((".so", ".c", ".sha256", ".pyc"))
