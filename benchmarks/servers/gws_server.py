"""gws: / echoes, /fanout broadcasts; compression, if asked for, as it is by default."""

from asked import DEFLATE, PORT, tls_context

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
        PORT,
        ssl=tls_context(),
        compression="deflate" if DEFLATE else None,
        ping_interval=None,
    ) as server:
        server.serve_forever()
