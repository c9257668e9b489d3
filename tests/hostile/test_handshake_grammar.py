"""Requests that break the grammar of HTTP, so that somebody may read them otherwise."""

from __future__ import annotations

import pytest

from gws import InvalidHandshake, connect
from gws.testing import TEXT, RawPeer, request
from gws.testing.octets import HANDSHAKE, header, switching_protocols

from ..wire import raw_server
from .conftest import Site, Sites


#: What comes into the place of the middle of a header's value. Each may end a line,
#: or a string, for somebody.
CONTROLS = {
    "CR": b"\r",
    "LF": b"\n",
    "LF CR": b"\n\r",
    "NUL": b"\0",
    "VT": b"\x0b",
    "FF": b"\x0c",
    "FS": b"\x1c",
    "GS": b"\x1d",
    "RS": b"\x1e",
    "US": b"\x1f",
    "DEL": b"\x7f",
    "ESC": b"\x1b",
    "NEL": b"\x85",
    "NEL in UTF-8": b"\xc2\x85",
}

#: Lines that are no headers.
LINES = {
    "folded": b"X-A: b\r\n X-Smuggled: yes",
    "folded with a tab": b"X-A: b\r\n\tX-Smuggled: yes",
    "the first is folded": b" X-Smuggled: yes",
    "a space before the colon": b"X-Smuggled : yes",
    "a tab before the colon": b"X-Smuggled\t: yes",
    "an empty name": b": yes",
    "no colon": b"X-Smuggled",
    "a space in the name": b"X Smuggled: yes",
    "a name outside ASCII": b"X-Smuggl\xc3\xa9d: yes",
    "a NUL in the name": b"X-\0Smuggled: yes",
    "a control character in the name": b"X-\x1cSmuggled: yes",
    "a bracket in the name": b"X(Smuggled): yes",
    "a bare LF": b"X-A: b\nX-Smuggled: yes",
    "a bare CR": b"X-A: b\rX-Smuggled: yes",
    "an end with bare LFs": b"X-A: b\n\nX-Smuggled: yes",
}


def with_line(line: bytes) -> bytes:
    return request()[:-2] + line + b"\r\n\r\n"


def test_h04_a_control_character_in_a_value(site: Site) -> None:
    for octets in CONTROLS.values():
        for value in (octets + b"X-Smuggled: yes", octets + b"a", b"a" + octets):
            answer = site.refuse(with_line(b"X-A: " + value))
            assert answer.startswith("HTTP/1.1 400 "), value
            # An answer that repeats it does so without what ends lines.
            head, _, body = answer.partition("\r\n\r\n")
            assert "X-Smuggled: yes" not in head.splitlines(), value
            assert "HTTP/" not in body, value
    assert site.runs == [] == site.plain


def test_h04_what_is_no_header(site: Site) -> None:
    for case, line in LINES.items():
        answer = site.refuse(with_line(line))
        assert answer.startswith("HTTP/1.1 400 "), case
        assert answer.count("HTTP/1.1") == 1, case
    assert site.runs == [] == site.plain


def test_h04_what_is_no_header_of_plain_http(sites: Sites) -> None:
    """It reaches no application, and so no environ, of plain HTTP either."""
    start = b"GET /admin HTTP/1.1\r\nHost: localhost\r\n"
    with sites("pywsgi") as site:
        for case, line in LINES.items():
            answer = site.refuse(start + line + b"\r\n\r\n")
            assert answer.startswith("HTTP/1.1 400 "), case
        assert site.plain == []


def test_h04_what_only_looks_odd(site: Site) -> None:
    """Text in UTF-8 or ISO-8859-1, an empty value, and tabs are legal."""
    lines = b"X-A: \xc3\xa9\r\nX-B: \xe9\r\nX-C:\r\nX-D:\t\t\r\nX-E: a\tb"
    with site.peer() as peer:
        peer.ask(with_line(lines))
        peer.send(TEXT, b"hello")
        assert peer.receive() == (TEXT, b"hello")


def test_h04_a_control_character_in_an_answer(leakcheck: None) -> None:
    waiting = list(CONTROLS.values())

    def play(peer: RawPeer) -> None:
        key = header(peer.read_head(), "Sec-WebSocket-Key")
        line = b"X-A: a" + waiting.pop() + b"X-Smuggled: yes\r\n\r\n"
        peer.write(switching_protocols(key)[:-2], line)

    with raw_server(play) as server:
        while waiting:
            with pytest.raises(InvalidHandshake):
                connect(server.uri).open()
        assert server.n_accepted == len(CONTROLS)


#: Headers in the place of Upgrade and Connection, and the answer.
UPGRADES = {
    "another protocol": ("Upgrade: notwebsocket\r\nConnection: Upgrade\r\n", "426"),
    "a longer name": ("Upgrade: websocket2\r\nConnection: Upgrade\r\n", "426"),
    "a part of it": ("Upgrade: web\r\nConnection: Upgrade\r\n", "426"),
    "a version": ("Upgrade: websocket/13\r\nConnection: Upgrade\r\n", "426"),
    "two words": ("Upgrade: websocket x\r\nConnection: Upgrade\r\n", "400"),
    "another option": ("Upgrade: websocket\r\nConnection: notupgrade\r\n", "426"),
    "with a hyphen": ("Upgrade: websocket\r\nConnection: x-upgrade\r\n", "426"),
    "keep-alive alone": ("Upgrade: websocket\r\nConnection: keep-alive\r\n", "426"),
    "no Connection": ("Upgrade: websocket\r\n", "426"),
    "no list": ("Upgrade: websocket\r\nConnection: Upgrade;x\r\n", "400"),
    "with keep-alive": (
        "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n",
        "101",
    ),
    "two lines": (
        "Connection: keep-alive\r\nUpgrade: websocket\r\nConnection: upgrade\r\n",
        "101",
    ),
    "mixed case": ("uPgRaDe: WebSocket\r\ncOnNeCtIoN: uPGRADE\r\n", "101"),
    "an empty member": ("Upgrade: websocket\r\nConnection: , ,Upgrade,\r\n", "101"),
    "tabs": ("Upgrade:\twebsocket\t\r\nConnection: a\t,\tUpgrade\r\n", "101"),
    "among others": ("Upgrade: h2c, websocket\r\nConnection: Upgrade\r\n", "101"),
}


def test_h07_tokens_not_parts_of_them(site: Site) -> None:
    n_open = 0
    for case, (lines, status) in UPGRADES.items():
        data = request("/", lines + HANDSHAKE.split("\r\n", 2)[2])
        if status != "101":
            assert site.refuse(data).startswith(f"HTTP/1.1 {status} "), case
            continue
        n_open += 1
        with site.peer() as peer:
            peer.ask(data)
            peer.send(TEXT, b"hello")
            assert peer.receive() == (TEXT, b"hello"), case
    assert len(site.runs) == n_open
    assert site.plain == []
