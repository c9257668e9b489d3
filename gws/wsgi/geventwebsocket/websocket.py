"""The connection as gevent-websocket has it; known as geventwebsocket.websocket."""

from __future__ import annotations

from typing import Any

from gevent import Timeout

from ...exceptions import ConcurrencyError, ConnectionClosed
from ...exceptions import ProtocolError as InvalidClose
from ...protocol.codes import CloseCode, Opcode
from ...protocol.frames import Close
from ...server.handshake import ServerConnection
from .exceptions import ProtocolError, WebSocketError


MSG_SOCKET_DEAD = "Socket is dead"
MSG_ALREADY_CLOSED = "Connection is already closed"
MSG_CLOSED = "Connection closed"

#: RFC 6455, section 5.5: a control frame has at most 125 octets, two for the code.
REASON_SIZE = 123


class WebSocket:
    """A connection, with the names and the habits of gevent-websocket.

    One greenlet may receive, any number may send. Messages are str for Text, bytes
    for Binary.

    Args:
        connection: that of gws; what this here has not, it has.
        environ: of the request. It stays when the connection is closed.
        handler: of the request.
    """

    OPCODE_CONTINUATION = int(Opcode.CONT)
    OPCODE_TEXT = int(Opcode.TEXT)
    OPCODE_BINARY = int(Opcode.BINARY)
    OPCODE_CLOSE = int(Opcode.CLOSE)
    OPCODE_PING = int(Opcode.PING)
    OPCODE_PONG = int(Opcode.PONG)

    __slots__ = (
        "__weakref__",
        "_told",
        "connection",
        "environ",
        "handler",
        "stream",
        "timeout",
    )

    def __init__(
        self, connection: ServerConnection, environ: dict[str, Any], handler: Any
    ) -> None:
        self.connection = connection
        self.environ = environ
        self.handler = handler
        self.stream = Stream(handler)
        #: Seconds that `receive` and `send` may take: of ``settimeout`` of the socket.
        self.timeout: float | None = None
        # Somebody was told that it is closed.
        self._told = False

    # Properties

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return not self.connection.open

    @property
    def origin(self) -> str | None:
        """The Origin header."""
        return self.environ.get("HTTP_ORIGIN")

    @property
    def protocol(self) -> str | None:
        """The subprotocols that the client offered."""
        return self.environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL")

    @property
    def version(self) -> str | None:
        """The version of the protocol: "13"."""
        return self.environ.get("HTTP_SEC_WEBSOCKET_VERSION")

    @property
    def path(self) -> str | None:
        """The path of the request, decoded, without the query."""
        return self.environ.get("PATH_INFO")

    @property
    def logger(self) -> Any:
        """The logger of the server."""
        return self.handler.logger

    # Public methods

    def accept(self) -> ServerConnection:
        """Return the connection of gws, which is open."""
        return self.connection

    def receive(self) -> str | bytes | None:
        """Return the next message; None when the connection has ended.

        Raises:
            WebSocketError: if that was known: None was returned, or `close` called.
            ConcurrencyError: if another greenlet receives.
        """
        if self._told:
            raise WebSocketError(MSG_ALREADY_CLOSED)
        try:
            return self.connection.recv(self.timeout)
        except ConnectionClosed:
            self._told = True
        except TimeoutError:
            self.close(CloseCode.GOING_AWAY)
        return None

    def send(self, message: Any, binary: bool | None = None) -> None:
        """Send a message.

        Args:
            message: str, or bytes or anything with a buffer.
            binary: whether it goes as Binary; by default all but str does.

        Raises:
            WebSocketError: if the connection is closed.
            TypeError: if the message is nothing of these.
        """
        if not isinstance(message, str):
            message = memoryview(message)
        text = None if binary is None else not binary
        try:
            with Timeout(self.timeout, TimeoutError):
                self.connection.send(message, text=text)
        except (ConnectionClosed, TimeoutError) as exc:
            raise WebSocketError(MSG_SOCKET_DEAD) from exc

    def send_frame(self, message: Any, opcode: int) -> None:
        """Send a frame: a message, a ping, a pong or a close frame.

        A ping is left out while another of the same payload has no pong.

        Raises:
            WebSocketError: if the connection is closed.
            ProtocolError: if there is no such frame.
        """
        if opcode in (Opcode.TEXT, Opcode.BINARY):
            self.send(message, opcode == Opcode.BINARY)
        elif opcode == Opcode.CLOSE:
            close = parse_close(message or b"")
            self.close(close.code, close.reason)
        elif opcode in (Opcode.PING, Opcode.PONG):
            self._send_control(message, opcode)
        else:
            raise ProtocolError(f"no frame of its own: opcode {opcode}")

    def close(self, code: int = 1000, message: str | bytes | None = b"") -> None:
        """Close the connection, without waiting.

        Who receives meanwhile gets None when the peer has answered, or did not
        within 10 seconds.

        Args:
            message: the reason; what is over 123 bytes is left out.

        Raises:
            ProtocolError: if the code may not be sent.
        """
        self._told = True
        reason = message.encode() if isinstance(message, str) else message or b""
        try:
            self.connection.begin_close(
                code, reason[:REASON_SIZE].decode(errors="ignore")
            )
        except InvalidClose as exc:
            raise ProtocolError(str(exc)) from exc

    # Private methods

    def _send_control(self, message: Any, opcode: int) -> None:
        if self.closed:
            raise WebSocketError(MSG_SOCKET_DEAD)
        send = self.connection.ping if opcode == Opcode.PING else self.connection.pong
        try:
            send(message or b"")
        except ConcurrencyError:  # such a ping is on its way
            pass
        except InvalidClose as exc:
            raise ProtocolError(str(exc)) from exc


