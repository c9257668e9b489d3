"""tornado on uvloop: / echoes, /fanout sends to all.

`write_message` is not awaited: it writes at once what the kernel takes, and the rest is
buffered.
"""

import asyncio
from typing import Any

import uvloop
from asked import DEFLATE, PORT, tls_context
from tornado.web import Application
from tornado.websocket import WebSocketHandler


receivers: set[WebSocketHandler] = set()


class Handler(WebSocketHandler):
    def get_compression_options(self) -> dict[str, Any] | None:
        return {} if DEFLATE else None


class Echo(Handler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


class FanOut(Handler):
    def open(self) -> None:
        receivers.add(self)

    def on_message(self, message: str | bytes) -> None:
        for receiver in receivers:
            receiver.write_message(message, binary=isinstance(message, bytes))

    def on_close(self) -> None:
        receivers.discard(self)


async def main() -> None:
    app = Application([("/", Echo), ("/fanout", FanOut)])
    app.listen(PORT, "127.0.0.1", ssl_options=tls_context())
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
