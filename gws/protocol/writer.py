"""Payloads in, frames appended to an output buffer (RFC 6455, sections 5.2 and 5.3)."""

from __future__ import annotations

import os

from .mask import append_frame
from .types import BytesLike


#: How many bytes of randomness are fetched from the system at once.
POOL_SIZE = 4096


class MaskingKeys:
    """Masking keys, fresh for each frame.

    RFC 6455, section 5.3: the key "MUST be derived from a strong source of
    entropy, and the masking key for a given frame MUST NOT make it simple for
    a server/proxy to predict the masking key for a subsequent frame". The
    pool is only a buffer of `os.urandom`: no octet of it is used twice. A
    system call a frame would cost more than the frame.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drop what is left; a forked child would use the same keys."""
        self._pool = b""
        self._position = 0

    def next(self) -> int:
        """Return the next key: 32 bits."""
        if self._position == len(self._pool):
            self._pool = os.urandom(POOL_SIZE)
            self._position = 0
        at = self._position
        self._position = at + 4
        pool = self._pool
        # Step by step, as in `Reader.next_event`.
        key = pool[at]
        key = key << 8 | pool[at + 1]
        key = key << 8 | pool[at + 2]
        return key << 8 | pool[at + 3]


masking_keys = MaskingKeys()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=masking_keys.forget)


def write_frame(
    out: bytearray, first: int, payload: str | BytesLike, masked: bool
) -> None:
    """Append one frame to ``out``.

    Args:
        first: the frame's first octet: FIN, RSV1-3 and opcode.
        payload: text goes out in UTF-8.
        masked: whether to mask it: section 5.1, "a client MUST mask all frames".

    Raises:
        UnicodeEncodeError, BufferError, TypeError: as `mask.append_frame`; nothing
            was appended.
    """
    append_frame(out, first, payload, masked, masking_keys.next() if masked else 0)
