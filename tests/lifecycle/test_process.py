"""``gws serve`` from its start to its exit code, as who starts and signals it sees."""

from __future__ import annotations

import functools
import os
import re
import signal
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest
import trustme
from click.testing import CliRunner
from gevent import socket

from gws import ConnectionClosed, connect, unix_connect
from gws.cli import main
from gws.process.service import EXIT_CUT
from gws.process.systemd import listen_fds, notify

from ..docs.pages import blocks
from ..program import SOON, Program


pytestmark = pytest.mark.usefixtures("leakcheck")

APP = """
import os

import gevent

from gws import Router

router = Router()


@router.route("/echo")
def echo(ws):
    for message in ws:
        ws.send(message)


@router.route("/pid")
def pid(ws):
    for message in ws:
        ws.send(f"{os.getpid()} {message}")


@router.route("/stubborn")
def stubborn(ws):
    ws.send("ready")
    gevent.sleep(1000)


@router.route("/passed")
def passed(ws):
    left = [name for name in os.environ if name.startswith("LISTEN_")]
    ws.send(f"{left} {os.get_inheritable(3)} {os.get_inheritable(4)}")
"""

#: Becomes ``gws serve`` with the descriptors that its first argument lists, as systemd
#: passes them.
LAUNCHER = """
import os, sys
fds = [os.dup(int(fd)) for fd in sys.argv[1].split(",")]
for n, fd in enumerate(fds):
    os.dup2(fd, 100 + n)
for n in range(len(fds)):
    os.dup2(100 + n, 3 + n)
    os.close(100 + n)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds))}
os.execv(sys.executable, [sys.executable, "-P", "-W", "error", *sys.argv[2:]])
"""

