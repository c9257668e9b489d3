"""WebSockets beside HTTP, in the gevent WSGI server that is there already."""

from .accept import Refused as Refused
from .accept import accept as accept
from .accept import is_websocket as is_websocket
from .app import WebSocketApp as WebSocketApp
from .middleware import WebSocketMiddleware as WebSocketMiddleware
