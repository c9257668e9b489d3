"""Behind HAProxy: `serve`, set up as docs/howto/haproxy.md says.

The blocks of that page go into haproxy.conf, the template in this folder; only the
addresses are others. Clients connect from 127.0.0.2, to be told from HAProxy.
"""

from __future__ import annotations

import os
import shutil
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any

import gevent
import pytest
from gevent import subprocess
from gevent.queue import Queue

import gws.health
from gws import Server, ServerConnection, connect, serve
from gws.exceptions import InvalidMessage
from gws.health import Endpoint
from gws.server.listener import listen_tcp

from ..docs.pages import blocks


#: The seconds within which whatever a test waits for must have come.
LONG = 10

#: Debian has it where only root looks.
HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = [
    pytest.mark.usefixtures("leakcheck"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs more of 127.0.0.0/8"),
    pytest.mark.skipif(
        HAPROXY is None and os.environ.get("CI") != "true", reason="needs haproxy"
    ),
]

TEMPLATE = Path(__file__).with_name("haproxy.conf")

#: Where clients connect from.
CLIENT = "127.0.0.2"

#: What a client writes that wants to be somebody else.
FORGED = {"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6"}

#: What HAProxy sends in front of a connection that it passes on.
PROXY_LINES = {
    "v1": "send-proxy",
    "v2": "send-proxy-v2",
    "crc": "send-proxy-v2 proxy-v2-options crc32c,unique-id,ssl",
}

#: What HAProxy listens for: what it sends, and who ends TLS, if somebody does.
TCP_DOORS = [(line, tls) for line in PROXY_LINES for tls in ("none", "gws", "haproxy")]


# HAProxy


class ConfTemplate(Template):
    """HAProxy has the dollar for variables of its own."""

    delimiter = "@"


class HAProxy:
    """An HAProxy that runs, and where it looks for the server of gws."""

    def __init__(self, folder: Path, certificate: Path) -> None:
        assert HAPROXY is not None, "haproxy is not installed"
        self._certificate = certificate
        #: Where a server listens; these keep the ports for all tests.
        self.listeners = {
            name: listen_tcp("127.0.0.1", 0)[0]
            for name in ("server", "checked", "apart", "probes")
        }
        # HAProxy gets its listening sockets: so nobody waits for it to start, and
        # nobody else has the ports.
        self._doors: dict[str, Any] = {}
        sections = "\n".join(self._sections())
        text = ConfTemplate(TEMPLATE.read_text()).substitute(sections=sections)
        conf = folder / "haproxy.conf"
        conf.write_text(text)
        #: The ports of HAProxy, by the names of the doors.
        self.ports = {name: door.getsockname()[1] for name, door in self._doors.items()}
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [HAPROXY, "-db", "-f", conf],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[door.fileno() for door in self._doors.values()],
            )
        for door in self._doors.values():
            door.close()

    def end(self) -> None:
        """End it; complain if it had ended by itself."""
        died = self._process.poll()
        self._process.terminate()
        with gevent.Timeout(LONG):
            self._process.wait()
        for listener in self.listeners.values():
            listener.close()
        assert died is None, self._log.read_text()

    def _sections(self) -> Iterator[str]:
        """Yield what the page says, once for each door."""
        http, tcp, check = blocks("docs/howto/haproxy.md", "haproxy")
        for line, tls in TCP_DOORS:
            text = replaced(tcp, "send-proxy-v2", PROXY_LINES[line])
            yield self._section(f"{line}-{tls}", text, tls == "haproxy")
        for line in PROXY_LINES:
            text = replaced(tcp, "send-proxy-v2", PROXY_LINES[line])
            yield self._section(f"{line}-ipv6", text, host="::1")
        yield self._section("http", http)
        head, _, _ = tcp.partition("    server ")
        checked = replaced(check, " port 9100", "")
        yield self._section("checked", head + checked, server="checked")
        port = self.listeners["probes"].getsockname()[1]
        apart = replaced(check, " port 9100", f" port {port}")
        yield self._section("apart", head + apart, server="apart")

    def _section(
        self,
        name: str,
        text: str,
        ends_tls: bool = False,
        host: str = "127.0.0.1",
        server: str = "server",
    ) -> str:
        self._doors[name] = door = listen_tcp(host, 0)[0]
        port = self.listeners[server].getsockname()[1]
        text = replaced(text, "listen chat", f"listen {name}")
        text = replaced(text, "127.0.0.1:8765", f"127.0.0.1:{port}")
        if ends_tls:
            text = replaced(text, ":8443", f":8443 ssl crt {self._certificate}")
        else:
            text = text.replace("/etc/haproxy/chat.pem", str(self._certificate))
        return replaced(text, ":8443", f"fd@{door.fileno()}")


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


