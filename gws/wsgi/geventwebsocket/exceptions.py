"""The errors of gevent-websocket; known as geventwebsocket.exceptions."""

from __future__ import annotations


class WebSocketError(OSError):
    """The connection is closed, or what was asked of it makes no sense."""


class ProtocolError(WebSocketError):
    """What was to be sent is none of the protocol."""


class FrameTooLargeException(ProtocolError):
    """A frame is too large. Here nobody raises it: the connection fails with 1009."""
