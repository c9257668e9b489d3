"""What Prometheus is told: of connections, of rooms, of the loop, of many processes."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
import pytest
from flask import Flask
from gevent import GreenletExit
from gevent.event import Event
from prometheus_client import CollectorRegistry, generate_latest

import gws.metrics
from gws import CloseCode, Router, connect, serve
from gws.metrics import Metrics, Total, code_label
from gws.rooms import Rooms
from gws.testing import CLOSE, PING, PONG, TEXT, connect_to, raw_connect_to, request
from gws.wsgi.flask import Sock
from gws.wsgi.pywsgi import WSGIServer

from .plain_http import get
from .program import Program


pytestmark = pytest.mark.usefixtures("leakcheck")


class Counted(Metrics):
    """Metrics of a registry of their own, to be looked up by name."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        super().__init__(self.registry)

    def value(self, name: str, **labels: str) -> float | None:
        self.refresh()
        return self.registry.get_sample_value(f"gws_{name}", labels)

    def text(self) -> str:
        return generate_latest(self.registry).decode()


@pytest.fixture
def metrics() -> Iterator[Counted]:
    metrics = Counted()
    yield metrics
    metrics.close()


router = Router()


@router.route("/echo/<name>")
def echo(ws: Any, name: str) -> None:
    for message in ws:
        ws.send(message)


def wait_for(condition: Callable[[], object]) -> None:
    """Return once it is true; the test's time limit bounds it."""
    while not condition():
        gevent.sleep(0.001)


# Connections


def test_connections(metrics: Counted) -> None:
    server = {"observers": [metrics]}
    with connect_to(router, "/echo/one", server=server) as ws:
        ws.send("a" * 5, compress=False)
        assert ws.recv() == "a" * 5
        with connect_to(router, "/echo/two", server=server):
            assert metrics.value("connections", route="/echo/<name>") == 2
        assert metrics.value("messages_total", direction="in") == 1
        assert metrics.value("bytes_total", direction="in") == (6 + 5) + 8
        ws.close(4000)
        wait_for(lambda: not metrics._open)
    assert metrics.value("connections", route="/echo/<name>") == 0
    assert metrics.value("handshakes_total", status="101") == 2
    assert metrics.value("disconnects_total", code="1000") == 1
    assert metrics.value("disconnects_total", code="4xxx") == 1
    assert metrics.value("messages_total", direction="out") == 1
    assert metrics.value("bytes_total", direction="in") == (6 + 5) + 8 + 8
    assert metrics.value("handler_seconds_count") == 2
    assert metrics.value("handler_errors_total") == 0


def test_no_path_is_a_label(metrics: Counted) -> None:
    server = {"observers": [metrics], "process_request": refuse_some}
    for path in ("/echo/secret", "/secret", "/echo/secret?secret"):
        with gevent.Timeout(10), ExitStack() as stack:
            try:
                stack.enter_context(connect_to(router, path, server=server))
            except Exception as exc:
                assert "secret" not in str(exc)
    assert "secret" not in metrics.text()


def test_rules_of_flask(metrics: Counted) -> None:
    app = Flask("app")
    Sock(app, observers=[metrics]).route("/echo/<name>")(echo)
    server = WSGIServer(("127.0.0.1", 0), app, log=None)
    server.start()
    try:
        with connect(f"ws://127.0.0.1:{server.server_port}/echo/one") as ws:
            ws.send("a")
            assert ws.recv() == "a"
            assert metrics.value("connections", route="/echo/<name>") == 1
        wait_for(lambda: metrics.value("connections", route="/echo/<name>") == 0)
    finally:
        server.stop()


def refuse_some(ws: Any, request: Any) -> Any:
    return (403, {}, b"") if request.path.endswith("?secret") else None


def test_handshakes(metrics: Counted) -> None:
    metrics.answered(None, 403)
    metrics.answered(None, 0)
    metrics.turned_away(None, 503)
    metrics.turned_away(None, 0)
    assert metrics.value("handshakes_total", status="403") == 1
    assert metrics.value("handshakes_total", status="503") == 1
    assert metrics.value("handshakes_total", status="none") == 2


