"""Addresses and a handler in, a running WebSocket server out.

`serve` listens; `Server` accepts. Each connection is one greenlet, which does the
TLS handshake, the opening handshake and then runs the handler; nothing of it
happens in the accept loop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl as tls
from collections.abc import Callable, Sequence
from typing import Any

from gevent import GreenletExit, Timeout, getcurrent, kill
from gevent.event import Event

from .extensions import ServerExtensionFactory
from .handling import handle
from .handshake import ServerConnection as ServerConnection
from .listener import Listener, listen_tcp, listen_unix
from .options import Marks, Options
from .protocol.codes import CloseCode, State
from .protocol.origins import Origins
from .protocol.types import MaxSize
from .route import with_path
from .settings import SERVER as SERVER
from .settings import Settings
from .stream import wrap_tls


class Server:
    """A running server; `serve` makes it.

    It belongs to the hub that made it. ``with`` starts to accept, and shuts down
    at its end; so does `serve_forever`.
    """

    def __init__(
        self,
        handler: Any,
        sockets: Sequence[socket.socket],
        settings: Settings,
        *,
        ssl: tls.SSLContext | None = None,
        max_connections: int | None = None,
        create_connection: Callable[..., ServerConnection] | None = None,
    ) -> None:
        self._handler = handler
        self._settings = settings
        self._ssl = ssl
        self._max_connections = max_connections
        self._create_connection = create_connection or ServerConnection
        #: The listening sockets.
        self.sockets = tuple(sockets)
        #: The connections that are open or closing.
        self.connections: set[ServerConnection] = set()
        # Those whose opening handshake is not done, and all greenlets, with
        # their connection once there is one.
        self._handshaking: set[ServerConnection] = set()
        self._greenlets: dict[Any, ServerConnection | None] = {}
        # Those of them that wait for the others to end: not for one another.
        self._waiting: set[Any] = set()
        self._listeners = [Listener(sock, self._serve) for sock in sockets]
        # Of a Unix socket; `unix_serve` sets it, `close` removes it.
        self._socket_file: str | None = None
        self._closing = False
        self._closed = Event()
        self._all_done = Event()
        self._all_done.set()

    # Public methods

    def start(self) -> None:
        """Start to accept; ``with`` and `serve_forever` do it."""
        if self._closing:
            raise RuntimeError("the server is closed")
        for listener in self._listeners:
            if not listener.started:
                listener.start()

    def is_serving(self) -> bool:
        """Tell whether new connections are accepted."""
        return not self._closing and any(x.started for x in self._listeners)

    def serve_forever(self) -> None:
        """Serve until `close` is called; whatever interrupts it shuts down."""
        self.start()
        try:
            self._closed.wait()
        finally:
            self.shutdown()

    def close(
        self,
        close_connections: bool = True,
        code: int = CloseCode.GOING_AWAY,
        reason: str = "",
    ) -> None:
        """Stop to accept, and begin to close what is open; waits for nothing.

        Connections whose opening handshake is not done get a 503.

        Args:
            close_connections: False leaves open connections to their handlers.
        """
        self._closing = True
        for listener in self._listeners:
            listener.close()
        if self._socket_file is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._socket_file)
            self._socket_file = None
        for greenlet, ws in list(self._greenlets.items()):
            if ws is None:  # inside the TLS handshake
                kill(greenlet)
        for ws in list(self._handshaking):
            if ws.state is State.CONNECTING:
                ws.refuse(503, "The server is shutting down.\n")
        if close_connections:
            for ws in list(self.connections):
                ws.begin_close(code, reason)
        self._closed.set()

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until all connections are closed and their handlers have ended.

        A handler that waits for this is not waited for.

        Returns:
            Whether they have, within ``timeout`` seconds.
        """
        timer = Timeout.start_new(timeout)
        current = getcurrent()
        not_awaited: set[Any] = set()
        if current in self._greenlets:
            not_awaited = self._waiting
            not_awaited.add(current)
            self._all_done.set()
        try:
            self._closed.wait()
            while self._greenlets.keys() - not_awaited:
                self._all_done.clear()
                self._all_done.wait()
        except Timeout as exc:
            if exc is not timer:
                raise
            return False
        finally:
            timer.close()
            self._waiting.discard(current)
        return True

    def shutdown(self) -> None:
        """Close, with 1001, and wait.

        Handlers that have not ended when the closing handshakes must have
        (`close_timeout`) are stopped with `gevent.GreenletExit`.
        """
        self.close()
        if self.wait_closed(self._settings.options.close_timeout):
            return
        for greenlet in self._greenlets.keys() - self._waiting - {getcurrent()}:
            kill(greenlet)
        self.wait_closed(self._settings.options.close_timeout)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()

    # For connections

    def has_room(self) -> bool:
        """Tell whether one more connection may open."""
        limit = self._max_connections
        return not self._closing and (limit is None or len(self.connections) < limit)

    def forget(self, ws: ServerConnection) -> None:
        """Take note that a connection is gone."""
        self.connections.discard(ws)
        self._handshaking.discard(ws)

    # Private methods: the greenlet of a connection

    def _serve(self, sock: Any, address: Any) -> None:
        greenlet = getcurrent()
        self._greenlets[greenlet] = None
        try:
            ws = self._open(sock, address)
            if ws is not None:
                handle(ws)
        except GreenletExit:
            pass
        finally:
            del self._greenlets[greenlet]
            self._all_done.set()

    def _open(self, sock: Any, address: Any) -> ServerConnection | None:
        # The TLS and the opening handshake, within open_timeout; None if they fail.
        ws: ServerConnection | None = None
        logger = self._settings.options.logger
        timer = Timeout.start_new(self._settings.options.open_timeout)
        try:
            if sock.family != getattr(socket, "AF_UNIX", None):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._ssl is not None:
                sock = wrap_tls(sock, self._ssl, server_side=True)
            ws = self._create_connection(sock, self._settings, address, self)
            self._greenlets[getcurrent()] = ws
            self._handshaking.add(ws)
            ws.start()
            if ws.open_handshake(self._handler):
                self.connections.add(ws)
                self._handshaking.discard(ws)
                return ws
        except Timeout as exc:
            status, text = 408, "The opening handshake took too long.\n"
            if exc is timer:
                logger.debug("no handshake in time: %s", address)
            else:  # a hook's own
                logger.error("opening handshake failed", exc_info=True)
                status, text = 500, "The server failed; its log tells why.\n"
            if ws is not None and ws.state is State.CONNECTING:
                ws.refuse(status, text)
        except OSError as exc:
            # TLS failed, or the peer has gone.
            logger.debug("no connection: %s: %s", address, exc)
        finally:
            timer.close()
            if ws is None:
                sock.close()
        if ws is not None:
            ws.close()
        return None


