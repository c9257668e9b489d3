"""The command at a terminal: what who sits there sees, and what the keys do."""

from __future__ import annotations

import io
import os
import re
import signal
import stat
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from gevent.event import AsyncResult

from gws.cli.history import LIMIT, History, history_path
from gws.cli.params import wants_color

from ..program import SOON
from .command import echo, gws_, server_of
from .tty import Terminal


pytestmark = pytest.mark.usefixtures("leakcheck")

UP = "\x1b[A"
CTRL_C, CTRL_D, CTRL_L = "\x03", "\x04", "\x0c"

PROMPT = "> "


@contextmanager
def talking(folder: Path, handler: Any = echo, **environ: str) -> Iterator[Terminal]:
    """Run ``gws connect`` at a terminal, until it prompts."""
    with (
        server_of(handler) as (uri, _),
        Terminal("connect", uri, cwd=folder, **environ) as terminal,
    ):
        terminal.see(f"Connected to {uri}.", PROMPT)
        yield terminal


# gws connect


def test_talk(tmp_path: Path) -> None:
    with talking(tmp_path) as terminal:
        terminal.type("hello\r")
        terminal.see("> hello", "< hello", PROMPT)
        assert "\x1b[32m> hello\x1b[0m" in terminal.raw
        assert "\x1b[36m< hello\x1b[0m" in terminal.raw
        terminal.type("/nosuch\r")
        terminal.wait(lambda rows: rows[-2:][0].startswith("/nosuch: there is no such"))
        terminal.type("//slash\r")
        terminal.see("> /slash", "< /slash", PROMPT)
        terminal.type("/binary 00 FF 68 69\r")
        line = "4 bytes: 00 ff 68 69  |..hi|"
        terminal.see("> /binary 00 FF 68 69", f"> {line}", f"< {line}", PROMPT)
        terminal.type("/binary xyz\r")
        terminal.see("/binary wants bytes, such as 00 ff 2a", PROMPT)
        terminal.type("/ping\r")
        terminal.wait(
            lambda rows: re.fullmatch(r"pong after \d+\.\d\d ms", rows[-2:][0])
        )
        assert "\x1b[2mpong after" in terminal.raw
        terminal.type(f"/ping {'x' * 126}\r")
        terminal.wait(lambda rows: rows[-2:][0].startswith("/ping: "))
        terminal.type("/help\r")
        terminal.wait(lambda rows: rows[-2:][0].startswith("Ctrl-D, Ctrl-C"))
        terminal.type("/close 17\r")
        terminal.wait(lambda rows: rows[-2:][0].startswith("/close: "))
        terminal.type("/close x\r")
        terminal.wait(lambda rows: rows[-2:][0].startswith("/close wants a code"))
        terminal.type(f"{CTRL_L}gone\r")
        terminal.wait(lambda rows: rows == ["> gone", "< gone", PROMPT])
        terminal.type("/close 1000 so long\r")
        assert terminal.end() == 0
        assert terminal.rows[-2:] == ["Closed: 1000 (OK) so long.", ""]
        assert terminal.is_cooked()


def test_a_message_that_comes_while_a_line_is_typed(tmp_path: Path) -> None:
    opened, heard = AsyncResult(), AsyncResult()

    def handler(ws: Any) -> None:
        opened.set(ws)
        heard.set(ws.recv())
        ws.wait_closed()

    with talking(tmp_path, handler) as terminal:
        terminal.type("half a l")
        terminal.see("> half a l")
        ws = opened.get(timeout=SOON)
        ws.send("news")
        ws.send("\x1b[2Jevil\r\n")
        terminal.see("< news", "< \\x1b[2Jevil\\r\\n", "> half a l")
        terminal.type("ine\r")
        assert heard.get(timeout=SOON) == "half a line"
        terminal.see("> half a line", PROMPT)
        # A line that is longer than a row is cut, not wrapped.
        terminal.type("0123456789" * 6)
        terminal.see("> " + "0123456789" * 6)
        terminal.resize(40)
        terminal.see("> " + ("0123456789" * 6)[-37:])
        # The shell took the terminal, as after Ctrl-Z, and gave it back.
        attributes = termios.tcgetattr(terminal.tty)
        attributes[3] |= termios.ICANON | termios.ECHO
        termios.tcsetattr(terminal.tty, termios.TCSANOW, attributes)
        before = len(terminal.raw)
        terminal.process.send_signal(signal.SIGCONT)
        terminal.wait(lambda rows: len(terminal.raw) > before)
        assert not terminal.is_cooked()
        ws.close(1001, "enough")
        assert terminal.end() == 0
        assert terminal.rows[-2:] == ["Closed: 1001 (going away) enough.", ""]


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D])
def test_the_end(key: str, tmp_path: Path) -> None:
    with talking(tmp_path, NO_COLOR="1") as terminal:
        terminal.type(f"hello\r{UP}!\r")
        terminal.see("< hello!", PROMPT)
        terminal.type(key)
        assert terminal.end() == 0
        assert terminal.rows[-2:] == ["Closed: 1000 (OK).", ""]
        assert terminal.is_cooked()
        assert "\x1b[" in terminal.raw  # the line is drawn
        assert re.search(r"\x1b\[[0-9;]*m", terminal.raw) is None
    assert Path(tmp_path, "gws", "history").read_text() == "hello\nhello!\n"


