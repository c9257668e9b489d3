"""Times parsing, unmasking and framing of messages, without sockets.

    python benchmarks/micro/bench_frames.py --fast

Octets in and events out, messages in and octets out, through what each library has for
a connection without I/O. wsproto is Python throughout; websockets masks in C.
"""

from collections.abc import Callable
from typing import Any

import pyperf
from common import FRAMES, bench, expect, optional

from gws.protocol import Protocol, Side


websockets = optional("websockets.protocol")
wsproto = optional("wsproto.connection")

Message = str | bytes
Receive = Callable[[bytes], int]
Send = Callable[[Message, int], None]

MESSAGES: list[tuple[str, Message, int]] = [
    ("64 B text", "0123456789abcdef" * 4, FRAMES),
    ("64 KiB binary", bytes(range(256)) * 256, 1),
]


def wire(side: Side, message: Message, count: int) -> bytes:
    """Return so many messages as one side sends them; a client masks."""
    protocol = Protocol(side)
    for _ in range(count):
        send_by(protocol, message)
    return b"".join(protocol.data_to_send())


def send_by(protocol: Any, message: Message) -> None:
    """Send a str as text and bytes as binary, by gws or websockets."""
    if isinstance(message, str):
        # websockets takes text as its octets, gws as it is.
        text = message if isinstance(protocol, Protocol) else message.encode()
        protocol.send_text(text)
    else:
        protocol.send_binary(message)


def gws_receiver(side: Side) -> Receive:
    """Return what takes octets and says how many messages these were."""
    protocol = Protocol(side)

    def receive(data: bytes) -> int:
        protocol.receive_data(data)
        return len(protocol.events_received())

    return receive


def websockets_receiver(side: Side) -> Receive:
    """Return the same for websockets; text is decoded, as gws has done it."""
    assert websockets is not None  # `libraries` looked
    protocol = websockets.Protocol(websockets.Side(int(side)))

    def receive(data: bytes) -> int:
        protocol.receive_data(data)
        found = protocol.events_received()
        for frame in found:
            if frame.opcode == 1:
                str(frame.data, "utf-8")
        return len(found)

    return receive


def wsproto_receiver(side: Side) -> Receive:
    """Return the same for wsproto."""
    assert wsproto is not None  # `libraries` looked
    kind = wsproto.ConnectionType[side.name]
    connection = wsproto.Connection(kind)

    def receive(data: bytes) -> int:
        connection.receive_data(data)
        return sum(1 for _ in connection.events())

    return receive


def gws_sender(side: Side) -> Send:
    """Return what frames so many messages, and takes what is to be written."""
    protocol = Protocol(side)

    def send(message: Message, count: int) -> None:
        for _ in range(count):
            send_by(protocol, message)
        protocol.data_to_send()

    return send


def websockets_sender(side: Side) -> Send:
    """Return the same for websockets."""
    assert websockets is not None  # `libraries` looked
    protocol = websockets.Protocol(websockets.Side(int(side)))

    def send(message: Message, count: int) -> None:
        for _ in range(count):
            send_by(protocol, message)
        protocol.data_to_send()

    return send


def wsproto_sender(side: Side) -> Send:
    """Return the same for wsproto, which gives the octets at once."""
    assert wsproto is not None  # `libraries` looked
    from wsproto.events import BytesMessage, TextMessage

    connection = wsproto.Connection(wsproto.ConnectionType[side.name])

    def send(message: Message, count: int) -> None:
        kind = TextMessage if isinstance(message, str) else BytesMessage
        for _ in range(count):
            connection.send(kind(data=message))

    return send


def libraries() -> list[tuple[str, Callable[[Side], Receive], Callable[[Side], Send]]]:
    """Return who is installed, with what makes its receiver and its sender."""
    found: list[tuple[str, Callable[[Side], Receive], Callable[[Side], Send]]]
    found = [("gws", gws_receiver, gws_sender)]
    if websockets:
        found.append(("websockets", websockets_receiver, websockets_sender))
    if wsproto:
        found.append(("wsproto", wsproto_receiver, wsproto_sender))
    return found


def main() -> None:
    """Measure each message, both ways, by everybody."""
    runner = pyperf.Runner()
    for name, message, count in MESSAGES:
        for sender, receiver in [
            (Side.CLIENT, Side.SERVER),
            (Side.SERVER, Side.CLIENT),
        ]:
            words = "masked" if sender is Side.CLIENT else "not masked"
            data = wire(sender, message, count)
            for library, make_receiver, make_sender in libraries():
                expect(make_receiver(receiver)(data), count)
                take, send = make_receiver(receiver), make_sender(sender)
                what = f"a frame of {name}, {words}"
                bench(runner, f"receive {what}", library, take, data, each=count)
                bench(runner, f"send {what}", library, send, message, count, each=count)


if __name__ == "__main__":
    main()
