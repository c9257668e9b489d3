"""The server's opening handshake: every answer, and what comes behind the request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gws.exceptions import (
    HeaderLineTooLong,
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderFormat,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidMethod,
    InvalidOrigin,
    InvalidProtocol,
    InvalidState,
    InvalidUpgrade,
    NegotiationError,
    RequestLineTooLong,
    SecurityError,
    TooManyHeaders,
)
from gws.protocol import ServerProtocol, State
from gws.protocol.datastructures import Headers
from gws.protocol.frames import Frame
from gws.protocol.head import HeaderLimits
from gws.protocol.http11 import Request, Response, ResponseReader, parse_request

from . import wire
from .wire import BINARY, CLOSE, FIN, PING, PONG, TEXT


# The example of RFC 6455, section 1.2 and 1.3.
HEADERS = [
    ("Host", "server.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Origin", "http://server.example.com"),
    ("Sec-WebSocket-Protocol", "chat, superchat"),
    ("Sec-WebSocket-Version", "13"),
]
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

ADMIN = b"GET /admin HTTP/1.1\r\nHost: server.example.com\r\n\r\n"


def make_request(line: str = "GET /chat HTTP/1.1", **changes: Any) -> bytes:
    """Make the request, with other values for some headers: none, one or a list."""
    changes = {name.replace("_", "-"): values for name, values in changes.items()}
    headers = [item for item in HEADERS if item[0] not in changes]
    for name, values in changes.items():
        values = (
            [] if values is None else [values] if isinstance(values, str) else values
        )
        headers += [(name, value) for value in values]
    lines = [line, *(f"{name}: {value}" for name, value in headers)]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def answer(protocol: ServerProtocol) -> Response | None:
    """Answer the request that came, if it did; return what was answered."""
    for event in protocol.events_received():
        if isinstance(event, Request):
            protocol.send_response(protocol.accept(event))
    data = b"".join(protocol.data_to_send())
    return ResponseReader().feed(data) if data else None


def opened(**options: Any) -> ServerProtocol:
    protocol = ServerProtocol(**options)
    protocol.receive_data(make_request())
    response = answer(protocol)
    assert response is not None
    assert response.status_code == 101
    return protocol


# Accepted


def test_accept() -> None:
    protocol = ServerProtocol()
    assert protocol.state is State.CONNECTING
    protocol.receive_data(make_request())
    assert protocol.state is State.CONNECTING
    assert protocol.data_to_send() == []
    [request] = protocol.events_received()
    assert request == Request("/chat", Headers(HEADERS))
    assert protocol.request_head == make_request()
    assert parse_request(protocol.request_head) == request
    response = protocol.accept(request)
    assert response == Response(
        101,
        "Switching Protocols",
        Headers(
            {
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Accept": ACCEPT,
            }
        ),
    )
    # It may be completed before it is sent.
    response.headers["Server"] = "test"
    protocol.send_response(response)
    assert protocol.state is State.OPEN
    assert protocol.handshake_exc is None
    assert protocol.data_to_send() == [response.serialize()]
    assert protocol.events_received() == []
    protocol.send_text("hi")
    assert protocol.data_to_send() == [b"\x81\x02hi"]


def test_octet_by_octet() -> None:
    protocol = ServerProtocol()
    for octet in make_request():
        assert protocol.events_received() == []
        assert protocol.data_to_send() == []
        protocol.receive_data(bytes([octet]))
    response = answer(protocol)
    assert response is not None
    assert response.headers["Sec-WebSocket-Accept"] == ACCEPT


@pytest.mark.parametrize(
    "changes",
    [
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": ["keep-alive", "UPGRADE"]},
        {"Upgrade": "WebSocket"},
        {"Origin": None},
        {"Origin": "https://server.example.com"},
        {"Host": "SERVER.example.com:80"},
        {"Content_Length": "0"},
        {"Sec_WebSocket_Extensions": "unknown; x=1, permessage-deflate"},
    ],
)
def test_accept_what_is_legal(changes: dict[str, Any]) -> None:
    protocol = ServerProtocol()
    protocol.receive_data(make_request(**changes))
    response = answer(protocol)
    assert response is not None
    assert response.status_code == 101
    assert "Sec-WebSocket-Extensions" not in response.headers
    assert "Sec-WebSocket-Protocol" not in response.headers


# Refused

KEY = "Sec-WebSocket-Key"

#: Name, request, status, exception, words of the body.
REFUSALS: list[tuple[str, bytes, int, type[Exception], str]] = [
    *[
        (
            f"method {method}",
            make_request(f"{method} / HTTP/1.1"),
            405,
            InvalidMethod,
            f"unsupported HTTP method: {method}",
        )
        for method in ("POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "get")
    ],
    *[
        (
            version,
            make_request(f"GET / {version}"),
            505,
            InvalidProtocol,
            f"unsupported HTTP version: {version}",
        )
        for version in ("HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/3")
    ],
    ("HTTP/0.9", b"GET /\r\n", 505, InvalidProtocol, "HTTP/0.9"),
    (
        "HTTP/2 preface",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        505,
        InvalidProtocol,
        "HTTP/2.0",
    ),
    ("TLS", b"\x16\x03\x01\x02\x00", 400, InvalidMessage, "not an HTTP request"),
    ("garbage", b"garbage\r\n", 400, InvalidMessage, "invalid HTTP request line"),
    (
        "asterisk form",
        make_request("GET * HTTP/1.1"),
        400,
        InvalidMessage,
        "invalid HTTP request target",
    ),
    (
        "long request line",
        b"GET /" + b"a" * 8193,
        414,
        RequestLineTooLong,
        "line exceeds 8192 bytes",
    ),
    (
        "long header",
        make_request(X="a" * 8192),
        431,
        HeaderLineTooLong,
        "line exceeds 8192 bytes",
    ),
    (
        "many headers",
        make_request(X=["a"] * 101),
        431,
        TooManyHeaders,
        "more than 100 headers",
    ),
    (
        "long head",
        make_request(X=["a" * 8000] * 5),
        431,
        SecurityError,
        "HTTP head exceeds 32768 bytes",
    ),
    (
        "no colon",
        b"GET / HTTP/1.1\r\nHost\r\n",
        400,
        InvalidMessage,
        "header line without colon",
    ),
    (
        "obs-fold",
        b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n",
        400,
        InvalidMessage,
        "header line",
    ),
    (
        "missing Host",
        make_request(Host=None),
        400,
        InvalidHeader,
        "missing Host header",
    ),
    (
        "two Hosts",
        make_request(Host=["a", "a"]),
        400,
        InvalidHeader,
        "invalid Host header: multiple values",
    ),
    ("empty Host", make_request(Host=""), 400, InvalidHeaderFormat, "Host header"),
    (
        "bad Host",
        make_request(Host="a b"),
        400,
        InvalidHeaderFormat,
        "invalid Host header",
    ),
    (
        "bad port",
        make_request(Host="a:65536"),
        400,
        InvalidHeaderValue,
        "invalid Host header: a:65536",
    ),
    (
        "body",
        make_request(Content_Length="5") + b"hello",
        400,
        InvalidHeader,
        "a request has no body",
    ),
    (
        "two lengths",
        make_request(Content_Length=["0", "5"]) + b"hello",
        400,
        InvalidHeader,
        "a request has no body",
    ),
    (
        "chunked",
        make_request(Transfer_Encoding="chunked") + b"0\r\n\r\n",
        400,
        InvalidHeader,
        "invalid Transfer-Encoding header: unsupported",
    ),
    (
        "chunked with a length",
        make_request(Transfer_Encoding="chunked", Content_Length="0"),
        400,
        InvalidHeader,
        "Transfer-Encoding",
    ),
    *[
        (f"{name} {value}", make_request(**{name: value}), 426, InvalidUpgrade, words)
        for name, value, words in [
            ("Upgrade", None, "missing Upgrade header"),
            ("Upgrade", "notwebsocket", "invalid Upgrade header: notwebsocket"),
            ("Upgrade", "h2c", "a browser can't open it like a page"),
            ("Connection", None, "missing Connection header"),
            ("Connection", "close", "invalid Connection header: close"),
            ("Connection", "notupgrade", "invalid Connection header: notupgrade"),
        ]
    ],
    (
        "two Upgrades",
        make_request(Upgrade=["websocket", "websocket"]),
        400,
        InvalidHeader,
        "invalid Upgrade header: multiple values",
    ),
    *[
        (
            f"version {version}",
            make_request(Sec_WebSocket_Version=version),
            426,
            InvalidHeader,
            "Sec-WebSocket-Version header",
        )
        for version in ("8", "12", "13, 8", "777", "", None, ["13", "13"])
    ],
    *[
        (f"key {key}", make_request(Sec_WebSocket_Key=key), 400, InvalidHeader, KEY)
        for key in (None, "", "short", "!" * 24, ["dGhlIHNhbXBsZSBub25jZQ=="] * 2)
    ],
    *[
        (
            f"origin {origin}",
            make_request(Origin=origin),
            403,
            InvalidOrigin,
            "The server's option origins says who may connect.",
        )
        for origin in ("http://evil.com", "null", "http://server.example.com:8080", "")
    ],
    (
        "two origins",
        make_request(Origin=["http://server.example.com"] * 2),
        400,
        InvalidHeader,
        "invalid Origin header: multiple values",
    ),
    (
        "bad subprotocol",
        make_request(Sec_WebSocket_Protocol="chat room"),
        400,
        InvalidHeaderFormat,
        "Sec-WebSocket-Protocol",
    ),
]


@pytest.mark.parametrize(
    ("request_data", "status", "error", "words"),
    [case[1:] for case in REFUSALS],
    ids=[case[0] for case in REFUSALS],
)
def test_refusal(
    request_data: bytes, status: int, error: type[InvalidHandshake], words: str
) -> None:
    """Exactly one answer, whatever follows, and the end of the stream (CASES H12)."""
    protocol = ServerProtocol()
    protocol.receive_data(request_data + ADMIN)
    events = protocol.events_received()
    for event in events:
        assert isinstance(event, Request)
        protocol.send_response(protocol.accept(event))
    data = protocol.data_to_send()
    assert data[1:] == [b""]
    reader = ResponseReader()
    response = reader.feed(data[0])
    assert response is not None
    assert response.serialize() == data[0]
    assert response.status_code == status
    assert isinstance(protocol.handshake_exc, error)
    headers = response.headers
    assert "close" in headers["Connection"]
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["Content-Length"] == str(len(response.body))
    assert words in response.body.decode()
    assert headers.get("Allow") == ("GET" if status == 405 else None)
    if status == 426:
        assert headers["Upgrade"] == "websocket"
        assert headers["Connection"] == "Upgrade, close"
        assert headers["Sec-WebSocket-Version"] == "13"
    else:
        assert "Sec-WebSocket-Version" not in headers
    # The connection is over:
    assert protocol.state is State.CLOSING
    assert protocol.close_expected()
    protocol.receive_data(ADMIN + make_request() + wire.frame(FIN | PING, b"", True))
    assert protocol.events_received() == []
    assert protocol.data_to_send() == []
    with pytest.raises(InvalidState):
        protocol.send_text("text")
    protocol.receive_eof()
    assert protocol.state is State.CLOSED
    assert protocol.data_to_send() == []
    assert isinstance(protocol.handshake_exc, error)


def test_what_a_peer_wrote_is_shortened() -> None:
    protocol = ServerProtocol()
    protocol.receive_data(make_request(Upgrade="\xe9" + "x" * 5000))
    response = answer(protocol)
    assert response is not None
    assert len(response.body) < 500


@pytest.mark.parametrize(
    ("status", "phrase"), [(404, "Not Found"), (503, "Service Unavailable")]
)
def test_reject(status: int, phrase: str) -> None:
    protocol = ServerProtocol()
    protocol.receive_data(make_request() + wire.frame(FIN | TEXT, b"hi", True))
    protocol.events_received()
    response = protocol.reject(status, "sorr\u00ff\n")
    assert (response.status_code, response.reason_phrase) == (status, phrase)
    assert response.body == b"sorr\xc3\xbf\n"
    protocol.send_response(response)
    assert response.headers["Connection"] == "close"
    assert protocol.data_to_send() == [response.serialize(), b""]
    assert protocol.events_received() == []


def test_no_request_but_a_time_limit() -> None:
    """408 is the caller's to say: here is no clock."""
    protocol = ServerProtocol()
    protocol.receive_data(make_request()[:-1])
    protocol.send_response(protocol.reject(408, "too slow"))
    assert len(protocol.data_to_send()) == 2
    protocol.receive_data(b"\n")
    assert protocol.events_received() == []
    assert protocol.data_to_send() == []


