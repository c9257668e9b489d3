"""Run the tests that matter for memory on extensions that watch it.

They are compiled with AddressSanitizer and UndefinedBehaviorSanitizer, which end the
process at the first octet that is read or written where it should not be. Python
itself is not; but with PYTHONMALLOC=malloc all its objects lie in watched memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rebuilt import CHECKOUT, build


# Nothing around what lies on the stack: greenlet copies stacks as they are, to and fro.
FLAGS = (
    "-fsanitize=address,undefined -fno-sanitize-recover=undefined "
    "-fno-omit-frame-pointer --param asan-stack=0 -O1 -g -w"
)

LIBRARIES = ["libasan.so", "libstdc++.so.6"]

TESTS = [
    "tests/protocol",
    "tests/extensions",
    "tests/fuzz",
    "tests/test_messages.py",
    "tests/test_stream.py",
    "tests/test_fanout.py",
    "tests/test_greenlets.py",
    *sorted(str(path) for path in CHECKOUT.glob("tests/test_connection_*.py")),
]

ENVIRONMENT = {
    # Python leaks by design. Of stacks there is only what greenlet knows of: none for
    # what is used after its function returned, none for signals.
    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0:use_sigaltstack=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "PYTHONMALLOC": "malloc",
    # The checkout is the working directory, and has no extensions.
    "PYTHONSAFEPATH": "1",
    # Each example takes several times as long.
    "HYPOTHESIS_PROFILE": "coverage",
}

#: What must be found, lest the rest prove nothing: by name, and in these words.
WRONG = """
#include <stdlib.h>
int read_past_the_end(int n) { char *p = malloc(n); int x = p[n]; free(p); return x; }
int shift_too_far(int n) { return 1 << n; }
"""
CALL = "import ctypes, sys; getattr(ctypes.CDLL(sys.argv[1]), sys.argv[2])(40)"
FINDINGS = {
    "read_past_the_end": "heap-buffer-overflow",
    "shift_too_far": "shift exponent 40 is too large",
}


def main() -> None:
    environment = {**os.environ, **ENVIRONMENT, "LD_PRELOAD": preloaded()}
    with tempfile.TemporaryDirectory() as folder:
        check_that_it_finds(Path(folder), environment)
        environment["PYTHONPATH"] = str(build(Path(folder, "build"), FLAGS))
        # atheris is none of ours, and does not go with what is preloaded.
        which = ["-k", "not atheris and not found_is_told"]
        options = ["-p", "no:cacheprovider", "-n", "2", *which, *sys.argv[1:]]
        tests = [sys.executable, "-P", "-m", "pytest", *options, *TESTS]
        code = subprocess.run(tests, cwd=CHECKOUT, env=environment).returncode
    sys.exit(code)


def check_that_it_finds(folder: Path, environment: dict[str, str]) -> None:
    """Do what is wrong, in the same environment, and see it reported."""
    source, library = folder / "wrong.c", folder / "wrong.so"
    source.write_text(WRONG)
    flags = [*FLAGS.split(), "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, source, "-o", library], check=True)
    for name, finding in FINDINGS.items():
        ended = subprocess.run(
            [sys.executable, "-c", CALL, library, name],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert ended.returncode != 0 and finding in ended.stderr, ended.stderr


def preloaded() -> str:
    """Return what must be there first: greenlet throws, by C++'s own library."""
    asks = [["gcc", f"-print-file-name={name}"] for name in LIBRARIES]
    return " ".join(subprocess.check_output(ask, text=True).strip() for ask in asks)


if __name__ == "__main__":
    main()
