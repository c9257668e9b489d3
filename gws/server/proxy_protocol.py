"""The header of a proxy that passes on TCP: octets in, the client's address out.

HAProxy's PROXY protocol, versions 1 and 2 (proxy-protocol.txt; sections are its):
before anything else, before TLS too, the proxy says for whom it connects.
`parse_header` does no I/O; `receive_header` reads from a socket up to the end of the
header and not one octet further.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from gevent.socket import wait_read


#: How the headers begin: version 1, a line of text, and version 2, which is binary.
TEXT_PREFIX = b"PROXY "
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

#: The longest line of version 1, with its CR LF (section 2.1).
MAX_LINE = 107

#: The longest header of version 2 that is taken; the protocol would allow 64 KiB.
#: It has room for a client's certificate.
MAX_SIZE = 2**14

#: Signature, version and command, family and protocol, length of the rest.
FIXED_PART = struct.Struct("!12sBBH")

#: The commands and the type of a TLV that mean something here (section 2.2).
LOCAL, PROXY = 0, 1
TYPE_CRC32C = 3

#: The families: of version 1 with the class of their addresses, of version 2 with
#: the layout of their addresses and ports: source, destination, source, destination.
TEXT_FAMILIES: dict[bytes, type[IPv4Address | IPv6Address]] = {
    b"TCP4": IPv4Address,
    b"TCP6": IPv6Address,
}
UNSPEC, INET, INET6, UNIX = 0, 1, 2, 3
LAYOUTS = {
    INET: struct.Struct("!4s4sHH"),
    INET6: struct.Struct("!16s16sHH"),
    UNIX: struct.Struct("!108s108s"),
}

#: UNSPEC, STREAM and DGRAM.
PROTOCOLS = (0, 1, 2)


class ProxyProtocolError(OSError):
    """What came is no header, or not from who may send one.

    An `OSError` as `ssl.SSLError` is: there is no connection.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a proxy says of the connection that it passes on."""

    #: How many octets the header takes.
    size: int
    #: The client's address: host and port, or the path of a Unix socket; None if
    #: the proxy connects for itself (a health check), or does not know it.
    source: Any = None
    #: The address that the client connected to, in the same form.
    destination: Any = None


def parse_header(octets: bytes) -> ProxyHeader | None:
    """Parse the header that ``octets`` begin with.

    Returns:
        The header; None if more octets are needed, which belong to it.

    Raises:
        ProxyProtocolError: if there is none, or it is not valid or too long.
    """
    if octets.startswith(TEXT_PREFIX):
        return parse_text(octets)
    if octets.startswith(SIGNATURE):
        return parse_binary(octets)
    # "otherwise the protocol is not covered by this specification and the
    # connection must be dropped"
    if not TEXT_PREFIX.startswith(octets) and not SIGNATURE.startswith(octets):
        raise ProxyProtocolError("no PROXY header")
    return None


def receive_header(sock: Any) -> ProxyHeader:
    """Take the header from a connected socket, waiting cooperatively.

    Raises:
        ProxyProtocolError: as `parse_header`; or if the stream ends within it.
        OSError: if the connection breaks.
    """
    sock.setblocking(False)
    octets = b""
    while True:
        try:
            seen = sock.recv(MAX_SIZE, socket.MSG_PEEK)
        except BlockingIOError:
            wait_read(sock.fileno())
            continue
        if not seen:
            raise ProxyProtocolError("the stream ended before a PROXY header did")
        header = parse_header(octets + seen)
        if header is not None:
            sock.recv(header.size - len(octets))
            return header
        octets += sock.recv(len(seen))


# Version 1, section 2.1


def parse_text(octets: bytes) -> ProxyHeader | None:
    """Parse a header of version 1, as `parse_header` does."""
    # "If the CRLF sequence is not found in the first 107 characters, the receiver
    # should declare the line invalid."
    line, crlf, _ = octets[:MAX_LINE].partition(b"\r\n")
    if not crlf:
        if len(octets) >= MAX_LINE:
            raise ProxyProtocolError("the PROXY line is too long")
        return None
    size = len(line) + len(crlf)
    _, protocol, *fields = line.split(b" ")
    if protocol == b"UNKNOWN":
        # "the receiver must ignore anything presented before the CRLF"
        return ProxyHeader(size)
    try:
        return ProxyHeader(size, *parse_fields(protocol, fields))
    except ValueError:
        raise ProxyProtocolError(f"invalid PROXY line: {line!r}") from None


def parse_fields(protocol: bytes, fields: list[bytes]) -> tuple[Any, Any]:
    """Return both addresses of a line of version 1, or raise ValueError."""
    family = TEXT_FAMILIES.get(protocol)
    texts = [field.decode("ascii") for field in fields]
    # Python would take the zone of an address of IPv6.
    if family is None or len(texts) != 4 or "%" in "".join(texts):
        raise ValueError("not as section 2.1 has it")
    source, destination = (host_of(family(text)) for text in texts[:2])
    source_port, destination_port = (parse_port(text) for text in texts[2:])
    return (source, source_port), (destination, destination_port)


def parse_port(digits: str) -> int:
    """Parse "a decimal integer in the range [0..65535]", without heading zeroes."""
    port = int(digits)
    if str(port) != digits or not 0 <= port <= 65535:
        raise ValueError("invalid port")
    return port


# Version 2, section 2.2


def parse_binary(octets: bytes) -> ProxyHeader | None:
    """Parse a header of version 2, as `parse_header` does."""
    if len(octets) < FIXED_PART.size:
        return None
    _, version_command, family_protocol, n = FIXED_PART.unpack_from(octets)
    version, command = divmod(version_command, 16)
    # "the receiver must only accept this value"; "Receivers must drop connections
    # presenting unexpected values here."
    if version != 2 or command not in (LOCAL, PROXY):
        raise ProxyProtocolError(f"unknown version and command: {version_command:#04x}")
    size = FIXED_PART.size + n
    if size > MAX_SIZE:
        raise ProxyProtocolError(f"a PROXY header of {size} octets is too long")
    if len(octets) < size:
        return None
    if command == LOCAL:
        # "must use the real connection endpoints and discard the protocol block
        # including the family which is ignored"
        return ProxyHeader(size)
    return parse_block(octets[:size], *divmod(family_protocol, 16))


def parse_block(header: bytes, family: int, protocol: int) -> ProxyHeader:
    """Parse the addresses of a whole header, and check the rest of it."""
    # Other values "must be rejected as invalid by receivers".
    if (family != UNSPEC and family not in LAYOUTS) or protocol not in PROTOCOLS:
        raise ProxyProtocolError(f"unknown family {family} or protocol {protocol}")
    if UNSPEC in (family, protocol):
        # "The receiver should ignore address information."
        return ProxyHeader(len(header))
    layout = LAYOUTS[family]
    start = FIXED_PART.size
    if len(header) < start + layout.size:
        raise ProxyProtocolError("the PROXY header is too short for its addresses")
    check_tlvs(header, start + layout.size)
    source, destination, *ports = layout.unpack_from(header, start)
    if family == UNIX:
        return ProxyHeader(len(header), path_of(source), path_of(destination))
    address = IPv4Address if family == INET else IPv6Address
    return ProxyHeader(
        len(header),
        (host_of(address(source)), ports[0]),
        (host_of(address(destination)), ports[1]),
    )


def check_tlvs(header: bytes, pos: int) -> None:
    """Check what stands behind the addresses: type, length, value, and again."""
    while pos < len(header):
        if len(header) < pos + 3:
            raise ProxyProtocolError("the PROXY header ends within a TLV")
        kind, n = struct.unpack_from("!BH", header, pos)
        pos += 3
        if len(header) < pos + n:
            raise ProxyProtocolError("a TLV goes beyond the PROXY header")
        if kind == TYPE_CRC32C:
            check_crc(header, pos, n)
        pos += n


def check_crc(header: bytes, pos: int, n: int) -> None:
    """Check the checksum of the header, which stands in it at ``pos``."""
    # "replace the 32 bits of the checksum field in the received PROXY header with
    # all '0's and calculate a CRC32c checksum value of the whole PROXY header"
    blanked = header[:pos] + bytes(4) + header[pos + 4 :]
    if n != 4 or header[pos : pos + 4] != struct.pack("!I", crc32c(blanked)):
        raise ProxyProtocolError("the checksum of the PROXY header is wrong")


def crc32c(octets: bytes) -> int:
    """Return the CRC32c checksum (RFC 9260, appendix A)."""
    crc = 0xFFFFFFFF
    for octet in octets:
        crc = crc >> 8 ^ CRC32C_TABLE[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF


def crc32c_of_octet(octet: int) -> int:
    """Return an entry of the table: the polynomial divided into one octet."""
    for _ in range(8):
        octet = octet >> 1 ^ (0x82F63B78 if octet & 1 else 0)
    return octet


CRC32C_TABLE = [crc32c_of_octet(octet) for octet in range(256)]


# Addresses


def host_of(address: IPv4Address | IPv6Address) -> str:
    """Return an address as text; IPv4 as such, also where it is written as IPv6.

    A proxy does that when one of both ends has only an address of IPv6.
    """
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


def path_of(field: bytes) -> str:
    """Return the path of a Unix socket; empty if it has none, as clients' have."""
    return os.fsdecode(field.partition(b"\0")[0])
