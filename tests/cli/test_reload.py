"""``gws serve --reload``: real files, real processes, one listening socket."""

from __future__ import annotations

import os
import signal
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket

from gws import ConnectionClosed, WebSocketException, connect, unix_connect
from gws.process.reload import Files, is_of_app

from ..plain_http import get
from ..program import SOON, Program
from .command import gws_, wait_log


APP = """
import logging

from gws import Router
from helper import VERSION

# A line for each visitor would fill the pipe, which nobody reads meanwhile.
logging.getLogger("gws.server").setLevel("WARNING")
router = Router()


@router.route("/version")
def version(ws):
    ws.send(VERSION)
    ws.wait_closed()


@router.route("/late")
def late(ws):
    import late
    ws.send(late.VERSION)


@router.route("/stubborn")
def stubborn(ws):
    import gevent
    ws.send("ready")
    gevent.sleep(1000)


@router.route("/blocking")
def blocking(ws):
    import time
    ws.send("ready")
    ws.ping().wait()
    while True:
        time.thread_time()
"""

BIND = ("--bind", "127.0.0.1:0")


def write(path: Path, text: str) -> None:
    """Write a file as editors do, so that nobody reads half of it."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


@pytest.fixture
def helper(tmp_path: Path) -> Path:
    """A module that app.py imports, in the working directory of the server."""
    tmp_path.joinpath("app.py").write_text(APP)
    path = tmp_path / "helper.py"
    write(path, "VERSION = '1'\n")
    return path


@contextmanager
def reloading(
    helper: Path, *args: str | Path, app: str = "app:router"
) -> Iterator[Any]:
    """Run ``gws serve --reload``; yield it and its URL."""
    command = ("serve", app, "--reload", *(args or BIND))
    with gws_(*command, cwd=helper.parent) as program:
        yield program, program.hear().removeprefix("Listening on ")


def version_of(url: str) -> str:
    with connect(f"{url}/version") as ws:
        return str(ws.recv(SOON))


def check_end(program: Program, number: signal.Signals, code: int = 0) -> str:
    program.signal(number)
    ended, _, err = program.end()
    assert ended == code, err
    return err


def until(is_so: Callable[[], bool]) -> None:
    with gevent.Timeout(SOON):
        while not is_so_by_now(is_so):
            gevent.sleep(0.01)


def is_so_by_now(is_so: Callable[[], bool]) -> bool:
    """Who comes at the last moment is told that another process will follow."""
    try:
        return is_so()
    except ConnectionClosed as exc:
        if exc.code != 1012:
            raise
        return False


class Visitors:
    """Connect, one after the other, and tell what each saw."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.seen: list[str] = []
        self.greenlet = gevent.spawn(self._run)

    def _run(self) -> None:
        while True:
            try:
                self.seen.append(version_of(self._url))
            except ConnectionClosed as exc:
                self.seen.append(str(exc.code))
            except (OSError, WebSocketException) as exc:
                self.seen.append(repr(exc))

    def leave(self) -> set[str]:
        self.greenlet.kill()
        return set(self.seen)


# With the whole program

over_sockets = pytest.mark.usefixtures("leakcheck")


@over_sockets
def test_a_change_and_an_error_and_its_repair(helper: Path) -> None:
    """Nobody is refused at any time."""
    with reloading(helper) as (program, url):
        resident = connect(f"{url}/version").open()
        assert resident.recv(SOON) == "1"
        visitors = Visitors(url)
        until(lambda: "1" in visitors.seen)
        # As quick as the same size in the same second, for which a .pyc would do.
        write(helper, "VERSION = '2'\n")
        with pytest.raises(ConnectionClosed, match="received 1012"):
            resident.recv(SOON)
        until(lambda: "2" in visitors.seen)
        write(helper, "VERSION = = '3'\n")
        said = wait_log(program, "waiting for a change")
        assert said.count("SyntaxError: invalid syntax") == 1
        assert "serve.py" not in said
        assert said.count("changed: helper.py; reloading") == 2
        # Who comes now waits.
        n = len(visitors.seen)
        waiting = gevent.spawn(version_of, url)
        write(helper, "VERSION = '4'\n")
        assert waiting.get(timeout=SOON) == "4"
        until(lambda: "4" in visitors.seen)
        # One who was accepted by the old one, as it ended, may have seen 1012.
        assert visitors.leave() - {"1012"} == {"1", "2", "4"}, visitors.seen
        assert n <= len(visitors.seen)
        err = check_end(program, signal.SIGINT)
        assert "SyntaxError" not in err
        assert "changed" in err
    with pytest.raises(ConnectionRefusedError):
        version_of(url)


