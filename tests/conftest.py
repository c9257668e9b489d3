"""What every test may ask for, and what is settled before the first one runs.

The run is refused when gws is not the gws of this checkout: see `find_differences`.
No test lasts longer than `TIME_LIMIT`: see `TimeLimit`. A test that opens sockets
asks for ``leakcheck`` (`pytestmark = pytest.mark.usefixtures("leakcheck")`).
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import shutil
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any

import gevent
import gevent.util
import greenlet
import hypothesis
import pytest
import trustme
from gevent import subprocess
from gevent.hub import Hub

import gws


CHECKOUT = Path(__file__).parents[1]
PACKAGE = Path(gws.__file__).parent

#: The seconds that a test may take, unless marked ``timeout(seconds)``.
TIME_LIMIT = 60

#: The seconds that a closed connection may take to let go of what it held.
SETTLE_TIME = 2

hypothesis.settings.register_profile("ci", max_examples=200, deadline=None)
# Under coverage, which makes them slow; the compiled build has had the others.
hypothesis.settings.register_profile("coverage", max_examples=50, deadline=None)
hypothesis.settings.register_profile("nightly", max_examples=20_000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


# The build under test


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "timeout(seconds): instead of TIME_LIMIT")
    config.addinivalue_line(
        "markers",
        "once: in the compiled environment only: it compares both builds, or takes "
        "long for code that is the same in both",
    )
    config.addinivalue_line(
        "markers",
        "covered: in the pure environment only, which tells what tests cover: what is "
        "tested is compiled in neither",
    )
    differences = find_differences(PACKAGE, CHECKOUT)
    if os.environ.get("GWS_COMPILE") == "no" and gws.COMPILED:
        differences.append("GWS_COMPILE=no, but the package is compiled")
    if differences:
        raise pytest.UsageError(
            f"the gws in {PACKAGE} was not built from this checkout "
            "(build it again; if that does not help, remove build/ first):\n  "
            + "\n  ".join(differences)
        )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two workers a core: half of the tests' time is waiting."""
    return 2 * (os.cpu_count() or 1)


def pytest_report_header() -> str:
    return f"gws: {'compiled' if gws.COMPILED else 'pure'}, from {PACKAGE}"


def find_differences(package: Path, checkout: Path) -> list[str]:
    """Return why the package is not what the checkout's sources would build.

    Its sources must be the checkout's, file by file; and what its extensions were
    built from, by the seal that setup.py left in it, must be too.
    """
    source = checkout / "gws"
    differences = [
        f"gws/{name}: differs"
        for name in sorted(source_names(package) | source_names(source))
        if digest(package / name) != digest(source / name)
    ]
    extensions = {
        path.relative_to(package).as_posix().partition(".")[0]
        for path in package.rglob("*.so")
    }
    sealed = read_seal(package) if extensions else {}
    built = {path.removeprefix("gws/").rpartition(".")[0] for path in sealed}
    differences += [
        f"gws/{name}: an extension without a seal" for name in extensions - built
    ]
    differences += [
        f"{path}: changed after the extensions were built"
        for path in sealed
        if digest(checkout / path) != sealed[path]
    ]
    return differences


def source_names(package: Path) -> set[str]:
    return {
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.suffix in {".py", ".pyi", ".pyx", ".pxd"}
    }


def read_seal(package: Path) -> dict[str, str]:
    """Return the digests of what the extensions were built from, by path."""
    path = package / "_build.sha256"
    lines = path.read_text().splitlines() if path.exists() else []
    return {name: digest for digest, name in map(str.split, lines)}


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest() if path.exists() else "not there"


@pytest.fixture
def differences_between() -> Callable[[Path, Path], list[str]]:
    """The check above, for its own test."""
    return find_differences


# The time limit


