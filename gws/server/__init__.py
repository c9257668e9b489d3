"""Server: addresses and a handler in, connections handled by one greenlet each."""

from .handshake import ServerConnection as ServerConnection
from .server import Server as Server
from .serving import serve as serve
from .serving import unix_serve as unix_serve