SERVE = ("-m", "gws", "serve", "app:router")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with an application in it."""
    tmp_path.joinpath("app.py").write_text(APP)
    return tmp_path


def passing(socks: list[Any], folder: Path, *args: str, **environ: str) -> Program:
    """Start ``gws serve`` on sockets that it gets as a service of systemd does."""
    fds = [sock.fileno() for sock in socks]
    listed = ",".join(map(str, fds))
    return Program(
        *("-c", LAUNCHER, listed, *SERVE, *args),
        cwd=folder,
        pass_fds=fds,
        env=os.environ | environ,
    )


def url_of(program: Program) -> str:
    return program.hear().removeprefix("Listening on ")


def wait_log(program: Program, text: str) -> str:
    """Return the next line of its log that has this in it."""
    with gevent.Timeout(SOON):
        while line := program.process.stderr.readline().decode():
            if text in line:
                return str(line)
    raise EOFError(text)


# Exit codes


def test_what_does_not_end_is_cut(folder: Path) -> None:
    args = [*SERVE, "--bind", "127.0.0.1:0", "--drain-timeout", "0.3"]
    with Program(*args, cwd=folder) as program:
        ws = connect(url_of(program) + "/stubborn").open()
        assert ws.recv(SOON) == "ready"
        program.signal(signal.SIGTERM)
        code, _, err = program.end()
        assert code == 3
        assert (
            "WARNING gws.server: 0 connections had no closing handshake, 1 hand" in err
        )
        assert "Traceback" not in err
        with pytest.raises(ConnectionClosed, match="received 1001"):
            ws.recv(SOON)


@pytest.mark.once
@pytest.mark.parametrize(
    ("second", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_second_signal_ends_it_now(
    folder: Path, second: signal.Signals, code: int
) -> None:
    args = [*SERVE, "--bind", "127.0.0.1:0", "--drain-timeout", "1000"]
    with Program(*args, cwd=folder) as program:
        ws = connect(url_of(program) + "/stubborn").open()
        assert ws.recv(SOON) == "ready"
        program.signal(signal.SIGINT)
        with pytest.raises(ConnectionClosed, match="received 1001"):
            ws.recv(SOON)
        program.signal(second)
        ended, out, err = program.end()
        assert (ended, out) == (code, "")
        assert "Traceback" not in err


@pytest.mark.once
def test_the_recipe_for_programs(folder: Path) -> None:
    """That of docs/howto/deploy.md, on a socket of ours."""
    (recipe,) = blocks("docs/howto/deploy.md", "python", "import signal")
    assert recipe.count('"localhost", 8765') == 1
    with socket.create_server(("127.0.0.1", 0)) as sock:
        fd = sock.fileno()
        recipe = recipe.replace('"localhost", 8765', f"sock=socket.socket(fileno={fd})")
        before = "import socket\nfrom app import echo as handler\n"
        folder.joinpath("program.py").write_text(before + recipe)
        # -P leaves out the folder of a script; this brings it back.
        env = os.environ | {"PYTHONPATH": search_path(folder)}
        program = Program(folder / "program.py", pass_fds=[fd], env=env)
        port = sock.getsockname()[1]
    with program:
        ws = connect(f"ws://127.0.0.1:{port}/").open()
        check_echo(ws)
        program.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed, match="received 1001"):
            ws.recv(SOON)
        assert program.end() == (0, "", "")


def search_path(folder: Path) -> str:
    known = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(folder), known] if known else [str(folder)])


@pytest.mark.once
def test_a_hangup_without_a_certificate(folder: Path) -> None:
    # Who runs the tests may have it ignored, as nohup does; children inherit that.
    default = functools.partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)
    bind = ("--bind", "127.0.0.1:0")
    with Program(*SERVE, *bind, cwd=folder, preexec_fn=default) as program:
        url_of(program)
        program.signal(signal.SIGHUP)
        assert program.end()[0] == -signal.SIGHUP


def test_the_exit_codes_are_documented() -> None:
    """The same on the page and in the help."""
    page = Path(__file__).parents[2].joinpath("docs/howto/deploy.md").read_text()
    _, _, table = page.partition("| exit code |")
    rows = re.findall(r"^\| ([0-9, ]+) \|", table, re.M)
    codes = sorted(int(code) for row in rows for code in row.split(","))
    assert codes == [0, 1, 2, EXIT_CUT, 128 + signal.SIGINT, 128 + signal.SIGTERM]
    text = CliRunner().invoke(main, ["serve", "--help"]).output
    _, _, promise = text.partition("It exits")
    assert set(map(str, codes)) <= set(re.findall("[0-9]+", promise))


# Certificates


def write_certificate(path: Path) -> ssl.SSLContext:
    """Put a certificate of a new authority there; return a context that trusts it."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    # At once, as who renews certificates should.
    issued.private_key_pem.write_to_path(path.with_suffix(".new-key"))
    issued.cert_chain_pems[0].write_to_path(path.with_suffix(".new"))
    path.with_suffix(".new-key").rename(path.with_suffix(".key"))
    path.with_suffix(".new").rename(path)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return trusting


def check_echo(ws: Any) -> None:
    ws.send("hello")
    assert ws.recv(SOON) == "hello"


def test_sighup_renews_the_certificate(folder: Path) -> None:
    path = folder / "server.pem"
    first = write_certificate(path)
    files = ["--ssl-cert", path, "--ssl-key", path.with_suffix(".key")]
    with Program(*SERVE, "--bind", "localhost:0", *files, cwd=folder) as program:
        url = f"wss://localhost:{url_of(program).rpartition(':')[2]}/echo"
        with connect(url, ssl=first) as before:
            second = write_certificate(path)
            program.signal(signal.SIGHUP)
            wait_log(program, "the certificate is renewed")
            with connect(url, ssl=second) as after:
                check_echo(after)
                for broken in (b"", b"nothing", path.with_suffix(".key").read_bytes()):
                    path.write_bytes(broken)
                    program.signal(signal.SIGHUP)
                    line = wait_log(program, "the certificate is not renewed")
                    assert " ERROR " in line
                    assert "server.pem" in line
                # A certificate that does not belong to the key.
                key = path.with_suffix(".key").read_bytes()
                write_certificate(path)
                path.with_suffix(".key").write_bytes(key)
                program.signal(signal.SIGHUP)
                assert "mismatch" in wait_log(program, "the certificate is not renewed")
                with connect(url, ssl=second) as still:
                    check_echo(still)
                check_echo(after)
            check_echo(before)
        program.signal(signal.SIGTERM)
        code, _, err = program.end()
    assert (code, "Traceback" in err) == (0, False)


