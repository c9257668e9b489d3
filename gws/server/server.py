"""Listening sockets and a handler in, a running WebSocket server out.

`serving.serve` listens; `Server` accepts. Each connection is one greenlet, which does
the TLS handshake, the opening handshake and then runs the handler; nothing of it
happens in the accept loop.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl as tls
from collections.abc import Callable, Sequence
from typing import Any

from gevent import GreenletExit, Timeout, get_hub, getcurrent, kill, sleep
from gevent.event import Event

from ..observe import tell
from ..protocol.codes import CloseCode, State
from ..stream import wrap_tls
from .admission import Admission, turn_away
from .drain import STOP, TELL, Countdown, Greenlets, check_close, close_gradually
from .handling import handle
from .handshake import TOO_MANY, refusal_octets
from .handshake import ServerConnection as ServerConnection
from .listener import Listener
from .proxy_protocol import ProxyProtocolError, receive_header
from .settings import Settings


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
        self._greenlets = Greenlets()
        self._listeners = [Listener(sock, self._serve) for sock in sockets]
        # Of a Unix socket; `unix_serve` sets it, `close` removes it.
        self._socket_file: str | None = None
        self._closed = Event()
        # `close` was called, or `drain` is done.
        self._over = Event()

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
            code, reason: of the closing handshakes.

        Raises:
            ProtocolError, TypeError: as `Connection.close`.
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
        try:
            self._closed.wait()
            self._greenlets.wait()
        except Timeout as exc:
            if exc is not timer:
                raise
            return False
        finally:
            timer.close()
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

    def is_ready(self) -> bool:
        """Tell whether whoever connects now would be served."""
        return self.is_serving() and self.has_room()

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
        for greenlet in self._greenlets.others():
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
            self._turn_away(sock, address, 503, "The server is full.\n")
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
            self._greenlets.leave(greenlet)

    def _open(self, sock: Any, address: Any) -> ServerConnection | None:
        # The TLS and the opening handshake, within open_timeout; None if they fail.
        ws: ServerConnection | None = None
        settings = self._settings
        logger = settings.options.logger
        timer = Timeout.start_new(settings.options.open_timeout)
        try:
            if sock.family != getattr(socket, "AF_UNIX", None):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if (identified := self._identify(sock, address)) is None:
                return None
            address, settings = identified
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
        except OSError as exc:  # TLS, or a proxy's header, or the peer has gone
            logger.debug("no connection: %s: %s", address, exc)
        finally:
            timer.close()
            if ws is None:
                sock.close()
        self._tell_refused(ws, address)
        return None

    def _tell_refused(self, ws: ServerConnection | None, address: Any) -> None:
        # And close what there is.
        if ws is None:
            tell(self._settings.options, "turned_away", address, 0)
        else:
            tell(ws.settings.options, "answered", ws, ws.protocol.status)
            ws.close()

    def _identify(self, sock: Any, address: Any) -> tuple[Any, Settings] | None:
        # Whose connection it is, and what it is served with; None if it is not.
        settings = self._settings
        if self._proxy_protocol:
            address, settings = self._read_proxy_header(sock, address)
        if not self.addresses.enter(getcurrent(), address, settings._proxies):
            self._turn_away(sock, address, 429, TOO_MANY)
            return None
        return address, settings

    def _turn_away(self, sock: Any, address: Any, status: int, text: str) -> None:
        # Before the TLS handshake, or the request; whoever would speak TLS could not
        # read an answer.
        self._settings.options.logger.debug("turned away: %d %s", status, text.strip())
        if self.ssl is None:
            turn_away(sock, refusal_octets(self._settings, status, text))
        tell(self._settings.options, "turned_away", address, status)

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
