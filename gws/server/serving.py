"""Addresses and a handler in, a `Server` that listens out."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl as tls
from collections.abc import Callable, Sequence
from typing import Any

from ..extensions import ServerExtensionFactory
from ..observe import Observer
from ..options import Marks, Options, Rate
from ..protocol.head import HEADER_LIMITS, HeaderLimits
from ..protocol.origins import Origins
from ..protocol.reader import MAX_FRAGMENTS
from ..protocol.types import MaxSize
from .admission import Admission
from .handshake import ServerConnection
from .listener import listen_tcp, listen_unix
from .route import with_path
from .server import Server
from .settings import SERVER, Settings


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
    observers: Sequence[Observer] = (),
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
        max_fragments: of a message, by default 2**17; then 1009.
        max_queue: messages received and not taken before reading stops; or (high,
            low).
        message_rate: frames that may come a second, of any kind; or (a second, at
            once), by default what comes in two seconds at once; then 1008.
        byte_rate: bytes that may come a second; or (a second, at once), by default
            what comes in two seconds and a message of max_size at once; then 1008.
        write_limit: bytes sent and not written before `send` waits; or (high, low).
        logger: by default ``logging.getLogger("gws.server")``.
        observers: each an `Observer`, told of connections that come and go.
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
            observers=observers,
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
        handler: as for `serve`.
        path: of the socket file.
        mode: its permissions, such as 0o660.
        backlog: as for `serve`.
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