# systemd


def test_sockets_that_are_passed(folder: Path, unix_path: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        unix.bind(unix_path)
        unix.listen()
        with passing([tcp, unix], folder, LISTEN_FDNAMES="web:local") as program:
            assert url_of(program) == f"ws://127.0.0.1:{tcp.getsockname()[1]}"
            assert url_of(program) == f"ws+unix:{unix_path}"
            with connect(f"ws://127.0.0.1:{tcp.getsockname()[1]}/passed") as ws:
                assert ws.recv(SOON) == "[] False False"
            ws = unix_connect(unix_path, "ws://localhost/echo").open()
            check_echo(ws)
            program.signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed, match="received 1012"):
                ws.recv(SOON)
            assert program.end()[0] == 0
            # It belongs to whoever made it.
            assert os.path.exists(unix_path)


@pytest.mark.once
def test_sockets_that_can_not_be_served(folder: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        with passing([sock], folder, LISTEN_FDNAMES="log") as program:
            code, _, err = program.end()
    assert (code, err) == (
        1,
        "Error: can't listen on descriptor 3 (log): This socket does not listen\n",
    )


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "2"},
        {"LISTEN_FDS": "2", "LISTEN_PID": "1", "LISTEN_FDNAMES": "a:b"},
        {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())},
    ],
)
def test_sockets_of_others(environ: dict[str, str]) -> None:
    environ["OTHER"] = "stays"
    assert listen_fds(environ) == []
    assert environ == {"OTHER": "stays"}


@pytest.mark.parametrize("n", ["-1", "two", "1 ", "\u0661"])
def test_listen_fds_that_is_no_number(n: str) -> None:
    with pytest.raises(ValueError, match="LISTEN_FDS is no number"):
        listen_fds({"LISTEN_FDS": n, "LISTEN_PID": mine()})


def mine() -> str:
    return str(os.getpid())


def test_listen_fds_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gws.process.systemd.FIRST", 100_000)
    with pytest.raises(OSError):
        listen_fds({"LISTEN_FDS": "1", "LISTEN_PID": mine()})


@contextmanager
def manager(path: str) -> Iterator[Any]:
    """What NOTIFY_SOCKET leads to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        sock.settimeout(SOON)
        yield sock


def test_the_manager_is_told(folder: Path, unix_path: str) -> None:
    path = folder / "server.pem"
    write_certificate(path)
    files = ["--ssl-cert", path, "--ssl-key", path.with_suffix(".key")]
    args = [*SERVE, "--bind", "127.0.0.1:0", *files]
    env = os.environ | {"NOTIFY_SOCKET": unix_path}
    with (
        manager(unix_path) as sock,
        Program(*args, cwd=folder, env=env) as program,
    ):
        assert sock.recv(1000) == b"READY=1"
        program.signal(signal.SIGHUP)
        reloading = sock.recv(1000).decode()
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=[0-9]+", reloading)
        assert sock.recv(1000) == b"READY=1"
        program.signal(signal.SIGTERM)
        assert sock.recv(1000) == b"STOPPING=1"
        assert program.end()[0] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="abstract addresses are Linux's")
def test_a_manager_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"gws-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with manager(f"\0{name}") as sock:
        notify("READY=1", "STATUS=well")
        assert sock.recv(1000) == b"READY=1\nSTATUS=well"


@pytest.mark.parametrize("address", ["", "vsock:2:1", "nosuch"])
def test_no_manager(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")
    assert caplog.records == []


def test_a_manager_that_has_gone(
    unix_path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", unix_path)
    notify("READY=1")
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
