"""Somebody at a terminal in: lines and commands out to a server, its messages back.

A line is a message. One that begins with a slash is a command: what else shall be done
with the connection. Only here: what comes by a pipe is never a command.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import gevent

from ..client import ClientConnection
from ..exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ProtocolError,
)
from ..keepalive import PingWaiter
from .editor import Editor
from .history import History, history_path
from .printable import dump, escape
from .screen import Screen


HELP = """\
/ping [DATA]            send a ping, and tell how long its pong takes
/binary HEX             send a Binary message, such as /binary 00 ff 2a
/close [CODE [REASON]]  close the connection; CODE is 1000
/help                   this
//TEXT                  send a message that begins with a slash: /TEXT
Ctrl-D, Ctrl-C          close the connection with 1000; a second Ctrl-C ends at once"""


class WrongCommand(Exception):
    """What is wrong with a command."""


class Session:
    """A connection, and who sits at the terminal.

    Args:
        binary: lines are sent as Binary messages.
    """

    def __init__(self, ws: ClientConnection, binary: bool, has_colors: bool) -> None:
        self._ws = ws
        self._binary = binary
        self._history = History(history_path())
        self._screen = Screen(Editor(self._history.lines), has_colors)

    def run(self) -> None:
        """Talk until the connection is closed."""
        with self._screen.opened():
            typing = gevent.spawn(self._take_lines)
            try:
                with contextlib.suppress(ConnectionClosedError):  # its code tells
                    for message in self._ws:
                        self._show_received(message)
            finally:
                typing.kill(block=False)
                self._ws.close()

    # Private methods

    def _take_lines(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            for line in self._screen.lines():
                self._history.add(line)
                try:
                    self._take(line)
                except WrongCommand as exc:
                    self._screen.show(escape(str(exc)), fg="yellow")
        self._ws.close()

    def _take(self, line: str) -> None:
        if not line.startswith("/") or line.startswith("//"):
            text = line.removeprefix("/")
            self._send(text.encode() if self._binary else text)
            return
        self._screen.show(f"> {escape(line)}", dim=True)
        name, _, argument = line[1:].partition(" ")
        command = self._commands().get(name)
        if command is None:
            raise WrongCommand(
                f"/{name}: there is no such command, see /help; //{name} is a message"
            )
        command(argument.strip())

    def _commands(self) -> dict[str, Callable[[str], None]]:
        return {
            "ping": self._ping,
            "binary": self._send_binary,
            "close": self._close,
            "help": self._help,
        }

    def _send(self, message: str | bytes) -> None:
        self._ws.send(message)
        self._screen.show(f"> {shown(message)}", fg="green")

    # Commands

    def _ping(self, data: str) -> None:
        try:
            waiter = self._ws.ping(data or None)
        except (ProtocolError, ConcurrencyError) as exc:
            raise WrongCommand(f"/ping: {exc}") from None
        # Lines may be typed before the pong is there.
        gevent.spawn(self._await_pong, waiter)

    def _await_pong(self, waiter: PingWaiter) -> None:
        with contextlib.suppress(ConnectionClosed):
            milliseconds = waiter.get() * 1000
            self._screen.show(f"pong after {milliseconds:.2f} ms", dim=True)

    def _send_binary(self, digits: str) -> None:
        try:
            data = bytes.fromhex(digits)
        except ValueError:
            raise WrongCommand("/binary wants bytes, such as 00 ff 2a") from None
        self._send(data)

    def _close(self, argument: str) -> None:
        code, _, why = argument.partition(" ")
        if code and not (code.isascii() and code.isdigit()):
            raise WrongCommand("/close wants a code, such as 1000, and then a reason")
        try:
            self._ws.close(int(code or 1000), why.strip())
        except ProtocolError as exc:
            raise WrongCommand(f"/close: {exc}") from None

    def _help(self, argument: str) -> None:
        for line in HELP.splitlines():
            self._screen.show(line, dim=True)

    # What comes

    def _show_received(self, message: str | bytes) -> None:
        self._screen.show(f"< {shown(message)}", fg="cyan")


def shown(message: str | bytes) -> str:
    """Return a message in one line."""
    return dump(message) if isinstance(message, bytes) else escape(message)
