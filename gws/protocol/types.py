"""The types that annotations of this package share, and how to read one."""

from __future__ import annotations


#: What holds octets in one piece.
BytesLike = bytes | bytearray | memoryview

#: A bound for one message, or for the message and each of its fragments, in
#: bytes; None is no bound.
MaxSize = int | tuple[int | None, int | None] | None


def split_max_size(max_size: MaxSize) -> tuple[int | None, int | None]:
    """Return the bounds of a message and of a fragment."""
    return max_size if isinstance(max_size, tuple) else (max_size, None)
