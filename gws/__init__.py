"""gws: WebSocket servers and clients for gevent.

Importing it monkey-patches nothing and starts no hub.
"""

from .auth import DigestAuth as DigestAuth
from .auth import basic_auth as basic_auth
from .client import ClientConnection as ClientConnection
from .client import backoff as backoff
from .client import connect as connect
from .client import process_exception as process_exception
from .client import unix_connect as unix_connect
from .connection import Connection as Connection
from .exceptions import ConcurrencyError as ConcurrencyError
from .exceptions import ConnectionClosed as ConnectionClosed
from .exceptions import ConnectionClosedError as ConnectionClosedError
from .exceptions import ConnectionClosedOK as ConnectionClosedOK
from .exceptions import InvalidHandshake as InvalidHandshake
from .exceptions import InvalidStatus as InvalidStatus
from .exceptions import InvalidURI as InvalidURI
from .exceptions import ProtocolError as ProtocolError
from .exceptions import WebSocketException as WebSocketException
from .fanout import broadcast as broadcast
from .protocol.codes import CloseCode as CloseCode
from .protocol.codes import State as State
from .protocol.frames import Frame as _Frame
from .protocol.head import HeaderLimits as HeaderLimits
from .router import Router as Router
from .router import route as route
from .router import unix_route as unix_route
from .server import Server as Server
from .server import ServerConnection as ServerConnection
from .server import serve as serve
from .server import unix_serve as unix_serve
from .version import version


#: The version of gws.
__version__ = version

#: Whether the hot modules are compiled; False is the pure build.
COMPILED = not hasattr(_Frame.__init__, "__code__")
