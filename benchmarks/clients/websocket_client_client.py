"""websocket-client under gevent, monkey-patched: a greenlet for each connection."""

from gevent import monkey


monkey.patch_all()

import gevent  # noqa: E402
from measure import MESSAGE, Counter, arguments, wrong  # noqa: E402
from websocket import create_connection  # noqa: E402


args = arguments()
counter = Counter()


def echo() -> None:
    # Its lock serves threads that share a connection; nobody does here.
    ws = create_connection(args.uri, enable_multithread=False)
    for _ in range(args.in_flight):
        ws.send(MESSAGE)
    while True:
        message = ws.recv()
        if message != MESSAGE:
            wrong(message)
        counter.echoes += 1
        ws.send(MESSAGE)


if __name__ == "__main__":
    greenlets = [gevent.spawn(echo) for _ in range(args.connections)]
    gevent.sleep(args.warmup)
    counter.start()
    gevent.sleep(args.seconds)
    counter.finish()
