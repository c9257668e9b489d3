"""A Flask application with Socket.IO: echoes, rooms, and what came to its notice."""

from __future__ import annotations

from typing import Any

import flask
import flask_socketio
import gevent
from gevent.queue import Queue

from gws.wsgi import engineio


def make(**options: Any) -> flask.Flask:
    """Return an application; ``options`` are of `flask_socketio.SocketIO`."""
    app = flask.Flask(__name__)
    sio = flask_socketio.SocketIO(
        app, async_mode="gevent", cors_allowed_origins="*", **options
    )
    app.socketio = sio  # type: ignore[attr-defined]
    #: How sessions ended.
    app.ends = Queue()  # type: ignore[attr-defined]

    @sio.on("connect")
    def connect() -> bool:
        return "refuse-me" not in flask.request.args

    @sio.on("echo")
    def echo(*data: Any) -> Any:
        flask_socketio.emit("echo", data)
        return data[0]

    @sio.on("join")
    def join(room: str) -> str:
        flask_socketio.join_room(room)
        return room

    @sio.on("tell")
    def tell(room: str, text: str) -> None:
        flask_socketio.emit("told", text, to=room)

    @sio.on("burst")
    def burst(n_tasks: int, n_each: int) -> None:
        sid = flask.request.sid  # type: ignore[attr-defined]

        def emit(task: int) -> None:
            for n in range(n_each):
                sio.emit("burst", [task, n], to=sid)
                gevent.sleep(0)

        for task in range(n_tasks):
            sio.start_background_task(emit, task)

    @sio.on("go")
    def go() -> None:
        flask_socketio.disconnect()

    @sio.on("hang up")
    def hang_up() -> None:
        sid = flask.request.sid  # type: ignore[attr-defined]
        eio_sid = sio.server.manager.eio_sid_from_sid(sid, "/")
        sio.server.eio.disconnect(eio_sid)

    @sio.on("disconnect")
    def disconnect(reason: str) -> None:
        app.ends.put(reason)  # type: ignore[attr-defined]

    return app


engineio.install()

#: For the command line of servers.
app = make()
