"""``gws`` itself: its help, and what is wrong with a command line."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

import gws
from gws.cli import main
from gws.cli.params import parse_address, parse_header

from .command import end_of_full, gws_


def test_version() -> None:
    with gws_("--version") as program:
        assert program.end() == (0, f"gws {gws.__version__}\n", "")


def test_help_names_the_commands() -> None:
    result = CliRunner().invoke(main, ["-h"])
    assert result.exit_code == 0
    for command in ("serve", "connect", "publish"):
        assert command in result.output
        assert CliRunner().invoke(main, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:8765", ("localhost", 8765)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:65535", ("::1", 65535)),
        (":80", (None, 80)),
    ],
)
def test_addresses(text: str, address: tuple[str | None, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "header"),
    [("A: b", ("A", "b")), ("A:", ("A", "")), ("A: b: c ", ("A", "b: c"))],
)
def test_headers(text: str, header: tuple[str, str]) -> None:
    assert parse_header(text) == header


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "Missing argument"),
        (["app:router", "--bind", "localhost"], "'localhost' is not HOST:PORT"),
        (["app:router", "--bind", "::1:80"], "'::1:80' is not HOST:PORT"),
        (["app:router", "--bind", "localhost:65536"], "ports end at 65535"),
        (["app:router", "--bind", "9000"], "such as localhost:9000 or :9000"),
        (["app:router", "--bind", "99999"], "'99999' is not HOST:PORT"),
        (["app:router", "--port", "9000"], "Did you mean --bind localhost:9000 ?"),
        (["--port=9000", "app:router"], "Did you mean --bind localhost:9000 ?"),
        (["app:router", "--prot", "9000"], "--prot"),
        (["app:router", "--bind", "localhost:"], "is not HOST:PORT"),
        (["app:router", "--fd", "x"], "not a valid integer"),
        (["app:router", "--workers", "0"], "not in the range"),
    ],
)
def test_serve_usage(args: list[str], text: str) -> None:
    result = CliRunner().invoke(main, ["serve", *args])
    assert (result.exit_code, text in result.output) == (2, True)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "Missing argument"),
        (["ws://localhost", "--header", "a b"], "'a b' is not 'Name: value'"),
        (["ws://localhost", "--linger", "-1"], "not in the range"),
    ],
)
def test_connect_usage(args: list[str], text: str) -> None:
    result = CliRunner().invoke(main, ["connect", *args])
    assert (result.exit_code, text in result.output) == (2, True)


@pytest.mark.parametrize(
    ("bus", "text"),
    [
        ("localhost", "'localhost' is not the URL of a bus, such as redis://localhost"),
        ("ftp://localhost", "no bus is called ftp://"),
        ("redis://localhost:abc", "the bus's URL: port isn't valid"),
    ],
)
def test_publish_wants_a_url(bus: str, text: str) -> None:
    result = CliRunner().invoke(main, ["publish", bus, "news", "hi"])
    assert (result.exit_code, result.output) == (1, f"Error: {text}\n")


@pytest.mark.parametrize("args", [("--help",), ("serve", "--help")])
def test_an_output_that_is_full(args: tuple[str, ...]) -> None:
    error = "Error: can't write: No space left on device\n"
    assert end_of_full(*args) == (1, error)
