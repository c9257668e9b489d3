"""Octets of a read buffer in, payloads out; payloads in, frames out: the kernel.

This is the readable twin of ``_speedups.pyx``: the same names, the same
results, the same tests. The compiled modules take the functions of the kernel
in their place, at compile time, by their ``.pxd``; there is no choice at run
time.

A masking key is here the integer that its four octets make in little-endian
order; ``start`` and ``end`` are positions in a bytearray.
"""

from __future__ import annotations

import codecs
import os


__all__ = [
    "append_bytes",
    "append_frame",
    "apply_mask",
    "check_utf8",
    "recv_fd",
    "rotate_key",
    "send_fd",
    "take_bytes",
    "take_text",
    "unmask",
]


def apply_mask(data: bytes | bytearray | memoryview, key: bytes) -> bytes:
    """Mask or unmask ``data``.

    RFC 6455, section 5.3: octet i of the transformed data is the XOR of octet
    i of the original data with octet i modulo 4 of the masking key.
    """
    if len(key) != 4:
        raise ValueError("a masking key has 4 bytes")
    # One XOR of two long integers: the fastest way in plain Python.
    n = memoryview(data).nbytes
    long_key = key * (n // 4) + key[: n % 4]
    masked = int.from_bytes(data, "little") ^ int.from_bytes(long_key, "little")
    return masked.to_bytes(n, "little")


def rotate_key(key: int, n: int) -> int:
    """Return the key as it stands after ``n`` octets were masked with it."""
    shift = 8 * (n & 3)
    return (key >> shift) | (key << (32 - shift)) & 0xFFFFFFFF if shift else key


def unmask(buffer: bytearray, start: int, end: int, key: int) -> None:
    """Unmask in place what lies between ``start`` and ``end``."""
    buffer[start:end] = apply_mask(buffer[start:end], key.to_bytes(4, "little"))


def take_text(buffer: bytearray, start: int, end: int) -> str:
    """Decode UTF-8.

    Raises:
        UnicodeDecodeError: if it is not.
    """
    return buffer[start:end].decode()


def take_bytes(buffer: bytearray, start: int, end: int) -> bytes:
    """Copy a part of the buffer."""
    return bytes(buffer[start:end])


def append_bytes(out: bytearray, buffer: bytearray, start: int, end: int) -> None:
    """Append a part of the buffer to ``out``."""
    out += buffer[start:end]


def check_utf8(pending: bytes, buffer: bytearray, start: int, end: int) -> bytes | None:
    """Check a piece of a longer text, as it arrives.

    Args:
        pending: what the call for the piece before returned, at first ``b""``.

    Returns:
        The octets of the last character, as far as they came (``b""`` when the
        piece ends between two characters), or None when no text can go on like
        that. RFC 6455, section 8.1.
    """
    text = pending + buffer[start:end]
    try:
        _, n = codecs.utf_8_decode(text, "strict", False)
    except UnicodeDecodeError:
        return None
    rest = bytes(text[n:])
    # Alone of what can't go on, the beginning of a surrogate passes the decoder:
    # it waits for the third octet, lest "surrogatepass" accept it.
    return None if rest[:1] == b"\xed" and rest[1:] >= b"\xa0" else rest


def append_frame(
    out: bytearray,
    first: int,
    payload: str | bytes | bytearray | memoryview,
    masked: bool,
    key: int,
) -> None:
    """Append one frame to ``out`` (RFC 6455, section 5.2).

    Args:
        first: its first octet: FIN, RSV1-3, opcode.
        payload: text is encoded in UTF-8.
        masked: whether to mask it with ``key``.

    Raises:
        UnicodeEncodeError: if text holds surrogates.
        BufferError: if the payload does not lie in one piece in memory.
        TypeError: if it is neither text nor bytes-like.

    Nothing was appended then.
    """
    view = memoryview(payload.encode() if isinstance(payload, str) else payload)
    if not view.c_contiguous:
        raise BufferError("the payload does not lie in one piece")
    n = view.nbytes
    mask_bit = 0x80 if masked else 0
    if n < 126:
        head = bytes((first, mask_bit | n))
    elif n < 65536:
        head = bytes((first, mask_bit | 126)) + n.to_bytes(2, "big")
    else:
        head = bytes((first, mask_bit | 127)) + n.to_bytes(8, "big")
    if masked:
        octets = key.to_bytes(4, "little")
        out += head + octets + apply_mask(view, octets)
    else:
        out += head
        out += view


def recv_fd(fd: int, buffer: bytearray, start: int) -> int:
    """Read once from a non-blocking descriptor into ``buffer[start:]``.

    Returns:
        How many octets came; 0 at the end of the stream; -1 if none are there.

    Raises:
        OSError: if the connection is broken.
    """
    with memoryview(buffer) as view, view[start:] as room:
        try:
            return os.readv(fd, [room])
        except BlockingIOError:
            return -1


def send_fd(fd: int, buffer: bytearray) -> int:
    """Write once to a non-blocking descriptor.

    Returns:
        How many octets were taken; -1 if the kernel takes none now.

    Raises:
        OSError: if the connection is broken.
    """
    try:
        return os.write(fd, buffer)
    except BlockingIOError:
        return -1
