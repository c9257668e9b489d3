"""One message in, the same frame for many connections out."""

from __future__ import annotations

from collections.abc import Iterable

from .connection import Connection
from .prepared import PreparedMessage
from .protocol.types import BytesLike
from .sender import send_each


def broadcast(
    connections: Iterable[Connection],
    message: str | BytesLike,
    *,
    text: bool | None = None,
    raise_exceptions: bool = False,
) -> None:
    """Send a message to many connections, without waiting for any.

    The frame is made once, and compressed once for all connections that keep no
    context. Passed over are connections that are not open, those that are sending
    another message in fragments (with a warning in the log), and those that have
    let `write_limit` pile up: their peers do not read as fast as others write, and
    they are closed with 1013.

    Args:
        connections: of this thread; of rooms, servers or your own.
        message: str is sent as Text, bytes-like as Binary.
        text: as in `Connection.send`.
        raise_exceptions: raise an ExceptionGroup that tells of each connection
            that was passed over, and why, once all others have the message.

    Raises:
        TypeError: if the message is neither str nor bytes-like.
        UnicodeError: if it is to be Text and is not.
    """
    prepared = PreparedMessage(message, text)
    errors = []
    for connection in send_each(connections, prepared):
        refusal = connection.offer(prepared)
        if refusal is not None:
            errors.append(refusal)
    if raise_exceptions and errors:
        raise ExceptionGroup("some connections were passed over", errors)
