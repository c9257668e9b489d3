"""A socket to an HTTP proxy in, a connection to a server behind it out.

By CONNECT (RFC 9110 9.3.6): when the proxy has agreed, the octets after its answer
are the server's, and ours go to the server.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from gevent import Timeout
from gevent.socket import wait_read, wait_write

from ..exceptions import (
    InvalidHandshake,
    InvalidMessage,
    InvalidProxyMessage,
    InvalidProxyStatus,
    ProxyError,
)
from ..protocol.datastructures import Headers
from ..protocol.headers import build_authorization_basic
from ..protocol.http11 import Response, ResponseReader


#: How long to wait for the end of a refusal that does not say how long it is.
BODY_TIMEOUT = 1.0


def open_by_connect(
    sock: Any,
    authority: str,
    user_info: tuple[str, str] | None,
    user_agent: str | None,
) -> None:
    """Have the HTTP proxy at the other end of a socket connect it to a server.

    Args:
        sock: plain or TLS, non-blocking; after an error, closing it is the caller's
            part.
        authority: host and port of the server.
        user_info: username and password for Basic authentication.
        user_agent: the User-Agent header; None sends none.

    Raises:
        OSError: if the connection is broken.
        InvalidProxyStatus: if the proxy refuses.
        InvalidProxyMessage: if it answers something else than it must.
        ProxyError: if it closes the connection.
    """
    # RFC 9112 3.2: Host is "identical to that authority component".
    headers = Headers({"Host": authority})
    if user_agent is not None:
        headers["User-Agent"] = user_agent
    if user_info is not None:
        headers["Proxy-Authorization"] = build_authorization_basic(*user_info)
    _send_all(sock, f"CONNECT {authority} HTTP/1.1\r\n".encode() + headers.serialize())
    reader = ResponseReader(to_connect=True)
    try:
        response = _read_response(sock, reader)
    except InvalidHandshake as exc:
        if isinstance(exc, InvalidMessage) and exc.eof:
            raise ProxyError("proxy closed the connection") from exc
        raise InvalidProxyMessage(f"proxy's answer isn't valid: {exc}") from exc
    # RFC 9110 9.3.6: "Any 2xx (Successful) response indicates that the sender
    # [...] will switch to tunnel mode immediately".
    if not 200 <= response.status_code < 300:
        raise InvalidProxyStatus(response)
    # In TLS and in WebSocket the server speaks when it has been spoken to. What is
    # here already is the proxy's own, such as a body that no 2xx may have.
    if reader.leftover:
        raise InvalidProxyMessage("proxy's answer goes on after its head")


def _read_response(sock: Any, reader: ResponseReader) -> Response:
    response: Response | None = None
    grace: Timeout | None = None
    try:
        while response is None:
            data = _when_ready(wait_read, sock, sock.recv, 2**16)
            response = reader.feed(data) if data else reader.feed_eof()
            if response is None and grace is None and reader.head_complete:
                grace = Timeout.start_new(BODY_TIMEOUT)
    except Timeout as exc:
        response = reader.response_so_far()
        if exc is not grace or response is None:
            raise
    finally:
        if grace is not None:
            grace.close()
    return response


def _send_all(sock: Any, data: bytes) -> None:
    while data:
        n = _when_ready(wait_write, sock, sock.send, data)
        if n == 0:  # gevent's TLS socket returns 0 where the standard one raises
            wait_write(sock.fileno())
        data = data[n:]


def _when_ready(
    wait: Callable[[int], Any], sock: Any, operation: Callable[..., Any], *args: Any
) -> Any:
    """Do an operation of a plain or TLS socket as soon as it would not block."""
    while True:
        try:
            return operation(*args)
        except ssl.SSLWantReadError:
            wait_read(sock.fileno())
        except ssl.SSLWantWriteError:
            wait_write(sock.fileno())
        except BlockingIOError:
            wait(sock.fileno())
