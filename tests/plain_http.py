"""A plain HTTP request, as a browser or a health check makes one."""

from __future__ import annotations

from typing import Any

import gevent
from gevent import socket

from gws.protocol.http11 import Response, read_response


def get(address: Any, path: str = "/", host: str = "localhost") -> Response:
    """Return the answer to GET; the connection must end after it."""
    with gevent.Timeout(10), socket.create_connection(address[:2]) as sock:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"
        sock.sendall(request.encode())
        with sock.makefile("rb") as stream:
            response = read_response(stream)
            assert stream.read() == b""
    return response
