"""Every page, run as its reader would; README.md says how."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from .pages import Block, blocks, blocks_of, claims, excerpt_problem, is_claimed, pages


RUN = Path(__file__).with_name("run.py")

#: Seconds that a page may take.
LONG = 50

#: What run.py runs; and what is no code.
RUNS = ("python", "pycon", "console")
TEXT = ("text",)

#: What stands before the number of a port.
PORT = re.compile(
    r'(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\]|[ "])(?::|",\s+)(\d{4,5})\b'
    r"|(?:port=|--port |--metrics )(\d{4,5})\b"
)

EVERY_BLOCK = [block for page in pages() for block in blocks_of(page)]


def run_to_end(command: list[Any]) -> tuple[int, str]:
    """Run a program; return its exit code and its errors."""
    pipes: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            errors = process.communicate(timeout=LONG)[1]
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # so that it ends what it has started
            errors = process.communicate(timeout=LONG)[1]
            return -1, f"it did not end within {LONG} seconds\n{errors}"
        return process.returncode, errors


def own_blocks(page: str) -> list[Block]:
    """Return the blocks that run.py runs."""
    return [
        block
        for block in blocks_of(page)
        if block.language in RUNS and not is_claimed(block) and not block.is_excerpt()
    ]


def test_every_block_is_run() -> None:
    """By run.py, or by a test that asks for it; or it is part of a file that is run."""
    unclaimed = [
        str(block)
        for block in EVERY_BLOCK
        if block.language not in (*RUNS, *TEXT)
        # Directives of MyST: only those that show code have a language of their own.
        and not re.match(r"\{(?!code)", block.language)
        and not is_claimed(block)
        and not block.is_excerpt()
    ]
    assert not unclaimed, "\n".join(unclaimed)


def test_every_claim_is_of_some_block() -> None:
    assert [claim for claim in claims() if not blocks(*claim)] == []


def test_excerpts_are_in_their_files() -> None:
    excerpts = [block for block in EVERY_BLOCK if block.is_excerpt()]
    assert [x for x in map(excerpt_problem, excerpts) if x] == []


def test_files_are_used() -> None:
    """What a page has its reader write is imported or named later on, or is a test."""
    unused = []
    for page in pages():
        blocks = own_blocks(page)
        for n, block in enumerate(blocks):
            if block.language == "python" and block.file is not None:
                used = rf"\b{Path(block.file).name.partition('.')[0]}\b|\bpytest\b"
                if not any(re.search(used, later.text) for later in blocks[n + 1 :]):
                    unused.append(str(block))
    assert unused == []


def test_what_is_given_is_for_a_page() -> None:
    given = RUN.parent / "given"
    names = {x.relative_to(given).with_suffix(".md") for x in given.rglob("*.py")}
    assert names - {Path(page) for page in pages()} == set()


@pytest.mark.once
@pytest.mark.parametrize("page", [page for page in pages() if own_blocks(page)])
def test_page(page: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What it says comes true; nothing that it does not show goes wrong."""
    text = "".join(block.text for block in own_blocks(page))
    command = [sys.executable, "-W", "error", RUN, page, tmp_path]
    if "redis://localhost" in text:
        command += ["--redis", request.getfixturevalue("redis_server").url]
    with ExitStack() as stack:
        for shown in sorted({a or b for a, b in PORT.findall(text)} - {"6379"}):
            command += ["--port", f"{shown}={stack.enter_context(held_port())}"]
        code, errors = run_to_end(command)
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@contextmanager
def held_port() -> Iterator[int]:
    """Yield a port of localhost that is free for who listens, and for nobody else.

    A socket that is bound, and does not listen, keeps the kernel from giving the port
    to others; SO_REUSEADDR lets a server have it.
    """
    with ExitStack() as stack:
        port = 0
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            sock = stack.enter_context(socket.socket(family))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            port = sock.getsockname()[1]
        yield port
