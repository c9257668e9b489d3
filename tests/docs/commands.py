"""Commands of a page in, run for real; what they say is compared with what is shown.

A few are not run, since they would install or measure something: what they name is
looked up where it is defined.
"""

from __future__ import annotations

import configparser
import doctest
import os
import re
import shlex
import signal
import socket
import sys
import tomllib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
from gevent import subprocess
from pages import CHECKOUT


#: Seconds within which a command ends, or serves.
LONG = 20

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

#: What serves until it is ended; so does a Python file that says serve_forever.
SERVES = re.compile(
    r"(?!.* --help\b).*\b(gws serve|gunicorn|flask .*run|runserver)\b", re.S
)


class Wrong(Exception):
    """Something is not as the page says."""


class Shell:
    """Runs the commands of a page in a folder of its own.

    Args:
        folder: where they run. It gets ``gws`` and the checkout's examples.
        replace: puts in ports and addresses that are free here, also in what the
            commands say: their help names those of the page.
    """

    def __init__(self, folder: Path, replace: Callable[[str], str]) -> None:
        self._folder = folder
        self._replace = replace
        self._servers: list[Server] = []
        programs = folder / ".bin"
        programs.mkdir()
        # As pip would write it; there is none where gws is not installed.
        program = programs / "gws"
        program.write_text(
            f"#!{sys.executable} -P\nfrom gws.cli import main\n\nmain()\n"
        )
        program.chmod(0o755)
        folder.joinpath("examples").symlink_to(CHECKOUT / "examples")
        here = Path(sys.executable).parent
        paths = [programs, here, os.environ["PATH"], "/usr/sbin"]
        known = os.environ.get("PYTHONPATH")
        self._environment = os.environ | {
            "PATH": os.pathsep.join(map(str, paths)),
            "PYTHONPATH": os.pathsep.join(
                [str(folder), known] if known else [str(folder)]
            ),
            "PYTHONUNBUFFERED": "1",
        }

    def run(self, text: str) -> None:
        """Run each command of a block; compare its output, where some is shown."""
        for command, shown in split(text):
            if check := check_of(command):
                check(command)
            elif self._serves(command):
                self._serve(command, shown)
            else:
                self._run(command, shown)

    def end(self) -> None:
        """End what serves, all of it, and complain then."""
        with ExitStack() as stack:
            for server in self._servers:
                stack.callback(server.end)

    def _run(self, command: str, shown: str) -> None:
        process = start(command, self._folder, self._environment, subprocess.PIPE)
        with gevent.Timeout(LONG, False):
            said = process.communicate()[0].decode()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            raise Wrong(f"{command}: does not end")
        if shown:
            compare(command, shown, self._replace(said))
        elif process.returncode:
            raise Wrong(f"{command}: exit status {process.returncode}\n{said}")

    def _serves(self, command: str) -> bool:
        for word in shlex.split(command, comments=True):
            path = self._folder / word
            if path.suffix == ".py" and path.is_file():
                return "serve_forever" in path.read_text()
        return SERVES.match(command) is not None

    def _serve(self, command: str, shown: str) -> None:
        """Start what serves; return when it does. Who has had the port is ended."""
        ports = self._ports(command)
        for server in [x for x in self._servers if x.ports & ports]:
            self._servers.remove(server)
            server.end()
        server = Server(command, ports, self._folder, self._environment)
        self._servers.append(server)
        server.wait(shown)

    def _ports(self, command: str) -> set[int]:
        """Return the ports that a command, or the file that it runs, names."""
        text = command
        for word in shlex.split(command, comments=True):
            path = self._folder / word
            if path.suffix == ".py" and path.is_file():
                text += path.read_text()
        found = {int(x) for x in re.findall(r"\b(\d{4,5})\b", text)}
        return found or {8765}


