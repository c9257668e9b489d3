"""What a peer sent in; one line that is safe to print out."""

from __future__ import annotations


#: How many bytes of a Binary message are shown.
SHOWN = 32


def escape(message: str | bytes) -> str:
    """Return what can be printed in one line and moves no terminal.

    A server must not be able to write escape sequences, forge lines, or turn the
    direction of the text: what is no printable character is escaped.
    """
    if isinstance(message, bytes):
        message = message.decode("ascii", "backslashreplace")
    if message.isprintable():
        return message
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in message
    )


def dump(data: bytes) -> str:
    """Return the beginning of a Binary message, as numbers and as text."""
    head = data[:SHOWN]
    text = "".join(chr(octet) if 32 <= octet < 127 else "." for octet in head)
    more = " ..." if len(data) > SHOWN else ""
    n = f"{len(data)} byte{'' if len(data) == 1 else 's'}"
    return f"{n}: {head.hex(' ')}{more}  |{text}|" if data else n
