"""One message in, the same frame for many connections out."""

from __future__ import annotations

from collections.abc import Iterable

from .connection import Connection, contiguous
from .exceptions import ConcurrencyError
from .protocol.codes import OP_BINARY, OP_TEXT
from .protocol.types import BytesLike
from .protocol.writer import write_frame


def broadcast(
    connections: Iterable[Connection],
    message: str | BytesLike,
    *,
    text: bool | None = None,
    raise_exceptions: bool = False,
) -> None:
    """Send a message to many connections, without waiting for any.

    The frame is made once. Connections that are not open are passed over. One
    that has let `write_limit` pile up is closed with 1013: its peer does not
    read as fast as others write.

    Args:
        text: as in `Connection.send`.
        raise_exceptions: raise an ExceptionGroup that tells why, for those
            that were passed over.

    Raises:
        TypeError: if the message is neither str nor bytes-like.
    """
    if isinstance(message, str):
        opcode = OP_BINARY if text is False else OP_TEXT
    else:
        message = contiguous(message)
        opcode = OP_TEXT if text else OP_BINARY
    frame = bytearray()
    write_frame(frame, 0x80 | opcode, message, False)
    errors: list[Exception] = []
    for connection in connections:
        if not connection.offer(frame, opcode, message):
            if connection.open:
                errors.append(ConcurrencyError("it sends a message in fragments"))
            else:
                errors.append(connection.protocol.close_exc)
    if raise_exceptions and errors:
        raise ExceptionGroup("some connections were not open", errors)
