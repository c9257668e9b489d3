"""C02, C04: what our request may not hold, and answers that are not to be believed."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import pytest

from gws import connect
from gws.exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidMessage,
    InvalidStatus,
    InvalidUpgrade,
    InvalidURI,
    NegotiationError,
    SecurityError,
)
from gws.extensions import ClientPerMessageDeflateFactory
from gws.testing import TEXT, frame
from gws.testing.octets import header, switching_protocols

from .conftest import Sites, closed_by, peak_memory


#: What would end a line of the request.
BREAKS = ["\r\nX: y", "\n", "\r", "\x00"]


def bad_arguments(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Return what `connect` may not take: a URI, and options."""
    uri = "ws://localhost:1/"
    return [
        (f"ws://localhost:1/{text}", {}),
        (f"ws://localhost:1/?{text}", {}),
        (f"ws://localhost{text}:1/", {}),
        (f"ws://user:pass{text}@localhost:1/", {}),
        (f"ws{text}://localhost:1/", {}),
        (uri, {"origin": f"http://a{text}"}),
        (uri, {"subprotocols": [f"a{text}"]}),
        (uri, {"user_agent_header": f"a{text}"}),
        (uri, {"additional_headers": {"X-A": f"a{text}"}}),
        (uri, {"additional_headers": {f"X-A{text}": "a"}}),
        (uri, {"additional_headers": [("X-A", "a"), ("X-B", f"b{text}")]}),
    ]


