"""gws' client: a greenlet for each connection."""

import gevent
from measure import MESSAGE, Counter, arguments, wrong

from gws import connect


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
    greenlets = [gevent.spawn(echo) for _ in range(args.connections)]
    gevent.sleep(args.warmup)
    counter.start()
    gevent.sleep(args.seconds)
    counter.finish()