def test_a_response_of_ones_own() -> None:
    protocol = ServerProtocol()
    protocol.receive_data(make_request())
    protocol.events_received()
    headers = Headers({"Connection": "close, x"})
    protocol.send_response(Response(200, "OK", headers, b"healthy"))
    assert protocol.data_to_send() == [
        b"HTTP/1.1 200 OK\r\nConnection: close, x\r\n\r\nhealthy",
        b"",
    ]


@pytest.mark.parametrize("status", [101, 503])
def test_one_answer_only(status: int) -> None:
    """Two parts of a server may have come to an answer."""
    protocol = ServerProtocol()
    protocol.receive_data(make_request())
    [request] = protocol.events_received()
    accepted = protocol.accept(request)
    rejected = protocol.reject(503, "going away")
    protocol.send_response(accepted if status == 101 else rejected)
    state = protocol.state
    data = protocol.data_to_send()
    for response in (accepted, rejected):
        with pytest.raises(InvalidState):
            protocol.send_response(response)
    with pytest.raises(InvalidState):
        protocol.receive_request(request)
    assert protocol.state is state
    assert data[0].startswith(b"HTTP/1.1 %d " % status)
    assert protocol.data_to_send() == protocol.events_received() == []


def test_fail_before_the_answer() -> None:
    protocol = ServerProtocol()
    protocol.receive_data(make_request())
    [request] = protocol.events_received()
    protocol.fail(1011)
    with pytest.raises(InvalidState, match="connection is closing"):
        protocol.send_response(protocol.accept(request))
    assert protocol.data_to_send() == [b""]


