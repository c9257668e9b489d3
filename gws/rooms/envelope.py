"""Entries as bytes, on their way through a bus that others may write to as well.

Version 1, all numbers in network byte order:

    0   2  "gw"
    2   1  version: 1
    3   1  flags: 1 for text, 2 for a key
    4   8  origin
    12  8  number
    20  2  length of the key in bytes, and the key, if flag 2 is set
    ..     the message, to the end

What cannot be read is nobody's code to run: there is no pickle here, nor anything else
that makes more of bytes than str, bytes and numbers.
"""

from __future__ import annotations

import struct

from .entry import Entry


#: The longest entry that is sent or read, in bytes.
MAX_ENTRY = 2**24

_head = struct.Struct("!2sBB8sQ")
_key_length = struct.Struct("!H")

#: Where origin and number stand, which tell an entry from all others.
NONCE = slice(4, 20)

MAGIC = b"gw"
VERSION = 1
TEXT = 1
KEY = 2


class InvalidEnvelope(ValueError):
    """Bytes that came by a bus are not an entry."""


def pack(entry: Entry) -> bytes:
    """Return an entry as bytes, without its id.

    Raises:
        ValueError: if the entry is too long for a bus.
    """
    message = entry.message
    flags = TEXT if isinstance(message, str) else 0
    payload = message.encode() if isinstance(message, str) else message
    key = b""
    if entry.key is not None:
        flags |= KEY
        octets = entry.key.encode()
        if len(octets) > 0xFFFF:
            raise ValueError("a key is at most 65535 bytes of UTF-8")
        key = _key_length.pack(len(octets)) + octets
    head = _head.pack(MAGIC, VERSION, flags, entry.origin, entry.number)
    if len(head) + len(key) + len(payload) > MAX_ENTRY:
        raise ValueError(f"a message is at most about {MAX_ENTRY} bytes on a bus")
    return b"".join((head, key, payload))


def unpack(data: bytes) -> Entry:
    """Return the entry that bytes stand for.

    Raises:
        InvalidEnvelope: if they stand for none, or for one of a later version.
    """
    if len(data) > MAX_ENTRY:
        raise InvalidEnvelope(f"{len(data)} bytes are too many")
    if len(data) < _head.size:
        raise InvalidEnvelope("too short")
    magic, version, flags, origin, number = _head.unpack_from(data)
    if magic != MAGIC:
        raise InvalidEnvelope("not an entry")
    if version != VERSION or flags & ~(TEXT | KEY):
        raise InvalidEnvelope(f"version {version}, flags {flags:#x} are not known here")
    key, start = (None, _head.size) if not flags & KEY else _unpack_key(data)
    payload = data[start:]
    try:
        message = payload.decode() if flags & TEXT else payload
    except UnicodeDecodeError:
        raise InvalidEnvelope("text that is not UTF-8") from None
    return Entry(message, origin, number, key)


def _unpack_key(data: bytes) -> tuple[str, int]:
    # The key, and where the message begins.
    start = _head.size + _key_length.size
    if len(data) < start:
        raise InvalidEnvelope("too short")
    (n,) = _key_length.unpack_from(data, _head.size)
    octets = data[start : start + n]
    if len(octets) < n:
        raise InvalidEnvelope("too short for its key")
    try:
        return octets.decode(), start + n
    except UnicodeDecodeError:
        raise InvalidEnvelope("a key that is not UTF-8") from None
