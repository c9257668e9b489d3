"""gunicorn with our worker: real processes, real signals."""

from __future__ import annotations

import os
import re
import signal
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import gevent
import pytest

from gws import ClientConnection, ConnectionClosed, InvalidStatus, connect, unix_connect

from .stacks import APPS, LONG, Stack, gunicorn, has_control_socket, process


pytestmark = pytest.mark.usefixtures("leakcheck")

WORKER = "gws.wsgi.gunicorn.WebSocketWorker"
APP = "lifecycle:app"

#: Each way to open a connection.
WAYS = ["/accept", "/app", "/middleware", "/flask"]

#: What a log may not have.
TROUBLE = re.compile(r"Traceback|ERROR|CRITICAL|GreenletExit|EBADF|Exception|SIGKILL")


def running(*options: str, **kwargs: Any) -> AbstractContextManager[Stack]:
    """Run gunicorn with the worker of gws.

    Restarts and ends that took all of the graceful timeout would be over the time
    limit of a test.
    """
    return gunicorn(
        "gunicorn",
        APP,
        WORKER,
        *("--graceful-timeout", "60", *options),
        python=(),
        **kwargs,
    )


def opened(
    stack: Stack, path: str, context: ssl.SSLContext | None = None
) -> ClientConnection:
    """Open a connection that has echoed something."""
    if stack.is_unix:
        ws = unix_connect(stack.address, f"ws://localhost{path}").open()
    elif stack.tls:
        uri = f"wss://localhost:{stack.address[1]}{path}"
        ws = connect(uri, ssl=context).open()
    else:
        ws = connect(f"ws://127.0.0.1:{stack.address[1]}{path}").open()
    ws.send("hello")
    ws.recv(LONG)
    return ws


def close_code(ws: ClientConnection) -> int | None:
    """Return the code with which the server closes."""
    with pytest.raises(ConnectionClosed):
        ws.recv(LONG)
    return ws.close_code


def ended(stack: Stack) -> int:
    """Wait for the end of the master; return its exit code."""
    with gevent.Timeout(LONG):
        code: int = stack.process.wait()
    return code


def check_log(stack: Stack, *expected: str) -> None:
    """Check that there was no trouble, and one line of each access."""
    log = "\n".join(stack.log.lines)
    assert TROUBLE.search(log) is None, log
    for text in expected:
        assert log.count(text) == 1, log


@pytest.mark.parametrize("kind", ["plain", "tls", "unix"])
def test_the_worker_says_goodbye(
    kind: str, tls_files: Path, client_context: ssl.SSLContext
) -> None:
    tls = tls_files if kind == "tls" else None
    with running(tls=tls, unix=kind == "unix") as stack:
        connections = [opened(stack, path, client_context) for path in WAYS]
        # One that waits for its next request holds nobody up.
        idle = stack.dial()
        idle.sendall(b"GET /pid HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(100).startswith(b"HTTP/1.1 200 ")
        stack.process.terminate()
        assert [close_code(ws) for ws in connections] == [1001] * len(WAYS)
        assert ended(stack) == 0
        idle.close()
    check_log(stack, *(f'"GET {path} HTTP/1.1" 101 ' for path in WAYS))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_workers_say_goodbye_quickly(number: signal.Signals) -> None:
    with running("-w", "2") as stack:
        # A signal that comes before a worker can take it is lost.
        line = stack.log.wait("application loaded")
        stack.log.wait("application loaded", stack.log.lines.index(line) + 1)
        connections = [opened(stack, path) for path in [*WAYS, "/deaf"]]
        stack.process.send_signal(number)
        assert {close_code(ws) for ws in connections} == {1001}
        assert ended(stack) == 0
    check_log(stack)


def test_who_does_not_end_is_stopped() -> None:
    with running("--graceful-timeout", "2") as stack:
        deaf = opened(stack, "/deaf")
        endless = stack.dial()
        endless.sendall(b"GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert endless.recv(100).startswith(b"HTTP/1.1 200 ")
        stack.process.terminate()
        assert close_code(deaf) == 1001
        assert ended(stack) == 0
        endless.close()
    check_log(stack, "Stopping 2 requests that do not end")


def test_reload() -> None:
    with running() as stack:
        before = stack.get("/pid")
        ws = opened(stack, "/app")
        stack.process.send_signal(signal.SIGHUP)
        assert close_code(ws) == 1001
        stack.log.wait(f"Worker exiting (pid: {before})")
        after = opened(stack, "/app")
        assert stack.get("/pid") != before
        after.close()
    check_log(stack)


def test_another_master_takes_over(
    unix_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is started as a file, and shall not look for modules beside it.
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    # gunicorn can't hand on a socket that it was given itself.
    command = [sys.executable, "-m", "gunicorn", "-b", f"unix:{unix_path}"]
    command += ["-k", WORKER, "--pythonpath", str(APPS), "--graceful-timeout", "60"]
    if has_control_socket():
        command.append("--no-control-socket")
    with (
        open(os.devnull) as file,
        process(
            "gunicorn", [*command, APP], unix_path, file.fileno(), str(tmp_path)
        ) as stack,
    ):
        stack.log.wait("Listening at")
        before = stack.get("/pid")
        ws = opened(stack, "/app")
        mark = stack.log.mark()
        stack.process.send_signal(signal.SIGUSR2)
        after = stack.log.wait("Booting worker with pid", mark).split()[-1]
        ws.send("still here")
        assert ws.recv(LONG) == "still here"
        stack.process.terminate()
        assert close_code(ws) == 1001
        assert ended(stack) == 0
        assert stack.get("/pid") == after != before
    check_log(stack)


def test_max_requests() -> None:
    with running("--max-requests", "2") as stack:
        ws = opened(stack, "/app")
        before = stack.get("/pid")  # the second request
        assert close_code(ws) == 1001
        assert stack.get("/pid") != before
    check_log(stack, "Autorestarting worker after current request.")


@pytest.fixture(scope="module")
def small() -> Iterator[Stack]:
    """A worker that has room for two, and is soon thought dead by its master."""
    options = ["--worker-connections", "2", "--timeout", "2", "--keep-alive", "0"]
    with running(*options) as stack:
        yield stack
    check_log(stack)


def test_a_full_worker_says_so(small: Stack) -> None:
    first, second = opened(small, "/app"), opened(small, "/middleware")
    with pytest.raises(InvalidStatus) as refused:
        opened(small, "/app")
    assert refused.value.response.status_code == 503
    assert refused.value.response.headers["Retry-After"] == "5"
    # A health check is answered.
    assert small.get("/pid").isdecimal()
    small.log.wait("worker_connections (2) reached: 1 connections served beside")
    first.close()
    third = opened(small, "/accept")
    for ws in (second, third):
        ws.close()


def test_bad_requests_are_answered(small: Stack) -> None:
    with small.peer() as peer:
        peer.write(b"junk\r\n\r\n")
        assert peer.read_to_end().startswith(b"HTTP/1.1 400 ")


def test_idle_connections_outlive_the_timeout(small: Stack) -> None:
    began = time.monotonic()
    ws = opened(small, "/app")
    with pytest.raises(TimeoutError):
        ws.recv(2.5)
    ws.send("still here")
    assert ws.recv(LONG) == "still here"
    assert time.monotonic() - began > 2
    ws.close()