class TimeLimit:
    """Fails the test that takes too long, even one that waits in the hub.

    SIGALRM arrives whatever the process is doing. What all threads and greenlets
    do goes to stderr; then the exception is raised in the greenlet of the test and,
    unless that is the hub, where the signal came in. It comes again every few
    seconds, for what hangs in the teardown as well. What does not come back even so
    is ended with the process; xdist counts that as a failure and goes on.
    """

    AGAIN = 10

    def __init__(self, seconds: float, name: str) -> None:
        self._seconds = seconds
        self._name = name
        self._armed = False

    def __enter__(self) -> None:
        self._armed = True
        self._test = greenlet.getcurrent()
        faulthandler.dump_traceback_later(self._seconds + 3 * self.AGAIN, exit=True)
        self._previous = signal.signal(signal.SIGALRM, self._on_alarm)
        signal.setitimer(signal.ITIMER_REAL, self._seconds, self.AGAIN)

    def __exit__(self, *exc_info: object) -> None:
        self._armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._previous)
        faulthandler.cancel_dump_traceback_later()

    def _on_alarm(self, signum: int, frame: FrameType | None) -> None:
        print(*gevent.util.format_run_info(), sep="\n", file=sys.stderr)
        current = greenlet.getcurrent()
        if current is not self._test:
            gevent.get_hub().loop.run_callback(self._throw_into_test)
        if not isinstance(current, Hub):
            raise self._failure()

    def _throw_into_test(self) -> None:
        if self._armed:
            self._test.throw(self._failure())

    def _failure(self) -> BaseException:
        return pytest.fail.Exception(f"{self._name}: over {self._seconds} s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    marker = item.get_closest_marker("timeout")
    with TimeLimit(marker.args[0] if marker else TIME_LIMIT, item.nodeid):
        return (yield)


# What a test left behind


@pytest.fixture(scope="session")
def warm_hub() -> Hub:
    """The hub, with all that it opens on first use: thread pool, SIGCHLD, resolver."""
    hub = gevent.get_hub()
    hub.loop.install_sigchld()
    hub.threadpool.apply(int)
    hub.resolver.getaddrinfo("localhost", 0)
    with tempfile.TemporaryFile() as file:
        subprocess.run([sys.executable, "-c", ""], stdout=file, check=True)
    # What is there by now stays; without it, each collection of `leakcheck` takes
    # a few milliseconds, not sixty.
    gc.collect()
    gc.freeze()
    return hub


@pytest.fixture
def leakcheck(warm_hub: Hub) -> Iterator[None]:
    """Fail if the test leaves descriptors, greenlets or watchers behind."""
    fds, greenlets, n_watchers = open_fds(), live_greenlets(), warm_hub.loop.activecnt
    yield

    def find_leftovers() -> list[str]:
        found = [f"descriptor {fd}: {what}" for fd, what in open_fds() - fds]
        found += [describe(g) for g in live_greenlets() - greenlets]
        if (n := warm_hub.loop.activecnt) > n_watchers:
            found.append(f"{n - n_watchers} watchers of the loop")
        return found

    # What was just closed needs turns of the loop, and its peer the time to notice.
    deadline = time.monotonic() + SETTLE_TIME
    gevent.sleep(0)
    while (leftovers := find_leftovers()) and time.monotonic() < deadline:
        gevent.sleep(0.01)
        gc.collect()
    assert not leftovers, "left behind:\n" + "\n".join(leftovers)


def open_fds() -> set[tuple[int, str]]:
    """Return the open descriptors and, where the system tells, what they are."""
    if not os.path.isdir("/proc/self/fd"):
        return {(int(fd), "") for fd in os.listdir("/dev/fd")}
    fds = set()
    for fd in os.listdir("/proc/self/fd"):
        # The descriptor of the listing itself is gone by now.
        if os.path.lexists(path := f"/proc/self/fd/{fd}"):
            fds.add((int(fd), os.readlink(path)))
    return fds


def live_greenlets() -> set[greenlet.greenlet]:
    """Return this thread's greenlets; those of the hub's thread pool come and go."""
    main = root(greenlet.getcurrent())
    return {
        found
        for found in gc.get_objects()
        # By type: isinstance asks objects for their __class__, and some have more to
        # say to that than one would think.
        if issubclass(type(found), greenlet.greenlet)
        and not isinstance(found, Hub)
        and not found.dead
        and root(found) is main
    }


def root(found: greenlet.greenlet) -> greenlet.greenlet:
    while found.parent is not None:
        found = found.parent
    return found


def describe(leftover: greenlet.greenlet) -> str:
    frame = leftover.gr_frame
    place = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "not started"
    return f"{leftover!r} at {place}"


# TLS, Unix sockets, other processes


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem and with server.pem for localhost, signed by it."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("localhost", "127.0.0.1", "::1")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    return folder


@pytest.fixture(scope="session")
def server_context(tls_files: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls_files / "server.pem")
    return context


@pytest.fixture(scope="session")
def client_context(tls_files: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=tls_files / "ca.pem")


@pytest.fixture
def unix_path() -> Iterator[str]:
    """A path for a Unix socket: pytest's own are too long for the system's limit."""
    folder = tempfile.mkdtemp(prefix="gws-")
    yield os.path.join(folder, "socket")
    shutil.rmtree(folder)


class Peer:
    """Another process that gets and gives lines of JSON.

    Pipes and the wait for its end go through the hub, so that servers in this
    process go on meanwhile.
    """

    def __init__(self, script: Path, *args: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, script, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def tell(self, value: Any) -> None:
        self._process.stdin.write(json.dumps(value).encode() + b"\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        line = self._process.stdout.readline()
        assert line, f"the peer ended with {self._process.wait()}"
        return json.loads(line)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


@pytest.fixture
def spawn_peer() -> Iterator[Callable[..., Peer]]:
    """Start a script of the test's folder as a `Peer`; all end with the test."""
    peers: list[Peer] = []

    def spawn(script: Path, *args: str) -> Peer:
        peers.append(Peer(script, *args))
        return peers[-1]

    yield spawn
    for peer in peers:
        peer.end()
