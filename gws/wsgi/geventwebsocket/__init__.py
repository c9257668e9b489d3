"""What was written for gevent-websocket, on gws.

After `install`, ``import geventwebsocket`` finds what is here::

    from gws.wsgi import geventwebsocket

    geventwebsocket.install()  # first of all

    from geventwebsocket.handler import WebSocketHandler

The connection is that of `gws.serve`, within an object that has gevent-websocket's
names. New code has no need of any of this: see `gws.wsgi`.

Left out is the subprotocol WAMP 1, which has no clients any more.
"""

from .install import install as install
from .install import uninstall as uninstall
