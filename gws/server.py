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

from gevent import GreenletExit, Timeout, get_hub, getcurrent, kill, sleep
from gevent.event import Event

from .admission import Admission, turn_away
from .drain import STOP, TELL, Countdown, check_close, close_gradually
from .extensions import ServerExtensionFactory
from .handling import handle
from .handshake import TOO_MANY, refusal_octets
from .handshake import ServerConnection as ServerConnection
from .listener import Listener, listen_tcp, listen_unix
from .options import Marks, Options, Rate
from .protocol.codes import CloseCode, State
from .protocol.head import HEADER_LIMITS, HeaderLimits
from .protocol.origins import Origins
from .protocol.reader import MAX_FRAGMENTS
from .protocol.types import MaxSize
from .proxy_protocol import ProxyProtocolError, receive_header
from .route import with_path
from .settings import SERVER as SERVER
from .settings import Settings
from .stream import wrap_tls


class Server:
    """A running server; `serve` makes it.

    It belongs to the hub that made it. ``with`` starts to accept, and shuts down
    at its end; so does `serve_forever`.
    """

    # No more are accepted; nor opened, of those that were.
    _closing = False
    _refusing = False
    # What connections are told that open while the others are closed.
    _farewell: tuple[int, str] | None = None
    # How many have not ended by their closing handshake since then, and how many
    # handlers not by themselves.
    _n_cut = 0
    _n_stopped = 0
    # Nothing more is waited for.
    _ended = False

    def __init__(
        self,
        handler: Any,
        sockets: Sequence[socket.socket],
        settings: Settings,
        *,
        ssl: tls.SSLContext | None = None,
        admission: Admission | None = None,
        create_connection: Callable[..., ServerConnection] | None = None,
        proxy_protocol: bool = False,
    ) -> None:
        self._handler = handler
        self._settings = settings
        #: The TLS of connections to come; set another to renew its certificate.
        self.ssl = ssl
        self._admission = admission or Admission()
        self.addresses = self._admission.addresses
        self._create_connection = create_connection or ServerConnection
        self._proxy_protocol = proxy_protocol
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
        self._closed = Event()
        # `close` was called, or `drain` is done.
        self._over = Event()
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
        """Serve until `close` is called, or `drain` is done.

        Whatever interrupts it shuts down.
        """
        self.start()
        try:
            self._over.wait()
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
        check_close(code, reason)
        self._stop_accepting()
        self._refuse_handshakes()
        if close_connections:
            for ws in list(self.connections):
                ws.begin_close(code, reason)
        self._over.set()

    def drain(
        self,
        timeout: float | None = 30,
        code: int = CloseCode.GOING_AWAY,
        reason: str = "",
        *,
        handover: bool = False,
    ) -> bool:
        """Stop to accept, and have everything end in good order; wait for it.

        Connections are closed in random order, a few at a time, all within the first
        half of the timeout; what their handlers sent goes out first. What has not
        ended after nine tenths of it is cut, handlers with `gevent.GreenletExit`.
        Whoever waits to be accepted, or has not sent its request, gets a 503. A
        handler that calls this is not waited for.

        Args:
            timeout: seconds for all of it; None is no limit.
            code, reason: of the closing handshakes: 1001, or 1012 if whoever comes
                back finds another process.
            handover: another process accepts on the same listening sockets. Whoever
                waits to be accepted is left to it; handshakes that have begun go on
                to their end, and their connections are closed like the others.

        Returns:
            Whether all connections ended by their closing handshake, and all
            handlers by themselves.
        """
        check_close(code, reason)
        countdown = Countdown(timeout)
        try:
            self._stop_accepting(take_queue=not handover, handover=handover)
            self._farewell = code, reason
            sleep(0)  # who was accepted in this turn of the loop is known then
            if not handover:
                self._refuse_requests()
            close_gradually(self.connections, code, reason, countdown.left(TELL))
            if not self.wait_closed(countdown.left(TELL)):
                self._refuse_handshakes()
            self._end(countdown)
        finally:
            self._over.set()
        if self._n_cut or self._n_stopped:
            text = "%d connections had no closing handshake, %d handlers were stopped"
            self._settings.options.logger.warning(text, self._n_cut, self._n_stopped)
        return not (self._n_cut or self._n_stopped)

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until all connections are closed and their handlers have ended.

        A handler that waits for this is not waited for. In the hub it does not wait.

        Returns:
            Whether they have, within ``timeout`` seconds.
        """
        if getcurrent() is get_hub():
            return self._closed.is_set() and not self._greenlets
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
        """Close, with 1001, and wait, at most `close_timeout` seconds.

        What has not ended after nine tenths of it is cut, handlers with
        `gevent.GreenletExit`. In the hub, where handlers of signals may run, it does
        not wait, and cuts nothing.
        """
        if not self._ended:
            self.close()
            if getcurrent() is not get_hub():
                self._end(Countdown(self._settings.options.close_timeout))

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()

    # For connections

    def has_room(self) -> bool:
        """Tell whether one more connection may open."""
        return not self._refusing and self._admission.has_room(len(self.connections))

    def forget(self, ws: ServerConnection) -> None:
        """Take note that a connection is gone."""
        if ws in self.connections:
            self.connections.discard(ws)
            if self._farewell is not None and ws.protocol.close_rcvd_then_sent is None:
                self._n_cut += 1
        self._handshaking.discard(ws)
        self.addresses.leave(ws)

    # Private methods: the end

    def _stop_accepting(
        self, *, take_queue: bool = False, handover: bool = False
    ) -> None:
        self._closing = True
        self._refusing = self._refusing or not handover
        for listener in self._listeners:
            if take_queue and not listener.closed:
                listener.take_queue()
            listener.close()
        if self._socket_file is not None and not handover:
            with contextlib.suppress(OSError):
                os.unlink(self._socket_file)
        self._socket_file = None
        self._closed.set()

    def _refuse_handshakes(self) -> None:
        self._refusing = True
        for greenlet, ws in list(self._greenlets.items()):
            if ws is None:  # inside the TLS handshake, or before it
                kill(greenlet)
        self._refuse_requests()

    def _refuse_requests(self) -> None:
        for ws in list(self._handshaking):
            if ws.state is State.CONNECTING:
                ws.refuse(503, "The server is shutting down.\n")

    def _end(self, countdown: Countdown) -> None:
        # Wait, and cut what has not ended.
        if not self.wait_closed(countdown.left(STOP)):
            self._cut()
            self.wait_closed(countdown.left())
        self._ended = True

    def _cut(self) -> None:
        for greenlet in self._greenlets.keys() - self._waiting - {getcurrent()}:
            ws = self._greenlets[greenlet]
            if ws is not None and ws not in self._handshaking:
                self._n_stopped += 1
            kill(greenlet)
        for ws in [*self._handshaking, *self.connections]:
            ws._finish()

    # Private methods: the greenlet of a connection

    def _serve(self, sock: Any, address: Any) -> None:
        admission = self._admission
        if admission.is_crowded(len(self.connections)):
            self._turn_away(sock, 503, "The server is full.\n")
            sock.close()
            return
        greenlet = getcurrent()
        self._greenlets[greenlet] = None
        admission.n_opening += 1
        try:
            try:
                ws = self._open(sock, address)
            finally:
                admission.n_opening -= 1
                self.addresses.leave(greenlet)
            if ws is not None:
                if self._farewell is not None:  # all are told already
                    ws.begin_close(*self._farewell)
                handle(ws)
        except GreenletExit:
            pass
        finally:
            del self._greenlets[greenlet]
            # Not each time: who waits looks at all of them.
            if len(self._greenlets) <= len(self._waiting):
                self._all_done.set()

    def _open(self, sock: Any, address: Any) -> ServerConnection | None:
        # The TLS and the opening handshake, within open_timeout; None if they fail.
        ws: ServerConnection | None = None
        settings = self._settings
        logger = settings.options.logger
        timer = Timeout.start_new(settings.options.open_timeout)
        try:
            if sock.family != getattr(socket, "AF_UNIX", None):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            address, settings = self._identify(sock, address)
            if self.ssl is not None:
                sock = wrap_tls(sock, self.ssl, server_side=True)
            ws = self._create_connection(sock, settings, address, self)
            self._greenlets[getcurrent()] = ws
            self.addresses.move(getcurrent(), ws)
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
            # TLS failed, a proxy's header is not right, or the peer has gone.
            logger.debug("no connection: %s: %s", address, exc)
        finally:
            timer.close()
            if ws is None:
                sock.close()
        if ws is not None:
            ws.close()
        return None

    def _identify(self, sock: Any, address: Any) -> tuple[Any, Settings]:
        # Whose connection it is, and what it is served with.
        settings = self._settings
        if self._proxy_protocol:
            address, settings = self._read_proxy_header(sock, address)
        if not self.addresses.enter(getcurrent(), address, settings._proxies):
            self._turn_away(sock, 429, TOO_MANY)
            raise ConnectionRefusedError(TOO_MANY.strip())
        return address, settings

    def _turn_away(self, sock: Any, status: int, text: str) -> None:
        # Before the TLS handshake, or the request; whoever would speak TLS could not
        # read an answer.
        self._settings.options.logger.debug("turned away: %d %s", status, text.strip())
        if self.ssl is None:
            turn_away(sock, refusal_octets(self._settings, status, text))

    def _read_proxy_header(self, sock: Any, address: Any) -> tuple[Any, Settings]:
        # Whose connection it is, and whom its headers are believed from.
        proxies = self._settings._proxies
        if proxies is None or not proxies.trusts(address):
            raise ProxyProtocolError("it is none of the trusted proxies")
        source = receive_header(sock).source
        if source is None:
            # The proxy itself, or it does not know who: then headers that seem to
            # come from it may be anybody's.
            return address, self._settings.replace({"trusted_proxies": None})
        return source, self._settings


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
    proxy_protocol: bool = False,
    header_limits: HeaderLimits = HEADER_LIMITS,
    open_timeout: float | None = 10,
    ping_interval: float | None = 20,
    ping_timeout: float | None = 20,
    close_timeout: float | None = 10,
    stall_timeout: float | None = 60,
    idle_timeout: float | None = None,
    max_lifetime: float | None = None,
    max_connections: int | None = None,
    max_handshakes: int | None = 1024,
    max_per_address: int | None = None,
    max_size: MaxSize = 2**20,
    max_fragments: int | None = MAX_FRAGMENTS,
    max_queue: Marks = 16,
    message_rate: Rate = None,
    byte_rate: Rate = None,
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
        proxy_protocol: every connection comes from one of these proxies and begins
            with a header of HAProxy's PROXY protocol, version 1 or 2; others are
            dropped.
        header_limits: of the request's head: the longest line (else 414 or 431), the
            most headers, and how long all of it may be (else 431).
        open_timeout: for the TLS and the opening handshake together.
        ping_interval: between two keepalive pings.
        ping_timeout: for their pongs.
        close_timeout: for the closing handshake and the end of TCP together.
        stall_timeout: a peer that has half sent something, or does not take what we
            send, must move 64 bytes a second on average over this time; if not, the
            connection fails with 1008. Where reading has stopped because nobody
            receives, it is not the peer's fault.
        idle_timeout: without a message in either direction; then 1001.
        max_lifetime: of an open connection, less up to a tenth at random, so that
            those opened together don't come back together; then 1001.
        max_connections: further ones get a 503. None is what the process has
            descriptors for (``RLIMIT_NOFILE``, less a reserve).
        max_handshakes: connections that are not open yet; further ones get a 503 at
            once (with TLS they are closed).
        max_per_address: connections, open or not, of one peer address (of IPv6, of
            its /64); further ones get a 429. Not of trusted proxies and by Unix
            sockets. None by default: thousands of people may share one address.
        max_size: of a message, or (message, fragment); then 1009.
        max_fragments: of a message; then 1009.
        max_queue: messages received and not taken before reading stops; or (high,
            low).
        message_rate: frames that may come a second, of any kind; or (a second, at
            once), by default what comes in two seconds at once; then 1008.
        byte_rate: bytes that may come a second; or (a second, at once), by default
            what comes in two seconds and a message of max_size at once; then 1008.
        write_limit: bytes sent and not written before `send` waits; or (high, low).
        logger: by default ``logging.getLogger("gws.server")``.
        create_connection: makes a subclass of `ServerConnection`.

    Raises:
        OSError: if the address cannot be had.
        ValueError, TypeError: if an option makes no sense.
    """
    handler = with_path(handler)
    admission = Admission(max_connections, max_handshakes, max_per_address)
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
            max_fragments=max_fragments,
            message_rate=message_rate,
            byte_rate=byte_rate,
            stall_timeout=stall_timeout,
            idle_timeout=idle_timeout,
            max_lifetime=max_lifetime,
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
        header_limits=header_limits,
    )
    if proxy_protocol and not settings.trusted_proxies:
        raise ValueError("proxy_protocol needs trusted_proxies: who may send it")
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
        admission=admission,
        create_connection=create_connection,
        proxy_protocol=proxy_protocol,
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
