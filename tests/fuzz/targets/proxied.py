"""Any octets in the place of a PROXY header.

What must hold: only ProxyProtocolError is raised; a header ends where it says, however
much of what follows has come; what is decided by the beginning stays decided; an
address is one.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Any

from gws.server.proxy_protocol import (
    MAX_SIZE,
    SIGNATURE,
    ProxyHeader,
    ProxyProtocolError,
    crc32c,
    parse_header,
)

from ..choices import outcome


def fuzz_one(data: bytes) -> None:
    whole = outcome(parse_header, data, raises=ProxyProtocolError)
    decided_at = len(data)
    for n in range(len(data)):
        seen = outcome(parse_header, data[:n], raises=ProxyProtocolError)
        if seen is not None:
            decided_at = n
            assert str(seen) == str(whole), "what follows changes it"
            break
    if isinstance(whole, ProxyHeader):
        check_header(data, whole, decided_at)
    elif whole is not None:
        assert str(whole).isprintable()


def check_header(data: bytes, header: ProxyHeader, decided_at: int) -> None:
    assert header.size <= min(len(data), MAX_SIZE)
    # It needs all of its octets and no other.
    assert decided_at == header.size
    for address in (header.source, header.destination):
        check_address(address)


def check_address(address: Any) -> None:
    if address is None or isinstance(address, str):
        return
    host, port = address
    assert str(ip_address(host)) == host
    assert 0 <= port < 65536


def binary(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", 0x20 | command, family, len(block)) + block


def summed(command: int, family: int, block: bytes) -> bytes:
    """Return a header that ends with its checksum (section 2.2.5)."""
    header = binary(command, family, block + b"\x03\x00\x04" + bytes(4))
    return header[:-4] + struct.pack("!I", crc32c(header))


INET = bytes([192, 0, 2, 1, 192, 0, 2, 2]) + struct.pack("!HH", 56324, 443)
INET6 = bytes(10) + b"\xff\xff\xc0\0\2\1" + bytes(15) + b"\1" + struct.pack("!HH", 1, 2)

SEEDS = {
    "text": b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET / HTTP/1.1\r\n",
    "text-6": b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.2 65535 0\r\n",
    "text-unknown": b"PROXY UNKNOWN whatever\r\n",
    "text-zone": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "text-too-long": b"PROXY UNKNOWN " + b"x" * 100,
    "binary": binary(1, 0x11, INET) + b"GET",
    "binary-6": binary(1, 0x21, INET6 + b"\x01\x00\x02h2"),
    "binary-unix": binary(1, 0x31, b"/run/x".ljust(108, b"\0") + bytes(108)),
    "binary-local": binary(0, 0x00, b""),
    "binary-sum": summed(1, 0x11, INET),
    "binary-wrong-sum": binary(1, 0x11, INET + b"\x03\x00\x04" + bytes(4)),
    "binary-too-long": SIGNATURE + b"\x21\x11\xff\xff",
    "http": b"GET / HTTP/1.1\r\n",
}
