"""A server that sends back what it gets.

    python examples/echo_server.py [PORT]

and then, elsewhere:

    python examples/echo_client.py
"""

import signal
import sys

import gevent

from gws import serve


def echo(ws):
    for message in ws:
        ws.send(message)


def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    with serve(echo, "localhost", port) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, server.close)
        port = server.sockets[0].getsockname()[1]
        print(f"Listening on ws://localhost:{port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
