"""`get_proxy` and `open_tunnel`: through proxies of another package, and by hand."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import gevent.ssl
import pytest
from gevent import subprocess

from gws import connect, serve
from gws.client.dial import dial
from gws.client.proxy import Proxy, get_proxy, open_tunnel, parse_proxy
from gws.exceptions import (
    InvalidProxy,
    InvalidProxyMessage,
    InvalidProxyStatus,
    ProxyError,
)
from gws.protocol.uri import parse_uri

from ..wire import LONG, RawPeer, echo, port_of, raw_server


pytestmark = pytest.mark.usefixtures("leakcheck")

PEER = Path(__file__).parents[1] / "proxies" / "peer.py"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.lower().endswith("_proxy") or name == "REQUEST_METHOD":
            monkeypatch.delenv(name)


# The URI of a proxy


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("http://proxy:8080", Proxy("http", "proxy", 8080)),
        ("http://proxy:8080/", Proxy("http", "proxy", 8080)),
        ("HTTP://Proxy.Example", Proxy("http", "proxy.example", 80)),
        ("https://proxy", Proxy("https", "proxy", 443)),
        ("http://[::1]:3128", Proxy("http", "::1", 3128)),
        ("http://[::1]", Proxy("http", "::1", 80)),
        ("socks4://proxy", Proxy("socks4", "proxy", 1080)),
        ("socks4a://me@proxy", Proxy("socks4a", "proxy", 1080, "me")),
        ("socks5://proxy:1", Proxy("socks5", "proxy", 1)),
        ("socks5h://a:b@proxy", Proxy("socks5h", "proxy", 1080, "a", "b")),
        ("socks5h://a%3A:b%40@proxy", Proxy("socks5h", "proxy", 1080, "a:", "b@")),
        ("http://a:b@proxy", Proxy("http", "proxy", 80, "a", "b")),
        ("http://a:b:c@proxy", Proxy("http", "proxy", 80, "a", "b:c")),
        ("http://a:b@c@proxy", Proxy("http", "proxy", 80, "a", "b@c")),
        ("http://%C3%A4:%2F%20@proxy", Proxy("http", "proxy", 80, "ä", "/ ")),
        ("http://:@proxy", Proxy("http", "proxy", 80, "", "")),
    ],
)
def test_parse_proxy(uri: str, expected: Proxy) -> None:
    assert parse_proxy(uri) == expected


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "it isn't like http://host:port"),
        ("proxy:8080", "it isn't like http://host:port"),
        ("http:proxy", "it isn't like http://host:port"),
        ("http://proxy/path", "it isn't like http://host:port"),
        ("http://proxy?query", "it isn't like http://host:port"),
        ("http://proxy#fragment", "it isn't like http://host:port"),
        ("ftp://proxy", "scheme isn't one of http, https, socks4, socks4a, socks5, "),
        ("socks://proxy", "scheme isn't one of "),
        ("http://", "host or port isn't valid"),
        ("http://:80", "host or port isn't valid"),
        ("http://proxy:0", "host or port isn't valid"),
        ("http://proxy:65536", "host or port isn't valid"),
        ("http://proxy:x", "host or port isn't valid"),
        ("http://[::1", "host or port isn't valid"),
        ("http://[fe80::1%eth0]", "host or port isn't valid"),
        ("http://pro xy", "it contains a character that must be percent-encoded"),
        ("http://proxy\r\n", "it contains a character that must be percent-encoded"),
        ("http://pröxy", "it contains a character that must be percent-encoded"),
        ("http://user@proxy", "username provided without password"),
        ("socks5://user@proxy", "username provided without password"),
        ("http://a%3Ab:c@proxy", "username contains a colon"),
        ("http://a:%FF@proxy", "user information isn't UTF-8"),
        ("http://a%0D%0Ab:c@proxy", "user information contains a control character"),
        ("http://a:b%00@proxy", "user information contains a control character"),
        ("socks4://a%00@proxy", "user information contains a control character"),
        ("socks4://a:b@proxy", "SOCKS4 has a username but no password"),
        ("socks4://%C3%A4@proxy", "user information isn't ASCII, as it must be for"),
        ("socks5://a:%C3%A4@proxy", "user information isn't ASCII, as it must be for"),
        ("socks5://:b@proxy", "username or password is empty or too long"),
        ("socks5://a:@proxy", "username or password is empty or too long"),
        (f"socks5://a:{'b' * 256}@proxy", "username or password is empty or too long"),
    ],
)
def test_invalid_proxy(uri: str, message: str) -> None:
    with pytest.raises(InvalidProxy) as info:
        parse_proxy(uri)
    assert info.value.msg.startswith(message)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://user:secret@proxy/path", "http://user:***@proxy/path"),
        ("http://user:secret@secret@proxy:0", "http://user:***@proxy:0"),
        ("ftp://user:secret/secret@proxy", "ftp://user:***@proxy"),
        ("user:secret@proxy", "user:***@proxy"),
        ("http://:secret@proxy:0", "http://:***@proxy:0"),
        ("http://user:secret%FF@proxy", "http://user:***@proxy"),
        ("http://user:se\ncret@proxy", "http://user:***@proxy"),
    ],
)
def test_the_password_is_not_shown(uri: str, shown: str) -> None:
    with pytest.raises(InvalidProxy) as info:
        parse_proxy(uri)
    assert info.value.proxy == shown
    assert "secret" not in f"{info.value!r} {info.value} {info.value.__context__!r}"


def test_repr() -> None:
    proxy = parse_proxy("http://user:secret@proxy")
    assert repr(proxy) == (
        "Proxy(scheme='http', host='proxy', port=80, username='user')"
    )
    assert proxy.user_info == ("user", "secret")
    assert parse_proxy("socks4://user@proxy").user_info is None


# Which proxy


WS, WSS = parse_uri("ws://example.com"), parse_uri("wss://example.com")


def test_by_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://environment")
    monkeypatch.setenv("no_proxy", "*")
    assert get_proxy(WS, "http://option") == Proxy("http", "option", 80)
    assert get_proxy(WS, None) is None
    assert get_proxy(WS, False) is None
    assert get_proxy(WS, True) is None
    with pytest.raises(InvalidProxy):
        get_proxy(WS, "")


@pytest.mark.parametrize(
    ("environment", "ws", "wss"),
    [
        ({}, None, None),
        ({"http_proxy": "http://a"}, "a", None),
        ({"https_proxy": "http://a"}, "a", "a"),
        ({"https_proxy": "http://a", "http_proxy": "http://b"}, "a", "a"),
        ({"socks_proxy": "socks5://a", "https_proxy": "http://b"}, "a", "a"),
        ({"ws_proxy": "http://a", "socks_proxy": "socks5://b"}, "a", "b"),
        ({"wss_proxy": "http://a", "https_proxy": "http://b"}, "b", "a"),
        ({"all_proxy": "http://a"}, "a", "a"),
        ({"all_proxy": "http://a", "https_proxy": "http://b"}, "b", "b"),
        ({"HTTPS_PROXY": "http://a"}, "a", "a"),
        ({"HTTPS_PROXY": "http://a", "https_proxy": "http://b"}, "b", "b"),
        ({"https_proxy": "", "all_proxy": "http://b"}, "b", "b"),
        ({"HTTP_PROXY": "http://a", "REQUEST_METHOD": "GET"}, None, None),
        ({"ftp_proxy": "http://a"}, None, None),
    ],
)
def test_by_environment(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    ws: str | None,
    wss: str | None,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for uri, expected in ((WS, ws), (WSS, wss)):
        proxy = get_proxy(uri, True)
        assert (None if proxy is None else proxy.host) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("https_proxy", "proxy:3128", Proxy("http", "proxy", 3128)),
        ("https_proxy", "proxy", Proxy("http", "proxy", 80)),
        ("https_proxy", "a:b@proxy", Proxy("http", "proxy", 80, "a", "b")),
        ("https_proxy", "socks5h://proxy", Proxy("socks5h", "proxy", 1080)),
        ("socks_proxy", "http://proxy:1", Proxy("socks5h", "proxy", 1)),
        ("socks_proxy", "proxy:1", Proxy("socks5h", "proxy", 1)),
        ("socks_proxy", "socks4://proxy", Proxy("socks4", "proxy", 1080)),
        ("all_proxy", "socks://proxy:1/", Proxy("socks5h", "proxy", 1)),
    ],
)
def test_what_the_environment_leaves_out(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: Proxy
) -> None:
    monkeypatch.setenv(name, value)
    assert get_proxy(WS, True) == expected


def test_an_invalid_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "gopher://user:secret@proxy")
    with pytest.raises(InvalidProxy, match=r"gopher://user:\*\*\*@proxy"):
        get_proxy(WS, True)


@pytest.mark.parametrize(
    ("no_proxy", "uri", "excepted"),
    [
        ("*", "ws://example.com", True),
        ("other, *", "ws://example.com", True),
        ("*", "ws://10.0.0.1", True),
        ("example.com", "ws://example.com", True),
        ("EXAMPLE.com", "ws://Example.COM", True),
        ("example.com", "ws://www.example.com", True),
        ("example.com", "ws://myexample.com", False),
        ("example.com", "ws://example.com.evil", False),
        (".example.com", "ws://example.com", True),
        (".example.com", "ws://www.example.com", True),
        ("*.example.com", "ws://www.example.com", True),
        ("example.com.", "ws://www.example.com", True),
        ("example.com", "ws://www.example.com.", True),
        ("www.example.com", "ws://example.com", False),
        ("a b,example.com c", "ws://example.com", True),
        ("a,,b, ", "ws://example.com", False),
        (".", "ws://example.com", False),
        ("example.com:80", "ws://example.com", True),
        ("example.com:80", "wss://example.com", False),
        ("example.com:443", "wss://www.example.com", True),
        ("example.com:99999999", "wss://example.com", False),
        ("localhost", "ws://localhost:8000", True),
        ("10.1.2.3", "ws://10.1.2.3", True),
        ("10.1.2.3:80", "ws://10.1.2.3", True),
        ("10.1.2.3:81", "ws://10.1.2.3", False),
        ("10.0.0.0/8", "ws://10.1.2.3", True),
        ("10.1.2.3/8", "ws://10.9.9.9", True),
        ("10.0.0.0/8", "ws://11.1.2.3", False),
        ("10.0.0.0/8:80", "ws://10.1.2.3", True),
        ("10.0.0.0/99", "ws://10.1.2.3", False),
        ("10.0.0.0/8", "ws://example.com", False),
        ("::1", "ws://[::1]", True),
        ("0:0:0:0:0:0:0:1", "ws://[::1]", True),
        ("[::1]", "ws://[::1]", True),
        ("[::1]:80", "ws://[::1]", True),
        ("[::1]:81", "ws://[::1]", False),
        ("::2", "ws://[::1]", False),
        ("fd00::/8", "ws://[fd12::1]", True),
        ("fd00::/8", "ws://10.0.0.1", False),
        ("0.0.0.0/0", "ws://[::1]", False),
    ],
)
def test_no_proxy(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, uri: str, excepted: bool
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert (get_proxy(parse_uri(uri), True) is None) is excepted


def test_excepted_by_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def proxy_bypass(host: str) -> bool:
        asked.append(host)
        return True

    monkeypatch.setenv("https_proxy", "http://proxy")
    monkeypatch.setattr("urllib.request.proxy_bypass", proxy_bypass)
    assert get_proxy(WSS, True) is None
    assert asked == ["example.com:443"]


# CONNECT, by hand


def tunnel(
    proxy: str, host: str = "example.com", port: int = 443, **options: Any
) -> Any:
    """Open a tunnel; check that the socket is of the kind that a stream wants."""
    settings: dict[str, Any] = {
        "dial": dial,
        "ssl": None,
        "server_hostname": None,
        "user_agent": "gws",
        **options,
    }
    with gevent.Timeout(LONG):
        sock = open_tunnel(parse_proxy(proxy), host, port, **settings)
    assert sock.gettimeout() == 0
    return sock


def answering(*data: bytes) -> Callable[[RawPeer], None]:
    def answer(peer: RawPeer) -> None:
        peer.read_head()
        for piece in data:
            peer.write(piece)
            gevent.sleep(0.001)  # the hub looks for input: pieces are read as such
        if data:
            peer.read_to_end()

    return answer


@pytest.mark.parametrize(
    ("user_info", "options", "host", "expected"),
    [
        ("", {}, "example.com", ["Host: example.com:443", "User-Agent: gws"]),
        ("", {"user_agent": None}, "example.com", ["Host: example.com:443"]),
        ("", {}, "::1", ["Host: [::1]:443", "User-Agent: gws"]),
        (
            "a:b%40@",
            {},
            "example.com",
            [
                "Host: example.com:443",
                "User-Agent: gws",
                "Proxy-Authorization: Basic " + base64.b64encode(b"a:b@").decode(),
            ],
        ),
    ],
)
def test_the_request(
    user_info: str, options: dict[str, Any], host: str, expected: list[str]
) -> None:
    heads = []

    def proxy(peer: RawPeer) -> None:
        heads.append(peer.read_head())
        peer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.write(peer.read(4))

    with raw_server(proxy) as server:
        uri = f"http://{user_info}localhost:{server.port}"
        with tunnel(uri, host, **options) as sock:
            peer = gevent.socket.socket(fileno=sock.detach())
            peer.sendall(b"ping")
            assert peer.recv(4) == b"ping"
            peer.close()
    authority = expected[0].removeprefix("Host: ")
    assert heads[0].split("\r\n") == [f"CONNECT {authority} HTTP/1.1", *expected]


@pytest.mark.parametrize(
    "answer",
    [
        [b"HTTP/1.0 200 Connection established\r\n\r\n"],
        [b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n"],
        [b"HTTP/1.1 204 \r\nTransfer-Encoding: chunked\r\n\r\n"],
        [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"],
        [b"HTTP/1.1 2", b"00 OK\r\nVia: x", b"\r\n\r", b"\n"],
    ],
)
def test_the_proxy_agrees(answer: list[bytes]) -> None:
    with raw_server(answering(*answer)) as server:
        tunnel(f"http://localhost:{server.port}").close()


@pytest.mark.parametrize(
    ("answer", "status_code", "body"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403, b"no"),
        (b"HTTP/1.0 407 Auth\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 407, b""),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 302, b""),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 101, b""),
        # It does not say how long it is, and does not close.
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\nno ro", 502, b"no ro"),
    ],
)
def test_the_proxy_refuses(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, status_code: int, body: bytes
) -> None:
    monkeypatch.setattr("gws.client.tunnel.BODY_TIMEOUT", 0.05)
    with (
        raw_server(answering(answer)) as server,
        pytest.raises(InvalidProxyStatus) as info,
    ):
        tunnel(f"http://localhost:{server.port}")
    assert info.value.status_code == status_code
    assert info.value.response.body == body


def test_a_refusal_in_pieces() -> None:
    answer = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 20\r\n\r\n"
    with (
        raw_server(answering(answer, *[b"no"] * 10)) as server,
        pytest.raises(InvalidProxyStatus) as info,
    ):
        tunnel(f"http://localhost:{server.port}")
    assert info.value.response.body == b"no" * 10


def test_a_refusal_ends_with_the_connection() -> None:
    def proxy(peer: RawPeer) -> None:
        peer.read_head()
        peer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\nno route")

    with raw_server(proxy) as server, pytest.raises(InvalidProxyStatus) as info:
        tunnel(f"http://localhost:{server.port}")
    assert info.value.response.body == b"no route"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "not an HTTP response"),
        (b"\x05\x00", "not an HTTP response"),
        (b"HTTP/2 200\r\n\r\n", "unsupported HTTP version: HTTP/2"),
        (b"HTTP/1.1 200 OK\r\nbad\r\n\r\n", "header line without colon"),
        (b"HTTP/1.1 200 " + b"a" * 8192, "line exceeds 8192 bytes"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 101, "more than 100 headers"),
        (b"HTTP/1.1 403 No\r\nContent-Length: x\r\n\r\n", "invalid Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "goes on after its head"),
    ],
)
def test_junk(answer: bytes, message: str) -> None:
    with (
        raw_server(answering(answer)) as server,
        pytest.raises(InvalidProxyMessage, match=message),
    ):
        tunnel(f"http://localhost:{server.port}")


def test_the_proxy_closes() -> None:
    with (
        raw_server(answering()) as server,
        pytest.raises(ProxyError, match="proxy closed the connection"),
    ):
        tunnel(f"http://localhost:{server.port}")


def test_the_proxy_resets() -> None:
    def proxy(peer: RawPeer) -> None:
        peer.read_head()
        peer.reset()

    with raw_server(proxy) as server, pytest.raises(ConnectionResetError):
        tunnel(f"http://localhost:{server.port}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize("scheme", ["http", "https", "socks4a", "socks5h"])
def test_the_proxy_is_gone(scheme: str) -> None:
    with pytest.raises(ConnectionRefusedError):
        tunnel(f"{scheme}://127.0.0.1:{free_port()}")


@pytest.mark.parametrize(
    ("scheme", "answer"),
    [
        ("http", b""),
        ("http", b"HTTP/1.1 407 x\r\n\r\n"),
        ("https", b""),
        ("https", b"\x16\x03"),
        ("socks4a", b""),
        ("socks4a", b"\x00"),
        ("socks5h", b""),
        ("socks5h", b"\x05\x00"),
    ],
)
def test_the_proxy_hangs(scheme: str, answer: bytes) -> None:
    began, ended = gevent.event.Event(), gevent.event.Event()

    def proxy(peer: RawPeer) -> None:
        peer.write(answer)
        began.set()
        with contextlib.suppress(ConnectionResetError):  # it has not read all
            peer.read_to_end()
        ended.set()

    with raw_server(proxy) as server:
        waiting = gevent.spawn(tunnel, f"{scheme}://localhost:{server.port}")
        assert began.wait(LONG)
        waiting.kill()
        assert ended.wait(LONG), "the socket was not closed"


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("a b", 80),
        ("a\r\nb", 80),
        ("", 80),
        ("a@b", 80),
        ("fe80::1%eth0", 80),
        ("a", 0),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_an_impossible_target(scheme: str, host: str, port: int) -> None:
    with pytest.raises(ValueError, match="not a host and port"):
        tunnel(f"{scheme}://localhost:1", host, port)


def test_tls_options_without_tls(client_context: ssl.SSLContext) -> None:
    with pytest.raises(ValueError, match="proxy_ssl needs an https:// proxy"):
        tunnel("http://localhost:1", ssl=client_context)


@pytest.mark.parametrize("module", [ssl, gevent.ssl])
def test_a_large_request_to_a_slow_proxy(tls_files: Path, module: Any) -> None:
    # More than the kernel takes at once: the sending waits for the proxy.
    user_agent = "a" * 500_000
    n_read = []

    def proxy(peer: RawPeer) -> None:
        gevent.sleep(0.01)
        request = bytearray()
        while not request.endswith(b"\r\n\r\n"):
            request += peer.sock.recv(2**16)
        n_read.append(len(request))
        peer.write(b"HTTP/1.1 200 OK\r\n\r\n")

    def dial_small(host: str, port: int) -> socket.socket:
        sock = dial(host, port)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return sock

    context = module.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(tls_files / "ca.pem")
    for scheme, settings in (("http", {}), ("https", {"ssl": context})):
        tls = tls_files if settings else None
        with raw_server(proxy, receive_buffer=4096, tls=tls) as server:
            uri = f"{scheme}://localhost:{server.port}"
            tunnel(uri, user_agent=user_agent, dial=dial_small, **settings).close()
    assert len(n_read) == 2
    assert min(n_read) > len(user_agent)


# SOCKS, by hand


def socks5(reply: bytes) -> Callable[[RawPeer], None]:
    """A proxy that asks for no password, and replies to a request."""

    def proxy(peer: RawPeer) -> None:
        n_methods = peer.read(2)[1]
        peer.read(n_methods)
        peer.write(b"\x05\x00")
        head = peer.read(4)
        peer.read({1: 4, 3: 1, 4: 16}[head[3]])
        peer.write(reply)

    return proxy


@pytest.mark.parametrize(
    ("scheme", "request_sent"),
    [
        ("socks4", b"\x04\x01\x01\xbb\x7f\x00\x00\x01me\x00"),
        ("socks4a", b"\x04\x01\x01\xbb\x00\x00\x00\x01me\x00localhost\x00"),
    ],
)
def test_socks4(scheme: str, request_sent: bytes) -> None:
    def proxy(peer: RawPeer) -> None:
        assert peer.read(len(request_sent)) == request_sent
        peer.write(b"\x00\x5a" + bytes(6) + b"hi")

    with raw_server(proxy) as server:
        uri = f"{scheme}://me@localhost:{server.port}"
        with tunnel(uri, "localhost") as sock:
            assert sock.recv(2) == b"hi"  # what follows is left where it was


@pytest.mark.parametrize(
    ("scheme", "host", "address_sent"),
    [
        ("socks5", "127.0.0.1", b"\x01\x7f\x00\x00\x01"),
        ("socks5", "localhost", b"\x01\x7f\x00\x00\x01"),
        ("socks5", "::1", b"\x04" + bytes(15) + b"\x01"),
        ("socks5h", "127.0.0.1", b"\x01\x7f\x00\x00\x01"),
        ("socks5h", "localhost", b"\x03\x09localhost"),
        ("socks5h", "::1", b"\x04" + bytes(15) + b"\x01"),
    ],
)
def test_socks5(scheme: str, host: str, address_sent: bytes) -> None:
    def proxy(peer: RawPeer) -> None:
        assert peer.read(4) == b"\x05\x02\x00\x02"
        peer.write(b"\x05\x02")
        assert peer.read(13) == b"\x01\x02me\x08password"
        peer.write(b"\x01\x00")
        request = b"\x05\x01\x00" + address_sent + b"\x01\xbb"
        assert peer.read(len(request)) == request
        peer.write(b"\x05\x00\x00\x03\x01a\x00\x50hi")

    with raw_server(proxy) as server:
        uri = f"{scheme}://me:password@localhost:{server.port}"
        with tunnel(uri, host) as sock:
            assert sock.recv(2) == b"hi"


@pytest.mark.parametrize(
    ("scheme", "play", "message"),
    [
        ("socks5h", socks5(b"\x05\x05\x00"), "Connection refused by destination host"),
        ("socks5h", socks5(b"\x05\x02\x00"), "Connection not allowed by ruleset"),
        ("socks5h", socks5(b"\x05\x99\x00"), "Invalid reply code"),
        ("socks5h", socks5(b"\x05\x00\x00\x03\x01\xff\x00\x50"), "utf-8"),
        ("socks5h", socks5(b"\x05\x00\x00\x07"), "SOCKS proxy: "),
        ("socks5h", socks5(b"\x05\x00\x00"), "closed unexpectedly"),
        ("socks5h", lambda peer: peer.write(b"\x05\xff"), "No acceptable"),
        ("socks5h", lambda peer: peer.write(b"HTTP/1.1 400"), "SOCKS proxy: "),
        ("socks5h", lambda peer: None, "closed unexpectedly"),
        ("socks4a", lambda peer: peer.write(b"\x00\x5b" + bytes(6)), "SOCKS proxy: "),
        ("socks4a", lambda peer: peer.write(b"HTTP/1.1 400"), "SOCKS proxy: "),
        ("socks4a", lambda peer: peer.write(b"\x00"), "closed unexpectedly"),
    ],
)
def test_socks_fails(
    scheme: str, play: Callable[[RawPeer], None], message: str
) -> None:
    def proxy(peer: RawPeer) -> None:
        play(peer)
        peer.half_close()
        peer.read_to_end()

    with raw_server(proxy) as server, pytest.raises(ProxyError, match=message):
        tunnel(f"{scheme}://localhost:{server.port}", "localhost")


def test_socks_is_reset() -> None:
    def proxy(peer: RawPeer) -> None:
        peer.read(3)
        peer.reset()

    with raw_server(proxy) as server, pytest.raises(ConnectionResetError):
        tunnel(f"socks5h://localhost:{server.port}")


@pytest.mark.parametrize("host", ["does-not-exist.invalid", "a" * 64 + ".example"])
def test_the_name_is_not_found(host: str) -> None:
    with pytest.raises(socket.gaierror):
        tunnel("socks5://localhost:1", host)


def test_socks4_has_no_ipv6() -> None:
    with pytest.raises(socket.gaierror):
        tunnel("socks4://localhost:1", "::1")


def test_a_name_that_socks_cannot_carry() -> None:
    with raw_server(socks5(b"")) as server, pytest.raises(ProxyError, match="idna"):
        tunnel(f"socks5h://localhost:{server.port}", "a" * 64 + ".example")


def test_without_python_socks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_socks.sync", None)
    with pytest.raises(ImportError, match=r"pip install 'gevent-gws\[socks\]'"):
        tunnel("socks5h://localhost:1")


def test_the_default_timeout_of_sockets_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def proxy(peer: RawPeer) -> None:
        gevent.sleep(0.05)
        socks5(b"\x05\x00\x00\x03\x01a\x00\x50")(peer)

    monkeypatch.setattr(gevent.socket, "getdefaulttimeout", lambda: 0.001)
    with raw_server(proxy) as server:
        tunnel(f"socks5h://127.0.0.1:{server.port}", "127.0.0.1").close()


# Proxies of another package


@pytest.fixture(scope="module")
def ports(warm_hub: Any, tls_files: Path) -> Iterator[dict[str, int]]:
    """The ports of proxies in another process, by name."""
    peer = subprocess.Popen(
        [sys.executable, PEER, tls_files / "server.pem"], stdout=subprocess.PIPE
    )
    yield json.loads(peer.stdout.readline())
    peer.kill()
    peer.wait()
    peer.stdout.close()


#: How each proxy is named with what it wants to know.
URIS = {
    "http": "http://localhost:{}",
    "http with auth": "http://user:pass%3Aw%C3%B6rd@localhost:{}",
    "https": "https://user:pass%3Aw%C3%B6rd@localhost:{}",
    "socks4": "socks4://localhost:{}",
    "socks4 with user": "socks4://user@localhost:{}",
    "socks5": "socks5h://localhost:{}",
    "socks5 with auth": "socks5://user:password@localhost:{}",
}


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("name", URIS)
def test_through(
    ports: dict[str, int],
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    name: str,
    secure: bool,
) -> None:
    options: dict[str, Any] = {"proxy": URIS[name].format(ports[name])}
    if name == "https":
        options["proxy_ssl"] = client_context
    if secure:
        options["ssl"] = client_context
    text, data = "hello", os.urandom(2**20)
    with serve(
        echo, "127.0.0.1", 0, ssl=server_context if secure else None, max_size=2**21
    ) as server:
        uri = f"ws{'s' if secure else ''}://localhost:{port_of(server)}"
        with connect(uri, max_size=2**21, **options) as ws:
            assert ws.remote_address[1] == ports[name]
            ws.send(text)
            assert ws.recv(timeout=LONG) == text
            for _ in range(4):  # more than the buffers on the way hold
                ws.send(data)
            for _ in range(4):
                assert ws.recv(timeout=LONG) == data
        assert ws.close_code == 1000


def test_the_server_closes_through_tls_in_tls(
    ports: dict[str, int],
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    def say_bye(ws: Any) -> None:
        ws.send("bye")

    with (
        serve(say_bye, "127.0.0.1", 0, ssl=server_context) as server,
        connect(
            f"wss://localhost:{port_of(server)}",
            ssl=client_context,
            proxy=URIS["https"].format(ports["https"]),
            proxy_ssl=client_context,
        ) as ws,
    ):
        assert list(ws) == ["bye"]
        assert ws.wait_closed(LONG)
        assert ws.close_code == 1000


@pytest.mark.parametrize(
    ("name", "uri", "error"),
    [
        ("http with auth", "http://localhost:{}", InvalidProxyStatus),
        ("http with auth", "http://user:wrong@localhost:{}", InvalidProxyStatus),
        ("https", "https://user:wrong@localhost:{}", InvalidProxyStatus),
        ("socks4 with user", "socks4://other@localhost:{}", ProxyError),
        ("socks5 with auth", "socks5://localhost:{}", ProxyError),
        ("socks5 with auth", "socks5://user:wrong@localhost:{}", ProxyError),
    ],
)
def test_the_wrong_password(
    ports: dict[str, int],
    client_context: ssl.SSLContext,
    name: str,
    uri: str,
    error: type[ProxyError],
) -> None:
    options = {"ssl": client_context} if name == "https" else {}
    with pytest.raises(error) as info:
        tunnel(uri.format(ports[name]), "127.0.0.1", **options)
    if isinstance(info.value, InvalidProxyStatus):
        assert info.value.status_code == 407
        assert "Proxy-Authenticate" in info.value.response.headers


def test_the_server_is_gone(ports: dict[str, int]) -> None:
    # This proxy then closes; for SOCKS it agrees before it has tried.
    with pytest.raises(ProxyError, match="proxy closed the connection"):
        tunnel(URIS["http"].format(ports["http"]), "127.0.0.1", free_port())


@pytest.mark.parametrize("options", [{}, {"server_hostname": "example.com"}])
def test_the_certificate_of_the_proxy(
    ports: dict[str, int], client_context: ssl.SSLContext, options: dict[str, Any]
) -> None:
    # Nobody has signed it whom we know; and it is of another name.
    if options:
        options = {**options, "ssl": client_context}
    with pytest.raises(ssl.SSLCertVerificationError):
        tunnel(URIS["https"].format(ports["https"]), **options)


def test_the_name_in_the_certificate(
    ports: dict[str, int], client_context: ssl.SSLContext
) -> None:
    def dial_here(host: str, port: int) -> socket.socket:
        assert host == "proxy.example"
        return dial("localhost", port)

    uri = URIS["https"].replace("localhost", "proxy.example").format(ports["https"])
    with serve(echo, "127.0.0.1", 0) as server:
        tunnel(
            uri,
            "127.0.0.1",
            port_of(server),
            ssl=client_context,
            server_hostname="localhost",
            dial=dial_here,
        ).close()


def test_by_the_environment(
    ports: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"localhost:{ports['http']}")
    with serve(echo, "127.0.0.1", 0) as server:
        uri = f"ws://localhost:{port_of(server)}"
        with connect(uri) as ws:
            assert ws.remote_address[1] == ports["http"]
        with connect(uri, proxy=None) as ws:
            assert ws.remote_address[1] == port_of(server)
        monkeypatch.setenv("no_proxy", "localhost")
        with connect(uri) as ws:
            assert ws.remote_address[1] == port_of(server)
