"""Flask-SocketIO with a Redis message queue on gevent.pywsgi, monkey-patched.

    flask_socketio_server.py PORT REDIS_URL

Any number of processes may share the port. The query of the connection tells the room;
what comes as the event "p" goes to the room as the event "m".
"""

from gevent import monkey


monkey.patch_all()

import socket  # noqa: E402
import sys  # noqa: E402

from flask import Flask, request  # noqa: E402
from flask_socketio import SocketIO, emit, join_room  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402
from geventwebsocket.handler import WebSocketHandler  # noqa: E402


app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent", message_queue=sys.argv[2])


@socketio.on("connect")
def connect() -> None:
    join_room(request.args["room"])


@socketio.on("p")
def publish(text: str) -> None:
    emit("m", text, to=request.args["room"])


def listener(port: int) -> socket.socket:
    """Return a listening socket on a port that others may have as well."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(4096)
    sock.setblocking(False)
    return sock


if __name__ == "__main__":
    port = int(sys.argv[1])
    WSGIServer(
        listener(port), app, handler_class=WebSocketHandler, log=None
    ).serve_forever()
