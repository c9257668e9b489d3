"""C sources in, programs out; and a certificate: what a run makes for itself.

All of it is in the run's own folder and goes with that.
"""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from .processes import Failure


SOURCES = Path(__file__).parents[1] / "load"

#: What the load generators of echoes and of rooms have in common.
CONNECTION = ("connection.c", "buffer.c", "program.c", "histogram.c")
LOAD = ("load.c", "run.c", "messages.c", "modes.c", "latency.c", *CONNECTION)
ECHO = ("epoll_echo.c", "buffer.c", "program.c")

#: A connection of TLS is refused by the load generator unless its server shows this.
CERTIFICATE = "server.pem"


def build(folder: Path) -> str:
    """Compile load and epoll_echo into the folder.

    Returns:
        Why there is no TLS; "" if there is.
    """
    compile_c(folder / "epoll_echo", of_load(ECHO))
    if has_openssl(folder / "probe"):
        compile_c(folder / "load", of_load([*LOAD, "tls.c"]), "-lssl", "-lcrypto")
        return make_certificate(folder)
    compile_c(folder / "load", of_load(LOAD), "-DWITHOUT_TLS")
    return "OpenSSL's headers (libssl-dev) are not installed"


def of_load(names: Iterable[str]) -> list[Path]:
    """Return the paths of sources."""
    return [SOURCES / name for name in names]


def compile_c(program: Path, sources: list[Path], *options: str) -> None:
    """Compile a program.

    Raises:
        Failure: there is no compiler, or it found a fault.
    """
    command = ["cc", "-O2", "-Wall", "-o", str(program), *map(str, sources), *options]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise Failure("there is no C compiler (cc)") from None
    except subprocess.CalledProcessError as exc:
        raise Failure(f"cc could not build {program.name}: {exc.stderr}") from None


def has_openssl(probe: Path) -> bool:
    """Return whether a program can be linked with OpenSSL."""
    command = ["cc", "-x", "c", "-", "-o", str(probe), "-lssl", "-lcrypto"]
    source = "#include <openssl/ssl.h>\nint main(void) { return !TLS_client_method(); }"
    try:
        tried = subprocess.run(command, input=source, capture_output=True, text=True)
    except FileNotFoundError:
        return False
    return tried.returncode == 0


def make_certificate(folder: Path) -> str:
    """Write a certificate of 127.0.0.1 and its key. Returns why it could not."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=gws"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return "there is no openssl that makes a certificate"
    both = certificate.read_text() + key.read_text()
    (folder / CERTIFICATE).write_text(both)
    return ""
