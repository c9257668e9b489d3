"""Behind nginx: `serve` and gevent's WSGI server, set up as docs/howto/nginx.md says.

The blocks of that page go into nginx.conf, the template in this folder; only the
addresses are others. Clients connect from 127.0.0.2, to be told from nginx.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any

import gevent
import pytest
from gevent import socket, subprocess
from gevent.pywsgi import WSGIServer
from gevent.queue import Queue

from gws import (
    ClientConnection,
    ConnectionClosed,
    InvalidStatus,
    Router,
    ServerConnection,
    connect,
    serve,
    unix_serve,
)
from gws.server.listener import listen_tcp, listen_unix
from gws.testing import RawPeer, request
from gws.wsgi import WebSocketApp, is_websocket

from ..docs.pages import blocks
from .stacks import LONG


#: Debian has it where only root looks.
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = [
    pytest.mark.usefixtures("leakcheck"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs more of 127.0.0.0/8"),
    pytest.mark.skipif(
        NGINX is None and os.environ.get("CI") != "true", reason="needs nginx"
    ),
]

TEMPLATE = Path(__file__).with_name("nginx.conf")

#: What nginx listens for: see the template.
DOORS = ("tcp", "unix", "tls", "forwarded", "impatient")

#: Where clients connect from.
CLIENT = "127.0.0.2"

#: What a client writes that wants to be somebody else.
FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "X_Forwarded_For": "6.6.6.6",
    "X-Real-IP": "6.6.6.6",
    "Forwarded": "for=6.6.6.6",
}


# nginx


class ConfTemplate(Template):
    """Nginx has the dollar for variables of its own."""

    delimiter = "@"


class Nginx:
    """An nginx that runs; and where it looks for the servers of gws."""

    def __init__(self, folder: Path, tls_files: Path) -> None:
        assert NGINX is not None, "nginx is not installed"
        self._folder = folder
        self._stopped = False
        #: Where a server listens on TCP; this keeps the port for all tests.
        (self.listener,) = listen_tcp("127.0.0.1", 0)
        #: Where a server listens on a Unix socket.
        self.unix_path = str(folder / "socket")
        # nginx gets its listening sockets as one gets them that takes the place of
        # another: so nobody waits for it to start, and nobody else has the ports.
        doors = [listen_tcp("127.0.0.1", 0)[0] for _ in DOORS]
        fds = [door.fileno() for door in doors]
        #: The ports of nginx, by the names in `DOORS`.
        self.ports = {
            name: door.getsockname()[1] for name, door in zip(DOORS, doors, strict=True)
        }
        conf = folder / "nginx.conf"
        conf.write_text(self._conf(tls_files / "server.pem"))
        self._process = subprocess.Popen(
            [NGINX, "-e", "error.log", "-p", folder, "-c", conf],
            stdin=subprocess.DEVNULL,
            pass_fds=fds,
            env={"NGINX": "".join(f"{fd};" for fd in fds)},
        )
        for door in doors:
            door.close()

    def uri(self, door: str, path: str = "/") -> str:
        scheme = "wss" if door == "tls" else "ws"
        return f"{scheme}://{self.host(door)}{path}"

    def host(self, door: str) -> str:
        return f"127.0.0.1:{self.ports[door]}"

    def stop(self) -> None:
        """End it; complain if it had ended by itself."""
        if self._stopped:
            return
        self._stopped = True
        died = self._process.poll()
        self._process.terminate()
        with gevent.Timeout(LONG):
            self._process.wait()
        self.listener.close()
        assert died is None, (self._folder / "error.log").read_text()

    def _conf(self, certificate: Path) -> str:
        """Return the template, filled with what the page says."""
        site, unix, forwarded_map, forwarded = blocks("docs/howto/nginx.md", "nginx")
        upgrade_map, _, _ = site.partition("server {")
        (location,) = re.findall(r"^    location .*?^    }\n", site, re.M | re.S)
        port = self.listener.getsockname()[1]
        location = replaced(location, "127.0.0.1:8765", f"127.0.0.1:{port}")
        tls = replaced(site, "127.0.0.1:8765", f"127.0.0.1:{port}")
        tls = replaced(tls, "listen 443", f"listen 127.0.0.1:{self.ports['tls']}")
        tls = re.sub(r"/etc/letsencrypt/\S+\.pem", str(certificate), tls)
        unix = replaced(unix, "/run/chat/socket", self.unix_path)
        return ConfTemplate(TEMPLATE.read_text()).substitute(
            {f"{name}_port": port for name, port in self.ports.items()},
            # Its worker would be nobody, whom our folders are closed to.
            user="user root root;" if os.geteuid() == 0 else "",
            tls_site=tls.removeprefix(upgrade_map),
            upgrade_map=upgrade_map,
            tcp_location=location,
            unix_location=with_line(location, unix),
            forwarded_map=forwarded_map,
            forwarded_location=with_line(
                location, forwarded, "proxy_set_header X-Forwarded-For"
            ),
        )


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


def with_line(location: str, line: str, start: str = "proxy_pass") -> str:
    """Return the location with a line in the place of the one that starts so."""
    text, n = re.subn(rf"^ +{start} .*\n", lambda _: line, location, flags=re.M)
    assert n == 1
    return text


@contextmanager
def running_nginx(tls_files: Path) -> Iterator[Nginx]:
    # Not a folder of pytest: those are too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="gws-") as folder:
        nginx = Nginx(Path(folder), tls_files)
        try:
            yield nginx
        finally:
            nginx.stop()


@pytest.fixture(scope="module")
def nginx(warm_hub: Any, tls_files: Path) -> Iterator[Nginx]:
    with running_nginx(tls_files) as nginx:
        yield nginx


# Servers behind it, and clients


class Site:
    """A server of one kind behind nginx, and the way to it.

    Args:
        backend: "serve" or "pywsgi".
        door: of nginx, one of `DOORS`.
        context: for TLS.
    """

    def __init__(
        self, nginx: Nginx, backend: str, door: str, context: ssl.SSLContext
    ) -> None:
        self.nginx = nginx
        self.backend = backend
        self.door = door
        self._context = context
        #: Who must be trusted to tell of a client.
        self.proxy = "unix" if door == "unix" else "127.0.0.1"

    @contextmanager
    def serving(self, handler: Any, **options: Any) -> Iterator[None]:
        path = self.nginx.unix_path if self.door == "unix" else None
        if self.backend == "pywsgi":
            listener = listen_unix(path) if path else self.nginx.listener.dup()
            listener.setblocking(False)
            app = beside_a_page(WebSocketApp(handler, **options))
            server = WSGIServer(listener, app, log=None)
            server.start()
            try:
                yield
            finally:
                server.stop(timeout=1)
        elif path is not None:
            with unix_serve(handler, path, **options):
                yield
        else:
            with serve(handler, sock=self.nginx.listener.dup(), **options):
                yield

    def connect(self, path: str = "/", **options: Any) -> connect:
        if self.door == "tls":
            options["ssl"] = self._context
        uri = self.nginx.uri(self.door, path)
        return connect(uri, source_address=(CLIENT, 0), proxy=None, **options)

    @contextmanager
    def peer(self) -> Iterator[RawPeer]:
        sock = socket.create_connection(("127.0.0.1", self.nginx.ports[self.door]))
        peer = RawPeer(sock)
        try:
            yield peer
        finally:
            peer.end()


def beside_a_page(websockets: WebSocketApp) -> Any:
    """Return an application that echoes what is posted, too."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if is_websocket(environ):
            return websockets(environ, start_response)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["wsgi.input"].read()]

    return app


