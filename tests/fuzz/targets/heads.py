"""Any octets in the place of an opening handshake, to both sides and both readers.

What must hold: only InvalidHandshake is raised; how the octets are cut changes nothing;
no header that was taken could end a line; a server answers what it refuses with a
status that says why, and ends the connection; a client opens only what was answered
with 101.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from gws.exceptions import InvalidHandshake
from gws.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from gws.protocol.body import MAX_BODY
from gws.protocol.client import ClientProtocol
from gws.protocol.datastructures import Headers
from gws.protocol.handshake import accept_key
from gws.protocol.head import MAX_HEAD, MAX_HEADERS
from gws.protocol.http11 import (
    Request,
    RequestReader,
    Response,
    ResponseReader,
    parse_request,
    read_request,
    read_response,
)
from gws.protocol.server import STATUSES, ServerProtocol
from gws.protocol.uri import parse_uri

from ..choices import Choices, cut, outcome


#: What a server protocol may answer.
ANSWERS = {HTTPStatus.SWITCHING_PROTOCOLS, *(status for _, status in STATUSES)}

#: The Sec-WebSocket-Key of our requests (RFC 6455, section 1.3).
KEY = "dGhlIHNhbXBsZSBub25jZQ=="

#: RFC 9112, section 4 and 5, octet by octet: a head that nobody can split in two.
HEAD = re.compile(
    rb"HTTP/1\.1 [1-5][0-9]{2} [\t -~\x80-\xff]*\r\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t -~\x80-\xff]*\r\n)*\r\n"
)

URI = parse_uri("ws://example.com/")


def fuzz_one(data: bytes) -> None:
    choices = Choices(data)
    run = choices.one_of([as_request, as_response, as_server, as_client])
    steps = choices.numbers(4)
    octets = choices.rest()
    whole, in_pieces = run([octets]), run(cut(octets, steps))
    assert whole == in_pieces, "it matters how the octets are cut"


# The readers


def as_request(pieces: list[bytes]) -> object:
    reader = RequestReader()
    seen = read(reader, pieces)
    if not isinstance(seen, Request):
        return told(seen)
    check_headers(seen.headers)
    assert len(reader.head) <= MAX_HEAD
    # RFC 9112, section 2.2: another parser may take a bare CR or LF for an end.
    lines = reader.head.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    octets = b"".join(pieces)
    assert reader.head + reader.leftover == octets
    # All that reads a request reads it alike, as does whoever gets it from us.
    stream = io.BytesIO(octets)
    assert read_request(stream) == seen == parse_request(reader.head)
    assert stream.tell() == len(reader.head)
    assert parse_request(seen.serialize()) == seen
    return seen, reader.head


def as_response(pieces: list[bytes]) -> object:
    reader = ResponseReader()
    seen = read(reader, pieces)
    if not isinstance(seen, Response):
        return told(seen)
    check_headers(seen.headers)
    assert len(seen.body) <= MAX_BODY
    if reader.head_complete:
        assert read_response(io.BytesIO(b"".join(pieces))) == seen
    return seen, reader.leftover


def read(reader: Any, pieces: list[bytes]) -> Any:
    """Return the message, or what is wrong with it."""
    for i, piece in enumerate(pieces):
        seen = outcome(reader.feed, piece, raises=InvalidHandshake)
        if isinstance(seen, Request):
            reader.leftover += b"".join(pieces[i + 1 :])
        if isinstance(seen, Response) and seen.status_code == 101:
            reader.leftover += b"".join(pieces[i + 1 :])
        if seen is not None:
            return seen
    return outcome(reader.feed_eof, raises=InvalidHandshake)


def told(exc: Exception) -> object:
    assert isinstance(exc, InvalidHandshake)
    assert "\n" not in str(exc), "a peer can write a line of our log"
    return type(exc), str(exc)


def check_headers(headers: Headers) -> None:
    items = list(headers.raw_items())
    assert len(items) <= MAX_HEADERS
    assert not any(re.search(r"[\r\n\0]", name + value) for name, value in items)
    [head] = re.findall(rb"(?s).*?\r\n\r\n", b"\r\n" + headers.serialize())
    assert head.count(b"\r\n") == len(items) + 2


# The protocols


def as_server(pieces: list[bytes]) -> object:
    protocol = ServerProtocol(
        origins=["http://example.com", None],
        extensions=[ServerPerMessageDeflateFactory()],
        subprotocols=["chat", "chat2"] if len(b"".join(pieces)) % 2 else None,
    )
    events: list[Any] = []
    for piece in pieces:
        protocol.receive_data(piece)
        events += answered(protocol)
    out = b"".join(protocol.data_to_send())
    exc = protocol.handshake_exc
    state = protocol.state.name
    if state == "CONNECTING":
        assert out == b"" and exc is None and not events
        protocol.receive_eof()
        assert protocol.state.name == "CLOSED"
        return told(protocol.handshake_exc)
    match = HEAD.match(out)
    assert match is not None
    reader = ResponseReader()
    response = reader.feed(out)
    assert response is not None and response.status_code in ANSWERS
    if exc is None:
        assert response.status_code == 101
        assert reader.leftover == out[match.end() :]
        return events, out, state, protocol.close_code
    check_refusal(response)
    assert state == "CLOSING" and protocol.eof_to_send
    assert len(response.body) == len(out) - match.end()
    return told(exc), events, out


def answered(protocol: ServerProtocol) -> list[Any]:
    """Return what came, after the request among it was answered."""
    events: list[Any] = protocol.events_received()
    if events and isinstance(events[0], Request):
        check_headers(events[0].headers)
        protocol.send_response(protocol.accept(events[0]))
        events += protocol.events_received()
    return events


def check_refusal(response: Response) -> None:
    status = response.status_code
    assert 400 <= status < 600
    options = [option.strip() for option in response.headers["Connection"].split(",")]
    assert "close" in options
    assert response.headers["Content-Length"] == str(len(response.body))
    if status == HTTPStatus.UPGRADE_REQUIRED:
        assert response.headers["Upgrade"] == "websocket" and "Upgrade" in options
        assert response.headers["Sec-WebSocket-Version"] == "13"
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        assert response.headers["Allow"] == "GET"
    assert not re.search(r"[\0-\t\x0b-\x1f\x7f]", response.body.decode())


def as_client(pieces: list[bytes]) -> object:
    protocol = ClientProtocol(
        URI,
        extensions=[ClientPerMessageDeflateFactory()],
        subprotocols=["chat"],
    )
    protocol.send_request(protocol.connect())
    protocol.data_to_send()
    protocol._key = KEY  # in the place of the one that it chose at random
    events: list[Any] = []
    for piece in pieces:
        protocol.receive_data(piece)
        events += protocol.events_received()
    exc = protocol.handshake_exc
    state = protocol.state.name
    if exc is not None:
        # RFC 6455, section 7.1.7: nothing that was not there before is said.
        assert isinstance(exc, InvalidHandshake)
        assert state == "CLOSING" and protocol.data_to_send() == [b""]
    elif state == "CONNECTING":
        assert not events
        protocol.receive_eof()
        assert protocol.state.name == "CLOSED"
        exc = protocol.handshake_exc
        events = protocol.events_received()
    else:
        response = events[0]
        assert response.status_code == 101
        assert response.headers["Sec-WebSocket-Accept"] == accept_key(KEY)
        assert protocol.subprotocol in (None, "chat")
        assert len(protocol.extensions) <= 1
    return exc and told(exc), events, state, protocol.close_code


# Seeds

REQUEST = (
    b"GET /chat?a=b HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n"
    b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%b\r\n"
)
RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n%b\r\n"
)
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n"
REFUSAL = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\n%b"
CHUNKED = REFUSAL % b"Transfer-Encoding: chunked\r\n\r\n4;x=y\r\nwait\r\n0\r\n\r\n"

Make = Callable[[bytes], bytes]


def to(role: int, *steps: int) -> Make:
    return lambda head: bytes([role, *steps, *bytes(4 - len(steps))]) + head


REQUEST_TO, RESPONSE_TO, SERVER, CLIENT = (to(role) for role in range(4))

SEEDS = {
    "request": REQUEST_TO(REQUEST % b""),
    "request-in-pieces": to(0, 20, 0, 0, 3)(REQUEST % b"" + b"\x81\x80"),
    "request-absolute": REQUEST_TO(
        b"\r\nGET http://example.com:80 HTTP/1.1\r\nHost: x\r\n\r\n"
    ),
    "request-bare-lf": REQUEST_TO(b"GET / HTTP/1.1\nHost: x\r\n\r\n"),
    "header-bare-lf": REQUEST_TO(b"GET / HTTP/1.1\r\nHost: xy\n\r\n"),
    "request-old": REQUEST_TO(b"GET /\r\n"),
    "response": RESPONSE_TO(RESPONSE % b"" + b"\x81\x00"),
    "response-100": RESPONSE_TO(b"HTTP/1.1 100 Continue\r\n\r\n" + RESPONSE % b""),
    "response-chunked": RESPONSE_TO(CHUNKED),
    "response-length": RESPONSE_TO(REFUSAL % b"Content-Length: 4, 4\r\n\r\nwait"),
    "server": SERVER(REQUEST % DEFLATE + b"\x81\x80\0\0\0\0"),
    "server-subprotocol": SERVER(REQUEST % b"Sec-WebSocket-Protocol: no, chat\r\n"),
    "server-origin": SERVER(REQUEST % b"Origin: https://evil.example\r\n"),
    "server-same-origin": SERVER(REQUEST % b"Origin: http://example.com:80\r\n"),
    "server-body": SERVER(REQUEST % b"Content-Length: 5\r\n" + b"12345"),
    "server-post": SERVER(b"POST / HTTP/1.1\r\n"),
    "server-page": SERVER(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"),
    "server-version": SERVER((REQUEST % b"").replace(b": 13", b": 8")),
    "server-tls": SERVER(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "client": CLIENT(RESPONSE % (DEFLATE + b"Sec-WebSocket-Protocol: chat\r\n")),
    "client-frames": to(3, 0, 0, 0, 50)(RESPONSE % b"" + b"\x81\x01x\x88\x00"),
    "client-wrong-key": CLIENT((RESPONSE % b"").replace(b"s3p", b"S3p")),
    "client-refused": CLIENT(CHUNKED),
}
