"""Messages in, frames written to a connection's buffer: `send`, `ping` and their waits.

`Sender` is what a connection does on the way out. While one greenlet sends a message
in fragments, other messages wait and control frames pass (RFC 6455, section 5.4).
What extensions make of a frame is the protocol's business.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

from gevent import Timeout
from gevent.event import Event

from .exceptions import ConcurrencyError, InvalidState, ProtocolError
from .greenlets import getcurrent
from .keepalive import PingWaiter
from .prepared import PreparedMessage, contiguous
from .protocol.codes import (
    CONNECTING,
    OP_BINARY,
    OP_CONT,
    OP_PONG,
    OP_TEXT,
    OPEN,
    CloseCode,
)
from .protocol.types import BytesLike
from .pulse import Pulse


#: What `send` takes: a message, or its fragments.
Sendable = str | BytesLike | Iterable[str | BytesLike]


class Sender(Pulse):
    """What `Connection` does on the way out; see there."""

    @property
    def buffered_amount(self) -> int:
        """How many bytes were sent and are not with the kernel yet."""
        return len(self.protocol.out)

    # Public methods for sending

    def send(
        self,
        message: Sendable,
        *,
        text: bool | None = None,
        compress: bool | None = None,
    ) -> None:
        """Send a message: str as Text, bytes-like as Binary.

        An iterable of either is sent as the fragments of one message, each as
        soon as the iterator gives it; other messages wait until it ends. If it
        raises, half a message is on its way: the connection is closed with 1011.

        It waits while more than `write_limit` is not with the kernel yet. If
        something interrupts that wait the message is sent all the same.

        Args:
            text: True sends bytes as Text, False sends str as Binary.
            compress: whether to compress it, if that was negotiated; by default
                all but short messages are.

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
            self._send_fragments(message, text, compress)
            return
        if protocol.sending:
            self._wait_message_sent()
        if protocol.state_number != OPEN:
            self._raise_closed()
        protocol.write(0x80 | opcode, message, compress)
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
        waiter = self._send_ping(payload)
        self._cork()
        return waiter

    def pong(self, data: str | BytesLike = b"") -> None:
        """Send a pong nobody asked for, as a heartbeat (RFC 6455, section 5.5.3).

        Args:
            data: at most 125 bytes.

        Raises:
            ConnectionClosed, ProtocolError, TypeError: as `ping`.
        """
        payload = self._control_payload(data)
        self._check_sendable()
        self.protocol.write(0x80 | OP_PONG, payload)
        self._cork()

    # Private methods

    def _wrote(self) -> None:
        # A frame was appended: see to it that it is written.
        if self._meter is not None:
            self._meter.sent(not self.protocol.sending, self._share.deadlines.now())
        if len(self.protocol.out) > self._flush_at:
            self._flush()
            if self._write_high and len(self.protocol.out) > self._write_high:
                self._wait_until_buffered(self._write_low)
        else:
            self._cork()
        if self._broken:
            self._raise_closed()

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
            if self.stream.paused and self._messages.draw(self._share.budget):
                self.stream.resume()
            try:
                self._drained.wait()
            finally:
                self._n_waiting -= 1
        if self._broken or protocol.state_number != OPEN:
            self._raise_closed()

    def _raise_closed(self) -> NoReturn:
        if self.protocol.state_number == CONNECTING:
            raise InvalidState("the opening handshake is not done")
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

    def _send_fragments(
        self, fragments: Any, text: bool | None, compress: bool | None
    ) -> None:
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
            self._send_fragment(opcode, fragment, False, compress)
            for fragment in iterator:
                if isinstance(fragment, str) != is_text:
                    raise TypeError("the fragments of a message are of one type")
                if not is_text:
                    fragment = contiguous(fragment)
                self._send_fragment(OP_CONT, fragment, False, compress)
            self._send_fragment(OP_CONT, b"", True, compress)
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

    def _send_fragment(
        self, opcode: int, data: Any, fin: bool, compress: bool | None
    ) -> None:
        if self.protocol.state_number != OPEN:
            self._raise_closed()
        self.protocol.send_data(opcode, data, fin, compress)
        self._wrote()

    # For who sends to many: `broadcast`, rooms

    def offer(self, prepared: PreparedMessage) -> Exception | None:
        """Send a message without waiting; who does not read is closed.

        Returns:
            Why it was not sent; None if it was.
        """
        if self.send_now(prepared):
            return None
        protocol = self.protocol
        if protocol.state_number != OPEN:
            return protocol.close_exc
        if protocol.sending:
            self._options.logger.warning(
                "broadcast passes over %s: it is sending a message in fragments",
                self.remote_address,
            )
            return ConcurrencyError("it is sending a message in fragments")
        self.fail_slow()
        return protocol.close_exc

    def send_now(self, prepared: PreparedMessage) -> bool:
        """Send a message unless it would have to wait; return whether it is sent.

        It has to while more than `write_limit` is not with the kernel, while another
        message is sent in fragments, and for ever once the connection is not open.
        """
        self._check_thread()
        protocol = self.protocol
        if protocol.state_number != OPEN or protocol.sending:
            return False
        if self._write_high and len(protocol.out) > self._write_high:
            self._flush()
            if len(protocol.out) > self._write_high:
                return False
        prepared.write(protocol)
        if self._meter is not None:
            self._meter.sent(True, self._share.deadlines.now())
        self._cork()
        return True

    def send_prepared(self, prepared: PreparedMessage) -> None:
        """Send a message as soon as `send_now` would; one that raises was not sent.

        Raises:
            ConnectionClosed: if the connection is closed, also while it waits.
            ConcurrencyError: from another thread; in the hub, if it would wait.
        """
        while not self.send_now(prepared):
            self._check_sendable()
            if getcurrent() is self._hub:
                raise ConcurrencyError("the hub can't wait for the peer to read")
            self._wait_message_sent()
            self._wait_until_buffered(self._write_low)

    def check_open(self) -> None:
        """Check that messages can be sent.

        Raises:
            ConnectionClosed: if the connection is closed.
            ConcurrencyError: from another thread.
        """
        self._check_sendable()

    def call_when_ready(self, callback: Callable[[], object]) -> None:
        """Call back in the hub, once, when `send_now` may send or never will."""
        if self.protocol.sending:
            if self._message_sent is None:
                self._message_sent = Event()
            event = self._message_sent
        else:
            if self._drained is None:
                self._drained = Event()
            event = self._drained
        if self.protocol.state_number == OPEN:
            event.clear()
        event.rawlink(lambda _: callback())

    def fail_slow(self) -> None:
        """Close with 1013: the peer reads slower than others write."""
        self.protocol.fail(CloseCode.TRY_AGAIN_LATER, "slow consumer")
        self._begin_closing()
        self._options.logger.info(
            "closing %s: it does not read as fast as others write", self.remote_address
        )


S = TypeVar("S", bound=Sender)


def send_each(
    connections: Iterable[S], prepared: PreparedMessage, exclude: S | None = None
) -> list[S]:
    """Send a message to each connection that takes it now; return the others.

    Args:
        exclude: one that does not get it; it is among the others.
    """
    refused = []
    for connection in connections:
        if connection is exclude or not connection.send_now(prepared):
            refused.append(connection)
    return refused
