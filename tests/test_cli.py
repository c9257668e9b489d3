"""The command ``gws``, as a shell runs it."""

from __future__ import annotations

import fcntl
import os
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

import gws.cli
from gws import ConnectionClosed, connect, serve, unix_connect
from gws.cli import main, parse_address, parse_header
from gws.process.places import load
from gws.terminal import escape

from .program import SOON, Program


#: For what opens sockets, in this process or another one.
over_sockets = pytest.mark.usefixtures("leakcheck")

APP = """
import socket, threading
from types import SimpleNamespace

import gevent
import gevent.socket

from gws import Router

PATCHED = (
    socket.socket is gevent.socket.socket,
    type(threading.Lock()).__module__.startswith("gevent"),
)
router = Router()
deep = SimpleNamespace(er=SimpleNamespace(router=router))
number = 7


@router.route("/echo")
def echo(ws):
    for message in ws:
        ws.send(message)


@router.route("/patched")
def patched(ws):
    ws.send(repr(PATCHED))


@router.route("/stubborn")
def stubborn(ws):
    ws.send("ready")
    gevent.sleep(1000)


def two(a, b, c):
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with an application in it."""
    tmp_path.joinpath("app.py").write_text(APP)
    package = tmp_path / "package"
    package.mkdir()
    package.joinpath("__init__.py").touch()
    package.joinpath("inner.py").write_text("from app import echo, router\n")
    tmp_path.joinpath("broken.py").write_text("import nosuchmodule\n")
    tmp_path.joinpath("raises.py").write_text("raise LookupError('of mine')\n")
    return tmp_path


def gws_(*args: str | Path, **options: Any) -> Program:
    return Program("-m", "gws", *args, **options)


# The command itself


def test_version() -> None:
    with gws_("--version") as program:
        assert program.end() == (0, f"gws {gws.__version__}\n", "")


def test_help_names_the_commands() -> None:
    result = CliRunner().invoke(main, ["-h"])
    assert result.exit_code == 0
    for command in ("serve", "connect", "publish"):
        assert command in result.output
        assert CliRunner().invoke(main, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:8765", ("localhost", 8765)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:65535", ("::1", 65535)),
        (":80", (None, 80)),
    ],
)
def test_addresses(text: str, address: tuple[str | None, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "header"),
    [("A: b", ("A", "b")), ("A:", ("A", "")), ("A: b: c ", ("A", "b: c"))],
)
def test_headers(text: str, header: tuple[str, str]) -> None:
    assert parse_header(text) == header


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "Missing argument"),
        (["app:router", "--bind", "localhost"], "'localhost' is not HOST:PORT"),
        (["app:router", "--bind", "::1:80"], "'::1:80' is not HOST:PORT"),
        (["app:router", "--bind", "localhost:65536"], "is not HOST:PORT"),
        (["app:router", "--bind", "localhost:"], "is not HOST:PORT"),
        (["app:router", "--fd", "x"], "not a valid integer"),
        (["app:router", "--workers", "0"], "not in the range"),
    ],
)
def test_serve_usage(args: list[str], text: str) -> None:
    result = CliRunner().invoke(main, ["serve", *args])
    assert (result.exit_code, text in result.output) == (2, True)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "Missing argument"),
        (["ws://localhost", "--header", "a b"], "'a b' is not 'Name: value'"),
        (["ws://localhost", "--linger", "-1"], "not in the range"),
    ],
)
def test_connect_usage(args: list[str], text: str) -> None:
    result = CliRunner().invoke(main, ["connect", *args])
    assert (result.exit_code, text in result.output) == (2, True)


# gws serve: finding what to serve


@pytest.fixture
def importing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Import from the folder in this process, and forget it afterwards."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        del sys.modules[name]


@pytest.mark.usefixtures("importing")
@pytest.mark.parametrize(
    "name", ["app:router", "app:deep.er.router", "app:echo", "package.inner:router"]
)
def test_load(name: str) -> None:
    assert callable(load(name))


