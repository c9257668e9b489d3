"""`connect` follows redirects, and takes no secrets to where they are not for."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from gws import InvalidStatus, connect, serve, unix_connect, unix_serve
from gws.exceptions import InvalidHandshake, InvalidHeader, SecurityError

from ..wire import (
    RawPeer,
    RawServer,
    header,
    headers,
    port_of,
    raw_server,
    switching_protocols,
)


pytestmark = pytest.mark.usefixtures("leakcheck")

SECRETS = {"Authorization": "Bearer x", "Cookie": "a=b", "Proxy-Authorization": "c"}


def to(location: str, status: int = 302) -> bytes:
    return (
        f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


class Log:
    """Redirects by path; notes all requests."""

    def __init__(self, **locations: str) -> None:
        self.locations = locations
        self.heads: list[str] = []

    def __call__(self, peer: RawPeer) -> None:
        head = peer.read_head()
        self.heads.append(head)
        location = self.locations.get(self.paths[-1][1:])
        if location is not None:
            peer.write(to(location))
            return
        accept(peer, head)
        assert peer.receive_close() == (1000, "")
        peer.send_close(1000)

    @property
    def paths(self) -> list[str]:
        return [head.split()[1] for head in self.heads]


def accept(peer: RawPeer, head: str) -> None:
    peer.write(switching_protocols(header(head, "Sec-WebSocket-Key")))


def visit(uri: str, **options: Any) -> None:
    with connect(uri, **options) as ws:
        assert ws.open


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_statuses(status: int) -> None:
    plays: list[Callable[[RawPeer], Any]] = []

    def finish(peer: RawPeer) -> None:
        accept(peer, peer.read_head())
        peer.receive_close()

    def refer(peer: RawPeer) -> None:
        peer.read_head()
        peer.write(to("/there?x", status))

    plays += [refer, finish]
    with (
        raw_server(lambda peer: plays.pop(0)(peer)) as server,
        connect(server.uri) as ws,
    ):
        assert ws.path == "/there?x"


@pytest.mark.parametrize("status", [200, 304, 401, 404])
def test_other_statuses(status: int) -> None:
    def refer(peer: RawPeer) -> None:
        peer.read_head()
        peer.write(to("/there", status))

    with raw_server(refer) as server:
        with pytest.raises(InvalidStatus):
            connect(server.uri).open()
        assert server.n_accepted == 1


def test_a_redirect_without_location() -> None:
    def refer(peer: RawPeer) -> None:
        peer.read_head()
        peer.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")

    with raw_server(refer) as server, pytest.raises(InvalidStatus, match="302"):
        connect(server.uri).open()


def test_the_same_origin_gets_everything() -> None:
    log = Log(a="b", b="/c?d", **{"c?d": "./e"})
    with raw_server(log) as server:
        log.locations["e"] = server.uri.replace("ws", "http") + "f"
        visit(
            server.uri.replace("//", "//user:pass@") + "a",
            additional_headers={"Cookie": "a=b", "X": "y", "Host": "mine"},
            subprotocols=["p"],
        )
    assert log.paths == ["/a", "/b", "/c?d", "/e", "/f"]
    basic = "Basic " + base64.b64encode(b"user:pass").decode()
    for head in log.heads:
        assert header(head, "Authorization") == basic
        assert header(head, "Cookie") == "a=b"
        assert header(head, "X") == "y"
        assert header(head, "Host") == "mine"
        assert header(head, "Sec-WebSocket-Protocol") == "p"


@pytest.mark.parametrize("options", ["headers", "user info", "auth"])
def test_another_origin_gets_no_secrets(options: str) -> None:
    one, other = Log(), Log()
    with raw_server(one) as first, raw_server(other) as second:
        one.locations["a"] = second.uri + "b"
        uri = first.uri + "a"
        if options == "headers":
            names = {name.upper(): value for name, value in SECRETS.items()}
            visit(uri, additional_headers={**names, "X": "y", "Host": "mine"})
        elif options == "auth":
            visit(uri, auth=("user", "pass"), additional_headers={"X": "y"})
        else:
            uri = uri.replace("//", "//user:pass@")
            visit(uri, additional_headers={"X": "y"})
        assert len(headers(one.heads[0], "Authorization")) == 1
        (head,) = other.heads
        for name in SECRETS:
            assert headers(head, name) == []
        assert header(head, "Host") == f"localhost:{second.port}"
        assert header(head, "X") == "y"


def test_back_from_another_origin() -> None:
    """What is gone is gone: the other one may have chosen where it goes."""
    one, other = Log(), Log()
    with raw_server(one) as first, raw_server(other) as second:
        one.locations["a"] = second.uri + "b"
        other.locations["b"] = first.uri + "c"
        recipe = connect(first.uri + "a", additional_headers=SECRETS)
        for _ in range(2):  # and each time begins anew
            with recipe:
                pass
    assert one.paths == ["/a", "/c"] * 2
    for n, head in enumerate(one.heads):
        assert len(headers(head, "Cookie")) == (n + 1) % 2


@pytest.mark.parametrize("n", [10, 11, 50])
def test_how_many(n: int) -> None:
    log = Log(**{str(i): str(i + 1) for i in range(n)})
    with raw_server(log) as server:
        if n <= 10:
            visit(server.uri + "0")
        else:
            with pytest.raises(SecurityError, match="more than 10 redirects"):
                connect(server.uri + "0").open()
        assert server.n_accepted == 11


def test_in_a_circle() -> None:
    log = Log(a="b", b="a")
    with raw_server(log) as server, pytest.raises(SecurityError):
        connect(server.uri + "a").open()


@pytest.mark.parametrize(
    "location", ["ftp://h/", "ws://h:99999/", "/a b", "javascript:x", "http:"]
)
def test_bad_locations(location: str) -> None:
    with (
        raw_server(Log(a=location)) as server,
        pytest.raises(InvalidHeader, match="Location") as caught,
    ):
        connect(server.uri + "a").open()
    assert isinstance(caught.value.__cause__, InvalidStatus)


def test_from_tls_to_plain(tls_files: Path, client_context: ssl.SSLContext) -> None:
    with raw_server(Log()) as plain:
        for scheme in ("ws", "http"):
            location = f"{scheme}://localhost:{plain.port}/"
            with (
                raw_server(Log(a=location), tls=tls_files) as server,
                pytest.raises(SecurityError, match="from wss"),
            ):
                connect(server.uri + "a", ssl=client_context).open()
        assert plain.n_accepted == 0


def test_between_tls_servers(tls_files: Path, client_context: ssl.SSLContext) -> None:
    one, other = Log(), Log()
    with (
        raw_server(one, tls=tls_files) as first,
        raw_server(other, tls=tls_files) as second,
    ):
        one.locations["a"] = second.uri.replace("wss", "https") + "b"
        visit(first.uri + "a", ssl=client_context)
        # The certificate of another server must have that one's name.
        uri = first.uri.replace("localhost", "127.0.0.1") + "a"
        visit(uri, ssl=client_context, server_hostname="localhost")


def test_the_server_hostname_is_of_one_origin(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    def redirect(ws: Any, request: Any) -> Any:
        # The same address, but a name that is not in the certificate.
        return 302, {"Location": f"wss://127.1:{port_of(server)}/"}, b""

    with serve(
        lambda ws: None,
        "127.0.0.1",
        0,
        ssl=server_context,
        process_request=redirect,
    ) as server:
        uri = f"wss://127.0.0.1:{port_of(server)}/"
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(uri, ssl=client_context, server_hostname="localhost").open()


def test_from_plain_to_tls(server_context: ssl.SSLContext) -> None:
    log = Log()
    with (
        serve(lambda ws: None, "127.0.0.1", 0, ssl=server_context) as secure,
        raw_server(log) as server,
    ):
        log.locations["a"] = f"wss://localhost:{port_of(secure)}/"
        # As strict as always: nobody knows the authority of the test.
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(server.uri + "a").open()


def own_way(server: RawServer, way: str) -> dict[str, Any]:
    return {
        "host": {"host": "127.0.0.1"},
        "port": {"port": server.port},
        "address": {"address": ("127.0.0.1", server.port)},
    }[way]


@pytest.mark.parametrize("way", ["host", "port", "address"])
def test_another_origin_is_not_on_the_way_given(way: str) -> None:
    log = Log(a="/b", c="ws://example.com/")
    with raw_server(log) as server:
        options = own_way(server, way)
        visit(f"ws://localhost:{server.port}/a", **options)
        with pytest.raises(SecurityError, match="another origin"):
            connect(f"ws://localhost:{server.port}/c", **options).open()
    assert log.paths == ["/a", "/b", "/c"]


def test_a_unix_socket(unix_path: str) -> None:
    def redirect(ws: Any, request: Any) -> Any:
        locations = {"/a": "/b", "/c": "ws://example.com/"}
        location = locations.get(request.path)
        return location and (302, {"Location": location}, b"")

    with unix_serve(lambda ws: None, unix_path, process_request=redirect):
        with unix_connect(unix_path, "ws://localhost/a") as ws:
            assert ws.path == "/b"
        with pytest.raises(SecurityError, match="another origin"):
            unix_connect(unix_path, "ws://localhost/c").open()


def test_a_connected_socket() -> None:
    with raw_server(Log(a="/b")) as server:
        sock = socket.create_connection(("127.0.0.1", server.port))
        with pytest.raises(InvalidHandshake, match="no other socket"):
            connect("ws://localhost/a", sock=sock).open()
        assert server.n_accepted == 1


def test_one_deadline() -> None:
    log = Log(a="b")
    over = Event()

    def play(peer: RawPeer) -> None:
        if log.heads:
            over.wait()
        log(peer)

    with raw_server(play) as server:
        with pytest.raises(TimeoutError):
            connect(server.uri + "a", open_timeout=0.1).open()
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
            connect(server.uri + "a").open()
        over.set()


# Subclasses decide


def test_none_is_followed() -> None:
    class cautious(connect):
        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    with raw_server(Log(a="b")) as server:
        with pytest.raises(InvalidStatus, match="302"):
            cautious(server.uri + "a").open()
        assert server.n_accepted == 1


def test_another_way_is_followed() -> None:
    seen: list[str] = []
    log = Log(a="b", b="c", c="d")

    class choosy(connect):
        def process_redirect(self, exc: Exception) -> Exception | str:
            target = super().process_redirect(exc)
            seen.append(self.uri.path)
            if isinstance(target, str) and target.endswith("/d"):
                return LookupError("not there")
            return target

    with raw_server(log) as server:
        with pytest.raises(LookupError) as caught:
            choosy(server.uri + "a").open()
        assert isinstance(caught.value.__cause__, InvalidStatus)
        assert seen == ["/a", "/b", "/c"]
        del log.locations["c"]
        log.locations["b"] = "ws://elsewhere.invalid/"
        with choosy(server.uri + "c") as ws:
            assert ws.path == "/c"


def test_other_credentials_are_given() -> None:
    class known(connect):
        def process_redirect(self, exc: Exception) -> Exception | str:
            target = super().process_redirect(exc)
            return str(target).replace("//", "//ann:secret@")

    log = Log(a="b")
    with raw_server(log) as server, known(server.uri + "a") as ws:
        assert ws.path == "/b"
    basic = "Basic " + base64.b64encode(b"ann:secret").decode()
    assert [headers(head, "Authorization") for head in log.heads] == [[], [basic]]
