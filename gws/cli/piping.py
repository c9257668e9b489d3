"""Lines of the input out as messages, and messages as lines, by pipes and files."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

import gevent
from gevent.event import Event
from gevent.os import tp_read

from ..client import ClientConnection
from ..exceptions import ConnectionClosed, ConnectionClosedError
from .printable import escape


def talk(
    ws: ClientConnection,
    show: Callable[[str], object],
    binary: bool,
    linger: float,
) -> str | None:
    """Send the lines of the input, show what comes, until the connection is closed.

    Args:
        show: prints a line.
        binary: lines are sent as Binary messages.
        linger: see `send_lines`.

    Returns:
        What was wrong with the input; None if nothing was.
    """
    heard = Event()
    sending = gevent.spawn(send_lines, ws, binary, linger, heard)
    try:
        with contextlib.suppress(ConnectionClosedError):  # its close code tells
            for message in ws:
                heard.set()
                show(escape(message))
    finally:
        ws.close()
    problem: str | None = sending.value
    return problem


def send_lines(
    ws: ClientConnection, binary: bool, linger: float, heard: Event
) -> str | None:
    """Send the lines of the input, wait until the server is quiet, then close.

    There is no telling which message is the last answer: a server may answer when
    it likes. Silence is what can be told.

    Args:
        linger: how many seconds of silence it takes.
        heard: set by each message that comes.

    Returns:
        What was wrong with the input; None if nothing was.
    """
    try:
        for line in input_lines():
            ws.send(line if binary else line.decode())
    except ConnectionClosed:
        return None
    except UnicodeDecodeError:
        ws.close()
        return "a line is not UTF-8; --binary sends it as it is"
    while heard.wait(linger):
        heard.clear()
    ws.close()
    return None


def input_lines() -> Iterator[bytes]:
    """Read the standard input, from a terminal, a pipe or a file, line by line.

    A thread of gevent's reads: to make the descriptor non-blocking would make it so
    for the shell as well. `os.read` holds no lock that the exit would wait for.
    """
    rest = b""
    while sys.stdin is not None and (data := tp_read(sys.stdin.fileno(), 2**16)):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
    if rest:
        yield rest
