"""A chat inside a Flask application: pages, sessions and WebSockets on one port.

    python examples/wsgi_flask.py [PORT]

It needs Flask. Under gunicorn:

    cd examples && gunicorn -k gws.wsgi.gunicorn.WebSocketWorker wsgi_flask:app

More than one worker needs a key of the sessions that all have, and a Redis for the
rooms: Rooms("redis://localhost").
"""

import itertools
import secrets
import signal
import sys

import gevent
from flask import Flask, abort, render_template_string, request, session

from gws.rooms import Rooms
from gws.wsgi.flask import Sock
from gws.wsgi.pywsgi import WSGIServer


PAGE = """<!doctype html>
<title>Chat</title>
<p>You are {{ session["name"] }}.
<form><input autofocus> <button>Say</button></form>
<pre></pre>
<script>
  // url_for knows that it is a WebSocket: the URL begins with ws://
  const ws = new WebSocket({{ url_for("chat", room="lobby") | tojson }});
  ws.onmessage = (event) => document.querySelector("pre").append(event.data, "\\n");
  document.forms[0].onsubmit = (event) => {
    event.preventDefault();
    ws.send(document.querySelector("input").value);
    event.target.reset();
  };
</script>
"""

app = Flask(__name__)
app.secret_key = secrets.token_bytes()
sock = Sock(app, max_size=2**10)
guests = itertools.count(1)
rooms = Rooms()


@app.get("/")
def page():
    if "name" not in session:
        session["name"] = f"guest {next(guests)}"
    return render_template_string(PAGE)


@app.before_request
def guests_only():
    # Before the handshake: the answer is a 403, with the error page for it.
    if request.endpoint == "chat" and "name" not in session:
        abort(403)


@sock.route("/chat/<room>")
def chat(ws, room):
    with rooms.join(room, ws):
        for message in ws:
            rooms.publish(room, f"{session['name']}: {message}")


def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    server = WSGIServer(("localhost", port), app, log=None)
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, server.close)
    server.start()
    print(f"Listening on http://localhost:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
