"""picows (core API) on uvloop in one process: /N joins the room N.

picows_one_server.py PORT
"""

import sys
from collections import defaultdict

import uvloop
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)


rooms: defaultdict[bytes, set[WSTransport]] = defaultdict(set)


class Member(WSListener):
    def __init__(self, room: bytes) -> None:
        self.members = rooms[room]

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.members.add(transport)
        transport.send(WSMsgType.TEXT, b"joined")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.members.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            self.members.discard(transport)
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif frame.msg_type == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        else:
            kind, message = frame.msg_type, frame.get_payload_as_bytes()
            for member in self.members:
                member.send(kind, message)


def listener(request: WSUpgradeRequest) -> WSListener:
    return Member(bytes(request.path))


async def main() -> None:
    server = await ws_create_server(listener, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
