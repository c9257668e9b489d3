"""simple-websocket on gevent.pywsgi, monkey-patched: / echoes, /fanout sends to all.

This is what Flask-Sock and python-engineio use under gevent. It offers deflate only to
clients that ask for it, and keepalive is off by default; `receive_bytes` is raised from
4 KiB, so that big messages are not read in crumbs.
"""

from gevent import monkey


monkey.patch_all()

from collections.abc import Callable, Iterable  # noqa: E402
from typing import Any  # noqa: E402

from asked import CERTIFICATE, PORT  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402
from simple_websocket import ConnectionClosed, Server  # noqa: E402


receivers: set[Server] = set()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    ws = Server.accept(environ, receive_bytes=65536)
    try:
        if environ["PATH_INFO"] == "/fanout":
            fan_out(ws)
        else:
            while True:
                ws.send(ws.receive())
    except ConnectionClosed:
        pass
    # pywsgi insists on a response, although the connection is over by now.
    start_response("200 OK", [("Connection", "close")])
    return []


def fan_out(ws: Server) -> None:
    receivers.add(ws)
    try:
        while True:
            message = ws.receive()
            for receiver in list(receivers):
                try:
                    receiver.send(message)
                except (ConnectionClosed, OSError):  # it was closed meanwhile
                    receivers.discard(receiver)
    finally:
        receivers.discard(ws)


if __name__ == "__main__":
    tls = {"certfile": CERTIFICATE, "keyfile": CERTIFICATE} if CERTIFICATE else {}
    WSGIServer(("127.0.0.1", PORT), app, log=None, **tls).serve_forever()
