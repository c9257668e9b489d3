"""The introduction: its programs are those of examples/tutorial/, and its pages do in a
browser what the text says.

What its commands print is seen to by test_pages.py, as on every page.
"""

from __future__ import annotations

import difflib
import itertools
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest

from gws import ConnectionClosed, connect

from ..browser.browser import Browser, Page
from ..browser.conftest import browser as browser
from ..lifecycle.test_process import url_of, wait_log
from ..program import SOON, Program
from ..rooms.conftest import free_port
from ..rooms.conftest import start_redis as start_redis
from .pages import CHECKOUT, blocks, blocks_of


pytestmark = pytest.mark.usefixtures("leakcheck")

EXAMPLES = CHECKOUT / "examples"
TUTORIAL = EXAMPLES / "tutorial"

#: The files that stand on each page, in turn.
FILES = {
    "echo": ["tutorial/step1_echo/server.py", "tutorial/step1_echo/client.py"],
    "broadcast": [
        "tutorial/step2_broadcast/server.py",
        "tutorial/step2_broadcast/page.html",
    ],
    "rooms": ["tutorial/step3_rooms/server.py", "tutorial/step3_rooms/page.html"],
    "history": ["tutorial/step4_history/server.py", "tutorial/step4_history/page.html"],
    "workers": ["tutorial/step5_workers/server.py"],
    "tests": ["tutorial/step6_tests/test_chat.py", "tutorial/step6_tests/server.py"],
}

#: What the pages in the browser show.
LINES = "[...document.querySelectorAll('#lines li')].map((line) => line.textContent)"
HERE = "document.getElementById('here').textContent"

#: A line of the log, and the number of the process in it.
OPENED = re.compile(r"\S+ \S+ (\d+) INFO gws.server: connection open: \(.+\)")


def quoted(page: str) -> list[str]:
    """Return the lines that a page quotes, of logs and of browsers."""
    texts = [block.text for block in blocks_of(page) if block.language == "text"]
    return "".join(texts).splitlines()


# The files


@pytest.mark.parametrize("name", FILES)
def test_pages_show_the_files(name: str) -> None:
    page = f"docs/intro/tutorial/{name}.md"
    found = [block for block in blocks_of(page) if block.file is not None]
    assert [block.file for block in found] == [Path(x).name for x in FILES[name]]
    for block, path in zip(found, FILES[name], strict=True):
        assert block.text.partition("\n")[2] == EXAMPLES.joinpath(path).read_text()


def test_every_page_in_html_is_shown() -> None:
    """The steps after the fourth have the page of that one, as they say."""
    (second,) = blocks("docs/intro/tutorial/broadcast.md", "html")
    (third,) = blocks("docs/intro/tutorial/rooms.md", "html")
    (fourth,) = blocks("docs/intro/tutorial/history.md", "html")
    shown = [text.partition("\n")[2] for text in (second, third, *[fourth] * 3)]
    assert [x.read_text() for x in sorted(TUTORIAL.glob("*/page.html"))] == shown


def test_workers_take_a_url_and_nothing_else() -> None:
    before, after = (
        TUTORIAL.joinpath(step, "server.py").read_text().splitlines()
        for step in ("step4_history", "step5_workers")
    )
    changes = [x for x in difflib.ndiff(before, after) if not x.startswith(" ")]
    assert changes == ["+ import os", '+     os.environ.get("CHAT_BUS", "memory://"),']


# The programs


@contextmanager
def served(
    step: str, *args: str, app: str = "server:router", port: int = 0, **environ: str
) -> Iterator[tuple[Program, str]]:
    """Have a step served as its page says; yield the program and where it is."""
    command = ["-m", "gws", "serve", app, "--bind", f"127.0.0.1:{port}", *args]
    folder = TUTORIAL / step
    with Program(*command, cwd=folder, env=os.environ | environ) as program:
        yield program, url_of(program)


def ended(program: Program) -> str:
    """End a server, which must end well; return what is left of its log."""
    program.signal(signal.SIGTERM)
    code, _, log = program.end()
    assert code == 0, log
    return log


def hear(ws: Any, key: str) -> Any:
    """Return the next message that has a key."""
    while key not in (message := json.loads(ws.recv(SOON))):
        pass
    return message


