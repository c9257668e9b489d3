"""gws inside gevent.pywsgi, as its own server: / echoes, like gws_server.py."""

from asked import PORT

from gws import ServerConnection
from gws.wsgi import WebSocketApp
from gws.wsgi.pywsgi import WSGIServer


def handler(ws: ServerConnection) -> None:
    for message in ws:
        ws.send(message)


if __name__ == "__main__":
    app = WebSocketApp(handler, compression=None, ping_interval=None)
    WSGIServer(("127.0.0.1", PORT), app, log=None).serve_forever()
