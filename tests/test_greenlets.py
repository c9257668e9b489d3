"""Who is running, the thread, and a switch: the twin, and the compiled functions."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from types import ModuleType

import greenlet
import pytest

import gws


@pytest.fixture(params=["greenlets", "_greenlets"] if gws.COMPILED else ["greenlets"])
def greenlets(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(f"gws.{request.param}")


def test_switch(greenlets: ModuleType) -> None:
    main = greenlet.getcurrent()
    seen = []

    def run() -> None:
        seen.append(greenlets.getcurrent())
        greenlets.switch_to(main)

    other = greenlet.greenlet(run)
    greenlets.switch_to(other)
    assert seen == [other]
    assert greenlets.getcurrent() is main
    other.throw()


def test_an_exception_comes_through(greenlets: ModuleType) -> None:
    with pytest.raises(ZeroDivisionError):
        greenlets.switch_to(greenlet.greenlet(lambda: 1 / 0))


def test_thread_id(greenlets: ModuleType) -> None:
    assert greenlets.thread_id() == threading.get_ident()


def test_patched_greenlets_are_of_one_thread() -> None:
    """`monkey.patch_all` has `get_ident` tell greenlets apart."""
    program = """
from gevent import monkey
monkey.patch_all()
import gevent
from gws import connect, serve

def echo(ws):
    for message in ws:
        ws.send(message)

with serve(echo, "127.0.0.1", 0) as server:
    port = server.sockets[0].getsockname()[1]
    with connect(f"ws://127.0.0.1:{port}") as ws:
        gevent.spawn(ws.send, "hello").join()
        print(gevent.spawn(ws.recv).get(timeout=10))
"""
    python = [sys.executable, "-P", "-W", "error", "-c", program]
    run = subprocess.run(python, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("hello\n", "")
