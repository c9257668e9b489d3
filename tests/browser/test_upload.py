"""Uploads: what is whole is kept as it was, and nothing else, and never in memory."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from gws import ClientConnection, ConnectionClosed, connect

from ..examples.running import EXAMPLES, STOPS, running, started
from ..program import SOON, Program
from ..wire import until
from .browser import Browser
from .example import websocket
from .image import Image


pytestmark = [pytest.mark.usefixtures("leakcheck"), pytest.mark.once]

SERVER = "upload/server.py"
CLIENT = EXAMPLES / "upload/upload.py"

MAX_SIZE = 2**20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    options = ("--folder", folder, "--max-size", str(MAX_SIZE))
    with running(SERVER, "0", *options) as url:
        yield url


def asked(url: str, name: str, size: object) -> str:
    query = urlencode({"name": name, "size": size})
    return websocket(url, f"upload?{query}")


def begin(url: str, name: str, size: object) -> ClientConnection:
    return connect(asked(url, name, size), compression=None).open()


def hear(ws: ClientConnection) -> Any:
    return json.loads(ws.recv(SOON))


def send_file(url: str, name: str, content: bytes) -> str:
    """Upload it and return the name under which it is kept."""
    with connect(asked(url, name, len(content))) as ws:
        assert hear(ws) == {"received": 0}
        if content:
            ws.send(content)
        done = hear(ws)
        assert done["sha256"] == hashlib.sha256(content).hexdigest()
        kept: str = done["name"]
    return kept


def refusal(ws: ClientConnection) -> tuple[int | None, str | None]:
    """Return close code and reason of who must be refused."""
    with pytest.raises(ConnectionClosed):
        while True:
            assert "sha256" not in hear(ws)
    return ws.close_code, ws.close_reason


def peak_memory(pid: int) -> int:
    """Return the bytes of the most memory that a process had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (size,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(size) * 2**10


def test_upload_py(tmp_path: Path, folder: Path) -> None:
    contents = {"empty": b"", "large.bin": os.urandom(3 * 2**20 + 1)}
    with running(SERVER, "0", "--folder", folder) as url:
        for name, content in contents.items():
            path = tmp_path / name
            path.write_bytes(content)
            with Program(CLIENT, path, websocket(url, "upload")) as program:
                code, out, err = program.end()
            assert (code, err.strip()) == (0, name)  # no bar where is no terminal
            assert out == f"{hashlib.sha256(content).hexdigest()} {name}\n"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells")
def test_no_file_is_held_in_memory(tmp_path: Path, folder: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    for path, size in ((small, 1), (large, 2**25)):
        path.touch()
        os.truncate(path, size)
    peaks = []
    with started(SERVER, "0", "--folder", folder) as server:
        uri = websocket(server.hear().split()[-1], "upload")
        for path in (small, large):
            with Program(CLIENT, path, uri) as program:
                assert program.end()[0] == 0
            assert (folder / path.name).stat().st_size == path.stat().st_size
            peaks.append(peak_memory(server.process.pid))
    assert peaks[1] - peaks[0] < 2**22  # of 2**25


def test_upload_py_is_told_why_not(tmp_path: Path, url: str) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(MAX_SIZE + 1))
    with Program(CLIENT, path, websocket(url, "upload")) as program:
        code, out, err = program.end()
    assert (code, out) == (1, "")
    assert f"1009 (message too big) at most {MAX_SIZE} bytes are taken" in err
    assert "Traceback" not in err


def test_several_of_one_name(url: str, folder: Path) -> None:
    contents = {"a.txt": b"first", "a (2).txt": b"second", "a (3).txt": b""}
    assert [send_file(url, "a.txt", data) for data in contents.values()] == [*contents]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents


NAMES = {
    "../../etc/passwd": "passwd",
    "/etc/shadow": "shadow",
    "C:\\Users\\me\\photo.JPG": "photo.JPG",
    "..": "file",
    "???": "___",
    ".bashrc": "bashrc",
    "a\0b\n\x1b[31m.txt": "a_b___31m.txt",
    "Gru\u0308\u00dfe (1).pdf": "Grüße (1).pdf",
    "<b>.html": "_b_.html",
    "x" * 300 + ".tar.gz": "x" * 100 + ".gz",
    "ü" * 300: "ü" * 50,
    "-rf": "-rf",
}


def test_names(url: str, folder: Path) -> None:
    found = {name: send_file(url, name, b"") for name in NAMES}
    assert list(found.values()) == list(NAMES.values())
    assert {path.name for path in folder.iterdir()} == {*NAMES.values()}


def test_refused(url: str, folder: Path) -> None:
    too_much = 1009, f"at most {MAX_SIZE} bytes are taken"
    assert refusal(begin(url, "a", MAX_SIZE + 1)) == too_much
    for size in ("", "-1", "1.5", "1e3", "²", "9" * 30):
        assert refusal(begin(url, "a", size)) == (1008, "size is no number of bytes")
    ws = begin(url, "a", 10)
    ws.send(bytes(11))
    assert refusal(ws) == (1009, "10 bytes were announced, and more came")
    ws = begin(url, "a", 10)
    ws.send(["five ", "more "])
    assert refusal(ws) == (1008, "a file comes in Binary messages")
    ws = begin(url, "a", MAX_SIZE)
    ws.send(bytes(2**18 + 1))  # in one fragment
    assert refusal(ws)[0] == 1009
    until(lambda: not [*folder.iterdir()])


def test_what_is_not_whole_is_not_kept(url: str, folder: Path) -> None:
    ws = begin(url, "cut off", 2**20)
    ws.send(bytes(2**18))
    assert [hear(ws)["received"], hear(ws)["received"]] == [0, 2**18]
    assert len([*folder.iterdir()]) == 1  # under way
    ws.abort()
    until(lambda: not [*folder.iterdir()])
    # In the middle of a message.
    ws = begin(url, "cut off", 2**20)

    def fragments() -> Iterator[bytes]:
        yield bytes(2**18)
        assert [hear(ws)["received"], hear(ws)["received"]] == [0, 2**18]
        assert len([*folder.iterdir()]) == 1
        ws.abort()
        yield bytes(2**18)

    with pytest.raises(ConnectionClosed):
        ws.send(fragments())
    until(lambda: not [*folder.iterdir()])


@pytest.mark.parametrize("stop", STOPS)
def test_it_ends_well_in_the_middle_of_a_file(
    folder: Path, stop: signal.Signals
) -> None:
    with running(SERVER, "0", "--folder", folder, stop=stop) as url:
        ws = begin(url, "cut off", 2**20)
        ws.send(bytes(2**18))
        assert [hear(ws)["received"], hear(ws)["received"]] == [0, 2**18]
    assert refusal(ws)[0] == 1001
    assert [*folder.iterdir()] == []


# The page

#: Notes how far the bars were, and how much waited in the browser.
SPY = """
window.steps = [];
window.buffered = 0;
const { progress } = Row.prototype;
Row.prototype.progress = function (received) {
  progress.call(this, received);
  steps.push([this.file.name, this.bar.value]);
};
const { send } = WebSocket.prototype;
WebSocket.prototype.send = function (data) {
  send.call(this, data);
  buffered = Math.max(buffered, this.bufferedAmount);
};
0
"""


def test_the_page(browser: Browser, tmp_path: Path, folder: Path) -> None:
    paths = [tmp_path / name for name in ("holiday.bin", "empty.txt", "large.bin")]
    paths[0].write_bytes(os.urandom(5 * 2**20 + 1))
    paths[1].write_bytes(b"")
    paths[2].write_bytes(bytes(6 * 2**20))
    max_size = str(5 * 2**20 + 1)
    with running(SERVER, "0", "--folder", folder, "--max-size", max_size) as url:
        page = browser.open(url, width=800, height=600)
        page.wait_for("typeof Row === 'function'")
        page.evaluate(SPY)
        page.choose_files("#files", *paths)
        page.wait_for("document.querySelectorAll('[data-state=done]').length === 2")
        page.wait_for("document.querySelectorAll('[data-state=failed]').length === 1")
        texts = page.evaluate(
            "[...document.querySelectorAll('.file')].map((row) => "
            "[row.querySelector('b').textContent, row.querySelector('p').textContent])"
        )
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
        assert texts == [
            ["large.bin", f"Not kept: at most {max_size} bytes are taken."],
            ["empty.txt", f"Kept as empty.txt, SHA-256 {digests[1]}"],
            ["holiday.bin", f"Kept as holiday.bin, SHA-256 {digests[0]}"],
        ]
        assert {path.name for path in folder.iterdir()} == {"holiday.bin", "empty.txt"}
        for path in paths[:2]:
            assert (folder / path.name).read_bytes() == path.read_bytes()
        # It went on in steps, as the server said.
        steps = [n for name, n in page.evaluate("steps") if name == "holiday.bin"]
        assert steps == sorted(steps)
        assert steps[0] == 0
        assert len(steps) > 10
        # Never was there more in the browser than may wait, and a slice.
        assert 0 < page.evaluate("buffered") <= 2**20 + 2**16 + 100
        for width, scheme in ((800, "light"), (400, "dark")):
            page.resize(width, 600)
            page.prefer(scheme)
            picture = Image(page.screenshot())
            assert picture.size == (width, 600)
            assert len(picture.colours) > 100
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        assert page.errors == []
        page.close()


def test_a_page_that_stops(browser: Browser, tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(2**29)
    with running(SERVER, "0", "--folder", folder) as url:
        page = browser.open(url)
        page.wait_for("typeof Row === 'function'")
        page.choose_files("#files", path)
        page.wait_for("document.querySelector('progress')?.value > 2 ** 20")
        assert len([*folder.iterdir()]) == 1
        page.evaluate("document.querySelector('.file button').click()")
        page.wait_for("document.querySelector('.file').dataset.state === 'failed'")
        until(lambda: not [*folder.iterdir()])
        assert page.errors == []
        page.close()
