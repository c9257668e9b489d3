"""``gws`` itself: its help, and what is wrong with a command line."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

import gws
from gws.cli import main
from gws.cli.params import parse_address, parse_header

from .command import gws_


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
        (["app:router", "--bind", "localhost:65536"], "is not HOST:PORT"),
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
