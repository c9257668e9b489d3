"""Times the frame code alone, without sockets: `python benchmarks/bench_frames.py`.

In: nothing. Out: nanoseconds a frame, through the public `Protocol`, for the build
that is imported. The best of several repeats counts: the rest is the machine's noise.
"""

import time
from collections.abc import Callable
from functools import partial

import gws
from gws.protocol import Protocol, Side


REPEATS = 7
SECONDS = 0.2  #: length of one repeat, about
FRAMES = 100  #: in one call, like the frames of one read

SMALL = "0123456789abcdef" * 4  # 64 bytes of text
LARGE = bytes(range(256)) * 256  # 64 KiB


def wire(side: Side, message: str | bytes, count: int) -> bytes:
    """Return `count` messages as one side sends them; a client masks."""
    protocol = Protocol(side)
    for _ in range(count):
        send(protocol, message)
    return b"".join(protocol.data_to_send())


def send(protocol: Protocol, message: str | bytes) -> None:
    """Send a str as text and bytes as binary."""
    if isinstance(message, str):
        protocol.send_text(message)
    else:
        protocol.send_binary(message)


def receive(protocol: Protocol, data: bytes, count: int) -> None:
    """Parse, unmask and take `count` frames."""
    protocol.receive_data(data)
    if len(protocol.events_received()) != count:
        raise AssertionError("the frames did not come back")


def serialize(protocol: Protocol, message: str | bytes, count: int) -> None:
    """Frame `count` messages, and take what is to be written."""
    for _ in range(count):
        send(protocol, message)
    protocol.data_to_send()


def best(call: Callable[[], None]) -> float:
    """Return the seconds that the fastest of several repeats took for one call."""
    start = time.perf_counter()
    call()
    number = max(1, int(SECONDS / (time.perf_counter() - start)))
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(number):
            call()
        times.append((time.perf_counter() - start) / number)
    return min(times)


def main() -> None:
    """Run each and print a line for it."""
    print("compiled" if gws.COMPILED else "interpreted")
    messages: list[tuple[str, str | bytes, int]] = [
        ("64 B text", SMALL, FRAMES),
        ("64 KiB", LARGE, 1),
    ]
    for name, message, count in messages:
        for side, words in [(Side.SERVER, "not masked"), (Side.CLIENT, "masked")]:
            other = Side.CLIENT if side is Side.SERVER else Side.SERVER
            data = wire(side, message, count)
            for verb, call in [
                ("receive", partial(receive, Protocol(other), data, count)),
                ("send", partial(serialize, Protocol(side), message, count)),
            ]:
                seconds = best(call) / count
                rate = len(data) / count / seconds / 1e9
                print(
                    f"{verb:8} {name:10} {words:11} "
                    f"{seconds * 1e9:10,.0f} ns {rate:8.2f} GB/s"
                )


if __name__ == "__main__":
    main()
