"""Who asks whether a server lives, and whether it takes more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import gevent
import pytest
from gevent.event import Event

from gws import connect, health, serve
from gws.health import Endpoint, answer
from gws.server.listener import listen_tcp
from gws.wsgi.open import OpenConnections

from .plain_http import get


pytestmark = pytest.mark.usefixtures("leakcheck")


#: The Host of a request that is the last of its connection.
CLOSING = "localhost\r\nConnection: close"


def wait(ws: Any) -> None:
    ws.wait_closed()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def asked(endpoint: Endpoint, path: str) -> tuple[int, bytes]:
    response = get(endpoint.sockets[0].getsockname(), path, CLOSING)
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    return response.status_code, response.body


class Ready:
    def __init__(self, ready: bool) -> None:
        self.is_ready = lambda: ready


@pytest.mark.parametrize(
    ("path", "ready", "status"),
    [
        ("/healthz", [], 200),
        ("/healthz", [False], 200),
        ("/readyz", [], 200),
        ("/readyz", [True, True], 200),
        ("/readyz", [True, False], 503),
        ("/readyz/", [True], None),
        ("/", [True], None),
    ],
)
def test_answers(path: str, ready: list[bool], status: int | None) -> None:
    found = answer(path, map(Ready, ready))
    assert (found and found[0]) == status


def test_who_is_no_server_of_ours_is_ready() -> None:
    assert answer("/readyz", [None]) == (200, "ready\n")


# A port of its own


def test_a_life(stack: ExitStack) -> None:
    """Not started, serving, full, draining, closed."""
    stubborn = Event()
    server = serve(
        lambda ws: stubborn.wait(), "127.0.0.1", 0, max_connections=1, close_timeout=1
    )
    stack.callback(server.shutdown)
    endpoint = stack.enter_context(Endpoint([server], "127.0.0.1"))
    assert asked(endpoint, "/readyz") == (503, b"not ready\n")
    server.start()
    assert asked(endpoint, "/readyz") == (200, b"ready\n")
    url = "ws://{}:{}".format(*server.sockets[0].getsockname())
    with connect(url) as ws:
        assert asked(endpoint, "/readyz")[0] == 503
        drain = gevent.spawn(server.drain, 30)
        assert ws.wait_closed(10)
        assert asked(endpoint, "/readyz")[0] == 503
        assert asked(endpoint, "/healthz") == (200, b"ok\n")
        assert not drain.ready()
        stubborn.set()
        drain.get(timeout=10)
    assert asked(endpoint, "/readyz")[0] == 503


def test_other_paths(stack: ExitStack) -> None:
    def metrics(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return [environ["PATH_INFO"].encode()]

    endpoint = stack.enter_context(Endpoint([], "127.0.0.1", metrics=metrics))
    assert asked(endpoint, "/metrics?x=1") == (200, b"/metrics")
    assert asked(endpoint, "/metrics/")[0] == 404
    assert asked(endpoint, "/")[0] == 404
    assert asked(endpoint, "/healthz?x=1")[0] == 200
    without = stack.enter_context(Endpoint([], "127.0.0.1"))
    assert asked(without, "/metrics")[0] == 404


def test_all_addresses(stack: ExitStack) -> None:
    endpoint = stack.enter_context(Endpoint([]))
    for sock in endpoint.sockets:
        assert get(sock.getsockname(), "/healthz", CLOSING).status_code == 200


def test_sockets_that_listen_already(stack: ExitStack) -> None:
    (sock,) = listen_tcp("127.0.0.1", 0)
    address = sock.getsockname()
    stack.enter_context(Endpoint([], sockets=[sock]))
    assert get(address, "/healthz", CLOSING).status_code == 200


def test_an_address_that_is_taken(stack: ExitStack) -> None:
    endpoint = stack.enter_context(Endpoint([], "127.0.0.1"))
    with pytest.raises(OSError, match="in use"):
        Endpoint([], *endpoint.sockets[0].getsockname())


# The port of the server


def test_on_a_servers_own_port(stack: ExitStack) -> None:
    server = stack.enter_context(
        serve(
            wait,
            "127.0.0.1",
            0,
            max_connections=1,
            process_request=health.process_request,
        )
    )
    address = server.sockets[0].getsockname()
    for path in ("/healthz", "/readyz?x"):
        assert get(address, path).status_code == 200
    with connect("ws://{}:{}".format(*address)):
        assert get(address, "/readyz").status_code == 503
        assert get(address, "/healthz").status_code == 200
    assert get(address, "/").status_code == 426


def test_connections_under_wsgi() -> None:
    open_ = OpenConnections(limit=1)
    assert open_.is_ready()
    open_.close(0)
    assert not open_.is_ready()
