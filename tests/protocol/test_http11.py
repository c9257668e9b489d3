"""Requests and responses of the opening handshake: read, refused, written."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gws.exceptions import (
    HeaderLineTooLong,
    InvalidHandshake,
    InvalidMessage,
    InvalidMethod,
    InvalidProtocol,
    RequestLineTooLong,
    SecurityError,
    StatusLineTooLong,
    TooManyHeaders,
)
from gws.protocol.body import MAX_BODY
from gws.protocol.datastructures import TCHAR, Headers
from gws.protocol.head import HeaderLimits
from gws.protocol.http11 import (
    Request,
    RequestReader,
    Response,
    ResponseReader,
    parse_request,
    read_request,
    read_response,
)


Message = Request | Response
#: What a reader made of some bytes: a message and what was left over, or an error.
Outcome = tuple[Message, bytes] | str

# The example of RFC 6455 1.2.
REQUEST = (
    b"GET /chat HTTP/1.1\r\n"
    b"Host: server.example.com\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Origin: http://example.com\r\n"
    b"Sec-WebSocket-Protocol: chat, superchat\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"\r\n"
)
RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    b"\r\n"
)
REFUSAL = (
    b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n"
    b"nope\n"
)

LINE = b"GET / HTTP/1.1\r\n"


def feed_all(
    reader: RequestReader | ResponseReader,
    pieces: Iterable[bytes],
    *,
    eof: bool = False,
) -> Outcome:
    """Feed all ``pieces``; those after a message count as left over."""
    pieces = iter(pieces)
    message: Message | None = None
    try:
        for piece in pieces:
            message = reader.feed(piece)
            if message is not None:
                break
        if message is None and eof:
            message = reader.feed_eof()
    except InvalidHandshake as exc:
        return repr(exc)
    if message is None:
        return "needs more"
    return message, reader.leftover + b"".join(pieces)


def cut(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    ends = sorted(n for n in cuts if n < len(data))
    return [data[i:j] for i, j in itertools.pairwise([0, *ends, len(data)])]


def bytewise(data: bytes) -> Iterator[bytes]:
    return (data[i : i + 1] for i in range(len(data)))


def request_of(data: bytes) -> Request:
    """Read a request in each possible way; check that all give the same."""
    reader = RequestReader()
    request = reader.feed(data)
    assert request is not None
    assert parse_request(reader.head) == request
    assert reader.head + reader.leftover == data
    assert feed_all(RequestReader(), bytewise(data)) == (request, reader.leftover)
    stream = io.BytesIO(data)
    assert read_request(stream) == request
    assert stream.read() == reader.leftover
    return request


def request_error(data: bytes, error: type[InvalidHandshake]) -> InvalidHandshake:
    """Read bytes that are no request in each possible way; return the error."""
    with pytest.raises(InvalidHandshake) as info:
        RequestReader().feed(data)
    assert type(info.value) is error
    assert feed_all(RequestReader(), bytewise(data)) == repr(info.value)
    for read in (parse_request, lambda data: read_request(io.BytesIO(data))):
        with pytest.raises(error) as other:
            read(data)
        assert repr(other.value) == repr(info.value)
    return info.value


def response_of(data: bytes, *, eof: bool = False) -> Response:
    """Read a response in each possible way; check that all give the same."""
    outcome = feed_all(ResponseReader(), [data], eof=eof)
    assert not isinstance(outcome, str), outcome
    response, leftover = outcome
    assert isinstance(response, Response)
    stream = io.BytesIO(data)
    assert read_response(stream) == response
    if response.status_code == 101:
        assert stream.read() == leftover
        assert feed_all(ResponseReader(), bytewise(data)) == outcome
    else:
        assert leftover == b""
        assert feed_all(ResponseReader(), bytewise(data), eof=eof)[0] == response
    return response


def response_error(data: bytes, error: type[InvalidHandshake]) -> InvalidHandshake:
    """Read bytes that are no response in each possible way; return the error."""
    with pytest.raises(InvalidHandshake) as info:
        ResponseReader().feed(data)
    assert type(info.value) is error
    assert feed_all(ResponseReader(), bytewise(data)) == repr(info.value)
    with pytest.raises(error) as other:
        read_response(io.BytesIO(data))
    assert repr(other.value) == repr(info.value)
    return info.value


# Requests


def test_request() -> None:
    request = request_of(REQUEST)
    assert request == Request(
        "/chat",
        Headers(
            [
                ("Host", "server.example.com"),
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("Origin", "http://example.com"),
                ("Sec-WebSocket-Protocol", "chat, superchat"),
                ("Sec-WebSocket-Version", "13"),
            ]
        ),
    )
    assert request.serialize() == REQUEST


@pytest.mark.parametrize("leftover", [b"\x81\x80abcd", b"GET /admin HTTP/1.1\r\n\r\n"])
def test_request_with_leftover(leftover: bytes) -> None:
    assert request_of(REQUEST + leftover) == request_of(REQUEST)
    reader = RequestReader()
    reader.feed(REQUEST + leftover)
    assert reader.head == REQUEST
    assert reader.leftover == leftover


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("/a/b?c=d&e", "/a/b?c=d&e"),
        ("//a/../b", "//a/../b"),
        ("/%C3%A9", "/%C3%A9"),
        ("/\"<>[\\]^`{|}~!$&'()*+,;=:@", "/\"<>[\\]^`{|}~!$&'()*+,;=:@"),
    ],
)
def test_request_target(target: str, path: str) -> None:
    data = f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    request = request_of(data)
    assert request.path == path
    assert request.serialize() == data


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        ("http://b.example/a?b", "/a?b", "b.example"),
        ("HTTPS://B.example:8765/", "/", "B.example:8765"),
        ("http://b.example", "/", "b.example"),
        ("http://[::1]:80?b", "/?b", "[::1]:80"),
    ],
)
def test_absolute_form_replaces_host(target: str, path: str, host: str) -> None:
    request = request_of(f"GET {target} HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n".encode())
    assert request == Request(path, Headers([("X", "y"), ("Host", host)]))


@pytest.mark.parametrize("hosts", [[], ["a", "a"]])
def test_absolute_form_does_not_mend_host(hosts: list[str]) -> None:
    lines = "".join(f"Host: {host}\r\n" for host in hosts)
    request = request_of(f"GET http://b/ HTTP/1.1\r\n{lines}\r\n".encode())
    assert request.headers.get_all("Host") == hosts


@pytest.mark.parametrize(
    "target",
    [
        "*",
        "a",
        "a.example:443",
        "http://",
        "http:///a",
        "http:/a",
        "http://a:b@c/",
        "http://a,b/",
        "http://a:0/",
        "http://a:65536/",
        "http://[::1/",
        "ws://a/",
        "ftp://a/",
        "?a",
    ],
)
def test_invalid_request_target(target: str) -> None:
    exc = request_error(f"GET {target} HTTP/1.1\r\n\r\n".encode(), InvalidMessage)
    assert str(exc) == f"invalid HTTP request target: {target}"


def test_one_empty_line_before_the_request() -> None:
    assert request_of(b"\r\n" + REQUEST) == request_of(REQUEST)
    request_error(b"\r\n\r\n" + REQUEST, InvalidMessage)
    request_error(b"\n" + REQUEST, InvalidMessage)


@pytest.mark.parametrize(
    "line",
    [
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/1.1 a",
        b"GET\t/ HTTP/1.1",
        b"GET / a HTTP/1.1",
        b"GET",
        b"GET ",
        b"GET HTTP/1.1",
        b"GET / http/1.1",
        b"GET / HTTP/11",
        b"GET / HTTP/1.10",
        b"GET / HTTP/1.",
        b"GET / HTTP",
        b"GET / HTTPS/1.1",
        b"GET /a#b HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\x0b HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET /\x85 HTTP/1.1",
        b"GET /\r/ HTTP/1.1",
        b"G@T / HTTP/1.1",
        b"POST /",
    ],
)
def test_invalid_request_line(line: bytes) -> None:
    data = line + b"\r\nHost: a\r\n\r\n"
    exc = request_error(data, InvalidMessage)
    assert str(exc).startswith("invalid HTTP request line: ")
    assert str(exc).isprintable()
    assert isinstance(exc, InvalidMessage)
    assert not exc.eof


@pytest.mark.parametrize(
    ("data", "protocol"),
    [
        (b"GET / HTTP/1.0\r\n", "HTTP/1.0"),
        (b"POST / HTTP/1.0\r\n", "HTTP/1.0"),
        (b"GET / HTTP/1.2\r\n", "HTTP/1.2"),
        (b"GET / HTTP/2\r\n", "HTTP/2"),
        (b"GET /\r\n", "HTTP/0.9"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2.0"),
    ],
)
def test_invalid_protocol(data: bytes, protocol: str) -> None:
    exc = request_error(data, InvalidProtocol)
    assert isinstance(exc, InvalidProtocol)
    assert exc.protocol == protocol


@pytest.mark.parametrize(
    "method", ["POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "get", "Get", "GETS", "M-X"]
)
def test_invalid_method(method: str) -> None:
    exc = request_error(f"{method} / HTTP/1.1\r\n".encode(), InvalidMethod)
    assert isinstance(exc, InvalidMethod)
    assert exc.method == method


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",  # TLS
        b"\x05\x01\x00",  # SOCKS 5
        b"\x00",
        b" GET / HTTP/1.1\r\n",
        b"\xff" * 10_000,
        b"\n\n\n",
    ],
)
def test_not_http_is_refused_with_its_first_byte(data: bytes) -> None:
    assert str(request_error(data, InvalidMessage)) == "not an HTTP request"
    with pytest.raises(InvalidMessage, match="not an HTTP request"):
        RequestReader().feed(data[:1])


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (b"A : b\r\n", InvalidMessage),
        (b" A: b\r\n", InvalidMessage),
        (b"A: b\r\n folded\r\n", InvalidMessage),
        (b"A: b\r\n\tc: d\r\n", InvalidMessage),
        (b": b\r\n", InvalidMessage),
        (b"A\r\n", InvalidMessage),
        (b"A: b\n", InvalidMessage),
        (b"A: b\nC: d\r\n", InvalidMessage),
        (b"\n", InvalidMessage),
        *[
            (b"A: b%bc\r\n" % char, InvalidMessage)
            for char in (b"\r", b"\0", b"\x0b", b"\x0c", b"\x1c", b"\x1e", b"\x85")
        ],
        (b"A: b\r\n" * 101, TooManyHeaders),
        (b"A: b\r\n" * 2_000, TooManyHeaders),
        (b"A: " + b"b" * 9_000, HeaderLineTooLong),
        (b"A" * 100_000, HeaderLineTooLong),
        ((b"A: " + b"b" * 8_000 + b"\r\n") * 90, SecurityError),
    ],
)
def test_request_headers_refused(lines: bytes, error: type[InvalidHandshake]) -> None:
    request_error(LINE + lines + b"\r\n", error)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /" + b"a" * 8_187,
        b"GET /" + b"a" * 8_177 + b" HTTP/1.1\r\n",
        b"GET /" + b"a" * 1_000_000,
        b"G" * 8_193,
        b"\r\nGET /" + b"a" * 8_187,
    ],
    ids=len,
)
def test_request_line_too_long(data: bytes) -> None:
    request_error(data, RequestLineTooLong)


def test_request_line_at_the_limit() -> None:
    line = b"GET /" + b"a" * 8_176 + b" HTTP/1.1\r\n"
    assert len(line) == 8_192
    assert len(request_of(line + b"\r\n").path) == 8_177


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "request line"),
        (b"\r\n", "request line"),
        (b"GET", "request line"),
        (LINE[:-1], "request line"),
        (LINE, "headers"),
        (REQUEST[:-1], "headers"),
        (REQUEST[:-2], "headers"),
    ],
)
def test_request_cut_off(data: bytes, part: str) -> None:
    message = f"connection closed while reading HTTP {part}"
    reader = RequestReader()
    assert reader.feed(data) is None
    reads: list[Callable[[], object]] = [
        reader.feed_eof,
        lambda: parse_request(data),
        lambda: read_request(io.BytesIO(data)),
    ]
    for read in reads:
        with pytest.raises(InvalidMessage) as info:
            read()
        assert str(info.value) == message
        assert info.value.eof


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a",
        "*",
        "http://a/",
        "/a b",
        "/a\r\nb: c",
        "/a\n",
        "/\0",
        "/é",
        "/#",
        "/\x7f",
    ],
)
def test_request_that_may_not_be_sent(path: str) -> None:
    with pytest.raises(ValueError, match="invalid path"):
        Request(path, Headers()).serialize()


def test_other_limits() -> None:
    limits = HeaderLimits(line=20_000, headers=200, total=40_000)
    data = b"GET / HTTP/1.1\r\nA: " + b"b" * 15_000 + b"\r\n" + b"C: d\r\n" * 150
    data += b"\r\n"
    with pytest.raises(SecurityError):
        parse_request(data)
    request = parse_request(data, limits)
    assert len(request.headers["A"]) == 15_000
    assert RequestReader(limits).feed(data) == request
    with pytest.raises(SecurityError):
        RequestReader(HeaderLimits(headers=10)).feed(
            b"GET / HTTP/1.1\r\n" + data[-200:]
        )


# Responses


def test_response() -> None:
    response = response_of(RESPONSE)
    assert response == Response(
        101,
        "Switching Protocols",
        Headers(
            [
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ]
        ),
    )
    assert response.serialize() == RESPONSE


@pytest.mark.parametrize("headers", [b"", b"Content-Length: 2\r\n"])
def test_what_follows_a_101_is_no_body(headers: bytes) -> None:
    reader = ResponseReader()
    data = RESPONSE[:-2] + headers + b"\r\n"
    assert not reader.head_complete
    response = reader.feed(data + b"\x81\x02hi")
    assert response is not None
    assert response.body == b""
    assert reader.leftover == b"\x81\x02hi"
    assert reader.head_complete
    assert reader.response_so_far() is response
    assert reader.feed_eof() is response
    assert response_of(data + b"\x81\x02hi") == response


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
@pytest.mark.parametrize(
    "headers", [b"", b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n"]
)
@pytest.mark.parametrize("status_code", [200, 204, 299])
def test_what_follows_a_2xx_to_connect_is_no_body(
    status_code: int, headers: bytes, version: bytes
) -> None:
    data = version + b" %d Established\r\n" % status_code + headers + b"\r\n"
    reader = ResponseReader(to_connect=True)
    response = reader.feed(data + b"hi")
    assert response is not None
    assert response.status_code == status_code
    assert response.body == b""
    assert reader.leftover == b"hi"
    assert reader.head_complete
    assert reader.response_so_far() is response
    assert feed_all(ResponseReader(to_connect=True), bytewise(data))[0] == response


def test_refusal_to_connect() -> None:
    reader = ResponseReader(to_connect=True)
    response = reader.feed(REFUSAL)
    assert response is not None
    assert response.body == b"nope\n"
    assert reader.leftover == b""


def test_refusal() -> None:
    response = response_of(REFUSAL)
    assert (response.status_code, response.reason_phrase) == (404, "Not Found")
    assert response.body == b"nope\n"
    assert response.serialize() == REFUSAL


@pytest.mark.parametrize(
    ("head", "body", "expected"),
    [
        (b"", b"until the end", b"until the end"),
        (b"", b"", b""),
        (b"Content-Length: 3\r\n", b"abcdef", b"abc"),
        (b"Content-Length: 3\r\n", b"ab", b"ab"),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\nzzz\r\n", b"abc"),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\nab", b"ab"),
        (b"Content-Encoding: gzip\r\n", b"\x1f\x8b\x08", b"\x1f\x8b\x08"),
    ],
)
def test_body(head: bytes, body: bytes, expected: bytes) -> None:
    data = b"HTTP/1.1 503 Service Unavailable\r\n" + head + b"\r\n" + body
    assert response_of(data, eof=True).body == expected


@pytest.mark.parametrize("status_code", [204, 304])
def test_status_without_body(status_code: int) -> None:
    data = b"HTTP/1.1 %d \r\nContent-Length: 3\r\n\r\nabc" % status_code
    assert response_of(data).body == b""
    # It is whole with its head: nobody waits for more.
    assert response_of(data[:-3]).body == b""


def test_body_over_the_limit() -> None:
    reader = ResponseReader()
    assert reader.feed(b"HTTP/1.1 500 x\r\n\r\n" + b"a" * (MAX_BODY - 1)) is None
    response = reader.feed(b"bc")
    assert response is not None
    assert response.body == b"a" * (MAX_BODY - 1) + b"b"


def test_response_so_far() -> None:
    reader = ResponseReader()
    assert reader.feed(REFUSAL[:30]) is None
    assert not reader.head_complete
    assert reader.response_so_far() is None
    assert reader.feed(REFUSAL[30:-5]) is None
    assert reader.head_complete
    response = reader.response_so_far()
    assert response is not None
    assert (response.status_code, response.body) == (404, b"")
    assert reader.feed(b"no") is None
    assert reader.response_so_far() is response
    assert response.body == b"no"
    assert reader.feed(b"pe\n") is response
    assert response.body == b"nope\n"


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        b"HTTP/1.0 102 \r\n\r\n",
        b"HTTP/1.1 199\r\nContent-Length: 9\r\n\r\n",
    ],
)
@pytest.mark.parametrize("final", [RESPONSE, REFUSAL])
def test_interim_responses_are_skipped(interim: bytes, final: bytes) -> None:
    assert response_of(interim + final) == response_of(final)
    # Each has limits of its own; and no time goes into copying what follows.
    assert read_response(io.BytesIO(interim * 500 + final)) == response_of(final)
    outcome = feed_all(ResponseReader(), [interim * 5_000 + final])
    assert outcome == (response_of(final), b"")


@pytest.mark.parametrize(
    ("line", "status_code", "reason"),
    [
        ("HTTP/1.1 200 OK", 200, "OK"),
        ("HTTP/1.0 404 Not Found", 404, "Not Found"),
        ("HTTP/1.1 599 ", 599, ""),
        ("HTTP/1.1 200", 200, ""),
        ("HTTP/1.1 400 It's\ta  tr\xe8s b\xe4d r\xeaquest ", 400, None),
    ],
)
def test_status_line(line: str, status_code: int, reason: str | None) -> None:
    data = f"{line}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
    response = response_of(data)
    assert response.status_code == status_code
    assert response.reason_phrase == (line[13:] if reason is None else reason)


@pytest.mark.parametrize(
    "line",
    [
        b"H",
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.1 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1 600 OK",
        b"HTTP/1.1 \xb200 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1\t200 OK",
        b"HTTP/11 200 OK",
        b"HTTP/1.10 200 OK",
        b"HTTPS/1.1 200 OK",
        b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 200 O\rK",
        b"HTTP/1.1 200 O\x0bK",
        b"HTTP/1.1 200 O\x85K",
        b"HTTP/1.1 200 O\x7fK",
        b"Hello",
    ],
)
def test_invalid_status_line(line: bytes) -> None:
    exc = response_error(line + b"\r\n\r\n", InvalidMessage)
    assert str(exc).startswith("invalid HTTP status line: ")
    assert str(exc).isprintable()


@pytest.mark.parametrize(
    ("line", "protocol"),
    [
        (b"HTTP/2 200\r\n", "HTTP/2"),
        (b"HTTP/2.0 101\r\n", "HTTP/2.0"),
        (b"HTTP/1.0 101 Switching Protocols\r\n", "HTTP/1.0"),
        (b"HTTP/1.2 404 Not Found\r\n", "HTTP/1.2"),
    ],
)
def test_invalid_protocol_of_response(line: bytes, protocol: str) -> None:
    exc = response_error(line, InvalidProtocol)
    assert isinstance(exc, InvalidProtocol)
    assert exc.protocol == protocol


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"SSH-2.0-x\r\n", InvalidMessage),
        (b"<html>", InvalidMessage),
        (b"\r\nHTTP/1.1 101 x\r\n", InvalidMessage),
        (b"\x15\x03\x01\x00\x02\x02\x16", InvalidMessage),
        (b"HTTP/1.1 200 OK\n", InvalidMessage),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n", InvalidMessage),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n", InvalidMessage),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", InvalidMessage),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            InvalidMessage,
        ),
        (b"HTTP/1.1 200 " + b"x" * 10_000, StatusLineTooLong),
        (b"HTTP/1.1 200 OK\r\n" + b"A" * 100_000, HeaderLineTooLong),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101, TooManyHeaders),
        (
            b"HTTP/1.1 200 OK\r\n" + (b"A: " + b"b" * 8_000 + b"\r\n") * 5,
            SecurityError,
        ),
    ],
)
def test_response_refused(data: bytes, error: type[InvalidHandshake]) -> None:
    response_error(data, error)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "status line"),
        (b"HTTP/1.1 101 Switching", "status line"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "status line"),
        (b"HTTP/1.1 100 Continue\r\n", "headers"),
        (RESPONSE[:40], "headers"),
        (RESPONSE[:-1], "headers"),
    ],
)
def test_response_cut_off(data: bytes, part: str) -> None:
    message = f"connection closed while reading HTTP {part}"
    reader = ResponseReader()
    assert reader.feed(data) is None
    for read in (reader.feed_eof, lambda: read_response(io.BytesIO(data))):
        with pytest.raises(InvalidMessage) as info:
            read()
        assert str(info.value) == message
        assert info.value.eof


@pytest.mark.parametrize(
    ("status_code", "reason"),
    [
        (99, "x"),
        (600, "x"),
        (-200, "x"),
        (200, "a\r\nb: c"),
        (200, "a\n"),
        (200, "a\0"),
        (200, "a\x85"),
        (200, "€"),
    ],
)
def test_response_that_may_not_be_sent(status_code: int, reason: str) -> None:
    with pytest.raises(ValueError, match="invalid status line"):
        Response(status_code, reason, Headers()).serialize()


def test_response_takes_a_status_of_the_standard_library() -> None:
    response = Response(HTTPStatus.NOT_FOUND, "Not Found", Headers())
    assert response.serialize() == b"HTTP/1.1 404 Not Found\r\n\r\n"


# Streams


@pytest.mark.parametrize("final", [RESPONSE, REFUSAL])
def test_no_stream_is_read_beyond_the_response(final: bytes) -> None:
    """A blocking stream would never return."""
    stream = io.BytesIO(final + b"\x81\x02hi")
    read_response(stream)
    assert stream.read() == b"\x81\x02hi"


def test_no_stream_is_read_beyond_the_last_chunk() -> None:
    head = b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n"
    stream = io.BytesIO(head + b"5\r\nab\ncd\r\n0\r\n\r\nnext")
    assert read_response(stream).body == b"ab\ncd"
    assert stream.read() == b"\r\nnext"


# Properties

tokens = st.from_regex(f"{TCHAR}{{1,12}}", fullmatch=True)
# The characters of a value, save those from 0x80 that are legal as UTF-8 only.
VALUE_CHARS = "\t" + "".join(map(chr, [*range(0x20, 0x7F), *range(0xA0, 0x100)]))
values = st.text(VALUE_CHARS, max_size=20).map(lambda value: value.strip(" \t"))
headers = st.lists(st.tuples(tokens, values), max_size=5).map(Headers)
paths = st.from_regex(r"/[!-\x22\x24-~]{0,30}", fullmatch=True)
cuts = st.lists(st.integers(1, 400), max_size=8)

# Bytes that are nearly a message, and others.
LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"GET http://a/ HTTP/1.1",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 101 x",
        b"HTTP/1.1 100 x",
        b"Host: a",
        b"A: b",
        b"Content-Length: 3",
        b"Content-Length: x",
        b"Transfer-Encoding: chunked",
        b"3",
        b"abc",
        b"",
        b" ",
        b"\xff: \x85",
        b"x" * 8_200,
    ]
)
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"])
wires = st.binary() | st.lists(st.tuples(LINES, ENDS).map(b"".join), max_size=8).map(
    b"".join
)


@given(paths, headers, st.binary(max_size=20), cuts)
def test_request_round_trip(
    path: str, headers: Headers, leftover: bytes, cuts: list[int]
) -> None:
    request = Request(path, headers)
    data = request.serialize()
    expected = (request, leftover)
    assert feed_all(RequestReader(), [data + leftover]) == expected
    assert feed_all(RequestReader(), cut(data + leftover, cuts)) == expected
    assert parse_request(data) == request


@given(st.integers(200, 599), values, headers, st.binary(max_size=40), cuts)
def test_response_round_trip(
    status_code: int, reason: str, headers: Headers, body: bytes, cuts: list[int]
) -> None:
    if status_code in (204, 304):
        body = b""
    for name in ("Content-Length", "Transfer-Encoding"):
        headers.pop(name, None)
    headers["Content-Length"] = str(len(body))
    response = Response(status_code, reason, headers, body)
    data = response.serialize()
    assert feed_all(ResponseReader(), [data]) == (response, b"")
    assert feed_all(ResponseReader(), cut(data, cuts)) == (response, b"")


@pytest.mark.parametrize("reader", [RequestReader, ResponseReader])
@given(wire=wires, cuts=cuts)
def test_any_bytes_cut_anywhere(
    reader: Callable[[], RequestReader | ResponseReader], wire: bytes, cuts: list[int]
) -> None:
    """Only documented errors, and the same ones however the bytes come."""
    whole = feed_all(reader(), [wire], eof=True)
    pieces = feed_all(reader(), cut(wire, cuts), eof=True)
    if isinstance(whole, str) or (whole[0] == pieces[0] and reader is RequestReader):
        assert pieces == whole
    else:
        # What follows a body is not looked at: it is no part of the outcome.
        assert pieces[0] == whole[0]
