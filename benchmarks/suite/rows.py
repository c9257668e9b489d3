"""What is measured: one `Row` a figure; and the curves, whose points are rows too."""

import re
from dataclasses import dataclass, field, replace
from typing import Literal


KIB = 1024

Group = Literal[
    "echo", "tls", "deflate", "fan-out", "connect", "idle", "latency", "client"
]

#: What a contender must be able to do for a row.
Need = Literal["tls", "deflate", "fan-out"]


@dataclass(frozen=True)
class Row:
    """One measure.

    `kind` is who takes it: "load" and "latency" run the load generator against a
    server, "idle" reads a server's memory, "client" runs a client against the C server.
    """

    name: str
    title: str
    group: Group
    connections: int
    in_flight: int = 0  #: messages of a connection; 0: that is not what it is about
    size: int = 0  #: bytes of a message; 0: there are none
    kind: Literal["load", "latency", "idle", "client"] = "load"
    arguments: tuple[str, ...] = ("echo",)  #: for the load generator, the mode first
    needs: frozenset[Need] = frozenset()
    unit: str = "/s"
    quick: bool = False  #: it is among those of a quick run

    @property
    def role(self) -> str:
        """Who is measured: "server" or "client"."""
        return "client" if self.kind == "client" else "server"

    @property
    def lower_is_better(self) -> bool:
        """Whether less is better, as it is of memory and time."""
        return self.unit != "/s"

    @property
    def saturates(self) -> bool:
        """Whether one side or the other should keep its core busy.

        If neither does, something else on the machine took it, and the round is not
        counted. With one message on one connection, both sleep while the other works.
        """
        return self.unit == "/s" and self.connections * max(self.in_flight, 1) > 1


SIZES = {"64": 64, "1k": KIB, "8k": 8 * KIB, "64k": 64 * KIB, "1m": KIB * KIB}
IN_FLIGHT = (1, 8, 64)

#: How many connections echo messages of a size. Of large ones fewer, so that no more
#: than 64 MiB are under way.
CONNECTIONS = {"64": 50, "1k": 50, "8k": 16, "64k": 8}
CONNECTIONS_1M = {1: 4, 8: 2, 64: 1}

#: Of one source address, so many connections can be open to a port, or be just closed.
MANY = ("--sources", "10")

QUICK = {"echo-64-1", "echo-64-8", "echo-8k-1", "echo-64k-1", "tls-64-1", "fanout-500"}


def readable_size(size: int) -> str:
    """Return "64 B", "8 KiB", or "1 MiB"."""
    if size < KIB:
        return f"{size} B"
    return f"{size // KIB} KiB" if size < KIB * KIB else f"{size // KIB**2} MiB"


def echo(size: str, in_flight: int, group: Group = "echo") -> Row:
    """Describe an echo, plain or by TLS."""
    connections = CONNECTIONS_1M[in_flight] if size == "1m" else CONNECTIONS[size]
    name = f"{group}-{size}-{in_flight}"
    what = "echo" if group == "echo" else "echo by TLS"
    return Row(
        name,
        f"{what}, {readable_size(SIZES[size])}, {in_flight} in flight",
        group,
        connections,
        in_flight,
        SIZES[size],
        needs=frozenset({"tls"} if group == "tls" else ()),
        quick=name in QUICK,
    )


def fan_out(name: str, connections: int, in_flight: int = 4) -> Row:
    """Describe a fan-out of 64 bytes, to the publisher too."""
    title = f"fan-out of 64 B to {connections:,}, {in_flight} in flight"
    return Row(
        name,
        title,
        "fan-out",
        connections,
        in_flight,
        64,
        arguments=("fanout", "--path", "/fanout", *MANY),
        needs=frozenset({"fan-out"}),
        quick=name in QUICK,
    )


def connect(name: str, title: str, group: Group, *needs: Need) -> Row:
    """Describe opening and closing; many addresses, as each leaves a TIME_WAIT."""
    arguments = ("connect", "--sources", "100")
    return Row(
        name,
        title,
        group,
        32,
        arguments=arguments,
        needs=frozenset(needs),
        quick=not needs,
    )


def idle(name: str, title: str, connections: int, *needs: Need) -> Row:
    """Describe the memory of connections that say nothing."""
    return Row(
        name,
        f"{title} (of {connections:,})",
        "deflate" if needs else "idle",
        connections,
        size=4 * KIB if needs else 0,
        kind="idle",
        arguments=("idle", *MANY),
        needs=frozenset(needs),
        unit="KiB",
        quick=name == "idle-1000",
    )