@pytest.mark.parametrize("text", BREAKS)
def test_c02_nothing_breaks_a_line(sites: Sites, text: str) -> None:
    with sites("client", auth=("user", f"pass{text}")) as site:
        for uri, options in bad_arguments(text):
            # Before anything is opened: nobody listens there.
            with pytest.raises((ValueError, InvalidURI)):
                connect(uri, **options)
        # Percent-encoded it is harmless, and stays so.
        assert connect("ws://localhost/%0d%0aX:%20y").uri.resource_name == (
            "/%0d%0aX:%20y"
        )
        # And so is what goes through Base64.
        with site.peer() as peer:
            head = peer.read_head()
            peer.write(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
            assert isinstance(site.refusal(), InvalidStatus)  # type: ignore[attr-defined]
        value = header(head, "Authorization").removeprefix("Basic ")
        assert base64.b64decode(value) == f"user:pass{text}".encode()


def answered(key: str, extra: str = "") -> bytes:
    return switching_protocols(key, extra)


def without(name: str, key: str) -> bytes:
    lines = answered(key).split(b"\r\n")
    return b"\r\n".join(x for x in lines if not x.lower().startswith(name.encode()))


def extension(value: str) -> str:
    return f"Sec-WebSocket-Extensions: {value}\r\n"


DEFLATE = "permessage-deflate"
BOTH = f"{DEFLATE}; server_no_context_takeover; client_no_context_takeover"

#: Headers that agree on what was not offered.
NOT_OFFERED = {
    "a subprotocol": "Sec-WebSocket-Protocol: chat\r\n",
    "two subprotocols": "Sec-WebSocket-Protocol: a, b\r\n",
    "an extension": extension("x-webkit-deflate-frame"),
    "an extension's name in another case": extension("Permessage-Deflate"),
    "a name of an object": extension("constructor"),
    "twice": extension(f"{BOTH}, {BOTH}"),
    "twice in two headers": extension(BOTH) * 2,
    "window bits 7": extension(f"{BOTH}; server_max_window_bits=7"),
    "window bits 16": extension(f"{BOTH}; server_max_window_bits=16"),
    "window bits 0": extension(f"{BOTH}; client_max_window_bits=0"),
    "window bits of many digits": extension(
        f"{BOTH}; client_max_window_bits={'9' * 99}"
    ),
    "window bits without value": extension(f"{BOTH}; client_max_window_bits"),
    "window bits twice": extension(f"{BOTH}; client_max_window_bits=9" * 2),
    "no word": extension(f"{BOTH}; server_max_window_bits=abc"),
    "an unknown parameter": extension(f"{BOTH}; x=1"),
    "a parameter with a value": extension(f"{DEFLATE}; server_no_context_takeover=1"),
    "context takeover that we declined": extension(DEFLATE),
}


@pytest.mark.parametrize("what", NOT_OFFERED)
def test_c04_what_was_not_offered(sites: Sites, what: str) -> None:
    with sites("client", subprotocols=["a", "b"]) as site:
        refuse(site, lambda key: answered(key, NOT_OFFERED[what]), NegotiationError)


def refuse(site: Any, make: Any, error: type[Exception]) -> Exception:
    """Have a client get an answer; return why it refuses, which is an ``error``."""
    with site.peer() as peer:
        key = header(peer.read_head(), "Sec-WebSocket-Key")
        # A message behind it never reaches anybody.
        peer.write(make(key), frame(TEXT, b"x", masked=False))
        exc: Exception = site.refusal()
        assert peer.read_to_end() == b"", "it said something to who is no server"
    assert isinstance(exc, error), repr(exc)
    assert isinstance(exc, InvalidHandshake)
    assert site.runs == []
    assert len(str(exc)) < 500
    return exc


#: Other answers, and what is raised.
ANSWERS: dict[str, tuple[Any, type[Exception]]] = {
    "the wrong key": (lambda key: answered("x" + key[1:]), InvalidHeader),
    "the key itself": (
        lambda key: answered(key).replace(
            b"Accept: "
            + header(answered(key).decode(), "Sec-WebSocket-Accept").encode(),
            b"Accept: " + key.encode(),
        ),
        InvalidHeader,
    ),
    "no key": (lambda key: without("sec-websocket-accept", key), InvalidHeader),
    "two keys": (
        lambda key: answered(key, f"Sec-WebSocket-Accept: {key}\r\n"),
        InvalidHeader,
    ),
    "no upgrade": (lambda key: without("upgrade", key), InvalidUpgrade),
    "no connection": (lambda key: without("connection", key), InvalidUpgrade),
    "another upgrade": (
        lambda key: answered(key).replace(b": websocket", b": websocket2"),
        InvalidUpgrade,
    ),
    "HTTP/1.0": (
        lambda key: answered(key).replace(b"HTTP/1.1", b"HTTP/1.0"),
        InvalidHandshake,
    ),
    "HTTP/2": (lambda key: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", InvalidMessage),
    "SSH": (lambda key: b"SSH-2.0-OpenSSH_9.9\r\n", InvalidMessage),
    "NUL": (lambda key: answered(key, "X: a\0b\r\n"), InvalidHandshake),
    "a folded header": (lambda key: answered(key, "X: a\r\n b\r\n"), InvalidHandshake),
    "a space before the colon": (
        lambda key: answered(key, "X : a\r\n"),
        InvalidHandshake,
    ),
    "no colon": (lambda key: answered(key, "what?\r\n"), InvalidHandshake),
    "a header of 100 kB": (
        lambda key: answered(key, f"X: {'x' * 100_000}\r\n"),
        SecurityError,
    ),
    "100 000 headers": (lambda key: answered(key, "X: x\r\n" * 100_000), SecurityError),
    "a status line of 1 MB": (
        lambda key: b"HTTP/1.1 101 " + b"x" * 2**20,
        SecurityError,
    ),
    "a body of another length": (
        lambda key: b"HTTP/1.1 403 No\r\nContent-Length: -1\r\n\r\n",
        InvalidHandshake,
    ),
    "two lengths": (
        lambda key: (
            b"HTTP/1.1 403 No\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
        ),
        InvalidHandshake,
    ),
    "a body without end": (
        lambda key: b"HTTP/1.1 200 OK\r\n\r\n" + bytes(4 * 2**20),
        InvalidHandshake,
    ),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_c04_answers(sites: Sites, answer: str) -> None:
    make, error = ANSWERS[answer]
    with sites("client") as site, site.peer() as peer:
        key = header(peer.read_head(), "Sec-WebSocket-Key")
        octets = make(key)
        with peak_memory(3 * 2**20):
            try:
                peer.write(octets)
                peer.half_close()
            except OSError:
                pass  # it has heard enough
            exc = site.refusal()  # type: ignore[attr-defined]
        assert isinstance(exc, error), repr(exc)
        assert isinstance(exc, InvalidHandshake)
        assert len(str(exc)) < 500
        assert site.runs == []


def test_c04_a_compressed_refusal_without_a_length(sites: Sites) -> None:
    # It ends with the connection, and is given as it came.
    body = gzip.compress(b"not today")
    with sites("client") as site:
        with site.peer() as peer:
            peer.read_head()
            peer.write(b"HTTP/1.1 503 Later\r\nContent-Encoding: gzip\r\n\r\n", body)
        exc = site.refusal()  # type: ignore[attr-defined]
    assert isinstance(exc, InvalidStatus)
    assert (exc.status_code, exc.response.body) == (503, body)


def test_c04_101_with_a_body(sites: Sites) -> None:
    # RFC 9110 15.2: a 101 has none, whatever it says; what follows is frames.
    with sites("client") as site:
        for extra in ("Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"):
            with site.peer() as peer:
                key = header(peer.read_head(), "Sec-WebSocket-Key")
                peer.write(answered(key, extra), peer.frame(TEXT, b"a"))
                assert peer.receive() == (TEXT, b"a")
                peer.write(b"abc")  # opcode 1, RSV2
                assert peer.receive_close()[0] == 1002
                assert site.end_seen(peer)
            assert closed_by(site.last_run()).code == 1006
            site.runs.clear()


def test_c04_bits_that_were_declined(sites: Sites) -> None:
    # Offered with 10 bits: 11 is none of it.
    offer = [ClientPerMessageDeflateFactory(True, True, 10, 10)]
    with sites("client", extensions=offer) as site:
        for terms in ("server_max_window_bits=11", "client_max_window_bits=11"):
            value = extension(f"{BOTH}; server_max_window_bits=10; {terms}")
            if terms.startswith("server"):
                value = extension(f"{BOTH}; {terms}")
            refuse(site, lambda key, v=value: answered(key, v), NegotiationError)
