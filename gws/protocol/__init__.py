"""The protocol without I/O: octets in, events and octets out.

What stands here imports neither gevent nor sockets, so that it can be tested, and
used, without either.
"""

from .base import Protocol as Protocol
from .client import ClientProtocol as ClientProtocol
from .codes import Side as Side
from .codes import State as State
from .server import ServerProtocol as ServerProtocol
