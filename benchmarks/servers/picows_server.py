"""picows (core API) on uvloop: an echo at /, a fan-out at /fanout.

The fastest documented way: the listener answers in `on_ws_frame`, from a memoryview of
the read buffer, without a coroutine. aiofastnet is its default transport where that is
installed, which it is with picows 2.3; TCP_NODELAY is set by picows itself. It gives
frames, not messages: no str is made and UTF-8 is not checked.
"""

import uvloop
from asked import PORT, tls_context
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)


receivers: set[WSTransport] = set()


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class FanOut(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        receivers.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        receivers.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            receivers.discard(transport)
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            kind, message = frame.msg_type, frame.get_payload_as_bytes()
            for receiver in receivers:
                receiver.send(kind, message)


def listener(request: WSUpgradeRequest) -> WSListener:
    return FanOut() if request.path == b"/fanout" else Echo()


async def main() -> None:
    server = await ws_create_server(listener, "127.0.0.1", PORT, ssl=tls_context())
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
