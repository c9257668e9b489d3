"""flask_socketio.run, which looks for gevent-websocket: prints its port."""

from __future__ import annotations

from gws.wsgi import geventwebsocket


geventwebsocket.install()

import flask  # noqa: E402
import flask_socketio  # noqa: E402
import gevent  # noqa: E402
from geventwebsocket.handler import WebSocketHandler  # noqa: E402


app = flask.Flask(__name__)
sio = flask_socketio.SocketIO(app, async_mode="gevent")


@sio.on("echo")
def echo(data: str) -> None:
    flask_socketio.emit("echo", data)


@sio.on("disconnect")
def disconnect(reason: str) -> None:
    print(reason, flush=True)


def say_port() -> None:
    server = getattr(sio, "wsgi_server", None)
    while server is None or not server.started:
        gevent.sleep(0.01)
        server = getattr(sio, "wsgi_server", None)
    assert server.handler_class is WebSocketHandler
    print(server.server_port, flush=True)


gevent.spawn(say_port)
sio.run(app, "127.0.0.1", 0)
