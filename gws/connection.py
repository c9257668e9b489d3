"""A WebSocket connection as its user sees it: messages in, messages out.

`Connection` is the greenlets' half: what it receives and how it closes stand here,
what it sends in `sender.Sender`. The hub's half is `link.Link`.
"""

from __future__ import annotations

import codecs
import uuid
from collections.abc import Iterator
from typing import Any, NoReturn

from gevent import Timeout, sleep

from .exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedOK,
    InvalidState,
)
from .protocol.codes import CLOSED, CONNECTING, OPEN, CloseCode, State
from .protocol.frames import Close
from .sender import Sender


utf8_decoder = codecs.getincrementaldecoder("utf-8")


class MessageIterator:
    """The messages of a connection, for a ``for``.

    Micro-optimization: not the connection itself, because Python would look up
    ``__next__`` of its subclasses for every message.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __iter__(self) -> Iterator[str | bytes]:
        return self

    def __next__(self) -> str | bytes:
        try:
            return self._connection._next_message()
        except ConnectionClosedOK:
            raise StopIteration from None


class PieceIterator:
    """The pieces of one message, for a ``for``; `Connection.recv_streaming`."""

    def __init__(self, connection: Connection, decode: bool | None) -> None:
        self._connection = connection
        self._decode = decode
        # What makes str of bytes, of characters that pieces may cut.
        self._decoder: Any = None
        # Some of the message was taken, all of it, and given to who iterates.
        self._began = False
        self._ended = False
        self._gave = False

    def __iter__(self) -> Iterator[str | bytes]:
        return self

    def __next__(self) -> str | bytes:
        while not self._ended:
            piece = self._next_piece()
            # A piece may hold only half a character; an empty message is a piece.
            if piece or (self._ended and not self._gave):
                self._gave = True
                return piece
        raise StopIteration

    def _next_piece(self) -> str | bytes:
        connection = self._connection
        if not self._began:
            connection._begin_streaming()
        try:
            piece, self._ended = connection._next_piece()
        except ConnectionClosed:
            self._ended = True
            connection._messages.end_stream()
            raise
        except BaseException:
            if not self._began:  # the message is whole still, for whom it may concern
                connection._messages.end_stream()
            raise
        self._began = True
        return self._as_asked(piece)

    def _as_asked(self, piece: str | bytes) -> str | bytes:
        if isinstance(piece, str):
            return piece.encode() if self._decode is False else piece
        as_text = self._decode
        if as_text is None:
            as_text = self._connection._messages.stream_is_text
        if not as_text:
            return piece
        if self._decoder is None:
            self._decoder = utf8_decoder()
        text: str = self._decoder.decode(piece, self._ended)
        return text


class Connection(Sender):
    """One side of a WebSocket connection.

    It belongs to the hub (and so the thread) that made it. One greenlet at a
    time may receive; any number may send, ping and close. Each wait ends when
    the connection does. A `gevent.Timeout` or `gevent.GreenletExit` may arrive
    at any wait: nothing received is lost and no frame is torn.
    """

    # Properties

    @property
    def id(self) -> uuid.UUID:
        """Tells this connection from others, in logs."""
        if self._id is None:
            self._id = uuid.uuid4()
        return self._id

    @property
    def logger(self) -> Any:
        """Where the connection logs."""
        return self._options.logger

    @property
    def state(self) -> State:
        """Where the connection is in its life (RFC 6455, sections 4 and 7)."""
        return self.protocol.state

    @property
    def open(self) -> bool:
        """Whether messages can be sent."""
        return self.protocol.state_number == OPEN

    @property
    def closed(self) -> bool:
        """Whether the TCP connection is gone."""
        return self._finished

    @property
    def close_code(self) -> int | None:
        """The close code (section 7.1.5); None while not closed, 1006 for none."""
        return self.protocol.close_code

    @property
    def close_reason(self) -> str | None:
        """The close reason (section 7.1.6); None while not closed."""
        return self.protocol.close_reason

    # Public methods for receiving

    def recv(
        self, timeout: float | None = None, decode: bool | None = None
    ) -> str | bytes:
        """Return the next message: str for Text, bytes for Binary.

        Messages that came before the connection closed are returned before it
        raises.

        Args:
            timeout: seconds to wait; None waits for ever, 0 or less not at all.
            decode: False returns bytes always, True str always.

        Raises:
            ConnectionClosed: if the connection is closed.
            ConcurrencyError: if another greenlet receives, or from another thread.
            TimeoutError: after ``timeout``; the message that comes later is kept.
            InvalidState: in a hook, before the connection is open.
            UnicodeDecodeError: with decode=True, if it is not UTF-8.
        """
        if timeout is None:
            message = self._next_message()
        else:
            message = self._next_message_within(timeout)
        if decode is None:
            return message
        if decode:
            return message.decode() if isinstance(message, bytes) else message
        return message.encode() if isinstance(message, str) else message

    def recv_streaming(self, decode: bool | None = None) -> Iterator[str | bytes]:
        """Iterate over the next message as it comes, fragment by fragment.

        Fragments have no meaning of their own (RFC 6455, section 5.4): those that
        came before somebody asks for them are given as one piece. `max_size` is
        for the whole message. Whatever interrupts the iteration, it can go on.

        Until it has come to its end, nothing else can be received: leave it half
        way, and the next `recv` raises ConcurrencyError.

        Args:
            decode: False gives bytes always, True str always.

        Raises:
            ConnectionClosed, ConcurrencyError, UnicodeDecodeError: as `recv`.
        """
        return PieceIterator(self, decode)

    def __iter__(self) -> Iterator[str | bytes]:
        """Iterate over the messages, to a normal close (1000, 1001, no code)."""
        return MessageIterator(self)

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection: the closing handshake, then TCP.

        Returns when both are done, after `close_timeout` at the latest. It may
        be called again, and by several greenlets at once: all wait. In the hub
        it does not wait.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455, section
                7.4).
            reason: at most 123 bytes of UTF-8.

        Raises:
            ProtocolError: if the code may not be sent or the reason is too long;
                nothing was sent.
            TypeError: if they are no int and str.
        """
        self.begin_close(code, reason)
        self.wait_closed()

    def begin_close(
        self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = ""
    ) -> None:
        """Do what `close` does, without waiting.

        Args:
            code, reason: as for `close`, whose errors it raises.
        """
        if not isinstance(code, int) or not isinstance(reason, str):
            raise TypeError("a close code is an int, a close reason a str")
        self._check_thread()
        close = Close(code, reason)
        close.serialize()
        close.check()
        protocol = self.protocol
        if protocol.ending is not None:
            self._conclude()
        elif protocol.state_number == CONNECTING:
            self._finish()
        elif protocol.state_number == OPEN:
            protocol.send_close(code, reason)
            self._begin_closing()

    # Private methods for greenlets

    def _next_message(self) -> str | bytes:
        messages = self._messages
        if messages.streaming:
            self._refuse_streaming()
        self._wait_ready()
        message = messages.get()
        self._resume_reading()
        return message

    def _begin_streaming(self) -> None:
        self._check_thread()
        if self._messages.streaming:
            self._refuse_streaming()
        self._messages.stream()

    def _refuse_streaming(self) -> NoReturn:
        raise ConcurrencyError(
            "a message is being received in pieces: first iterate to its end"
        )

    def _next_piece(self) -> tuple[str | bytes, bool]:
        self._wait_ready()
        piece = self._messages.get_piece()
        self._resume_reading()
        return piece

    def _wait_ready(self) -> None:
        # Until there is something to receive.
        self._check_thread()
        if self._receiver is not None:
            raise ConcurrencyError("another greenlet is receiving already")
        while not self._messages.ready():
            if self.protocol.ending is not None:
                self._conclude()
            if self.protocol.state_number == CLOSED or self.protocol.deaf:
                raise self.protocol.close_exc
            if self.protocol.state_number == CONNECTING:
                raise InvalidState("the opening handshake is not done")
            self._wait_input()

    def _resume_reading(self) -> None:
        # Something was taken: is there room again?
        if self.stream.paused and self._messages.has_room():
            self.stream.resume()

    def _next_message_within(self, timeout: float) -> str | bytes:
        if timeout <= 0:
            self._poll()
            return self._next_message()
        self._check_thread()  # before another thread gets a hub for its timer
        timer = Timeout.start_new(timeout)
        try:
            return self._next_message()
        except Timeout as exc:
            if exc is not timer:
                raise
            raise TimeoutError(f"no message within {timeout} s") from None
        finally:
            timer.close()

    def _poll(self) -> None:
        # Raise TimeoutError unless a message, or the end, is there now.
        self._check_thread()
        if self._receiver is None and not self._messages.ready():
            sleep(0)  # who polls in a loop shall not stop the others
            self.on_readable()
        protocol = self.protocol
        ended = protocol.deaf or protocol.state_number == CLOSED
        if not (self._messages.ready() or ended or self._receiver is not None):
            raise TimeoutError("no message is there")
