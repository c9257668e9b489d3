"""One site in each framework, as one writes it there; all under pywsgi: FD.

They are mounted below their names. Each has /page, and a WebSocket at /echo, which
wants ?room=... in its URL.
"""

from __future__ import annotations

import sys
from typing import Any

import bottle
import django.conf
import django.core.wsgi
import django.http
import django.urls
import falcon
import flask
from gevent.pywsgi import WSGIServer
from gevent.socket import socket
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from gws.wsgi import WebSocketMiddleware
from gws.wsgi.flask import Sock


def echo(ws: Any) -> None:
    for message in ws:
        ws.send(message)


# bottle

bottle_site = bottle.Bottle()


@bottle_site.get("/page")  # type: ignore[untyped-decorator]
def bottle_page() -> str:
    return "page of bottle"


@bottle_site.get("/echo")  # type: ignore[untyped-decorator]
def bottle_echo() -> str:
    ws = bottle.request.environ.get("wsgi.websocket")
    if ws is None:
        bottle.abort(400, "a WebSocket is needed")
    if "room" not in bottle.request.query:
        bottle.abort(403, "no room")
    echo(ws)
    return ""


# Django


def django_page(request: Any) -> Any:
    return django.http.HttpResponse("page of django")


def django_echo(request: Any) -> Any:
    ws = request.META.get("wsgi.websocket")
    if ws is None:
        return django.http.HttpResponseBadRequest("a WebSocket is needed")
    if "room" not in request.GET:
        return django.http.HttpResponseForbidden("no room")
    echo(ws)
    return django.http.HttpResponse()


urlpatterns = [
    django.urls.path("page", django_page),
    django.urls.path("echo", django_echo),
]
django.conf.settings.configure(
    ALLOWED_HOSTS=["localhost"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    ROOT_URLCONF=__name__,
)


# falcon


class FalconPage:
    def on_get(self, req: Any, resp: Any) -> None:
        resp.text = "page of falcon"


class FalconEcho:
    def on_get(self, req: Any, resp: Any) -> None:
        ws = req.env.get("wsgi.websocket")
        if ws is None:
            raise falcon.HTTPBadRequest(title="a WebSocket is needed")
        if "room" not in req.params:
            raise falcon.HTTPForbidden(title="no room")
        echo(ws)


falcon_site = falcon.App()
falcon_site.add_route("/page", FalconPage())
falcon_site.add_route("/echo", FalconEcho())


# Flask

flask_site = flask.Flask(__name__)
sock = Sock(flask_site)
sock.route("/echo")(echo)


@flask_site.get("/page")
def flask_page() -> str:
    return "page of flask"


@flask_site.before_request
def flask_rooms() -> None:
    if flask.request.endpoint == "echo" and "room" not in flask.request.args:
        flask.abort(403)


sites = DispatcherMiddleware(
    flask.Flask("nothing"),
    {
        "/bottle": WebSocketMiddleware(bottle_site),
        "/django": WebSocketMiddleware(django.core.wsgi.get_wsgi_application()),
        "/falcon": WebSocketMiddleware(falcon_site),
        "/flask": flask_site,
    },
)

if __name__ == "__main__":
    WSGIServer(socket(fileno=int(sys.argv[1])), sites).serve_forever()
