"""What a network may do to a connection, and what both sides see of it.

The server is 10.0.0.1, its client 10.0.0.2, each in a namespace of its own; see
wire.py for the wire and side.py for what both do.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest


pytestmark = [pytest.mark.usefixtures("leakcheck"), pytest.mark.once]

#: Seconds that a machine with much else to do may take longer for what is timed. What
#: nobody notices lasts far longer: for the defaults of gws 40 s, for TCP minutes.
SLACK = 4

#: Settings of both sides that are to notice a fault soon; after how many seconds they
#: have, and after how many nothing is left of the connection.
SHORT = {"ping_interval": 0.5, "ping_timeout": 1.0, "close_timeout": 0.5}
NOTICED = 1.5
GONE = NOTICED + 0.5

#: Settings that are not to take a fault for the end.
PATIENT = {"ping_interval": 0.5, "ping_timeout": 10, "close_timeout": 10}

NO_ANSWER = "sent 1000 (OK); no close frame received"
NO_PONG = "sent 1011 (internal error) keepalive ping timeout; no close frame received"


def start(network: Any, names: str, server: Any, client: Any) -> tuple[Any, Any]:
    """Start both sides; the client then opens its connections."""
    one, two = network.serve(**server), network.connect(names, **client)
    hear(one, "listening", sockets=1)
    two.tell("go")
    return one, two


def hear(side: Any, what: str, **more: Any) -> dict[str, Any]:
    """Return the next thing that a side says, which must be this."""
    said: dict[str, Any] = side.hear()
    assert said == said | {"what": what, **more}
    return said


def hear_ends(side: Any, names: list[str]) -> dict[str, dict[str, Any]]:
    """Return what a side says to the end of connections: of each by what, and name."""
    said: dict[str, dict[str, Any]] = {}
    while sum(key.startswith("let go ") for key in said) < len(names):
        one = side.hear()
        said[f"{one['what']} {one['name']}"] = last = one
    # The descriptors are let go: the server is left with the one it listens on.
    said["last"] = last
    return said


def check_noticed(side: Any, names: list[str], cut: float, n_sockets: int) -> None:
    """Check that a side gives up, without an answer, and lets its descriptors go."""
    said = hear_ends(side, names)
    for name in names:
        ended = said[f"ended {name}"]
        assert (ended["how"], ended["code"]) == (NO_PONG, 1006)
        assert cut < ended["at"] < cut + NOTICED + SLACK
        assert said[f"gone {name}"]["at"] < cut + GONE + SLACK
    assert said["last"]["sockets"] == n_sockets


def check_closed(server: Any, client: Any, name: str) -> None:
    """Check that the client closed the connection as one does."""
    said = hear_ends(client, [name])
    assert f"done {name}" in said and said["last"]["sockets"] == 0
    said = hear_ends(server, [name])
    ended = said[f"ended {name}"]
    assert ended["how"] == "received 1000 (OK); then sent 1000 (OK)"
    assert said["last"]["sockets"] == 1


# A wire that is cut, and nobody is told


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_silence(scheme: str, network: Any, tls_files: Path) -> None:
    """Both wait in recv, or one of them in send, with all buffers full."""
    names = ["idle", "receives", "sends"]
    options = SHORT if scheme == "ws" else SHORT | {"tls": str(tls_files)}
    server, client = start(network, ",".join(names), options, options)
    for _ in names:
        hear(client, "open")
    network.await_packets(300)
    cut = network.cut()
    check_noticed(server, names, cut, 1)
    check_noticed(client, names, cut, 0)
    network.check_log()


def test_close_into_silence(network: Any) -> None:
    """With nothing to send, and with all buffers full."""
    names = ["closed", "closed_full"]
    options = SHORT | {"ping_interval": None}
    server, client = start(network, ",".join(names), SHORT, options)
    for _ in names:
        hear(client, "open")
    network.await_packets(300)
    cut = network.cut()
    client.tell("close")
    said = hear_ends(client, names)
    assert said["interrupted closed_full"]["how"] == NO_ANSWER
    for name in names:
        assert cut + 0.5 < said[f"done {name}"]["at"] < cut + 0.5 + SLACK
    assert said["last"]["sockets"] == 0
    check_noticed(server, names, cut, 1)
    network.check_log()


def test_the_peer_vanishes(network: Any) -> None:
    """Its process is killed, and what the system says of that does not arrive."""
    server, client = start(network, "idle", SHORT, SHORT)
    hear(client, "open")
    cut = network.cut()
    client.end()
    check_noticed(server, ["idle"], cut, 1)
    network.check_log()


def test_a_cut_that_heals(network: Any) -> None:
    """Before anybody gives up: then nothing is lost of what was sent meanwhile."""
    server, client = start(network, "exchange", PATIENT, PATIENT)
    hear(client, "open")
    cut = network.cut()
    client.tell("exchange")
    network.await_packets(3, "dropped")
    # For longer than it takes to notice, with other settings.
    time.sleep(max(0.0, cut + NOTICED - time.monotonic()))
    network.set()
    assert hear(client, "exchanged")["at"] > cut + NOTICED
    check_closed(server, client, "exchange")
    network.check_log()


def test_reconnecting(network: Any) -> None:
    """`for ws in connect(...)` tries on while nothing passes, then it goes on."""
    server, client = start(network, "reconnect", SHORT, SHORT | {"open_timeout": 0.5})
    hear(client, "open")
    hear(client, "exchanged")
    cut = network.cut()
    check_noticed(client, ["reconnect"], cut, 0)
    check_noticed(server, ["reconnect"], cut, 1)
    hear(client, "failed", how="TimeoutError")
    network.set()
    while (said := client.hear())["what"] == "failed":
        assert said["how"] == "TimeoutError"
    assert said["what"] == "open"
    hear(client, "exchanged")
    network.check_log()


# A wire that loses packets, or is long


def test_loss(network: Any) -> None:
    """All arrives in order, and who is slow is not taken for dead."""
    options = PATIENT | {"compression": None}
    server, client = start(network, "exchange", options, options)
    hear(client, "open")
    network.set(loss=0.3)
    client.tell("exchange")
    hear(client, "exchanged")
    counts = network.set()
    share = counts["dropped"] / (counts["dropped"] + counts["carried"])
    assert counts["carried"] > 400 and 0.2 < share < 0.35
    check_closed(server, client, "exchange")
    network.check_log()


def test_delay(network: Any) -> None:
    network.set(delay=0.5)
    server, client = start(network, "measure", PATIENT, PATIENT)
    opened = hear(client, "open")["at"]
    echoed = hear(client, "echoed")["at"]
    assert 1.0 <= echoed - opened < 1.0 + SLACK
    pinged = hear(client, "pinged")
    assert 1.0 <= pinged["latency"] <= pinged["at"] - echoed
    assert pinged["kept"] == pinged["latency"]
    client.tell("close")
    check_closed(server, client, "measure")
    network.check_log()


def test_a_pong_that_comes_too_late(network: Any) -> None:
    """Its time is shorter than the way: the connection fails, and both are told."""
    network.set(delay=0.3)
    options = {"ping_interval": 0.2, "ping_timeout": 0.3}
    server, client = start(network, "idle", {"ping_interval": None}, options)
    opened = hear(client, "open")["at"]
    said = hear_ends(client, ["idle"])
    assert 0.5 <= said["ended idle"]["at"] - opened < 0.5 + SLACK
    assert said["ended idle"]["how"].startswith(NO_PONG.partition(";")[0])
    said = hear_ends(server, ["idle"])
    how = "received 1011 (internal error) keepalive ping timeout; then sent 1011"
    assert said["ended idle"]["how"].startswith(how)
    assert said["last"]["sockets"] == 1
    network.check_log()
