"""``gws serve --workers``: real processes, real signals, on one listening socket."""

from __future__ import annotations

import errno
import os
import signal
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import gevent
import pytest
from click.testing import CliRunner
from gevent import socket, subprocess

from gws import ConnectionClosed, InvalidStatus, connect, unix_connect
from gws.cli import main
from gws.process.places import listen_hint

from ..program import SOON, Program
from .test_process import (
    SERVE,
    check_echo,
    manager,
    passing,
    url_of,
    wait_log,
    write_certificate,
)
from .test_restart import QUIET, RESIDENTS, Load


pytestmark = pytest.mark.usefixtures("leakcheck")

HERE = ("--bind", "127.0.0.1:0")

APP = (
    """
import os
import socket

import gevent
import gevent.socket

from gws import Router


def health(ws, request):
    if request.path == "/health":
        return 200, {}, b"well\\n"


router = Router(process_request=health)


@router.route("/pid")
def pid(ws):
    for message in ws:
        ws.send(f"{os.getpid()} {message}")


@router.route("/echo")
def echo(ws):
    for message in ws:
        ws.send(message)


@router.route("/stubborn")
def stubborn(ws):
    ws.send("ready")
    gevent.sleep(1000)


@router.route("/patched")
def patched(ws):
    ws.send(str(socket.socket is gevent.socket.socket))
"""
    + QUIET
)