def deflate_echo(name: str, size: int, words: str) -> Row:
    """Describe an echo of JSON, compressed both ways."""
    title = f"deflate echo, {words} of JSON"
    needs: frozenset[Need] = frozenset({"deflate"})
    return Row(name, title, "deflate", 50, 1, size, needs=needs, quick=size >= 4 * KIB)


def latency(name: str, rate: int) -> Row:
    """Describe the time of an echo at a fixed rate; its figure is the 99th percentile.

    The most that half of the servers hold on one slow core is not much more than the
    lower rate; the upper one is for the fast.
    """
    return Row(
        name,
        f"echo of 64 B, {rate:,}/s on 200 connections: p99",
        "latency",
        200,
        size=64,
        kind="latency",
        arguments=("latency", "--rate", str(rate)),
        unit="ms",
        quick=name == "latency-20k",
    )


def client(connections: int, in_flight: int) -> Row:
    """Describe what a client gets echoed by the C server."""
    plural = "connection" if connections == 1 else "connections"
    return Row(
        f"client-{connections}x{in_flight}",
        f"client: {connections} {plural}, {in_flight} in flight",
        "client",
        connections,
        in_flight,
        64,
        kind="client",
        quick=(connections, in_flight) == (50, 1),
    )


ROWS = {
    row.name: row
    for row in [
        *(echo(size, n) for size in SIZES for n in IN_FLIGHT),
        echo("64", 1, "tls"),
        echo("64", 8, "tls"),
        echo("8k", 1, "tls"),
        deflate_echo("deflate-200", 200, "200 B"),
        deflate_echo("deflate-4k", 4 * KIB, "4 KiB"),
        Row(
            "deflate-fanout-500",
            "deflate fan-out of 4 KiB of JSON to 500, 4 in flight",
            "deflate",
            500,
            4,
            4 * KIB,
            arguments=("fanout", "--path", "/fanout"),
            needs=frozenset({"deflate", "fan-out"}),
        ),
        idle("deflate-idle", "idle connection with deflate", 1000, "deflate"),
        fan_out("fanout-10", 10),
        fan_out("fanout-500", 500),
        fan_out("fanout-500-1", 500, 1),
        fan_out("fanout-5000", 5000),
        connect("connect", "opened, upgraded and closed", "connect"),
        connect("connect-tls", "the same by TLS", "tls", "tls"),
        idle("idle-1000", "idle connection", 1000),
        idle("idle-15000", "idle connection", 15_000),
        latency("latency-20k", 20_000),
        latency("latency-60k", 60_000),
        client(1, 1),
        client(50, 1),
        client(50, 8),
    ]
}


def row_named(name: str) -> Row | None:
    """Return a row by its name; "latency-Nk" is one for any thousands a second."""
    if thousands := re.fullmatch("latency-([1-9][0-9]{0,3})k", name):
        return latency(name, int(thousands[1]) * 1000)
    return ROWS.get(name)


# Curves


@dataclass(frozen=True)
class Curve:
    """How a figure grows with something: its points are rows."""

    name: str
    title: str
    x: str
    points: dict[int, Row] = field(default_factory=dict)  #: by x
    unit: str = "/s"


#: Who is in the curves, of those who are there.
CURVED = ("gws", "picows", "aiohttp", "websockets")


def points(name: str, rows: dict[int, Row]) -> dict[int, Row]:
    """Return the rows under names of their own, like "connections=1000"."""
    return {x: replace(row, name=f"{name}={x}") for x, row in rows.items()}


CURVES = [
    Curve(
        "connections",
        "echo of 64 B, 1 in flight, by connections",
        "connections",
        points(
            "connections",
            {
                n: Row(
                    "", f"{n} connections", "echo", n, 1, 64, arguments=("echo", *MANY)
                )
                for n in (10, 100, 1000, 10_000)
            },
        ),
    ),
    Curve(
        "size",
        "echo, 8 connections, 1 in flight, by size",
        "bytes of a message",
        points(
            "size",
            {
                n: Row("", readable_size(n), "echo", 8, 1, n)
                for n in (64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, KIB**2)
            },
        ),
    ),
    Curve(
        "room",
        "deliveries of 64 B, 4 in flight, by connections in the room",
        "connections in the room",
        points("room", {n: fan_out("", n) for n in (10, 50, 100, 500, 1000, 5000)}),
    ),
]
