"""Send a file to the server beside this, in one message of many fragments.

    python examples/upload/upload.py FILE [URI]

The bar shows what the server has on its disk, not what was sent.
"""

import contextlib
import hashlib
import json
import sys
from pathlib import Path
from urllib.parse import urlencode

import click
import gevent

from gws import ConnectionClosed, WebSocketException, connect


FRAGMENT = 2**16


def fragments(path, digest):
    """Read a file piece by piece."""
    with open(path, "rb") as file:
        while piece := file.read(FRAGMENT):
            digest.update(piece)
            yield piece


def send(ws, message):
    with contextlib.suppress(ConnectionClosed):  # who receives is told why
        ws.send(message)


def upload(ws, path, size):
    """Send a file; return what the server says of it in the end."""
    digest = hashlib.sha256()
    # One greenlet sends, while this one hears how far the server is.
    sender = gevent.spawn(send, ws, fragments(path, digest))
    try:
        with click.progressbar(length=size, label=path.name, file=sys.stderr) as bar:
            while "sha256" not in (message := json.loads(ws.recv())):
                bar.update(message["received"] - bar.pos)
            bar.update(size - bar.pos)
    finally:
        sender.kill()
    if message["sha256"] != digest.hexdigest():
        raise click.ClickException("the server has got something else")
    return message


@click.command(help=__doc__)
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("uri", default="ws://localhost:8765/upload")
def main(path, uri):
    size = path.stat().st_size
    query = urlencode({"name": path.name, "size": size})
    try:
        with connect(f"{uri}?{query}", compression=None) as ws:
            kept = upload(ws, path, size)
    except (WebSocketException, OSError) as exc:
        raise click.ClickException(str(exc)) from None
    print(kept["sha256"], kept["name"])


if __name__ == "__main__":
    main()
