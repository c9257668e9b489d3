"""Two network namespaces, and the wire between them.

    wire.py

Says one line of JSON: the paths of the namespaces, or why there are none. In each,
10.0.0.1 and 10.0.0.2, is a TUN device; this process carries the packets from one to the
other, late or not at all, as the lines say that it gets: {"delay": seconds, "loss":
share, "cut": bool}, or null for no change. It answers each with what it carried and
dropped since the line before.

The namespaces have no names: they are gone when nobody is left in them.
"""

import ctypes
import fcntl
import heapq
import itertools
import json
import os
import random
import selectors
import socket
import struct
import sys
import time


CLONE_NEWNET = 0x40000000

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI, IFF_UP = 0x0001, 0x1000, 0x1
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
DEVICE = b"wire"

#: The most of a packet.
MTU = 1500

#: So many packets in a row are lost at most. More would only try TCP's patience, which
#: doubles the time to the next try each time.
MAX_BURST = 2


def new_namespace(host):
    """Enter a new namespace; return its descriptor and that of its end of the wire."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "can't make a network namespace")
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", DEVICE, IFF_TUN | IFF_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFADDR, address_request(host))
        fcntl.ioctl(sock, SIOCSIFNETMASK, address_request("255.255.255.0"))
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", DEVICE, IFF_UP))
    return os.open("/proc/self/ns/net", os.O_RDONLY), tun


def address_request(host):
    """Return a struct ifreq that holds an address."""
    packed = socket.inet_aton(host)
    return struct.pack("=16sHH4s8x", DEVICE, socket.AF_INET, 0, packed)


class Wire:
    """Carries packets between two descriptors."""

    def __init__(self, ends):
        self._other = dict(zip(ends, reversed(ends), strict=True))
        self._delay = 0.0
        self._loss = 0.0
        self._cut = False
        self._random = random.Random(1)
        # How many packets of a direction were lost, one after the other.
        self._burst = dict.fromkeys(ends, 0)
        self._counts = {"carried": 0, "dropped": 0}
        # What is on its way: when it arrives, a number that breaks ties, where, what.
        self._packets = []
        self._numbers = itertools.count()

    def set(self, delay=0.0, loss=0.0, cut=False):
        """Behave otherwise from now on; what is on its way arrives."""
        self._delay, self._loss, self._cut = delay, loss, cut

    def count(self):
        """Return how many packets were carried and dropped since the last count."""
        counts, self._counts = self._counts, {"carried": 0, "dropped": 0}
        return counts

    def take(self, end):
        """Take what came at one end."""
        while True:
            try:
                packet = os.read(end, MTU)
            except BlockingIOError:
                return
            if packet[0] >> 4 != 4:
                continue  # the system's own, of IPv6
            if self._drops(end):
                self._counts["dropped"] += 1
                continue
            self._counts["carried"] += 1
            due = time.monotonic() + self._delay
            entry = due, next(self._numbers), self._other[end], packet
            heapq.heappush(self._packets, entry)

    def deliver(self):
        """Deliver what is due; return the seconds until more is, None for never."""
        while self._packets:
            due, _, end, packet = self._packets[0]
            wait = due - time.monotonic()
            if wait > 0:
                return wait
            heapq.heappop(self._packets)
            os.write(end, packet)
        return None

    def _drops(self, end):
        lost = self._cut or (
            self._burst[end] < MAX_BURST and self._random.random() < self._loss
        )
        self._burst[end] = self._burst[end] + 1 if lost else 0
        return lost


def main():
    try:
        (one, tun_one), (two, tun_two) = map(new_namespace, ("10.0.0.1", "10.0.0.2"))
    except OSError as exc:
        say({"error": str(exc)})
        return
    say({"namespaces": [f"/proc/{os.getpid()}/fd/{fd}" for fd in (one, two)]})
    wire = Wire([tun_one, tun_two])
    selector = selectors.DefaultSelector()
    for fd in (0, tun_one, tun_two):
        selector.register(fd, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select(wire.deliver()):
            if key.fd:
                wire.take(key.fd)
                continue
            line = sys.stdin.readline()
            if not line:
                return
            how = json.loads(line)
            if how is not None:
                wire.set(**how)
            say(wire.count())


def say(value):
    print(json.dumps(value), flush=True)


main()
