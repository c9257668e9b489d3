"""picows' client (core API) on uvloop: all work is done in its frame callback."""

import asyncio

import uvloop
from measure import MESSAGE_BYTES, Counter, arguments, wrong
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect


args = arguments()
counter = Counter()


class Listener(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        for _ in range(args.in_flight):
            transport.send(WSMsgType.TEXT, MESSAGE_BYTES)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        message = frame.get_payload_as_bytes()
        if message != MESSAGE_BYTES:
            wrong(message)
        counter.echoes += 1
        transport.send(WSMsgType.TEXT, MESSAGE_BYTES)


async def main() -> None:
    # The transports must be kept: nothing else refers to them.
    opened = [await ws_connect(Listener, args.uri) for _ in range(args.connections)]
    await asyncio.sleep(args.warmup)
    counter.start()
    await asyncio.sleep(args.seconds)
    assert len(opened) == args.connections
    counter.finish()


if __name__ == "__main__":
    uvloop.run(main())
