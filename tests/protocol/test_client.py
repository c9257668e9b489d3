"""The client's opening handshake: the request, and every kind of answer to it."""

from __future__ import annotations

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
    InvalidProtocol,
    InvalidState,
    InvalidStatus,
    InvalidUpgrade,
    NegotiationError,
    StatusLineTooLong,
)
from gws.protocol import ClientProtocol, ServerProtocol, State
from gws.protocol.body import MAX_BODY
from gws.protocol.frames import Frame
from gws.protocol.handshake import accept_key
from gws.protocol.http11 import Response, parse_request
from gws.protocol.uri import parse_uri

from . import wire
from .wire import CLOSE, FIN, PING, PONG, TEXT


def connecting(uri: str = "ws://example.com/", **options: Any) -> ClientProtocol:
    """Return a protocol whose request waits to be sent."""
    protocol = ClientProtocol(parse_uri(uri), **options)
    protocol.send_request(protocol.connect())
    return protocol


def request_of(protocol: ClientProtocol) -> Any:
    """Return the request, and leave nothing to be sent."""
    return parse_request(b"".join(protocol.data_to_send()))


def answer_to(
    protocol: ClientProtocol, status: str = "101 Switching Protocols", **changes: Any
) -> bytes:
    """Make the answer, with other values for some headers: none, one or a list."""
    key = request_of(protocol).headers["Sec-WebSocket-Key"]
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": accept_key(key),
    }
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"HTTP/1.1 {status}"]
    for name, values in headers.items():
        values = (
            [] if values is None else [values] if isinstance(values, str) else values
        )
        lines += [f"{name}: {value}" for value in values]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


# The request


@pytest.mark.parametrize(
    ("uri", "path", "host"),
    [
        ("ws://example.com", "/", "example.com"),
        ("ws://example.com:80/", "/", "example.com"),
        ("wss://example.com:443/", "/", "example.com"),
        ("wss://example.com:80/a?b=c", "/a?b=c", "example.com:80"),
        ("ws://example.com:8765/chat", "/chat", "example.com:8765"),
        ("ws://[::1]:8765/", "/", "[::1]:8765"),
    ],
)
def test_request(uri: str, path: str, host: str) -> None:
    protocol = connecting(uri)
    assert protocol.state is State.CONNECTING
    request = request_of(protocol)
    assert request.path == path
    assert [name for name, _ in request.headers.raw_items()] == [
        "Host",
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
    ]
    assert request.headers["Host"] == host
    assert protocol.events_received() == protocol.data_to_send() == []


def test_request_with_all_there_is() -> None:
    protocol = connecting(
        "ws://user:pass@example.com/",
        origin="http://example.com",
        subprotocols=["chat", "superchat"],
    )
    headers = request_of(protocol).headers
    assert headers["Authorization"] == "Basic dXNlcjpwYXNz"
    assert headers["Origin"] == "http://example.com"
    assert headers["Sec-WebSocket-Protocol"] == "chat, superchat"
    assert "Sec-WebSocket-Extensions" not in headers


def test_request_with_more_headers() -> None:
    protocol = ClientProtocol(parse_uri("ws://example.com/"))
    request = protocol.connect()
    request.headers["Cookie"] = "a=b"
    protocol.send_request(request)
    assert request_of(protocol).headers["Cookie"] == "a=b"


def test_each_request_has_its_key() -> None:
    keys = {request_of(connecting()).headers["Sec-WebSocket-Key"] for _ in range(20)}
    assert len(keys) == 20


@pytest.mark.parametrize(
    "options", [{"origin": "a\r\nb: c"}, {"subprotocols": ["a\n"]}]
)
def test_no_header_can_be_smuggled_in(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidHeaderValue):
        connecting(**options)


# Accepted


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Connection": "keep-alive, upgrade"},
        {"Upgrade": "WebSocket"},
        {"Server": "x", "Set_Cookie": ["a=b", "c=d"]},
        {"Content_Length": "0"},
    ],
)
def test_open(changes: dict[str, Any]) -> None:
    protocol = connecting()
    protocol.receive_data(answer_to(protocol, **changes))
    assert protocol.state is State.OPEN
    [response] = protocol.events_received()
    assert isinstance(response, Response)
    assert response.status_code == 101
    assert protocol.handshake_exc is None
    assert protocol.subprotocol is None
    assert protocol.response_so_far() is None
    protocol.send_text("hi")
    [data] = protocol.data_to_send()
    assert wire.parse(data, masked=True) == [(FIN | TEXT, b"hi")]