@pytest.mark.parametrize(
    ("code", "label"),
    [
        (1000, "1000"),
        (1006, "1006"),
        (None, "1006"),
        (1013, "1013"),
        (3000, "3xxx"),
        (4999, "4xxx"),
    ],
)
def test_close_codes(code: int | None, label: str) -> None:
    assert code_label(code) == label


def test_a_peer_can_make_few_close_codes() -> None:
    codes = range(1000, 5000)
    assert len({code_label(code) for code in codes}) < len(CloseCode) + 5


@pytest.mark.parametrize(
    ("error", "n"), [(LookupError(), 1), (GreenletExit(), 0), (None, 0)]
)
def test_handler_errors(metrics: Counted, error: BaseException | None, n: int) -> None:
    with connect_to(router, "/echo/a", server={"observers": [metrics]}):
        (ws,) = metrics._open
        metrics.closed(ws, 0.5, error)
        assert metrics.value("handler_errors_total") == n


def test_ping_rtt(metrics: Counted) -> None:
    with raw_connect_to(
        router, observers=[metrics], ping_interval=0.01, ping_timeout=30
    ) as peer:
        peer.ask(request("/echo/a"))
        opcode, data = peer.receive()
        assert opcode == PING
        peer.send(PONG, data)
        wait_for(lambda: metrics.value("ping_rtt_seconds_count"))
    sum_ = metrics.value("ping_rtt_seconds_sum")
    assert sum_ is not None and 0 < sum_ < 60


def test_send_queue(metrics: Counted) -> None:
    """Of who does not read."""
    sent = Event()

    def send_much(ws: Any) -> None:
        ws.send(bytes(2**20), compress=False)
        sent.set()
        for _ in ws:
            pass

    with raw_connect_to(
        send_much, observers=[metrics], receive_buffer=4096, write_limit=None
    ) as peer:
        peer.ask(request())
        assert sent.wait(10)
        n = metrics.value("send_queue_bytes")
        assert n is not None and 2**19 < n < 2**20 + 10
        assert len(peer.receive()[1]) == 2**20
        wait_for(lambda: metrics.value("send_queue_bytes") == 0)
        peer.send_close(1000)
        assert peer.receive()[0] == CLOSE


# Sums of many connections


