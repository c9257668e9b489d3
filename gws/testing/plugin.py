"""Fixtures for pytest.

Who wants them says so, in a conftest.py::

    pytest_plugins = ["gws.testing.plugin"]

They do not come by themselves: pytest imports plugins that do before coverage
measures anything, and gws with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ..client import ClientConnection
from ..server import ServerConnection
from .clock import FakeClock
from .pairs import connect_to, pair


@pytest.fixture
def websocket_connect() -> Iterator[Callable[..., ClientConnection]]:
    """Connect to handlers: called as `gws.testing.connect_to`, returns a connection.

    The connections are closed when the test ends; what a handler raised, and the test
    did not see, is an error of its teardown.
    """
    with ExitStack() as stack:

        def connect(*args: Any, **kwargs: Any) -> ClientConnection:
            return stack.enter_context(connect_to(*args, **kwargs))

        yield connect


@pytest.fixture
def websocket_pair() -> Iterator[
    Callable[..., tuple[ClientConnection, ServerConnection]]
]:
    """Make pairs: called as `gws.testing.pair`, returns (client, server).

    They are closed when the test ends.
    """
    with ExitStack() as stack:

        def join(
            *args: Any, **kwargs: Any
        ) -> tuple[ClientConnection, ServerConnection]:
            return stack.enter_context(pair(*args, **kwargs))

        yield join


@pytest.fixture
def fake_clock() -> Iterator[FakeClock]:
    """A `gws.testing.FakeClock`, for the connections that the test makes."""
    with FakeClock() as clock:
        yield clock