def echo(ws: ServerConnection) -> None:
    for message in ws:
        ws.send(message)


def tell_address(ws: ServerConnection) -> None:
    ws.send(repr(ws.remote_address))


class Watched:
    """A handler that waits, and tells how its connections ended."""

    def __init__(self) -> None:
        #: Of each, the close code and the reason.
        self.ended: Queue[tuple[int | None, str | None]] = Queue()

    def __call__(self, ws: ServerConnection) -> None:
        try:
            echo(ws)
        finally:
            self.ended.put((ws.close_code, ws.close_reason))

    def end(self) -> tuple[int | None, str | None]:
        return self.ended.get(timeout=LONG)


def end_of(ws: ClientConnection) -> tuple[int | None, str | None]:
    with pytest.raises(ConnectionClosed):
        ws.recv(LONG)
    return ws.close_code, ws.close_reason


SITES = [(b, d) for b in ("serve", "pywsgi") for d in ("tcp", "unix", "tls")]


@pytest.fixture
def site_of(nginx: Nginx, client_context: ssl.SSLContext) -> Callable[[str, str], Site]:
    return lambda backend, door: Site(nginx, backend, door, client_context)


@pytest.fixture(params=SITES, ids="-".join)
def site(request: pytest.FixtureRequest, site_of: Callable[[str, str], Site]) -> Site:
    """Each backend by each way."""
    return site_of(*request.param)


both = pytest.mark.parametrize("backend", ["serve", "pywsgi"])


# Messages


@pytest.mark.parametrize("compression", ["deflate", None])
def test_messages(site: Site, compression: str | None) -> None:
    messages: list[str | bytes] = [
        "hello",
        b"\x00\xff",
        "",
        "ä" * 2**19,
        os.urandom(2**20),
    ]
    with (
        site.serving(echo, subprotocols=["chat"]),
        site.connect(subprotocols=["other", "chat"], compression=compression) as ws,
    ):
        assert ws.subprotocol == "chat"
        agreed = ws.response_headers.get("Sec-WebSocket-Extensions", "")
        assert agreed.startswith("permessage-deflate") is (compression is not None)
        for message in messages:
            ws.send(message)
        assert [ws.recv(LONG) for _ in messages] == messages
        assert ws.ping().wait(LONG)


