"""Which modules of gws are compiled, how, and the seal that ties them to their sources.

Everything else about the package stands in pyproject.toml. ``GWS_COMPILE=no``
builds the pure package; so does any Python but CPython, and Windows. There is no
fallback: where the extensions belong to the package, failing to build them fails.
"""

import os
import platform
import sys
from hashlib import sha256
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError


ROOT = Path(__file__).parent

# Typed Python, each with a .pxd of the same name beside it. The built extension
# comes to lie next to the .py and shadows it.
HOT_MODULES = [
    "gws/protocol/frames.py",
    "gws/protocol/reader.py",
    "gws/protocol/writer.py",
    "gws/protocol/base.py",
    "gws/stream.py",
    "gws/messages.py",
    "gws/limits.py",
    "gws/prepared.py",
    "gws/keepalive.py",
    "gws/hubs.py",
    "gws/turns.py",
    "gws/link.py",
    "gws/pulse.py",
    "gws/sender.py",
    "gws/connection.py",
    "gws/fanout.py",
]

# What stands in Cython's own syntax: the kernel, whose twin in Python is mask.py,
# and greenlet's C interface, whose twin is greenlets.py.
KERNEL = "gws/protocol/_speedups.pyx"
GREENLETS = "gws/_greenlets.pyx"

# What the extensions were built from, in the format of sha256sum(1). It lies in
# the package beside them; tests/conftest.py compares it with the checkout.
SEAL = "gws/_build.sha256"

DIRECTIVES = {
    "language_level": 3,
    # An annotation says what mypy checks; what C gets stands in the .pxd.
    "annotation_typing": False,
    "auto_pickle": False,
}

# Unless who builds says otherwise.
OPTIMIZE = [] if "-O" in os.environ.get("CFLAGS", "") else ["-O3"]

COMPILE = (
    os.environ.get("GWS_COMPILE") != "no"
    and platform.python_implementation() == "CPython"
    and sys.platform != "win32"
)


class BuildSealed(build_ext):
    """Compile with Cython in parallel, then seal what was built."""

    def finalize_options(self):
        super().finalize_options()
        # One compiler a core.
        self.parallel = self.parallel or os.cpu_count()

    def run(self):
        # Taken before the compiler reads the files, so that an edit during the
        # build leaves a seal that does not fit. Without one nothing is trusted.
        seal = seal_text()
        self.seal_path.unlink(missing_ok=True)
        sources = {extension.name: extension.sources for extension in self.cythonize()}
        for extension in self.extensions:
            extension.sources = sources[extension.name]
        try:
            super().run()
        except CCompilerError as exc:
            hint = "Without a C compiler: GWS_COMPILE=no pip install ."
            raise type(exc)(f"{exc}\n{hint}") from exc
        self.seal_path.write_text(seal)

    def cythonize(self):
        """Return copies of the extensions whose sources are the generated C files."""
        # Imported here: the pure build and the sdist need no Cython.
        from Cython.Build import cythonize

        # Cython follows the .pxd files itself; what it cannot see is a change of
        # the directives above.
        generated = ROOT / "build" / "c" / Path(KERNEL).with_suffix(".c")
        setup_is_newer = (
            generated.exists()
            and generated.stat().st_mtime < Path(__file__).stat().st_mtime
        )
        return cythonize(
            self.extensions,
            build_dir="build/c",
            compiler_directives=DIRECTIVES,
            force=bool(self.force) or setup_is_newer,
        )

    @property
    def seal_path(self):
        return Path(SEAL) if self.inplace else Path(self.build_lib, SEAL)


def seal_text():
    """Return one line a file: the digest of all that the extensions are built from."""
    declarations = (path.relative_to(ROOT) for path in ROOT.glob("gws/**/*.pxd"))
    paths = {
        "setup.py",
        KERNEL,
        GREENLETS,
        *HOT_MODULES,
        *map(Path.as_posix, declarations),
    }
    return "".join(
        f"{sha256((ROOT / path).read_bytes()).hexdigest()}  {path}\n"
        for path in sorted(paths)
    )


def extension(path):
    return Extension(
        path.rpartition(".")[0].replace("/", "."),
        [path],
        depends=["setup.py"],
        include_dirs=[greenlet_headers()],
        extra_compile_args=[*OPTIMIZE, "-Wsign-compare"],
    )


def greenlet_headers():
    """Return the folder of greenlet.h, which comes with the package."""
    # Imported here: the pure build and the sdist need no greenlet.
    import greenlet

    return os.path.dirname(greenlet.__file__)


def pure_options():
    """Keep the pure build out of the compiled one's way: both may run at once."""
    egg_base = ROOT / "build" / "pure"
    egg_base.mkdir(parents=True, exist_ok=True)
    return {
        "build": {"build_base": "build/pure"},
        "egg_info": {"egg_base": "build/pure"},
    }


if COMPILE:
    setup(
        ext_modules=[extension(path) for path in [*HOT_MODULES, KERNEL, GREENLETS]],
        cmdclass={"build_ext": BuildSealed},
    )
else:
    setup(options=pure_options())
