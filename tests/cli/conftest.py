"""An application in a folder, for `gws serve`."""

from __future__ import annotations

from pathlib import Path

import pytest


APP = """
import socket, threading
from types import SimpleNamespace

import gevent
import gevent.socket

from gws import Router

PATCHED = (
    socket.socket is gevent.socket.socket,
    type(threading.Lock()).__module__.startswith("gevent"),
)
router = Router()
deep = SimpleNamespace(er=SimpleNamespace(router=router))
number = 7


@router.route("/echo")
def echo(ws):
    for message in ws:
        ws.send(message)


@router.route("/patched")
def patched(ws):
    ws.send(repr(PATCHED))


@router.route("/stubborn")
def stubborn(ws):
    ws.send("ready")
    gevent.sleep(1000)


def two(a, b, c):
    pass


def wsgi(environ, start_response):
    pass


def old(ws, path):
    pass


class Flask:
    wsgi_app = None

    def __call__(self, *args):
        pass


flask = Flask()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with an application in it."""
    tmp_path.joinpath("app.py").write_text(APP)
    package = tmp_path / "package"
    package.mkdir()
    package.joinpath("__init__.py").touch()
    package.joinpath("inner.py").write_text("from app import echo, router\n")
    tmp_path.joinpath("empty.py").touch()
    tmp_path.joinpath("broken.py").write_text("import nosuchmodule\n")
    tmp_path.joinpath("raises.py").write_text("raise LookupError('of mine')\n")
    return tmp_path
