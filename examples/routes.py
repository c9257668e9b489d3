"""Handlers by path.

    python examples/routes.py [PORT]

    gws connect ws://localhost:8765/echo
    gws connect ws://localhost:8765/count/3
    gws connect ws://localhost:8765/v1/rooms/lobby
    curl http://localhost:8765/healthz

The command line serves a router, too: cd examples && gws serve routes:router
"""

import signal
import sys

import gevent

from gws import Router, serve


def health(ws, request):
    """Answer what is asked in plain HTTP; None leaves the rest to the routes."""
    if request.path == "/healthz":
        return ws.respond(200, "OK\n")
    return None


router = Router(process_request=health)


# What a route says takes the place of what the server says.
@router.route("/echo", max_size=2**10)
def echo(ws):
    for message in ws:
        ws.send(message)


@router.route("/count/<int:n>")
def count(ws, n):
    for i in range(n, 0, -1):
        ws.send(str(i))
        gevent.sleep(0.1)


# A router of its own, as another module would have it.
v1 = Router()


@v1.route("/")
def index(ws):
    ws.send(router.url_for("v1.room", name="lobby"))


@v1.route("/rooms/<name>")
def room(ws, name):
    ws.send(f"Welcome to {name}!")
    for message in ws:
        ws.send(f"{name}: {message}")


router.mount("/v1", v1)


def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    with serve(router, "localhost", port) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, server.close)
        port = server.sockets[0].getsockname()[1]
        print(f"Listening on ws://localhost:{port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
