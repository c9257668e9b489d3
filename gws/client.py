"""A URI in, an open `ClientConnection` out.

`connect` is a recipe: it checks its arguments at once and opens nothing until it
is entered with ``with``, or its `open` is called.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl as tls
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NoReturn

from gevent import Timeout
from gevent import socket as gevent_socket

from .connection import Connection
from .exceptions import InvalidStatus
from .listener import plain
from .options import Marks, Options, check_compression
from .protocol.client import ClientProtocol
from .protocol.codes import CloseCode, State
from .protocol.datastructures import Headers, HeadersLike
from .protocol.headers import validate_subprotocols
from .protocol.http11 import Request, Response
from .protocol.types import MaxSize
from .protocol.uri import parse_uri
from .stream import wrap_tls
from .version import version


#: The default User-Agent header.
USER_AGENT = f"gws/{version}"

#: How long to wait for the end of a refusal that does not say how long it is.
BODY_TIMEOUT = 1.0


class ClientConnection(Connection):
    """The client's side of a connection: what `connect` opens.

    Attributes of your own may be set on it.
    """

    protocol: ClientProtocol

    def __init__(
        self, sock: Any, protocol: ClientProtocol, options: Options, remote_address: Any
    ) -> None:
        super().__init__(sock, protocol, options, remote_address)
        self._request: Request | None = None
        self._response: Response | None = None

    # Properties

    @property
    def request(self) -> Request | None:
        """Our request in the opening handshake; None before it was sent."""
        return self._request

    @property
    def response(self) -> Response | None:
        """The server's answer; None before it has come."""
        return self._response

    @property
    def path(self) -> str:
        """The path and query of the request."""
        return self.protocol.uri.resource_name

    @property
    def request_headers(self) -> Headers:
        """The headers of the request."""
        return Headers() if self._request is None else self._request.headers

    @property
    def response_headers(self) -> Headers:
        """The headers of the response."""
        return Headers() if self._response is None else self._response.headers

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        return self.protocol.subprotocol

    # Public methods

    def open_handshake(self, headers: HeadersLike) -> None:
        """Do the opening handshake.

        Args:
            headers: to add to the request.

        Raises:
            InvalidHandshake: if the server refuses, or its answer is not right.
        """
        protocol = self.protocol
        request = protocol.connect()
        added = Headers(headers)
        for name in ("Authorization", "Host"):
            # In the place of what the URI says.
            if name in added:
                request.headers.pop(name, None)
        request.headers.update(added)
        protocol.send_request(request)
        self._request = request
        self.start()
        grace: Timeout | None = None
        try:
            while self.handshake_event is None and self.state is State.CONNECTING:
                self.wait_input()
                if grace is None and protocol.response_so_far() is not None:
                    grace = Timeout.start_new(BODY_TIMEOUT)
        except Timeout as exc:
            refusal = protocol.response_so_far()
            if exc is not grace or refusal is None:
                raise
            raise InvalidStatus(refusal) from None
        finally:
            if grace is not None:
                grace.close()
        self._response = self.handshake_event
        self.handshake_event = None
        if protocol.handshake_exc is not None:
            raise protocol.handshake_exc

    def abort(self) -> None:
        """End the TCP connection, without a closing handshake."""
        self._finish()


