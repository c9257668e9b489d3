"""A client that stays connected while its server is killed, and started again."""

from __future__ import annotations

import doctest
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent
import pytest

from gws import ConnectionClosed, ServerConnection, connect, serve
from gws.protocol.http11 import Request, Response
from gws.rooms import Publisher

from ..docs.pages import blocks
from ..program import SOON, Program
from ..rooms.conftest import RedisServer, free_port
from .running import STOPS, running, started


pytestmark = [pytest.mark.usefixtures("leakcheck"), pytest.mark.once]

SERVER = "reconnecting/server.py"


@contextmanager
def following(uri: str, stop: signal.Signals = signal.SIGTERM) -> Iterator[Program]:
    """Run the client; it must end well when the signal asks it to."""
    with started("reconnecting/client.py", uri) as program:
        yield program
        program.signal(stop)
        code, out, err = program.end()
    assert (code, out) == (0, "ended\n")
    assert "Traceback" not in err


@contextmanager
def serving(port: int, *bus: str) -> Iterator[Program]:
    """Run the server, and kill it at the end."""
    with started(SERVER, str(port), *bus) as program:
        program.hear()
        yield program


def say(uri: str, *texts: str) -> str:
    """Say something in the feed; return the id of the last."""
    with connect(uri) as ws:
        ws.send("1-1")  # there was never such an id: what comes last is the gap
        while "gap" not in json.loads(ws.recv(SOON)):
            pass
        for text in texts:
            ws.send(text)
            said = json.loads(ws.recv(SOON))
            assert said["text"] == text
    entry_id: str = said["id"]
    return entry_id


def wait_until_kept(uri: str, text: str, last: str) -> None:
    """Wait until who comes back is told of what was said while the bus was away."""
    with gevent.Timeout(SOON):
        while True:
            with connect(uri) as ws:
                ws.send(last)
                said = json.loads(ws.recv(SOON))
            if said.get("id"):
                assert said["text"] == text
                return
            gevent.sleep(0.05)


def check(heard: list[str], shown: str) -> None:
    """Check that it is as the README shows it."""
    checker = doctest.OutputChecker()
    said = "".join(f"{line}\n" for line in heard)
    assert checker.check_output(shown, said, doctest.ELLIPSIS), said


def test_with_redis_nothing_is_lost(start_redis: Callable[..., RedisServer]) -> None:
    shown, _ = blocks("examples/reconnecting/README.md", "text")
    bus, port = start_redis().url, free_port()
    uri = f"ws://localhost:{port}"
    publisher = Publisher(bus, history=1000, history_ttl=3600)
    with following(uri) as client:
        with serving(port, bus):
            publisher.publish("feed", "one")
            heard = [client.hear(), client.hear()]
        heard.append(client.hear())
        publisher.publish("feed", "two")
        publisher.publish("feed", "three")
        with serving(port, bus):
            heard += [client.hear(), client.hear()]
            check(heard, shown)
            assert client.hear() == "< three"
            say(uri, "four")
            assert client.hear() == "< four"
        assert client.hear() == "lost: 1006"
    publisher.close()


def test_in_memory_a_gap_is_said() -> None:
    _, shown = blocks("examples/reconnecting/README.md", "text")
    port = free_port()
    uri = f"ws://localhost:{port}"
    with following(uri) as client:
        with serving(port):
            client.hear()
            say(uri, "one")
            assert client.hear() == "< one"
        heard = [client.hear()]
        with serving(port):
            heard += [client.hear(), client.hear()]
            check(heard, shown)
            say(uri, "two")
            assert client.hear() == "< two"
        assert client.hear() == "lost: 1006"


def test_what_comes_twice_is_shown_once(
    start_redis: Callable[..., RedisServer],
) -> None:
    redis, port = start_redis("--appendonly", "yes"), free_port()
    uri = f"ws://localhost:{port}"
    with following(uri) as client:
        with serving(port, redis.url):
            client.hear()
            last = say(uri, "one")
            assert client.hear() == "< one"
            redis.kill()
            with connect(uri) as ws:
                ws.send("")
                ws.send("two")
            assert client.hear() == "< two"  # without an id
            redis.start()
            wait_until_kept(uri, "two", last)
        assert client.hear() == "lost: 1006"
        with serving(port, redis.url):
            assert client.hear() == f"connected: since {last}"
            say(uri, "three")
            assert client.hear() == "< three"
        assert client.hear() == "lost: 1006"


def test_it_obeys_retry_after_and_a_refusal() -> None:
    asked: list[float] = []

    def process_request(ws: ServerConnection, request: Request) -> Response | None:
        asked.append(time.monotonic())
        if len(asked) > 1:
            return None
        response = ws.respond(503, "Not now.\n")
        response.headers["Retry-After"] = "2"
        return response

    def refuse(ws: ServerConnection) -> None:
        ws.recv()
        ws.close(1008, "not you")

    with serve(refuse, "localhost", 0, process_request=process_request) as server:
        port = server.sockets[0].getsockname()[1]
        with started("reconnecting/client.py", f"ws://localhost:{port}") as client:
            code, out, err = client.end()
    assert code == 1
    assert out.splitlines() == ["connected: since the beginning", "lost: 1008 not you"]
    attempt, *_, refusal = err.splitlines()
    assert "reconnecting in 2.0 seconds" in attempt and refusal == "refused: not you"
    # Without the header it would have come within 1 s.
    assert asked[1] - asked[0] >= 2


@pytest.mark.parametrize("stop", STOPS)
def test_the_client_ends_while_it_waits(stop: signal.Signals) -> None:
    with (
        following(f"ws://localhost:{free_port()}", stop) as client,
        gevent.Timeout(SOON),
    ):
        assert b"reconnecting in" in client.process.stderr.readline()


def test_the_server_ends_with_somebody_there() -> None:
    with running(SERVER, "0", stop=signal.SIGINT) as uri:
        ws = connect(uri).open()
        ws.send("")
        ws.send("one")
        assert json.loads(ws.recv(SOON))["text"] == "one"
    with pytest.raises(ConnectionClosed):
        ws.recv(SOON)
    assert ws.close_code == 1001


def test_what_is_no_id() -> None:
    with running(SERVER, "0") as uri:
        for since in ("nonsense", b"\xff"):
            with connect(uri) as ws:
                ws.send(since)
                with pytest.raises(ConnectionClosed):
                    ws.recv(SOON)
            closed = (ws.close_code, ws.close_reason)
            assert closed == (1008, "that is no id of this feed")