# Hosts and subprotocols


@pytest.mark.parametrize(
    ("host", "allowed", "ok"),
    [
        ("server.example.com", None, True),
        ("server.example.com", ["a", "server.example.com"], True),
        ("Server.Example.COM:8080", ["server.example.com"], True),
        ("[::1]:8080", ["::1"], True),
        ("server.example.com", [], False),
        ("evil.com", ["server.example.com"], False),
        ("example.com", ["server.example.com"], False),
        ("server.example.com.evil.com", ["server.example.com"], False),
        ("server.example.com.", ["server.example.com"], False),
    ],
)
def test_allowed_hosts(host: str, allowed: Sequence[str] | None, ok: bool) -> None:
    """What others ask for is refused before anybody gets to see it."""
    protocol = ServerProtocol(allowed_hosts=allowed)
    protocol.receive_data(make_request(Host=host, Origin=None))
    assert bool(protocol.events) is ok
    response = answer(protocol)
    assert response is not None
    assert response.status_code == (101 if ok else 400)
    assert ok or b"(see the option allowed_hosts)" in response.body


@pytest.mark.parametrize(
    ("offered", "subprotocols", "chosen"),
    [
        (["chat"], None, None),
        (["chat"], [], None),
        (None, None, None),
        (["chat"], ["chat"], "chat"),
        (["chat, superchat"], ["superchat", "chat"], "superchat"),
        (["chat", "superchat"], ["superchat"], "superchat"),
        (["a,b", "c"], ["x", "c"], "c"),
    ],
)
def test_subprotocols(
    offered: list[str] | None, subprotocols: list[str] | None, chosen: str | None
) -> None:
    """What the server likes best of what the client offers."""
    protocol = ServerProtocol(subprotocols=subprotocols)
    protocol.receive_data(make_request(Sec_WebSocket_Protocol=offered))
    response = answer(protocol)
    assert response is not None
    assert response.status_code == 101
    assert response.headers.get("Sec-WebSocket-Protocol") == chosen
    assert protocol.subprotocol == chosen