def test_octet_by_octet() -> None:
    protocol = connecting()
    for octet in answer_to(protocol):
        assert protocol.state is State.CONNECTING
        assert protocol.events_received() == []
        protocol.receive_data(bytes([octet]))
    assert protocol.state is State.OPEN


def test_interim_responses() -> None:
    protocol = connecting()
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    protocol.receive_data(interim * 2 + answer_to(protocol))
    assert protocol.state is State.OPEN
    assert len(protocol.events_received()) == 1


@pytest.mark.parametrize("chosen", ["chat", "superchat"])
def test_subprotocol(chosen: str) -> None:
    protocol = connecting(subprotocols=["chat", "superchat"])
    protocol.receive_data(answer_to(protocol, Sec_WebSocket_Protocol=chosen))
    assert protocol.state is State.OPEN
    assert protocol.subprotocol == chosen


def test_no_subprotocol_is_chosen() -> None:
    """RFC 6455 lets the server choose none of those that are offered."""
    protocol = connecting(subprotocols=["chat"])
    protocol.receive_data(answer_to(protocol))
    assert protocol.state is State.OPEN
    assert protocol.subprotocol is None


@pytest.mark.parametrize(
    ("frames", "events", "sent"),
    [
        (wire.frame(FIN | TEXT, b"hi"), [Frame(TEXT, b"hi")], []),
        (wire.frame(FIN | PING, b"p"), [Frame(PING, b"p")], [(FIN | PONG, b"p")]),
        (wire.close(1000), [], [(FIN | CLOSE, b"\x03\xe8")]),
        (
            wire.frame(FIN | TEXT, b"hi") + wire.frame(FIN | TEXT, b"", masked=True),
            [Frame(TEXT, b"hi")],
            [(FIN | CLOSE, b"\x03\xeaincorrect masking")],
        ),
        (
            b"HTTP/1.1 200 OK\r\n\r\n",
            [],
            [(FIN | CLOSE, b"\x03\xeareserved bits must be 0")],
        ),
    ],
)
def test_frames_behind_the_answer(
    frames: bytes, events: list[Frame], sent: list[tuple[int, bytes]]
) -> None:
    protocol = connecting()
    protocol.receive_data(answer_to(protocol) + frames)
    response, *rest = protocol.events_received()
    assert isinstance(response, Response)
    assert rest == events
    assert wire.parse(b"".join(protocol.data_to_send()), masked=True) == sent


def test_half_a_frame_behind_the_answer() -> None:
    protocol = connecting()
    protocol.receive_data(answer_to(protocol) + b"\x81")
    assert len(protocol.events_received()) == 1
    protocol.receive_data(b"\x02hi")
    assert protocol.events_received() == [Frame(TEXT, b"hi")]


def test_max_size() -> None:
    protocol = connecting(max_size=4)
    protocol.receive_data(answer_to(protocol) + wire.frame(FIN | TEXT, b"hello"))
    protocol.events_received()
    [data] = protocol.data_to_send()
    [(_, payload)] = wire.parse(data, masked=True)
    assert payload[:2] == (1009).to_bytes(2, "big")


# Refused


