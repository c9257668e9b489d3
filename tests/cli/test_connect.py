"""``gws connect`` by pipes and files."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest
from click.testing import CliRunner
from gevent import socket, subprocess
from gevent.event import AsyncResult
from gevent.os import tp_read

from gws.cli import main

from ..program import SOON
from ..wire import switching_protocols
from .command import echo, end_of_full, gws_, server_of


pytestmark = pytest.mark.usefixtures("leakcheck")


#: Short enough not to wait for, long enough for an answer that is on its way.
LINGER = ("--linger", "0.5")


def test_connect_sends_lines_and_prints_messages() -> None:
    with server_of(echo) as (uri, log), gws_("connect", uri, *LINGER) as program:
        for line in ("hello", "", "Grüße"):
            program.tell(line)
            assert program.hear() == line
        program.process.stdin.write(b"no newline at the end")
        code, out, err = program.end()
        assert (code, out) == (0, "no newline at the end\n")
        assert err == f"Connected to {uri}.\nClosed: 1000 (OK).\n"
        assert log.ended.get(timeout=SOON).close_code == 1000


def test_connect_waits_for_answers_after_the_end_of_the_input() -> None:
    def slow(ws: Any) -> None:
        for message in ws:
            for n in range(3):
                gevent.sleep(0.05)
                ws.send(f"{message} {n}")

    with server_of(slow) as (uri, _), gws_("connect", uri, "--linger", "1") as program:
        program.tell("answer")
        code, out, _ = program.end()
    assert (code, out) == (0, "answer 0\nanswer 1\nanswer 2\n")


def test_connect_reads_files(tmp_path: Path) -> None:
    lines = "".join(f"line {n}\n" for n in range(10_000))
    path = tmp_path / "input"
    path.write_text(lines)
    with (
        path.open() as file,
        server_of(echo) as (uri, _),
        gws_("connect", uri, *LINGER, stdin=file) as program,
    ):
        code, out, _ = program.end()
    assert (code, out) == (0, lines)


@pytest.mark.parametrize("closed", ["<&-", "<&- >&-"])
def test_connect_without_input_and_output(closed: str) -> None:
    """With no such descriptor at all; a socket may then get its number."""
    line = f'exec "$0" -P -m gws connect "$1" --linger 0 {closed}'
    with server_of(echo) as (uri, log):
        command = ["sh", "-c", line, sys.executable, uri]
        ended = subprocess.run(command, capture_output=True, timeout=SOON)
        assert (ended.returncode, ended.stdout) == (0, b"")
        assert log.ended.get(timeout=SOON).close_code == 1000


@pytest.mark.parametrize(
    ("sent", "args", "got"),
    [
        (b"text", [], "text"),
        (b"text", ["--binary"], b"text"),
        (b"\xff\x00\r", ["--binary"], b"\xff\x00\r"),
        ("ü".encode(), [], "ü"),
    ],
)
def test_connect_kinds_of_message(
    sent: bytes, args: list[str], got: str | bytes
) -> None:
    received = AsyncResult()

    def receive(ws: Any) -> None:
        received.set(ws.recv(SOON))

    with server_of(receive) as (uri, _), gws_("connect", uri, *args) as program:
        program.tell(sent)
        assert received.get(timeout=SOON) == got
        assert program.end()[0] == 0


def test_connect_while_there_is_more_input(tmp_path: Path) -> None:
    def leave(ws: Any) -> None:
        ws.recv(SOON)
        ws.close(1001)

    path = tmp_path / "input"
    path.write_text("a line\n" * 200_000)
    with (
        path.open() as file,
        server_of(leave) as (uri, _),
        gws_("connect", uri, stdin=file) as program,
    ):
        code, out, err = program.end()
    assert (code, out) == (0, "")
    assert err.endswith("Closed: 1001 (going away).\n")


def test_connect_refuses_a_line_that_is_no_text() -> None:
    with server_of(echo) as (uri, log), gws_("connect", uri) as program:
        program.tell(b"\xff")
        code, _, err = program.end()
        assert (code, err.splitlines()[-1]) == (
            1,
            "Error: a line is not UTF-8; --binary sends it as it is",
        )
        assert log.ended.get(timeout=SOON).close_code == 1000


def test_connect_escapes_what_comes() -> None:
    def attack(ws: Any) -> None:
        ws.send("\x1b[31mred\n")
        ws.send(b"\x1b\xff")
        ws.close(4000, "bye\x1b[0m")

    with server_of(attack) as (uri, _), gws_("connect", uri) as program:
        code, out, err = program.end()
    # It was no normal close.
    assert (code, out) == (1, "\\x1b[31mred\\n\n\\x1b\\xff\n")
    assert err.endswith("Closed: 4000 (private use) bye\\x1b[0m.\n")


def test_connect_prints_in_any_encoding() -> None:
    def tell(ws: Any) -> None:
        ws.send("ü世")

    environ = os.environ | {"PYTHONIOENCODING": "latin-1"}
    with server_of(tell) as (uri, _), gws_("connect", uri, env=environ) as program:
        with gevent.Timeout(SOON):
            assert program.process.stdout.read() == b"\xfc\\u4e16\n"
        assert program.end()[0] == 0


@pytest.mark.parametrize(
    ("close", "code", "closed"),
    [
        (lambda ws: ws.close(), 0, "1000 (OK)"),
        (lambda ws: ws.close(1001, "later"), 0, "1001 (going away) later"),
        (lambda ws: ws.close(1011), 1, "1011 (internal error)"),
    ],
)
def test_connect_ends_with_the_connection(
    close: Callable[[Any], None], code: int, closed: str
) -> None:
    """Although the input goes on."""
    with server_of(close) as (uri, _), gws_("connect", uri) as program:
        with gevent.Timeout(SOON):
            assert program.process.wait() == code
        err = program.process.stderr.read().decode()
    assert err.endswith(f"Closed: {closed}.\n")


def test_connect_options(server_context: Any) -> None:
    def tell(ws: Any) -> None:
        ws.send(f"{ws.request.headers['X-A']} {ws.request.headers['Origin']}")
        ws.send(str(ws.subprotocol))

    options = {"origins": "*", "subprotocols": ["b"], "ssl": server_context}
    args = ["--header", "X-A: 1", "--origin", "https://o.example", "--insecure"]
    spoken = ["--subprotocol", "a", "--subprotocol", "b"]
    with (
        server_of(tell, **options) as (uri, _),
        gws_("connect", uri, *args, *spoken) as program,
    ):
        assert program.hear() == "1 https://o.example"
        assert program.hear() == "b"
        assert program.end()[0] == 0


NOBODY = "Nobody listens there: is the server started, and is the port right?"


@pytest.mark.parametrize(
    ("args", "error", "hint"),
    [
        (["http://localhost/a"], "isn't ws or wss", "Did you mean ws://localhost/a ?"),
        (["https://localhost"], "isn't ws or wss", "Did you mean wss://localhost ?"),
        (["localhost:8765/a"], "", "Did you mean ws://localhost:8765/a ?"),
        (["ws://"], "", ""),
        (["ftp://localhost/"], "isn't ws or wss", ""),
        (["ws://localhost:1/\x1b[0m"], "\\x1b", ""),
        (["ws://127.0.0.1:1/"], "Connection refused", NOBODY),
        (["ws://nosuch.invalid/"], "", "Is the name right?"),
        (["ws://127.0.0.1:1/", "--header", "a b: c"], "a b", ""),
        (["ws://127.0.0.1:1/", "--header", "a: b\nc"], "\\n", ""),
        (["ws://127.0.0.1:1/", "--subprotocol", "a b"], "a b", ""),
        (["ws://127.0.0.1:1/", "--insecure"], "wss://", ""),
    ],
)
def test_connect_says_why_it_could_not(args: list[str], error: str, hint: str) -> None:
    result = CliRunner().invoke(main, ["connect", *args])
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 1
    why, *advice = result.output.splitlines()
    assert why.startswith("Error: ")
    assert error in why
    assert advice == ([hint] if hint else [])


WHO = "It refuses you: does it want a cookie or a token? --header 'Cookie: ...'"


@pytest.mark.parametrize(
    ("status", "body", "args", "said", "hint"),
    [
        (403, b"Not \x1b[31myou\n", [], ": Not \\x1b[31myou", WHO),
        (403, b"bad Origin", [], ": bad Origin", "Does it want an origin? --origin "),
        (403, b"bad Origin", ["--origin", "https://a.example"], ": bad Origin", ""),
        (404, b"", [], "", "Is the path right?"),
        (
            200,
            b"<html>",
            [],
            "",
            "It is a web server; is there a WebSocket at this path?",
        ),
    ],
)
def test_connect_says_how_it_was_refused(
    status: int, body: bytes, args: list[str], said: str, hint: str
) -> None:
    def refuse(ws: Any, request: Any) -> Any:
        return status, {}, body

    with server_of(echo, process_request=refuse) as (uri, _):
        result = CliRunner().invoke(main, ["connect", uri, *args])
    assert result.exit_code == 1
    error, *advice = result.output.splitlines()
    rejected = "Error: server rejected WebSocket connection"
    assert error == f"{rejected}: HTTP {status}{said}"
    assert [line[: len(hint)] for line in advice] == ([hint] if hint else [])


def test_connect_to_tls(server_context: Any) -> None:
    with server_of(echo, ssl=server_context) as (uri, _):
        result = CliRunner().invoke(main, ["connect", uri])
    assert result.exit_code == 1
    assert "CERTIFICATE_VERIFY_FAILED" in result.output
    assert "--insecure" in result.output
    with server_of(echo, ssl=server_context) as (uri, _):
        plain = f"ws{uri.removeprefix('wss')}"
        result = CliRunner().invoke(main, ["connect", plain])
    assert result.exit_code == 1
    assert result.output.splitlines()[1:] == [f"Does it want TLS? {uri}"]


def test_connect_into_an_output_that_is_full() -> None:
    with server_of(lambda ws: ws.send("hello")) as (uri, log):
        code, err = end_of_full("connect", uri)
        assert log.ended.get(timeout=SOON).close_code == 1000
    assert (code, err.splitlines()[1:]) == (
        1,
        ["Error: can't write: No space left on device"],
    )


def test_ctrl_c_before_it_is_connected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        with gws_("connect", uri) as program, gevent.Timeout(SOON):
            sock, _ = listener.accept()
            with sock:
                assert sock.recv(1) == b"G"  # of GET: it waits for the answer
                program.signal(signal.SIGINT)
                assert program.end() == (128 + signal.SIGINT, "", "")


# A terminal on one side only


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """A terminal: what the keyboard writes to, and what the program reads."""
    keyboard, tty = os.openpty()
    try:
        yield keyboard, tty
    finally:
        os.close(keyboard)
        os.close(tty)


@pytest.mark.parametrize("how", ["ctrl-c", "ctrl-d"])
def test_connect_at_a_terminal(how: str) -> None:
    with (
        terminal() as (keyboard, tty),
        server_of(echo) as (uri, log),
        gws_("connect", uri, *LINGER, stdin=tty) as program,
    ):
        os.write(keyboard, b"hello\n")
        assert program.hear() == "hello"
        # What the shell reads from next must wait as it did before.
        assert not fcntl.fcntl(tty, fcntl.F_GETFL) & os.O_NONBLOCK
        if how == "ctrl-c":
            program.signal(signal.SIGINT)
        else:
            os.write(keyboard, b"\x04")
        code, out, err = program.end()
        assert (code, out) == (0, "")
        assert err.endswith("Closed: 1000 (OK).\n")
        assert "Traceback" not in err
        assert log.ended.get(timeout=SOON).close_code == 1000


@contextmanager
def closing(**options: Any) -> Iterator[Any]:
    """Run ``gws connect`` up to a close that the server hears, and does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        with gws_("connect", uri, **options) as program, gevent.Timeout(SOON):
            sock, _ = listener.accept()
            with sock, sock.makefile("rb") as file:
                head = b"".join(iter(file.readline, b"\r\n"))
                key = re.search(rb"Sec-WebSocket-Key: (\S+)", head)[1].decode()
                # With it a message, which tells when the program listens to signals.
                sock.sendall(switching_protocols(key) + b"\x81\x02hi")
                assert program.hear() == "hi"
                program.signal(signal.SIGINT)
                assert file.read(1) == b"\x88"  # FIN, Close
                yield program


def test_a_second_ctrl_c_does_not_wait() -> None:
    with closing() as program:
        program.signal(signal.SIGINT)
        code, out, err = program.end()
    assert (code, out) == (128 + signal.SIGINT, "")
    assert re.fullmatch(r"Connected to \S+\.\n", err)


@pytest.mark.once
def test_a_terminal_is_told_of_the_second_ctrl_c() -> None:
    with terminal() as (screen, tty), closing(stderr=tty) as program:
        shown = b""
        while b"Closing; Ctrl-C again does not wait." not in shown:
            shown += tp_read(screen, 2**10)
        program.signal(signal.SIGINT)
        assert program.process.wait(timeout=SOON) == 128 + signal.SIGINT
