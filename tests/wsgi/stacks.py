"""WSGI servers to try gws in: in this process, or each in one of its own.

A `Stack` is where to connect, and what the server logs. Sockets are bound here and
passed on, so that nobody waits for a server to start: who connects early waits in
the backlog.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import gevent.ssl
from gevent import socket, subprocess
from gevent.event import Event
from gevent.pywsgi import WSGIServer

from gws.testing import RawPeer


#: The programs for processes of their own, and the applications.
APPS = Path(__file__).parent / "apps"

#: The seconds within which whatever a test waits for must have come.
LONG = 10


class Log:
    """The lines that a server logs."""

    def __init__(self) -> None:
        #: All of them.
        self.lines: list[str] = []
        self._came = Event()

    def write(self, text: str) -> None:
        """Take text; pywsgi calls this."""
        self.lines += text.splitlines()
        self._came.set()

    def flush(self) -> None:
        """Do nothing: it is a file for pywsgi."""

    def mark(self) -> int:
        """Return where the log ends now, for `wait` and `since`."""
        return len(self.lines)

    def since(self, mark: int) -> str:
        """Return what was logged after `mark`."""
        return "\n".join(self.lines[mark:])

    def wait(self, text: str, mark: int = 0) -> str:
        """Return the first line after ``mark`` that has ``text`` in it.

        Raises:
            AssertionError: if there is none in time.
        """
        with gevent.Timeout(LONG, False):
            while True:
                self._came.clear()
                for line in self.lines[mark:]:
                    if text in line:
                        return line
                self._came.wait()
        raise AssertionError(f"{text!r} is not in the log:\n{self.since(mark)}")

    def follow(self, stream: Any) -> None:
        """Take what comes on a stream, to its end."""
        with contextlib.suppress(OSError, ValueError):
            for line in stream:
                self.write(line.decode(errors="replace"))


class Stack:
    """A server that runs.

    Args:
        name: of the stack.
        address: where to connect: (host, port), or the path of a Unix socket.
        tls: the folder of the certificates, if it speaks TLS.
    """

    def __init__(self, name: str, address: Any, tls: Path | None = None) -> None:
        self.name = name
        self.address = address
        self.tls = tls
        #: Access and errors.
        self.log = Log()
        #: Whether it runs in this process.
        self.is_here = False
        #: The master process, if it has one of its own.
        self.process: Any = None

    @property
    def is_unix(self) -> bool:
        """Whether its socket is a Unix socket."""
        return isinstance(self.address, str)

    @contextmanager
    def peer(self) -> Iterator[RawPeer]:
        """Connect as a peer that plays the client."""
        peer = RawPeer(self.dial())
        try:
            yield peer
        finally:
            peer.end()

    def dial(self) -> Any:
        """Return a socket that is connected, with TLS if that is spoken here."""
        family = socket.AF_UNIX if self.is_unix else socket.AF_INET
        sock = socket.socket(family)
        sock.settimeout(LONG)
        sock.connect(self.address)
        if self.tls is not None:
            context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(self.tls / "ca.pem")
            sock = context.wrap_socket(sock, server_hostname="localhost")
        return sock

    def get(self, path: str) -> str:
        """Return the body of the answer to a plain GET, on a connection of its own."""
        with self.peer() as peer:
            peer.write(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\n"
                "Connection: close\r\n\r\n".encode()
            )
            head, _, body = peer.read_to_end().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        return body.decode()

    def stop(self) -> None:
        """Ask a process of its own to end; do not wait for that."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()

    def seen(self) -> list[str]:
        """Return what the application of the matrix noted since the last call."""
        found: list[str] = json.loads(self.get("/seen"))
        return found


def load(name: str) -> Any:
    """Return an application of the folder of applications: MODULE:APP."""
    module, _, attribute = name.partition(":")
    if str(APPS) not in sys.path:
        sys.path.append(str(APPS))
    return getattr(importlib.import_module(module), attribute)


@contextmanager
def pywsgi(
    name: str,
    app: Any,
    *,
    tls: Path | None = None,
    unix: bool = False,
    server_class: Any = WSGIServer,
    **options: Any,
) -> Iterator[Stack]:
    """Run gevent's WSGI server in this process."""
    with bound(unix) as (listener, address):
        stack = Stack(name, address, tls)
        stack.is_here = True
        if tls is not None:
            options["ssl_context"] = gevent.ssl.SSLContext(
                gevent.ssl.PROTOCOL_TLS_SERVER
            )
            options["ssl_context"].load_cert_chain(tls / "server.pem")
        server = server_class(
            listener, app, log=stack.log, error_log=stack.log, **options
        )
        server.start()
        try:
            yield stack
        finally:
            server.stop(timeout=1)


