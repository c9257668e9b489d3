"""The two sides of a connection: gws in this process, the peer in another."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gevent.event import AsyncResult

from gws import connect, serve, unix_connect, unix_serve

from .tap import Stream, Tap, tap


@dataclass
class Pair:
    """A connection of gws, its other end, and the wire if there is a tap on it."""

    ws: Any
    peer: Any
    wire: Tap | None
    role: str

    def tell(self, *command: Any) -> None:
        """Let the peer do something; `hear` what came of it before the next."""
        self.peer.tell(command)

    def hear(self) -> Any:
        answer = self.peer.hear()
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer

    def ask(self, *command: Any) -> Any:
        self.tell(*command)
        return self.hear()

    @property
    def sent(self) -> Stream:
        """What gws has sent."""
        assert self.wire is not None
        return self.wire.client if self.role == "client" else self.wire.server

    @property
    def received(self) -> Stream:
        """What the peer has sent."""
        assert self.wire is not None
        return self.wire.server if self.role == "client" else self.wire.client


@dataclass
class Meeting:
    """Where the two sides meet, and how each is set up."""

    peer: Any
    options: dict[str, Any] = field(default_factory=dict)
    peer_options: dict[str, Any] = field(default_factory=dict)
    unix_path: str | None = None
    #: A folder with ca.pem and server.pem.
    tls_files: Path | None = None

    @contextmanager
    def of(self, role: str) -> Iterator[Pair]:
        """Join the sides, of which gws is the "client" or the "server"."""
        join = self._with_a_client if role == "client" else self._with_a_server
        try:
            with join() as pair:
                yield pair
        finally:
            self.peer.tell(["end"])
            while self.peer.hear() != "the end":
                pass

    @contextmanager
    def _with_a_client(self) -> Iterator[Pair]:
        context = None
        if self.tls_files is not None:
            context = ssl.create_default_context(cafile=self.tls_files / "ca.pem")
        port = self._tell_peer("serve", cert="server.pem")
        with self._wire_to(port) as wire:
            uri = self._uri(wire)
            if self.unix_path is not None:
                recipe = unix_connect(self.unix_path, uri, ssl=context, **self.options)
            else:
                recipe = connect(uri, ssl=context, **self.options)
            with recipe as ws:
                yield Pair(ws, self.peer, wire, "client")

    @contextmanager
    def _with_a_server(self) -> Iterator[Pair]:
        context = None
        if self.tls_files is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self.tls_files / "server.pem")
        arrived = AsyncResult()

        def lend(ws: Any) -> None:
            # The test's greenlet has the connection until it is closed.
            arrived.set(ws)
            ws.wait_closed()

        if self.unix_path is not None:
            server = unix_serve(lend, self.unix_path, ssl=context, **self.options)
        else:
            server = serve(lend, "127.0.0.1", 0, ssl=context, **self.options)
        with server:
            port = None if self.unix_path else server.sockets[0].getsockname()[1]
            with self._wire_to(port) as wire:
                self._tell_peer("connect", self._uri(wire), ca="ca.pem")
                yield Pair(arrived.get(timeout=30), self.peer, wire, "server")

    def _tell_peer(self, *command: Any, **pem: str) -> Any:
        """Tell the peer to begin; return its answer."""
        options = dict(self.peer_options)
        if self.unix_path is not None:
            options["unix"] = self.unix_path
        if self.tls_files is not None:
            options |= {name: str(self.tls_files / file) for name, file in pem.items()}
        self.peer.tell([*command, options])
        answer = self.peer.hear()
        assert answer is None or isinstance(answer, int), answer
        return answer

    def _wire_to(self, port: int | None) -> Any:
        return nullcontext() if port is None else tap(port)

    def _uri(self, wire: Tap | None) -> str:
        scheme = "ws" if self.tls_files is None else "wss"
        return f"{scheme}://localhost{f':{wire.port}' if wire else ''}/"