def test_sums_are_made_slice_by_slice(
    metrics: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others run between two slices."""
    monkeypatch.setattr(gws.metrics, "SLICE", 2)
    n_turns = 0

    def count_turns() -> None:
        nonlocal n_turns
        while True:
            n_turns += 1
            gevent.sleep(0)

    with ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(
                connect_to(router, "/echo/a", server={"observers": [metrics]})
            )
        counting = gevent.spawn(count_turns)
        metrics.text()
        counting.kill()
    assert n_turns >= 3


def test_totals_never_fall(metrics: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens or closes, or moves something, while they are made."""
    monkeypatch.setattr(gws.metrics, "SLICE", 1)
    seen: list[list[float | None]] = []

    def collect() -> None:
        while True:
            seen.append(
                [
                    metrics.value(f"{name}_total", direction=way)
                    for name in ("messages", "bytes")
                    for way in ("in", "out")
                ]
            )
            gevent.sleep(0)

    def talk(n: int) -> None:
        server = {"observers": [metrics]}
        for _ in range(3):
            with connect_to(router, "/echo/a", server=server) as ws:
                for _ in range(n):
                    ws.send("a")
                    assert ws.recv() == "a"

    collecting = [gevent.spawn(collect) for _ in range(2)]
    talking = [gevent.spawn(talk, n) for n in range(1, 5)]
    gevent.joinall(talking, raise_error=True)
    gevent.killall(collecting)
    for before, after in itertools.pairwise(seen):
        assert all(a <= b for a, b in zip(before, after, strict=True))  # type: ignore
    assert metrics.value("messages_total", direction="in") == 3 * (1 + 2 + 3 + 4)


def test_totals_are_told_in_steps() -> None:
    told: list[int] = []

    class Counter:
        def inc(self, n: int) -> None:
            told.append(n)

    total = Total(Counter())
    for n in (0, 3, 3, 2, 5):
        total.reach(n)
    assert told == [3, 2]


# The loop


def test_loop_lag(metrics: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gws.metrics, "BEAT", 0.05)
    began = time.monotonic()
    metrics.answered(None, 403)
    wait_for(lambda: metrics.value("loop_lag_seconds_count"))
    time.sleep(0.3)  # the loop is held up
    before = metrics.value("loop_lag_seconds_sum")
    wait_for(lambda: metrics.value("loop_lag_seconds_sum") != before)
    assert before is not None
    lag = metrics.value("loop_lag_seconds_sum")
    assert lag is not None and lag - before >= 0.2
    n = metrics.value("loop_lag_seconds_count")
    assert n is not None and n <= (time.monotonic() - began) / 0.05 + 1


def test_what_it_can_not_tell(
    metrics: Counted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What fails in the hub is logged once, and then left."""

    def fail(seconds: float) -> None:
        raise OSError("the folder has gone")

    monkeypatch.setattr(gws.metrics, "BEAT", 0.001)
    monkeypatch.setattr(metrics._lag, "observe", fail)
    metrics.answered(None, 403)
    wait_for(lambda: caplog.records)
    gevent.sleep(0.02)
    assert [r.getMessage() for r in caplog.records] == [
        "the loop's lag is measured no more"
    ]


@pytest.mark.once
def test_the_timer_keeps_no_loop_running() -> None:
    script = (
        "import gevent; from gws.metrics import Metrics; "
        "Metrics().turned_away(None, 1); Metrics.answered; gevent.wait(); print('end')"
    )
    with Program("-c", script) as program:
        assert program.end() == (0, "end\n", "")


# Rooms


def test_rooms(metrics: Counted) -> None:
    rooms, others = Rooms(slow="drop_new"), Rooms(slow="drop_new")
    metrics.watch(rooms)
    metrics.watch(others)

    def handler(ws: Any) -> None:
        with rooms.join("a", ws), rooms.join("b", ws):
            for message in ws:
                rooms.publish("a", message)

    assert metrics.value("bus_up") == 1
    with connect_to(handler) as ws:
        ws.send("x")
        assert ws.recv() == "x"
        assert metrics.value("rooms") == 2
        assert metrics.value("room_members") == 2
        assert metrics.value("room_sent_total") == 1
    assert metrics.value("rooms") == 0
    rooms.totals.dropped += 5
    others.totals.dropped += 2
    assert metrics.value("room_dropped_total", policy="drop_new") == 7
    assert metrics.value("room_closed_total", policy="drop_new") == 0


def test_the_bus_of_rooms(metrics: Counted) -> None:
    """A Redis that is not there."""
    rooms = Rooms("redis://127.0.0.1:1/0")
    metrics.watch(rooms)
    try:
        rooms.publish("a", "x")
        wait_for(lambda: metrics.value("bus_up") == 0)
        for name in ("gaps", "invalid", "lost", "refused"):
            assert metrics.value(f"bus_{name}_total") == 0
    finally:
        rooms.close()


def test_without_rooms_there_is_nothing_of_them(metrics: Counted) -> None:
    assert "room" not in metrics.text() and "bus" not in metrics.text()


# Exposition


def test_on_a_servers_own_port(metrics: Counted) -> None:
    with serve(
        router,
        "127.0.0.1",
        0,
        observers=[metrics],
        process_request=metrics.process_request,
    ) as server:
        address = server.sockets[0].getsockname()
        with connect("ws://{}:{}/echo/a".format(*address)):
            response = get(address, "/metrics?x")
        assert get(address, "/metric").status_code == 404
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    assert b'gws_connections{route="/echo/<name>"} 1.0\n' in response.body


def test_two_of_a_registry() -> None:
    registry = CollectorRegistry()
    first = Metrics(registry)
    with pytest.raises(ValueError, match="gws_connections"):
        Metrics(registry)
    first.close()
    Metrics(registry).close()


# Several processes

PROCESS = """
import json, sys
from gevent import sleep
from gws import connect, serve
from gws.metrics import Metrics, forget_process
from gws.rooms import Rooms

metrics = Metrics()
rooms = Rooms()
metrics.watch(rooms)

def echo(ws):
    with rooms.join("a", ws):
        for message in ws:
            ws.send(message)

with serve(echo, "127.0.0.1", 0, observers=[metrics],
           process_request=metrics.process_request) as server:
    port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    from gevent.fileobject import FileObject
    for line in FileObject(sys.stdin.fileno(), "rb", close=False):
        forget_process(int(line))
        print("forgotten", flush=True)
"""


def scrape(port: int) -> dict[str, float]:
    text = get(("127.0.0.1", port), "/metrics").body.decode()
    pairs = [line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#"]
    return {name: float(value) for name, value in pairs}


def test_several_processes(tmp_path: Path) -> None:
    """Any of them answers for all; one that has died has no connections."""
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with ExitStack() as stack:
        programs = [
            stack.enter_context(Program("-c", PROCESS, env=env)) for _ in range(2)
        ]
        first, second = [int(program.hear()) for program in programs]
        for port, n in ((first, 1), (first, 2), (second, 3)):
            ws = stack.enter_context(connect(f"ws://127.0.0.1:{port}"))
            for _ in range(n):
                ws.send("a" * 10)
                assert ws.recv() == "a" * 10
        # What the other one has moved it tells when it is time, or was asked.
        scrape(second)
        values = scrape(first)
        assert values['gws_connections{route=""}'] == 3
        assert values['gws_handshakes_total{status="101"}'] == 3
        assert values['gws_messages_total{direction="in"}'] == 6
        assert values["gws_rooms"] == values["gws_bus_up"] * 2 == 2
        assert values["gws_room_members"] == 3
        assert values["gws_loop_lag_seconds_count"] >= 0

        programs[1].process.kill()
        programs[1].process.wait()
        programs[0].tell(str(programs[1].process.pid))
        assert programs[0].hear() == "forgotten"
        values = scrape(first)
        assert values['gws_connections{route=""}'] == 2
        assert values['gws_handshakes_total{status="101"}'] >= 3
        assert values['gws_messages_total{direction="in"}'] == 6


@pytest.mark.once
def test_several_processes_tell_in_time(tmp_path: Path) -> None:
    """What is added up on demand elsewhere is added up by a timer; and at the end."""
    script = """
import gws.metrics
gws.metrics.BEAT, gws.metrics.BEATS = 0.01, 2
from gws import connect, serve
from gws.metrics import Metrics
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
import gevent, json

def shown(name, value):
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return f"{name} {value:.1f}\\n" in generate_latest(registry).decode()

def echo(ws):
    for message in ws:
        ws.send(message)

name = 'gws_messages_total{direction="in"}'
with serve(echo, "127.0.0.1", 0, observers=[Metrics()]) as server:
    with connect("ws://{}:{}".format(*server.sockets[0].getsockname())) as ws:
        ws.send("a")
        ws.recv()
        while not shown(name, 1):
            gevent.sleep(0.01)
        gws.metrics.BEATS = 10**9
        gevent.sleep(0.05)
        ws.send("a")
        ws.recv()
print(json.dumps([shown(name, 1), shown(name, 2)]))
"""
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with Program("-c", script, env=env) as program:
        assert json.loads(program.hear()) == [False, True]
        assert program.end() == (0, "", "")


def test_text_frames_of_hand(metrics: Counted) -> None:
    """Fragments are one message; control frames are none."""
    with raw_connect_to(router, observers=[metrics]) as peer:
        peer.ask(request("/echo/a"))
        peer.send(TEXT, b"ab", first=0)
        peer.send(PING, b"x")
        peer.send(0, b"cd")
        assert peer.receive() == (PONG, b"x")
        assert peer.receive() == (TEXT, b"abcd")
        assert metrics.value("messages_total", direction="in") == 1
        assert metrics.value("bytes_total", direction="in") == 8 + 7 + 8
