"""A WebSocket connection as its user sees it: messages in, messages out.

`Connection` joins a `Protocol` (what octets mean) to a `Stream` (the socket) and
to the greenlets that call `recv` and `send`. Reading happens in the hub's
callback `on_readable`: it feeds the protocol and switches straight into the
greenlet that waits in `recv`, if a message is there. So pings are answered and
closes are seen while a handler does something else, without a second greenlet.

Writing is corked: `send` appends a frame to a buffer, which goes out in one call
when the callback that woke the sender returns, before `recv` waits, at the end
of this turn of the loop, or when it has grown past `write_limit`.

(Over the budget of 400 lines: the two halves, greenlets and hub, share all state.)
"""

from __future__ import annotations

import secrets
import sys
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from gevent import Timeout, get_hub, getcurrent, sleep
from gevent.event import Event

from .exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedOK,
    ProtocolError,
)
from .keepalive import Deadlines, Entry, PingWaiter
from .messages import Messages
from .options import Options
from .protocol.base import Protocol, split_max_size
from .protocol.codes import (
    CLOSED,
    CLOSING,
    CONNECTING,
    OP_BINARY,
    OP_PING,
    OP_PONG,
    OP_TEXT,
    OPEN,
    CloseCode,
    State,
)
from .protocol.frames import Close, Frame
from .protocol.mask import append_bytes, take_bytes, thread_id
from .protocol.reader import HEADROOM
from .protocol.types import BytesLike
from .protocol.writer import write_frame
from .stream import Stream, read_buffer


#: Frames are held back until they are this many bytes.
CORK_SIZE = 2**16


class HubShare:
    """What the connections of one hub share: made once, kept by the hub."""

    def __init__(self, hub: Any) -> None:
        self.hub = hub
        # Bound once: it is called for every message that has to be waited for.
        self.switch_to_hub = hub.switch
        self.thread = thread_id()
        self.buffer = read_buffer()
        self.deadlines = Deadlines(hub)
        # Connections with frames to be written at the end of this turn.
        self._corked: list[Connection] = []

    def flush_later(self, connection: Connection) -> None:
        """Flush ``connection`` once the greenlets that run now have had their turn."""
        if not self._corked:
            self.hub.loop.run_callback(self._flush_corked)
        self._corked.append(connection)

    def _flush_corked(self) -> None:
        corked = self._corked
        self._corked = []
        for connection in corked:
            try:
                connection.uncork()
            except Exception:
                # A bug of ours; the others are still to be flushed.
                self.hub.handle_error(connection, *sys.exc_info())


def share_of(hub: Any) -> HubShare:
    """Return what the connections of ``hub`` share."""
    share: HubShare | None = getattr(hub, "_gws_share", None)
    if share is None:
        share = hub._gws_share = HubShare(hub)
    return share


