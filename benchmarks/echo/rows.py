"""What is measured: one Row a figure, and the bars that gws must pass."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measure. `kind`: "load" (load.c against servers), "idle", or "client"."""

    name: str
    title: str
    kind: str
    connections: int
    in_flight: int = 1
    arguments: tuple[str, ...] = ()  #: for load.c, the mode first
    unit: str = "/s"
    without: str = ""  #: the contender that cannot do it
    #: The size of a JSON message that is sent compressed; 0: nothing is compressed.
    deflate: int = 0
    lower_is_better: bool = False
    #: One side or the other should keep its core busy; if neither does, something
    #: else on the machine took it and the round is not counted.
    saturates: bool = True

    @property
    def role(self) -> str:
        """Who is measured: "server" or "client"."""
        return "client" if self.kind == "client" else "server"


def echo(name: str, title: str, connections: int, in_flight: int, size: int) -> Row:
    """Describe an echo of messages of `size` bytes."""
    arguments = ("echo", "--size", str(size))
    return Row(name, title, "load", connections, in_flight, arguments)


def fan_out(name: str, title: str, in_flight: int) -> Row:
    """Describe a fan-out of 64 bytes to 500 connections, the publisher among them."""
    arguments = ("fanout", "--path", "/fanout", "--size", "64")
    return Row(name, title, "load", 500, in_flight, arguments, without="c")


def deflate_echo(name: str, title: str, size: int) -> Row:
    """Describe an echo of `size` bytes of JSON, compressed both ways."""
    return Row(name, title, "load", 50, arguments=("echo",), deflate=size)


ROWS = {
    row.name: row
    for row in [
        echo("echo1", "echo, 64 B, 1 in flight", 50, 1, 64),
        echo("echo8", "echo, 64 B, 8 in flight", 50, 8, 64),
        echo("echo64", "echo, 64 B, 64 in flight", 50, 64, 64),
        echo("echo8k", "echo, 8 KiB, 1 in flight", 16, 1, 8192),
        echo("echo64k", "echo, 64 KiB, 1 in flight", 8, 1, 65536),
        fan_out("fanout1", "fan-out of 64 B to 500, 1 in flight", 1),
        fan_out("fanout4", "fan-out of 64 B to 500, 4 in flight", 4),
        # Many source addresses, because each closed connection leaves a TIME_WAIT.
        Row(
            "connect",
            "opened, upgraded and closed",
            "load",
            32,
            arguments=("connect", "--sources", "100"),
        ),
        Row(
            "idle",
            "memory of an idle connection",
            "idle",
            8000,
            unit="KiB",
            lower_is_better=True,
            saturates=False,
        ),
        deflate_echo("deflate200", "deflate echo, 200 B of JSON", 200),
        deflate_echo("deflate4k", "deflate echo, 4 KiB of JSON", 4096),
        Row(
            "deflate-fanout4",
            "deflate fan-out of 4 KiB of JSON to 500, 4 in flight",
            "load",
            500,
            4,
            arguments=("fanout", "--path", "/fanout"),
            deflate=4096,
        ),
        Row(
            "deflate-idle",
            "memory of an idle connection with deflate",
            "idle",
            8000,
            unit="KiB",
            deflate=4096,
            lower_is_better=True,
            saturates=False,
        ),
        Row(
            "client1x1",
            "client: 1 connection, 1 in flight",
            "client",
            1,
            saturates=False,  # both sides sleep while the other works
        ),
        Row("client50x1", "client: 50 connections, 1 in flight", "client", 50, 1),
        Row("client50x8", "client: 50 connections, 8 in flight", "client", 50, 8),
    ]
}


@dataclass(frozen=True)
class Bar:
    """The figure of `ours` must reach `factor` times that of `against`.

    `against` is a contender's name, "best peer" (the best Python one), or "" for
    `factor` as an absolute figure in the row's unit: of what our figure in the row
    `beyond` leaves of it, if that is given.
    """

    row: str
    factor: float
    against: str
    beyond: str = ""
    ours: str = "gws"  #: the contender


BARS = [
    Bar("echo1", 1.05, "picows"),
    Bar("echo1", 0.75, "c"),
    Bar("echo8", 5, "picows"),
    Bar("echo8", 0.6, "c"),
    Bar("echo8k", 1, "picows"),
    Bar("echo64k", 1, "picows"),
    Bar("fanout4", 3, "picows"),
    Bar("fanout4", 4, "websockets"),
    Bar("connect", 1.2, "best peer"),
    Bar("idle", 9, ""),
    Bar("idle", 1, "best peer"),
    Bar("deflate200", 1.5, "best peer"),
    Bar("deflate4k", 1.5, "best peer"),
    Bar("deflate-fanout4", 10, "websockets"),
    Bar("deflate-idle", 1, "", beyond="idle"),
    Bar("client1x1", 1, "picows"),
    Bar("client50x1", 1, "picows"),
    Bar("client50x8", 1, "picows"),
    Bar("echo1", 2, "gevent-websocket", ours="gws-pywsgi"),
    Bar("echo1", 2, "simple-websocket", ours="gws-pywsgi"),
    Bar("echo8", 2, "gevent-websocket", ours="gws-pywsgi"),
    Bar("echo8", 2, "simple-websocket", ours="gws-pywsgi"),
    Bar("idle", 12, "", ours="gws-pywsgi"),
]