@contextmanager
def gunicorn(
    name: str,
    app: str,
    worker: str,
    *options: str,
    tls: Path | None = None,
    unix: bool = False,
    python: tuple[str, ...] = (),
) -> Iterator[Stack]:
    """Run gunicorn, with one worker, in a process of its own.

    Args:
        app: MODULE:APP in the folder of applications.
        worker: its class.
        options: more of gunicorn's command line.
        python: options of the interpreter.
    """
    with bound(unix) as (listener, address), tempfile.TemporaryDirectory() as home:
        fd = listener.fileno()
        command = [
            *(sys.executable, "-P", *python, "-m", "gunicorn"),
            *("-b", f"fd://{fd}", "-k", worker, "-w", "1", "--pythonpath", str(APPS)),
            *("--access-logfile", "-", "--graceful-timeout", "3"),
            *("--worker-tmp-dir", home, *options),
        ]
        if has_control_socket():
            command.append("--no-control-socket")
        if tls is not None:
            command += ["--certfile", str(tls / "server.pem")]
            command += ["--keyfile", str(tls / "server.pem")]
        with process(name, [*command, app], address, fd, home, tls) as stack:
            yield stack


@contextmanager
def dev_server(name: str, app: str) -> Iterator[Stack]:
    """Run werkzeug's development server, monkey-patched, in a process of its own."""
    with bound(False) as (listener, address), tempfile.TemporaryDirectory() as home:
        fd = listener.fileno()
        program = str(APPS / "dev_server.py")
        command = [sys.executable, program, str(fd), app]
        with process(name, command, address, fd, home) as stack:
            yield stack


@contextmanager
def other_server(name: str, app: str, *, patched: bool = False) -> Iterator[Stack]:
    """Run waitress or wsgiref in a process of its own.

    Args:
        patched: whether gevent.monkey.patch_all() makes it cooperative.
    """
    with bound(False) as (listener, address), tempfile.TemporaryDirectory() as home:
        fd = listener.fileno()
        python = [sys.executable, *(["-m", "gevent.monkey"] if patched else [])]
        command = [*python, str(APPS / "other_servers.py"), name, str(fd), app]
        with process(name, command, address, fd, home) as stack:
            yield stack


@contextmanager
def process(
    name: str,
    command: list[str],
    address: Any,
    fd: int,
    home: str,
    tls: Path | None = None,
) -> Iterator[Stack]:
    """Run a server that was given its socket; it is asked to end, and then made to."""
    stack = Stack(name, address, tls)
    stack.process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[fd],
        env={
            **os.environ,
            "HOME": home,
            "PYTHONPATH": os.pathsep.join(filter(None, [*paths(), str(APPS)])),
            "PYTHONUNBUFFERED": "1",
        },
        start_new_session=True,
    )
    following = gevent.spawn(stack.log.follow, stack.process.stdout)
    try:
        yield stack
    finally:
        stack.stop()
        with gevent.Timeout(LONG, False):
            stack.process.wait()
        # Whatever is left: the group is of this server alone.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(stack.process.pid, signal.SIGKILL)
        stack.process.wait()
        following.kill()
        stack.process.stdout.close()


def paths() -> list[str]:
    """Return where processes look for modules, such as gws in a checkout."""
    return os.environ.get("PYTHONPATH", "").split(os.pathsep)


@contextmanager
def bound(unix: bool) -> Iterator[tuple[Any, Any]]:
    """Give a listening socket and its address."""
    with contextlib.ExitStack() as stack:
        if unix:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gws-"))
            address: Any = os.path.join(folder, "socket")
            listener = socket.socket(socket.AF_UNIX)
        else:
            address = ("127.0.0.1", 0)
            listener = socket.socket()
        stack.callback(listener.close)
        listener.bind(address)
        listener.listen(128)
        yield listener, address if unix else listener.getsockname()


def has_control_socket() -> bool:
    """Tell whether this gunicorn opens a socket in the home folder by default."""
    from gunicorn.config import KNOWN_SETTINGS

    return any(setting.name == "control_socket" for setting in KNOWN_SETTINGS)
