"""HAProxy's PROXY protocol: `parse_header`, and `serve` behind such a proxy.

With a real HAProxy: proxies/test_haproxy.py.
"""

from __future__ import annotations

import logging
import socket as original_socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import gevent
import pytest
from gevent import socket
from hypothesis import example, given
from hypothesis import strategies as st

from gws import Router, Server, connect, serve, unix_serve
from gws.server.proxy_protocol import (
    MAX_LINE,
    MAX_SIZE,
    ProxyHeader,
    ProxyProtocolError,
    crc32c,
    parse_header,
)

from ..wire import (
    HANDSHAKE,
    LONG,
    TEXT,
    RawPeer,
    dial,
    frame,
    port_of,
    raw_client,
    request,
)


SIGNATURE = bytes.fromhex("0D0A0D0A000D0A515549540A")

#: Addresses of TCP as version 2 has them.
IPV4 = bytes([1, 2, 3, 4, 5, 6, 7, 8]) + struct.pack("!HH", 56324, 443)
IPV6 = (
    bytes.fromhex("20010db8000000000000000000000001")
    + bytes.fromhex("20010db8000000000000000000000002")
    + struct.pack("!HH", 56324, 443)
)
MAPPED = (
    bytes.fromhex("00000000000000000000ffff01020304")
    + bytes.fromhex("00000000000000000000ffff05060708")
    + struct.pack("!HH", 56324, 443)
)
UNIX = b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0")

CLIENT4, SERVER4 = ("1.2.3.4", 56324), ("5.6.7.8", 443)
CLIENT6, SERVER6 = ("2001:db8::1", 56324), ("2001:db8::2", 443)


def binary(command: int, family: int, rest: bytes, *, n: int | None = None) -> bytes:
    """Return a header of version 2; ``n`` is a length that is not the right one."""
    length = len(rest) if n is None else n
    return SIGNATURE + struct.pack("!BBH", command, family, length) + rest


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def with_crc(rest: bytes, *behind: bytes) -> bytes:
    """Return a header of version 2 that ends with its checksum, and more TLVs."""
    tail = b"".join(behind)
    header = binary(0x21, 0x11, rest + tlv(3, bytes(4)) + tail)
    at = len(header) - len(tail) - 4
    return header[:at] + struct.pack("!I", crc32c(header)) + header[at + 4 :]


LONGEST = b"PROXY UNKNOWN " + b"f" * (MAX_LINE - 16) + b"\r\n"

#: Headers, and the client's and the server's address in them.
VALID: dict[str, tuple[bytes, Any, Any]] = {
    "TCP4": (b"PROXY TCP4 1.2.3.4 5.6.7.8 56324 443\r\n", CLIENT4, SERVER4),
    "TCP4, the longest": (
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        ("255.255.255.255", 65535),
        ("255.255.255.255", 65535),
    ),
    "TCP4, port 0": (b"PROXY TCP4 1.2.3.4 5.6.7.8 0 443\r\n", ("1.2.3.4", 0), SERVER4),
    "TCP6": (
        b"PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 56324 443\r\n",
        CLIENT6,
        SERVER6,
    ),
    "TCP6, IPv4 in it": (
        b"PROXY TCP6 ::ffff:1.2.3.4 ::ffff:5.6.7.8 56324 443\r\n",
        CLIENT4,
        SERVER4,
    ),
    "UNKNOWN": (b"PROXY UNKNOWN\r\n", None, None),
    "UNKNOWN and more": (b"PROXY UNKNOWN 1.2.3.4 x\ry\nz 1\r\n", None, None),
    "UNKNOWN, the longest": (LONGEST, None, None),
    "LOCAL": (binary(0x20, 0x00, b""), None, None),
    "LOCAL with addresses": (binary(0x20, 0x11, IPV4), None, None),
    "LOCAL with garbage": (binary(0x20, 0xFF, b"garbage"), None, None),
    "IPv4": (binary(0x21, 0x11, IPV4), CLIENT4, SERVER4),
    "IPv4, UDP": (binary(0x21, 0x12, IPV4), CLIENT4, SERVER4),
    "IPv6": (binary(0x21, 0x21, IPV6), CLIENT6, SERVER6),
    "IPv6, IPv4 in it": (binary(0x21, 0x21, MAPPED), CLIENT4, SERVER4),
    "Unix": (binary(0x21, 0x31, UNIX), "/run/client", "/run/server"),
    "Unix, no names": (binary(0x21, 0x31, bytes(216)), "", ""),
    "unspecified": (binary(0x21, 0x00, b""), None, None),
    "unspecified, with garbage": (binary(0x21, 0x00, b"garbage"), None, None),
    "unspecified protocol": (binary(0x21, 0x10, IPV4), None, None),
    "unspecified family": (binary(0x21, 0x01, IPV4), None, None),
    "TLVs": (
        binary(0x21, 0x11, IPV4 + tlv(4, b"") + tlv(0xE0, b"x" * 300)),
        CLIENT4,
        SERVER4,
    ),
    "checksum": (with_crc(IPV4), CLIENT4, SERVER4),
    "checksum and more": (with_crc(IPV4, tlv(1, b"http/1.1")), CLIENT4, SERVER4),
    "the longest": (
        binary(0x21, 0x11, IPV4 + tlv(4, bytes(MAX_SIZE - 16 - 12 - 3))),
        CLIENT4,
        SERVER4,
    ),
}

