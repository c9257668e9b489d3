"""gunicorn's own gevent workers: what signals and limits do to open connections.

tests/wsgi has the rest: `test_gunicorn` for our worker (SIGTERM, SIGHUP, SIGQUIT, USR2,
HTTPS, Unix sockets, a full worker, keep-alive 0), `test_gunicorn_without_gevent` for
threads.
"""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from ..wsgi.stacks import gunicorn
from ..wsgi.test_gunicorn import LONG, TROUBLE, close_code, ended, opened


pytestmark = [pytest.mark.usefixtures("leakcheck"), pytest.mark.once]

WORKERS = ["gevent", "gevent_pywsgi"]


def check_log(stack: Any) -> None:
    log = "\n".join(stack.log.lines)
    assert TROUBLE.search(log) is None, log


@pytest.mark.parametrize("worker", WORKERS)
def test_s18_an_idle_connection_outlives_the_timeout(worker: str) -> None:
    options = ["--timeout", "1", "--keep-alive", "0", "--graceful-timeout", "1"]
    with gunicorn("gunicorn", "lifecycle:app", worker, *options) as stack:
        ws = opened(stack, "/app")
        with pytest.raises(TimeoutError):
            ws.recv(1.5)
        ws.send("still here")
        assert ws.recv(LONG) == "still here"
        stack.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        # This worker knows nothing of WebSockets: at the end of its time it kills
        # their greenlets, and that closes them.
        assert close_code(ws) in (1001, None, 1006)
        assert ended(stack) == 0
        assert time.monotonic() - began < 5
    check_log(stack)


def test_s18_one_request_and_no_more() -> None:
    """The first request is the last of its worker; its connection is drained.

    With ``gevent_pywsgi`` gunicorn counts no requests.
    """
    options = ["--max-requests", "1", "--graceful-timeout", "1"]
    with gunicorn("gunicorn", "lifecycle:app", "gevent", *options) as stack:
        ws = opened(stack, "/app")
        ws.send("still here")
        assert ws.recv(LONG) == "still here"
        assert close_code(ws) in (1001, None, 1006)
        again = opened(stack, "/app")
        again.close()
    check_log(stack)