class Server:
    """A command that serves, in the background."""

    def __init__(
        self, command: str, ports: set[int], folder: Path, environment: dict[str, str]
    ) -> None:
        self._command = command
        self.ports = ports
        self._log = folder / f".log-{len(list(folder.glob('.log-*')))}"
        with self._log.open("wb") as log:
            self._process = start(command, folder, environment, log)

    def wait(self, shown: str) -> None:
        """Wait until it has said what is shown, or else until its port is open."""
        with gevent.Timeout(LONG, Wrong(f"{self._command}: does not serve")):
            while not (self._has_said(shown) if shown else self._is_open()):
                if self._process.poll() is not None:
                    raise Wrong(f"{self._command}: ended\n{self._log.read_text()}")
                gevent.sleep(0.02)
        if shown:
            compare(self._command, shown, self._log.read_text())

    def end(self) -> None:
        died = self._process.poll()
        if died is None:
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(LONG)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise Wrong(f"{self._command}: does not end") from None
        text = self._log.read_text()
        if died or "Traceback" in text:
            raise Wrong(f"{self._command}: exit status {died}\n{text}")

    def _has_said(self, shown: str) -> bool:
        return len(self._log.read_text().splitlines()) >= len(shown.splitlines())

    def _is_open(self) -> bool:
        for port in self.ports:
            try:
                socket.create_connection(("localhost", port), 1).close()
            except OSError:
                continue
            return True
        return False


def start(command: str, folder: Path, environment: dict[str, str], out: Any) -> Any:
    """Start a command in a group of processes of its own; return its process."""
    return subprocess.Popen(
        command,
        shell=True,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def split(text: str) -> list[tuple[str, str]]:
    """Return the commands of a block, each with the output that is shown."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif found and found[-1][0].endswith("\\\n"):
            found[-1] = (found[-1][0] + line, "")
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + line)
        else:
            raise Wrong(f"what is shown starts with no command: {line}")
    return [(command.strip(), shown) for command, shown in found]


def compare(command: str, shown: str, said: str) -> None:
    if not doctest.OutputChecker().check_output(shown, said, FLAGS):
        raise Wrong(f"$ {command}\nshown:\n{shown}\nsaid:\n{said}")


# What is not run


def check_of(command: str) -> Callable[[str], None] | None:
    """Return what checks a command that is not run; None for the others."""
    for start, check in CHECKS.items():
        if re.match(start, command):
            return check
    return None


def check_install(command: str) -> None:
    """The extras of gevent-gws that it names are there."""
    project = tomllib.loads(CHECKOUT.joinpath("pyproject.toml").read_text())["project"]
    for names in re.findall(r"\[([\w,]+)\]", command):
        unknown = set(names.split(",")) - set(project["optional-dependencies"])
        if unknown:
            raise Wrong(f"{command}: there is no extra {unknown}")
    if "gws" in command and project["name"] not in command:
        raise Wrong(f"{command}: its name is {project['name']}")


def check_tox(command: str) -> None:
    """The environments that it names are there."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(CHECKOUT / "tox.ini")
    known = {x.removeprefix("testenv:") for x in tox.sections()}
    known.update(re.findall(r"\w+", tox["tox"]["env_list"]))
    named = {
        x
        for found in re.findall(r"tox -e ([\w,-]+)", command)
        for x in found.split(",")
    }
    if named - known:
        raise Wrong(f"{command}: there is no environment {named - known}")


def check_paths(command: str) -> None:
    """The files and folders that it names are there."""
    for name in re.findall(r"\b(?:tests|docs|benchmarks)/[\w./-]*", command):
        if not CHECKOUT.joinpath(name).exists():
            raise Wrong(f"{command}: there is no {name}")


def check_script(command: str) -> None:
    """The script is there, and knows the options."""
    path = next(x for x in command.split() if x.endswith(".py"))
    source = CHECKOUT.joinpath(path).read_text()
    for option in re.findall(r" (--[\w-]+)", command):
        if f'"{option}"' not in source:
            raise Wrong(f"{command}: {path} knows no {option}")


CHECKS: dict[str, Callable[[str], None]] = {
    r".*\bpip install tox && ": check_tox,
    r"(GWS_COMPILE=no )?(python3? -m |\S*/)?pip install ": check_install,
    r"python3? -m venv ": check_install,
    r"(\S*/)?tox\b": check_tox,
    r"(\S*/)?pytest tests/": check_paths,
    r"python3? (benchmarks|tests)/\S+\.py": check_script,
}
