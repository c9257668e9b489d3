"""WebSockets in a WSGI application, on gunicorn.

    cd examples
    gunicorn -k gws.wsgi.gunicorn.WebSocketWorker -b localhost:8765 wsgi_gunicorn

    curl http://localhost:8765/
    gws connect ws://localhost:8765/echo

With this worker a restart (SIGHUP) and the end (SIGTERM) close all WebSockets with
1001, and take no longer than that. More processes: -w 4; more connections in each:
--worker-connections 10000; TLS: --certfile and --keyfile.
"""

from gws import Router
from gws.wsgi import WebSocketApp, is_websocket


router = Router()


@router.route("/echo")
def echo(ws):
    for message in ws:
        ws.send(message)


websockets = WebSocketApp(router)


def application(environ, start_response):
    if is_websocket(environ):
        return websockets(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"There is a WebSocket at /echo.\n"]
