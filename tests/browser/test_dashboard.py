"""The dashboard: what pages show, what a client gets that reads too slowly."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

import gevent
import pytest

from gws import ClientConnection, ConnectionClosed, connect

from ..examples.running import EXAMPLES, STOPS, running
from ..program import SOON, Program
from .browser import Browser, Page
from .example import port_of, websocket
from .image import Image


pytestmark = [pytest.mark.usefixtures("leakcheck"), pytest.mark.once]

SERVER = "dashboard/server.py"
SLOW_CLIENT = EXAMPLES / "dashboard/slow_client.py"

OPEN = "document.body?.dataset.state === 'open'"
CARDS = "[...document.querySelectorAll('.card')]"


def receive(ws: ClientConnection) -> Any:
    return json.loads(ws.recv(SOON))


def next_point(ws: ClientConnection, name: str) -> Any:
    """Return the next point of a metric, passing over others."""
    while (message := receive(ws))["name"] != name:
        pass
    return message["point"]


def by_name(selector: str) -> str:
    """Return the expression for a text of each card, by the metric's name."""
    text = f"card.querySelector('{selector}').textContent"
    return f"Object.fromEntries({CARDS}.map((card) => [card.dataset.name, {text}]))"


def wait_for_ticks(page: Page, tick: int) -> None:
    """Wait until each card shows a point of that tick, or a later one."""
    page.wait_for(
        f"{OPEN} && {CARDS}.length > 4"
        f" && {CARDS}.every((card) => card.dataset.tick >= {tick})"
    )


@pytest.mark.parametrize("stop", STOPS)
def test_it_ends_well_while_somebody_looks(stop: signal.Signals) -> None:
    with running(SERVER, "0", stop=stop) as url:
        ws = connect(websocket(url, "live")).open()
        assert receive(ws)["type"] == "history"
    with pytest.raises(ConnectionClosed):
        while True:
            receive(ws)
    assert ws.close_code == 1001


def test_who_comes_late_has_what_was_measured() -> None:
    with running(SERVER, "0", "--interval", "0.01") as url:
        uri = websocket(url, "live")
        with connect(uri) as first:
            receive(first)
            while next_point(first, "load")[0] < 20:
                pass
        with connect(uri) as second:
            history = receive(second)
            names = [metric["name"] for metric in history["metrics"]]
            points = {metric["name"]: metric["points"] for metric in history["metrics"]}
            assert {"load", "cpu", "connections", "sent", "dropped"} <= {*names}
            last = len(points["load"])
            assert last >= 20
            for name in names:
                assert [tick for tick, _ in points[name]] == [*range(1, last + 1)]
            # And what follows, follows: of each metric the next tick, in their order.
            for tick in (last + 1, last + 2):
                for name in names:
                    message = receive(second)
                    assert (message["name"], message["point"][0]) == (name, tick)


def test_a_slow_client_gets_the_latest() -> None:
    with running(SERVER, "0", "--interval", "0.005") as url:
        uri = websocket(url, "live")
        with connect(uri) as quick, Program(SLOW_CLIENT, uri) as slow:
            names = {metric["name"] for metric in receive(quick)["metrics"]}
            assert slow.hear() == "Reading nothing. Press Enter to read on."
            # Until, tick after tick, what is for it takes the place of what was.
            n_dropping = 0
            while n_dropping < 50:
                n_dropping += next_point(quick, "dropped")[1] > 0
            ticks = [next_point(quick, "load")[0]]
            slow.tell("")
            ended = gevent.spawn(slow.end)
            while not ended.ready():
                ticks.append(next_point(quick, "load")[0])
            code, out, err = ended.get()
    assert (code, err) == (0, "")
    # The quick one had all that there was.
    assert ticks == [*range(ticks[0], ticks[-1] + 1)]
    line = re.compile(r"(\w+): got (\d+), left out (\d+), last (\d+)")
    found = {name: [*map(int, rest)] for name, *rest in line.findall(out)}
    assert found.keys() == names
    for n_got, n_left_out, last in found.values():
        # What was out of date the slow one never got; then it was where all are.
        assert n_left_out >= 40
        assert n_got > 0
        assert ticks[0] < last <= ticks[-1] + 1


def test_the_page_is_live(browser: Browser) -> None:
    with running(SERVER, "0", "--interval", "0.05") as url:
        page = browser.open(url, width=800, height=700)
        phone = browser.open(url, width=400, height=700)
        wait_for_ticks(page, 10)
        wait_for_ticks(phone, 10)
        titles = page.evaluate(by_name("h2"))
        assert titles.items() >= {"load": "Load", "connections": "Connections"}.items()
        page.wait_for(f"{by_name('.now')}.connections.trim() === '2'")
        shown = page.evaluate(by_name(".now"))
        assert 0 < float(shown["cpu"].removesuffix(" %")) < 100
        assert float(shown["sent"].removesuffix(" /s")) > 0
        status = page.evaluate("document.getElementById('status').textContent")
        assert status == "Live, every 0.05 s"
        assert phone.evaluate("document.documentElement.scrollWidth") == 400
        for tab, width, scheme in ((page, 800, "light"), (phone, 400, "dark")):
            tab.prefer(scheme)
            picture = Image(tab.screenshot())
            assert picture.size == (width, 700)
            assert len(picture.colours) > 100
            assert tab.errors == []
        # From none to two.
        line = Image(page.screenshot("[data-name=connections] svg"))
        assert len(line.colours) > 10
        page.close()
        phone.close()


def test_the_page_comes_again(browser: Browser) -> None:
    with running(SERVER, "0", "--interval", "0.05") as url:
        page = browser.open(url)
        wait_for_ticks(page, 2)
    page.wait_for("document.body.dataset.state === 'lost'")
    with running(SERVER, port_of(url), "--interval", "0.04") as url:
        page.wait_for("document.body.innerText.includes('Live, every 0.04 s')")
        tick = page.evaluate(f"{CARDS}[0].dataset.tick")
        wait_for_ticks(page, int(tick) + 2)
        page.close()
