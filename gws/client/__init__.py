"""Client: a URI in, an open connection out; and another one when that is lost."""

from .connecting import connect as connect
from .connecting import unix_connect as unix_connect
from .connection import ClientConnection as ClientConnection
from .retry import backoff as backoff
from .retry import process_exception as process_exception
