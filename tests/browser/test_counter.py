"""The counters: no step is lost and none counts twice, whoever is cut off."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from gws import ClientConnection, ConnectionClosed, connect

from ..examples.running import running
from ..program import SOON
from .browser import Browser, Page
from .example import port_of, websocket
from .image import Image


pytestmark = [pytest.mark.usefixtures("leakcheck"), pytest.mark.once]

SERVER = "counter/server.py"


@pytest.fixture
def url() -> Iterator[str]:
    with running(SERVER, "0") as url:
        yield url


class Client:
    """What the page does, without the page."""

    def __init__(self, url: str, secret: str) -> None:
        self.ws: ClientConnection = connect(websocket(url, "board")).open()
        self.tell(hello=secret)
        self.board = self.hear()
        assert self.board["type"] == "board"
        #: The steps that it was told of: (counter, value, by, seq).
        self.steps: list[tuple[str, int, int, int]] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.ws.close()

    def tell(self, **message: Any) -> None:
        self.ws.send(json.dumps(message))

    def hear(self) -> Any:
        return json.loads(self.ws.recv(SOON))

    def hear_steps(self, n: int) -> None:
        while len(self.steps) < n:
            told = self.hear()
            step = told["counter"], told["value"], told["by"], told["seq"]
            self.steps.append(step)


def test_no_step_is_lost(url: str) -> None:
    n_clients, n_steps = 8, 90
    names = ["coffee", "tea", "a new one"]
    clients = [Client(url, f"secret {n}") for n in range(n_clients)]
    assert [client.board["you"] for client in clients] == [*range(1, n_clients + 1)]

    def send_all(client: Client) -> None:
        for seq in range(1, n_steps + 1):
            client.tell(add=seq, to=names[seq % 3], seq=seq)
            gevent.sleep(0)

    jobs = [gevent.spawn(send_all, client) for client in clients]
    jobs += [gevent.spawn(client.hear_steps, n_clients * n_steps) for client in clients]
    gevent.joinall(jobs, timeout=SOON, raise_error=True)

    # All are told of all steps, in one order; each builds on the one before.
    steps = clients[0].steps
    assert all(client.steps == steps for client in clients)
    values = dict.fromkeys(names, 0)
    for name, value, _, seq in steps:
        values[name] += seq
        assert value == values[name]
    numbers = sorted((by, seq) for _, _, by, seq in steps)
    wanted = [(by, seq) for by in range(1, 9) for seq in range(1, n_steps + 1)]
    assert numbers == wanted
    assert sum(values.values()) == n_clients * sum(range(n_steps + 1))
    # Who comes now has the state first.
    with Client(url, "late") as late:
        assert late.board["counters"] == values | {"water": 0}
        clients[0].tell(add=-1, to="water", seq=n_steps + 1)
        late.hear_steps(1)
        assert late.steps == [("water", -1, 1, n_steps + 1)]
    for client in clients:
        client.ws.close()


def test_who_was_cut_off_counts_once(url: str) -> None:
    steps = [{"add": 1, "to": "tea", "seq": seq} for seq in range(1, 101)]
    cut_off = Client(url, "secret")
    for step in steps:
        cut_off.tell(**step)
    cut_off.hear_steps(1)  # how many more have arrived it will not know
    cut_off.ws.abort()
    with Client(url, "another") as other, Client(url, "secret") as again:
        assert again.board["you"] == cut_off.board["you"]
        done = again.board["done"]
        assert 1 <= done <= 100
        assert again.board["counters"]["tea"] == done
        for step in steps:  # those that are done, too
            again.tell(**step)
        again.hear_steps(100 - done)
        other.tell(add=0, to="tea", seq=1)
        again.hear_steps(100 - done + 1)
        assert again.steps[-1] == ("tea", 100, other.board["you"], 1)


STEP = {"add": 1, "to": "tea", "seq": 1}
BAD_STEPS = {
    "no JSON": "{",
    "no object": "[1]",
    "no integer": STEP | {"add": 1.5},
    "a boolean": STEP | {"add": True},
    "too large": STEP | {"add": 1001},
    "no text": STEP | {"to": 7},
    "no name": STEP | {"to": ""},
    "too long": STEP | {"to": "x" * 25},
    "no number": STEP | {"seq": 0},
    "nothing": {},
}


@pytest.mark.parametrize("message", BAD_STEPS.values(), ids=BAD_STEPS)
def test_no_step_at_all(bad_board: str, message: Any) -> None:
    with Client(bad_board, "secret") as client:
        text = message if isinstance(message, str) else json.dumps(message)
        client.ws.send(text)
        with pytest.raises(ConnectionClosed):
            client.hear()
        assert client.ws.close_code == 1008
    with Client(bad_board, "secret") as client:
        assert client.board["counters"] == {"coffee": 0, "tea": 0, "water": 0}


@pytest.fixture(scope="module")
def bad_board() -> Iterator[str]:
    with running(SERVER, "0") as url:
        yield url


def test_so_many_counters(url: str) -> None:
    with Client(url, "secret") as client:
        for n in range(1, 23):
            client.tell(add=1, to=f"counter {n}", seq=n)
        client.hear_steps(21)
        with pytest.raises(ConnectionClosed):
            client.hear()
        assert client.ws.close_code == 1008
        assert client.ws.close_reason == "there are 24 counters already"


# The page


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return what opens a page and waits for its counters; all close at the end."""
    pages: list[Page] = []

    def open_page(url: str, **size: int) -> Page:
        pages.append(browser.open(url, **size))
        pages[-1].wait_for("document.querySelectorAll('.card').length >= 3")
        return pages[-1]

    yield open_page
    for page in pages:
        page.close()


