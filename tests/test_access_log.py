"""The lines of the access log: what stands in them, and what can't."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from gws import basic_auth, serve
from gws.access import AccessLog, quoted, text_of
from gws.exceptions import InvalidStatus
from gws.testing import CLOSE, TEXT, connect_to, raw_connect_to
from gws.testing.octets import HANDSHAKE


pytestmark = pytest.mark.usefixtures("leakcheck")


def echo(ws: Any) -> None:
    for message in ws:
        ws.send(message)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """Return what gives the lines so far."""
    caplog.set_level(logging.INFO, "gws.access")
    yield lambda: [r.getMessage() for r in caplog.records if r.name == "gws.access"]


def log(**options: Any) -> dict[str, Any]:
    return {"observers": [AccessLog(**options)]}


def test_a_connection(lines: Any) -> None:
    server = log() | {"subprotocols": ["chat"]}
    with connect_to(
        echo,
        "/a/b?token=secret",
        server=server,
        subprotocols=["chat"],
        user_agent_header='Me/1 "x"',
        remote_address=("192.0.2.1", 4321),
    ) as ws:
        assert lines() == [
            '192.0.2.1:4321 - "GET /a/b HTTP/1.1" 101 chat "Me/1 \\"x\\""'
        ]
        ws.send("abc", compress=False)
        assert ws.recv() == "abc"
        ws.close(4001, "bye")
    (line,) = lines()[1:]
    assert re.fullmatch(
        r'192\.0\.2\.1:4321 - "GET /a/b HTTP/1\.1" closed 4001 "bye" '
        r"[0-9]+\.[0-9]{3} in 1/20 out 1/[0-9]{3}",
        line,
    )


def test_the_query_if_asked_for(lines: Any) -> None:
    with connect_to(echo, "/a?token=secret", server=log(query=True)):
        pass
    assert all('"GET /a?token=secret HTTP/1.1"' in line for line in lines())
    assert len(lines()) == 2


def test_users(lines: Any) -> None:
    server = log() | {"process_request": basic_auth("r", [("ann b", "x")])}
    with connect_to(echo, "ws://ann%20b:x@localhost/", server=server):
        pass
    with pytest.raises(InvalidStatus), connect_to(echo, server=server):
        pass
    assert [line.split(" ", 1)[1] for line in (lines()[0], lines()[2])] == [
        '"ann b" "GET / HTTP/1.1" 101 - ' + agent_of(lines()[0]),
        '- "GET / HTTP/1.1" 401 - ' + agent_of(lines()[0]),
    ]


def agent_of(line: str) -> str:
    return f'"{shlex.split(line)[-1]}"'


def test_without_counts(lines: Any) -> None:
    with connect_to(echo, server=log(count=False)):
        pass
    assert lines()[1].endswith(" in - out -")


def test_another_logger_and_level(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("mine")
    caplog.set_level(logging.INFO, "mine")
    with connect_to(echo, server=log(logger=logger)):
        logger.setLevel(logging.WARNING)
    assert len([r for r in caplog.records if r.name == "mine"]) == 1


# What peers choose


def test_nothing_makes_a_line(lines: Any) -> None:
    """Control characters, quotes, whatever is not ASCII."""
    agent = 'a\xe9\\"e\tf'
    headers = f"{HANDSHAKE}User-Agent: {agent}\r\n"
    with raw_connect_to(echo, **log()) as peer:
        peer.ask(asked(headers))
        peer.send(TEXT, b"x")
        assert peer.receive() == (TEXT, b"x")
        peer.send_close(1000, 'a\n"\u2028\x1b[31m')
        assert peer.receive()[0] == CLOSE
    for line in lines():
        assert line.isascii() and line.isprintable()
        assert "\n" not in line
    opened, closed = map(shlex.split, lines())
    assert opened[2] == closed[2] == "GET /%0a%22 HTTP/1.1"
    assert len(opened) == 6
    assert closed[5] == r'a\n"\u2028\x1b[31m'


def asked(headers: str) -> bytes:
    head = f"GET /%0a%22?x HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
    return head.encode("latin-1")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", '""'),
        ("a b", '"a b"'),
        ('"', r'"\""'),
        ("\\", r'"\\"'),
        ('\\"', r'"\\\""'),
        ("\r\n\0\x7f\x85", r'"\r\n\x00\x7f\x85"'),
        ("\xe9\u20ac\U0001f600", r'"\xe9\u20ac\U0001f600"'),
    ],
)
def test_quoted(text: str, line: str) -> None:
    assert quoted(text) == line


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("192.0.2.1", 80), "192.0.2.1:80"),
        (("2001:db8::1", 80, 0, 0), "[2001:db8::1]:80"),
        (("unknown\n", 0), "unknown\\n:0"),
        ("", "-"),
        (None, "-"),
    ],
)
def test_addresses(address: Any, text: str) -> None:
    assert text_of(address) == text


# No connection


def test_who_sends_no_request(lines: Any) -> None:
    with raw_connect_to(echo, **log()) as peer:
        peer.write(b"\0\r\n\r\n")
        assert peer.read_head().startswith("HTTP/1.1 400 ")
    assert lines() == ['127.0.0.1:0 - "-" 400 - "-"']


def test_who_is_turned_away(lines: Any) -> None:
    observer = AccessLog()
    observer.turned_away(("192.0.2.1", 80), 503)
    observer.turned_away(("192.0.2.1", 80), 0)
    assert lines() == ['192.0.2.1:80 - "-" 503 - "-"', '192.0.2.1:80 - "-" - - "-"']


def test_it_is_off_by_default(lines: Any) -> None:
    with serve(echo, "127.0.0.1", 0) as server:
        assert server._settings.options.observers == ()
    with connect_to(echo):
        pass
    assert lines() == []