def test_the_history(tmp_path: Path) -> None:
    path = tmp_path / "gws" / "history"
    path.parent.mkdir()
    path.write_text("one\ntwo\n")
    with talking(tmp_path) as terminal:
        terminal.type(f"{UP}{UP}\r")
        terminal.see("> one", "< one", PROMPT)
        terminal.type(" secret\r")
        terminal.see(">  secret", "<  secret", PROMPT)
        assert path.read_text() == "one\ntwo\none\n"
        # One that can't be written is no reason not to talk.
        path.unlink()
        path.mkdir()
        terminal.type("three\r")
        terminal.see("> three", "< three", PROMPT)
        terminal.type(CTRL_D)
        assert terminal.end() == 0


@pytest.mark.once
def test_a_terminal_that_moves_no_cursor(tmp_path: Path) -> None:
    with (
        server_of(echo) as (uri, _),
        Terminal(
            "connect", uri, "--linger", "0", cwd=tmp_path, TERM="dumb"
        ) as terminal,
    ):
        terminal.see(f"Connected to {uri}.", "")
        terminal.type("/hello\n")  # it echoes what is typed
        terminal.see("/hello", "/hello", "")
        terminal.type(CTRL_D)
        assert terminal.end() == 0
        assert "\x1b" not in terminal.raw


# The history's file


@pytest.fixture
def history(tmp_path: Path) -> str:
    return str(tmp_path / "folder" / "history")


def test_it_is_private(history: str) -> None:
    History(history).add("line")
    assert stat.S_IMODE(os.stat(history).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(history)).st_mode) == 0o700


def test_it_is_bounded(history: str) -> None:
    lines = [f"line {n}" for n in range(2 * LIMIT + 1)]
    first = History(history)
    for line in lines:
        first.add(line)
    assert Path(history).read_text().splitlines() == lines
    assert History(history).lines == lines[-LIMIT:]
    assert Path(history).read_text().splitlines() == lines[-LIMIT:]


def test_it_takes_any_octets(history: str) -> None:
    os.mkdir(os.path.dirname(history))
    Path(history).write_bytes(b"\xff\x1b[2J\nplain\n")
    assert History(history).lines == ["\ufffd\x1b[2J", "plain"]


@pytest.mark.parametrize("state", ["", "relative"])
def test_its_default_path(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", state)
    monkeypatch.setenv("HOME", "/home/ann")
    assert history_path() == "/home/ann/.local/state/gws/history"


# Colours


@pytest.mark.parametrize(
    ("environ", "when", "at_terminal", "elsewhere"),
    [
        ({}, "auto", True, False),
        ({}, "always", True, True),
        ({}, "never", False, False),
        ({"NO_COLOR": "1"}, "auto", False, False),
        ({"NO_COLOR": ""}, "auto", True, False),
        ({"NO_COLOR": "1"}, "always", True, True),
        ({"FORCE_COLOR": "1"}, "auto", True, True),
        ({"FORCE_COLOR": "1"}, "never", False, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, "auto", False, False),
        ({"TERM": "dumb"}, "auto", False, False),
    ],
)
def test_colors(
    environ: dict[str, str],
    when: str,
    at_terminal: bool,
    elsewhere: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in ({"NO_COLOR": "", "FORCE_COLOR": "", "TERM": "xterm"}).items():
        monkeypatch.setenv(name, value)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    keyboard, tty = os.openpty()
    with open(tty, "w") as terminal, open(keyboard, "rb", buffering=0):
        assert wants_color(terminal, when) is at_terminal
    assert wants_color(io.StringIO(), when) is elsewhere
    assert wants_color(None, when) is elsewhere


@pytest.mark.once
def test_colors_in_a_pipe() -> None:
    """Only of the notes: messages are for programs."""
    args = ("--linger", "0.5", "--color", "always")
    with server_of(echo) as (uri, _), gws_("connect", uri, *args) as program:
        program.tell("hello")
        assert program.hear() == "hello"
        code, out, err = program.end()
    assert (code, out) == (0, "")
    assert err.startswith("\x1b[2mConnected to")


# gws serve


@pytest.mark.parametrize("more", [(), ("--reload",)])
def test_serve_greets(more: tuple[str, ...], folder: Path) -> None:
    """And logs in colours; Ctrl-C, which comes to all of its processes, ends it."""
    args = ("serve", "app:echo", "--bind", "127.0.0.1:0", "--access-log", *more)
    with Terminal(*args, cwd=folder) as terminal:
        terminal.wait(
            lambda rows: rows[-2:][0].startswith("Listening on ws://127.0.0.1:")
        )
        url = terminal.rows[-2].removeprefix("Listening on ")
        port = url.rpartition(":")[2]
        greeting = (
            r"gws \S+ \((compiled|pure Python)\), one process.*\. Ctrl-C ends it\."
        )
        assert re.fullmatch(greeting, terminal.rows[0])
        assert terminal.rows[1] == f"Try it: gws connect ws://localhost:{port}/"
        with gws_("connect", url, "--linger", "0") as client:
            assert client.end()[0] == 0
        terminal.wait(lambda rows: "closed 1000" in rows[-2:][0])
        assert "\x1b[32m101\x1b[0m" in terminal.raw
        assert "\x1b[32mclosed 1000\x1b[0m" in terminal.raw
        terminal.type(CTRL_C)
        assert terminal.end() == 0
        assert "Traceback" not in terminal.raw
        assert terminal.raw.count("draining") == 1