@pytest.mark.parametrize("offered", [None, "other", "CHAT", "chat2, 2chat"])
def test_no_subprotocol_in_common(offered: str | None) -> None:
    protocol = ServerProtocol(subprotocols=["chat", "superchat"])
    protocol.receive_data(make_request(Sec_WebSocket_Protocol=offered))
    response = answer(protocol)
    assert response is not None
    assert response.status_code == 400
    assert b"expected one of chat, superchat" in response.body
    assert type(protocol.handshake_exc) is NegotiationError
    assert protocol.subprotocol is None


def test_select_subprotocol() -> None:
    asked = []

    def select(offered: Sequence[str]) -> str:
        asked.append(offered)
        return offered[-1]

    # It is asked instead of the list.
    protocol = opened(subprotocols=["chat"], select_subprotocol=select)
    assert asked == [["chat", "superchat"]]
    assert protocol.subprotocol == "superchat"


def test_select_no_subprotocol() -> None:
    protocol = opened(subprotocols=["x"], select_subprotocol=lambda offered: None)
    assert protocol.subprotocol is None


@pytest.mark.parametrize("chosen", ["other", "", "chat, superchat"])
def test_select_what_was_not_offered(chosen: str) -> None:
    """The fault is the application's, which the client shall not be told."""
    protocol = ServerProtocol(select_subprotocol=lambda offered: chosen)
    protocol.receive_data(make_request())
    [request] = protocol.events_received()
    with pytest.raises(ValueError, match="not offered"):
        protocol.accept(request)
    protocol.send_response(protocol.reject(500, "sorry"))
    assert protocol.state is State.CLOSING


