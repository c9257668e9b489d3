"""Make the picture of the chat that the docs show: a conversation, staged.

    python tests/chat/picture.py docs/images/chat.png

It needs Chromium. The picture is of 1280 x 800, as who prefers light colours sees it;
with --dark or --phone, as others do.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from browser import SOON, Browser, Page

from gws import connect


SERVER = Path(__file__).parents[2] / "examples/chat/server.py"

ROOMS = {"lobby": ["Ada", "Joan", "Emmy", "Karen"], "garden": ["Mary", "Sofia"]}
ME = "Edsger"
TALK = [
    ("Ada", "Good morning! Is the new release out?"),
    ("Joan", "Since an hour ago: https://example.com/news has all that is new."),
    ("Joan", "What I like best are the rooms over Redis. Two workers, one chat."),
    (ME, "I restarted Redis while you were talking. Did anybody notice?"),
    ("Emmy", "No! All of it is here, and nothing came twice."),
    ("Karen", "My train was in a tunnel.\nI got the rest when it came out."),
    (ME, "Then it does what it should."),
]


def enter(url: str, room: str, name: str) -> Any:
    """Return the connection of somebody who is in a room."""
    ws = connect(f"{url.replace('http', 'ws', 1)}chat/{room}").open()
    ws.send(json.dumps({"join": name}))
    while json.loads(ws.recv(SOON))["type"] != "ready":
        pass
    return ws


def stage(url: str, page: Page) -> list[Any]:
    """Have all of them come, say what they say one after the other, and stay."""
    others = {
        name: enter(url, room, name) for room, names in ROOMS.items() for name in names
    }
    page.navigate(f"{url}room/lobby")
    page.wait_for("document.activeElement?.id === 'name'")
    page.type(ME)
    page.press("Enter", 13, "\r")
    page.wait_for("document.getElementById('room').dataset.state === 'open'")
    page.wait_for("document.querySelector('[data-room=garden]')")
    for n, (name, text) in enumerate(TALK, 1):
        if name == ME:
            page.type(text)
            page.press("Enter", 13, "\r")
        else:
            others[name].send(json.dumps({"say": text}))
        page.wait_for(f"document.querySelectorAll('.said:not(.pending)').length >= {n}")
    page.wait_for("document.getAnimations().length === 0")
    return list(others.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--phone", action="store_true")
    args = parser.parse_args()
    command = [sys.executable, SERVER, "--port", "0"]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        Browser(Path(folder)) as browser,
    ):
        assert server.stdout is not None  # it is a pipe
        url = server.stdout.readline().split()[-1]
        page = browser.open("about:blank")
        page.prefer("dark" if args.dark else "light")
        if args.phone:
            page.resize(390, 844, mobile=True, scale=2)
        people = stage(url, page)
        args.path.parent.mkdir(parents=True, exist_ok=True)
        args.path.write_bytes(page.screenshot())
        for ws in people:
            ws.abort()
        server.send_signal(signal.SIGTERM)
    print(f"{args.path}: {args.path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
