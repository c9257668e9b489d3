"""A Flask application with pages and connections, for servers to serve."""

from __future__ import annotations

from typing import Any

from flask import Flask, abort, session

from gws.wsgi.flask import Sock


app = Flask(__name__)
app.secret_key = "secret"
sock = Sock(app)


@app.before_request
def remember() -> None:
    session["seen"] = True


@app.after_request
def mark(response: Any) -> Any:
    response.headers["X-After"] = str(response.status_code)
    return response


@app.errorhandler(403)
def forbidden(error: Any) -> tuple[str, int]:
    return "not for you", 403


@app.get("/")
def page() -> str:
    return "page"


@app.route("/closed", websocket=True)
def closed() -> Any:
    abort(403)


@sock.route("/chat/<room>")
def chat(ws: Any, room: str) -> None:
    for message in ws:
        ws.send(f"{room}: {message}")


@sock.route("/fail")
def fail(ws: Any) -> None:
    raise ValueError("the handler failed")
