"""The chat as people see it: its page in browsers, while what is behind it comes and
goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .browser import Browser
from .image import Image
from .visitors import Guest, Visitor, Worker


pytestmark = [pytest.mark.usefixtures("leakcheck"), pytest.mark.once]

Start = Callable[..., Any]

#: Of a Redis that has on its disk what it has said, however busy the disk is.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture(scope="module")
def worker(browser: Browser) -> Iterator[Worker]:
    """A process that nobody kills; each test has a room of its own."""
    worker = Worker("memory://")
    yield worker
    worker.kill()


@pytest.fixture
def guest(browser: Browser) -> Iterator[Callable[..., Guest]]:
    """Return what has a person enter a room; their pages are closed in the end."""
    guests: list[Guest] = []

    def make(worker: Worker, name: str, **options: Any) -> Guest:
        guests.append(Guest(browser, worker.url, name, **options))
        return guests[-1]

    yield make
    for guest in guests:
        guest.page.close()


def said_by(name: str, guest: Guest) -> list[str]:
    return [text for who, text in guest.lines() if who == name]


def test_redis_is_killed_in_the_middle(
    guest: Start, start_worker: Start, start_redis: Start
) -> None:
    redis = start_redis(*DURABLE)
    workers = start_worker(redis.url), start_worker(redis.url)
    ada, bob = guest(workers[0], "Ada"), guest(workers[1], "Bob")
    ada.wait_for_people("Ada", "Bob")
    bob.wait_for_people("Ada", "Bob")
    ada.say("a1")
    bob.wait_to_read("a1")
    bob.say("b1")
    ada.wait_to_read("b1")

    redis.kill()
    for n in (2, 3):
        ada.say(f"a{n}")
        bob.say(f"b{n}")
    ada.wait_to_read("a2", "a3")  # those on one server hear each other all the same
    bob.wait_to_read("b2", "b3")
    # Who comes now is told that there is more, and gets it as soon as it can be read.
    cyd = guest(workers[0], "Cyd")
    cyd.page.wait_for("document.body.innerText.includes('be read now')")
    redis.start()
    cyd.wait_to_read("a1", "a2", "a3", "b1", "b2", "b3")
    cyd.page.wait_for("!document.querySelector('.lost')")
    ada.wait_to_read("b2", "b3")
    bob.wait_to_read("a2", "a3")
    ada.say("a4")
    bob.wait_to_read("a4")
    bob.say("b4")
    ada.wait_to_read("b4")

    # Who comes now finds all of it; and nobody has anything twice.
    eve = guest(workers[0], "Eve")
    for someone in (ada, bob, cyd, eve):
        assert said_by("Ada", someone) == ["a1", "a2", "a3", "a4"]
        assert said_by("Bob", someone) == ["b1", "b2", "b3", "b4"]
        someone.wait_for_people("Ada", "Bob", "Cyd", "Eve")
        assert someone.page.errors == []
    # And who comes again gets nothing twice, although it has another id by now.
    ada.page.evaluate("socket.close()")
    ada.wait_for_state("lost")
    ada.wait_for_state("open")
    bob.say("b5")
    ada.wait_to_read("b5")
    assert said_by("Ada", ada) == ["a1", "a2", "a3", "a4"]
    assert said_by("Bob", ada) == ["b1", "b2", "b3", "b4", "b5"]


def test_a_server_is_killed_in_the_middle(
    guest: Start, start_worker: Start, start_redis: Start
) -> None:
    redis = start_redis(*DURABLE)
    workers = start_worker(redis.url), start_worker(redis.url)
    ada, bob = guest(workers[0], "Ada"), guest(workers[1], "Bob")
    ada.say("a1")
    bob.wait_to_read("a1")
    workers[0].kill()
    ada.wait_for_state("lost")
    ada.say("a2")  # is sent when it can be
    bob.say("b1")
    bob.say("b2")
    bob.wait_to_read("b1", "b2")
    assert ada.lines() == [["Ada", "a1"]]
    workers[0].start()
    ada.wait_to_read("b1", "b2", "a2")
    bob.wait_to_read("a2")
    in_order = [["Ada", "a1"], ["Bob", "b1"], ["Bob", "b2"], ["Ada", "a2"]]
    assert ada.lines() == bob.lines() == in_order
    # Of the one who was killed Redis does not know yet; still, this is the same Ada.
    ada.wait_for_people("Ada", "Bob")
    assert not ada.page.evaluate("document.querySelectorAll('.lost, .pending').length")


def test_a_server_that_forgets_says_so(guest: Start, start_worker: Start) -> None:
    worker = start_worker()
    ada = guest(worker, "Ada")
    ada.say("before")
    ada.wait_to_read("before")
    worker.kill()
    ada.wait_for_state("lost")
    worker.start()
    ada.wait_for_state("open")
    ada.say("after")
    ada.wait_to_read("after")
    shown = ada.page.evaluate("document.getElementById('lines').innerText")
    before, lost, after = map(
        shown.index, ("before", "Some messages are lost", "after")
    )
    assert before < lost < after


XSS = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "</li></ol><iframe srcdoc='<script>parent.hacked = 1</script>'>",
    "javascript:window.hacked=1",
    "https://example.com/\"onmouseover='window.hacked=1'",
    "{{7*7}} ${7*7} &lt;b&gt;",
]


def test_what_others_write_is_text(guest: Start, worker: Worker) -> None:
    ada = guest(worker, "Ada", room="text")
    name = "<b onclick=hacked=1>Eve"
    with Visitor(worker.url, "text", name) as eve:
        for text in XSS:
            eve.tell(say=text)
        ada.wait_to_read(*XSS)
        ada.wait_for_people(name, "Ada")
        assert ada.lines() == [[name, text] for text in XSS]
    page = ada.page
    page.wait_for(f"document.body.innerText.includes({json.dumps(name + ' left')})")
    inside = "document.querySelectorAll('#inside :is(%s)').length"
    assert page.evaluate(inside % "script, img, iframe, [onclick], [onmouseover]") == 0
    links = "[...document.querySelectorAll('#lines a')].map((link) => link.href)"
    assert page.evaluate(links) == ["https://example.com/"]
    assert page.evaluate("window.hacked") is None
    assert page.errors == []
    # And if it were markup, the policy would stop it.
    page.evaluate("at('lines').innerHTML = '<img src=x onerror=\"hacked = 1\">'")
    page.wait_for("at('lines').innerHTML.includes('img')")
    page.evaluate("new Promise((done) => setTimeout(done))")
    assert page.evaluate("window.hacked") is None
    assert "Content Security Policy" in page.errors[0]


def test_who_is_who(
    browser: Browser, guest: Start, start_worker: Start, start_redis: Start
) -> None:
    redis = start_redis()
    workers = start_worker(redis.url), start_worker(redis.url)
    first = guest(workers[0], "Ada")
    second = guest(workers[1], "ada")
    first.wait_for_people("Ada", "ada 2")
    second.say("I am another one.")
    first.wait_to_read("I am another one.")
    assert first.lines() == [["ada 2", "I am another one."]]
    assert first.page.evaluate("document.querySelectorAll('.mine').length") == 0
    second.page.navigate("about:blank")
    first.wait_for_people("Ada")
    first.page.wait_for("document.body.innerText.includes('ada 2 left')")
    # By the browser's button it is there again, and has what was said meanwhile.
    first.say("Gone?")
    first.wait_to_read("Gone?")
    # Later, so that the answer does not go away with the page.
    second.page.evaluate("void setTimeout(() => history.back())")
    second.page.wait_for("location.protocol === 'http:' && document.body !== null")
    second.page.wait_for("document.readyState === 'complete'")
    second.wait_for_state("open")
    second.wait_to_read("I am another one.", "Gone?")
    assert len(second.lines()) == 2
    first.wait_for_people("Ada", "ada 2")
    second.page.close()
    first.wait_for_people("Ada")
    # Who loads the page anew is in without the door, under the same name.
    first.page.navigate(f"{workers[0].url}room/lobby?again")
    first.wait_for_people("Ada")
    first.wait_to_read("I am another one.")


def test_unread_messages_stand_in_the_title(guest: Start, worker: Worker) -> None:
    ada = guest(worker, "Ada", room="unread")
    turn = (
        "Object.defineProperty(document, 'hidden', { value: %s, configurable: true });"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    with Visitor(worker.url, "unread", "Bob") as bob:
        bob.tell(say="seen")
        ada.wait_to_read("seen")
        ada.page.evaluate(turn % "true")
        bob.tell(say="1")
        bob.tell(say="2")
        ada.page.wait_for("document.title === '(2) #unread'")
        ada.page.evaluate(turn % "false")
        assert ada.page.evaluate("document.title") == "#unread"


def test_rooms_by_keyboard_on_a_phone(guest: Start, worker: Worker) -> None:
    with Visitor(worker.url, "attic", "Bob"):
        ada = guest(worker, "Ada", room="phone", width=390, height=844)
        page = ada.page
        ada.say("x" * 500)
        ada.wait_to_read("x" * 500)
        wide = "document.documentElement.scrollWidth"
        assert page.evaluate(wide) == page.evaluate("innerWidth") == 390
        page.evaluate("document.querySelector('[popovertarget=rooms]').focus()")
        is_open = "document.getElementById('rooms').matches(':popover-open')"
        page.press("Enter", 13, "\r")
        page.wait_for(is_open)
        page.press("Escape", 27)
        page.wait_for(f"!{is_open}")
        focused = "document.activeElement.getAttribute('popovertarget')"
        assert page.evaluate(focused) == "rooms"
        page.press("Enter", 13, "\r")
        page.wait_for(f"{is_open} && document.querySelector('[data-room=attic]')")
        page.evaluate("document.querySelector('#rooms [data-room=attic]').focus()")
        page.press("Enter", 13, "\r")
        page.wait_for("location.pathname === '/room/attic'")
        ada.wait_for_state("open")
        ada.wait_for_people("Ada", "Bob")
        assert not page.evaluate(is_open)
        assert ada.lines() == []


def test_everything_has_a_name(guest: Start, worker: Worker) -> None:
    ada = guest(worker, "Ada", room="names")
    nodes = ada.page.call("Accessibility.getFullAXTree")["nodes"]
    named = {
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if not node["ignored"] and "name" in node
    }
    assert {
        ("textbox", "Message"),
        ("textbox", "Another room"),
        ("button", "Send"),
        ("button", "Leave"),
        ("button", "names, 1 person"),
        ("log", "Messages"),
        ("navigation", "Rooms"),
        ("complementary", "People in this room"),
        ("heading", "names"),
    } <= named
    assert not {("textbox", ""), ("button", "")} & named


def test_light_and_dark(guest: Start, worker: Worker) -> None:
    ada = guest(worker, "Ada", room="colours")
    ada.say("Hello!")
    ada.wait_to_read("Hello!")
    shots = {}
    for scheme in ("light", "dark"):
        ada.page.prefer(scheme)
        shots[scheme] = Image(ada.page.screenshot())
    for shot in shots.values():
        assert shot.size == (1280, 800)
        assert len(shot.colours) > 50  # a blank page has one
    assert shots["light"].colours != shots["dark"].colours
