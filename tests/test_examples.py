"""Every example as a user runs it: started, talked to, stopped."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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
    pages = [Path(__file__), *Path(__file__).parent.glob("*/*.py")]
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
