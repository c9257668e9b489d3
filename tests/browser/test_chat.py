"""The chat's server: what its page is told, what others may not tell it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest

from gws import ConnectionClosed, connect
from gws.rooms import Publisher

from ..plain_http import get
from ..program import SOON, Program
from .visitors import SERVER, Visitor, Worker


pytestmark = pytest.mark.usefixtures("leakcheck")

Start = Callable[..., Any]


@pytest.fixture(scope="module")
def chat() -> Iterator[str]:
    worker = Worker()
    yield worker.url
    worker.end(signal.SIGTERM)


def address_of(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    return parts.hostname, parts.port


def open_rooms(url: str) -> Any:
    return json.loads(get(address_of(url), "/rooms").body)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_well_with_people_in_it(start_worker: Start, stop: Any) -> None:
    worker = start_worker()
    ada = Visitor(worker.url, "lobby", "Ada")
    ada.tell(say="Good night!")
    ada.hear("said")
    worker.end(stop)
    with pytest.raises(ConnectionClosed):
        ada.hear("nothing")
    assert ada.ws.close_code in (1000, 1001)


def test_between_two(chat: str) -> None:
    with Visitor(chat, "two", "Ada") as ada, Visitor(chat, "two", "Bob") as bob:
        assert (ada.names, bob.names) == (["Ada"], ["Ada", "Bob"])
        assert (ada.missed, ada.gap) == ([], False)
        while ada.hear("joined") != {"type": "joined", "name": "Bob"}:
            pass  # Ada herself
        ada.tell(say=" Hello, Bob!\nHow are you? ", mark="m")
        for visitor in (ada, bob):
            said = visitor.hear("said")
            assert (said["name"], said["mark"]) == ("Ada", "m")
            assert said["text"] == "Hello, Bob!\nHow are you?"
        bob.ws.close()
        assert ada.hear("left") == {"type": "left", "name": "Bob"}


def test_rooms_are_apart(chat: str) -> None:
    with Visitor(chat, "one", "Ada") as ada, Visitor(chat, "b%C3%BCro", "Bob") as bob:
        assert bob.names == ["Bob"]
        assert open_rooms(chat).items() >= {"one": 1, "büro": 1}.items()
        ada.tell(say="Nobody else?")
        assert ada.hear("said")["text"] == "Nobody else?"
        bob.tell(say="Nobody here, either?")
        assert bob.hear("said")["text"] == "Nobody here, either?"


def test_rooms_go_with_the_last_one(chat: str) -> None:
    with Visitor(chat, "watch", "Eve") as eve:
        with Visitor(chat, "watch", "Ada"):
            assert open_rooms(chat)["watch"] == 2
        eve.hear("left")
        assert open_rooms(chat)["watch"] == 1
    with Visitor(chat, "other", "Eve"):
        # Eve has left by now: one process takes turns.
        assert "watch" not in open_rooms(chat)


def test_it_remembers_what_was_said_last(chat: str) -> None:
    for start in range(0, 120, 40):  # nobody may say so much at once
        with Visitor(chat, "history", "Ada") as ada:
            for n in range(start, start + 40):
                ada.tell(say=str(n))
                ada.hear("said")
    with Visitor(chat, "history", "Bob") as bob:
        assert [said["text"] for said in bob.missed] == [str(n) for n in range(20, 120)]
        assert not bob.gap


def test_who_comes_again_gets_what_was_missed(chat: str) -> None:
    with Visitor(chat, "again", "Ada", key="secret") as ada:
        with Visitor(chat, "again", "Bob") as bob:
            bob.tell(say="1")
            last = ada.hear("said")["id"]
            ada.ws.close()
            bob.tell(say="2")
            bob.tell(say="3")
            assert [bob.hear("said")["text"] for _ in "123"] == ["1", "2", "3"]
        with Visitor(chat, "again", "Ada", key="secret", since=last) as again:
            assert [said["text"] for said in again.missed] == ["2", "3"]
            assert not again.gap
    with Visitor(chat, "again", "Ada", since="1-1") as lost:
        assert [said["text"] for said in lost.missed] == ["1", "2", "3"]
        assert lost.gap


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("Ada", "Ada 2"),
        ("ADA", "ADA 2"),
        ("  Eve \n", "Eve"),
        ("E\x1b[31mve\u202e", "E[31mve"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("<b>", "<b>"),
    ],
)
def test_names(chat: str, asked: str, given: str) -> None:
    with Visitor(chat, "names", "Ada"), Visitor(chat, "names", asked) as visitor:
        assert visitor.name == given
        with Visitor(chat, "names", "Ada") as another:
            assert another.name == ("Ada 3" if given == "Ada 2" else another.name)


def test_a_name_is_kept_for_who_has_the_key(chat: str) -> None:
    with (
        Visitor(chat, "keys", "Ada", key="a") as ada,
        Visitor(chat, "keys", "Ada", key="b") as other,
        Visitor(chat, "keys", "Ada", key="a") as again,
    ):
        assert (ada.name, other.name, again.name) == ("Ada", "Ada 2", "Ada")
        assert again.names == ["Ada", "Ada 2"]


NO_MESSAGE = "that is no message of this chat"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("junk", NO_MESSAGE),
        (b"\xff", NO_MESSAGE),
        ("[]", NO_MESSAGE),
        ("{}", NO_MESSAGE),
        ("null", NO_MESSAGE),
        ("[" * 10_000, NO_MESSAGE),
        ('{"join": 1}', "that is no text of at most 24 characters"),
        (json.dumps({"join": "x" * 25}), "that is no text of at most 24 characters"),
        ('{"join": " "}', "a name is needed"),
        ('{"join": "\\u0007"}', "a name is needed"),
        ('{"join": "\\ud800"}', "a name is needed"),
        ('{"join": "x", "key": 1}', "that is no text of at most 64 characters"),
        ('{"join": "x", "since": null}', "that is no text of at most 64 characters"),
        ('{"join": "x", "since": "junk"}', "that is no id of a message"),
        ('{"join": "x", "since": "1-99999999999999999"}', "that is no id of a message"),
    ],
)
def test_it_refuses_what_the_page_does_not_send(
    chat: str, message: str | bytes, reason: str
) -> None:
    with connect(f"{chat.replace('http', 'ws', 1)}chat/lobby") as ws:
        ws.send(message)
        with pytest.raises(ConnectionClosed):
            while True:
                assert json.loads(ws.recv(SOON))["type"] == "welcome"
    assert (ws.close_code, ws.close_reason) == (1008, reason)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"say": "x" * 2001}, 1008),
        ({"say": "x", "mark": "x" * 65}, 1008),
        ({"mark": "x"}, 1008),
        ({"say": "x" * 30_000}, 1009),
    ],
)
def test_it_limits_what_is_said(chat: str, message: Any, code: int) -> None:
    with Visitor(chat, "limits", "Ada") as ada:
        ada.tell(say=" ")  # nothing was said
        ada.tell(say="😀" * 2000)
        assert ada.hear("said")["text"] == "😀" * 2000
        ada.tell(**message)
        with pytest.raises(ConnectionClosed):
            ada.hear("said")
        assert ada.ws.close_code == code


def test_nobody_may_say_too_much_at_once(chat: str) -> None:
    with Visitor(chat, "flood", "Ada") as ada:
        with pytest.raises(ConnectionClosed):
            for _ in range(200):
                ada.tell(say="spam")
                ada.hear("said")
        assert (ada.ws.close_code, ada.ws.close_reason) == (1008, "rate limit")


# The page


@pytest.mark.parametrize("path", ["/", "/?x", "/room/lobby", "/room/%ff"])
def test_page(chat: str, path: str) -> None:
    response = get(address_of(chat), path)
    assert response.status_code == 200
    assert response.body == SERVER.with_name("page.html").read_bytes()
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_may_do_what_it_needs_and_no_more(chat: str) -> None:
    response = get(address_of(chat))
    parts = response.headers["Content-Security-Policy"].split("; ")
    policy = {name: allowed for name, _, allowed in (p.partition(" ") for p in parts)}
    page = response.body.decode()
    for tag in ("script", "style"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest())
        assert policy[f"{tag}-src"] == f"'sha256-{digest.decode()}'"
        assert page.count(f"<{tag}") == 1
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    # Nothing from elsewhere, and no text of others as markup.
    assert re.findall(r'(?:src|href)="(?!/"|data:)', page) == []
    assert re.findall(r"innerHTML|insertAdjacentHTML|document\.write|eval", page) == []
    assert re.findall(r"\son\w+=|\sstyle=", page) == []


@pytest.mark.parametrize(
    ("path", "status"),
    [("/nowhere", 404), ("/chat/lobby", 426), ("/chat/a.b", 404), ("/chat/", 404)],
)
def test_other_paths(chat: str, path: str, status: int) -> None:
    assert get(address_of(chat), path).status_code == status


# Several processes


@pytest.mark.once
def test_two_workers(start_worker: Start, start_redis: Start) -> None:
    redis = start_redis()
    first, second = start_worker(redis.url), start_worker(redis.url)
    with (
        Visitor(first.url, "lobby", "Ada", key="a") as ada,
        Visitor(second.url, "lobby", "Ada", key="b") as other,
    ):
        assert (other.name, other.names) == ("Ada 2", ["Ada", "Ada 2"])
        assert open_rooms(first.url) == open_rooms(second.url) == {"lobby": 2}
        while ada.hear("joined")["name"] != "Ada 2":
            pass
        other.tell(say="hello")
        last = ada.hear("said")
        assert last == other.hear("said")
        Publisher(redis.url, history=100).publish("lobby", "<b>notice</b>")
        notice = ada.hear("notice")
        assert notice["text"] == "<b>notice</b>"
        assert notice == other.hear("notice")
        other.tell(say="more")
        # What one has seen at one of them goes on at the other.
        with Visitor(second.url, "lobby", "Ada", key="a", since=last["id"]) as again:
            assert (again.name, again.gap) == ("Ada", False)
            texts = [said["text"] for said in again.missed]
            texts += [] if texts else [again.hear("said")["text"]]
            assert texts == ["more"]
        other.ws.close()
        assert ada.hear("left") == {"type": "left", "name": "Ada 2"}


@pytest.mark.once
def test_gws_serve(start_redis: Start) -> None:
    options: dict[str, Any] = {
        "cwd": SERVER.parent,
        "env": os.environ | {"CHAT_BUS": start_redis().url},
    }
    command = ("-m", "gws", "serve", "server:router", "--workers", "2", "--bind")
    with Program(*command, "127.0.0.1:0", **options) as program, ExitStack() as stack:
        url = program.hear().split()[-1].replace("ws", "http") + "/"
        # Enough for both workers to have some.
        visitors = [
            stack.enter_context(Visitor(url, "lobby", f"Visitor {n}")) for n in range(8)
        ]
        assert open_rooms(url) == {"lobby": 8}
        visitors[0].tell(say="hello")
        for visitor in visitors:
            assert visitor.hear("said")["text"] == "hello"
        stack.close()
        program.signal(signal.SIGTERM)
        assert program.end()[0] == 0