@pytest.mark.usefixtures("importing")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nosuch:router", "there is no module 'nosuch'"),
        ("package.nosuch:router", "there is no module 'package.nosuch'"),
        ("app.inner:router", "there is no module 'app.inner'"),
        ("app:nosuch", "there is no 'nosuch' in 'app'"),
        ("app:deep.nosuch", "there is no 'deep.nosuch' in 'app'"),
        ("app:number", "app:number is neither a Router nor a handler"),
        ("app:Router", "app:Router is neither a Router nor a handler"),
        ("app:two", "app:two can't be served: missing a required argument: 'c'"),
        ("app", "'app' is not MODULE:ROUTER"),
        ("app:", "'app:' is not MODULE:ROUTER"),
        (":router", "':router' is not MODULE:ROUTER"),
        (".app:router", "'.app:router' is not MODULE:ROUTER"),
        ("a..b:router", "'a..b:router' is not MODULE:ROUTER"),
    ],
)
def test_nothing_to_serve(name: str, text: str) -> None:
    args = ["serve", name, "--no-patch", "--bind", "localhost:0"]
    result = CliRunner().invoke(main, args)
    assert (result.exit_code, result.output) == (1, f"Error: {text}\n")


@pytest.mark.usefixtures("importing")
@pytest.mark.parametrize(
    ("name", "error"), [("broken:x", ModuleNotFoundError), ("raises:x", LookupError)]
)
def test_errors_of_the_module_itself_are_shown(
    name: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        load(name)


# gws serve: where


@over_sockets
@pytest.mark.usefixtures("importing")
@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--ssl-key", "key.pem"], "--ssl-key needs --ssl-cert"),
        (["--ssl-cert", "nosuch"], "nosuch: No such file or directory"),
        (["--ssl-cert", "app.py"], "app.py: [SSL]"),
        (["--ssl-cert", "app.py", "--ssl-key", "nosuch"], "app.py, nosuch: "),
        (["--fd", "12345"], "can't listen on descriptor 12345: Bad file descriptor"),
        (["--unix", "nosuch/socket"], "can't listen on nosuch/socket: No such file"),
        (["--bind", "192.0.2.1:80"], "can't listen on 192.0.2.1:80: Cannot assign"),
    ],
)
def test_serve_says_what_does_not_work(args: list[str], text: str) -> None:
    result = CliRunner().invoke(main, ["serve", "app:router", "--no-patch", *args])
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit)
    assert text in result.output


@over_sockets
@pytest.mark.usefixtures("importing")
def test_serve_needs_a_socket_that_listens() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        args = ["serve", "app:router", "--no-patch", "--fd", str(os.dup(sock.fileno()))]
        result = CliRunner().invoke(main, args)
    assert result.exit_code == 1
    assert result.output.endswith("This socket does not listen\n")


