"""Every example as a user runs it: started, talked to, stopped."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gws import ConnectionClosed, InvalidStatus, connect

from .plain_http import get
from .program import SOON, Program


pytestmark = pytest.mark.usefixtures("leakcheck")

EXAMPLES = Path(__file__).parents[1] / "examples"
STOPS = [signal.SIGINT, signal.SIGTERM]

#: What the echo client prints, but for the latency.
ECHOED = [
    "> 'hello'",
    "< 'hello'",
    "> 'Grüß Gott, 世界'",
    "< 'Grüß Gott, 世界'",
    r"> b'\x00\x01\x02\x03\x04\x05\x06\x07'",
    r"< b'\x00\x01\x02\x03\x04\x05\x06\x07'",
]


@contextmanager
def running(name: str, *args: str | Path, stop: signal.Signals) -> Iterator[str]:
    """Run an example that serves; yield the address that it prints.

    It must end well when the signal asks it to, and have nothing to complain about.
    """
    with Program(EXAMPLES / name, *args) as program:
        yield program.hear().split()[-1]
        program.signal(stop)
        assert program.end() == (0, "", "")


def run_client(*args: str | Path) -> list[str]:
    """Run the echo client to its end and return what it prints."""
    with Program(EXAMPLES / "echo_client.py", *args) as program:
        code, out, err = program.end()
    assert (code, err) == (0, "")
    return out.splitlines()


def address_of(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    return parts.hostname, parts.port


def test_all_examples_have_their_test() -> None:
    names = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.py")}
    pages = [Path(__file__), *Path(__file__).parent.glob("wsgi/test_*.py")]
    tested = {
        name
        for page in pages
        for name in re.findall(r'"([\w/]+\.py)"', page.read_text())
    }
    assert names - tested == set()


def test_all_examples_stand_in_the_readme() -> None:
    shown = set(re.findall(r"\]\((.+?)\)", EXAMPLES.joinpath("README.md").read_text()))
    names = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.py")}
    assert shown == names


@pytest.mark.parametrize("stop", STOPS)
def test_echo(stop: signal.Signals) -> None:
    with running("echo_server.py", "0", stop=stop) as uri:
        *echoed, latency = run_client(uri)
    assert echoed == ECHOED
    assert re.fullmatch(r"A ping took \d+\.\d ms\.", latency)


@pytest.mark.parametrize("stop", STOPS)
def test_tls(tls_files: Path, stop: signal.Signals) -> None:
    certificate = tls_files / "server.pem"  # the key is in the same file
    with running("tls_server.py", certificate, certificate, "0", stop=stop) as uri:
        assert uri.startswith("wss://")
        assert run_client(uri, tls_files / "ca.pem")[:-1] == ECHOED


def test_unix_socket() -> None:
    with Program(EXAMPLES / "unix_socket.py") as program:
        assert program.end() == (0, "2\n40\n600\n", "")


@pytest.mark.parametrize("stop", STOPS)
def test_own_client(stop: signal.Signals) -> None:
    with (
        running("echo_server.py", "0", stop=stop) as uri,
        Program(EXAMPLES / "own_client.py", uri) as program,
    ):
        code, out, err = program.end()
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "<Frame TEXT b'hello' [5 bytes]>",
        "<Frame PONG b'there?' [6 bytes]>",
        "sent 1000 (OK); then received 1000 (OK)",
    ]


def test_extension() -> None:
    with Program(EXAMPLES / "extension.py") as program:
        assert program.end() == (0, "agreed: x-checksum\nechoed: hello\n", "")


@pytest.mark.parametrize("stop", STOPS)
def test_routes(stop: signal.Signals) -> None:
    with running("routes.py", "0", stop=stop) as uri:
        with connect(f"{uri}/echo") as ws:
            ws.send("x" * 2**10)
            assert ws.recv(SOON) == "x" * 2**10
            ws.send("x" * (2**10 + 1))
            with pytest.raises(ConnectionClosed):
                ws.recv(SOON)
            assert ws.close_code == 1009
        with connect(f"{uri}/count/3") as ws:
            assert list(ws) == ["3", "2", "1"]
        with connect(f"{uri}/v1/") as ws:
            path = ws.recv(SOON)
        assert path == "/v1/rooms/lobby"
        with connect(f"{uri}{path}") as ws:
            ws.send("hello")
            assert [ws.recv(SOON), ws.recv(SOON)] == [
                "Welcome to lobby!",
                "lobby: hello",
            ]
        with pytest.raises(InvalidStatus, match="404"):
            connect(f"{uri}/count/many").open()
        health = get(address_of(uri), "/healthz")
    assert (health.status_code, health.body) == (200, b"OK\n")


# The chat


class Visitor:
    """What the page does, without the page."""

    def __init__(self, url: str, room: str, name: str) -> None:
        self.ws = connect(f"{url.replace('http', 'ws', 1)}chat/{room}").open()
        self.tell(join=name)
        self.welcome = self.hear()

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.ws.close()

    def tell(self, **message: Any) -> None:
        self.ws.send(json.dumps(message))

    def hear(self) -> Any:
        return json.loads(self.ws.recv(SOON))


@pytest.mark.parametrize("stop", STOPS)
def test_chat_ends_well_with_people_in_it(stop: signal.Signals) -> None:
    with running("chat/server.py", "--port", "0", stop=stop) as url:
        ada = Visitor(url, "lobby", "Ada")
    with pytest.raises(ConnectionClosed):
        ada.hear()
    assert ada.ws.close_code in (1000, 1001)


@pytest.fixture(scope="module")
def chat() -> Iterator[str]:
    with running("chat/server.py", "--port", "0", stop=signal.SIGTERM) as url:
        yield url


def test_chat_between_two(chat: str) -> None:
    with Visitor(chat, "lobby", "Ada") as ada, Visitor(chat, "lobby", "Bob") as bob:
        assert ada.welcome["names"] == ["Ada"]
        assert bob.welcome["names"] == ["Ada", "Bob"]
        assert ada.hear() == {"type": "joined", "name": "Bob"}
        ada.tell(say="Hello, Bob!\nHow are you?")
        for visitor in (ada, bob):
            said = visitor.hear()
            assert (said["type"], said["name"]) == ("said", "Ada")
            assert said["text"] == "Hello, Bob!\nHow are you?"
        bob.ws.close()
        assert ada.hear() == {"type": "left", "name": "Bob"}


def test_chat_rooms_are_apart_and_go_with_the_last_one(chat: str) -> None:
    address = address_of(chat)
    with Visitor(chat, "lobby", "Ada") as ada, Visitor(chat, "b%C3%BCro", "Bob") as bob:
        assert bob.welcome["names"] == ["Bob"]
        assert json.loads(get(address, "/rooms").body) == {"lobby": 1, "büro": 1}
        ada.tell(say="Nobody else?")
        assert ada.hear()["text"] == "Nobody else?"
        bob.tell(say="Nobody here, either?")
        assert bob.hear()["text"] == "Nobody here, either?"
    assert json.loads(get(address, "/rooms").body) == {}


def test_chat_remembers_what_was_said_last(chat: str) -> None:
    with Visitor(chat, "lobby", "Ada") as ada:
        for n in range(60):
            ada.tell(say=str(n))
            ada.hear()
        with Visitor(chat, "lobby", "Bob") as bob:
            recent = bob.welcome["recent"]
    assert [said["text"] for said in recent] == [str(n) for n in range(10, 60)]


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("Ada", "Ada 2"),
        ("  Eve \n", "Eve"),
        ("E\x1b[31mve\u202e", "E[31mve"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("<b>", "<b>"),
    ],
)
def test_chat_names(chat: str, asked: str, given: str) -> None:
    with Visitor(chat, "lobby", "Ada"), Visitor(chat, "lobby", asked) as visitor:
        assert visitor.welcome["name"] == given


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("junk", "that is no message of this chat"),
        (b"\xff", "that is no message of this chat"),
        ("[]", "that is no message of this chat"),
        ("{}", "that is no message of this chat"),
        ("null", "that is no message of this chat"),
        ("[" * 10_000, "that is no message of this chat"),
        ('{"join": 1}', "that is no text of at most 24 characters"),
        (json.dumps({"join": "x" * 25}), "that is no text of at most 24 characters"),
        ('{"join": " "}', "a name is needed"),
        ('{"join": "\\u0007"}', "a name is needed"),
    ],
)
def test_chat_refuses_what_the_page_does_not_send(
    chat: str, message: str | bytes, reason: str
) -> None:
    with connect(f"{chat.replace('http', 'ws', 1)}chat/lobby") as ws:
        ws.send(message)
        with pytest.raises(ConnectionClosed):
            ws.recv(SOON)
    assert (ws.close_code, ws.close_reason) == (1008, reason)


def test_chat_limits_what_is_said(chat: str) -> None:
    with Visitor(chat, "lobby", "Ada") as ada:
        ada.tell(say=" ")  # nothing was said
        ada.tell(say="😀" * 2000)
        assert ada.hear()["text"] == "😀" * 2000
        ada.tell(say="x" * 2001)
        with pytest.raises(ConnectionClosed):
            ada.hear()
        assert ada.ws.close_code == 1008
    with Visitor(chat, "lobby", "Ada") as ada:
        ada.tell(say="x" * 30_000)
        with pytest.raises(ConnectionClosed):
            ada.hear()
        assert ada.ws.close_code == 1009


@pytest.mark.parametrize("path", ["/", "/?x", "/room/lobby", "/room/%ff"])
def test_chat_page(chat: str, path: str) -> None:
    response = get(address_of(chat), path)
    assert response.status_code == 200
    assert response.body == EXAMPLES.joinpath("chat/page.html").read_bytes()
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_chat_page_may_do_what_it_needs_and_no_more(chat: str) -> None:
    response = get(address_of(chat))
    parts = response.headers["Content-Security-Policy"].split("; ")
    policy = {name: allowed for name, _, allowed in (p.partition(" ") for p in parts)}
    page = response.body.decode()
    for tag in ("script", "style"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest())
        assert policy[f"{tag}-src"] == f"'sha256-{digest.decode()}'"
        assert page.count(f"<{tag}") == 1
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    # Nothing from elsewhere, and no text of others as markup.
    assert re.findall(r'(?:src|href)="(?!/"|data:)', page) == []
    assert re.findall(r"innerHTML|insertAdjacentHTML|document\.write|eval", page) == []
    assert re.findall(r"\son\w+=|\sstyle=", page) == []


@pytest.mark.parametrize(
    ("path", "status"),
    [("/nowhere", 404), ("/chat/lobby", 426), ("/chat/a.b", 404), ("/chat/", 404)],
)
def test_chat_other_paths(chat: str, path: str, status: int) -> None:
    assert get(address_of(chat), path).status_code == status