@over_sockets
@pytest.mark.once
def test_what_is_imported_late(helper: Path) -> None:
    late = helper.with_name("late.py")
    write(late, "VERSION = '1'\n")

    def late_version() -> str:
        with connect(f"{url}/late") as ws:
            return str(ws.recv(SOON))

    with reloading(helper) as (program, url):
        assert late_version() == "1"
        # Known or not yet: it was written after the process has begun.
        write(late, "VERSION = '2'\n")
        until(lambda: late_version() == "2")
        check_end(program, signal.SIGTERM)


@over_sockets
@pytest.mark.once
def test_everywhere(
    helper: Path, unix_path: str, tls_files: Path, client_context: ssl.SSLContext
) -> None:
    """By TCP, by a Unix socket and an inherited one, with TLS and metrics."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        fd = sock.fileno()
        where = ["--bind", "localhost:0", "--unix", unix_path, "--fd", str(fd)]
        with gws_(
            *("serve", "app:router", "--reload", *where, "--metrics", "127.0.0.1:0"),
            *("--ssl-cert", tls_files / "server.pem"),
            cwd=helper.parent,
            pass_fds=[fd],
        ) as program:
            metrics = int(program.hear().rpartition(":")[2].partition("/")[0])
            lines = []
            while not (lines and lines[-1].startswith("wss+unix:")):
                lines.append(program.hear().removeprefix("Listening on "))
            assert program.hear().endswith(f":{sock.getsockname()[1]}")
            url = f"wss://localhost:{lines[0].rpartition(':')[2]}/version"
            inherited = f"wss://localhost:{sock.getsockname()[1]}/version"

            def versions() -> set[str]:
                found = set()
                for recipe in (
                    connect(url, ssl=client_context),
                    connect(inherited, ssl=client_context),
                    unix_connect(unix_path, url, ssl=client_context),
                ):
                    with recipe as ws:
                        found.add(str(ws.recv(SOON)))
                return found

            assert versions() == {"1"}
            write(helper, "VERSION = '2'\n")
            wait_log(program, "reloading")
            until(lambda: versions() == {"2"})
            closing = "localhost\r\nConnection: close"
            assert get(("127.0.0.1", metrics), "/readyz", closing).status_code == 200
            stays = connect(inherited, ssl=client_context).open()
            assert stays.recv(SOON) == "2"
            goes = connect(url, ssl=client_context).open()
            assert goes.recv(SOON) == "2"
            check_end(program, signal.SIGTERM)
            # Somebody else has the one that was inherited.
            for ws, code in ((stays, 1012), (goes, 1001)):
                with pytest.raises(ConnectionClosed, match=f"received {code}"):
                    ws.recv(SOON)
    assert not os.path.exists(unix_path)


# Its end


@over_sockets
@pytest.mark.once
def test_what_is_not_there_is_waited_for(helper: Path) -> None:
    """The name of the router, but not that of the module."""
    with reloading(helper, app="app:other") as (program, url):
        err = wait_log(program, "waiting for a change")
        assert "Error: there is no 'other' in 'app'\nDid you mean app:router ?" in err
        write(helper.with_name("app.py"), APP + "\nother = router\n")
        assert version_of(url) == "1"
        check_end(program, signal.SIGTERM)
    command = ("serve", "nosuch:router", "--reload", *BIND)
    with gws_(*command, cwd=helper.parent) as program:
        code, out, err = program.end()
    assert (code, out) == (1, "")
    assert err.startswith("Error: there is no module 'nosuch'\n")


@over_sockets
@pytest.mark.once
def test_the_end_while_it_waits_for_a_change(helper: Path) -> None:
    write(helper, "1 / 0\n")
    with reloading(helper) as (program, _):
        err = wait_log(program, "waiting for a change")
        assert "ZeroDivisionError" in err
        assert check_end(program, signal.SIGINT) == ""


@over_sockets
@pytest.mark.once
@pytest.mark.parametrize(
    ("limit", "second", "code"),
    [("0.3", None, 3), ("1000", signal.SIGINT, 130)],
)
def test_exit_codes(
    limit: str, second: signal.Signals | None, code: int, helper: Path
) -> None:
    with reloading(helper, *BIND, "--drain-timeout", limit) as (program, url):
        ws = connect(f"{url}/stubborn").open()
        assert ws.recv(SOON) == "ready"
        program.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            ws.recv(SOON)
        if second is not None:
            program.signal(second)
        assert program.end()[0] == code


@over_sockets
@pytest.mark.once
def test_who_serves_ends_with_who_watches(helper: Path) -> None:
    with reloading(helper) as (program, url):
        ws = connect(f"{url}/version").open()
        assert ws.recv(SOON) == "1"
        program.process.kill()
        with pytest.raises(ConnectionClosed, match="received 1001"):
            ws.recv(SOON)
        # The last who has its pipes.
        with gevent.Timeout(SOON):
            program.process.stderr.read()


@over_sockets
@pytest.mark.once
def test_a_handler_that_never_waits(helper: Path) -> None:
    """It would hear nothing: it is killed."""
    with reloading(helper) as (program, url):
        with connect(f"{url}/blocking", close_timeout=0.1) as ws:
            assert ws.recv(SOON) == "ready"
            with gevent.Timeout(SOON):
                ws.wait_closed(0.2)
            write(helper, "VERSION = '2'\n")
            assert version_of(url) == "2"
        check_end(program, signal.SIGTERM)


# What is watched


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    path = tmp_path / "a.py"
    path.write_text("1")
    os.utime(path, (1000, 1000))
    return path


def test_quick_saves_are_one_change(watched: Path) -> None:
    files = Files()
    files.add([str(watched)], imported=2000)
    assert files.changed() == files.changed() == []
    for text in ("12", "123", "1234"):
        watched.write_text(text)
        assert files.changed() == []
    assert files.changed() == [str(watched)]
    assert files.changed() == files.changed() == []


def test_a_file_that_goes_and_comes(watched: Path) -> None:
    files = Files()
    files.add([str(watched)], imported=2000)
    watched.unlink()
    assert files.changed() == []
    watched.write_text("other")
    assert files.changed() == []
    assert files.changed() == [str(watched)]
    watched.unlink()
    assert [files.changed(), files.changed()] == [[], [str(watched)]]
    assert [files.changed(), files.changed()] == [[], []]


def test_what_was_written_after_its_import_has_changed(watched: Path) -> None:
    files = Files()
    files.add([str(watched)], imported=999)
    assert [files.changed(), files.changed()] == [[], [str(watched)]]
    # Not for ever: it may have a date of the future.
    files.add([str(watched)], imported=999)
    assert [files.changed(), files.changed()] == [[], []]


def test_a_virtual_environment_is_not_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.prefix", str(tmp_path / "venv"))
    assert is_of_app(f"{tmp_path}/package/a.py")
    assert not is_of_app(f"{tmp_path}/venv/lib/a.py")
    assert not is_of_app(f"{tmp_path}-other/a.py")
    # One around it is none of its own.
    monkeypatch.setattr("sys.prefix", str(tmp_path.parent))
    assert is_of_app(f"{tmp_path}/a.py")
