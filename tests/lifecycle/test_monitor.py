"""``gws serve --metrics --access-log``, in one process and in several."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest

from gws import connect
from gws.cli.params import parse_metrics_address

from ..plain_http import get
from ..program import Program


pytestmark = pytest.mark.usefixtures("leakcheck")

#: The Host of a request that is the last of its connection.
CLOSING = "localhost\r\nConnection: close"

APP = """
import os

from gws import Router

router = Router()


@router.route("/echo/<name>")
def echo(ws, name):
    for message in ws:
        ws.send(message)


@router.route("/pid")
def tell_pid(ws):
    ws.send(str(os.getpid()))
    ws.wait_closed()
"""

WATCHING = """
from gws.metrics import shared
from gws.rooms import Rooms

rooms = Rooms()
shared().watch(rooms)
"""


@contextmanager
def serving(folder: Path, *args: str, app: str = APP) -> Iterator[tuple[Any, int, str]]:
    """Give the program, the port of the metrics, and the URL."""
    folder.joinpath("app.py").write_text(app)
    arguments = ["app:router", "--bind", "127.0.0.1:0", "--drain-timeout", "5", *args]
    if "--metrics" not in args:
        arguments += ["--metrics", "127.0.0.1:0"]
    env = {k: v for k, v in os.environ.items() if k != "PROMETHEUS_MULTIPROC_DIR"}
    env |= {"TMPDIR": str(folder)}
    with Program("-m", "gws", "serve", *arguments, cwd=folder, env=env) as program:
        port = re.fullmatch(r"Metrics on http://.*:(\d+)/metrics", program.hear())
        assert port is not None
        url = re.fullmatch(r"Listening on (ws://.*)", program.hear())
        assert url is not None
        yield program, int(port[1]), url[1]


def scrape(port: int) -> str:
    response = get(("127.0.0.1", port), "/metrics", CLOSING)
    assert response.status_code == 200
    return response.body.decode()


def sample(port: int, name: str) -> float:
    (value,) = re.findall(rf"^{re.escape(name)} (.*)$", scrape(port), re.MULTILINE)
    return float(value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9100", ("localhost", 9100)),
        (":9100", (None, 9100)),
        ("[::1]:9100", ("::1", 9100)),
    ],
)
def test_addresses(text: str, address: tuple[str | None, int]) -> None:
    assert parse_metrics_address(text) == address


def test_one_process(tmp_path: Path) -> None:
    with serving(tmp_path, "--access-log", app=APP + WATCHING) as (program, port, url):
        with connect(f"{url}/echo/a?secret") as ws:
            ws.send("x")
            assert ws.recv() == "x"
            assert sample(port, 'gws_connections{route="/echo/<name>"}') == 1
            assert sample(port, 'gws_messages_total{direction="in"}') == 1
            assert sample(port, "gws_bus_up") == 1
            assert sample(port, "process_open_fds") > 3  # of the process, too
            for path in ("/healthz", "/readyz"):
                assert get(("127.0.0.1", port), path, CLOSING).status_code == 200
        opened, closed = program.hear(), program.hear()
        assert re.search(r' - "GET /echo/a HTTP/1\.1" 101 - "gws/', opened)
        assert re.search(
            r' "GET /echo/a HTTP/1\.1" closed 1000 "" \S+ in 1/\d+ out 1/', closed
        )
        program.signal(signal.SIGTERM)
        code, out, err = program.end()
    assert (code, out) == (0, "")
    assert "gws.access" not in err


@pytest.mark.once
def test_it_is_not_ready_while_it_drains(tmp_path: Path) -> None:
    app = APP + (
        "\n@router.route('/stubborn')\ndef stubborn(ws):\n"
        "    ws.wait_closed()\n    import gevent\n    gevent.sleep(1000)\n"
    )
    with serving(tmp_path, app=app) as (program, port, url):
        with connect(f"{url}/stubborn") as ws:
            program.signal(signal.SIGTERM)
            assert ws.wait_closed(10)
        assert get(("127.0.0.1", port), "/readyz", CLOSING).status_code == 503
        assert get(("127.0.0.1", port), "/healthz", CLOSING).status_code == 200


@pytest.mark.once
def test_an_address_that_is_taken(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, port, _):
        args = ("app:router", "--bind", "127.0.0.1:0", "--metrics", f"127.0.0.1:{port}")
        with Program("-m", "gws", "serve", *args, cwd=tmp_path) as second:
            code, _, err = second.end()
    assert code == 1
    assert err.startswith(f"Error: can't listen on 127.0.0.1:{port}: ")


def test_workers(tmp_path: Path) -> None:
    """They are one; of one that was killed nothing is open."""
    with serving(tmp_path, "--workers", "2", "--access-log") as (program, port, url):
        with ExitStack() as stack:
            served_by = []
            for _ in range(6):
                ws = stack.enter_context(connect(f"{url}/pid"))
                served_by.append(int(ws.recv()))
            name = 'gws_connections{route="/pid"}'
            assert sample(port, name) == 6
            victim = served_by[0]
            os.kill(victim, signal.SIGKILL)
            (folder,) = tmp_path.glob("gws-metrics-*")
            with gevent.Timeout(20):
                while list(folder.glob(f"gauge_live*_{victim}.db")):
                    gevent.sleep(0.02)
            if n_left := 6 - served_by.count(victim):
                assert sample(port, name) == n_left
            assert sample(port, 'gws_handshakes_total{status="101"}') == 6
        lines = [program.hear() for _ in range(6)]
        assert all("GET /pid HTTP/1.1" in line for line in lines)
        program.signal(signal.SIGTERM)
        assert program.end()[0] == 0
    assert list(tmp_path.glob("gws-metrics-*")) == []