@pytest.mark.once
def test_echo() -> None:
    with (
        served("step1_echo", app="server:echo") as (program, url),
        connect(url) as ws,
    ):
        ws.send("hello")
        assert ws.recv(SOON) == "hello"
        program.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as caught:
            ws.recv(SOON)
        program.end()
    assert str(caught.value) in quoted("docs/intro/tutorial/echo.md")


@pytest.mark.once
def test_a_message_that_is_no_text() -> None:
    """As the page shows it: the command, what it prints, what the log says."""
    (session,) = blocks("docs/intro/tutorial/rooms.md", "console", "--binary")
    command, *shown = session.splitlines()
    line, uri = command.removeprefix("$ echo ").split(" | gws connect --binary ")
    with served("step3_rooms") as (program, url):
        uri = uri.replace("ws://localhost:8765", url)
        with Program("-m", "gws", "connect", "--binary", uri) as client:
            client.tell(line)
            code, out, err = client.end()
        log = ended(program)
    assert code == 1
    first, last = err.splitlines()
    assert [first.replace(url, "ws://localhost:8765"), *out.splitlines(), last] == shown
    for line in quoted("docs/intro/tutorial/rooms.md"):
        assert line == "..." or f"{line}\n" in log


def of_both(stack: ExitStack, program: Program, url: str) -> dict[str, Any]:
    """Return a connection to each worker, by its number."""
    found: dict[str, Any] = {}
    with gevent.Timeout(SOON):
        for name in itertools.count():
            ws = stack.enter_context(connect(f"{url}/chat/lobby/{name}"))
            found[opened_in(program)] = ws
            if len(found) == 2:
                break
    return found


def opened_in(program: Program) -> str:
    """Return the number of the worker that has the next connection that opens."""
    match = OPENED.fullmatch(wait_log(program, "connection open").rstrip())
    assert match is not None
    return match[1]


@pytest.mark.once
def test_two_workers_without_a_url() -> None:
    """Nobody complains, and each has a lobby of its own."""
    (command,) = blocks("docs/intro/tutorial/workers.md", "console", "$ gws serve")
    assert command.startswith("$ gws serve server:router ")
    assert command.rstrip().endswith(" --workers 2")
    with (
        served("step5_workers", "--workers", "2") as (program, url),
        ExitStack() as stack,
    ):
        found = of_both(stack, program, url)
        for pid, ws in found.items():
            ws.send(pid)
            assert hear(ws, "text")["text"] == pid  # and not what the other one said
        stack.close()
        assert "WARNING" not in ended(program)


@pytest.mark.once
def test_without_redis() -> None:
    *opened, away = quoted("docs/intro/tutorial/workers.md")
    assert [OPENED.fullmatch(line) is not None for line in opened] == [True, True]
    port = free_port()
    bus = f"redis://localhost:{port}"
    with served("step5_workers", CHAT_BUS=bus) as (program, url):
        with connect(f"{url}/chat/lobby/Ada") as ws:
            ws.send("hello")
            assert hear(ws, "text")["text"] == "hello"
        assert away.replace("6379", str(port)) in ended(program)


# In the browser


@pytest.fixture
def window(browser: Browser) -> Iterator[Callable[[str], Page]]:
    """Return what opens an address in a browser of its own; all are closed."""
    with ExitStack() as stack:

        def open_window(url: str) -> Page:
            page = browser.open(url)
            stack.callback(page.close)
            return page

        yield open_window


def enter(page: Page, name: str) -> None:
    page.wait_for("document.activeElement?.id === 'name'")
    page.type(name)
    page.press("Enter", 13, "\r")
    page.wait_for(f"{HERE}.startsWith('Here: ')")


def say(page: Page, text: str) -> None:
    page.evaluate("document.getElementById('text').focus()")
    page.type(text)
    page.press("Enter", 13, "\r")


def wait_to_read(page: Page, *lines: str) -> None:
    """Wait until these are the lines on the page, and no others."""
    page.wait_for(f"JSON.stringify({LINES}) === JSON.stringify({json.dumps(lines)})")


Window = Callable[[str], Page]


