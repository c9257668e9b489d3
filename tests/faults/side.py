"""One side of connections, in a network namespace.

    side.py NAMESPACE server LOG OPTIONS
    side.py NAMESPACE client NAMES OPTIONS

OPTIONS are those of `serve` and `connect`, as JSON; "tls" is the folder of the
certificates, for wss. A client opens a connection for
each of NAMES, which commas part. The name is also the path that it asks for, and both
sides do with it what stands at `SERVERS` and `CLIENTS`. What happens they say in lines
of JSON, with the time, by the clock that all processes of a system have in common. A
client begins, and goes on at some places, when it gets a line.
"""

import contextlib
import ctypes
import itertools
import json
import logging
import os
import socket
import ssl
import sys
import time


def enter(namespace):
    """Go into a network namespace, before there are threads."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(namespace, os.O_RDONLY)
    if libc.setns(fd, 0x40000000):  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "can't enter the namespace")
    os.close(fd)


if __name__ == "__main__":
    enter(sys.argv[1])

import gevent  # noqa: E402
from gevent.event import Event  # noqa: E402
from gevent.fileobject import FileObject  # noqa: E402

from gws import ConnectionClosed, connect, serve  # noqa: E402


#: How many messages go each way where all are to arrive, and how they are filled up:
#: each takes a packet.
N_MESSAGES = 200
FILLING = "." * 1400

#: What fills buffers.
BLOCK = bytes(2**16)


#: A line came that is for all connections.
told = Event()


def say(what, **more):
    print(json.dumps({"what": what, "at": time.monotonic(), **more}), flush=True)


def await_line():
    assert lines.readline(), "nobody is there any more"


def count_sockets():
    """Return how many descriptors of sockets this process has."""
    n = 0
    for fd in os.listdir("/proc/self/fd"):
        # That of the listing itself is gone.
        with contextlib.suppress(FileNotFoundError):
            n += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    return n


# What is done with a connection


def receive(ws):
    while True:
        ws.recv()


def flood(ws):
    # So much is on its way at most: else the wire would drop what others send.
    ws.stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
    while True:
        ws.send(BLOCK)


def echo(ws):
    while True:
        ws.send(ws.recv())


def close(ws):
    await_line()
    told.set()
    ws.close()


def close_full(ws):
    """Close while another greenlet waits in send."""

    def fill():
        try:
            flood(ws)
        except ConnectionClosed as exc:
            say("interrupted", name="closed_full", how=str(exc))

    filling = gevent.spawn(fill)
    told.wait()
    ws.close()
    filling.join()


def exchange(ws):
    """Send messages, and check that the echoes are all, and in order."""
    messages = [f"{i}{FILLING}" for i in range(N_MESSAGES)]

    def send():
        for message in messages:
            ws.send(message)
            gevent.sleep(0.001)

    sending = gevent.spawn(send)
    assert [ws.recv() for _ in messages] == messages
    sending.get()
    say("exchanged")


def exchange_and_close(ws):
    await_line()
    exchange(ws)
    ws.close()


def exchange_and_wait(ws):
    exchange(ws)
    ws.recv()


def measure(ws):
    ws.send("hello")
    assert ws.recv() == "hello"
    say("echoed")
    say("pinged", latency=ws.ping().get(), kept=ws.latency)
    close(ws)


SERVERS = {
    "idle": receive,
    "receives": receive,
    "sends": flood,
    "closed": receive,
    "closed_full": receive,
    "exchange": echo,
    "measure": echo,
    "reconnect": echo,
}
CLIENTS = {
    "idle": receive,
    "receives": flood,
    "sends": receive,
    "closed": close,
    "closed_full": close_full,
    "exchange": exchange_and_close,
    "measure": measure,
    "reconnect": exchange_and_wait,
}


def use(ws, name, what):
    """Do what is to be done, and say how it ends, and when TCP is gone."""

    def watch():
        ws.wait_closed()
        say("gone", name=name)

    watching = gevent.spawn(watch)
    try:
        what(ws)
        say("done", name=name)
    except ConnectionClosed as exc:
        say("ended", name=name, how=str(exc), code=ws.close_code)
    watching.join()
    gevent.sleep(0)
    say("let go", name=name, sockets=count_sockets())


# Both sides


def run_server(log, options):
    logging.basicConfig(filename=log, level=logging.DEBUG)

    def handler(ws):
        name = ws.path.removeprefix("/")
        use(ws, name, SERVERS[name])

    tls = options.pop("tls", None)
    if tls is not None:
        options["ssl"] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        options["ssl"].load_cert_chain(f"{tls}/server.pem")
    with serve(handler, "10.0.0.1", 80, **options) as server:
        say("listening", sockets=count_sockets())
        server.serve_forever()


def run_client(names, options):
    tls = options.pop("tls", None)
    if tls is not None:
        options["ssl"] = ssl.create_default_context(cafile=f"{tls}/ca.pem")
        options["server_hostname"] = "localhost"
    await_line()
    if names == "reconnect":
        reconnect(options)
        return
    scheme = "wss" if "ssl" in options else "ws"
    uses = []
    # One after the other, and used once all are open: a flood would hold up the rest.
    for name in names.split(","):
        uri = f"{scheme}://10.0.0.1:80/{name}"
        ws = connect(uri, proxy=None, **options).open()
        say("open", name=name)
        uses.append((ws, name, CLIENTS[name]))
    gevent.joinall([gevent.spawn(use, *one) for one in uses], raise_error=True)


def reconnect(options):
    def try_again(exc):
        say("failed", how=type(exc).__name__)

    for ws in connect(
        "ws://10.0.0.1/reconnect",
        proxy=None,
        process_exception=try_again,
        reconnect_delays=lambda: itertools.repeat(0.1),
        **options,
    ):
        say("open")
        use(ws, "reconnect", exchange_and_wait)


if __name__ == "__main__":
    lines = FileObject(0, "rb", closefd=False, buffering=0)
    run = {"server": run_server, "client": run_client}[sys.argv[2]]
    run(sys.argv[3], json.loads(sys.argv[4]))
