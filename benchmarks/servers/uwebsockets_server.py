"""uWebSockets through socketify: / echoes, /fanout publishes to a topic.

C++ does all but call the handler. A message that is compressed is compressed for itself
("shared" compressor).
"""

from typing import Any

from asked import CERTIFICATE, DEFLATE, PORT
from socketify import App, AppListenOptions, AppOptions, CompressOptions, OpCode


TOPIC = "all"

#: As much as any row sends, and leaves unread for a while.
LARGEST, BACKPRESSURE = 1 << 24, 1 << 30

SHARED = CompressOptions.SHARED_COMPRESSOR | CompressOptions.SHARED_DECOMPRESSOR


def echo(ws: Any, message: str | bytes, opcode: OpCode) -> None:
    ws.send(message, opcode, DEFLATE)


def subscribe(ws: Any) -> None:
    ws.subscribe(TOPIC)


def publish(ws: Any, message: str | bytes, opcode: OpCode) -> None:
    ws.publish(TOPIC, message, opcode, DEFLATE)


def main() -> None:
    tls = AppOptions(key_file_name=CERTIFICATE, cert_file_name=CERTIFICATE)
    app = App(tls if CERTIFICATE else None)
    settings = {
        "max_payload_length": LARGEST,
        "max_backpressure": BACKPRESSURE,
        "idle_timeout": 0,
        "compression": SHARED if DEFLATE else CompressOptions.DISABLED,
    }
    app.ws("/", {**settings, "message": echo})
    app.ws("/fanout", {**settings, "open": subscribe, "message": publish})
    app.listen(AppListenOptions(port=PORT, host="127.0.0.1"))
    app.run()


if __name__ == "__main__":
    main()