def test_select_refuses() -> None:
    def select(offered: Sequence[str]) -> str:
        raise NegotiationError("no such thing")

    protocol = ServerProtocol(select_subprotocol=select)
    protocol.receive_data(make_request())
    response = answer(protocol)
    assert response is not None
    assert (response.status_code, b"no such thing" in response.body) == (400, True)


@pytest.mark.parametrize("origins", ["*", ["http://a.com", re.compile("http://b.*")]])
def test_origins(origins: Any) -> None:
    protocol = ServerProtocol(origins=origins)
    protocol.receive_data(make_request(Origin="http://b.com"))
    response = answer(protocol)
    assert response is not None
    assert response.status_code == 101


# What comes behind the request

HELLO = wire.frame(FIN | TEXT, b"hello", masked=True)

#: Frames, the events they make, what is sent for them.
BEHIND = [
    (HELLO, [Frame(TEXT, b"hello")], []),
    (
        HELLO + wire.frame(FIN | PING, b"p", masked=True),
        [Frame(TEXT, b"hello"), Frame(PING, b"p")],
        [(FIN | PONG, b"p")],
    ),
    (
        HELLO + wire.frame(0x20 | FIN | TEXT, b"", masked=True),
        [Frame(TEXT, b"hello")],
        [(FIN | CLOSE, b"\x03\xeareserved bits must be 0")],
    ),
    (
        wire.frame(FIN | TEXT, b""),
        [],
        [(FIN | CLOSE, b"\x03\xeaincorrect masking")],
    ),
    (
        wire.close(1000, masked=True) + ADMIN,
        [],
        [(FIN | CLOSE, b"\x03\xe8")],
    ),
    (ADMIN, [], [(FIN | CLOSE, b"\x03\xeareserved bits must be 0")]),
]


@pytest.mark.parametrize(("frames", "events", "sent"), BEHIND)
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("parsed", [False, True])
def test_frames_behind_the_request(
    frames: bytes,
    events: list[Frame],
    sent: list[tuple[int, bytes]],
    together: bool,
    parsed: bool,
) -> None:
    """CASES H12 and H13: in the same data, or before the answer."""
    protocol = ServerProtocol()
    leftover = frames if together else b""
    if parsed:
        request = parse_request(make_request())
        protocol.receive_request(request, leftover)
        assert protocol.request_head == b""
    else:
        protocol.receive_data(make_request() + leftover)
    if not together:
        for octet in frames:
            protocol.receive_data(bytes([octet]))
    [request] = protocol.events_received()
    assert isinstance(request, Request)
    response = protocol.accept(request)
    protocol.send_response(response)
    assert protocol.events_received() == events
    data = b"".join(protocol.data_to_send())
    head = response.serialize()
    assert data[: len(head)] == head
    assert wire.parse(data[len(head) :], masked=False) == sent


def test_half_a_frame_behind_the_request() -> None:
    protocol = ServerProtocol()
    protocol.receive_data(make_request() + HELLO[:4])
    assert answer(protocol) is not None
    assert protocol.events_received() == []
    protocol.receive_data(HELLO[4:])
    assert protocol.events_received() == [Frame(TEXT, b"hello")]


