"""The stacks that gws is tried in, each started once and only when asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from .stacks import Stack, dev_server, gunicorn, load, pywsgi


#: The application of the matrix, for `load` and for the command line of servers.
APP = "matrix:app"

#: Our worker for gunicorn.
GWS_WORKER = "gws.wsgi.gunicorn.WebSocketWorker"

#: How each stack is started: it gets the folder of the certificates.
STACKS: dict[str, Callable[[Path], AbstractContextManager[Stack]]] = {
    "pywsgi": lambda tls: pywsgi("pywsgi", load(APP)),
    "pywsgi-tls": lambda tls: pywsgi("pywsgi-tls", load(APP), tls=tls),
    "pywsgi-unix": lambda tls: pywsgi("pywsgi-unix", load(APP), unix=True),
    "gunicorn": lambda tls: gunicorn("gunicorn", APP, "gevent"),
    "gunicorn-tls": lambda tls: gunicorn("gunicorn-tls", APP, "gevent", tls=tls),
    "gunicorn-unix": lambda tls: gunicorn("gunicorn-unix", APP, "gevent", unix=True),
    "gunicorn-pywsgi": lambda tls: gunicorn("gunicorn-pywsgi", APP, "gevent_pywsgi"),
    "gunicorn-gws": lambda tls: gunicorn("gunicorn-gws", APP, GWS_WORKER),
    "werkzeug": lambda tls: dev_server("werkzeug", APP),
}


@pytest.fixture(scope="session")
def stack_named(tls_files: Path) -> Iterator[Callable[[str], Stack]]:
    """Return the stack of a name, which is started when it is first asked for."""
    running: dict[str, Stack] = {}
    with contextlib.ExitStack() as stacks:

        def find(name: str) -> Stack:
            if name not in running:
                running[name] = stacks.enter_context(STACKS[name](tls_files))
            return running[name]

        yield find
        for stack in running.values():
            stack.stop()  # all at once: each takes its time


@pytest.fixture(scope="session", params=STACKS)
def stack(request: pytest.FixtureRequest, stack_named: Callable[[str], Stack]) -> Stack:
    """Each stack in turn."""
    return stack_named(request.param)
