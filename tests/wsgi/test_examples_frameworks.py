"""The examples that are applications of frameworks, as a user runs them."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gws import ConnectionClosed, InvalidStatus, connect

from ..program import SOON, Program


pytestmark = pytest.mark.usefixtures("leakcheck")

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def running(name: str, stop: signal.Signals) -> Iterator[str]:
    """Run an example; yield the address that it prints. It must end well."""
    with Program(EXAMPLES / name, "0") as program:
        yield program.hear().split()[-1]
        program.signal(stop)
        assert program.end() == (0, "", "")


def page_of(url: str) -> tuple[str, str]:
    """Return the page of an example, and the cookie that it sets."""
    with contextlib.closing(HTTPConnection(urlsplit(url).netloc)) as http:
        http.request("GET", "/")
        response = http.getresponse()
        assert response.status == 200
        cookie = response.headers.get("Set-Cookie", "")
        return response.read().decode(), cookie.partition(";")[0]


def test_flask() -> None:
    with running("wsgi_flask.py", signal.SIGTERM) as url:
        page, cookie = page_of(url)
        (uri,) = re.findall(r'new WebSocket\("(.*?)"\)', page)
        assert uri == f"{url.replace('http', 'ws')}/chat/lobby"
        with pytest.raises(InvalidStatus, match="403"):
            connect(uri).open()
        with (
            connect(uri, additional_headers={"Cookie": cookie}) as ada,
            connect(uri, additional_headers={"Cookie": cookie}) as bob,
        ):
            ada.send("hello")
            for ws in (ada, bob):
                assert ws.recv(SOON) == "guest 1: hello"
        left = connect(uri, additional_headers={"Cookie": cookie}).open()
    with pytest.raises(ConnectionClosed):
        left.recv(SOON)
    assert left.close_code == 1001


def test_django() -> None:
    with running("wsgi_django.py", signal.SIGINT) as url:
        assert "new WebSocket(" in page_of(url)[0]
        uri = f"{url.replace('http', 'ws')}/squares/"
        with connect(f"{uri}2") as ws:
            ws.send("12")
            assert ws.recv(SOON) == "144"
            ws.send("twelve")
            with pytest.raises(ConnectionClosed, match="no number"):
                ws.recv(SOON)
        for wrong in ("10", "x"):
            with pytest.raises(InvalidStatus):
                connect(f"{uri}{wrong}").open()
