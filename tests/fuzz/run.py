"""Fuzz the targets, one after the other: python run.py [--seconds N] [TARGET ...].

The package is built for it: with clang, if that is there with its libFuzzer, so that
the coverage of C code counts too. What covers something new is kept in a folder outside
the tree, where the next run goes on. At the end a table says what was done and found.

With --merge, what the corpus of the tree does not cover yet is added to it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from inputs import HERE, NAMES
from rebuilt import build


UNDER_ATHERIS = HERE / "under_atheris.py"

#: What libFuzzer needs to see of C code.
COVERAGE = "-O1 -g -w -fsanitize-coverage=inline-8bit-counters,pc-table,trace-cmp"
LIBFUZZER = "libclang_rt.fuzzer_no_main-*.a"

#: The most memory, in MiB, and the most seconds that one input may take.
LIMITS = ["-rss_limit_mb=512", "-timeout=10"]

ROW = "{:<10}{:>12}{:>10}{:>10}{:>10}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--merge", action="store_true", help="add to the corpus")
    parser.add_argument("targets", nargs="*", choices=[*NAMES, []], metavar="TARGET")
    args = parser.parse_args()
    folder = Path(tempfile.gettempdir()) / "gws-fuzzing"
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, **built(folder)}
    names = args.targets or NAMES
    rows = [fuzz(name, folder / name, args.seconds, environment) for name in names]
    if args.merge:
        for name in names:
            merge(name, folder / name, environment)
    print(ROW.format("target", "executions", "coverage", "corpus", "findings"))
    for row in rows:
        print(ROW.format(*row))
    found = [path for name in names for path in folder.glob(f"{name}/found/*")]
    for path in found:
        print(path)
    sys.exit(bool(found))


# The build


def built(folder: Path) -> dict[str, str]:
    """Build gws; return the variables for processes that use it."""
    libfuzzer = linked_libfuzzer(folder)
    if libfuzzer is None:
        print("without clang and its libFuzzer the coverage of C code is not seen")
        return {"PYTHONPATH": str(build(folder / "plain", "-O1 -w"))}
    library = build(folder / "clang", COVERAGE, "clang")
    return {"PYTHONPATH": str(library), "LD_PRELOAD": str(libfuzzer)}


def linked_libfuzzer(folder: Path) -> Path | None:
    """Make a shared library of clang's libFuzzer; return None if there is none.

    To be loaded before all else: the one in atheris shows its names to nobody.
    """
    if shutil.which("clang") is None:
        return None
    resources = Path(output("clang", "-print-resource-dir").strip())
    archives = list(resources.rglob(LIBFUZZER))
    if not archives:
        return None
    here = [path for path in archives if os.uname().machine in path.name]
    library = folder / "libfuzzer.so"
    link = ["clang", "-shared", "-o", library, "-Wl,--whole-archive", here[0]]
    libraries = ["-Wl,--no-whole-archive", "-lstdc++", "-lpthread", "-ldl", "-lm"]
    subprocess.run([*link, *libraries], check=True)
    return library


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# One target


def fuzz(
    name: str, folder: Path, seconds: int, environment: dict[str, str]
) -> tuple[str, int, int, int, int]:
    """Fuzz for so long, or up to the first finding; return a row of the table."""
    options = [f"-max_total_time={seconds}", "-print_final_stats=1", *LIMITS]
    said = under_atheris(name, folder, options, environment)
    executions = re.findall(r"number_of_executed_units: (\d+)", said)
    coverage = re.findall(r" cov: (\d+)", said)
    return (
        name,
        *(int(numbers[-1]) if numbers else 0 for numbers in (executions, coverage)),
        count(folder / "grown"),
        count(folder / "found"),
    )


def merge(name: str, folder: Path, environment: dict[str, str]) -> None:
    """Add to the corpus what comes to places that seeds and corpus do not come to."""
    known = sorted(folder.glob("seeds/*"))
    grown = sorted(folder.glob("grown/*"), key=lambda path: path.stat().st_size)
    # The inner half of libFuzzer's own merge; the outer one would start its program
    # anew, which here is Python. It is told which inputs there are, and tells for each
    # of them, in a line "COV", to which places none before it came.
    control = folder / "control"
    names = "".join(f"{path}\n" for path in known + grown)
    control.write_text(f"{len(known + grown)}\n0\n{names}")
    options = ["-merge_inner=1", f"-merge_control_file={control}"]
    under_atheris(name, folder, options, environment)
    corpus = HERE / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for i, *places in re.findall(r"(?m)^COV (\d+)( .+)?", control.read_text()):
        path = (known + grown)[int(i)]
        if places != [""] and path in grown:
            shutil.copy(path, corpus / path.name[:12])


def under_atheris(
    name: str, folder: Path, options: list[str], environment: dict[str, str]
) -> str:
    """Run it; return what it said, and leave that in the folder."""
    folder.mkdir(exist_ok=True)
    log = folder / "log"
    with log.open("w") as file:
        command = [sys.executable, "-P", UNDER_ATHERIS, name, folder, *options]
        subprocess.run(command, stdout=file, stderr=file, env=environment)
    return log.read_text(errors="replace")


def count(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*"))


if __name__ == "__main__":
    main()