def test_max_size() -> None:
    protocol = opened(max_size=4)
    protocol.receive_data(HELLO)
    [data, end] = protocol.data_to_send()
    assert data[2:4] == (1009).to_bytes(2, "big")
    assert end == b""


def test_fragments_have_a_limit() -> None:
    protocol = opened(max_size=(10, 4))
    protocol.receive_data(wire.frame(BINARY, bytes(4), masked=True) + HELLO)
    assert len(protocol.events_received()) == 1


@pytest.mark.parametrize("changes", [{"Host": None}, {"Content_Length": "1"}])
def test_a_parsed_request_that_is_refused(changes: dict[str, Any]) -> None:
    protocol = ServerProtocol()
    protocol.receive_request(parse_request(make_request(**changes)), ADMIN)
    assert protocol.events_received() == []
    data, end = protocol.data_to_send()
    assert data.startswith(b"HTTP/1.1 400 ")
    assert end == b""
    assert isinstance(protocol.handshake_exc, InvalidHeader)


def test_accept_checks_the_host() -> None:
    """Also of a request that never passed `receive_request`."""
    protocol = ServerProtocol()
    for host in (None, ["a", "b"], "a b"):
        response = protocol.accept(parse_request(make_request(Host=host)))
        assert response.status_code == 400


# The end of the stream


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "request line"),
        (b"\r\n", "request line"),
        (b"GET / HT", "request line"),
        (b"GET / HTTP/1.1\r\n", "headers"),
        (make_request()[:-1], "headers"),
    ],
)
def test_eof_in_the_request(data: bytes, part: str) -> None:
    """Nobody is there to be answered."""
    protocol = ServerProtocol()
    protocol.receive_data(data)
    protocol.receive_eof()
    assert protocol.state is State.CLOSED
    exc = protocol.handshake_exc
    assert isinstance(exc, InvalidMessage)
    assert exc.eof
    assert str(exc) == f"connection closed while reading HTTP {part}"
    assert protocol.events_received() == []
    assert protocol.data_to_send() == [b""]
    assert protocol.close_code == 1006


def test_eof_before_the_answer() -> None:
    """It must not open what is closed."""
    protocol = ServerProtocol()
    protocol.receive_data(make_request())
    protocol.receive_eof()
    [request] = protocol.events_received()
    with pytest.raises(InvalidState, match="connection is closed"):
        protocol.send_response(protocol.accept(request))
    assert protocol.state is State.CLOSED
    assert protocol.data_to_send() == [b""]


def test_eof_behind_the_answer() -> None:
    protocol = opened()
    protocol.receive_eof()
    assert protocol.state is State.CLOSED
    assert protocol.handshake_exc is None
    assert protocol.data_to_send() == [b""]


@given(
    st.sampled_from([case[1] for case in REFUSALS] + [make_request() + HELLO])
    | st.binary(max_size=60),
    st.lists(st.integers(0, 500), max_size=6),
)
def test_cut_anywhere(data: bytes, cuts: list[int]) -> None:
    """The answer, and the reason for it, do not depend on the cuts."""
    outcomes = []
    for pieces in ([data], wire.cut(data, cuts)):
        protocol = ServerProtocol()
        for piece in pieces:
            protocol.receive_data(piece)
        response = answer(protocol)
        events = protocol.events_received()
        protocol.receive_eof()
        outcomes.append((response, events, repr(protocol.handshake_exc)))
    assert outcomes[0] == outcomes[1]


def test_101_is_no_refusal() -> None:
    with pytest.raises(ValueError, match="101 is no refusal"):
        ServerProtocol().reject(101, "welcome")


def test_header_limits() -> None:
    data = make_request(X="a" * 9000)
    protocol = ServerProtocol(header_limits=HeaderLimits(line=9100))
    protocol.receive_data(data)
    [request] = protocol.events_received()
    assert len(request.headers["X"]) == 9000
    protocol = ServerProtocol(header_limits=HeaderLimits(line=9000))
    protocol.receive_data(data)
    assert protocol.events_received() == []
    assert b" 431 " in b"".join(protocol.data_to_send())[:20]
