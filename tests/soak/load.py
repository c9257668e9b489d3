"""A load on the server in a process of its own: arguments in, lines of JSON out.

    load.py KIND COUNT PORT TLS_PORT

The last line is how many clients came to their end as they should, in how many
seconds, and the faults of the server that the others found. Of ``idle`` and ``probe``,
which last until a line, or the end, comes on stdin, see there.
"""

from __future__ import annotations

import json
import math
import resource
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator

from crowd import (
    CLOSE,
    FIN,
    NORMAL,
    PING,
    PONG,
    READ,
    TEXT,
    Client,
    Crowd,
    Unexpected,
    Waiting,
    frame,
    request,
)


#: Fewer than the server lets wait to be accepted.
AT_ONCE = 64

#: The seconds for which who vanished by a FIN leaves the rest unread.
LINGER = 0.3


class Load:
    """Makes clients of each kind; the n-th of them is always alike."""

    def __init__(self, port: int, tls_port: int) -> None:
        self.port = port
        self.tls_port = tls_port
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.hello = self._client_hello()

    def client(self, n: int, tls: bool = False) -> Client:
        """Return a client; they come from several addresses, for there to be ports."""
        port = self.tls_port if tls else self.port
        return Client(port, f"127.0.0.{2 + n % 8}")

    def connect(self, client: Client) -> Waiting:
        """Connect, with TLS on its port."""
        yield from client.connect()
        if client.port == self.tls_port:
            yield from client.start_tls(self.context)

    # Connect, echo, close

    def cycle(self, n: int) -> Waiting:
        """Open, get a message back, close; every tenth over TLS, a fifth deflated."""
        with self.client(n, tls=n % 10 == 0) as client:
            yield from self.connect(client)
            # Of /once the server closes first.
            path = "/once" if n % 4 == 3 else "/echo"
            yield from client.open(path, deflate=n % 10 in (0, 1))
            yield from client.echo(b"message %d " % n * 32)
            if path == "/echo":
                yield from client.close()
            yield from client.expect_close(answer=path == "/once")

    # Refused

    def refused(self, n: int) -> Waiting:
        """Send what is no opening handshake, and read the answer to the end."""
        port, status, data = self._wrongs()[n % N_WRONGS]
        with Client(port, f"127.0.0.{2 + n % 8}") as client:
            yield from client.connect()
            yield from client.send(data)
            try:
                answer = yield from client.read_to_end()
            except ConnectionResetError:
                if status:
                    raise
                answer = b""  # OpenSSL does not read what is no TLS to its end
        if status and not answer.startswith(b"HTTP/1.1 %d " % status):
            raise Unexpected(f"{status} expected, not {answer[:80]!r}")
        if not status and answer.startswith(b"HTTP/"):
            raise Unexpected(f"HTTP on the port for TLS: {answer[:80]!r}")

    def _wrongs(self) -> list[tuple[int, int, bytes]]:
        # Where, the status that must come back, and what is sent.
        port = self.port
        good = request("/echo", port)
        return [
            (port, 400, request("/echo", port, key="short")),
            (port, 426, request("/echo", port, version="8")),
            (port, 403, request("/echo", port, "Origin: https://elsewhere.example")),
            (port, 404, request("/nowhere", port)),
            (port, 431, request("/echo", port, f"Cookie: {'x' * 9000}")),
            (port, 405, good.replace(b"GET", b"POST")),
            (port, 505, good.replace(b"HTTP/1.1", b"HTTP/1.0")),
            (port, 400, bytes(range(256)) + b"\r\n\r\n"),
            (port, 400, self.hello),
            (self.tls_port, 0, good),
        ]

    # Vanished

    def vanish(self, n: int) -> Waiting:
        """Go to a stage of a connection, and be gone: half of them by a reset."""
        stages = self._stages()
        n_round, n_stage = divmod(n, len(stages))
        with self.client(n, tls=n_round % 8 > 5) as client:
            if stages[n_stage] == self.unread:
                # As in a real network, the kernel takes little of what isn't read.
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
            yield from stages[n_stage](client)
            if n_round % 2:
                client.reset()
            else:
                yield from client.finish(LINGER)

    def _stages(self) -> list[Callable[[Client], Waiting]]:
        return [
            self.connected,
            self.in_first_octets,
            self.in_request,
            self.asked,
            self.opened,
            self.in_frame,
            self.in_fragments,
            self.unread,
            self.closing,
            self.unanswered,
        ]

    def connected(self, client: Client) -> Waiting:
        yield from client.connect()

    def in_first_octets(self, client: Client) -> Waiting:
        # Over TLS, that is the middle of its handshake.
        yield from client.connect()
        yield from client.send(self.hello[: len(self.hello) // 2])

    def in_request(self, client: Client) -> Waiting:
        yield from self.connect(client)
        yield from client.send(request("/echo", client.port)[:80])

    def asked(self, client: Client) -> Waiting:
        yield from self.connect(client)
        yield from client.send(request("/echo", client.port))

    def opened(self, client: Client) -> Waiting:
        yield from self.connect(client)
        yield from client.open("/echo", deflate=True)

    def in_frame(self, client: Client) -> Waiting:
        yield from self.opened(client)
        yield from client.send(frame(FIN | TEXT, b"x" * 1000)[:500])

    def in_fragments(self, client: Client) -> Waiting:
        yield from self.opened(client)
        yield from client.send(frame(TEXT, b"the first fragment of several"))

    def unread(self, client: Client) -> Waiting:
        yield from self.connect(client)
        yield from client.open("/big")
        yield from client.read(4096)

    def closing(self, client: Client) -> Waiting:
        yield from self.opened(client)
        yield from client.close()

    def unanswered(self, client: Client) -> Waiting:
        yield from self.connect(client)
        yield from client.open("/once")
        yield from client.echo(b"then the server closes")
        yield from client.read_frame()

    # Private methods

    def _client_hello(self) -> bytes:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            self.context.wrap_bio(incoming, outgoing).do_handshake()
        except ssl.SSLWantReadError:
            return outgoing.read()
        raise AssertionError("a TLS handshake without a server")


N_WRONGS = 10


class Idlers:
    """Connections that only answer pings.

    Says how many are open, and the faults, when all are, or at the first fault. On
    stdin, ``pings`` asks how many pings were answered, and ``close`` has all of them
    close at once; to have them gone without a word, end the process.
    """

    def __init__(self, load: Load, count: int) -> None:
        self._load = load
        self._clients: list[Client] = []
        self._count = count
        self._n_open = 0
        self._n_pings = 0
        self._closing = False

    def run(self) -> Crowd:
        """Open them, and keep them until told."""
        crowd = Crowd(sweep=1)
        for n in range(self._count):
            crowd.start(self.idle(n))
            while n + 1 - self._n_open >= AT_ONCE and not crowd.faults:
                crowd.turn()
            if crowd.faults:
                break
        while self._n_open < self._count and not crowd.faults:
            crowd.turn()
        say({"open": self._n_open, "faults": dict(crowd.faults)})
        crowd.start(self.wait_for_lines())
        while crowd:
            crowd.turn()
        crowd.n_done -= 1  # who waited for lines
        return crowd

    def idle(self, n: int) -> Waiting:
        """Answer pings, until it is time to close."""
        with self._load.client(n) as client:
            yield from client.connect()
            yield from client.open("/echo", deflate=True)
            self._n_open += 1
            self._clients.append(client)
            while (got := (yield from client.read_frame()))[0] == FIN | PING:
                yield from client.send(frame(FIN | PONG, got[1]))
                self._n_pings += 1
            if not self._closing or got != (FIN | CLOSE, NORMAL):
                raise Unexpected(f"neither a ping nor our close frame: {got!r}")
            if rest := (yield from client.read_to_end()):
                raise Unexpected(f"after the close frame: {rest[:80]!r}")

    def wait_for_lines(self) -> Waiting:
        """Do what the lines on stdin say, until all shall close."""
        line = ""
        while line != "close\n":
            if line:
                say(self._n_pings)
            yield sys.stdin.fileno(), READ, math.inf
            line = sys.stdin.readline() or "close\n"
        self._closing = True
        say(self._n_pings)
        for client in self._clients:
            client.sock.send(frame(FIN | CLOSE, NORMAL))


class Prober:
    """Connects and echoes again and again; says the times that it took, in seconds.

    Says ``{"probing": true}`` after the first; ends by a line on stdin.
    """

    INTERVAL = 0.05

    def __init__(self, load: Load) -> None:
        self._load = load
        self._times: list[float] = []

    def run(self) -> Crowd:
        """Probe until told to end."""
        crowd = Crowd(sweep=0.005)
        crowd.start(self.probe())
        while crowd:
            crowd.turn()
        say({"worst": max(self._times), "probes": len(self._times)})
        return crowd

    def probe(self) -> Waiting:
        """Measure until the echo; the close is not in it."""
        told = 0
        while not told:
            start = time.monotonic()
            with self._load.client(len(self._times)) as client:
                yield from client.connect()
                yield from client.open("/echo")
                yield from client.echo(b"probe")
                self._times.append(time.monotonic() - start)
                yield from client.close()
                yield from client.expect_close(answer=False)
            if len(self._times) == 1:
                say({"probing": True})
            rest = max(0.0, self.INTERVAL - (time.monotonic() - start))
            told = yield sys.stdin.fileno(), READ, rest


def many(kind: Callable[[int], Waiting], count: int) -> Crowd:
    """Run clients of one kind."""
    crowd = Crowd()
    clients: Iterator[Waiting] = (kind(n) for n in range(count))
    crowd.run(clients, AT_ONCE)
    return crowd


def say(answer: object) -> None:
    """Print a line of JSON."""
    print(json.dumps(answer), flush=True)


def main(kind: str, count: int, port: int, tls_port: int) -> None:
    """Run the load, and say what came of it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    load = Load(port, tls_port)
    start = time.monotonic()
    if kind == "idle":
        crowd = Idlers(load, count).run()
    elif kind == "probe":
        crowd = Prober(load).run()
    else:
        crowd = many(getattr(load, kind), count)
    seconds = time.monotonic() - start
    say({"done": crowd.n_done, "seconds": seconds, "faults": dict(crowd.faults)})


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
