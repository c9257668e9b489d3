"""A server and three clients over a Unix socket, all in one process.

    python examples/unix_socket.py

Whoever may write to the file may connect: here its owner alone.
"""

import tempfile
from pathlib import Path

import gevent

from gws import unix_connect, unix_serve


def double(ws):
    for message in ws:
        ws.send(str(2 * int(message)))


def ask(path, number):
    with unix_connect(path) as ws:
        ws.send(str(number))
        return ws.recv()


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "socket")
        with unix_serve(double, path, mode=0o600):
            clients = [gevent.spawn(ask, path, number) for number in (1, 20, 300)]
            for client in clients:
                print(client.get())


if __name__ == "__main__":
    main()
