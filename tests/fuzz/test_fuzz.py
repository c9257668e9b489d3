"""What fuzzing found stays found: all seeds, the corpus, and some inputs at random.

Where atheris is installed, each target also runs under it for a moment.
"""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from .choices import cut
from .inputs import NAMES, inputs_of, load_target


#: How many inputs at random, and how many changed ones of those that are there.
N_RANDOM = 200

#: The most memory, in bytes, that one input of a few hundred octets may take. Two
#: windows of deflate and its tables are the largest part.
MAX_MEMORY = 2**20

each_target = pytest.mark.parametrize("name", NAMES)
FuzzOne = Callable[[bytes], None]


@each_target
def test_seeds_and_corpus(name: str) -> None:
    for label, data in inputs_of(name).items():
        tell(label, load_target(name).fuzz_one, data)


@each_target
def test_random_inputs(name: str) -> None:
    """Always the same ones: octets at random, and changes to what is there."""
    rng = random.Random(name)
    known = list(inputs_of(name).values())
    for i in range(N_RANDOM):
        data = rng.randbytes(rng.randrange(100))
        if i % 2:
            data = changed(rng, rng.choice(known), data)
        tell(f"random {i}", load_target(name).fuzz_one, data)


@each_target
def test_memory(name: str) -> None:
    """No input makes us take memory for what it only claims."""
    fuzz_one = load_target(name).fuzz_one
    inputs = load_target(name).SEEDS
    for data in inputs.values():
        fuzz_one(data)  # what is kept from then on is not the input's
    tracemalloc.start()
    try:
        for label, data in inputs.items():
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            fuzz_one(data)
            taken = tracemalloc.get_traced_memory()[1] - before
            assert taken < MAX_MEMORY + 40 * len(data), label
    finally:
        tracemalloc.stop()


def tell(label: str, fuzz_one: FuzzOne, data: bytes) -> None:
    """Run it; say with what, if it fails."""
    try:
        fuzz_one(data)
    except BaseException as exc:
        exc.add_note(f"input {label}: {data!r}")
        raise


def changed(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Return the input with some of it replaced, removed or repeated."""
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    middle = rng.choice([b"", other[:4], data[start:end] * 2])
    return data[:start] + middle + data[end:]


def test_cut() -> None:
    assert cut(b"abcdefgh", [1, 0, 2, 3]) == [b"a", b"bc", b"def", b"gh"]
    assert cut(b"abc", [0]) == [b"abc"]
    assert cut(b"abc", [2, 0]) == [b"ab", b"c"]
    assert cut(b"abc", [9, 9, 1]) == [b"abc"]
    assert cut(b"", [1, 1]) == []


# Under atheris

has_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not installed"
)
#: How many inputs each target gets there; always the same ones.
N_RUNS = 1000

#: libFuzzer's exit code for a finding.
FOUND = 77
UNDER_ATHERIS = Path(__file__).with_name("under_atheris.py")


def run_under_atheris(name: str, folder: Path, runs: int) -> tuple[int, str]:
    """Return the exit code and all that was said."""
    options = [f"-runs={runs}", "-seed=1"]
    ended = subprocess.run(
        [sys.executable, "-P", UNDER_ATHERIS, name, folder, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    return ended.returncode, ended.stdout.decode()


@has_atheris
@pytest.mark.once
@each_target
def test_under_atheris(name: str, tmp_path: Path) -> None:
    code, said = run_under_atheris(name, tmp_path, runs=N_RUNS)
    assert code == 0, said
    assert f"Done {N_RUNS} runs" in said
    # It sees what the target does: something was new.
    assert any(tmp_path.joinpath("grown").iterdir())


@has_atheris
@pytest.mark.once
def test_what_is_found_is_told(tmp_path: Path) -> None:
    target = tmp_path / "planted.py"
    target.write_text("def fuzz_one(data):\n    assert b'F' not in data\n")
    code, said = run_under_atheris(str(target), tmp_path, runs=100_000)
    assert code == FOUND and "AssertionError" in said, said
    [found] = tmp_path.glob("found/crash-*")
    assert b"F" in found.read_bytes()
