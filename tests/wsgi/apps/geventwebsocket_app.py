"""A chat of all clients, as it was written for gevent-websocket."""

from __future__ import annotations

from typing import Any

from geventwebsocket import WebSocketError


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    ws = environ.get("wsgi.websocket")
    if ws is None:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"no WebSocket"]
    while not ws.closed:
        message = ws.receive()
        if message is None:
            break
        clients = list(ws.handler.server.clients.values())
        for client in clients:
            try:
                client.ws.send(f"{len(clients)} hear {message}")
            except WebSocketError:
                continue
    return []
