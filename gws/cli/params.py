"""What stands on a command line in; what it means out."""

from __future__ import annotations

import os
import re
from typing import IO, Any

import click


#: HOST:PORT; an IPv6 address in brackets; no host is all addresses.
_address = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]*)):([0-9]{1,9})")


def parse_address(value: str) -> tuple[str | None, int]:
    """Return (host, port) of HOST:PORT."""
    match = _address.fullmatch(value)
    if match is None:
        port = value if value.isdecimal() else "8765"
        raise click.BadParameter(
            f"{value!r} is not HOST:PORT, such as localhost:{port} or :{port}"
        )
    if int(match[3]) > 65535:
        raise click.BadParameter(f"{value!r}: ports end at 65535")
    return match[1] or match[2] or None, int(match[3])


def parse_metrics_address(value: str) -> tuple[str | None, int]:
    """Return (host, port) of HOST:PORT, or of PORT alone, which is for this machine."""
    return parse_address(f"localhost:{value}" if value.isdecimal() else value)


def parse_header(value: str) -> tuple[str, str]:
    """Return (name, value) of "Name: value"."""
    name, colon, text = value.partition(":")
    if not colon:
        raise click.BadParameter(f"{value!r} is not 'Name: value'")
    return name.strip(), text.strip()


def wants_color(stream: IO[Any] | None, when: str) -> bool:
    """Tell whether there shall be colours in a stream.

    NO_COLOR and FORCE_COLOR count if they are not empty: see https://no-color.org.

    Args:
        when: "always" and "never" are stronger than these; "auto" is a terminal.
    """
    if when != "auto":
        return when == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal(stream) and os.environ.get("TERM") != "dumb"


def is_terminal(stream: IO[Any] | None) -> bool:
    """Tell whether somebody sits there; None is a stream that was closed at start."""
    return stream is not None and stream.isatty()
