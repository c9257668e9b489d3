"""Pages that lie: run.py finds out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .test_pages import RUN, held_port


pytestmark = pytest.mark.once

SERVER = """
```python
from gws import connect, serve


def handler(ws):
    for message in ws:
        ws.send(int(message) * "ha")


with serve(handler, "localhost", 8765) as server:
    server.serve_forever()
```

```python
with connect("ws://localhost:8765") as ws:
    ws.send(MESSAGE)
    print(ws.recv())  # haha
```
"""


def run(page: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "page.md"
    path.write_text(page)
    place = folder / "place"
    place.mkdir()
    with held_port() as port:
        command = [sys.executable, RUN, path, place, "--port", f"8765={port}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=50)


def test_a_page_that_is_right(tmp_path: Path) -> None:
    page = SERVER.replace("MESSAGE", '"2"') + (
        "```python\n# answer.py\nprint(6 * 7)\n```\n"
        "```console\n$ python answer.py\n42\n$ true\n```\n"
        "```pycon\n>>> 6 * 7\n42\n```\n"
    )
    done = run(page, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        (SERVER.replace("MESSAGE", '"3"'), "prints 'hahaha', not 'haha'"),
        (SERVER.replace("MESSAGE", '"two"'), "invalid literal for int()"),
        ("```python\nif False:\n    print(1)  # 1\n```\n", "prints '', not '1'"),
        ("```python\nfrom gws import nothing\n```\n", "cannot import name"),
        ("```pycon\n>>> 6 * 7\n41\n```\n", "Expected:\n    41"),
        ("```console\n$ echo 42\n41\n```\n", "shown:\n41"),
        ("```console\n$ false\n```\n", "exit status 1"),
        ("```console\n$ gws serve no:where --bind :8765\n```\n", "no module 'no'"),
        ("```console\n$ pip install gevent-gws[warp]\n```\n", "no extra {'warp'}"),
        ("```console\n$ tox -e warp\n```\n", "no environment {'warp'}"),
    ],
)
def test_a_page_that_lies(page: str, complaint: str, tmp_path: Path) -> None:
    done = run(page, tmp_path)
    assert done.returncode == 1
    assert complaint in done.stderr