def parse_close(payload: bytes) -> Close:
    """Return what is in the payload of a close frame.

    Raises:
        ProtocolError: if it is none.
    """
    try:
        return Close.parse(payload) if payload else Close(CloseCode.NORMAL_CLOSURE)
    except (InvalidClose, UnicodeDecodeError) as exc:
        raise ProtocolError(str(exc)) from exc


class Stream:
    """What is left of the file that gevent-websocket reads from: its handler."""

    __slots__ = ("handler",)

    def __init__(self, handler: Any) -> None:
        self.handler = handler


class Socket:
    """What is found where gevent-websocket has the socket, ``ws.handler.socket``.

    The socket itself is with gws, and not to be read from, or written to.

    Args:
        ws: the connection.
    """

    def __init__(self, ws: WebSocket) -> None:
        self._ws = ws

    # Public methods

    def fileno(self) -> int:
        """Return the descriptor; -1 when it is closed."""
        fd: int = self._ws.connection.stream.sock.fileno()
        return fd

    def getsockopt(self, *args: Any) -> Any:
        """Return an option, as `socket.socket.getsockopt`."""
        return self._ws.connection.stream.sock.getsockopt(*args)

    def setsockopt(self, *args: Any) -> None:
        """Set an option, as `socket.socket.setsockopt`."""
        self._ws.connection.stream.sock.setsockopt(*args)

    def getsockname(self) -> Any:
        """Return our address."""
        return self._ws.connection.local_address

    def getpeername(self) -> Any:
        """Return the peer's address."""
        return self._ws.connection.remote_address

    def settimeout(self, timeout: float | None) -> None:
        """Set the seconds that ``receive`` and ``send`` may take.

        After them ``receive`` closes the connection and returns None, ``send``
        raises WebSocketError.
        """
        self._ws.timeout = timeout

    def gettimeout(self) -> float | None:
        """Return what `settimeout` has set."""
        return self._ws.timeout

    def shutdown(self, how: int) -> None:
        """Close the connection, in whatever direction that was to be."""
        self._ws.close(CloseCode.GOING_AWAY)

    def close(self) -> None:
        """Close the connection."""
        self._ws.close(CloseCode.GOING_AWAY)
