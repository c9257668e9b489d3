"""The same views in each framework, as its users write them: by name, in `APPS`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import bottle
import django.conf
import django.core.wsgi
import django.http
import django.urls
import falcon
import flask
import werkzeug.exceptions

from gws.wsgi.middleware import WebSocket


#: What happened at the end of requests.
ended: list[str] = []


def echo(ws: WebSocket) -> None:
    while True:
        message = ws.receive()
        if message is None:
            return
        ws.send(message)


def iterate(ws: WebSocket) -> None:
    for message in ws:
        ws.send(message)


def fail(ws: WebSocket) -> None:
    ws.send("now")
    raise ZeroDivisionError("in the view")


VIEWS: dict[str, Callable[[WebSocket], None]] = {
    "echo": echo,
    "iterate": iterate,
    "fail": fail,
}

# Flask

flask_app = flask.Flask("frameworks")


@flask_app.route("/<name>", websocket=True)
def flask_view(name: str) -> Any:
    if name == "refuse":
        werkzeug.exceptions.abort(403)
    VIEWS[name](flask.request.environ["wsgi.websocket"])
    response = flask.Response("swallowed")
    response.call_on_close(lambda: ended.append("flask"))
    return response


@flask_app.teardown_request
def flask_teardown(exc: BaseException | None) -> None:
    if exc is not None:
        ended.append("flask")


# bottle

bottle_app = bottle.Bottle()


@bottle_app.route("/<name>")  # type: ignore[untyped-decorator]
def bottle_view(name: str) -> Any:
    if name == "refuse":
        bottle.abort(403)
    VIEWS[name](bottle.request.environ["wsgi.websocket"])
    return "swallowed"


@bottle_app.hook("after_request")  # type: ignore[untyped-decorator]
def bottle_end() -> None:
    ended.append("bottle")


# Django


def django_view(request: Any, name: str) -> Any:
    if name == "refuse":
        return django.http.HttpResponse("no", status=403)
    VIEWS[name](request.META["wsgi.websocket"])
    return django.http.HttpResponse("swallowed")


urlpatterns = [django.urls.path("<name>", django_view)]
django.conf.settings.configure(
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=sys.modules[__name__], LOGGING_CONFIG=None
)
django_app = django.core.wsgi.get_wsgi_application()
django.core.signals.request_finished.connect(
    lambda **kwargs: ended.append("django"), weak=False
)


# falcon


class FalconResource:
    def on_get(self, req: Any, resp: Any, name: str) -> None:
        if name == "refuse":
            raise falcon.HTTPForbidden
        VIEWS[name](req.env["wsgi.websocket"])
        resp.text = "swallowed"


class FalconMiddleware:
    def process_response(self, *args: Any) -> None:
        ended.append("falcon")


falcon_app = falcon.App(middleware=[FalconMiddleware()])
falcon_app.add_route("/{name}", FalconResource())


APPS: dict[str, Callable[..., Iterable[bytes]]] = {
    "flask": flask_app,
    "bottle": bottle_app,
    "django": django_app,
    "falcon": falcon_app,
}
