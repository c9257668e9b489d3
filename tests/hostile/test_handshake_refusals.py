"""Requests that are HTTP, but do not open a WebSocket connection."""

from __future__ import annotations

import pytest

from gws.testing import TEXT, RawPeer, request
from gws.testing.octets import HANDSHAKE, KEY, header, headers

from .conftest import Site


OTHERS, KEY_LINE, VERSION_LINE = (
    HANDSHAKE.partition("Sec-")[0],
    f"Sec-WebSocket-Key: {KEY}\r\n",
    "Sec-WebSocket-Version: 13\r\n",
)


def refused(site: Site, data: bytes) -> str:
    """Send what must be refused; return the head of the only answer."""
    answer = site.refuse(data)
    assert answer.count("HTTP/1.1 ") == 1, data
    head, _, _ = answer.partition("\r\n\r\n")
    options = header(head, "Connection").lower().replace(" ", "").split(",")
    assert "close" in options, data
    assert site.runs == [] == site.plain
    return head


#: Values of the only key, or None for no such header.
KEYS = {
    "none": None,
    "empty": "",
    "short": KEY[1:],
    "15 octets": "QUJDREVGR0hJSktMTU5P",
    "17 octets": "QUJDREVGR0hJSktMTU5PUFE=",
    "no base64": "!" * 24,
    "base64 for URLs": "-_" * 11 + "==",
    "no padding": "A" * 24,
    "twice in one": KEY + KEY,
    "a list": f"{KEY}, {KEY}",
    "a space in it": KEY[:10] + " " + KEY[11:],
    "outside ASCII": "\xe9" * 22 + "==",
}


def test_h08_keys(site: Site) -> None:
    for case, value in KEYS.items():
        line = "" if value is None else f"Sec-WebSocket-Key: {value}\r\n"
        head = refused(site, request("/", OTHERS + VERSION_LINE + line))
        assert head.startswith("HTTP/1.1 400 "), case
    head = refused(site, request("/", HANDSHAKE + KEY_LINE))
    assert head.startswith("HTTP/1.1 400 "), "two keys"


#: Values of the header, or None for no such header.
VERSIONS = ["0", "8", "12", "14", "013", "13, 8", "777", "", "x", "+13", "\xb9", None]


def test_h08_versions(site: Site) -> None:
    lines = [
        "" if value is None else f"Sec-WebSocket-Version: {value}\r\n"
        for value in VERSIONS
    ]
    lines += [VERSION_LINE * 2, VERSION_LINE + VERSION_LINE.replace("13", "8")]
    for line in lines:
        head = refused(site, request("/", OTHERS + KEY_LINE + line))
        assert head.startswith("HTTP/1.1 426 "), line
        assert header(head, "Sec-WebSocket-Version") == "13"
        assert header(head, "Upgrade") == "websocket"


def test_h09_methods(site: Site) -> None:
    for method in (b"POST", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"get", b"BREW"):
        head = refused(site, request().replace(b"GET", method))
        assert head.startswith("HTTP/1.1 405 "), method
        assert header(head, "Allow") == "GET"


#: The start of a request, and the statuses that it may get.
STARTS = {
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n", ["505"]),
    "HTTP/0.9": (b"GET /\r\n", ["505", "400"]),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\n", ["505", "400"]),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\n", ["505", "400"]),
    "HTTP/11": (b"GET / HTTP/11\r\n", ["400"]),
    "in lower case": (b"GET / http/1.1\r\n", ["400"]),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ["505", "400"]),
    "asterisk form": (b"GET * HTTP/1.1\r\n", ["400"]),
    "authority form": (b"GET localhost:80 HTTP/1.1\r\n", ["400"]),
    "another scheme": (b"GET ftp://localhost/ HTTP/1.1\r\n", ["400"]),
    "no target": (b"GET HTTP/1.1\r\n", ["400"]),
    "two spaces": (b"GET  / HTTP/1.1\r\n", ["400"]),
    "a tab": (b"GET\t/ HTTP/1.1\r\n", ["400"]),
    "a space in the target": (b"GET /a b HTTP/1.1\r\n", ["400"]),
    "a fragment": (b"GET /a#b HTTP/1.1\r\n", ["400"]),
    "a control character": (b"GET /\x1fa HTTP/1.1\r\n", ["400"]),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\r\n", ["400"]),
}


def test_h09_other_requests(site: Site) -> None:
    _, _, rest = request().partition(b"\r\n")
    for case, (start, statuses) in STARTS.items():
        head = refused(site, start + rest)
        assert head.split()[1] in statuses, case


@pytest.mark.parametrize("target", ["http://localhost/a?b", "HTTPS://localhost:80/a?b"])
def test_h09_absolute_form(site: Site, target: str) -> None:
    with site.peer() as peer:
        peer.ask(request(target))
        echo_something(peer)
        peer.send_close(1000)
        peer.receive_close()
    assert site.last_run().path == "/a?b"


def test_h09_absolute_form_says_the_host(site: Site) -> None:
    """Of a request that says two, the target counts (RFC 9112, section 3.2.2)."""
    asked = HANDSHAKE + "Origin: http://evil.example\r\n"
    data = request("http://localhost/", asked, host="evil.example")
    assert refused(site, data).startswith("HTTP/1.1 403 ")


HOSTS = {
    "none": "",
    "two": "Host: localhost\r\nHost: localhost\r\n",
    "two that differ": "Host: localhost\r\nHost: evil.example\r\n",
    "a list": "Host: localhost, evil.example\r\n",
    "empty": "Host:\r\n",
    "a path": "Host: localhost/x\r\n",
    "a user": "Host: user@localhost\r\n",
    "a port too large": "Host: localhost:65536\r\n",
    "no port": "Host: localhost:x\r\n",
}


def test_h10_hosts(site: Site) -> None:
    for case, lines in HOSTS.items():
        data = request().replace(b"Host: localhost\r\n", lines.encode())
        assert refused(site, data).startswith("HTTP/1.1 400 "), case


def test_h10_two_upgrades(site: Site) -> None:
    for second in ("websocket", "h2c"):
        data = request("/", f"Upgrade: {second}\r\n" + HANDSHAKE)
        assert refused(site, data).startswith("HTTP/1.1 400 "), second


def test_h10_nothing_is_joined(site: Site) -> None:
    """What may stand twice is seen twice."""
    asked = HANDSHAKE + "Sec-WebSocket-Extensions: x\r\n" * 2
    with site.peer() as peer:
        head = peer.ask(request("/", asked))
        assert headers(head, "Sec-WebSocket-Extensions") == []
        echo_something(peer)


def echo_something(peer: RawPeer) -> None:
    peer.send(TEXT, b"hello")
    assert peer.receive() == (TEXT, b"hello")
