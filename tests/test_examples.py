"""Every example as a user runs it: started, talked to, stopped."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gws import ConnectionClosed, InvalidStatus, connect

from .examples.running import EXAMPLES, STOPS, run, running
from .plain_http import get
from .program import SOON, Program


pytestmark = pytest.mark.usefixtures("leakcheck")

#: What the echo client prints, but for the latency.
ECHOED = [
    "> 'hello'",
    "< 'hello'",
    "> 'Grüß Gott, 世界'",
    "< 'Grüß Gott, 世界'",
    r"> b'\x00\x01\x02\x03\x04\x05\x06\x07'",
    r"< b'\x00\x01\x02\x03\x04\x05\x06\x07'",
]


def address_of(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    return parts.hostname, parts.port


def names() -> set[str]:
    """Return all programs of the examples."""
    return {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.py")}


def test_all_examples_have_their_test() -> None:
    pages = [Path(__file__), *Path(__file__).parent.glob("*/*.py")]
    tested = {
        name
        for page in pages
        for name in re.findall(r'"([\w/]+\.py)"', page.read_text())
    }
    assert names() - tested == set()


def test_all_examples_stand_in_the_readme() -> None:
    """A file by itself, a folder with its README."""
    text = EXAMPLES.joinpath("README.md").read_text()
    links = {link.split("#")[0] for link in re.findall(r"\]\((.+?)\)", text)}
    assert [link for link in links if not EXAMPLES.joinpath(link).is_file()] == []
    folders = {name.split("/")[0] for name in names() if "/" in name}
    expected = {name for name in names() if "/" not in name}
    assert links >= expected | {f"{folder}/README.md" for folder in folders}


@pytest.mark.parametrize("stop", STOPS)
def test_echo(stop: signal.Signals) -> None:
    with running("echo_server.py", "0", stop=stop) as uri:
        *echoed, latency = run("echo_client.py", uri)
    assert echoed == ECHOED
    assert re.fullmatch(r"A ping took \d+\.\d ms\.", latency)


@pytest.mark.parametrize("stop", STOPS)
def test_tls(tls_files: Path, stop: signal.Signals) -> None:
    certificate = tls_files / "server.pem"  # the key is in the same file
    with running("tls_server.py", certificate, certificate, "0", stop=stop) as uri:
        assert uri.startswith("wss://")
        assert run("echo_client.py", uri, tls_files / "ca.pem")[:-1] == ECHOED


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