class Connection:
    """One side of a WebSocket connection.

    It belongs to the hub (and so the thread) that made it. One greenlet at a
    time may receive; any number may send, ping and close. Each wait ends when
    the connection does. A `gevent.Timeout` or `gevent.GreenletExit` may arrive
    at any wait: nothing received is lost and no frame is torn.

    Args:
        sock: connected; the connection owns it from now on.
        protocol: knows what the octets mean.
        options: limits and times.
        remote_address: the peer's, as `socket.accept` gives it.
    """

    def __init__(
        self, sock: Any, protocol: Protocol, options: Options, remote_address: Any
    ) -> None:
        hub = get_hub()
        self._hub = hub
        self._share = share_of(hub)
        self.protocol = protocol
        self.stream = Stream(sock, hub, self._share.buffer, protocol.out)
        self.configure(options)
        #: The request or response of the opening handshake, until it is taken.
        self.handshake_event: Any = None
        # The greenlet that waits in recv.
        self._receiver: Any = None
        # on_readable is running, and will flush.
        self._in_callback = False
        # The hub's share will flush.
        self._corked = False
        # Octets came, or were taken, since the last ping.
        self._alive = False
        # The kernel takes nothing any more.
        self._broken = False
        # Messages that nobody has room for are dropped: we are closing.
        self._dropping = False
        # TCP is gone.
        self._finished = False
        self._closed: Event | None = None
        self._drained: Event | None = None
        # When to do what, 0.0 for never, and the entry for the earliest.
        self._ping_due = 0.0
        self._pong_due = 0.0
        self._close_due = 0.0
        self._deadline: Entry | None = None
        self._pings: dict[bytes, PingWaiter] | None = None
        #: Seconds between the last ping and its pong; 0.0 before the first.
        self.latency = 0.0
        self._remote_address = remote_address
        self._local_address: Any = None
        self._id: uuid.UUID | None = None

    def configure(self, options: Options) -> None:
        """Take other limits and times; before the first message."""
        self._options = options
        high, low = options.queue_marks
        max_size, max_fragment = split_max_size(options.max_size)
        self._messages = Messages(high, low, max_size or 0 if high else 0)
        self._write_high, self._write_low = options.write_marks
        self._flush_at = min(self._write_high or CORK_SIZE, CORK_SIZE)
        self.protocol.limit(max_size, max_fragment)

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
    def local_address(self) -> Any:
        """Our address, as `socket.getsockname` gives it; also after closing."""
        if self._local_address is None:
            self._local_address = self.stream.sock.getsockname()
        return self._local_address

    @property
    def remote_address(self) -> Any:
        """The peer's address, as `socket.getpeername` gives it; also after closing."""
        return self._remote_address

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
        return self

    def __next__(self) -> str | bytes:
        try:
            return self._next_message()
        except ConnectionClosedOK:
            raise StopIteration from None

    # Public methods for sending

    def send(
        self,
        message: str | BytesLike,
        *,
        text: bool | None = None,
    ) -> None:
        """Send a message: str as Text, bytes-like as Binary.

        It waits while more than `write_limit` is not with the kernel yet. If
        something interrupts that wait the message is sent all the same.

        Args:
            text: True sends bytes as Text (they must be UTF-8), False sends str
                as Binary.

        Raises:
            ConnectionClosed: if the connection is closed, also while it waits.
            ConcurrencyError: from another thread.
            TypeError: if the message is neither str nor bytes-like.
        """
        protocol = self.protocol
        self._check_thread()
        if isinstance(message, str):
            opcode = OP_BINARY if text is False else OP_TEXT
        else:
            message = contiguous(message)
            opcode = OP_TEXT if text else OP_BINARY
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
        if self._pings is None:
            self._pings = {}
        while data is None and payload in self._pings:
            payload = secrets.token_bytes(4)
        if payload in self._pings:
            raise ConcurrencyError("a ping with the same data waits for its pong")
        self._send_control(OP_PING, payload)
        waiter = PingWaiter(self._share.deadlines.now())
        self._pings[payload] = waiter
        return waiter

    def pong(self, data: str | BytesLike = b"") -> None:
        """Send a pong nobody asked for, as a heartbeat (section 5.5.3).

        Raises as `ping`.
        """
        self._send_control(OP_PONG, self._control_payload(data))

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
        self._check_thread()
        self.begin_close(code, reason)
        self.wait_closed()

    def begin_close(
        self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = ""
    ) -> None:
        """Do what `close` does, without waiting."""
        if not isinstance(code, int) or not isinstance(reason, str):
            raise TypeError("a close code is an int, a close reason a str")
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
        if self._finished or getcurrent() is self._hub:
            return self._finished
        if self._closed is None:
            self._closed = Event()
        return self._closed.wait(timeout)

    # Private methods for greenlets

    def _check_thread(self) -> None:
        if thread_id() != self._share.thread:
            raise ConcurrencyError(
                "a connection belongs to the thread (the gevent hub) that made it"
            )

    def _next_message(self) -> Any:
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

    def _next_message_within(self, timeout: float) -> Any:
        if timeout <= 0:
            self._poll()
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

    def wait_input(self) -> None:
        """Wait for what `on_readable` finds, or the end of the connection."""
        self._wait_input()

    def _wait_input(self) -> None:
        current = getcurrent()
        if current is self._hub:
            raise ConcurrencyError("the hub can't wait for a message")
        self._receiver = current
        try:
            if self.protocol.out:
                self._flush()
            self._share.switch_to_hub()
        finally:
            self._receiver = None

    def wait_handshake(self) -> Any:
        """Return the request or response of the opening handshake; None at EOF."""
        while self.handshake_event is None and self.protocol.state_number == CONNECTING:
            self._wait_input()
        event = self.handshake_event
        self.handshake_event = None
        return event

    def _wrote(self) -> None:
        # A frame was appended: see to it that it is written.
        if len(self.protocol.out) > self._flush_at:
            self._flush()
            if self._write_high and len(self.protocol.out) > self._write_high:
                self._wait_until_buffered(self._write_low)
        else:
            self._cork()

    def _cork(self) -> None:
        # Have it flushed, by the callback that is running or at the turn's end.
        if not self._in_callback and not self._corked:
            self._corked = True
            self._share.flush_later(self)

    def _wait_until_buffered(self, limit: int) -> None:
        # Until no more than limit is buffered; the hub itself can't wait.
        protocol = self.protocol
        while len(protocol.out) > limit and protocol.state_number == OPEN:
            if getcurrent() is self._hub:
                return
            if self._drained is None:
                self._drained = Event()
            self._drained.clear()
            self._drained.wait()
        if self._broken or protocol.state_number != OPEN:
            self._raise_closed()

    def _raise_closed(self) -> None:
        # The exception shall tell how it ended: wait, if we are still closing.
        if self.protocol.ending is not None:
            self._conclude()
        if self.protocol.close_code is None:
            self.wait_closed()
        raise self.protocol.close_exc

    def _control_payload(self, data: str | BytesLike | None) -> bytes:
        if data is None:
            return secrets.token_bytes(4)
        if isinstance(data, str):
            return data.encode()
        return bytes(contiguous(data))

    def _send_control(self, opcode: int, payload: bytes) -> None:
        self._check_thread()
        if len(payload) > 125:
            raise ProtocolError("control frame too long")
        protocol = self.protocol
        if protocol.state_number != OPEN:
            self._raise_closed()
        write_frame(protocol.out, 0x80 | opcode, payload, protocol.masked)
        self._cork()

    # Private methods for the hub: they neither block nor raise

    def start(self) -> None:
        """Begin to read."""
        self.stream.start(self.on_readable)

    def start_keepalive(self) -> None:
        """Begin to send pings, once the connection is open."""
        if self._options.ping_interval is not None:
            now = self._share.deadlines.now()
            self._ping_due = now + self._options.ping_interval
            self._schedule()

    def on_readable(self) -> None:
        """Take what came; the hub calls this."""
        self._in_callback = True
        try:
            self._take_input()
        except BaseException:
            # A bug of ours: the loop, and other connections, must go on.
            self._hub.handle_error(self, *sys.exc_info())
            self._finish()
        self._in_callback = False

    def _take_input(self) -> None:
        protocol = self.protocol
        try:
            n = self.stream.read()
        except OSError:
            self._broken = True
            n = 0
        if n < 0 and not self._broken:
            return
        if n <= 0:
            self.stream.stop_reading()
            protocol.receive_eof()
        else:
            self._alive = True
            buffer = self._share.buffer
            if protocol.state_number == CONNECTING:
                protocol.receive_data(take_bytes(buffer, HEADROOM, HEADROOM + n))
            else:
                protocol._receive(buffer, HEADROOM, HEADROOM + n)
        self._process_events()

    def process_events(self) -> None:
        """Bring what the protocol has found to whom it concerns."""
        self._process_events()

    def _process_events(self) -> None:
        protocol = self.protocol
        messages = self._messages
        if protocol.events:
            self._sort_events()
        if self._receiver is not None and (
            messages.ready()
            or self.handshake_event is not None
            or protocol.state_number == CONNECTING
            or protocol.state_number == CLOSED
        ):
            self._switch_to_receiver()
        if protocol.ending is not None:
            # Its turn comes when the messages before it are taken.
            if not messages.ready():
                self._conclude()
            elif not self._close_due:
                self._set_close_due()
        elif protocol.state_number >= CLOSING and not self._dropping:
            self._begin_closing()
        if not self._dropping and messages.full():
            self.stream.pause()
        if protocol.out or protocol.eof_to_send:
            self._flush()

    def _sort_events(self) -> None:
        protocol = self.protocol
        events = protocol.events
        for event in events:
            if not isinstance(event, Frame):
                self.handshake_event = event
            elif not event.first & 0x08:
                if not (self._dropping and self._messages.full()):
                    self._messages.put(event)
            elif event.first & 0x0F == OP_PONG:
                self._take_pong(event.data)
        events.clear()

    def _take_pong(self, data: bytes) -> None:
        # Section 5.5.3: a pong may answer only the latest of several pings.
        pings = self._pings
        if pings is None or data not in pings:
            return
        now = self._share.deadlines.now()
        for payload in list(pings):
            self.latency = pings.pop(payload).answer(now)
            if payload == data:
                break
        if not pings:
            self._pings = None

    def _wake_receiver(self) -> None:
        # Have the greenlet that waits in recv look again.
        if self._receiver is None:
            return
        if getcurrent() is self._hub:
            self._switch_to_receiver()
        else:
            self._hub.loop.run_callback(self._wake_receiver)

    def _switch_to_receiver(self) -> None:
        # Straight into the greenlet that waits in recv; only the hub may.
        receiver = self._receiver
        try:
            receiver.switch()
        except BaseException:
            # It ended with this; it is not for whom the hub was serving.
            self._hub.handle_error(receiver, *sys.exc_info())

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

    def uncork(self) -> None:
        """Write what was sent in this turn of the loop; the hub calls this."""
        self._corked = False
        if self.protocol.out:
            self._flush()

    def on_writable(self) -> None:
        """Write more; the hub calls this when the kernel has room."""
        n_before = len(self.protocol.out)
        self._flush()
        if len(self.protocol.out) < n_before:
            self._alive = True
        if not self.protocol.out:
            self.stream.stop_waiting_writable()

    def _flush(self) -> None:
        # Write what there is, as far as the kernel takes it.
        protocol = self.protocol
        out = protocol.out
        if not self._broken:
            try:
                self.stream.flush()
                if not out and protocol.ping_unanswered is not None:
                    protocol.answer_ping()
                    self.stream.flush()
            except OSError:
                # What the peer sent before may still be read.
                self._broken = True
                self._hub.loop.run_callback(self._read_rest)
        if self._broken:
            out.clear()
        if out:
            self.stream.wait_writable(self.on_writable)
        if self._drained is not None and len(out) <= self._write_low:
            self._drained.set()
        if not out and protocol.eof_to_send:
            if protocol.state_number == CLOSED:
                self._finish()
            else:
                self.stream.shut()

    def _read_rest(self) -> None:
        # The connection is broken for writing: read to its end.
        while self.protocol.state_number != CLOSED:
            self.on_readable()

    # The end

    def _conclude(self) -> None:
        # Answer the close frame, or the violation, that ended the stream.
        self.protocol.conclude()
        self._begin_closing()

    def _begin_closing(self) -> None:
        self._dropping = True
        self.stream.resume()
        self._set_close_due()
        self._flush()
        if self._drained is not None:
            self._drained.set()
        if self.protocol.deaf:
            self._wake_receiver()

    def _set_close_due(self) -> None:
        self._ping_due = self._pong_due = self._close_due = 0.0
        if self._options.close_timeout is not None and not self._finished:
            now = self._share.deadlines.now()
            self._close_due = now + self._options.close_timeout
            self._schedule()

    def _finish(self) -> None:
        # TCP is gone: release everything that waits, once.
        if self._finished:
            return
        self._finished = True
        self.protocol.receive_eof()
        self.protocol.out.clear()
        try:
            self._local_address = self.local_address
        except OSError:
            pass
        self.stream.close()
        if self._deadline is not None:
            self._share.deadlines.cancel(self._deadline)
            self._deadline = None
        for event in (self._closed, self._drained):
            if event is not None:
                event.set()
        for waiter in (self._pings or {}).values():
            waiter.fail(self.protocol.close_exc)
        self._pings = None
        self._wake_receiver()
        self.on_finished()

    def on_finished(self) -> None:
        """Called once when TCP is gone; for subclasses. May not block or raise."""

    # Deadlines

    def _schedule(self) -> None:
        # See that on_deadline is called at the earliest due time.
        due = 0.0
        for when in (self._ping_due, self._pong_due, self._close_due):
            if when and (not due or when < due):
                due = when
        entry = self._deadline
        if entry is not None:
            if due and entry[0] <= due:
                return  # it fires early enough, and looks again
            self._share.deadlines.cancel(entry)
            self._deadline = None
        if due:
            self._deadline = self._share.deadlines.set(self, due)

    def on_deadline(self, now: float) -> None:
        """Do what is due; `Deadlines` calls this in the hub."""
        self._deadline = None
        if self._close_due and now >= self._close_due:
            self._close_due = 0.0
            if self.protocol.ending is not None:
                self._conclude()  # nobody took the messages before it
            else:
                self._finish()
            return
        if self._pong_due and now >= self._pong_due:
            self._pong_due = 0.0
            if not self._alive:
                # Also when the ping itself could not be written.
                self.protocol.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
                self._begin_closing()
                return
        if self._ping_due and now >= self._ping_due:
            self._keep_alive(now)
        self._schedule()

    def _keep_alive(self, now: float) -> None:
        interval, timeout = self._options.ping_interval, self._options.ping_timeout
        self._ping_due = now + interval if interval is not None else 0.0
        if timeout is not None and not self._pong_due:
            self._pong_due = now + timeout
            self._alive = False
        if self.protocol.state_number == OPEN:
            self.ping()


def contiguous(data: object) -> BytesLike:
    """Return ``data`` as something whose octets lie in one piece.

    Raises:
        TypeError: if it is not bytes-like.
    """
    if isinstance(data, (bytes, bytearray)):  # noqa: UP038 (compiled: a C check)
        return data
    if isinstance(data, memoryview):
        flat = data.c_contiguous and data.ndim == 1 and data.itemsize == 1
        return data if flat else bytes(data)
    raise TypeError(f"message must be str or bytes-like, not {type(data).__name__}")


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
        raise_exceptions: raise an ExceptionGroup of ConnectionClosed for those
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
            errors.append(connection.protocol.close_exc)
    if raise_exceptions and errors:
        raise ExceptionGroup("some connections were not open", errors)