def serve(
    handler: Any,
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    *,
    sock: socket.socket | None = None,
    ssl: tls.SSLContext | None = None,
    reuse_port: bool = False,
    backlog: int | None = None,
    origins: Origins = "same",
    allowed_hosts: Sequence[str] | None = None,
    extensions: Sequence[ServerExtensionFactory] | None = None,
    subprotocols: Sequence[str] | None = None,
    select_subprotocol: Callable[..., str | None] | None = None,
    compression: str | None = "deflate",
    process_request: Callable[..., Any] | None = None,
    process_response: Callable[..., Any] | None = None,
    server_header: str | None = SERVER,
    extra_headers: Any = None,
    trusted_proxies: Sequence[str] | None = None,
    proxy_header: str = "X-Forwarded-For",
    open_timeout: float | None = 10,
    ping_interval: float | None = 20,
    ping_timeout: float | None = 20,
    close_timeout: float | None = 10,
    max_connections: int | None = None,
    max_size: MaxSize = 2**20,
    max_queue: Marks = 16,
    write_limit: Marks = 2**15,
    logger: logging.Logger | None = None,
    create_connection: Callable[..., ServerConnection] | None = None,
) -> Server:
    """Make a WebSocket server.

        with serve(handler, "localhost", 8765) as server:
            server.serve_forever()

    It listens at once, and accepts once the ``with`` is entered. All times are in
    seconds, all sizes in bytes; None is no limit.

    Args:
        handler: ``handler(ws)``, called in a greenlet of its own for each
            connection; or a `Router`. When it returns the connection is closed
            with 1000, when it raises with 1011. ``handler(ws, path)`` works, too.
        host: a name or address, or a list; None is all, of IPv4 and IPv6.
        port: 0 has the kernel choose: see ``server.sockets``.
        sock: a socket that listens already, in the place of host and port.
        ssl: makes it ``wss://``.
        reuse_port: several processes may listen on the same port.
        backlog: how many connections may wait to be accepted.
        origins: who may connect from a browser: "same" (whoever the page came
            from this host and port, and whoever is no browser), "*", or a list of
            origins, compiled patterns (which must match all of it) and None for
            requests without an Origin.
        allowed_hosts: the host names that requests may ask for.
        extensions: factories of further extensions, the best first; one of
            permessage-deflate takes the place of that of ``compression``.
        subprotocols: those spoken here, the best first; clients must offer one.
        select_subprotocol: ``(ws, offered) -> str | None`` chooses instead.
        compression: "deflate" accepts permessage-deflate where clients offer it,
            without context takeover; None does not.
        process_request: ``(ws, request) -> None | Response | (status, headers,
            body)``; an answer other than None is sent in place of the handshake.
        process_response: ``(ws, request, response) -> None | Response``; may
            change the response or return another.
        server_header: the Server header; None sends none.
        extra_headers: headers for the response, or ``(ws, request) -> headers``.
        trusted_proxies: addresses and networks ("10.0.0.0/8") of proxies that are
            believed when they say whose request they pass on; "unix" for who
            connects by a Unix socket. ``remote_address`` is then the client's.
        proxy_header: where they say it: "X-Forwarded-For" or "Forwarded".
        open_timeout: for the TLS and the opening handshake together.
        ping_interval: between two keepalive pings.
        ping_timeout: for their pongs.
        close_timeout: for the closing handshake and the end of TCP together.
        max_connections: further ones get a 503.
        max_size: of a message, or (message, fragment).
        max_queue: messages received and not taken before reading stops; or (high,
            low).
        write_limit: bytes sent and not written before `send` waits; or (high, low).
        logger: by default ``logging.getLogger("gws.server")``.
        create_connection: makes a subclass of `ServerConnection`.

    Raises:
        OSError: if the address cannot be had.
        ValueError, TypeError: if an option makes no sense.
    """
    handler = with_path(handler)
    if max_connections is not None and max_connections < 1:
        raise ValueError("max_connections must be positive")
    settings = Settings(
        options=Options(
            logger=logger or logging.getLogger("gws.server"),
            open_timeout=open_timeout,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            max_size=max_size,
            max_queue=max_queue,
            write_limit=write_limit,
        ),
        origins=origins,
        allowed_hosts=allowed_hosts,
        extensions=extensions,
        compression=compression,
        subprotocols=subprotocols,
        select_subprotocol=select_subprotocol,
        process_request=process_request,
        process_response=process_response,
        server_header=server_header,
        extra_headers=extra_headers,
        trusted_proxies=trusted_proxies,
        proxy_header=proxy_header,
    )
    if sock is None:
        sockets = listen_tcp(host, port, reuse_port=reuse_port, backlog=backlog)
    elif host is None and port is None:
        sockets = [sock]
    else:
        raise TypeError("sock stands in the place of host and port")
    return Server(
        handler,
        sockets,
        settings,
        ssl=ssl,
        max_connections=max_connections,
        create_connection=create_connection,
    )


def unix_serve(
    handler: Any,
    path: str | os.PathLike[str],
    *,
    mode: int | None = None,
    backlog: int | None = None,
    **kwargs: Any,
) -> Server:
    """Make a WebSocket server on a Unix socket.

    A socket file that nobody listens on any more is replaced; one that somebody
    does is not. Closing the server removes it.

    Args:
        path: of the socket file.
        mode: its permissions, such as 0o660.
        kwargs: as for `serve`.
    """
    name = os.fsdecode(path)
    sock = listen_unix(name, mode=mode, backlog=backlog)
    try:
        server = serve(handler, sock=sock, **kwargs)
    except BaseException:
        sock.close()
        with contextlib.suppress(OSError, ValueError):
            os.unlink(name)
        raise
    if not name.startswith("\0"):  # an abstract address has no file
        server._socket_file = name
    return server
