"""websockets' sync client: a thread for each connection (and one that it starts)."""

import threading
import time

from measure import MESSAGE, Counter, arguments, wrong
from websockets.sync.client import connect


args = arguments()
counter = Counter()


def echo() -> None:
    with connect(args.uri, compression=None, ping_interval=None) as ws:
        for _ in range(args.in_flight):
            ws.send(MESSAGE)
        for message in ws:
            if message != MESSAGE:
                wrong(message)
            counter.echoes += 1
            ws.send(MESSAGE)


if __name__ == "__main__":
    for _ in range(args.connections):
        threading.Thread(target=echo, daemon=True).start()
    time.sleep(args.warmup)
    counter.start()
    time.sleep(args.seconds)
    counter.finish()
