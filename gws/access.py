"""Connections in, lines of an access log out: one for the answer to the handshake, one
for the end.

    203.0.113.7:5123 - "GET /chat/1 HTTP/1.1" 101 chat.v2 "Mozilla/5.0"
    203.0.113.7:5123 - "GET /chat/1 HTTP/1.1" closed 1001 "" 63.512 in 12/840 out 4/91

Address and user; the request; then either status, subprotocol and User-Agent, or close
code, close reason, seconds, and messages/bytes both ways. "-" is what there is not.
What a peer may choose stands in quotes, escaped: all but printable ASCII, quotes and
backslashes. So a line is one line, and a field one field.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from .observe import Observer
from .protocol.codes import CloseCode


#: What stands in quotes, with what is escaped in it.
QUOTED = r'"(?:[^"\\]|\\.)*"'

#: A line: who, the request, how it was answered or has ended, and the rest.
_line = re.compile(rf"(\S+ (?:-|{QUOTED})) ({QUOTED}) (closed \d+|\d+|-)(.*)")

#: Of a terminal (ECMA-48, 8.3.117): the colours, and what ends them.
DIM, BOLD, RED, GREEN, YELLOW, END = (f"\x1b[{n}m" for n in (2, 1, 31, 32, 33, 0))


class AccessLog(Observer):
    """An observer that writes an access log, at level INFO.

        serve(handler, observers=[AccessLog()])

    Args:
        logger: by default ``logging.getLogger("gws.access")``.
        query: log the query of the path, too. Pages can't send headers of their own
            with a WebSocket: what is secret often stands there.
        count: count messages and bytes of each connection; without, and without
            another observer that does, the closing line has "-" for them.
    """

    def __init__(
        self,
        logger: logging.Logger | None = None,
        *,
        query: bool = False,
        count: bool = True,
    ) -> None:
        self._logger = logger or logging.getLogger("gws.access")
        self._query = query
        self.counts = count

    def answered(self, ws: Any, status: int) -> None:
        """Log the answer to a request."""
        if self._logger.isEnabledFor(logging.INFO):
            agents = ws.request_headers.get_all("User-Agent")
            self._log(
                ws,
                f"{status or '-'} {ws.subprotocol or '-'} "
                f"{quoted(', '.join(agents) or '-')}",
            )

    def turned_away(self, address: Any, status: int) -> None:
        """Log who was refused before there was a request."""
        self._logger.info('%s - "-" %s - "-"', text_of(address), status or "-")

    def closed(self, ws: Any, seconds: float, error: BaseException | None) -> None:
        """Log the end of a connection."""
        if self._logger.isEnabledFor(logging.INFO):
            meter = ws.meter
            moved = "in - out -"
            if meter is not None:
                moved = (
                    f"in {meter.messages_in}/{meter.bytes_in} "
                    f"out {meter.messages_out}/{meter.bytes_out}"
                )
            code = ws.close_code or CloseCode.ABNORMAL_CLOSURE.value
            reason = quoted(ws.close_reason or "")
            self._log(ws, f"closed {code} {reason} {seconds:.3f} {moved}")

    # Private methods

    def _log(self, ws: Any, rest: str) -> None:
        path = ws.path if self._query else ws.path.partition("?")[0]
        request = f"GET {path} HTTP/1.1" if path else "-"
        self._logger.info(
            "%s %s %s %s",
            text_of(ws.remote_address),
            quoted(ws.username) if ws.username else "-",
            quoted(request),
            rest,
        )


class LineFormatter(logging.Formatter):
    """Puts the time before each line."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s")


class ColorFormatter(LineFormatter):
    """Colours the lines of an access log, for a terminal.

    What an eye looks for stands out: the request, and how it was answered or has ended
    (green is well, yellow is the peer's fault or nobody's, red is ours).
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line."""
        match = _line.fullmatch(record.message)
        if match is None:
            return super().formatMessage(record)
        who, request, outcome, rest = match.groups()
        return (
            f"{DIM}{record.asctime} {who}{END} {BOLD}{request}{END} "
            f"{color_of(outcome)}{outcome}{END}{rest}"
        )


def color_of(outcome: str) -> str:
    """Return the colour of a status, or of the close code of "closed 1000"."""
    code = outcome.removeprefix("closed ")
    if code in ("101", "1000", "1001", "1005"):
        return GREEN
    return RED if code.startswith("5") or code in ("1011", "1013") else YELLOW


def quoted(text: str) -> str:
    """Return text in quotes, with nothing in it that could be taken for their end."""
    escaped = text.encode("unicode_escape").decode("ascii")
    return '"' + escaped.replace('"', '\\"') + '"'


def text_of(address: Any) -> str:
    """Return the address of a peer; "-" by a Unix socket, of which it has none."""
    if not isinstance(address, tuple):
        return "-"
    host, port = address[:2]
    host = host.encode("unicode_escape").decode("ascii")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