@both
def test_plain_http_goes_the_same_way(
    backend: str, site_of: Callable[[str, str], Site]
) -> None:
    site = site_of(backend, "tcp")
    with site.serving(echo), site.peer() as peer:
        peer.write(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Length: 5\r\n\r\nhello"
        )
        head, _, body = peer.read_to_end().partition(b"\r\n\r\n")
    if backend == "pywsgi":
        assert head.startswith(b"HTTP/1.1 200 ")
        assert body == b"hello"
    else:
        assert head.startswith(b"HTTP/1.1 405 ")


# The end


def test_close_codes(site: Site) -> None:
    def say_goodbye(ws: ServerConnection) -> None:
        ws.close(4001, "bye")

    with site.serving(say_goodbye), site.connect() as ws:
        assert end_of(ws) == (4001, "bye")
    watched = Watched()
    with site.serving(watched), site.connect() as ws:
        ws.close(4002, "enough")
        assert watched.end() == (4002, "enough")
    with site.serving(echo, max_size=10), site.connect() as ws:
        ws.send("x" * 11)
        assert end_of(ws)[0] == 1009


def test_the_server_shuts_down(site_of: Callable[[str, str], Site]) -> None:
    site = site_of("serve", "tcp")
    with site.serving(echo):
        ws = site.connect().open()
    assert end_of(ws) == (1001, "")


@both
def test_the_client_vanishes(backend: str, site_of: Callable[[str, str], Site]) -> None:
    site, watched = site_of(backend, "tcp"), Watched()
    with site.serving(watched):
        with site.peer() as peer:
            peer.ask(request())
        assert watched.end() == (1006, "")


@both
def test_nginx_stops(
    backend: str, tls_files: Path, client_context: ssl.SSLContext
) -> None:
    watched = Watched()
    with running_nginx(tls_files) as nginx:
        site = Site(nginx, backend, "tcp", client_context)
        with site.serving(watched):
            ws = site.connect().open()
            nginx.stop()
            assert watched.end() == (1006, "")
            assert end_of(ws) == (1006, "")


@pytest.mark.once
@both
def test_pings_keep_it_open(backend: str, site_of: Callable[[str, str], Site]) -> None:
    """Without them, nginx closes after the two seconds that it is told to wait."""
    site, watched = site_of(backend, "impatient"), Watched()
    router = Router()
    router.route("/pings", ping_interval=0.3)(echo)
    router.route("/quiet", ping_interval=None)(watched)
    with (
        site.serving(router),
        site.connect("/pings", ping_interval=None) as kept,
        site.connect("/quiet", ping_interval=None) as left,
    ):
        assert end_of(left) == (1006, "")
        assert watched.end() == (1006, "")
        kept.send("still there")
        assert kept.recv(LONG) == "still there"


# Who it is


def test_the_address_is_the_client_s(site: Site) -> None:
    with (
        site.serving(tell_address, trusted_proxies=[site.proxy]),
        site.connect(additional_headers=FORGED) as ws,
    ):
        assert ws.recv(LONG) == repr((CLIENT, 0))


def test_nobody_is_trusted_by_default(site: Site) -> None:
    with site.serving(tell_address), site.connect(additional_headers=FORGED) as ws:
        told = "''" if site.door == "unix" else "('127.0.0.1', "
        assert str(ws.recv(LONG)).startswith(told)


@both
def test_the_header_of_rfc_7239(
    backend: str, site_of: Callable[[str, str], Site]
) -> None:
    site = site_of(backend, "forwarded")
    options = {"trusted_proxies": ["127.0.0.1"], "proxy_header": "Forwarded"}
    with (
        site.serving(tell_address, **options),
        site.connect(additional_headers=FORGED) as ws,
    ):
        assert ws.recv(LONG) == repr((CLIENT, 0))


# Refusals


def test_pages_of_the_same_origin(site: Site) -> None:
    scheme = "https" if site.door == "tls" else "http"
    host = site.nginx.host(site.door)
    with site.serving(echo):
        with site.connect(origin=f"{scheme}://{host}") as ws:
            ws.send("hello")
            assert ws.recv(LONG) == "hello"
        for origin in (f"{scheme}://127.0.0.1", f"{scheme}://evil.example", "null"):
            with pytest.raises(InvalidStatus) as caught:
                site.connect(origin=origin).open()
            response = caught.value.response
            assert response.status_code == 403
            assert b"origin" in response.body.lower()


def test_refusals_come_through(site: Site) -> None:
    def refuse(ws: ServerConnection, request: Any) -> Any:
        return 403, {"X-Why": "because"}, b"no\n"

    with site.serving(echo, process_request=refuse):
        with pytest.raises(InvalidStatus) as caught:
            site.connect().open()
        response = caught.value.response
        assert response.status_code == 403
        assert response.headers["X-Why"] == "because"
        assert response.body == b"no\n"
