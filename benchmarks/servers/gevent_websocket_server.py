"""gevent-websocket on gevent.pywsgi: / echoes, /fanout sends to all.

The handler class with a bare WSGI application, which costs less than its resource API.
It has no compression and no keepalive. Where wsaccel is installed it uses that to check
UTF-8.
"""

from collections.abc import Callable, Iterable
from typing import Any

from asked import CERTIFICATE, PORT
from gevent.pywsgi import WSGIServer
from geventwebsocket.exceptions import WebSocketError
from geventwebsocket.handler import WebSocketHandler
from geventwebsocket.websocket import WebSocket


receivers: set[WebSocket] = set()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    ws = environ["wsgi.websocket"]
    if environ["PATH_INFO"] == "/fanout":
        fan_out(ws)
    else:
        while (message := ws.receive()) is not None:
            ws.send(message)
    return []


def fan_out(ws: WebSocket) -> None:
    receivers.add(ws)
    try:
        while (message := ws.receive()) is not None:
            for receiver in list(receivers):
                try:
                    receiver.send(message)
                except WebSocketError:  # it was closed meanwhile
                    receivers.discard(receiver)
    finally:
        receivers.discard(ws)


if __name__ == "__main__":
    tls = {"certfile": CERTIFICATE, "keyfile": CERTIFICATE} if CERTIFICATE else {}
    WSGIServer(
        ("127.0.0.1", PORT), app, handler_class=WebSocketHandler, log=None, **tls
    ).serve_forever()
