"""The octets of frames and of opening handshakes, made and read by hand.

Nothing here uses the protocol of gws: what tests it must not share its mistakes, and
must be able to say what it never would.
"""

from __future__ import annotations

import base64
import hashlib
import struct


#: The opcodes (RFC 6455, section 5.2).
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

#: The masking key of each frame that `frame` makes.
MASKING_KEY = b"\x01\x02\x03\x04"

#: The key of RFC 6455, section 1.2.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="

#: The headers that open a WebSocket connection (section 4.1), but for Host.
HANDSHAKE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
)


def frame(
    opcode: int, payload: bytes = b"", *, masked: bool = True, first: int = 0x80
) -> bytes:
    """Return a frame (RFC 6455, section 5.2).

    Args:
        opcode: any of 0 to 15, such as `TEXT`.
        payload: unmasked.
        masked: as a client's frames are, with the key 01 02 03 04.
        first: what stands beside the opcode in the first octet: FIN (0x80) and the
            reserved bits (0x40, 0x20, 0x10).
    """
    n = len(payload)
    mask_bit = 0x80 if masked else 0
    if n < 126:
        head = struct.pack("!BB", first | opcode, mask_bit | n)
    elif n < 65536:
        head = struct.pack("!BBH", first | opcode, mask_bit | 126, n)
    else:
        head = struct.pack("!BBQ", first | opcode, mask_bit | 127, n)
    return head + MASKING_KEY + mask(payload) if masked else head + payload


def mask(payload: bytes, key: bytes = MASKING_KEY) -> bytes:
    """Return the payload masked, or unmasked: it is the same (section 5.3)."""
    n = len(payload)
    pad = int.from_bytes((key * (n // 4 + 1))[:n], "big")
    return (int.from_bytes(payload, "big") ^ pad).to_bytes(n, "big")


def request(
    path: str = "/", headers: str = HANDSHAKE, host: str = "localhost"
) -> bytes:
    """Return a request to open a WebSocket connection.

    Args:
        path: its target.
        headers: lines, each with CR LF at its end; what `HANDSHAKE` is, and more.
        host: of the Host header.
    """
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode()


def switching_protocols(key: str, extra: str = "") -> bytes:
    """Return the response that accepts the request with ``key`` (section 4.2.2).

    Args:
        extra: more headers: lines, each with CR LF at its end.
    """
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode())
    accept = base64.b64encode(digest.digest()).decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{extra}\r\n"
    ).encode()


def header(head: str, name: str) -> str:
    """Return the only value of a header in the head of an HTTP message.

    Raises:
        ValueError: if it is not there, or more than once.
    """
    (value,) = headers(head, name)
    return value


def headers(head: str, name: str) -> list[str]:
    """Return the values of a header in the head of an HTTP message."""
    lines = [line.partition(":") for line in head.split("\r\n")[1:]]
    return [value.strip() for n, _, value in lines if n.lower() == name.lower()]