BROKEN: dict[str, tuple[bytes, str]] = {
    "HTTP": (b"GET / HTTP/1.1\r\n", "no PROXY header"),
    "TLS": (b"\x16\x03\x01", "no PROXY header"),
    "lower case": (b"proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "no PROXY header"),
    "no space": (b"PROXYTCP4", "no PROXY header"),
    "another signature": (SIGNATURE[:-1] + b"\r", "no PROXY header"),
    "no protocol": (b"PROXY \r\n", "invalid PROXY line"),
    "another protocol": (b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", "invalid"),
    "like UNKNOWN": (b"PROXY UNKNOWNS\r\n", "invalid"),
    "UNKNOWN, LF": (b"PROXY UNKNOWN\nGET / HTTP/1.1\r\n", "invalid"),
    "too few": (b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", "invalid"),
    "too many": (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n", "invalid"),
    "two spaces": (b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", "invalid"),
    "space at the end": (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n", "invalid"),
    "LF": (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\nx\r\n", "invalid"),
    "another family": (b"PROXY TCP4 ::1 ::2 1 2\r\n", "invalid"),
    "another family, 6": (b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n", "invalid"),
    "both families": (b"PROXY TCP4 1.2.3.4 ::2 1 2\r\n", "invalid"),
    "heading zero": (b"PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n", "invalid"),
    "256": (b"PROXY TCP4 256.2.3.4 5.6.7.8 1 2\r\n", "invalid"),
    "three numbers": (b"PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n", "invalid"),
    "a name": (b"PROXY TCP4 localhost 5.6.7.8 1 2\r\n", "invalid"),
    "a zone": (b"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n", "invalid"),
    "brackets": (b"PROXY TCP6 [::1] [::2] 1 2\r\n", "invalid"),
    "port 65536": (b"PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n", "invalid"),
    "port -1": (b"PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n", "invalid"),
    "port +1": (b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n", "invalid"),
    "port 01": (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 02\r\n", "invalid"),
    "port 1_0": (b"PROXY TCP4 1.2.3.4 5.6.7.8 1_0 2\r\n", "invalid"),
    "no port": (b"PROXY TCP4 1.2.3.4 5.6.7.8  2\r\n", "invalid"),
    "not ASCII": ("PROXY TCP4 1.2.3.٤ 5.6.7.8 1 2\r\n".encode(), "invalid"),
    "too long": (b"PROXY TCP4 " + b"1" * (MAX_LINE - 11), "too long"),
    "too long by one": (LONGEST[:-2] + b"f\r\n", "too long"),
    "version 1 of the binary one": (binary(0x11, 0x11, IPV4), "0x11"),
    "version 3": (binary(0x31, 0x11, IPV4), "0x31"),
    "command 2": (binary(0x22, 0x11, IPV4), "0x22"),
    "family 4": (binary(0x21, 0x41, IPV4), "unknown family 4"),
    "protocol 3": (binary(0x21, 0x13, IPV4), "or protocol 3"),
    "unspecified family, protocol 3": (binary(0x21, 0x03, b""), "or protocol 3"),
    "too short for IPv4": (binary(0x21, 0x11, IPV4[:-1]), "too short"),
    "too short for IPv6": (binary(0x21, 0x21, IPV4), "too short"),
    "too short for Unix": (binary(0x21, 0x31, UNIX[:-1]), "too short"),
    "half a TLV": (binary(0x21, 0x11, IPV4 + b"\x04\x00"), "within a TLV"),
    "TLV beyond the end": (binary(0x21, 0x11, IPV4 + b"\x04\x00\x02x"), "beyond"),
    "wrong checksum": (binary(0x21, 0x11, IPV4 + tlv(3, bytes(4))), "checksum"),
    "short checksum": (binary(0x21, 0x11, IPV4 + tlv(3, b"abc")), "checksum"),
    "too long, binary": (binary(0x21, 0x11, b"", n=MAX_SIZE - 15), "too long"),
}

valid = pytest.mark.parametrize(
    ("octets", "source", "destination"), VALID.values(), ids=VALID
)
broken = pytest.mark.parametrize(("octets", "why"), BROKEN.values(), ids=BROKEN)


# The parser


@valid
def test_valid(octets: bytes, source: Any, destination: Any) -> None:
    """What comes behind the header changes nothing, and is not counted."""
    header = ProxyHeader(len(octets), source, destination)
    for behind in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"\r\n", octets):
        assert parse_header(octets + behind) == header


@valid
def test_the_beginning(octets: bytes, source: Any, destination: Any) -> None:
    """There is no header before all of it is there."""
    some = {*range(min(len(octets), 300)), len(octets) - 1}
    assert [n for n in some if parse_header(octets[:n]) is not None] == []


@broken
def test_broken(octets: bytes, why: str) -> None:
    with pytest.raises(ProxyProtocolError, match=why):
        parse_header(octets)


@broken
def test_broken_octet_by_octet(octets: bytes, why: str) -> None:
    """It is found at the latest when all of it is there, and never taken before."""
    with pytest.raises(ProxyProtocolError, match=why):
        for n in range(1, len(octets) + 1):
            assert parse_header(octets[:n]) is None


def test_checksum() -> None:
    """RFC 3720, appendix B.4."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


@pytest.mark.parametrize("n", [*range(16, 28), *range(31, 35), *range(38, 46)])
def test_the_checksum_covers_all(n: int) -> None:
    """The addresses, itself, and what stands behind it."""
    octets = bytearray(with_crc(IPV4, tlv(1, b"http/1.1")))
    octets[n] ^= 0x01
    with pytest.raises(ProxyProtocolError, match="checksum"):
        parse_header(bytes(octets))


prefixes = st.sampled_from(
    [b"", b"PROXY ", b"PROXY TCP4 1.", SIGNATURE, SIGNATURE + b"\x21\x11\x00"]
)


@given(prefixes, st.binary(max_size=400))
@example(SIGNATURE, b"\x21\x21\xff\xff")
def test_any_octets(prefix: bytes, octets: bytes) -> None:
    """They are a header, or none yet, or refused; and a header does not grow."""
    octets = prefix + octets
    try:
        header = parse_header(octets)
    except ProxyProtocolError:
        return
    if header is None:
        assert len(octets) < MAX_SIZE
        return
    assert 15 <= header.size <= len(octets)
    assert parse_header(octets[: header.size]) == header
    assert parse_header(octets[: header.size - 1]) is None


# A server


V1, V2 = VALID["TCP4"][0], VALID["IPv4"][0]

#: With what follows, the system sends it as one packet.
MORE = getattr(original_socket, "MSG_MORE", 0)

sockets = pytest.mark.usefixtures("leakcheck")


def tell(ws: Any) -> None:
    """Say who it is, then echo."""
    ws.send(str(ws.remote_address))
    for message in ws:
        ws.send(message)


@contextmanager
def serving(trusted: str = "127.0.0.1", **options: Any) -> Iterator[Server]:
    options = {"proxy_protocol": True, "trusted_proxies": [trusted], **options}
    with serve(tell, "127.0.0.1", 0, **options) as server:
        yield server


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what was logged, of all levels, once there is something."""
    caplog.set_level(logging.DEBUG)

    def wait() -> list[str]:
        with gevent.Timeout(LONG):
            while not caplog.records:
                gevent.sleep(0.001)
        return [f"{x.levelname} {x.getMessage()}" for x in caplog.records]

    return wait


def check_echo(server: Server) -> None:
    """Check that somebody else is served."""
    with raw_client(server) as peer:
        peer.ask(V2 + request())
        assert peer.receive() == (TEXT, str(CLIENT4).encode())


@sockets
@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("name", ["TCP4", "IPv4", "IPv6", "Unix", "TLVs", "checksum"])
def test_the_address_is_the_client_s(name: str, size: int) -> None:
    """However it arrives, also in one packet with the request and a frame."""
    header, source, _ = VALID[name]
    octets = header + request() + frame(TEXT, b"hello")
    with serving() as server, raw_client(server) as peer:
        for n in range(0, len(octets), size):
            peer.write(octets[n : n + size])
            gevent.sleep(0)
        assert peer.read_head().startswith("HTTP/1.1 101 ")
        assert peer.receive() == (TEXT, str(source).encode())
        assert peer.receive() == (TEXT, b"hello")


@sockets
@pytest.mark.parametrize("name", ["UNKNOWN", "LOCAL", "unspecified"])
def test_nobody_is_named(name: str) -> None:
    """It is the proxy's own address; and what its headers say may be anybody's."""
    with serving() as server, raw_client(server) as peer:
        headers = HANDSHAKE + "X-Forwarded-For: 6.6.6.6\r\n"
        peer.ask(VALID[name][0] + request(headers=headers))
        assert peer.receive() == (TEXT, str(peer.sock.getsockname()).encode())


@sockets
@pytest.mark.parametrize(
    ("trusted", "address"), [("127.0.0.1", CLIENT4), ("0.0.0.0/0", ("9.9.9.9", 0))]
)
def test_forwarded_beyond_it(trusted: str, address: Any) -> None:
    """What the header names is believed if it is a trusted proxy's address itself."""
    with serving(trusted) as server, raw_client(server) as peer:
        headers = HANDSHAKE + "X-Forwarded-For: 9.9.9.9\r\n"
        peer.ask(V1 + request(headers=headers))
        assert peer.receive() == (TEXT, str(address).encode())


@sockets
def test_a_router() -> None:
    router = Router()
    router.route("/there", max_size=10)(tell)
    with serve(
        router, "127.0.0.1", 0, proxy_protocol=True, trusted_proxies=["127.0.0.1"]
    ) as server:
        for name, path in [("LOCAL", "/there"), ("TCP4", "/there")]:
            with raw_client(server) as peer:
                peer.ask(VALID[name][0] + request(path))
                source = VALID[name][1] or peer.sock.getsockname()
                assert peer.receive() == (TEXT, str(source).encode())


@sockets
@pytest.mark.parametrize("name", ["TCP4", "IPv6", "TLVs"])
@pytest.mark.parametrize("flags", [0, MORE], ids=["apart", "one packet"])
def test_before_tls(
    name: str, flags: int, server_context: ssl.SSLContext, client_context: Any
) -> None:
    header, source, _ = VALID[name]
    with serving(ssl=server_context) as server:
        sock = dial(port_of(server))
        sock.send(header, flags)
        uri = "wss://localhost/"
        with connect(uri, sock=sock, ssl=client_context, proxy=None) as ws:
            assert ws.recv(LONG) == str(source)
            ws.send("hello")
            assert ws.recv(LONG) == "hello"


@sockets
def test_a_unix_socket(unix_path: str) -> None:
    with unix_serve(tell, unix_path, proxy_protocol=True, trusted_proxies=["unix"]):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(unix_path)
        peer = RawPeer(sock)
        peer.write(V2[:20])
        gevent.sleep(0)
        peer.ask(V2[20:] + request())
        assert peer.receive() == (TEXT, str(CLIENT4).encode())
        peer.end()


# What is dropped, without an answer and with one line


@sockets
@broken
def test_broken_headers(octets: bytes, why: str, lines: Any) -> None:
    with serving() as server:
        with raw_client(server) as peer:
            peer.write(octets + request())
            with suppress(ConnectionResetError):  # what it did not read is lost
                assert peer.read_to_end() == b""
        (line,) = lines()
        assert line.startswith("DEBUG no connection: ('127.0.0.1', ")
        assert why in line
        check_echo(server)


@sockets
def test_no_header(lines: Any) -> None:
    """A trusted proxy must send it: whose connection it is cannot be guessed."""
    with serving() as server:
        with raw_client(server) as peer:
            peer.write(request())
            with suppress(ConnectionResetError):
                assert peer.read_to_end() == b""
        (line,) = lines()
        assert line.endswith(": no PROXY header")
        check_echo(server)


@sockets
@pytest.mark.parametrize("octets", [V1 + request(), V2 + request(), request(), b""])
def test_from_whom_nobody_trusts(octets: bytes, lines: Any) -> None:
    """It is dropped before it says a word."""
    with serving("10.0.0.0/8") as server:
        with raw_client(server) as peer, suppress(OSError):
            peer.write(octets)
            assert peer.read_to_end() == b""
        (line,) = lines()
        assert line.startswith("DEBUG no connection: ('127.0.0.1', ")
        assert line.endswith(": it is none of the trusted proxies")


@sockets
@pytest.mark.parametrize("octets", [b"", b"PROXY TCP4 1.2", V2[:14], V2[:20]])
def test_the_stream_ends_within_it(octets: bytes, lines: Any) -> None:
    with serving() as server:
        with raw_client(server) as peer:
            peer.write(octets)
            peer.half_close()
            assert peer.read_to_end() == b""
        (line,) = lines()
        assert line.endswith(": the stream ended before a PROXY header did")
        check_echo(server)


@sockets
@pytest.mark.parametrize("octets", [b"PRO", V2[:14]])
def test_a_reset_within_it(octets: bytes, lines: Any) -> None:
    with serving() as server:
        with raw_client(server) as peer:
            peer.write(octets)
            peer.reset()
        (line,) = lines()
        assert line.startswith("DEBUG no connection: ('127.0.0.1', ")
        check_echo(server)


@sockets
@pytest.mark.parametrize("octets", [b"", V1[:20], V2[:14]])
def test_too_slow(octets: bytes, lines: Any) -> None:
    """The time for TLS and the opening handshake is for the header as well."""
    with serving(open_timeout=0.1) as server, raw_client(server) as peer:
        peer.write(octets)
        assert peer.read_to_end() == b""
        (line,) = lines()
        assert line.startswith("DEBUG no handshake in time: ('127.0.0.1', ")


@sockets
def test_shutdown_within_it() -> None:
    server = serve(
        tell, "127.0.0.1", 0, proxy_protocol=True, trusted_proxies=["127.0.0.1"]
    )
    with raw_client(server) as peer:
        with server:
            peer.write(V2[:20])
            with gevent.Timeout(LONG):
                while not server._greenlets:
                    gevent.sleep(0.001)
        assert peer.read_to_end() == b""


# Options


@pytest.mark.parametrize("trusted", [None, [], iter(())])
def test_somebody_must_be_trusted(trusted: Any) -> None:
    with pytest.raises(ValueError, match="trusted_proxies"):
        serve(tell, "127.0.0.1", 0, proxy_protocol=True, trusted_proxies=trusted)


@sockets
def test_without_the_option_a_header_is_no_request() -> None:
    with (
        serve(tell, "127.0.0.1", 0, trusted_proxies=["127.0.0.1"]) as server,
        raw_client(server) as peer,
    ):
        peer.write(V1 + request())
        assert peer.read_head().startswith("HTTP/1.1 400 ")
