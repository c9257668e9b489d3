"""A WebSocket inside a Django application, in one file.

    python examples/wsgi_django.py [PORT]

It needs Django. In a project of several files, `application` is what wsgi.py has,
and runs under gunicorn as well:

    cd examples && gunicorn -k gws.wsgi.gunicorn.WebSocketWorker wsgi_django:application
"""

import secrets
import signal
import sys

import gevent
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, HttpResponseBadRequest
from django.urls import path

from gws.wsgi import WebSocketMiddleware
from gws.wsgi.pywsgi import WSGIServer


PAGE = """<!doctype html>
<title>Squares</title>
<form><input type="number" value="12" autofocus> <button>Square it</button></form>
<pre></pre>
<script>
  const ws = new WebSocket(location.href.replace("http", "ws") + "squares/2");
  ws.onmessage = (event) => document.querySelector("pre").append(event.data, "\\n");
  document.forms[0].onsubmit = (event) => {
    event.preventDefault();
    ws.send(document.querySelector("input").value);
  };
</script>
"""


def page(request):
    return HttpResponse(PAGE)


def squares(request, exponent):
    ws = request.META.get("wsgi.websocket")
    if ws is None or exponent > 9:
        # Until it is used nothing is decided: this is an answer over HTTP.
        return HttpResponseBadRequest("A WebSocket, please, and a small exponent.")
    for message in ws:
        try:
            ws.send(str(int(message[:9]) ** exponent))
        except ValueError:
            ws.close(1008, "that is no number")
    return HttpResponse()  # goes nowhere; Django wants one


urlpatterns = [path("", page), path("squares/<int:exponent>", squares)]

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY=secrets.token_hex(),
    ALLOWED_HOSTS=["localhost"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)
application = WebSocketMiddleware(get_wsgi_application(), max_size=2**10)


def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    server = WSGIServer(("localhost", port), application, log=None)
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, server.close)
    server.start()
    print(f"Listening on http://localhost:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
