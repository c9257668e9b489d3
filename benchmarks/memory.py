"""What a connection that says nothing costs a server, by what it was opened with.

    python benchmarks/memory.py [--connections N]

A server in a process of its own, N connections from here, and the growth of its memory
(PSS, of a fresh process; what the kernel keeps for a socket is not in it).
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n"
    b"Sec-WebSocket-Version: 13\r\n%s\r\n"
)
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"

#: A frame: Text, masked with zeros, "hello".
HELLO = b"\x81\x85\0\0\0\0hello"


def pss() -> int:
    """Return how many bytes of memory are this process's share."""
    gc.collect()
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel does not tell PSS")


# The servers: each listens on a free port and returns it


def wait(ws: Any) -> None:
    """Handle a connection."""
    for _ in ws:
        pass


def serving(handler: Callable[[Any], None] = wait, **options: Any) -> int:
    """Serve by `gws.serve`."""
    from gws import serve

    options = {"compression": None, **options}
    server = serve(handler, "127.0.0.1", 0, **options)
    server.start()
    port: int = server.sockets[0].getsockname()[1]
    return port


def plain() -> int:
    return serving()


def unwatched() -> int:
    return serving(ping_interval=None, stall_timeout=None)


def deflate() -> int:
    return serving(compression="deflate")


def in_a_room() -> int:
    from gws.rooms import Rooms

    rooms = Rooms()

    def join(ws: Any) -> None:
        with rooms.join("lobby", ws):
            wait(ws)

    return serving(join)


def metered() -> int:
    return serving(message_rate=100, byte_rate=2**20)


def with_tls() -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2])
    return serving(ssl=context)


def in_wsgi(server_class: Any) -> int:
    from gws.wsgi import WebSocketApp

    app = WebSocketApp(wait, compression=None)
    server = server_class(("127.0.0.1", 0), app, log=None)
    server.start()
    return int(server.server_port)


def own_wsgi_server() -> int:
    from gws.wsgi.pywsgi import WSGIServer

    return in_wsgi(WSGIServer)


def gevents_wsgi_server() -> int:
    from gevent.pywsgi import WSGIServer

    return in_wsgi(WSGIServer)


def bare_greenlets() -> int:
    """Have a greenlet for each connection, and nothing else: it does not answer."""
    import gevent
    from gevent.event import Event
    from gevent.server import StreamServer

    kept: list[Any] = []

    def accept(sock: Any, address: Any) -> None:
        kept.append(sock.detach())
        Event().wait()

    server = StreamServer(("127.0.0.1", 0), accept)
    server.start()
    gevent.sleep(0)
    return int(server.server_port)


#: What is printed, the server, and what the client adds to its request.
KINDS: dict[str, tuple[Callable[[], int], bytes]] = {
    "a greenlet of gevent that waits, no WebSocket": (bare_greenlets, b""),
    "`serve`": (plain, b""),
    "without keepalive and stall timeout": (unwatched, b""),
    "permessage-deflate agreed on": (deflate, DEFLATE),
    "with `message_rate` and `byte_rate`": (metered, b""),
    "member of a room": (in_a_room, b""),
    "TLS": (with_tls, b""),
    "`WebSocketApp`, `gws.wsgi.pywsgi.WSGIServer`": (own_wsgi_server, b""),
    "`WebSocketApp`, gevent's own `WSGIServer`": (gevents_wsgi_server, b""),
}


def serve_kind(name: str) -> None:
    """Serve, and answer each line of the input with the memory there is."""
    from gevent.os import tp_read

    print(KINDS[name][0](), flush=True)
    while tp_read(0, 1):
        print(pss(), flush=True)


# The measure


def open_one(port: int, headers: bytes, context: ssl.SSLContext | None) -> Any:
    """Open a connection that sends one message, and then is silent."""
    sock: Any = socket.create_connection(("127.0.0.1", port))
    if context is not None:
        sock = context.wrap_socket(sock, server_hostname="localhost")
    sock.sendall(REQUEST % headers)
    return sock


def measure(name: str, n: int, certificate: str) -> float:
    """Return the KiB of one of n connections."""
    headers = KINDS[name][1]
    context = None
    if name == "TLS":
        context = ssl.create_default_context(cafile=certificate)
    answers = name != next(iter(KINDS))
    command = [sys.executable, __file__, name, certificate]
    with (
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(server.kill)
        assert server.stdin is not None and server.stdout is not None
        port = int(server.stdout.readline())

        def memory() -> int:
            print(file=server.stdin, flush=True)
            return int(server.stdout.readline())  # type: ignore[union-attr]

        def open_some(count: int) -> None:
            for _ in range(count):
                sock = stack.enter_context(open_one(port, headers, context))
                if answers:
                    assert sock.recv(4096).startswith(b"HTTP/1.1 101")
                    sock.sendall(HELLO)

        open_some(200)  # what comes with the first is no connection's
        before = memory()
        open_some(n)
        return (memory() - before) / n / 1024


def make_certificate(folder: Path) -> str:
    """Make a certificate for localhost; return the file with it and its key."""
    file = folder / "localhost.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    command += " -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 1"
    keys = [*command.split(), "-keyout", "-", "-out", "-"]
    file.write_bytes(subprocess.run(keys, capture_output=True, check=True).stdout)
    return str(file)


@click.command()
@click.option("--connections", default=2000, show_default=True)
def main(connections: int) -> None:
    """Print what a silent connection costs, in KiB."""
    print("| a connection | KiB |\n| --- | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        certificate = make_certificate(Path(folder))
        for name in KINDS:
            print(f"| {name} | {measure(name, connections, certificate):.1f} |")


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in KINDS:
        serve_kind(sys.argv[1])
        os._exit(0)
    main()
