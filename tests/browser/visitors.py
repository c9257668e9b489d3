"""Who talks to the chat in tests: a process of it, a visitor, a page in a browser."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gws import connect

from ..program import SOON, Program
from .browser import Browser


SERVER = Path(__file__).parents[2] / "examples" / "chat/server.py"


class Worker:
    """A process that serves the chat; it may be killed, and started where it was."""

    def __init__(self, bus: str = "memory://") -> None:
        self._bus = bus
        self._port = 0
        self.start()

    def start(self) -> None:
        self._program = Program(SERVER, "--port", self._port, "--bus", self._bus)
        self.url = self._program.hear().split()[-1]
        self._port = urlsplit(self.url).port or 0

    def kill(self) -> None:
        """kill -9."""
        self._program.__exit__()

    def end(self, number: signal.Signals) -> None:
        """Ask it to end: it must end well, and have nothing to complain about."""
        self._program.signal(number)
        assert self._program.end() == (0, "", "")
        self._program.__exit__()


class Visitor:
    """What the page does, without the page; ``missed`` is what it is told at first."""

    def __init__(self, url: str, room: str, name: str, **fields: str) -> None:
        self.ws = connect(f"{url.replace('http', 'ws', 1)}chat/{room}").open()
        self.tell(join=name, **fields)
        self.name = self.hear("welcome")["name"]
        self.missed: list[Any] = []
        while (message := json.loads(self.ws.recv(SOON)))["type"] != "ready":
            if message["type"] == "said":
                self.missed.append(message)
        self.names, self.gap = message["names"], message["gap"]

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.ws.close()

    def tell(self, **message: Any) -> None:
        self.ws.send(json.dumps(message))

    def hear(self, kind: str) -> Any:
        """Return the next message of a kind, passing over others."""
        while (message := json.loads(self.ws.recv(SOON)))["type"] != kind:
            pass
        return message


class Guest:
    """A person before the page, with a browser of their own."""

    def __init__(
        self, browser: Browser, url: str, name: str, room: str = "lobby", **size: int
    ) -> None:
        self.page = browser.open(f"{url}room/{room}", **size)
        # Through the door, where the field for the name has the focus.
        self.page.wait_for("document.activeElement?.id === 'name'")
        self.page.type(name)
        self.page.press("Enter", 13, "\r")
        self.wait_for_state("open")

    def say(self, text: str) -> None:
        """Type a message and press Enter; whether it is sent is another matter."""
        self.page.evaluate("document.getElementById('text').focus()")
        self.page.type(text)
        self.page.press("Enter", 13, "\r")

    def wait_for_state(self, state: str) -> None:
        self.page.wait_for(
            f"document.getElementById('room').dataset.state == '{state}'"
        )

    def wait_to_read(self, *texts: str) -> None:
        """Wait until messages are there that are not only about to be sent."""
        self.page.wait_for(
            f"{json.dumps(texts)}.every((text) => {self._lines}.some("
            "(line) => line.querySelector('.text').textContent === text))"
        )

    def wait_for_people(self, *names: str) -> None:
        self.page.wait_for(
            "JSON.stringify([...document.querySelectorAll('#people li > :last-child')]"
            ".map((line) => line.firstChild.textContent))"
            f" === JSON.stringify({json.dumps(names)})"
        )

    def lines(self) -> list[list[str]]:
        """Return the messages on the page: who, and what."""
        found: list[list[str]] = self.page.evaluate(
            f"{self._lines}.map((line) => [line.querySelector('b').textContent, "
            "line.querySelector('.text').textContent])"
        )
        return found

    _lines = "[...document.querySelectorAll('.said:not(.pending)')]"