@pytest.fixture(scope="module")
def haproxy(
    warm_hub: Any, tls_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HAProxy]:
    folder = tmp_path_factory.mktemp("haproxy")
    haproxy = HAProxy(folder, tls_files / "server.pem")
    yield haproxy
    haproxy.end()


# Servers behind it, and clients


def tell_address(ws: ServerConnection) -> None:
    """Say who it is, then echo."""
    ws.send(repr(ws.remote_address))
    for message in ws:
        ws.send(message)


@contextmanager
def serving(haproxy: HAProxy, name: str = "server", **options: Any) -> Iterator[Server]:
    options = {"trusted_proxies": ["127.0.0.1"], **options}
    with serve(tell_address, sock=haproxy.listeners[name].dup(), **options) as server:
        yield server


def check_session(ws: Any, address: Any) -> None:
    assert ws.recv(LONG) == repr(address)
    for message in ("hello", b"\x00\xff", "ä" * 2**18):
        ws.send(message)
        assert ws.recv(LONG) == message


@pytest.mark.parametrize(("line", "tls"), TCP_DOORS)
def test_proxy_protocol(
    line: str,
    tls: str,
    haproxy: HAProxy,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    port = haproxy.ports[f"{line}-{tls}"]
    uri = f"{'ws' if tls == 'none' else 'wss'}://127.0.0.1:{port}/"
    with (
        serving(
            haproxy, proxy_protocol=True, ssl=server_context if tls == "gws" else None
        ),
        connect(
            uri,
            ssl=None if tls == "none" else client_context,
            source_address=(CLIENT, 0),
            additional_headers=FORGED,
            proxy=None,
        ) as ws,
    ):
        check_session(ws, (CLIENT, ws.local_address[1]))


@pytest.mark.parametrize("line", PROXY_LINES)
def test_ipv6(line: str, haproxy: HAProxy) -> None:
    uri = f"ws://[::1]:{haproxy.ports[f'{line}-ipv6']}/"
    with (
        serving(haproxy, proxy_protocol=True),
        connect(uri, proxy=None) as ws,
    ):
        check_session(ws, ("::1", ws.local_address[1]))


def test_x_forwarded_for(haproxy: HAProxy, client_context: ssl.SSLContext) -> None:
    with (
        serving(haproxy),
        connect(
            f"wss://127.0.0.1:{haproxy.ports['http']}/",
            ssl=client_context,
            source_address=(CLIENT, 0),
            additional_headers=FORGED,
            proxy=None,
        ) as ws,
    ):
        check_session(ws, (CLIENT, 0))


def test_a_direct_client_has_no_header(haproxy: HAProxy) -> None:
    """Who comes past HAProxy is dropped, even from where HAProxy is."""
    port = haproxy.listeners["server"].getsockname()[1]
    with (
        serving(haproxy, proxy_protocol=True),
        pytest.raises((InvalidMessage, OSError)),
    ):
        connect(f"ws://127.0.0.1:{port}/", proxy=None).open()


def test_health_checks(haproxy: HAProxy) -> None:
    """They come from HAProxy itself, and while they succeed it passes clients on."""
    checks: Queue[Any] = Queue()

    def process_request(ws: ServerConnection, request: Any) -> Any:
        answer = gws.health.process_request(ws, request)
        if answer is not None:
            checks.put(ws.remote_address)
        return answer

    with serving(
        haproxy, "checked", proxy_protocol=True, process_request=process_request
    ):
        for _ in range(5):
            host, port = checks.get(timeout=LONG)
            assert host == "127.0.0.1" and port > 0
        check_passed_on(haproxy.ports["checked"])


def test_health_checks_on_another_port(haproxy: HAProxy) -> None:
    checks: Queue[str] = Queue()

    class Watched(Endpoint):
        """Tells what it is asked for."""

        def application(self, environ: Any, start_response: Any) -> Any:
            checks.put(environ["PATH_INFO"])
            return super().application(environ, start_response)

    probes = haproxy.listeners["probes"].dup()
    with (
        serving(haproxy, "apart", proxy_protocol=True) as server,
        Watched([server], sockets=[probes]),
    ):
        for _ in range(5):
            assert checks.get(timeout=LONG) == "/readyz"
        check_passed_on(haproxy.ports["apart"])


def check_passed_on(port: int) -> None:
    with connect(
        f"ws://127.0.0.1:{port}/", source_address=(CLIENT, 0), proxy=None
    ) as ws:
        check_session(ws, (CLIENT, ws.local_address[1]))