def click(page: Page, label: str) -> None:
    page.evaluate(f"document.querySelector('[aria-label={json.dumps(label)}]').click()")


def shown(page: Page) -> dict[str, str]:
    """Return the values on a page, by the counters' names."""
    cards = "[...document.querySelectorAll('.card')]"
    value = "card.querySelector('.value').textContent"
    found: dict[str, str] = page.evaluate(
        f"Object.fromEntries({cards}.map((card) => [card.dataset.name, {value}]))"
    )
    return found


def wait_to_see(page: Page, name: str, value: int) -> None:
    """Wait until a counter has a value, and nothing of it is on its way."""
    page.wait_for(
        "[...document.querySelectorAll('.card:not(.pending)')].some((card) => "
        f"card.dataset.name === {json.dumps(name)} && "
        f"card.querySelector('.value').textContent === '{value}')"
    )


def test_two_pages_see_the_same(url: str, open_page: Callable[..., Page]) -> None:
    page, phone = open_page(url, width=800, height=600), open_page(url, width=400)
    click(page, "coffee plus one")
    click(page, "coffee plus one")
    click(phone, "coffee plus one")
    click(phone, "tea minus one")
    markup = "<b onclick=hacked=1>"
    phone.evaluate("document.getElementById('name').focus()")
    phone.type(markup)
    phone.press("Enter", 13, "\r")
    for tab in (page, phone):
        wait_to_see(tab, "coffee", 3)
        wait_to_see(tab, "tea", -1)
        wait_to_see(tab, markup, 0)
    values = {"coffee": "3", "tea": "-1", "water": "0", markup: "0"}
    assert shown(page) == shown(phone) == values
    with Client(url, "program") as client:
        client.tell(add=1000, to="water", seq=1)
        for tab in (page, phone):
            wait_to_see(tab, "water", 1000)
    assert phone.evaluate("document.documentElement.scrollWidth") == 400
    assert page.evaluate("document.querySelectorAll('[onclick]').length") == 0
    for tab, size, scheme in ((page, (800, 600), "light"), (phone, (400, 800), "dark")):
        tab.prefer(scheme)
        picture = Image(tab.screenshot())
        assert picture.size == size
        assert len(picture.colours) > 100
        assert tab.errors == []


def test_a_page_that_was_cut_off(open_page: Callable[..., Page]) -> None:
    with running(SERVER, "0", stop=signal.SIGINT) as url:
        page = open_page(url)
        click(page, "tea plus one")
        wait_to_see(page, "tea", 1)
        page.evaluate("socket.close()")
        page.wait_for("document.body.dataset.state === 'lost'")
        # What is clicked meanwhile is to be seen at once, and that it waits.
        click(page, "tea plus one")
        click(page, "tea plus one")
        assert shown(page)["tea"] == "3"
        waits = "[...document.querySelectorAll('.waits')].map((p) => p.textContent)"
        assert page.evaluate(waits) == ["", "+2 on its way", ""]
        with Client(url, "other") as other:
            other.tell(add=10, to="tea", seq=1)
            other.hear_steps(1)
        wait_to_see(page, "tea", 13)
    # A server that starts again has forgotten; what waited still arrives.
    page.wait_for("document.body.dataset.state === 'lost'")
    click(page, "water plus one")
    with running(SERVER, port_of(url)) as url:
        wait_to_see(page, "water", 1)
        assert shown(page) == {"coffee": "0", "tea": "0", "water": "1"}
