"""A chat of Flask-SocketIO, whose WebSockets are those of gws.

    pip install flask-socketio
    python examples/wsgi_socketio.py [PORT]

It has no page: any client of Socket.IO will do. In a Python shell, after
pip install "python-socketio[client]":

    import socketio
    client = socketio.SimpleClient()
    client.connect("http://localhost:8765")
    client.call("join", ("Ada", "lobby"))
    client.emit("say", "Hello!")
    client.receive()
"""

import signal
import sys

import gevent
from flask import Flask, request
from flask_socketio import SocketIO, emit, join_room

from gws.wsgi import engineio
from gws.wsgi.pywsgi import WSGIServer


engineio.install()

app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent")

# Who has joined, by session: name and room.
people = {}


@socketio.on("join")
def join(name, room):
    people[request.sid] = name, room
    join_room(room)
    emit("joined", name, to=room, include_self=False)
    return [name for name, where in people.values() if where == room]


@socketio.on("say")
def say(text):
    if request.sid in people:
        name, room = people[request.sid]
        emit("said", (name, text), to=room)


@socketio.on("disconnect")
def leave(reason):
    if request.sid in people:
        name, room = people.pop(request.sid)
        emit("left", name, to=room)


def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    server = WSGIServer(("localhost", port), app)
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, server.close)
    server.start()
    print(f"Listening on http://localhost:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
