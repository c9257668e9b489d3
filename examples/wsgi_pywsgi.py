"""WebSockets in a WSGI application, on gevent's own server.

    python examples/wsgi_pywsgi.py [PORT]

    curl http://localhost:8765/
    gws connect ws://localhost:8765/echo

Each view finds its WebSocket in the environ, and opens it by using it; a view that
does not answers over HTTP, and so refuses. In the place of `application` there may
be one of Flask, Django, bottle or falcon.
"""

import signal
import sys

import gevent

from gws.wsgi import WebSocketMiddleware
from gws.wsgi.pywsgi import WSGIServer


def application(environ, start_response):
    ws = environ.get("wsgi.websocket")
    if environ["PATH_INFO"] == "/echo" and ws is not None:
        for message in ws:
            ws.send(message)
        return []
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"There is a WebSocket at /echo.\n"]


def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    server = WSGIServer(("localhost", port), WebSocketMiddleware(application))
    # Tells all WebSockets that the server goes away, and waits for them.
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, server.close)
    server.start()
    print(f"Listening on http://localhost:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
