"""The exceptions: their messages, their attributes, their place in the tree."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle

import pytest

from gws import exceptions
from gws.exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    DuplicateParameter,
    HeaderLineTooLong,
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderFormat,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidMethod,
    InvalidOrigin,
    InvalidParameterName,
    InvalidParameterValue,
    InvalidProtocol,
    InvalidProxy,
    InvalidProxyMessage,
    InvalidProxyStatus,
    InvalidState,
    InvalidStatus,
    InvalidUpgrade,
    InvalidURI,
    NegotiationError,
    PayloadTooBig,
    ProtocolError,
    ProxyError,
    RequestLineTooLong,
    SecurityError,
    StatusLineTooLong,
    TooManyFragments,
    TooManyHeaders,
    WebSocketException,
)
from gws.protocol.datastructures import Headers
from gws.protocol.http11 import Response


@dataclasses.dataclass(frozen=True)
class Frame:
    """A close frame, reduced to what the exceptions ask of it."""

    code: int
    reason: str

    def __str__(self) -> str:
        return f"{self.code} (name) {self.reason}"


BYE = Frame(1000, "bye")
AWAY = Frame(1001, "away")
RESPONSE = Response(503, "Service Unavailable", Headers(), b"later")

MESSAGES = [
    (ConnectionClosed(None, None), "no close frame received or sent"),
    (ConnectionClosed(BYE, None), "received 1000 (name) bye; no close frame sent"),
    (ConnectionClosed(None, BYE), "sent 1000 (name) bye; no close frame received"),
    (
        ConnectionClosedOK(BYE, AWAY, True),
        "received 1000 (name) bye; then sent 1001 (name) away",
    ),
    (
        ConnectionClosedError(BYE, AWAY, False),
        "sent 1001 (name) away; then received 1000 (name) bye",
    ),
    (InvalidURI("http://a", "no"), "http://a isn't a valid URI: no"),
    (InvalidProxy("ftp://a", "no"), "ftp://a isn't a valid proxy: no"),
    (ConcurrencyError("two at once"), "two at once"),
    (InvalidState("closed"), "closed"),
    (InvalidHandshake("no"), "no"),
    (SecurityError("no"), "no"),
    (RequestLineTooLong("no"), "no"),
    (StatusLineTooLong("no"), "no"),
    (HeaderLineTooLong("no"), "no"),
    (TooManyHeaders("no"), "no"),
    (ProxyError("no"), "no"),
    (InvalidProxyMessage("no"), "no"),
    (InvalidProxyStatus(RESPONSE), "proxy rejected connection: HTTP 503"),
    (InvalidMessage("no", eof=True), "no"),
    (InvalidMessage(), ""),
    (InvalidMessage("line: a\r\nb"), "line: a\\r\\nb"),
    (InvalidMessage("x" * 201), "x" * 200 + "..."),
    (InvalidMethod("POST"), "unsupported HTTP method: POST"),
    (InvalidProtocol("HTTP/1.0"), "unsupported HTTP version: HTTP/1.0"),
    (InvalidStatus(RESPONSE), "server rejected WebSocket connection: HTTP 503"),
    (InvalidHeader("Host"), "missing Host header"),
    (InvalidHeader("Host", ""), "empty Host header"),
    (InvalidHeader(name="Host", value="@"), "invalid Host header: @"),
    (InvalidHeader("Host", "\x1b[2J\n"), "invalid Host header: \\x1b[2J\\n"),
    (InvalidHeader("Host", "h" * 200), "invalid Host header: " + "h" * 200),
    (InvalidHeader("a\r\nb", "c"), "invalid a\\r\\nb header: c"),
    (
        InvalidHeaderFormat("Upgrade", "expected token", "a;", 1),
        "invalid Upgrade header: expected token at 1 in a;",
    ),
    (InvalidHeaderValue("Host", "é\x85"), "invalid Host header: \\xe9\\x85"),
    (InvalidOrigin(None), "missing Origin header"),
    (InvalidOrigin("null"), "invalid Origin header: null"),
    (InvalidUpgrade("Upgrade", "h2c"), "invalid Upgrade header: h2c"),
    (NegotiationError("no"), "no"),
    (DuplicateParameter("a"), "duplicate parameter: a"),
    (InvalidParameterName("a"), "invalid parameter name: a"),
    (InvalidParameterValue("a", None), "missing value for parameter a"),
    (InvalidParameterValue("a", ""), "empty value for parameter a"),
    (InvalidParameterValue("a", "b"), "invalid value for parameter a: b"),
    (ProtocolError("no"), "no"),
    (PayloadTooBig(None, 4), "frame exceeds limit of 4 bytes"),
    (PayloadTooBig(5, 4), "frame with 5 bytes exceeds limit of 4 bytes"),
    (
        PayloadTooBig(size=3, max_size=4, cur_size=2),
        "frame with 3 bytes after 2 bytes exceeds limit of 4 bytes",
    ),
    (TooManyFragments(9, 8), "message with 9 frames exceeds limit of 8"),
]

BASES = {
    "WebSocketException": (Exception,),
    "ConnectionClosed": (WebSocketException,),
    "ConnectionClosedOK": (ConnectionClosed,),
    "ConnectionClosedError": (ConnectionClosed,),
    "InvalidURI": (WebSocketException,),
    "InvalidProxy": (WebSocketException,),
    "ConcurrencyError": (WebSocketException, RuntimeError),
    "InvalidState": (WebSocketException,),
    "InvalidHandshake": (WebSocketException,),
    "SecurityError": (InvalidHandshake,),
    "RequestLineTooLong": (SecurityError,),
    "StatusLineTooLong": (SecurityError,),
    "HeaderLineTooLong": (SecurityError,),
    "TooManyHeaders": (SecurityError,),
    "ProxyError": (InvalidHandshake,),
    "InvalidProxyMessage": (ProxyError,),
    "InvalidProxyStatus": (ProxyError,),
    "InvalidMessage": (InvalidHandshake,),
    "InvalidMethod": (InvalidHandshake,),
    "InvalidProtocol": (InvalidHandshake,),
    "InvalidStatus": (InvalidHandshake,),
    "InvalidHeader": (InvalidHandshake,),
    "InvalidHeaderFormat": (InvalidHeader,),
    "InvalidHeaderValue": (InvalidHeader, ValueError),
    "InvalidOrigin": (InvalidHeader,),
    "InvalidUpgrade": (InvalidHeader,),
    "NegotiationError": (InvalidHandshake,),
    "DuplicateParameter": (NegotiationError,),
    "InvalidParameterName": (NegotiationError,),
    "InvalidParameterValue": (NegotiationError,),
    "ProtocolError": (WebSocketException,),
    "PayloadTooBig": (ProtocolError,),
    "TooManyFragments": (ProtocolError,),
}
ALIASES = {
    "InvalidStatusCode": InvalidStatus,
    "WebSocketProtocolError": ProtocolError,
}


def is_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)


@pytest.mark.parametrize(("exc", "message"), MESSAGES)
def test_message(exc: Exception, message: str) -> None:
    assert str(exc) == message


@pytest.mark.parametrize("exc", [exc for exc, _ in MESSAGES])
@pytest.mark.parametrize(
    "clone", [lambda exc: pickle.loads(pickle.dumps(exc)), copy.copy]
)
def test_survives_pickle_and_copy(exc: Exception, clone: object) -> None:
    assert callable(clone)
    other = clone(exc)
    assert type(other) is type(exc)
    assert str(other) == str(exc)
    assert vars(other) == vars(exc)
    assert other.args == exc.args


def test_every_class_has_a_message_tested() -> None:
    tested = {type(exc).__name__ for exc, _ in MESSAGES}
    assert tested == BASES.keys() - {"WebSocketException"}


def test_tree() -> None:
    names = {name for name, value in vars(exceptions).items() if is_exception(value)}
    assert names == BASES.keys() | ALIASES.keys()
    for name, bases in BASES.items():
        assert getattr(exceptions, name).__bases__ == bases
    for name, cls in ALIASES.items():
        assert getattr(exceptions, name) is cls


def test_tree_in_the_docstring() -> None:
    """Each class stands there once, indented below its base."""
    doc = inspect.getdoc(exceptions)
    assert doc is not None
    depths = {}
    for line in doc.splitlines():
        words = line.replace("|--", "   ").replace("`--", "   ").replace("|", " ")
        if words.split() and words.split()[0] in BASES:
            assert words.split()[0] not in depths
            depths[words.split()[0]] = (len(words) - len(words.lstrip())) // 4
    # The root is indented by the docstring's literal block: depth 1.
    expected = {
        name: len(
            [
                cls
                for cls in getattr(exceptions, name).__mro__
                if cls.__module__ == "gws.exceptions"
            ]
        )
        for name in BASES
    }
    assert depths == expected


@pytest.mark.parametrize(
    ("exc", "code", "reason"),
    [
        (ConnectionClosed(BYE, None), 1000, "bye"),
        (ConnectionClosed(AWAY, BYE, True), 1001, "away"),
        (ConnectionClosed(None, BYE), 1006, ""),
        (ConnectionClosed(None, None), 1006, ""),
    ],
)
def test_code_and_reason(exc: ConnectionClosed, code: int, reason: str) -> None:
    assert exc.code == code
    assert exc.reason == reason


def test_connection_closed_attributes() -> None:
    exc = ConnectionClosed(BYE, AWAY, False)
    assert (exc.rcvd, exc.sent, exc.rcvd_then_sent) == (BYE, AWAY, False)


def test_connection_closed_equality() -> None:
    exc = ConnectionClosedOK(BYE, BYE, True)
    same = ConnectionClosedOK(Frame(1000, "bye"), Frame(1000, "bye"), True)
    assert exc == same
    assert hash(exc) == hash(same)
    assert exc != ConnectionClosedOK(BYE, BYE, False)
    assert exc != ConnectionClosedOK(BYE, AWAY, True)
    assert exc != ConnectionClosedError(BYE, BYE, True)
    assert exc != ConnectionClosed(BYE, BYE, True)
    assert exc != "1000 (name) bye"


@pytest.mark.parametrize(
    ("exc", "attributes"),
    [
        (InvalidURI("a", "b"), {"uri": "a", "msg": "b"}),
        (InvalidProxy("a", "b"), {"proxy": "a", "msg": "b"}),
        (InvalidProxyStatus(RESPONSE), {"response": RESPONSE, "status_code": 503}),
        (InvalidStatus(RESPONSE), {"response": RESPONSE, "status_code": 503}),
        (InvalidMessage("a"), {"message": "a", "eof": False}),
        (InvalidMessage("a", True), {"message": "a", "eof": True}),
        (InvalidMethod("POST"), {"method": "POST"}),
        (InvalidProtocol("HTTP/1.0"), {"protocol": "HTTP/1.0"}),
        (InvalidHeader("a"), {"name": "a", "value": None}),
        (InvalidOrigin("null"), {"name": "Origin", "value": "null"}),
        (
            InvalidHeaderFormat("a", "b", "c", 3),
            {"name": "a", "value": "b at 3 in c"},
        ),
        (DuplicateParameter("a"), {"name": "a"}),
        (InvalidParameterName("a"), {"name": "a"}),
        (InvalidParameterValue("a", "b"), {"name": "a", "value": "b"}),
        (ProtocolError("a"), {"close_code": 1002}),
        (
            PayloadTooBig(1, 2, 3),
            {"size": 1, "max_size": 2, "cur_size": 3, "close_code": 1009},
        ),
        (
            TooManyFragments(3, 2),
            {"count": 3, "max_fragments": 2, "close_code": 1009},
        ),
    ],
)
def test_attributes(exc: Exception, attributes: dict[str, object]) -> None:
    assert {name: getattr(exc, name) for name in attributes} == attributes