def assert_failed(
    protocol: ClientProtocol, error: type[InvalidHandshake], n_responses: int = 1
) -> None:
    """The connection is over, and ``handshake_exc`` says why."""
    assert type(protocol.handshake_exc) is error
    assert protocol.state is State.CLOSING
    assert protocol.close_expected()
    assert protocol.data_to_send() == [b""]
    assert len(protocol.events_received()) == n_responses
    protocol.receive_data(wire.frame(FIN | TEXT, b"hi"))
    protocol.receive_data(b"HTTP/1.1 101 x\r\n\r\n")
    assert protocol.events_received() == protocol.data_to_send() == []
    assert protocol.response_so_far() is None
    with pytest.raises(InvalidState):
        protocol.send_text("hi")
    protocol.receive_eof()
    assert protocol.state is State.CLOSED
    assert type(protocol.handshake_exc) is error
    assert protocol.close_code == 1006


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"Upgrade": None}, InvalidUpgrade),
        ({"Upgrade": "h2c"}, InvalidUpgrade),
        ({"Upgrade": ["websocket", "websocket"]}, InvalidHeader),
        ({"Connection": None}, InvalidUpgrade),
        ({"Connection": "close"}, InvalidUpgrade),
        ({"Connection": "a b"}, InvalidHeaderFormat),
        ({"Sec_WebSocket_Accept": None}, InvalidHeader),
        ({"Sec_WebSocket_Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}, InvalidHeaderValue),
        ({"Sec_WebSocket_Accept": ["a", "b"]}, InvalidHeader),
        ({"Sec_WebSocket_Extensions": "permessage-deflate"}, NegotiationError),
        ({"Sec_WebSocket_Protocol": "other"}, NegotiationError),
        ({"Sec_WebSocket_Protocol": "CHAT"}, NegotiationError),
        ({"Sec_WebSocket_Protocol": "chat, superchat"}, NegotiationError),
        ({"Sec_WebSocket_Protocol": ["chat", "chat"]}, NegotiationError),
        ({"Sec_WebSocket_Protocol": "a b"}, InvalidHeaderFormat),
    ],
)
def test_an_answer_that_does_not_fit(
    changes: dict[str, Any], error: type[InvalidHandshake]
) -> None:
    """CASES C04."""
    protocol = connecting(subprotocols=["chat", "superchat"])
    data = answer_to(protocol, **changes) + wire.frame(FIN | TEXT, b"hi")
    protocol.receive_data(data)
    assert_failed(protocol, error)


def test_a_subprotocol_nobody_offered() -> None:
    protocol = connecting()
    protocol.receive_data(answer_to(protocol, Sec_WebSocket_Protocol="chat"))
    assert str(protocol.handshake_exc) == "subprotocol not offered: chat"
    assert_failed(protocol, NegotiationError)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", InvalidMessage),
        (b"\x15\x03\x01", InvalidMessage),
        (b"HTTP/1.1 abc\r\n", InvalidMessage),
        (b"HTTP/1.1 600 x\r\n", InvalidMessage),
        (b"HTTP/1.0 101 x\r\n", InvalidProtocol),
        (b"HTTP/2.0 200 OK\r\n", InvalidProtocol),
        (b"HTTP/1.1 200 " + b"x" * 9000, StatusLineTooLong),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * 100_000, HeaderLineTooLong),
        (b"HTTP/1.1 200 OK\r\nbad header: x\r\n\r\n", InvalidMessage),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", InvalidMessage),
    ],
)
def test_garbage(data: bytes, error: type[InvalidHandshake]) -> None:
    protocol = connecting()
    protocol.data_to_send()
    protocol.receive_data(data)
    assert_failed(protocol, error, n_responses=0)


BODIES = [
    (b"Content-Length: 5\r\n\r\nsorry", b"sorry"),
    (b"Content-Length: 0\r\n\r\n", b""),
    (b"Transfer-Encoding: chunked\r\n\r\n5\r\nsorry\r\n0\r\n\r\n", b"sorry"),
]


@pytest.mark.parametrize(("rest", "body"), BODIES)
@pytest.mark.parametrize("status", ["200 OK", "302 Found", "401 x", "503 y"])
def test_refusal(status: str, rest: bytes, body: bytes) -> None:
    """It is known once the body is whole, even if the connection stays open."""
    data = f"HTTP/1.1 {status}\r\n".encode() + rest
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        protocol = connecting()
        protocol.data_to_send()
        for piece in pieces:
            protocol.receive_data(piece)
        exc = protocol.handshake_exc
        assert isinstance(exc, InvalidStatus)
        assert exc.status_code == int(status[:3])
        assert exc.response.body == body
        assert protocol.events == [exc.response]
        assert_failed(protocol, InvalidStatus)


