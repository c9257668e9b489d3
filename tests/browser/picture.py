"""Make the picture of an example that the docs show: the page, with something on it.

    python tests/browser/picture.py chat docs/images/chat.png

and so for dashboard, counter and upload. It needs Chromium. The picture is as who
prefers light colours sees it; with --dark or --phone, as others do.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from browser import SOON, Browser, Page

from gws import connect


EXAMPLES = Path(__file__).parents[2] / "examples"

#: What has a page show what it is made for; whatever it opens it gives to the stack.
Stage = Callable[[str, Page, ExitStack], None]


def opened(stack: ExitStack, url: str, path: str, **options: Any) -> Any:
    """Return a connection that lasts until the picture is made."""
    ws = connect(url.replace("http", "ws", 1) + path, **options).open()
    stack.callback(ws.abort)
    return ws


# The chat

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


def stage_chat(url: str, page: Page, stack: ExitStack) -> None:
    """Have all of them come, say what they say one after the other, and stay."""
    others = {}
    for room, names in ROOMS.items():
        for name in names:
            ws = others[name] = opened(stack, url, f"chat/{room}")
            ws.send(json.dumps({"join": name}))
            while json.loads(ws.recv(SOON))["type"] != "ready":
                pass
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


# The dashboard


def stage_dashboard(url: str, page: Page, stack: ExitStack) -> None:
    """Have some more look at it, one of whom reads nothing."""
    page.navigate(url)
    tick = "[...document.querySelectorAll('.card')].at(-1)?.dataset.tick"
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**12)
    sock.connect(("localhost", int(url.rstrip("/").rpartition(":")[2])))
    opened(stack, url, "live", sock=sock)
    for n in range(60, 240, 30):
        page.wait_for(f"{tick} > {n}")
        opened(stack, url, "live")
    page.wait_for(f"{tick} > 240")


# The counters


def stage_counter(url: str, page: Page, stack: ExitStack) -> None:
    """Have somebody else count; and be cut off, with a step on its way."""
    ws = opened(stack, url, "board")
    ws.send(json.dumps({"hello": "somebody else"}))
    totals = {"coffee": 42, "tea": 17, "water": 108, "bugs": -3}
    for seq, (name, n) in enumerate(totals.items(), 1):
        ws.send(json.dumps({"add": n, "to": name, "seq": seq}))
    page.navigate(url)
    page.wait_for("document.querySelectorAll('.card').length === 4")
    page.evaluate("connect = () => {}; socket.close()")
    page.wait_for("document.body.dataset.state === 'lost'")
    for _ in range(2):
        page.evaluate("document.querySelector('[aria-label=\"tea plus one\"]').click()")
    page.wait_for("document.body.innerText.includes('+2 on its way')")


# The uploads


def stage_upload(url: str, page: Page, stack: ExitStack) -> None:
    """Send some files, of which one is too large and one will take a while."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    sizes = {"notes.txt": 2**12, "a film.mkv": 2**31, "holiday.zip": 2**29}
    for name, size in sizes.items():
        with open(folder / name, "wb") as file:
            file.truncate(size)
    page.navigate(url)
    page.wait_for("typeof Row === 'function'")
    page.choose_files("#files", *[folder / name for name in sizes])
    page.wait_for(f"document.querySelector('progress')?.value > {2**28}")


STAGES: dict[str, Stage] = {
    "chat": stage_chat,
    "dashboard": stage_dashboard,
    "counter": stage_counter,
    "upload": stage_upload,
}
ARGUMENTS = {"chat": ["--port", "0"], "dashboard": ["0", "--interval", "0.1"]}
SIZES = {
    "chat": (1280, 800),
    "dashboard": (1100, 460),
    "counter": (1000, 330),
    "upload": (800, 500),
}


@contextmanager
def served(name: str) -> Iterator[str]:
    """Run an example; yield the address of its page."""
    command = [sys.executable, EXAMPLES / name / "server.py"]
    command += ARGUMENTS.get(name, ["0"])
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=folder
        ) as server,
    ):
        assert server.stdout is not None  # it is a pipe
        try:
            yield server.stdout.readline().split()[-1]
        finally:
            server.send_signal(signal.SIGTERM)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("example", choices=STAGES)
    parser.add_argument("path", type=Path)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--phone", action="store_true")
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        served(args.example) as url,
        Browser(Path(folder)) as browser,
        ExitStack() as stack,
    ):
        page = browser.open("about:blank", *SIZES[args.example])
        page.prefer("dark" if args.dark else "light")
        if args.phone:
            page.resize(390, 844, mobile=True, scale=2)
        STAGES[args.example](url, page, stack)
        args.path.parent.mkdir(parents=True, exist_ok=True)
        args.path.write_bytes(page.screenshot())
    print(f"{args.path}: {args.path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
