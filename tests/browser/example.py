"""Addresses of an example that serves a page and a WebSocket on one port."""

from __future__ import annotations

from urllib.parse import urlsplit


def websocket(url: str, path: str) -> str:
    """Return the URI of the WebSocket beside a page."""
    return url.replace("http", "ws", 1) + path


def port_of(url: str) -> str:
    return str(urlsplit(url).port)
