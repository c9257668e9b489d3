"""C01, C03, C05, C06: where redirects, names, failures and proxies lead a client."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from gws import ConnectionClosed, InvalidStatus, connect, serve
from gws.exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidProxyMessage,
    InvalidProxyStatus,
    ProxyError,
    SecurityError,
)
from gws.testing import RawPeer
from gws.testing.octets import header, headers, switching_protocols

from ..wire import RawServer, port_of, raw_server
from .conftest import LONG, Sites


SECRETS = {
    "Authorization": "Bearer x",
    "Cookie": "a=b",
    "Proxy-Authorization": "c",
}


def to(location: str) -> bytes:
    return (
        f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


@pytest.fixture
def attacked(sites: Sites) -> Iterator[None]:
    """A neighbour, and what is checked of all."""
    with sites("client"):
        yield


def leads(location: Callable[[], str], heads: list[str]) -> Callable[[RawPeer], None]:
    def play(peer: RawPeer) -> None:
        heads.append(peer.read_head())
        peer.write(to(location()))

    return play


def welcomes(heads: list[str]) -> Callable[[RawPeer], None]:
    def play(peer: RawPeer) -> None:
        heads.append(peer.read_head())
        peer.write(switching_protocols(header(heads[-1], "Sec-WebSocket-Key")))
        peer.receive_close()
        peer.send_close(1000)

    return play


# C01


@pytest.mark.parametrize("names", [("localhost", "127.0.0.1"), ("localhost",) * 2])
def test_c01_another_origin_gets_no_secrets(
    attacked: None, names: tuple[str, str]
) -> None:
    # Another host; and the same, but another port. And none when it leads back.
    heads: list[str] = []
    with (
        raw_server(welcomes(heads)) as last,
        raw_server(leads(lambda: f"ws://{names[1]}:{last.port}/c", heads)) as second,
    ):
        uri = f"ws://{names[0]}:{second.port}/"
        with connect(uri, additional_headers=SECRETS, auth=None) as ws:
            assert ws.open
    assert all(headers(heads[0], name) == [v] for name, v in SECRETS.items())
    assert all(headers(heads[1], name) == [] for name in SECRETS)


#: Where no redirect may lead, from ws://; {} is the port.
BAD_LOCATIONS = {
    "file:///etc/passwd": InvalidHeader,
    "unix:///run/docker.sock": InvalidHeader,
    "gopher://localhost:{}/": InvalidHeader,
    "ws+unix:///run/docker.sock:/": InvalidHeader,
    "ws://user:pass@localhost:{}/": SecurityError,
    "ws://localhost:{}/a\tb": InvalidHeader,
    "ws://localhost:99999/": InvalidHeader,
    "ws://[::1/": InvalidHeader,
    "ws://local host:{}/": InvalidHeader,
    "ws://localhost:{}/ HTTP/1.1": InvalidHeader,
}


@pytest.mark.parametrize("location", BAD_LOCATIONS)
def test_c01_bad_locations(attacked: None, location: str) -> None:
    heads: list[str] = []
    servers: list[RawServer] = []
    play = leads(lambda: location.replace("{}", str(servers[0].port)), heads)
    with raw_server(play) as server:
        servers.append(server)
        with pytest.raises(BAD_LOCATIONS[location]):
            connect(server.uri).open()
        assert server.n_accepted == 1


def test_c01_from_wss_to_ws(
    attacked: None, tls_files: Path, client_context: ssl.SSLContext
) -> None:
    heads: list[str] = []
    locations: list[str] = []
    with (
        raw_server(welcomes(heads)) as plain,
        raw_server(leads(locations.pop, heads), tls=tls_files) as server,
    ):
        locations += [plain.uri, plain.uri.replace("ws:", "http:")]
        for _ in range(2):
            with pytest.raises(SecurityError, match="from wss to ws"):
                connect(server.uri, ssl=client_context).open()
        assert plain.n_accepted == 0


def test_c01_redirects_for_ever(attacked: None) -> None:
    heads: list[str] = []
    with (
        raw_server(leads(lambda: f"/{len(heads)}", heads)) as server,
        pytest.raises(SecurityError, match="10 redirects"),
    ):
        connect(server.uri).open()
    assert len(heads) == 11


# C03


def test_c03_certificates(
    attacked: None, tmp_path: Path, tls_files: Path, client_context: ssl.SSLContext
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trusting = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    past = datetime(2020, 1, 1, tzinfo=UTC)
    for certificate, reason, options in (
        (authority.issue_cert("example.com"), "Hostname mismatch", {"ssl": trusting}),
        (authority.issue_cert("*.localhost"), "Hostname mismatch", {"ssl": trusting}),
        (authority.issue_cert("127.0.0.1"), "Hostname mismatch", {"ssl": trusting}),
        (
            authority.issue_cert("localhost", not_after=past),
            "expired",
            {"ssl": trusting},
        ),
        (trustme.CA().issue_cert("localhost"), "local issuer", {"ssl": trusting}),
        # By default, whom the system trusts.
        (authority.issue_cert("localhost"), "local issuer", {}),
    ):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(context)
        # A client that breaks off is no error of the server's.
        with (
            serve(lambda ws: None, "127.0.0.1", 0, ssl=context) as server,
            pytest.raises(ssl.SSLCertVerificationError, match=reason),
        ):
            connect(f"wss://localhost:{port_of(server)}/", **options).open()


def test_c03_a_name_is_always_sent_and_checked(
    attacked: None, tls_files: Path, client_context: ssl.SSLContext
) -> None:
    names: list[str | None] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls_files / "server.pem")
    context.sni_callback = lambda sock, name, context: names.append(name)
    with serve(lambda ws: None, "127.0.0.1", 0, ssl=context) as server:
        # A server that wants SNI and gets the address of another machine, not a name.
        address = ("127.0.0.1", port_of(server))
        with pytest.raises(ssl.SSLCertVerificationError):
            connect("wss://example.com/", ssl=client_context, address=address).open()
        with connect("wss://localhost/", ssl=client_context, address=address) as ws:
            assert ws.open
    assert names == ["example.com", "localhost"]


# C05


class Delays:
    """Delays of no time; counts the attempts of each series."""

    def __init__(self, most: int = 1000) -> None:
        self.used: list[int] = []
        self._most = most

    def __call__(self) -> Iterator[float]:
        self.used.append(0)
        for _ in range(self._most):
            self.used[-1] += 1
            yield 0.0


def hang_up(peer: RawPeer) -> None:
    pass


def cut_off(peer: RawPeer) -> None:
    peer.read_head()
    peer.write(b"HTTP/1.1 101 Swit")


def reset(peer: RawPeer) -> None:
    peer.read_head()
    peer.reset()


def refuses(status: int, wait: str) -> Callable[[RawPeer], None]:
    head = f"HTTP/1.1 {status} X\r\nRetry-After: {wait}\r\nContent-Length: 0\r\n\r\n"

    def play(peer: RawPeer) -> None:
        peer.read_head()
        peer.write(head.encode("latin-1"))

    return play


def flap(peer: RawPeer) -> None:
    peer.accept()


def test_c05_hundreds_of_failures(attacked: None) -> None:
    # No recursion, no thread, no greenlet for each; and then it is there.
    plays = [hang_up, cut_off, reset, refuses(503, "0")] * 60
    delays, threads, heads = Delays(), threading.active_count(), []
    plays.append(welcomes(heads))
    left = iter(plays)
    with raw_server(lambda peer: next(left)(peer)) as server:
        for ws in connect(server.uri, reconnect_delays=delays):
            assert ws.open
            break
    assert delays.used == [240]
    assert threading.active_count() <= threads


def test_c05_flapping_is_delayed_too(attacked: None) -> None:
    # It opens each time: that alone is no reason to try again at once.
    delays, n = Delays(), 0
    with raw_server(flap) as server:
        for ws in connect(server.uri, reconnect_delays=delays):
            with pytest.raises(ConnectionClosed):
                ws.recv(timeout=LONG)
            n += 1
            if n == 50:
                break
    assert delays.used == [48]  # one series; the first time it may have restarted


@pytest.mark.parametrize("status", [400, 401, 403, 404, 426])
def test_c05_no_means_no(attacked: None, status: int) -> None:
    play = refuses(status, "0")
    with raw_server(play) as server:
        with pytest.raises(InvalidStatus) as info:
            next(iter(connect(server.uri, reconnect_delays=Delays())))
        assert (info.value.status_code, server.n_accepted) == (status, 1)


def test_c05_a_wait_that_nobody_asks_for_in_earnest(attacked: None) -> None:
    # Years, and what is no number, hold nobody up for longer than 90 s; here not even
    # once: the delays are at their end.
    for value in ("9" * 4000, "-1", "1e9", "Fri, 31 Dec 9999 23:59:59 GMT", "\xff"):
        with (
            raw_server(refuses(503, value)) as server,
            pytest.raises(InvalidStatus),
        ):
            next(iter(connect(server.uri, reconnect_delays=lambda: iter(()))))


# C06: a proxy that is no friend; real ones are in tests/client/test_proxy.py


#: What a proxy may answer, and what is raised.
PROXY_ANSWERS: dict[str, tuple[bytes, type[Exception]]] = {
    "nothing": (b"", ProxyError),
    "half a head": (b"HTTP/1.1 200 O", ProxyError),
    "407": (
        b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
        InvalidProxyStatus,
    ),
    # It is not the server: its redirect leads nowhere, its 101 is no connection.
    "a redirect": (to("ws://localhost:1/"), InvalidProxyStatus),
    "101": (switching_protocols("x"), InvalidProxyStatus),
    # As if the server had said it.
    "more in one packet": (
        b"HTTP/1.1 200 OK\r\n\r\n" + switching_protocols("x"),
        InvalidProxyMessage,
    ),
    "a header of 100 kB": (
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
        InvalidProxyMessage,
    ),
    "SOCKS": (b"\x05\x00", ProxyError),
    "a body without end": (
        b"HTTP/1.1 502 X\r\n\r\n" + bytes(4 * 2**20),
        InvalidHandshake,
    ),
}


@pytest.mark.parametrize("answer", PROXY_ANSWERS)
def test_c06_a_proxy_that_lies(attacked: None, answer: str) -> None:
    octets, error = PROXY_ANSWERS[answer]
    heads: list[str] = []

    def play(peer: RawPeer) -> None:
        heads.append(peer.read_head())
        try:
            peer.write(octets)
            peer.half_close()
            peer.read_to_end()
        except OSError:
            pass  # it has heard enough

    secrets = {**SECRETS, "Cookie": "only for the server"}
    secrets.pop("Proxy-Authorization")
    with raw_server(play) as server, pytest.raises(error):
        connect(
            "ws://example.com/secret?token=x",
            proxy=f"http://localhost:{server.port}",
            additional_headers=secrets,
        ).open()
    # It learns where to, and nothing else.
    (head,) = heads
    assert head.startswith("CONNECT example.com:80 HTTP/1.1\r\n")
    assert not any(word in head for word in ("secret", "token", "Cookie", "Bearer"))


#: And a SOCKS5 proxy.
SOCKS_ANSWERS = [
    b"",
    b"\x05",
    b"\x04\x00",
    b"\x05\xff",
    b"\x05\x00\x05\x01\x00\x01" + bytes(6),
    b"\x05\x00\x05\x00\x00\x09" + bytes(6),
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
]


@pytest.mark.parametrize("answer", SOCKS_ANSWERS)
def test_c06_a_socks_proxy_that_lies(attacked: None, answer: bytes) -> None:
    def play(peer: RawPeer) -> None:
        peer.write(answer)
        peer.half_close()
        peer.read_to_end()

    with raw_server(play) as server, pytest.raises((ProxyError, OSError)):
        connect("ws://example.com/", proxy=f"socks5h://localhost:{server.port}").open()
