"""The client of python-socketio, told what to do.

Each line on stdin is a command, [name, *arguments] in JSON: ["connect", url,
transports], ["emit", event, *data], ["call", event, *data], ["disconnect"]. What
happens is said on stdout in the same way: ["connect", transport], ["event", event,
*data], ["answer", *data], ["disconnect", reason]. Bytes travel as {"hex": "..."}.
node/peer.mjs does the same in JavaScript.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import socketio


class Peer:
    """What the commands do, by their names."""

    def __init__(self) -> None:
        self._client = socketio.Client(reconnection=False)
        self._client.on("connect", self._say_connect)
        self._client.on("disconnect", lambda reason: say("disconnect", reason))
        self._client.on("*", lambda event, *data: say("event", event, *data))

    def connect(self, url: str, transports: list[str]) -> None:
        try:
            self._client.connect(url, transports=transports)
        except socketio.exceptions.ConnectionError as exc:
            say("connect_error", str(exc))

    def emit(self, event: str, *data: Any) -> None:
        self._client.emit(event, data)

    def call(self, event: str, *data: Any) -> None:
        self._client.emit(event, data, callback=lambda *got: say("answer", *got))

    def disconnect(self) -> None:
        self._client.disconnect()

    def _say_connect(self) -> None:
        say("connect", self._client.transport())


def say(*values: Any) -> None:
    text = json.dumps(values, default=lambda data: {"hex": bytes(data).hex()})
    print(text, flush=True)


def unpack(value: Any) -> Any:
    if isinstance(value, dict) and "hex" in value:
        return bytes.fromhex(value["hex"])
    if isinstance(value, list):
        return [unpack(item) for item in value]
    return value


peer = Peer()
for line in sys.stdin:
    name, *arguments = json.loads(line)
    getattr(peer, name)(*map(unpack, arguments))