ROOMS = (
    """
import os

from gws import Router
from gws.rooms import Rooms

router = Router()
rooms = Rooms(os.environ["BUS"])


@router.route("/room")
def room(ws):
    with rooms.join("all", ws):
        ws.send(str(os.getpid()))
        for message in ws:
            rooms.publish("all", message)
"""
    + QUIET
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with an application in it."""
    tmp_path.joinpath("app.py").write_text(APP)
    return tmp_path


def by_workers(folder: Path, *args: str | Path, n: int = 2, **options: Any) -> Program:
    return Program(*SERVE, "--workers", str(n), *args, cwd=folder, **options)


def opened(url: str, path: str = "/echo", **options: Any) -> Any:
    """Open a connection whose handler runs."""
    ws = connect(url + path, **options).open()
    if path == "/stubborn":
        assert ws.recv(SOON) == "ready"
    else:
        check_echo(ws)
    return ws


def told(ws: Any) -> int | None:
    """Return the code with which the server closes."""
    with pytest.raises(ConnectionClosed):
        ws.recv(SOON)
    code: int | None = ws.close_code
    return code


def one_of_each(
    url: str, path: str, pid_of: Callable[[Any], str], n: int = 2
) -> dict[str, Any]:
    """Open a connection to each of so many workers; return them by its pid."""
    found: dict[str, Any] = {}
    with gevent.Timeout(SOON):
        while len(found) < n:
            ws = connect(url + path).open()
            if (pid := pid_of(ws)) in found:
                ws.close()
                gevent.sleep(0.01)  # the others may need the processor to start
            else:
                found[pid] = ws
    return found


def asked_pid(ws: Any) -> str:
    ws.send("who")
    pid: str = ws.recv(SOON).split()[0]
    return pid


def check_end(program: Program, code: int = 0) -> str:
    """Wait for the end of all; return the rest of the log."""
    ended, _, err = program.end()
    assert (ended, "Traceback" in err) == (code, False), err
    return err


def gone(pid: int) -> None:
    """Wait until there is no such process."""
    with gevent.Timeout(SOON):
        while os.path.exists(f"/proc/{pid}"):
            gevent.sleep(0.01)


def end_group(pid: int) -> None:
    """End all processes of a group that are left."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


# What they serve


def test_serve(folder: Path) -> None:
    with by_workers(folder, *HERE) as program:
        url = url_of(program)
        found = one_of_each(url, "/pid", asked_pid)
        assert str(program.process.pid) not in found
        # HTTP is answered as by `gws serve` alone.
        for path, status in [("/health", 200), ("/nosuch", 404)]:
            with pytest.raises(InvalidStatus) as refused:
                connect(url + path).open()
            assert refused.value.response.status_code == status
        with connect(url + "/patched") as ws:
            assert ws.recv(SOON) == "True"
        program.signal(signal.SIGTERM)
        assert {told(ws) for ws in found.values()} == {1001}
        check_end(program)


@pytest.mark.covered
def test_nothing_is_patched(folder: Path) -> None:
    with by_workers(folder, *HERE, "--no-patch", n=1) as program:
        with connect(url_of(program) + "/patched") as ws:
            assert ws.recv(SOON) == "False"
        program.signal(signal.SIGTERM)
        check_end(program)


# How they end


@pytest.mark.covered
def test_ctrl_c(folder: Path) -> None:
    """It goes to all processes at once."""
    with by_workers(folder, *HERE, start_new_session=True) as program:
        ws = opened(url_of(program))
        os.killpg(program.process.pid, signal.SIGINT)
        assert told(ws) == 1001
        check_end(program)


@pytest.mark.covered
def test_what_does_not_end_is_cut(folder: Path) -> None:
    with by_workers(folder, *HERE, "--drain-timeout", "0.5") as program:
        ws = opened(url_of(program), "/stubborn")
        program.signal(signal.SIGTERM)
        assert told(ws) == 1001
        err = check_end(program, 3)
    assert err.count("0 connections had no closing handshake, 1 handlers were") == 1


@pytest.mark.covered
@pytest.mark.parametrize(
    ("path", "code"), [("/echo", 0), ("/stubborn", 3)], ids=["well", "cut"]
)
def test_sigquit_is_quick(folder: Path, path: str, code: int) -> None:
    with by_workers(folder, *HERE) as program:
        ws = opened(url_of(program), path)
        program.signal(signal.SIGQUIT)
        assert told(ws) == 1001
        check_end(program, code)


@pytest.mark.covered
@pytest.mark.parametrize(
    ("second", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_second_signal_ends_it_now(
    folder: Path, second: signal.Signals, code: int
) -> None:
    with by_workers(folder, *HERE, "--drain-timeout", "1000") as program:
        ws = opened(url_of(program), "/stubborn")
        program.signal(signal.SIGTERM)
        assert told(ws) == 1001
        wait_log(program, "draining, within 1000 s; a second signal ends it")
        program.signal(second)
        check_end(program, code)


@pytest.mark.covered
def test_an_end_before_the_beginning(folder: Path) -> None:
    slow = "import time\nprint('loading', flush=True)\ntime.sleep(1000)\n"
    folder.joinpath("app.py").write_text(slow)
    with by_workers(folder, *HERE) as program:
        assert [program.hear() for _ in range(2)] == ["loading"] * 2
        program.signal(signal.SIGINT)
        check_end(program)


@pytest.mark.covered
def test_the_master_is_killed(folder: Path) -> None:
    with by_workers(folder, *HERE) as program:
        found = one_of_each(url_of(program), "/pid", asked_pid)
        program.signal(signal.SIGKILL)
        assert {told(ws) for ws in found.values()} == {1001}
        err = check_end(program, -signal.SIGKILL)
    assert err.count("the master has gone") == 2


# Reloads


@pytest.mark.covered
@pytest.mark.timeout(120)  # six workers are started
def test_reloads_lose_nobody(folder: Path) -> None:
    with by_workers(folder, *HERE) as program:
        load = Load(f"{url_of(program)}/pid")
        try:
            n_reloads = 2
            for n in range(n_reloads + 1):
                with gevent.Timeout(SOON):  # until two more have answered
                    while len(load.answers) < 2 * (n + 1):
                        gevent.sleep(0.001)
                if n < n_reloads:
                    old = list(load.answers)
                    program.signal(signal.SIGHUP)
                    for pid in old:
                        gone(int(pid))
            n_told = load.n_told
        finally:
            load.end()
        program.signal(signal.SIGTERM)
        check_end(program)
    assert load.failures == []
    # Who stays was told each time.
    assert n_told >= RESIDENTS * n_reloads


@pytest.mark.covered
def test_a_reload_renews_the_certificate(folder: Path) -> None:
    path = folder / "server.pem"
    first = write_certificate(path)
    files = ["--ssl-cert", path, "--ssl-key", path.with_suffix(".key")]
    with by_workers(folder, "--bind", "localhost:0", *files, n=1) as program:
        url = f"wss://localhost:{url_of(program).rpartition(':')[2]}"
        before = opened(url, ssl=first)
        second = write_certificate(path)
        program.signal(signal.SIGHUP)
        assert told(before) == 1012
        after = opened(url, ssl=second)
        with pytest.raises(ssl.SSLError):
            opened(url, ssl=first)
        # What can't be served is not.
        good = path.read_bytes()
        path.write_bytes(b"nothing")
        program.signal(signal.SIGHUP)
        wait_log(program, "not reloaded, the old workers go on: App failed to load.")
        check_echo(after)
        path.write_bytes(good)
        program.signal(signal.SIGHUP)
        assert told(after) == 1012
        program.signal(signal.SIGTERM)
        check_end(program)


@pytest.mark.covered
def test_a_module_that_is_no_more(folder: Path) -> None:
    with by_workers(folder, *HERE) as program:
        found = one_of_each(url_of(program), "/pid", asked_pid)
        folder.joinpath("app.py").unlink()
        program.signal(signal.SIGHUP)
        wait_log(program, "not reloaded, the old workers go on: App failed to load.")
        for pid, ws in found.items():
            assert asked_pid(ws) == pid
        program.signal(signal.SIGTERM)
        assert {told(ws) for ws in found.values()} == {1001}
        check_end(program)


@pytest.mark.covered
def test_an_end_during_a_reload(folder: Path) -> None:
    with by_workers(folder, *HERE, "--drain-timeout", "1000") as program:
        ws = opened(url_of(program), "/stubborn")
        program.signal(signal.SIGHUP)
        assert told(ws) == 1012
        # The old worker won't end, which is no reason not to obey.
        program.signal(signal.SIGTERM)
        wait_log(program, "draining, within 1000 s; a second signal ends it")
        program.signal(signal.SIGTERM)
        check_end(program, 143)


@pytest.mark.covered
def test_another_master_takes_over(folder: Path, unix_path: str) -> None:
    options: dict[str, Any] = {"n": 1, "start_new_session": True}
    with (
        by_workers(folder, "--unix", unix_path, **options) as program,
        ExitStack() as stack,
    ):
        # The second master is no child of ours.
        stack.callback(end_group, program.process.pid)
        assert url_of(program) == f"ws+unix:{unix_path}"
        ws = unix_connect(unix_path, "ws://localhost/pid").open()
        before = asked_pid(ws)
        program.signal(signal.SIGUSR2)
        assert url_of(program) == f"ws+unix:{unix_path}"
        # The first of these lines is the old one's.
        lines = [wait_log(program, "Starting gunicorn") for _ in range(2)]
        successor = int(lines[1].split()[2])
        assert asked_pid(ws) == before
        program.signal(signal.SIGTERM)
        assert told(ws) == 1012
        with gevent.Timeout(SOON):
            assert program.process.wait() == 0
        ws = unix_connect(unix_path, "ws://localhost/pid").open()
        assert asked_pid(ws) != before
        os.kill(successor, signal.SIGTERM)
        assert told(ws) == 1012
        check_end(program)


# What fails


@pytest.mark.covered
def test_a_worker_is_killed(folder: Path) -> None:
    with by_workers(folder, *HERE) as program:
        url = url_of(program)
        found = one_of_each(url, "/pid", asked_pid)
        (dead, lost), (alive, ws) = found.items()
        os.kill(int(dead), signal.SIGKILL)
        assert told(lost) is None or lost.close_code == 1006
        now = one_of_each(url, "/pid", asked_pid)
        assert alive in now
        assert dead not in now
        assert asked_pid(ws) == alive
        program.signal(signal.SIGTERM)
        check_end(program)


@pytest.mark.covered
def test_what_can_not_be_loaded(folder: Path) -> None:
    folder.joinpath("app.py").write_text("number = 7\n")
    with by_workers(folder, *HERE) as program:
        err = check_end(program, 1)
    lines = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert set(lines) == {"Error: there is no 'router' in 'app'"}


@pytest.mark.covered
def test_an_address_in_use(folder: Path, unix_path: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        taken = f"127.0.0.1:{sock.getsockname()[1]}"
        args = ["--bind", taken, "--unix", unix_path]
        with by_workers(folder, *args) as program:
            assert program.end() == (
                1,
                "",
                f"Error: can't listen on {taken}: Address already in use\n"
                f"{listen_hint(taken, errno.EADDRINUSE)}\n",
            )
    assert not os.path.exists(unix_path)


def test_without_gunicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gunicorn", None)
    monkeypatch.delitem(sys.modules, "gws.process.workers", raising=False)
    args = ["serve", "app:router", "--workers", "2", "--bind", "127.0.0.1:0"]
    result = CliRunner().invoke(main, args)
    assert (result.exit_code, result.output) == (
        1,
        "Error: --workers needs gunicorn: pip install 'gevent-gws[gunicorn]'\n",
    )


# systemd


@pytest.mark.covered
def test_sockets_that_are_passed(folder: Path, unix_path: str) -> None:
    with (
        manager(unix_path) as told_by,
        socket.create_server(("127.0.0.1", 0)) as sock,
        passing([sock], folder, "--workers", "2", NOTIFY_SOCKET=unix_path) as program,
    ):
        assert url_of(program) == f"ws://127.0.0.1:{sock.getsockname()[1]}"
        assert told_by.recv(1000) == b"READY=1"
        ws = opened(f"ws://127.0.0.1:{sock.getsockname()[1]}")
        program.signal(signal.SIGHUP)
        assert told_by.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert told(ws) == 1012
        assert told_by.recv(1000) == b"READY=1"
        ws = opened(f"ws://127.0.0.1:{sock.getsockname()[1]}")
        program.signal(signal.SIGTERM)
        assert told_by.recv(1000) == b"STOPPING=1"
        # Somebody else may take over.
        assert told(ws) == 1012
        check_end(program)


@pytest.mark.covered
def test_a_unix_socket_goes_with_them(folder: Path, unix_path: str) -> None:
    with by_workers(folder, "--unix", unix_path) as program:
        url_of(program)
        program.signal(signal.SIGTERM)
        check_end(program)
    assert not os.path.exists(unix_path)


# Rooms


@pytest.fixture
def redis_url(unix_path: str, tmp_path: Path) -> Iterator[str]:
    """A Redis of this test's own, on a Unix socket."""
    command = ["redis-server", "--port", "0", "--unixsocket", unix_path]
    command += ["--dir", str(tmp_path), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with gevent.Timeout(SOON):
            while not os.path.exists(unix_path):
                gevent.sleep(0.01)
        yield f"unix://{unix_path}"
    finally:
        process.kill()
        process.wait()


@pytest.mark.covered
def test_rooms_across_workers(folder: Path, redis_url: str) -> None:
    folder.joinpath("app.py").write_text(ROOMS)
    env = os.environ | {"BUS": redis_url}
    with by_workers(folder, *HERE, env=env) as program:
        url = url_of(program)
        by_pid = one_of_each(url, "/room", lambda ws: str(ws.recv(SOON)))
        members = list(by_pid.values())
        for _ in range(4):
            members.append(connect(url + "/room").open())
            assert members[-1].recv(SOON) in by_pid
        for n, ws in enumerate(members):
            ws.send(f"message {n}")
            for member in members:
                # Once: what follows is the next.
                assert member.recv(SOON) == f"message {n}"
        dead, alive = by_pid
        os.kill(int(dead), signal.SIGKILL)
        assert told(by_pid[dead]) in (None, 1006)
        # Who went with the worker, and others on a new one.
        now = one_of_each(url, "/room", lambda ws: str(ws.recv(SOON)))
        (new,) = now.keys() - {alive}
        for ws, text in [(by_pid[alive], "from the old"), (now[new], "from the new")]:
            ws.send(text)
            for member in [by_pid[alive], *now.values()]:
                assert member.recv(SOON) == text
        for ws in members:
            ws.close()
        program.signal(signal.SIGTERM)
        check_end(program)
