"""A WebSocket connection as its user sees it: messages in, messages out.

`Connection` is the greenlets' half: `recv`, `send`, `ping`, `close` and their
waits. The hub's half is `link.Link`.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from gevent import Timeout, sleep
from gevent.event import Event

from .exceptions import ConcurrencyError, ConnectionClosedOK, ProtocolError
from .greenlets import getcurrent
from .keepalive import PingWaiter
from .link import Link
from .protocol.codes import (
    CLOSED,
    CONNECTING,
    OP_BINARY,
    OP_CONT,
    OP_PONG,
    OP_TEXT,
    OPEN,
    CloseCode,
    State,
)
from .protocol.frames import Close
from .protocol.mask import append_bytes
from .protocol.types import BytesLike
from .protocol.writer import write_frame


#: What `send` takes: a message, or its fragments.
Sendable = str | BytesLike | Iterable[str | BytesLike]


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


class Connection(Link):
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

    @property
    def buffered_amount(self) -> int:
        """How many bytes were sent and are not with the kernel yet."""
        return len(self.protocol.out)

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

    def __iter__(self) -> Iterator[str | bytes]:
        """Iterate over the messages, to a normal close (1000, 1001, no code)."""
        return MessageIterator(self)

    # Public methods for sending

    def send(self, message: Sendable, *, text: bool | None = None) -> None:
        """Send a message: str as Text, bytes-like as Binary.

        An iterable of either is sent as the fragments of one message, each as
        soon as the iterator gives it; other messages wait until it ends. If it
        raises, half a message is on its way: the connection is closed with 1011.

        It waits while more than `write_limit` is not with the kernel yet. If
        something interrupts that wait the message is sent all the same.

        Args:
            text: True sends bytes as Text, False sends str as Binary.

        Raises:
            ConnectionClosed: if the connection is closed, also while it waits.
            ConcurrencyError: from another thread, or from the iterator itself.
            TypeError: if the message is neither str nor bytes-like nor an
                iterable of one of both.
            UnicodeError: if it is to be Text and is not.
        """
        protocol = self.protocol
        self._check_thread()
        if isinstance(message, str):
            opcode = OP_BINARY if text is False else OP_TEXT
        elif isinstance(message, (bytes, bytearray, memoryview)):
            message = contiguous(message)
            opcode = OP_BINARY
            if text:
                opcode = OP_TEXT
                str(message, "utf-8")
        else:
            self._send_fragments(message, text)
            return
        if protocol.sending:
            self._wait_message_sent()
        if protocol.state_number != OPEN:
            self._raise_closed()
        write_frame(protocol.out, 0x80 | opcode, message, protocol.masked)
        self._wrote()

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything sent so far is with the kernel.

        Raises:
            ConnectionClosed: if the connection closes before.
            TimeoutError: after ``timeout`` seconds.
        """
        self._check_thread()
        self._flush()
        timer = Timeout.start_new(timeout)
        try:
            self._wait_until_buffered(0)
        except Timeout as exc:
            if exc is not timer:
                raise
            raise TimeoutError("not everything was written within the time") from None
        finally:
            timer.close()

    def ping(self, data: str | BytesLike | None = None) -> PingWaiter:
        """Send a ping (RFC 6455, section 5.5.2) and return what waits for its pong.

        Args:
            data: at most 125 bytes; 4 random ones by default.

        Raises:
            ConnectionClosed: if the connection is closed.
            ConcurrencyError: if a ping with the same data was not answered yet.
            ProtocolError: if the data is too long.
            TypeError: if it is neither str nor bytes-like.
        """
        payload = self._control_payload(data)
        while data is None and payload in (self._pings or ()):
            payload = secrets.token_bytes(4)
        if payload in (self._pings or ()):
            raise ConcurrencyError("a ping with the same data waits for its pong")
        self._check_sendable()
        return self._send_ping(payload)

    def pong(self, data: str | BytesLike = b"") -> None:
        """Send a pong nobody asked for, as a heartbeat (section 5.5.3).

        Raises as `ping`.
        """
        payload = self._control_payload(data)
        self._check_sendable()
        protocol = self.protocol
        write_frame(protocol.out, 0x80 | OP_PONG, payload, protocol.masked)
        self._cork()

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection: the closing handshake, then TCP.

        Returns when both are done, after `close_timeout` at the latest. It may
        be called again, and by several greenlets at once: all wait. In the hub
        it does not wait.

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
        """Do what `close` does, without waiting."""
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

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until the TCP connection is gone, at most ``timeout`` seconds.

        Returns:
            Whether it is.
        """
        self._check_thread()
        if self._finished or getcurrent() is self._hub:
            return self._finished
        if self._closed is None:
            self._closed = Event()
        return self._closed.wait(timeout)

    # Private methods for greenlets

    def _next_message(self) -> str | bytes:
        self._check_thread()
        if self._receiver is not None:
            raise ConcurrencyError("another greenlet is receiving already")
        messages = self._messages
        while not messages.ready():
            if self.protocol.ending is not None:
                self._conclude()
            if self.protocol.state_number == CLOSED or self.protocol.deaf:
                raise self.protocol.close_exc
            self._wait_input()
        message = messages.get()
        if self.stream.paused and messages.has_room():
            self.stream.resume()
        return message

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

    def _wrote(self) -> None:
        # A frame was appended: see to it that it is written.
        if len(self.protocol.out) > self._flush_at:
            self._flush()
            if self._write_high and len(self.protocol.out) > self._write_high:
                self._wait_until_buffered(self._write_low)
        else:
            self._cork()

    def _wait_until_buffered(self, limit: int) -> None:
        # Until no more than limit is buffered; the hub itself can't wait.
        protocol = self.protocol
        while len(protocol.out) > limit and protocol.state_number == OPEN:
            if getcurrent() is self._hub:
                return
            if self._drained is None:
                self._drained = Event()
            self._drained.clear()
            # Two peers that wait for each other to read must both go on reading.
            self._n_waiting += 1
            if not self._messages.overfull():
                self.stream.resume()
            try:
                self._drained.wait()
            finally:
                self._n_waiting -= 1
        if self._broken or protocol.state_number != OPEN:
            self._raise_closed()

    def _raise_closed(self) -> NoReturn:
        # The exception shall tell how it ended: wait, if we are still closing.
        if self.protocol.ending is not None:
            self._conclude()
        if self.protocol.close_code is None:
            self.wait_closed()
        raise self.protocol.close_exc

    def _check_sendable(self) -> None:
        self._check_thread()
        if self.protocol.state_number != OPEN:
            self._raise_closed()

    def _control_payload(self, data: str | BytesLike | None) -> bytes:
        if data is None:
            return secrets.token_bytes(4)
        payload = data.encode() if isinstance(data, str) else bytes(contiguous(data))
        if len(payload) > 125:
            raise ProtocolError("control frame too long: at most 125 bytes")
        return payload

    # Private methods for fragments

    def _wait_message_sent(self) -> None:
        # While another greenlet sends a message in fragments.
        while self.protocol.sending and self.protocol.state_number == OPEN:
            if self._fragmenter is getcurrent():
                raise ConcurrencyError("the iterator of a message sends another one")
            if self._message_sent is None:
                self._message_sent = Event()
            self._message_sent.clear()
            self._message_sent.wait()

    def _send_fragments(self, fragments: Any, text: bool | None) -> None:
        if isinstance(fragments, dict):
            raise TypeError("a dict is no message; serialize it first")
        try:
            iterator = iter(fragments)
        except TypeError:
            kind = type(fragments).__name__
            raise TypeError(f"message must be str or bytes-like, not {kind}") from None
        for fragment in iterator:  # noqa: B007 (the first)
            break
        else:
            return
        is_text = isinstance(fragment, str)
        opcode = OP_TEXT if (is_text if text is None else text) else OP_BINARY
        if not is_text:
            fragment = contiguous(fragment)
        self._wait_message_sent()
        self._check_sendable()
        self._fragmenter = getcurrent()
        try:
            self._send_fragment(opcode, fragment, False)
            for fragment in iterator:
                if isinstance(fragment, str) != is_text:
                    raise TypeError("the fragments of a message are of one type")
                self._send_fragment(
                    OP_CONT, fragment if is_text else contiguous(fragment), False
                )
            self._send_fragment(OP_CONT, b"", True)
        except BaseException:
            # Half a message is on its way, and the rest will never come.
            if self.protocol.sending and self.protocol.state_number == OPEN:
                self.protocol.fail(CloseCode.INTERNAL_ERROR, "message not completed")
                self._begin_closing()
            raise
        finally:
            self._fragmenter = None
            if self._message_sent is not None:
                self._message_sent.set()

    def _send_fragment(self, opcode: int, data: Any, fin: bool) -> None:
        if self.protocol.state_number != OPEN:
            self._raise_closed()
        self.protocol.send_data(opcode, data, fin)
        self._wrote()

    # For broadcast

    def offer(self, frame: bytearray, opcode: int, message: str | BytesLike) -> bool:
        """Send without waiting; `broadcast` calls this.

        Args:
            frame: the message as a frame, not masked.

        Returns:
            Whether the connection took it: it is open, and its peer reads.
        """
        self._check_thread()
        protocol = self.protocol
        if protocol.state_number != OPEN:
            return False
        if protocol.sending:
            self.logger.warning("broadcast skips %s: it sends fragments", self.id)
            return False
        if self._write_high and len(protocol.out) > self._write_high:
            self._flush()
            if len(protocol.out) > self._write_high:
                protocol.fail(CloseCode.TRY_AGAIN_LATER, "slow consumer")
                self._begin_closing()
                return False
        if protocol.masked:
            write_frame(protocol.out, 0x80 | opcode, message, True)
        else:
            append_bytes(protocol.out, frame, 0, len(frame))
        self._cork()
        return True


def contiguous(data: object) -> BytesLike:
    """Return ``data`` as something whose octets lie in one piece.

    Raises:
        TypeError: if it is not bytes-like.
    """
    if isinstance(data, (bytes, bytearray)):
        return data
    if isinstance(data, memoryview):
        flat = data.c_contiguous and data.ndim == 1 and data.itemsize == 1
        return data if flat else bytes(data)
    raise TypeError(f"message must be str or bytes-like, not {type(data).__name__}")
