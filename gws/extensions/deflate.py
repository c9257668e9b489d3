"""Messages to compressed messages, and back (RFC 7692, section 7.2).

Without context takeover, which is the default, a connection keeps nothing between
two messages. Compressors are then shared: `Compressors` lends one out for a message,
and a full flush at its end sees to it that no later message refers back to it. An
inflater is never shared: a peer who refers back where nothing is finds nothing.

With context takeover a connection has a compressor of its own (some 256 KiB), and
keeps of what it received the last bytes, to which the next message may refer (up to
32 KiB).
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from ..exceptions import PayloadTooBig, ProtocolError
from ..protocol.frames import Frame, make_frame
from .base import Extension


if TYPE_CHECKING:
    import zlib
else:
    # At our level zlib-ng takes 4/5 of the time for 4 KiB of JSON and 2/3 for 64 KiB,
    # for about the same size; text of 1 KiB takes a tenth more:
    # docs/topics/compression.md.
    try:
        from zlib_ng import zlib_ng as zlib
    except ImportError:
        import zlib


NAME = "permessage-deflate"

#: Shorter messages are not compressed: they would hardly get shorter.
THRESHOLD = 256

#: The best of zlib's fast levels: a third to two thirds of the time of its default,
#: 6, for sizes that are a tenth larger at most: docs/topics/compression.md.
LEVEL = 3

#: How many compressors of one kind wait for their next message. Whole messages need
#: one a thread; what fragmented messages hold meanwhile comes on top.
MAX_IDLE = 4

#: How many blocks with BFINAL=1 one frame may have. Each costs a copy of the rest of
#: the frame and a new inflater; nobody sends more than one.
MAX_FINAL_BLOCKS = 8

# Section 7.2.1: "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end";
# section 7.2.2: "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end". The empty
# block with BFINAL=1 after them is ours: only an inflater that was not left in the
# middle of something takes it for its end.
END = b"\x00\x00\xff\xff" + b"\x01\x00\x00\xff\xff"

#: Level, method, window bits, memLevel and strategy, for ``zlib.compressobj``.
Settings = tuple[int, int, int, int, int]


class Compressors:
    """Compressors of one kind that have no message to work on.

    Taking and putting back are atomic: any thread may.

    Args:
        settings: how they compress.
        last_flush: how a message ends: ``Z_FULL_FLUSH`` forgets it.
    """

    __slots__ = ("_idle", "_settings", "last_flush")

    def __init__(self, settings: Settings, last_flush: int) -> None:
        self._settings = settings
        self.last_flush = last_flush
        self._idle: list[Any] = []

    def take(self) -> Any:
        """Return a compressor: for one message, and for one caller."""
        try:
            return self._idle.pop()
        except IndexError:
            return zlib.compressobj(*self._settings)

    def put(self, compressor: Any) -> None:
        """Put back a compressor whose message is finished; drop any other."""
        if len(self._idle) < MAX_IDLE:
            self._idle.append(compressor)


# What all connections without context takeover share, by settings and threshold.
# `dict.setdefault` is atomic.
_shared: dict[tuple[int, ...], Compressors] = {}


def _compressors(
    shared: bool, window_bits: int, settings: Mapping[str, int], threshold: int
) -> Compressors:
    """Return the shared compressors of that kind, or new ones for one connection.

    Raises:
        ValueError, TypeError: if there are no such compressors.
    """
    if unknown := settings.keys() - {"level", "memLevel", "strategy"}:
        raise ValueError(f"not allowed in compress_settings: {sorted(unknown)}")
    args = (
        settings.get("level", LEVEL),
        zlib.DEFLATED,
        # Negative: without zlib's own header and checksum.
        -window_bits,
        settings.get("memLevel", zlib.DEF_MEM_LEVEL),
        settings.get("strategy", zlib.Z_DEFAULT_STRATEGY),
    )
    key = (*args, threshold)
    if key not in _shared:
        # What can't be met is to show now, not with the first message.
        zlib.compressobj(*args)
        _shared.setdefault(key, Compressors(args, zlib.Z_FULL_FLUSH))
    return _shared[key] if shared else Compressors(args, zlib.Z_SYNC_FLUSH)


class PerMessageDeflate(Extension):
    """The extension as both sides agreed on it (RFC 7692, section 7).

    With context takeover, what `encode` returned must be sent, in that order.

    Args:
        remote_no_context_takeover: whether what we receive refers to no message
            before it.
        local_no_context_takeover: the same for what we send.
        remote_max_window_bits: how far back the peer refers: 2**bits bytes; 8 to 15.
        local_max_window_bits: the same for us. 8 is more than zlib can do: nothing
            is compressed then, whatever `encode` is asked for. That is allowed:
            each message says whether it is.
        compress_settings: level, memLevel and strategy of ``zlib.compressobj``.
        threshold: `encode` leaves alone whole messages that are shorter: in bytes,
            or characters if it is text.

    Raises:
        ValueError, TypeError: if an argument makes no sense.
    """

    __slots__ = (
        "_compressor",
        "_compressors",
        "_inflater",
        "_window",
        "local_max_window_bits",
        "local_no_context_takeover",
        "remote_max_window_bits",
        "remote_no_context_takeover",
        "threshold",
    )

    name = NAME
    marks = 0x40

    def __init__(
        self,
        remote_no_context_takeover: bool,
        local_no_context_takeover: bool,
        remote_max_window_bits: int = 15,
        local_max_window_bits: int = 15,
        compress_settings: Mapping[str, int] | None = None,
        threshold: int = THRESHOLD,
    ) -> None:
        check_int("remote_max_window_bits", remote_max_window_bits, 8, 15)
        check_int("local_max_window_bits", local_max_window_bits, 8, 15)
        check_int("threshold", threshold, 0, sys.maxsize)
        self.remote_no_context_takeover = remote_no_context_takeover
        self.local_no_context_takeover = local_no_context_takeover
        self.remote_max_window_bits = remote_max_window_bits
        self.local_max_window_bits = local_max_window_bits
        self.threshold = threshold
        # None: nothing is ever compressed.
        self._compressors: Compressors | None = None
        if local_max_window_bits > 8:
            self._compressors = _compressors(
                local_no_context_takeover,
                local_max_window_bits,
                dict(compress_settings or ()),
                threshold,
            )
        # Those that work on a message of which a fragment went out, or came.
        self._compressor: Any = None
        self._inflater: Any = None
        # The end of what came: of all messages, or of the one whose inflater is kept.
        self._window: bytearray | None = None

    # Public methods

    def encode(self, frame: Frame, compress: bool | None = None) -> Frame:
        """Compress a frame, unless it is short, a control frame, or not to be.

        The first of several fragments is compressed, however short, unless
        ``compress`` is False; the others as the first was.
        """
        first = frame.first
        payload = frame.payload
        compressors = self._compressors
        if not first & 0x0F:
            compressor = self._compressor
            if compressor is None:
                return frame
            self._compressor = None  # if compressing fails, it is not used again
        elif first & 0x08 or compressors is None:
            return frame
        elif compress is False or (
            compress is None and first & 0x80 and len(payload) < self.threshold
        ):
            self._compressor = None
            return frame
        else:
            compressor = compressors.take()
            # Section 7.2.1: "set the RSV1 bit of the first frame".
            first |= 0x40
        if isinstance(payload, str):
            payload = payload.encode()
        data = compressor.compress(payload)
        if not first & 0x80:
            # Nothing waits in the compressor: a fragment can be read when it comes.
            data += compressor.flush(zlib.Z_SYNC_FLUSH)
            self._compressor = compressor
            return make_frame(first, data)
        assert compressors is not None  # where else came the compressor from
        data += compressor.flush(compressors.last_flush)
        compressors.put(compressor)
        return make_frame(first, data[:-4])

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Inflate a frame of a compressed message; return any other as it is.

        Raises:
            ProtocolError: if the data is not what section 7.2.1 makes (1002).
            PayloadTooBig: if there is more of it than ``max_size`` bytes (1009).
                One byte more than that is inflated at most.
        """
        first = frame.first
        if first & 0x40:
            inflater = self._new_inflater()
        elif first & 0x0F or self._inflater is None:
            return frame
        else:
            inflater = self._inflater
        payload = frame.payload
        if first & 0x80:
            payload += END
        # For zlib 0 is no limit, and none is larger than what a C integer can hold.
        limit = max_size + 1 if max_size is not None and max_size < sys.maxsize else 0
        try:
            data = inflater.decompress(payload, limit)
            if inflater.unused_data:
                inflater, data = self._next_streams(inflater, data, limit, first)
        except zlib.error as exc:
            raise ProtocolError("decompression failed") from exc
        if max_size is not None and len(data) > max_size:
            raise PayloadTooBig(None, max_size)
        if first & 0x80:
            if not inflater.eof:
                raise ProtocolError("decompression failed: incomplete data")
            inflater = None
        self._keep(inflater, data)
        return make_frame(first & ~0x40, data)

    def shared_encoding(self) -> Hashable | None:
        """Without context takeover: equal for equal settings and thresholds."""
        return self._compressors if self.local_no_context_takeover else None

    # Private methods

    def _new_inflater(self) -> Any:
        # With context takeover an inflater knows the end of what came before: that
        # takes less memory than to keep it from message to message.
        bits = -self.remote_max_window_bits
        if self._window is None or self.remote_no_context_takeover:
            self._window = None
            return zlib.decompressobj(bits)
        return zlib.decompressobj(bits, zdict=self._window)

    def _keep(self, inflater: Any, data: bytes) -> None:
        # Keep what the next frame needs: ``data`` was in this one.
        self._inflater = inflater
        if inflater is None and self.remote_no_context_takeover:
            self._window = None
            return
        size = 1 << self.remote_max_window_bits
        if self._window is None:
            self._window = bytearray()
        self._window += data[-size:]
        del self._window[:-size]

    def _next_streams(
        self, inflater: Any, data: bytes, limit: int, first: int
    ) -> tuple[Any, bytes]:
        """Go on after a block with BFINAL=1, the end of a DEFLATE stream.

        Section 7.2.3.4: "implementors can choose to flush data using DEFLATE blocks
        with "BFINAL" set to 1". The window goes on, the inflater does not.

        Returns:
            the inflater of the last stream, and the data of all of them.
        """
        before = bytes(self._window or b"")
        size = 1 << self.remote_max_window_bits
        for _ in range(MAX_FINAL_BLOCKS):
            if 0 < limit <= len(data):
                return inflater, data
            rest = inflater.unused_data
            if first & 0x80 and rest == END:
                # The example appends an octet 0x00 to such a block, so that the tail
                # can make an empty block of it. Who leaves it out ends there too.
                rest = b"\x00" + END
            window = (before + data[-size:])[-size:]
            inflater = zlib.decompressobj(-self.remote_max_window_bits, zdict=window)
            data += inflater.decompress(rest, limit and limit - len(data))
            if not inflater.unused_data:
                return inflater, data
        raise ProtocolError("decompression failed: too many final blocks")


def check_int(name: str, value: int, least: int, most: int) -> None:
    """Check an argument of a constructor.

    Raises:
        TypeError: if it is no int.
        ValueError: if it is not from ``least`` to ``most``.
    """
    if not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be from {least} to {most}, not {value}")