@over_sockets
def test_address_in_use(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        taken = f"127.0.0.1:{sock.getsockname()[1]}"
        binds = ["--bind", "127.0.0.1:0", "--bind", taken]
        with gws_("serve", "app:router", *binds, cwd=folder) as program:
            code, out, err = program.end()
    assert (code, out) == (1, "")
    assert err == f"Error: can't listen on {taken}: Address already in use\n"


@over_sockets
@pytest.mark.usefixtures("importing")
def test_default_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gws.cli.DEFAULT_BIND == ("localhost", 8765)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        monkeypatch.setattr("gws.cli.DEFAULT_BIND", sock.getsockname())
        result = CliRunner().invoke(main, ["serve", "app:router", "--no-patch"])
    assert result.exit_code == 1
    assert result.output.endswith("Address already in use\n")


@contextmanager
def serving(
    folder: Path,
    *args: str | Path,
    app: str = "app:router",
    stop: signal.Signals = signal.SIGTERM,
    **options: Any,
) -> Iterator[Callable[[], str]]:
    """Run ``gws serve``; yield what returns the next URL that it prints.

    It must end well when the signal asks it to, without a traceback.
    """
    with gws_("serve", app, *args, cwd=folder, **options) as program:
        yield lambda: program.hear().removeprefix("Listening on ")
        program.signal(stop)
        code, _, err = program.end()
    assert (code, "Traceback" in err) == (0, False), err


@over_sockets
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serve(folder: Path, stop: signal.Signals) -> None:
    with serving(folder, "--bind", "127.0.0.1:0", stop=stop) as next_url:
        ws = connect(f"{next_url()}/echo").open()
        ws.send("hello")
        assert ws.recv(SOON) == "hello"
    # It was open: the end of the server was the end of the connection, in order.
    with pytest.raises(ConnectionClosed):
        ws.recv(SOON)
    assert ws.close_code == 1001


@over_sockets
def test_serve_a_handler(folder: Path) -> None:
    args = ["--bind", "127.0.0.1:0"]
    with (
        serving(folder, *args, app="package.inner:echo") as next_url,
        connect(next_url()) as ws,
    ):
        ws.send("hello")
        assert ws.recv(SOON) == "hello"


@over_sockets
@pytest.mark.parametrize(
    ("args", "patched"), [([], "(True, True)"), (["--no-patch"], "(False, False)")]
)
def test_serve_patches_before_it_imports(
    folder: Path, args: list[str], patched: str
) -> None:
    with (
        serving(folder, "--bind", "127.0.0.1:0", *args) as next_url,
        connect(f"{next_url()}/patched") as ws,
    ):
        assert ws.recv(SOON) == patched


@over_sockets
def test_serve_in_several_places(folder: Path, unix_path: str) -> None:
    binds = ["--bind", "127.0.0.1:0", "--bind", "127.0.0.1:0", "--unix", unix_path]
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        fd = sock.fileno()
        with serving(folder, *binds, "--fd", str(fd), pass_fds=[fd]) as next_url:
            uris = [next_url(), next_url()]
            assert next_url() == f"ws+unix:{unix_path}"
            uris.append(next_url())
            assert uris[2] == f"ws://127.0.0.1:{port}"
            assert len(set(uris)) == 3
            for recipe in [
                *(connect(f"{uri}/echo") for uri in uris),
                unix_connect(unix_path, "ws://localhost/echo"),
            ]:
                with recipe as ws:
                    ws.send("hello")
                    assert ws.recv(SOON) == "hello"


@over_sockets
def test_serve_with_tls(folder: Path, tls_files: Path, client_context: Any) -> None:
    certificate = ["--ssl-cert", tls_files / "server.pem"]
    with serving(folder, "--bind", "localhost:0", *certificate) as next_url:
        port = next_url().rpartition(":")[2]
        with connect(f"wss://localhost:{port}/echo", ssl=client_context) as ws:
            ws.send("hello")
            assert ws.recv(SOON) == "hello"


@over_sockets
def test_a_second_signal_does_not_wait(folder: Path) -> None:
    args = ["serve", "app:router", "--bind", "127.0.0.1:0"]
    with gws_(*args, cwd=folder) as program:
        ws = connect(program.hear().removeprefix("Listening on ") + "/stubborn").open()
        assert ws.recv(SOON) == "ready"
        program.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            ws.recv(SOON)
        program.signal(signal.SIGTERM)
        code, _, err = program.end()
    assert (code, "Traceback" in err) == (128 + signal.SIGTERM, False)


@over_sockets
def test_serve_logs_what_a_handler_raises(folder: Path) -> None:
    folder.joinpath("fails.py").write_text("def handler(ws):\n    1 / 0\n")
    args = ["serve", "fails:handler", "--bind", "127.0.0.1:0"]
    with gws_(*args, cwd=folder) as program:
        ws = connect(program.hear().removeprefix("Listening on ")).open()
        with pytest.raises(ConnectionClosed):
            ws.recv(SOON)
        program.signal(signal.SIGTERM)
        code, _, err = program.end()
    assert (code, ws.close_code) == (0, 1011)
    assert "ERROR gws.server" in err
    assert "ZeroDivisionError" in err


# gws connect


class Log:
    """A handler that tells the test who came and how it ended."""

    def __init__(self, handler: Callable[[Any], None]) -> None:
        self._handler = handler
        self.ended = AsyncResult()

    def __call__(self, ws: Any) -> None:
        try:
            self._handler(ws)
        except ConnectionClosed:
            pass
        finally:
            self.ended.set(ws)


def echo(ws: Any) -> None:
    for message in ws:
        ws.send(message)


@contextmanager
def server_of(handler: Callable[[Any], None], **options: Any) -> Iterator[Any]:
    """Serve in this process; yield the URI and the `Log`."""
    log = Log(handler)
    with serve(log, "127.0.0.1", 0, **options) as server:
        scheme = "ws" if options.get("ssl") is None else "wss"
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/", log


#: Short enough not to wait for, long enough for an answer that is on its way.
LINGER = ("--linger", "0.5")


@over_sockets
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


@over_sockets
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


@over_sockets
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


@over_sockets
@pytest.mark.parametrize("closed", ["<&-", "<&- >&-"])
def test_connect_without_input_and_output(closed: str) -> None:
    """With no such descriptor at all; a socket may then get its number."""
    line = f'exec "$0" -P -m gws connect "$1" --linger 0 {closed}'
    with server_of(echo) as (uri, log):
        command = ["sh", "-c", line, sys.executable, uri]
        ended = subprocess.run(command, capture_output=True, timeout=SOON)
        assert (ended.returncode, ended.stdout) == (0, b"")
        assert log.ended.get(timeout=SOON).close_code == 1000


@over_sockets
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


@over_sockets
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


@over_sockets
def test_connect_refuses_a_line_that_is_no_text() -> None:
    with server_of(echo) as (uri, log), gws_("connect", uri) as program:
        program.tell(b"\xff")
        code, _, err = program.end()
        assert (code, err.splitlines()[-1]) == (
            1,
            "Error: a line is not UTF-8; --binary sends it as it is",
        )
        assert log.ended.get(timeout=SOON).close_code == 1000


@pytest.mark.parametrize(
    ("message", "printed"),
    [
        ("plain, ünïcode, 世界, 😀", "plain, ünïcode, 世界, 😀"),
        ("", ""),
        ("a\nClosed: 1000 (OK).", r"a\nClosed: 1000 (OK)."),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\r\t\b\x7f\x00", r"\r\t\x08\x7f\x00"),
        ("\x9b31m\x85", r"\x9b31m\x85"),
        ("\u202eevil\u2066\u200f", r"\u202eevil\u2066\u200f"),
        ("\u2028\ufeff\U000e0041", r"\u2028\ufeff\U000e0041"),
        (b"\x00\x1b\xff plain", r"\x00\x1b\xff plain"),
        (b"", ""),
    ],
)
def test_what_is_printed_moves_no_terminal(message: str | bytes, printed: str) -> None:
    assert escape(message) == printed


@over_sockets
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


@over_sockets
def test_connect_prints_in_any_encoding() -> None:
    def tell(ws: Any) -> None:
        ws.send("ü世")

    environ = os.environ | {"PYTHONIOENCODING": "latin-1"}
    with server_of(tell) as (uri, _), gws_("connect", uri, env=environ) as program:
        with gevent.Timeout(SOON):
            assert program.process.stdout.read() == b"\xfc\\u4e16\n"
        assert program.end()[0] == 0


@over_sockets
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


@over_sockets
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


@over_sockets
@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["http://localhost/"], "scheme isn't ws or wss"),
        (["ws://localhost:1/\x1b[0m"], "\\x1b"),
        (["ws://127.0.0.1:1/"], "Connection refused"),
        (["ws://127.0.0.1:1/", "--header", "a b: c"], "a b"),
        (["ws://127.0.0.1:1/", "--header", "a: b\nc"], "\\n"),
        (["ws://127.0.0.1:1/", "--subprotocol", "a b"], "a b"),
        (["ws://127.0.0.1:1/", "--insecure"], "wss://"),
    ],
)
def test_connect_says_why_it_could_not(args: list[str], error: str) -> None:
    result = CliRunner().invoke(main, ["connect", *args])
    assert isinstance(result.exception, SystemExit)
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert result.output.startswith("Error: ")
    assert error in result.output


@over_sockets
def test_connect_says_how_it_was_refused(server_context: Any) -> None:
    def refuse(ws: Any, request: Any) -> Any:
        return 403, {}, b"Not \x1b[31myou\n"

    with server_of(echo, process_request=refuse) as (uri, _):
        result = CliRunner().invoke(main, ["connect", uri])
    assert (result.exit_code, result.output) == (
        1,
        "Error: server rejected WebSocket connection: HTTP 403: Not \\x1b[31myou\n",
    )
    with server_of(echo, ssl=server_context) as (uri, _):
        result = CliRunner().invoke(main, ["connect", uri])
    assert result.exit_code == 1
    assert "CERTIFICATE_VERIFY_FAILED" in result.output


# gws connect at a terminal


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """A terminal: what the keyboard writes to, and what the program reads."""
    keyboard, tty = os.openpty()
    try:
        yield keyboard, tty
    finally:
        os.close(keyboard)
        os.close(tty)


@over_sockets
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
