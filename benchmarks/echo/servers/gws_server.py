"""gws: / echoes, /fanout broadcasts; without keepalive, like all.

Compression, as it is by default, only if the second argument says so.
"""

import sys

from gws import ServerConnection, broadcast, serve


receivers: set[ServerConnection] = set()


def handler(ws: ServerConnection) -> None:
    if ws.path == "/fanout":
        fan_out(ws)
    else:
        for message in ws:
            ws.send(message)


def fan_out(ws: ServerConnection) -> None:
    receivers.add(ws)
    try:
        for message in ws:
            broadcast(receivers, message)
    finally:
        receivers.discard(ws)


if __name__ == "__main__":
    with serve(
        handler,
        "127.0.0.1",
        int(sys.argv[1]),
        compression="deflate" if "deflate" in sys.argv else None,
        ping_interval=None,
    ) as server:
        server.serve_forever()
