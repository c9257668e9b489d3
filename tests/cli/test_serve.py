"""``gws serve``, as a shell runs it."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from gevent import socket

import gws.cli.serve
from gws import ConnectionClosed, connect, unix_connect
from gws.cli import main
from gws.process.loading import load, look_for
from gws.process.places import listen_hint

from ..program import SOON
from .command import gws_


#: For what opens sockets, in this process or another one.
over_sockets = pytest.mark.usefixtures("leakcheck")


# Finding what to serve


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
    "name",
    ["app:router", "app:deep.er.router", "app:echo", "app:old", "package.inner:router"],
)
def test_load(name: str) -> None:
    assert callable(load(name))


#: What stands for the working directory in a hint.
HERE = "HERE"

NOT_THERE = f"Modules are looked for in {HERE}, and where Python looks."

ONE_ARGUMENT = "can't be served: a handler takes one argument: def f(ws)"

WSGI = "Is it a WSGI application? gunicorn -k gws.wsgi.gunicorn.WebSocketWorker"


@pytest.mark.usefixtures("importing")
@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("nosuch:router", "there is no module 'nosuch'", NOT_THERE),
        ("ap:x", "there is no module 'ap'", f"Did you mean app:... ? It is in {HERE}."),
        ("packag:x", "there is no module 'packag'", "Did you mean package:... ?"),
        (
            "package.x:router",
            "there is no module 'package.x'",
            "There is package, and ",
        ),
        ("app.inner:router", "there is no module 'app.inner'", "There is app, and no"),
        ("app.py:x", "there is no module 'app.py'", "Did you mean app:... ?"),
        ("app:routr", "there is no 'routr' in 'app'", "Did you mean app:router ?"),
        ("app:zzz", "there is no 'zzz' in 'app'", "It has router, echo, patched, "),
        ("app:deep.zzz", "there is no 'deep.zzz' in 'app'", "It has router, "),
        (
            "empty:x",
            "there is no 'x' in 'empty'",
            "Nothing in it can be served",
        ),
        ("app:number", "app:number is neither a Router nor a handler", "It has r"),
        ("app:Router", "app:Router is neither a Router nor a handler", "Did you"),
        (
            "app:two",
            "app:two can't be served: missing a required argument: 'c'",
            "A handler takes one argument: def f(ws)",
        ),
        ("app", "'app' is not MODULE:ROUTER", "Name the router in it, such as app:"),
        ("app.py", "'app.py' is not MODULE:ROUTER", "Did you mean app:... ?"),
        ("app:", "'app:' is not MODULE:ROUTER", "Name the router in it, such as app:"),
        ("app:wsgi", f"app:wsgi {ONE_ARGUMENT}", f"{WSGI} app:wsgi"),
        ("app:flask", f"app:flask {ONE_ARGUMENT}", f"{WSGI} app:flask"),
        (":router", "':router' is not MODULE:ROUTER", "Name the module before the "),
        ("./app:x", "'./app:x' is not MODULE:ROUTER", "Did you mean app:x ?"),
        ("./app.py:x", "'./app.py:x' is not MODULE:ROUTER", "Did you mean app:x ?"),
        ("./app", "'./app' is not MODULE:ROUTER", "Did you mean app:... ?"),
        ("/app:x", "'/app:x' is not MODULE:ROUTER", "Did you mean app:... ? It is in"),
        (
            "package/inner:x",
            "'package/inner:x' is not MODULE:ROUTER",
            "Did you mean package.inner:x ?",
        ),
        (".app:router", "'.app:router' is not MODULE:ROUTER", "Did you mean app:... ?"),
        ("a..b:router", "'a..b:router' is not MODULE:ROUTER", NOT_THERE),
    ],
)
def test_nothing_to_serve(name: str, text: str, hint: str) -> None:
    args = ["serve", name, "--no-patch", "--bind", "localhost:0"]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 1
    error, advice = result.output.splitlines()
    assert error == f"Error: {text}"
    assert advice.startswith(hint.replace(HERE, os.getcwd()))


@over_sockets
@pytest.mark.usefixtures("importing")
def test_reload_looks_before_it_listens() -> None:
    """Nothing else is printed; and what is there is not imported by who looks."""
    args = ["serve", "nosuch:x", "--reload", "--bind", "localhost:0"]
    result = CliRunner().invoke(main, args)
    error = "Error: there is no module 'nosuch'"
    hint = NOT_THERE.replace(HERE, os.getcwd())
    assert (result.exit_code, result.output) == (1, f"{error}\n{hint}\n")
    path = sys.path.copy()
    for name in ("raises:x", "package.nosuch:x"):
        look_for(name)
    assert sys.path == path
    assert not {"raises", "package"} & sys.modules.keys()


@pytest.mark.usefixtures("importing")
@pytest.mark.parametrize(
    ("name", "error"), [("broken:x", ModuleNotFoundError), ("raises:x", LookupError)]
)
def test_errors_of_the_module_itself_are_shown(
    name: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        load(name)


def test_they_begin_where_the_module_does(folder: Path) -> None:
    """None of our own frames stand before its."""
    with gws_("serve", "raises:x", "--bind", "127.0.0.1:0", cwd=folder) as program:
        code, out, err = program.end()
    assert (code, out) == (1, "")
    raised = "raise LookupError('of mine')"
    assert err.splitlines()[:3] == [
        "Traceback (most recent call last):",
        f'  File "{folder}/raises.py", line 1, in <module>',
        f"    {raised}",
    ]
    assert err.splitlines()[-1] == "LookupError: of mine"


# Where


@over_sockets
@pytest.mark.usefixtures("importing")
@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--ssl-key", "key.pem"], "--ssl-key needs --ssl-cert"),
        (["--ssl-cert", "nosuch"], "nosuch: No such file or directory"),
        (["--ssl-cert", "app.py"], "app.py: there is no certificate (PEM) in app.py"),
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
@pytest.mark.parametrize(
    ("certificate", "key", "why"),
    [
        ("chain", "other", "key values mismatch: the key is that of another cert"),
        ("chain", "junk", "there is no private key (PEM) in junk"),
        ("chain", None, "there is no private key (PEM) in chain; --ssl-key names"),
        ("chain", "secret", "the key needs a password: openssl pkey -in secret takes"),
        ("junk", "other", "there is no certificate (PEM) in junk"),
    ],
)
def test_certificates_that_are_not_right(
    certificate: str, key: str | None, why: str, pem_files: None
) -> None:
    args = ["serve", "app:router", "--no-patch", "--ssl-cert", certificate]
    args += ["--ssl-key", key] if key else []
    result = CliRunner().invoke(main, args)
    files = f"{certificate}, {key}" if key else certificate
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {files}: {why}")
    assert result.output.count("\n") == 1


@pytest.fixture
def pem_files(importing: None) -> None:
    """In the working directory: chain, the keys other and secret; and junk."""
    issued, other = (trustme.CA().issue_cert("localhost") for _ in range(2))
    issued.cert_chain_pems[0].write_to_path("chain")
    other.private_key_pem.write_to_path("other")
    key = serialization.load_pem_private_key(other.private_key_pem.bytes(), None)
    Path("secret").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    Path("junk").write_text("junk")


@pytest.mark.parametrize(
    ("where", "number", "hint"),
    [
        ("*:80", errno.EACCES, "Ports below 1024 are for root"),
        ("localhost:8765", errno.EACCES, ""),
        ("/run/app", errno.EADDRINUSE, "Who listens there: ss -lxp src /run/app"),
        ("/run/app/x", errno.ENOENT, "Is the directory there?"),
        ("192.0.2.1:80", errno.EADDRNOTAVAIL, "It is no address of this machine"),
        ("descriptor 3", errno.EINVAL, ""),
    ],
)
def test_what_to_do_about_a_place(where: str, number: int, hint: str) -> None:
    found = listen_hint(where, number)
    assert found.startswith(hint)
    assert bool(found) == bool(hint)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--proxy-protocol"], "--proxy-protocol needs --trusted-proxies"),
        (["--trusted-proxies", "x"], "--trusted-proxies: 'x' does not appear to be"),
        (["--reload", "--workers", "2"], "--reload serves in one process"),
    ],
)
def test_options_that_do_not_fit(args: list[str], text: str) -> None:
    result = CliRunner().invoke(main, ["serve", "app:router", "--no-patch", *args])
    assert (result.exit_code, text in result.output) == (2, True)


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
    port = taken.partition(":")[2]
    assert err == (
        f"Error: can't listen on {taken}: Address already in use\n"
        f"Who listens there: ss -ltnp 'sport = :{port}'. Or take another port.\n"
    )


@over_sockets
@pytest.mark.usefixtures("importing")
def test_default_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gws.cli.serve.DEFAULT_BIND == ("localhost", 8765)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        monkeypatch.setattr("gws.cli.serve.DEFAULT_BIND", sock.getsockname())
        result = CliRunner().invoke(main, ["serve", "app:router", "--no-patch"])
    assert result.exit_code == 1
    assert "Address already in use\n" in result.output


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
def test_serve_behind_a_proxy(folder: Path) -> None:
    folder.joinpath("peer.py").write_text(
        "def peer(ws):\n    ws.send(repr(ws.remote_address))\n"
    )
    trusted = ["--bind", "127.0.0.1:0", "--trusted-proxies", "127.0.0.0/8"]
    with serving(folder, *trusted, app="peer:peer") as next_url:
        headers = [("X-Forwarded-For", "203.0.113.7")]
        with connect(next_url(), additional_headers=headers) as ws:
            assert "203.0.113.7" in ws.recv(SOON)
    with serving(folder, *trusted, "--proxy-protocol", app="peer:peer") as next_url:
        url = next_url()
        sock = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
        sock.sendall(b"PROXY TCP4 203.0.113.8 127.0.0.1 5123 80\r\n")
        with connect(url, sock=sock) as ws:
            assert ws.recv(SOON) == "('203.0.113.8', 5123)"


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


@over_sockets
def test_the_access_log_tells_of_visits_alone(folder: Path) -> None:
    args = ["serve", "app:echo", "--bind", "127.0.0.1:0", "--access-log"]
    with gws_(*args, cwd=folder) as program:
        with connect(program.hear().removeprefix("Listening on ")):
            assert " 101 " in program.hear()
        assert " closed 1000 " in program.hear()
        program.signal(signal.SIGTERM)
        code, _, err = program.end()
    assert (code, "draining" in err, "connection " in err) == (0, True, False)
