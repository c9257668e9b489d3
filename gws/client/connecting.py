"""A URI in, an open `ClientConnection` out.

`connect` is a recipe: it checks its arguments at once and opens nothing until it
is entered with ``with``, iterated over, or its `open` is called. Nothing changes it:
it may be used again, and by several greenlets.
"""

from __future__ import annotations

import copy
import logging
import os
import socket
import ssl as tls
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, NoReturn

from gevent import Timeout

from ..exceptions import InvalidHandshake, InvalidStatus, SecurityError
from ..extensions import ClientExtensionFactory, enable_client_permessage_deflate
from ..options import Marks, Options, Rate, check_compression
from ..protocol.datastructures import Headers, HeadersLike
from ..protocol.headers import validate_subprotocols
from ..protocol.reader import MAX_FRAGMENTS
from ..protocol.types import MaxSize
from ..protocol.uri import WebSocketURI, parse_uri
from ..version import version
from .connection import ClientConnection as ClientConnection
from .dial import Dialer
from .opening import ChallengeAuth, Opening
from .redirects import MAX_REDIRECTS, is_same_origin, location_of
from .retry import (
    Connections,
    Reconnection,
    backoff,
    end_code,
    process_exception,
)


#: The default User-Agent header.
USER_AGENT = f"gws/{version}"

# The parameter of `connect` has the same name.
default_process_exception = process_exception


