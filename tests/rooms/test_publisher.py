"""Publishing from processes that serve nothing.

`Publisher` blocks its thread: here it is used in threads, and in other processes.
"""

from __future__ import annotations

import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import gevent
import pytest
import redis
from click.testing import CliRunner

import gws.rooms
from gws.cli import main
from gws.rooms import Publisher, Rooms

from ..program import Program
from .conftest import RedisServer


pytestmark = pytest.mark.covered

Make = Callable[..., Any]

#: The longest wait for anything, in seconds.
LONG = 20

#: What tells whether gevent has come to life in a process.
ASLEEP = """
import threading
from gevent import monkey
from gevent._hub_local import get_hub_if_exists

def asleep():
    return get_hub_if_exists() is None and not monkey.saved
"""


@pytest.fixture
def hear(stack: ExitStack, member: Make, redis_server: RedisServer) -> Make:
    """Return what returns a client in the room "r", which gets what is published."""

    def join(**options: Any) -> Any:
        rooms = Rooms(redis_server.url, **options)
        stack.callback(rooms.close)
        client, server = member()
        rooms.join("r", server)
        return client

    return join


def in_thread(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call what blocks, while the hub goes on."""
    return gevent.get_hub().threadpool.apply(function, args, options)


def messages_of(client: Any, n: int) -> list[str]:
    found = [client.recv(LONG) for _ in range(n)]
    with pytest.raises(TimeoutError):
        client.recv(0.05)
    return found


def with_id(entry: Any) -> str:
    return f"{entry.id} {entry.message}"


@pytest.mark.parametrize("history", [0, 10])
def test_who_is_in_the_room_hears(
    hear: Make, redis_server: RedisServer, history: int
) -> None:
    client = hear(history=history)
    publisher = Publisher(redis_server.url, history=history)
    first = in_thread(publisher.publish, "r", "text", key="k")
    second = in_thread(publisher.publish, "r", memoryview(b"bytes"))
    assert [client.recv(LONG), client.recv(LONG)] == ["text", b"bytes"]
    if history:
        assert second == (first.epoch, first.number + 1)
    else:
        assert (first, second) == (None, None)
    in_thread(publisher.close)
    in_thread(publisher.publish, "r", "again")
    assert client.recv(LONG) == "again"
    in_thread(publisher.close)


# Arguments


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("memory://", {}),
        ("ftp://localhost", {}),
        ("localhost", {}),
        ("redis://localhost", {"history": -1}),
    ],
)
def test_bad_options(url: str, options: Any) -> None:
    with pytest.raises(ValueError):
        Publisher(url, **options)


@pytest.mark.parametrize(
    ("name", "message", "error"),
    [("", "x", ValueError), ("r", {"a": 1}, TypeError), ("r", "\ud800", ValueError)],
)
def test_bad_messages(name: str, message: Any, error: type[Exception]) -> None:
    # Nobody is asked: port 0 answers nobody.
    with pytest.raises(error):
        Publisher("redis://localhost:0").publish(name, message)


def test_what_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Publishers'"):
        gws.rooms.Publishers  # noqa: B018


# Processes without a hub


def test_r10_a_script(hear: Make, redis_server: RedisServer) -> None:
    client = hear()
    program = f"""{ASLEEP}
import sys
import gws.rooms
assert "redis" not in sys.modules
from gws.rooms import Publisher
publisher = Publisher({redis_server.url!r})
publisher.publish("r", "from a script")
print(asleep(), threading.active_count())
"""
    with Program("-c", program) as script:
        assert script.end() == (0, "True 1\n", "")
    assert messages_of(client, 1) == ["from a script"]


def test_r10_forks_of_a_process_that_has_published(
    hear: Make, redis_server: RedisServer
) -> None:
    """While a thread of the parent, which the children do not have, is publishing."""
    client = hear(history=100)
    program = f"""{ASLEEP}
import os, sys
from gws.rooms import Publisher
publisher = Publisher({redis_server.url!r}, history=100)
publisher.publish("r", "parent 0")
publisher._opened.lock.acquire()  # as a thread that is in `publish` has it
children = []
for child in range(3):
    pid = os.fork()
    if not pid:
        for i in range(3):
            publisher.publish("r", f"child{{child}} {{i}}")
        publisher.close()
        os._exit(0 if asleep() else 1)
    children.append(pid)
print([os.waitpid(pid, 0)[1] for pid in children])
publisher._opened.lock.release()
publisher.publish("r", "parent 1")
"""
    with Program("-W", "ignore::DeprecationWarning", "-c", program) as script:
        assert script.end() == (0, "[0, 0, 0]\n", "")
    heard = messages_of(client, 11)
    assert [heard[0], heard[-1]] == ["parent 0", "parent 1"]
    for child in range(3):
        own = [text for text in heard if text.startswith(f"child{child}")]
        assert own == [f"child{child} {i}" for i in range(3)]


@pytest.mark.parametrize("history", [0, 500])
def test_r10_threads(hear: Make, redis_server: RedisServer, history: int) -> None:
    client = hear(history=history)
    publisher = Publisher(redis_server.url, history=history)

    def publish(name: int) -> None:
        for i in range(20):
            publisher.publish("r", f"{name} {i}")

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    heard = messages_of(client, 160)
    for thread in threads:
        thread.join(LONG)
    for n in range(8):
        own = [text for text in heard if text.startswith(f"{n} ")]
        assert own == [f"{n} {i}" for i in range(20)]
    publisher.close()


def test_r10_a_patched_process(hear: Make, redis_server: RedisServer) -> None:
    """There greenlets wait for Redis, and others run meanwhile."""
    client = hear()
    program = f"""
from gevent import monkey
monkey.patch_all()
import gevent
from gws.rooms import Publisher
publisher = Publisher({redis_server.url!r})
publisher.publish("r", "first")
input()
greenlets = [gevent.spawn(publisher.publish, "r", str(i)) for i in range(10)]
gevent.sleep(0)
print("goes on", any(g.dead for g in greenlets), flush=True)
gevent.joinall(greenlets, raise_error=True)
"""
    with Program("-c", program) as script:
        assert client.recv(LONG) == "first"
        redis_server.pause()
        script.tell("go")
        assert script.hear() == "goes on False"
        redis_server.resume()
        assert script.end() == (0, "", "")
    assert sorted(messages_of(client, 10)) == [str(i) for i in range(10)]


# What may go wrong


def test_redis_is_away_and_comes_back(hear: Make, redis_server: RedisServer) -> None:
    publisher = Publisher(redis_server.url, history=10)
    first = in_thread(publisher.publish, "r", "1")
    redis_server.kill()
    with pytest.raises(ConnectionError, match="not published: "):
        in_thread(publisher.publish, "r", "2")
    redis_server.start()
    again = in_thread(publisher.publish, "r", "3")
    assert again.epoch > first.epoch
    # Its connection is gone, which it does not know: the second try is as good.
    redis_server.kill()
    redis_server.start()
    assert in_thread(publisher.publish, "r", "4").epoch > again.epoch
    in_thread(publisher.close)


def test_who_interrupts_it_leaves_no_reply_behind(
    hear: Make, redis_server: RedisServer
) -> None:
    """The next call would take it for its own."""
    client = hear(history=10, render=with_id)
    program = f"""
import signal
from gws.rooms import Publisher

class Interrupt(BaseException):
    pass

def interrupt(*args):
    raise Interrupt

signal.signal(signal.SIGUSR1, interrupt)
publisher = Publisher({redis_server.url!r}, history=10)
publisher.publish("r", "0")
print("ready", flush=True)
input()
try:
    print("publishing", flush=True)
    publisher.publish("r", "interrupted")
except Interrupt:
    print("interrupted", flush=True)
input()
print(publisher.publish("r", "last"))
"""
    with Program("-c", program) as script:
        assert script.hear() == "ready"
        redis_server.pause()
        script.tell("go")
        assert script.hear() == "publishing"
        # Wherever it is by now: on its way, or waiting for the reply.
        gevent.sleep(0.2)
        script.signal(signal.SIGUSR1)
        assert script.hear() == "interrupted"
        redis_server.resume()
        script.tell("go")
        entry_id = script.hear()
        assert script.end() == (0, "", "")
    while not (message := client.recv(LONG)).endswith("last"):
        pass
    assert message == f"{entry_id} last"


class Relay:
    """Between a publisher and Redis, in a thread.

    The first reply that comes after ``marker`` was sent is swallowed, and the
    connection cut: Redis has done what the publisher does not know of.
    """

    def __init__(self, url: str, marker: bytes) -> None:
        self._to = redis.Redis.from_url(url).get_connection_kwargs()
        self._marker: bytes | None = marker
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._wake, self._end = socket.socketpair()
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self.n_connections = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._end.close()
        self._thread.join()
        self._listener.close()
        self._wake.close()

    def _run(self) -> None:
        while self._listener in select.select([self._listener, self._wake], [], [])[0]:
            client, _ = self._listener.accept()
            self.n_connections += 1
            with client, self._dial() as server:
                self._pass_on(client, server)

    def _dial(self) -> socket.socket:
        if "path" in self._to:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(self._to["path"])
            return sock
        return socket.create_connection((self._to["host"], self._to["port"]))

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        marked = False
        while True:
            ready = select.select([client, server, self._wake], [], [])[0]
            if self._wake in ready:
                return
            for sock, other in ((client, server), (server, client)):
                if sock in ready:
                    data = sock.recv(65536)
                    if not data or (sock is server and marked):
                        return
                    if self._marker is not None and self._marker in data:
                        marked, self._marker = True, None
                    other.sendall(data)


@contextmanager
def relay(url: str, marker: bytes) -> Iterator[Relay]:
    found = Relay(url, marker)
    try:
        yield found
    finally:
        found.close()


@pytest.mark.parametrize("history", [0, 10])
def test_the_second_try_was_not_needed(
    hear: Make, redis_server: RedisServer, history: int
) -> None:
    """Redis did it, and then the connection broke: it is heard once, and has one id."""
    client = hear(history=history, render=with_id)
    other = hear(history=history, render=with_id)
    with relay(redis_server.url, b"twice?") as between:
        publisher = Publisher(between.url, history=history)
        ids = [in_thread(publisher.publish, "r", text) for text in ("1", "twice?", "3")]
        assert between.n_connections == 2
        in_thread(publisher.close)
    expected = [
        f"{i} {text}" for i, text in zip(ids, ("1", "twice?", "3"), strict=True)
    ]
    assert messages_of(client, 3) == messages_of(other, 3) == expected
    if history:
        assert [entry_id.number for entry_id in ids] == [1, 2, 3]


# gws publish


def test_gws_publish(hear: Make, redis_server: RedisServer) -> None:
    client = hear(history=5, history_ttl=60, render=with_id)
    args = ("--history", "5", "--history-ttl", "60", redis_server.url, "r", "hello")
    with Program("-m", "gws", "publish", *args) as program:
        code, out, err = program.end()
    assert (code, err) == (0, "")
    assert client.recv(LONG) == f"{out.strip()} hello"


@pytest.mark.parametrize(
    ("args", "typed", "heard"),
    [
        (["hello wörld"], b"", "hello wörld"),
        (["--binary", "bytes"], b"", b"bytes"),
        (["-"], b"a line\n\n", "a line\n"),
        (["--binary", "--key", "k", "-"], b"\xff\n", b"\xff\n"),
        (["--", "-x"], b"", "-x"),
    ],
)
def test_gws_publish_says_nothing(
    hear: Make,
    redis_server: RedisServer,
    args: list[str],
    typed: bytes,
    heard: str | bytes,
) -> None:
    client = hear()
    command = ["publish", redis_server.url, "r", *args]
    result = in_thread(CliRunner().invoke, main, command, input=typed)
    assert (result.exit_code, result.output) == (0, "")
    assert client.recv(LONG) == heard


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["redis://127.0.0.1:1", "r", "x"], "not published: Error 111 connecting to "),
        (["ftp://localhost", "r", "x"], "no bus is called ftp://"),
        (["memory://", "r", "x"], "memory:// is for one process"),
        (["redis://127.0.0.1:1", "", "x"], "the name of a room is"),
        (["redis://127.0.0.1:1", "r", "-"], "'utf-8' codec can't decode"),
    ],
)
def test_gws_publish_says_why_not(args: list[str], error: str) -> None:
    result = CliRunner().invoke(main, ["publish", *args], input=b"\xff")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {error}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["redis://localhost", "r"], "Missing argument 'MESSAGE'"),
        (["redis://localhost", "r", "x", "--history", "-1"], "not in the range"),
        (["redis://localhost", "r", "x", "--history-ttl", "x"], "not a valid float"),
    ],
)
def test_gws_publish_usage(args: list[str], error: str) -> None:
    result = CliRunner().invoke(main, ["publish", *args])
    assert (result.exit_code, error in result.output) == (2, True)
