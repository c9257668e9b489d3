"""gunicorn's configuration: its workers have gws in gevent-websocket's place."""

from gws.wsgi import geventwebsocket


geventwebsocket.install()
