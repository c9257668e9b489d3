"""One process after the other on a listening socket of both; no client is lost."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from gws import ConnectionClosed, connect

from ..program import SOON
from .test_process import APP, passing, url_of


#: How many connect, send and close again and again; and how many stay and send.
VISITORS, RESIDENTS = 4, 4

N_RESTARTS = 3

#: A line for each connection would fill the pipe, which is read at the end.
QUIET = """
import logging

logging.getLogger("gws.server").setLevel(logging.WARNING)
"""


class Load:
    """Clients that never stop; each failure is kept."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = Event()
        #: What went wrong.
        self.failures: list[str] = []
        #: How many connections opened, and how many the server closed with 1012.
        self.n_opened = self.n_told = 0
        #: How many messages each process answered.
        self.answers: Counter[str] = Counter()
        self._greenlets = [gevent.spawn(self._visit, 1) for _ in range(VISITORS)]
        self._greenlets += [gevent.spawn(self._visit, None) for _ in range(RESIDENTS)]

    def end(self) -> None:
        self._stop.set()
        gevent.joinall(self._greenlets, timeout=SOON, raise_error=True)

    def wait_for(self, pid: int) -> None:
        """Wait until a process has answered, beside the others, many times."""
        with gevent.Timeout(SOON):
            while self.answers[str(pid)] < 50:
                gevent.sleep(0.001)

    def _visit(self, n_messages: int | None) -> None:
        # With so many messages a connection; None stays until it is told to go.
        while not self._stop.is_set():
            try:
                ws = connect(self._url).open()
            except Exception as exc:  # refused, reset, 503: none may happen
                self.failures.append(f"no connection: {exc!r}")
                gevent.sleep(0.01)
                continue
            self.n_opened += 1
            try:
                self._talk(ws, n_messages)
            except ConnectionClosed as exc:
                if exc.rcvd is None or exc.rcvd.code != 1012:
                    self.failures.append(f"lost: {exc!r}")
                self.n_told += 1
            finally:
                ws.close()

    def _talk(self, ws: Any, n_messages: int | None) -> None:
        n = 0
        while n != n_messages and not self._stop.is_set():
            n += 1
            ws.send(f"message {n}")
            pid, _, rest = ws.recv(SOON).partition(" ")
            assert rest == f"message {n}"
            self.answers[pid] += 1
            gevent.sleep(0.005)  # the servers need the processor, too


@pytest.mark.once
@pytest.mark.timeout(120)  # it starts four processes
@pytest.mark.usefixtures("leakcheck")
def test_restarts_lose_nobody(tmp_path: Path) -> None:
    tmp_path.joinpath("app.py").write_text(APP + QUIET)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as sock:
        old = passing([sock], tmp_path)
        load = Load(f"{url_of(old)}/pid")
        try:
            load.wait_for(old.process.pid)
            for _ in range(N_RESTARTS):
                new = passing([sock], tmp_path)
                url_of(new)
                load.wait_for(new.process.pid)
                old.signal(signal.SIGTERM)
                code, _, err = old.end()
                old.__exit__()
                old = new
                assert (code, "Traceback" in err) == (0, False), err
            n_told = load.n_told
            load.end()
        finally:
            old.__exit__()
    assert load.failures == []
    # The residents were told each time.
    assert n_told >= RESIDENTS * N_RESTARTS
    assert len(load.answers) == N_RESTARTS + 1