class connect:
    """Connect to a WebSocket server.

        with connect("ws://localhost:8765/chat") as ws:
            ws.send("hello")
            print(ws.recv())

    At the end of the ``with`` the connection is closed with 1000, or with 1011
    if its body raised. Without ``with``: ``ws = connect(uri).open()``. To stay
    connected, iterate:

        for ws in connect("ws://localhost:8765/chat"):
            try:
                for message in ws:
                    print(message)
            except ConnectionClosed:
                continue

    Each turn has a new connection; the one before is closed first, with 1000, and
    so is the last when the loop is left, by ``break`` or otherwise. What goes wrong
    while it opens is tried again if ``process_exception`` says so. After a connection
    that was lost the next is opened at once, unless two of them in a row lasted less
    than 5 s. On PyPy, the end of a loop is noticed late; and no loop knows that an
    exception ends it. For that, and to have it close with 1011 then:

        with iter(connect("ws://localhost:8765/chat")) as connections:
            for ws in connections: ...

    Redirects are followed, at most 10, never from wss to ws. Another origin is sent
    no Authorization, Cookie, Host or Proxy-Authorization of yours; with ``host``,
    ``port`` or ``unix_path`` a redirect there is an error, as is any with ``sock``.

    All times are in seconds, all sizes in bytes; None is no limit.

    Args:
        uri: ``ws://`` or ``wss://``; with user and password for Basic
            authentication. An IRI works as well.
        sock: a connected socket to use, once.
        ssl: for ``wss://``; by default certificates are verified as browsers do.
        server_hostname: the name that the certificate must have, and for SNI; by
            default the URI's.
        host: where to connect in TCP in the place of the URI's host.
        port: and of its port.
        source_address: (host, port) to connect from.
        origin: the Origin header.
        extensions: a list of `ClientExtensionFactory`, the best first.
        subprotocols: a list of those to offer, the best first.
        compression: "deflate" offers permessage-deflate, without context takeover;
            None does not.
        additional_headers: for the request.
        user_agent_header: None sends none.
        auth: (user, password) for Basic authentication, sent at once; or a
            `DigestAuth`, which answers a 401. In the place of the URI's.
        proxy: True takes it from the environment, None has none; or its URI. It has
            no part in ``sock`` and ``unix_path``.
        proxy_ssl: for an ``https://`` proxy.
        proxy_server_hostname: the name that its certificate must have.
        process_exception: called with what went wrong in ``for``; returns None to
            try again, or what to raise.
        reconnect_delays: called for an iterator over the seconds between attempts;
            called again after a success. At its end there is no other attempt. A
            429 or 503 with Retry-After is obeyed, up to 90 s.
        open_timeout: for all of it: name look-up, TCP, proxy, TLS, handshake and
            redirects. A ``for`` has it for each attempt.
        ping_interval: between two keepalive pings.
        ping_timeout: for their pongs.
        close_timeout: for the closing handshake and the end of TCP together.
        stall_timeout, max_fragments, message_rate, byte_rate: as for `serve`.
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
        InvalidProxy: if the proxy's URI is not one.
        ProxyError: if the proxy does not let us through.
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
        extensions: Sequence[ClientExtensionFactory] | None = None,
        subprotocols: Sequence[str] | None = None,
        compression: str | None = "deflate",
        additional_headers: HeadersLike | None = None,
        user_agent_header: str | None = USER_AGENT,
        auth: tuple[str, str] | ChallengeAuth | None = None,
        proxy: str | bool | None = True,
        proxy_ssl: tls.SSLContext | None = None,
        proxy_server_hostname: str | None = None,
        process_exception: Callable[
            [Exception], Exception | None
        ] = default_process_exception,
        reconnect_delays: Callable[[], Iterable[float]] = backoff,
        open_timeout: float | None = 10,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        stall_timeout: float | None = 60,
        max_size: MaxSize = 2**20,
        max_fragments: int | None = MAX_FRAGMENTS,
        max_queue: Marks = 16,
        message_rate: Rate = None,
        byte_rate: Rate = None,
        write_limit: Marks = 2**15,
        logger: logging.Logger | None = None,
        create_connection: Callable[..., ClientConnection] | None = None,
        unix_path: str | os.PathLike[str] | None = None,
        address: tuple[str, int] | None = None,
        extra_headers: HeadersLike | None = None,
        create_protocol: Callable[..., ClientConnection] | None = None,
    ) -> None:
        where = parse_uri(uri)
        check_compression(compression)
        if subprotocols is not None:
            validate_subprotocols(subprotocols)
        if address is not None:
            given = None if host is None and port is None else (host, port)
            host, port = either("address", address, "host and port", given)
        if ssl is not None and not where.secure:
            raise ValueError("ssl needs a wss:// URI")
        if ssl is None and where.secure:
            ssl = tls.create_default_context()
        added = either(
            "extra_headers", extra_headers, "additional_headers", additional_headers
        )
        made = either(
            "create_protocol", create_protocol, "create_connection", create_connection
        )
        self._opening = Opening(
            uri=where,
            dialer=Dialer(
                sock=sock,
                unix_path=unix_path,
                host=host,
                port=port,
                source_address=source_address,
                ssl=ssl,
                server_hostname=server_hostname,
                proxy=proxy,
                proxy_ssl=proxy_ssl,
                proxy_server_hostname=proxy_server_hostname,
                user_agent=user_agent_header,
            ),
            headers=request_headers(added, user_agent_header),
            options=Options(
                logger=logger or logging.getLogger("gws.client"),
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
            ),
            create_connection=made or ClientConnection,
            origin=origin,
            extensions=(
                extensions or ()
                if compression is None
                else enable_client_permessage_deflate(extensions)
            ),
            subprotocols=subprotocols,
        )
        if auth is not None:
            self._opening = self._opening.with_auth(auth)
        # Made here, so that what no header can hold is found at once.
        self._opening.protocol().connect()
        self._process_exception = process_exception
        self._reconnect_delays = reconnect_delays
        if not callable(process_exception) or not callable(reconnect_delays):
            raise TypeError("process_exception and reconnect_delays must be callable")
        self._entered = False
        self._ws: ClientConnection | None = None

    # Properties

    @property
    def uri(self) -> WebSocketURI:
        """Where to; in `process_redirect`, where redirects have led so far."""
        return self._opening.uri

    # Public methods

    def open(self) -> ClientConnection:
        """Open a connection and return it; closing it is the caller's part."""
        timer = Timeout.start_new(self._opening.options.open_timeout)
        try:
            return self._open()
        except Timeout as exc:
            if exc is not timer:
                raise
            raise TimeoutError("the opening handshake took too long") from None
        finally:
            timer.close()

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Decide what follows when opening failed; a subclass may decide otherwise.

        Args:
            exc: what went wrong; perhaps an `InvalidStatus` that redirects. `uri` is
                what was asked for.

        Returns:
            The URI to open in its place; or the exception to raise, ``exc`` if
            it is not to be followed.
        """
        if not isinstance(exc, InvalidStatus):
            return exc
        try:
            target = location_of(exc.response, self.uri)
        except InvalidHandshake as reason:
            return reason
        if target is None:
            return exc
        uri = parse_uri(target)
        if self._opening.dialer.sock is not None:
            return InvalidHandshake("no other socket to follow a redirect with")
        if self.uri.secure and not uri.secure:
            return SecurityError("redirect from wss to ws")
        if self._opening.dialer.has_its_own_way and not is_same_origin(self.uri, uri):
            return SecurityError("redirect to another origin, off the way given")
        return target

    def __enter__(self) -> ClientConnection:
        if self._entered:
            raise RuntimeError("this connect() is entered already")
        self._entered = True
        try:
            self._ws = self.open()
        except BaseException:
            self._entered = False
            raise
        return self._ws

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ws, self._ws = self._ws, None
        assert ws is not None  # __enter__ sets it
        self._entered = False
        ws.close(end_code(exc_type))

    def __iter__(self) -> Connections:
        """Connect over and over; see the class."""
        return Connections(
            Reconnection(
                self.open,
                self._process_exception,
                self._reconnect_delays,
                self._opening.options.logger,
            )
        )

    def __getattr__(self, name: str) -> NoReturn:
        hint = ""
        if hasattr(ClientConnection, name):
            hint = ": use `with connect(...) as ws` or `ws = connect(...).open()`"
        raise AttributeError(f"connect() has no {name!r}{hint}", name=name, obj=self)

    # Private methods

    def _open(self) -> ClientConnection:
        recipe = copy.copy(self)
        for _ in range(1 + MAX_REDIRECTS):
            try:
                return recipe._opening.open()
            except Exception as exc:
                target = recipe.process_redirect(exc)
                if target is exc:
                    raise
                if isinstance(target, Exception):
                    raise target from exc
            recipe._opening = recipe._opening.redirected(target)
        raise SecurityError(f"more than {MAX_REDIRECTS} redirects")


def unix_connect(
    path: str | os.PathLike[str] | None = None, uri: str | None = None, **kwargs: Any
) -> connect:
    """Connect to a WebSocket server on a Unix socket.

    Args:
        path: of the socket file; None with ``sock``.
        uri: for the handshake; by default ``ws://localhost/``, or ``wss://`` with
            ``ssl``.
        kwargs: as for `connect`.
    """
    if path is None and kwargs.get("sock") is None:
        raise TypeError("unix_connect needs a path, or sock")
    if uri is None:
        uri = "ws://localhost/" if kwargs.get("ssl") is None else "wss://localhost/"
    return connect(uri, unix_path=path, **kwargs)


def request_headers(added: HeadersLike | None, user_agent: str | None) -> Headers:
    """Return the headers to add to the request.

    Raises:
        ValueError: if one of them belongs to the opening handshake.
    """
    headers = Headers(added or ())
    for name in headers:
        if name.lower() in ("connection", "upgrade", "origin") or (
            name.lower().startswith("sec-websocket-")
        ):
            raise ValueError(f"{name} can't be added: the handshake makes it")
    if user_agent is not None and "User-Agent" not in headers:
        headers["User-Agent"] = user_agent
    return headers


def either(alias: str, aliased: Any, name: str, value: Any) -> Any:
    """Return what one of two names for the same option was given."""
    if aliased is None:
        return value
    if value is not None:
        raise TypeError(f"{alias} and {name} are the same: give one")
    return aliased
