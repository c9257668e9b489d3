"""Members of rooms: a server's connections, joined to clients of gws or raw peers; and
the Redis servers that buses meet."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import gevent
import pytest
import redis
from gevent.event import Event

from gws.rooms import Entry
from gws.rooms import shard as shard_module
from gws.rooms.redisbus import RedisBus
from gws.testing import pair, server_pair
from gws.testing.rawpairs import Pair


@pytest.fixture
def stack(leakcheck: None) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def member(stack: ExitStack) -> Callable[..., Any]:
    """Return what makes (client's, server's) connections."""
    return lambda **options: stack.enter_context(pair(**options))


@pytest.fixture
def raw_member(stack: ExitStack) -> Callable[..., Pair]:
    """Return what makes a server's connection and the raw peer that is its client."""
    return lambda **options: stack.enter_context(server_pair(**options))


#: Within this, what should happen has happened, on a machine that has other work.
LONG = 20


class RedisServer:
    """A redis-server of our own, on a port from the kernel and on a Unix socket.

    A test may kill it, pause it, and start it again where it was. It is started by the
    subprocess module of Python, not of gevent: it leaves no watcher in the loop.

    Args:
        folder: where it keeps its files.
        arguments: what follows its name, such as "--appendonly", "yes".
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.tls_port = free_port()
        self.path = str(folder / "socket")
        self.url = f"redis://127.0.0.1:{self.port}"
        self.password: str | None = None
        self._arguments = arguments
        self._process: Any = None

    def start(self) -> None:
        """Start it; return once it answers."""
        ours = ("--port", self.port, "--unixsocket", self.path, "--dir", self.folder)
        keeps = ("--save", "", "--logfile", "log", "--bind", "127.0.0.1")
        command = ["redis-server", *map(str, ours), *keeps, *self._arguments]
        if "--sentinel" in self._arguments:
            # It wants a file to write to.
            (self.folder / "conf").touch()
            command = ["redis-server", str(self.folder / "conf"), "--sentinel"]
            command += ["--port", str(self.port), "--dir", str(self.folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.wait_until(lambda: self.ask("PING") == b"PONG")

    def wait_until(self, condition: Callable[[], Any]) -> None:
        """Wait until the server is as it should be."""
        deadline = time.monotonic() + 20
        while True:
            with suppress(redis.RedisError, OSError):
                if condition():
                    return
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            gevent.sleep(0.02)

    def ask(self, *command: Any) -> Any:
        """Return the reply to a command, as it comes."""
        connection = redis.Connection(
            port=self.port, password=self.password, protocol=2, socket_timeout=10
        )
        try:
            connection.send_command(*command)
            return connection.read_response()
        finally:
            connection.disconnect()

    def clients(self, kind: str = "normal") -> list[str]:
        """Return a line for each connection; "pubsub" are those that listen."""
        found = self.ask("CLIENT", "LIST", "TYPE", kind).decode().splitlines()
        return [line for line in found if "cmd=client" not in line]

    def kill(self) -> None:
        """kill -9."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Stop it from answering: to its clients, the network is silent."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    @property
    def running(self) -> bool:
        return self._process is not None

    def _signal(self, number: int) -> None:
        self._process.send_signal(number)


def free_port() -> int:
    """Return a port that the kernel has to give; a cluster adds 10000 to it."""
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
        if port < 55000:
            return port


@pytest.fixture
def start_redis() -> Iterator[Callable[..., RedisServer]]:
    """Start a server of the test's own, with more arguments; all end with the test."""
    if shutil.which("redis-server") is None and "CI" not in os.environ:
        pytest.skip("redis-server is not installed")
    servers: list[RedisServer] = []
    # Paths of pytest's own are too long for a Unix socket.
    folder = Path(tempfile.mkdtemp(prefix="gws-"))

    def start(*arguments: str) -> RedisServer:
        own = folder / str(len(servers))
        own.mkdir()
        servers.append(RedisServer(own, *arguments))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        if server.running:
            server.kill()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None and "CI" not in os.environ:
        pytest.skip("redis-server is not installed")
    folder = Path(tempfile.mkdtemp(prefix="gws-"))
    server = RedisServer(folder)
    server.start()
    yield server
    if server.running:
        server.kill()
    shutil.rmtree(folder)


@pytest.fixture
def redis_server(redis_process: RedisServer) -> Iterator[RedisServer]:
    """A server that is empty; a test may kill it and start it again."""
    yield redis_process
    if redis_process.running:
        redis_process.resume()
        redis_process.ask("FLUSHALL")
        redis_process.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    else:
        redis_process.start()


class Heard:
    """What a bus tells its receiver, in turn; and the bus."""

    def __init__(self, url: str, origin: bytes = b"somebody", **options: Any) -> None:
        self.bus = RedisBus(url, **options)
        self.events: list[Any] = []
        self._news = Event()
        self._numbers = iter(range(1, 10**9))
        self._origin = origin
        self.bus.start(self)

    # What the bus calls

    def on_entry(self, room: str, entry: Entry) -> None:
        self._note((room, entry.message, entry.id and entry.id.number))

    def on_down(self, exc: Exception) -> None:
        self._note("down")

    def on_up(self, gap: bool) -> None:
        self._note(("up", gap))

    def on_presence(self, room: str, user: str, came: bool) -> None:
        self._note((room, user, came))

    def _note(self, event: Any) -> None:
        self.events.append(event)
        self._news.set()

    # What tests call

    def say(self, room: str, message: str) -> bool:
        return self.bus.publish(room, self.entry(message))

    def entry(self, message: str) -> Entry:
        return Entry(message, self._origin, next(self._numbers))

    def expect(self, *events: Any) -> None:
        """Wait for these events, and no others, since the last call."""
        with gevent.Timeout(
            LONG,
            f"no {events}, but {self.events}",
        ):
            while len(self.events) < len(events):
                self._news.clear()
                self._news.wait()
        assert tuple(self.events[: len(events)]) == events
        del self.events[: len(events)]

    def settle(self) -> list[Any]:
        """Return what is left, once an entry of another room has come."""
        end = f"the end of {self._origin!r}"
        self.bus.subscribe(end)
        self.say(end, ".")
        with gevent.Timeout(LONG, f"no end, but {self.events}"):
            while not any(event[0] == end for event in self.events):
                self._news.clear()
                self._news.wait()
        events, self.events = self.events, []
        return [event for event in events if event[0] != end]


@pytest.fixture
def open_bus(stack: ExitStack) -> Callable[..., Heard]:
    """Open a bus, the next of several with their own origins."""
    origins = (b"origin%02d" % n for n in range(100))

    def make(url: str, **options: Any) -> Heard:
        heard = Heard(url, next(origins), **options)
        stack.callback(heard.bus.close)
        return heard

    return make


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, leakcheck: None) -> None:
    """No pause before connecting again is as long as it should be in earnest."""
    monkeypatch.setattr(shard_module, "MIN_PAUSE", 0.05)
    monkeypatch.setattr(shard_module, "MAX_PAUSE", 0.2)
