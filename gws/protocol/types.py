"""The types that annotations of this package share."""

from __future__ import annotations


#: What holds octets in one piece.
BytesLike = bytes | bytearray | memoryview

#: A bound for one message, or for the message and each of its fragments, in
#: bytes; None is no bound.
MaxSize = int | tuple[int | None, int | None] | None