@pytest.mark.once
def test_start_in_the_console(window: Window) -> None:
    """Of the page that is none, with the script that is to be typed there."""
    (script,) = blocks("docs/intro/start.md", "js")
    with served("step1_echo", app="server:echo") as (program, url):
        page = window(url.replace("ws", "http", 1))
        page.wait_for("document.body?.innerText.includes('This is a WebSocket server')")
        page.evaluate("window.shown = []; console.log = (text) => shown.push(text)")
        page.evaluate(script.replace("ws://localhost:8765", url))
        page.wait_for("shown.includes('hello')")
        page.close()
        ended(program)


@pytest.mark.once
def test_broadcast_in_the_browser(window: Window) -> None:
    with served("step2_broadcast") as (program, url):
        pages = [window(url.replace("ws", "http", 1)) for _ in range(2)]
        for page in pages:
            page.wait_for("document.readyState === 'complete' && ws.readyState === 1")
        say(pages[0], "hello")
        for page in pages:
            wait_to_read(page, "hello")
        say(pages[1], "<b>hi</b>")
        for page in pages:
            wait_to_read(page, "hello", "<b>hi</b>")
        ended(program)
    end = quoted("docs/intro/tutorial/broadcast.md")
    for page in pages:
        wait_to_read(page, "hello", "<b>hi</b>", *end)


@pytest.mark.once
def test_rooms_in_the_browser(window: Window) -> None:
    with served("step3_rooms") as (program, url):
        pages = [window(url.replace("ws", "http", 1)) for _ in range(2)]
        for page, name in zip(pages, ["Ada", "Zoë Ångström?"], strict=True):
            enter(page, name)
        for page in pages:
            page.wait_for(f"{HERE} === 'Here: Ada, Zoë Ångström?'")
        say(pages[1], "hello")
        for page in pages:
            wait_to_read(page, "Zoë Ångström?: hello")
        pages[1].close()
        pages[0].wait_for(f"{HERE} === 'Here: Ada'")
        pages[0].close()
        ended(program)


@pytest.mark.once
def test_history_that_is_lost(window: Window) -> None:
    lost, gap = quoted("docs/intro/tutorial/history.md")
    with served("step4_history") as (program, url):
        page = window(url.replace("ws", "http", 1))
        enter(page, "Ada")
        say(page, "hello")
        wait_to_read(page, "Ada: hello")
        ended(program)
        page.wait_for(f"{HERE} === {json.dumps(lost)}")
    port = int(url.rpartition(":")[2])
    with served("step4_history", port=port) as (program, _):
        wait_to_read(page, "Ada: hello", gap)
        say(page, "again")
        wait_to_read(page, "Ada: hello", gap, "Ada: again")
        page.close()
        ended(program)


@pytest.mark.once
def test_two_workers_over_redis(
    window: Window, start_redis: Callable[..., Any]
) -> None:
    """All hear the same of both; nothing is lost with a worker, nor with both."""
    bus = start_redis().url
    with (
        served("step5_workers", "--workers", "2", CHAT_BUS=bus) as (program, url),
        ExitStack() as stack,
    ):
        found = of_both(stack, program, url)
        page = window(url.replace("ws", "http", 1))
        enter(page, "Ada")
        pid = opened_in(program)
        (ws,) = (ws for number, ws in found.items() if number != pid)
        say(page, "hello")
        assert hear(ws, "text")["text"] == "hello"
        ws.send("one")
        name = hear(ws, "text")["name"]
        wait_to_read(page, "Ada: hello", f"{name}: one")
        assert {"Ada", name} <= set(page.evaluate(HERE)[6:].split(", "))
        os.kill(int(pid), signal.SIGKILL)
        page.wait_for(f"{HERE} === 'Not connected.'")
        ws.send("two")
        said = ["Ada: hello", f"{name}: one", f"{name}: two"]
        wait_to_read(page, *said)
        stack.close()
        ended(program)
    page.wait_for(f"{HERE} === 'Not connected.'")
    port = int(url.rpartition(":")[2])
    with served("step5_workers", port=port, CHAT_BUS=bus) as (program, _):
        page.wait_for(f"{HERE}.startsWith('Here: ')")
        say(page, "three")
        wait_to_read(page, *said, "Ada: three")
        page.close()
        ended(program)
