"""What a publish costs Redis: the entries of gws in, published to more and more
processes that do nothing but read; Redis's processor time out.

Redis does a fixed amount of work for a publish and some for each process that has
members. The straight line through what was measured tells both.
"""

import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression
from threading import Event, Thread

import redis
from deployment import Redis, cpu_seconds, redis_running
from stages import SIZE

from gws.rooms.entry import Entry
from gws.rooms.envelope import pack
from gws.rooms.scripts import prepare, publish_command


#: To how many processes a publish goes.
LISTENERS = (1, 4, 16, 64)

#: How many publishes go to Redis in one write, as they do when many publish.
BATCH = 50

CHANNEL = b"gws:{room}"


@dataclass(frozen=True)
class Cost:
    """Microseconds of Redis's processor time."""

    publish: float
    listener: float  #: for each process that has members

    def of(self, listeners: float) -> float:
        """Return what a publish costs that goes to so many processes."""
        return self.publish + self.listener * listeners


def measure_cost(folder: Path, history: int, seconds: float) -> Cost:
    """Return what a publish costs."""
    with redis_running(folder) as server:
        points = [_measure(server, n, history, seconds) for n in LISTENERS]
    slope, intercept = linear_regression(LISTENERS, points)
    return Cost(max(intercept, 0.0), slope)


def _measure(server: Redis, listeners: int, history: int, seconds: float) -> float:
    # Microseconds for each publish.
    with ExitStack() as stack:
        stack.enter_context(_listening(server, listeners))
        connection = redis.Connection(port=server.port, protocol=2)
        stack.callback(connection.disconnect)
        run = prepare(connection, history > 0)
        commands = [_command(i, history, run) for i in range(BATCH)]
        packed = connection.pack_commands(commands)
        n = 0
        before = cpu_seconds([server.pid])
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            connection.send_packed_command(packed, check_health=False)
            for _ in range(BATCH):
                connection.read_response()
            n += BATCH
        return (cpu_seconds([server.pid]) - before) * 1e6 / n


def _command(number: int, history: int, run: bytes) -> tuple[object, ...]:
    data = pack(Entry("x" * SIZE, b"cost-own", number + 1))
    return publish_command(
        CHANNEL, data, sharded=False, history=history, ttl=3600, run=run, again=False
    )


@contextmanager
def _listening(server: Redis, n: int) -> Iterator[None]:
    # So many connections that subscribe, and a thread that reads what comes.
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(n):
            address = ("127.0.0.1", server.port)
            sock = stack.enter_context(socket.create_connection(address))
            sock.sendall(b"SUBSCRIBE " + CHANNEL + b"\r\n")
            sock.recv(1024)
            selector.register(sock, selectors.EVENT_READ, sock)
        ended = Event()

        def read() -> None:
            while not ended.is_set():
                for key, _ in selector.select(0.1):
                    key.data.recv(2**18)

        thread = Thread(target=read)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