class connect:
    """Connect to a WebSocket server.

        with connect("ws://localhost:8765/chat") as ws:
            ws.send("hello")
            print(ws.recv())

    At the end of the ``with`` the connection is closed with 1000, or with 1011
    if its body raised. Without ``with``: ``ws = connect(uri).open()``. All times
    are in seconds, all sizes in bytes; None is no limit.

    Args:
        uri: ``ws://`` or ``wss://``; with user and password for Basic
            authentication. An IRI works as well.
        sock: a connected socket to use.
        ssl: for ``wss://``; by default certificates are verified as browsers do.
        server_hostname: the name that the certificate must have, and for SNI; by
            default the URI's.
        host: where to connect in TCP in the place of the URI's host.
        port: and of its port.
        source_address: (host, port) to connect from.
        origin: the Origin header.
        subprotocols: a list of those to offer, the best first.
        compression: "deflate" or None.
        additional_headers: for the request.
        user_agent_header: None sends none.
        open_timeout: for all of it: name look-up, TCP, TLS and handshake.
        ping_interval: between two keepalive pings.
        ping_timeout: for their pongs.
        close_timeout: for the closing handshake and the end of TCP together.
        max_size: of a message, or (message, fragment).
        max_queue: messages received and not taken before reading stops; or (high,
            low).
        write_limit: bytes sent and not written before `send` waits; or (high, low).
        logger: by default ``logging.getLogger("gws.client")``.
        create_connection: makes a subclass of `ClientConnection`.
        unix_path: a Unix socket to connect to; see `unix_connect`.
        address: (host, port), another name for these two.
        extra_headers: another name for additional_headers.
        create_protocol: another name for create_connection.

    Raises:
        InvalidURI: if the URI is not one.
        ValueError, TypeError: if an option makes no sense.

    Opening raises:
        OSError: if there is no TCP or TLS connection.
        InvalidHandshake: if the server refuses, or its answer is not right.
        TimeoutError: after ``open_timeout``.
    """

    def __init__(
        self,
        uri: str,
        *,
        sock: socket.socket | None = None,
        ssl: tls.SSLContext | None = None,
        server_hostname: str | None = None,
        host: str | None = None,
        port: int | None = None,
        source_address: tuple[str, int] | None = None,
        origin: str | None = None,
        subprotocols: Sequence[str] | None = None,
        compression: str | None = "deflate",
        additional_headers: HeadersLike | None = None,
        user_agent_header: str | None = USER_AGENT,
        open_timeout: float | None = 10,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        max_size: MaxSize = 2**20,
        max_queue: Marks = 16,
        write_limit: Marks = 2**15,
        logger: logging.Logger | None = None,
        create_connection: Callable[..., ClientConnection] | None = None,
        unix_path: str | os.PathLike[str] | None = None,
        address: tuple[str, int] | None = None,
        extra_headers: HeadersLike | None = None,
        create_protocol: Callable[..., ClientConnection] | None = None,
    ) -> None:
        self.uri = parse_uri(uri)
        check_compression(compression)
        if subprotocols is not None:
            validate_subprotocols(subprotocols)
        if address is not None:
            given = None if host is None and port is None else (host, port)
            host, port = either("address", address, "host and port", given)
        self._host = host or self.uri.host
        self._port = port or self.uri.port
        self._sock = sock
        self._unix_path = unix_path
        self._source_address = source_address
        self._ssl = self._tls_context(ssl)
        self._server_hostname = server_hostname or self.uri.host
        self._origin = origin
        self._subprotocols = subprotocols
        self._headers = Headers(
            either(
                "extra_headers",
                extra_headers,
                "additional_headers",
                additional_headers,
            )
            or ()
        )
        check_additional(self._headers)
        if user_agent_header is not None and "User-Agent" not in self._headers:
            self._headers["User-Agent"] = user_agent_header
        self._create_connection = (
            either(
                "create_protocol",
                create_protocol,
                "create_connection",
                create_connection,
            )
            or ClientConnection
        )
        self._options = Options(
            logger=logger or logging.getLogger("gws.client"),
            open_timeout=open_timeout,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            max_size=max_size,
            max_queue=max_queue,
            write_limit=write_limit,
        )
        # Made here, so that an origin that no header can hold is found at once.
        self._protocol().connect()
        self._ws: ClientConnection | None = None

    # Public methods

    def open(self) -> ClientConnection:
        """Open a connection and return it; closing it is the caller's part."""
        timer = Timeout.start_new(self._options.open_timeout)
        try:
            return self._open()
        except Timeout as exc:
            if exc is not timer:
                raise
            raise TimeoutError("the opening handshake took too long") from None
        finally:
            timer.close()

    def __enter__(self) -> ClientConnection:
        if self._ws is not None:
            raise RuntimeError("this connect() is entered already")
        self._ws = self.open()
        return self._ws

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ws, self._ws = self._ws, None
        assert ws is not None  # __enter__ sets it
        if exc_type is None or issubclass(exc_type, GeneratorExit):
            ws.close()
        else:
            ws.close(CloseCode.INTERNAL_ERROR)

    def __getattr__(self, name: str) -> NoReturn:
        hint = ""
        if hasattr(ClientConnection, name):
            hint = ": use `with connect(...) as ws` or `ws = connect(...).open()`"
        raise AttributeError(f"connect() has no {name!r}{hint}", name=name, obj=self)

    # Private methods

    def _tls_context(self, ssl: tls.SSLContext | None) -> tls.SSLContext | None:
        if not self.uri.secure:
            if ssl is not None:
                raise ValueError("ssl needs a wss:// URI")
            return None
        return tls.create_default_context() if ssl is None else ssl

    def _protocol(self) -> ClientProtocol:
        return ClientProtocol(
            self.uri, origin=self._origin, subprotocols=self._subprotocols
        )

    def _open(self) -> ClientConnection:
        sock = self._connect_socket()
        try:
            if self._ssl is not None:
                sock = wrap_tls(
                    sock,
                    self._ssl,
                    server_side=False,
                    server_hostname=self._server_hostname,
                )
            ws = self._create_connection(
                sock, self._protocol(), self._options, sock.getpeername()
            )
        except BaseException:
            sock.close()
            raise
        try:
            ws.open_handshake(self._headers)
        except BaseException:
            ws.abort()
            raise
        ws.start_keepalive()
        return ws

    def _connect_socket(self) -> Any:
        # A connected socket of the plain kind: gevent's own has watchers that a
        # connection does not need.
        if self._sock is not None:
            return self._sock
        sock: Any
        if self._unix_path is not None:
            sock = gevent_socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(os.fspath(self._unix_path))
            except BaseException:
                sock.close()
                raise
            return plain(sock)
        sock = plain(
            gevent_socket.create_connection(
                (self._host, self._port), source_address=self._source_address
            )
        )
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


def unix_connect(
    path: str | os.PathLike[str], uri: str | None = None, **kwargs: Any
) -> connect:
    """Connect to a WebSocket server on a Unix socket.

    Args:
        path: of the socket file.
        uri: for the handshake; by default ``ws://localhost/``, or ``wss://`` with
            ``ssl``.
        kwargs: as for `connect`.
    """
    if uri is None:
        uri = "ws://localhost/" if kwargs.get("ssl") is None else "wss://localhost/"
    return connect(uri, unix_path=path, **kwargs)


def check_additional(headers: Headers) -> None:
    """Raise ValueError if one of ``headers`` belongs to the opening handshake."""
    for name in headers:
        if name.lower() in ("connection", "upgrade", "origin") or (
            name.lower().startswith("sec-websocket-")
        ):
            raise ValueError(f"{name} can't be added: the handshake makes it")


def either(alias: str, aliased: Any, name: str, value: Any) -> Any:
    """Return what one of two names for the same option was given."""
    if aliased is None:
        return value
    if value is not None:
        raise TypeError(f"{alias} and {name} are the same: give one")
    return aliased
