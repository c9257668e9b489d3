"""The application of the tests of gunicorn's worker: one path a way to open."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import Any

from flask import Flask
from gevent.event import Event

from gws.wsgi import Refused, WebSocketApp, accept
from gws.wsgi.flask import Sock
from gws.wsgi.middleware import WebSocketMiddleware


#: Whoever waits for it waits for ever.
never = Event()


def echo(ws: Any) -> None:
    for message in ws:
        ws.send(message)


def deaf(ws: Any) -> None:
    ws.send("deaf")
    never.wait()


def by_accept(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    try:
        ws = accept(environ, start_response)
    except Refused as refused:
        return refused(environ, start_response)
    with contextlib.closing(ws):
        echo(ws)
    return []


def by_middleware(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    echo(environ["wsgi.websocket"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"swallowed"]


def pid(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def never_ends(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"begun"
    never.wait()


# In one write: the lines of two workers must not run into one another.
os.write(1, f"application loaded by {os.getpid()}\n".encode())

flask_app = Flask(__name__)
Sock(flask_app).route("/flask")(echo)

PATHS: dict[str, Any] = {
    "/accept": by_accept,
    "/app": WebSocketApp(echo),
    "/deaf": WebSocketApp(deaf),
    "/flask": flask_app,
    "/middleware": WebSocketMiddleware(by_middleware),
    "/never": never_ends,
    "/pid": pid,
}


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    found: Iterable[bytes] = PATHS[environ["PATH_INFO"]](environ, start_response)
    return found
