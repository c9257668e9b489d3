"""What the tests of examples with a page share: a browser, and the chat."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from ..rooms.conftest import start_redis as start_redis
from .browser import CHROMIUM, Browser
from .visitors import Worker


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None and "CI" not in os.environ:
        pytest.skip("chromium is not installed")
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def start_worker() -> Iterator[Callable[..., Worker]]:
    """Start a process that serves the chat, on a bus; all end with the test."""
    workers: list[Worker] = []

    def start(bus: str = "memory://") -> Worker:
        workers.append(Worker(bus))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
