"""What a connection is without its socket: octets in, events and octets out.

`Protocol` holds the state of one WebSocket connection (RFC 6455). Who does the
I/O calls, in this order:

1. `receive_data` with what the peer sent, `receive_eof` when it ends;
2. `events_received`: the frames that came;
3. any of the ``send_`` methods, for what there is to answer;
4. `data_to_send`, and writes what it returns; ``b""`` in it, once, means: end
   the stream in this direction (half-close);
5. if `close_expected` says so, starts a timer and closes the socket when it
   fires, or when the peer ends its stream.

Pings are answered by themselves. A close frame, or a violation of the protocol,
takes its turn: it is answered once the messages that came before it have been
taken with `events_received`, in `data_to_send`; so an answer to the last message
goes out before the close frame.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from ..exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidState,
    ProtocolError,
)
from .codes import (
    CLOSED,
    CLOSING,
    CONNECTING,
    OP_BINARY,
    OP_CLOSE,
    OP_CONT,
    OP_PING,
    OP_PONG,
    OP_TEXT,
    OPEN,
    CloseCode,
    Side,
    State,
)
from .frames import Close, Frame, as_frame, cut_reason, make_frame
from .reader import HEADROOM, MAX_FRAGMENTS, InvalidText, Reader
from .types import BytesLike, MaxSize
from .types import split_max_size as split_max_size
from .writer import write_frame


#: With more than this waiting to be sent only the latest ping is answered.
MAX_WAITING = 2**16

#: Once extensions have made more bytes than this of what came at once, its rest waits:
#: each octet of it may stand for a thousand.
MAX_DECODED = 2**17

#: 1000, 1001 and no code at all: a connection that ended as it should.
OK_CODES = {CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD}


class Protocol:
    """One side of a WebSocket connection, without I/O.

    It belongs to one thread at a time and never blocks. (More than 12 methods:
    one for each verb of the RFC, and `conclude` and `answer_ping` for who writes
    without copies.)

    Args:
        side: which end this is; a client masks what it sends.
        state: where to start; OPEN when the opening handshake was done elsewhere.
        max_size: the longest message taken, in bytes, or (message, fragment);
            longer ones close the connection with 1009. None takes any.
    """

    def __init__(
        self,
        side: Side,
        *,
        state: State = State.OPEN,
        max_size: MaxSize = 2**20,
    ) -> None:
        #: Which end of the connection this is.
        self.side = side
        #: Whether what is sent is masked.
        self.masked = side == Side.CLIENT
        #: The state as a plain integer of `codes`.
        self.state_number = int(state)
        self._reader = Reader(side == Side.SERVER, *split_max_size(max_size))
        #: The extensions that were agreed on, in the order of the handshake.
        self.extensions: tuple[Any, ...] = ()
        #: What connections have in common that encode a message alike; None where
        #: it depends on more. See `Extension.shared_encoding`.
        self.shared_encoding: Hashable | None = None
        #: What waits to be sent. Who writes from here removes what was written.
        self.out = bytearray()
        #: What came and was not taken yet, as frames; at first a request or response.
        #: Who takes it from here finds messages in one frame as their payload.
        self.events: list[Any] = []
        #: What came behind them and was not looked at yet. Who takes events from
        #: here takes it, too, and feeds it again.
        self.rest = b""
        #: Whether something else than such messages may be among the events.
        self.mixed = True
        #: What ended the incoming stream and was not answered yet; a close frame
        #: or an error.
        self.ending: Close | ProtocolError | InvalidText | None = None
        #: Nothing more of what comes is looked at.
        self.deaf = state == State.CLOSED
        #: A message is being sent in fragments.
        self.sending = False
        #: The payload of the latest ping that is not answered yet.
        self.ping_unanswered: bytes | None = None
        #: Whether this direction of the stream ends after ``out``.
        self.eof_to_send = False
        # `data_to_send` has said so.
        self._eof_told = False
        #: The close frame that came; None until then.
        self.close_rcvd: Close | None = None
        #: The close frame that was sent; None until then.
        self.close_sent: Close | None = None
        #: Whether the peer's close frame came first; None unless both are there.
        self.close_rcvd_then_sent: bool | None = None

    def limit(
        self,
        max_size: int | None,
        max_fragment: int | None,
        max_fragments: int | None = MAX_FRAGMENTS,
    ) -> None:
        """Set other bounds for messages and fragments, before the first frame.

        Args:
            max_size: bytes that a message may have; None is any number.
            max_fragment: bytes that one fragment may have; None is any number.
            max_fragments: how many fragments a message may have.
        """
        self._reader.limit(max_size, max_fragment, max_fragments)

    def use(self, extensions: Sequence[Any]) -> None:
        """Have `Extension` objects encode and decode the frames; before the first.

        The opening handshake does it with what was agreed on.
        """
        self.extensions = tuple(extensions)
        if len(self.extensions) == 1:
            self.shared_encoding = self.extensions[0].shared_encoding()
        self._reader.decode_with(self.extensions)

    # Properties

    @property
    def state(self) -> State:
        """Where the connection is in its life."""
        return State(self.state_number)

    @property
    def receiving(self) -> bool:
        """Whether a message, or a frame, has begun to come and is not whole."""
        return self._reader.inside()

    @property
    def close_code(self) -> int | None:
        """The close code (RFC 6455, section 7.1.5); None while not closed.

        1005 when the peer's close frame had none, 1006 when no close frame came.
        What waits for its turn, see `ending`, does not count yet.
        """
        if self.close_rcvd is not None:
            return self.close_rcvd.code
        if self.deaf and self.ending is None:
            return CloseCode.ABNORMAL_CLOSURE
        return None

    @property
    def close_reason(self) -> str | None:
        """The close reason (section 7.1.6); None while not closed."""
        if self.close_rcvd is not None:
            return self.close_rcvd.reason
        return None if self.close_code is None else ""

    @property
    def close_exc(self) -> ConnectionClosed:
        """The exception that tells how the connection ended."""
        rcvd = self.close_rcvd
        sent = self.close_sent
        if rcvd is not None and sent is not None and {rcvd.code, sent.code} <= OK_CODES:
            return ConnectionClosedOK(rcvd, sent, self.close_rcvd_then_sent)
        return ConnectionClosedError(rcvd, sent, self.close_rcvd_then_sent)

    # Public methods for receiving

    def receive_data(self, data: BytesLike) -> None:
        """Take octets that came; then call `events_received` and `data_to_send`.

        What is wrong with them is not raised: the peer is told.
        """
        if self.state_number == CONNECTING:
            self._receive_handshake(bytes(data))
            return
        buffer = bytearray(HEADROOM)
        buffer += self.rest
        buffer += data
        self.rest = b""
        self._receive(buffer, HEADROOM, len(buffer))

    def _receive(self, buffer: bytearray, start: int, end: int) -> None:
        # Take octets after the opening handshake, without a copy. Frames are
        # unmasked in place; HEADROOM octets before start must be free to use.
        if self.deaf:
            return
        reader = self._reader
        try:
            reader.load(buffer, start, end)
            while self.ending is None:
                event = reader.next_event()
                if event is None:
                    return
                if isinstance(event, Frame):
                    self.mixed = True
                    self._receive_frame(event)
                else:
                    self.events.append(event)
                if reader.n_decoded > MAX_DECODED and self.ending is None:
                    self.rest = reader.take_rest()
                    return
        except (ProtocolError, InvalidText) as exc:
            self.ending = exc
        # Section 5.5.1 and 7.1.7: what follows a close frame, or comes to who
        # failed the connection, is not processed.
        self.deaf = True

    def receive_eof(self) -> None:
        """Take the end of the peer's stream, or its loss: the state is CLOSED."""
        if self.state_number == CONNECTING:
            self._receive_handshake_eof()
        self._receive_rest()
        self.conclude()
        self.state_number = CLOSED
        self.deaf = True
        self.eof_to_send = True

    def events_received(self) -> list[object]:
        """Return what came since the last call: `Frame` objects, in order.

        Close frames are not among them: see `close_rcvd`. Before them, a server
        gets one `Request`, a client one `Response`.
        """
        self._receive_rest()
        events, self.events = self.events, []
        return [as_frame(x) if isinstance(x, (str, bytes)) else x for x in events]

    def conclude(self) -> None:
        """Answer what ended the incoming stream, if anything did.

        `data_to_send` does it by itself; who takes octets from ``out`` calls
        this once the messages that came before are handled.
        """
        ending = self.ending
        if ending is None:
            return
        self.ending = None
        if isinstance(ending, Close):
            self._answer_close(ending)
        else:
            self.fail(ending.close_code, str(ending))

    # Public methods for sending

    def send_text(self, data: str | BytesLike, fin: bool = True) -> None:
        """Send a text message, or its first fragment; bytes must be UTF-8.

        Args:
            fin: whether the message ends with this; if not, `send_continuation`
                sends the rest.

        Raises:
            InvalidState: if the connection is not open.
            ProtocolError: inside a fragmented message.
        """
        self.send_data(OP_TEXT, data, fin)

    def send_binary(self, data: BytesLike, fin: bool = True) -> None:
        """Send a binary message, or its first fragment. Raises as `send_text`."""
        self.send_data(OP_BINARY, data, fin)

    def send_continuation(self, data: str | BytesLike, fin: bool) -> None:
        """Send a further fragment; raises as `send_text`."""
        self.send_data(OP_CONT, data, fin)

    def send_data(
        self,
        opcode: int,
        data: str | BytesLike,
        fin: bool,
        compress: bool | None = None,
    ) -> None:
        """Send a data frame; raises as `send_text`.

        Args:
            compress: what to ask of an extension that compresses; None leaves it
                the choice.
        """
        self._check_open()
        # Section 5.4: fragments of one message follow each other.
        if self.sending and opcode != OP_CONT:
            raise ProtocolError("expected a continuation frame")
        if not self.sending and opcode == OP_CONT:
            raise ProtocolError("unexpected continuation frame")
        self.write(fin << 7 | opcode, data, compress)
        self.sending = not fin

    def write(
        self, first: int, payload: str | BytesLike, compress: bool | None = None
    ) -> None:
        """Append a frame to ``out``, as the extensions have it; nothing is checked.

        Args:
            first: the first octet, without reserved bits.
        """
        if not self.extensions:
            write_frame(self.out, first, payload, self.masked)
            return
        frame = self.encoded(first, payload, compress)
        write_frame(self.out, frame.first, frame.payload, self.masked)

    def encoded(
        self, first: int, payload: str | BytesLike, compress: bool | None
    ) -> Frame:
        """Return a frame as the extensions have it; see `write`."""
        frame = make_frame(first, payload)
        for extension in self.extensions:
            # Those that mark messages leave control frames alone.
            if not (extension.marks and first & 0x08):
                frame = extension.encode(frame, compress)
        return frame

    def send_close(self, code: int | None = None, reason: str = "") -> None:
        """Begin the closing handshake (RFC 6455, section 7.1.2).

        Raises:
            InvalidState: if the connection is not open.
            ProtocolError: if the code or the reason may not be sent.
        """
        self._check_open()
        close = Close(CloseCode.NO_STATUS_RCVD if code is None else code, reason)
        if code is not None:
            close.check()
        elif reason:
            raise ProtocolError("a close reason needs a code")
        self._write_close(close)

    def send_ping(self, data: BytesLike) -> None:
        """Send a ping; raises as `send_text`, and when it is over 125 bytes."""
        self._send_control(OP_PING, data)

    def send_pong(self, data: BytesLike) -> None:
        """Send a pong nobody asked for; raises as `send_ping`."""
        self._send_control(OP_PONG, data)

    def fail(self, code: int, reason: str = "") -> None:
        """Fail the WebSocket Connection (RFC 6455, section 7.1.7).

        Sends a close frame, unless one was sent or ``code`` is 1006, and looks
        at nothing more. A server also ends its stream; a client waits for the
        server to (section 7.1.1). In the opening handshake both end theirs. If
        the peer's close frame waits for its turn, that is answered instead.

        Raises:
            ProtocolError: if the code may not be sent.
        """
        if isinstance(self.ending, Close):
            self.conclude()
        if self.state_number == CONNECTING:
            self._end_handshake()
        elif self.state_number == OPEN:
            if code == CloseCode.ABNORMAL_CLOSURE:
                self.state_number = CLOSING
            else:
                self._write_close(Close(code, cut_reason(reason)))
        self.ending = None
        self.deaf = True
        if self.side == Side.SERVER:
            self.eof_to_send = True

    def answer_ping(self) -> None:
        """Answer a ping that had to wait because much else did.

        `data_to_send` does it; who takes octets from ``out`` calls this when it
        has become empty.
        """
        data = self.ping_unanswered
        if data is not None:
            self.ping_unanswered = None
            if self.state_number == OPEN:
                self.write(0x80 | OP_PONG, data)

    def data_to_send(self) -> list[bytes]:
        """Return what to write now; a last ``b""`` is the end of the stream."""
        if not self.events:
            self.conclude()
        self.answer_ping()
        data = [bytes(self.out)] if self.out else []
        self.out.clear()
        if self.eof_to_send and not self._eof_told:
            self._eof_told = True
            data.append(b"")
        return data

    def close_expected(self) -> bool:
        """Tell whether TCP should end soon, by whoever closes it, or by a timer."""
        return self.state_number >= CLOSING

    # Private methods

    def _receive_handshake(self, data: bytes) -> None:
        raise InvalidState("the opening handshake belongs to a subclass")

    def _receive_handshake_eof(self) -> None:
        """Say why the opening handshake failed; for a subclass."""

    def _open(self, leftover: bytes) -> None:
        # The opening handshake is done; what came behind it is frames.
        self.state_number = OPEN
        if leftover:
            self.receive_data(leftover)

    def _end_handshake(self) -> None:
        # It failed: nothing more comes from us, and nothing more is looked at.
        self.state_number = CLOSING
        self.deaf = True
        self.eof_to_send = True

    def _receive_rest(self) -> None:
        # For who has no socket that it could wait in.
        while self.rest:
            self.receive_data(b"")

    def _receive_frame(self, frame: Frame) -> None:
        opcode = frame.first & 0x0F
        if opcode == OP_CLOSE:
            try:
                self.ending = Close.parse(frame.data)
            except UnicodeDecodeError:
                raise InvalidText("invalid UTF-8 in the close reason") from None
            return
        if opcode == OP_PING and self.state_number == OPEN:
            # Section 5.5.2: "an endpoint MUST send a Pong frame in response".
            # Section 5.5.3: with several pings unanswered, it "MAY elect to
            # send a Pong frame for only the most recently processed Ping".
            self.ping_unanswered = frame.data
            if len(self.out) <= MAX_WAITING:
                self.answer_ping()
        self.events.append(frame)

    def _answer_close(self, close: Close) -> None:
        self.close_rcvd = close
        if self.state_number == OPEN:
            # Section 5.5.1: "If an endpoint receives a Close frame and did not
            # previously send a Close frame, the endpoint MUST send a Close frame
            # in response." "the endpoint typically echos the status code it
            # received"
            self._write_close(close)
        elif self.close_sent is not None:
            self.close_rcvd_then_sent = False
        # Section 7.1.1: the server closes the TCP connection, the client waits
        # for it.
        if self.side == Side.SERVER:
            self.eof_to_send = True

    def _write_close(self, close: Close) -> None:
        data = close.serialize()
        self.write(0x80 | OP_CLOSE, data)
        self.close_sent = close
        if self.close_rcvd is not None:
            self.close_rcvd_then_sent = True
        self.state_number = CLOSING

    def _check_open(self) -> None:
        if self.state_number != OPEN:
            raise InvalidState(f"connection is {self.state.name.lower()}")

    def _send_control(self, opcode: int, data: BytesLike) -> None:
        self._check_open()
        # In bytes: the items of a memoryview may be larger.
        if memoryview(data).nbytes > 125:
            raise ProtocolError("control frame too long")
        self.write(0x80 | opcode, data)