def test_refusal_until_the_end() -> None:
    protocol = connecting()
    protocol.data_to_send()
    assert protocol.response_so_far() is None
    protocol.receive_data(b"HTTP/1.1 500 x\r\n")
    assert protocol.response_so_far() is None
    protocol.receive_data(b"\r\nsor")
    protocol.receive_data(b"ry")
    assert protocol.handshake_exc is None
    so_far = protocol.response_so_far()
    assert so_far is not None
    assert (so_far.status_code, so_far.body) == (500, b"sorry")
    protocol.receive_eof()
    assert protocol.state is State.CLOSED
    [response] = protocol.events_received()
    assert response == so_far
    assert isinstance(protocol.handshake_exc, InvalidStatus)
    assert protocol.data_to_send() == [b""]


def test_refusal_cut_off() -> None:
    protocol = connecting()
    protocol.receive_data(b"HTTP/1.1 500 x\r\nContent-Length: 50\r\n\r\nsorry")
    protocol.receive_eof()
    assert isinstance(protocol.handshake_exc, InvalidStatus)
    assert protocol.handshake_exc.response.body == b"sorry"


def test_refusal_without_end() -> None:
    protocol = connecting()
    protocol.data_to_send()
    protocol.receive_data(b"HTTP/1.1 500 x\r\n\r\n")
    for _ in range(MAX_BODY // 2**16):
        assert protocol.handshake_exc is None
        protocol.receive_data(bytes(2**16))
    assert isinstance(protocol.handshake_exc, InvalidStatus)
    assert len(protocol.handshake_exc.response.body) == MAX_BODY
    assert_failed(protocol, InvalidStatus)


# The end of the stream


def test_eof_in_the_answer() -> None:
    """At each point."""
    whole = answer_to(connecting())
    for at in range(len(whole)):
        protocol = connecting()
        protocol.receive_data(whole[:at])
        protocol.receive_eof()
        assert protocol.state is State.CLOSED
        exc = protocol.handshake_exc
        assert isinstance(exc, InvalidMessage)
        assert exc.eof
        assert protocol.events_received() == []


def test_eof_behind_the_answer() -> None:
    protocol = connecting()
    protocol.receive_data(answer_to(protocol))
    protocol.receive_eof()
    assert protocol.state is State.CLOSED
    assert protocol.handshake_exc is None
    protocol.receive_eof()
    assert protocol.data_to_send() == [b""]


def test_eof_behind_a_refusal() -> None:
    """Nothing more is said than was."""
    protocol = connecting()
    protocol.receive_data(b"garbage")
    exc = protocol.handshake_exc
    protocol.receive_eof()
    assert protocol.handshake_exc is exc


def test_fail_before_the_answer() -> None:
    protocol = connecting()
    answer = answer_to(protocol)
    protocol.fail(1006)
    assert protocol.state is State.CLOSING
    protocol.receive_data(answer)
    assert protocol.events_received() == []
    assert protocol.data_to_send() == [b""]


# Both sides


@given(
    st.booleans(),
    st.lists(st.integers(0, 500), max_size=5),
    st.lists(st.integers(0, 500), max_size=5),
)
def test_a_server_and_a_client(
    eager: bool, request_cuts: list[int], response_cuts: list[int]
) -> None:
    """Joined in memory; an eager client sends before it has the answer."""
    client = ClientProtocol(parse_uri("ws://example.com/"), subprotocols=["chat"])
    server = ServerProtocol(subprotocols=["chat"])
    client.send_request(client.connect())
    data = b"".join(client.data_to_send())
    data += wire.frame(FIN | TEXT, b"eager", masked=True) if eager else b""
    for piece in wire.cut(data, request_cuts):
        server.receive_data(piece)
    [request] = server.events_received()
    server.send_response(server.accept(request))
    server.send_text("welcome")
    for piece in wire.cut(b"".join(server.data_to_send()), response_cuts):
        client.receive_data(piece)
    assert server.state is client.state is State.OPEN
    assert server.subprotocol == client.subprotocol == "chat"
    assert server.events_received() == ([Frame(TEXT, b"eager")] if eager else [])
    assert client.events_received()[1:] == [Frame(TEXT, b"welcome")]
