"""gws talks with the websockets library: either side, each kind of socket."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gevent.event import AsyncResult

from gws import ConnectionClosed, connect, serve, unix_connect, unix_serve


pytestmark = pytest.mark.usefixtures("leakcheck")

PEER = Path(__file__).with_name("peer.py")
OPTIONS = {"max_size": 2**24, "subprotocols": ["interop"]}
TRANSPORTS = ["tcp", "tls", "unix", "unix-tls"]
MIB = 2**20


@dataclass
class Surroundings:
    """What the two sides need to find and to trust each other."""

    transport: str
    spawn_peer: Callable[..., Any]
    unix_path: str
    tls_files: Path
    server_context: ssl.SSLContext
    client_context: ssl.SSLContext

    @property
    def is_unix(self) -> bool:
        return self.transport.startswith("unix")

    @property
    def is_tls(self) -> bool:
        return self.transport.endswith("tls")

    @property
    def uri(self) -> str:
        return "wss://localhost{}/" if self.is_tls else "ws://localhost{}/"

    def peer(self, role: str, *args: str, pem: str) -> Any:
        option = "--ca" if role == "connect" else "--cert"
        tls = [option, str(self.tls_files / pem)] if self.is_tls else []
        unix = ["--unix", self.unix_path] if self.is_unix else []
        return self.spawn_peer(PEER, role, *args, *tls, *unix)


@dataclass
class Pair:
    """A connection of gws and the other end of it, in another process."""

    ws: Any
    peer: Any

    def tell(self, *command: Any) -> None:
        """Let the peer do something; `hear` what came of it before the next."""
        self.peer.tell(command)

    def hear(self) -> Any:
        return self.peer.hear()

    def ask(self, *command: Any) -> Any:
        self.tell(*command)
        return self.hear()


@contextmanager
def client_of_gws(around: Surroundings) -> Iterator[Pair]:
    context = around.client_context if around.is_tls else None
    peer = around.peer("serve", pem="server.pem")
    port = peer.hear()
    if around.is_unix:
        recipe = unix_connect(
            around.unix_path, around.uri.format(""), ssl=context, **OPTIONS
        )
    else:
        recipe = connect(around.uri.format(f":{port}"), ssl=context, **OPTIONS)
    with recipe as ws:
        yield Pair(ws, peer)


@contextmanager
def server_of_gws(around: Surroundings) -> Iterator[Pair]:
    context = around.server_context if around.is_tls else None
    arrived = AsyncResult()

    def lend(ws: Any) -> None:
        # The test's greenlet has the connection until it is closed.
        arrived.set(ws)
        ws.wait_closed()

    if around.is_unix:
        server = unix_serve(lend, around.unix_path, ssl=context, **OPTIONS)
    else:
        server = serve(lend, "127.0.0.1", 0, ssl=context, **OPTIONS)
    with server:
        port = "" if around.is_unix else f":{server.sockets[0].getsockname()[1]}"
        peer = around.peer("connect", around.uri.format(port), pem="ca.pem")
        yield Pair(arrived.get(timeout=30), peer)


@pytest.fixture(params=[client_of_gws, server_of_gws], ids=["client", "server"])
def role(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def transport() -> str:
    """The one of `TRANSPORTS` that the test is about, or the plain one."""
    return "tcp"


@pytest.fixture
def pair(
    role: Any,
    transport: str,
    spawn_peer: Callable[..., Any],
    unix_path: str,
    tls_files: Path,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> Iterator[Pair]:
    around = Surroundings(
        transport, spawn_peer, unix_path, tls_files, server_context, client_context
    )
    with role(around) as pair:
        yield pair


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_either_side_sends(pair: Pair) -> None:
    assert pair.ws.subprotocol == "interop"
    assert pair.ask("subprotocol") == "interop"
    pair.ws.send("¿qué?")
    assert pair.ask("recv") == "¿qué?"
    pair.tell("send", "grüß dich")
    assert pair.ws.recv() == "grüß dich"
    assert pair.hear() is None
    pair.ws.send(b"\x00\xff")
    assert pair.ask("recv") == {"hex": "00ff"}
    pair.tell("send", {"hex": "ff00"})
    assert pair.ws.recv() == b"\xff\x00"
    assert pair.hear() is None


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_mebibyte(pair: Pair) -> None:
    text = "0123456789abcdé\n" * (MIB // 16)
    pair.ws.send(text)
    assert pair.ask("recv") == text
    pair.tell("send", text)
    assert pair.ws.recv() == text
    assert pair.hear() is None
    data = bytes(range(256)) * (MIB // 256)
    pair.ws.send(data)
    assert pair.ask("recv") == {"hex": data.hex()}
    pair.tell("send", {"hex": data.hex()})
    assert pair.ws.recv() == data
    assert pair.hear() is None


@pytest.mark.parametrize(
    "message", ["", {"hex": ""}, "x" * 125, "x" * 126, "x" * 65536]
)
def test_lengths_at_the_borders(pair: Pair, message: Any) -> None:
    pair.tell("send", message)
    received = pair.ws.recv()
    assert pair.hear() is None
    assert received == (b"" if message == {"hex": ""} else message)
    pair.ws.send(received)
    assert pair.ask("recv") == message


def test_fragments_of_gws(pair: Pair) -> None:
    pair.ws.send(["one ", "two ", "three"])
    assert pair.ask("recv") == "one two three"
    pair.ws.send(iter([b"one", b"two"]))
    # What the library has beyond the fragments is the empty frame that ends them.
    fragments = [part["hex"] for part in pair.ask("recv_streaming")]
    assert "".join(fragments) == b"onetwo".hex()
    assert len(fragments) > 1


def test_fragments_of_the_peer(pair: Pair) -> None:
    pair.tell("send", ["one ", "two ", "three"])
    assert pair.ws.recv() == "one two three"
    assert pair.hear() is None
    pair.tell("send", [{"hex": "01"}, {"hex": "02"}])
    assert pair.ws.recv() == b"\x01\x02"
    assert pair.hear() is None


def test_ping_of_gws(pair: Pair) -> None:
    assert pair.ws.ping("are you there?").wait(timeout=30)
    assert pair.ws.ping().get(timeout=30) > 0
    assert pair.ws.latency > 0


def test_ping_of_the_peer_is_answered_while_nobody_receives(pair: Pair) -> None:
    assert pair.ask("ping", "are you there?") is True


CLOSES = [(1000, "done"), (1001, ""), (1011, "größer"), (3000, "x" * 123), (4999, "")]


@pytest.mark.parametrize(("code", "reason"), CLOSES)
def test_gws_closes(pair: Pair, code: int, reason: str) -> None:
    pair.tell("wait_closed")
    pair.ws.close(code, reason)
    assert pair.hear() == [code, reason]
    assert (pair.ws.close_code, pair.ws.close_reason) == (code, reason)


@pytest.mark.parametrize(("code", "reason"), CLOSES)
def test_the_peer_closes(pair: Pair, code: int, reason: str) -> None:
    pair.tell("close", code, reason)
    with pytest.raises(ConnectionClosed) as caught:
        pair.ws.recv()
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (code, reason)
    assert caught.value.rcvd_then_sent
    assert pair.hear() is None


def test_the_peer_vanishes(pair: Pair) -> None:
    pair.ws.send("before")
    assert pair.ask("recv") == "before"
    pair.peer.end()
    with pytest.raises(ConnectionClosed) as caught:
        pair.ws.recv()
    assert caught.value.rcvd is None
    assert pair.ws.close_code == 1006
